"""Images beside their explanations: segments tinted by attribution, or the strongest segments alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from whybox.errors import OptionError
from whybox.explanations import Attribution
from whybox.explanations._overlay import fitted, overlay, pixels, strongest, visible
from whybox.explanations._pictures import largest, need_images
from whybox.explanations._view import batch, decimals, heading, output_label, row_labels, row_output
from whybox.plots import _figure as fig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE = 2.5  # inches of a picture


def image(
    explanation: Attribution,
    *,
    view: Literal["overlay", "strongest"] = "overlay",
    top: int = 5,
    max_display: int = 6,
    outputs: int = 3,
) -> Figure:
    """A line an image: the image, and beside it one picture for each output, the largest output first.

    In an overlay, a segment's colour is its attribution on one scale for the whole figure, symmetrical around zero: vermilion raises the
    output, blue lowers it. "strongest" shows the segments with the largest attributions as they are, outlined in the colour of their sign,
    and the rest of the image faded.

    Args:
        explanation: of images, by their segments.
        view: "overlay" (default) or "strongest".
        top: segments that "strongest" shows. Default 5.
        max_display: the most images shown. Default 6.
        outputs: the most outputs shown of each image, where several are explained. Default 3.

    Returns:
        The figure.

    Raises:
        OptionError: the rows are no images, or an option has a value that does not exist.
        MissingDependencyError: matplotlib is not installed.
    """
    if view not in ("overlay", "strongest"):
        raise OptionError(f'view: expected "overlay" or "strongest", got {view!r}')
    for name, count in (("top", top), ("max_display", max_display), ("outputs", outputs)):
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise OptionError(f"{name}: expected a positive integer, got {count!r}")
    e = batch(explanation)
    need_images(e, "plot.image")
    e = e if len(e) <= max_display else e[:max_display]
    shown = min(e.n_outputs, outputs) if e.multi_output else 1
    limit = largest(e, range(len(e)))
    tall = min(max(mark.shape[0] / mark.shape[1] for mark in e.marks), 2.0)
    figure = _new_figure(len(e), 1 + shown, tall)
    grid = figure.subplots(len(e), 1 + shown, squeeze=False)
    for row in range(len(e)):
        picture, labels = fitted(e.inputs[row]), fitted(e.marks[row])
        _put(grid[row, 0], pixels(visible(picture)), "" if len(e) == 1 else f"row {row_labels(e)[row]}")
        values = e.values[row].reshape(len(e.values[row]), -1)
        predictions = e.predictions[row].reshape(-1)
        for place, k in enumerate(np.argsort(-np.nan_to_num(predictions, nan=-np.inf), kind="stable")[:shown].tolist()):
            own = values[:, k]
            drawn = overlay(picture, labels, own, limit) if view == "overlay" else strongest(picture, labels, own, top)
            label = output_label(e, k) if e.multi_output else row_output(e, row)
            number = f"{predictions[k]:.{max(decimals(*predictions), 2)}f}"
            _put(grid[row, 1 + place], drawn, f"prediction {number}" if label is None else f"{heading(label)}: {number}")
    if view == "overlay":
        _scale(figure, grid, limit)
    else:
        figure.supxlabel("raises the output in vermilion, lowers it in blue", fontsize=fig.FONT - 1, color=fig.GREY)
    fig.literal([figure.suptitle(fig.plain(e.method), x=0.01, ha="left", fontsize=fig.FONT + 1)])
    return figure


def _new_figure(rows: int, columns: int, tall: float) -> Figure:
    return fig.new_figure((_SIDE * columns + 0.9, (_SIDE * tall + 0.32) * rows + 0.6), "plot.image", shown="figure")


def _put(ax: Any, picture: Any, title: str) -> None:
    ax.imshow(picture, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_color(fig.GREY)
        side.set_linewidth(0.6)
    fig.literal([ax.set_title(fig.wrapped(title, 30), fontsize=fig.FONT, loc="left")])


def _scale(figure: Figure, grid: Any, limit: float) -> None:
    """The colours of attributions, symmetrical around zero."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    end = limit or 1.0
    bar = figure.colorbar(ScalarMappable(Normalize(-end, end), fig.colors(diverging=True)), ax=grid, aspect=30, pad=0.02, shrink=0.8)
    bar.set_label("attribution", size=fig.FONT)
    bar.ax.tick_params(labelsize=fig.FONT - 2)
    outline: Any = bar.outline  # the stubs take it for a method
    outline.set_visible(False)
