"""An Attribution as pandas tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError
from whybox.explanations._view import batch, columns, output_label, row_cells, row_labels, row_output, row_outputs

if TYPE_CHECKING:
    import pandas as pd

    from whybox.explanations.attribution import Attribution


def tidy(e: Attribution) -> pd.DataFrame:
    """One line for every row, feature and output, in this order."""
    import pandas as pd

    e = batch(e)
    sizes = np.array([len(row) for row in e.values], dtype=np.intp) if e.ragged else np.full(len(e), len(e.feature_names), dtype=np.intp)
    k = e.n_outputs
    total = int(sizes.sum())
    attribution = _flat(e, e.values)
    error = np.full(total * k, np.nan) if e.std_error is None else _flat(e, e.std_error)
    reach = 1.959963984540054 * error
    labels = np.empty(len(e), dtype=object)
    labels[:] = row_labels(e)
    names = [name for row in e.feature_names for name in row] if e.ragged else list(e.feature_names) * len(e)
    if e.multi_output:
        output: Any = [output_label(e, j) for j in range(k)] * total
    else:
        output = np.repeat(row_outputs(e), sizes)
    return pd.DataFrame(
        {
            "row": pd.Series(np.repeat(labels, sizes * k)).infer_objects(),
            "feature": pd.Series(np.repeat(np.array(names, dtype=object), k), dtype="str"),
            "value": pd.Series(np.repeat(_cells(e, total), k)),
            "output": output,
            "attribution": attribution,
            "std_error": error,
            "ci_low": attribution - reach,
            "ci_high": attribution + reach,
        }
    )


def _flat(e: Attribution, array: NDArray[Any]) -> NDArray[np.float64]:
    if not e.ragged:
        return array.reshape(-1)
    return np.concatenate([row.reshape(-1) for row in array]) if len(array) else np.empty(0)


def _cells(e: Attribution, total: int) -> NDArray[Any]:
    """The displayed data in the order of the table; columns of one dtype keep it, mixed ones become objects so that nothing is cast."""
    import pandas as pd

    if e.data is None:
        return np.full(total, None, dtype=object)
    if e.ragged:
        kinds = {row.dtype for row in e.data if len(row)}
        if len(kinds) == 1:
            return np.concatenate([row for row in e.data if len(row)])
        return np.array([cell for i in range(len(e)) for cell in (row_cells(e, i) or [])] + [None], dtype=object)[:-1]
    parts = columns(e) or []
    dtype = parts[0].dtype if len({part.dtype for part in parts}) == 1 else np.dtype(object)
    grid = np.empty((len(e), len(parts)), dtype=dtype)
    for j, part in enumerate(parts):
        # NumPy makes whole numbers of moments in nanoseconds that it puts among objects
        grid[:, j] = pd.Series(part).astype(object) if dtype.hasobject and part.dtype.kind in "mM" else part
    return grid.reshape(-1)


def importance(e: Attribution) -> pd.DataFrame:
    """Mean absolute attribution by feature (and output), most important first."""
    import pandas as pd

    e = batch(e)
    if not len(e):
        raise InputError("importance: the explanation has no rows")
    if e.ragged:
        places = np.repeat(np.arange(len(e)), [len(row) * e.n_outputs for row in e.values])
        frame = tidy(e).assign(size=lambda table: table["attribution"].abs(), place=places)
        grouped = frame.groupby(["output", "feature"] if e.multi_output else ["feature"], sort=False)
        table = grouped.agg(importance=("size", "mean"), std_error=("std_error", "mean"), rows=("place", "nunique")).reset_index()
        if not e.multi_output:
            table.insert(0, "output", _shared_output(e))
    else:
        k = e.n_outputs
        errors = np.full(e.values.shape[1:], np.nan) if e.std_error is None else e.std_error.mean(axis=0)
        table = pd.DataFrame(
            {
                "output": [output_label(e, j) for j in range(k)] * len(e.feature_names) if e.multi_output else _shared_output(e),
                "feature": pd.Series(np.repeat(np.array(e.feature_names, dtype=object), k), dtype="str"),
                "importance": np.abs(e.values).mean(axis=0).reshape(-1),
                "std_error": errors.reshape(-1),
                "rows": len(e),
            }
        )
    table["_order"] = pd.factorize(table["output"], use_na_sentinel=False)[0]
    ordered = table.sort_values(["_order", "importance"], ascending=[True, False], kind="stable")
    return ordered.drop(columns="_order").reset_index(drop=True)


def _shared_output(e: Attribution) -> str | None:
    """The one output that all rows explain; "predicted" where each row explains its own."""
    if e.target_index is not None and len(np.unique(e.target_index)) > 1:
        return str(e.target)
    return row_output(e, 0) if len(e) else None
