"""Explanations of parts of a table, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from whybox._arrays import is_frame
from whybox.errors import InputError, OptionError, SchemaError
from whybox.explanations._view import batch, row_labels
from whybox.explanations.attribution import Attribution
from whybox.typing import RunStats

_SAME = ("method", "output_names", "members", "target", "seed", "settings")
_ROWS = ("values", "std_error", "base_values", "predictions", "score", "intercept", "local_pred", "conditions", "target_index", "data")


def concat(explanations: Iterable[Attribution]) -> Attribution:
    """One explanation of the rows of several, in their order: of chunks, of workers' parts, of single rows.

    A row is explained from the seed and its own content, so that explanations of parts are those of the whole table.

    Args:
        explanations: of one explainer, seed and target, as ``[explainer.explain(part) for part in parts]`` gives them.

    Returns:
        The explanation. Its ``stats`` are the sums of theirs (``batch_size`` and ``repeat_sd`` the largest); slices of one explanation
        share its cost, which counts once. ``estimator`` names all that answered.

    Raises:
        InputError: there are none, or one of them is something else.
        OptionError: they differ in method, features, outputs, target, seed, settings or in what they hold.
        SchemaError: their data have other columns or dtypes.

    Example:
        >>> import whybox as wb
        >>> X = np.arange(12.0).reshape(6, 2)
        >>> explainer = wb.ExactSHAP(lambda rows: rows[:, 0] * rows[:, 1], X)
        >>> e = wb.concat([explainer.explain(X[:4]), explainer.explain(X[4:])])
        >>> bool((e.values == explainer.explain(X).values).all()), len(e)
        (True, 6)
    """
    parts = list(explanations)
    if not parts:
        raise InputError("concat: expected at least one explanation, got none")
    for i, part in enumerate(parts):
        if not isinstance(part, Attribution):
            raise InputError(f"concat: expected explanations, got {type(part).__name__} at {i}")
    parts = [batch(part) for part in parts]
    first = parts[0]
    for i, part in enumerate(parts[1:], 1):
        _check(first, part, i)
    put: dict[str, Any] = {name: _joined([getattr(part, name) for part in parts]) for name in _ROWS}
    put |= {name: getattr(first, name) for name in _SAME}
    put["feature_names"] = tuple(names for part in parts for names in part.feature_names) if first.ragged else first.feature_names
    for name in ("inputs", "marks"):
        put[name] = None if getattr(first, name) is None else tuple(one for part in parts for one in getattr(part, name))
    if any(part.row_labels is not None for part in parts):
        put["row_labels"] = [label for part in parts for label in row_labels(part)]
    names = {name for part in parts for name in part.estimator.split(", ")} - {""}
    stats = {id(part.stats): part.stats for part in parts}
    return Attribution(**put, estimator=", ".join(sorted(names)), stats=together(list(stats.values())))


def together(stats: Sequence[RunStats]) -> RunStats:
    """The costs of several calls."""
    total: dict[str, Any] = {
        item.name: sum(getattr(one, item.name) for one in stats) for item in fields(RunStats) if item.name != "repeat_sd"
    }
    tried = [one.repeat_sd for one in stats if one.repeat_sd is not None]
    largest = max((one.batch_size for one in stats), default=0)
    return RunStats(**total | {"batch_size": largest, "repeat_sd": max(tried) if tried else None})


def _check(first: Attribution, part: Attribution, i: int) -> None:
    different = [name for name in _SAME if getattr(first, name) != getattr(part, name)]
    if not first.ragged and not part.ragged and first.feature_names != part.feature_names:
        different.append("feature_names")
    for name in (*_ROWS, "inputs", "marks"):
        ours, theirs = getattr(first, name), getattr(part, name)
        if (ours is None) != (theirs is None) or (name == "base_values" and ours.shape[1:] != theirs.shape[1:]):
            different.append(name)
    if first.ragged != part.ragged:
        different.append("ragged")
    if different:
        name = different[0]
        shown = "" if name in _ROWS else f" ({_short(getattr(first, name))} and {_short(getattr(part, name))})"
        raise OptionError(f"concat: explanations 0 and {i} differ in {', '.join(different)}{shown}; explain their rows alike")
    if type(first.data) is not type(part.data):
        raise SchemaError(f"concat: data are a {type(first.data).__name__} in explanation 0 and a {type(part.data).__name__} in {i}")
    if is_frame(first.data):
        ours, theirs = dict(first.data.dtypes), dict(part.data.dtypes)
        if list(ours.items()) != list(theirs.items()):
            other = next((c for c in {**ours, **theirs} if ours.get(c) != theirs.get(c)), None)
            what = "the order of columns" if other is None else f"column {other!r}: {ours.get(other)} and {theirs.get(other)}"
            raise SchemaError(
                f"concat: data of explanations 0 and {i} differ in {what}; give all parts one dtype, best by cutting one table"
            )


def _short(value: Any) -> str:
    text = repr(dict(value)) if hasattr(value, "items") else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _joined(parts: list[Any]) -> Any:
    if parts[0] is None:
        return None
    if is_frame(parts[0]):
        import pandas as pd

        return pd.concat(parts)
    whole = np.concatenate(parts)
    whole.setflags(write=False)
    return whole
