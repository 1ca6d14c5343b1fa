"""Which counterfactuals of a row are told."""

from __future__ import annotations

import numpy as np

from whybox.explainers._counterfactual_state import RowState
from whybox.typing import Ints

_KEPT = 256  # candidates that are looked at


def changed_at(code: Ints, j: int, donor: int) -> Ints:
    """A candidate with another donor of one cell."""
    out = code.copy()
    out[j] = donor
    return out


def choose(row: RowState) -> tuple[list[int], list[float]]:
    """Numbers and costs of the cheapest candidate and of those that cost little and change other things (maximal marginal relevance)."""
    most = _KEPT
    while True:
        found = _among(row, most)
        if len(found[0]) == row.settings.n or most >= row.count:
            return found
        most *= 4  # the cheapest may all ask for more of the same


def _among(row: RowState, most: int) -> tuple[list[int], list[float]]:
    """The same from the cheapest candidates, so many or more."""
    index, codes, cost = row.looked(most)
    changed = codes != row.own
    step = row.bound.position[codes, row.columns] - row.bound.position[row.own]  # NaN where values have no order
    level = row.bound.level[codes, row.columns]
    known = dict(zip(index.tolist(), cost.tolist(), strict=True))
    open_, alike = np.ones(len(index), dtype=bool), np.zeros(len(index))
    chosen: list[int] = []
    while open_.any() and len(chosen) < row.settings.n:
        i = int(np.argmin(np.where(open_, cost + row.settings.diversity * alike, np.inf)))
        open_[i] = False
        if _reducible(row, codes[i], cost[i], known):
            continue
        chosen.append(i)
        with np.errstate(invalid="ignore"):
            same = level == level[i]
            further = same | ((np.sign(step) == np.sign(step[i])) & (np.abs(step) >= np.abs(step[i])))
            shared = changed & changed[i] & (same | (np.sign(step) == np.sign(step[i])))
        open_ &= ~(further | ~changed[i]).all(axis=1)  # what asks for all of this, or more of it, is no other counterfactual
        alike = np.maximum(alike, shared.sum(axis=1) / np.maximum((changed | changed[i]).sum(axis=1), 1))
    row.look_at(index[chosen])
    return [int(index[i]) for i in chosen], [float(cost[i]) for i in chosen]


def _reducible(row: RowState, code: Ints, cost: float, known: dict[int, float]) -> bool:
    """Whether one of its changes is known to be needless: without it the goal is reached as well, for less."""
    changed = np.flatnonzero(code != row.own).tolist()
    without = (row.known.get(changed_at(code, j, row.own).tobytes(), -1) for j in changed)
    return any(known.get(other, np.inf) <= cost for other in without)
