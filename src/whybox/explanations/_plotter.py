"""``e.plot``: the plots of an explanation.

Plots stand above explanations in the import order, and matplotlib is optional, so the plots are looked up by name when one is called.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from whybox.explanations._hints import PlotHints

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from whybox.explanations.attribution import Attribution


def _function(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(import_module("whybox.plots"), name)
    return function


class Plotter(PlotHints):
    """The plots of one explanation. Each draws error bars where there are standard errors, and returns the Axes it drew on.

    ``image`` draws no error bars, and returns the figure.

    Args:
        explanation: what to draw.
    """

    __slots__ = ("_explanation",)

    def __init__(self, explanation: Attribution) -> None:
        self._explanation = explanation

    def bar(self, *, max_display: int = 10, ax: Axes | None = None) -> Axes:
        """Mean absolute attribution of each feature; for a single row, its signed attributions."""
        axes: Axes = _function("bar")(self._explanation, max_display=max_display, ax=ax)
        return axes

    def beeswarm(self, *, max_display: int = 10, ax: Axes | None = None) -> Axes:
        """Every row's attribution as a point, coloured by the feature's value."""
        axes: Axes = _function("beeswarm")(self._explanation, max_display=max_display, ax=ax)
        return axes

    def waterfall(self, *, max_display: int = 10, ax: Axes | None = None) -> Axes:
        """From the base value to the prediction of a single row."""
        axes: Axes = _function("waterfall")(self._explanation, max_display=max_display, ax=ax)
        return axes

    def scatter(self, feature: int | str | None = None, *, color: int | str | None = None, ax: Axes | None = None) -> Axes:
        """A feature's attribution against its value, coloured by another feature if asked."""
        axes: Axes = _function("scatter")(self._explanation, feature, color=color, ax=ax)
        return axes

    def heatmap(self, *, max_display: int = 10, ax: Axes | None = None) -> Axes:
        """Rows by features, with similar rows side by side and the prediction above."""
        axes: Axes = _function("heatmap")(self._explanation, max_display=max_display, ax=ax)
        return axes

    def image(self, *, view: Literal["overlay", "strongest"] = "overlay", top: int = 5, max_display: int = 6, outputs: int = 3) -> Figure:
        """Images beside their overlays, or (``view="strongest"``) beside their strongest segments alone."""
        figure: Figure = _function("image")(self._explanation, view=view, top=top, max_display=max_display, outputs=outputs)
        return figure

    def report(self, path: str | PathLike[str], *, title: str | None = None) -> None:
        """A self-contained HTML report of the whole explanation."""
        _function("explanation_report")(path, self._explanation, title=title)
