"""What PartitionSHAP knows of some rows along random orders: which branches are open, what they add, and what to open next."""

from __future__ import annotations

import numpy as np

from whybox.samplers.tree_orders import TreeOrders
from whybox.solvers.owen import allowance, solve_orders
from whybox.typing import Bools, Floats, Ints

_FIRST_LEVELS, _LEAST_OPENED = 3, 4  # opened before anything is known; opened at once from then on, or as many as are open


class Sweep:
    """What is known of r rows along p orders and their reverses: the outputs at the cuts that were asked."""

    def __init__(self, orders: TreeOrders, none: Floats, full: Floats) -> None:
        tree = orders.tree
        self.orders, self.none, self.full = orders, none, full
        self.opened = np.zeros((len(none), tree.n_nodes), dtype=bool)
        self._forward, self._backward = self._tables(len(orders.place))
        # Branches: the root's, and both sides of each node.
        self._inner = np.concatenate([[0], tree.children.reshape(-1)])
        self._size = np.concatenate([[tree.d], np.stack([tree.middle - tree.start, tree.stop - tree.middle], axis=1).reshape(-1)])

    def _tables(self, p: int) -> tuple[Floats, Floats]:
        forward = np.full((p, len(self.none), self.orders.tree.d + 1, self.none.shape[1]), np.nan)
        backward = forward.copy()
        forward[:, :, 0], forward[:, :, -1] = self.none, self.full
        backward[:, :, 0], backward[:, :, -1] = self.full, self.none
        return forward, backward

    def grow(self, orders: TreeOrders) -> None:
        """More orders, of which the first are those that there are."""
        old = len(self._forward)
        forward, backward = self._tables(len(orders.place))
        forward[:old], backward[:old] = self._forward, self._backward
        self.orders, self._forward, self._backward = orders, forward, backward

    def tell(self, order: int, rows: Ints, nodes: Ints, answer: Floats) -> None:
        """Answers (rows, 2 nodes, q) to ``orders.coalitions(order, nodes)``."""
        at = self.orders.cut[order, nodes]
        self._forward[order][rows[:, None], at], self._backward[order][rows[:, None], at] = answer[:, 0::2], answer[:, 1::2]

    def _branches(self, p: int, rows: Ints) -> tuple[Floats, Floats]:
        """What each branch adds in the first p orders, and in their reverses: (p, rows, branches, q), NaN where its node is closed."""
        orders = self.orders
        ends = np.stack([orders.low, orders.cut, orders.high], axis=2)[:p]  # (p, nodes, 3)
        second = np.stack([orders.first[:p] != 0, orders.first[:p] != 1], axis=2).astype(np.int64)  # child 0 comes second, child 1 does
        low = np.take_along_axis(ends, second, axis=2).reshape(p, -1)
        high = np.take_along_axis(ends, second + 1, axis=2).reshape(p, -1)
        low, high = np.insert(low, 0, 0, axis=1), np.insert(high, 0, orders.tree.d, axis=1)
        i, n = np.arange(p)[:, None, None], rows[None, :, None]
        forward = self._forward[i, n, high[:, None]] - self._forward[i, n, low[:, None]]
        backward = self._backward[i, n, low[:, None]] - self._backward[i, n, high[:, None]]
        return forward, backward

    def _frontier(self, rows: Ints) -> Bools:
        """(rows, branches) which branches stand for themselves: their node is open, and they are not."""
        opened = self.opened[rows]
        there = np.insert(np.repeat(opened, 2, axis=1), 0, True, axis=1)
        inside = np.where(self._inner >= 0, opened[:, self._inner], False)
        return there & ~inside

    def choose(self, most: int, least: float) -> Bools:
        """(r, nodes) what to open next: the largest allowances above ``least``, at most ``most`` open nodes a row."""
        tree, everyone = self.orders.tree, np.arange(len(self.opened))
        chosen = np.zeros_like(self.opened)
        if not self.opened.any():
            first = np.flatnonzero(tree.depth < _FIRST_LEVELS)
            first = first[np.argsort(tree.depth[first], kind="stable")][: max(most, 0)]
            chosen[:, first] = True
            return chosen
        forward, backward = self._branches(1, everyone)
        closed = self._frontier(everyone) & (self._inner >= 0)
        gain = allowance(forward[0], backward[0], self._size[:, None]).max(axis=2)
        gain = np.where(closed, gain, -1.0)
        count = self.opened.sum(axis=1)
        room = np.minimum(most - count, np.maximum(count, _LEAST_OPENED))
        best = np.argsort(-gain, axis=1, kind="stable")
        rank = np.empty_like(best)
        np.put_along_axis(rank, best, np.broadcast_to(np.arange(best.shape[1]), best.shape), axis=1)
        take = (gain > least) & (rank < room[:, None])
        row, branch = np.nonzero(take)
        chosen[row, self._inner[branch]] = True
        return chosen

    def solve(self, rows: Ints, p: int) -> tuple[Floats, Floats, Ints]:
        """Values and standard errors (rows, d, q), and how many features share each value (rows, d)."""
        tree, n, q = self.orders.tree, len(rows), self.none.shape[1]
        there = self._frontier(rows)
        size = np.where(there, self._size, 0)
        flat = [
            np.where(there[:, None], part.transpose(0, 1, 3, 2), 0.0).reshape(p, n * q, -1) for part in self._branches(p, rows)
        ]  # (p, n q, branches)
        found = solve_orders(flat[0], flat[1], np.repeat(size, q, axis=0))
        owner = np.zeros((n, tree.d), dtype=np.int64)  # the branch of each leaf
        everything = bool(self.opened[rows].all())
        if everything:
            above, side = np.nonzero(tree.children < 0)
            owner[:, np.where(side == 0, tree.start[above], tree.middle[above])] = 1 + 2 * above + side
        for node in range(0 if everything else tree.n_nodes):
            at = np.flatnonzero(self.opened[rows, node])[:, None]
            owner[at, np.arange(tree.start[node], tree.middle[node])] = 1 + 2 * node
            owner[at, np.arange(tree.middle[node], tree.stop[node])] = 2 + 2 * node
        by_feature = np.empty_like(owner)
        by_feature[:, tree.order] = owner
        index = np.repeat(by_feature, q, axis=0)
        values, errors = (
            np.take_along_axis(part, index, axis=1).reshape(n, q, tree.d).transpose(0, 2, 1) for part in (found.values, found.std_error)
        )
        return values, errors, np.take_along_axis(size, by_feature, axis=1)
