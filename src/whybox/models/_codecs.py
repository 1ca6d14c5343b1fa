"""How rows become the JSON that an endpoint takes, and its answers outputs: one class a dialect."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_array, is_frame, to_numpy
from whybox._remote import BadReply
from whybox.errors import InputError, OptionError
from whybox.typing import Rows

_DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8", "int16": "INT16",
    "int32": "INT32", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
_REQUEST = itertools.count()


@runtime_checkable
class Codec(Protocol):
    """A dialect of JSON."""

    def encode(self, rows: Rows) -> Any:
        """The body of the request for these rows: what ``json.dumps`` takes; NumPy arrays and numbers are written as lists and numbers.

        Args:
            rows: at least one row, in the container that the model is called with: NumPy array, DataFrame or list.

        Raises:
            InputError: the dialect cannot hold such rows.
        """

    def decode(self, answer: Any, body: Any) -> Any:
        """The outputs in an answer, (n,) or (n, k).

        Args:
            answer: parsed JSON.
            body: the request's.

        Raises:
            BadReply: the answer cannot be that of a model that works; it is asked again.
            InputError: no answer of this endpoint can be read; the run ends.
        """


@dataclass(frozen=True)
class Functions:
    """Two functions as a codec.

    Args:
        encoder: rows to body.
        decoder: answer to outputs; a KeyError, IndexError, TypeError or ValueError that it raises asks for another try.
    """

    encoder: Callable[[Rows], Any]
    decoder: Callable[[Any], Any]

    def encode(self, rows: Rows) -> Any:
        """What the function says."""
        return self.encoder(rows)

    def decode(self, answer: Any, body: Any) -> Any:
        """What the function says."""
        del body
        try:
            return self.decoder(answer)
        except InputError:
            raise
        except (LookupError, TypeError, ValueError) as error:
            raise BadReply(f"decode raised {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class JSONRows:
    """``{"rows": [[...], ...]}`` answered with ``{"outputs": [...]}``, under names of one's own.

    ``JSONRows("instances", "predictions")`` is the protocol of TensorFlow Serving, KServe v1 and Vertex AI. Rows of a DataFrame are sent as
    one object a row, with the columns' names; missing values as null.

    Args:
        rows: name of the field with the rows. Default "rows".
        outputs: name of the field with the outputs. Default "outputs".

    Example:
        >>> JSONRows("instances", "predictions").encode(np.array([[1.0, 2.0]]))
        {'instances': [[1.0, 2.0]]}
    """

    rows: str = "rows"
    outputs: str = "outputs"

    def encode(self, rows: Rows) -> Any:
        """One list a row, or one object a row of a DataFrame."""
        if is_frame(rows):
            names = [str(name) for name in rows.columns]
            return {self.rows: [dict(zip(names, row, strict=True)) for row in _cells(rows)]}
        return {self.rows: to_numpy(rows).tolist() if is_array(rows) else list(rows)}

    def decode(self, answer: Any, body: Any) -> Any:
        """The field with the outputs."""
        del body
        return _field(answer, self.outputs)


@dataclass(frozen=True)
class OpenInference:
    """The Open Inference Protocol of KServe and Triton ("v2"): ``POST /v2/models/NAME/infer``.

    An array is sent as one tensor, a DataFrame as one tensor (n, 1) a column under the column's name, texts as one tensor (n, 1) of BYTES.
    Requests carry an id, and an answer with another id is not taken.

    Args:
        name: of the input tensor for arrays and texts. Default "input".
        datatype: such as "FP32"; None (default) takes that of the rows.
        output: name of the output tensor; None (default) takes the only one.

    Raises:
        OptionError: a datatype that the protocol does not have.

    Example:
        >>> OpenInference("x").encode(np.array([[1.0, 2.0]], dtype=np.float32))["inputs"]
        [{'name': 'x', 'shape': [1, 2], 'datatype': 'FP32', 'data': [1.0, 2.0]}]
    """

    name: str = "input"
    datatype: str | None = None
    output: str | None = None
    _salt: str = field(init=False, default_factory=lambda: os.urandom(4).hex(), repr=False, compare=False)

    def __post_init__(self) -> None:
        allowed = {*_DATATYPES.values(), "BYTES", "BF16"}
        if self.datatype is not None and self.datatype not in allowed:
            raise OptionError(f"datatype: expected one of {', '.join(sorted(allowed))} or None, got {self.datatype!r}")

    def encode(self, rows: Rows) -> Any:
        """Tensors, row-major."""
        if is_frame(rows):
            tensors = [self._column(str(name), rows.iloc[:, j]) for j, name in enumerate(rows.columns)]
        elif is_array(rows):
            tensors = [self._tensor(self.name, to_numpy(rows))]
        else:
            tensors = [{"name": self.name, "shape": [len(rows), 1], "datatype": self.datatype or "BYTES", "data": list(rows)}]
        return {"id": f"{self._salt}-{next(_REQUEST)}", "inputs": tensors} | (
            {} if self.output is None else {"outputs": [{"name": self.output}]}
        )

    def _tensor(self, name: str, array: NDArray[Any]) -> dict[str, Any]:
        datatype = self.datatype or _DATATYPES.get(array.dtype.name)
        if datatype is None:
            if array.dtype.kind not in "OUT":
                raise InputError(f"OpenInference: the protocol has no datatype for {array.dtype}; convert the rows, or pass datatype=")
            datatype = "BYTES"
        return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.reshape(-1).tolist()}

    def _column(self, name: str, column: Any) -> dict[str, Any]:
        if column.isna().any() and column.dtype.kind != "f":
            raise InputError(
                f"OpenInference: column {name!r} has missing values, which its tensors cannot hold; fill them, or use another dialect"
            )
        array = column.to_numpy()
        if array.dtype.kind == "O" and not all(isinstance(value, str) for value in array):
            raise InputError(f"OpenInference: column {name!r} holds objects that are no texts; convert it to numbers or texts")
        return self._tensor(name, array[:, None])

    def decode(self, answer: Any, body: Any) -> Any:
        """The output tensor, in its shape."""
        tensors = _field(answer, "outputs")
        if answer.get("id", body["id"]) != body["id"]:
            raise BadReply("the answer to another request")
        if not isinstance(tensors, list) or not all(isinstance(t, Mapping) for t in tensors) or not tensors:
            raise BadReply("expected a list of output tensors")
        names = [tensor.get("name") for tensor in tensors]
        if self.output is None and len(tensors) > 1:
            raise InputError(f"OpenInference: the model answers with {len(tensors)} tensors {names}; pass output= with the name of one")
        if self.output is not None and self.output not in names:
            raise InputError(f"OpenInference: the model has no output {self.output!r}; it answers with {names}")
        tensor = tensors[0 if self.output is None else names.index(self.output)]
        values, shape = as_numbers(_field(tensor, "data")), _field(tensor, "shape")
        if not isinstance(shape, list) or int(np.prod(shape)) != values.size:
            raise BadReply(f"{values.size} values for a tensor of shape {shape}")
        return values.reshape(shape)


@dataclass(frozen=True)
class MLflow:
    """MLflow's scoring server: ``POST /invocations``, ``dataframe_split`` for tables and ``inputs`` for arrays and texts.

    Args:
        columns: names that make arrays into tables, for a model that was logged with a DataFrame; None (default) sends arrays as tensors.
        output: which field, where predictions are one object a row; None (default) takes all, in the order of the first object.

    Example:
        >>> MLflow(columns=("age", "height")).encode(np.array([[30.0, 1.8]]))
        {'dataframe_split': {'columns': ['age', 'height'], 'data': [[30.0, 1.8]]}}
    """

    columns: tuple[str, ...] | None = None
    output: str | None = None

    def encode(self, rows: Rows) -> Any:
        """A table where there are names, otherwise a tensor."""
        if is_frame(rows):
            return {"dataframe_split": {"columns": [str(name) for name in rows.columns], "data": _cells(rows)}}
        values = to_numpy(rows).tolist() if is_array(rows) else list(rows)
        if self.columns is None:
            return {"inputs": values}
        if len(values[0]) != len(self.columns):
            raise InputError(f"MLflow: {len(self.columns)} columns were named, and the rows have {len(values[0])}")
        return {"dataframe_split": {"columns": list(self.columns), "data": [[_cell(v) for v in row] for row in values]}}

    def decode(self, answer: Any, body: Any) -> Any:
        """The predictions."""
        del body
        found = _field(answer, "predictions")
        if not isinstance(found, list) or not found or not isinstance(found[0], Mapping):
            return found
        names = list(found[0]) if self.output is None else [self.output]
        if self.output is not None and self.output not in found[0]:
            raise InputError(f"MLflow: predictions have no field {self.output!r}; they have {list(found[0])}")
        try:
            table = [[row[name] for name in names] for row in found]
        except (LookupError, TypeError) as error:
            raise BadReply("predictions whose fields differ") from error
        return table if self.output is None else [row[0] for row in table]


def as_numbers(values: Any) -> NDArray[np.float64]:
    """Numbers of an answer; null and "NaN" are NaN.

    Raises:
        BadReply: ragged, or no numbers.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise BadReply("outputs of unequal lengths") from error
    if array.dtype.kind == "O":
        flat = array.reshape(-1).tolist()
        if not all(value is None or isinstance(value, (int, float)) for value in flat):
            raise BadReply("outputs that are no numbers")
        return np.array([np.nan if value is None else value for value in flat], dtype=np.float64).reshape(array.shape)
    if array.dtype.kind not in "biuf":
        raise BadReply(f"expected numbers as outputs, got {str(array.reshape(-1)[:1].tolist())[:60]}")
    return array.astype(np.float64)


def _field(answer: Any, name: str) -> Any:
    if not isinstance(answer, Mapping) or name not in answer:
        raise BadReply(f"expected an object with the field {name!r}")
    return answer[name]


def _cells(frame: Any) -> list[list[Any]]:
    columns = [[_cell(value) for value in frame.iloc[:, j].tolist()] for j in range(frame.shape[1])]
    return [list(row) for row in zip(*columns, strict=True)]


def _cell(value: Any) -> Any:
    """A value as JSON has it: what is missing is null, a date its ISO text."""
    if isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return None if value != value else value
    if value is None or str(value) in ("<NA>", "NaT"):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
