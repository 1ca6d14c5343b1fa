"""Records of several texts, such as a question and its context: each field by its own words, sentences or passages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_frame, row_digests, take_rows
from whybox.errors import InputError, OptionError, SchemaError
from whybox.spaces._text_bound import TextBound, as_objects, coalition_keys, runs
from whybox.spaces.marginal import average
from whybox.spaces.text import Passages, Sentences, Tokens, Words
from whybox.typing import Ask, Floats, Ints, Model, Rows

_TEXTS = (Words, Tokens, Sentences, Passages)


@dataclass(frozen=True)
class Fields:
    """Texts of a record: the rows are a DataFrame, or a list of dicts, and each named field is cut by its own space.

    The model is called with rows of the same kind, with all their fields; those that are not named stay as they are. A feature's name is
    its field and its word: "question: who".

    Args:
        fields: name of the field to :class:`Words`, :class:`Tokens`, :class:`Sentences` or :class:`Passages`, all with one fill each.

    Raises:
        OptionError: no field, another kind of space, or several fills (on binding: ``SchemaError`` for a field that the rows lack).

    Example:
        >>> space = Fields({"question": Words(), "context": Sentences()})
        >>> bound = space.bind([{"question": "Who came?", "context": "Ann came. Bob left.", "id": 7}], None)
        >>> bound.feature_names(0)
        ('question: Who', 'question: came', 'context: Ann came.', 'context: Bob left.')
    """

    fields: Mapping[str, Words | Tokens | Sentences | Passages]

    def __post_init__(self) -> None:
        if not isinstance(self.fields, Mapping) or not self.fields:
            raise OptionError(f'fields: expected names with spaces, such as {{"question": Words()}}, got {self.fields!r}')
        for name, space in self.fields.items():
            if not isinstance(space, _TEXTS):
                raise OptionError(f"fields: expected Words, Tokens, Sentences or Passages for {name!r}, got {space!r}")
            if not isinstance(space.fill, str) and len(space.fill) != 1:
                raise OptionError(f"fields: {name!r} has {len(space.fill)} fills; a field takes one")

    def bind(self, x: Any, model: Model | None) -> FieldsBound:  # model: takes rows as they come
        """Cut every field of every record."""
        parts = {name: space.bind(_column(x, name), None) for name, space in self.fields.items()}
        return FieldsBound(x if is_frame(x) else [dict(row) for row in x], parts)


def _column(x: Any, name: str) -> Any:
    """One field of all records.

    Raises:
        InputError: the rows are neither a DataFrame nor dicts.
        SchemaError: a row lacks the field.
    """
    if is_frame(x):
        if name not in x.columns:
            raise SchemaError(f"fields: {name!r} is no column; there are {list(x.columns)[:10]}")
        return x[name]
    if isinstance(x, Mapping) or not isinstance(x, Sequence) or isinstance(x, str) or not all(isinstance(row, Mapping) for row in x):
        raise InputError(f"x: Fields explains a DataFrame or a list of dicts, got {type(x).__name__}; pass [record] for a single one")
    lacking = [i for i, row in enumerate(x) if name not in row]
    if lacking:
        raise SchemaError(f"fields: row {lacking[0]} has no {name!r}; it has {list(x[lacking[0]])[:10]}")
    return [row[name] for row in x]


@dataclass(frozen=True)
class FieldsBound:
    """Records bound to the texts of their fields, see :class:`whybox.typing.Coalitions`.

    Args:
        rows: the records, a DataFrame or a list of dicts.
        parts: each field's texts.
    """

    rows: Any
    parts: Mapping[str, TextBound]
    draws: int = 1
    shared_empty: bool = False
    members: None = None
    design: Literal["removals"] = "removals"
    kernel_width: float = 0.25

    @property
    def n(self) -> int:
        """Explained records."""
        return len(self.rows)

    def n_features(self, instance: int) -> int:
        """Parts of all fields."""
        return sum(part.n_features(instance) for part in self.parts.values())

    def feature_names(self, instance: int) -> tuple[str, ...]:
        """Field and part."""
        return tuple(f"{name}: {word}" for name, part in self.parts.items() for word in part.feature_names(instance))

    def inputs(self, instance: int) -> str:
        """The fields one after the other, each after its name."""
        return "\n\n".join(f"{name}: {part.inputs(instance)}" for name, part in self.parts.items())

    def marks(self, instance: int) -> NDArray[np.int64]:
        """(d, 2) positions of the parts in what ``inputs`` gives."""
        spans, done = [], 0
        for name, part in self.parts.items():
            done += len(name) + 2
            spans.append(part.marks(instance) + done)
            done += len(part.inputs(instance)) + 2
        return np.concatenate(spans)

    def data(self, instance: int) -> NDArray[Any]:
        """The parts."""
        return as_objects([word for part in self.parts.values() for word in part.data(instance)])

    def tree(self, instance: int) -> Any:
        """A record of fields, each as its own tree of positions."""
        trees, start = [], 0
        for part in self.parts.values():
            trees.append(_shifted(part.tree(instance), start))
            start += part.n_features(instance)
        return [tree for tree in trees if tree]

    def plain(self, start: int, stop: int) -> Rows:
        """The records as they came."""
        if is_frame(self.rows):
            return self.rows.iloc[start:stop].reset_index(drop=True)
        return [dict(row) for row in self.rows[start:stop]]

    @cached_property
    def _digests(self) -> NDArray[np.uint64] | None:
        try:
            return row_digests(self.rows) if self.n else np.empty((0, 2), dtype=np.uint64)
        except InputError:  # a record holds objects that nothing tells apart
            return None

    def row_keys(self) -> NDArray[np.uint64] | None:
        """Digests of the whole records."""
        return self._digests

    def digest(self) -> str:
        """Identifies records, fields and fills."""
        state = hashlib.sha256(b"" if self._digests is None else self._digests.tobytes())
        for name, part in self.parts.items():
            state.update(f"{name} {part.digest()}".encode())
        return state.hexdigest()

    def compose(self, ask: Ask, start: int, stop: int) -> Rows:
        """Rows start to stop of an ask."""
        return self.take(ask, np.arange(start, stop, dtype=np.int64))

    def take(self, ask: Ask, index: Ints) -> Rows:
        """Chosen rows of an ask."""
        made: dict[str, list[Any]] = {name: [None] * len(index) for name in self.parts}
        whose = np.empty(len(index), dtype=np.int64)
        for instance, _, codes, where in runs(ask, index, 1):
            whose[where] = instance
            kept, start = ask.codes[codes], 0
            for name, part in self.parts.items():
                stop = start + part.n_features(instance)
                texts = part.texts(instance, kept[:, start:stop], part.fills[0], len(ask.codes))
                for i, text in zip(where, texts, strict=True):
                    made[name][i] = text
                start = stop
        if is_frame(self.rows):
            frame = take_rows(self.rows, whose)
            for name, texts in made.items():
                frame[name] = as_objects(texts) if frame[name].dtype == object else type(frame[name])(texts, dtype=frame[name].dtype)
            return frame
        rows = [dict(self.rows[i]) for i in whose.tolist()]
        for name, texts in made.items():
            for row, text in zip(rows, texts, strict=True):
                row[name] = text
        return rows

    def keys(self, ask: Ask) -> NDArray[np.uint64] | None:
        """Keys by record and coalition."""
        return None if self._digests is None else coalition_keys(ask, self._digests, 1)

    def fold(self, ask: Ask, outputs: Floats) -> Floats:  # ask: all are averaged alike
        """One row a coalition."""
        return average(outputs)


def _shifted(tree: Any, start: int) -> Any:
    return [_shifted(branch, start) for branch in tree] if isinstance(tree, list) else tree + start
