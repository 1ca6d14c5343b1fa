"""Beeswarm: every row a point, in the order of the features' importance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from whybox.explanations import Attribution
from whybox.explanations._view import columns
from whybox.plots import _figure as fig

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def beeswarm(explanation: Attribution, *, max_display: int = 10, ax: Axes | None = None) -> Axes:
    """How each feature acts over all rows: a point a row, coloured by the feature's value; grey for texts, categories and missing values.

    Args:
        explanation: of several rows and one output.
        max_display: features shown; the others are summed up, row by row, in a last line of grey points.
        ax: Axes to draw on, or None for a new figure.

    Returns:
        The Axes.

    Raises:
        OptionError: a single row, rows with features of their own, or several outputs.
        MissingDependencyError: matplotlib is not installed.
    """
    e = fig.many_rows(explanation, "beeswarm")
    top, rest = fig.top_features(e, max_display)
    names = [e.feature_names[j] for j in top] + ([f"{len(rest)} other features"] if len(rest) else [])
    ax = fig.new_axes(ax, fig.size_of(names, width=7.6, row=0.42), "plot.beeswarm")
    from matplotlib.collections import LineCollection

    data = columns(e)
    points = [e.values[:, j] for j in top] + ([e.values[:, rest].sum(axis=1)] if len(rest) else [])
    everything = np.concatenate(points)
    finite = everything[np.isfinite(everything)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    size = float(np.clip(900 / max(len(e), 1), 5, 16))
    crowded = everything.size > 1500  # a vector drawing of this many points would be slow to open
    ax.axvline(0, color=fig.GREY, linewidth=1, zorder=0)
    for row, x in enumerate(points):
        y = row + fig.swarm(x, low, high)
        others = row >= len(top)
        if e.std_error is not None and not others:
            reach = fig.Z * e.std_error[:, top[row]]
            segments = np.stack([np.stack([x - reach, y], -1), np.stack([x + reach, y], -1)], axis=1)
            ax.add_collection(
                LineCollection(
                    list(segments), colors=fig.ink(), linewidths=0.6, alpha=0.2 if len(e) <= 100 else 0.1, zorder=1, rasterized=crowded
                ),
                autolim=True,
            )
        shade = np.full(len(e), np.nan) if others or data is None else fig.shades(data[top[row]], len(e))
        known = np.isfinite(shade)
        ax.scatter(x[~known], y[~known], s=size, color=fig.GREY, linewidths=0, zorder=2, rasterized=crowded)
        ax.scatter(
            x[known],
            y[known],
            s=size,
            c=shade[known],
            cmap=fig.colors(diverging=False),
            vmin=0,
            vmax=1,
            linewidths=0,
            zorder=3,
            rasterized=crowded,
        )
    fig.label_features(ax, names)
    fig.tidy(ax, title=fig.title_of(e), xlabel="attribution" + (" (lines: 95 % interval)" if e.std_error is not None else ""))
    for row in range(len(names)):
        ax.axhline(row, color=fig.GREY, linewidth=0.5, alpha=0.5, dashes=(1, 3), zorder=0)
    if data is not None:
        fig.shade_bar(ax, "feature value")
    return ax
