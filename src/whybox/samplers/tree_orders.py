"""Orders of features that keep the branches of a tree together, each with its reverse, as cuts between coalitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whybox.spaces.hierarchy import PartitionTree
from whybox.typing import Bools, Ints


@dataclass(frozen=True)
class TreeOrders:
    """p random orders of a tree's leaves: at every inner node one child comes first, by a fair coin.

    In an order, every branch is a stretch of neighbours. The coalition "everything before" a cut and its complement, "everything before"
    it in the reverse order, are asked together. The cut of an inner node lies between its children, so that opening a node takes two
    coalitions an order whatever its depth.

    Args:
        tree: the tree.
        place: (p, d) position of each feature in each order.
        low: (p, d - 1) where each inner node's stretch begins.
        cut: (p, d - 1) where its second child begins.
        high: (p, d - 1) where it ends.
        first: (p, d - 1) which child comes first, 0 or 1.
    """

    tree: PartitionTree
    place: Ints
    low: Ints
    cut: Ints
    high: Ints
    first: Ints

    def coalitions(self, order: int, nodes: Ints) -> Bools:
        """The coalitions (2 nodes, d) that open these nodes in an order: before the cut, and its complement, node after node."""
        return self.at_cuts(order, self.cut[order, nodes])

    def at_cuts(self, order: int, cuts: Ints) -> Bools:
        """The coalitions (2 cuts, d) of the features before each cut, 1 to d - 1, and of those behind it, in turns."""
        before = self.place[order][None, :] < cuts[:, None]
        return np.stack([before, ~before], axis=1).reshape(-1, self.tree.d)


def tree_orders(tree: PartitionTree, n_orders: int, rng: np.random.Generator) -> TreeOrders:
    """Draw orders; the draw of fewer orders is a prefix of the draw of more.

    Each order is drawn alike from all, but together they are spread out: a node k levels below the root takes its coins in turns, by bit
    k - 1 of the order's number, turned over by a coin that the orders with the same lower bits share. Of 2**m orders, each feature's
    positions then lie in different strata (random digit scrambling, Owen 1995).

    Args:
        tree: which branches stay together.
        n_orders: how many, each standing for itself and its reverse.
        rng: from :func:`whybox._random.generator`.

    Source: Owen 1977; Castro, Gomez and Tejada 2009 (sampling); Mitchell et al. 2022 (antithetic pairs).

    Example:
        >>> from whybox.spaces.hierarchy import partition_tree
        >>> orders = tree_orders(partition_tree([[0, 1], [2, 3]], 4), 5, np.random.default_rng(0))
        >>> bool((np.abs(orders.place[:, 0] - orders.place[:, 1]) == 1).all())
        True
    """
    coins = rng.integers(0, 2, size=(n_orders, tree.n_nodes))
    p, above = np.arange(n_orders)[:, None], np.clip(tree.depth - 1, 0, 62)[None, :]  # the root's coin is the same: its reverse is there
    coins = coins[np.where(tree.depth > 0, p % (1 << above), 0), np.arange(tree.n_nodes)]
    first = np.where(tree.depth > 0, coins ^ (p >> above & 1), coins)
    size = tree.stop - tree.start
    left = tree.middle - tree.start
    lead = np.where(first == 0, left, size - left)
    low = np.zeros((n_orders, tree.n_nodes), dtype=np.int64)
    place = np.empty((n_orders, tree.d), dtype=np.int64)
    if not tree.n_nodes:
        place[:] = 0
    for nodes in tree.levels:
        for side in (0, 1):
            begin = np.where(first[:, nodes] == side, low[:, nodes], low[:, nodes] + lead[:, nodes])
            child = tree.children[nodes, side]
            inner = child >= 0
            low[:, child[inner]] = begin[:, inner]
            leaf = tree.order[np.where(side == 0, tree.start[nodes], tree.middle[nodes])]
            place[:, leaf[~inner]] = begin[:, ~inner]
    return TreeOrders(tree, place, low, low + lead, low + size, first)
