"""Trees over features: which ones belong together, from the whole down to single features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whybox.errors import InputError, OptionError, SchemaError, ShapeError
from whybox.typing import Bools, Floats, Ints

_LEAF = -1


@dataclass(frozen=True, eq=False)
class PartitionTree:
    """A binary tree whose leaves are d features. Made by :func:`partition_tree`.

    Its d - 1 inner nodes are numbered with parents before children. Each covers a stretch of ``order``, and splits it in two.

    Args:
        order: (d,) features as the leaves stand from left to right.
        start: (d - 1,) where each inner node's stretch of ``order`` begins.
        middle: (d - 1,) where its right child's stretch begins.
        stop: (d - 1,) where it ends.
        depth: (d - 1,) inner nodes above it.
        children: (d - 1, 2) inner nodes below it, -1 for a single feature.
    """

    order: Ints
    start: Ints
    middle: Ints
    stop: Ints
    depth: Ints
    children: Ints
    levels: tuple[Ints, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found = tuple(np.flatnonzero(self.depth == level) for level in range(int(self.depth.max(initial=-1)) + 1))
        object.__setattr__(self, "levels", found)

    @property
    def d(self) -> int:
        """Features."""
        return len(self.order)

    @property
    def n_nodes(self) -> int:
        """Inner nodes."""
        return len(self.start)

    @property
    def exact_cost(self) -> int:
        """Coalitions that exact Owen values take: two a node and context, and a node below k others has ``2**k`` contexts."""
        return sum(2 << min(int(depth), 512) for depth in self.depth.tolist())

    @property
    def key(self) -> bytes:
        """Equal exactly for equal trees."""
        return b"".join(part.tobytes() for part in (self.order, self.start, self.middle, self.stop))

    def codes(self, leaves: Bools) -> Bools:
        """Coalitions (m, d) by position in ``order`` as coalitions by feature."""
        codes = np.empty_like(leaves)
        codes[:, self.order] = leaves
        return codes


def partition_tree(tree: Any, d: int, names: Sequence[str] = ()) -> PartitionTree:
    """A tree over d features from nested lists or from a linkage matrix.

    A node of more than two children is split into halves, in order, until it is binary: a sentence of eight words becomes two stretches
    of four, and so on.

    Args:
        tree: nested lists whose leaves are positions or names of features, or a (d - 1, 4) linkage matrix as SciPy's ``linkage`` gives it.
        d: number of features.
        names: their names, for leaves that are names.

    Raises:
        OptionError: something else.
        ShapeError: a linkage matrix of another number of features.
        SchemaError: a feature is missing, stands twice, or does not exist.

    Example:
        >>> tree = partition_tree([[0, 1], [2, 3]], 4)
        >>> tree.n_nodes, tree.exact_cost
        (3, 10)
    """
    if isinstance(tree, np.ndarray) and tree.ndim == 2:
        tree = _from_linkage(tree, d)
    order: list[int] = []
    nodes: list[list[int]] = []  # start, middle, stop, depth, children, parent's side
    waiting: list[tuple[Any, int, int, int]] = [(_halved(tree), 0, _LEAF, 0)] if d else []
    while waiting:
        node, depth, parent, side = waiting.pop()
        if node is None:  # both children of the parent are done
            nodes[parent][side] = len(order)
            continue
        if not isinstance(node, tuple):
            order.append(_position(node, d, names))
            continue
        here = len(nodes)
        nodes.append([len(order), 0, 0, depth, _LEAF, _LEAF])
        if parent != _LEAF:
            nodes[parent][4 + side] = here
        left, right = (_halved(child) for child in node)
        waiting += [(None, 0, here, 2), (right, depth + 1, here, 1), (None, 0, here, 1), (left, depth + 1, here, 0)]
    if sorted(order) != list(range(d)):
        missing, twice = sorted(set(range(d)) - set(order)), sorted({j for j in order if order.count(j) > 1})
        raise SchemaError(f"tree: expected each of {d} features once, features {missing[:5]} are missing and {twice[:5]} stand twice")
    table = np.array(nodes, dtype=np.int64).reshape(-1, 6)
    begin, middle, end, depths = (np.ascontiguousarray(table[:, i]) for i in range(4))
    return PartitionTree(np.array(order, dtype=np.int64), begin, middle, end, depths, table[:, 4:6].copy())


def _halved(node: Any) -> Any:
    """A node as a pair, or a leaf as it is."""
    while isinstance(node, (list, tuple)) or (isinstance(node, np.ndarray) and node.ndim == 1):
        if not len(node):
            raise OptionError("tree: expected nested lists of features, got an empty list in it")
        if len(node) > 1:
            half = (len(node) + 1) // 2
            return node[:half] if len(node[:half]) > 1 else node[0], node[half:] if len(node[half:]) > 1 else node[half]
        node = node[0]
    return node


def _position(leaf: Any, d: int, names: Sequence[str]) -> int:
    if isinstance(leaf, str) and leaf in names:
        return list(names).index(leaf)
    if isinstance(leaf, (bool, str)) or not isinstance(leaf, (int, np.integer)) or not 0 <= leaf < d:
        raise SchemaError(
            f"tree: {leaf!r} is no feature; expected positions below {d}" + (f" or names of {list(names)[:10]}" if names else "")
        )
    return int(leaf)


def _from_linkage(matrix: Floats, d: int) -> Any:
    """Nested pairs from a linkage matrix."""
    if matrix.shape != (d - 1, 4) or matrix.dtype.kind not in "fiu":
        raise ShapeError(f"tree: expected a linkage matrix of shape ({d - 1}, 4) for {d} features, got {matrix.shape}")
    made: list[Any] = list(range(d))
    for i, (a, b) in enumerate(matrix[:, :2].astype(np.int64).tolist()):
        if not (0 <= a < d + i and 0 <= b < d + i):
            raise InputError(f"tree: row {i} of the linkage matrix joins {a} and {b}, of which one does not exist yet")
        made.append((made[a], made[b]))
    return made[-1]


def similarity_tree(similarity: Floats) -> Any:
    """Nested pairs by average linkage: the most similar features are joined first; features alike in everything stand in order.

    Args:
        similarity: (d, d) symmetric, between 0 and 1.
    """
    d = len(similarity)
    off = similarity[~np.eye(d, dtype=bool)]
    if d < 3 or np.ptp(off) == 0:
        return list(range(d))
    from scipy.cluster.hierarchy import linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    distance = squareform(1.0 - np.where(np.eye(d, dtype=bool), 1.0, similarity), checks=False)
    matrix = linkage(distance, method="average")
    if d <= 200:  # cubic in d; only says which child stands left
        matrix = optimal_leaf_ordering(matrix, distance)
    return _from_linkage(matrix, d)
