"""LIME's neighbourhoods of rows of a table: quantile bins and categories by frequency, or Gaussian noise in scaled units."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import cell_hashes, to_numpy
from whybox.errors import InputError, OptionError
from whybox.spaces._array_columns import ArrayColumns
from whybox.spaces._frame_columns import FrameColumns
from whybox.spaces._ingest import as_rows, join
from whybox.spaces._levels import Column, as_numbers, bin_shares, category_column, column_positions, is_ordered, ordered_column
from whybox.spaces._points import Points, column
from whybox.spaces.marginal import MarginalBound
from whybox.typing import Ask, Floats, Ints, Model, Rows


@dataclass(frozen=True)
class Neighborhood:
    """Where LIME looks: points drawn from the background's distribution, feature by feature, or from a normal.

    With ``discretize`` (lime's default) a number is drawn as its quantile bin, by frequency, and then from a normal truncated to that bin;
    a category by frequency. The interpretable feature is whether the value lies in the explained row's bin, or is its category. These draws
    do not depend on the explained row, so that one set of samples serves all rows of a call. With ``discretize=None`` numbers are normal
    around the row or around the mean; the interpretable feature is the value in standard deviations.

    A point at distance D from the row, in interpretable features, weighs ``exp(-D^2 / (2 kernel_width^2))``: what lime's code computes.

    Args:
        background: (b, d) rows that bins, frequencies, means and standard deviations are taken from: array or DataFrame.
        discretize: "quartile" (default), "decile", a number of bins, or None for normal draws.
        around: "row" (default) or "mean": the centre of normal draws.
        scale: standard deviation of normal draws, in the feature's own standard deviations (or in its units, see ``units``). Default 1.
        kernel_width: width of the weights; None (default) is ``0.75 sqrt(d)``, ``inf`` weighs all points alike.
        sampling: "prior" (default) draws points and weighs them; "kernel" draws them from the weighted distribution, and weighs them
            alike (GLIME, Tan, Tian and Li 2023): no sample is wasted on weights near 0.
        categorical: columns, by position or name, that are categories although they hold numbers.
        units: "sd" (default): normal draws and features in standard deviations; "raw": in the feature's own units.

    Raises:
        OptionError: an option has a value that does not exist.
        InputError: the background is empty or not tabular.

    Source: Ribeiro, Singh and Guestrin 2016; ``lime.lime_tabular``.

    Example:
        >>> Neighborhood(np.arange(8.0).reshape(4, 2)).discretize
        'quartile'
    """

    background: Any
    _: KW_ONLY
    discretize: Literal["quartile", "decile"] | int | None = "quartile"
    around: Literal["row", "mean"] = "row"
    scale: float = 1.0
    kernel_width: float | None = None
    sampling: Literal["prior", "kernel"] = "prior"
    categorical: Sequence[int | str] = ()
    units: Literal["sd", "raw"] = "sd"

    def __post_init__(self) -> None:
        as_rows(self.background, "background")
        if self.discretize is not None:
            bin_shares(self.discretize)
        for name, options in (("around", ("row", "mean")), ("sampling", ("prior", "kernel")), ("units", ("sd", "raw"))):
            if getattr(self, name) not in options:
                raise OptionError(f"{name}: expected one of {', '.join(options)}, got {getattr(self, name)!r}")
        if not 0 < self.scale < np.inf:
            raise OptionError(f"scale: expected a positive number of standard deviations, got {self.scale!r}")
        if self.kernel_width is not None and not self.kernel_width > 0:
            raise OptionError(f"kernel_width: expected a positive number, inf or None, got {self.kernel_width!r}")

    def bind(self, x: Any, model: Model) -> NeighborhoodBound:
        """Match x with the background, and learn bins, frequencies and scales."""
        columns, names = join(x, self.background, model)
        assert isinstance(columns, (ArrayColumns, FrameColumns))
        frame = isinstance(columns, FrameColumns)
        parts = (columns.x, columns.background) if frame else (to_numpy(columns.x), to_numpy(columns.background))
        chosen = column_positions(self.categorical, names, "categorical")
        levels: dict[int, Column] = {}
        normal: dict[int, Floats] = {}
        for j, name in enumerate(names):
            both = column(parts, j)
            if j in chosen or not is_ordered(both):
                levels[j] = category_column(both, columns.n, name)
            elif self.discretize is not None:
                levels[j] = ordered_column(both, columns.n, name, bin_shares(self.discretize))
            else:
                normal[j] = self._normal(both, columns.n, name)
        width = 0.75 * float(np.sqrt(len(names))) if self.kernel_width is None else float(self.kernel_width)
        return NeighborhoodBound(self, MarginalBound(columns, names, None), Points(self, columns, levels, normal, width))

    def _normal(self, both: Any, n: int, name: str) -> Floats:
        """Mean, standard deviation, and the explained rows' values in it."""
        if getattr(both.dtype, "kind", "") not in "biuf" and not str(both.dtype).startswith(("Int", "UInt", "Float")):
            raise InputError(f"column {name!r} holds {both.dtype}: normal noise needs numbers; use bins (discretize=...) or categorical=")
        numbers, missing = as_numbers(both, name)
        if missing[:n].any() or missing[n:].all():
            raise InputError(f"column {name!r}: normal noise around a missing value has no meaning; use bins (discretize=...)")
        back = numbers[n:][~missing[n:]]
        mean, sd = float(back.mean()), float(back.std())
        if self.units == "raw":
            mean, sd = 0.0, float(sd > 0)
        return np.concatenate([[mean, sd], (numbers[:n] - mean) / (sd or 1.0)])


@dataclass(frozen=True)
class NeighborhoodBound:
    """A neighbourhood bound to the explained rows, see :class:`whybox.typing.Bound`. Codes are points (m, d) of the unit cube.

    Args:
        space: the settings.
        rows: explained rows and background, as the model takes them.
        points: turns codes into rows.
    """

    space: Neighborhood
    rows: MarginalBound
    points: Points
    draws: int = 1
    members: None = None
    design: Literal["points"] = "points"

    @property
    def n(self) -> int:
        """Explained rows."""
        return self.rows.n

    @property
    def d(self) -> int:
        """Columns."""
        return self.rows.columns.d

    @property
    def shared_empty(self) -> bool:
        """All rows have the same columns."""
        return True

    @property
    def shared(self) -> bool:
        """Whether the drawn rows are the same for every explained row."""
        return self.space.sampling == "prior" and (not self.points.normal or self.space.around == "mean")

    @property
    def width(self) -> float:
        """Kernel width."""
        return self.points.width

    def n_features(self, instance: int) -> int:
        """Columns."""
        return self.d

    def feature_names(self, instance: int) -> tuple[str, ...]:
        """Column names."""
        return self.rows.names

    def plain(self, start: int, stop: int) -> Rows:
        """Explained rows as the model takes them."""
        return self.rows.plain(start, stop)

    def row_keys(self) -> NDArray[np.uint64] | None:
        """Equal exactly for identical rows."""
        return self.rows.row_keys()

    def digest(self) -> str:
        """Identifies rows, background and settings."""
        s = self.space
        settings = (s.discretize, s.around, s.scale, self.width, s.sampling, sorted(map(str, s.categorical)), s.units)
        return hashlib.sha256((self.rows.digest() + repr(settings)).encode()).hexdigest()

    def compose(self, ask: Ask, start: int, stop: int) -> Rows:
        """Rows start to stop of an ask."""
        return self.take(ask, np.arange(start, stop, dtype=np.int64))

    def take(self, ask: Ask, index: Ints) -> Rows:
        """Chosen rows of an ask."""
        instance, code = np.divmod(index, len(ask.codes))
        return self.points.rows(self.points.moved(ask.codes[code], ask.instances[instance]), ask.instances[instance])

    def keys(self, ask: Ask) -> NDArray[np.uint64] | None:
        """Keys where all values come from the background; normal draws do not repeat."""
        if self.points.normal or any(found.spread is not None for found in self.points.levels.values()):
            return None
        instance, code = np.divmod(np.arange(len(ask.instances) * len(ask.codes)), len(ask.codes))
        picked = self.points.picked(self.points.moved(ask.codes[code], ask.instances[instance]))
        cells = np.take_along_axis(self.rows.columns.cells()[1], picked, axis=0)
        keys: NDArray[np.uint64] = cell_hashes(cells).sum(axis=1, dtype=np.uint64)
        return keys

    def fold(self, ask: Ask, outputs: Floats) -> Floats:
        """One row a code."""
        return outputs[:, :, 0, :]

    def features(self, instances: Ints, codes: Floats) -> NDArray[Any]:
        """Interpretable features (n_i, m, d) of the drawn points: bool if all are levels, otherwise float64."""
        if self.shared and not self.points.normal:
            drawn = self.points.level_of(codes)
            return np.asarray(drawn[None] == self.points.x_levels[instances][:, None, :])
        result = np.empty((len(instances), len(codes), self.d), dtype=np.float64 if self.points.normal else bool)
        for i, instance in enumerate(instances.tolist()):  # a bounded block of instances is asked for at a time
            u = self.points.moved(codes, np.full(len(codes), instance))
            if self.points.levels:
                result[i][:, self.points.where] = (
                    self.points.level_of(u)[:, self.points.where] == self.points.x_levels[instance, self.points.where]
                )
            if self.points.normal:
                result[i][:, self.points.bells] = self.points.standard(u, np.full(len(codes), instance))
        return result

    def row_features(self, instances: Ints, d: int) -> Floats:  # d: all rows have the same columns
        """Interpretable features (n_i, d) of these explained rows: 1 for a level, the value in standard deviations otherwise."""
        z = np.ones((len(instances), self.d))
        for j, found in self.points.normal.items():
            z[:, j] = found[2:][instances]
        return z

    def weights(self, z: NDArray[Any], instances: Ints) -> Floats:
        """Weights (n_i, m) of points with these features."""
        if self.space.sampling == "kernel" or np.isinf(self.width):
            return np.ones(z.shape[:2])
        if z.dtype == bool:
            far = self.d - np.count_nonzero(z, axis=2).astype(np.float64)
        else:
            far = np.add.reduce((z - self.row_features(instances, self.d)[:, None]) ** 2, axis=2)
        weight: Floats = np.exp(far / (-2.0 * self.width**2))
        return weight

    def conditions(self) -> NDArray[Any] | None:
        """(n, d) what each explained value's bin says, None for categories and normal columns; None if there are no bins."""
        if not any(found.texts for found in self.points.levels.values()):
            return None
        texts = np.full((self.n, self.d), None, dtype=object)
        for j, found in self.points.levels.items():
            if found.texts is not None:
                texts[:, j] = np.array(found.texts, dtype=object)[found.x_level]
        return texts
