"""Owen values by their definition, to compare explainers with."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from whybox.spaces import Marginal
from whybox.testing.models import Predict
from whybox.typing import Floats, Model


def owen_values(predict: Predict, x: Floats, background: Floats, tree: Any = None) -> Floats:
    """Owen values of the marginal game (Owen 1977): mean contributions over all orders that keep every branch of the tree together.

    Slow and plain on purpose: what is tested must not share code with it. Lists of more than two are halved in order.

    Args:
        predict: rows in, (n,) or (n, k) outputs.
        x: (n, d) rows, d at most about 10.
        background: (b, d).
        tree: nested lists of positions; None (default) takes the tree that the marginal space finds in the background.

    Returns:
        (n, d) or (n, d, k).

    Example:
        >>> owen_values(lambda rows: rows[:, 0] * rows[:, 1] * rows[:, 2], np.array([[1.0, 2.0, 6.0]]), np.zeros((1, 3)), [[0, 1], 2])
        array([[3., 3., 6.]])
    """
    if tree is None:
        tree = Marginal(background).bind(background, Model(predict)).tree(0)
    orders = _orders(_halved(tree))
    result = []
    for row in x:
        worth: dict[tuple[int, ...], Floats] = {}
        total: list[Any] = [0.0] * x.shape[1]
        for order in orders:
            for i, feature in enumerate(order):
                total[feature] = total[feature] + _worth(order[: i + 1], worth, predict, row, background)
                total[feature] = total[feature] - _worth(order[:i], worth, predict, row, background)
        result.append(np.stack([np.asarray(each) / len(orders) for each in total]))
    return np.stack(result)


def _worth(kept: list[int], known: dict[tuple[int, ...], Floats], predict: Predict, row: Floats, background: Floats) -> Floats:
    key = tuple(sorted(kept))
    if key not in known:
        rows = background.copy()
        rows[:, list(key)] = row[list(key)]
        known[key] = np.asarray(predict(rows), dtype=np.float64).mean(axis=0)
    return known[key]


def _halved(tree: Any) -> Any:
    if not isinstance(tree, (list, tuple)):
        return tree
    if len(tree) == 1:
        return _halved(tree[0])
    half = (len(tree) + 1) // 2
    return _halved(tree[:half]), _halved(tree[half:])


def _orders(tree: Any) -> list[list[int]]:
    if not isinstance(tree, tuple):
        return [[tree]]
    left, right = map(_orders, tree)
    return [a + b for a, b in product(left, right)] + [b + a for a, b in product(left, right)]
