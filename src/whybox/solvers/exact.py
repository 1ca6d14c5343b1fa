"""Exact Shapley values from all coalitions."""

from __future__ import annotations

from math import comb

import numpy as np

from whybox.errors import BudgetError, InputError
from whybox.solvers._pairs import apply_each, checked
from whybox.typing import Bools, Estimate, Floats

_BLOCK = 1 << 14


def solve_exact(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats) -> Estimate:
    """Shapley values by their definition.

    phi_i = sum over coalitions S of v(S) (s - 1)! (d - s)! / d! where i is in S, and of -v(S) s! (d - s - 1)! / d! where it is not.

    Args:
        codes: (2**d - 2, d) all coalitions but the empty and the full one, each once, in any order.
        v: (r, m) value of each coalition.
        v_empty: (r,) value of the empty coalition.
        v_full: (r,) value of the full coalition.

    Returns:
        Values (r, d), with standard errors of zero.

    Raises:
        ShapeError: the arrays do not belong together.
        BudgetError: coalitions are missing.
        InputError: a coalition occurs twice.

    References:
        Shapley, A value for n-person games, 1953.

    Example:
        >>> import numpy as np
        >>> codes = np.array([[True, False], [False, True]])
        >>> solve_exact(codes, np.array([[1.0, 2.0]]), np.zeros(1), np.array([5.0])).values.tolist()
        [[2.0, 3.0]]
    """
    v, v_empty, v_full = checked(codes, v, v_empty, v_full)
    m, d = codes.shape
    if d > 62 or m < 2**d - 2:
        raise BudgetError(f"exact Shapley values of {d} features need all 2**{d} - 2 coalitions, got {m}; use another estimator")
    _check_distinct(codes, d)
    size = np.arange(d + 1)
    present = np.array([1.0 / (d * comb(d - 1, s - 1)) if s else 0.0 for s in size])  # (s - 1)! (d - s)! / d!
    absent = np.array([1.0 / (d * comb(d - 1, s)) if s < d else 0.0 for s in size])
    total = v_full - v_empty
    values = np.repeat(total[:, None] / d, d, axis=1)  # the full coalition's share; the empty one has none in the game v - v_empty
    for start in range(0, m, _BLOCK):
        z = codes[start : start + _BLOCK]
        s = z.sum(axis=1)
        weights = np.where(z, present[s][:, None], -absent[s][:, None])
        values += apply_each(np.ascontiguousarray(weights.T), v[:, start : start + _BLOCK] - v_empty[:, None])
    return Estimate(values=values, std_error=np.zeros_like(values), method="exact", info={"coalitions": m})


def _check_distinct(codes: Bools, d: int) -> None:
    number = codes @ (np.int64(1) << np.arange(d, dtype=np.int64))
    if not np.array_equal(np.sort(number), np.arange(1, 2**d - 1)):
        raise InputError(f"codes: expected each of the 2**{d} - 2 coalitions besides the empty and the full one exactly once")
