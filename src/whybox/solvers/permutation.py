"""Averages of marginal contributions over antithetic permutations."""

from __future__ import annotations

import numpy as np
from scipy import stats

from whybox.errors import InputError
from whybox.solvers._pairs import odd_part
from whybox.typing import Bools, Estimate, Floats


def solve_permutation(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats) -> Estimate:
    """Average each feature's marginal contribution over antithetic permutations.

    The standard error comes from the spread over the pairs of permutations, widened by Student's quantile where they are few, so that
    1.96 standard errors hold the value 95 % of the time. With one pair alone there is no spread to look at: half the root mean square
    difference between the permutation and its reverse stands in, which is too wide where pairs interact.

    Args:
        codes: (p (d - 1) 2, d) coalitions as :func:`whybox.samplers.permutations` lists them.
        v: (r, m) value of each coalition.
        v_empty: (r,) value of the empty coalition.
        v_full: (r,) value of the full coalition.

    Returns:
        Values (r, d) that sum to ``v_full - v_empty``.

    Raises:
        ShapeError: the arrays do not belong together.
        InputError: the codes are not antithetic permutations.

    References:
        Castro, Gomez and Tejada, Polynomial calculation of the Shapley value based on sampling, 2009; Mitchell et al., JMLR 2022.

    Example:
        >>> import numpy as np
        >>> codes = np.array([[True, False], [False, True]])
        >>> solve_permutation(codes, np.array([[1.0, 2.0]]), np.zeros(1), np.array([5.0])).values.tolist()
        [[2.0, 3.0]]
    """
    pairs = odd_part(codes, v, v_empty, v_full)
    r, d = len(pairs.total), codes.shape[1]
    if d == 1:
        return Estimate(values=pairs.total[:, None].copy(), std_error=np.zeros((r, 1)), method="permutation", info={"permutations": 0})
    order = _orders(codes, d)
    p = len(order)
    steps = np.empty((r, p, d + 1))  # odd part along the chain, from the empty to the full coalition
    steps[:, :, 1:-1] = pairs.g.reshape(r, p, d - 1)
    steps[:, :, 0], steps[:, :, -1] = -0.5 * pairs.total[:, None], 0.5 * pairs.total[:, None]
    each = np.empty((r, p, d))
    each[:, np.arange(p)[:, None], order] = np.diff(steps, axis=2)
    values = each.mean(axis=1)
    if p > 1:
        widen = float(stats.t.ppf(0.975, p - 1)) / 1.959963984540054
        variance = each.var(axis=1, ddof=1)
        common = variance.mean(axis=1, keepdims=True)  # as one permutation more: a few may agree on a feature by chance
        error = widen * np.sqrt((p * variance + common) / (p + 1) / p)
    else:
        even = np.concatenate([v_empty[:, None] + v_full[:, None], v[:, 0::2] + v[:, 1::2], v_empty[:, None] + v_full[:, None]], axis=1)
        gap = 0.5 * np.diff(even, axis=1)  # half of forward minus backward contribution
        error = np.repeat(np.sqrt((gap**2).mean(axis=1))[:, None], d, axis=1)
    return Estimate(values=values, std_error=error, method="permutation", info={"permutations": 2 * p})


def _orders(codes: Bools, d: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(p, d) the permutations that the codes list."""
    if len(codes) % (2 * (d - 1)):
        raise InputError(f"codes: expected whole antithetic permutations, a multiple of {2 * (d - 1)} rows, got {len(codes)}")
    chain = codes.reshape(-1, d - 1, 2, d)[:, :, 0]
    size_ok = (chain.sum(axis=2) == np.arange(1, d)).all()
    if not size_ok or (chain[:, :-1] & ~chain[:, 1:]).any():
        raise InputError("codes: expected the coalitions of antithetic permutations, as whybox.samplers.permutations lists them")
    return np.argsort(d - chain.sum(axis=1), axis=1, kind="stable")
