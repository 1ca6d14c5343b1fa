"""Texts whose parts may be left out: coalitions become texts by joining what is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from operator import getitem
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import mix, row_digests
from whybox.spaces._split import Spans
from whybox.spaces.marginal import average
from whybox.typing import Ask, Bools, Floats, Ints, Rows

_TOGETHER = 6  # features whose coalitions are written out: 64 texts, of which a row takes one


@dataclass(frozen=True)
class CutText:
    """One text and its features.

    Args:
        text: the text.
        spans: (d, 2) where the features lie: in order, apart, none empty.
    """

    text: str
    spans: NDArray[np.int64]

    @property
    def d(self) -> int:
        """Features."""
        return len(self.spans)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The features' own texts."""
        return tuple(self.text[i:j] for i, j in self.spans.tolist())

    def texts(self, kept: Bools, fill: str) -> list[str]:
        """The texts of coalitions (r, d)."""
        if not self.d:
            return [self.text] * len(kept)
        first, tables, last = self._tables(fill)
        bits = np.zeros((len(kept), len(tables) * _TOGETHER), dtype=bool)
        bits[:, : self.d] = kept
        groups = np.zeros((len(kept), len(tables), 8), dtype=bool)
        groups[:, :, -_TOGETHER:] = bits.reshape(len(kept), -1, _TOGETHER)
        which = np.packbits(groups, axis=2)[..., 0]
        made = ["".join(map(getitem, tables, row)) for row in _rows_of_bytes(which)]
        if last:
            made = [text + last for text in made]
        if not fill:  # the white space after a first word that is gone goes too
            made = [text if begins else text.lstrip() for text, begins in zip(made, kept[:, 0].tolist(), strict=True)]
        return [first + text for text in made] if first else made

    def _tables(self, fill: str) -> tuple[str, list[list[str]], str]:
        """The text before the first feature; for each few features the texts of all their coalitions; the text after the last one."""
        if fill not in self._made:
            text, done = self.text, int(self.spans[0, 0])
            each: list[tuple[str, str]] = []
            for start, stop in self.spans.tolist():
                gap = text[done:start]
                each.append(((gap if fill else gap.rstrip()) + fill, text[done:stop]))  # gone, kept
                done = stop
            each += [("", "")] * (-len(each) % _TOGETHER)
            tables = [list(map("".join, product(*each[i : i + _TOGETHER]))) for i in range(0, len(each), _TOGETHER)]
            self._made[fill] = text[: self.spans[0, 0]], tables, text[done:]
        return self._made[fill]

    @cached_property
    def _made(self) -> dict[str, tuple[str, list[list[str]], str]]:
        return {}


def _rows_of_bytes(table: NDArray[np.uint8]) -> Iterator[bytes]:
    width = table.shape[1]
    flat = table.tobytes()
    return (flat[i : i + width] for i in range(0, len(flat), width))


def cut(text: str, spans: Spans) -> CutText:
    """A text with its spans as an array."""
    array = np.array(spans, dtype=np.int64).reshape(-1, 2)
    array.setflags(write=False)
    return CutText(text, array)


@dataclass(frozen=True)
class TextBound:
    """Texts bound to a space of words, sentences or other parts, see :class:`whybox.typing.Coalitions`.

    Args:
        cuts: the texts.
        fills: what stands in for a part that is left out; several are averaged over.
        settings: what else tells this space from another.
        nested: positions of each text's features as a tree of lists, see ``tree``.
        name_length: names of features are cut to so many characters.
    """

    cuts: Sequence[CutText]
    fills: tuple[str, ...]
    settings: str = ""
    nested: Any = None
    name_length: int = 60
    shared_empty: bool = False
    members: None = None
    design: Literal["removals"] = "removals"
    kernel_width: float = 0.25

    @property
    def n(self) -> int:
        """Explained texts."""
        return len(self.cuts)

    @property
    def draws(self) -> int:
        """Fills."""
        return len(self.fills)

    def n_features(self, instance: int) -> int:
        """Parts of a text."""
        return self.cuts[instance].d

    def feature_names(self, instance: int) -> tuple[str, ...]:
        """The parts themselves; long ones are cut."""
        most = self.name_length
        return tuple(word if len(word) <= most else word[: most - 1] + "\u2026" for word in self.cuts[instance].words)

    def inputs(self, instance: int) -> str:
        """The text."""
        return self.cuts[instance].text

    def marks(self, instance: int) -> NDArray[np.int64]:
        """(d, 2) positions of the parts."""
        return self.cuts[instance].spans

    def data(self, instance: int) -> NDArray[Any]:
        """The parts."""
        return as_objects(self.cuts[instance].words)

    def tree(self, instance: int) -> Any:
        """The parts as nested lists of positions: a document of passages of sentences of words."""
        return list(range(self.n_features(instance))) if self.nested is None else self.nested(self.cuts[instance])

    def plain(self, start: int, stop: int) -> Rows:
        """The texts as they came."""
        return [one.text for one in self.cuts[start:stop]]

    @cached_property
    def _digests(self) -> NDArray[np.uint64]:
        return row_digests([one.text for one in self.cuts]) if self.cuts else np.empty((0, 2), dtype=np.uint64)

    def row_keys(self) -> NDArray[np.uint64]:
        """Digests of the texts."""
        return self._digests

    def digest(self) -> str:
        """Identifies texts, parts and fills."""
        state = hashlib.sha256(repr((self.settings, self.fills)).encode())
        state.update(self._digests.tobytes())
        for one in self.cuts:
            state.update(one.spans.tobytes())
        return state.hexdigest()

    def compose(self, ask: Ask, start: int, stop: int) -> Rows:
        """Rows start to stop of an ask."""
        if self.draws > 1:
            return self.take(ask, np.arange(start, stop, dtype=np.int64))
        m, rows = len(ask.codes), []
        while start < stop:  # text by text
            place, code = divmod(start, m)
            count = min(m - code, stop - start)
            rows += self.cuts[ask.instances[place]].texts(ask.codes[code : code + count], self.fills[0])
            start += count
        return rows

    def take(self, ask: Ask, index: Ints) -> Rows:
        """Chosen rows of an ask."""
        rows: list[Any] = [None] * len(index)
        for instance, draw, codes, where in runs(ask, index, self.draws):
            for i, text in zip(where, self.cuts[instance].texts(ask.codes[codes], self.fills[draw]), strict=True):
                rows[i] = text
        return rows

    def keys(self, ask: Ask) -> NDArray[np.uint64]:
        """Keys by text and coalition, without a text being made; the same text by two coalitions ("so so") has two keys."""
        return coalition_keys(ask, self._digests, self.draws)

    def fold(self, ask: Ask, outputs: Floats) -> Floats:  # ask: all are averaged alike
        """Average over the fills."""
        return average(outputs)


def runs(ask: Ask, index: Ints, draws: int) -> Iterator[tuple[int, int, Ints, list[int]]]:
    """Chosen rows of an ask by instance and draw: instance, draw, codes, and which of the chosen rows they are."""
    code, draw = np.divmod(index, draws)
    place, code = np.divmod(code, len(ask.codes))
    group = place * draws + draw
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order])) + 1
    for where in np.split(order, ends) if len(order) else []:
        yield int(ask.instances[place[where[0]]]), int(draw[where[0]]), code[where], where.tolist()


def coalition_keys(ask: Ask, digests: NDArray[np.uint64], draws: int) -> NDArray[np.uint64]:
    """(rows, 2) keys: what a row's content is, which features it keeps, and which filler stands in for the others."""
    d = ask.codes.shape[1]
    bits = np.packbits(ask.codes, axis=1)
    padded = np.zeros((len(bits), -(-max(bits.shape[1], 1) // 8) * 8), dtype=np.uint8)
    padded[:, : bits.shape[1]] = bits
    parts = padded.view(np.uint64)  # 64 features in one number
    place = np.arange(1, parts.shape[1] + 1, dtype=np.uint64)
    keys = np.empty((len(ask.instances), len(ask.codes), draws, 2), dtype=np.uint64)
    for half in (0, 1):
        salt = np.uint64(half + 1) << np.uint64(60)
        which = mix(parts, mix(place, salt + np.uint64(d))).sum(axis=1, dtype=np.uint64)
        both = mix(digests[ask.instances, half][:, None] + which[None], salt)
        keys[..., half] = both[:, :, None] + mix(np.arange(1, draws + 1, dtype=np.uint64), salt)
    return keys.reshape(-1, 2)


def as_objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """A read-only (d,) object array."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    array.setflags(write=False)
    return array
