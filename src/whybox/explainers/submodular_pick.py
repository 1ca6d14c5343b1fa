"""SP-LIME: a few explanations that together show what the model does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from whybox.errors import InputError, OptionError
from whybox.explainers._job import count
from whybox.explanations import Attribution
from whybox.solvers.submodular import greedy_cover
from whybox.typing import Floats, Ints


@dataclass(frozen=True, eq=False)
class Pick:
    """The rows that :func:`sp_lime` picked.

    Args:
        rows: (k,) positions in the explanation, in the order of choice.
        explanation: these rows' explanation, in this order.
        coverage: (k,) share of the features' importance that is covered after each choice.
        features: what is covered, most important first.
        importance: of each of these features.
    """

    rows: Ints
    explanation: Attribution
    coverage: Floats
    features: tuple[str, ...]
    importance: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Pick: rows {self.rows.tolist()}, {self.coverage[-1]:.0%} of the importance of {len(self.features):,} features>"


def sp_lime(e: Attribution, k: int = 5, *, num_features: int | None = 10, by: str = "condition") -> Pick:
    """Pick k rows whose explanations together cover the important features (Ribeiro, Singh and Guestrin 2016, algorithm 2).

    A feature's importance is the square root of the sum of its absolute values over all rows; the picked rows cover it if one of them has
    a value for it. Rows are chosen greedily. It works for any attribution, LIME's or another's, of tables and of texts.

    Args:
        e: the explanation of many rows, of one output, or of each row's own class.
        k: rows to pick. Default 5.
        num_features: features that a row covers: those with its largest absolute values. Default 10, as lime; None: all that are not 0.
        by: what counts as one feature: "condition" (default; the bin or category that a row's value lies in, where the explanation has
            bins; otherwise the column, or a text's word) or "feature" (the column itself).

    Returns:
        The picked rows, their explanation, and what they cover.

    Raises:
        InputError: the explanation has several outputs, or a single row.
        OptionError: more rows than there are, or an option that does not exist.

    Example:
        >>> values = np.array([[3.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
        >>> base = np.zeros(3)
        >>> e = Attribution(values=values, base_values=base, predictions=values.sum(1), feature_names=("a", "b", "c"), method="LIME")
        >>> sp_lime(e, 2).rows.tolist()
        [0, 2]
    """
    if e.single:
        raise InputError("sp_lime: expected the explanation of several rows, got a single row; pass e instead of e[0]")
    if e.multi_output:
        raise InputError(f'sp_lime: expected one output, got {e.n_outputs}; pass e.output(...), or explain with target="predicted"')
    if count("k", k) > len(e):
        raise OptionError(f"k: expected at most {len(e)}, one for each row of the explanation, got {k}")
    if by not in ("condition", "feature"):
        raise OptionError(f'by: expected "condition" or "feature", got {by!r}')
    most = None if num_features is None else count("num_features", num_features)
    names, table = _table(e, most, by)
    importance: Floats = np.sqrt(np.asarray(abs(table).sum(axis=0), dtype=np.float64).reshape(-1))
    rows, coverage = greedy_cover(np.asarray((table != 0).todense()), importance, int(k))
    order = np.argsort(-importance, kind="stable")
    return Pick(rows, e[rows], coverage, tuple(names[i] for i in order.tolist()), importance[order])


def _table(e: Attribution, most: int | None, by: str) -> tuple[list[str], Any]:
    """What the columns stand for, and a sparse (n, columns) table of the rows' values; words that a text repeats are summed up."""
    places: dict[str, int] = {}
    rows, columns, values = [], [], []
    for i in range(len(e)):  # rows have features of their own
        row = e[i]
        size = np.nan_to_num(np.abs(np.asarray(row.values)))
        top = np.argsort(-size, kind="stable")[:most]
        labels = _labels(row, by)
        for j in top[size[top] > 0].tolist():
            rows.append(i)
            columns.append(places.setdefault(labels[j], len(places)))
            values.append(float(row.values[j]))
    table = scipy.sparse.csr_array((values, (rows, columns)), shape=(len(e), max(len(places), 1)))
    table.sum_duplicates()
    return list(places) or [""], table


def _labels(row: Attribution, by: str) -> NDArray[Any] | tuple[str, ...]:
    """What each feature of a row counts as: its condition, or its category's value, or its name."""
    if by == "feature" or row.conditions is None:
        return row.feature_names
    cells = row.conditions
    return tuple(name if told is None else str(told) for name, told in zip(row.feature_names, cells, strict=True))
