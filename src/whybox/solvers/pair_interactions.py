"""Shapley interaction indices of all pairs of features, from the coalitions that Shapley values are estimated from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import lapack

from whybox.errors import BudgetError, InputError
from whybox.solvers import odd_gp_settings as settings
from whybox.solvers._pairs import Pairs, odd_part
from whybox.solvers._threads import one_blas_thread
from whybox.solvers.least_squares import fit_linear
from whybox.solvers.odd_gp_fit import Data, Prior, factorised, first_prior, improved, scaled, spread_of
from whybox.solvers.odd_gp_kernel import covariances
from whybox.solvers.pair_kernel import PairCovariance, pair_variance, sum_variance
from whybox.typing import Bools, Floats

MOST_FEATURES, MOST_PAIRS = 256, 1500
_EVEN_WEIGHT = 3.0  # beside 1 of the odd part, which tells less of what is asked here
_CYCLES = 2
_WIDEN = 8.0  # how much variance the d fitted relevances add, n pairs: 1 + 8 d / n; set by the coverage on trees and networks
_CHUNK = 1 << 14
_ENOUGH, _ENOUGH_EACH = 64, 2  # pairs, and pairs a feature, whose even part has to be constant for no interaction to be taken to be there


@dataclass(frozen=True)
class PairEstimate:
    """What was found for r right-hand sides.

    Args:
        index: (r, d, d) Shapley interaction indices, symmetric, 0 on the diagonal.
        std_error: (r, d, d) of each; zeros where the answer is exact or where many pairs show no interaction at all, NaN where too few do.
        sum_error: (r, d) standard error of each feature's sum of indices.
        method: which estimator answered.
    """

    index: Floats
    std_error: Floats
    sum_error: Floats
    method: str


def check_pairs(d: int, m: int) -> None:
    """Refuse what no estimate is made of.

    Args:
        d: features.
        m: coalitions besides the empty and the full one.

    Raises:
        InputError: more than 256 features.
        BudgetError: more than 3,000 coalitions that are not all.
    """
    if m == 2**d - 2:
        return
    if d > MOST_FEATURES:
        raise InputError(f"interactions: at most {MOST_FEATURES} features, got {d}; group columns that belong together (spaces.Groups)")
    if m > 2 * MOST_PAIRS:
        exact = f", or raise it to {2**d:,}, where it is exact" if d <= 14 else ""
        raise BudgetError(f"interactions: at most {2 * MOST_PAIRS:,} coalitions, got {m:,}; lower budget={exact}")


def solve_pairs(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats) -> PairEstimate:
    """Shapley interaction indices: exact from all coalitions, else the posterior mean of a Gaussian process on the even part of the game.

    As Shapley values see only the odd part of a game, pairwise indices see only its even part, which every pair of complementary coalitions
    gives exactly. The prior is that of the odd Gaussian process; its relevances are fitted to both parts, each right-hand side on its own.

    Args:
        codes: (m, d) coalitions, row 2i + 1 the complement of row 2i.
        v: (r, m) value of each coalition.
        v_empty: (r,) value of the empty coalition.
        v_full: (r,) value of the full coalition.

    Raises:
        ShapeError: the arrays do not belong together.
        InputError: the coalitions are not complementary pairs, or there are more than 256 features.
        BudgetError: there are no coalitions, or more than 3,000 that are not all.

    References:
        Grabisch and Roubens, An axiomatic approach to the concept of interaction among players in cooperative games, 1999, equation 8.

    Example:
        >>> import numpy as np
        >>> from whybox.samplers import coalitions
        >>> codes = coalitions(8, 100, np.random.default_rng(0))
        >>> game = (codes[:, 0] & codes[:, 1]).astype(float)[None]
        >>> found = solve_pairs(codes, game, np.zeros(1), np.ones(1))
        >>> bool(np.abs(found.index[0, 0, 1] - 1) < 1e-3), bool(np.abs(found.index[0, 2:]).max() < 1e-3)
        (True, True)
    """
    pairs = odd_part(codes, v, v_empty, v_full)
    r, d = len(pairs.total), codes.shape[1]
    index, error, sums = np.zeros((r, d, d)), np.zeros((r, d, d)), np.zeros((r, d))
    if d == 1:
        return PairEstimate(index, error, sums, "exact")
    n = len(pairs.z)
    if n == 2 ** (d - 1) - 1:
        for i in range(r):
            index[i] = _exact(codes, v[i], float(v_empty[i]), float(v_full[i]))
        return PairEstimate(index, error, sums, "exact")
    check_pairs(d, 2 * n)
    points = np.concatenate([pairs.z, np.ones((1, d))])
    gram = points @ points.T if n / d >= settings.LINEAR else None
    flat = np.ptp(pairs.even, axis=1) <= pairs.grain
    error[flat], sums[flat] = (0.0, 0.0) if n >= max(_ENOUGH, _ENOUGH_EACH * d) else (np.nan, np.nan)
    for i in np.flatnonzero(~flat).tolist():
        with one_blas_thread():
            index[i], error[i], sums[i] = _posterior(points, gram, pairs, i)
    return PairEstimate(index, error, sums, "even GP")


def _exact(codes: Bools, v: Floats, none: float, full: float) -> Floats:
    """Indices (d, d) from all coalitions: by the coefficients c_T of the game's sign products, a fast Walsh-Hadamard transform."""
    d = codes.shape[1]
    c = np.full(2**d, np.nan)
    c[codes @ (1 << np.arange(d))] = v
    c[0], c[-1] = none, full
    if np.isnan(c).any():
        raise InputError(f"codes: expected {2**d - 2} different coalitions, got some of them twice")
    for k in range(d):
        part = c.reshape(-1, 2, 2**k)
        absent = part[:, 0].copy()
        part[:, 0] += part[:, 1]
        part[:, 1] -= absent
    c /= 2**d
    out = np.zeros((d, d))
    for start in range(0, len(c), _CHUNK):
        member = (np.arange(start, min(start + _CHUNK, len(c)))[:, None] >> np.arange(d) & 1).astype(np.float64)
        size = member.sum(axis=1)
        weight = np.where((size >= 2) & (size % 2 == 0), 4.0 * c[start : start + _CHUNK] / np.maximum(size - 1.0, 1.0), 0.0)
        out += (member.T * weight) @ member
    out[np.diag_indices(d)] = 0.0
    return out


def _posterior(points: Floats, gram: Floats | None, pairs: Pairs, i: int) -> tuple[Floats, Floats, Floats]:
    """Indices (d, d), their standard errors and those of their sums (d,) for one game."""
    even, odd = pairs.even[i] - pairs.even[i].mean(), np.append(pairs.g[i], 0.5 * pairs.total[i])
    scale = max(float(np.abs(odd).max()), float(np.abs(even).max()))
    even = even / scale
    prior = _fitted(Data(points, odd / scale, even, gram, _EVEN_WEIGHT), pairs, i)
    n, d = len(odd) - 1, points.shape[1]
    both, noise, factor = covariances(points, prior.q), prior.noise, None
    level = float(both[0][0, 0])
    while factor is None:  # rounding may make a covariance indefinite; more noise never does
        factor = factorised(both[1] + settings.CONSTANT * level, level, noise)
        noise *= 10.0
    alpha = lapack.dpotrs(factor, even, lower=1)[0]
    s2 = float(even @ alpha) / len(alpha)
    diagonal = np.einsum("ii->i", lapack.dpotri(factor, lower=1)[0])
    wide = s2 * spread_of(alpha[:n], diagonal[:n], s2) * (1.0 + _WIDEN * d / n)
    cross, expected = PairCovariance(points, prior.q), pair_variance(prior.q)
    index, variance = np.zeros((d, d)), np.zeros((d, d))
    for j in range(d - 1):
        mine = cross.of(j)[:, j + 1 :]
        white = lapack.dtrtrs(factor, mine, lower=1)[0]
        index[j, j + 1 :] = alpha @ mine
        variance[j, j + 1 :] = expected[j, j + 1 :] - (white**2).sum(axis=0)
    white = lapack.dtrtrs(factor, cross.sums(), lower=1)[0]
    rest = sum_variance(prior.q) - (white**2).sum(axis=0)
    index, variance = index + index.T, variance + variance.T
    return index * scale, np.sqrt(np.maximum(variance, 0.0) * wide) * scale, np.sqrt(np.maximum(rest, 0.0) * wide) * scale


def _fitted(data: Data, pairs: Pairs, i: int) -> Prior:
    """Relevances and noise: from a guess by first order and by plain averages of second order."""
    here = slice(i, i + 1)
    one = replace(pairs, g=pairs.g[here], even=pairs.even[here], total=pairs.total[here], grain=pairs.grain[here])
    n, d = len(one.z), one.z.shape[1]
    even = one.even[0, :n] - one.even.mean()
    second = (one.z.T * even) @ one.z / n  # of which 1 / n of the even part's mean square is chance
    second[np.diag_indices(d)] = 0.0
    chance = float(np.mean(even**2)) / n
    size = np.sqrt(np.maximum(second**2 - chance, 0.0).sum(axis=1))
    first = np.abs(fit_linear(one).values[0])
    relevance = np.maximum(scaled(first), scaled(size))
    prior = first_prior(data, relevance, strengths=settings.FIRST_STRENGTHS)
    prior = first_prior(data, relevance, (prior.noise,))
    return improved(data.first(settings.FIT_PAIRS), prior, _CYCLES) if n >= settings.FEW * d else prior
