"""Rules that hold a prediction: if these conditions hold, the model says the same, so often."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError, OptionError
from whybox.explanations import _rule_views
from whybox.explanations._check import plain_settings
from whybox.explanations._save import atomic, stats_of
from whybox.typing import Bools, Floats, RunStats

if TYPE_CHECKING:
    import pandas as pd

FORMAT, VERSION = "whybox.rules", 1
Example = str | Mapping[str, Any]


@dataclass(frozen=True)
class Condition:
    """What a rule asks of one feature.

    Args:
        feature: position of the feature.
        name: its name; for texts the word itself.
        text: the condition in words, such as ``3 < age <= 7``.
        kind: "interval" (low < value <= high), "category" (the value itself), "missing", "present" (the word stands in the text), or
            "kept" (the feature is as in the explained row).
        low: of an interval; None: no lower end. For dates and durations their integer.
        high: of an interval; None: no upper end.
        value: of a category.

    Example:
        >>> Condition(0, "age", "age <= 7", "interval", high=7.0).holds([3.0, 9.0]).tolist()
        [True, False]
    """

    feature: int
    name: str
    text: str
    kind: Literal["interval", "category", "missing", "present", "kept"]
    low: float | None = None
    high: float | None = None
    value: Any = None

    def holds(self, values: Any) -> Bools:
        """Where the condition holds: for (n,) values of the feature, or for n texts.

        Args:
            values: column of a table; texts for "present", where the word has to stand on its own.

        Raises:
            InputError: the condition is about the explained row alone ("kept").
        """
        import pandas as pd

        if self.kind == "kept":
            raise InputError(f"covers: {self.text!r} is about the explained row alone; use Anchors with a background for rules about data")

        if self.kind == "present":
            word = re.compile(rf"(?<!\w){re.escape(self.name)}(?!\w)")
            return np.array([word.search(str(text)) is not None for text in values], dtype=bool)
        column = pd.Series(values)
        missing = column.isna().to_numpy(dtype=bool)
        if self.kind == "missing":
            return missing
        if self.kind == "category":
            return np.array([not gone and _same(v, self.value) for v, gone in zip(column, missing, strict=True)], dtype=bool)
        if column.dtype.kind in "mM":
            column = column.astype("int64")
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        low, high = -np.inf if self.low is None else self.low, np.inf if self.high is None else self.high
        inside: Bools = ~missing & (numbers > low) & (numbers <= high)
        return inside


def _same(value: Any, wanted: Any) -> bool:
    return bool(value == wanted) or (isinstance(wanted, str) and str(value) == wanted)


@dataclass(frozen=True)
class Rule:
    """A rule for one row.

    Args:
        conditions: what it asks; none: the prediction holds whatever the features.
        prediction: what the model says, in words.
        precision: how often it says so where the conditions hold, on samples that were not used to find the rule.
        low: lower end of the 95 % interval of the precision.
        high: upper end.
        coverage: how often the conditions hold.
        found: whether the search showed that the precision reaches the threshold; False: the best rule within size and budget.
        n_samples: samples that the precision was measured on.
        same: samples that meet the conditions, and for which the model says the same.
        other: samples that meet the conditions, and for which it says something else.

    Example:
        >>> Rule((), "yes", 1.0, 0.99, 1.0, 1.0, True, 500).size
        0
    """

    conditions: tuple[Condition, ...]
    prediction: str
    precision: float
    low: float
    high: float
    coverage: float
    found: bool
    n_samples: int
    same: tuple[Example, ...] = ()
    other: tuple[Example, ...] = ()

    @property
    def size(self) -> int:
        """Conditions."""
        return len(self.conditions)

    @property
    def text(self) -> str:
        """The conditions in words."""
        return " and ".join(dict.fromkeys(condition.text for condition in self.conditions)) or "always"  # a text may repeat a word

    def covers(self, data: Any) -> Bools:
        """Which rows of data meet the conditions.

        Args:
            data: (n, d) array or DataFrame with the explained columns, or n texts.

        Raises:
            InputError: data is one text, or lacks a column.
        """
        if isinstance(data, str):
            raise InputError("data: expected a sequence of texts, got a str; pass [text]")
        held = np.ones(len(data), dtype=bool)
        for condition in self.conditions:
            held &= condition.holds(data if condition.kind == "present" else _column(data, condition))
        return held


def _column(data: Any, condition: Condition) -> Any:
    if hasattr(data, "columns"):
        if condition.name not in data.columns:
            raise InputError(f"data: has no column {condition.name!r}, which a rule asks for; it has {list(data.columns)[:10]}")
        return data[condition.name]
    array = np.asarray(data)
    if array.ndim != 2 or array.shape[1] <= condition.feature:
        raise InputError(f"data: expected rows with a feature {condition.feature} ({condition.name}), got shape {array.shape}")
    return array[:, condition.feature]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Rules:
    """One rule for each of n rows, such as :class:`whybox.Anchors` finds.

    Args:
        rules: n rules.
        method: the method's published name.
        threshold: the precision that was asked for.
        coverage_of: what coverage is a share of: "background" rows, or "perturbations" of the text itself.
        seed: of the call.
        stats: what the call cost.
        settings: what produced the rules; anything that JSON can hold.

    Example:
        >>> condition = Condition(1, "dose", "dose > 3", "interval", low=3.0)
        >>> rule = Rule((condition,), "ill", 0.97, 0.95, 0.98, 0.2, True, 500)
        >>> e = Rules(rules=(rule,), method="Anchors", threshold=0.95)
        >>> e.precision, e.covers([[0.0, 5.0], [0.0, 1.0]])
        (array([0.97]), array([[ True, False]]))
    """

    rules: tuple[Rule, ...]
    method: str
    threshold: float
    coverage_of: str = "background"
    seed: int = 0
    stats: RunStats = field(default_factory=RunStats)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))
        object.__setattr__(self, "settings", plain_settings(self.settings))

    def __reduce__(self) -> tuple[Any, ...]:
        state = {item.name: getattr(self, item.name) for item in fields(self)}
        return _rebuild, (state | {"settings": dict(self.settings)},)

    def __len__(self) -> int:
        return len(self.rules)

    def __iter__(self) -> Iterator[Rules]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Rules:
        """Some rows' rules, by position, slice, list or mask; a single one is still a Rules, of one rule."""
        try:
            chosen = np.atleast_1d(np.arange(len(self))[index])
        except IndexError as error:
            if isinstance(index, (int, np.integer)):
                raise
            raise OptionError(f"index: expected a position, slice, list or mask of {len(self)} rules, got {index!r}") from error
        return replace(self, rules=tuple(self.rules[i] for i in chosen.tolist()))

    @property
    def precision(self) -> Floats:
        """(n,) how often the prediction holds where the conditions do."""
        return np.array([rule.precision for rule in self.rules], dtype=np.float64)

    @property
    def coverage(self) -> Floats:
        """(n,) how often the conditions hold."""
        return np.array([rule.coverage for rule in self.rules], dtype=np.float64)

    @property
    def found(self) -> Bools:
        """(n,) whether the search showed that the precision reaches the threshold."""
        return np.array([rule.found for rule in self.rules], dtype=bool)

    @property
    def n_queries(self) -> int:
        """Rows that the model was called with in the whole call, also after slicing."""
        return self.stats.n_queries

    def interval(self) -> tuple[Floats, Floats]:
        """Lower and upper ends (n,) of the 95 % intervals of the precision (Clopper and Pearson 1934)."""
        return np.array([rule.low for rule in self.rules]), np.array([rule.high for rule in self.rules])

    def covers(self, data: Any) -> Bools:
        """(n, rows) which rows of data meet the conditions of which rule; their mean over the rows is the rules' coverage of data.

        Args:
            data: (rows, d) array or DataFrame with the explained columns, or texts.
        """
        return np.array([rule.covers(data) for rule in self.rules], dtype=bool).reshape(len(self), len(data))

    def to_frame(self) -> pd.DataFrame:
        """One line a rule: row, rule, prediction, precision, ci_low, ci_high (95 %), coverage, size, found."""
        return _rule_views.frame(self)

    def to_text(self, *, max_display: int = 20) -> str:
        """The rules in plain text, with examples where there is one rule."""
        return _rule_views.text(self, max_display)

    def to_html(self, *, max_display: int = 20) -> str:
        """An HTML fragment: no script, no link, everything escaped."""
        return _rule_views.html(self, max_display)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return f"<{_rule_views.headline(self)}>"

    def save(self, path: str | PathLike[str]) -> None:
        """Write one JSON file, at once or not at all."""
        state = {item.name: getattr(self, item.name) for item in fields(self)}
        state |= {"rules": [asdict(rule) for rule in self.rules], "stats": asdict(self.stats), "settings": dict(self.settings)}
        with atomic(path) as file:
            file.write(json.dumps({"format": FORMAT, "version": VERSION, **state}, ensure_ascii=True).encode("ascii"))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Rules:
        """Read what :meth:`save` wrote; no code in the file is ever run.

        Raises:
            InputError: it is not such a file, of a newer version, or damaged.
        """
        name = fspath(path)
        try:
            state = json.loads(Path(path).read_bytes())
        except ValueError as error:
            raise InputError(f"{name}: not rules saved by whybox, or damaged ({error})") from error
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise InputError(f"{name}: expected a JSON file of format {FORMAT!r}, got {str(state)[:60]}")
        if not isinstance(state.get("version"), int) or state["version"] > VERSION:
            raise InputError(
                f"{name}: has format version {state.get('version')!r}, and this whybox reads up to {VERSION}; install a newer whybox"
            )
        try:
            rules = tuple(_rule(item) for item in state["rules"])
            stats = stats_of(state["stats"])
            rest = {key: state[key] for key in ("method", "threshold", "coverage_of", "seed", "settings")}
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{name}: damaged: {type(error).__name__}: {error}") from error
        return cls(rules=rules, stats=stats, **rest)


def _rule(state: dict[str, Any]) -> Rule:
    lists = {name: tuple(state[name]) for name in ("same", "other")}
    return Rule(**{**state, **lists, "conditions": tuple(Condition(**condition) for condition in state["conditions"])})


def _rebuild(state: dict[str, Any]) -> Rules:
    return Rules(**state)
