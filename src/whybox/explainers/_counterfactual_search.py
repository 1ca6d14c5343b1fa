"""The search for counterfactual rows: what is tried for one row, and which of what was found is told."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from whybox.explainers._counterfactual_choice import changed_at, choose
from whybox.explainers._counterfactual_state import Asking, Cell, Found, RowState, Settings, Told
from whybox.explainers._in_step import Steps
from whybox.spaces.observed import ObservedBound
from whybox.typing import Ints

Search = Steps[Told, Found]

_STARTS, _PROJECTED = 24, 256  # nearest rows with the wanted outcome, and how many are looked at where not all of their cells may be taken
_LEVELS, _CATEGORIES = 8, 16  # values of a column that are tried alone
_PAIRED = 12
_ALIKE = 2  # parents that change the same columns
_LOOKED = 64  # candidates whose plausibility is looked at in a round
_OPTIONS = 6  # of other columns, to be changed instead of one
_STEPS, _SMALL_STEPS = 4, 16  # on the way back to a row's own value, in the search and at its end
_FINISHING = 4  # times that what is chosen is looked at once more


def search(bound: ObservedBound, instance: int, background: Told, at: Told, settings: Settings) -> Search:
    """Counterfactuals of one row.

    Args:
        bound: the observed rows.
        instance: the explained one.
        background: margins (b,) and outputs (b, k) of the background rows.
        at: margin (1,) and outputs (1, k) of the row itself.
        settings: of the search.
    """
    row = RowState(bound, instance, settings, at[1].shape[1])
    if at[0][0] >= 0:
        nothing = np.zeros(0)
        return Found(np.zeros((0, len(row.columns)), dtype=np.int64), np.zeros((0, at[1].shape[1])), nothing, nothing, 0, False)
    row.learn(row.with_cells([[]]), *at)
    choices = [[row.own, *row.options(j)[0].tolist()] for j in row.columns.tolist()]
    exact = math.prod(map(len, choices)) - 1 <= settings.most
    if exact:
        row.kept = 0
        yield from row.ask(np.array(list(itertools.product(*choices)), dtype=np.int64)[1:])
        chosen = choose(row)
    else:
        starts = yield from _starts(row, background)
        gain = yield from _singles(row, starts)
        yield from _combined(row, starts, gain)
        yield from _climb(row, gain)
        yield from _improve(row, gain)
        chosen = yield from _finish(row)
    codes = row.donors[chosen]
    plausibility = np.array([row.plausible[i] for i in chosen], dtype=np.float64)
    return Found(codes, row.outputs[chosen], row.distance(codes), plausibility, row.asked, not exact and row.left <= 0, exact)


def _starts(row: RowState, background: Told) -> Generator[list[NDArray[np.int64]], list[Told], Ints]:
    """(s, d) the nearest observed rows that reach the goal, as far as their cells may be taken."""
    margin, outputs = background
    codes = np.where(row.may, row.bound.first, row.own)
    whole = (row.may | (row.apart == 0)).all(axis=1)
    cost = row.price.sum(axis=1)
    order = [i for i in np.argsort(cost, kind="stable").tolist() if margin[i] >= 0 and cost[i] > 0]
    sure = [i for i in order if whole[i]][:_STARTS]
    for i in sure:
        if codes[i].tobytes() not in row.known:
            row.learn(codes[[i]], margin[[i]], outputs[[i]])
    unsure = [i for i in order if not whole[i]][: min(_PROJECTED, row.left // 4)]
    found = yield from row.ask(codes[unsure])
    reached = [i for i, number in zip(unsure, found.tolist(), strict=True) if number >= 0 and row.margin[number] >= 0]
    near = sorted(sure + reached, key=lambda i: (cost[i], i))[:_STARTS]
    return codes[near] if near else codes[unsure[:_STARTS]]


def _singles(row: RowState, starts: Ints) -> Generator[list[NDArray[np.int64]], list[Told], dict[Cell, float]]:
    """By how much single cells move the margin: those of the starts, and values of every column in even steps."""
    cells = []
    for j in row.columns.tolist():
        there = row.options(j)[0].tolist()
        if row.bound.ordered[j] and len(there) > _LEVELS:
            there = [there[i] for i in np.unique(np.linspace(0, len(there) - 1, _LEVELS).round().astype(int)).tolist()]
        cells += [(j, donor) for donor in there[:_CATEGORIES]]
    cells += [(j, donor) for start in starts.tolist() for j, donor in enumerate(start) if donor != row.own]
    cells = list(dict.fromkeys(cells))
    found = yield from row.ask(row.with_cells([[cell] for cell in cells]))
    return {cell: float(row.margin[number] - row.margin[0]) for cell, number in zip(cells, found.tolist(), strict=True) if number >= 0}


def _best(row: RowState, gain: dict[Cell, float], most: int, each: int = 2, least: float = 0.0) -> list[Cell]:
    """Single cells that move the margin most, by more than ``least``, at most so many of a column."""
    count: dict[int, int] = {}
    out: list[Cell] = []
    for cell in sorted(gain, key=lambda cell: (-gain[cell], row.price[cell[1], cell[0]], cell)):
        if len(out) < most and count.get(cell[0], 0) < each and gain[cell] > least:
            count[cell[0]] = count.get(cell[0], 0) + 1
            out.append(cell)
    return out


def _combined(row: RowState, starts: Ints, gain: dict[Cell, float]) -> Asking:
    """Pairs of the cells that do most, and of every start those that do most, then more and more of them."""
    best = _best(row, gain, _PAIRED)
    tried = [[a, b] for i, a in enumerate(best) for b in best[i + 1 :] if a[0] != b[0]]
    for start in starts.tolist():
        cells = [(j, donor) for j, donor in enumerate(start) if donor != row.own]
        cells.sort(key=lambda cell: (-gain.get(cell, 0.0), cell))
        sizes = np.unique(np.geomspace(1, max(len(cells) - 1, 1), 12).round().astype(int)) if len(cells) > 12 else range(1, len(cells))
        tried += [cells[: int(size)] for size in sizes]
    return (yield from row.ask(row.with_cells(tried)))


def _climb(row: RowState, gain: dict[Cell, float]) -> Asking:
    """Where nothing reaches the goal yet: change one column more of what comes closest, until something does."""
    numbers: Ints = np.zeros(0, dtype=np.int64)
    done: set[int] = set()
    while row.left > 0 and row.margin.max() < 0:
        best = [i for i in np.argsort(-row.margin, kind="stable").tolist() if i not in done][:_PAIRED]
        if not best:
            break
        done.update(best)
        cells = _best(row, gain, 4 * _PAIRED, each=3, least=-np.inf)  # what does nothing alone may do something here
        tried = []
        for i in best:
            codes = np.repeat(row.donors[i][None], len(cells), axis=0)
            for code, (j, donor) in zip(codes, cells, strict=True):
                code[j] = donor
            tried.append(codes)
        numbers = yield from row.ask(np.concatenate(tried))
    return numbers


def _improve(row: RowState, gain: dict[Cell, float]) -> Asking:
    """Take back, move towards the row's own values, or exchange what the best candidates change, until none of them gets better."""
    done: set[int] = set()
    numbers: Ints = np.zeros(0, dtype=np.int64)
    best = _best(row, gain, 4 * _OPTIONS, each=1)
    while row.left > 0:
        parents = [i for i in _parents(row) if i not in done]
        if not parents:
            break
        done.update(parents)
        numbers = yield from row.ask(np.array([child for i in parents for child in _children(row, row.donors[i], best)], dtype=np.int64))
    return numbers


def _parents(row: RowState) -> list[int]:
    """Candidates that others are made of: the cheapest plausible ones, and the cheapest of all."""
    index, codes, _ = row.valid()
    index, codes = index[:_LOOKED], codes[:_LOOKED]
    odd = row.implausible(index, codes)
    sets: dict[bytes, int] = {}
    chosen: list[int] = []
    most = 3 * row.settings.n
    for wanted, room in ((~odd, most), (odd, most // 2)):
        taken = 0
        for i in np.flatnonzero(wanted).tolist():
            kind = (codes[i] != row.own).tobytes()
            if taken < room and sets.get(kind, 0) < _ALIKE:
                sets[kind] = sets.get(kind, 0) + 1
                taken += 1
                chosen.append(int(index[i]))
    return chosen


def _children(row: RowState, code: Ints, best: list[Cell]) -> list[Ints]:
    """What is like a candidate, but costs less."""
    out: list[Ints] = []
    changed = np.flatnonzero(code != row.own).tolist()
    out += [changed_at(code, j, row.own) for j in changed if len(changed) > 1]
    for j in changed:
        price = row.price[code[j], j]
        if row.bound.ordered[j]:
            out += [changed_at(code, j, donor) for donor in _between(row, j, int(code[j]), _STEPS)]
        others = [cell for cell in best if cell[0] not in changed and row.price[cell[1], cell[0]] < price]
        out += [changed_at(changed_at(code, j, row.own), *cell) for cell in others[:_OPTIONS]]
    return out


def _between(row: RowState, j: int, donor: int, steps: int) -> list[int]:
    """Values of a column on the way from the row's own to a candidate's, in even steps, and the last one before it."""
    donors, position = row.options(j)
    here, there = row.bound.position[row.own, j], row.bound.position[donor, j]
    if np.isnan(here) or np.isnan(there):
        return []
    first, last = np.searchsorted(position, min(here, there), "right"), np.searchsorted(position, max(here, there), "left")
    inside = donors[first:last] if here < there else donors[first:last][::-1]
    if not len(inside):
        return []
    places = np.unique([*(len(inside) * np.arange(1, steps) // steps), len(inside) - 1])
    return [int(i) for i in inside[places]]


def _finish(row: RowState) -> Generator[list[NDArray[np.int64]], list[Told], list[int]]:
    """What is told: no change of it can be taken back alone, and steps back are small."""
    row.kept = 0
    chosen = choose(row)
    for _ in range(_FINISHING):
        tried = []
        for code in row.donors[chosen]:
            changed = np.flatnonzero(code != row.own).tolist()
            tried += [changed_at(code, j, row.own) for j in changed if len(changed) > 1]
        for code in row.donors[chosen]:
            for j in np.flatnonzero((code != row.own) & row.bound.ordered).tolist():
                tried += [changed_at(code, j, donor) for donor in _between(row, j, int(code[j]), _SMALL_STEPS)]
        if all(code.tobytes() in row.known for code in tried):
            break
        yield from row.ask(np.array(tried))
        chosen = choose(row)
    return chosen
