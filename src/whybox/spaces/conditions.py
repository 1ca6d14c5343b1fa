"""What a rule can ask of a row of a table: that a value lies in its quantile bin, or is its category."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from whybox._arrays import to_numpy
from whybox.explanations.rules import Condition
from whybox.spaces._array_columns import ArrayColumns
from whybox.spaces._donors import DonorBound
from whybox.spaces._frame_columns import FrameColumns
from whybox.spaces._ingest import as_rows, join
from whybox.spaces._levels import Column, bin_shares, category_column, column_positions, is_ordered, ordered_column
from whybox.spaces._points import column
from whybox.spaces.marginal import MarginalBound
from whybox.typing import Bools, Ints, Model, Rows


@dataclass(frozen=True)
class Conditions:
    """Rows of the background on which conditions are imposed: where rules are tried out.

    A number's condition is its quantile bin of the background, a category's its value. A sample is a row of the background; where it
    breaks a condition that is held, that value comes from another background row, drawn among those that meet the condition. If none
    does, it is the explained row's own value.

    Args:
        background: (b, d) rows: array of any library, or DataFrame with the columns that the model takes.
        discretize: bins of numbers: "quartile" (default), "decile" or their number.
        categorical: columns, by position or name, that are categories although they hold numbers.

    Raises:
        OptionError: an option has a value that does not exist.
        InputError: the background is empty or not tabular.

    Source: Ribeiro, Singh and Guestrin, Anchors: High-precision model-agnostic explanations, 2018.

    Example:
        >>> Conditions(np.arange(8.0).reshape(4, 2)).discretize
        'quartile'
    """

    background: Any
    discretize: Literal["quartile", "decile"] | int = "quartile"
    categorical: Sequence[int | str] = ()

    def __post_init__(self) -> None:
        as_rows(self.background, "background")
        bin_shares(self.discretize)

    def bind(self, x: Any, model: Model) -> ConditionsBound:
        """Match x with the background, and find bins and categories."""
        columns, names = join(x, self.background, model)
        assert isinstance(columns, (ArrayColumns, FrameColumns))
        frame = isinstance(columns, FrameColumns)
        parts = (columns.x, columns.background) if frame else (to_numpy(columns.x), to_numpy(columns.background))
        chosen = column_positions(self.categorical, names, "categorical")
        levels = []
        for j, name in enumerate(names):
            both = column(parts, j)
            if j in chosen or not is_ordered(both):
                levels.append(category_column(both, columns.n, name))
            else:
                levels.append(ordered_column(both, columns.n, name, bin_shares(self.discretize)))
        return ConditionsBound(MarginalBound(columns, names, None), self, tuple(levels))


@dataclass(frozen=True)
class ConditionsBound(DonorBound):
    """Conditions bound to the explained rows, see :class:`whybox.typing.RuleBound`. Codes are donors (m, d) of each cell.

    Args:
        rows: explained rows and background, as the model takes them.
        space: the settings.
        levels: bins or categories of each column.
    """

    space: Conditions
    levels: tuple[Column, ...]
    independent: bool = False
    coverage_of: str = "background"

    def digest(self) -> str:
        """Identifies rows, background and settings."""
        settings = (self.space.discretize, sorted(map(str, self.space.categorical)))
        return hashlib.sha256((self.rows.digest() + repr(settings)).encode()).hexdigest()

    @cached_property
    def _background_levels(self) -> Ints:
        """(b, d) levels of the background's cells."""
        levels = np.empty((self.rows.draws, len(self.levels)), dtype=np.int64)
        for j, found in enumerate(self.levels):
            levels[found.order, j] = found.level_of
        return levels

    def draw(self, instance: int, held: Bools, m: int, rng: np.random.Generator) -> Ints:
        """Codes (m, d) of samples on which the conditions of the held features (d,) are imposed."""
        b = self.rows.draws
        base = rng.integers(b, size=m)
        donors = np.repeat(base[:, None], len(held), axis=1)
        for j in np.flatnonzero(held).tolist():
            found = self.levels[j]
            level = int(found.x_level[instance])
            there = found.order[found.level_of == level]
            spare = rng.integers(max(len(there), 1), size=m)
            breaks = self._background_levels[base, j] != level
            donors[breaks, j] = there[spare[breaks]] if len(there) else b + instance
        return donors

    def kept(self, codes: Ints) -> Bools:
        """No sample of one rule stands for another: features of a background row depend on one another."""
        return np.zeros((len(codes), len(self.levels)), dtype=bool)

    def coverage(self, instance: int, held: Bools) -> float:
        """Share of the background's rows that meet the conditions."""
        own = np.array([found.x_level[instance] for found in self.levels])
        return float((self._background_levels[:, held] == own[held]).all(axis=1).mean())

    def condition(self, instance: int, feature: int) -> Condition:
        """What a rule would ask of a feature."""
        found, name = self.levels[feature], self.rows.names[feature]
        level = int(found.x_level[instance])
        if found.texts is None or found.edges is None:
            value = self._value(instance, feature)
            if found.texts is not None or _is_missing(value):
                return Condition(feature, name, f"{name} is missing", "missing")
            return Condition(feature, name, f"{name} = {value}", "category", value=value)
        if level > len(found.edges):
            return Condition(feature, name, found.texts[level], "missing")
        low = float(found.edges[level - 1]) if level else None
        high = float(found.edges[level]) if level < len(found.edges) else None
        return Condition(feature, name, found.texts[level], "interval", low=low, high=high)

    def _value(self, instance: int, feature: int) -> Any:
        row = self.plain(instance, instance + 1)
        value = row.iloc[0, feature] if isinstance(self.rows.columns, FrameColumns) else to_numpy(row)[0, feature]
        value = value.item() if isinstance(value, np.generic) else value
        return value if isinstance(value, (str, bool, int, float)) or value is None else str(value)

    def example(self, rows: Rows, i: int) -> dict[str, Any]:
        """A sample by column name, in values that JSON can hold."""
        cells = rows.iloc[i].tolist() if isinstance(self.rows.columns, FrameColumns) else to_numpy(rows)[i].tolist()
        plain = [cell if isinstance(cell, (bool, int, float)) and cell == cell else str(cell) for cell in cells]
        return dict(zip(self.rows.names, plain, strict=True))


def _is_missing(value: Any) -> bool:
    return value is None or value != value or str(value) in ("<NA>", "NaT")
