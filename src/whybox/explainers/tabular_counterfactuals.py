"""Counterfactual rows of tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import numpy as np

from whybox._arrays import is_frame, to_numpy
from whybox._warn import tell
from whybox.engine import Engine
from whybox.errors import OptionError
from whybox.explainers._counterfactual_search import search
from whybox.explainers._counterfactual_state import Found, Settings
from whybox.explainers._goals import Range, goals
from whybox.explainers._hints import Hints
from whybox.explainers._in_step import in_step, of_rows
from whybox.explainers._job import Job, Request, count, resolve_space
from whybox.explanations.counterfactual_rows import CounterfactualRows
from whybox.spaces.observed import Observed, ObservedBound
from whybox.typing import Ask, Ints, Rows, Space, Target

DEFAULT_BUDGET = 2000
_TOGETHER, _BYTES = 64, 64 << 20  # rows whose searches go on in step, and what they may hold of background and candidates


class CounterfactualNotFoundWarning(UserWarning):
    """Some rows have no counterfactual within the budget and what may change."""


@dataclass(frozen=True)
class TabularCounterfactuals(Hints):
    """The least that would have to be different in a row for the model to say something else.

    Every value of a counterfactual is the row's own or occurs in the background, in its column's own dtype. The search begins at the
    nearest background rows that the model answers as wanted (Brughmans, Leyman and Martens, NICE, 2023) and at the single and paired
    values that do most, and then takes changes back, moves them towards the row's own values and exchanges them as long as that makes a
    counterfactual cheaper; where the budget covers all combinations of permitted values, all are asked (``exact``). What is told reaches
    the goal, and none of its changes can be taken back alone without losing the goal or becoming dearer, unless the budget ended before
    that was known. Further counterfactuals are cheap and change other things (Mothilal, Sharma and Tan, DiCE, 2020, ask for the same by
    other means). All rows search in step, so that the model gets large batches. Nothing is drawn at random.

    A counterfactual costs its distance (:class:`whybox.spaces.Observed` says what that is), ``sparsity`` for each change, and up to
    ``implausibility`` if there is nothing like it in the data.

    A counterfactual is about the model, not about the world: that the model answers otherwise for other values does not say that changing
    them would change anything else.

    Args:
        model: anything that :func:`whybox.as_model` takes.
        background: (b, d) observed rows, from which values are taken, such as the training data; all of them are sent to the model once.
        space: a :class:`whybox.spaces.Observed` instead of background, features_to_vary, permitted_range and categorical.
        features_to_vary: columns, by name or position, that may change; None (default): all.
        permitted_range: what columns may change to, by name or position: "increase" or "decrease" from the row's own value, an inclusive
            range (low, high) with None for an open end, or a set of values.
        categorical: columns, by name or position, that are categories although they hold numbers.
        n_counterfactuals: most counterfactuals of a row. Default 4.
        desired_range: inclusive range (low, high), None for an open end, that the explained output is to reach; for models of numbers.
            None (default) asks for another class.
        min_probability: probability that the new class has to have; None (default): it has to be the most probable one.
        sparsity: what changing a column costs beside the distance of its values, which is at most 1. Default 0.5.
        diversity: what being like a cheaper counterfactual costs: so much if it changes the same columns in the same direction. Default 1.
        min_plausibility: plausibility from which on a counterfactual is like the data; that of the row itself, where it is smaller. Default
            0.05.
        implausibility: what being unlike the data costs: so much at plausibility 0, nothing from ``min_plausibility`` on. Default 2.
        output: which output of the model, see :func:`whybox.as_model`. Default "auto".
        engine: how the model is called.

    Raises:
        OptionError: an option has a value that does not exist.

    Example:
        >>> import numpy as np
        >>> background = np.random.default_rng(0).integers(0, 10, size=(200, 3))
        >>> explainer = TabularCounterfactuals(lambda x: np.stack([x[:, 0] < 7, x[:, 0] >= 7], axis=1) * 1.0, background)
        >>> e = explainer.explain(np.array([[3, 5, 5]]))
        >>> e.changes[0]
        'feature 0: 3 → 7'
    """

    model: Any = field(repr=False)  # its repr may show an API key
    background: Any = field(default=None, repr=False)
    _: KW_ONLY
    space: Space | None = None
    features_to_vary: Sequence[int | str] | None = None
    permitted_range: Mapping[int | str, Any] = field(default_factory=dict)
    categorical: Sequence[int | str] = ()
    n_counterfactuals: int = 4
    desired_range: Range | None = None
    min_probability: float | None = None
    sparsity: float = 0.5
    diversity: float = 1.0
    min_plausibility: float = 0.05
    implausibility: float = 2.0
    output: str = "auto"
    engine: Engine = Engine()

    def __post_init__(self) -> None:
        resolve_space(self.space, self.background)
        if self.space is not None and not isinstance(self.space, Observed):
            raise OptionError(f"space: counterfactual rows take their values from whybox.spaces.Observed(background), got {self.space!r}")
        own: dict[str, Any] = {"features_to_vary": None, "permitted_range": {}, "categorical": ()}
        if self.space is not None and (given := [name for name, none in own.items() if getattr(self, name) != none]):
            raise OptionError(f"{', '.join(given)}: the space says what may change; pass it to Observed")
        self._space()
        count("n_counterfactuals", self.n_counterfactuals)
        for name in ("sparsity", "diversity", "min_plausibility", "implausibility"):
            _number(name, getattr(self, name))
        if not self.min_plausibility <= 1:
            raise OptionError(f"min_plausibility: expected a share from 0 to 1, got {self.min_plausibility!r}")
        if self.min_probability is not None and not 0 < _number("min_probability", self.min_probability) <= 1:
            raise OptionError(f"min_probability: expected a probability above 0 and up to 1, got {self.min_probability!r}")
        if self.desired_range is not None:
            self._check_range(self.desired_range)

    def _check_range(self, desired: Any) -> None:
        if not isinstance(desired, (tuple, list)) or len(desired) != 2 or tuple(desired) == (None, None):
            raise OptionError(f"desired_range: expected (low, high), of which one may be None, got {desired!r}")
        low, high = (None if end is None else _number("desired_range", end, -np.inf) for end in desired)
        if low is not None and high is not None and low > high:
            raise OptionError(f"desired_range: the low end {low!r} is above the high end {high!r}")
        if self.min_probability is not None:
            raise OptionError("pass either desired_range= or min_probability=, not both")

    def _space(self) -> Observed:
        if self.space is not None:
            assert isinstance(self.space, Observed)
            return self.space
        return Observed(self.background, self.features_to_vary, self.permitted_range, self.categorical)

    def explain(
        self,
        x: Any,
        *,
        seed: int = 0,
        target: Target = None,
        budget: int | None = None,
        tol: float | None = None,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> CounterfactualRows:
        """Find counterfactuals of every row of x.

        Args:
            x: (n, d) rows: array of any library, or DataFrame with the background's columns.
            seed: taken as by every explainer; nothing is drawn.
            target: None (default) asks for any class but the predicted one; an output's name or position asks for that class, or names the
                output that is to reach ``desired_range``.
            budget: most rows that the search for one row asks the model about, beside the background and the engine's control rows. Default
                2,000.
            tol: not used; a counterfactual reaches its goal or it does not.
            progress: show a progress bar.
            checkpoint: path of a log of answered batches, from which an interrupted call goes on.

        Returns:
            Counterfactual rows with the model's outputs, distances and plausibilities.

        Raises:
            InputError: x does not fit the background.
            OptionError: the model returns numbers and ``desired_range`` is not given, or an option does not exist.
        """
        if tol is not None:
            raise OptionError(f"tol: a counterfactual reaches its goal or it does not, so nothing is tolerated; got {tol!r}, leave it out")
        most = DEFAULT_BUDGET if budget is None else count("budget", budget)
        space = self._space()
        names = "n_counterfactuals desired_range min_probability sparsity diversity min_plausibility implausibility"
        settings: dict[str, Any] = {name: getattr(self, name) for name in names.split()} | {"budget": budget, "varies": _said(space)}
        bare = replace(self, space=space, background=None, features_to_vary=None, permitted_range={}, categorical=())
        with Job(Request(bare, x, seed, target, progress, checkpoint, settings)) as job:
            bound = job.bound
            assert isinstance(bound, ObservedBound)
            goal = goals(job, self.desired_range, self.min_probability)
            everything = np.repeat(np.arange(bound.b)[:, None], bound.rows.columns.d, axis=1)
            (outputs,) = job.run.values(bound, [Ask(job.rows[:1], everything)])
            options = Settings(self.n_counterfactuals, most, self.sparsity, self.diversity, self.min_plausibility, self.implausibility)
            found: list[Found] = []
            together = max(min(_TOGETHER, _BYTES // (40 * everything.size + most * (24 * everything.shape[1] + 150))), 1)
            for first in range(0, len(job.rows), together):  # what a search remembers is not held for all rows at once
                searches = [
                    search(bound, i, (goal.margin(outputs[0], r), outputs[0]), (goal.margin(job.full[[r]], r), job.full[[r]]), options)
                    for r, i in enumerate(job.rows[first : first + together].tolist(), start=first)
                ]
                found += in_step(searches, of_rows(job, bound, lambda answers, r: (goal.margin(answers, r), answers), first))
            reached = np.array([bool(goal.margin(job.full[[r]], r)[0] >= 0) for r in range(len(job.rows))])
            self._warn(found, reached, most)
            return self._result(job, bound, found, reached, goal.wanted, settings)

    def _warn(self, found: list[Found], reached: Any, most: int) -> None:
        none = [part for part, there in zip(found, reached, strict=True) if not len(part.donors) and not there]
        if none:
            spent = sum(part.spent for part in none)
            tell(
                f"TabularCounterfactuals: {len(none)} of {len(found)} distinct rows have no counterfactual ({spent} of them when their "
                f"{most:,} rows were spent); permit more to change, ask for less, raise budget=, or enlarge the background",
                CounterfactualNotFoundWarning,
            )

    def _result(
        self, job: Job, bound: ObservedBound, found: list[Found], reached: Any, wanted: list[str], settings: dict[str, Any]
    ) -> CounterfactualRows:
        everyone = job.everyone(np.arange(len(job.rows))).tolist()
        each = [found[r] for r in everyone]
        of = np.repeat(np.arange(len(each)), [len(part.donors) for part in each])
        donors = np.concatenate([part.donors for part in each])
        return CounterfactualRows(
            x=_labelled(_gathered(bound, np.repeat(np.arange(bound.n)[:, None] + bound.b, bound.rows.columns.d, axis=1)), job.request.x),
            rows=_gathered(bound, donors),
            of=of,
            changed=donors < bound.b,
            before=job.full[everyone],
            after=np.concatenate([part.outputs for part in each]),
            reached=reached[everyone],
            wanted=[wanted[r] for r in everyone],
            distance=np.concatenate([part.distance for part in each]),
            plausibility=np.concatenate([part.plausibility for part in each]),
            cost=np.concatenate([part.cost for part in each]),
            exact=np.array([part.exact for part in each]),
            spent=np.array([part.spent for part in each]),
            asked=self.n_counterfactuals,
            feature_names=bound.rows.names,
            output_names=job.model.output_names,
            method=job.request.method,
            seed=int(job.request.seed),
            stats=job.run.stats,
            settings=settings,
        )


def _gathered(bound: ObservedBound, donors: Ints) -> Rows:
    rows = bound.rows.columns.gather(donors)
    return rows if is_frame(rows) else to_numpy(rows)


def _labelled(rows: Rows, x: Any) -> Rows:
    return rows.set_axis(x.index, axis=0) if is_frame(rows) and is_frame(x) else rows


def _said(space: Observed) -> str:
    """What may change, as it is identified."""
    rules = {
        str(k): sorted(map(repr, rule)) if isinstance(rule, (set, frozenset)) else repr(rule) for k, rule in space.permitted_range.items()
    }
    vary = None if space.features_to_vary is None else list(map(str, space.features_to_vary))
    return repr((vary, sorted(rules.items()), list(map(str, space.categorical))))


def _number(name: str, value: object, least: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not least <= float(value) < np.inf:
        raise OptionError(f"{name}: expected a finite number of at least {least:g}, got {value!r}")
    return float(value)
