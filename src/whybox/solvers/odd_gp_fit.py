"""Hyper-parameters of the odd Gaussian process: which features are relevant, and how much of the game it cannot explain.

The relevances q (d,) start in proportion to a first guess of the Shapley values, at the strength and with the noise that are most likely,
and are then moved by a few multiplicative steps that increase the marginal likelihood: each relevance is multiplied by the ratio of what
the data show of its share of the covariance to what the prior expects of it.

The even part of the game, (v(z) + v(-z)) / 2, has no say in Shapley values, but it shows which features interact. It is a second,
independent observation of the relevances, at half weight, since even and odd orders need not be equally strong.

A feature that matters much on its own interacts more than others, so relevances speak of first order as well; they need not be right.
Where pairs are many enough to tell, first order has a vague prior of its own on top, and relevances tell interactions alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import lapack

from whybox.solvers import odd_gp_settings as settings
from whybox.solvers.odd_gp_kernel import covariances, variance
from whybox.typing import Floats

_CORNER = 1e100  # larger than any square of whitened observations


@dataclass(frozen=True)
class Data:
    """What one game shows at the points of a design.

    Args:
        points: (n + 1, d) coalitions as -1 and +1, the full one last.
        odd: (n + 1,) odd part of the game, the largest 1.
        even: (n + 1,) even part on the same scale, without its mean; None leaves it out.
        gram: (n + 1, n + 1) ``points @ points.T``, where first order has a vague prior of its own; None where it has none.
        even_weight: of the even part, where the odd one has weight 1.
    """

    points: Floats
    odd: Floats
    even: Floats | None
    gram: Floats | None = None
    even_weight: float = settings.EVEN_WEIGHT

    def first(self, pairs: int) -> Data:
        """The first pairs and the full coalition."""
        n = len(self.odd) - 1
        if pairs >= n:
            return self
        index = np.append(np.arange(pairs), n)
        gram = None if self.gram is None else self.gram[np.ix_(index, index)]
        even = None if self.even is None else self.even[index]
        return replace(self, points=self.points[index], odd=self.odd[index], even=even, gram=gram)

    def vague(self, level: float) -> float:
        """Variance of each feature's own term beside the process, whose variance at a point is the level."""
        return 0.0 if self.gram is None else settings.VAGUE * level / self.points.shape[1]

    def first_order(self, level: float) -> Floats | float:
        """Covariance (n + 1, n + 1) of these terms; 0.0 without them."""
        return 0.0 if self.gram is None else self.vague(level) * self.gram


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
    out: Floats = np.maximum(size / max(float(size.max()), settings.TINY), settings.FLOOR)
    return out


def factorised(k: Floats, level: float, noise: float) -> Floats | None:
    """Lower Cholesky factor of a covariance (n + 1, n + 1) with noise times level on its diagonal; the last point is the full coalition.

    Returns None where rounding makes it indefinite. ``k`` is overwritten.
    """
    _add_noise(k, level, noise)
    factor, failed = lapack.dpotrf(k.T, lower=1, clean=1, overwrite_a=1)  # symmetric: its transpose has LAPACK's order, and is not copied
    return None if failed else np.asarray(factor)


def _add_noise(k: Floats, level: float, noise: float) -> None:
    diagonal = np.einsum("ii->i", k)  # a view
    diagonal[:-1] += noise * level
    diagonal[-1] += settings.ENDS * level


def first_prior(
    data: Data, relevance: Floats, noises: tuple[float, ...] = settings.NOISES, strengths: tuple[float, ...] = settings.STRENGTHS
) -> Prior:
    """The strength and noise under which the first pairs are most likely, for relevances (d,) whose largest is 1.

    The log marginal likelihood has the overall scale profiled out. Observations border the covariances, so that one factorisation gives
    both of its terms, for all candidates together.
    """
    seen = replace(data, gram=None).first(settings.GRID_PAIRS)
    n, shape = len(seen.odd), (len(strengths), len(noises))
    found = [covariances(seen.points, strength * relevance) for strength in strengths]
    level = np.array([both[0][0, 0] for both in found])
    square, log_det, count = np.zeros(shape), np.zeros(shape), 0.0
    for which, (y, weight) in enumerate(_observations(seen)):
        bordered = np.empty((*shape, n + 1, n + 1))
        for k, both, constant in zip(bordered, found, settings.CONSTANT * level, strict=True):
            np.add(both[which], constant if which else 0.0, out=k[:, :n, :n])
        diagonal = np.einsum("snii->sni", bordered)  # a view
        diagonal[..., : n - 1] += (level[:, None] * noises)[..., None]
        diagonal[..., n - 1] += settings.ENDS * level[:, None]
        diagonal[..., n] = _CORNER
        bordered[..., n, :n] = y
        root = _roots(bordered.reshape(-1, n + 1, n + 1)).reshape(bordered.shape)
        square += weight * (root[..., n, :n] ** 2).sum(axis=2)
        log_det += weight * np.log(np.einsum("snii->sni", root)[..., :n]).sum(axis=2)
        count += weight * n
    score = -0.5 * count * np.log(np.maximum(square, settings.TINY)) - log_det
    best = score.size - 1 if np.isnan(score).all() else int(np.nanargmax(score))
    return Prior(q=strengths[best // len(noises)] * relevance, noise=noises[best % len(noises)])


def _roots(stack: Floats) -> Floats:
    """Lower Cholesky factors of a stack of matrices, of which the lower triangles are read; NaN where rounding makes one indefinite."""
    try:
        return np.asarray(np.linalg.cholesky(stack))
    except np.linalg.LinAlgError:
        out = np.full(stack.shape, np.nan)
        for root, k in zip(out, stack, strict=True):
            factor, failed = lapack.dpotrf(k, lower=1, clean=1)
            if not failed:
                root[:] = factor
        return out


def spread_of(alpha: Floats, diagonal: Floats, s2: float) -> float:
    """How wide the errors of leaving one pair out are, as mean squares over what was expected: of each pair, and of all pairs together.

    The larger of both, within reason: where pairs agree in all features that matter, each is predicted from its likes without an error,
    which says nothing about the coalitions that no pair is like.
    """
    squares = alpha**2 / diagonal / max(s2, settings.TINY)
    return max(float(squares.mean()), float((squares / diagonal).sum() / (1.0 / diagonal).sum()), settings.LEAST_SPREAD)


def _observations(data: Data) -> list[tuple[Floats, float]]:
    """Observations (n + 1,) and weight of each part that is used: the odd one, and the even one if it is there."""
    return [(data.odd, 1.0)] if data.even is None else [(data.odd, 1.0), (data.even, data.even_weight)]


def improved(data: Data, prior: Prior, cycles: int) -> Prior:
    """Relevances and noise of a larger marginal likelihood.

    A cycle is two multiplicative steps, and a third along what they show of the way: squared extrapolation (Varadhan and Roland 2008,
    scheme SqS3) of their logarithms, which does here what four to six steps do. A step that rounding makes impossible ends it.

    Args:
        data: one game.
        prior: where to begin.
        cycles: how many.
    """
    for _ in range(cycles):
        first = _stepped(data, prior)
        if first is None:
            return prior
        second = _stepped(data, first)
        if second is None:
            return first
        prior = _extrapolated(prior, first, second)
    return prior


def _extrapolated(start: Prior, first: Prior, second: Prior) -> Prior:
    a, b, c = (np.log(np.append(prior.q, prior.noise)) for prior in (start, first, second))
    step = b - a
    turn = (c - b) - step
    length = float(np.clip(np.linalg.norm(step) / max(float(np.linalg.norm(turn)), settings.TINY), 1.0, settings.LONGEST))
    moved = np.exp(a + 2.0 * length * step + length**2 * turn)
    return replace(
        second,
        q=np.clip(moved[:-1], settings.LEAST, settings.MOST),
        noise=float(np.clip(moved[-1], settings.LEAST_NOISE, settings.MOST_NOISE)),
    )


def _stepped(data: Data, prior: Prior) -> Prior | None:
    """One multiplicative step towards the relevances and the noise of largest marginal likelihood; None where rounding makes it impossible.

    With A the covariance of the observations y, alpha = A^-1 y and s2 = y . alpha / len(y), the derivative of the log likelihood by q_i is
    half of alpha' (dA / dq_i) alpha / s2 - tr(A^-1 dA / dq_i). Both terms are positive, and q_i is multiplied by their ratio, each with a
    prior's weight added. The noise moves alike.
    """
    q, noise, spread = prior.q, prior.noise, prior.spread
    points, n = data.points, len(data.odd) - 1
    both = covariances(points, q)
    level = float(both[0][0, 0])
    slopes: Floats | float = 0.0  # of the covariances, times their inverses
    shown, own, noise_shown, noise_expected, square, count = np.zeros(len(q)), 0.0, 0.0, 0.0, 0.0, 0.0
    for which, (y, weight) in enumerate(_observations(data)):
        k, slope = both[which], both[1 - which]
        factor = factorised(k + (settings.CONSTANT * level if which else data.first_order(level)), level, noise)
        if factor is None:
            return None
        alpha = lapack.dpotrs(factor, y, lower=1)[0]
        inverse = lapack.dpotri(factor, lower=1, overwrite_c=1)[0].T  # upper triangle, zeros below
        corner = np.einsum("ii->i", inverse)  # a view
        diagonal = corner.copy()
        inverse *= 2.0 * weight
        corner *= 0.5  # now sum(inverse * m) is tr(A^-1 m), weighted, for every symmetric m
        power = float(y @ alpha)
        if not which:  # leave-one-out errors are alpha_i / (A^-1)_ii, of variance s2 / (A^-1)_ii
            spread = spread_of(alpha[:n], diagonal[:n], power / len(y))
        moved = points * alpha[:, None]
        # dA / dq_i = (slope z_i z_i' - q_i k) / (1 - q_i^2)
        shown += weight * (np.einsum("ni,ni->i", moved, slope @ moved) - q * float(alpha @ k @ alpha))
        own += float(np.vdot(inverse, k))
        inverse *= slope
        slopes = slopes + inverse
        noise_shown += weight * float(alpha[:n] @ alpha[:n])
        noise_expected += weight * float(diagonal[:n].sum())
        square += weight * power
        count += weight * len(y)
    expected = np.einsum("ni,ni->i", points, np.matmul(slopes, points)) - q * own
    s2 = max(square / count, settings.TINY)
    share = q / (1.0 - q * q)
    q = q * (np.maximum(shown / s2, 0.0) * share + settings.EVIDENCE) / (np.maximum(expected, 0.0) * share + settings.EVIDENCE)
    q = np.clip(q, settings.LEAST, settings.MOST)
    rest = noise * level
    rest *= (noise_shown / s2 * rest + settings.EVIDENCE) / (noise_expected * rest + settings.EVIDENCE)
    noise = float(np.clip(rest / variance(q), settings.LEAST_NOISE, settings.MOST_NOISE))
    return Prior(q=q, noise=noise, spread=spread, scale=s2)
