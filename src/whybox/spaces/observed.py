"""Rows that take some cells from observed rows: where counterfactual rows are looked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from whybox._arrays import to_numpy
from whybox.errors import OptionError
from whybox.spaces._array_columns import ArrayColumns
from whybox.spaces._donors import DonorBound
from whybox.spaces._frame_columns import FrameColumns
from whybox.spaces._ingest import as_rows, join
from whybox.spaces._levels import column_positions
from whybox.spaces._permitted import Permitted, numbers_of, permitted
from whybox.spaces._points import column
from whybox.spaces.marginal import MarginalBound
from whybox.typing import Bools, Floats, Ints, Model

_BLOCK = 1 << 20  # distances at once
_CALIBRATED = 1000  # background rows that say how isolated rows are
_ROUNDING = 1e-9  # of sums of distances


@dataclass(frozen=True)
class Observed:
    """Every cell keeps its value or takes that of a background row: whatever is tried occurs in the data, in its own dtype.

    How far two values of a number, a date or an ordered category are apart is the share of the background between them (Ustun, Spangher
    and Liu, Actionable recourse in linear classification, 2019); it does not depend on units or on extreme values. Other categories, and
    missing beside present, are 1 apart. Where gaps in the data matter, for plausibility, it is at least the share of the column's range.

    Args:
        background: (b, d) observed rows, such as the training data: array of any library, or DataFrame with the model's columns.
        features_to_vary: columns, by name or position, that may change; None (default): all.
        permitted_range: for columns, by name or position, what they may change to: "increase" or "decrease" from the row's own value, an
            inclusive range (low, high) with None for an open end, or a set (for categories also a list) of values. A value that does not
            change need not be permitted.
        categorical: columns, by name or position, that are categories although they hold numbers.

    Raises:
        OptionError: an unknown column, or a permission that nothing in the background meets.
        InputError: the background is empty or not tabular.

    Example:
        >>> Observed(np.arange(8.0).reshape(4, 2), permitted_range={1: "increase"}).features_to_vary is None
        True
    """

    background: Any
    features_to_vary: Sequence[int | str] | None = None
    permitted_range: Mapping[int | str, Any] = field(default_factory=dict)
    categorical: Sequence[int | str] = ()

    def __post_init__(self) -> None:
        as_rows(self.background, "background")
        for name in ("features_to_vary", "categorical"):
            if isinstance(getattr(self, name), str):
                raise OptionError(
                    f"{name}: expected a list of columns, got the text {getattr(self, name)!r}; pass [{getattr(self, name)!r}]"
                )
        if not isinstance(self.permitted_range, Mapping):
            raise OptionError(f'permitted_range: expected a dict such as {{"age": "increase"}}, got {self.permitted_range!r}')

    def bind(self, x: Any, model: Model) -> ObservedBound:
        """Match x with the background; find positions of values among the background's, and what may change."""
        columns, names = join(x, self.background, model)
        assert isinstance(columns, (ArrayColumns, FrameColumns))
        frame = isinstance(columns, FrameColumns)
        parts = (columns.x, columns.background) if frame else (to_numpy(columns.x), to_numpy(columns.background))
        n, b, d = columns.n, columns.b, columns.d
        categories = column_positions(self.categorical, names, "categorical")
        rules = {min(column_positions([key], names, "permitted_range")): rule for key, rule in self.permitted_range.items()}
        if len(rules) < len(self.permitted_range):
            raise OptionError(f"permitted_range: {list(self.permitted_range)} name a column twice; give each one rule")
        vary = set(range(d)) if self.features_to_vary is None else column_positions(self.features_to_vary, names, "features_to_vary")
        if idle := sorted(names[j] for j in rules.keys() - vary):
            raise OptionError(f"permitted_range: {idle} never change, as features_to_vary leaves them out; leave them out here, too")
        ours, theirs = columns.cells()
        position, scaled = np.full((2, b + n, d), np.nan)
        level = np.empty((b + n, d), dtype=np.int64)
        may = np.zeros((b, d), dtype=bool)
        direction = np.zeros(d, dtype=np.int64)
        ordered = np.zeros(d, dtype=bool)
        for j, name in enumerate(names):
            both = column(parts, j)
            numbers = None if j in categories else numbers_of(both, n, name)
            level[:, j] = np.unique(np.concatenate([theirs[:, j], ours[:, j]]), return_inverse=True)[1]
            if numbers is not None:
                ordered[j] = True
                position[:, j], scaled[:, j] = _positions(np.roll(numbers, -n), b)
            if j in vary:
                found = permitted(both[n:], rules[j], name, numbers is not None) if j in rules else Permitted(np.ones(b, dtype=bool))
                may[:, j], direction[j] = found.values, found.direction
        return ObservedBound(MarginalBound(columns, names, None), self, position, scaled, level, may, direction, ordered)


def _positions(numbers: Floats, b: int) -> tuple[Floats, Floats]:
    """Where numbers lie among the b background values, which come first: shares below, half of the equal ones counting, and of the range.

    NaN where missing.
    """
    there = np.sort(numbers[:b][~np.isnan(numbers[:b])])
    if not len(there):
        return np.where(np.isnan(numbers), np.nan, 0.0), np.where(np.isnan(numbers), np.nan, 0.0)
    middle = (np.searchsorted(there, numbers, "left") + np.searchsorted(there, numbers, "right")) / (2.0 * len(there))
    reach = there[-1] - there[0]
    return np.where(np.isnan(numbers), np.nan, middle), (numbers - there[0]) / (reach or 1.0)


@dataclass(frozen=True, eq=False)
class ObservedBound(DonorBound):
    """Observed cells bound to the explained rows.

    Args:
        rows: explained rows and background, as the model takes them.
        space: the settings.
        position: (b + n, d) of ordered values among the background's, 0 to 1; NaN for categories and missing values.
        scaled: (b + n, d) the same over the background's range.
        level: (b + n, d) equal exactly for equal values of a column.
        may: (b, d) which values of the background a column may change to, whatever the row.
        direction: (d,) 1 or -1 for columns that may only increase or decrease, else 0.
        ordered: (d,) which columns hold something ordered.
    """

    space: Observed
    position: Floats
    scaled: Floats
    level: Ints
    may: Bools
    direction: Ints
    ordered: Bools

    @property
    def b(self) -> int:
        """Background rows."""
        return len(self.may)

    def digest(self) -> str:
        """Identifies rows, background and what may change."""
        settings = (self.may.tobytes(), self.direction.tobytes(), self.ordered.tobytes())
        return hashlib.sha256(self.rows.digest().encode() + b"".join(settings)).hexdigest()

    def distances(self, instance: int) -> Floats:
        """(b, d) how far the background's values are from the row's own."""
        own = self.b + instance
        return self._apart(slice(0, self.b), slice(own, own + 1))

    def allowed(self, instance: int) -> Bools:
        """(b, d) which of the background's values the row may change to."""
        step = self.position[: self.b] - self.position[self.b + instance]
        with np.errstate(invalid="ignore"):
            return np.asarray(self.may & ((self.direction == 0) | (step * self.direction > 0)))

    def _apart(self, some: Any, others: Any) -> Floats:
        gap = np.abs(self.position[some] - self.position[others])
        apart: Floats = np.where(np.isnan(gap), self.level[some] != self.level[others], gap)
        return apart

    @cached_property
    def first(self) -> Ints:
        """(b, d) the first background row that has the same value."""
        out = np.empty((self.b, len(self.ordered)), dtype=np.int64)
        for j in range(out.shape[1]):
            _, first, inverse = np.unique(self.level[: self.b, j], return_index=True, return_inverse=True)
            out[:, j] = first[inverse]
        return out

    @cached_property
    def values(self) -> list[Ints]:
        """Of each column the donors of its distinct values: ordered ones ascending with missing last, categories by frequency."""
        found = []
        for j in range(len(self.ordered)):
            donors, count = np.unique(self.first[:, j], return_counts=True)
            found.append(donors[np.argsort(self.position[donors, j] if self.ordered[j] else -count, kind="stable")])
        return found

    def gaps(self, donors: Ints, j: int) -> Floats:
        """(m, b) how far the values of column j of donors (m,) are from those of all background rows; gaps in the data count."""
        differs = self.level[donors, j][:, None] != self.level[: self.b, j]
        if not self.ordered[j]:
            return np.asarray(differs, dtype=np.float64)
        gap = np.abs(self.position[donors, j][:, None] - self.position[: self.b, j])
        np.maximum(gap, np.abs(self.scaled[donors, j][:, None] - self.scaled[: self.b, j]), out=gap)
        return np.asarray(np.where(np.isnan(gap), differs, gap) if np.isnan(gap).any() else gap)

    def nearest(self, donors: Ints, base: tuple[Ints, Floats] | None = None, but: Ints | None = None) -> Floats:
        """(m,) distance from rows, as donors (m, d), to the nearest background row, summed over columns.

        Args:
            donors: of each cell.
            base: donors (d,) of a row that these differ from in few columns, and its gaps (d, b): then only what differs is looked at.
            but: (m,) background rows that do not count, each for one of these rows; None counts all.
        """
        step = max(_BLOCK // self.b, 1)
        out = np.empty(len(donors))
        for start in range(0, len(donors), step):
            part = donors[start : start + step]
            if base is None:
                total = np.zeros((len(part), self.b))
                for j in range(part.shape[1]):
                    total += self.gaps(part[:, j], j)
            else:
                total = np.tile(base[1].sum(axis=0), (len(part), 1))
                other = part != base[0]
                for j in np.flatnonzero(other.any(axis=0)).tolist():
                    total[other[:, j]] += self.gaps(part[other[:, j], j], j) - base[1][j]
            if but is not None:
                total[np.arange(len(part)), but[start : start + step]] = np.inf
            out[start : start + step] = total.min(axis=1)
        return out

    @cached_property
    def _isolation(self) -> Floats:
        """Ascending distances from background rows, at most 1,000 in even steps, to the nearest other one."""
        if self.b == 1:
            return np.zeros(1)
        chosen = np.unique(np.linspace(0, self.b - 1, min(self.b, _CALIBRATED)).astype(np.int64))
        return np.sort(self.nearest(np.repeat(chosen[:, None], len(self.ordered), axis=1), but=chosen))

    def plausibility(self, nearest: Floats) -> Floats:
        """(m,) share of background rows that are at least as far from their nearest neighbour as rows at these distances (m,)."""
        alone = self._isolation
        return np.asarray(1.0 - np.searchsorted(alone, nearest - _ROUNDING) / len(alone))
