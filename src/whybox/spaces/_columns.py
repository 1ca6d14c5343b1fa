"""Explained rows and background rows side by side: checked once, brought to common dtypes exactly, and composed by coalition."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import concat_rows, is_numpy, namespace, promote, row_digests, to_numpy, value_bits
from whybox._buffer import Buffer
from whybox._cells import cell_texts
from whybox._devices import send
from whybox.typing import Array, Bools, Ints, Rows

_BITS_BYTES = 16 << 20  # of a mask as wide as the cells, which is kept
_KEPT = 16  # masks: where each instance has coalitions of its own, keeping them is in vain
_PIECE_BYTES = 1 << 20  # composed at once: the second pass finds them in the cache
_LOOP_BYTES = 8000  # of the innermost loop of composing: shorter ones are slower


class Columns(Protocol):
    """n explained rows and b background rows over the same d columns."""

    @property
    def n(self) -> int:
        """Explained rows."""

    @property
    def b(self) -> int:
        """Background rows."""

    @property
    def d(self) -> int:
        """Columns."""

    def block(self, instances: Ints, mask: Bools, draws: slice) -> Rows:
        """Rows of every instance (n_i,) with every mask (m, d) and these draws, in this nesting."""

    def pick(self, instances: Ints, mask: Bools, draws: Ints) -> Rows:
        """Row by row: instance (r,), mask (r, d), draw (r,)."""

    def gather(self, donors: Ints) -> Rows:
        """Cell by cell: donors (r, d) are background rows, or b plus the position of a row of x."""

    def explained(self, start: int, stop: int) -> Rows:
        """Rows of x as they are."""

    def cells(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """(n, d) and (b, d): an integer for each cell, equal exactly for identical values of a column."""

    def digest(self) -> str:
        """Identifies the content, for checkpoints."""


def cell_codes(values: Any) -> NDArray[np.uint64]:
    """(n,) integers, equal exactly for identical values of one column: bits of floats (0.0 is not -0.0), type and content of objects.

    Args:
        values: (n,) NumPy array or array of pandas.
    """
    import pandas as pd

    dtype = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biufmM" and dtype.itemsize <= 8:
        return value_bits(values)
    if isinstance(dtype, np.dtype) and dtype.kind in "OfcV":  # objects, and numbers that are wider than an integer
        values = cell_texts(values)
    elif pd.api.types.is_float_dtype(dtype):  # nullable: what stands under a missing value says nothing
        missing = np.asarray(pd.isna(values), dtype=bool)
        bits = value_bits(np.asarray(values.to_numpy(np.float64, na_value=0.0)))
        values = np.where(missing, "", bits.astype(str))
    try:
        return np.asarray(pd.factorize(values, use_na_sentinel=False)[0]).astype(np.uint64)
    except (TypeError, NotImplementedError):  # lists and records of Arrow, which have no hash
        return cell_codes(np.asarray(values, dtype=object))


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
            rows, filled = (np.ascontiguousarray(part) for part in (np.tile(self.x[instances], (1, b)), background.reshape(-1)))
            together = self._together(b)
            if together == 0 or mask.size * together * self.x.itemsize > _BITS_BYTES:
                return np.where(self._widened(mask, b)[None], rows[:, None, :], filled).reshape(-1, d)
            # filled ^ (mask & (rows ^ filled)): bytes go through as they are, and unlike a choice it has no branches
            wide, theirs = self._widened(mask, together, bits=True), filled.view(np.uint8)
            differing = (rows.view(np.uint8) ^ theirs).reshape(len(rows), -1, wide.shape[1])
            theirs = theirs.reshape(differing.shape[1:])
            out = self.__dict__.setdefault("_buffer", Buffer()).bytes(len(rows) * len(mask) * theirs.size)
            out = out.reshape(len(rows), len(mask), *theirs.shape)
            masks = min(max(_PIECE_BYTES // max(theirs.size, 1), 1), max(len(mask), 1))
            several = max(_PIECE_BYTES // max(theirs.size * masks, 1), 1) if masks == len(mask) else 1
            for i, j in product(range(0, len(rows), several), range(0, len(mask), masks)):
                piece = out[i : i + several, j : j + masks]
                np.bitwise_and(wide[j : j + masks, None, :], differing[i : i + several, None], out=piece)
                np.bitwise_xor(piece, theirs, out=piece)
            return out.reshape(-1).view(self.x.dtype).reshape(-1, d)
        xp = namespace(self.x)
        rows = self._chosen(self.x, instances)[:, None, None, :]
        keep = self._on_device(mask)[None, :, None, :]
        return xp.reshape(xp.where(keep, rows, background[None, None, :, :]), (-1, d))

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


def _plain(column: Any) -> Any:
    """A frame's column without pandas' wrapper around NumPy arrays."""
    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array


@dataclass(frozen=True)
class FrameColumns:
    """Columns of a DataFrame, each in its own dtype: strings, categories, nullable, dates and NaN reach the model as they are.

    Args:
        x: (n, d) DataFrame.
        background: (b, d) DataFrame with the same columns, order and dtypes.
    """

    x: Any
    background: Any

    def __post_init__(self) -> None:
        kinds: dict[Any, list[int]] = {}
        for j, dtype in enumerate(self.x.dtypes):
            plain = isinstance(dtype, np.dtype) and dtype.kind in "biufMm"
            kinds.setdefault(dtype if plain else ("extension", j), []).append(j)
        blocks: list[tuple[Ints, ArrayColumns | None, Any]] = []
        for where in kinds.values():
            part, back = self.x.iloc[:, where], self.background.iloc[:, where]
            if isinstance(self.x.dtypes.iloc[where[0]], np.dtype) and self.x.dtypes.iloc[where[0]].kind in "biufMm":
                blocks.append((np.array(where), ArrayColumns(part.to_numpy(), back.to_numpy()), None))
            else:
                blocks.append((np.array(where), None, concat_rows([part, back]).iloc[:, 0].array))
        object.__setattr__(self, "_blocks", blocks)

    @property
    def n(self) -> int:
        """Explained rows."""
        return len(self.x)

    @property
    def b(self) -> int:
        """Background rows."""
        return len(self.background)

    @property
    def d(self) -> int:
        """Columns."""
        return int(self.x.shape[1])

    def block(self, instances: Ints, mask: Bools, draws: slice) -> Rows:
        """See :class:`Columns`."""
        k = np.arange(self.b, dtype=np.int64)[draws]
        n, m, b = len(instances), len(mask), len(k)
        rows = np.broadcast_to(instances[:, None, None], (n, m, b)).reshape(-1)
        drawn = np.broadcast_to(k[None, None, :], (n, m, b)).reshape(-1)

        def spread(where: Ints) -> Bools:
            return np.broadcast_to(mask[None, :, None, where], (n, m, b, len(where))).reshape(-1, len(where))

        return self._assemble(
            [
                columns.block(instances, mask[:, where], draws)
                if columns is not None
                else values.take(np.where(spread(where)[:, 0], rows, self.n + drawn))
                for where, columns, values in self._blocks  # type: ignore[attr-defined]  # set in __post_init__
            ],
            n * m * b,
        )

    def pick(self, instances: Ints, mask: Bools, draws: Ints) -> Rows:
        """See :class:`Columns`."""
        return self._assemble(
            [
                columns.pick(instances, mask[:, where], draws)
                if columns is not None
                else values.take(np.where(mask[:, where[0]], instances, self.n + draws))
                for where, columns, values in self._blocks  # type: ignore[attr-defined]
            ],
            len(instances),
        )

    def gather(self, donors: Ints) -> Rows:
        """See :class:`Columns`."""
        place = np.where(donors >= self.b, donors - self.b, self.n + donors)
        blocks = self._blocks  # type: ignore[attr-defined]
        parts = [
            columns.gather(donors[:, where]) if columns is not None else values.take(place[:, where[0]])
            for where, columns, values in blocks
        ]
        return self._assemble(parts, len(donors))

    def _assemble(self, parts: list[Any], rows: int) -> Rows:
        import pandas as pd

        names = self.x.columns.view()  # no list, of which tuples would come back as another kind of index; the model may rename it
        blocks = self._blocks  # type: ignore[attr-defined]
        if len(blocks) == 1 and blocks[0][1] is not None:
            return pd.DataFrame(parts[0], columns=names, copy=False)
        columns: list[Any] = [None] * len(names)
        for (where, array, _), part in zip(blocks, parts, strict=True):
            for i, j in enumerate(where.tolist()):
                columns[j] = part[:, i] if array is not None else part
        frame = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(rows), copy=False)
        frame.columns = names
        return frame

    def explained(self, start: int, stop: int) -> Rows:
        """See :class:`Columns`."""
        return self.x.iloc[start:stop].reset_index(drop=True)

    def cells(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """See :class:`Columns`."""
        both = concat_rows([self.x, self.background])
        codes = np.stack([cell_codes(_plain(both.iloc[:, j])) for j in range(self.d)], axis=1)
        return codes[: self.n], codes[self.n :]

    def digest(self) -> str:
        """See :class:`Columns`."""
        state = hashlib.sha256(repr((list(self.x.columns), [str(t) for t in self.x.dtypes])).encode())
        for frame in (self.x, self.background):
            state.update(row_digests(frame).tobytes())
        return state.hexdigest()


def same_dtype(x: NDArray[Any], background: NDArray[Any]) -> ArrayColumns:
    """NumPy columns in a dtype that holds both exactly, see :func:`whybox._arrays.promote`."""
    return ArrayColumns(*promote(x, background, "x and background"))
