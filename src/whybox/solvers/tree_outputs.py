"""What a tree ensemble says about rows, from its arrays alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox.solvers.tree_leaves import Tree, TreeEnsemble
from whybox.typing import Floats

_ROWS = 4096  # a block's columns stay in cache while all trees pass over it


def tree_outputs(ensemble: TreeEnsemble, rows: Any) -> Floats:
    """The sum of the trees.

    Trees are evaluated from their leaves up, every node once for a block of rows, so that there is no loop over rows.

    Args:
        ensemble: the trees.
        rows: (N, d) numbers, NaN where missing.

    Returns:
        (N,) outputs; a row's bits do not depend on the other rows.

    Example:
        >>> import numpy as np
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> from whybox.solvers.tree_leaves import ensembles
        >>> x = np.arange(4.0)[:, None]
        >>> tree_outputs(ensembles(DecisionTreeRegressor().fit(x, x[:, 0] ** 2))[0], x).tolist()
        [0.0, 1.0, 4.0, 9.0]
    """
    table = ensemble.rows(rows, "rows")
    out = np.full(len(table), ensemble.offset)
    for start in range(0, len(table), _ROWS):
        columns = np.ascontiguousarray(table[start : start + _ROWS].T)
        for tree in ensemble.trees:
            out[start : start + _ROWS] += tree.value[_leaves_below(tree, 0, columns, np.min_scalar_type(len(tree.value) - 1))]
    return out


def _leaves_below(tree: Tree, node: int, columns: Floats, kind: np.dtype[Any]) -> NDArray[Any]:
    """The leaf that is reached below a node, for every row as if it had come there. Small integers: a tenth of the traffic of values."""
    if tree.leaf[node]:
        return np.array(node, dtype=kind)
    column, threshold = columns[tree.feature[node]], tree.threshold[node]
    # A missing value compares false: the comparison is the one that sends it the right way.
    left = ~(column > threshold) if tree.missing_left[node] else column <= threshold
    below = (_leaves_below(tree, int(child), columns, kind) for child in (tree.left[node], tree.right[node]))
    return np.where(left, *below)
