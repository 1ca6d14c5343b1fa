"""What the search for counterfactuals knows of one row."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whybox.spaces.observed import ObservedBound
from whybox.typing import Floats, Ints

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
    implausibility: float


@dataclass(frozen=True)
class Found:
    """Counterfactuals of one row, the first one first.

    Args:
        donors: (m, d) of their cells.
        outputs: (m, k).
        distance: (m,) summed over the columns.
        plausibility: (m,).
        cost: (m,).
        asked: rows that the search asked.
        spent: whether it ended because the budget did.
        exact: whether all combinations of permitted values were asked.
    """

    donors: Ints
    outputs: Floats
    distance: Floats
    plausibility: Floats
    cost: Floats
    asked: int
    spent: bool
    exact: bool = False


@dataclass
class RowState:
    """What is known of one row. Candidates are numbered in the order in which they were first looked at."""

    bound: ObservedBound
    instance: int
    settings: Settings
    k: int  # outputs of the model
    count: int = 0
    known: dict[bytes, int] = field(default_factory=dict)
    plausible: dict[int, float] = field(default_factory=dict)
    asked: int = 0
    kept: int = 0  # rows of the budget for the last look

    def __post_init__(self) -> None:
        self.own = self.bound.b + self.instance
        self.apart = self.bound.distances(self.instance)
        self.differs = self.bound.level[: self.bound.b] != self.bound.level[self.own]  # large integers differ where their positions do not
        self.may = self.bound.allowed(self.instance) & self.differs
        self.price = np.where(self.may, self.apart + self.settings.sparsity, 0.0)
        self.columns = np.arange(self.may.shape[1])
        here = np.full(len(self.columns), self.own)
        self.base = here, np.stack([self.bound.gaps(here[:1], j)[0] for j in self.columns.tolist()])
        mine = float(self.bound.plausibility(self.base[1].sum(axis=0).min(keepdims=True))[0])
        self.least = min(self.settings.plausible, mine)  # nobody has to become more usual than they are
        self._options: dict[int, tuple[Ints, Floats]] = {}
        self._room: tuple[Ints, Floats, Floats, Floats] = (
            np.empty((0, len(self.columns)), dtype=np.int64),
            np.empty((0, self.k)),
            np.empty(0),
            np.empty(0),
        )
        self.kept = min(self.settings.most // 4, 2 * self.settings.n * len(self.columns))

    @property
    def left(self) -> int:
        return self.settings.most - self.asked - self.kept

    @property
    def donors(self) -> Ints:
        """(c, d) of all candidates."""
        return self._room[0][: self.count]

    @property
    def outputs(self) -> Floats:
        """(c, k)."""
        return self._room[1][: self.count]

    @property
    def margin(self) -> Floats:
        """(c,) by how much they reach the goal."""
        return self._room[2][: self.count]

    @property
    def cost(self) -> Floats:
        """(c,) distance, and something for each column that changes; not yet what being implausible costs."""
        return self._room[3][: self.count]

    def learn(self, codes: Ints, margin: Floats, outputs: Floats) -> None:
        """Candidates (m, d), none of them known, with their margins (m,) and outputs (m, k)."""
        stop = self.count + len(codes)
        if stop > len(self._room[0]):
            more = max(stop, 2 * len(self._room[0])) - len(self._room[0])
            self._room = tuple(np.concatenate([part, np.empty((more, *part.shape[1:]), dtype=part.dtype)]) for part in self._room)  # type: ignore[assignment]
        cost = self.distance(codes) + self.settings.sparsity * (codes != self.own).sum(axis=1)
        for part, new in zip(self._room, (codes, outputs, margin, cost), strict=True):
            part[self.count : stop] = new
        self.known.update((row.tobytes(), number) for number, row in enumerate(codes, start=self.count))
        self.count = stop

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

    def looked(self, most: int) -> tuple[Ints, Ints, Floats]:
        """Numbers (v,), donors (v, d) and costs (v,), implausibility included, of candidates that reach the goal.

        They are those that would be cheapest were they plausible, so many at least, and as many more as may hold the cheapest of all.
        """
        index = np.flatnonzero(self.margin >= 0)
        index = index[np.argsort(self.cost[index], kind="stable")]
        while True:
            cost = self.cost[index[:most]] + self._penalty(index[:most])
            if most >= len(index) or cost.min() <= self.cost[index[most]]:
                return index[:most], self.donors[index[:most]], cost
            most *= 2

    def _penalty(self, index: Ints) -> Floats:
        """(m,) what being more isolated than they should be costs."""
        if self.least == 0.0 or self.settings.implausibility == 0.0:
            return np.zeros(len(index))
        self.look_at(index)
        plausibility = np.array([self.plausible[number] for number in index.tolist()], dtype=np.float64)
        return self.settings.implausibility * np.maximum(1.0 - plausibility / self.least, 0.0)

    def look_at(self, index: Ints) -> None:
        """Find the plausibility of candidates."""
        new = np.array([number for number in index.tolist() if number not in self.plausible], dtype=np.int64)
        if len(new):
            found = self.bound.plausibility(self.bound.nearest(self.donors[new], self.base))
            self.plausible.update(zip(new.tolist(), found.tolist(), strict=True))

    def cells(self, code: Ints) -> list[Cell]:
        """What a candidate changes."""
        return [(j, int(code[j])) for j in np.flatnonzero(code != self.own).tolist()]

    def options(self, j: int) -> tuple[Ints, Floats]:
        """Donors of the values that column j may change to, ordered ones ascending, categories by frequency; and their positions."""
        if j not in self._options:
            donors = self.bound.values[j][self.may[self.bound.values[j], j]]
            self._options[j] = donors, self.bound.position[donors, j]
        return self._options[j]
