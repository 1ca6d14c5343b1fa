"""Shapley values by a Gaussian process on the odd part of the game."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from whybox.solvers._pairs import Pairs, odd_part
from whybox.solvers.least_squares import LinearFit, fit_linear, linear_error
from whybox.solvers.odd_gp_kernel import covariance, value_covariance, value_variance
from whybox.typing import Bools, Estimate, Floats

_STRENGTHS = (0.01, 0.03, 0.1, 0.3)
_NOISES = (1e-4, 1e-3, 1e-2, 5e-2)


def solve_odd_gp(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats) -> Estimate:
    """Shapley values as the posterior mean of a Gaussian process on the odd part of the game.

    Args:
        codes: (m, d) coalitions, row 2i + 1 the complement of row 2i.
        v: (r, m) value of each coalition.
        v_empty: (r,) value of the empty coalition.
        v_full: (r,) value of the full coalition.

    Returns:
        Values (r, d) that sum to ``v_full - v_empty``; standard errors are posterior standard deviations.

    Raises:
        ShapeError: the arrays do not belong together.
        InputError: the coalitions are not complementary pairs.
        BudgetError: there are no coalitions.
    """
    pairs = odd_part(codes, v, v_empty, v_full)
    r, d = len(pairs.total), codes.shape[1]
    if d == 1:
        return Estimate(values=pairs.total[:, None].copy(), std_error=np.zeros((r, 1)), method="odd GP")
    fit = fit_linear(pairs)
    values, error = fit.values.copy(), linear_error(pairs, fit)
    curved = _curved(pairs, fit)
    for i in np.flatnonzero(curved).tolist():
        values[i], error[i] = _solve_one(pairs.z, pairs.g[i], float(pairs.total[i]))
    return Estimate(values=values, std_error=error, method="odd GP", info={"pairs": len(pairs.z), "linear": int(r - curved.sum())})


def _curved(pairs: Pairs, fit: LinearFit) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which games least squares does not already explain to the last digits."""
    scale = np.maximum(np.abs(pairs.g).max(axis=1), np.abs(pairs.total))
    if fit.dof < 1:
        return np.asarray(scale > 0.0)
    return np.asarray(np.abs(fit.residual).max(axis=1) > 1e-12 * scale)


def _solve_one(z: Floats, g: Floats, total: float) -> tuple[Floats, Floats]:
    n, d = z.shape
    points = np.vstack([z, np.ones((1, d))])
    scale = max(float(np.abs(g).max()), abs(total))
    y = np.append(g, 0.5 * total) / scale
    u = np.ones(d)
    best: tuple[float, Floats, Floats, float] | None = None
    for _ in range(3):
        best = None
        for c in _STRENGTHS:
            k = covariance(points, c * u)
            diagonal = k[0, 0]
            for noise in _NOISES:
                a = k.copy()
                a[np.arange(n), np.arange(n)] += noise * diagonal
                a[n, n] += 1e-8 * diagonal
                factor = linalg.cho_factor(a, lower=True, check_finite=False, overwrite_a=True)
                alpha = linalg.cho_solve(factor, y, check_finite=False)
                s2 = float(y @ alpha) / (n + 1)
                score = -0.5 * (n + 1) * np.log(s2) - np.log(np.diag(factor[0])).sum()
                if best is None or score > best[0]:
                    best = (score, c * u, alpha, s2)
                    keep = factor
        assert best is not None
        _, q, alpha, s2 = best
        cross = value_covariance(points, q)
        phi = cross @ alpha
        u = np.maximum(np.abs(phi) / max(np.abs(phi).max(), 1e-300), 0.02)
    variance = s2 * (value_variance(q) - np.einsum("ij,ji->i", cross, linalg.cho_solve(keep, cross.T, check_finite=False)))
    phi += (total / scale - phi.sum()) / d
    return phi * scale, np.sqrt(np.maximum(variance, 0.0)) * scale
