"""What explained rows and background rows side by side can do, whatever holds them, and integers that tell their cells apart."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import value_bits
from whybox._cells import cell_texts
from whybox.typing import Bools, Ints, Rows


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
