"""Hyper-parameters of the odd Gaussian process: which features are relevant, and how much of the game it cannot explain.

The relevances q (d,) start in proportion to a first guess of the Shapley values, at the strength that a small grid finds most likely, and
are then moved by a few multiplicative steps that increase the marginal likelihood: each relevance is multiplied by the ratio of what the data
show of its share of the covariance to what the prior expects of it. Three steps do most of what a long optimisation does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from whybox.solvers.odd_gp_kernel import covariance, variance
from whybox.typing import Floats

_STRENGTHS = (0.03, 0.1, 0.3)  # largest relevance to begin with
_NOISES = (1e-6, 1e-4, 1e-2)  # noise variance over prior variance to begin with
_GRID_PAIRS = 64  # the grid looks at the first pairs alone
_LEAST_NOISE, _MOST_NOISE = 1e-7, 0.2
_LEAST, _MOST = 1e-5, 0.6  # bounds of a relevance
_FLOOR = 0.01  # relevance of a feature whose first guess is zero, over the largest
_EVIDENCE = 1.0  # prior weight of the present relevances: as much as one well determined coefficient for each
_ENDS = 1e-8  # noise of the full coalition's observation, which is known exactly; for conditioning alone
_TINY = 1e-300


@dataclass(frozen=True)
class Prior:
    """Hyper-parameters.

    Args:
        q: (d,) relevances; an interaction T has variance prod_{i in T} q_i.
        noise: variance of what the process does not explain, over its own variance at a point.
    """

    q: Floats
    noise: float


def scaled(guess: Floats) -> Floats:
    """(d,) relevances in proportion to a guess of the Shapley values, the largest 1."""
    size = np.abs(guess)
    out: Floats = np.maximum(size / max(float(size.max()), _TINY), _FLOOR)
    return out


def factorised(k: Floats, noise: float) -> Floats | None:
    """Lower Cholesky factor of a covariance (n + 1, n + 1) with noise on its diagonal; the last point is the full coalition.

    Returns None where rounding makes it indefinite. ``k`` is overwritten.
    """
    size = len(k)
    level = float(k[0, 0])
    k.flat[:: size + 1] += np.append(np.full(size - 1, noise * level), _ENDS * level)
    factor, failed = lapack.dpotrf(k, lower=1, clean=1, overwrite_a=1)
    return None if failed else np.asarray(factor)


def first_prior(points: Floats, y: Floats, relevance: Floats) -> Prior:
    """The strength and noise of the grid under which the first pairs are most likely.

    Args:
        points: (n + 1, d) coalitions as -1 and +1, the full one last.
        y: (n + 1,) odd part of the game.
        relevance: (d,) largest 1.
    """
    n = len(y) - 1
    index = np.append(np.arange(min(n, _GRID_PAIRS)), n)
    z, seen = points[index], y[index]
    best, found = -np.inf, Prior(q=_STRENGTHS[1] * relevance, noise=_NOISES[-1])
    for strength in _STRENGTHS:
        k = covariance(z, strength * relevance)
        for noise in _NOISES:
            factor = factorised(k.copy(), noise)
            if factor is None:
                continue
            score = _log_likelihood(factor, seen)
            if score > best:
                best, found = score, Prior(q=strength * relevance, noise=noise)
    return found


def _log_likelihood(factor: Floats, y: Floats) -> float:
    """Log marginal likelihood with the overall scale profiled out, up to a constant."""
    alpha = lapack.dpotrs(factor, y, lower=1)[0]
    return float(-0.5 * len(y) * np.log(max(float(y @ alpha), _TINY)) - np.log(np.diag(factor)).sum())


def improved(points: Floats, y: Floats, prior: Prior, steps: int) -> Prior:
    """Multiplicative steps towards the relevances and the noise of largest marginal likelihood.

    With A the covariance of the data, alpha = A^-1 y and s2 = y . alpha / (n + 1), the derivative of the log likelihood by q_i is half of
    alpha' (dA / dq_i) alpha / s2 - tr(A^-1 dA / dq_i). Both terms are positive, and q_i is multiplied by their ratio, each with a prior's
    weight added. The noise moves alike. A step that rounding makes impossible ends the improvement.
    """
    q, noise = prior.q, prior.noise
    n = len(y) - 1
    for _ in range(steps):
        # sinh and cosh of the same field; exp(field) stays finite for q up to _MOST and d up to 1,000
        field = np.exp((points * np.arctanh(q)) @ points.T)
        scale = 0.5 * np.exp(0.5 * np.log1p(-q * q).sum())
        k, slope = (field - 1.0 / field) * scale, (field + 1.0 / field) * scale
        level = float(k[0, 0])
        factor = factorised(k.copy(), noise)
        if factor is None:
            break
        inverse = lapack.dpotri(factor, lower=1)[0]
        inverse = inverse + np.tril(inverse, -1).T
        alpha = inverse @ y
        s2 = max(float(y @ alpha) / (n + 1), _TINY)
        moved = points * alpha[:, None]
        bend = 1.0 / (1.0 - q * q)
        shown = bend * ((moved * (slope @ moved)).sum(axis=0) - q * float(alpha @ k @ alpha)) / s2
        expected = bend * ((points * ((inverse * slope) @ points)).sum(axis=0) - q * float((inverse * k).sum()))
        q_next = q * (np.maximum(shown, 0.0) * q + _EVIDENCE) / (np.maximum(expected, 0.0) * q + _EVIDENCE)
        rest = noise * level
        rest *= (float(alpha[:n] @ alpha[:n]) / s2 * rest + _EVIDENCE) / (float(np.trace(inverse[:n, :n])) * rest + _EVIDENCE)
        q = np.clip(q_next, _LEAST, _MOST)
        noise = float(np.clip(rest / variance(q), _LEAST_NOISE, _MOST_NOISE))
    return Prior(q=q, noise=noise)
