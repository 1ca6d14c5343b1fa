"""A self-contained HTML report: texts, tables, figures and explanations in one file, without a script or a link to anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from whybox.errors import InputError
from whybox.explanations import Attribution, ConceptEffects, CounterfactualRows, Counterfactuals, Interactions, Rules
from whybox.explanations._escape import escape
from whybox.explanations._save import atomic
from whybox.explanations._text import cost_line
from whybox.explanations._view import batch, cell, heading, one_output, output_label, row_labels
from whybox.plots import _figure as fig
from whybox.plots.bar import bar
from whybox.plots.beeswarm import beeswarm
from whybox.plots.heatmap import heatmap

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MplFigure

    Result: TypeAlias = Attribution | Interactions | Rules | Counterfactuals | CounterfactualRows | ConceptEffects
    Item: TypeAlias = "str | Note | Figure | Result | pd.DataFrame | Mapping[str, Any] | Axes | MplFigure"

_RESULTS = Attribution, Interactions, Rules, Counterfactuals, CounterfactualRows, ConceptEffects

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--soft:#5b6475;--line:#dfe3ea;--page:#f6f7f9;--card:#fff;--accent:#3a6ea5}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ee;--soft:#9aa3b4;--line:#333a47;--page:#14171d;--card:#1c2028;--accent:#7fb2e5}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:61rem;margin:0 auto;padding:3rem 1.25rem 4rem}
h1{font-size:2rem;line-height:1.2;margin:0 0 .6rem;letter-spacing:-.01em}
h2{font-size:1.3rem;line-height:1.3;margin:0 0 .7rem}
p{margin:.5rem 0;max-width:46rem}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.5rem 1.6rem;margin:1.5rem 0;overflow-x:auto}
nav{margin:1rem 0 0;color:var(--soft);font-size:.95rem}
nav a{color:var(--accent);margin-right:1.1rem;text-decoration:none;display:inline-block}
nav a:hover{text-decoration:underline}
.facts{display:flex;flex-wrap:wrap;gap:.8rem 2.4rem;margin:1rem 0;padding:0}
.facts div{min-width:7rem}
.facts dd{margin:0;font-size:1.55rem;font-weight:600;line-height:1.25;font-variant-numeric:tabular-nums}
.facts dt{color:var(--soft);font-size:.86rem}
.note{border-left:3px solid var(--accent);padding:.15rem 0 .15rem .9rem;color:var(--soft)}
.whybox+.whybox{margin-top:2.2rem}
figure{margin:1.1rem 0}
figure img{display:block;max-width:100%;height:auto;background:#fff;border-radius:6px;padding:.4rem}
figcaption{color:var(--soft);font-size:.92rem;margin-top:.45rem;max-width:46rem}
table.plain{border-collapse:collapse;margin:.8rem 0;font-size:.94rem;font-variant-numeric:tabular-nums}
table.plain th{color:var(--soft);font-weight:600;border-bottom:1px solid var(--line)}
table.plain td,table.plain th{padding:.28rem 1.3rem .28rem 0;text-align:right;vertical-align:top}
table.plain td.text,table.plain th.text{text-align:left;overflow-wrap:anywhere}
footer{color:var(--soft);font-size:.86rem;margin-top:2rem}
@media print{body{background:#fff}section{break-inside:avoid;border:0;padding:0}}
"""


@dataclass(frozen=True)
class Note:
    """A paragraph that stands out.

    Args:
        text: what it says.
    """

    text: str


@dataclass(frozen=True)
class Figure:
    """A plot with a caption.

    Args:
        plot: what a plot function returned, or a matplotlib figure.
        caption: what to see in it; it also stands for the picture where pictures cannot be seen.
    """

    plot: Axes | MplFigure
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Args:
        title: its heading.
        items: texts (paragraphs), ``Note``, ``Figure`` or bare plots, DataFrames (tables), mappings (key figures), and results of whybox.
    """

    title: str
    items: Sequence[Item]


def write_report(path: str | PathLike[str], *sections: Section, title: str, intro: str | Sequence[str] = (), footer: str = "") -> None:
    """Write one HTML file that needs nothing else: no script, no network, every text escaped, pictures inside.

    Args:
        path: the file to write; it appears when it is complete.
        *sections: in the order of the page.
        title: the page's title.
        intro: a paragraph, or several.
        footer: small print at the end.

    Raises:
        InputError: an item is of a kind that a report cannot show.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "report.html"
        >>> write_report(path, Section("Result", ["All is well.", {"rows": 200}]), title="A <report>")
        >>> "A &lt;report&gt;" in path.read_text(encoding="utf-8")
        True
    """
    paragraphs = [intro] if isinstance(intro, str) else list(intro)
    links = " ".join(f'<a href="#part-{i}">{escape(section.title)}</a>' for i, section in enumerate(sections))
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(text)}</p>" for text in paragraphs),
        f"<nav>{links}</nav>" if len(sections) > 2 else "",
    ]
    for i, section in enumerate(sections):
        items = "\n".join(_item(item) for item in section.items)
        body.append(f'<section id="part-{i}"><h2>{escape(section.title)}</h2>\n{items}</section>')
    if footer:
        body.append(f"<footer>{escape(footer)}</footer>")
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        # Even if a text found a way around the escaping, a browser would run nothing of it and fetch nothing.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n{chr(10).join(body)}\n</main></body></html>\n"
    )
    with atomic(path) as file:
        file.write(page.encode())


def explanation_report(path: str | PathLike[str], explanation: Attribution, *, title: str | None = None) -> None:
    """The report of one explanation: what it cost, which features matter, how they act, and some of its rows.

    Args:
        path: the file to write.
        explanation: any Attribution; of several outputs each gets a section (the first 6).
        title: the page's title, or None for the method's name.
    """
    with fig.alone():
        _write(path, batch(explanation), title)


def _write(path: str | PathLike[str], e: Attribution, title: str | None) -> None:
    if not len(e):
        raise InputError("report: the explanation has no rows")
    s = e.stats
    facts: dict[str, Any] = {"rows": len(e)}
    facts |= {} if e.ragged else {"features": len(e.feature_names)}
    if s.n_calls:
        facts |= {"model queries": s.n_queries, "seconds": s.total_seconds, "of them in the model": s.model_seconds}
    overview: list[Item] = [facts]
    if e.std_error is not None:
        overview.append(
            "Error bars and ± are 95 % intervals: they say how far a value may be from what unlimited model queries would give."
        )
    sections = [Section("Overview", overview)]
    count = min(e.n_outputs, 6)
    shown = [(e[..., j], heading(output_label(e, j))) for j in range(count)] if e.multi_output else [(e, "")]
    for one, name in shown:
        lead, rest = (f"{name}: which features matter", f"{name}: how they act") if name else ("Which features matter", "How they act")
        sections.append(Section(lead, [Figure(bar(one), "Mean absolute attribution over the rows.")]))
        if len(e) > 1 and not e.ragged:
            sections.append(Section(rest, _many(one)))
    picks = _telling_rows(e)
    if len(e) > 1:
        sections.append(Section("Rows: " + ", ".join(str(row_labels(e)[i]) for i in picks), [e[i] for i in picks]))
    else:
        sections.append(Section("The row", [e]))
    settings = ", ".join(f"{name} = {value}" for name, value in {**e.settings, "seed": e.seed}.items())
    small = f"{e.method}{f' ({e.estimator})' if e.estimator else ''}; {settings}. {cost_line(e) if s.n_calls else ''}"
    write_report(path, *sections, title=title or f"{e.method} explanation", footer=small)


def _many(e: Attribution) -> list[Item]:
    one = one_output(e, "report")
    return [
        Figure(beeswarm(one), "Every point is a row; right of the line a feature raises the output, left of it the feature lowers it."),
        Figure(heatmap(one), "Every column is a row; rows that are explained alike stand side by side, with the model's output above."),
    ]


def _telling_rows(e: Attribution) -> list[int]:
    """The rows with the lowest, the middle and the highest prediction (of the last output)."""
    score = e.predictions if e.predictions.ndim == 1 else e.predictions[:, -1]
    order = np.argsort(score, kind="stable")
    return list(dict.fromkeys(int(order[i]) for i in (-1, len(order) // 2, 0)))


def _item(item: Any) -> str:
    """One item of a section as HTML."""
    if isinstance(item, str):
        return f"<p>{escape(item)}</p>"
    if isinstance(item, Note):
        return f'<p class="note">{escape(item.text)}</p>'
    if isinstance(item, _RESULTS):
        return item._repr_html_()
    if isinstance(item, Mapping):
        pairs = "".join(f"<div><dd>{escape(_number(value))}</dd><dt>{escape(name)}</dt></div>" for name, value in item.items())
        return f'<dl class="facts">{pairs}</dl>'
    if isinstance(item, Figure):
        return _picture(item.plot, item.caption)
    if hasattr(item, "iloc") and getattr(item, "ndim", 0) == 2:
        return _table(item)
    if hasattr(item, "savefig") or hasattr(item, "get_figure"):
        return _picture(item, "")
    raise InputError(f"report: expected text, Note, Figure, DataFrame, mapping, a result of whybox or a plot, got {type(item).__name__}")


def _number(value: Any) -> str:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return f"{int(value):,}"
    return cell(value)


def _table(frame: pd.DataFrame) -> str:
    """A DataFrame without its index; numbers to the right."""
    kinds = ["" if frame.dtypes.iloc[j].kind in "iuf" else ' class="text"' for j in range(frame.shape[1])]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, frame.columns, strict=True))
    rows = (
        "<tr>" + "".join(f"<td{kind}>{escape(_number(value))}</td>" for kind, value in zip(kinds, row, strict=True)) + "</tr>"
        for row in frame.itertuples(index=False, name=None)
    )
    return f'<table class="plain"><tr>{head}</tr>{"".join(rows)}</table>'


def _picture(plot: Axes | MplFigure, caption: str) -> str:
    """A figure as SVG inside an img element, where a browser runs no script and keeps the ids of several drawings apart."""
    figure: Any = plot if hasattr(plot, "savefig") else plot.get_figure()
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None})
    source = base64.b64encode(buffer.getvalue()).decode()
    width = round(figure.get_size_inches()[0] * 96)
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="data:image/svg+xml;base64,{source}" width="{width}" alt="{escape(caption or "plot")}">{text}</figure>'
