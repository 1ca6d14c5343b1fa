"""From the tables of shards back to an Attribution or a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from whybox.distributed._shards import DATA, PER_FEATURE, PER_OUTPUT, arrow
from whybox.errors import CheckpointError
from whybox.explanations import Attribution
from whybox.typing import RunStats

_SAME = ("feature_names", "output_names", "members", "method", "target", "seed")


def to_attribution(tables: Sequence[Any], headers: Sequence[dict[str, Any]], stats: RunStats) -> Attribution:
    """One explanation of the rows of several shards, in their order.

    Raises:
        CheckpointError: the shards are not of one job.
    """
    pa = arrow()
    first = headers[0]
    for header in headers[1:]:
        other = [name for name in _SAME if header["plain"].get(name) != first["plain"].get(name)]
        if other or header["outputs"] != first["outputs"]:
            raise CheckpointError(f"shards {first['batch']} and {header['batch']} differ in {other or 'the number of outputs'}")
    table = pa.concat_tables([t.replace_schema_metadata(None) for t in tables])
    put: dict[str, Any] = {name: first["plain"].get(name) for name in _SAME}
    for name in ("feature_names", "output_names", "members"):
        if put[name] is not None:
            put[name] = tuple(tuple(item) if isinstance(item, list) else item for item in put[name])
    names = {part for header in headers for part in header["plain"]["estimator"].split(", ")}
    put |= {"estimator": ", ".join(sorted(names)), "settings": first["settings"], "stats": stats}
    n, k = table.num_rows, first["outputs"]
    for name in PER_FEATURE:
        if name in table.column_names:
            put[name] = _ragged(table[name], k) if first["ragged"] else _cube(table[name], n, k)
    for name in PER_OUTPUT:
        if name in table.column_names:
            put[name] = _frozen(_flat(table[name]).reshape((n, k) if k else (n,)))
    if "target_index" in table.column_names:
        put["target_index"] = table["target_index"].to_numpy()
    if "conditions" in table.column_names:
        put["conditions"] = np.array(table["conditions"].to_pylist(), dtype=object).reshape(n, -1)
    if first["ragged"]:
        put["feature_names"] = tuple(tuple(row) for row in table["feature_names"].to_pylist())
    put["data"] = _data(table, first["data"])
    return Attribution(**put)


def _flat(column: Any) -> Any:
    parts = [part.flatten().to_numpy() if _nested(part) else part.to_numpy() for part in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0)


def _nested(part: Any) -> bool:
    pa = arrow()
    return bool(pa.types.is_fixed_size_list(part.type) or pa.types.is_list(part.type))


def _cube(column: Any, n: int, k: int) -> Any:
    flat = _flat(column)
    return _frozen(flat.reshape((n, -1, k) if k else (n, -1)))


def _ragged(column: Any, k: int) -> Any:
    rows = np.empty(len(column), dtype=object)
    for i, row in enumerate(column.to_pylist()):
        rows[i] = np.array(row, dtype=np.float64).reshape((-1, k) if k else (-1,))
    return rows


def _frozen(array: Any) -> Any:
    array.setflags(write=False)
    return array


def _data(table: Any, kind: str | None) -> Any:
    if kind == "ragged":
        rows = np.empty(table.num_rows, dtype=object)
        for i, row in enumerate(table["data"].to_pylist()):
            rows[i] = np.array(row, dtype=object)
        return rows
    columns = [name for name in table.column_names if name.startswith(DATA)]
    if kind is None or not columns:
        return None
    frame = table.select(columns).to_pandas()
    if kind == "array":
        return frame.to_numpy()
    return frame.rename(columns={name: name.removeprefix(DATA) for name in columns})


def to_frame(table: Any, header: dict[str, Any]) -> Any:
    """A pandas DataFrame with one column a number: ``id``, ``prediction``, ``base_value``, ``value.<feature>``, ``std_error.<feature>``.

    With several outputs, ``.<output>`` follows each name. Ragged explanations keep their lists.
    """
    import pandas as pd

    n, k = table.num_rows, header["outputs"]
    put: dict[str, Any] = {"id": table["id"].to_pandas()}
    outputs = [f".{name}" for name in header["plain"].get("output_names") or range(k)] if k else [""]
    for name, label in (("predictions", "prediction"), ("base_values", "base_value"), ("score", "score"), ("intercept", "intercept")):
        if name in table.column_names:
            numbers = _flat(table[name]).reshape(n, max(k, 1))
            put |= {f"{label}{output}": numbers[:, j] for j, output in enumerate(outputs)}
    if "target_index" in table.column_names:
        put["target_index"] = table["target_index"].to_numpy()
    for name, label in (("values", "value"), ("std_error", "std_error")):
        if name not in table.column_names:
            continue
        if header["ragged"]:
            put[label] = table[name].to_pandas()
            continue
        cube = _flat(table[name]).reshape(n, -1, max(k, 1))
        for i, feature in enumerate(header["plain"]["feature_names"]):
            put |= {f"{label}.{feature}{output}": cube[:, i, j] for j, output in enumerate(outputs)}
    return pd.DataFrame(put)
