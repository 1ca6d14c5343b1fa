"""Images beside their overlays: in HTML, and as a PNG file."""

from __future__ import annotations

from base64 import b64encode
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import OptionError
from whybox.explanations._escape import escape
from whybox.explanations._overlay import NEGATIVE, POSITIVE, Picture, below, beside, fitted, overlay, pixels, png, visible
from whybox.explanations._save import atomic
from whybox.explanations._view import batch, fixed

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution


def is_image(e: Attribution, row: int) -> bool:
    """Whether a row of an explanation with a row axis is an image whose segments have places."""
    return e.inputs is not None and isinstance(e.inputs[row], np.ndarray)


def need_images(e: Attribution, what: str) -> None:
    """Refuse explanations of anything else.

    Raises:
        OptionError: a row is no image.
    """
    other = [i for i in range(len(e)) if not is_image(e, i)]
    if other or not len(e):
        raise OptionError(
            f"{what}: shows explanations of images by their segments (space=Segments(...)), and this is one of other features"
        )


def largest(e: Attribution, rows: Any) -> float:
    """The size of the largest attribution of these rows: the deepest colour."""
    return max((float(np.nanmax(np.abs(e.values[i]), initial=0.0)) for i in rows), default=0.0)


def tinted(e: Attribution, row: int, limit: float, **sides: int) -> tuple[Picture, list[Picture]]:
    """One image, and its overlay for each output, each pixel shown as whole pixels."""
    image, labels = (fitted(part, **sides) for part in (e.inputs[row], e.marks[row]))
    values: NDArray[np.float64] = e.values[row].reshape(len(e.values[row]), -1)
    return pixels(visible(image)), [overlay(image, labels, values[:, k], limit) for k in range(values.shape[1])]


def html(e: Attribution, row: int, limit: float | None = None, *, least: int = 224, most: int = 320) -> str:
    """One image of an explanation of one output, and its overlay.

    Args:
        e: with a row axis.
        row: which image.
        limit: the attribution of the deepest colour; None takes the image's own largest.
        least: pixels of the longer side, at least; small images are enlarged.
        most: pixels of the longer side, about at most.
    """
    image, overlays = tinted(e, row, largest(e, [row]) if limit is None else limit, least=least, most=most)
    shown = (("the image", image), ("its segments, coloured by attribution", overlays[0]))
    sources = (f'<img src="data:image/png;base64,{b64encode(png(part)).decode()}" alt="{escape(name)}">' for name, part in shown)
    return f'<div class="pictures">{"".join(sources)}</div>'


def legend(name: str | None, limit: float, digits: int) -> str:
    """What the colours say."""
    what = "the output" if name is None else name
    marks = ((POSITIVE, "raises", "+"), (NEGATIVE, "lowers", "−"))
    shown = [
        f'<mark style="background:rgba({r},{g},{b},.55)">{word}</mark> {escape(what)} (deepest: {sign}{fixed(limit, digits)})'
        for (r, g, b), word, sign in marks
    ]
    return f'<p class="cost">{", ".join(shown)}</p>'


def to_png(e: Attribution, path: str | PathLike[str]) -> None:
    """Write the images of an explanation beside their overlays, one line an image, one overlay an output."""
    e = batch(e)
    need_images(e, "to_png")
    limit = largest(e, range(len(e)))
    lines = []
    for row in range(len(e)):
        image, overlays = tinted(e, row, limit)
        lines.append(beside([image, *overlays]))
    with atomic(path) as file:
        file.write(png(below(lines)))
