"""Scatter: one feature's attribution against its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError, OptionError
from whybox.explanations import Attribution
from whybox.explanations._view import cell, columns
from whybox.plots import _figure as fig
from whybox.typing import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def scatter(explanation: Attribution, feature: int | str | None = None, *, color: int | str | None = None, ax: Axes | None = None) -> Axes:
    """How a feature's attribution depends on its value, with a histogram of the values at the bottom.

    Args:
        explanation: of several rows and one output, with data.
        feature: position or name; None if the explanation has one feature, as ``e[:, "age"]`` has.
        color: position or name of a feature whose value colours the points, or None.
        ax: Axes to draw on, or None for a new figure.

    Returns:
        The Axes.

    Raises:
        OptionError: no such feature, a single row, rows with features of their own, or several outputs.
        InputError: the explanation has no data.
        MissingDependencyError: matplotlib is not installed.
    """
    e = fig.many_rows(explanation, "scatter")
    if feature is None and len(e.feature_names) != 1:
        raise OptionError(f"scatter: shows one feature of {len(e.feature_names)}; choose one: e.plot.scatter({e.feature_names[0]!r})")
    one = e if feature is None else e[:, feature]
    data = columns(one)
    if data is None:
        raise InputError("scatter: the explanation has no data to draw against; explain rows, or build the Attribution with data=")
    ax = fig.new_axes(ax, (6.8, 4.4), "plot.scatter")
    y = one.values[:, 0]
    ordered: NDArray[Any] | None = None
    if one.members is None and not isinstance(one.data, np.ndarray) and str(one.data.dtypes.iloc[0]) == "category":
        ordered = one.data.iloc[:, 0].cat.categories.to_numpy()
    x, missing = _place(ax, data[0], ordered, y)
    shown = np.isfinite(x)
    crowded = len(e) > 1500
    if one.std_error is not None:
        reach = fig.Z * one.std_error[:, 0]
        bars = ax.errorbar(x[shown], y[shown], yerr=reach[shown], fmt="none", ecolor=fig.GREY, elinewidth=0.9, alpha=0.55, zorder=1)
        for line in bars[2]:
            line.set_rasterized(crowded)
    dots: dict[str, Any] = {"s": float(np.clip(4000 / max(len(e), 1), 8, 26)), "linewidths": 0, "zorder": 2, "rasterized": crowded}
    tint = None if color is None else columns(e[:, color])
    if tint is None:
        ax.scatter(x[shown], y[shown], color=fig.NEGATIVE, **dots)
    elif fig.numeric(tint[0]) is None:
        _by_category(ax, x[shown], y[shown], tint[0][shown], e[:, color].feature_names[0], dots)
    else:
        shade = fig.shades(tint[0], len(e))
        known = shown & np.isfinite(shade)
        ax.scatter(x[shown & ~known], y[shown & ~known], color=fig.GREY, **dots)
        ax.scatter(x[known], y[known], c=shade[known], cmap=fig.colors(diverging=False), vmin=0, vmax=1, **dots)
        fig.shade_bar(ax, e[:, color].feature_names[0])
    ax.axhline(0, color=fig.GREY, linewidth=1, zorder=0)
    name = one.feature_names[0]
    note = f" ({missing} missing not shown)" if missing else ""
    fig.tidy(ax, title=fig.title_of(e), xlabel=name + note, ylabel="attribution" + fig.interval_note(e), grid="y")
    ax.tick_params(axis="y", labelsize=fig.FONT - 1, length=0)
    return ax


def _place(ax: Axes, column: NDArray[Any], ordered: NDArray[Any] | None, y: Floats) -> tuple[Floats, int]:
    """Where the points stand: numbers and dates as they are, categories side by side; and how many have no place."""
    numbers = None if ordered is not None else fig.numeric(column)
    if numbers is not None:
        if column.dtype.kind == "M":
            from matplotlib import dates

            to_axis: Any = dates.date2num
            axis_dates = to_axis(np.where(np.isnat(column), np.datetime64(0, "s"), column))
            numbers = np.where(np.isnan(numbers), np.nan, np.asarray(axis_dates, dtype=np.float64))
            locator: Any = dates.AutoDateLocator
            formatter: Any = dates.ConciseDateFormatter
            ax.xaxis.set_major_locator(locator())
            ax.xaxis.set_major_formatter(formatter(ax.xaxis.get_major_locator()))
        elif column.dtype.kind == "m":
            numbers = _durations(ax, column)
        elif column.dtype.kind == "b" or (
            column.dtype == object and all(isinstance(v, (bool, np.bool_)) for v in column[~np.isnan(numbers)])
        ):
            ax.set_xticks([0.0, 1.0], ["False", "True"])
            ax.set_xlim(-0.5, 1.5)
        finite = numbers[np.isfinite(numbers)]
        if finite.size and finite.min() < finite.max():
            counts, edges = np.histogram(finite, 40)
            ax.bar(
                edges[:-1],
                counts / counts.max() * 0.12,
                np.diff(edges),
                align="edge",
                color=fig.GREY,
                alpha=0.25,
                transform=ax.get_xaxis_transform(),
                zorder=0,
            )
        return numbers, int((~np.isfinite(numbers)).sum())
    texts = np.array([cell(value) for value in column], dtype=object)
    groups = [cell(value) for value in ordered] if ordered is not None else sorted(set(texts))
    groups += [text for text in dict.fromkeys(texts) if text not in groups]  # missing values come last
    where = {text: i for i, text in enumerate(groups)}
    slots = np.array([where[text] for text in texts], dtype=np.float64)
    low, high = float(np.nanmin(y)), float(np.nanmax(y))
    for i in range(len(groups)):
        mine = slots == i
        slots[mine] += fig.swarm(y[mine], low, high, bins=60, reach=0.3)
    turn = len(groups) > 6 or max(len(text) for text in groups) > 12
    ax.set_xticks(
        range(len(groups)), [fig.wrapped(text, 24) for text in groups], rotation=35 if turn else 0, ha="right" if turn else "center"
    )
    fig.literal(ax.get_xticklabels())
    ax.set_xlim(-0.6, len(groups) - 0.4)
    return slots, 0


def _durations(ax: Axes, column: NDArray[Any]) -> Floats:
    """Durations in the largest of days, hours, minutes and seconds that the longest one reaches; the axis says which."""
    import pandas as pd

    seconds = pd.Series(column).dt.total_seconds().to_numpy(dtype=np.float64)
    longest = float(np.nanmax(np.abs(seconds), initial=0.0))
    size, unit = next(((size, unit) for size, unit in ((86400, "d"), (3600, "h"), (60, "min")) if longest >= size), (1, "s"))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g} {unit}")
    return np.asarray(seconds / size, dtype=np.float64)


def _by_category(ax: Axes, x: Floats, y: Floats, column: NDArray[Any], name: str, dots: dict[str, Any]) -> None:
    """Points coloured by category, the most frequent ones; the others are grey."""
    texts = np.array([cell(value) for value in column], dtype=object)
    groups, counts = np.unique(texts, return_counts=True)
    top = list(groups[np.argsort(-counts, kind="stable")][: len(fig.CATEGORIES)])
    rest = ~np.isin(texts, top)
    if rest.any():
        ax.scatter(x[rest], y[rest], color=fig.GREY, label="others", **dots)
    for group, paint in zip(top, fig.CATEGORIES, strict=False):
        mine = texts == group
        ax.scatter(x[mine], y[mine], color=paint, label=f" {fig.wrapped(group, 28)}", **dots)  # a leading "_" would hide it from the legend
    legend = ax.legend(title=fig.wrapped(name, 28), loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=fig.FONT - 1)
    fig.literal([*legend.get_texts(), legend.get_title()])
