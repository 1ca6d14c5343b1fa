"""A text with its words marked by their attributions: coloured in HTML, in brackets on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from whybox.explanations._escape import escape
from whybox.explanations._view import decimals, plus_minus, signed

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution

# vermilion and blue of the bars; mixed into whatever is behind, so that text keeps its colour and its contrast on light and dark pages
_POSITIVE, _NEGATIVE = "217,96,43", "58,134,200"
_DEEPEST, _FAINTEST = 0.55, 0.04
_BRACKETS = 8  # words marked on a terminal
_HELD = "\ue000"  # a space that does not break a line


def is_text(e: Attribution, row: int) -> bool:
    """Whether a row of an explanation with a row axis is a text whose parts have places."""
    return e.inputs is not None and isinstance(e.inputs[row], str)


def _parts(e: Attribution, row: int) -> Iterator[tuple[str, int]]:
    """The text in pieces, each with its feature's position, -1 for what is none."""
    text, done = e.inputs[row], 0
    for position in np.argsort(e.marks[row][:, 0], kind="stable").tolist():
        start, stop = e.marks[row][position].tolist()
        yield text[done:start], -1
        yield text[start:stop], position
        done = stop
    yield text[done:], -1


def html(e: Attribution, row: int, largest: float | None = None) -> str:
    """One text of an explanation of one output: the deeper the colour, the larger the attribution; a dashed line is negative.

    Args:
        e: with a row axis.
        row: which text.
        largest: the attribution of the deepest colour; None takes the text's own largest.
    """
    values = e.values[row]
    most = float(np.nanmax(np.abs(values), initial=0.0)) if largest is None else largest
    digits = decimals(*values.tolist())
    pieces = []
    for piece, position in _parts(e, row):
        value = 0.0 if position < 0 else float(values[position])
        share = abs(value) / most * _DEEPEST if most > 0 and np.isfinite(value) else 0.0
        if share < _FAINTEST:
            pieces.append(escape(piece))
            continue
        error = "" if e.std_error is None else f" {plus_minus(e.std_error[row][position], digits)}"
        colour, line = (_POSITIVE, "solid") if value > 0 else (_NEGATIVE, "dashed")
        style = f"background:rgba({colour},{share:.2f});border-bottom:2px {line} rgba({colour},{min(2 * share, 1.0):.2f})"
        pieces.append(f'<mark style="{style}" title="{escape(signed(value, digits) + error)}">{escape(piece)}</mark>')
    return f'<div class="text" dir="auto">{"".join(pieces)}</div>'


def legend(name: str | None) -> str:
    """What the colours say."""
    what = "the output" if name is None else name
    marks = (("towards", _POSITIVE, "solid"), ("away from", _NEGATIVE, "dashed"))
    shown = [f'<mark style="background:rgba({c},.4);border-bottom:2px {line} rgb({c})">{word}</mark>' for word, c, line in marks]
    return f'<p class="cost">{" or ".join(shown)} {escape(what)}; the deeper, the more</p>'


def terminal(e: Attribution, row: int, clean: Callable[[str], str]) -> list[str]:
    """One text with its strongest words in brackets, each with its attribution, wrapped to 100 columns."""
    values = np.nan_to_num(e.values[row])
    most = float(np.max(np.abs(values), initial=0.0))
    strong = [i for i in np.argsort(-np.abs(values), kind="stable")[:_BRACKETS].tolist() if abs(values[i]) > _FAINTEST * most]
    digits = decimals(*values.tolist())
    pieces = [f"[{piece} {signed(float(values[i]), digits)}]".replace(" ", _HELD) if i in strong else piece for piece, i in _parts(e, row)]
    lines = []
    for paragraph in "".join(pieces).splitlines() or [""]:
        lines += fill(paragraph, 100, break_long_words=False, break_on_hyphens=False).splitlines() or [""]
    return [clean(line.replace(_HELD, " ")) for line in lines]
