"""Texts whose parts may be left out: coalitions become texts by joining what is kept."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import mix, row_digests
from whybox.spaces._split import Spans
from whybox.spaces.marginal import average
from whybox.typing import Ask, Bools, Floats, Ints, Rows

_TOGETHER = 6  # features whose coalitions are written out: 64 texts, of which a row takes one
_MANY, _TOGETHER_OF_MANY = 3000, 8  # rows from which 256 texts pay
_TEXTS = 8  # whose large tables are kept; small ones of all texts are


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

    def texts(self, kept: Bools, fill: str, *, many: bool = False) -> list[str]:
        """The texts of coalitions (r, d); with many to come, larger tables are made."""
        if not self.d:
            return [self.text] * len(kept)
        made = self.made.get(fill)
        if made is None:
            made = self.made[fill] = _Made.of(self, fill, _TOGETHER_OF_MANY if many else _TOGETHER)
        texts = list(map("".join, made.table.ravel().take(_places(kept, *made.table.shape)).tolist()))
        if made.last:
            texts = [text + made.last for text in texts]
        if not fill:  # the white space after a first word that is gone goes too
            texts = [text if begins else text.lstrip() for text, begins in zip(texts, kept[:, 0].tolist(), strict=True)]
        return [made.first + text for text in texts] if made.first else texts

    @cached_property
    def made(self) -> dict[str, _Made]:
        """Tables by what stands in for a part that is left out."""
        return {}


@dataclass(frozen=True)
class _Made:
    """Pieces that a text's coalitions are joined from.

    Args:
        first: the text before the first feature.
        table: (g, 2^b) the texts of all coalitions of each b features.
        last: the text after the last feature.
    """

    first: str
    table: NDArray[np.object_]
    last: str

    @staticmethod
    def of(one: CutText, fill: str, together: int) -> _Made:
        """Of a text, with so many features together."""
        text, done = one.text, int(one.spans[0, 0])
        each: list[tuple[str, str]] = []
        for start, stop in one.spans.tolist():
            gap = text[done:start]
            each.append(((gap if fill else gap.rstrip()) + fill, text[done:stop]))  # gone, kept
            done = stop
        each += [("", "")] * (-len(each) % together)
        table = np.empty((len(each) // together, 2**together), dtype=object)
        for row, i in zip(table, range(0, len(each), together), strict=True):
            row[:] = list(map("".join, product(*each[i : i + together])))
        return _Made(text[: one.spans[0, 0]], table, text[done:])


def _places(kept: Bools, groups: int, size: int) -> Ints:
    """(r, g) entry of each group's table that a coalition takes."""
    together = size.bit_length() - 1
    bits = np.zeros((len(kept), groups, 8), dtype=bool)
    whole, rest = divmod(kept.shape[1], together)
    bits[:, :whole, 8 - together :] = kept[:, : whole * together].reshape(len(kept), whole, together)
    if rest:
        bits[:, whole, 8 - together : 8 - together + rest] = kept[:, whole * together :]
    where: Ints = np.packbits(bits.reshape(len(kept), -1), axis=1).astype(np.int64)
    where += np.arange(groups) * size
    return where


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
            rows += self.texts(int(ask.instances[place]), ask.codes[code : code + count], self.fills[0], m)
            start += count
        return rows

    def take(self, ask: Ask, index: Ints) -> Rows:
        """Chosen rows of an ask."""
        rows: list[Any] = [None] * len(index)
        for instance, draw, codes, where in runs(ask, index, self.draws):
            for i, text in zip(where, self.texts(instance, ask.codes[codes], self.fills[draw], len(ask.codes)), strict=True):
                rows[i] = text
        return rows

    def texts(self, instance: int, kept: Bools, fill: str, expected: int) -> list[str]:
        """Texts of coalitions (r, d) of one instance, of which so many are expected; the large tables of a few texts are kept at most."""
        many = expected >= _MANY
        if many and instance not in self._large:
            self._large.append(instance)
            if len(self._large) > _TEXTS:
                self.cuts[self._large.popleft()].made.clear()
        return self.cuts[instance].texts(kept, fill, many=many)

    @cached_property
    def _large(self) -> deque[int]:
        return deque()

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
