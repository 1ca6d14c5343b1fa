"""Rows of a job that are described, and composed only when a batch needs them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import concat_rows, take_rows
from whybox.typing import Ask, Bound, Ints, Rows


@dataclass(frozen=True)
class Piece:
    """A part of an ask: these instances, these codes."""

    position: int
    first_instance: int
    first_code: int
    ask: Ask
    start: int
    stop: int


@dataclass(frozen=True)
class PlainRows:
    """Rows that are there already."""

    rows: Rows
    n: int
    run: int = 1
    group: int = 1
    composed: bool = False

    def compose(self, start: int, stop: int) -> Rows:
        return take_rows(self.rows, np.arange(start, stop, dtype=np.int64))

    def take(self, index: Ints) -> Rows:
        return take_rows(self.rows, index)

    def keys(self, first: int | None = None) -> NDArray[np.uint64] | None:  # noqa: ARG002  # as UnitRows
        return None

    def digest(self) -> bytes:
        return b"plain%d" % self.n


class UnitRows:
    """Rows of several pieces of asks, one after the other."""

    composed = True

    def __init__(self, bound: Bound, pieces: list[Piece]) -> None:
        self._bound, self._pieces = bound, pieces
        self.n = pieces[-1].stop
        self.group = bound.draws
        self.run = len(pieces[0].ask.codes) * bound.draws

    def compose(self, start: int, stop: int) -> Rows:
        parts = [
            self._bound.compose(p.ask, max(start, p.start) - p.start, min(stop, p.stop) - p.start)
            for p in self._pieces
            if p.start < stop and p.stop > start
        ]
        return concat_rows(parts)

    def take(self, index: Ints) -> Rows:
        ends = np.array([p.stop for p in self._pieces])
        owner = np.searchsorted(ends, index, side="right")
        parts = [self._bound.take(p.ask, index[owner == i] - p.start) for i, p in enumerate(self._pieces) if (owner == i).any()]
        return concat_rows(parts)  # index is increasing, so the parts are in order

    def keys(self, first: int | None = None) -> NDArray[np.uint64] | None:
        """(n, 2) keys of all rows, or of the first so many."""
        parts: list[NDArray[np.uint64]] = []
        for piece in self._pieces:
            if first is not None and piece.start >= first:
                break
            ask = piece.ask
            if first is not None:
                whole = max(-(-(first - piece.start) // self.group), 1)  # codes that are wanted, of one instance after the other
                m = len(ask.codes)
                ask = Ask(ask.instances[: -(-whole // m)], ask.codes[:whole] if whole < m else ask.codes)
            found = self._bound.keys(ask)
            if found is None:
                return None
            parts.append(found)
        return np.concatenate(parts)[:first]

    def digest(self) -> bytes:
        state = hashlib.sha256()
        for piece in self._pieces:
            state.update(repr((piece.ask.codes.shape, piece.ask.codes.dtype.str, piece.ask.instances.shape)).encode())
            state.update(piece.ask.instances.tobytes())
            state.update(np.ascontiguousarray(piece.ask.codes).tobytes())
        return state.digest()


Described = PlainRows | UnitRows
