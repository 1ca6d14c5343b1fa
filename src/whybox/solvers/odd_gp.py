"""Shapley values by a Gaussian process on the odd part of the game."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from whybox.errors import InputError
from whybox.solvers._pairs import Pairs, odd_part
from whybox.solvers.least_squares import LinearFit, fit_linear, linear_error
from whybox.solvers.odd_gp_fit import Data, Prior, factorised, first_prior, improved, scaled
from whybox.solvers.odd_gp_kernel import covariance, value_covariance, value_variance
from whybox.typing import Bools, Estimate, Floats

_MOST_FEATURES = 1000  # beyond, covariances leave the range of float64
_STEPS = 3
_FIT_PAIRS = 256  # hyper-parameters are fitted to the first pairs alone; the values see all of them
_FEW = 1.25  # pairs a feature below which relevances stay in proportion to the values
_REFINED = 6.0  # pairs a feature below which the first guess is worth a second look
_EVEN = 8.0  # pairs a feature below which the even part is looked at
_WIDEN = 2.0  # how much variance the d fitted relevances add, n pairs: 1 + _WIDEN d / n; set by the coverage on trees and networks
_LINEAR = 1e-7  # residual of least squares, relative to the game, below which the game counts as linear


def solve_odd_gp(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats) -> Estimate:
    """Shapley values as the posterior mean of a Gaussian process on the odd part of the game.

    In z = 2 code - 1 a game is a sum of interactions c_T prod_{i in T} z_i, of which Shapley values see the odd orders. The prior makes
    them independent, with variance s^2 prod_{i in T} q_i: sparse features and low orders come first, but no order is excluded. Least
    squares is the special case of first order alone. The relevances q are fitted by marginal likelihood for each right-hand side,
    from its own pairs alone: no right-hand side depends on the others. Games that least squares explains to the last digits are left to it.

    Args:
        codes: (m, d) coalitions, row 2i + 1 the complement of row 2i.
        v: (r, m) value of each coalition.
        v_empty: (r,) value of the empty coalition.
        v_full: (r,) value of the full coalition.

    Returns:
        Values (r, d) that sum to ``v_full - v_empty``. Standard errors are posterior standard deviations, widened where few pairs determine
        the hyper-parameters.

    Raises:
        ShapeError: the arrays do not belong together.
        InputError: the coalitions are not complementary pairs, or there are more than 1,000 features.
        BudgetError: there are no coalitions.

    References:
        Rasmussen and Williams, Gaussian processes for machine learning, 2006, chapters 2 and 5.

    Example:
        >>> import numpy as np
        >>> from whybox.samplers import coalitions
        >>> codes = coalitions(8, 100, np.random.default_rng(0))
        >>> game = (codes[:, 0] & codes[:, 1] & codes[:, 2]).astype(float)[None]
        >>> found = solve_odd_gp(codes, game, np.zeros(1), np.ones(1))
        >>> bool(np.abs(found.values - np.array([1 / 3] * 3 + [0.0] * 5)).max() < 0.001)
        True
    """
    pairs = odd_part(codes, v, v_empty, v_full)
    r, d = len(pairs.total), codes.shape[1]
    if d == 1:
        return Estimate(values=pairs.total[:, None].copy(), std_error=np.zeros((r, 1)), method="odd GP")
    if d > _MOST_FEATURES:
        raise InputError(f"the odd GP takes at most {_MOST_FEATURES} features, got {d}; use least squares")
    fit = fit_linear(pairs)
    values, error = fit.values.copy(), linear_error(pairs, fit)
    linear = _linear(pairs, fit)
    sure = linear & (fit.dof >= min(3, d))
    design = Design.of(pairs.z)
    # as many pairs as free values: least squares passes through all of them, like a permutation, and is exact where the game is linear
    keep = linear | (fit.dof == 0 and len(pairs.z) == d - 1)
    for i in np.flatnonzero(~sure).tolist():
        mean, error[i] = design.posterior(pairs.g[i], pairs.even[i], float(pairs.total[i]), fit.values[i])
        if not keep[i]:
            values[i] = mean
    return Estimate(values=values, std_error=error, method="odd GP", info={"pairs": len(pairs.z), "linear": int(linear.sum())})


def _linear(pairs: Pairs, fit: LinearFit) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which games least squares explains, as far as their digits tell."""
    scale = np.maximum(np.abs(pairs.g).max(axis=1), np.abs(pairs.total))
    left = np.abs(fit.residual).max(axis=1)
    return np.asarray((scale <= pairs.grain) | ((fit.dof > 0) & (left <= _LINEAR * scale + pairs.grain)))


@dataclass(frozen=True)
class Design:
    """Points that all right-hand sides share.

    Args:
        points: (n + 1, d) pairs as -1 and +1, and the full coalition, whose value gives efficiency.
    """

    points: Floats

    @staticmethod
    def of(z: Floats) -> Design:
        """The design of pairs z (n, d)."""
        return Design(points=np.concatenate([z, np.ones((1, z.shape[1]))]))

    def posterior(self, g: Floats, even: Floats, total: float, guess: Floats) -> tuple[Floats, Floats]:
        """Shapley values and standard errors, (d,) each, of one game: g (n,), even (n + 1,) and total, from a guess of the values (d,)."""
        n, d = len(g), self.points.shape[1]
        odd = np.append(g, 0.5 * total)
        scale = float(np.abs(odd).max())
        data = Data(points=self.points, odd=odd / scale, even=(even - even.mean()) / scale if n < _EVEN * d else None)
        prior = first_prior(data, scaled(guess))
        if n < _REFINED * d:
            prior = first_prior(data, scaled(self._values(data.odd, prior)[0]))
        if n >= _FEW * d:
            prior = improved(data.first(_FIT_PAIRS), prior, _STEPS)
        phi, variance = self._values(data.odd, prior)
        phi = phi + (2.0 * data.odd[-1] - phi.sum()) / d
        return phi * scale, np.sqrt(variance * (1.0 + _WIDEN * d / n)) * scale

    def _values(self, y: Floats, prior: Prior) -> tuple[Floats, Floats]:
        """Posterior mean and variance of the Shapley values, (d,) each."""
        noise = prior.noise
        factor = None
        while factor is None:  # rounding may make a covariance indefinite; more noise never does
            k = covariance(self.points, prior.q)
            factor = factorised(k, float(k[0, 0]), noise)
            noise *= 10.0
        cross = value_covariance(self.points, prior.q)
        half = lapack.dtrtrs(factor, np.column_stack([y, cross.T]), lower=1)[0]
        white, cross_white = half[:, 0], half[:, 1:]
        s2 = float(white @ white) / len(y)
        variance = s2 * (value_variance(prior.q) - (cross_white**2).sum(axis=0))
        return white @ cross_white, np.maximum(variance, 0.0)
