"""Features replaced from a background: the interventional (marginal) game."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import cell_hashes, concat_rows, is_frame, is_numpy, is_series, namespace
from whybox._devices import send
from whybox.errors import InputError, OutputValueError, ShapeError
from whybox.spaces._array_columns import ArrayColumns
from whybox.spaces._blocks import blocks
from whybox.spaces._columns import Columns
from whybox.spaces._frame_columns import FrameColumns
from whybox.spaces._ingest import as_rows, join
from whybox.spaces._similarity import column_similarity
from whybox.spaces.hierarchy import similarity_tree
from whybox.typing import Array, Ask, Floats, Ints, Model, Rows

_TABLE_BYTES = 8 << 20


@dataclass(frozen=True)
class Marginal:
    """A coalition keeps its features; the others take the values of every background row, and the outputs are averaged.

    ``v(S) = sum_b w_b f(x_S, b_rest)`` (Lundberg and Lee 2017; Janzing, Minorics and Bloebaum 2020). All rows of the background are
    used; nothing is subsampled. For a smaller one see :func:`whybox.spaces.summarize`.

    Args:
        background: (b, d) reference rows: array of any library, or DataFrame with the columns that the model takes.
        weights: (b,) non-negative weights, normalised to 1; None (default) weighs all rows alike.

    Raises:
        InputError: the background is empty or not tabular.
        ShapeError: other shapes than these.

    Example:
        >>> Marginal(np.zeros((10, 3))).background.shape
        (10, 3)
    """

    background: Any
    weights: Any = None

    def __post_init__(self) -> None:
        rows = as_rows(self.background, "background")
        if self.weights is not None:
            try:
                w = np.asarray(self.weights, dtype=np.float64)
            except (TypeError, ValueError) as exc:
                raise InputError(f"weights: expected one number for each background row, got {self.weights!r}") from exc
            if w.shape != (rows.shape[0],):
                raise ShapeError(f"weights: expected one for each of the {rows.shape[0]} background rows, got shape {w.shape}")
            if not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0:
                raise InputError("weights: expected finite, non-negative numbers with a positive sum")

    def bind(self, x: Any, model: Model) -> MarginalBound:
        """Match x with the background, see :func:`whybox.spaces._ingest.join`."""
        columns, names = join(x, self.background, model)
        weights = None
        if self.weights is not None:
            weights = np.asarray(self.weights, dtype=np.float64)
            weights = weights / weights.sum()
        return MarginalBound(columns, names, weights)


@dataclass(frozen=True)
class Baseline:
    """A coalition keeps its features; the others take the values of one reference row.

    Args:
        values: (d,) or (1, d) reference values, a DataFrame of one row, or a Series by column name such as ``X.mean()``.

    Raises:
        ShapeError: more than one row.

    Example:
        >>> Baseline([0.0, 0.0]).row.shape
        (1, 2)
    """

    values: Any
    row: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        row = self.values
        if is_series(row):
            row = row.to_frame().T.infer_objects()  # the row of a mixed table is a Series of objects
        elif not is_frame(row):
            row = np.asarray(row) if isinstance(row, (list, tuple)) else row
            row = row.reshape(1, -1) if getattr(row, "ndim", 2) == 1 else row
        row = as_rows(row, "values")
        if row.shape[0] != 1:
            raise ShapeError(f"values: expected one reference row, got {row.shape[0]}; for several use Marginal(background)")
        object.__setattr__(self, "row", row)

    def bind(self, x: Any, model: Model) -> MarginalBound:
        """Match x with the reference row."""
        columns, names = join(x, self.row, model)
        return MarginalBound(columns, names, None)


@dataclass(frozen=True)
class MarginalBound:
    """A marginal space bound to the explained rows, see :class:`whybox.typing.Bound`."""

    columns: Columns
    names: tuple[str, ...]
    weights: Floats | None
    shared_empty: bool = True
    members: None = None
    folds_arrays: bool = True

    @property
    def n(self) -> int:
        """Explained rows."""
        return self.columns.n

    @property
    def draws(self) -> int:
        """Background rows."""
        return self.columns.b

    def n_features(self, instance: int) -> int:
        """Columns."""
        return self.columns.d

    def feature_names(self, instance: int) -> tuple[str, ...]:
        """Column names."""
        return self.names

    @cached_property
    def similarity(self) -> Floats | None:
        """(d, d) how alike the background's columns are, between 0 and 1; None for more than 1000 columns."""
        assert isinstance(self.columns, (ArrayColumns, FrameColumns))
        return column_similarity(self.columns.background, self.names)

    @cached_property
    def _tree(self) -> Any:
        return list(range(self.columns.d)) if self.similarity is None else similarity_tree(self.similarity)

    def tree(self, instance: int) -> Any:
        """Columns that go together in the background, as nested pairs: rank correlation, average linkage."""
        return self._tree

    def plain(self, start: int, stop: int) -> Rows:
        """Explained rows as the model takes them."""
        return self.columns.explained(start, stop)

    def row_keys(self) -> NDArray[np.uint64] | None:
        """Sums of the cells' hashes."""
        cells = self._cells[0]
        blocks = [cell_hashes(cells[i : i + 4096]).sum(axis=1, dtype=np.uint64) for i in range(0, self.n, 4096)]
        return np.concatenate(blocks)

    def digest(self) -> str:
        """Identifies rows, background and weights."""
        return self.columns.digest() + ("" if self.weights is None else hashlib.sha256(self.weights.tobytes()).hexdigest())

    def compose(self, ask: Ask, start: int, stop: int) -> Rows:
        """Rows start to stop of an ask, a few blocks at a time."""
        parts = [
            self.columns.block(ask.instances[rows], ask.codes[codes], draws)
            for rows, codes, draws in blocks(start, stop, len(ask.codes), self.draws)
        ]
        return concat_rows(parts)

    def take(self, ask: Ask, index: Ints) -> Rows:
        """Chosen rows of an ask."""
        code, draw = np.divmod(index, self.draws)
        instance, code = np.divmod(code, len(ask.codes))
        return self.columns.pick(ask.instances[instance], ask.codes[code], draw)

    @cached_property
    def _cells(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        return self.columns.cells()

    @cached_property
    def _background_hashes(self) -> NDArray[np.uint64]:
        return cell_hashes(self._cells[1])

    def keys(self, ask: Ask) -> NDArray[np.uint64] | None:
        """A row's key is the sum of its cells' hashes, so the keys of all rows are two small products, and no row is composed."""
        ours, theirs = cell_hashes(self._cells[0][ask.instances]), self._background_hashes
        n, m, b = len(ask.instances), len(ask.codes), self.draws
        keys = np.empty((n, m, b, 2), dtype=np.uint64)
        step = max(_TABLE_BYTES // (8 * self.columns.d), 1)  # a mask of integers is eight times the codes
        for start in range(0, m, step):
            mask = ask.codes[start : start + step].astype(np.uint64)
            for half in (0, 1):
                kept = ours[:, :, half] @ mask.T
                filled = (1 - mask) @ theirs[:, :, half].T
                np.add(kept[:, :, None], filled[None], out=keys[:, start : start + step, :, half])
        return keys.reshape(-1, 2)

    def fold(self, ask: Ask, outputs: Array) -> Array:
        """Average over the background: (n_i, m, b, k) to (n_i, m, k). NaN outputs, where the engine let them through, are left out.

        Raises:
            OutputValueError: all outputs of a coalition are NaN.
        """
        if not is_numpy(outputs):  # finite numbers of an accelerator, averaged there
            xp = namespace(outputs)
            if self.weights is None:
                return xp.mean(outputs, axis=2)
            return xp.sum(outputs * send(self.weights, outputs)[:, None], axis=2)
        return average(outputs, self.weights)


def average(outputs: Floats, weights: Floats | None = None) -> Floats:
    """Mean over draws: (n_i, m, b, k) to (n_i, m, k). NaN outputs, where the engine let them through, are left out.

    Raises:
        OutputValueError: all outputs of a coalition are NaN.
    """
    draws = outputs.shape[2]
    known = not np.isnan(outputs.sum())
    if draws == 1 and known:
        return outputs[:, :, 0, :]
    if known and weights is None:
        return np.asarray(np.add.reduce(outputs, axis=2) / draws)
    weights = np.full(draws, 1.0 / draws) if weights is None else weights
    if known:
        return np.asarray(np.add.reduce(outputs * weights[:, None], axis=2))
    there = ~np.isnan(outputs)
    total = np.add.reduce(there * weights[:, None], axis=2)
    if (total == 0).any():
        raise OutputValueError("all outputs of a coalition are NaN: nothing is left to average; mend the model or enlarge the background")
    result: Floats = np.add.reduce(np.where(there, outputs, 0.0) * weights[:, None], axis=2) / total
    return result
