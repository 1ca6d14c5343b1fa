"""Searches that decide row by row what to ask next, all in step: what they ask goes to the model together, so that batches stay full."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from numpy.typing import NDArray

from whybox.explainers._job import Job
from whybox.typing import Ask, Bound, Floats

Wanted = TypeVar("Wanted")
Told = TypeVar("Told")
Found = TypeVar("Found")
Steps = Generator[list[NDArray[Any]], list[Told], Found]  # asks lists of codes (m, d) of one row


def in_step(
    searches: list[Generator[list[Wanted], list[Told], Found]], ask: Callable[[list[tuple[int, Wanted]]], list[Told]]
) -> list[Found]:
    """What every search found.

    Args:
        searches: each yields a list of what it wants to know, and hears an answer to each.
        ask: answers to what searches want, each with the number of its search.
    """
    found: dict[int, Found] = {}
    wanted: dict[int, list[Wanted]] = {}

    def go_on(i: int, answers: list[Told] | None) -> None:
        try:
            wanted[i] = next(searches[i]) if answers is None else searches[i].send(answers)
        except StopIteration as done:
            wanted.pop(i, None)
            found[i] = done.value

    for i in range(len(searches)):
        go_on(i, None)
    while wanted:
        asked = [(i, item) for i, items in wanted.items() for item in items]
        told: dict[int, list[Told]] = {i: [] for i in wanted}
        for (i, _), answer in zip(asked, ask(asked), strict=True):
            told[i].append(answer)
        for i, answers in told.items():
            go_on(i, answers)
    return [found[i] for i in range(len(searches))]


def of_rows(
    job: Job, bound: Bound, tell: Callable[[Floats, int], Told], first: int = 0
) -> Callable[[list[tuple[int, NDArray[Any]]]], list[Told]]:
    """How :func:`in_step` asks where a search is about one distinct row.

    Args:
        job: under way; search i is about its distinct row ``first + i``.
        bound: what the codes are for.
        tell: outputs (m, k) and the number of the distinct row, to what the search hears.
        first: distinct row of the first search.
    """

    def ask(asked: list[tuple[int, NDArray[Any]]]) -> list[Told]:
        outputs = job.run.values(bound, [Ask(job.rows[[first + i]], codes) for i, codes in asked])
        return [tell(answer[0], first + i) for (i, _), answer in zip(asked, outputs, strict=True)]

    return ask
