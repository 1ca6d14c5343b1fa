"""Constrained weighted least squares over complementary pairs: KernelSHAP's estimator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, stats
from scipy.special import gammaln

from whybox.solvers._pairs import Pairs, apply_each, odd_part
from whybox.solvers._threads import one_blas_thread
from whybox.typing import Bools, Estimate, Floats, Ints

_MANY = 3  # pairs a feature from which the share that was drawn of a size class counts


@dataclass(frozen=True)
class LinearFit:
    """The least-squares solution of r games on one design.

    Args:
        values: (r, d) Shapley values.
        residual: (r, n) odd part that the values leave unexplained.
        solver: (d, n) from the odd part to the values.
        weight: (n,) of each pair.
        leverage: (n,) of each pair, between 0 and 1.
        drawn: (n,) share of the pair's size class that the design holds, as far as that counts.
        dof: pairs beyond the values that they determine.
    """

    values: Floats
    residual: Floats
    solver: Floats
    weight: Floats
    leverage: Floats
    drawn: Floats
    dof: int


def solve_least_squares(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats) -> Estimate:
    """Shapley values by least squares under the Shapley kernel, exact at the empty and the full coalition.

    Each size's weight is its share of the Shapley kernel over how often it was drawn, so that any design of
    :func:`whybox.samplers.coalitions` may be used. Pairs remove all second-order interactions. One factorisation serves all right-hand
    sides. With fewer pairs than features the solution of least norm is taken.

    The standard error is the sandwich estimate from the pairs' residuals, shrunk to their pooled variance as their leverage grows, and
    widened by Student's quantile where they are few. What was drawn of a size class has no sampling error, and is left out of it in
    proportion, where all classes are there and pairs are three times as many as features, or nothing is left to draw. With fewer it is not:
    a class drawn whole says nothing about those that were not looked at. Where the pairs determine no more than the values themselves,
    residuals say nothing, and the spread of the game around equal values stands in for them.

    Args:
        codes: (m, d) coalitions, row 2i + 1 the complement of row 2i.
        v: (r, m) value of each coalition.
        v_empty: (r,) value of the empty coalition.
        v_full: (r,) value of the full coalition.

    Returns:
        Values (r, d) that sum to ``v_full - v_empty``.

    Raises:
        ShapeError: the arrays do not belong together.
        InputError: the coalitions are not complementary pairs.
        BudgetError: there are no coalitions.

    References:
        Lundberg and Lee, A unified approach to interpreting model predictions, NeurIPS 2017; Covert and Lee, AISTATS 2021.

    Example:
        >>> import numpy as np
        >>> from whybox.samplers import coalitions
        >>> codes = coalitions(5, 16, np.random.default_rng(0))
        >>> weights = np.array([3.0, -1.0, 0.5, 0.0, 2.0])
        >>> game = (codes @ weights)[None]
        >>> solve_least_squares(codes, game, np.zeros(1), np.array([4.5])).values.round(9).tolist()
        [[3.0, -1.0, 0.5, 0.0, 2.0]]
    """
    pairs = odd_part(codes, v, v_empty, v_full)
    d = codes.shape[1]
    if d == 1:
        return Estimate(values=pairs.total[:, None].copy(), std_error=np.zeros((len(pairs.total), 1)), method="least squares")
    with one_blas_thread():
        fit = fit_linear(pairs)
        error = linear_error(pairs, fit)
    return Estimate(values=fit.values, std_error=error, method="least squares", info={"pairs": len(pairs.z), "dof": fit.dof})


def fit_linear(pairs: Pairs) -> LinearFit:
    """Minimise sum_j w_j (g_j - z_j . phi / 2)^2 subject to sum phi = total, for all games at once.

    In the deviations psi = phi - total / d the constraint reads sum psi = 0, which centring the rows of z enforces: the part of psi along
    (1, ..., 1) then has no effect on the fit, and the least-norm solution has none of it.
    """
    n, d = pairs.z.shape
    mean = pairs.z.mean(axis=1)
    weight, drawn = class_weights(pairs.size, d)
    root = np.sqrt(weight)
    design = 0.5 * root[:, None] * (pairs.z - mean[:, None])  # (n, d)
    inverse, rank = _pseudo_inverse(design)
    leverage = np.clip(np.einsum("ij,ji->i", design, inverse), 0.0, 1.0)
    solver = inverse * root
    centred = pairs.g - 0.5 * mean * pairs.total[:, None]
    deviation = apply_each(solver, centred)
    residual = centred - apply_each(0.5 * (pairs.z - mean[:, None]), deviation)
    deviation += apply_each(solver, residual)  # one step of refinement: linear games come out exact
    values = deviation + (pairs.total[:, None] - deviation.sum(axis=1, keepdims=True)) / d
    residual = centred - apply_each(0.5 * (pairs.z - mean[:, None]), deviation)
    return LinearFit(values=values, residual=residual, solver=solver, weight=weight, leverage=leverage, drawn=drawn, dof=n - rank)


def linear_error(pairs: Pairs, fit: LinearFit) -> Floats:
    """(r, d) standard errors of a least-squares fit."""
    d = pairs.z.shape[1]
    if fit.dof > 0:
        # a pair of leverage 1 has no residual of its own and takes the pooled one; in expectation both parts add up to the noise
        squares = fit.weight * fit.residual**2
        pooled = squares.sum(axis=1, keepdims=True) / fit.dof
        widen = (stats.t.ppf(0.975, fit.dof) / 1.959963984540054) ** 2
        noise = widen * (squares + fit.leverage * pooled) / fit.weight
    else:
        noise = (pairs.g - pairs.z.sum(axis=1) * pairs.total[:, None] / (2 * d)) ** 2
    noise = noise * (1.0 - fit.drawn) if (fit.drawn < 1.0).any() else np.zeros_like(noise)
    return np.sqrt(apply_each(fit.solver**2, noise))


def class_weights(size: Ints, d: int) -> tuple[Floats, Floats]:
    """Weight of each pair, and the share of its size class that was drawn, 0 where a design is too small for that to count: (n,) each.

    A class of sizes s and d - s has kernel mass proportional to 1 / (s (d - s)), twice that unless s = d - s.
    """
    count = np.bincount(size, minlength=d // 2 + 1)[size]
    half = 2 * size == d
    mass = np.where(half, 1.0, 2.0) / (size * (d - size))
    log_pairs = gammaln(d + 1) - gammaln(size + 1) - gammaln(d - size + 1) - np.where(half, np.log(2.0), 0.0)
    drawn = np.minimum(np.exp(np.minimum(np.log(count) - log_pairs, 0.0)), 1.0)
    weight = mass / count
    drawn = np.where(drawn > 1.0 - 1e-9, 1.0, drawn)
    everywhere = np.count_nonzero(np.bincount(size)[1:]) == d // 2
    if not everywhere or (len(size) < _MANY * d and (drawn < 1.0).any()):
        drawn = np.zeros_like(drawn)
    return weight / weight.max(), drawn


def _pseudo_inverse(design: Floats) -> tuple[Floats, int]:
    """Pseudo-inverse (d, n) and rank of a design whose rows are centred, by the smaller of its two Gram matrices."""
    n, d = design.shape
    if max(n, d) <= 2048 or min(n, d) <= 256:
        u, s, vt = linalg.svd(design, full_matrices=False, check_finite=False)
        keep = s > s[0] * max(n, d) * 1e-15 if len(s) else s > 0.0
        return (vt[keep].T / s[keep]) @ u[:, keep].T, int(keep.sum())
    wide = n < d
    gram = design @ design.T if wide else design.T @ design
    if not wide:
        gram += np.trace(gram) / d**2  # the direction (1, ..., 1), in which the design is zero
    try:
        factor = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    except linalg.LinAlgError:
        inverse: Floats = linalg.pinv(design, check_finite=False).astype(np.float64)
        return inverse, int(np.linalg.matrix_rank(design))
    if wide:
        return linalg.cho_solve(factor, design, check_finite=False).T, n
    return linalg.cho_solve(factor, design.T, check_finite=False), d - 1
