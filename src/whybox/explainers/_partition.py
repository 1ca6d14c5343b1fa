"""Owen values of many rows at once: every tree is a game that says what it wants to know next, and one call of the engine answers all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._random import generator
from whybox.explainers._focus import Focus
from whybox.explainers._in_step import in_step
from whybox.explainers._job import Job, PerRow, Request, positive, rows_of
from whybox.explainers._shapley import ToleranceWarning, link_function
from whybox.explainers._sweep import Sweep
from whybox.explainers._widths import Table, by_width, empty_outputs
from whybox.explanations import Attribution
from whybox.samplers.tree_orders import TreeOrders, tree_orders
from whybox.solvers.owen import owen_coalitions, solve_owen_exact
from whybox.spaces.hierarchy import PartitionTree, partition_tree
from whybox.typing import Ask, Bools, Bound, Floats, Hierarchical, Ints

_BLOCK_BYTES = 16 << 20
_FIRST_SHARE, _MOST_ORDERS = 4, 4  # all features have a quarter of the orders that the budget pays for, none more than four times as many
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
        trees = _trees(job.bound, job.rows.tolist(), tree)
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


def planned(bound: Bound, given: Any, d: int, most: int, tol: float | None) -> tuple[Bools, bool]:
    """The coalitions that are asked for a row of d features, or as many, and whether it is certain that it will be these."""
    rows = [i for i in range(1 if bound.shared_empty else bound.n) if bound.n_features(i) == d]
    found = {tree.key: tree for tree in _trees(bound, rows, given)}.values()
    exact = [tree.exact_cost for tree in found if tree.exact_cost <= most]
    pairs = most // (2 * (d - 1)) if d > 1 else 0
    if tol is None and exact and (len(exact) == len(found) or max(exact) >= 2 * pairs * (d - 1)):
        largest = max((tree for tree in found if tree.exact_cost <= most), key=lambda tree: tree.exact_cost)
        return owen_coalitions(largest), len(set(exact)) == 1 and len(exact) == len(found)
    if tol is None and pairs:
        orders = tree_orders(next(iter(found)), pairs + 1, generator(0))  # which ones, depends on the answers; so many at most
        return np.concatenate([orders.coalitions(p, np.arange(d - 1)) for p in range(pairs + 1)])[:most], False
    return np.zeros((max(min(most, 2**d - 2), 0) if d < 60 else most, d), dtype=bool), False  # which ones depends on the answers


def _trees(bound: Bound, rows: list[int], given: Any) -> list[PartitionTree]:
    """The tree of each of these rows; rows with equal trees get the same object."""
    made: dict[bytes, PartitionTree] = {}
    seen: dict[int, tuple[Any, PartitionTree]] = {}
    result = []
    for i in rows:
        d = bound.n_features(i)
        nested = given if given is not None else bound.tree(i) if isinstance(bound, Hierarchical) else list(range(d))
        if id(nested) not in seen or seen[id(nested)][1].d != d:
            tree = partition_tree(nested, d, bound.feature_names(i))
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

    def ask(asked: list[tuple[int, tuple[Ints, Bools]]]) -> list[Floats]:
        placed = [(block[i][rows], codes) for i, (rows, codes) in asked]
        outputs = job.run.values(job.bound, [Ask(job.rows[rows], codes) for rows, codes in placed])
        return [job.select(apply(answer), rows) for (rows, _), answer in zip(placed, outputs, strict=True)]

    return in_step(games, ask)


def _game(tree: PartitionTree, none: Floats, full: Floats, most: int, tol: float | None, seed: int) -> Game:
    """The exact answer where the budget covers it, otherwise orders; rows (r, q) of one tree."""
    everyone = np.arange(len(full))
    if not tree.n_nodes or tree.exact_cost <= (most if tol is None else min(most, 8 * tree.n_nodes)):
        return (yield from _exact(tree, everyone, none, full))
    pairs = most // (2 * tree.n_nodes)
    if tol is None and pairs:
        return (yield from _focused(tree, none, full, most, seed))
    sweep = Sweep(tree_orders(tree, 1, generator(seed, "tree orders", tree.d)), none, full)
    return (yield from _best_first(sweep, most, tol, seed))


def _focused(tree: PartitionTree, none: Floats, full: Floats, most: int, seed: int) -> Game:
    """A quarter of the orders for all features, and what is left of the budget for those whose values are least certain, row by row."""

    def orders(p: int) -> TreeOrders:
        return tree_orders(tree, p, generator(seed, "tree orders", tree.d))

    everyone, nodes = np.arange(len(full)), np.arange(tree.n_nodes)
    pairs = most // (2 * tree.n_nodes)
    first = max(pairs // _FIRST_SHARE, 1)
    focus = Focus(orders(first), none, full)
    answers = yield [(everyone, np.concatenate([focus.orders.coalitions(p, nodes) for p in range(first)]))]
    for p, part in enumerate(np.split(answers[0], first, axis=1)):
        focus.tell(p, everyone, focus.orders.cut[p], part)
    room = np.full(len(full), most - 2 * first * tree.n_nodes)
    while True:
        chosen, count = focus.choose(room, _MOST_ORDERS * pairs)
        if not chosen.any():
            break
        if count[chosen].max() == len(focus.orders.place):
            focus.grow(orders(2 * len(focus.orders.place)))
        wanted = [
            (np.array([row]), order, focus.cuts(row, np.flatnonzero(chosen[row] & (count[row] == order)), order))
            for row in np.flatnonzero(chosen.any(axis=1)).tolist()
            for order in np.unique(count[row][chosen[row]]).tolist()
        ]
        wanted = [one for one in wanted if len(one[2])]
        answers = yield [(row, focus.orders.at_cuts(order, cuts)) for row, order, cuts in wanted]
        for (row, order, cuts), answer in zip(wanted, answers, strict=True):
            focus.tell(order, row, cuts, answer)
            room[row] -= 2 * len(cuts)
    found, count = focus.solve()
    values, errors = (part.reshape(len(full), -1, tree.d).transpose(0, 2, 1) for part in (found.values, np.sqrt(found.variance)))
    return Found(values, errors, np.ones(count.shape, dtype=np.int64), "orders")


def _exact(tree: PartitionTree, rows: Ints, none: Floats, full: Floats) -> Game:
    """All contexts, for some of a game's rows."""
    r, q = len(rows), full.shape[1]
    v = np.empty((r * q, 0))
    if tree.n_nodes:
        answers = yield [(rows, owen_coalitions(tree))]
        v = answers[0].transpose(0, 2, 1).reshape(r * q, -1)
    values = solve_owen_exact(tree, v, none[rows].reshape(-1), full[rows].reshape(-1)).reshape(r, q, tree.d).transpose(0, 2, 1)
    return Found(values, np.zeros_like(values), np.ones((r, tree.d), dtype=np.int64), "exact")


def _best_first(sweep: Sweep, most: int, tol: float | None, seed: int) -> Game:
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
        spent = 2 * pairs * int(sweep.opened.sum(axis=1).max())
        if left.any() and 4 * pairs * tree.n_nodes >= tree.exact_cost <= most - spent:
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
