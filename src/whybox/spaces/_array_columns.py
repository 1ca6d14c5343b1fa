"""Columns of one array, explained rows and background rows side by side, composed by coalition."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_numpy, namespace, promote, to_numpy, value_bits
from whybox._buffer import Buffer
from whybox._cells import cell_texts
from whybox._devices import send
from whybox.spaces._columns import cell_codes
from whybox.typing import Array, Bools, Ints, Rows

_BITS_BYTES = 16 << 20  # of a mask as wide as the cells, which is kept
_KEPT = 16  # masks: where each instance has coalitions of its own, keeping them is in vain
_PIECE_BYTES = 1 << 20  # composed at once: the second pass finds them in the cache
_LOOP_BYTES = 8000  # of the innermost loop of composing: shorter ones are slower


@dataclass(frozen=True)
class ArrayColumns:
    """Columns of one array: NumPy, or any library of the array API standard, composed in that library and on its device.

    Args:
        x: (n, d).
        background: (b, d), same library and dtype.
    """

    x: Array
    background: Array

    @property
    def n(self) -> int:
        """Explained rows."""
        return int(self.x.shape[0])

    @property
    def b(self) -> int:
        """Background rows."""
        return int(self.background.shape[0])

    @property
    def d(self) -> int:
        """Columns."""
        return int(self.x.shape[1])

    def block(self, instances: Ints, mask: Bools, draws: slice) -> Rows:
        """See :class:`Columns`. Draws and columns are laid side by side, so that the innermost loop is long: twice as fast."""
        background = self.background[draws, :]
        b, d = int(background.shape[0]), self.d
        if is_numpy(self.x):
            together = self._together(b)
            if together == 0 or mask.size * together * self.x.itemsize > _BITS_BYTES:
                rows, filled = np.tile(self.x[instances], (1, b)), background.reshape(-1)
                return np.where(self._widened(mask, b)[None], rows[:, None, :], filled).reshape(-1, d)
            # theirs ^ (mask & differing): bytes go through as they are, and unlike a choice it has no branches
            wide, (differing, theirs) = self._widened(mask, together, bits=True), self._differing(instances, draws, together)
            n = len(instances)
            out = self.__dict__.setdefault("_buffer", Buffer()).bytes(n * len(mask) * theirs.size).reshape(n, len(mask), *theirs.shape)
            masks = min(max(_PIECE_BYTES // max(theirs.size, 1), 1), max(len(mask), 1))
            several = max(_PIECE_BYTES // max(theirs.size * masks, 1), 1) if masks == len(mask) else 1
            for i, j in product(range(0, n, several), range(0, len(mask), masks)):
                piece = out[i : i + several, j : j + masks]
                np.bitwise_and(wide[j : j + masks, None, :], differing[i : i + several, None], out=piece)
                np.bitwise_xor(piece, theirs, out=piece)
            return out.reshape(-1).view(self.x.dtype).reshape(-1, d)
        xp = namespace(self.x)
        rows = self._chosen(self.x, instances)[:, None, None, :]
        keep = self._on_device(mask)[None, :, None, :]
        return xp.reshape(xp.where(keep, rows, background[None, None, :, :]), (-1, d))

    def _differing(self, instances: Ints, draws: slice, together: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(n_i, groups, bytes) in which bits the instances differ from each of these draws, as many a group as go together, and the draws.

        Those of a single instance are kept: its coalitions come in several batches where batches are small.
        """
        alone = (int(instances[0]), draws.start, draws.stop, together) if len(instances) == 1 else None
        key, found = self.__dict__.get("_alone", (None, None))
        if alone is not None and key == alone:
            kept: tuple[NDArray[np.uint8], NDArray[np.uint8]] = found
            return kept
        filled = np.ascontiguousarray(self.background[draws, :])
        rows = np.tile(self.x[instances], (1, len(filled)))
        theirs = filled.reshape(-1).view(np.uint8)
        differing = (rows.view(np.uint8) ^ theirs).reshape(len(rows), -1, together * self.d * self.x.itemsize)
        both = differing, theirs.reshape(differing.shape[1:])
        if alone is not None:
            self.__dict__["_alone"] = alone, both
        return both

    def _together(self, b: int) -> int:
        """For how many of b draws one mask is spelled out; 0 where a cell is more than its bits.

        As few as keep the innermost loop long: the mask then stays in the cache.
        """
        if self.x.dtype.kind not in "biufmM" or not b:
            return 0
        least = -(-_LOOP_BYTES // max(self.d * self.x.itemsize, 1))
        return next((count for count in range(min(least, b), b) if b % count == 0), b)

    def _widened(self, mask: Bools, b: int, *, bits: bool = False) -> NDArray[Any]:
        """(m, d) to (m, b * d), as bool, or as no and all bits of every byte of a cell.

        The last few are kept: the same coalitions come for every instance.
        """
        kept: dict[Any, tuple[Bools, NDArray[Any]]] = self.__dict__.setdefault("_kept", {})
        key = (mask.ctypes.data, mask.shape, mask.strides, b, bits)
        if key not in kept:
            cells = np.repeat(np.negative(mask.view(np.uint8)), self.x.itemsize, axis=1) if bits else mask
            wide = cells if b == 1 else np.repeat(cells, b, axis=0).reshape(len(mask), -1)
            while kept and (len(kept) >= _KEPT or sum(held.nbytes for _, held in kept.values()) + wide.nbytes > _BITS_BYTES):
                del kept[next(iter(kept))]
            kept[key] = mask, wide  # mask is held, so its address stays its own
        return kept[key][1]

    def pick(self, instances: Ints, mask: Bools, draws: Ints) -> Rows:
        """See :class:`Columns`."""
        if is_numpy(self.x):
            return np.where(mask, self.x[instances], self.background[draws])
        chosen = self._chosen(self.x, instances), self._chosen(self.background, draws)
        return namespace(self.x).where(self._on_device(mask), *chosen)

    def gather(self, donors: Ints) -> Rows:
        """See :class:`Columns`."""
        own, cells = donors >= self.b, np.arange(self.d)
        ours, theirs = np.where(own, donors - self.b, 0), np.where(own, 0, donors)
        if is_numpy(self.x):
            return np.where(own, self.x[ours, cells], self.background[theirs, cells])
        xp = namespace(self.x)
        parts = [
            xp.reshape(self._chosen(xp.reshape(part, (-1,)), (index * self.d + cells).reshape(-1)), donors.shape)
            for part, index in ((self.x, ours), (self.background, theirs))
        ]
        return xp.where(self._on_device(own), *parts)

    def explained(self, start: int, stop: int) -> Rows:
        """See :class:`Columns`."""
        part = self.x[start:stop, :]
        return part.copy() if is_numpy(part) else namespace(part).asarray(part, copy=True)

    def cells(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """See :class:`Columns`."""
        x, background = to_numpy(self.x), to_numpy(self.background)
        if x.dtype.kind in "biufmM" and x.dtype.itemsize <= 8:
            return value_bits(x), value_bits(background)
        both = np.concatenate([x, background])
        codes = np.stack([cell_codes(both[:, j]) for j in range(self.d)], axis=1)
        return codes[: self.n], codes[self.n :]

    def digest(self) -> str:
        """See :class:`Columns`."""
        state = hashlib.sha256()
        for array in (self.x, self.background):
            host = to_numpy(array)
            state.update(repr((host.shape, host.dtype.str)).encode())
            told = cell_texts(host.ravel(), lasting=True).tolist() if host.dtype == object else None
            state.update(np.ascontiguousarray(host).tobytes() if told is None else repr(told).encode())
        return state.hexdigest()

    def _on_device(self, host: NDArray[Any]) -> Array:
        return send(host, self.x)

    def _chosen(self, array: Array, index: Ints) -> Array:
        return namespace(array).take(array, self._on_device(index), axis=0)


def same_dtype(x: NDArray[Any], background: NDArray[Any]) -> ArrayColumns:
    """NumPy columns in a dtype that holds both exactly, see :func:`whybox._arrays.promote`."""
    return ArrayColumns(*promote(x, background, "x and background"))
