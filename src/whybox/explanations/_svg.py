"""Small inline SVG drawings: one bar, one strip. They hold numbers only, never text, and use the surrounding text's colour for lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whybox.typing import Floats

# Blue and vermilion are told apart by every common form of colour blindness; both stand out on white and on black.
POSITIVE, NEGATIVE, SIZE = "#d9602b", "#3a86c8", "#7f86ad"
OTHERS = "currentColor"  # a sum of many features has no colour of its own
_HEIGHT = 24.0


@dataclass(frozen=True)
class Scale:
    """Maps numbers to pixels.

    Args:
        low: number at the left edge.
        high: number at the right edge.
        width: pixels.
    """

    low: float
    high: float
    width: float

    @classmethod
    def around(cls, numbers: Floats, width: float) -> Scale:
        """A scale that holds all finite numbers, with a margin."""
        finite = numbers[np.isfinite(numbers)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        margin = (high - low) * 0.04 or max(abs(low), 1.0) * 0.04
        return cls(low - margin, high + margin, width)

    def __call__(self, number: float) -> float:
        """The pixel of a number; the edge for what is not on the scale."""
        share = (number - self.low) / (self.high - self.low) if np.isfinite(number) else 0.0
        return float(np.clip(share, 0.0, 1.0)) * self.width


def drawing(parts: list[str], width: float, height: float = _HEIGHT) -> str:
    """An svg element around drawn parts; it is hidden from screen readers, since the numbers stand beside it as text."""
    body = "".join(parts)
    return f'<svg aria-hidden="true" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">{body}</svg>'


def bar(scale: Scale, start: float, end: float, reach: float, *, links: bool = False, color: str = "") -> str:
    """A bar from start to end with an error bar of half-width reach (NaN: none) at its end.

    Args:
        scale: of the column.
        start: number where the bar begins.
        end: number where it ends.
        reach: half the interval, or NaN.
        links: draw dotted lines to the bars above and below, as in a waterfall.
        color: another colour than the sign's.
    """
    x0, x1 = scale(start), scale(end)
    color = color or (POSITIVE if end >= start else NEGATIVE)
    zero = f'<path d="M{scale(0.0):.1f} 0V24" stroke="currentColor" stroke-opacity=".35"/>'
    parts = [zero] if not links and scale.low < 0 < scale.high else []
    if links:
        line = '<path d="M{x:.1f} {a:g}V{b:g}" stroke="currentColor" stroke-opacity=".45" stroke-dasharray="2 2"/>'
        parts = [line.format(x=x0, a=0, b=5), line.format(x=x1, a=19, b=24)]
    opacity = ' fill-opacity=".45"' if color == OTHERS else ""
    parts.append(f'<rect x="{min(x0, x1):.1f}" y="5" width="{max(abs(x1 - x0), 1):.1f}" height="14" rx="1.5" fill="{color}"{opacity}/>')
    if np.isfinite(reach) and reach > 0:
        a, b = scale(end - reach), scale(end + reach)
        parts.append(f'<path d="M{a:.1f} 12H{b:.1f}M{a:.1f} 8V16M{b:.1f} 8V16" fill="none" stroke="currentColor" stroke-width="1.3"/>')
    return drawing(parts, scale.width)


def marker(scale: Scale, number: float) -> str:
    """Where a total stands: a vertical line."""
    x = scale(number)
    return drawing([f'<path d="M{x:.1f} 3V21" stroke="currentColor" stroke-width="2.5" stroke-linecap="round"/>'], scale.width)


def strip(scale: Scale, numbers: Floats, *, bins: int = 48) -> str:
    """How numbers are distributed: a histogram, coloured by sign, with a line at zero."""
    edges = np.linspace(scale.low, scale.high, bins + 1)
    counts, _ = np.histogram(numbers[np.isfinite(numbers)], edges)
    # A square root, so that the single row far out is still seen beside the hundred near zero.
    heights = np.sqrt(counts / max(int(counts.max(initial=0)), 1)) * 19
    step = scale.width / bins
    paths = {POSITIVE: "", NEGATIVE: ""}
    for i in np.flatnonzero(counts):
        color = POSITIVE if edges[i] + edges[i + 1] >= 0 else NEGATIVE
        paths[color] += f"M{i * step:.1f} 21V{21 - max(heights[i], 1.5):.1f}h{step * 0.86:.1f}V21z"
    parts = [f'<path d="{path}" fill="{color}"/>' for color, path in paths.items() if path]
    if scale.low < 0 < scale.high:
        parts.insert(0, f'<path d="M{scale(0.0):.1f} 1V23" stroke="currentColor" stroke-opacity=".35"/>')
    return drawing(parts, scale.width)
