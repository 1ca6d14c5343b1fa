"""Which counterfactuals of a row are told."""

from __future__ import annotations

import numpy as np

from whybox.explainers._counterfactual_state import RowState
from whybox.typing import Ints

_KEPT = 256  # candidates that are looked at, and more where none of them is plausible
_ODD = 1e6  # what being implausible costs


def changed_at(code: Ints, j: int, donor: int) -> Ints:
    """A candidate with another donor of one cell."""
    out = code.copy()
    out[j] = donor
    return out


def choose(row: RowState) -> list[int]:
    """The cheapest plausible candidate, then those that cost little and change other things (maximal marginal relevance)."""
    index, codes, cost = row.valid()
    kept = _KEPT
    odd = row.implausible(index[:kept], codes[:kept])
    while odd.all() and kept < len(index):  # the cheapest plausible one may come late
        kept *= 2
        odd = row.implausible(index[:kept], codes[:kept])
    index, codes, cost = index[:kept], codes[:kept], cost[:kept]
    fit = {int(number): not bad for number, bad in zip(index, odd, strict=True)}
    changed = codes != row.own
    step = row.bound.position[codes, row.columns] - row.bound.position[row.own]  # NaN where values have no order
    level = row.bound.level[codes, row.columns]
    open_ = np.array([not _reducible(row, int(i), code, fit) for i, code in zip(index, codes, strict=True)], dtype=bool)
    alike = np.zeros(len(index))
    chosen: list[int] = []
    while open_.any() and len(chosen) < row.settings.n:
        i = int(np.argmin(np.where(open_, cost + row.settings.diversity * alike + _ODD * odd, np.inf)))
        chosen.append(int(index[i]))
        with np.errstate(invalid="ignore"):
            same = level == level[i]
            further = same | ((np.sign(step) == np.sign(step[i])) & (np.abs(step) >= np.abs(step[i])))
            shared = changed & changed[i] & (same | (np.sign(step) == np.sign(step[i])))
        open_ &= ~(further | ~changed[i]).all(axis=1)  # what asks for all of this, or more of it, is no other counterfactual
        alike = np.maximum(alike, shared.sum(axis=1) / np.maximum((changed | changed[i]).sum(axis=1), 1))
    return chosen


def _reducible(row: RowState, number: int, code: Ints, fit: dict[int, bool]) -> bool:
    """Whether one of its changes is known to be needless: without it the goal is reached as well, by something as plausible."""
    changed = np.flatnonzero(code != row.own).tolist()
    if len(changed) < 2:
        return False
    for j in changed:
        other = row.known.get(changed_at(code, j, row.own).tobytes(), -1)
        if other >= 0 and row.margin[other] >= 0 and (fit.get(other, False) or not fit[number]):
            return True
    return False
