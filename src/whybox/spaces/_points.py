"""Points of the unit cube as rows of a neighbourhood: levels, truncated normals, normals, and values taken from the background."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from whybox._arrays import is_frame, is_numpy, namespace, to_numpy
from whybox._devices import send
from whybox.spaces._array_columns import ArrayColumns
from whybox.spaces._frame_columns import FrameColumns, frame_of, plain
from whybox.spaces._levels import Column, as_numbers, stack_levels
from whybox.typing import Floats, Ints, Rows


class Settings(Protocol):
    """What points need to know of a neighbourhood."""

    @property
    def around(self) -> str:
        """The centre of normal draws."""

    @property
    def scale(self) -> float:
        """Their standard deviation."""

    @property
    def sampling(self) -> str:
        """Whether points are drawn from the weighted distribution."""

    @property
    def units(self) -> str:
        """Units of normal draws."""


@dataclass(frozen=True)
class Points:
    """Turns points of the unit cube into rows.

    Args:
        settings: of the neighbourhood.
        columns: explained rows and background, as the model takes them.
        levels: columns by bins or categories.
        normal: columns by normal draws: mean, standard deviation, and the n explained values in it.
        width: kernel width.
    """

    settings: Settings
    columns: ArrayColumns | FrameColumns
    levels: dict[int, Column]
    normal: dict[int, Floats]
    width: float

    @property
    def n(self) -> int:
        """Explained rows."""
        return self.columns.n

    @property
    def d(self) -> int:
        """Columns."""
        return self.columns.d

    @cached_property
    def where(self) -> Ints:
        return np.array(list(self.levels), dtype=np.int64)

    @cached_property
    def bells(self) -> Ints:
        return np.array(list(self.normal), dtype=np.int64)

    @cached_property
    def shares(self) -> Floats:
        """(d, c) probability of each level, padded with zeros; zeros for normal columns."""
        share = np.zeros((self.d, max([len(c.share) for c in self.levels.values()], default=1)))
        if self.levels:
            found, _ = stack_levels(list(self.levels.values()))
            share[self.where] = found
        return share

    @cached_property
    def x_levels(self) -> Ints:
        """(n, d) levels of the explained rows; -1 for normal columns."""
        levels = np.full((self.n, self.d), -1, dtype=np.int64)
        for j, column in self.levels.items():
            levels[:, j] = column.x_level
        return levels

    @cached_property
    def _ends(self) -> Floats:
        """(d, c - 1) where in the unit interval each level ends."""
        return np.cumsum(self.shares, axis=1)[:, :-1]

    def level_of(self, u: Floats) -> NDArray[Any]:
        """(m, d) levels of points of the unit cube."""
        level = np.zeros(u.shape, dtype=np.int16 if self.shares.shape[1] < 2**15 else np.int32)
        last = np.array(
            [np.flatnonzero(share)[-1] if share.any() else 0 for share in self.shares]
        )  # rounding must not reach an empty level
        if self.shares.shape[1] > 64:
            for j in range(self.d):
                level[:, j] = np.searchsorted(self._ends[j], u[:, j], side="right")
        else:
            for end in self._ends.T:
                level += u >= end
        clipped: NDArray[Any] = np.minimum(level, last.astype(level.dtype))
        return clipped

    def moved(self, u: Floats, instance: Ints) -> Floats:
        """Points (r, d) of the weighted distribution of these instances, as points of the unweighted one: level columns of GLIME."""
        if self.settings.sampling == "prior" or not self.levels or np.isinf(self.width):
            return u
        own = self.x_levels[instance]
        columns = np.arange(self.d)
        share = np.where(own >= 0, self.shares[columns, own], 0.0)
        start = np.where(own > 0, self._ends[columns, np.maximum(own - 1, 0)], 0.0) if self._ends.shape[1] else np.zeros_like(share)
        pull = np.exp(-0.5 / self.width**2)
        more = np.where(share > 0, share / (share + (1 - share) * pull), 0.0)
        rest = np.where(share < 1, (1 - more) / np.where(share < 1, 1 - share, 1.0), 1.0)  # density outside of the own level
        a, b = start * rest, start * rest + more
        inside = start + np.where(more > 0, (u - a) / np.where(more > 0, more, 1.0), 0.0) * share
        moved = np.where(u < a, u / rest, np.where(u < b, inside, start + share + (u - b) / rest))
        moved = np.where(own >= 0, moved, u)
        return np.clip(moved, np.finfo(np.float64).tiny, 1.0 - 2.0**-53)

    def standard(self, u: Floats, instance: Ints) -> Floats:
        """(r, normal columns) values in standard deviations."""
        stats = np.stack([self.normal[j] for j in self.bells.tolist()], axis=1)  # (2 + n, columns)
        own = stats[2:][instance]
        centre = own if self.settings.around == "row" else np.where(self.settings.units == "raw", self._raw_means, 0.0)[None]
        scale = self.settings.scale
        if self.settings.sampling == "kernel" and np.isfinite(self.width):
            precision = scale**-2 + self.width**-2
            centre, scale = (centre * self.settings.scale**-2 + own * self.width**-2) / precision, precision**-0.5
        constant = stats[1] == 0
        return np.where(constant, own, centre + scale * ndtri(u[:, self.bells]))

    @cached_property
    def _host(self) -> NDArray[Any]:
        """The background, which comes from a device once and not for every batch."""
        return to_numpy(self.columns.background)

    @cached_property
    def _raw_means(self) -> Floats:
        frame = self.columns.background
        parts = (frame, frame) if is_frame(frame) else (to_numpy(frame), to_numpy(frame))
        return np.array([np.nanmean(as_numbers(column(parts, j), str(j))[0]) for j in self.bells.tolist()])

    def picked(self, u: Floats) -> Ints:
        """(r, d) background rows from which values are taken, for level columns."""
        b = self.columns.b
        position = np.minimum((u * b).astype(np.int64), b - 1)
        order = np.zeros((b, self.d), dtype=np.int64)
        for j, column in self.levels.items():
            order[:, j] = column.order
        return np.take_along_axis(order, position, axis=0)

    @cached_property
    def _drawn(self) -> tuple[Ints, Floats]:
        """Columns drawn from truncated normals, and their levels' (columns, c, 6) mean, sd, low, high, ndtr of both ends."""
        where = [j for j, column in self.levels.items() if column.spread is not None]
        table = np.zeros((len(where), self.shares.shape[1], 6))
        table[:, :, 1] = 1.0
        for i, j in enumerate(where):
            spread = self.levels[j].spread
            assert spread is not None
            table[i, : len(spread), :4] = spread
        table[..., 4] = ndtr((table[..., 2] - table[..., 0]) / table[..., 1])
        table[..., 5] = ndtr((table[..., 3] - table[..., 0]) / table[..., 1])
        return np.array(where, dtype=np.int64), table

    def _numbers(self, u: Floats, instance: Ints) -> tuple[Ints, Floats]:
        """Columns whose values are computed, and their values (r, columns) in the model's units."""
        where, table = self._drawn
        values = np.empty((len(u), len(where) + len(self.normal)))
        if len(where):
            level, i = self.level_of(u)[:, where], np.arange(len(where))
            share = self.shares[where]
            start = np.cumsum(share, axis=1) - share
            inside = (u[:, where] - start[i, level]) / np.where(share[i, level] > 0, share[i, level], 1.0)
            mean, sd, low, high, below, above = np.moveaxis(table[i, level], -1, 0)
            drawn = mean + sd * ndtri(np.clip(below + inside * (above - below), 1e-300, 1.0 - 2.0**-53))
            values[:, : len(where)] = np.clip(drawn, low, high)
        if self.normal:
            stats = np.stack([self.normal[j] for j in self.bells.tolist()], axis=1)
            scale = np.where(stats[1] > 0, stats[1], 1.0)
            values[:, len(where) :] = stats[0] + scale * self.standard(u, instance)
        return np.concatenate([where, self.bells]), values

    def rows(self, u: Floats, instance: Ints) -> Rows:
        columns = self.columns
        where, values = self._numbers(u, instance)
        picked = self.picked(u) if len(where) < self.d else None
        background: Any = columns.background
        if not isinstance(columns, FrameColumns):
            host = self._host
            dtype = host.dtype if host.dtype.kind in "fO" or not len(where) else np.result_type(host.dtype, np.float64)
            rows = np.empty((len(u), self.d), dtype=dtype)
            if picked is not None:
                rows[...] = np.take_along_axis(host, picked, axis=0)
            rows[:, where] = values
            if is_numpy(background):
                return rows
            xp = namespace(background)
            own = background.dtype if dtype == host.dtype else xp.float64
            return send(rows, background, own)
        import pandas as pd

        at = {j: i for i, j in enumerate(where.tolist())}
        made: list[Any] = []
        for j, dtype in enumerate(background.dtypes):
            if j in at:
                column = values[:, at[j]]
                wider: Any = "float64" if isinstance(dtype, np.dtype) else "Float64"  # of whole numbers
                made.append(pd.array(column, dtype=dtype if pd.api.types.is_float_dtype(dtype) else wider))
            else:
                assert picked is not None
                made.append(plain(background.iloc[:, j]).take(picked[:, j]))
        return frame_of(made, background.columns.copy())


def column(parts: tuple[Any, Any], j: int) -> Any:
    """Column j of x and of the background, one after the other."""
    if is_frame(parts[0]):
        import pandas as pd

        both = pd.concat([part.iloc[:, j] for part in parts], ignore_index=True)
        return both.to_numpy() if isinstance(both.dtype, np.dtype) else both.array
    return np.concatenate([part[:, j] for part in parts])
