"""What all plots share: an Axes, colours, names that are not cut off. matplotlib is imported when a plot is made."""

from __future__ import annotations

import re
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError, MissingDependencyError, OptionError
from whybox.explanations import Attribution
from whybox.explanations._view import Line, batch, heading, one_output, row_output, shortened
from whybox.typing import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

# Told apart by every common form of colour blindness, and in grey by position and sign.
POSITIVE, NEGATIVE, SIZE, GREY = "#d9602b", "#3a86c8", "#7f86ad", "#9a9a9a"
Z = 1.959963984540054  # half a 95 % interval in standard errors
FONT = 10.0


_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Figures inside are nobody's but the caller's, also where pyplot is there."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def new_figure(size: tuple[float, float], feature: str, *, shown: str) -> Figure:
    """An empty figure of this size in inches.

    Where pyplot has been imported, and its thread is the main one, the figure is pyplot's: ``plt.show``, ``plt.savefig``, a loop in a cell
    of a notebook and ``plt.close`` do what they do with other libraries. Elsewhere nothing has to be closed, and a notebook shows the
    plot as a cell's last value.

    Args:
        size: width and height.
        feature: what needs matplotlib, for the error.
        shown: "axes" or "figure", whichever the caller returns.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "plot", feature) from error
    pyplot = sys.modules.get("matplotlib.pyplot")
    if _alone.get() or threading.current_thread() is not threading.main_thread():
        pyplot = None
    make: Any = Figure if pyplot is None else pyplot.figure
    figure: Figure = make(figsize=size, layout="constrained")
    returned: Any = figure.subplots() if shown == "axes" else figure
    if pyplot is None:
        FigureCanvasAgg(figure)
        returned._repr_png_ = partial(png, figure)  # a notebook does not show it of itself
    return figure


def new_axes(ax: Axes | None, size: tuple[float, float], feature: str) -> Axes:
    """The given Axes, or one on a new figure of this size in inches, see :func:`new_figure`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OptionError: no Axes.
    """
    if ax is not None:
        if not hasattr(ax, "barh"):
            many = "; of an array of them pass one, for example axes[0]" if isinstance(ax, np.ndarray) else ""
            raise OptionError(f"ax: expected a matplotlib Axes or None, got {type(ax).__name__}{many}")
        return ax
    figure = new_figure(size, feature, shown="axes")
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.12, h_pad=0.12)
    return figure.axes[0]


def png(figure: Figure, *, dpi: float = 144.0) -> bytes:
    """A figure as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def ink() -> str:
    """The colour of text in the user's own style, so that lines show on dark figures too."""
    import matplotlib as mpl

    return str(mpl.rcParams["text.color"])


def colors(*, diverging: bool) -> LinearSegmentedColormap:
    """Low to high: blue to vermilion, through near-white for signed numbers and through purple for feature values."""
    from matplotlib.colors import LinearSegmentedColormap

    middle = "#f4f2ef" if diverging else "#9367a8"
    return LinearSegmentedColormap.from_list(
        "whybox", ["#1f6fb8" if diverging else "#2f83d0", middle, "#cf4f1a" if diverging else "#ec6a2c"]
    )


def plain(text: str) -> str:
    """Text for matplotlib: white space and control characters become spaces, so that a name stays where it is put."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split(" "))


# Where a name may go on in a new line: at spaces, behind hyphens, and behind the underscores of a column's name.
_BREAKS = re.compile(r"(\s+|(?<=[^\W_]-)(?=\w)|(?<=[^\W_]_)(?=[^\W_]))")


def wrapped(text: str, width: int | None = None) -> str:
    """A name in as many lines as it needs; without a width, in about three lines of 34 to 52 letters."""
    text = plain(text)
    width = int(np.clip(len(text) / 2.6, 34, 52)) if width is None else width
    wrapper = textwrap.TextWrapper(width, break_long_words=True, break_on_hyphens=False)
    wrapper.wordsep_simple_re = _BREAKS
    return "\n".join(wrapper.wrap(text)) or " "


def with_value(line: Line, e: Attribution) -> str:
    """A feature of a row beside its value; a condition such as "3 < age <= 7" says what the value equals by itself."""
    value = shortened(line.value, 60)
    return line.name if not value else f"{line.name} = {value}" if e.conditions is None else f"{line.name} ({value})"


def label_features(ax: Axes, names: Sequence[str]) -> None:
    """Write names beside the rows 0, 1, ... from the top."""
    texts = [wrapped(name) for name in names]
    ax.set_yticks(range(len(names)), texts, fontsize=FONT)
    literal(ax.get_yticklabels())
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)  # a text may have no words
    ax.tick_params(axis="y", length=0)


# Families with letters that matplotlib's own font lacks (Chinese, Japanese, Korean, Arabic, Indic, ...), where they are installed.
_WORLD: tuple[str, ...] = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
)
_WORLD += ("Arial Unicode MS", "Noto Sans", "Segoe UI", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Color Emoji", "FreeSans")


def literal(texts: Sequence[Any]) -> None:
    """Take dollar signs as they are, not as formulas, and look for letters that the default font lacks in what else is installed."""
    from matplotlib.font_manager import fontManager

    for text in texts:
        text.set_parse_math(False)
        if not all(ord(letter) < 0x530 or 0x1E00 <= ord(letter) < 0x2600 for letter in text.get_text()):
            installed = {font.name for font in fontManager.ttflist}
            text.set_fontfamily([*text.get_fontfamily(), *(name for name in _WORLD if name in installed)])


def give_room(ax: Axes, low: float, high: float, *, share: float = 0.21) -> None:
    """Limits of the horizontal axis that leave room for the numbers beside the bars."""
    low, high = (low, high) if np.isfinite([low, high]).all() and low < high else (-1.0, 1.0)
    ax.set_xlim(low - (share * (high - low) if low else 0.0), high + share * (high - low))


def size_of(names: Sequence[str], *, width: float, row: float = 0.36, extra: float = 1.1) -> tuple[float, float]:
    """Inches that rows with these names need: wider for long names, higher where they take several lines.

    Args:
        names: of the rows.
        width: for names of usual length.
        row: height of a row whose name takes one line.
        extra: height of all else.
    """
    texts = [wrapped(name) for name in names]
    lines = max((text.count("\n") + 1 for text in texts), default=1)
    letters = max((len(line) for text in texts for line in text.split("\n")), default=0)
    return width + 0.085 * max(letters - 24, 0), extra + len(names) * max(row, 0.168 * lines + 0.07)


def tidy(ax: Axes, *, title: str, xlabel: str = "", ylabel: str = "", grid: str = "x") -> None:
    """Few lines: no box, a light grid, a title on the left."""
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    ax.tick_params(axis="x", labelsize=FONT - 1, color=GREY)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis="both" if grid == "both" else "x" if grid == "x" else "y", color=GREY, alpha=0.22, linewidth=0.7)
    literal(
        [
            ax.set_title("\n".join(wrapped(line, 56) for line in title.split("\n")), loc="left", fontsize=FONT + 1, pad=9),
            ax.set_xlabel(wrapped(xlabel, 80), fontsize=FONT),
            ax.set_ylabel(wrapped(ylabel, 44), fontsize=FONT),
        ]
    )


def title_of(e: Attribution) -> str:
    """The method, and the output that is explained."""
    chosen = e.target_index if e.target_index is None or not e.single else e.target_index[None]
    if chosen is not None and len(np.unique(chosen)) > 1:
        return f"{e.method} · {e.target} output of each row"
    name = row_output(batch(e), 0) if len(e.base_values.shape) == 0 or len(e) else None
    return e.method if name is None else f"{e.method} · {heading(name)}"


def interval_note(e: Attribution) -> str:
    """What the error bars are, where there are any."""
    return "" if e.std_error is None else " (bars: 95 % interval)"


def many_rows(e: Attribution, what: str) -> Attribution:
    """An explanation of one output and of rows that share their features.

    Raises:
        OptionError: a single row, ragged rows or several outputs.
    """
    if e.single:
        raise OptionError(f"{what}: shows many rows, and this is a single one; e.plot.waterfall() or e.plot.bar() show one")
    if e.ragged:
        raise OptionError(f"{what}: the rows have features of their own; use e.plot.bar(), or e[i].plot.waterfall() for one of them")
    e = one_output(e, what)
    if not len(e):
        raise InputError(f"{what}: the explanation has no rows")
    return e


def check_display(max_display: int) -> int:
    """The number of features to show.

    Raises:
        OptionError: not a positive integer.
    """
    if isinstance(max_display, bool) or not isinstance(max_display, (int, np.integer)) or max_display < 1:
        raise OptionError(f"max_display: expected a positive integer, got {max_display!r}")
    return int(max_display)


def top_features(e: Attribution, max_display: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of the most important features and of the others. One that would be the only other one is shown itself."""
    order = np.argsort(-np.nan_to_num(e.abs_mean), kind="stable")
    count = len(order) if len(order) <= check_display(max_display) + 1 else max_display
    return order[:count], order[count:]


def numeric(column: NDArray[Any]) -> Floats | None:
    """A displayed column as numbers, NaN where missing; None for texts and categories."""
    if column.dtype.kind in "biuf":
        return column.astype(np.float64)
    if column.dtype.kind in "mM":
        moments = column.astype("int64").astype(np.float64)
        moments[np.isnat(column)] = np.nan
        return moments
    if column.dtype == object and len(column) and all(_missing(cell) or isinstance(cell, date) for cell in column):
        import pandas as pd  # days, and moments with a time zone

        return numeric(pd.to_datetime(pd.Series(column), utc=True).dt.tz_localize(None).to_numpy())
    if column.dtype == object and all(_is_number_or_missing(cell) for cell in column):
        return np.array([np.nan if _missing(cell) else float(cell) for cell in column], dtype=np.float64)
    return None


def _missing(cell: Any) -> bool:
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell  # NA != NA is NA, which is no answer


def _is_number_or_missing(cell: Any) -> bool:
    if type(cell).__name__ in ("NAType", "NaTType") or cell is None:
        return True
    return isinstance(cell, (int, float, np.number, np.bool_))


def shades(column: NDArray[Any] | None, count: int) -> Floats:
    """How high each value of a column is, 0 to 1 between its 5th and 95th percentile; NaN (grey) for missing and for texts."""
    numbers = None if column is None else numeric(column)
    if numbers is None:
        return np.full(count, np.nan)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return np.full(count, np.nan)
    low, high = np.percentile(finite, [5, 95])
    if low == high:
        low, high = finite.min(), finite.max()
    if low == high:
        return np.where(np.isnan(numbers), np.nan, 0.5)
    shade: Floats = np.clip((np.clip(numbers, finite.min(), finite.max()) - low) / (high - low), 0.0, 1.0)
    return shade


def swarm(positions: Floats, low: float, high: float, *, bins: int = 110, reach: float = 0.38) -> Floats:
    """Sideways offsets that keep points at nearly equal positions apart; no randomness, so the same data give the same picture."""
    span = high - low or 1.0
    slot = np.nan_to_num((positions - low) / span * bins).astype(np.int64)
    order = np.argsort(slot, kind="stable")
    _, starts, counts = np.unique(slot[order], return_index=True, return_counts=True)
    rank = np.empty(len(positions), dtype=np.float64)
    rank[order] = np.arange(len(positions)) - np.repeat(starts, counts)
    side = np.where(rank % 2 == 0, 1.0, -1.0) * np.ceil(rank / 2)
    widest = max(float(np.abs(side).max(initial=0.0)), 5.0)
    offsets: Floats = side / widest * reach
    return offsets


# Okabe and Ito's colours for categories, without the two that stand for the sign.
CATEGORIES = ("#009e73", "#cc79a7", "#e6b400", "#56b4e9", "#7a4fa3", "#8c6d46", "#404040")


def shade_bar(ax: Axes, label: str) -> None:
    """A colour bar from low to high."""
    from matplotlib.cm import ScalarMappable

    bar = ax.figure.colorbar(ScalarMappable(cmap=colors(diverging=False)), ax=ax, aspect=36, pad=0.02, shrink=0.86)
    bar.set_ticks([0, 1], labels=["low", "high"])
    bar.ax.tick_params(length=0, labelsize=FONT - 1)
    bar.set_label(wrapped(label, 40), size=FONT, labelpad=-12 if "\n" not in wrapped(label, 40) else 0)
    literal([bar.ax.yaxis.label])
    outline: Any = bar.outline  # the stubs take it for a method
    outline.set_visible(False)
