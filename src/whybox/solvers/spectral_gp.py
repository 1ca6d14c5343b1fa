"""Shapley values by a Gaussian process whose prior was learned from a surrogate that all rows share.

Pairs of coalitions give the odd part of a game, g(z) = (v(z) - v(-z)) / 2. The odd Gaussian process has to guess from a row's own pairs
which interactions exist; the surrogate's trees know. The prior's variances are the surrogate's spectrum, so that one design and its factors
serve every row. A row may also have the surrogate's game subtracted and its exact Shapley values added back. Whether it does, and how much
third order and noise there is, the marginal likelihood of the row's own pairs decides: the answer is the mean over all settings, weighted
by their evidence, so that a surrogate that does not help has no weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from whybox.errors import InputError, ShapeError
from whybox.solvers._pairs import odd_part
from whybox.solvers._threads import one_blas_thread
from whybox.solvers.spectral_prior import Covariances, Prior
from whybox.solvers.tree_spectrum import Spectrum
from whybox.typing import Bools, Estimate, Floats, Ints

_SCALES = (0.2, 0.7, 2.0, 7.0)  # third order against what the spectrum says, relative to the first
_FLOORS = (0.003, 0.03, 0.2, 0.8)  # share of the third order that the spectrum does not list
_NOISES = (1e-6, 1e-3, 3e-2)  # against the third order
_EXACT = 1e-10  # variance of what is known exactly, against the prior variance of a pair
_AVERAGED_PAIRS = 256  # up to as many pairs settings are averaged; beyond, the first pairs choose one and all pairs enter the values
_WIDTH = 64  # right-hand sides of one product: always as many, so that a row's bits do not depend on the others
_CAUTION = 1.1  # standard errors are widened by what the posterior was found too narrow (benchmarks/shared_surrogate.py, "cover")


@dataclass(frozen=True)
class Guide:
    """What the surrogate says about the right-hand sides.

    Args:
        shapley: (r, d) its exact Shapley values.
        v: (r, m) its game at the coalitions.
        v_empty: (r,) at the empty coalition.
        v_full: (r,) at the full one.
    """

    shapley: Floats
    v: Floats
    v_empty: Floats
    v_full: Floats


@dataclass(frozen=True)
class _Setting:
    """Hyper-parameters of the prior."""

    subtracted: bool
    scale: float
    floor: float
    noise: float


@dataclass(frozen=True)
class _Factor:
    """The prior at one setting, factored.

    ``white`` (n, n) makes pairs independent, ``seen`` (n, d) are the values' covariances with those.
    """

    setting: _Setting
    white: Floats
    log_root: float
    seen: Floats
    spread: Floats  # (d,) standard deviations that the pairs leave, before the row's scale


def solve_spectral_gp(
    codes: Bools, v: Floats, v_empty: Floats, v_full: Floats, *, spectrum: Spectrum, guide: Guide | None = None
) -> Estimate:
    """Posterior means and standard deviations of Shapley values.

    Args:
        codes: (m, d) coalitions in complementary pairs, row 2i + 1 the complement of row 2i; neither empty nor full.
        v: (r, m) values of the coalitions.
        v_empty: (r,) values of the empty coalition.
        v_full: (r,) values of the full one.
        spectrum: the prior, from :meth:`whybox.solvers.tree_surrogate.Surrogate.bind`.
        guide: the surrogate's own answers, to be subtracted where the evidence is for it; without it only the prior is used.

    Returns:
        Values (r, d) that sum to ``v_full - v_empty``, standard errors (r, d); ``info["subtracted"]`` (r,) is the weight of the
        settings in which the surrogate's game was subtracted.

    Raises:
        ShapeError: shapes that do not fit together.
        InputError: codes are not complementary pairs, or nothing can be learned from values that are not finite.
        BudgetError: there are no coalitions.

    Source:
        Kriging with a learned spectrum, for the odd part of a game (C. E. Rasmussen and C. Williams, Gaussian Processes for Machine
        Learning, 2006, equations 2.23, 2.24 and 5.8); we know of no publication for Shapley values.

    Example:
        >>> import numpy as np
        >>> codes = np.array([[True, False, False], [False, True, True], [False, True, False], [True, False, True]])
        >>> flat = Spectrum(np.ones(3), np.array([[0, 1, 2]]), np.ones(1), np.ones(3))
        >>> v = codes @ np.array([[1.0], [2.0], [3.0]])
        >>> solve_spectral_gp(codes, v.T, np.zeros(1), np.full(1, 6.0), spectrum=flat).values.sum().round(9)
        np.float64(6.0)
    """
    games = [_odd(codes, v, v_empty, v_full)]
    r, d = len(games[0]), codes.shape[1]
    if spectrum.main.shape != (d,):
        raise ShapeError(f"spectrum: expected {d} features, got {spectrum.main.shape}")
    added = [np.zeros((r, d))]
    if guide is not None:
        if guide.v.shape != v.shape or guide.shapley.shape != (r, d):
            raise ShapeError(f"guide: expected v {v.shape} and shapley {(r, d)}, got {guide.v.shape} and {guide.shapley.shape}")
        games.append(games[0] - _odd(codes, guide.v, guide.v_empty, guide.v_full))
        added.append(guide.shapley)
    averaged = _average if games[0].shape[1] <= _AVERAGED_PAIRS else _best
    with one_blas_thread():
        prior = Prior.of(spectrum, np.vstack([np.ones(d), np.where(codes[0::2], 1.0, -1.0)]))
        values, errors, subtracted = averaged(prior, games, added)
    gap = (v_full - v_empty) - values.sum(axis=1)  # only rounding and _EXACT are left
    values += gap[:, None] / d
    return Estimate(values, _CAUTION * errors, "spectral_gp", {"subtracted": subtracted})


def _odd(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats) -> Floats:
    """(r, 1 + m / 2) the odd part: first at the full coalition, then at the pairs."""
    pairs = odd_part(codes, v, v_empty, v_full)
    return np.concatenate([pairs.total[:, None] / 2, pairs.g], axis=1)


def _covariances(prior: Prior, setting: _Setting, n: int) -> Covariances:
    first, listed, floor = prior.first(setting.subtracted).top(n), prior.listed.top(n), prior.floor.top(n)
    a, b = setting.scale * (1 - setting.floor), setting.scale * setting.floor
    pairs = first.pairs + a * listed.pairs + b * floor.pairs
    variance = pairs[0, 0]
    noise = setting.noise * (variance - first.pairs[0, 0]) + _EXACT * variance
    pairs[np.diag_indices(n)] += noise
    pairs[0, 0] += _EXACT * variance - noise  # the full coalition is known, without noise
    return Covariances(
        pairs, first.shapley + a * listed.shapley + b * floor.shapley, first.variance + a * listed.variance + b * floor.variance
    )


def _factors(prior: Prior, n: int, n_games: int) -> Iterator[_Factor]:
    """The settings at the first n pairs, one after the other; a setting that cannot be factored is left out."""
    for subtracted, scale, floor, noise in product((False, True)[:n_games], _SCALES, _FLOORS, _NOISES):
        factor = _factor(prior, _Setting(subtracted, scale, floor, noise), n)
        if factor is not None:
            yield factor


def _factor(prior: Prior, setting: _Setting, n: int) -> _Factor | None:
    covariances = _covariances(prior, setting, n)
    try:
        root = cholesky(covariances.pairs, lower=True)
    except LinAlgError:
        return None
    white = solve_triangular(root, np.eye(n), lower=True)
    seen = white @ covariances.shapley.T
    spread = np.sqrt(np.maximum(covariances.variance - (seen**2).sum(axis=0), 0.0))
    return _Factor(setting, np.ascontiguousarray(white.T), float(np.log(np.diag(root)).sum()), seen, spread)


def _average(prior: Prior, games: list[Floats], added: list[Floats]) -> tuple[Floats, Floats, Floats]:
    """Values (r, d), standard errors (r, d) and the weight of subtraction (r,), averaged over the settings by evidence."""
    r, n = games[0].shape
    d = added[0].shape[1]
    most, total, subtracted = np.full(r, -np.inf), np.zeros(r), np.zeros(r)
    first, second = np.zeros((r, d)), np.zeros((r, d))  # weighted sums of values and of their squares, about the plain value
    origin: Floats | None = None
    for factor in _factors(prior, n, len(games)):
        which = int(factor.setting.subtracted)
        white = _by_blocks(games[which], factor.white)
        values, power = _by_blocks(white, factor.seen) + added[which], _power(white)
        origin = values if origin is None else origin
        evidence = -0.5 * n * np.log(power) - factor.log_root
        raised = np.maximum(most, evidence)
        old, new = np.exp(most - raised), np.exp(evidence - raised)
        away = values - origin
        total, subtracted = total * old + new, subtracted * old + new * which
        first = first * old[:, None] + new[:, None] * away
        second = second * old[:, None] + new[:, None] * (away**2 + power[:, None] * factor.spread**2)
        most = raised
    if origin is None:
        raise InputError("v: no setting of the prior fits these coalitions; the spectrum may hold values that are not finite")
    mean = first / total[:, None]
    return origin + mean, np.sqrt(np.maximum(second / total[:, None] - mean**2, 0.0)), subtracted / total


def _best(prior: Prior, games: list[Floats], added: list[Floats]) -> tuple[Floats, Floats, Floats]:
    """The same by the one setting that the first pairs find most likely."""
    r = len(games[0])
    settings: list[_Setting] = []
    most, chosen = np.full(r, -np.inf), np.zeros(r, dtype=np.int64)
    for factor in _factors(prior, _AVERAGED_PAIRS, len(games)):
        power = _power(_by_blocks(games[int(factor.setting.subtracted)][:, :_AVERAGED_PAIRS], factor.white))
        evidence = -0.5 * _AVERAGED_PAIRS * np.log(power) - factor.log_root
        better = evidence > most
        most[better], chosen[better] = evidence[better], len(settings)
        settings.append(factor.setting)
    values, errors = np.empty(added[0].shape), np.empty(added[0].shape)
    for index in np.unique(chosen):
        at: Ints = np.flatnonzero(chosen == index)
        factor = _all_pairs(prior, settings[index], games[0].shape[1])
        which = int(factor.setting.subtracted)
        white = _by_blocks(games[which][at], factor.white)
        values[at] = _by_blocks(white, factor.seen) + added[which][at]
        errors[at] = np.sqrt(_power(white))[:, None] * factor.spread
    return values, errors, np.array([setting.subtracted for setting in settings], dtype=np.float64)[chosen]


def _all_pairs(prior: Prior, setting: _Setting, n: int) -> _Factor:
    """The factor at all pairs; where more pairs make it singular, the noise is raised until it exists."""
    factor = _factor(prior, setting, n)
    while factor is None:
        setting = _Setting(setting.subtracted, setting.scale, setting.floor, max(setting.noise, 1e-9) * 10)
        factor = _factor(prior, setting, n)
    return factor


def _power(white: Floats) -> Floats:
    """(r,) mean squares: the factor that scales a row's prior."""
    return np.asarray(np.maximum((white**2).mean(axis=1), np.finfo(float).tiny))


def _by_blocks(rows: Floats, matrix: Floats) -> Floats:
    """rows @ matrix in products of one fixed shape, padded with zeros: BLAS rounds differently for other shapes."""
    out = np.empty((len(rows), matrix.shape[1]))
    padded = np.zeros((_WIDTH, rows.shape[1]))
    for start in range(0, len(rows), _WIDTH):
        block = rows[start : start + _WIDTH]
        padded[: len(block)] = block
        padded[len(block) :] = 0.0
        out[start : start + _WIDTH] = (padded @ matrix)[: len(block)]
    return out
