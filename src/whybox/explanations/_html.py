"""An Attribution as an HTML fragment: tables with inline SVG, no script, no link; every text goes through ``escape``.

Lines and texts take the surrounding text's colour, so the fragment reads on light and dark pages alike.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from whybox.explanations import _highlight, _pictures
from whybox.explanations._escape import escape
from whybox.explanations._svg import OTHERS, SIZE, Scale, bar, marker, strip
from whybox.explanations._text import cost_line, method_line
from whybox.explanations._view import (
    Line,
    Z,
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

_OUTPUTS = 12  # shown; a thousand classes would make a page that no one opens
_STYLE = """<style>
.whybox{font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;max-width:64em;margin:.4em 0}
.whybox table{border-collapse:collapse;margin:.3em 0 .6em;border:0;font-size:inherit}
.whybox tr,.whybox th,.whybox td{background:none!important;border:0}
.whybox th,.whybox td{padding:0 .9em 0 0;text-align:left!important;vertical-align:middle;line-height:1.3}
.whybox th{font-weight:600;padding-bottom:.25em;opacity:.75}
.whybox td.name,.whybox td.value,.whybox th{white-space:nowrap}
.whybox td.value{opacity:.75;font-variant-numeric:tabular-nums}
.whybox td span{display:inline-block;white-space:normal;overflow-wrap:anywhere;min-width:12em;max-width:24em}
.whybox td.number,.whybox th.number{text-align:right!important;white-space:nowrap;font-variant-numeric:tabular-nums}
.whybox td.error{opacity:.75;white-space:nowrap;font-variant-numeric:tabular-nums}
.whybox svg{display:block;overflow:visible;max-width:none}
.whybox .total td{font-weight:600}
.whybox p{margin:.2em 0}
.whybox .text{white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.75;margin:.3em 0 .5em}
.whybox mark{color:inherit;padding:0 .1em;border-radius:2px}
.whybox .pictures{display:flex;flex-wrap:wrap;gap:8px;margin:.3em 0 .5em}
.whybox .pictures img{max-width:100%;height:auto;image-rendering:pixelated}
.whybox .cost{opacity:.7;font-size:12px}
.whybox summary{cursor:pointer;font-weight:600;padding:.15em 0}
</style>"""


def fragment(e: Attribution, *, max_display: int) -> str:
    """The explanation of one row as bars from base value to prediction; of many rows as a table of the most important features."""
    whole = batch(e)
    one_row = len(whole) == 1
    note = {"method": e.method, "estimator": e.estimator, "seed": e.seed, "target": e.target, "settings": dict(e.settings)}
    size = "1 row" if one_row else f"{len(whole):,} rows"
    if whole.ragged and not one_row:
        features = "features of their own"
    else:
        count = len(whole.feature_names[0] if whole.ragged else whole.feature_names)
        features = f"{count:,} feature{'s' * (count != 1)}"
    parts = [
        f'<div class="whybox" data-whybox="{escape(json.dumps(note))}">{_STYLE}',
        f"<p><strong>{escape(method_line(e))}</strong> · {size} · {features}</p>",
    ]
    draw = _row if one_row else _summary
    if not len(whole):
        parts.append("<p>no rows</p>")
    elif whole.multi_output:
        first = (
            int(np.argmax(np.nan_to_num(whole.predictions[0], nan=-np.inf)))
            if one_row
            else whole.n_outputs - 1
            if whole.n_outputs == 2
            else 0
        )
        shown = sorted(range(whole.n_outputs), key=lambda j: j != first)[:_OUTPUTS]
        for j in shown:
            state = " open" if j == first else ""
            table = draw(whole[..., j], max_display, None)
            parts.append(f"<details{state}><summary>{escape(heading(output_label(whole, j)))}</summary>{table}</details>")
        if whole.n_outputs > len(shown):
            parts.append(f"<p>{whole.n_outputs - len(shown)} more outputs: choose one with .output(name)</p>")
    else:
        parts.append(draw(whole, max_display, row_output(whole, 0)))
    if e.stats.n_calls:
        parts.append(f'<p class="cost">the whole call: {escape(cost_line(e))}</p>')
    return "\n".join([*parts, "</div>"])


def _wrapped(text: str) -> str:
    """Escaped text in a cell; only long texts may break, numbers and short names never do."""
    return escape(text) if len(text) <= 28 else f"<span>{escape(text)}</span>"


def _cells(kind: str, name: str, value: str, drawing: str, number: str, error: str) -> str:
    """One table row; name and value are user's text."""
    return (
        f'<tr class="{kind}"><td class="name">{_wrapped(name)}</td><td class="value">{_wrapped(value)}</td>'
        f'<td>{drawing}</td><td class="number">{escape(number)}</td><td class="error">{escape(error)}</td></tr>'
    )


def _head(*names: str) -> str:
    kinds = ("", "", "", ' class="number"', "")
    return "<tr>" + "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, names, strict=True)) + "</tr>"


def _plus_minus(error: float, digits: int) -> str:
    return plus_minus(error, digits)


def _row(e: Attribution, max_display: int, name: str | None) -> str:
    """One row: a waterfall where the values add up to the prediction, bars from zero where they need not."""
    entries, unselected = chosen_lines(e, 0)
    some, rest = entries[:max_display], entries[max_display:]
    remainder = Line(f"{len(rest)} more features", "", float(sum(line.attribution for line in rest)), float("nan"), -1) if rest else None
    steps = [*some, *([remainder] if remainder else [])]
    base, prediction = float(e.base_values[0]), float(e.predictions[0])
    additive = is_additive(e, 0)
    sizes = np.array([line.attribution for line in steps])
    ends = base + np.cumsum(sizes) if additive else sizes
    starts = np.concatenate([[base], ends])[:-1] if additive else np.zeros(len(ends))
    reach = Z * np.array([line.error for line in steps])
    scale = Scale.around(np.concatenate([starts, ends, ends - reach, ends + reach, [base if additive else 0.0]]), 340.0)
    digits = decimals(*sizes)
    title = f"row {row_labels(e)[0]}" + ("" if name is None else f" · {heading(name)}")
    facts = [f"base value {outcome(base, digits)}", f"prediction {outcome(prediction, digits)}"]
    if unselected:
        facts.append(unselected)
    if e.score is not None:
        facts.append(f"R² of the local model {e.score[0]:.3f}")
    value = "value" if any(line.value for line in some) else ""
    table = [_head("feature", value, "", "attribution", "95 % interval" if e.std_error is not None else "")]
    if additive:
        table.append(_cells("total", "base value", "", marker(scale, base), outcome(base, digits), ""))
    for line, start, end, half in zip(steps, starts, ends, reach, strict=True):
        drawing = bar(scale, start, end, half, links=additive, color=OTHERS if line is remainder else "")
        table.append(
            _cells("", line.name, shortened(line.value), drawing, signed(line.attribution, digits), _plus_minus(line.error, digits))
        )
    if additive:
        table.append(_cells("total", "prediction", "", marker(scale, prediction), outcome(prediction, digits), ""))
    return f"<p>{escape(title)}: {escape(', '.join(facts))}</p>{_input(e, name, digits)}<table>{''.join(table)}</table>"


def _input(e: Attribution, name: str | None, digits: int) -> str:
    """The text or image of a single row, coloured."""
    if _highlight.is_text(e, 0):
        return _highlight.html(e, 0) + _highlight.legend(name)
    if _pictures.is_image(e, 0):
        return _pictures.html(e, 0) + _pictures.legend(name, _pictures.largest(e, [0]), digits)
    return ""


def _summary(e: Attribution, max_display: int, name: str | None) -> str:
    """Many rows: mean absolute attribution of the most important features, and how each one's attributions are distributed."""
    frame = e.importance()
    some = frame[:max_display]
    digits = decimals(*some["importance"])
    ends = (some["importance"] + (Z * some["std_error"]).fillna(0.0)).to_numpy(dtype=np.float64)
    scale = Scale(0.0, float(ends[np.isfinite(ends)].max(initial=0.0)) * 1.02 or 1.0, 230.0)
    spread = Scale.around(np.concatenate([row.reshape(-1) for row in e.values]) if e.ragged else e.values.reshape(-1), 190.0)
    table = ["<tr><th>feature</th><th>mean |attribution|</th><th></th><th>95 % interval</th><th>distribution over rows</th></tr>"]
    if e.std_error is None:
        table = [table[0].replace("95 % interval", "")]
    for feature, size, error in zip(some["feature"], some["importance"], some["std_error"], strict=True):
        drawing = bar(scale, 0.0, float(size), Z * float(error), color=SIZE)
        table.append(
            f'<tr><td class="name">{_wrapped(feature)}</td><td>{drawing}</td><td class="number">{fixed(size, digits)}</td>'
            f'<td class="error">{_plus_minus(float(error), digits)}</td><td>{strip(spread, _of_feature(e, feature))}</td></tr>'
        )
    rest = frame[max_display:]
    more = f"<p>{len(rest)} more features, together {fixed(rest['importance'].sum(), digits)}</p>" if len(rest) else ""
    mixed = e.target_index is not None and len(np.unique(e.target_index)) > 1
    title = "" if name is None else f"<p>{escape('the predicted output of each row' if mixed else heading(name))}</p>"
    return f"{title}{_inputs(e, max_display, None if mixed else name)}<table>{''.join(table)}</table>{more}"


def _inputs(e: Attribution, max_display: int, name: str | None) -> str:
    """The first texts or images, where rows are such; all in one scale of colours."""
    some = range(min(len(e), max_display))
    texts, images = ([i for i in some if kind(e, i)] for kind in (_highlight.is_text, _pictures.is_image))
    shown = texts or images
    if not shown:
        return ""
    largest = _pictures.largest(e, shown)
    digits = decimals(*(float(e.predictions[i]) for i in shown))
    parts = []
    labels = row_labels(e)
    for i in shown:
        mine = "" if e.target_index is None or name is not None else f" · {heading(row_output(e, i) or '')}"
        drawn = _highlight.html(e, i, largest) if texts else _pictures.html(e, i, largest, least=120, most=160)
        parts.append(f"<p>{escape(f'row {labels[i]}{mine}: prediction {outcome(e.predictions[i], digits)}')}</p>{drawn}")
    left = len(e) - len(shown)
    more = f"<p>{left:,} more {'text' if texts else 'image'}{'s' * (left != 1)}</p>" if left else ""
    return "".join(parts) + more + (_highlight.legend(name) if texts else _pictures.legend(name, largest, decimals(largest)))


def _of_feature(e: Attribution, feature: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """All attributions of the features of this name."""
    if not e.ragged:
        return np.asarray(e.values[:, [i for i, name in enumerate(e.feature_names) if name == feature]]).reshape(-1)
    pairs = zip(e.feature_names, e.values, strict=True)
    return np.array([v for names, row in pairs for n, v in zip(names, row, strict=True) if n == feature], dtype=np.float64)
