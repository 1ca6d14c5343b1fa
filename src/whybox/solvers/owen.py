"""Owen values over a binary tree: exactly from all contexts, or from orders that keep branches together."""

from __future__ import annotations

import numpy as np
from scipy import stats

from whybox.spaces.hierarchy import PartitionTree
from whybox.typing import Bools, Estimate, Floats, Ints


def owen_coalitions(tree: PartitionTree) -> Bools:
    """All coalitions (m, d) that exact Owen values need, without the empty and the full one.

    A node is valued beside its sibling and without it, and so is every branch above it: a node below k others has ``2**k`` contexts.
    Opening it in one context takes two coalitions, the context with either child.

    Example:
        >>> from whybox.spaces.hierarchy import partition_tree
        >>> owen_coalitions(partition_tree([[0, 1], [2, 3]], 4)).shape
        (10, 4)
    """
    asked: list[Bools] = []
    contexts: dict[int, Bools] = {0: np.zeros((1, tree.d), dtype=bool)} if tree.n_nodes else {}
    for node in range(tree.n_nodes):
        context = contexts.pop(node)
        with_left, with_right = context.copy(), context.copy()
        with_left[:, tree.start[node] : tree.middle[node]] = True
        with_right[:, tree.middle[node] : tree.stop[node]] = True
        asked += [with_left, with_right]
        for child, beside in zip(tree.children[node].tolist(), (with_right, with_left), strict=True):
            if child >= 0:
                contexts[child] = np.concatenate([context, beside])
    return tree.codes(np.concatenate(asked)) if asked else np.zeros((0, tree.d), dtype=bool)


def solve_owen_exact(tree: PartitionTree, v: Floats, v_empty: Floats, v_full: Floats) -> Floats:
    """Owen values from the answers to :func:`owen_coalitions`.

    Args:
        tree: the tree.
        v: (r, m) value of each coalition.
        v_empty: (r,) value of the empty coalition.
        v_full: (r,) value of the full coalition.

    Returns:
        (r, d) values that sum to ``v_full - v_empty``.

    References:
        Owen, Values of games with a priori unions, 1977; Winter, A value for cooperative games with levels structure of cooperation, 1989.

    Example:
        >>> from whybox.spaces.hierarchy import partition_tree
        >>> solve_owen_exact(partition_tree([0, 1], 2), np.array([[1.0, 2.0]]), np.zeros(1), np.array([5.0])).tolist()
        [[2.0, 3.0]]
    """
    values = np.empty((len(v_full), tree.d))
    if tree.d == 1:
        values[:, 0] = v_full - v_empty
    ends: dict[int, tuple[Floats, Floats]] = {0: (v_empty[:, None], v_full[:, None])}
    at = 0
    for node in range(tree.n_nodes):
        without, whole = ends.pop(node)
        m = without.shape[1]
        left, right = v[:, at : at + m], v[:, at + m : at + 2 * m]
        at += 2 * m
        sides = ((0, left, right, int(tree.start[node])), (1, right, left, int(tree.middle[node])))
        for side, mine, beside, position in sides:
            before, after = np.concatenate([without, beside], axis=1), np.concatenate([mine, whole], axis=1)
            child = int(tree.children[node, side])
            if child >= 0:
                ends[child] = before, after
            else:
                values[:, tree.order[position]] = (after - before).mean(axis=1)
    return values


def allowance(forward: Floats, backward: Floats, size: Ints) -> Floats:
    """How far an even share may be from a feature's own value, in a closed branch of ``size`` features.

    The root mean square error of the even shares if one feature, any of them alike, held the branch's whole value V:
    ``|V| sqrt(size - 1) / size``, with the larger of the branch's values in the order and in its reverse.

    Example:
        >>> float(allowance(np.array(1.0), np.array(-2.0), np.array(2)))
        1.0
    """
    spread: Floats = np.maximum(np.abs(forward), np.abs(backward)) * np.sqrt(size - 1.0) / size
    return spread


def solve_orders(forward: Floats, backward: Floats, size: Ints) -> Estimate:
    """Mean of what a tree's open branches add, over orders and their reverses.

    The standard error comes from the spread over the orders and, as if it were one order more, from half the difference between the orders
    and their reverses: near the root a few orders may agree by chance. It is widened by Student's quantile, so that 1.96 standard errors
    hold the value 95 % of the time. From a single order that half difference alone is taken, the branch's own or its root mean square over
    the branches, whichever is larger.
    A closed branch's value is shared evenly by its features, and the allowance for that is added to its features' squared errors.

    Args:
        forward: (p, r, g) what each of g open branches adds in each of p orders, for r right-hand sides.
        backward: (p, r, g) the same in the reverse orders.
        size: (g,) or (r, g) features of each branch.

    Returns:
        values (r, g) and std_error (r, g) of a feature of each branch.

    Example:
        >>> solve_orders(np.array([[[3.0, 1.0]]]), np.array([[[1.0, 1.0]]]), np.array([1, 2])).values.tolist()
        [[2.0, 0.5]]
    """
    p = len(forward)
    each = 0.5 * (forward + backward)
    values = each.mean(axis=0)
    gap = (0.25 * (forward - backward) ** 2).mean(axis=0)
    if p > 1:
        spread = (p - 1) / p * each.var(axis=0, ddof=1) + gap / p
        error = float(stats.t.ppf(0.975, p)) / 1.959963984540054 * np.sqrt(spread / p)
    else:
        here = np.broadcast_to(size > 0, gap.shape)
        pooled = np.where(here, gap, 0.0).sum(axis=1, keepdims=True) / np.maximum(here.sum(axis=1, keepdims=True), 1)
        error = np.sqrt(np.maximum(gap, pooled))
    share = np.maximum(size, 1)
    apart = allowance(forward[0], backward[0], share)
    return Estimate(values=values / share, std_error=np.sqrt((error / share) ** 2 + apart**2), method="orders")
