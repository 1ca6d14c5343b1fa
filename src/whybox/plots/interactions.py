"""Matrix of interactions: features by features, main effects on the diagonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from whybox.explanations._view import one_output
from whybox.plots import _figure as fig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanations.interactions import Interactions

_LEGIBLE = 5.0  # points


def interactions(found: Interactions, *, max_display: int = 10, ax: Axes | None = None) -> Axes:
    """Features by features: the interaction index off the diagonal, the main effect on it, each with its number.

    Of several rows these are mean absolute values; of a single one they have their sign. What is less than two standard errors stands in
    brackets. Numbers that do not fit into their cells are left out.

    Args:
        found: of one output.
        max_display: features shown, those with the largest interactions and main effects.
        ax: Axes to draw on, or None for a new figure.

    Returns:
        The Axes.

    Raises:
        OptionError: several outputs.
        MissingDependencyError: matplotlib is not installed.
    """
    e = one_output(found.attribution, "plot")
    d, single = len(found.feature_names), e.single
    own = np.eye(d, dtype=bool)
    shape = (-1, d, d)
    numbers = np.where(own, found.values.reshape(shape), found.index.reshape(shape))
    errors = np.where(own, 1.0, 2.0) * found.std_error.reshape(shape)
    shown, error = (numbers[0], errors[0]) if single else (np.abs(numbers).mean(axis=0), errors.mean(axis=0))
    order = np.argsort(-np.nan_to_num(np.abs(shown)).sum(axis=0), kind="stable")[: fig.check_display(max_display)]
    grid, error = shown[np.ix_(order, order)], error[np.ix_(order, order)]
    names = [str(found.feature_names[j]) for j in order]
    side = 0.62 * len(names)
    width, height = fig.size_of(names, width=side + 2.6, row=0.5, extra=1.9)
    ax = fig.new_axes(ax, (width, max(height, side + 1.9)), "interactions.plot")
    limit = float(np.abs(grid).max(initial=0.0)) or 1.0
    ax.imshow(grid, cmap=fig.colors(diverging=True), vmin=-limit, vmax=limit, interpolation="nearest")
    power = int(np.floor(np.log10(limit)))
    power = 0 if -1 <= power <= 1 else power
    digits = 3 if limit < 1.0 and not power else 1 if limit >= 10.0 ** (power + 1) else 2  # a hundredth of the largest is not 0
    inches = ax.figure.canvas.figure.get_size_inches() * ax.get_position().size
    size = min(fig.FONT - 2, 16.0 * float(inches.min()) / max(len(names), 1))
    for i, j in np.ndindex(grid.shape) if size >= _LEGIBLE else ():
        number = grid[i, j] / 10.0**power
        text = f"{number:{'+' if single else ''}.{digits}f}".replace("-", "−")
        clear = abs(grid[i, j]) >= 2.0 * error[i, j]
        color = "white" if abs(grid[i, j]) > 0.7 * limit else "#1d1d1d" if clear else fig.GREY
        weight = "bold" if i == j else "normal"
        ax.text(j, i, text if clear else f"({text})", ha="center", va="center", fontsize=size, color=color, fontweight=weight)
    what = "signed" if single else "1 row, absolute" if len(e) == 1 else f"mean of {len(e)} rows, absolute"
    notes = [what, f"{len(names)} of {d} features" if len(names) < d else "", f"times 10^{power}" if power else ""]
    note = "; ".join(part for part in notes if part) + "\nbold: main effects; in brackets: less than two standard errors"
    fig.label_features(ax, names)
    ax.set_xticks(range(len(names)), [fig.wrapped(name) for name in names], rotation=45, ha="right", rotation_mode="anchor")
    fig.literal(ax.get_xticklabels())
    fig.tidy(ax, title=f"{fig.title_of(e)}: interactions", grid="")
    fig.literal([ax.set_xlabel(note, fontsize=fig.FONT - 1)])
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(axis="x", length=0, labelsize=fig.FONT)
    return ax
