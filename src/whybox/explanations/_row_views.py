"""Counterfactual rows for people: tables, plain text, HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from whybox._arrays import is_frame
from whybox.explanations._escape import escape
from whybox.explanations._view import cell, decimals, fixed, shortened

if TYPE_CHECKING:
    import pandas as pd

    from whybox.explanations.counterfactual_rows import CounterfactualRows

_CELL = "padding:3px 10px;border-top:1px solid #8884;vertical-align:top;text-align:left"
_NUMBER = _CELL + ";text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap"
_OLD = "background:#ffd7d5;color:#82071e;border-radius:4px;padding:1px 5px"
_NEW = "background:#ccffd8;color:#055d20;border-radius:4px;padding:1px 5px"
_ODD = 0.05  # plausibility below which a counterfactual is marked


def headline(e: CounterfactualRows) -> str:
    """One line."""
    n, m = len(e), len(e.rows)
    told = ((e.missing, "without one"), (e.reached, "already as wanted"), (e.spent, "at the end of the budget"))
    notes = [f"{int(there.sum())} {what}" for there, what in told if there.any()]
    rows = f"{n} row{'s' * (n != 1)}" + (f" ({', '.join(notes)})" if notes else "")
    return f"CounterfactualRows: {e.method}, {rows}, {m} counterfactual{'s' * (m != 1)}, {e.n_queries:,} model queries"


def _at(table: Any, i: int, j: int) -> Any:
    return table.iloc[i, j] if is_frame(table) else table[i, j]


def _pair(old: Any, new: Any) -> tuple[str, str]:
    """Both values, with as many digits as tell them apart."""
    texts = _value(old, 4), _value(new, 4)
    for digits in range(5, 18):
        if texts[0] != texts[1]:
            return texts
        texts = _value(old, digits), _value(new, digits)
    return repr(old), repr(new)


def _value(value: Any, digits: int) -> str:
    if not isinstance(value, (float, np.floating)):
        return cell(value)
    text = f"{float(value):.{digits}g}"
    return f"{float(value):.0f}" if "e+" in text and abs(float(value)) < 1e15 else text


def _changes(e: CounterfactualRows, i: int) -> list[tuple[str, str, str]]:
    """Feature, old and new value of each change of counterfactual i."""
    row = int(e.of[i])
    return [(e.feature_names[j], *_pair(_at(e.x, row, j), _at(e.rows, i, j))) for j in np.flatnonzero(e.changed[i]).tolist()]


def told(e: CounterfactualRows, i: int) -> list[str]:
    """The changes of counterfactual i in words."""
    return [f"{name}: {old} → {new}" for name, old, new in _changes(e, i)]


def _numbers(e: CounterfactualRows) -> list[int]:
    """Number of each counterfactual among those of its row."""
    first = np.searchsorted(e.of, e.of)
    numbers: list[int] = (np.arange(len(e.of)) - first).tolist()
    return numbers


def _labels(e: CounterfactualRows) -> list[Any]:
    return list(e.x.index) if is_frame(e.x) else list(range(len(e)))


def frame(e: CounterfactualRows) -> pd.DataFrame:
    """One line a counterfactual."""
    import pandas as pd

    label, of = _labels(e), e.of.tolist()
    columns: dict[str, Any] = {
        "row": [label[i] for i in of],
        "counterfactual": _numbers(e),
        "wanted": [e.wanted[i] for i in of],
        "changes": list(e.changes),
        "n_changed": e.n_changed,
        "distance": e.distance,
        "plausibility": e.plausibility,
        "cost": e.cost,
    }
    for j in range(e.before.shape[1]):
        name = _output(e, j)
        columns[f"before {name}"], columns[f"after {name}"] = e.before[of, j], e.after[:, j]
    return pd.DataFrame(columns)


def _output(e: CounterfactualRows, j: int) -> str:
    return e.output_names[j] if e.output_names is not None else f"output {j}"


def changes(e: CounterfactualRows) -> pd.DataFrame:
    """One line a change."""
    import pandas as pd

    label, numbers = _labels(e), _numbers(e)
    lines: dict[str, list[Any]] = {"row": [], "counterfactual": [], "feature": [], "from": [], "to": []}
    for i, j in np.argwhere(e.changed).tolist():
        row = int(e.of[i])
        told = (label[row], numbers[i], e.feature_names[j], _at(e.x, row, j), _at(e.rows, i, j))
        for name, value in zip(lines, told, strict=True):
            lines[name].append(value)
    kept = {name: pd.Series(values, dtype=object) if name in ("from", "to") else values for name, values in lines.items()}
    return pd.DataFrame(kept)


def importance(e: CounterfactualRows) -> pd.DataFrame:
    """How often columns change."""
    import pandas as pd

    there = np.flatnonzero(e.found)
    first = e.changed[np.searchsorted(e.of, there)].mean(axis=0) if len(there) else np.zeros(len(e.feature_names))
    each = np.array([e.changed[e.of == i].any(axis=0) for i in there]).reshape(-1, len(e.feature_names))
    table = pd.DataFrame({"feature": list(e.feature_names), "first": first, "any": each.mean(axis=0) if len(each) else 0.0})
    return table.sort_values(["first", "any"], ascending=False, kind="stable", ignore_index=True)


def _said(e: CounterfactualRows, values: Any) -> str:
    """Outputs in words: the class with its probability, or the numbers."""
    digits = decimals(*np.asarray(values).tolist())
    if len(values) == 1:
        return f"{_output(e, 0)} {fixed(values[0], digits)}" if e.output_names is not None else fixed(values[0], digits)
    best = int(np.argmax(values))
    return f"{_output(e, best)} ({fixed(values[best], digits)})"


def text(e: CounterfactualRows, max_display: int) -> str:
    """Plain text."""
    lines, label, numbers = [headline(e)], _labels(e), _numbers(e)
    for row in range(min(len(e), max_display)):
        lines += ["", _printable(f"row {label[row]}: {_said(e, e.before[row])}; wanted: {e.wanted[row]}")]
        if e.reached[row]:
            lines.append("  is already as wanted")
        elif e.missing[row]:
            lines.append("  no counterfactual was found")
        for i in np.flatnonzero(e.of == row).tolist():
            what = ", ".join(shortened(part, 80) for part in told(e, i))
            odd = ", unlike the data" if e.plausibility[i] < _ODD else ""
            lines.append(_printable(f"  {numbers[i] + 1}. {what}"))
            lines.append(
                _printable(f"     {_said(e, e.after[i])}, distance {e.distance[i]:.3f}, plausibility {e.plausibility[i]:.2f}{odd}")
            )
    if len(e) > max_display:
        lines += ["", f"{len(e) - max_display} more rows"]
    return "\n".join(lines)


def html(e: CounterfactualRows, max_display: int) -> str:
    """A table, old values red and new ones green."""
    titles = ("", "what would have to change", "the model then says", "distance", "plausibility")
    head = "".join(f'<th style="{_CELL};border:0">{name}</th>' for name in titles)
    body = "".join(_group(e, row) for row in range(min(len(e), max_display)))
    more = f"<p>{len(e) - max_display} more rows</p>" if len(e) > max_display else ""
    table = f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div style="font:14px/1.45 system-ui,sans-serif;max-width:72em"><p><b>{escape(headline(e))}</b></p>{table}{more}</div>'


def _group(e: CounterfactualRows, row: int) -> str:
    label, numbers = _labels(e)[row], _numbers(e)
    note = "; it is so already" if e.reached[row] else "; no counterfactual was found" if e.missing[row] else ""
    title = f"row {escape(label)}: {escape(_said(e, e.before[row]))}; wanted: {escape(e.wanted[row])}{note}"
    lines = [f'<tr><td colspan="5" style="{_CELL};padding-top:10px"><b>{title}</b></td></tr>']
    for i in np.flatnonzero(e.of == row).tolist():
        what = " ".join(
            f'<span style="white-space:nowrap">{escape(name)} <span style="{_OLD}">{escape(shortened(old, 60))}</span> → '
            f'<span style="{_NEW}">{escape(shortened(new, 60))}</span></span>&ensp;'
            for name, old, new in _changes(e, i)
        )
        odd = '<div style="opacity:.7">unlike the data</div>' if e.plausibility[i] < _ODD else ""
        cells = [
            f'<td style="{_NUMBER}">{numbers[i] + 1}</td>',
            f'<td style="{_CELL}">{what}</td>',
            f'<td style="{_CELL}">{escape(_said(e, e.after[i]))}</td>',
            f'<td style="{_NUMBER}">{e.distance[i]:.3f}</td>',
            f'<td style="{_NUMBER}">{e.plausibility[i]:.2f}{odd}</td>',
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(lines)


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else " " for c in line)
