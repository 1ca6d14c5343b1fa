"""What the search for counterfactuals knows of one row."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whybox.spaces.observed import ObservedBound
from whybox.typing import Bools, Floats, Ints

Told = tuple[Floats, Floats]  # margins (m,) and outputs (m, k) of what was asked
Cell = tuple[int, int]  # column, and donor of its value
Asking = Generator[list[NDArray[np.int64]], list[Told], Ints]


@dataclass(frozen=True)
class Settings:
    """Of the search, see :class:`whybox.TabularCounterfactuals`."""

    n: int
    most: int
    sparsity: float
    diversity: float
    plausible: float


@dataclass(frozen=True)
class Found:
    """Counterfactuals of one row, the first one first.

    Args:
        donors: (m, d) of their cells.
        outputs: (m, k).
        distance: (m,) summed over the columns.
        plausibility: (m,).
        asked: rows that the search asked.
        spent: whether it ended because the budget did.
        exact: whether all combinations of permitted values were asked.
    """

    donors: Ints
    outputs: Floats
    distance: Floats
    plausibility: Floats
    asked: int
    spent: bool
    exact: bool = False


@dataclass
class RowState:
    """What is known of one row. Candidates are numbered in the order in which they were first looked at."""

    bound: ObservedBound
    instance: int
    settings: Settings
    donors: list[Ints] = field(default_factory=list)
    margin: list[float] = field(default_factory=list)
    outputs: list[Floats] = field(default_factory=list)
    known: dict[bytes, int] = field(default_factory=dict)
    plausible: dict[int, float] = field(default_factory=dict)
    asked: int = 0
    kept: int = 0  # rows of the budget for the last look

    def __post_init__(self) -> None:
        self.own = self.bound.b + self.instance
        self.apart = self.bound.distances(self.instance)
        self.may = self.bound.allowed(self.instance) & (self.apart > 0)
        self.price = np.where(self.may, self.apart + self.settings.sparsity, 0.0)
        self.columns = np.arange(self.may.shape[1])
        mine = float(self.bound.plausibility(np.full((1, len(self.columns)), self.own))[0])
        self.least = min(self.settings.plausible, mine)  # nobody has to become more usual than they are
        self.kept = min(self.settings.most // 4, 2 * self.settings.n * len(self.columns))

    @property
    def left(self) -> int:
        return self.settings.most - self.asked - self.kept

    def learn(self, codes: Ints, margin: Floats, outputs: Floats) -> None:
        for row, m, out in zip(codes, margin.tolist(), outputs, strict=True):
            self.known[row.tobytes()] = len(self.donors)
            self.donors.append(row)
            self.margin.append(m)
            self.outputs.append(out)

    def ask(self, codes: Ints) -> Asking:
        """Numbers (m,) of these candidates (m, d), -1 of those that the budget was too small for; only new ones are asked."""
        keys = [row.tobytes() for row in codes]
        fresh: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self.known and key not in fresh and len(fresh) < self.left:
                fresh[key] = i
        if fresh:
            new = codes[list(fresh.values())]
            ((margin, outputs),) = yield [new]
            self.asked += len(new)
            self.learn(new, margin, outputs)
        return np.array([self.known.get(key, -1) for key in keys], dtype=np.int64)

    def with_cells(self, pairs: list[list[Cell]]) -> Ints:
        """(m, d) candidates, each the row with some (column, donor) cells."""
        out = np.full((len(pairs), len(self.columns)), self.own, dtype=np.int64)
        for row, cells in zip(out, pairs, strict=True):
            for j, donor in cells:
                row[j] = donor
        return out

    def distance(self, codes: Ints) -> Floats:
        """(m,)."""
        changed = codes != self.own
        return np.asarray(np.where(changed, self.apart[np.where(changed, codes, 0), self.columns], 0.0).sum(axis=1))

    def cost(self, codes: Ints) -> Floats:
        """(m,) distance, and something for each column that changes."""
        return np.asarray(self.distance(codes) + self.settings.sparsity * (codes != self.own).sum(axis=1))

    def valid(self) -> tuple[Ints, Ints, Floats]:
        """Numbers (v,), donors (v, d) and costs (v,) of all that reach the goal, cheapest first."""
        index = np.flatnonzero(np.array(self.margin) >= 0)
        codes = np.array([self.donors[i] for i in index.tolist()], dtype=np.int64).reshape(-1, len(self.columns))
        cost = self.cost(codes)
        order = np.argsort(cost, kind="stable")
        return index[order], codes[order], cost[order]

    def implausible(self, index: Ints, codes: Ints) -> Bools:
        """(m,) which candidates are more isolated than they should be."""
        new = [i for i, number in enumerate(index.tolist()) if number not in self.plausible]
        if new:
            found = self.bound.plausibility(codes[new])
            self.plausible.update(zip(index[new].tolist(), found.tolist(), strict=True))
        return np.array([self.plausible[number] < self.least for number in index.tolist()], dtype=bool)

    def options(self, j: int) -> list[int]:
        """Donors of the values that column j may change to: ordered ones ascending, categories by frequency."""
        return [donor for donor in self.bound.values[j].tolist() if self.may[donor, j]]
