"""Heatmap: features by rows, with the predictions above and the importance beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy

from whybox.explanations import Attribution
from whybox.plots import _figure as fig
from whybox.typing import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heatmap(explanation: Attribution, *, max_display: int = 10, ax: Axes | None = None) -> Axes:
    """Groups of rows that are explained alike: a column a row, similar rows side by side, predictions above, importance on the right.

    Args:
        explanation: of several rows and one output.
        max_display: features shown; the others are summed up in the last line.
        ax: Axes to draw on, or None for a new figure.

    Returns:
        The Axes of the heatmap itself.

    Raises:
        OptionError: a single row, rows with features of their own, or several outputs.
        MissingDependencyError: matplotlib is not installed.
    """
    e = fig.many_rows(explanation, "heatmap")
    top, rest = fig.top_features(e, max_display)
    names = [e.feature_names[j] for j in top] + ([f"{len(rest)} other features"] if len(rest) else [])
    grid = e.values[:, top]
    if len(rest):
        grid = np.concatenate([grid, e.values[:, rest].sum(axis=1, keepdims=True)], axis=1)
    order = _order(np.nan_to_num(e.values), e.predictions)
    mine = ax is None
    ax = fig.new_axes(ax, fig.size_of(names, width=8.4, row=0.34, extra=1.9), "plot.heatmap")
    from matplotlib.ticker import MaxNLocator

    finite = np.abs(grid[:, : len(top)])
    finite = finite[np.isfinite(finite)]
    limit = float(np.percentile(finite, 99)) if finite.size else 1.0
    limit = limit or float(finite.max(initial=0.0)) or 1.0
    image = ax.imshow(grid[order].T, aspect="auto", cmap=fig.colors(diverging=True), vmin=-limit, vmax=limit, interpolation="nearest")
    fig.label_features(ax, names)
    fig.tidy(ax, title="", xlabel="rows (those explained alike side by side)", grid="")
    ax.spines["bottom"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # a row has no half

    above, beside, scale = _panels(ax, max(0.5 / max(len(names) * 0.34, 1), 0.1), mine=mine)
    above.plot(np.arange(len(e)), e.predictions[order], color=fig.ink(), linewidth=0.9)
    base = float(np.mean(e.base_values))
    above.axhline(base, color=fig.GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    above.set_ylabel("f(x)", fontsize=fig.FONT - 1, rotation=0, ha="right", va="center")
    above.tick_params(labelbottom=False, bottom=False, labelsize=fig.FONT - 3, length=2)
    for side in ("top", "right", "bottom"):
        above.spines[side].set_visible(False)
    fig.literal([above.set_title(fig.wrapped(fig.title_of(e), 56), loc="left", fontsize=fig.FONT + 1, pad=9)])

    lengths = np.abs(grid).mean(axis=0)
    beside.barh(np.arange(len(names)), lengths, color=[fig.SIZE] * len(top) + [fig.GREY] * bool(len(rest)), height=0.66)
    if e.std_error is not None:
        reach = fig.Z * e.std_error[:, top].mean(axis=0)
        known = np.isfinite(reach)
        beside.errorbar(
            lengths[: len(top)][known],
            np.arange(len(top))[known],
            xerr=reach[known],
            fmt="none",
            ecolor=fig.ink(),
            elinewidth=1,
            capsize=2,
        )
    beside.set_xlim(left=0)
    beside.set_axis_off()
    beside.set_title("mean |·|", fontsize=fig.FONT - 2)
    where: dict[str, Any] = {"ax": ax, "aspect": 36, "pad": 0.02, "shrink": 0.86} if scale is None else {"cax": scale}
    bar = ax.figure.colorbar(image, extend="both" if (np.abs(grid) > limit).any() else "neither", **where)
    bar.set_label("attribution", size=fig.FONT)
    bar.ax.tick_params(labelsize=fig.FONT - 2)
    outline: Any = bar.outline  # the stubs take it for a method
    outline.set_visible(False)
    return ax


def _panels(ax: Axes, height: float, *, mine: bool) -> tuple[Axes, Axes, Axes | None]:
    """Places for predictions and importance, and for the colour bar where it must not take room from its neighbours.

    Around Axes of a figure of ours they stand outside; Axes of the caller make room for them, whatever lays out the figure.
    """
    if mine:
        return ax.inset_axes((0, 1.02, 1, height), sharex=ax), ax.inset_axes((1.015, 0, 0.13, 1), sharey=ax), None
    spec, parent = ax.get_subplotspec(), ax.figure
    if spec is not None:
        parts = spec.subgridspec(2, 3, height_ratios=[height, 1], width_ratios=[1, 0.13, 0.025], hspace=0.04, wspace=0.05)
        ax.set_subplotspec(parts[1, 0])
        return parent.add_subplot(parts[0, 0], sharex=ax), parent.add_subplot(parts[1, 1], sharey=ax), parent.add_subplot(parts[1, 2])
    left, bottom, width, tall = ax.get_position().bounds
    high = tall / (1.04 + height)
    ax.set_position((left, bottom, width * 0.76, high))
    return (
        parent.add_axes((left, bottom + 1.04 * high, width * 0.76, height * high), sharex=ax),
        parent.add_axes((left + width * 0.78, bottom, width * 0.1, high), sharey=ax),
        parent.add_axes((left + width * 0.9, bottom, width * 0.02, high)),
    )


def _order(values: Floats, predictions: Floats) -> NDArray[np.intp]:
    """Rows with similar attributions next to one another: leaves of a Ward tree.

    Beyond 1,500 rows it is the order of the predictions, since the tree's memory grows with the square of the rows.
    """
    n = len(values)
    if n < 3 or n > 1500:
        return np.argsort(predictions, kind="stable")
    tree = hierarchy.linkage(values, "ward", optimal_ordering=n <= 300)
    leaves = hierarchy.leaves_list(tree).astype(np.intp)
    low_first = predictions[leaves[: n // 2]].mean() <= predictions[leaves[n // 2 :]].mean()
    return leaves if low_first else leaves[::-1]
