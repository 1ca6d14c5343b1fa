"""The checks' games over texts: a row of numbers becomes a text of one word a feature, and a word that is gone is the reference value."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whybox.explanations import Attribution
from whybox.typing import Floats, Model

_FIRST = ord("a")


def as_text(row: Floats) -> str:
    """One word a feature: a letter for which, and the number's bits.

    Example:
        >>> as_text(np.array([1.0, -2.0]))
        'a3ff0000000000000 bc000000000000000'
    """
    return " ".join(chr(_FIRST + j) + struct.pack(">d", value).hex() for j, value in enumerate(row.tolist()))


@dataclass(frozen=True)
class Reads:
    """A model of numbers that is called with texts.

    Args:
        numbers: the model: rows (n, d) in, outputs out.
        reference: (d,) values of words that are not there.
    """

    numbers: Any
    reference: tuple[float, ...]

    def __call__(self, texts: list[str]) -> Any:
        """Outputs of the texts."""
        rows = np.tile(np.array(self.reference), (len(texts), 1))
        for i, text in enumerate(texts):
            for word in text.split():
                rows[i, ord(word[0]) - _FIRST] = struct.unpack(">d", bytes.fromhex(word[1:]))[0]
        return self.numbers(rows)


def reading(model: Any, reference: Floats) -> Any:
    """The model, a function or a :class:`whybox.typing.Model`, called with texts."""
    told = tuple(reference.tolist())
    return replace(model, predict=Reads(model.predict, told)) if isinstance(model, Model) else Reads(model, told)


@dataclass
class OnTexts:
    """An explainer of texts that takes the checks' rows of numbers; anything else is handed on as it is.

    Args:
        explainer: the explainer under test.
    """

    explainer: Any

    def explain(self, x: Any, **options: Any) -> Stacked:
        """The explanation of the rows' texts."""
        numbers = isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim == 2 and len(x)
        return Stacked(self.explainer.explain([as_text(row) for row in x] if numbers else x, **options))

    def __repr__(self) -> str:
        return repr(self.explainer)


@dataclass(frozen=True, eq=False)
class Stacked:
    """An explanation of texts of equal width, whose values the checks read as one array; everything else is the explanation's own.

    Args:
        explanation: what came.
    """

    explanation: Attribution

    def __getattr__(self, name: str) -> Any:
        if name == "explanation":  # while it is unpickled
            raise AttributeError(name)
        value = getattr(self.explanation, name)
        ragged = isinstance(value, np.ndarray) and value.dtype == object and name in ("values", "std_error")
        return np.stack(value.tolist()) if ragged else value

    @staticmethod
    def load(path: Any) -> Stacked:
        """What ``save`` wrote."""
        return Stacked(Attribution.load(path))

    def _repr_html_(self) -> str:
        return self.explanation._repr_html_()

    def __repr__(self) -> str:
        return repr(self.explanation)
