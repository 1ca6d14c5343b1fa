"""LIME: a linear model of the model's outputs around each row."""

from __future__ import annotations

import os
import warnings
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whybox._random import generator
from whybox.engine import Engine
from whybox.errors import OptionError
from whybox.explainers._hints import Hints
from whybox.explainers._job import Job, Request, count, positive
from whybox.explainers._local import LocalPlan, LocalRows, explain_local
from whybox.explainers._plan import QueryPlan, Wanted, plan_queries
from whybox.explainers._shapley import ToleranceWarning
from whybox.explainers._widths import Width, by_width, check_size
from whybox.explanations import Attribution
from whybox.samplers.neighborhood import Design, unit_points
from whybox.solvers.linear import Selection
from whybox.spaces import Baseline, Groups, Marginal
from whybox.spaces._coalition_neighborhood import CoalitionNeighborhood
from whybox.spaces.neighborhood import Neighborhood, NeighborhoodBound
from whybox.typing import Bound, Coalitions, Floats, LocalBound, Space, Target

NEIGHBORHOODS: dict[str, dict[str, Any]] = {
    "bins": {},
    "gaussian": {"discretize": None, "around": "row"},
    "gaussian-mean": {"discretize": None, "around": "mean"},
    "c-lime": {"discretize": None, "around": "row", "scale": 0.1, "kernel_width": np.inf},
    "glime": {"discretize": None, "around": "row", "sampling": "kernel"},
}
SETTINGS = ("neighborhood", "discretize", "kernel_width", "sampler", "num_features", "feature_selection", "solver", "alpha", "control")
DEFAULT_SAMPLES, MOST_SAMPLES = 5000, 100_000


class LowFidelityWarning(UserWarning):
    """A linear model describes the model badly in the neighbourhood: its weights say little."""


@dataclass(frozen=True)
class LIME(Hints):
    """Weights of a linear model fitted to the model's outputs in a neighbourhood of each row (Ribeiro, Singh and Guestrin 2016).

    Defaults are lime's own: quantile bins, weights ``exp(-D^2 / (2 width^2))`` with width ``0.75 sqrt(d)``, ridge with penalty 1. Two
    things get more out of the same definition. lime's binned neighbourhood does not depend on the explained row, so one set
    of samples serves all rows of a call: n rows cost ``budget + n`` queries, not ``budget * n``. And a surrogate, fitted out of fold to
    these samples, serves as control variate: only its difference from the model is left to be estimated (``control="none"`` gives the
    weights that lime would compute from the samples).

    Args:
        model: anything that :func:`whybox.as_model` takes.
        background: (b, d) rows that the neighbourhood is learnt from, such as the training data; or None if ``space`` is given.
        space: a :class:`whybox.spaces.Neighborhood`, for settings that ``neighborhood`` does not name.
        neighborhood: "bins" (default), "gaussian" (around the row), "gaussian-mean" (around the mean, as lime without bins),
            "c-lime" (additive noise of 0.1 standard deviations, all points alike) or "glime" (drawn from the weighted distribution).
        discretize: bins of "bins": "quartile" (default), "decile" or their number.
        kernel_width: width of the weights; None (default) takes the neighbourhood's, ``0.75 sqrt(d)``.
        sampler: "latin-hypercube" (default), "antithetic" or "monte-carlo".
        num_features: at most so many features have a weight; None (default): all.
        feature_selection: which: "auto" (default, lime's rule), "forward_selection", "highest_weights", "lasso_path" or "none".
        solver: "ridge" (default) or "least_squares".
        alpha: ridge penalty. Default 1.
        control: "auto" (default: where samples are shared by all rows and there are at least 200 of them) or "none".
        min_score: warn where R2 is less. Default 0.1; None never warns.
        output: which output of the model, see :func:`whybox.as_model`.
        engine: how the model is called.

    Raises:
        OptionError: an option has a value that does not exist.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> e = LIME(lambda x: x @ np.array([2.0, -1.0]), X, neighborhood="gaussian").explain(X[:1], budget=500)
        >>> bool(abs(e.values[0] / X.std(axis=0) - [2, -1]).max() < 0.02)  # one standard deviation more
        True
    """

    model: Any = field(repr=False)
    background: Any = field(default=None, repr=False)
    _: KW_ONLY
    space: Space | None = None
    neighborhood: Literal["bins", "gaussian", "gaussian-mean", "c-lime", "glime"] = "bins"
    discretize: Literal["quartile", "decile"] | int = "quartile"
    kernel_width: float | None = None
    sampler: Design = "latin-hypercube"
    num_features: int | None = None
    feature_selection: Selection = "auto"
    solver: Literal["ridge", "least_squares"] = "ridge"
    alpha: float = 1.0
    control: Literal["auto", "none"] = "auto"
    min_score: float | None = 0.1
    output: str = "auto"
    engine: Engine = Engine()

    def __post_init__(self) -> None:
        self._space()
        for name, options in (("solver", ("ridge", "least_squares")), ("control", ("auto", "none"))):
            if getattr(self, name) not in options:
                raise OptionError(f"{name}: expected one of {', '.join(options)}, got {getattr(self, name)!r}")
        for name, options in (("sampler", get_args(Design)), ("feature_selection", get_args(Selection))):
            if getattr(self, name) not in options:
                raise OptionError(f"{name}: expected one of {', '.join(options)}, got {getattr(self, name)!r}")
        if self.num_features is not None:
            count("num_features", self.num_features)
        positive("alpha", self.alpha)

    def _space(self) -> Space:
        if (self.space is None) == (self.background is None):
            raise OptionError(
                "pass background= (rows such as the training data), or space=, such as Neighborhood(...) for tables or Words() for texts, "
                "and not both"
            )
        if self.neighborhood not in NEIGHBORHOODS:
            raise OptionError(f"neighborhood: expected one of {', '.join(NEIGHBORHOODS)}, got {self.neighborhood!r}")
        if self.space is not None:
            space = self.space
            if isinstance(space, (type, Marginal, Baseline, Groups)) or not isinstance(space, Space):
                got = type(space).__name__
                raise OptionError(f"space: expected whybox.spaces.Neighborhood for tables, or coalitions of text or image parts, got {got}")
            return (
                replace(space, kernel_width=self.kernel_width)
                if isinstance(space, Neighborhood) and self.kernel_width is not None
                else space
            )
        settings = {"discretize": self.discretize} | NEIGHBORHOODS[self.neighborhood]
        if self.kernel_width is not None:
            settings["kernel_width"] = self.kernel_width
        return Neighborhood(self.background, **settings)

    def _local(self, job: Job) -> tuple[LocalBound, list[Width]]:
        """Where it looks, and the rows by width."""
        bound = job.bound
        if isinstance(bound, NeighborhoodBound):
            return bound, [Width(bound.d, np.arange(len(job.rows)))]
        if not isinstance(bound, Coalitions):
            raise OptionError(f"space: LIME needs a Neighborhood, or a space of coalitions such as Words, got {type(bound).__name__}")
        if self.neighborhood not in ("bins", "glime"):
            raise OptionError(f'neighborhood: {self.neighborhood!r} is for tables; with this space leave it out, or pass "glime"')
        width = bound.kernel_width if self.kernel_width is None else self.kernel_width
        if not width > 0:
            raise OptionError(f"kernel_width: expected a positive number, inf or None, got {width!r}")
        return CoalitionNeighborhood(bound.design, width, weighed=self.neighborhood == "glime"), by_width(job)

    def explain(
        self,
        x: Any,
        *,
        seed: int = 0,
        target: Target = "predicted",
        budget: int | None = None,
        tol: float | None = None,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Attribution:
        """Explain every row of x.

        Args:
            x: (n, d) rows: array of any library, or DataFrame with the background's columns.
            seed: of the samples; the same seed gives the same bits.
            target: "predicted" (default): each row's largest output; None every output; or an output's name or position.
            budget: samples: of the whole call where they are shared by all rows ("bins" and "gaussian-mean"), otherwise of each row.
                Default 5,000. The rows themselves come on top.
            tol: go on, doubling the samples, until every standard error of a row is at most this; ``budget`` is then the most samples
                (default 100,000).
            progress: show a progress bar.
            checkpoint: path of a log of answered batches, from which an interrupted call goes on.

        Returns:
            values (n, d), the weights, per level or per standard deviation; std_error; score, the weighted R2; intercept; local_pred.

        Raises:
            InputError: x does not fit the background, or holds a category that the background lacks.
            OptionError: an argument has a value that does not exist.

        Warns:
            LowFidelityWarning: R2 is below ``min_score`` for some rows, or hardly any sample has weight.
            ToleranceWarning: the budget did not suffice for ``tol``.
        """
        samples = _samples(budget, tol)
        tol = None if tol is None else positive("tol", tol)
        settings = {name: getattr(self, name) for name in SETTINGS} | {"budget": samples, "tol": tol}
        who = replace(self, space=self._space(), background=None)
        request = Request(who, x, seed, target, progress, checkpoint, settings)
        alpha = self.alpha if self.solver == "ridge" else 0.0
        plan = LocalPlan(samples, tol, self.sampler, self.control == "auto", alpha, self.num_features, self.feature_selection)
        with Job(request) as job:
            local, widths = self._local(job)
            for wide in widths:
                check_size(job, wide, samples)
            fit = explain_local(job, local, widths, plan)
            found = job.result(
                values=fit.values.rows(),
                base_values=fit.intercept,
                estimator=self.solver + (" with control variate" if fit.controlled.any() else ""),
                std_error=fit.std_error.rows(),
                score=fit.score,
                intercept=fit.intercept,
            )
            self._warn(found, fit, tol, samples)
            return replace(found, conditions=local.conditions(), local_pred=_local_prediction(found, local))

    def plan(self, x: Any, *, budget: int | None = None, tol: float | None = None, probe: int | bool | None = None) -> QueryPlan:
        """Tell what ``explain`` with these arguments would cost. Without a probe no model call is made.

        Args:
            x: (n, d) rows.
            budget: as in ``explain``.
            tol: as in ``explain``; the plan then counts the most that may be asked.
            probe: model rows to send for a measurement of time; True takes a number that fits the model. Default None: send none.

        Raises:
            InputError: x does not fit the background.
            OptionError: an argument has a value that does not exist.
        """
        samples = _samples(budget, tol)

        def wanted(bound: Bound, d: int) -> Wanted:
            if isinstance(bound, NeighborhoodBound):
                codes: NDArray[Any] = unit_points(samples, d, generator(0), "monte-carlo")
                return Wanted(codes, certain=tol is None, shared=bound.shared, empty=False)
            # coalitions: those that repeat, and the full one, are not asked
            return Wanted(generator(0).random((samples, d)) < 0.5, certain=False, empty=False)

        return plan_queries(replace(self, space=self._space(), background=None), "LIME", x, wanted, probe)

    def _warn(self, found: Attribution, fit: LocalRows, tol: float | None, samples: int) -> None:
        assert found.score is not None
        weight, reached = fit.weight, fit.std_error.most()
        if tol is not None and reached > tol:
            text = f"LIME: tol={tol:g} was not reached with {samples} samples, the largest standard error is {reached:.3g}; raise budget="
            warnings.warn(text, ToleranceWarning, stacklevel=3)
        light = weight < fit.features(self.num_features)
        if light.any() and self.min_score is not None:
            text = (
                f"LIME: the {samples:,} samples weigh less than one sample a feature for {int(light.sum())} of {len(light)} rows "
                f"(the least: {weight[light].min():.2g} in all), so that the penalty decides them there, and neither R2 nor standard "
                'errors show it; raise kernel_width= or budget=, or draw where the weight is with neighborhood="glime"'
            )
            warnings.warn(text, LowFidelityWarning, stacklevel=3)
        score = found.score.reshape(len(found.score), -1).min(axis=1)
        low = np.flatnonzero(score < (-np.inf if self.min_score is None else self.min_score))
        if len(low):
            text = (
                f"LIME: R2 is below {self.min_score} for {len(low)} of {len(score)} rows (the first: row {low[0]}, {score[low[0]]:.3f}); "
                "there a linear model says little about this model: see .score, and consider finer bins or a smaller neighbourhood"
            )
            warnings.warn(text, LowFidelityWarning, stacklevel=3)


def _local_prediction(found: Attribution, local: LocalBound) -> Floats:
    """Output of the local model at each row."""
    assert found.intercept is not None
    if found.ragged:  # texts and images: the row keeps all its features
        sums = np.array([row.sum(axis=0) for row in found.values], dtype=np.float64)
        return np.asarray(found.intercept + sums.reshape(found.intercept.shape))
    rows = local.row_features(np.arange(len(found)), found.values.shape[1])
    return np.asarray(found.intercept + np.einsum("nd...,nd->n...", found.values, rows))


def _samples(budget: int | None, tol: float | None) -> int:
    return count("budget", budget if budget is not None else DEFAULT_SAMPLES if tol is None else MOST_SAMPLES, 2)
