"""Pixels of two images chosen by segment, exactly and fast: on the host by bits, elsewhere by the library's own ``where``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_numpy, is_torch, namespace
from whybox._devices import send
from whybox.typing import Array, Bools, Ints, Rows


@dataclass(frozen=True)
class Layout:
    """Where the segments lie among the cells (pixels times channels, in memory order) of an image.

    Args:
        cells: (cells,) the segment of each; d for cells that never vary.
        d: segments.
    """

    cells: Ints
    d: int
    _there: list[Array] = field(default_factory=list, repr=False, compare=False)

    def cells_like(self, like: Array) -> Array:
        """The cells' segments in the library and on the device of the images, sent there once."""
        if not self._there:
            self._there.append(send(self.cells, like))
        return self._there[0]

    @cached_property
    def runs(self) -> tuple[Ints, Ints]:
        """Neighbouring cells of one segment: the segments, and how many cells each run has."""
        starts = np.concatenate([[0], np.flatnonzero(np.diff(self.cells)) + 1])
        return self.cells[starts], np.diff(np.append(starts, len(self.cells)))


class Canvas(Protocol):
    """Images of one shape, library, dtype and device."""

    def cells(self, images: Array) -> Array:
        """(k, ...) images as (k, cells)."""

    def mask(self, codes: Bools, layout: Layout) -> Array:
        """(m, d) codes as (m, cells): which cells are kept."""

    def against(self, kept: Array, filled: Array) -> Array:
        """What ``choose`` takes for the kept cells: (n, cells) and (n or 1, b, cells) to (n, b or 1, cells)."""

    def choose(self, mask: Array, kept: Array, filled: Array) -> Array:
        """Cells of ``kept`` (as ``against`` gives them) where the mask says so, else of ``filled``; all broadcast. The mask is used up."""

    def rows(self, cells: Array) -> Rows:
        """(..., cells) as images of the model's own."""


def canvas(like: Array, shape: tuple[int, ...]) -> Canvas:
    """The canvas for arrays like this one.

    Args:
        like: an array of the library, dtype and device.
        shape: of one row.
    """
    if is_numpy(like):
        return HostCanvas(shape, like.dtype, torch_dtype=None)
    if is_torch(like) and like.device.type == "cpu":
        return HostCanvas(shape, np.dtype(f"i{like.element_size()}"), torch_dtype=like.dtype)
    return LibraryCanvas(shape, like)


@dataclass(frozen=True)
class HostCanvas:
    """NumPy arrays and torch tensors on the CPU.

    A cell is chosen by its bits, ``filled ^ (mask & (kept ^ filled))`` with a mask of all ones or all zeros: exact for every value, NaN
    included, and a third of the time of ``where``, because mask and result share their memory.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    torch_dtype: Any

    @property
    def _bits(self) -> np.dtype[Any]:
        return np.dtype(f"i{self.dtype.itemsize}")

    def cells(self, images: Array) -> NDArray[Any]:
        """A view of the images' bits where their memory is in order, otherwise a copy."""
        if self.torch_dtype is not None:
            torch = sys.modules["torch"]
            host = images.detach().contiguous().view(getattr(torch, f"int{8 * self.dtype.itemsize}")).numpy()
        else:
            host = np.ascontiguousarray(images).view(self._bits)
        return np.asarray(host).reshape(len(images), -1)

    def mask(self, codes: Bools, layout: Layout) -> NDArray[Any]:
        """All ones or all zeros in every cell."""
        segments, lengths = layout.runs
        ones = np.full((len(codes), layout.d + 1), -1, dtype=self._bits)
        ones[:, : layout.d] = -codes.astype(self._bits)
        return np.repeat(ones[:, segments], lengths, axis=1)

    def against(self, kept: NDArray[Any], filled: NDArray[Any]) -> NDArray[Any]:
        """The bits in which they differ."""
        return np.asarray(kept[:, None] ^ filled)

    def choose(self, mask: NDArray[Any], kept: NDArray[Any], filled: NDArray[Any]) -> NDArray[Any]:
        """By bits."""
        fits = mask.shape == np.broadcast_shapes(mask.shape, kept.shape)
        chosen: NDArray[Any] = np.bitwise_and(mask, kept, out=mask if fits else None)
        chosen ^= filled
        return chosen

    def rows(self, cells: NDArray[Any]) -> Rows:
        """Images of the given dtype, in the same memory."""
        images = cells.reshape(-1, *self.shape)
        if self.torch_dtype is None:
            return images.view(self.dtype)
        return sys.modules["torch"].from_numpy(images).view(self.torch_dtype)


@dataclass(frozen=True)
class LibraryCanvas:
    """Arrays of any other library or device, composed where they are; only codes go over."""

    shape: tuple[int, ...]
    like: Array

    def cells(self, images: Array) -> Array:
        """The images, flattened."""
        return namespace(images).reshape(images, (images.shape[0], -1))

    def mask(self, codes: Bools, layout: Layout) -> Array:
        """Truth values."""
        kept = np.concatenate([codes, np.ones((len(codes), 1), dtype=bool)], axis=1)
        return namespace(self.like).take(send(kept, self.like), layout.cells_like(self.like), axis=1)

    def against(self, kept: Array, filled: Array) -> Array:
        """The kept cells themselves."""
        return kept[:, None, :]

    def choose(self, mask: Array, kept: Array, filled: Array) -> Array:
        """By ``where``."""
        return namespace(filled).where(mask, kept, filled)

    def rows(self, cells: Array) -> Rows:
        """The images."""
        return namespace(cells).reshape(cells, (-1, *self.shape))
