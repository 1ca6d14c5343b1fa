"""Shapley values by a Gaussian process on the odd part of the game."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import lapack

from whybox.errors import InputError
from whybox.solvers import odd_gp_settings as settings
from whybox.solvers._pairs import Pairs, odd_part
from whybox.solvers._threads import one_blas_thread
from whybox.solvers.least_squares import LinearFit, fit_linear, linear_error
from whybox.solvers.odd_gp_fit import Data, Prior, factorised, first_prior, improved, scaled
from whybox.solvers.odd_gp_kernel import covariance, value_covariance, value_variance
from whybox.solvers.odd_gp_triples import Terms, Triples
from whybox.typing import Array, Bools, Estimate, Floats

_MOST_FEATURES = 1000  # beyond, covariances leave the range of float64
_LINEAR = 1e-7  # residual of least squares, relative to the game, below which the game counts as linear


def solve_odd_gp(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats, *, like: Array | None = None) -> Estimate:
    """Shapley values as the posterior mean of a Gaussian process on the odd part of the game.

    In z = 2 code - 1 a game is a sum of interactions c_T prod_{i in T} z_i, of which Shapley values see the odd orders. The prior makes
    them independent, with variance s^2 prod_{i in T} q_i: sparse features and low orders come first, but no order is excluded. Least
    squares is the special case of first order alone. The relevances q are fitted by marginal likelihood for each right-hand side,
    from its own pairs alone: no right-hand side depends on the others. Where pairs are many, third-order interactions that stand out get a
    variance of their own. Games that least squares explains to the last digits are left to it.

    Args:
        codes: (m, d) coalitions, row 2i + 1 the complement of row 2i.
        v: (r, m) value of each coalition.
        v_empty: (r,) value of the empty coalition.
        v_full: (r,) value of the full coalition.
        like: a torch tensor on the device that is to compute, all games at once; None (default) takes NumPy, one game after the other.

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
    with one_blas_thread():
        fit = fit_linear(pairs)
        values, error = fit.values.copy(), linear_error(pairs, fit)
    constant = np.maximum(np.abs(pairs.g).max(axis=1), np.abs(pairs.total)) <= pairs.grain
    linear = constant | _linear(pairs, fit)
    complete = len(pairs.z) == 2 ** (d - 1) - 1  # all coalitions: least squares is exact
    # with few pairs to spare an interaction of third order, which shows in a quarter of them, may well have been missed
    sure = constant | complete | (linear & (fit.dof >= max(d, 3)))
    design = Design.of(pairs.z)
    # as many pairs as free values: least squares passes through all of them, like a permutation, and is exact where the game is linear
    keep = sure | linear | (fit.dof == 0 and len(pairs.z) == d - 1)
    left = np.flatnonzero(~sure)
    if like is not None and len(left):
        from whybox.solvers.odd_gp_batch import posteriors

        means, error[left] = posteriors(design, pairs.g[left], pairs.even[left], pairs.total[left], fit.values[left], like)
        values[left[~keep[left]]] = means[~keep[left]]
        left = left[:0]
    for i in left.tolist():
        with one_blas_thread():
            mean, error[i] = design.posterior(pairs.g[i], pairs.even[i], float(pairs.total[i]), fit.values[i])
        if not keep[i]:
            values[i] = mean
    return Estimate(values=values, std_error=error, method="odd GP", info={"pairs": len(pairs.z), "linear": int(linear.sum())})


def _linear(pairs: Pairs, fit: LinearFit) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which games least squares explains, as far as their digits tell."""
    scale = np.maximum(np.abs(pairs.g).max(axis=1), np.abs(pairs.total))
    left = np.abs(fit.residual).max(axis=1)
    return np.asarray((fit.dof > 0) & (left <= _LINEAR * scale + pairs.grain))


@dataclass(frozen=True)
class Design:
    """Points that all right-hand sides share.

    Args:
        points: (n + 1, d) pairs as -1 and +1, and the full coalition, whose value gives efficiency.
        triples: all products of three features, or None.
        gram: ``points @ points.T`` where pairs are many enough for first order to have a prior of its own, or None.
    """

    points: Floats
    triples: Triples | None
    gram: Floats | None = None

    @staticmethod
    def of(z: Floats) -> Design:
        """The design of pairs z (n, d)."""
        points, share = np.concatenate([z, np.ones((1, z.shape[1]))]), len(z) / z.shape[1]
        triples = Triples.of(points) if share >= settings.TRIPLES else None
        return Design(points, triples, points @ points.T if share >= settings.LINEAR else None)

    def posterior(self, g: Floats, even: Floats, total: float, guess: Floats) -> tuple[Floats, Floats]:
        """Shapley values and standard errors, (d,) each, of one game: g (n,), even (n + 1,) and total, from a guess of the values (d,)."""
        n, d = len(g), self.points.shape[1]
        odd = np.append(g, 0.5 * total)
        scale = float(np.abs(odd).max())
        data = Data(self.points, odd / scale, (even - even.mean()) / scale, self.gram)
        prior = first_prior(data, scaled(guess), strengths=settings.FIRST_STRENGTHS)
        better = self._posterior(data, prior, None).mean(self.points) if n < settings.REFINED * d else guess
        prior = first_prior(data, scaled(better), (prior.noise,))
        triples = self.triples if n >= settings.TRIPLES * d else None
        terms, rest, s2 = None, data, 1.0
        if triples is not None:  # before the relevances are fitted, which would else grow to explain single interactions
            plain = first_prior(replace(data, even=None), scaled(guess), settings.PLAIN_NOISES, settings.PLAIN_STRENGTHS)
            terms, rest, s2 = self._screened(triples, data, self._posterior(data, plain, None), plain)
        if n >= settings.FEW * d:
            for pairs, cycles in settings.schedule(n, d):
                prior = improved(rest.first(pairs), prior, cycles)
        if terms is not None:
            terms = replace(terms, variance=terms.variance * (s2 / prior.scale))
        fit = self._posterior(data, prior, terms)
        for _ in range(settings.ROUNDS if triples is not None else 0):
            assert triples is not None
            terms, rest, s2 = self._screened(triples, replace(data, even=None), fit, prior)
            if terms is None:
                break
            prior = improved(rest.first(settings.FIT_PAIRS), prior, settings.AGAIN)
            fit = self._posterior(data, prior, replace(terms, variance=terms.variance * (s2 / prior.scale)))
        phi, variance = fit.values(self.points)
        phi = phi + (2.0 * data.odd[-1] - phi.sum()) / d
        return phi * scale, np.sqrt(variance * prior.spread * (1.0 + settings.WIDEN * d / n)) * scale

    def _screened(self, triples: Triples, data: Data, fit: _Posterior, prior: Prior) -> tuple[Terms | None, Data, float]:
        """Terms that newly stand out, if any, the data without what these explain, and the scale of the process beside them."""
        terms = triples.search(fit.alpha, fit.factor, fit.s2, fit.terms)
        if terms is None:
            return None, data, 1.0
        fit = self._posterior(data, prior, terms)
        return terms, replace(data, odd=data.odd - terms.explained(fit.alpha)), fit.s2

    def _posterior(self, data: Data, prior: Prior, terms: Terms | None) -> _Posterior:
        y, noise = data.odd, prior.noise
        factor = None
        while factor is None:  # rounding may make a covariance indefinite; more noise never does
            k = covariance(self.points, prior.q)
            level = float(k[0, 0])
            k += data.first_order(level)
            if terms is not None:
                k += terms.covariance()
            factor = factorised(k, level, noise)
            noise *= 10.0
        alpha = lapack.dpotrs(factor, y, lower=1)[0]
        return _Posterior(q=prior.q, vague=data.vague(level), terms=terms, factor=factor, alpha=alpha, s2=float(y @ alpha) / len(y))


@dataclass(frozen=True)
class _Posterior:
    """One game's factorised covariance: ``alpha`` (n + 1,) is its inverse times the observations, ``s2`` the scale of the process.

    ``vague`` is the variance of each feature's own term beside what its relevance says.
    """

    q: Floats
    vague: float
    terms: Terms | None
    factor: Floats
    alpha: Floats
    s2: float

    def mean(self, points: Floats) -> Floats:
        """(d,) Shapley values."""
        out: Floats = self._cross(points) @ self.alpha
        return out

    def values(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of the Shapley values, (d,) each."""
        cross = self._cross(points)
        white = lapack.dtrtrs(self.factor, cross.T, lower=1)[0]
        prior = value_variance(self.q) + 4.0 * self.vague  # a feature's own coefficient is half of what it adds to its value
        if self.terms is not None:
            prior = prior + self.terms.shares(len(self.q)) ** 2 @ self.terms.variance
        return cross @ self.alpha, np.maximum(self.s2 * (prior - (white**2).sum(axis=0)), 0.0)

    def _cross(self, points: Floats) -> Floats:
        cross = value_covariance(points, self.q) + 2.0 * self.vague * points.T
        if self.terms is not None:
            cross = cross + (self.terms.shares(len(self.q)) * self.terms.variance) @ self.terms.signs.T
        return cross
