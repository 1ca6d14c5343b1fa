"""Rows by their number of features: texts and images have features of their own, and every width its own coalitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from whybox.errors import InputError, OptionError
from whybox.explainers._job import Job, PerRow
from whybox.spaces.neighborhood import NeighborhoodBound
from whybox.typing import Ask, Bound, Floats, Ints, OwnFeatures

_MOST_CELLS = 1 << 25  # codes of one width where rows have features of their own: a text by words may have 20,000


@dataclass(frozen=True)
class Width:
    """Rows with one number of features.

    Args:
        d: features.
        at: (r,) positions of the rows among the job's distinct ones.
    """

    d: int
    at: Ints


def by_width(job: Job) -> list[Width]:
    """The job's distinct rows by their number of features, see :func:`widths_of`."""
    return widths_of(job.bound, job.rows, job.request.method)


def widths_of(bound: Bound, rows: Ints, method: str) -> list[Width]:
    """Distinct rows by their number of features; a single entry where all rows have the same features.

    Args:
        bound: the space, bound to the rows.
        rows: (u,) the distinct ones.
        method: for messages.

    Raises:
        OptionError: the space is no game: a neighbourhood has points, not coalitions.
        InputError: the space's rows differ in width although they have no features of their own.
    """
    if isinstance(bound, NeighborhoodBound):
        raise OptionError(f"{method}: needs a space whose features can be left out, such as Marginal(background); Neighborhood is LIME's")
    if bound.shared_empty:
        return [Width(bound.n_features(0), np.arange(len(rows)))]
    widths = np.array([bound.n_features(i) for i in rows.tolist()], dtype=np.int64)
    found = np.unique(widths)
    if len(found) > 1 and not isinstance(bound, OwnFeatures):
        raise InputError(f"{method}: the rows have between {found[0]} and {found[-1]} features; explain rows of one length at a time")
    return [Width(int(d), np.flatnonzero(widths == d)) for d in found.tolist()]


def check_size(job: Job, width: Width, codes: int) -> None:
    """Refuse codes that are too many to hold, where rows have features of their own.

    Raises:
        InputError: names the row, and says which spaces are coarser.
    """
    if isinstance(job.bound, OwnFeatures) and width.d * codes > _MOST_CELLS:
        raise InputError(
            f"{job.request.method}: row {job.rows[width.at[0]]} has {width.d:,} features, and {codes:,} coalitions of so many are more "
            "than can be held; take a coarser space (Sentences or Passages for a long text, fewer segments for an image) or a lower budget"
        )


def blocks(widths: Sequence[Width], row_bytes: Callable[[int], int], most: int) -> Iterator[list[Width]]:
    """The rows in blocks whose answers take at most so many bytes (or one row), across widths.

    Args:
        widths: rows by width.
        row_bytes: bytes of one row's answers, for a number of features.
        most: bytes of a block.
    """
    part: list[Width] = []
    left = most
    for width in widths:
        size = max(row_bytes(width.d), 1)
        start = 0
        while start < len(width.at):
            fit = left // size
            if fit < 1 and part:
                yield part
                part, left = [], most
                continue
            piece = width.at[start : start + max(fit, 1)]
            part.append(Width(width.d, piece))
            left -= size * len(piece)
            start += len(piece)
    if part:
        yield part


class Table:
    """Numbers (d, q) of every distinct row, kept by width while they are found.

    Args:
        job: whose rows.
        widths: the rows by width.
        q: explained outputs.
    """

    def __init__(self, job: Job, widths: Sequence[Width], q: int) -> None:
        self._ragged = isinstance(job.bound, OwnFeatures)
        self._widths = widths
        self._parts = {width.d: np.zeros((len(width.at), width.d, q)) for width in widths}
        self._place = np.empty(len(job.rows), dtype=np.int64)  # of each row in its width
        for width in widths:
            self._place[width.at] = np.arange(len(width.at))

    def put(self, at: Ints, found: Floats) -> None:
        """Numbers (r, d, q) of the rows at these positions."""
        self._parts[found.shape[1]][self._place[at]] = found

    def of(self, width: Width) -> Floats:
        """(r, d, q) of the rows of a width, or of some of them."""
        return self._parts[width.d][self._place[width.at]]

    def counts(self) -> Ints:
        """(u,) features of each row."""
        counts = np.empty(len(self._place), dtype=np.int64)
        for width in self._widths:
            counts[width.at] = width.d
        return counts

    def most(self) -> float:
        """The largest number; NaN is none."""
        return max((float(np.nanmax(part, initial=0.0)) for part in self._parts.values()), default=0.0)

    def rows(self) -> PerRow:
        """(u, d, q), or a list of u arrays (d, q) where rows have features of their own; what ``Job.result`` takes."""
        if not self._ragged:
            return self._parts[self._widths[0].d]
        rows: list[Floats] = [np.empty(0)] * len(self._place)
        for width in self._widths:
            for i, row in zip(width.at.tolist(), self._parts[width.d], strict=True):
                rows[i] = row
        return rows


def empty_outputs(job: Job, widths: Sequence[Width]) -> Floats:
    """Outputs of the empty coalition: (1, k) where it is the same for all rows, otherwise (u, k)."""
    if job.bound.shared_empty:
        return job.run.values(job.bound, [Ask(job.rows[:1], np.zeros((1, widths[0].d), dtype=bool))])[0][:, 0]
    outputs = job.full.copy()
    some = [width for width in widths if width.d]  # without features the empty coalition is the row itself
    answers = job.run.values(job.bound, [Ask(job.rows[width.at], np.zeros((1, width.d), dtype=bool)) for width in some])
    for width, answer in zip(some, answers, strict=True):
        outputs[width.at] = answer[:, 0]
    return outputs
