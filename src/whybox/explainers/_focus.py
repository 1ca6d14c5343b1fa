"""What PartitionSHAP knows of some rows whose features are all valued, some of them in more orders than others."""

from __future__ import annotations

import numpy as np

from whybox.samplers.tree_orders import TreeOrders
from whybox.solvers.owen_ratio import Fading, Ratio, fading_of, solve_ratio
from whybox.typing import Bools, Floats, Ints

_ROUNDS, _LEAST = 3, 8  # a round values as many features again as a third of the budget pays for, or an eighth of all


class Focus:
    """The outputs of r rows at the cuts of p orders and their reverses, as far as they were asked.

    A feature's next order is always the first one that it lacks; it takes the two cuts beside the feature, and their complements.
    """

    def __init__(self, orders: TreeOrders, none: Floats, full: Floats) -> None:
        self.orders, self._none, self._full = orders, none, full
        self._fading: Fading = fading_of(orders.tree)
        self._forward, self._backward = self._tables(len(orders.place))

    def _tables(self, p: int) -> tuple[Floats, Floats]:
        forward = np.full((p, len(self._none), self.orders.tree.d + 1, self._none.shape[1]), np.nan)
        backward = forward.copy()
        forward[:, :, 0], forward[:, :, -1] = self._none, self._full
        backward[:, :, 0], backward[:, :, -1] = self._full, self._none
        return forward, backward

    def grow(self, orders: TreeOrders) -> None:
        """More orders, of which the first are those that there are."""
        old, self.orders = len(self._forward), orders
        forward, backward = self._tables(len(orders.place))
        forward[:old], backward[:old] = self._forward, self._backward
        self._forward, self._backward = forward, backward

    def tell(self, order: int, rows: Ints, cuts: Ints, answer: Floats) -> None:
        """Answers (rows, 2 cuts, q) to ``orders.at_cuts(order, cuts)``."""
        self._forward[order][rows[:, None], cuts], self._backward[order][rows[:, None], cuts] = answer[:, 0::2], answer[:, 1::2]

    def _valued(self) -> tuple[Floats, Floats, Bools]:
        """(p, r, d, q) what each feature adds in each order and its reverse, and (p, r, d) where that is known."""
        p, place = np.arange(len(self.orders.place))[:, None], self.orders.place
        forward, backward = self._forward.transpose(0, 2, 1, 3), self._backward.transpose(0, 2, 1, 3)
        there = (forward[p, place + 1] - forward[p, place]).transpose(0, 2, 1, 3)
        back = (backward[p, place] - backward[p, place + 1]).transpose(0, 2, 1, 3)
        known = ~(np.isnan(there[..., 0]) | np.isnan(back[..., 0]))
        return there, back, np.asarray(np.logical_and.accumulate(known, axis=0))

    def solve(self) -> tuple[Ratio, Ints]:
        """Values of rows and outputs, one after the other (r q, d); and (r, d) in how many orders each feature was valued."""
        there, back, known = self._valued()
        p, r, d, q = there.shape
        flat = [part.transpose(0, 1, 3, 2).reshape(p, r * q, d) for part in (there, back)]
        counted = np.repeat(known, q, axis=1)
        total = (self._full - self._none).reshape(-1)
        return solve_ratio(flat[0], flat[1], self.orders.place, counted, total, self._fading), known.sum(axis=0)

    def choose(self, room: Ints, most: int) -> tuple[Bools, Ints]:
        """(r, d) features to value once more: those whose error that lowers most.

        Args:
            room: (r,) coalitions that a row may still ask.
            most: orders of a feature at most.

        Returns:
            the features, and (r, d) how many orders each has.
        """
        found, count = self.solve()
        r, d = count.shape
        variance = found.variance.reshape(r, -1, d).max(axis=1)
        gain = np.where(count < most, variance / (count + 1), 0.0)
        pays = room // 4
        take = np.minimum(pays, np.maximum(-(-pays // _ROUNDS), -(-d // _LEAST)))
        rank = np.empty_like(count)
        np.put_along_axis(rank, np.argsort(-gain, axis=1, kind="stable"), np.broadcast_to(np.arange(d), (r, d)), axis=1)
        return (rank < take[:, None]) & (gain > 0), count

    def cuts(self, row: int, features: Ints, order: int) -> Ints:
        """The cuts beside these features that a row was not asked for yet."""
        place = self.orders.place[order, features]
        found = np.unique(np.concatenate([place, place + 1]))
        fresh: Ints = found[np.isnan(self._forward[order, row, found, 0])]
        return fresh
