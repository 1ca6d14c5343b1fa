"""Counterfactuals for people: a table, a diff in plain text, a diff in HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from whybox.explanations._escape import escape
from whybox.explanations._words import Piece, diff

if TYPE_CHECKING:
    import pandas as pd

    from whybox.explanations.counterfactuals import Counterfactuals, Edit

_MARKS = {"keep": ("", ""), "delete": ("[-", "-]"), "insert": ("{+", "+}")}
_STYLES = {
    "delete": "background:#ffd7d5;color:#82071e;text-decoration:line-through",
    "insert": "background:#ccffd8;color:#055d20;text-decoration:none",
}


def headline(e: Counterfactuals) -> str:
    """One line."""
    n, m = len(e.texts), len(e.edits)
    asked = "" if e.estimand is None else f" ({e.estimand} effect)"
    counts = f"{n} text{'s' * (n != 1)}, {m} edit{'s' * (m != 1)}, {int(e.valid.sum())} valid"
    return f"Counterfactuals {e.source}{asked}: {counts}"


def frame(e: Counterfactuals) -> pd.DataFrame:
    """One row an edit."""
    import pandas as pd

    columns: dict[str, Any] = {
        "original": [edit.original for edit in e.edits],
        "concept": [edit.concept for edit in e.edits],
        "from": [edit.source_value for edit in e.edits],
        "to": [edit.target for edit in e.edits],
        "sample": [edit.sample for edit in e.edits],
        "text": [e.texts[edit.original] for edit in e.edits],
        "edited": [edit.text for edit in e.edits],
        "valid": e.valid,
        "reasons": [", ".join(failure.check for failure in edit.failures) for edit in e.edits],
        "attempts": [edit.attempts for edit in e.edits],
        "distance": e.distances,
        "similarity": [edit.similarity for edit in e.edits],
    }
    if e.outputs_before is not None and e.outputs_after is not None:
        places = [edit.original for edit in e.edits]
        for j in range(e.outputs_before.shape[1]):
            name = _output(e, j)
            columns[f"before {name}"] = e.outputs_before[places, j]
            columns[f"after {name}"] = e.outputs_after[:, j]
    return pd.DataFrame(columns)


def text(e: Counterfactuals, max_edits: int | None) -> str:
    """A diff in plain text."""
    lines = [headline(e)]
    shown = e.edits if max_edits is None else e.edits[:max_edits]
    for j, edit in enumerate(shown):
        lines += ["", _title(edit)]
        pieces = diff(e.texts[edit.original], edit.text)
        lines.append("  " + _printable(_joined(pieces)))
        lines += [f"  invalid, {_printable(failure.check)}: {_printable(failure.why)}" for failure in edit.failures]
        if change := _change(e, edit, j):
            lines.append("  " + change)
    if len(shown) < len(e.edits):
        lines += ["", f"{len(e.edits) - len(shown)} more edits"]
    return "\n".join(lines)


def _joined(pieces: Sequence[Piece]) -> str:
    return "".join(f"{gap}{_MARKS[piece.kind][0]}{piece.text}{_MARKS[piece.kind][1]}" for gap, piece in _spaced(pieces))


def _spaced(pieces: Sequence[Piece]) -> Iterator[tuple[str, Piece]]:
    """Pieces with a blank before them where a deleted stretch, which has no white space of its own, would stick to its neighbour."""
    previous: Piece | None = None
    for piece in pieces:
        touching = previous is not None and not previous.text[-1:].isspace() and not piece.text[:1].isspace()
        beside = previous is not None and "delete" in (previous.kind, piece.kind) and piece.text[:1].isalnum()
        yield (" " if touching and beside else ""), piece
        previous = piece


def html(e: Counterfactuals, max_edits: int | None) -> str:
    """A diff in HTML."""
    shown = e.edits if max_edits is None else e.edits[:max_edits]
    rows = "".join(_html_row(e, edit, j) for j, edit in enumerate(shown))
    more = f"<p>{len(e.edits) - len(shown)} more edits</p>" if len(shown) < len(e.edits) else ""
    cells = "".join(f'<th style="text-align:left;padding:4px 8px">{name}</th>' for name in ("text", "change", "edit", "outputs"))
    head = f"<p><b>{escape(headline(e))}</b></p>"
    table = f'<table style="border-collapse:collapse;font-size:13px"><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div style="font-family:sans-serif;max-width:1000px">{head}{table}{more}</div>'


def _html_row(e: Counterfactuals, edit: Edit, j: int) -> str:
    marked = "".join(gap + _html_piece(piece.kind, piece.text) for gap, piece in _spaced(diff(e.texts[edit.original], edit.text)))
    reasons = "".join(
        f'<div style="color:#9a6700">invalid, {escape(failure.check)}: {escape(failure.why)}</div>' for failure in edit.failures
    )
    cells = (str(edit.original), escape(_title(edit).split(", ", 1)[1]), marked + reasons, escape(_change(e, edit, j)))
    style = "padding:4px 8px;border-top:1px solid #d0d7de;vertical-align:top;white-space:pre-wrap"
    faded = "" if edit.valid else ";opacity:0.75"
    return f'<tr style="{faded[1:]}">' + "".join(f'<td style="{style}">{cell}</td>' for cell in cells) + "</tr>"


def _html_piece(kind: str, piece: str) -> str:
    if kind == "keep":
        return escape(piece)
    tag = "del" if kind == "delete" else "ins"
    return f'<{tag} style="{_STYLES[kind]}">{escape(piece)}</{tag}>'


def _title(edit: Edit) -> str:
    what = "label" if edit.concept is None else edit.concept
    start = "" if edit.source_value is None else f"{edit.source_value} -> "
    return _printable(f"text {edit.original}, {what}: {start}{edit.target}" + (f", sample {edit.sample}" if edit.sample else ""))


def _change(e: Counterfactuals, edit: Edit, j: int) -> str:
    if e.outputs_before is None or e.outputs_after is None or not np.isfinite(e.outputs_after[j]).all():
        return ""
    before, after = e.outputs_before[edit.original], e.outputs_after[j]
    return _printable("; ".join(f"{_output(e, k)} {before[k]:.3f} -> {after[k]:.3f}" for k in range(len(before))))


def _output(e: Counterfactuals, j: int) -> str:
    return str(j) if e.output_names is None else e.output_names[j]


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in line)
