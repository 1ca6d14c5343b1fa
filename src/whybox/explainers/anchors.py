"""Anchors: rules that hold a prediction."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from whybox.engine import Engine
from whybox.errors import OptionError
from whybox.explainers._anchors import Settings, search
from whybox.explainers._hints import Hints
from whybox.explainers._in_step import in_step, of_rows
from whybox.explainers._job import Job, Request, count, positive, resolve_space
from whybox.explainers._widths import by_width
from whybox.explanations.rules import Rules
from whybox.spaces._kept import Kept
from whybox.spaces.conditions import Conditions
from whybox.spaces.neighborhood import NeighborhoodBound
from whybox.typing import Bools, Floats, RuleBound, Space, Target

DEFAULT_BUDGET = 50_000


class RuleNotFoundWarning(UserWarning):
    """No rule was shown to reach the precision that was asked for; the best one is returned."""


@dataclass(frozen=True)
class Anchors(Hints):
    """The shortest conditions under which the model says the same about almost any sample (Ribeiro, Singh and Guestrin 2018).

    A beam search adds one condition after the other; which rules are most precise is a question to a bandit, KL-LUCB (Kaufmann and
    Kalyanakrishnan 2013), that samples only the rules that are hard to tell apart. All rows search in step, so that the model gets large
    batches, and rows with the same conditions are answered by the same samples. For texts, whose words are removed independently, a
    sample also counts for every longer rule that it meets.

    The reported precision is measured on new samples, apart from the search, with an exact 95 % interval.

    Args:
        model: anything that :func:`whybox.as_model` takes.
        background: (b, d) rows that bins, categories and samples are taken from, such as the training data, see
            :class:`whybox.spaces.Conditions`; or None if ``space`` is given.
        space: what may vary, instead of a background; a space of coalitions such as words gives rules "these features are there".
        threshold: precision that a rule has to reach. Default 0.95.
        delta: how improbable it has to be that a rule is wrongly taken to reach it. Default 0.1.
        beam: rules that are extended at each size. Default 2.
        max_size: the most conditions of a rule; None (default): 8, or all features where these are fewer.
        within: for models that return numbers and no probabilities: how far from the prediction still counts as the same, in every
            explained output. 0 asks for the same number, such as a label.
        discretize: bins of numbers: "quartile" (default), "decile" or their number.
        categorical: columns, by position or name, that are categories although they hold numbers.
        n_precision: new samples on which the precision of the rule that was found is measured. Default 500.
        output: which output of the model, see :func:`whybox.as_model`. Default "auto".
        engine: how the model is called.

    Raises:
        OptionError: an option has a value that does not exist.

    Example:
        >>> import numpy as np
        >>> background = np.random.default_rng(0).integers(0, 2, size=(100, 3))
        >>> explainer = Anchors(lambda x: np.stack([x[:, 0] == 0, x[:, 0] == 1], axis=1), background, categorical=[0, 1, 2])
        >>> e = explainer.explain(np.array([[1, 0, 1]]))
        >>> e.rules[0].text, e.rules[0].precision
        ('feature 0 = 1', 1.0)
    """

    model: Any = field(repr=False)  # its repr may show an API key
    background: Any = field(default=None, repr=False)
    _: KW_ONLY
    space: Space | None = None
    threshold: float = 0.95
    delta: float = 0.1
    beam: int = 2
    max_size: int | None = None
    within: float | None = None
    discretize: Literal["quartile", "decile"] | int = "quartile"
    categorical: Sequence[int | str] = ()
    n_precision: int = 500
    output: str = "auto"
    engine: Engine = Engine()

    def __post_init__(self) -> None:
        resolve_space(self.space, self.background)
        if self.background is not None:
            Conditions(self.background, self.discretize, self.categorical)
        for name in ("threshold", "delta"):
            if not 0 < positive(name, getattr(self, name)) < 1:
                raise OptionError(f"{name}: expected a probability between 0 and 1, got {getattr(self, name)!r}")
        for name in ("beam", "n_precision", "max_size"):
            if name != "max_size" or self.max_size is not None:
                count(name, getattr(self, name))
        if self.within is not None and (isinstance(self.within, bool) or not 0 <= self.within < np.inf):
            raise OptionError(f"within: expected a number of at least 0, got {self.within!r}")

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
    ) -> Rules:
        """Find a rule for every row of x.

        Args:
            x: rows: array of any library, DataFrame with the background's columns, or texts for a text space.
            seed: of every draw; the same seed gives the same rules.
            target: None (default) or "predicted" holds the most probable class; an output's name or position holds whether it is the most
                probable one.
            budget: samples of the search for a row. Default 50,000; most rows take far fewer.
            tol: how far below the threshold a precision may be that counts as reaching it. Default 0.05.
            progress: show a progress bar.
            checkpoint: path of a log of answered batches, from which an interrupted call goes on.

        Returns:
            One rule a row, with precision, interval, coverage and examples.

        Raises:
            InputError: x does not fit the background.
            OptionError: the model returns numbers, and ``within`` is not given.
        """
        space = Conditions(self.background, self.discretize, self.categorical) if self.space is None else self.space
        tolerance = 0.05 if tol is None else positive("tol", tol)
        most = DEFAULT_BUDGET if budget is None else count("budget", budget)
        told = ("threshold", "delta", "beam", "max_size", "within", "n_precision")
        settings: dict[str, Any] = {name: getattr(self, name) for name in told} | {"budget": budget, "tol": tol}
        request = Request(replace(self, space=space, background=None), x, seed, target, progress, checkpoint, settings)
        with Job(request) as job:
            if isinstance(job.bound, NeighborhoodBound):
                by_width(job)  # says what to use instead
            bound: RuleBound = job.bound if isinstance(job.bound, RuleBound) else Kept(job.bound)
            agree, said = self._agreement(job)
            size = 8 if self.max_size is None else self.max_size
            options = Settings(self.threshold, self.delta, tolerance, self.beam, size, most, self.n_precision, int(seed))
            searches = [search(bound, i, said[r], options) for r, i in enumerate(job.rows.tolist())]
            rules = in_step(searches, of_rows(job, bound, agree))
            missed = sum(not rule.found for rule in rules)
            if missed:
                warnings.warn(
                    f"Anchors: {missed} of {len(rules)} rows have no rule of precision {self.threshold:g} within {size} conditions and "
                    f"{most:,} samples; the best one is returned (found is False); lower threshold=, or raise max_size= or budget=",
                    RuleNotFoundWarning,
                    stacklevel=2,
                )
            everyone = job.everyone(np.arange(len(job.rows))).tolist()
            return Rules(
                rules=tuple(rules[i] for i in everyone),
                method="Anchors",
                threshold=self.threshold,
                coverage_of=bound.coverage_of,
                seed=int(seed),
                stats=job.run.stats,
                settings=settings,
            )

    def _agreement(self, job: Job) -> tuple[Callable[[Floats, int], Bools], list[str]]:
        """When the model says the same as of a distinct row, and what it says of each, in words."""
        k = job.full.shape[1]
        names = job.model.output_names or tuple(f"output {i}" for i in range(k))
        if self.within is not None:
            full, within = job.select(job.full, np.arange(len(job.full))), self.within

            def near(outputs: Floats, r: int) -> Bools:
                chosen = job.select(outputs[None], np.array([r]))[0]
                return np.asarray((np.abs(chosen - full[r]) <= within).all(axis=1))

            about = "" if within == 0 else f" ± {within:.4g}"
            return near, [", ".join(f"{v:.4g}{about}" for v in row) for row in full.tolist()]
        if k == 1 and job.model.kind != "probability":
            raise OptionError(
                f"Anchors: {job.model.name} returns one number a row; pass within= (how far from the prediction counts as the same, 0 for "
                "labels), or a model that returns a probability for each class"
            )
        if k == 1:
            above = job.full[:, 0] >= 0.5
            return lambda outputs, r: (outputs[:, 0] >= 0.5) == above[r], [f"{names[0]}{'' if yes else ' no'}" for yes in above.tolist()]
        best = job.full.argmax(axis=1)
        if job.chosen is None or job.target == "predicted":
            return lambda outputs, r: outputs.argmax(axis=1) == best[r], [names[i] for i in best.tolist()]
        wanted = job.chosen
        is_best = best == wanted
        said = [f"{'' if yes else 'not '}{names[i]}" for i, yes in zip(wanted.tolist(), is_best.tolist(), strict=True)]
        return lambda outputs, r: (outputs.argmax(axis=1) == wanted[r]) == is_best[r], said
