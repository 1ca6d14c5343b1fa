"""Plots: what is drawn is what the explanation holds, error bars included, and nothing global is touched."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest

from whybox.errors import MissingDependencyError, OptionError
from whybox.explanations import Attribution

mpl = pytest.importorskip("matplotlib", reason="the plot extra is not installed")
from matplotlib.collections import LineCollection, PathCollection  # noqa: E402  (after the skip)
from matplotlib.figure import Figure  # noqa: E402

from whybox.explanations._view import columns  # noqa: E402
from whybox.plots import _figure  # noqa: E402

NAMES = ("age", "job", "income", "grade", "when", "flag", "const", "count")
Z = 1.959963984540054


def make(n=40, k=None, **changes):
    rng = np.random.default_rng(0)
    d, tail = len(NAMES), () if k is None else (k,)
    data = pd.DataFrame(
        {
            "age": rng.normal(50, 10, n),
            "job": rng.choice(["nurse", "cook", "$x^2$ <script>"], n),
            "income": np.where(rng.random(n) < 0.2, np.nan, rng.lognormal(size=n)),
            "grade": pd.Categorical(rng.choice(["low", "mid", "high"], n), categories=["low", "mid", "high"], ordered=True),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
            "flag": rng.random(n) < 0.5,
            "const": 1.0,
            "count": pd.array(rng.integers(0, 5, n), dtype="Int64"),
        }
    )
    values = rng.normal(size=(n, d, *tail)) * np.linspace(1, 0.2, d).reshape(-1, *[1] * len(tail))
    base = np.full((n, *tail), 0.5)
    parts = {
        "values": values,
        "base_values": base,
        "predictions": base + values.sum(axis=1),
        "data": data,
        "std_error": np.abs(rng.normal(size=values.shape)) * 0.1,
        "feature_names": NAMES,
        "output_names": None if k is None else tuple("abc"[:k]),
        "method": "KernelSHAP",
    }
    return Attribution(**(parts | changes))


def ragged():
    words = (("a", "good", "day"), ("bad",), ("good",))
    values = [np.arange(1.0, len(row) + 1) for row in words]
    return Attribution(
        values=values, base_values=np.zeros(3), predictions=[row.sum() for row in values], feature_names=words, method="LIME"
    )


PLOTS = {
    "bar": lambda e, **how: e.plot.bar(**how),
    "bar of a row": lambda e, **how: e[0].plot.bar(**how),
    "beeswarm": lambda e, **how: e.plot.beeswarm(**how),
    "waterfall": lambda e, **how: e[0].plot.waterfall(**how),
    "scatter": lambda e, **how: e.plot.scatter("age", **how),
    "heatmap": lambda e, **how: e.plot.heatmap(**how),
}
each_plot = pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)


def picture(ax):
    """A plot as PNG."""
    return _figure.png(ax.figure)


def names_of(ax):
    return [label.get_text().replace("\n", " ") for label in ax.get_yticklabels()]


def error_bars(ax):
    """(m, 4) ends of all error bars: x0, x1, y0, y1."""
    segments = [s for c in ax.collections if isinstance(c, LineCollection) for s in c.get_segments() if len(s) == 2]
    return np.array([[*s[:, 0], *s[:, 1]] for s in segments])


@each_plot
def test_a_plot_returns_its_axes_and_leaves_everything_global_alone(plot):
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    ax = plot(make())
    assert isinstance(ax, mpl.axes.Axes)
    assert isinstance(ax.figure, Figure)
    assert picture(ax).startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == [ax.figure.number]
    assert plt.gca() is ax, "plt.title, plt.savefig and plt.show mean this plot"
    assert not hasattr(ax, "_repr_png_"), "a notebook, which shows pyplot's figures, would show it twice"


@each_plot
def test_a_plot_outside_the_main_thread_is_no_figure_of_pyplot(plot):
    """Windows belong to the main thread, and nobody would close the figures of a server's threads."""
    import matplotlib.pyplot as plt

    with ThreadPoolExecutor(1) as pool:
        ax = pool.submit(plot, make()).result()
    assert ax._repr_png_().startswith(b"\x89PNG")
    assert plt.get_fignums() == []


def test_a_report_leaves_no_figure_open(tmp_path):
    import matplotlib.pyplot as plt

    make(k=2).report(tmp_path / "report.html")
    assert plt.get_fignums() == []


@each_plot
def test_a_plot_draws_on_the_axes_it_is_given(plot):
    ax = Figure(figsize=(7, 6)).subplots()
    assert plot(make(), ax=ax) is ax
    with pytest.raises(OptionError, match=r"axes\[0\]"):
        plot(make(), ax=Figure().subplots(1, 2))


@pytest.mark.parametrize("layout", [None, "constrained", "tight", "by hand", "subfigure"])
def test_a_heatmap_on_given_axes_keeps_to_their_place(layout):
    """Its parts overlap neither one another nor the neighbour, and nothing reaches above where the Axes were."""
    figure = Figure(figsize=(12, 5), layout=layout if layout in ("constrained", "tight") else None)
    if layout == "by hand":
        ax, other = figure.add_axes((0.1, 0.1, 0.35, 0.8)), figure.add_axes((0.6, 0.1, 0.35, 0.8))
    else:
        ax, other = (figure.subfigures(1, 2)[0] if layout == "subfigure" else figure).subplots(1, 2)
    make().plot.heatmap(ax=ax)
    figure.savefig(BytesIO())
    boxes = [part.get_window_extent() for part in figure.axes]
    assert len(boxes) == 5
    assert not any(one.overlaps(two) for one, two in combinations(boxes, 2))
    assert all(part.get_tightbbox().y1 <= figure.bbox.y1 for part in figure.axes)
    assert max(box.y1 for box in boxes) <= other.get_window_extent().y1 + 1.0
    above = next(part for part in figure.axes if part.get_ylabel() == "f(x)")
    assert above.get_window_extent().x0 == pytest.approx(ax.get_window_extent().x0)
    assert above.get_window_extent().x1 == pytest.approx(ax.get_window_extent().x1)


def test_matplotlib_is_imported_by_a_plot_only_and_pyplot_by_none():
    code = """
import sys, numpy as np
from whybox.explanations import Attribution
ones = np.ones((4, 2))
e = Attribution(values=ones, base_values=np.zeros(4), predictions=np.full(4, 2.0), data=ones, feature_names=("a", "b"), method="m")
e[0].to_html(), e.to_text()
assert "matplotlib" not in sys.modules
for ax in (e.plot.bar(), e[0].plot.bar(), e.plot.beeswarm(), e[0].plot.waterfall(), e.plot.scatter(0), e.plot.heatmap()):
    assert ax._repr_png_()[1:4] == b"PNG"  # what a notebook shows as the last value of a cell
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@each_plot
def test_several_outputs_are_refused_with_their_names(plot):
    with pytest.raises(OptionError, match=r"\(a, b\); choose one: e.output\('b'\)"):
        plot(make(k=2))
    assert plot(make(k=2).output("b")) is not None
    assert plot(make(k=1)) is not None


@each_plot
def test_without_matplotlib_the_error_names_the_extra(plot, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"whybox\[plot\]"):
        plot(make())


@each_plot
def test_dollar_signs_are_not_formulas(plot):
    names = ("$\\frac{", "a$b$c", *NAMES[2:])
    data = make().data.set_axis(names, axis=1)
    e = make(feature_names=names, data=data, output_names=("$\\bad{",))
    ax = e.plot.scatter(0, color=1) if plot is PLOTS["scatter"] else plot(e)
    assert picture(ax)


def test_bar_shows_the_mean_and_its_interval():
    e = make()
    ax = e.plot.bar(max_display=3)
    order = np.argsort(-e.abs_mean)
    assert names_of(ax) == [*(NAMES[i] for i in order[:3]), "5 other features"]
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, [*e.abs_mean[order[:3]], e.abs_mean[order[3:]].sum()])
    bars = error_bars(ax)
    np.testing.assert_allclose((bars[:, 1] - bars[:, 0]) / 2, Z * e.std_error.mean(axis=0)[order[:3]])
    np.testing.assert_allclose(bars[:, :2].mean(axis=1), e.abs_mean[order[:3]])


def test_bar_of_a_row_is_signed_and_names_the_values():
    row = make()[2]
    ax = row.plot.bar(max_display=20)
    order = np.argsort(-np.abs(row.values))
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], row.values[order])
    np.testing.assert_allclose(np.diff(error_bars(ax)[:, :2])[:, 0] / 2, Z * row.std_error[order])
    assert f"job = {row.data['job']}" in names_of(ax)


def test_bar_averages_ragged_rows_by_name():
    ax = ragged().plot.bar()
    assert dict(zip(names_of(ax), (bar.get_width() for bar in ax.patches), strict=True)) == {"day": 3, "good": 1.5, "a": 1, "bad": 1}
    assert ragged()[0].plot.waterfall() is not None


@pytest.mark.parametrize("max_display", [3, 50])
def test_waterfall_goes_from_the_base_value_to_the_prediction(max_display):
    row = make()[1]
    ax = row.plot.waterfall(max_display=max_display)
    bars = ax.patches
    assert len(bars) == min(max_display + 1, len(NAMES))
    starts = np.array([bar.get_x() for bar in bars])
    ends = starts + [bar.get_width() for bar in bars]
    assert starts[-1] == pytest.approx(row.base_values)
    assert ends[0] == pytest.approx(row.predictions)
    np.testing.assert_allclose(starts[:-1], ends[1:])
    top = np.argsort(-np.abs(row.values))[: len(error_bars(ax))]
    np.testing.assert_allclose(np.diff(error_bars(ax)[:, :2])[:, 0] / 2, Z * row.std_error[top])
    np.testing.assert_allclose(error_bars(ax)[:, :2].mean(axis=1), ends[: len(top)])
    texts = [text.get_text() for text in ax.texts]
    assert any(text.startswith("prediction") for text in texts)
    assert any(text.startswith("base value") for text in texts)


def test_waterfall_says_when_values_do_not_add_up():
    row = make()[1]
    ax = replace(row, predictions=row.predictions + 1).plot.waterfall()
    assert any(text.get_text().startswith("base value + attributions") for text in ax.texts)
    assert f"prediction {row.predictions + 1:.2f}" in ax.get_title(loc="left")


def test_waterfall_takes_one_row_only():
    with pytest.raises(OptionError, match=r"e\[0\].plot.waterfall"):
        make().plot.waterfall()
    assert make()[:1].plot.waterfall() is not None


def test_beeswarm_has_a_point_for_every_row_and_feature():
    e = make()
    ax = e.plot.beeswarm(max_display=4)
    points = np.concatenate([c.get_offsets() for c in ax.collections if isinstance(c, PathCollection)])
    order = np.argsort(-e.abs_mean)
    for row, x in enumerate([*(e.values[:, j] for j in order[:4]), e.values[:, order[4:]].sum(axis=1)]):
        mine = points[np.abs(points[:, 1] - row) < 0.5, 0]
        np.testing.assert_allclose(np.sort(mine), np.sort(x))
    reach = np.diff(error_bars(ax)[:, :2])[:, 0] / 2
    np.testing.assert_allclose(np.sort(reach), np.sort(Z * e.std_error[:, order[:4]].ravel()))


def test_beeswarm_is_grey_for_texts_categories_and_missing_values():
    e = make()
    grey = mpl.colors.to_rgba("#9a9a9a")
    for name, expected in {"job": 40, "grade": 40, "income": int(e.data["income"].isna().sum()), "age": 0, "when": 0, "count": 0}.items():
        ax = e[:, name].plot.beeswarm()
        counts = [len(c.get_offsets()) for c in ax.collections if isinstance(c, PathCollection) and c.get_array() is None]
        colours = [c.get_facecolor()[0] for c in ax.collections if isinstance(c, PathCollection) and c.get_array() is None]
        assert sum(counts) == expected, name
        np.testing.assert_allclose(colours[0], grey)


@pytest.mark.parametrize("zone", ["Europe/Berlin", None])
def test_beeswarm_colours_dates_with_a_time_zone_and_days(zone):
    days = pd.Series(pd.date_range("2024-01-01", periods=40, tz=zone))
    data = pd.DataFrame({"when": days if zone else days.dt.date})
    data.loc[3, "when"] = None
    parts = {"values": np.zeros((40, 1)), "base_values": np.zeros(40), "predictions": np.zeros(40), "feature_names": ("when",)}
    (column,) = columns(Attribution(**parts, data=data, method="m"))
    shades = _figure.shades(column, 40)
    assert np.flatnonzero(np.isnan(shades)).tolist() == [3]
    assert (np.diff(shades[4:]) >= 0).all()
    assert shades[-1] == 1


def test_beeswarm_colours_by_the_features_value():
    e = make()
    ax = e[:, "age"].plot.beeswarm()
    dots = next(c for c in ax.collections if isinstance(c, PathCollection) and c.get_array() is not None)
    shade, x = np.asarray(dots.get_array()), dots.get_offsets()[:, 0]
    age = e.data["age"].to_numpy()[[int(np.argmin(np.abs(e.values[:, 0] - value))) for value in x]]
    assert np.all(np.diff(shade[np.argsort(age)]) >= 0)
    assert (shade.min(), shade.max()) == (0, 1)


def test_points_of_a_swarm_do_not_lie_on_one_another():
    e = make(values=np.zeros((40, 8)), predictions=np.full(40, 0.5))
    ax = e[:, "age"].plot.beeswarm()
    heights = np.concatenate([c.get_offsets()[:, 1] for c in ax.collections if isinstance(c, PathCollection)])
    assert len(np.unique(heights)) == 40
    assert np.abs(heights).max() < 0.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("color", [None, "income", "job"])
def test_scatter_takes_numbers_dates_and_categories(name, color):
    e = make()
    ax = e.plot.scatter(name, color=color)
    points = np.concatenate([c.get_offsets() for c in ax.collections if isinstance(c, PathCollection)])
    shown = e.data[name].notna().to_numpy()
    np.testing.assert_allclose(np.sort(points[:, 1]), np.sort(e.values[shown, NAMES.index(name)]))
    assert len(error_bars(ax)) == shown.sum()
    if name == "age":
        pairs = sorted(zip(e.data["age"], e.values[:, 0], strict=True))
        np.testing.assert_allclose(sorted(map(tuple, points)), pairs)
    if name == "income":
        assert f"{(~shown).sum()} missing not shown" in ax.get_xlabel()
    if name == "grade":
        assert [label.get_text() for label in ax.get_xticklabels()] == ["low", "mid", "high"]
        np.testing.assert_array_equal(np.sort(np.round(points[:, 0])), np.sort(e.data["grade"].cat.codes))


def test_scatter_of_one_feature_needs_no_name_and_of_several_does():
    e = make()
    assert e[:, "age"].plot.scatter().get_xlabel() == "age"
    with pytest.raises(OptionError, match="choose one"):
        e.plot.scatter()
    with pytest.raises(OptionError, match="no feature named"):
        e.plot.scatter("agee")


def test_heatmap_shows_every_row_once_and_the_predictions_above():
    e = make()
    ax = e.plot.heatmap(max_display=4)
    grid = np.asarray(ax.images[0].get_array())
    order = np.argsort(-e.abs_mean)
    expected = np.column_stack([e.values[:, order[:4]], e.values[:, order[4:]].sum(axis=1)])
    np.testing.assert_allclose(np.sort(grid[0]), np.sort(expected[:, 0]))
    rows = [int(np.argmin(np.abs(expected - column).sum(axis=1))) for column in grid.T]
    assert sorted(rows) == list(range(40))
    above, beside = ax.child_axes
    np.testing.assert_allclose(above.lines[0].get_ydata(), e.predictions[rows])
    np.testing.assert_allclose([bar.get_width() for bar in beside.patches], np.abs(expected).mean(axis=0))
    np.testing.assert_allclose(np.diff(error_bars(beside)[:, :2])[:, 0] / 2, Z * e.std_error.mean(axis=0)[order[:4]])


@pytest.mark.parametrize("n", [2, 4, 9])
def test_heatmap_of_few_rows_has_whole_ticks(n):
    ax = make()[:n].plot.heatmap()
    ax.figure.canvas.draw()
    ticks = ax.get_xticks()
    assert len(ticks) >= 2
    np.testing.assert_array_equal(ticks, np.round(ticks))


@each_plot
def test_no_standard_errors_no_error_bars(plot):
    ax = plot(make(std_error=None))
    assert len(error_bars(ax)) == 0
    assert "interval" not in ax.get_xlabel() + ax.get_ylabel()
    assert "interval" in (with_errors := plot(make())).get_xlabel() + with_errors.get_ylabel() or plot is PLOTS["heatmap"]


@each_plot
@pytest.mark.parametrize(
    "changes",
    [
        {"std_error": np.full((40, 8), np.nan), "data": np.arange(320).reshape(40, 8)},
        {"values": np.zeros((40, 8)), "predictions": np.full(40, 0.5), "std_error": np.zeros((40, 8)), "data": None},
    ],
    ids=["unknown errors", "all zero, no data"],
)
def test_odd_explanations_are_drawn(plot, changes):
    e = make(**changes)
    if plot is PLOTS["scatter"]:
        if e.data is None:
            pytest.skip("a scatter plot is of data")
        ax = e.plot.scatter(0)
    else:
        ax = plot(e)
    assert picture(ax)


@each_plot
def test_long_names_are_inside_the_figure(plot):
    names = tuple(f"{name} " + "and so on " * 9 for name in NAMES)
    e = make(feature_names=names)
    ax = e.plot.scatter(0) if plot is PLOTS["scatter"] else plot(e)
    ax.figure.draw_without_rendering()
    frame = ax.figure.bbox
    renderer = ax.figure.canvas.get_renderer()
    boxes = [label.get_window_extent(renderer) for label in [*ax.get_yticklabels(), ax.xaxis.label]]
    for box in boxes:
        assert box.x0 >= frame.x0 - 1
        assert box.y0 >= frame.y0 - 1
    if plot is not PLOTS["scatter"]:
        rows = sorted((box.y0, box.y1) for box in boxes[:-1])
        assert all(upper[0] >= lower[1] - 1 for lower, upper in pairwise(rows))
        assert any("and so on and so on" in name for name in names_of(ax))
        assert ax.get_window_extent(renderer).width > 150


def test_a_name_breaks_between_its_words():
    name = "the_share_of_all_customers_from_on_the_one_hot_encoded_region_of_the_country"
    lines = _figure.wrapped(name).split("\n")
    assert "".join(lines) == name
    assert all(line.endswith("_") for line in lines[:-1])
    assert _figure.wrapped("x" * 120).replace("\n", "") == "x" * 120
    assert _figure.wrapped("one two three", 8) == "one two\nthree"
    assert _figure.wrapped("a_b c_d", 4) == "a_b\nc_d"


@pytest.mark.parametrize("name", ["beeswarm", "heatmap"])
def test_plots_of_many_rows_refuse_a_single_one_and_ragged_ones(name):
    with pytest.raises(OptionError, match="waterfall"):
        PLOTS[name](make()[0])
    with pytest.raises(OptionError, match="features of their own"):
        PLOTS[name](ragged())


@pytest.mark.parametrize("max_display", [0, -1, 2.5, True])
def test_max_display_is_a_positive_integer(max_display):
    for plot in ("bar", "beeswarm", "heatmap"):
        with pytest.raises(OptionError, match="max_display"):
            PLOTS[plot](make(), max_display=max_display)


def test_the_same_explanation_gives_the_same_picture():
    for plot in ("beeswarm", "heatmap"):
        assert picture(PLOTS[plot](make())) == picture(PLOTS[plot](make()))


def test_what_lime_did_not_select_is_no_finding_of_zero():
    e = replace(make(method="LIME"), settings={"num_features": 2})
    values, errors = np.zeros_like(e.values), np.zeros_like(e.std_error)
    values[:, :2], errors[:, :2] = e.values[:, :2], e.std_error[:, :2]
    some = replace(e, values=values, std_error=errors)[0]
    assert "6 features not selected" in some.to_text()
    assert "6 features not selected" in some.to_html()
    assert some.to_text().count("±") == 2
    for ax in (some.plot.bar(), some.plot.waterfall()):
        assert len(names_of(ax)) == 2
        assert "6 features not selected" in ax.get_xlabel()
    certain = replace(some, settings={})
    assert "not selected" not in certain.to_text(), "without a selection a zero is a finding"
    assert len(names_of(certain.plot.bar())) == 8


def test_a_condition_does_not_equal_a_value():
    e = make(conditions=np.full((40, 8), "3 < age <= 70", dtype=object))
    assert not any("70 =" in name for name in names_of(e[0].plot.bar()))
    assert all(name.startswith("3 < age <= 70 (") for name in names_of(e[0].plot.waterfall(max_display=8)))


def test_axes_of_durations_and_of_flags_say_what_they_are():
    data = pd.DataFrame({"t": pd.to_timedelta([1, 30, 50], unit="h"), "flag": pd.array([True, None, False], dtype="boolean")})
    values = np.arange(6.0).reshape(3, 2)
    e = Attribution(values=values, base_values=np.zeros(3), predictions=values.sum(1), data=data, feature_names=("t", "flag"), method="m")
    ax = e.plot.scatter("t")
    np.testing.assert_allclose(np.sort(ax.collections[-1].get_offsets()[:, 0]), np.array([1, 30, 50]) / 24)
    assert ax.xaxis.get_major_formatter()(1.5, 0) == "1.5 d"
    ax = e.plot.scatter("flag", color="flag")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["False", "True"]
    assert "1 missing" in ax.get_xlabel()
    assert picture(e.plot.beeswarm())
