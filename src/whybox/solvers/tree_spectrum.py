"""Which third-order interactions a tree game has: its odd Fourier coefficients up to order three, exactly.

In z in {-1,+1}^d, v(z) = sum_T c_T prod_{i in T} z_i. Pairs of complementary coalitions see odd orders only, Shapley values read nothing
else, and what makes paired estimators err is order three and above. Trees know which triples those are: a leaf of D features touches
C(D, 3) of them. The energies of the coefficients over reference rows are the prior of :mod:`whybox.solvers.spectral_gp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from scipy import sparse

from whybox.errors import ShapeError
from whybox.solvers.tree_game import TreeGame
from whybox.solvers.tree_patterns import met_patterns
from whybox.typing import Floats, Ints

_ROW_BLOCK = 16
_MAX_TRIPLES = 1500
_TRUSTED = 0.6  # in benchmarks/shared_surrogate.py tree models reach 0.68 to 0.98 and gain, the others 0.31 to 0.55 and do not
_ENERGY = 0.999  # share of the triples' energy that is listed one by one; the prior's floor takes the rest


@dataclass(frozen=True)
class Spectrum:
    """Expected squares of a game's odd Fourier coefficients, up to a common factor.

    Args:
        main: (d,) of the first-order coefficients.
        triples: (u, 3) features of the third-order coefficients that are listed.
        energy: (u,) of those.
        main_left: (d,) of the first-order coefficients after the surrogate was subtracted.
        agreement: of the two halves on the third order: their covariance over their mean energy, 1 if they say the same, 0 if they share
            nothing.
    """

    main: Floats
    triples: Ints
    energy: Floats
    main_left: Floats
    agreement: float = 1.0

    @property
    def trusted(self) -> bool:
        """Whether the halves agree enough for the prior to beat an odd Gaussian process that looks for the interactions row by row."""
        return self.agreement >= _TRUSTED


@dataclass(frozen=True)
class OddCoefficients:
    """Odd Fourier coefficients of the games of n rows: ``main`` (n, d), ``triples`` (u, 3) sorted, ``third`` (n, u)."""

    main: Floats
    triples: Ints
    third: Floats


@lru_cache(maxsize=32)
def _walsh(size: int, order: int) -> Floats:
    """(2^D patterns S, C(D, order) subsets T): coefficient of T in the indicator of S."""
    signs = 2.0 * ((np.arange(1 << size)[:, None] >> np.arange(size)) & 1) - 1.0
    subsets = list(combinations(range(size), order))
    return np.stack([signs[:, list(subset)].prod(axis=1) for subset in subsets], axis=1) / (1 << size)


def odd_coefficients(game: TreeGame, x: Floats) -> OddCoefficients:
    """First- and third-order Fourier coefficients of the games of rows, exactly.

    Args:
        game: of the trees.
        x: (n, d) rows.

    Example:
        >>> import numpy as np
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> from whybox.solvers.tree_leaves import ensembles
        >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> (trees,) = ensembles(DecisionTreeRegressor().fit(x, x[:, 0] * x[:, 1]))
        >>> odd_coefficients(TreeGame.of(trees, x[:1]), x[3:]).main.tolist()
        [[0.25, 0.25]]
    """
    rows = game.ensemble.rows(x)
    d = game.ensemble.n_features
    triples, columns = _triples(game)
    main, third = np.zeros((len(rows), d)), np.zeros((len(rows), len(triples)))
    for table, column in zip(game.tables, columns, strict=True):
        feature = table.group.feature
        size = feature.shape[1]
        every = np.arange(1 << size)
        inside = (every[None, :] & ~every[:, None]) == 0  # pattern of x, coalition pattern: subset of it
        worth = np.where(inside[None], table.kept[:, None, :], 0.0)  # (L, 2^D, 2^D)
        for order, out, place in ((1, main, feature), (3, third, column)):
            if size < order:
                continue
            coefficients = (worth @ _walsh(size, order)).reshape(len(feature) << size, -1)
            add = sparse.csr_array((np.ones(place.size), (place.ravel(), np.arange(place.size))), shape=(out.shape[1], place.size))
            for start in range(0, len(rows), _ROW_BLOCK):
                block = rows[start : start + _ROW_BLOCK]
                index = met_patterns(table.group, block).astype(np.intp) + (np.arange(len(feature)) << size)[:, None]
                out[start : start + _ROW_BLOCK] += (add @ coefficients[index].transpose(0, 2, 1).reshape(place.size, -1)).T
    return OddCoefficients(main, triples, third)


def _triples(game: TreeGame) -> tuple[Ints, list[Ints]]:
    """(u, 3) distinct triples of the paths; for every group of leaves its (L, C(D, 3)) places among them."""
    d = game.ensemble.n_features
    keys = []
    for table in game.tables:
        subsets = list(combinations(range(table.group.feature.shape[1]), 3))
        chosen = np.array(subsets, dtype=np.int64).reshape(-1, 3)
        features = np.sort(table.group.feature[:, chosen], axis=2)  # (L, C, 3)
        keys.append((features[..., 0] * d + features[..., 1]) * d + features[..., 2])
    distinct = np.unique(np.concatenate([key.ravel() for key in keys])) if keys else np.zeros(0, dtype=np.int64)
    triples = np.stack([distinct // (d * d), distinct // d % d, distinct % d], axis=1)
    return triples, [np.searchsorted(distinct, key) for key in keys]


def spectrum(first: TreeGame, second: TreeGame, x: Floats) -> Spectrum:
    """The spectrum of two games that were fitted to the same model on other queries, over reference rows.

    Their mean is the surrogate; half of their difference says how much of a coefficient the surrogate has wrong.

    Args:
        first: game of the trees fitted on one half of the queries.
        second: of the other half.
        x: (n, d) reference rows.

    Raises:
        ShapeError: no reference rows.
    """
    a, b = odd_coefficients(first, x), odd_coefficients(second, x)
    if not len(a.main):
        raise ShapeError("reference: expected at least one row to take the spectrum over, got none")
    d = a.main.shape[1]
    triples = np.unique(np.concatenate([a.triples, b.triples]), axis=0)
    mean, gap = np.zeros((len(a.main), len(triples))), np.zeros((len(a.main), len(triples)))
    keys = (triples[:, 0] * d + triples[:, 1]) * d + triples[:, 2]
    for part, sign in ((a, 1.0), (b, -1.0)):
        place = np.searchsorted(keys, (part.triples[:, 0] * d + part.triples[:, 1]) * d + part.triples[:, 2])
        mean[:, place] += part.third / 2
        gap[:, place] += sign * part.third / 2
    energy = np.mean(mean**2, axis=0)
    order = np.argsort(-energy, kind="stable")
    order = order[energy[order] > 0]
    share = np.cumsum(energy[order]) / max(float(energy.sum()), np.finfo(float).tiny)
    kept = np.sort(order[: min(_MAX_TRIPLES, int(np.searchsorted(share, _ENERGY)) + 1)])
    main, left = np.mean(((a.main + b.main) / 2) ** 2, axis=0), np.mean(((a.main - b.main) / 2) ** 2, axis=0)
    same, other = float(energy.sum()), float(np.mean(gap**2, axis=0).sum())  # a b = mean^2 - gap^2, (a^2 + b^2) / 2 = mean^2 + gap^2
    return Spectrum(main, triples[kept], energy[kept], left, (same - other) / (same + other) if same + other > 0 else 1.0)
