"""Columns of data frames, explained rows and background rows side by side, composed by coalition."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import concat_rows, row_digests
from whybox.spaces._array_columns import ArrayColumns
from whybox.spaces._columns import cell_codes
from whybox.typing import Bools, Ints, Rows


def plain(column: Any) -> Any:
    """A frame's column without pandas' wrapper around NumPy arrays."""
    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array


def frame_of(columns: list[Any], names: Any) -> Any:
    """A DataFrame of columns (n,), arrays of NumPy and of pandas, each in the dtype that it has, with an index of column names.

    pandas looks into columns of objects and makes strings and dates of them, or not, by what a batch happens to hold.
    """
    import pandas as pd

    kept = [pd.Series(part, dtype=object, copy=False) if part.dtype == object else part for part in columns]
    frame = pd.DataFrame(dict(enumerate(kept)), index=pd.RangeIndex(len(columns[0])), copy=False)
    frame.columns = names
    return frame


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
            numeric = isinstance(dtype, np.dtype) and dtype.kind in "biufMm"
            kinds.setdefault(dtype if numeric else ("extension", j), []).append(j)
        blocks: list[tuple[Ints, ArrayColumns | None, Any]] = []
        for where in kinds.values():
            part, back = self.x.iloc[:, where], self.background.iloc[:, where]
            if isinstance(self.x.dtypes.iloc[where[0]], np.dtype) and self.x.dtypes.iloc[where[0]].kind in "biufMm":
                blocks.append((np.array(where), ArrayColumns(part.to_numpy(), back.to_numpy()), None))
            else:
                blocks.append((np.array(where), None, plain(concat_rows([part, back]).iloc[:, 0])))
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
            ]
        )

    def pick(self, instances: Ints, mask: Bools, draws: Ints) -> Rows:
        """See :class:`Columns`."""
        return self._assemble(
            [
                columns.pick(instances, mask[:, where], draws)
                if columns is not None
                else values.take(np.where(mask[:, where[0]], instances, self.n + draws))
                for where, columns, values in self._blocks  # type: ignore[attr-defined]
            ]
        )

    def gather(self, donors: Ints) -> Rows:
        """See :class:`Columns`."""
        place = np.where(donors >= self.b, donors - self.b, self.n + donors)
        blocks = self._blocks  # type: ignore[attr-defined]
        parts = [
            columns.gather(donors[:, where]) if columns is not None else values.take(place[:, where[0]])
            for where, columns, values in blocks
        ]
        return self._assemble(parts)

    def _assemble(self, parts: list[Any]) -> Rows:
        import pandas as pd

        names = self.x.columns.copy()  # no list, of which tuples would come back as another kind of index; the model may rename it
        blocks = self._blocks  # type: ignore[attr-defined]
        if len(blocks) == 1 and blocks[0][1] is not None:
            return pd.DataFrame(parts[0], columns=names, copy=False)
        columns: list[Any] = [None] * len(names)
        for (where, array, _), part in zip(blocks, parts, strict=True):
            for i, j in enumerate(where.tolist()):
                columns[j] = part[:, i] if array is not None else part
        return frame_of(columns, names)

    def explained(self, start: int, stop: int) -> Rows:
        """See :class:`Columns`."""
        return self.x.iloc[start:stop].reset_index(drop=True)

    def cells(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """See :class:`Columns`."""
        both = concat_rows([self.x, self.background])
        codes = np.stack([cell_codes(plain(both.iloc[:, j])) for j in range(self.d)], axis=1)
        return codes[: self.n], codes[self.n :]

    def digest(self) -> str:
        """See :class:`Columns`."""
        state = hashlib.sha256(repr((list(self.x.columns), [str(t) for t in self.x.dtypes])).encode())
        for frame in (self.x, self.background):
            state.update(row_digests(frame).tobytes())
        return state.hexdigest()
