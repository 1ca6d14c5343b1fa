"""Owen values of many rows at once: every tree is a game that says what it wants to know next, and one call of the engine answers all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._random import generator
from whybox.explainers._job import Job, PerRow, Request, positive, rows_of
from whybox.explainers._shapley import ToleranceWarning, link_function
from whybox.explainers._widths import Table, by_width, empty_outputs
from whybox.explanations import Attribution
from whybox.samplers.tree_orders import TreeOrders, tree_orders
from whybox.solvers.owen import allowance, owen_coalitions, solve_orders, solve_owen_exact
from whybox.spaces.hierarchy import PartitionTree, partition_tree
from whybox.typing import Ask, Bools, Floats, Hierarchical, Ints

_BLOCK_BYTES = 16 << 20
_FIRST_LEVELS, _LEAST_OPENED = 3, 4  # opened before anything is known; opened at once from then on, or as many as are open
Wanted = list[tuple[Ints, Bools]]  # coalitions (m, d) for some of a game's rows
Answers = list[Floats]  # for each (rows, m, q)


@dataclass(frozen=True)
class Found:
    """What a game found: values and std_error (r, d, q), features that share their value (r, d), and how."""

    values: Floats
    std_error: Floats
    shared_by: Ints
    method: str


Game = Generator[Wanted, Answers, Found]


def explain_owen(request: Request, tree: Any, *, budget: Callable[[int, int], int], tol: float | None, link: str) -> Attribution:
    """Explain by Owen values.

    Args:
        request: the call.
        tree: nested lists or a linkage matrix for all rows, or None for what the space offers.
        budget: features and draws to the most coalitions a row.
        tol: the standard error that every value must reach, or None.
        link: "identity" or "logit".
    """
    limit = None if tol is None else positive("tol", tol)
    with Job(request) as job:
        apply = link_function(link)
        widths = by_width(job)
        trees = _trees(job, tree)
        u, k = job.full.shape
        q, everyone = k if job.chosen is None else 1, np.arange(u)
        values, errors, shared = Table(job, widths, q), Table(job, widths, q), Table(job, widths, 1)
        full = job.select(apply(job.full), everyone)
        none = job.select(np.broadcast_to(apply(empty_outputs(job, widths)), job.full.shape), everyone)
        methods: set[str] = set()
        most = {width.d: budget(width.d, job.bound.draws) for width in widths}
        for block in _blocks(trees, most, k):
            games = [_game(trees[at[0]], none[at], full[at], most[trees[at[0]].d], limit, request.seed) for at in block]
            for at, found in zip(block, _play(job, block, games, apply), strict=True):
                values.put(at, found.values)
                errors.put(at, found.std_error)
                shared.put(at, found.shared_by[:, :, None].astype(np.float64))
                methods.add(found.method)
        reached = errors.most()
        if limit is not None and reached > limit:
            warnings.warn(
                f"{request.method}: tol={limit:g} was not reached within {max(most.values())} coalitions a row, the largest standard error "
                f"is {reached:.3g}; raise budget=",
                ToleranceWarning,
                stacklevel=3,
            )
        e = job.result(
            values=values.rows(), base_values=none, std_error=errors.rows(), estimator=", ".join(sorted(methods)), predictions=full
        )
        return replace(e, conditions=_shares(job, shared.rows())) if shared.most() > 1 else e


def _trees(job: Job, given: Any) -> list[PartitionTree]:
    """The tree of each distinct row; rows with equal trees get the same object."""
    made: dict[bytes, PartitionTree] = {}
    seen: dict[int, tuple[Any, PartitionTree]] = {}
    result = []
    for i in job.rows.tolist():
        d = job.bound.n_features(i)
        nested = given if given is not None else job.bound.tree(i) if isinstance(job.bound, Hierarchical) else list(range(d))
        if id(nested) not in seen or seen[id(nested)][1].d != d:
            tree = partition_tree(nested, d, job.bound.feature_names(i))
            seen[id(nested)] = nested, made.setdefault(tree.key, tree)  # nested is held, so its id stays its own
        result.append(seen[id(nested)][1])
    return result


def _blocks(trees: list[PartitionTree], most: dict[int, int], k: int) -> list[list[Ints]]:
    """Rows with equal trees together, and these gathered so that the answers held at once are bounded."""
    groups: dict[bytes, list[int]] = {}
    for i, tree in enumerate(trees):
        groups.setdefault(tree.key, []).append(i)
    blocks: list[list[Ints]] = [[]]
    filled = 0
    for rows in groups.values():
        tree = trees[rows[0]]
        size = 16 * k * max(min(most[tree.d], tree.exact_cost), tree.d, 1)
        step = max(_BLOCK_BYTES // size, 1)
        for start in range(0, len(rows), step):
            at = np.array(rows[start : start + step])
            if filled and filled + size * len(at) > _BLOCK_BYTES:
                blocks.append([])
                filled = 0
            blocks[-1].append(at)
            filled += size * len(at)
    return blocks


def _play(job: Job, block: list[Ints], games: list[Game], apply: Callable[[Floats], Floats]) -> list[Found]:
    """Ask what all games want in one call of the engine, tell them, and go on until each has found its answer."""
    found: dict[int, Found] = {}
    wanted: dict[int, Wanted] = {}

    def go_on(i: int, answers: Answers | None) -> None:
        try:
            wanted[i] = next(games[i]) if answers is None else games[i].send(answers)
        except StopIteration as done:
            wanted.pop(i, None)
            found[i] = done.value

    for i in range(len(games)):
        go_on(i, None)
    while wanted:
        asks = [(i, block[i][rows], codes) for i, asked in wanted.items() for rows, codes in asked]
        outputs = job.run.values(job.bound, [Ask(job.rows[rows], codes) for _, rows, codes in asks])
        told: dict[int, Answers] = {}
        for (i, rows, _), answer in zip(asks, outputs, strict=True):
            told.setdefault(i, []).append(job.select(apply(answer), rows))
        for i, answers in told.items():
            go_on(i, answers)
    return [found[i] for i in range(len(games))]


def _game(tree: PartitionTree, none: Floats, full: Floats, most: int, tol: float | None, seed: int) -> Game:
    """The exact answer where the budget covers it, otherwise orders; rows (r, q) of one tree."""
    everyone, nodes = np.arange(len(full)), np.arange(tree.n_nodes)
    if not tree.n_nodes or tree.exact_cost <= (most if tol is None else min(most, 4 * tree.n_nodes)):
        return (yield from _exact(tree, everyone, none, full))
    pairs = 1 if tol is not None else most // (2 * tree.n_nodes)
    sweep = _Sweep(tree_orders(tree, max(pairs, 1), generator(seed, "tree orders", tree.d)), none, full)
    if tol is not None or not pairs:
        return (yield from _best_first(sweep, most, tol, seed))
    answers = yield [(everyone, np.concatenate([sweep.orders.coalitions(p, nodes) for p in range(pairs)]))]
    sweep.opened[:] = True
    for p, part in enumerate(np.split(answers[0], pairs, axis=1)):
        sweep.tell(p, everyone, nodes, part)
    return Found(*sweep.solve(everyone, pairs), "orders")


def _exact(tree: PartitionTree, rows: Ints, none: Floats, full: Floats) -> Game:
    """All contexts, for some of a game's rows."""
    r, q = len(rows), full.shape[1]
    v = np.empty((r * q, 0))
    if tree.n_nodes:
        answers = yield [(rows, owen_coalitions(tree))]
        v = answers[0].transpose(0, 2, 1).reshape(r * q, -1)
    values = solve_owen_exact(tree, v, none[rows].reshape(-1), full[rows].reshape(-1)).reshape(r, q, tree.d).transpose(0, 2, 1)
    return Found(values, np.zeros_like(values), np.ones((r, tree.d), dtype=np.int64), "exact")


def _best_first(sweep: _Sweep, most: int, tol: float | None, seed: int) -> Game:
    """Open the branches that matter most, as many at once as are open already; then more orders of what is open, to the tolerance."""
    tree, everyone = sweep.orders.tree, np.arange(len(sweep.opened))
    while (chosen := sweep.choose(most // 2, 0.0 if tol is None else tol)).any():
        groups = _alike(chosen)
        answers = yield [(rows, sweep.orders.coalitions(0, nodes)) for rows, nodes in groups]
        for (rows, nodes), answer in zip(groups, answers, strict=True):
            sweep.tell(0, rows, nodes, answer)
        sweep.opened |= chosen
    values, errors, shared = sweep.solve(everyone, 1)
    method = "orders" if (shared == 1).all() else "orders, some branches closed"
    pairs = 1
    while tol is not None:
        left = errors.max(axis=(1, 2)) > tol
        if left.any() and 4 * pairs * tree.n_nodes >= tree.exact_cost <= most:
            at = np.flatnonzero(left)
            exact = yield from _exact(tree, at, sweep.none, sweep.full)
            values[at], errors[at], shared[at] = exact.values, exact.std_error, exact.shared_by
            method = "exact" if left.all() else f"{method}; exact"
            break
        at = np.flatnonzero(left & (4 * pairs * sweep.opened.sum(axis=1) <= most))
        if not len(at):
            break
        fresh = range(pairs, 2 * pairs)
        pairs *= 2
        sweep.grow(tree_orders(tree, pairs, generator(seed, "tree orders", tree.d)))
        groups = [(at[rows], nodes) for rows, nodes in _alike(sweep.opened[at])]
        answers = yield [(rows, np.concatenate([sweep.orders.coalitions(p, nodes) for p in fresh])) for rows, nodes in groups]
        for (rows, nodes), answer in zip(groups, answers, strict=True):
            for p, part in zip(fresh, np.split(answer, len(fresh), axis=1), strict=True):
                sweep.tell(p, rows, nodes, part)
        values[at], errors[at], _ = sweep.solve(at, pairs)
    return Found(values, errors, shared, method)


def _alike(chosen: Bools) -> list[tuple[Ints, Ints]]:
    """Rows that chose the same nodes, and these nodes."""
    patterns, owner = np.unique(chosen, axis=0, return_inverse=True)
    groups = [(np.flatnonzero(owner.reshape(-1) == i), np.flatnonzero(pattern)) for i, pattern in enumerate(patterns)]
    return [(rows, nodes) for rows, nodes in groups if len(nodes)]


class _Sweep:
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
            node, side = np.nonzero(tree.children < 0)
            owner[:, np.where(side == 0, tree.start[node], tree.middle[node])] = 1 + 2 * node + side
        for opened in range(0 if everything else tree.n_nodes):
            at = np.flatnonzero(self.opened[rows, opened])[:, None]
            owner[at, np.arange(tree.start[opened], tree.middle[opened])] = 1 + 2 * opened
            owner[at, np.arange(tree.middle[opened], tree.stop[opened])] = 2 + 2 * opened
        by_feature = np.empty_like(owner)
        by_feature[:, tree.order] = owner
        index = np.repeat(by_feature, q, axis=0)
        values, errors = (
            np.take_along_axis(part, index, axis=1).reshape(n, q, tree.d).transpose(0, 2, 1) for part in (found.values, found.std_error)
        )
        return values, errors, np.take_along_axis(size, by_feature, axis=1)


def _shares(job: Job, shared: PerRow) -> NDArray[Any]:
    """What the value of a feature in a closed branch says, for all rows."""
    rows = []
    for i, sizes in zip(job.rows.tolist(), shared, strict=True):
        names = job.bound.feature_names(i)
        texts = np.full(len(sizes), None, dtype=object)
        for j in np.flatnonzero(sizes[:, 0] > 1).tolist():
            texts[j] = f"{names[j]} (shared by {sizes[j, 0]:.0f})"
        rows.append(texts)
    every = job.everyone(np.arange(len(rows)))
    return rows_of(rows, every) if isinstance(shared, list) else np.stack(rows)[every]
