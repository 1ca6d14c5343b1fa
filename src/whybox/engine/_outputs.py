"""What a model may answer: the one place where outputs are checked and made float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import detached, is_array, is_frame, namespace, to_numpy
from whybox.errors import OutputShapeError, OutputValueError
from whybox.typing import Array, Floats

_LARGEST = 1e150  # of an output


def as_outputs(answer: Any, n: int, model: str, *, copy: bool = True) -> tuple[Floats, bool]:
    """A model's answer as a (n, k) float64 array.

    Args:
        answer: what the model returned: array of any library, list, tuple, Series or DataFrame; (n,) or (n, k).
        n: rows that were sent.
        model: the model's name, for messages.
        copy: of memory of its own; else it may look at the model's, and the model may write its next answer there.

    Returns:
        The outputs, and whether the answer was one-dimensional.

    Raises:
        OutputShapeError: other length, more than two axes, ragged, or no array at all.
        OutputValueError: not real numbers.
    """
    array = _as_array(answer, model)
    _check_shape(tuple(array.shape), n, model)
    return np.array(array, dtype=np.float64, copy=copy or None).reshape(n, -1), array.ndim == 1


def same_columns(answer: Any, before: tuple[str, ...] | None, model: str) -> tuple[str, ...] | None:
    """Names of the outputs, where the model answers with a table of named columns.

    Args:
        answer: what the model returned.
        before: names in its earlier answers, or None.
        model: the model's name, for messages.

    Raises:
        OutputShapeError: columns have other names than before, or stand in another order.
    """
    if not is_frame(answer) or not all(isinstance(name, str) for name in answer.columns):
        return before
    names = tuple(answer.columns)
    if len(set(names)) < len(names):  # they do not tell the outputs apart
        return before
    if before is not None and names != before:
        raise OutputShapeError(f"{model}: returned columns {list(before)} before and {list(names)} now; keep their names and order")
    return names


def as_device_outputs(answer: Array, n: int, model: str) -> tuple[Array, bool]:
    """As :func:`as_outputs`, but (n, k) float64 where the answer is, and nobody waits for its numbers."""
    answer = detached(answer)  # whoever calls a network by a function of his own may have left its gradients on: all activations
    xp = namespace(answer)
    if not xp.isdtype(answer.dtype, ("bool", "real floating", "integral")):
        return as_outputs(answer, n, model)
    _check_shape(tuple(answer.shape), n, model)
    own = xp.astype(answer, xp.float64, copy=True)
    return xp.reshape(own, (n, -1 if n else 1)), answer.ndim == 1


def _check_shape(shape: tuple[int, ...], n: int, model: str) -> None:
    if len(shape) not in (1, 2):
        raise OutputShapeError(f"{model}: expected outputs of shape ({n},) or ({n}, k), got {shape}; return one row of outputs a row")
    if shape[0] != n:
        raise OutputShapeError(f"{model}: expected {n} outputs for {n} rows, got {shape[0]}; return one output a row, in order")
    if len(shape) == 2 and shape[1] == 0:
        raise OutputShapeError(f"{model}: expected at least one output a row, got shape {shape}")


def _as_array(answer: Any, model: str) -> NDArray[Any]:
    if answer is None:
        raise OutputShapeError(f"{model}: returned None; expected an array of outputs (is a return statement missing?)")
    if isinstance(answer, np.ma.MaskedArray) and np.ma.is_masked(answer):
        raise OutputValueError(
            f"{model}: {int(np.ma.getmaskarray(answer).sum())} of {answer.size} outputs are masked, and their values are no answers; "
            "return answer.filled(np.nan), or a plain array"
        )
    if is_array(answer):
        array = to_numpy(answer)
    else:
        try:
            array = np.asarray(answer)
        except ValueError as exc:
            raise OutputShapeError(
                f"{model}: returned a {type(answer).__name__} that is no rectangular array; return (n,) or (n, k)"
            ) from exc
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as exc:
            raise OutputValueError(f"{model}: expected real numbers, got objects such as {array.ravel()[:1]!r}") from exc
    if array.dtype.kind not in "biuf":
        raise OutputValueError(
            f"{model}: expected real numbers, got dtype {array.dtype}; pass a predict function that returns scores "
            "(for a classifier: predict_proba or decision_function)"
        )
    return array


def check_finite(outputs: Floats, model: str, first_row: int, on_nan: str) -> int:
    """Count NaN rows, or refuse them.

    Raises:
        OutputValueError: an output is infinite or so large that its square is, or NaN while ``on_nan="raise"``.
    """
    flat = outputs.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.dot(flat, flat)
    if bool(np.isfinite(squares)):  # one pass; otherwise the exact tests decide
        return 0
    if bool((np.abs(outputs) > _LARGEST).any()) and not np.isinf(outputs).any():
        raise OutputValueError(
            f"{model}: outputs up to {np.nanmax(np.abs(outputs)):.3g}, whose sums and squares overflow; explain a smaller scale, "
            "such as the logarithm"
        )
    infinite = np.isinf(outputs).any(axis=1)
    nan = np.isnan(outputs).any(axis=1)
    if infinite.any():
        where = (np.flatnonzero(infinite)[:5] + first_row).tolist()
        raise OutputValueError(
            f"{model}: {int(infinite.sum())} of {len(outputs)} rows of this batch have infinite outputs (rows {where} of the job)"
        )
    if nan.any() and on_nan == "raise":
        where = (np.flatnonzero(nan)[:5] + first_row).tolist()
        raise OutputValueError(
            f"{model}: {int(nan.sum())} of {len(outputs)} rows of this batch have NaN outputs (rows {where} of the job); "
            'mend the model, or pass Engine(on_nan="skip") to leave such rows out and have them counted'
        )
    return int(nan.sum())
