"""Slicing: rows, features and outputs of an Attribution, with everything that belongs to them."""

from __future__ import annotations

import difflib
import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_frame
from whybox.errors import OptionError, ShapeError
from whybox.explanations._view import row_labels

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution

_ALL = slice(None)
_PER_ROW = ("base_values", "predictions", "score", "intercept", "local_pred")


def select(e: Attribution, key: Any) -> Attribution:
    """``e[key]`` with at most one entry for rows, features and outputs each, and one Ellipsis."""
    entries = list(key) if isinstance(key, tuple) else [key]
    axes = (["features"] if e.single else ["rows", "features"]) + (["outputs"] if e.multi_output else [])
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    if len(dots) > 1 or len(entries) - len(dots) > len(axes):
        raise OptionError(f"e[...]: expected at most one entry for each of {', '.join(axes)}, got {len(entries)}: {key!r}")
    if dots:
        entries[dots[0] : dots[0] + 1] = [_ALL] * (len(axes) - len(entries) + 1)
    picks = dict(zip(axes, entries, strict=False))
    # Outputs and rows first: a row of a ragged explanation then has plain features.
    if "outputs" in picks:
        e = _outputs(e, picks["outputs"])
    if "rows" in picks:
        e = _rows(e, picks["rows"])
    if "features" in picks:
        e = _features(e, picks["features"])
    return e


def output(e: Attribution, which: int | str) -> Attribution:
    """One output of an explanation, also where only that one was explained."""
    names = e.output_names
    count = e.n_outputs if e.multi_output else max(1 if names is None else len(names), _top(e) + 1)
    _unambiguous(which, names or (), count)
    if e.multi_output:
        return _outputs(e, which)
    index = 0 if e.target_index is None and which == 0 else position(which, names, count, "output")
    explained = {0} if e.target_index is None else set(np.unique(e.target_index).tolist())
    if explained - {index}:
        shown = ", ".join(repr(e.output_names[i]) if e.output_names else str(i) for i in sorted(explained))
        raise OptionError(
            f"output: this explains {shown}, so not (only) {which!r}; explain again with target={which!r} or target=None"
            + (", or keep the rows that explain it: e[e.target_index == i]" if index in explained else "")
        )
    return e


def _unambiguous(which: Any, names: tuple[str, ...], count: int) -> None:
    """A position that is not another output's name, as classes 1, 2 and 3 or -1 and 1 have them; the rule of ``target=``."""
    if isinstance(which, str) or not _is_one(which) or isinstance(which, (bool, np.bool_)) or not hasattr(which, "__index__"):
        return
    index, named = operator.index(which), str(operator.index(which)) in names
    if not -count <= index < count:
        meant = f"; for the class pass its name: {str(index)!r}" if named else ""
        raise OptionError(f"output: expected a position below {count} or a name, got {index}{meant}")
    if named and names[index] != str(index):
        raise OptionError(
            f"output: position {index} is output {names[index]!r}, and another output is named '{index}'; pass the name you mean"
        )


def _top(e: Attribution) -> int:
    return 0 if e.target_index is None else int(np.max(e.target_index, initial=0))


def _seal(array: NDArray[Any]) -> NDArray[Any]:
    """An array of ours, read-only without another copy."""
    array = np.asarray(array)
    array.setflags(write=False)
    return array


def _take(array: Any, key: Any) -> Any:
    return None if array is None else _seal(array[key])


def position(which: Any, names: tuple[str, ...] | None, count: int, what: str) -> int:
    """The position of one feature or output, given by position or name."""
    if isinstance(which, (bool, np.bool_)):
        raise OptionError(f"{what}: expected a position or a name, got {which!r}")
    if isinstance(which, str):
        found = [i for i, name in enumerate(names or ()) if name == which]
        if len(found) > 1:
            raise OptionError(f"{what} {which!r}: {len(found)} of them have this name, at positions {found}; choose by position")
        if not found:
            near = difflib.get_close_matches(which, names or (), n=3)
            hint = (
                f"did you mean {', '.join(map(repr, near))}?" if near else f"there are {count}: {', '.join((names or ('unnamed',))[:10])}"
            )
            raise OptionError(f"no {what} named {which!r}; {hint}")
        return found[0]
    try:
        index = operator.index(which)
    except TypeError:
        raise OptionError(f"{what}: expected a position or a name, got {which!r}") from None
    if not -count <= index < count:
        raise IndexError(f"{what} {index} is out of range: there are {count}")
    return index % count


def positions(key: Any, names: tuple[str, ...] | None, count: int, what: str) -> slice | NDArray[Any]:
    """A slice, or an integer array, of several features, outputs or rows."""
    if isinstance(key, slice):
        if not all(end is None or hasattr(end, "__index__") for end in (key.start, key.stop, key.step)):
            raise OptionError(
                f"{what}s: a slice has positions, got {key!r}" + ("" if names is None else "; a list has names: e[:, ['a', 'b']]")
            )
        return key
    array = np.asarray(key)
    if array.ndim != 1:
        raise OptionError(f"{what}s: expected a position, name, slice, mask or list of these, got {key!r}")
    if array.dtype == bool:
        if len(array) != count:
            raise ShapeError(f"mask of {what}s: expected {count} entries, got {len(array)}")
        return np.flatnonzero(array)
    return np.array([position(item, names, count, what) for item in key], dtype=np.intp)


def _is_one(key: Any) -> bool:
    return isinstance(key, (str, bool, np.bool_)) or (not isinstance(key, slice) and np.ndim(key) == 0)


def _rows(e: Attribution, key: Any) -> Attribution:
    if isinstance(key, str):
        raise OptionError(f"rows are chosen by position, slice or mask, got {key!r}; features come second: e[:, {key!r}]")
    one = _is_one(key)
    pick: Any = position(key, None, len(e), "row") if one else positions(key, None, len(e), "row")
    changes: dict[str, Any] = {
        name: _take(getattr(e, name), pick) for name in (*_PER_ROW, "values", "std_error", "conditions", "target_index")
    }
    if e.ragged:
        many = range(len(e))[pick] if isinstance(pick, slice) else pick
        for name in ("feature_names", "inputs", "marks"):
            each = getattr(e, name)
            if each is not None:
                changes[name] = each[pick] if one else tuple(each[i] for i in many)
    if e.row_labels is not None or not is_frame(e.data):  # a DataFrame keeps its index by itself
        labels = row_labels(e)
        changes["row_labels"] = labels[pick] if one or isinstance(pick, slice) else [labels[i] for i in pick]
    if is_frame(e.data):
        # One row keeps each cell as it was: a Series of objects, where a plain .iloc would cast integers beside floats.
        changes["data"] = e.data.iloc[[pick]].astype(object).iloc[0] if one else e.data.iloc[pick]
    else:
        changes["data"] = _take(e.data, pick)
    return replace(e, **changes, single=one)


def _features(e: Attribution, key: Any) -> Attribution:
    if isinstance(key, slice) and key == _ALL:
        return e
    if e.ragged:
        raise OptionError("features: the rows have features of their own; choose a row first: e[0][...]")
    names = e.feature_names
    count = len(names)
    pick: Any = [position(key, names, count, "feature")] if _is_one(key) else positions(key, names, count, "feature")
    where: Any = pick if e.single else (_ALL, pick)
    changes: dict[str, Any] = {name: _take(getattr(e, name), where) for name in ("values", "std_error", "conditions")}
    changes["feature_names"] = tuple(np.array(names, dtype=object)[pick])
    if e.marks is not None:
        changes["marks"] = _marks(e, pick)
    if e.members is not None:
        changes["members"] = tuple(e.members[i] for i in np.arange(count)[pick])
    elif e.data is not None and not isinstance(e.data, np.ndarray):
        changes["data"] = e.data.iloc[where]
    else:
        changes["data"] = _take(e.data, where)
    return replace(e, **changes)


def _marks(e: Attribution, pick: Any) -> NDArray[Any]:
    """Marks of the chosen features of a single row."""
    if isinstance(e.inputs, str):
        return _seal(e.marks[pick])
    chosen = np.arange(len(e.feature_names))[pick]
    place = np.full(len(e.feature_names) + 1, -1, dtype=e.marks.dtype)  # the last one is for what belongs to no feature
    place[chosen] = np.arange(len(chosen))
    return _seal(place[e.marks])


def _outputs(e: Attribution, key: Any) -> Attribution:
    one = _is_one(key)
    count = e.n_outputs
    pick: Any = position(key, e.output_names, count, "output") if one else positions(key, e.output_names, count, "output")
    changes: dict[str, Any] = {name: _take(getattr(e, name), (..., pick)) for name in _PER_ROW}
    for name in ("values", "std_error"):
        array = getattr(e, name)
        if e.ragged and array is not None:
            rows = np.empty(len(array), dtype=object)
            for i, row in enumerate(array):
                rows[i] = _seal(row[:, pick])
            changes[name] = _seal(rows)
        else:
            changes[name] = _take(array, (..., pick))
    if one:
        changes |= {"target": key, "target_index": _seal(np.full(e.base_values.shape[:-1], pick, dtype=np.int64))}
        changes["target"] = key if isinstance(key, str) else pick
    elif e.output_names is not None:
        changes["output_names"] = tuple(np.array(e.output_names, dtype=object)[pick])
    return replace(e, **changes)
