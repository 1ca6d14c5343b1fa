"""The k nearest vectors, exactly: products in blocks, a partial sort, and no copy of the pool."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_array, to_numpy
from whybox.errors import InputError, ModelError, ShapeError
from whybox.typing import Ints

Vectors = NDArray[np.floating[Any]]
_BLOCK_BYTES = 64 * 2**20  # of similarities at once
_COLUMNS = 16384  # pool vectors that are gathered at once
_GROUP = 128  # values whose maximum is looked at first


@runtime_checkable
class Neighbors(Protocol):
    """Finds nearest vectors. Any function with this signature is one, such as a search in a faiss index."""

    def __call__(self, queries: Vectors, pool: Vectors, k: int, among: Ints | None = None) -> tuple[Ints, Vectors]:
        """Positions (n, k) of each query's k nearest pool vectors, the nearest first, and their similarities (n, k).

        Args:
            queries: (n, e) vectors of length 1.
            pool: (m, e) vectors of length 1.
            k: how many.
            among: positions in the pool that may answer, at least k of them; None: all.
        """


def exact_neighbors(queries: Vectors, pool: Vectors, k: int, among: Ints | None = None) -> tuple[Ints, Vectors]:
    """Exact nearest neighbours by inner product; equals stand in the order of the pool.

    Args:
        queries: (n, e) vectors.
        pool: (m, e) vectors; read block by block, never copied.
        k: how many.
        among: increasing positions in the pool that may answer; None (default): all.

    Returns:
        (n, k) positions and (n, k) inner products, the largest first.

    Raises:
        InputError: fewer than k vectors may answer.

    Example:
        >>> import numpy as np
        >>> places, similarity = exact_neighbors(np.eye(2), np.array([[1.0, 0.0], [0.6, 0.8]]), 1)
        >>> places.tolist(), similarity.tolist()
        ([[0], [1]], [[1.0], [0.8]])
    """
    m = len(pool) if among is None else len(among)
    if not 1 <= k <= m:
        raise InputError(f"neighbours: expected k between 1 and the {m} vectors that may answer, got {k}")
    spare = k + 8  # candidates for the last places, which are settled by sums that do not depend on the block
    places = np.empty((len(queries), k), dtype=np.int64)
    found = np.empty((len(queries), k), dtype=np.float64)
    width = m if among is None else min(m, _COLUMNS)
    rows = max(1, _BLOCK_BYTES // (width * np.dtype(pool.dtype).itemsize))
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows].astype(pool.dtype, copy=False)
        near = _near(block, pool, spare, among)
        near.sort(axis=1)  # pool order breaks ties
        close = np.einsum("ne,nse->ns", block, pool[near], dtype=np.float64).round(9)
        order = np.argsort(-close, axis=1, kind="stable")[:, :k]
        places[start : start + rows] = np.take_along_axis(near, order, axis=1)
        found[start : start + rows] = np.take_along_axis(close, order, axis=1)
    return places, found


def _near(block: Vectors, pool: Vectors, spare: int, among: Ints | None) -> Ints:
    """(n, spare) positions of the nearest, in no order: the nearest of each part of the pool, and of these the nearest."""
    m = len(pool) if among is None else len(among)
    if among is None:
        return _largest(block @ pool.T, min(spare, m))
    best: list[tuple[Ints, Vectors]] = []
    for left in range(0, m, _COLUMNS):  # what may answer is gathered, a block of it at a time
        similarity = block @ pool[among[left : left + _COLUMNS]].T
        chosen = _largest(similarity, min(spare, similarity.shape[1]))
        best.append((chosen + left, np.take_along_axis(similarity, chosen, axis=1)))
    places = np.concatenate([p for p, _ in best], axis=1)
    if len(best) > 1:
        values = np.concatenate([v for _, v in best], axis=1)
        places = np.take_along_axis(places, _largest(values, min(spare, m)), axis=1)
    result: Ints = among[places]
    return result


def _largest(values: Vectors, k: int) -> Ints:
    """(n, k) positions of each row's k largest values, in no order.

    They lie in the k groups with the largest maxima, so that only those are sorted partially: finding maxima is one pass over memory.
    """
    n, m = values.shape
    groups = m // _GROUP
    if k * _GROUP >= m // 2:
        return np.argpartition(values, m - k, axis=1)[:, m - k :].astype(np.int64) if k < m else np.tile(np.arange(m), (n, 1))
    whole = groups * _GROUP
    tops = values[:, :whole].reshape(n, groups, _GROUP).max(axis=2)
    chosen = np.argpartition(tops, groups - k, axis=1)[:, groups - k :]
    places = (chosen[:, :, None] * _GROUP + np.arange(_GROUP)).reshape(n, -1)
    places = np.concatenate([places, np.tile(np.arange(whole, m), (n, 1))], axis=1)
    near = np.argpartition(np.take_along_axis(values, places, axis=1), places.shape[1] - k, axis=1)[:, places.shape[1] - k :]
    return np.take_along_axis(places, near, axis=1).astype(np.int64)


def unit_vectors(vectors: Any, n: int, name: str = "encoder") -> NDArray[np.float32]:
    """(n, e) float32 vectors of length 1 (zero stays zero) from what an encoder returned.

    Raises:
        ShapeError: not one vector a text.
        ModelError: NaN, infinite or not numbers.
    """
    array = np.asarray(to_numpy(vectors) if is_array(vectors) else vectors)
    if array.ndim != 2 or len(array) != n or array.shape[1] == 0:
        raise ShapeError(f"{name}: expected ({n}, e) vectors, one a text, got an array of shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise ModelError(f"{name}: expected vectors of numbers, got dtype {array.dtype}")
    array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ModelError(f"{name}: expected finite vectors, got NaN or infinite numbers")
    length = np.linalg.norm(array, axis=1, keepdims=True)
    result: NDArray[np.float32] = np.divide(array, length, out=np.zeros_like(array), where=length > 0)
    return result


def checked(answer: Any, n: int, k: int, m: int) -> tuple[Ints, Vectors]:
    """What a plugged-in search returned.

    Raises:
        ModelError: other shapes, or positions that the pool does not have.
    """
    places, similarity = (np.asarray(part) for part in answer)
    if places.shape != (n, k) or similarity.shape != (n, k):
        raise ModelError(f"neighbors: expected positions and similarities of shape ({n}, {k}), got {places.shape} and {similarity.shape}")
    if places.size and (places.min() < 0 or places.max() >= m):
        raise ModelError(f"neighbors: expected positions from 0 to {m - 1}, got {places.min()} to {places.max()}")
    return places.astype(np.int64), similarity
