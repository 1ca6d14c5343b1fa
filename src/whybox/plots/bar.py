"""Bars: mean absolute attribution of every feature, or the signed attributions of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from whybox.errors import InputError
from whybox.explanations import Attribution
from whybox.explanations._view import batch, chosen_lines, decimals, fixed, is_additive, one_output, outcome, signed
from whybox.plots import _figure as fig

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bar(explanation: Attribution, *, max_display: int = 10, ax: Axes | None = None) -> Axes:
    """Which features matter: mean absolute attribution over the rows; for a single row its signed attributions.

    Error bars are 95 % intervals. Those of a mean are the mean of the rows' intervals, which is an upper bound.

    Args:
        explanation: of one output; ragged rows are averaged by feature name.
        max_display: features shown; the others are summed up in a last, grey bar.
        ax: Axes to draw on, or None for a new figure.

    Returns:
        The Axes.

    Raises:
        OptionError: the explanation has several outputs; choose one.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> from whybox.explanations import Attribution
        >>> e = Attribution(values=[[0.2, -0.1]], base_values=[0.5], predictions=[0.6], feature_names=("age", "dose"), method="KernelSHAP")
        >>> bar(e).get_xlabel()
        'attribution'
    """
    e = one_output(explanation, "bar")
    whole = batch(e)
    if not len(whole):
        raise InputError("bar: the explanation has no rows")
    limit = fig.check_display(max_display)
    one, unselected = len(whole) == 1, ""
    if one:
        found, unselected = chosen_lines(whole, 0)
        names = [fig.with_value(x, whole) for x in found]
        sizes = np.array([x.attribution for x in found])
        errors = np.array([x.error for x in found])
    else:
        frame = whole.importance()
        names = frame["feature"].tolist()
        sizes, errors = frame["importance"].to_numpy(), frame["std_error"].to_numpy()
    count = len(names) if len(names) <= limit + 1 else limit
    shown = names[:count] + ([f"{len(names) - count} other features"] if len(names) > count else [])
    lengths = np.append(sizes[:count], sizes[count:].sum()) if len(names) > count else sizes
    reach = fig.Z * np.append(errors[:count], np.nan)[: len(lengths)]
    ax = fig.new_axes(ax, fig.size_of(shown, width=7.2), "plot.bar")
    paints = [fig.SIZE if not one else fig.POSITIVE if size >= 0 else fig.NEGATIVE for size in lengths]
    if len(lengths) > count:
        paints[-1] = fig.GREY
    rows = np.arange(len(lengths))
    ax.barh(rows, lengths, color=paints, height=0.66)
    known = np.isfinite(reach) & (reach > 0)
    if known.any():
        ax.errorbar(lengths[known], rows[known], xerr=reach[known], fmt="none", ecolor=fig.ink(), elinewidth=1.1, capsize=2.5)
    fig.label_features(ax, shown)
    digits = decimals(*lengths)
    for row, size, half in zip(rows, lengths, np.where(known, reach, 0.0), strict=True):
        text = signed(float(size), digits) if one else fixed(size, digits)
        side = -1 if size < 0 else 1
        ax.annotate(
            text,
            (size + side * half, row),
            (side * 5, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=fig.FONT - 1,
            color=fig.ink(),
        )
    half = np.where(known, reach, 0.0)
    fig.give_room(ax, float(np.nanmin(lengths - half, initial=0.0)) if one else 0.0, float(np.nanmax(lengths + half, initial=0.0)))
    if one:
        ax.axvline(0, color=fig.ink(), linewidth=0.8)
        total = (
            f"\nbase {outcome(whole.base_values[0], digits)} → prediction {outcome(whole.predictions[0], digits)}"
            if is_additive(whole, 0)
            else ""
        )
    else:
        total = ""
    label = ("attribution" if one else "mean |attribution|") + fig.interval_note(e)
    fig.tidy(ax, title=fig.title_of(whole) + total, xlabel=label + (f" · {unselected}" if unselected else ""))
    return ax
