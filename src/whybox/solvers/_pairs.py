"""Complementary pairs of coalitions: what the least-squares and the Gaussian-process solver read.

Shapley values see only the odd part of a game, and a pair gives it exactly: with z = 2 code - 1 in {-1, +1}^d,
g(z) = (v(z) - v(-z)) / 2.

Everything here, and in the solvers, treats each right-hand side on its own: products are stacks of matrix-vector products, never one matrix
product over all of them, since the bits of the latter depend on how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whybox.errors import BudgetError, InputError, ShapeError
from whybox.typing import Bools, Floats, Ints


@dataclass(frozen=True)
class Pairs:
    """A paired design and the odd part of r games on it.

    Args:
        z: (n, d) first coalition of each pair, as -1 and +1.
        size: (n,) members of the smaller coalition of the pair.
        g: (r, n) odd part of the game.
        even: (r, n + 1) even part of the game, its value at the full (and the empty) coalition last.
        total: (r,) v_full - v_empty.
        grain: (r,) size of a rounding error of g.
    """

    z: Floats
    size: Ints
    g: Floats
    even: Floats
    total: Floats
    grain: Floats


def odd_part(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats) -> Pairs:
    """Check the arguments that all solvers share and take the odd part.

    Args:
        codes: (m, d) coalitions, row 2i + 1 the complement of row 2i.
        v: (r, m) value of each coalition.
        v_empty: (r,) value of the empty coalition.
        v_full: (r,) value of the full coalition.

    Raises:
        ShapeError: the arrays do not belong together.
        InputError: the coalitions are not complementary pairs, or the empty or the full one is among them.
        BudgetError: there are no coalitions, although there are two features or more.
    """
    v, v_empty, v_full = checked(codes, v, v_empty, v_full)
    m, d = codes.shape
    if m == 0 and d > 1:
        raise BudgetError(f"codes: {d} features need at least one pair of coalitions, got none")
    half: Bools = codes[0::2]
    if m % 2 or not np.array_equal(half, ~codes[1::2]):
        raise InputError(f"codes: expected complementary pairs, row 2i + 1 the complement of row 2i, got {m} rows that are not")
    members = half.sum(axis=1)
    if d > 1 and (members.min() == 0 or members.max() == d):
        raise InputError("codes: the empty and the full coalition go into v_empty and v_full, found one among the codes")
    g = 0.5 * v[:, 0::2] - 0.5 * v[:, 1::2]
    ends = 0.5 * v_full + 0.5 * v_empty
    even = np.concatenate([0.5 * v[:, 0::2] + 0.5 * v[:, 1::2], ends[:, None]], axis=1)
    largest = np.maximum(np.abs(v).max(axis=1, initial=0.0), np.maximum(np.abs(v_empty), np.abs(v_full)))
    grain = 4.0 * np.finfo(np.float64).eps * largest
    z = np.where(half, 1.0, -1.0)
    return Pairs(z=z, size=np.minimum(members, d - members), g=g, even=even, total=v_full - v_empty, grain=grain)


def checked(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats) -> tuple[Floats, Floats, Floats]:
    """v, v_empty and v_full as float64, after checking that the shapes fit.

    Raises:
        ShapeError: they do not.
    """
    v = np.ascontiguousarray(v, dtype=np.float64)
    v_empty, v_full = np.asarray(v_empty, dtype=np.float64), np.asarray(v_full, dtype=np.float64)
    if codes.ndim != 2 or codes.dtype != np.bool_ or codes.shape[1] < 1:
        raise ShapeError(f"codes: expected a bool array (m, d) with d >= 1, got {codes.dtype} {codes.shape}")
    if v.ndim != 2 or v.shape[1] != len(codes) or v_empty.shape != v.shape[:1] or v_full.shape != v.shape[:1]:
        raise ShapeError(
            f"expected v (r, {len(codes)}), v_empty (r,) and v_full (r,) for {len(codes)} codes, "
            f"got {v.shape}, {v_empty.shape} and {v_full.shape}"
        )
    return v, v_empty, v_full


def apply_each(matrix: Floats, vectors: Floats) -> Floats:
    """matrix (a, b) times each of vectors (r, b), each on its own: (r, a)."""
    out: Floats = np.matmul(matrix, vectors[:, :, None])[:, :, 0]
    return out
