"""What the parts of an Attribution must be, each and together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError, ShapeError
from whybox.explanations import _check

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution


def checked(e: Attribution) -> dict[str, Any]:
    """The fields as they are kept: arrays read-only, names as tuples.

    Raises:
        ShapeError: an array does not fit the others.
        InputError: an array does not hold real numbers, or a standard error is negative.
    """
    ragged = not e.single and _check.is_ragged(e.values)
    base = _check.floats("base_values", e.base_values)
    values: NDArray[Any] = _check.rows_of("values", e.values, numbers=True) if ragged else _check.floats("values", e.values)
    put = {"base_values": base, "values": values, "settings": _check.plain_settings(e.settings)}
    leading = () if e.single else values.shape[:1]
    if ragged:
        tails = {row.shape[1:] for row in values}
        if len(tails) > 1 or any(row.ndim not in (1, 2) for row in values):
            raise ShapeError(f"values: expected one array (features,) or (features, outputs) a row, got shapes {[r.shape for r in values]}")
        tail = tails.pop() if tails else base.shape[1:]
    else:
        axes = len(leading) + 1
        if values.ndim not in (axes, axes + 1):
            raise ShapeError(f"values: expected {'(d,) or (d, k)' if e.single else '(n, d) or (n, d, k)'}, got shape {values.shape}")
        tail = values.shape[axes:]
    numbers = (*leading, *tail)
    for name in ("base_values", "predictions", "score", "intercept", "local_pred"):
        if getattr(e, name) is not None:
            put[name] = _check.row_numbers(name, getattr(e, name), numbers)
    if e.std_error is not None:
        errors = _check.rows_of("std_error", e.std_error, numbers=True) if ragged else _check.floats("std_error", e.std_error)
        _check.same_shape("std_error", errors, values)
        if any((row < 0).any() for row in (errors if ragged else [errors])):
            raise InputError("std_error: expected zero or more (or NaN where unknown), got a negative standard error")
        put["std_error"] = errors
    put |= _described(e, values, leading, tail, ragged=ragged)
    if e.row_labels is not None and not e.single:
        put["row_labels"] = tuple(e.row_labels)
        if len(put["row_labels"]) != len(values):
            raise ShapeError(f"row_labels: expected {len(values)}, one a row of values, got {len(put['row_labels'])}")
    put |= _check.marked(e.inputs, e.marks, None if e.single else values)
    return put


def _described(e: Attribution, values: NDArray[Any], leading: tuple[int, ...], tail: tuple[int, ...], *, ragged: bool) -> dict[str, Any]:
    """Names, displayed data and the explained outputs, checked against the values."""
    put: dict[str, Any] = {}
    if ragged:
        if len(e.feature_names) != len(values):
            raise ShapeError(f"feature_names: expected {len(values)} tuples of names, one a row, got {len(e.feature_names)}")
        pairs = enumerate(zip(e.feature_names, values, strict=True))
        put["feature_names"] = tuple(_check.names(f"feature_names[{i}]", mine, len(row), "feature") for i, (mine, row) in pairs)
        for name in ("data", "conditions"):
            if getattr(e, name) is not None:
                put[name] = _check.rows_of(name, getattr(e, name), numbers=False)
                shapes = np.empty(len(values), dtype=object)
                shapes[:] = [row[..., 0] if tail else row for row in values]
                _check.same_shape(name, put[name], shapes)
    else:
        n, d = (leading or (1,))[0], values.shape[len(leading)]
        put["feature_names"] = _check.names("feature_names", e.feature_names, d, "feature")
        if e.members is not None:
            put["members"] = tuple(tuple(int(i) for i in group) for group in e.members)
            _check.names("members", put["members"], d, "feature")
        put["data"] = _check.displayed(e.data, n, d, put.get("members"), single=e.single)
        if e.conditions is not None:
            put["conditions"] = _check.displayed(np.asarray(e.conditions, dtype=object), n, d, None, single=e.single)
    outputs = None if e.output_names is None else tuple(str(name) for name in e.output_names)
    if tail and outputs is not None:
        _check.names("output_names", outputs, tail[0], "output")
    if e.target_index is not None:
        if tail:
            raise ShapeError("target_index: values have an output axis, so every output is explained; leave target_index out")
        put["target_index"] = _check.indices("target_index", e.target_index, leading, None if outputs is None else len(outputs))
    elif not tail and outputs is not None and len(outputs) != 1:
        raise ShapeError(f"output_names: {len(outputs)} names for values without an output axis; pass target_index, or the one name")
    put["output_names"] = outputs
    return put
