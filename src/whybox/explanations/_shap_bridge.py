"""To shap and back. The only file of this package that imports shap, and only when asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError, MissingDependencyError
from whybox.explanations._view import row_outputs

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution


def to_shap(e: Attribution) -> Any:
    """A ``shap.Explanation`` over the same arrays.

    Raises:
        MissingDependencyError: shap is not installed.
    """
    try:
        import shap
    except ImportError as error:
        raise MissingDependencyError("shap", "shap", "to_shap()") from error
    data = e.data
    if data is not None and not isinstance(data, np.ndarray):
        data = data.to_numpy()
    if e.members is not None:
        data = None  # shap shows one datum a feature, and these features are groups of columns
    outputs: Any = list(e.output_names) if e.multi_output and e.output_names is not None else None
    # Beside a single base value shap takes no name: its constructor fails, and so would .abs or a slice of what it made.
    if not e.single and not e.multi_output and len(set(row_outputs(e))) == 1:
        outputs = row_outputs(e)[0]
    return shap.Explanation(
        values=e.values,
        base_values=float(e.base_values) if e.base_values.ndim == 0 else e.base_values,
        data=data,
        feature_names=[list(row) for row in e.feature_names] if e.ragged else list(e.feature_names),
        output_names=outputs,
        error_std=e.std_error,
        compute_time=e.stats.total_seconds,
    )


def from_shap(explanation: Any, method: str) -> dict[str, Any]:
    """The arguments of an Attribution with the content of a ``shap.Explanation``.

    Raises:
        InputError: the base values do not tell which axes the values have.
    """
    from whybox._arrays import is_frame

    values = explanation.values
    ragged = isinstance(values, (list, tuple)) or np.asarray(values).dtype == object
    if explanation.base_values is None:
        raise InputError("from_shap: expected base_values, got None; pass the expected value of the model to shap.Explanation")
    base = np.asarray(explanation.base_values, dtype=np.float64)
    names = explanation.feature_names
    data = explanation.display_data if explanation.display_data is not None else explanation.data
    if ragged:
        rows = [np.asarray(row, dtype=np.float64) for row in values]
        base = np.broadcast_to(base, (len(rows), *rows[0].shape[1:])) if rows else base
        many = _names(names, rows, data)
        sums: Any = np.array([b + row.sum(axis=0) for b, row in zip(base, rows, strict=True)])
        return _arguments(explanation, method, rows, base, sums, None if data is None else list(data), many, single=False)
    values = np.asarray(values, dtype=np.float64)
    single = values.ndim == 1 or (values.ndim == 2 and base.ndim == 1 and len(base) == values.shape[1] != values.shape[0])
    shape = values.shape[1:] if single else (values.shape[0], *values.shape[2:])
    if single and values.ndim == 1:
        shape = ()
    axis = 0 if single else 1
    base = np.broadcast_to(base.reshape(shape) if base.size == int(np.prod(shape)) else base, shape)
    if data is not None and not is_frame(data):
        data = np.asarray(data)
    flat = tuple(f"Feature {i}" for i in range(values.shape[axis])) if names is None else tuple(names)
    return _arguments(explanation, method, values, base, base + values.sum(axis=axis), data, flat, single=single)


def _names(names: Any, rows: list[NDArray[np.float64]], data: Any) -> tuple[tuple[str, ...], ...]:
    if names is not None:
        return tuple(tuple(str(name) for name in row) for row in names)
    source = data if data is not None else [[f"Feature {j}" for j in range(len(row))] for row in rows]
    return tuple(tuple(str(name) for name in row) for row in source)


def _arguments(
    explanation: Any, method: str, values: Any, base: NDArray[np.float64], sums: Any, data: Any, names: tuple[Any, ...], *, single: bool
) -> dict[str, Any]:
    outputs = explanation.output_names
    if outputs is not None:
        outputs = (outputs,) if isinstance(outputs, str) else tuple(str(name) for name in outputs)
    multi = base.ndim == (1 if single else 2)
    if outputs is not None and len(outputs) != (base.shape[-1] if multi else 1):
        outputs = None
    return {
        "values": values,
        "base_values": base,
        "predictions": sums,  # shap does not keep the predictions; its values are additive
        "data": data,
        "std_error": explanation.error_std,
        "feature_names": names,
        "output_names": outputs,
        "method": method,
        "settings": {"source": "shap.Explanation"},
        "single": single,
    }
