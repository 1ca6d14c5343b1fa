"""What stands where a segment is left out: the image blurred, the segment's mean, a colour, or background images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from whybox._arrays import is_array, to_numpy
from whybox.errors import InputError, ShapeError
from whybox.spaces._images import Images
from whybox.spaces._label_maps import LabelMap


@dataclass(frozen=True)
class Fill:
    """A fill, matched with the images.

    Args:
        kind: "blur", "mean" or "given".
        given: images (b, ...) in the layout and dtype of the images, or a colour that broadcasts to (1, ...); None where the fill is made
            of each image.
        draws: images that stand in for what is left out.
    """

    kind: str
    given: NDArray[Any] | None
    draws: int = 1

    def of(self, images: Images, i: int, labels: LabelMap) -> NDArray[Any]:
        """(b, ...) what stands in for the segments of image i, in the image's own layout."""
        if self.given is not None:
            return np.broadcast_to(self.given, (self.draws, *images.raw(i).shape))
        image = images.host(i)
        made = blurred(image, labels) if self.kind == "blur" else means(image, labels)
        return images.own_layout(made)[None]


def blurred(image: NDArray[Any], labels: LabelMap) -> NDArray[Any]:
    """A blur as wide as a segment is long, so that nothing a segment shows is left.

    Args:
        image: (h, w) or (h, w, c).
        labels: its segments; the standard deviation is the side of a square of their mean size, in pixels.
    """
    sigma = float(np.sqrt((labels.labels >= 0).sum() / labels.d))
    wide = image.astype(np.float64)
    for axis in (0, 1):
        for width in boxes(min(sigma, image.shape[axis])):  # beyond the image there is nothing more to average
            wide = ndimage.uniform_filter1d(wide, width, axis=axis, mode="nearest")
    return back(np.clip(wide, image.min(), image.max()), image.dtype)  # running sums round


def boxes(sigma: float) -> list[int]:
    """Widths of three running means that together blur as a Gaussian does, at a cost that does not grow with its width (Kovesi 2010).

    Example:
        >>> boxes(2.0), boxes(32.0)
        ([3, 3, 5], [63, 63, 65])
    """
    narrow = int(np.sqrt(4.0 * sigma**2 + 1.0))
    narrow -= narrow % 2 == 0
    few = round((3.0 * narrow**2 + 12.0 * narrow + 9.0 - 12.0 * sigma**2) / (4.0 * narrow + 4.0))
    return [narrow] * few + [narrow + 2] * (3 - few)


def means(image: NDArray[Any], labels: LabelMap) -> NDArray[Any]:
    """Each segment in its mean colour; pixels of no segment as they are."""
    flat, at = image.reshape(labels.labels.size, -1), labels.labels.reshape(-1)
    inside = at >= 0
    made = flat.copy()
    counts = np.bincount(at[inside], minlength=labels.d)
    for channel in range(flat.shape[1]):
        mean = np.bincount(at[inside], weights=flat[inside, channel].astype(np.float64), minlength=labels.d) / counts
        made[inside, channel] = back(mean, image.dtype)[at[inside]]
    return made.reshape(image.shape)


def back(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Averages of values of this dtype, rounded to it."""
    return np.rint(values).astype(dtype) if dtype.kind in "ui" else values.astype(dtype)


def match(fill: Any, images: Images) -> Fill:
    """A fill that fits the images.

    Args:
        fill: "blur", "mean", a number, c numbers, an image, or (b, ...) images.
        images: checked images.

    Raises:
        InputError: pixels that cannot be averaged, or values that the images' dtype cannot hold.
        ShapeError: neither a colour nor an image of theirs.
    """
    if isinstance(fill, str):
        for i in range(images.n):
            image = images.raw(i)
            if image.dtype == bool:
                raise InputError(
                    f"fill={fill!r}: the mean of True and False is neither; convert the images to uint8, or fill with a colour"
                )
            if image.dtype.kind == "f" and not np.isfinite(image).all():
                raise InputError(
                    f"fill={fill!r}: image {i} has NaN or infinite pixels, which an average would spread; fill with a colour or an image"
                )
        return Fill(fill, None)
    given = to_numpy(fill) if is_array(fill) else np.asarray(fill)
    shapes = {images.raw(i).shape for i in range(images.n)}
    dtype = images.raw(0).dtype
    if given.ndim <= 1:
        return Fill("given", _colour(given, images, dtype))
    if len(shapes) > 1:
        raise ShapeError('fill: background images for images of several shapes; fill with "blur", "mean" or a colour')
    shape = shapes.pop()
    if images.shape is not None and given.ndim == 2 and given.shape[1] == np.prod(shape) and given.shape != shape:
        given = given.reshape(-1, *shape)  # background images are flattened like the images
    if given.shape == shape:
        given = given[None]
    if given.shape[1:] != shape or not len(given):
        raise ShapeError(f"fill: expected a colour, an image of shape {shape} or several (b, *{shape}), got shape {given.shape}")
    return Fill("given", _held(given, dtype), len(given))


def _colour(given: NDArray[Any], images: Images, dtype: np.dtype[Any]) -> NDArray[Any]:
    c = 1 if images.channels == "none" else images.raw(0).shape[0 if images.channels == "first" else -1]
    if given.ndim == 1 and len(given) != c:
        hint = "; the fourth says how opaque it is" if c == 4 and len(given) == 3 else ""
        raise ShapeError(f"fill: expected one number, or one for each of the {c} channels, got {len(given)} numbers{hint}")
    if given.dtype.kind == "f" and dtype.kind == "f":
        given = given.astype(dtype)  # a colour is a written number: 0.1 means the float32 nearest to it
    given = _held(given, dtype)
    if given.ndim == 0 or images.channels == "none":
        return given.reshape(())
    return given.reshape(-1, 1, 1) if images.channels == "first" else given


def _held(given: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The same numbers in the images' dtype.

    Raises:
        InputError: it cannot hold them exactly.
    """
    if given.dtype.kind not in "buif":
        raise InputError(f'fill: expected "blur", "mean", numbers or images, got dtype {given.dtype}')
    with np.errstate(all="ignore"):
        cast = given.astype(dtype)
        same = (cast.astype(given.dtype) == given) | ((cast != cast) & (given != given))
        if given.dtype.kind in "ui" and dtype.kind in "ui" and dtype != given.dtype:
            same &= (cast < 0) == (given < 0)
    if not same.all():
        raise InputError(
            f"fill: {given[~same].reshape(-1)[0]!r} cannot be held exactly by {dtype}, the images' dtype; pass fill in that dtype"
        )
    return cast
