"""Searches that decide row by row what to ask next, all in step: what they ask goes to the model together, so that batches stay full."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from numpy.typing import NDArray

from whybox.explainers._job import Job
from whybox.typing import Ask, Bound, Floats

Told = TypeVar("Told")
Found = TypeVar("Found")
Steps = Generator[list[NDArray[Any]], list[Told], Found]


def in_step(job: Job, bound: Bound, searches: list[Steps[Told, Found]], tell: Callable[[Floats, int], Told], first: int = 0) -> list[Found]:
    """What every search found.

    Args:
        job: under way; search i is about its distinct row ``first + i``.
        bound: what the codes are for.
        searches: each yields lists of codes (m, d), and hears of each what ``tell`` makes of the outputs.
        tell: outputs (m, k) and the number of the distinct row.
        first: distinct row of the first search.
    """
    found: dict[int, Found] = {}
    wanted: dict[int, list[NDArray[Any]]] = {}

    def go_on(i: int, answers: list[Told] | None) -> None:
        try:
            wanted[i] = next(searches[i]) if answers is None else searches[i].send(answers)
        except StopIteration as done:
            wanted.pop(i, None)
            found[i] = done.value

    for i in range(len(searches)):
        go_on(i, None)
    while wanted:
        asks = [(i, codes) for i, asked in wanted.items() for codes in asked]
        outputs = job.run.values(bound, [Ask(job.rows[[first + i]], codes) for i, codes in asks])
        told: dict[int, list[Told]] = {i: [] for i in wanted}
        for (i, _), answer in zip(asks, outputs, strict=True):
            told[i].append(tell(answer[0], first + i))
        for i, answers in told.items():
            go_on(i, answers)
    return [found[i] for i in range(len(searches))]
