"""Patterns of met conditions, and what a leaf's game is worth by pattern.

A pattern is an integer of D bits: bit j is set when the j-th condition on a leaf's path is met.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

from whybox.solvers.tree_leaves import LeafGroup
from whybox.typing import Bools, Floats, Ints

Patterns = NDArray[np.uint8]  # D <= 8
_CELLS = 1 << 17  # leaves times rows whose values are compared at once: 1 MiB


def met_patterns(group: LeafGroup, rows: Floats) -> Patterns:
    """Which conditions of every leaf each row meets.

    Args:
        group: L leaves with D conditions each.
        rows: (n, d) rows as they are compared, see ``TreeEnsemble.rows``.

    Returns:
        (L, n) patterns.
    """
    patterns = np.zeros((len(group.value), len(rows)), dtype=np.uint8)
    block = max(1, _CELLS // max(1, len(group.value)))
    for start in range(0, len(rows), block):
        columns = np.ascontiguousarray(rows[start : start + block].T)  # (d, n)
        for j in range(group.feature.shape[1]):  # over the D conditions of a path, not over features
            value = columns[group.feature[:, j]]  # (L, n)
            met = ~(value <= group.low[:, j, None])
            met &= ~(value > group.high[:, j, None])
            met &= group.nan_ok[:, j, None] | ~np.isnan(value)
            patterns[:, start : start + block] |= met.view(np.uint8) << np.uint8(j)
    return patterns


def code_patterns(feature: Ints, codes: Bools) -> Patterns:
    """Which features of every leaf's path each coalition keeps.

    Args:
        feature: (L, D) features of the paths.
        codes: (m, d) coalitions.

    Returns:
        (L, m) patterns.
    """
    columns = np.ascontiguousarray(codes.T).view(np.uint8)  # (d, m)
    patterns = np.zeros((len(feature), len(codes)), dtype=np.uint8)
    for j in range(feature.shape[1]):
        patterns |= columns[feature[:, j]] << np.uint8(j)
    return patterns


def histogram(patterns: Patterns, weights: Floats, size: int) -> Floats:
    """Weight of the background rows that show each pattern.

    Args:
        patterns: (L, b) patterns of the background rows.
        weights: (b,) weights of the background rows.
        size: D, bits of a pattern.

    Returns:
        (L, 2^D) weights.
    """
    n_leaves = len(patterns)
    place = patterns.astype(np.int64) + (np.arange(n_leaves)[:, None] << size)
    counts: Floats = np.bincount(place.ravel(), np.broadcast_to(weights, patterns.shape).ravel(), n_leaves << size).astype(np.float64)
    return counts.reshape(n_leaves, 1 << size)


def kept_weights(histogram_: Floats) -> Floats:
    """Weight of the background rows that meet every condition whose feature is *not* kept, by the pattern of kept features.

    Args:
        histogram_: (L, 2^D) weights by pattern of the background.

    Returns:
        (L, 2^D): at S, the sum over patterns c that contain the complement of S.
    """
    n_leaves, size = len(histogram_), histogram_.shape[1].bit_length() - 1
    sums = histogram_.reshape(n_leaves, *[2] * size).copy()
    for axis in range(1, size + 1):  # sums over supersets, a bit at a time
        lower, upper = [tuple(bit if a == axis else slice(None) for a in range(size + 1)) for bit in (0, 1)]
        sums[lower] += sums[upper]
    return np.ascontiguousarray(sums.reshape(n_leaves, 1 << size)[:, ::-1])  # at S: supersets of its complement


@lru_cache(maxsize=16)
def shapley_weights(size: int) -> Floats:
    """Shapley values of the game "every condition is met", for one row against one background row.

    With P the conditions that only x meets, Q those that only the background row meets, p and q their numbers, a leaf is reached by the
    coalitions that hold P and nothing of Q: each of P has the value (p-1)! q! / (p+q)!, each of Q -p! (q-1)! / (p+q)!, all others 0; and 0
    everywhere if some condition is met by neither.

    Args:
        size: D conditions.

    Returns:
        (2^D, 2^D * D): by pattern of the background row; by pattern of x and condition.

    Source:
        Interventional TreeSHAP, Lundberg et al. 2020 (Nature Machine Intelligence 2), Laberge and Pequignot 2022 (arXiv:2209.15123).
    """
    patterns = np.arange(1 << size)
    x, c = patterns[None, :], patterns[:, None]
    full = (1 << size) - 1
    reachable = (x | c) == full
    bits = (patterns[:, None] >> np.arange(size)) & 1  # (2^D, D)
    p, q = bits.sum(axis=1)[x & ~c & full], bits.sum(axis=1)[c & ~x & full]
    factorials = np.array([float(factorial(i)) for i in range(size + 1)])
    total = factorials[p + q]
    for_p = np.where(reachable & (p > 0), factorials[np.maximum(p - 1, 0)] * factorials[q] / total, 0.0)
    for_q = np.where(reachable & (q > 0), -factorials[p] * factorials[np.maximum(q - 1, 0)] / total, 0.0)
    weights = for_p[:, :, None] * bits[x & ~c & full] + for_q[:, :, None] * bits[c & ~x & full]
    flat: Floats = np.ascontiguousarray(weights.reshape(1 << size, -1))
    flat.setflags(write=False)
    return flat
