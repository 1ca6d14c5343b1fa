"""Shapley values by a Gaussian process whose prior was learned from a surrogate that all rows share.

Pairs of coalitions give the odd part of a game, g(z) = (v(z) - v(-z)) / 2. The odd Gaussian process has to guess from a row's own pairs which
interactions exist; the surrogate's trees know. The prior's variances are the surrogate's spectrum, so that one design and one factorisation
serve every row. A row may also have the surrogate's game subtracted and its exact Shapley values added back. Which of the two, and how much
third order and noise there is, the marginal likelihood of the row's own pairs decides: where the surrogate does not help, it is not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from whybox.errors import InputError, ShapeError
from whybox.solvers.spectral_prior import Covariances, Prior
from whybox.solvers.tree_spectrum import Spectrum
from whybox.typing import Bools, Estimate, Floats

_SCALES = (0.2, 0.7, 2.0, 7.0)  # third order against what the spectrum says, relative to the first
_FLOORS = (0.003, 0.03, 0.2, 0.8)  # share of the third order that the spectrum does not list
_NOISES = (1e-6, 1e-3, 3e-2)  # against the third order
_EXACT = 1e-10  # variance of what is known exactly, against the prior variance of a pair
_EVIDENCE_PAIRS = 256  # hyper-parameters are judged on the first pairs; all pairs enter the values
_WIDTH = 64  # right-hand sides of one product: always as many, so that a row's bits do not depend on the others


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
        Values (r, d) that sum to ``v_full - v_empty``, standard errors (r, d); ``info["subtracted"]`` (r,) tells whether the surrogate's
        game was subtracted.

    Raises:
        ShapeError: shapes that do not fit together.
        InputError: codes are not complementary pairs.

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
    _check(codes, v, v_empty, v_full, spectrum, guide)
    signs = np.vstack([np.ones(codes.shape[1]), np.where(codes[0::2], 1.0, -1.0)])
    prior = Prior.of(spectrum, signs)
    games = [(False, _odd(v, v_empty, v_full))]
    if guide is not None:
        games.append((True, games[0][1] - _odd(guide.v, guide.v_empty, guide.v_full)))
    settings, chosen = _choose(prior, games)
    values, errors = np.empty((len(v), codes.shape[1])), np.empty((len(v), codes.shape[1]))
    for index in np.unique(chosen):
        at, setting = chosen == index, settings[index]
        game = games[int(setting.subtracted)][1][at]
        values[at], errors[at] = _posterior(prior, setting, game)
        if guide is not None and setting.subtracted:
            values[at] += guide.shapley[at]
    gap = (v_full - v_empty) - values.sum(axis=1)  # only rounding and _EXACT are left
    values += gap[:, None] / codes.shape[1]
    subtracted = np.array([setting.subtracted for setting in settings])[chosen]
    return Estimate(values, errors, "spectral_gp", {"subtracted": subtracted})


def _check(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats, spectrum: Spectrum, guide: Guide | None) -> None:
    m, d = codes.shape
    r = len(v)
    if v.shape != (r, m) or v_empty.shape != (r,) or v_full.shape != (r,) or spectrum.main.shape != (d,):
        raise ShapeError(
            f"expected v (r, {m}), v_empty and v_full (r,) and a spectrum of {d} features, got {v.shape}, {v_empty.shape}, {v_full.shape} "
            f"and {spectrum.main.shape}"
        )
    if guide is not None and (guide.v.shape != v.shape or guide.shapley.shape != (r, d)):
        raise ShapeError(f"guide: expected v {v.shape} and shapley {(r, d)}, got {guide.v.shape} and {guide.shapley.shape}")
    if m % 2 or not np.array_equal(codes[0::2], ~codes[1::2]):
        raise InputError("codes: expected complementary pairs, row 2i + 1 the complement of row 2i; draw them by samplers.coalitions")


def _odd(v: Floats, v_empty: Floats, v_full: Floats) -> Floats:
    """(r, 1 + m / 2) the odd part: first at the full coalition, then at the pairs."""
    return np.concatenate([((v_full - v_empty) / 2)[:, None], (v[:, 0::2] - v[:, 1::2]) / 2], axis=1)


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


def _choose(prior: Prior, games: list[tuple[bool, Floats]]) -> tuple[list[_Setting], np.ndarray]:
    """The setting with the largest marginal likelihood for every right-hand side: settings, and (r,) positions among them."""
    n = min(games[0][1].shape[1], _EVIDENCE_PAIRS)
    settings: list[_Setting] = []
    best, chosen = np.full(len(games[0][1]), -np.inf), np.zeros(len(games[0][1]), dtype=np.int64)
    for (subtracted, game), scale, floor, noise in product(games, _SCALES, _FLOORS, _NOISES):
        setting = _Setting(subtracted, scale, floor, noise)
        root = _root(_covariances(prior, setting, n).pairs)
        if root is None:
            continue
        white = _by_blocks(game[:, :n], solve_triangular(root, np.eye(n), lower=True).T)
        evidence = -0.5 * n * np.log(_power(white)) - np.log(np.diag(root)).sum()
        better = evidence > best
        best[better], chosen[better] = evidence[better], len(settings)
        settings.append(setting)
    return settings, chosen


def _posterior(prior: Prior, setting: _Setting, game: Floats) -> tuple[Floats, Floats]:
    """Values and standard errors (r, d)."""
    covariances = _covariances(prior, setting, game.shape[1])
    root = _root(covariances.pairs)
    while root is None:  # only with more pairs than the evidence saw: raise what counts as exact until the factor exists
        setting = _Setting(setting.subtracted, setting.scale, setting.floor, max(setting.noise, 1e-9) * 10)
        covariances = _covariances(prior, setting, game.shape[1])
        root = _root(covariances.pairs)
    inverse = solve_triangular(root, np.eye(len(root)), lower=True)
    white = _by_blocks(game, inverse.T)
    seen = inverse @ covariances.shapley.T  # (n, d)
    spread = np.sqrt(np.maximum(covariances.variance - (seen**2).sum(axis=0), 0.0))
    return _by_blocks(white, seen), np.sqrt(_power(white))[:, None] * spread


def _power(white: Floats) -> Floats:
    """(r,) mean squares: the factor that scales a row's prior."""
    return np.asarray(np.maximum((white**2).mean(axis=1), np.finfo(float).tiny))


def _root(matrix: Floats) -> Floats | None:
    try:
        return np.asarray(cholesky(matrix, lower=True))
    except LinAlgError:
        return None


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
