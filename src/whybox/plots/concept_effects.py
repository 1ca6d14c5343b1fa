"""Concept effects as points with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from whybox._random import generator
from whybox.errors import InputError
from whybox.explanations.concept_effects import ConceptEffects
from whybox.plots import _figure as fig

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def effects(e: ConceptEffects, *, output: int | str = -1, ax: Axes | None = None) -> Axes:
    """Mean effect of every intervention on one output.

    The vertical line is the zero effect. The grey band, where a paraphrase null was measured, is the mean size of what edits do that keep
    the concept: a single text's effect inside it says nothing.

    Args:
        e: the effects.
        output: name or position of the output. Default: the last.
        ax: Axes to draw on, or None for a new figure.

    Returns:
        The Axes.

    Raises:
        InputError: there is no intervention.
        OptionError: the output does not exist.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> from whybox.concepts import ConceptEffect, StructuralCounterfactuals
        >>> from whybox.datasets import concept_reviews
        >>> data = concept_reviews(30)
        >>> model = lambda texts: [[float("I will be back" in t)] for t in texts]
        >>> e = ConceptEffect(model, StructuralCounterfactuals(data)).explain(data.texts, "return", to="yes")
        >>> effects(e).get_xlabel()
        'effect on output 0, 95 % interval'
    """
    j = _checked(e, output)
    names = [_name(e, q) for q in range(len(e))]
    ax = fig.new_axes(ax, fig.size_of(names, width=7.2), "plot")
    rows = np.arange(len(e))
    colors = [fig.POSITIVE if value >= 0 else fig.NEGATIVE for value in e.mean[:, j].tolist()]
    if e.null is not None:
        for q, i in enumerate(e.interventions):
            size = float(e.null.size(i.concept)[j])
            if np.isfinite(size):
                ax.barh(q, 2 * size, left=-size, height=0.8, color=fig.GREY, alpha=0.25, linewidth=0)
    ax.hlines(rows, e.low[:, j], e.high[:, j], colors=colors, linewidth=1.6)
    ax.scatter(e.mean[:, j], rows, c=colors, zorder=3)
    return _finish(ax, e, names, f"effect on {_output(e, j)}, {100 * e.confidence:.3g} % interval")


def individual(e: ConceptEffects, *, output: int | str = -1, ax: Axes | None = None) -> Axes:
    """Every text's own effect on one output, a row of points for each intervention.

    Args:
        e: the effects.
        output: name or position of the output. Default: the last.
        ax: Axes to draw on, or None for a new figure.

    Returns:
        The Axes.

    Raises:
        InputError: there is no intervention.
        OptionError: the output does not exist.
        MissingDependencyError: matplotlib is not installed.
    """
    j = _checked(e, output)
    names = [_name(e, q) for q in range(len(e))]
    ax = fig.new_axes(ax, fig.size_of(names, width=7.2), "plot_individual")
    used = e.n_valid > 0
    spread = generator(e.seed, "plot").uniform(-0.28, 0.28, int(used.sum()))  # so that equal effects stay visible
    values = e.individual[used, j]
    colors = [fig.POSITIVE if value >= 0 else fig.NEGATIVE for value in values.tolist()]
    ax.scatter(values, e.pair_intervention[used] + spread, c=colors, s=12, alpha=0.6, linewidths=0)
    ax.scatter(e.mean[:, j], np.arange(len(e)), marker="|", s=260, c=fig.ink(), zorder=3)
    return _finish(ax, e, names, f"effect on {_output(e, j)}, one point a text")


def _checked(e: ConceptEffects, output: int | str) -> int:
    if not len(e):
        raise InputError("plot: there is no intervention: every text had the value already, or none was given")
    return e.output(output)


def _name(e: ConceptEffects, q: int) -> str:
    used, pairs = int(e.n_used[q]), int(e.n_pairs[q])
    return f"{e.interventions[q]} ({used} of {pairs})" if used < pairs else f"{e.interventions[q]} ({pairs})"


def _output(e: ConceptEffects, j: int) -> str:
    return f"output {j}" if e.output_names is None else fig.plain(e.output_names[j])


def _finish(ax: Axes, e: ConceptEffects, names: list[str], label: str) -> Axes:
    ax.axvline(0.0, color=fig.ink(), linewidth=0.8)
    fig.label_features(ax, names)
    ax.set_xlabel(label)
    ax.set_title(f"{e.estimand} effects of concepts", loc="left", fontsize=fig.FONT)
    fig.literal([ax.xaxis.label])
    return ax
