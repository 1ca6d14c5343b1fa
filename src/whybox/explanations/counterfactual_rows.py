"""Counterfactual rows: what would have to be different for the model to say something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_frame, take_rows
from whybox.errors import OptionError, ShapeError
from whybox.explanations import _row_views, _save
from whybox.explanations._check import displayed, floats, frozen, names, plain_settings
from whybox.explanations._columns import Arrays, pack, unpack
from whybox.typing import Bools, Floats, Ints, RunStats

if TYPE_CHECKING:
    import pandas as pd

_FORM = "whybox.counterfactual_rows"
_TABLES = ("x", "rows")
_ARRAYS = ("of", "changed", "before", "after", "reached", "distance", "plausibility", "cost", "exact", "spent")
_PLAIN = ("feature_names", "output_names", "wanted", "asked", "method", "seed", "settings")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CounterfactualRows:
    """Counterfactual rows of n explained rows: m in all, those of a row side by side, the cheapest first.

    Args:
        x: (n, d) explained rows, as the model got them: DataFrame or array.
        rows: (m, d) counterfactual rows, in the same dtypes.
        of: (m,) the explained row of each counterfactual, by position; ascending.
        changed: (m, d) which values differ from the explained row's.
        before: (n, k) the model's outputs for the explained rows.
        after: (m, k) for the counterfactuals.
        reached: (n,) whether the row itself is already what was wanted; such rows have no counterfactuals.
        wanted: n texts: what was to be reached.
        distance: (m,) how far the counterfactual is from its row: per column the share of the background between both values, 1 for
            another category; summed.
        plausibility: (m,) share of background rows that are at least as far from their nearest neighbour as the counterfactual is from
            its own: a small one says that there is nothing like it in the data.
        cost: (m,) distance, and what changes and being unlike the data cost.
        exact: (n,) whether all combinations of permitted values were asked, so that no counterfactual is cheaper than the first.
        spent: (n,) whether the search ended because the budget did: changes may be needless, and cheaper ones may exist.
        asked: how many counterfactuals a row were asked for.
        feature_names: names of the d columns.
        output_names: names of the k outputs, or None.
        method: the method's name.
        seed: of the call.
        stats: what the call cost.
        settings: what produced the result; anything that JSON can hold.

    Raises:
        ShapeError: the arrays do not belong together.

    Example:
        >>> e = CounterfactualRows(
        ...     x=np.array([[30.0, 1.0]]),
        ...     rows=np.array([[35.0, 1.0]]),
        ...     of=[0],
        ...     changed=[[True, False]],
        ...     before=[[0.3]],
        ...     after=[[0.6]],
        ...     reached=[False],
        ...     wanted=["yes"],
        ...     distance=[0.1],
        ...     plausibility=[0.7],
        ...     cost=[0.6],
        ...     exact=[True],
        ...     spent=[False],
        ...     asked=1,
        ...     feature_names=["age", "degree"],
        ... )
        >>> e.changes[0]
        'age: 30 → 35'
    """

    x: Any
    rows: Any
    of: Ints
    changed: Bools
    before: Floats
    after: Floats
    reached: Bools
    wanted: Sequence[str]
    distance: Floats
    plausibility: Floats
    cost: Floats
    exact: Bools
    spent: Bools
    asked: int
    feature_names: Sequence[str]
    output_names: Sequence[str] | None = None
    method: str = "TabularCounterfactuals"
    seed: int = 0
    stats: RunStats = field(default_factory=RunStats)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, m = len(self.x), len(self.rows)
        before = floats("before", self.before)
        if before.ndim != 2:
            raise ShapeError(f"before: expected shape (n, k), got {before.shape}")
        d, k = len(self.feature_names), before.shape[1]
        of = frozen(np.asarray(self.of, dtype=np.int64).reshape(-1))
        state: dict[str, Any] = {
            "x": displayed(self.x, n, d, None, single=False),
            "rows": displayed(self.rows, m, d, None, single=False),
            "of": of,
            "changed": frozen(np.asarray(self.changed, dtype=bool).reshape(-1, d)),
            "before": before,
            "after": floats("after", np.asarray(self.after, dtype=np.float64).reshape(-1, k)),
            "reached": frozen(np.asarray(self.reached, dtype=bool)),
            "exact": frozen(np.asarray(self.exact, dtype=bool)),
            "spent": frozen(np.asarray(self.spent, dtype=bool)),
            "distance": floats("distance", np.asarray(self.distance, dtype=np.float64)),
            "plausibility": floats("plausibility", np.asarray(self.plausibility, dtype=np.float64)),
            "cost": floats("cost", np.asarray(self.cost, dtype=np.float64)),
            "wanted": names("wanted", self.wanted, n, "row"),
            "feature_names": names("feature_names", self.feature_names, d, "column"),
            "output_names": None if self.output_names is None else names("output_names", self.output_names, k, "output"),
            "settings": plain_settings(self.settings),
        }
        for name in ("before", "reached", "exact", "spent", "of", "changed", "after", "distance", "plausibility", "cost"):
            count = n if name in ("before", "reached", "exact", "spent") else m
            if len(state[name]) != count:
                raise ShapeError(f"{name}: expected {count} rows, got {len(state[name])}")
        if m and (of.min() < 0 or of.max() >= n or (np.diff(of) < 0).any()):
            raise ShapeError(f"of: expected ascending positions below {n}, got {of[:10].tolist()}")
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {item.name: getattr(self, item.name) for item in fields(self)}
        return _rebuild, (state | {"settings": dict(self.settings)},)

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator[CounterfactualRows]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> CounterfactualRows:
        """Some explained rows with their counterfactuals, by position, slice, list or mask."""
        try:
            chosen = np.atleast_1d(np.arange(len(self))[index])
        except IndexError as error:
            if isinstance(index, (int, np.integer)):
                raise
            raise OptionError(f"index: expected a position, slice, list or mask of {len(self)} rows, got {index!r}") from error
        start, stop = np.searchsorted(self.of, chosen), np.searchsorted(self.of, chosen, side="right")
        where = np.concatenate([np.arange(a, b) for a, b in zip(start, stop, strict=True)] or [np.zeros(0, dtype=np.int64)]).astype(
            np.int64
        )
        parts: dict[str, Any] = {name: getattr(self, name)[where] for name in ("changed", "after", "distance", "plausibility", "cost")}
        parts |= {name: getattr(self, name)[chosen] for name in ("before", "reached", "exact", "spent")}
        return replace(
            self,
            x=_taken(self.x, chosen),
            rows=_taken(self.rows, where),
            of=np.repeat(np.arange(len(chosen)), stop - start),
            wanted=[self.wanted[i] for i in chosen.tolist()],
            **parts,
        )

    @property
    def found(self) -> Ints:
        """(n,) counterfactuals of each explained row."""
        return np.bincount(self.of, minlength=len(self)).astype(np.int64)

    @property
    def missing(self) -> Bools:
        """(n,) rows that are not what was wanted, and have no counterfactual."""
        return np.asarray(~self.reached & (self.found == 0))

    @property
    def n_changed(self) -> Ints:
        """(m,) columns that differ."""
        return np.asarray(self.changed.sum(axis=1), dtype=np.int64)

    @property
    def changes(self) -> tuple[str, ...]:
        """What changes, in words, of each counterfactual."""
        return tuple(", ".join(_row_views.told(self, i)) for i in range(len(self.rows)))

    @property
    def n_queries(self) -> int:
        """Rows that the model was called with in the whole call, also after slicing."""
        return self.stats.n_queries

    def to_frame(self) -> pd.DataFrame:
        """One line a counterfactual: row, counterfactual, wanted, changes, n_changed, distance, plausibility, cost, outputs.

        The rows themselves, ready for the model, are ``rows``; single changes are ``to_changes()``.
        """
        return _row_views.frame(self)

    def to_changes(self) -> pd.DataFrame:
        """One line a change: row, counterfactual, feature, from, to."""
        return _row_views.changes(self)

    def importance(self) -> pd.DataFrame:
        """How often each column changes: feature, first (share of the explained rows whose first counterfactual changes it), any.

        Rows without counterfactuals do not count.
        """
        return _row_views.importance(self)

    def to_text(self, *, max_display: int = 20) -> str:
        """Plain text, at most so many explained rows."""
        return _row_views.text(self, max_display)

    def to_html(self, *, max_display: int = 20) -> str:
        """An HTML fragment: no script, no link, everything escaped."""
        return _row_views.html(self, max_display)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return f"<{_row_views.headline(self)}>"

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything into one file (zip of npy arrays and JSON; no pickle), at once or not at all.

        Args:
            path: the file's name, as it is; by custom it ends in ``.npz``.
        """
        arrays: Arrays = {}
        notes = {name: pack(getattr(self, name), name, arrays) for name in (*_TABLES, *_ARRAYS)}
        plain = {name: getattr(self, name) for name in _PLAIN} | {"settings": dict(self.settings), "stats": asdict(self.stats)}
        _save.write(path, {"format": _FORM, "version": 1, "arrays": notes, "plain": plain}, arrays)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> CounterfactualRows:
        """Read what :meth:`save` wrote; no code in the file is ever run.

        Raises:
            InputError: it is not such a file, of a newer version, or damaged.
        """
        return _save.read(path, _FORM, _loaded)


def _taken(rows: Any, index: Ints) -> Any:
    return rows.iloc[index] if is_frame(rows) else take_rows(rows, index)


def _loaded(header: dict[str, Any], arrays: Arrays) -> CounterfactualRows:
    found = {name: unpack(header["arrays"][name], arrays) for name in (*_TABLES, *_ARRAYS)}
    plain = {name: header["plain"][name] for name in _PLAIN}
    return CounterfactualRows(**found, **plain, stats=_save.stats_of(header["plain"]["stats"]))


def _rebuild(state: dict[str, Any]) -> CounterfactualRows:
    return CounterfactualRows(**state)
