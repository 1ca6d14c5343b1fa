"""Hyper-parameters of the odd Gaussian process: which features are relevant, and how much of the game it cannot explain.

The relevances q (d,) start in proportion to a first guess of the Shapley values, at the strength that a small grid finds most likely, and
are then moved by a few multiplicative steps that increase the marginal likelihood: each relevance is multiplied by the ratio of what the
data show of its share of the covariance to what the prior expects of it. Three steps do most of what a long optimisation does.

The even part of the game, (v(z) + v(-z)) / 2, has no say in Shapley values, but it shows which features interact. Where pairs are few it is
a second, independent observation of the relevances, at half weight, since even and odd orders need not be equally strong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from whybox.solvers.odd_gp_kernel import covariances, variance
from whybox.typing import Floats

_STRENGTHS = (0.03, 0.1, 0.3)  # largest relevance to begin with
_NOISES = (1e-6, 1e-4, 1e-2)  # noise variance over prior variance to begin with
_GRID_PAIRS = 64  # the grid looks at the first pairs alone
_LEAST_NOISE, _MOST_NOISE = 1e-7, 0.2
_LEAST, _MOST = 1e-5, 0.6  # bounds of a relevance
_FLOOR = 0.01  # relevance of a feature whose first guess is zero, over the largest
_EVIDENCE = 1.0  # prior weight of the present relevances: as much as one well determined coefficient for each
_EVEN_WEIGHT = 0.5
_ENDS = 1e-8  # noise of the full coalition's observation, which is known exactly; for conditioning alone
_CONSTANT = 100.0  # prior variance of the even part's constant, over the variance of the odd part
_TINY = 1e-300


@dataclass(frozen=True)
class Data:
    """What one game shows at the points of a design.

    Args:
        points: (n + 1, d) coalitions as -1 and +1, the full one last.
        odd: (n + 1,) odd part of the game, the largest 1.
        even: (n + 1,) even part on the same scale, without its mean; None leaves it out.
    """

    points: Floats
    odd: Floats
    even: Floats | None

    def first(self, pairs: int) -> Data:
        """The first pairs and the full coalition."""
        n = len(self.odd) - 1
        if pairs >= n:
            return self
        index = np.append(np.arange(pairs), n)
        return Data(points=self.points[index], odd=self.odd[index], even=None if self.even is None else self.even[index])


@dataclass(frozen=True)
class Prior:
    """Hyper-parameters.

    Args:
        q: (d,) relevances; an interaction T has variance prod_{i in T} q_i.
        noise: variance of what the process does not explain, over the variance of the odd part at a point.
        spread: mean square of the errors of predicting each pair from the others, over what the process expects of it; 1.0 if not tried.
        scale: of the process, s^2; 1.0 if not tried.
    """

    q: Floats
    noise: float
    spread: float = 1.0
    scale: float = 1.0


def scaled(guess: Floats) -> Floats:
    """(d,) relevances in proportion to a guess of the Shapley values, the largest 1."""
    size = np.abs(guess)
    out: Floats = np.maximum(size / max(float(size.max()), _TINY), _FLOOR)
    return out


def factorised(k: Floats, level: float, noise: float) -> Floats | None:
    """Lower Cholesky factor of a covariance (n + 1, n + 1) with noise times level on its diagonal; the last point is the full coalition.

    Returns None where rounding makes it indefinite. ``k`` is overwritten.
    """
    size = len(k)
    k.flat[:: size + 1] += np.append(np.full(size - 1, noise * level), _ENDS * level)
    factor, failed = lapack.dpotrf(k, lower=1, clean=1, overwrite_a=1)
    return None if failed else np.asarray(factor)


def first_prior(data: Data, relevance: Floats, noises: tuple[float, ...] = _NOISES, strengths: tuple[float, ...] = _STRENGTHS) -> Prior:
    """The strength and noise under which the first pairs are most likely, for relevances (d,) whose largest is 1."""
    seen = data.first(_GRID_PAIRS)
    best, found = -np.inf, Prior(q=strengths[-1] * relevance, noise=noises[-1])
    for strength in strengths:
        odd, even = covariances(seen.points, strength * relevance)
        level = float(odd[0, 0])
        even += _CONSTANT * level
        for noise in noises:
            score = _log_likelihood(seen, odd, even, level, noise)
            if score > best:
                best, found = score, Prior(q=strength * relevance, noise=noise)
    return found


def _log_likelihood(data: Data, odd: Floats, even: Floats, level: float, noise: float) -> float:
    """Log marginal likelihood with the overall scale profiled out, up to a constant."""
    square, log_det, count = 0.0, 0.0, 0.0
    for k, y, weight in _parts(data, odd, even):
        factor = factorised(k.copy(), level, noise)
        if factor is None:
            return -np.inf
        square += weight * float(y @ lapack.dpotrs(factor, y, lower=1)[0])
        log_det += weight * float(np.log(np.diag(factor)).sum())
        count += weight * len(y)
    return -0.5 * count * float(np.log(max(square, _TINY))) - log_det


def _parts(data: Data, odd: Floats, even: Floats) -> list[tuple[Floats, Floats, float]]:
    """Covariance, observations and weight of each part that is used."""
    parts = [(odd, data.odd, 1.0)]
    return parts if data.even is None else [*parts, (even, data.even, _EVEN_WEIGHT)]


def improved(data: Data, prior: Prior, steps: int) -> Prior:
    """Multiplicative steps towards the relevances and the noise of largest marginal likelihood.

    With A the covariance of the observations y, alpha = A^-1 y and s2 = y . alpha / len(y), the derivative of the log likelihood by q_i is
    half of alpha' (dA / dq_i) alpha / s2 - tr(A^-1 dA / dq_i). Both terms are positive, and q_i is multiplied by their ratio, each with a
    prior's weight added. The noise moves alike. A step that rounding makes impossible ends the improvement.
    """
    q, noise, spread, s2 = prior.q, prior.noise, prior.spread, prior.scale
    points, n = data.points, len(data.odd) - 1
    for _ in range(steps):
        odd, even = covariances(points, q)
        level = float(odd[0, 0])
        shown, expected = np.zeros(len(q)), np.zeros(len(q))
        noise_shown, noise_expected, square, count = 0.0, 0.0, 0.0, 0.0
        for (k, y, weight), slope in zip(_parts(data, odd, even), (even, odd), strict=False):
            factor = factorised(k + (_CONSTANT * level if k is even else 0.0), level, noise)
            if factor is None:
                return Prior(q=q, noise=noise, spread=spread, scale=s2)
            alpha = lapack.dpotrs(factor, y, lower=1)[0]
            inverse = lapack.dpotri(factor, lower=1, overwrite_c=1)[0]  # lower triangle, zeros above
            diagonal = np.diag(inverse).copy()
            inverse *= 2.0
            if k is odd:  # leave-one-out errors are alpha_i / (A^-1)_ii, of variance s2 / (A^-1)_ii
                spread = float((alpha[:n] ** 2 / diagonal[:n]).mean()) / max(float(y @ alpha) / len(y), _TINY)
            np.fill_diagonal(inverse, diagonal)  # now sum(inverse * m) is tr(A^-1 m) for every symmetric m
            moved = points * alpha[:, None]
            # dA / dq_i = (slope z_i z_i' - q_i k) / (1 - q_i^2)
            shown += weight * ((moved * (slope @ moved)).sum(axis=0) - q * float(alpha @ k @ alpha))
            expected += weight * ((points * ((inverse * slope) @ points)).sum(axis=0) - q * float((inverse * k).sum()))
            noise_shown += weight * float(alpha[:n] @ alpha[:n])
            noise_expected += weight * float(diagonal[:n].sum())
            square += weight * float(y @ alpha)
            count += weight * len(y)
        s2 = max(square / count, _TINY)
        share = q / (1.0 - q * q)
        q = q * (np.maximum(shown / s2, 0.0) * share + _EVIDENCE) / (np.maximum(expected, 0.0) * share + _EVIDENCE)
        q = np.clip(q, _LEAST, _MOST)
        rest = noise * level
        rest *= (noise_shown / s2 * rest + _EVIDENCE) / (noise_expected * rest + _EVIDENCE)
        noise = float(np.clip(rest / variance(q), _LEAST_NOISE, _MOST_NOISE))
    return Prior(q=q, noise=noise, spread=spread, scale=s2)
