"""Which segment each pixel belongs to: a grid, superpixels, what the user's function says, or given maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_array, to_numpy
from whybox.errors import InputError, MissingDependencyError, ShapeError
from whybox.typing import Ints

Segmenter = Callable[[NDArray[Any]], Any]  # an image (h, w) or (h, w, c) to its (h, w) labels


@dataclass(frozen=True)
class LabelMap:
    """The segments of an image.

    Args:
        labels: (h, w) the segment of each pixel, 0 to d - 1; -1 where a pixel belongs to none.
        names: of the d segments.
    """

    labels: Ints
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        self.labels.setflags(write=False)  # explanations show it, and share it

    @property
    def d(self) -> int:
        """Segments."""
        return len(self.names)


def label_map(labels: Any, size: tuple[int, int], what: str) -> LabelMap:
    """A given label map, checked and numbered from 0.

    Args:
        labels: (h, w) integers; every value from 0 on is a segment, negative ones mark pixels that never vary.
        size: (h, w) of the image.
        what: names it for messages.

    Raises:
        ShapeError: not the shape of the image.
        InputError: no integers, or no segment at all.
    """
    array = to_numpy(labels) if is_array(labels) else np.asarray(labels)
    if array.dtype.kind not in "bui":
        raise InputError(
            f"{what}: expected whole numbers, one for each pixel, got dtype {array.dtype}; pass for example labels.astype(int)"
        )
    if array.shape != size:
        raise ShapeError(f"{what}: expected shape {size}, one label for each pixel, got {array.shape}")
    if array.dtype.kind == "u" and array.max() > np.iinfo(np.int64).max:
        raise InputError(f"{what}: labels above 2**63 do not fit; number the segments from 0")
    array = array.astype(np.int64)
    found = np.unique(array[array >= 0])
    if not len(found):
        raise InputError(f"{what}: covers nothing: every label is negative, so no pixel may vary; segments are numbered from 0")
    numbered = np.where(array >= 0, np.searchsorted(found, array), -1)
    return LabelMap(numbered, tuple(f"segment {label}" for label in found.tolist()))


def grid(size: tuple[int, int], n_segments: int) -> LabelMap:
    """Rectangles as square as can be, about so many.

    Example:
        >>> grid((4, 4), 4).labels
        array([[0, 0, 1, 1],
               [0, 0, 1, 1],
               [2, 2, 3, 3],
               [2, 2, 3, 3]])
    """
    h, w = size
    down = int(np.clip(round(np.sqrt(n_segments * h / w)), 1, min(h, n_segments)))
    across = int(np.clip(round(n_segments / down), 1, w))
    rows, columns = (np.arange(side) * parts // side for side, parts in ((h, down), (w, across)))
    names = tuple(f"row {i}, column {j}" for i in range(down) for j in range(across))
    return LabelMap((rows[:, None] * across + columns[None]).astype(np.int64), names)


def slic(image: NDArray[Any], n_segments: int) -> Any:
    """Superpixels by SLIC (Achanta et al. 2012), from scikit-image."""
    segmentation = _skimage('Segments(by="slic")')
    seen = _visible(image)
    return segmentation.slic(seen, n_segments=n_segments, start_label=0, channel_axis=-1 if seen.ndim == 3 else None)


def quickshift(image: NDArray[Any]) -> Any:
    """Superpixels by quickshift (Vedaldi and Soatto 2008) from scikit-image, with the settings that lime uses."""
    segmentation = _skimage('Segments(by="quickshift")')
    seen = _visible(image)
    if seen.ndim == 2:
        seen = np.repeat(seen[..., None], 3, axis=2)
    return segmentation.quickshift(seen, kernel_size=4, max_dist=200, ratio=0.2, convert2lab=seen.shape[2] == 3)


def _skimage(feature: str) -> Any:
    try:
        from skimage import segmentation
    except ImportError as error:
        raise MissingDependencyError("scikit-image", "image", feature) from error
    return segmentation


def _visible(image: NDArray[Any]) -> NDArray[np.float64]:
    """An image between 0 and 1, without transparency and without an axis of one channel, as segmenters take it."""
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise InputError("x: has NaN or infinite pixels, which no segmenter can compare; fill them, or pass a grid or a label map")
    if image.ndim == 3:
        image = image[..., 0] if image.shape[2] == 1 else image[..., :3] if image.shape[2] == 4 else image
    seen = image.astype(np.float64)
    if image.dtype == np.uint8:
        return seen / 255.0
    low, high = float(seen.min()), float(seen.max())
    if image.dtype.kind == "f" and low >= 0.0 and high <= 1.0:
        return seen
    return (seen - low) / (high - low) if high > low else np.zeros_like(seen)


def maps_of(
    by: Any, n_segments: int, sizes: Sequence[tuple[int, int]], image: Callable[[int], NDArray[Any]], *, alike: bool
) -> list[LabelMap]:
    """One map for all images, or one for each.

    Args:
        by: "grid", "slic", "quickshift", a function, an (h, w) map, or one map an image.
        n_segments: for "grid" and "slic".
        sizes: (h, w) of each image.
        image: gives image i, channels last.
        alike: all images have one size.
    """
    n = len(sizes)
    if isinstance(by, str) and by == "grid":
        made = {size: grid(size, n_segments) for size in dict.fromkeys(sizes)}
        return [made[sizes[0]]] if alike else [made[size] for size in sizes]
    if isinstance(by, str):
        found = (slic(image(i), n_segments) if by == "slic" else quickshift(image(i)) for i in range(n))
        return [label_map(labels, sizes[i], f"by={by!r}") for i, labels in enumerate(found)]
    if callable(by):
        return [label_map(by(_own(image(i))), sizes[i], f"by: the labels of image {i}") for i in range(n)]
    if not is_array(by) and isinstance(by, Sequence):
        by = [to_numpy(one) if is_array(one) else np.asarray(one) for one in by]
        by = np.stack(by) if len({one.shape for one in by}) == 1 else by
    if not isinstance(by, list) and by.ndim == 2:
        if not alike:
            raise ShapeError(f"by: one label map of shape {tuple(by.shape)} for images of several sizes; pass a list with one map an image")
        return [label_map(by, sizes[0], "by")]
    if len(by) != n:
        raise ShapeError(f"by: expected one label map (h, w), or one for each of the {n} images, got {len(by)}")
    return [label_map(by[i], sizes[i], f"by[{i}]") for i in range(n)]


def _own(image: NDArray[Any]) -> NDArray[Any]:
    """A copy that the user's function may write to."""
    return np.array(image)


def tree(labels: Ints, d: int) -> Any:
    """Segments in nested halves, as lists; leaves are positions of segments.

    Each list is cut across its longer side, at the median of its segments' centres. Two levels of a grid are its quarters.

    Args:
        labels: (h, w) labels, 0 to d - 1.
        d: segments.

    Example:
        >>> tree(np.array([[0, 1], [2, 3]]), 4)
        [[0, 1], [2, 3]]
    """
    rows, columns = np.nonzero(labels >= 0)
    at = labels[rows, columns]
    counts = np.bincount(at, minlength=d)
    centres = np.stack([np.bincount(at, weights=axis, minlength=d) / counts for axis in (rows, columns)], axis=1)

    def halves(some: NDArray[np.int64]) -> Any:
        if len(some) == 1:
            return int(some[0])
        extent = np.ptp(centres[some], axis=0)
        order = some[np.argsort(centres[some, int(extent[1] > extent[0])], kind="stable")]
        half = len(order) // 2
        return [halves(order[:half]), halves(order[half:])]

    return halves(np.arange(d, dtype=np.int64))
