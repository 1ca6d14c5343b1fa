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
_LEVELS, _CATEGORIES = 16, 16  # values of a column that are tried alone
_PAIRED = 12
_WALKED, _PATHS = 2, 16  # starts towards which steps are taken one by one, and cells that a step chooses from
_ALIKE = 2  # parents that change the same columns
_LOOKED = 64  # candidates whose plausibility is looked at in a round
_OPTIONS = 6  # of other columns, to be changed instead of one
_STEPS, _SMALL_STEPS = 4, 16  # on the way back to a row's own value, in the search and at its end
_MANY = 16  # changes of a candidate, beyond which they are taken back by blocks
_FEW = 4  # changes of a candidate, up to which nothing is taken back by halves


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
    if at[0][0] >= 0 or np.isneginf(at[0][0]):  # it is as wanted already, or the model has no answer about it
        nothing = np.zeros(0)
        return Found(np.zeros((0, len(row.columns)), dtype=np.int64), np.zeros((0, at[1].shape[1])), nothing, nothing, nothing, 0, False)
    row.learn(row.with_cells([[]]), *at)
    choices = [[row.own, *row.options(j)[0].tolist()] for j in row.columns.tolist()]
    exact = math.prod(map(len, choices)) - 1 <= settings.most
    if exact:
        row.kept = 0
        yield from row.ask(np.array(list(itertools.product(*choices)), dtype=np.int64)[1:])
        chosen, cost = choose(row)
    else:
        starts = yield from _starts(row, background)
        gain: dict[Cell, float] = {}
        for start in starts[:_WALKED]:
            yield from _singles(row, gain, row.cells(start)[: row.left // 2])
            yield from _walk(row, gain, row.cells(start))
            yield from _halve(row, gain)
        yield from _singles(row, gain, _grid(row) + [cell for start in starts for cell in row.cells(start)][: row.left // 4])
        yield from _walk(row, gain, _best(row, gain, _PATHS, each=_PATHS))
        yield from _combined(row, starts, gain)
        yield from _climb(row, gain)
        yield from _improve(row, gain)
        chosen, cost = yield from _finish(row, gain)
    codes = row.donors[chosen]
    plausibility = np.array([row.plausible[i] for i in chosen], dtype=np.float64)
    return Found(
        codes, row.outputs[chosen], row.distance(codes), plausibility, np.array(cost), row.asked, not exact and row.left <= 0, exact
    )


def _starts(row: RowState, background: Told) -> Generator[list[NDArray[np.int64]], list[Told], Ints]:
    """(s, d) the nearest observed rows that reach the goal, as far as their cells may be taken."""
    margin, outputs = background
    codes = np.where(row.may, row.bound.first, row.own)
    whole = (row.may | ~row.differs).all(axis=1)  # only then is what the model said of the background row said of this one
    cost = row.price.sum(axis=1)
    sure: list[int] = []
    unsure: list[int] = []
    seen: set[bytes] = set()
    for i in np.argsort(cost, kind="stable").tolist():
        key = codes[i].tobytes()
        if len(sure) == _STARTS:
            break
        if margin[i] >= 0 and cost[i] > 0 and key not in seen:
            seen.add(key)
            (sure if whole[i] else unsure).append(i)
    for i in sure:
        if codes[i].tobytes() not in row.known:
            row.learn(codes[[i]], margin[[i]], outputs[[i]])
    unsure = unsure[: min(_PROJECTED, row.left // 4)]
    found = yield from row.ask(codes[unsure])
    reached = [i for i, number in zip(unsure, found.tolist(), strict=True) if number >= 0 and row.margin[number] >= 0]
    near = sorted(sure + reached, key=lambda i: (cost[i], i))[:_STARTS]
    return codes[near] if near else codes[unsure[:_STARTS]]


def _grid(row: RowState) -> list[Cell]:
    """Values of every column in even steps, as many as the budget allows: there may be more columns than rows to be asked."""
    each = row.left // 4 // len(row.columns)
    cells: list[Cell] = []
    for j in row.columns.tolist():
        there, levels = row.options(j)[0], min(_LEVELS, each)
        if row.bound.ordered[j] and len(there) > levels:
            there = there[np.unique(np.linspace(0, len(there) - 1, levels).round().astype(int))] if levels > 1 else there[:0]
        cells += [(j, donor) for donor in there[: min(_CATEGORIES, each)].tolist()]
    return cells


def _singles(row: RowState, gain: dict[Cell, float], cells: list[Cell]) -> Asking:
    """By how much single cells move the margin, put into ``gain``."""
    cells = [cell for cell in dict.fromkeys(cells) if cell not in gain]
    found = yield from row.ask(row.with_cells([[cell] for cell in cells]))
    gain.update((cell, float(row.margin[i] - row.margin[0])) for cell, i in zip(cells, found.tolist(), strict=True) if i >= 0)
    return found


def _walk(row: RowState, gain: dict[Cell, float], cells: list[Cell]) -> Asking:
    """From the row, one cell after the other: the one that moves the margin most for what it costs, until the goal is reached."""
    cells = sorted(cells, key=lambda cell: (-gain.get(cell, 0.0), cell))[:_PATHS]
    code, margin = row.donors[0], float(row.margin[0])
    numbers: Ints = np.zeros(0, dtype=np.int64)
    while cells and margin < 0 and row.left > 0:
        numbers = yield from row.ask(np.array([changed_at(code, *cell) for cell in cells]))
        there = np.flatnonzero(numbers >= 0)
        if not len(there):
            break
        price = np.maximum([row.price[cells[i][1], cells[i][0]] for i in there.tolist()], 1e-9)
        step = row.margin[numbers[there]] - margin
        best = int(there[np.argmax(np.where(step > 0, step / price, step))])
        code, margin = row.donors[numbers[best]], float(row.margin[numbers[best]])
        cells = [cell for cell in cells if cell[0] != cells[best][0]]
    return numbers


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
    """Of every start the cells that do most, then more and more of them, and pairs of the cells that do most of all."""
    best = _best(row, gain, _PAIRED)
    pairs = [[a, b] for i, a in enumerate(best) for b in best[i + 1 :] if a[0] != b[0]]
    tried: list[list[Cell]] = []
    for k, start in enumerate(starts):
        tried += pairs if k == 1 else []
        cells = row.cells(start)
        cells.sort(key=lambda cell: (-gain.get(cell, 0.0), cell))
        sizes = np.unique(np.geomspace(1, max(len(cells) - 1, 1), 12).round().astype(int)) if len(cells) > 12 else range(1, len(cells))
        tried += [cells[: int(size)] for size in sizes]
    tried += pairs if len(starts) < 2 else []
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
        parents = [i for i in _parents(row) if i not in done][: row.settings.n]
        if not parents:
            break
        done.update(parents)
        children = [child for i in parents for child in _children(row, row.donors[i], best, gain)]
        numbers = yield from row.ask(np.array(children, dtype=np.int64).reshape(-1, len(row.columns)))
    return numbers


def _parents(row: RowState) -> list[int]:
    """Candidates that others are made of: the cheapest, few of which change the same columns."""
    index, codes, cost = row.looked(_LOOKED)
    sets: dict[bytes, int] = {}
    chosen: list[int] = []
    for i in np.argsort(cost, kind="stable").tolist():
        kind = (codes[i] != row.own).tobytes()
        if sets.get(kind, 0) < _ALIKE:
            sets[kind] = sets.get(kind, 0) + 1
            chosen.append(int(index[i]))
            if len(chosen) == 4 * row.settings.n:
                break
    return chosen


def _children(row: RowState, code: Ints, best: list[Cell], gain: dict[Cell, float]) -> list[Ints]:
    """What is like a candidate, but costs less. Of many changes, blocks are taken back, those that do least together."""
    out: list[Ints] = []
    changed = np.flatnonzero(code != row.own).tolist()
    if len(changed) > _MANY:
        changed.sort(key=lambda j: gain.get((j, int(code[j])), 0.0))
        blocks = [block for count in (2, 4, 8, _MANY) for block in np.array_split(changed, count)]
        return [np.where(np.isin(row.columns, block), row.own, code) for block in blocks]
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


def _halve(row: RowState, gain: dict[Cell, float]) -> Generator[list[NDArray[np.int64]], list[Told], None]:
    """Where the cheapest candidate changes many columns: take half of the changes back, or a quarter, ... (Zeller and Hildebrandt 2002).

    It needs no slope: of d changes of which k are needed, some k log d questions leave about k.
    """
    index, codes, cost = row.looked(_LOOKED)
    if not len(index):
        return
    code, count = codes[int(np.argmin(cost))], 2
    while row.left > 0:
        changed = np.flatnonzero(code != row.own).tolist()
        if len(changed) <= _FEW or count > len(changed):
            return
        changed.sort(key=lambda j: gain.get((j, int(code[j])), 0.0))
        tried = np.array([np.where(np.isin(row.columns, block), row.own, code) for block in np.array_split(changed, count)])
        numbers = yield from row.ask(tried)
        good = [i for i in numbers.tolist() if i >= 0 and row.margin[i] >= 0]
        if good:
            code = row.donors[min(good, key=lambda i: (row.cost[i], i))]
            count = max(count - 1, 2)
        else:
            count *= 2


def _finish(row: RowState, gain: dict[Cell, float]) -> Generator[list[NDArray[np.int64]], list[Told], tuple[list[int], list[float]]]:
    """What is told, with its costs: no change of it can be taken back alone, and steps back are small."""
    row.kept = 0
    yield from _halve(row, gain)
    while True:
        chosen, cost = choose(row)
        tried = []
        for code in row.donors[chosen]:
            changed = np.flatnonzero(code != row.own).tolist()
            tried += [changed_at(code, j, row.own) for j in changed if len(changed) > 1]
        for code in row.donors[chosen]:
            for j in np.flatnonzero((code != row.own) & row.bound.ordered).tolist():
                tried += [changed_at(code, j, donor) for donor in _between(row, j, int(code[j]), _SMALL_STEPS)]
        if row.left <= 0 or all(code.tobytes() in row.known for code in tried):
            return chosen, cost
        yield from row.ask(np.array(tried))
