"""A surrogate that all rows share: fitted once, on queries that are counted, and used by every later call."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from whybox._arrays import is_array, is_frame, to_numpy
from whybox._random import generator
from whybox.errors import InputError, OptionError
from whybox.explainers._job import Composed, Job, Request, count
from whybox.explainers._shapley import Solve, Solver
from whybox.solvers.row_encoding import RowEncoder, fit_encoder
from whybox.solvers.spectral_gp import solve_spectral_gp
from whybox.solvers.tree_surrogate import BoundSurrogate, fit_surrogate
from whybox.spaces.marginal import MarginalBound
from whybox.typing import Ask, Bools, Bound, Estimate, Floats, Ints, Rows

_REFERENCE = 100
_GUIDED = 20  # coalitions a feature from which the prior alone is as good as the surrogate's own answers


@dataclass(frozen=True, repr=False)
class FittedSurrogate:
    """What an explainer has learnt about its model. Made by ``KernelSHAP.fit``.

    Args:
        games: the surrogate's games against the explainer's background.
        encoder: rows as numbers that trees can split on.
        r2: for each output the share of its variance that the surrogate explains of queries it did not learn from.
        n_queries: rows that the model was called with.
        seed: of the fit.
    """

    games: BoundSurrogate
    encoder: RowEncoder
    r2: tuple[float, ...]
    n_queries: int
    seed: int

    def __repr__(self) -> str:
        r2 = ", ".join(f"{value:.3f}" for value in self.r2)
        return f"<FittedSurrogate: R2 {r2}, {'used' if self.trusted else 'not used'}, {self.n_queries:,} model queries>"

    @property
    def trusted(self) -> bool:
        """Whether the surrogate is used for any output: its two halves, learnt from different queries, agree on the interactions."""
        return any(spectrum.trusted for spectrum in self.games.spectra)

    def solver(self, job: Job) -> Solve:
        """The spectral Gaussian process with this surrogate's prior and exact answers; outputs whose halves disagree go to the plan's.

        Raises:
            OptionError: the model has another number of outputs than the one that the surrogate was fitted to.
        """
        learnt = len(self.games.spectra)
        if job.full.shape[1] != learnt:
            raise OptionError(f"surrogate: was fitted to {learnt} outputs, {job.model.name} has {job.full.shape[1]}; call fit again")

        def solve(codes: Bools, v: Floats, none: Floats, full: Floats, rows: Ints, outputs: Ints, plain: Solver) -> Estimate:
            m, d = codes.shape
            values, errors = np.empty((len(v), d)), np.empty((len(v), d))
            names = set()
            for output in np.unique(outputs).tolist():
                at = np.flatnonzero(outputs == output)
                spectrum = self.games.spectra[output]
                if spectrum.trusted:
                    guide = None
                    if m <= _GUIDED * d:
                        guide = self.games.guide(self.encoder.encode(_originals(job.bound, job.rows[rows[at]])), codes, output)
                    found = solve_spectral_gp(codes, v[at], none[at], full[at], spectrum=spectrum, guide=guide)
                else:
                    found = plain(codes, v[at], none[at], full[at])
                names.add(found.method)
                values[at], errors[at] = found.values, found.std_error
            return Estimate(values, errors, ", ".join(sorted(names)))

        return solve


def fit_shared(
    explainer: Composed,
    x: Any,
    *,
    budget: int,
    seed: int,
    progress: bool | None,
    checkpoint: str | os.PathLike[str] | None,
) -> FittedSurrogate:
    """Query the model on hybrids of reference and background rows, and fit the surrogate to the answers.

    Args:
        explainer: whose model and background are meant.
        x: (n, d) rows like those that will be explained.
        budget: model rows to spend.
        seed: of the hybrids.
        progress: show a progress bar.
        checkpoint: see :meth:`whybox.KernelSHAP.explain`.

    Raises:
        OptionError: the space has no background, or the budget is too small.
        InputError: fewer than two features.
    """
    n_rows = count("budget", budget, 200)
    request = Request(explainer, x, seed, None, progress, checkpoint, {"fit": n_rows})
    with Job(request) as job:
        bound = job.bound
        if not isinstance(bound, MarginalBound):
            raise OptionError(f"fit: the surrogate needs a background space (Marginal or Baseline), got {type(bound).__name__}")
        d = bound.n_features(0)
        if d < 2:
            raise InputError("fit: one feature needs no surrogate: its Shapley value is the prediction minus the base value")
        rng = generator(seed, "surrogate", d)
        size = rng.integers(0, d + 1, n_rows)
        codes = rng.permuted(np.tile(np.arange(d), (n_rows, 1)), axis=1) < size[:, None]
        instance, draw = rng.integers(0, len(job.rows), n_rows), rng.choice(bound.draws, n_rows, p=bound.weights)
        ask = Ask(job.rows, codes)
        rows = bound.take(ask, (instance * n_rows + np.arange(n_rows)) * bound.draws + draw)
        outputs = job.run.predict(rows, n_rows)
        encoder = fit_encoder(_host(rows), outputs)
        surrogate = fit_surrogate(encoder.encode(_host(rows)), outputs, seed=seed)
        background = bound.compose(Ask(job.rows[:1], np.zeros((1, d), dtype=bool)), 0, bound.draws)
        reference = _originals(bound, job.rows[:_REFERENCE])
        games = surrogate.bind(encoder.encode(_host(background)), encoder.encode(reference), bound.weights)
        return FittedSurrogate(games, encoder, tuple(map(float, surrogate.r2)), job.run.stats.n_queries, int(seed))


def _originals(bound: Bound, rows: Ints) -> Rows:
    """Chosen explained rows: the full coalition, drawn once."""
    d = bound.n_features(0)
    return _host(bound.take(Ask(rows, np.ones((1, d), dtype=bool)), np.arange(len(rows)) * bound.draws))


def _host(rows: Rows) -> Rows:
    return to_numpy(rows) if is_array(rows) and not is_frame(rows) else rows
