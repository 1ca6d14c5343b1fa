"""Waterfall: from the base value to the prediction of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from whybox.errors import OptionError
from whybox.explanations import Attribution
from whybox.explanations._view import batch, chosen_lines, decimals, is_additive, one_output, outcome, row_labels, signed
from whybox.plots import _figure as fig
from whybox.typing import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def waterfall(explanation: Attribution, *, max_display: int = 10, ax: Axes | None = None) -> Axes:
    """How one row's prediction comes about: from the base value at the bottom to the prediction at the top, largest step uppermost.

    The error bar at a step's end is the 95 % interval of this step alone. Where a method's attributions need not add up to the
    prediction (LIME, occlusion), the top is marked as their sum, and the prediction stands in the title.

    Args:
        explanation: of one row and one output, such as ``e[0]`` or ``e[0].output("malignant")``.
        max_display: features shown; the others are summed up in the lowest, grey bar.
        ax: Axes to draw on, or None for a new figure.

    Returns:
        The Axes.

    Raises:
        OptionError: several rows, or several outputs.
        MissingDependencyError: matplotlib is not installed.
    """
    e = batch(explanation)
    if len(e) != 1:
        raise OptionError(f"waterfall: shows one row, and this explains {len(e)}; choose one: e[0].plot.waterfall()")
    e = one_output(e, "waterfall")
    limit = fig.check_display(max_display)
    found, unselected = chosen_lines(e, 0)
    count = len(found) if len(found) <= limit + 1 else limit
    rest = found[count:]
    names = [fig.with_value(x, e) for x in found[:count]]
    steps = np.array([x.attribution for x in found[:count]] + ([sum(x.attribution for x in rest)] if rest else []))
    reach = fig.Z * np.array([x.error for x in found[:count]] + ([np.nan] if rest else []))
    names += [f"{len(rest)} other features"] if rest else []
    base = float(e.base_values[0])
    ends = base + np.cumsum(steps[::-1])[::-1]
    starts = np.append(ends[1:], base)
    ax = fig.new_axes(ax, fig.size_of(names, width=7.6, row=0.4, extra=1.5), "plot.waterfall")
    rows = np.arange(len(names))
    paints = [fig.POSITIVE if step >= 0 else fig.NEGATIVE for step in steps]
    if rest:
        paints[-1] = fig.GREY
    ax.barh(rows, steps, left=starts, color=paints, height=0.62, zorder=2)
    for row in rows[:-1]:
        ax.plot([starts[row]] * 2, [row + 0.31, row + 0.69], color=fig.GREY, linewidth=0.9, zorder=1)
    known = np.isfinite(reach) & (reach > 0)
    if known.any():
        ax.errorbar(ends[known], rows[known], xerr=reach[known], fmt="none", ecolor=fig.ink(), elinewidth=1.1, capsize=2.5, zorder=3)
    digits = decimals(*steps)
    half = np.where(known, reach, 0.0)
    for row, step in enumerate(steps):
        side = -1 if step < 0 else 1
        ax.annotate(
            signed(float(step), digits),
            (max(starts[row], ends[row] + half[row]) if side > 0 else min(starts[row], ends[row] - half[row]), row),
            (side * 5, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=fig.FONT - 1,
            color=fig.ink(),
        )
    fig.label_features(ax, names)
    ax.set_ylim(len(names) - 0.2, -0.5)
    fig.give_room(ax, *_span(base, starts, ends, half))
    total = float(ends[0]) if len(ends) else base
    additive = is_additive(e, 0)
    marks = ((base, 0.0, "base value", fig.GREY), (total, 1.0, "prediction" if additive else "base value + attributions", fig.ink()))
    for x, edge, what, paint in marks:
        ax.axvline(x, color=paint, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        ax.annotate(
            f"{what} {outcome(x, digits)}",
            (x, edge),
            (0, 5) if edge else (5, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center" if edge else "left",
            fontsize=fig.FONT - 1,
            color=fig.ink(),
        )
    note = "" if additive else f" · prediction {outcome(float(e.predictions[0]), digits)}"
    fig.tidy(
        ax,
        title=f"{fig.title_of(e)} · row {row_labels(e)[0]}{note}",
        xlabel="model output" + fig.interval_note(e) + (f" · {unselected}" if unselected else ""),
    )
    fig.literal([ax.set_title(ax.get_title(loc="left"), loc="left", fontsize=fig.FONT + 1, pad=24)])
    return ax


def _span(base: float, starts: Floats, ends: Floats, half: Floats) -> tuple[float, float]:
    """The smallest and largest number that is drawn."""
    numbers = np.concatenate([[base], starts, ends - half, ends + half])
    return float(np.nanmin(numbers)), float(np.nanmax(numbers))
