"""An Attribution for terminals: one line for ``repr``, a table for ``to_text``."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from whybox.explanations._highlight import is_text, terminal
from whybox.explanations._view import (
    batch,
    chosen_lines,
    decimals,
    fixed,
    heading,
    is_additive,
    outcome,
    output_label,
    plus_minus,
    row_labels,
    row_output,
    shortened,
    signed,
)

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution


def method_line(e: Attribution) -> str:
    """What produced the values: "KernelSHAP (odd GP)"."""
    return f"{e.method} ({e.estimator})" if e.estimator else e.method


def one_line(e: Attribution) -> str:
    """A short text for ``repr``."""
    rows = "1 row" if e.single or len(e) == 1 else f"{len(e)} rows"
    sizes = "ragged" if e.ragged else str(e.n_features)
    outputs = f" × {e.n_outputs} outputs" if e.multi_output else ""
    error = "" if e.std_error is None else ", with standard errors"
    return f"<Attribution: {method_line(e)}, {rows} × {sizes} features{outputs}{error}, {e.n_queries:,} model queries>"


def cost_line(e: Attribution) -> str:
    """What the call cost."""
    s = e.stats
    parts = [f"{s.n_queries:,} model queries in {s.n_calls:,} calls"]
    if s.n_rows > s.n_queries:
        parts.append(f"{s.n_rows - s.n_queries:,} more answered without asking")
    parts.append(f"{s.total_seconds:.3g} s, {s.model_seconds:.3g} s of it in the model")
    return ", ".join(parts)


def table(e: Attribution, *, max_display: int) -> str:
    """A table of one row's attributions, or of mean absolute attributions over many rows."""
    whole = batch(e)
    head = [one_line(e)[14:-1]]
    shown = [whole[..., j] for j in range(e.n_outputs)] if e.multi_output else [whole]
    body: list[str] = []
    for j, one in enumerate(shown):
        if e.multi_output:
            body += ["", heading(output_label(e, j))]
        body += _row(one, max_display) if len(whole) == 1 else _summary(one, max_display)
    return "\n".join([*head, *body, "", f"the whole call: {cost_line(e)}"])


def _clean(text: str) -> str:
    """One line without control characters, so that a name cannot move the cursor or break the table."""
    return "".join(c if c.isprintable() else " " for c in text)


def _aligned(rows: list[tuple[str, ...]], left: Collection[int] = (0, 1)) -> list[str]:
    widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
    padded = [[c.ljust(w) if j in left else c.rjust(w) for j, (c, w) in enumerate(zip(row, widths, strict=True))] for row in rows]
    return ["  ".join(row).rstrip() for row in padded]


def _row(e: Attribution, max_display: int) -> list[str]:
    entries, unselected = chosen_lines(e, 0)
    digits = decimals(*(line.attribution for line in entries))
    some, rest = entries[:max_display], entries[max_display:]
    text = is_text(e, 0)
    rows: list[tuple[str, ...]] = [("feature", "value", "attribution", "95 % interval" if e.std_error is not None else "")]
    for line in some:
        reach = plus_minus(line.error, digits)
        shown = "" if text else _clean(shortened(line.value, 48))
        rows.append((_clean(line.name), shown, signed(line.attribution, digits), reach))
    if rest:
        rows.append((f"{len(rest)} more", "", signed(float(sum(line.attribution for line in rest)), digits), ""))
    if unselected:
        rows.append((unselected, "", "", ""))
    name = row_output(e, 0)
    result = f"row {row_labels(e)[0]}" + ("" if name is None else f", {heading(name)}")
    result += f": base {outcome(e.base_values[0], digits)} → prediction {outcome(e.predictions[0], digits)}"
    if not is_additive(e, 0):
        result += " (attributions need not add up)"
    if e.score is not None:
        result += f", R² {e.score[0]:.3f}"
    if not text:
        return [_clean(result), "", *_aligned(rows)]
    if not entries:
        return [_clean(result), "", *terminal(e, 0, _clean), "", "no features: nothing in this text can be left out"]
    sizes = [line.attribution for line in some]
    bars = ["", *_bars(sizes), *[""] * (bool(rest) + bool(unselected))]
    table = _aligned([(name, *columns, bar) for (name, _, *columns), bar in zip(rows, bars, strict=True)], left={0, 3})
    return [_clean(result), "", *terminal(e, 0, _clean), "", *table]


def _bars(values: list[float]) -> list[str]:
    """Bars of up to 16 signs, to be read with the signed numbers beside them."""
    most = max((abs(value) for value in values if np.isfinite(value)), default=0.0)
    return ["\u2588" * round(16 * abs(value) / most) if most > 0 and np.isfinite(value) else "" for value in values]


def _summary(e: Attribution, max_display: int) -> list[str]:
    if not len(e):
        return ["no rows"]
    frame = e.importance()
    digits = decimals(*frame["importance"])
    rows: list[tuple[str, ...]] = [("feature", "mean |attribution|", "95 % interval" if e.std_error is not None else "")]
    for name, size, error in zip(frame["feature"][:max_display], frame["importance"], frame["std_error"], strict=False):
        rows.append((_clean(name), fixed(size, digits), plus_minus(error, digits)))
    widths = [max(len(row[j]) for row in rows) for j in range(3)]
    text = [f"{row[0].ljust(widths[0])}  {row[1].rjust(widths[1])}  {row[2].rjust(widths[2])}".rstrip() for row in rows]
    if len(frame) > max_display:
        text.append(f"{len(frame) - max_display} more features, together {fixed(frame['importance'][max_display:].sum(), digits)}")
    return text
