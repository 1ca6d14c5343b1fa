"""A smaller background, on request and with its weights; never by itself."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_frame, is_numpy, take_rows, to_numpy
from whybox._random import generator
from whybox.errors import InputError, OptionError
from whybox.spaces._columns import cell_codes
from whybox.spaces._ingest import as_rows
from whybox.spaces.marginal import Marginal
from whybox.typing import Bools, Floats, Ints

_ROUNDS = 100


def summarize(background: Any, k: int, *, method: Literal["kmedoids", "kmeans"] = "kmedoids", seed: int = 0) -> Marginal:
    """A marginal space over k weighted rows that stand for a larger background.

    The weights are the shares of the rows that each representative stands for. Distances are Gower's (1971): numeric columns scaled by
    their range, other columns equal or not, missing values a level of their own.

    Args:
        background: (b, d) rows: array or DataFrame.
        k: number of representatives, at most b.
        method: "kmedoids" (default): representatives are rows of the background, as they are, found by alternating assignment and exact
            choice of each cluster's medoid; "kmeans": cluster means, numeric arrays only. Means may be rows that cannot occur.
        seed: of the first representatives.

    Raises:
        OptionError: k is out of range, or the method does not exist.
        InputError: "kmeans" of columns that are not numeric or have missing values.

    Example:
        >>> space = summarize(np.array([[0.0], [0.1], [5.0], [5.1], [5.2]]), 2)
        >>> sorted(space.weights.tolist())
        [0.4, 0.6]
    """
    rows = as_rows(background, "background")
    b = int(rows.shape[0])
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= b:
        raise OptionError(f"k: expected a whole number between 1 and the {b} background rows, got {k!r}")
    if method == "kmeans":
        return _kmeans(rows, int(k), seed)
    if method != "kmedoids":
        raise OptionError(f'method: expected "kmedoids" or "kmeans", got {method!r}')
    numbers, levels = _features(rows)
    medoids = _spread_out(numbers, levels, int(k), generator(seed, "summarize"))
    owner = _distances(numbers, levels, medoids).argmin(axis=1)
    for _ in range(_ROUNDS):
        better = np.array(
            [_medoid(numbers, levels, np.flatnonzero(owner == c)) if (owner == c).any() else medoids[c] for c in range(int(k))]
        )
        owner_then = _distances(numbers, levels, better).argmin(axis=1)
        if np.array_equal(better, medoids) and np.array_equal(owner, owner_then):
            break
        medoids, owner = better, owner_then
    used, counts = np.unique(owner, return_counts=True)
    return Marginal(take_rows(rows, medoids[used]), counts / b)


def _kmeans(rows: Any, k: int, seed: int) -> Marginal:
    from sklearn.cluster import KMeans

    if not is_numpy(rows) or rows.dtype.kind not in "iuf" or not np.isfinite(rows).all():
        raise InputError('method="kmeans" needs a NumPy array of finite numbers; use method="kmedoids"')
    fitted = KMeans(k, n_init=4, random_state=int(generator(seed, "summarize").integers(2**31))).fit(rows.astype(np.float64))
    used, counts = np.unique(fitted.labels_, return_counts=True)
    return Marginal(fitted.cluster_centers_[used], counts / len(rows))


def _features(rows: Any) -> tuple[Floats, NDArray[np.int64]]:
    """Numeric columns scaled to [0, 1], and the other columns (and missing marks) as levels."""
    import pandas as pd

    frame = rows if is_frame(rows) else pd.DataFrame(to_numpy(rows))
    numbers, levels = [], []
    for j in range(frame.shape[1]):
        column = frame.iloc[:, j]
        numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype)
        if numeric or pd.api.types.is_datetime64_any_dtype(column.dtype):
            missing = column.isna().to_numpy()
            plain = column.astype("int64") if pd.api.types.is_datetime64_any_dtype(column.dtype) else column
            values = plain.to_numpy(dtype=np.float64, na_value=np.nan)
            odd = missing | np.isinf(values)  # NaT became an integer far from all dates
            low, high = (values[~odd].min(), values[~odd].max()) if not odd.all() else (0.0, 0.0)
            numbers.append(np.where(odd, 0.0, (np.where(odd, low, values) - low) / ((high - low) or 1.0)))
            if odd.any():
                levels.append(np.where(missing, 1, np.where(odd, np.where(values > 0, 2, 3), 0)).astype(np.int64))
        else:
            codes = cell_codes(column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array)
            levels.append(np.unique(codes, return_inverse=True)[1].astype(np.int64))
    b = len(frame)
    return (
        np.stack(numbers, axis=1) if numbers else np.empty((b, 0)),
        np.stack(levels, axis=1) if levels else np.empty((b, 0), dtype=np.int64),
    )


def _distances(numbers: Floats, levels: NDArray[np.int64], to: Ints) -> Floats:
    """(b, len(to)) sums over columns."""
    total = np.zeros((len(numbers), len(to)))
    for j in range(numbers.shape[1]):
        total += np.abs(numbers[:, j, None] - numbers[None, to, j])
    for j in range(levels.shape[1]):
        total += levels[:, j, None] != levels[None, to, j]
    return total


def _medoid(numbers: Floats, levels: NDArray[np.int64], members: Ints) -> int:
    """The member with the least sum of distances to the others: exact, by sorting each column, without a table of pairs."""
    n = len(members)
    total = np.zeros(n)
    for j in range(numbers.shape[1]):
        values = numbers[members, j]
        order = np.argsort(values, kind="stable")
        ranked = values[order]
        below = np.cumsum(ranked) - ranked
        total[order] += ranked * (2 * np.arange(n) - n) + ranked.sum() - 2 * below
    for j in range(levels.shape[1]):
        _, at, count = np.unique(levels[members, j], return_inverse=True, return_counts=True)
        total += n - count[at]
    near = total <= total.min() + 1e-9 * n  # which of equals is the first in the table must not depend on rounding
    return int(members[near.argmax()])


def _spread_out(numbers: Floats, levels: NDArray[np.int64], k: int, rng: np.random.Generator) -> Ints:
    """k-means++ seeding (Arthur and Vassilvitskii 2007) with Gower's distance."""
    chosen = [int(rng.integers(len(numbers)))]
    nearest = _distances(numbers, levels, np.array(chosen))[:, 0]
    left: Bools = np.ones(len(numbers), dtype=bool)
    while len(chosen) < k:
        left[chosen[-1]] = False
        weight = np.where(left, nearest**2, 0.0)
        if weight.sum() <= 0:
            weight = left.astype(np.float64)
        chosen.append(int(rng.choice(len(numbers), p=weight / weight.sum())))
        nearest = np.minimum(nearest, _distances(numbers, levels, np.array(chosen[-1:]))[:, 0])
    return np.array(chosen, dtype=np.int64)
