"""Everything that is written as HTML or SVG: planted markup stays text on every surface, and the pages hold no script."""

import base64
import html
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whybox.errors import InputError
from whybox.explanations import (
    Attribution,
    Condition,
    CounterfactualRows,
    Counterfactuals,
    Edit,
    Failure,
    Interactions,
    Rule,
    Rules,
)
from whybox.explanations._escape import escape
from whybox.typing import RunStats

PLANTED = (
    "<script>alert('planted')</script>",
    '"><img src=x onerror=planted()>',
    "' onmouseover='planted()",
    "</style></svg></script>planted\u2028\u2029",
    "&lt;planted&gt;",
    "-->planted<!--",
    "{{planted}}`${planted}`\x00\x1b\u202e",
)
ALLOWED = {"div", "style", "p", "strong", "table", "tr", "th", "td", "span", "svg", "path", "rect", "details", "summary", "mark"}
ALLOWED_IN_REPORT = ALLOWED | {"html", "head", "meta", "title", "body", "main", "nav", "a", "section", "h1", "h2", "figure", "figcaption"}
ALLOWED_IN_REPORT |= {"img", "dl", "dd", "dt", "footer"}


def evil(n=3, k=None, *, ragged=False):
    """Planted markup wherever a user's text can stand."""
    d, tail = len(PLANTED), () if k is None else (k,)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n, d, *tail))
    base = np.zeros((n, *tail))
    parts = {
        "values": values,
        "base_values": base,
        "predictions": values.sum(axis=1),
        "data": pd.DataFrame([PLANTED] * n, columns=PLANTED, index=[PLANTED[i % d] for i in range(n)]),
        "std_error": np.abs(values) * 0.1,
        "feature_names": PLANTED,
        "output_names": PLANTED[: k or 1],
        "method": PLANTED[0],
        "estimator": PLANTED[1],
        "target": PLANTED[2],
        "score": np.ones(base.shape),
        "conditions": np.array([PLANTED[::-1]] * n, dtype=object),
        "stats": RunStats(n_queries=5, n_calls=1),
        "settings": {PLANTED[3]: PLANTED},
    }
    if ragged:
        parts |= {"values": list(values), "std_error": None, "data": [list(PLANTED)] * n, "feature_names": (PLANTED,) * n}
        box = np.empty(n, dtype=object)
        box[:] = list(values)
        parts |= {"values": box, "conditions": None}
    return Attribution(**parts)


def evil_text(k=None):
    """Planted markup in texts whose words are marked."""
    e = evil(k=k, ragged=True)
    texts, marks = [], []
    for _ in range(len(e)):
        ends = np.cumsum([len(word) + 1 for word in PLANTED])
        texts.append(" ".join(PLANTED))
        marks.append(np.stack([ends - [len(word) + 1 for word in PLANTED], ends - 1], axis=1))
    return replace(e, inputs=tuple(texts), marks=tuple(marks))


class Page(HTMLParser):
    """What a browser would see: tags, attributes and text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    handle_startendtag = handle_starttag

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def handle_data(self, data):
        self.text.append(data)


def check_page(text, allowed):
    page = Page(text)
    assert set(page.tags) <= allowed
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("srcdoc", "action", "formaction", "xlink:href")
        if name == "href":
            assert re.fullmatch(r"#part-\d+", value)
        if name == "src":
            assert value.startswith("data:image/svg+xml;base64,")
    assert "\u2028" not in text
    assert "\u2029" not in text
    assert "\x00" not in text
    return page


SURFACES = {
    "rows": evil,
    "row": lambda: evil()[0],
    "outputs": lambda: evil(k=3),
    "row of outputs": lambda: evil(k=3)[1],
    "ragged": lambda: evil(ragged=True),
    "ragged row": lambda: evil(ragged=True)[0],
    "texts": evil_text,
    "text": lambda: evil_text()[0],
    "text of outputs": lambda: evil_text(k=2)[1],
    "no data": lambda: Attribution(
        values=evil().values, base_values=[0] * 3, predictions=[0] * 3, feature_names=PLANTED, method=PLANTED[0]
    ),
}


@pytest.mark.parametrize("surface", SURFACES)
def test_planted_markup_stays_text_in_a_notebook(surface):
    e = SURFACES[surface]()
    page = check_page(e._repr_html_(), ALLOWED)
    assert e.to_html() == e._repr_html_()
    shown = " ".join(page.text)
    for planted in PLANTED[:3]:
        assert planted in shown


def test_the_fragment_carries_its_settings_as_escaped_json():
    text = evil().to_html()
    (note,) = [value for _, name, value in Page(text).attributes if name == "data-whybox"]
    assert json.loads(note)["settings"][PLANTED[3]] == list(PLANTED)


@pytest.mark.parametrize("surface", SURFACES)
def test_the_fragments_drawings_are_well_formed_and_hold_no_text(surface):
    drawings = re.findall(r"<svg.*?</svg>", SURFACES[surface]().to_html(), flags=re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert not "".join(ET.fromstring(drawing).itertext())


@given(st.text(st.characters(exclude_categories=())))
def test_escaped_text_reads_back_and_holds_nothing_special(text):
    safe = escape(text)
    assert not set(safe) & set("<>\"'`\u2028\u2029")
    readable = "".join("\ufffd" if escape(c) == "\ufffd" else c for c in text)
    assert html.unescape(safe) == readable
    ET.fromstring(f'<a b="{safe}">{safe}</a>')  # raises where XML would not take it


def test_each_special_character_is_escaped():
    assert escape("<>&\"'\u2028\u2029") == "&lt;&gt;&amp;&quot;&#39;&#8232;&#8233;"


def test_error_bars_are_drawn_where_there_are_standard_errors_and_only_there():
    e = evil()
    bare = Attribution(
        values=e.values, base_values=e.base_values, predictions=e.predictions, feature_names=tuple("abcdefg"), method="KernelSHAP"
    )
    for view in (e, e[0]):
        assert view.to_html().count("V16") == 2 * len(PLANTED)
        assert "±" in view.to_html()
    for view in (bare, bare[0]):
        assert "V16" not in view.to_html()
        assert "±" not in view.to_html()


def test_a_row_that_adds_up_is_a_waterfall_and_another_is_not():
    e = evil()
    assert "base value</td>" in e[0].to_html()
    other = Attribution(values=e.values, base_values=e.base_values, predictions=e.predictions + 1, feature_names=PLANTED, method="LIME")
    assert "base value</td>" not in other[0].to_html()


def test_the_other_features_are_summed_up():
    page = Page(evil()[0].to_html(max_display=3))
    assert "4 more features" in page.text


def test_nan_infinite_empty_and_constant_values_have_a_page():
    for values in ([[np.nan, np.inf, 0.0]], [[0.0, 0.0, 0.0]], np.empty((0, 3)), np.empty((2, 0)), [[1e300, -1e300, 1e-300]]):
        values = np.asarray(values, dtype=float)
        n, d = values.shape
        e = Attribution(
            values=values,
            base_values=np.zeros(n),
            predictions=np.zeros(n),
            std_error=np.full((n, d), np.nan),
            feature_names=tuple("abc"[:d]),
            method="m",
        )
        check_page(e.to_html(), ALLOWED)
        assert "<table" in e.to_html() or n == 0
        assert e.to_text()


def test_many_outputs_are_shown_in_part():
    e = evil(k=3)
    values = np.repeat(e.values, 10, axis=2)
    base = np.repeat(e.base_values, 10, axis=1)
    many = Attribution(values=values, base_values=base, predictions=base, feature_names=PLANTED, method="m")
    text = many.to_html()
    assert text.count("<details") == 12
    assert "18 more outputs" in text


# The report


def test_planted_markup_stays_text_in_a_report(tmp_path):
    plots = pytest.importorskip("whybox.plots")
    pytest.importorskip("matplotlib")
    path = tmp_path / "report.html"
    e = evil()
    table = pd.DataFrame({PLANTED[0]: PLANTED, "n": range(len(PLANTED))})
    sections = [
        plots.Section(PLANTED[i], [PLANTED[1], plots.Note(PLANTED[2]), table, {PLANTED[3]: PLANTED[4], "n": 12_345}, e, e[0]])
        for i in range(3)
    ]
    sections.append(plots.Section("plots", [plots.Figure(e.plot.bar(), PLANTED[1]), e.plot.bar().figure]))
    plots.write_report(path, *sections, title=PLANTED[0], intro=PLANTED, footer=PLANTED[1])
    text = path.read_text(encoding="utf-8")
    page = check_page(text, ALLOWED_IN_REPORT)
    assert "12,345" in page.text
    assert "default-src 'none'" in text
    assert not re.search(r"https?://", re.sub(r"base64,[^\"]*", "", text))


def test_links_of_a_report_wrap(tmp_path):
    plots = pytest.importorskip("whybox.plots")
    plots.write_report(tmp_path / "report.html", *(plots.Section(f"part {i}", ["text"]) for i in range(9)), title="t")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("</a> <a ") == 8
    assert "nowrap" not in text


def test_pictures_in_a_report_are_svg_without_script_or_reference_to_anywhere(tmp_path):
    plots = pytest.importorskip("whybox.plots")
    pytest.importorskip("matplotlib")
    path = tmp_path / "report.html"
    evil(n=5).report(path)
    pictures = re.findall(r"svg\+xml;base64,([^\"]*)", path.read_text(encoding="utf-8"))
    assert len(pictures) == 3
    for picture in pictures:
        root = ET.fromstring(base64.b64decode(picture))
        for node in root.iter():
            assert node.tag.rsplit("}")[-1] not in ("script", "foreignObject", "a", "iframe", "animate", "set")
            for name, value in node.attrib.items():
                assert not name.startswith("on")
                if name.endswith("href"):
                    assert value.startswith(("#", "data:image/png"))
    assert plots


@pytest.mark.parametrize(
    "make", [evil, lambda: evil(k=2), lambda: evil()[0], lambda: evil(k=2)[0], lambda: evil(ragged=True), lambda: evil(n=1)]
)
def test_every_kind_of_explanation_has_a_report(make, tmp_path):
    pytest.importorskip("matplotlib")
    make().report(tmp_path / "report.html", title="<t>")
    check_page((tmp_path / "report.html").read_text(encoding="utf-8"), ALLOWED_IN_REPORT)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def planted_results():
    """Rules, edits, interactions and counterfactual rows whose names and values are markup."""
    n = len(PLANTED)
    condition = Condition(0, PLANTED[0], PLANTED[0], "category", value=PLANTED[1])
    rule = Rule((condition,), PLANTED[1], 0.9, 0.8, 1.0, 0.5, False, 10, same=({PLANTED[2]: PLANTED[3]},), other=(PLANTED[4],))
    edits = [Edit(i, text, text, text, 0, text, (Failure(text, text),)) for i, text in enumerate(PLANTED)]
    e = evil(n=2)
    d = len(e.feature_names)
    cells = np.array([[text] * n for text in PLANTED], dtype=object)
    rows = CounterfactualRows(
        x=cells,
        rows=cells[:, ::-1],
        of=np.arange(n),
        changed=np.ones((n, n)),
        before=np.tile([0.9, 0.1], (n, 1)),
        after=np.tile([0.4, 0.6], (n, 1)),
        reached=np.zeros(n),
        exact=np.zeros(n),
        spent=np.ones(n),
        wanted=PLANTED,
        distance=np.ones(n),
        plausibility=np.zeros(n),
        cost=np.ones(n),
        asked=1,
        feature_names=PLANTED,
        output_names=PLANTED[:2],
    )
    return [
        Rules(rules=(rule,), method=PLANTED[2], threshold=0.95),
        Counterfactuals(texts=PLANTED, edits=edits, source=PLANTED[0]),
        Interactions(values=np.ones((2, d, d)), std_error=np.ones((2, d, d)), attribution=e, estimator=PLANTED[0]),
        rows,
    ]


@pytest.mark.parametrize("which", range(4))
def test_every_kind_of_result_is_an_item_of_a_report(which, tmp_path):
    plots = pytest.importorskip("whybox.plots")
    result = planted_results()[which]
    plots.write_report(tmp_path / "report.html", plots.Section("s", [result]), title="t")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert result._repr_html_() in text
    check_page(text, ALLOWED_IN_REPORT | {"b", "i", "thead", "tbody", "ul", "li", "ins", "del"})


def test_an_item_that_a_report_cannot_show_is_refused_and_leaves_no_file(tmp_path):
    plots = pytest.importorskip("whybox.plots")
    with pytest.raises(InputError, match="got object"):
        plots.write_report(tmp_path / "report.html", plots.Section("s", [object()]), title="t")
    assert list(tmp_path.iterdir()) == []
