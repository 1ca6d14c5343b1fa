"""What may come in as images: arrays of images of one shape, lists of images of several, flattened images; channels last, first or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_array, is_frame, is_numpy, is_series, is_sparse, is_torch, namespace, to_numpy
from whybox.errors import InputError, SchemaError, ShapeError
from whybox.typing import Array

Channels = Literal["last", "first", "none"]
_USUAL = (1, 3, 4)  # grey, RGB, RGBA


@dataclass(frozen=True)
class Images:
    """Checked images.

    Args:
        items: (n, ...) array, or a list of arrays where shapes differ.
        channels: where the channels are: "last", "first" or "none".
        shape: for flattened images, the shape of one; None where the rows are images.
    """

    items: Array | list[Array]
    channels: Channels
    shape: tuple[int, ...] | None

    @property
    def n(self) -> int:
        """Images."""
        return len(self.items) if isinstance(self.items, list) else int(self.items.shape[0])

    def host(self, i: int) -> NDArray[Any]:
        """Image i as NumPy array: (h, w), or (h, w, c) with channels last whatever the layout."""
        return self.channels_last(self.raw(i))

    def raw(self, i: int) -> NDArray[Any]:
        """Image i as NumPy array in its own layout."""
        image = to_numpy(self.items[i] if isinstance(self.items, list) else self.items[i, ...])
        return image if self.shape is None else image.reshape(self.shape)

    def channels_last(self, image: NDArray[Any]) -> NDArray[Any]:
        """An image in its own layout, with channels last."""
        return np.moveaxis(image, 0, -1) if self.channels == "first" else image

    def own_layout(self, image: NDArray[Any]) -> NDArray[Any]:
        """An image with channels last, in the layout of these."""
        return np.moveaxis(image, -1, 0) if self.channels == "first" else image


def as_images(x: Any, channels: Channels | None, shape: tuple[int, ...] | None) -> Images:
    """Images of x, checked.

    Args:
        x: (n, h, w), (n, h, w, c) or (n, c, h, w) array of any library; a sequence of images; or (n, h * w * c) with ``shape``.
        channels: where channels are, or None to look.
        shape: of one image, where x holds flattened ones.

    Raises:
        InputError: no images, or cells that are no numbers.
        ShapeError: other axes than these, or axes that could be several things.
        SchemaError: flattened images of another size than ``shape``.
    """
    items = _items(x)
    first = items[0] if isinstance(items, list) else items[0, ...]
    if shape is not None:
        if isinstance(items, list) or first.ndim != 1:
            raise ShapeError(f"x: with shape={shape} expected flattened images (n, {int(np.prod(shape))}), got {_shape_of(items)}")
        if first.shape[0] != np.prod(shape):
            if first.shape[0] == 0:
                raise InputError("x: has no columns; expected the pixels of an image in every row")
            raise SchemaError(f"x: with shape={shape} expected {int(np.prod(shape))} numbers an image, got {first.shape[0]}")
        channels = _channels(shape, channels, "shape", torch=False)
    else:
        channels = _same_channels(items, channels)
    for image in items if isinstance(items, list) else [items]:
        if 0 in image.shape:
            raise InputError(f"x: an image of shape {tuple(image.shape)} has no pixels")
        name = image.dtype.name if is_numpy(image) else str(image.dtype).rpartition(".")[2]
        if not name.startswith(("float", "bfloat", "int", "uint", "bool")) or name in ("float96", "float128"):
            raise InputError(f"x: expected pixels that are numbers of at most 8 bytes, got dtype {image.dtype}; convert the images")
    return Images(items, channels, shape)


def _items(x: Any) -> Array | list[Array]:
    what = "expected images: an array (n, h, w), (n, h, w, c) or (n, c, h, w), or a list of images"
    if x is None or isinstance(x, (str, bytes, int, float)) or is_frame(x) or is_series(x) or is_sparse(x):
        raise InputError(f"x: {what}; got {type(x).__name__}")
    if isinstance(x, np.ndarray) and x.dtype == object and x.ndim == 1:
        x = list(x)
    if not is_array(x):
        if not isinstance(x, Sequence):
            raise InputError(f"x: {what}; got {type(x).__name__}")
        x = _listed(x)
    if isinstance(x, list):
        return x
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise InputError("x: has masked pixels, which only masked arrays know; fill them, for example x.filled(0)")
    if x.ndim == 0:
        raise InputError(f"x: {what}; got a single number")
    if x.shape[0] == 0:
        raise InputError("x: has no images; expected at least one")
    if x.ndim == 1:
        raise ShapeError(f"x: {what}; got shape {tuple(x.shape)}")
    return np.asarray(x, dtype=x.dtype.newbyteorder("=")) if is_numpy(x) else x


def _listed(x: Sequence[Any]) -> Array | list[Array]:
    """A list of images as one array where all are alike, else as a list of arrays."""
    if not len(x):
        raise InputError("x: has no images; expected at least one")
    images = [item if is_array(item) else _one(item) for item in x]
    kinds = {(type(image), tuple(image.shape), str(image.dtype), str(getattr(image, "device", ""))) for image in images}
    if len(kinds) == 1:
        return np.stack(images) if is_numpy(images[0]) else namespace(images[0]).stack(images)
    if len({kind[0] for kind in kinds}) > 1:
        raise InputError("x: a list with images of several array libraries; convert them to one")
    if any(image.ndim < 2 for image in images):
        shapes = sorted({tuple(image.shape) for image in images})
        raise ShapeError(f"x: expected images (h, w), (h, w, c) or (c, h, w), got shapes {shapes[:4]}")
    return images


def _one(item: Any) -> NDArray[Any]:
    try:
        image = np.asarray(item)  # nested lists, and what speaks the array interface, such as PIL images
    except ValueError as error:
        raise ShapeError("x: an image's rows have different lengths; expected rectangular images") from error
    if image.dtype.kind not in "buif":
        raise InputError(f"x: expected images of numbers, got an item of type {type(item).__name__} with dtype {image.dtype}")
    return image


def _shape_of(items: Array | list[Array]) -> str:
    return "a list of images of several shapes" if isinstance(items, list) else f"shape {tuple(items.shape)}"


def _same_channels(items: Array | list[Array], channels: Channels | None) -> Channels:
    if not isinstance(items, list):
        return _channels(tuple(items.shape[1:]), channels, "x", torch=is_torch(items), n=int(items.shape[0]))
    found = {_channels(tuple(image.shape), channels, "x", torch=is_torch(image)) for image in items}
    if len(found) > 1:
        raise ShapeError(f"x: the images have their channels at different places ({', '.join(sorted(found))}); convert them to one layout")
    layout = found.pop()
    counts = {image.shape[-1 if layout == "last" else 0] for image in items} if layout != "none" else {1}
    if len(counts) > 1:
        raise ShapeError(f"x: the images have between {min(counts)} and {max(counts)} channels; convert them to one number")
    return layout


def _channels(shape: tuple[int, ...], channels: Channels | None, what: str, *, torch: bool, n: int | None = None) -> Channels:
    """Where the channels of an image of this shape are.

    Raises:
        ShapeError: not two or three axes, or it cannot be told.
    """
    came = f"{what}: images of shape {shape}"
    if len(shape) not in (2, 3):
        raise ShapeError(f"{what}: expected images of 2 or 3 axes, (h, w), (h, w, c) or (c, h, w), got {shape}; a single image is x[None]")
    if len(shape) == 2:
        if channels in ("last", "first"):
            raise ShapeError(f'{came} have no axis for channels={channels!r}; a single colour image is x[None], grey ones channels="none"')
        single = n is not None and (shape[-1] in _USUAL[1:] or (torch and n in _USUAL))
        if channels is None and single:
            raise ShapeError(
                f"{what}: shape {(n, *shape)} may be one colour image or {n} grey; pass x[None] for the one, "
                'or Segments(channels="none") for the other'
            )
        return "none"
    if channels == "none":
        raise ShapeError(f'{came} have three axes, and channels="none" says that they have no channels')
    if channels is not None:
        return channels
    last, first = shape[-1] in _USUAL, shape[0] in _USUAL
    if last == first:
        raise ShapeError(
            f'{came}: it cannot be told which axis holds the channels; pass Segments(channels="last") for (h, w, c) or '
            'channels="first" for (c, h, w)'
        )
    return "last" if last else "first"
