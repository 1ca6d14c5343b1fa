"""Rules for people: a table, plain text, HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whybox.explanations._escape import escape

if TYPE_CHECKING:
    import pandas as pd

    from whybox.explanations.rules import Example, Rule, Rules

_CELL = "padding:3px 10px;border-top:1px solid #8884;vertical-align:top;text-align:left"
_NUMBER = _CELL + ";text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap"


def headline(e: Rules) -> str:
    """One line."""
    n = len(e)
    missed = n - int(e.found.sum())
    reached = "" if not missed else f", {missed} not shown to reach a precision of {e.threshold:g}"
    return f"Rules: {e.method}, {n} rule{'s' * (n != 1)}{reached}, {e.n_queries:,} model queries"


def frame(e: Rules) -> pd.DataFrame:
    """One line a rule."""
    import pandas as pd

    columns: dict[str, Any] = {
        "row": range(len(e)),
        "rule": [rule.text for rule in e.rules],
        "prediction": [rule.prediction for rule in e.rules],
        "precision": e.precision,
        "ci_low": e.interval()[0],
        "ci_high": e.interval()[1],
        "coverage": e.coverage,
        "size": [rule.size for rule in e.rules],
        "found": e.found,
    }
    return pd.DataFrame(columns)


def text(e: Rules, max_display: int) -> str:
    """Plain text."""
    lines = [headline(e)]
    for i, rule in enumerate(e.rules[:max_display]):
        lines += ["", _printable(f"row {i}: if {rule.text}, the model says {rule.prediction}"), f"  {_numbers(e, rule)}"]
        if len(e) == 1:
            lines += _examples("the model says the same of", rule.same) + _examples("but something else of", rule.other)
    if len(e) > max_display:
        lines += ["", f"{len(e) - max_display} more rules"]
    return "\n".join(lines)


def _numbers(e: Rules, rule: Rule) -> str:
    note = "" if rule.found else f"; the search did not show that it reaches {e.threshold:g}"
    return f"precision {rule.precision:.3f} ({rule.low:.3f} to {rule.high:.3f}), coverage {rule.coverage:.3f} of {e.coverage_of}{note}"


def _examples(title: str, examples: tuple[Example, ...]) -> list[str]:
    return [f"  {title}", *(_printable(f"    {_shown(example)}") for example in examples)] if examples else []


def _shown(example: Example) -> str:
    told = example if isinstance(example, str) else ", ".join(f"{name}={_value(value)}" for name, value in example.items())
    return told if len(told) <= 160 else told[:157] + "..."


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def html(e: Rules, max_display: int) -> str:
    """A table, each rule with its examples folded away."""
    names = ("row", "rule", "prediction", "precision (95 % interval)", f"coverage of {e.coverage_of}")
    head = "".join(f'<th style="{_CELL};border:0">{escape(name)}</th>' for name in names)
    rows = "".join(_row(e, i, rule) for i, rule in enumerate(e.rules[:max_display]))
    more = f"<p>{len(e) - max_display} more rules</p>" if len(e) > max_display else ""
    table = f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div style="font:14px/1.45 system-ui,sans-serif;max-width:72em"><p><b>{escape(headline(e))}</b></p>{table}{more}</div>'


def _row(e: Rules, i: int, rule: Rule) -> str:
    conditions = " <i>and</i> ".join(
        f'<span style="background:#8882;border-radius:4px;padding:1px 5px">{escape(text)}</span>'
        for text in dict.fromkeys(condition.text for condition in rule.conditions)
    )
    below = "" if rule.found else f'<div style="opacity:.7">not shown to reach {e.threshold:g}</div>'
    listed = _folded("says the same", rule.same) + _folded("says something else", rule.other)
    interval = f"{rule.precision:.3f} ({rule.low:.3f} to {rule.high:.3f})"
    cells = [
        f'<td style="{_NUMBER}">{i}</td>',
        f'<td style="{_CELL}">{conditions or "<i>always</i>"}{listed}</td>',
        f'<td style="{_CELL}">{escape(rule.prediction)}</td>',
        f'<td style="{_NUMBER}">{interval}{below}</td>',
        f'<td style="{_NUMBER}">{rule.coverage:.3f}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _folded(title: str, examples: tuple[Example, ...]) -> str:
    if not examples:
        return ""
    items = "".join(f"<li>{escape(_shown(example))}</li>" for example in examples)
    return f'<details style="font-size:12px;opacity:.85"><summary>{title}: {len(examples)} examples</summary><ul>{items}</ul></details>'


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else " " for c in line)
