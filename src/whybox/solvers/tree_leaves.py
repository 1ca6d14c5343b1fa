"""Trees as their leaves: for every leaf, the features that its path asks about and what it asks of each.

A leaf is reached when every feature on its path lies in an interval (low, high]. Of a hybrid row, which takes some features of x and the
rest of a background row, a leaf needs to know only which of these conditions x meets and which the background row meets. That is all that
exact Shapley values and game values of a tree ensemble rest on (:mod:`whybox.solvers.tree_game`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whybox.errors import OptionError, ShapeError
from whybox.typing import Bools, Floats, Ints

MAX_PATH_FEATURES = 8  # tables hold 2^D patterns a leaf: 256 at most


@dataclass(frozen=True)
class LeafGroup:
    """L leaves whose paths ask about the same number D of distinct features.

    Args:
        feature: (L, D) the features of each path.
        low: (L, D) open lower bound of each feature, NaN where there is none.
        high: (L, D) closed upper bound, NaN where there is none.
        nan_ok: (L, D) whether a missing value takes this path.
        value: (L,) what the leaf adds to the prediction.
    """

    feature: Ints
    low: Floats
    high: Floats
    nan_ok: Bools
    value: Floats


@dataclass(frozen=True)
class Tree:
    """One tree in arrays, children numbered within the tree; ``left`` equals ``right`` at a leaf."""

    feature: Ints
    threshold: Floats
    missing_left: Bools
    left: Ints
    right: Ints
    leaf: Bools
    value: Floats


@dataclass(frozen=True)
class TreeEnsemble:
    """A sum of trees with one output.

    Args:
        groups: the leaves, grouped by how many features their paths ask about.
        offset: what every row gets: the baseline and trees of a single leaf.
        n_features: d, the number of columns.
        trees: the trees themselves, for predictions.
        single_precision: rows are rounded to float32 before they are compared, as ``sklearn.tree`` does.
    """

    groups: tuple[LeafGroup, ...]
    offset: float
    n_features: int
    trees: tuple[Tree, ...]
    single_precision: bool = False

    @property
    def n_leaves(self) -> int:
        """Leaves of all trees that ask about at least one feature."""
        return sum(len(group.value) for group in self.groups)

    def rows(self, x: Any, name: str = "x") -> Floats:
        """Rows as they are compared with the thresholds.

        Args:
            x: (n, d) numbers, NaN where missing.
            name: of the argument, for the message.

        Raises:
            ShapeError: x is not (n, d).
        """
        rows = np.asarray(x, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ShapeError(f"{name}: expected rows with {self.n_features} columns, shape (n, {self.n_features}), got shape {rows.shape}")
        return rows.astype(np.float32).astype(np.float64) if self.single_precision else rows


_Condition = tuple[float, float, bool]  # low, high, nan_ok
_Path = dict[int, _Condition]


def ensembles(estimator: Any, max_features: int = MAX_PATH_FEATURES) -> tuple[TreeEnsemble, ...]:
    """The tree ensembles of a fitted scikit-learn estimator, one an output.

    Classifiers by boosting give their raw scores (``decision_function``); single trees and forests what they predict (for a classifier,
    its probabilities).

    Args:
        estimator: fitted HistGradientBoosting*, GradientBoosting*, RandomForest*, ExtraTrees* or DecisionTree*, with numerical splits.
        max_features: the most distinct features on a path to a leaf.

    Returns:
        One ensemble an output of the estimator.

    Raises:
        OptionError: the estimator is of another kind, splits on categories, or a path asks about more features than allowed.

    Example:
        >>> import numpy as np
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> x = np.arange(8.0)[:, None]
        >>> (tree,) = ensembles(DecisionTreeRegressor(max_depth=1).fit(x, x[:, 0] > 3))
        >>> tree.n_leaves
        2
    """
    d = int(_attribute(estimator, "n_features_in_"))
    if hasattr(estimator, "_predictors"):
        baseline = np.ravel(_attribute(estimator, "_baseline_prediction"))
        outputs = [(float(baseline[k]), [_histogram_tree(row[k]) for row in estimator._predictors]) for k in range(len(baseline))]
        return tuple(_ensemble(trees, offset, d, single=False, max_features=max_features) for offset, trees in outputs)
    return tuple(_ensemble(trees, offset, d, single=True, max_features=max_features) for offset, trees in _classic_outputs(estimator))


def _attribute(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        raise OptionError(
            f"estimator: expected a fitted scikit-learn tree ensemble, but {type(owner).__name__} has no attribute {name!r}; "
            "fit it first, or hand in a HistGradientBoosting, GradientBoosting, forest or decision tree of scikit-learn >= 1.3"
        ) from None


def _histogram_tree(predictor: Any) -> Tree:
    nodes = _attribute(predictor, "nodes")
    needed = ("value", "feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "is_leaf", "is_categorical")
    absent = [name for name in needed if name not in (nodes.dtype.names or ())]
    if absent:
        raise OptionError(
            f"estimator: the nodes of this HistGradientBoosting have no field {', '.join(absent)}; "
            "its layout is not that of scikit-learn 1.3 to 1.9, install one of these"
        )
    if np.any(nodes["is_categorical"].astype(bool) & ~nodes["is_leaf"].astype(bool)):
        raise OptionError(
            "estimator: it splits on categories, expected numerical splits; encode the columns and fit without categorical_features"
        )
    return Tree(
        nodes["feature_idx"].astype(np.int64),
        nodes["num_threshold"].astype(np.float64),
        nodes["missing_go_to_left"].astype(bool),
        nodes["left"].astype(np.int64),
        nodes["right"].astype(np.int64),
        nodes["is_leaf"].astype(bool),
        nodes["value"].astype(np.float64),
    )


def _classic_outputs(estimator: Any) -> list[tuple[float, list[Tree]]]:
    """(offset, trees) of every output of an estimator built on ``sklearn.tree``."""
    if hasattr(estimator, "tree_"):
        return [(0.0, [tree]) for tree in _classic_trees(estimator, 1.0)]
    members = _attribute(estimator, "estimators_")
    if not hasattr(estimator, "init_"):  # a forest: the mean of its trees
        per_member = [_classic_trees(member, 1.0 / len(members)) for member in members]
        return [(0.0, [trees[k] for trees in per_member]) for k in range(len(per_member[0]))]
    rate = float(_attribute(estimator, "learning_rate"))
    raw = _attribute(estimator, "_raw_predict_init")(np.zeros((1, estimator.n_features_in_), dtype=np.float32))
    outputs = np.ravel(raw)
    return [(float(outputs[k]), [_classic_trees(row[k], rate)[0] for row in members]) for k in range(members.shape[1])]


def _classic_trees(estimator: Any, scale: float) -> list[Tree]:
    """One tree an output: the same splits, each with its own leaf values."""
    tree = _attribute(estimator, "tree_")
    leaf = tree.children_left < 0
    missing = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count)).astype(bool)
    values = np.asarray(tree.value, dtype=np.float64)
    if values.shape[1] > 1 and values.shape[2] > 1:
        raise OptionError("estimator: several classification outputs, expected one; explain them one by one")
    values = values.reshape(tree.node_count, -1)
    if hasattr(estimator, "classes_"):
        values = values / values.sum(axis=1, keepdims=True)
    left, right = tree.children_left.astype(np.int64), tree.children_right.astype(np.int64)
    return [
        Tree(tree.feature.astype(np.int64), tree.threshold.astype(np.float64), missing, left, right, leaf, scale * values[:, k])
        for k in range(values.shape[1])
    ]


def _paths(tree: Tree) -> Iterator[tuple[_Path, float]]:
    """Every leaf's conditions and value, by depth-first search."""
    nan = float("nan")
    stack: list[tuple[int, _Path]] = [(0, {})]
    while stack:
        node, path = stack.pop()
        if tree.leaf[node]:
            yield path, float(tree.value[node])
            continue
        feature, threshold, missing_left = int(tree.feature[node]), float(tree.threshold[node]), bool(tree.missing_left[node])
        low, high, nan_ok = path.get(feature, (nan, nan, True))
        # NaN bounds compare false both ways, so that "no bound" lets everything pass, infinities included.
        above = threshold if not threshold <= low else low
        below = threshold if not threshold >= high else high
        stack.append((int(tree.right[node]), {**path, feature: (above, high, nan_ok and not missing_left)}))
        stack.append((int(tree.left[node]), {**path, feature: (low, below, nan_ok and missing_left)}))


def _ensemble(trees: Sequence[Tree], offset: float, d: int, *, single: bool, max_features: int) -> TreeEnsemble:
    by_size: dict[int, list[tuple[_Path, float]]] = {}
    for tree in trees:
        for path, value in _paths(tree):
            by_size.setdefault(len(path), []).append((path, value))
    largest = max(by_size, default=0)
    limit = min(max_features, MAX_PATH_FEATURES)
    if largest > limit:
        raise OptionError(
            f"estimator: a path to a leaf asks about {largest} distinct features, at most {limit} are possible "
            "(the tables grow as 2^D); grow the trees with a smaller max_depth"
        )
    offset += sum(value for _, value in by_size.pop(0, []))
    grown = tuple(tree for tree in trees if len(tree.value) > 1)
    return TreeEnsemble(tuple(_group(by_size[size]) for size in sorted(by_size)), offset, d, grown, single)


def _group(leaves: Sequence[tuple[_Path, float]]) -> LeafGroup:
    conditions = [list(path.values()) for path, _ in leaves]
    return LeafGroup(
        np.array([list(path) for path, _ in leaves], dtype=np.int64),
        np.array([[low for low, _, _ in row] for row in conditions], dtype=np.float64),
        np.array([[high for _, high, _ in row] for row in conditions], dtype=np.float64),
        np.array([[nan_ok for _, _, nan_ok in row] for row in conditions], dtype=bool),
        np.array([value for _, value in leaves], dtype=np.float64),
    )
