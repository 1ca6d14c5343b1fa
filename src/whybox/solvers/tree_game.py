"""The game of a tree ensemble against a background, exactly: its Shapley values, and its value at any coalition.

For a tree ensemble f, a row x and background rows b with weights w, the game is v(z) = sum_b w_b f(where(z, x, b)). A leaf sees x and b
only through which of its D conditions they meet, so that everything about a leaf is a small table over 2^D patterns of x: the background
enters through the histogram of its patterns, once. Explaining a row is then a look-up and a sum, whatever the size of the background.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from whybox.errors import InputError, ShapeError
from whybox.solvers.tree_leaves import LeafGroup, TreeEnsemble
from whybox.solvers.tree_patterns import Patterns, code_patterns, histogram, kept_weights, met_patterns, shapley_weights
from whybox.typing import Bools, Floats, Ints

_ROW_BLOCK = 512
_CODE_BLOCK = 256
_TABLE_CELLS = 1 << 18  # 2 MiB of float64: a table block stays in cache; fixed, so that no sum depends on the rows of a call
_FOUND_CELLS = 1 << 18  # conditions times rows that are looked up at once


@dataclass(frozen=True)
class _LeafTables:
    """What a group of leaves is worth: ``shapley`` (L * 2^D, D) by leaf and pattern of x; ``kept`` (L, 2^D) by pattern of the coalition."""

    group: LeafGroup
    shapley: Floats
    kept: Floats
    scatter: sparse.csr_array  # (d, L * D) adds the condition's value to its feature


@dataclass(frozen=True)
class TreeGame:
    """The marginal game of a tree ensemble. Made by :meth:`of`.

    Every row's answer is the same bits whatever the other rows of the call are: all sums run over leaves in a fixed order.

    Args:
        ensemble: the trees.
        tables: what each group of leaves is worth.
        base: the value of the empty coalition.

    Example:
        >>> import numpy as np
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> from whybox.solvers.tree_leaves import ensembles
        >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> (trees,) = ensembles(DecisionTreeRegressor().fit(x, x[:, 0] * x[:, 1]))
        >>> game = TreeGame.of(trees, background=x[:1])
        >>> game.shapley(x[3:]).tolist()
        [[0.5, 0.5]]
        >>> game.values(x[3:], np.array([[True, False], [True, True]])).tolist()
        [[0.0, 1.0]]
    """

    ensemble: TreeEnsemble
    tables: tuple[_LeafTables, ...]
    base: float

    @classmethod
    def of(cls, ensemble: TreeEnsemble, background: Any, weights: Any = None) -> TreeGame:
        """The game of an ensemble against background rows.

        Args:
            ensemble: the trees.
            background: (b, d) rows, NaN where missing.
            weights: (b,) non-negative weights, normalised to sum to 1; equal weights by default.

        Raises:
            ShapeError: background or weights have another shape.
            InputError: the background is empty, or the weights are negative, not finite or all zero.
        """
        rows = ensemble.rows(background, "background")
        if not len(rows):
            raise InputError("background: expected at least one row, got none")
        tables = tuple(_leaf_tables(group, rows, _normalised(weights, len(rows)), ensemble.n_features) for group in ensemble.groups)
        base = ensemble.offset + sum(float(table.kept[:, 0].sum()) for table in tables)
        return cls(ensemble, tables, base)

    def empty(self) -> float:
        """The value of the empty coalition: the mean prediction over the background."""
        return self.base

    def full(self, x: Any) -> Floats:
        """The value of the full coalition: the prediction.

        Args:
            x: (n, d) rows.

        Returns:
            (n,) predictions.
        """
        return self.values(x, np.ones((1, self.ensemble.n_features), dtype=bool))[:, 0]

    def shapley(self, x: Any) -> Floats:
        """Exact interventional Shapley values.

        Args:
            x: (n, d) rows, NaN where missing.

        Returns:
            (n, d) values; a row's values sum to its prediction less :meth:`empty`.

        Raises:
            ShapeError: x is not (n, d).
        """
        rows = self.ensemble.rows(x)
        values = np.zeros(rows.shape)
        for start, stop in _blocks(len(rows), max(1, min(_ROW_BLOCK, _FOUND_CELLS // max(1, self._conditions)))):
            for table in self.tables:
                size = table.group.feature.shape[1]
                place = met_patterns(table.group, rows[start:stop]).astype(np.intp) + (np.arange(len(table.kept)) << size)[:, None]
                found = table.shapley[place].transpose(0, 2, 1).reshape(-1, stop - start)  # (L * D, n)
                values[start:stop] += (table.scatter @ found).T
        return values

    def values(self, x: Any, codes: Any) -> Floats:
        """Exact values of coalitions.

        Args:
            x: (n, d) rows, NaN where missing.
            codes: (m, d) bool, True keeps the feature of x.

        Returns:
            (n, m) mean predictions of the hybrids of x and the background.

        Raises:
            ShapeError: x is not (n, d) or codes are not (m, d) bool.
        """
        rows, kept = self.ensemble.rows(x), np.asarray(codes)
        if kept.dtype != np.bool_ or kept.ndim != 2 or kept.shape[1] != self.ensemble.n_features:
            raise ShapeError(f"codes: expected bool of shape (m, {self.ensemble.n_features}), got {kept.dtype} of shape {kept.shape}")
        values = np.full((len(rows), len(kept)), self.ensemble.offset)
        for start, stop in _blocks(len(rows), _ROW_BLOCK):
            for table in self.tables:
                patterns = met_patterns(table.group, rows[start:stop])  # (L, n)
                for first, last in _blocks(len(kept), _CODE_BLOCK):
                    _add_values(table, patterns, kept[first:last], values[start:stop, first:last])
        return values

    @property
    def _conditions(self) -> int:
        return max((table.group.feature.size for table in self.tables), default=0)


def _normalised(weights: Any, b: int) -> Floats:
    if weights is None:
        return np.full(b, 1.0 / b)
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (b,):
        raise ShapeError(f"weights: expected one weight a background row, shape ({b},), got shape {array.shape}")
    if not np.all(np.isfinite(array)) or np.any(array < 0) or not array.sum() > 0:
        raise InputError("weights: expected finite non-negative weights with a positive sum")
    return np.asarray(array / array.sum())


def _blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, size):
        yield start, min(start + size, n)


def _leaf_tables(group: LeafGroup, background: Floats, weights: Floats, d: int) -> _LeafTables:
    n_leaves, size = group.feature.shape
    counts = np.zeros((n_leaves, 1 << size))
    for start, stop in _blocks(len(background), _ROW_BLOCK):
        counts += histogram(met_patterns(group, background[start:stop]), weights[start:stop], size)
    counts *= group.value[:, None]
    shapley = (counts @ shapley_weights(size)).reshape(n_leaves << size, size)
    cells = n_leaves * size
    scatter = sparse.csr_array((np.ones(cells), (group.feature.ravel(), np.arange(cells))), shape=(d, cells))
    return _LeafTables(group, shapley, kept_weights(counts), scatter)


def _add_values(table: _LeafTables, patterns: Patterns, codes: Bools, out: Floats) -> None:
    """Add what the leaves are worth at every row and coalition to out (n, m).

    A leaf is worth kept[S] at the coalition pattern S if x meets the conditions of S, else nothing. The table of this over patterns of x
    and coalitions is multiplied by the rows' one-hot patterns: a sum of table rows, in the order of the leaves.
    """
    n_leaves, n = patterns.shape
    size = table.group.feature.shape[1]
    every = np.arange(1 << size, dtype=np.uint8)
    for start, stop in _blocks(n_leaves, max(1, _TABLE_CELLS // (_CODE_BLOCK << size))):
        kept = code_patterns(table.group.feature[start:stop], codes)  # (l, m)
        worth = np.take_along_axis(table.kept[start:stop], kept.astype(np.intp), axis=1)  # (l, m)
        # Few rows: only their own patterns are tabulated. The products and the order of the sum are the same.
        few = n < len(every)
        x = patterns[start:stop] if few else np.broadcast_to(every, (stop - start, len(every)))  # (l, p)
        cells = np.where((kept[:, None, :] & ~x[:, :, None]) == 0, worth[:, None, :], 0.0)  # (l, p, m)
        index = np.broadcast_to(np.arange(n), (stop - start, n)) if few else patterns[start:stop].astype(np.int64)
        index = index + (np.arange(stop - start) * x.shape[1])[:, None]
        out += _one_hot(index.T, cells.shape[0] * cells.shape[1]) @ cells.reshape(-1, len(codes))


def _one_hot(index: Ints, n_columns: int) -> sparse.csr_array:
    n, per_row = index.shape
    return sparse.csr_array((np.ones(index.size), index.ravel(), np.arange(n + 1) * per_row), shape=(n, n_columns))
