"""A model of the model, fitted once and shared by all rows that are explained.

phi(v) = phi(v^) + phi(v - v^) for every game v^. Two tree ensembles are boosted on halves of queries of the model; their mean is the
surrogate. Its Shapley values and its games are exact sums (:mod:`whybox.solvers.tree_game`), so that a row's coalitions are left with the
residual game; and its spectrum says which interactions a solver should expect (:mod:`whybox.solvers.spectral_gp`). Each half predicts
the other's queries: that is the R2 that is reported.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whybox.errors import InputError, OptionError, OutputValueError, ShapeError
from whybox.solvers._threads import threads_for
from whybox.solvers.spectral_gp import Guide
from whybox.solvers.tree_game import TreeGame
from whybox.solvers.tree_leaves import TreeEnsemble, ensembles
from whybox.solvers.tree_outputs import tree_outputs
from whybox.solvers.tree_spectrum import Spectrum, spectrum
from whybox.typing import Bools, Floats

_LEAST_ROWS = 200
_JUDGED = 10_000  # queries over which the R2 is taken: its error is then far below one percent
_MIRROR = 1e-9  # two outputs are one when their sum varies less than this against them, as the two probabilities of a classifier


@dataclass(frozen=True)
class TreeSettings:
    """How the two ensembles are grown.

    Args:
        depth: most questions on a path; at least 3 to see third-order interactions, at most 8.
        leaves: most leaves of a tree, or None for as many as the depth allows.
        trees: trees of each ensemble.
        learning_rate: of the boosting.
        min_rows: least rows in a leaf.
    """

    depth: int = 4
    leaves: int | None = None
    trees: int = 200
    learning_rate: float = 0.15
    min_rows: int = 10


@dataclass(frozen=True)
class Surrogate:
    """What the model is like. Made by :func:`fit_surrogate`.

    Args:
        halves: for every output its two ensembles; one entry where two outputs mirror each other.
        mirror: the constant sum of the two outputs, where they mirror each other.
        r2: (k,) share of the outputs' variance that each half explains of the other half's queries.
        n_queries: rows that were learned from.
        fit_seconds: CPU seconds of the fit.
    """

    halves: tuple[tuple[TreeEnsemble, TreeEnsemble], ...]
    mirror: float | None
    r2: Floats
    n_queries: int
    fit_seconds: float

    def predict(self, rows: Any) -> Floats:
        """What the model would probably say.

        Args:
            rows: (N, d) floats, NaN where missing.

        Returns:
            (N, k) predictions.
        """
        table = np.asarray(rows, dtype=np.float64)
        outputs = np.stack([(tree_outputs(first, table) + tree_outputs(second, table)) / 2 for first, second in self.halves], axis=1)
        return outputs if self.mirror is None else np.concatenate([outputs, self.mirror - outputs], axis=1)

    def bind(self, background: Any, reference: Any, weights: Any = None) -> BoundSurrogate:
        """The surrogate's games against a background.

        Args:
            background: (b, d) floats.
            reference: (n, d) rows like those that will be explained; 50 to 100 are enough. Only the spectrum is taken over them.
            weights: (b,) of the background rows, equal by default.
        """
        rows = np.asarray(reference, dtype=np.float64)
        games = tuple((TreeGame.of(first, background, weights), TreeGame.of(second, background, weights)) for first, second in self.halves)
        spectra = tuple(spectrum(first, second, rows) for first, second in games)
        return BoundSurrogate(games, spectra if self.mirror is None else (spectra[0], spectra[0]), self.mirror)


@dataclass(frozen=True)
class BoundSurrogate:
    """The surrogate's games against one background.

    Args:
        games: for every fitted output the games of its two halves.
        spectra: k priors for :func:`whybox.solvers.spectral_gp.solve_spectral_gp`.
        mirror: see :class:`Surrogate`.
    """

    games: tuple[tuple[TreeGame, TreeGame], ...]
    spectra: tuple[Spectrum, ...]
    mirror: float | None

    @property
    def n_outputs(self) -> int:
        """Outputs of the model."""
        return len(self.spectra)

    def guide(self, x: Any, codes: Bools, output: int) -> Guide:
        """The surrogate's exact answers for some rows and one output.

        Args:
            x: (n, d) floats.
            codes: (m, d) coalitions.
            output: 0 to k - 1.

        Returns:
            The guide of n right-hand sides. Each row's is the same whatever the other rows are.
        """
        if not 0 <= output < self.n_outputs:
            raise OptionError(f"output: expected 0 to {self.n_outputs - 1}, got {output}")
        mirrored = self.mirror is not None and output == 1
        first, second = self.games[0 if mirrored else output]
        with_full = np.concatenate([codes, np.ones((1, codes.shape[1]), dtype=bool)])
        values = (first.values(x, with_full) + second.values(x, with_full)) / 2
        empty = np.full(len(values), (first.empty() + second.empty()) / 2)
        found = Guide((first.shapley(x) + second.shapley(x)) / 2, values[:, :-1], empty, values[:, -1])
        if not mirrored:
            return found
        total = float(self.mirror or 0.0)
        return replace(found, shapley=-found.shapley, v=total - found.v, v_empty=total - empty, v_full=total - found.v_full)


def fit_surrogate(rows: Any, outputs: Any, *, seed: int = 0, settings: TreeSettings | None = None) -> Surrogate:
    """Fit the surrogate to queries of the model.

    The best rows are hybrids of a row like those to be explained and a background row, with sizes of the coalition uniform from 0 to d:
    the rows that explaining will ask about. Rows should come in random order; even positions train one half, odd positions the other.

    Args:
        rows: (N, d) floats, NaN where missing (:class:`whybox.solvers.row_encoding.RowEncoder` makes them of any table); at least 200.
        outputs: (N,) or (N, k) what the model said.
        seed: handed to scikit-learn, which draws nothing below 200,000 rows a half.
        settings: of the trees.

    Returns:
        The surrogate.

    Raises:
        InputError: too few rows.
        ShapeError: rows and outputs do not fit together.
        OutputValueError: outputs are not finite.
        OptionError: settings that cannot be tabulated.

    Source:
        Histogram gradient boosting, Ke et al. 2017 (LightGBM), as in scikit-learn; cross-fitting, Chernozhukov et al. 2018.

    Example:
        >>> import numpy as np
        >>> rows = np.linspace(-1.0, 1.0, 2000).reshape(1000, 2)[::-1]
        >>> fit_surrogate(rows, rows[:, 0]).r2.round(1).tolist()
        [1.0]
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    chosen = settings or TreeSettings()
    if not 1 <= chosen.depth <= 8:
        raise OptionError(f"settings: expected a depth of 1 to 8, got {chosen.depth}; tables hold 2^depth patterns a leaf")
    table, answers = np.asarray(rows, dtype=np.float64), np.asarray(outputs, dtype=np.float64)
    answers = answers[:, None] if answers.ndim == 1 else answers
    if table.ndim != 2 or answers.ndim != 2 or len(table) != len(answers):
        raise ShapeError(f"expected rows (N, d) and outputs (N,) or (N, k), got {table.shape} and {np.shape(outputs)}")
    if len(table) < _LEAST_ROWS:
        raise InputError(f"rows: expected at least {_LEAST_ROWS} queries to learn from, got {len(table)}; raise the fit's budget")
    if not np.all(np.isfinite(answers)):
        raise OutputValueError(f"outputs: expected finite numbers, got {int(np.sum(~np.isfinite(answers)))} that are not")
    started = time.process_time()
    mirror = _mirror(answers)
    pairs: list[tuple[TreeEnsemble, TreeEnsemble]] = []
    explained: list[float] = []
    for k in range(1 if mirror is not None else answers.shape[1]):
        with threads_for(len(table)):
            boosted = [
                HistGradientBoostingRegressor(
                    max_depth=chosen.depth,
                    max_leaf_nodes=chosen.leaves,
                    max_iter=chosen.trees,
                    learning_rate=chosen.learning_rate,
                    min_samples_leaf=chosen.min_rows,
                    early_stopping=False,
                    random_state=seed,
                ).fit(table[half::2], answers[half::2, k])
                for half in (0, 1)
            ]
        first, second = (ensembles(estimator)[0] for estimator in boosted)
        pairs.append((first, second))
        explained.append(_explained(first, second, table[:_JUDGED], answers[:_JUDGED, k]))
    r2 = np.array(explained if mirror is None else explained * 2)
    return Surrogate(tuple(pairs), mirror, r2, len(table), time.process_time() - started)


def _explained(first: TreeEnsemble, second: TreeEnsemble, rows: Floats, answers: Floats) -> float:
    """Share of the variance that each half explains of the other half's queries."""
    spread = float(np.var(answers))
    missed = [np.mean((tree_outputs(half, rows[at::2]) - answers[at::2]) ** 2) for half, at in ((first, 1), (second, 0))]
    return 1.0 - float(np.mean(missed)) / spread if spread > 0 else 1.0


def _mirror(outputs: Floats) -> float | None:
    """The constant sum of two outputs, or None."""
    if outputs.shape[1] != 2:
        return None
    total = outputs.sum(axis=1)
    return float(total.mean()) if np.ptp(total) <= _MIRROR * max(float(np.ptp(outputs)), np.finfo(float).tiny) else None
