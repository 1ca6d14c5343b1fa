"""Segments of images: what an image shows here or there, left out or kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from whybox._arrays import is_array
from whybox.errors import InputError, OptionError
from whybox.spaces import _fills, _label_maps
from whybox.spaces._images import Channels, as_images
from whybox.spaces._segments_bound import SegmentsBound, place
from whybox.typing import Model

_SEGMENTS = 50


@dataclass(frozen=True)
class Segments:
    """A coalition keeps its segments of an image; the others are blurred, or filled with a mean, a colour or background images.

    An explained row is an image: (h, w), (h, w, c) or (c, h, w), of any number of channels, integers or floats, in NumPy, torch or another
    array library. The model gets images of the same shape, dtype, range and library; nothing is rescaled or transposed.

    Args:
        by: how images are cut: "grid" (default), "slic" or "quickshift" (superpixels, extra ``image``); a function of one image (h, w) or
            (h, w, c) that returns its (h, w) labels; an (h, w) label map for all images, or a sequence of maps, one an image. Labels from
            0 on are segments; pixels with a negative label never vary.
        n_segments: about how many, for "grid" and "slic". Default 50, or one a pixel in smaller images.
        fill: what a left-out segment shows: "blur" (default: the image under a Gaussian blur, by three running means, as wide as the side
            of a segment of mean size), "mean" (its own mean colour, as lime does), a number or one a channel (a colour in the images' own
            units), a background image, or several (b, ...), over which the outputs are averaged.
        channels: "last" for (h, w, c), "first" for (c, h, w), "none" for (h, w); None (default) looks, and asks where it cannot be told.
        shape: for models on flattened images, the shape of one, such as (8, 8): x is then (n, h * w), as the model takes it.

    Raises:
        OptionError: an option has a value that does not exist.

    Source: lime's images (Ribeiro, Singh and Guestrin 2016, section 3.4); "blur" follows Fong and Vedaldi (2017).

    Example:
        >>> import whybox as wb
        >>> images = np.zeros((1, 6, 6))
        >>> images[0, :3, :3] = 1.0
        >>> bright = lambda rows: rows.mean(axis=(1, 2))
        >>> wb.ExactSHAP(bright, space=Segments(n_segments=4, fill=0.0)).explain(images)[0].values
        array([0.25, 0.  , 0.  , 0.  ])
    """

    by: Literal["grid", "slic", "quickshift"] | Callable[[Any], Any] | Any = "grid"
    n_segments: int | None = field(default=None, kw_only=True)
    fill: Literal["blur", "mean"] | Any = field(default="blur", kw_only=True, repr=False)
    channels: Channels | None = field(default=None, kw_only=True)
    shape: tuple[int, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.by, str):
            if self.by not in ("grid", "slic", "quickshift"):
                raise OptionError(f'by: expected "grid", "slic", "quickshift", a function or label maps, got {self.by!r}')
        elif not callable(self.by) and not is_array(self.by) and not isinstance(self.by, (list, tuple)):
            raise OptionError(f'by: expected "grid", "slic", "quickshift", a function or label maps, got {self.by!r}')
        count: Any = self.n_segments
        if count is not None:
            if not isinstance(self.by, str) or self.by == "quickshift":
                raise OptionError(f'n_segments: only by="grid" and by="slic" take a number, and by is {_named(self.by)}; leave it out')
            if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
                raise OptionError(f"n_segments: expected a whole number of at least 1, got {count!r}")
        if isinstance(self.fill, str) and self.fill not in ("blur", "mean"):
            raise OptionError(f'fill: expected "blur", "mean", a colour or background images, got {self.fill!r}')
        if self.fill is None or isinstance(self.fill, bool):
            raise OptionError(f'fill: expected "blur", "mean", a colour or background images, got {self.fill!r}')
        if self.channels is not None and self.channels not in get_args(Channels):
            raise OptionError(f'channels: expected "last", "first", "none" or None, got {self.channels!r}')
        if self.shape is not None and (
            not isinstance(self.shape, tuple)
            or len(self.shape) not in (2, 3)
            or not all(isinstance(side, (int, np.integer)) and side > 0 for side in self.shape)
        ):
            raise OptionError(f"shape: expected the shape of one image, such as (8, 8) or (32, 32, 3), got {self.shape!r}")

    def bind(self, x: Any, model: Model) -> SegmentsBound:
        """Check the images, cut them, and match the fill.

        Raises:
            InputError: x holds no images, the label maps do not fit, or the fill does not.
        """
        images = as_images(x, self.channels, self.shape)
        fill = _fills.match(self.fill, images)
        stacked = not isinstance(images.items, list)
        shapes = [images.host(i).shape[:2] for i in range(1 if stacked else images.n)]
        sizes = [(int(h), int(w)) for h, w in shapes] * (images.n if stacked else 1)
        pixels = min(h * w for h, w in sizes)
        if self.n_segments is not None and self.n_segments > pixels:
            raise InputError(f"n_segments: {self.n_segments} segments of an image of {pixels} pixels; ask for fewer")
        maps = _label_maps.maps_of(self.by, self.n_segments or min(_SEGMENTS, pixels), sizes, images.host, alike=stacked)
        return SegmentsBound(images, place(images, model), tuple(maps), fill, model)


def _named(by: Any) -> str:
    return repr(by) if isinstance(by, str) else "a function" if callable(by) else "label maps"
