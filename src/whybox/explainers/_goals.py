"""What a counterfactual is to reach: another class, a given class, or a range of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from whybox.errors import OptionError
from whybox.explainers._job import Job
from whybox.typing import Floats, Ints

Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class Goals:
    """Of every distinct row.

    Args:
        reach: outputs (m, k) and the number of the row, to (m,) by how much they reach the goal: at least 0 where they do.
        wanted: what is to be reached, in words.
    """

    reach: Callable[[Floats, int], Floats]
    wanted: list[str]

    def margin(self, outputs: Floats, r: int) -> Floats:
        """What ``reach`` says; -inf where the model has no answer, NaN that the engine lets through."""
        return np.asarray(np.where(np.isnan(outputs).any(axis=1), -np.inf, self.reach(outputs, r)))


def goals(job: Job, desired: Range | None, least: float | None) -> Goals:
    """What every distinct row of a job is to reach.

    Args:
        job: whose target names an output.
        desired: inclusive range of the explained output, or None for a class.
        least: probability that the class has to have, beside being the most probable one; None asks no more than that.

    Raises:
        OptionError: the model's outputs have no classes, or more outputs than one are left to choose from.
    """
    k, u = job.full.shape[1], len(job.full)
    names = job.model.output_names or tuple(f"output {i}" for i in range(k))
    if job.target == "predicted":
        raise OptionError("target: a counterfactual leaves the predicted class; leave target out for any other, or name the one you want")
    if desired is not None:
        if job.chosen is None and k > 1:
            raise OptionError(f"target: the model has {k} outputs; say which of them is to be in desired_range, one of {list(names)[:8]}")
        return _ranged(desired, np.zeros(u, dtype=np.int64) if job.chosen is None else job.chosen, names)
    kind = job.model.kind
    if kind == "value" or (k == 1 and kind not in ("probability", "decision")):
        raise OptionError(
            f"{job.model.name} returns numbers and no classes; pass desired_range=(low, high), which the output is to reach, or a "
            "model that returns a probability for each class"
        )
    if least is not None and kind == "decision":
        raise OptionError(f"min_probability: {job.model.name} returns decision values; leave it out, or explain output='probability'")
    if k == 1:
        return _sides(job, 0.5 if kind == "probability" else 0.0, least, names[0])
    return _classes(job, least, names)


def _ranged(desired: Range, chosen: Ints, names: tuple[str, ...]) -> Goals:
    low, high = (edge if end is None else end for end, edge in zip(desired, (-np.inf, np.inf), strict=True))

    def margin(outputs: Floats, r: int) -> Floats:
        value = outputs[:, chosen[r]]
        return np.asarray(np.minimum(value - low, high - value))

    ends = f"at least {low:g}" if high == np.inf else f"at most {high:g}" if low == -np.inf else f"{low:g} to {high:g}"
    return Goals(margin, [f"{names[j]} {ends}" for j in chosen.tolist()])


def _sides(job: Job, border: float, least: float | None, name: str) -> Goals:
    """One output: its two sides are two classes."""
    above = job.full[:, 0] >= border
    wanted = np.ones(len(above), dtype=bool) if job.chosen is not None else ~above
    extra = 0.0 if least is None else max(least - border, 0.0)

    def margin(outputs: Floats, r: int) -> Floats:
        over = outputs[:, 0] - border
        return over - extra if wanted[r] else np.where(over == 0.0, -np.finfo(np.float64).tiny, -over) - extra

    return Goals(margin, [f"{'' if up else 'not '}{name}" for up in wanted.tolist()])


def _classes(job: Job, least: float | None, names: tuple[str, ...]) -> Goals:
    """Several outputs, of which the largest, and of equal ones the first, is the class."""
    best = job.full.argmax(axis=1)
    chosen, places = job.chosen, np.arange(job.full.shape[1])
    tiny = np.finfo(np.float64).tiny

    def margin(outputs: Floats, r: int) -> Floats:
        mine = places == chosen[r] if chosen is not None else places != best[r]
        said = outputs.argmax(axis=1)
        inside = outputs[:, mine].max(axis=1)
        lead = inside - outputs[:, ~mine].max(axis=1)
        lead = np.where(mine[said], np.maximum(lead, 0.0), np.minimum(lead, -tiny))
        return np.asarray(lead if least is None else np.minimum(lead, inside - least))

    if chosen is not None:
        return Goals(margin, [names[j] for j in chosen.tolist()])
    others = [f"not {names[j]}" if len(names) > 2 else names[1 - j] for j in best.tolist()]
    return Goals(margin, others)
