"""How the views read an Attribution: always with a row axis, one output at a time, one row's features and data side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import OptionError

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution


def batch(e: Attribution) -> Attribution:
    """The same explanation with a row axis."""
    if not e.single:
        return e
    changes: dict[str, Any] = {}
    for name in (
        "values",
        "std_error",
        "base_values",
        "predictions",
        "score",
        "intercept",
        "local_pred",
        "conditions",
        "target_index",
        "data",
    ):
        array = getattr(e, name)
        if array is None:
            continue
        if isinstance(array, np.ndarray):
            changes[name] = array[None]
            changes[name].setflags(write=False)
        else:
            changes[name] = array.to_frame().T
    if e.row_labels is not None:
        changes["row_labels"] = (e.row_labels,)
    if e.marks is not None:
        changes |= _ragged_again(e)
    return replace(e, **changes, single=False)


def _ragged_again(e: Attribution) -> dict[str, Any]:
    """A single row of a text or an image as an explanation of one row, which is ragged."""
    changes: dict[str, Any] = {"inputs": (e.inputs,), "marks": (e.marks,), "feature_names": (e.feature_names,)}
    for name in ("values", "std_error", "conditions", "data"):
        array = getattr(e, name)
        if array is not None:
            rows = np.empty(1, dtype=object)
            rows[0] = array
            rows.setflags(write=False)
            changes[name] = rows
    return changes


def output_label(e: Attribution, position: int) -> str:
    """The name of an output, or its position where it has none."""
    return f"output {position}" if e.output_names is None else e.output_names[position]


def row_output(e: Attribution, row: int) -> str | None:
    """The name of the output that a row of an explanation without output axis explains."""
    if e.target_index is not None:
        return output_label(e, int(e.target_index[row]))
    return None if e.output_names is None else e.output_names[0]


def heading(name: str) -> str:
    """A name of an output that reads as one in a sentence: a bare number is called an output."""
    return f"output {name}" if name.removeprefix("-").replace(".", "", 1).isdigit() else name


def row_outputs(e: Attribution) -> NDArray[np.object_]:
    """(n,) what ``row_output`` says of every row."""
    names = np.empty(len(e), dtype=object)
    if e.target_index is None:
        names[:] = None if e.output_names is None else e.output_names[0]
        return names
    for position in np.unique(e.target_index):
        names[e.target_index == position] = output_label(e, int(position))
    return names


def one_output(e: Attribution, what: str) -> Attribution:
    """The explanation itself if it is of one output.

    Raises:
        OptionError: there are several outputs; the message names them and says how to choose.
    """
    if not e.multi_output:
        return e
    if e.n_outputs == 1:
        return e[..., 0]
    some = [output_label(e, i) for i in range(min(e.n_outputs, 6))]
    first = repr(some[-1]) if e.output_names is not None else "1"
    more = ", ..." if e.n_outputs > 6 else ""
    raise OptionError(f"{what}: shows one output, and this explains {e.n_outputs} ({', '.join(some)}{more}); choose one: e.output({first})")


def row_labels(e: Attribution) -> list[Any]:
    """How rows are called: by their labels, a DataFrame's index, otherwise their positions."""
    if e.row_labels is not None:
        return list(e.row_labels)
    if e.data is not None and not isinstance(e.data, np.ndarray):
        return list(e.data.index)
    return list(range(len(e)))


def columns(e: Attribution) -> list[NDArray[Any]] | None:
    """The displayed data of each feature of a dense explanation with a row axis, one (n,) array a feature; None if not to be shown."""
    if e.data is None:
        return None
    if e.members is not None:
        grid = e.data if isinstance(e.data, np.ndarray) else e.data.to_numpy(dtype=object)
        return [_joined(grid[:, list(group)]) for group in e.members]
    if isinstance(e.data, np.ndarray):
        return list(e.data.T)
    return [_exact(e.data.iloc[:, j]) for j in range(e.data.shape[1])]


def _exact(column: Any) -> NDArray[Any]:
    """A column of a DataFrame; whole numbers beside missing ones stay whole, where pandas would make floats of them."""
    nullable = not isinstance(column.dtype, np.dtype) and getattr(column.dtype, "kind", "O") in "iu" and bool(column.isna().any())
    found: NDArray[Any] = column.to_numpy(dtype=object) if nullable else column.to_numpy()
    return found


def _joined(grid: NDArray[Any]) -> NDArray[Any]:
    texts = np.empty(len(grid), dtype=object)
    texts[:] = [", ".join(cell(value) for value in row) for row in grid.tolist()]
    return texts


@dataclass(frozen=True)
class Line:
    """One feature of one row, as views show it.

    Args:
        name: the feature's name, or what stands for it in this row.
        value: the displayed datum as text, "" if there is none.
        attribution: its attribution.
        error: its standard error, or NaN.
        position: position among the row's features.
    """

    name: str
    value: str
    attribution: float
    error: float
    position: int


def lines(e: Attribution, row: int) -> list[Line]:
    """All features of one row of an explanation of one output with a row axis, largest attribution first."""
    values = e.values[row]
    errors = np.full(len(values), np.nan) if e.std_error is None else e.std_error[row]
    names = e.feature_names[row] if e.ragged else e.feature_names
    data = row_cells(e, row)
    said = None if e.conditions is None else e.conditions[row]
    order = np.argsort(-np.nan_to_num(np.abs(values), nan=-1.0), kind="stable")
    return [
        Line(
            name=names[i] if said is None or said[i] is None else str(said[i]),
            value="" if data is None or cell(data[i]) == names[i] else cell(data[i]),
            attribution=float(values[i]),
            error=float(errors[i]),
            position=int(i),
        )
        for i in order
    ]


def chosen_lines(e: Attribution, row: int) -> tuple[list[Line], str]:
    """The features of a row that were fitted, and what to say of those that were not: their zeros are no findings."""
    found = lines(e, row)
    if e.settings.get("num_features") is None and e.settings.get("l1_reg") is None:
        return found, ""
    kept = [line for line in found if line.attribution != 0 or line.error > 0]
    left = len(found) - len(kept)
    return kept, f"{left} {'feature' if left == 1 else 'features'} not selected" if left else ""


def row_cells(e: Attribution, row: int) -> list[Any] | None:
    """The displayed data of one row, one entry a feature."""
    if e.data is None:
        return None
    if e.ragged:
        return list(e.data[row])
    frame = None if isinstance(e.data, np.ndarray) else e.data.iloc[[row]].astype(object)
    cells: list[Any] = list(e.data[row]) if frame is None else list(frame.iloc[0])
    if e.members is None:
        return cells
    return [", ".join(cell(cells[i]) for i in group) for group in e.members]


def cell(value: Any) -> str:
    """A datum as short text: numbers with 4 digits, dates without a midnight, everything else as it prints."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.4g}"
    text = str(value)
    return text.removesuffix(" 00:00:00")


def shortened(text: str, most: int = 160) -> str:
    """A datum that is a long text, cut with an ellipsis; names are never cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


Z = 1.959963984540054  # standard errors to either side of a 95 % interval
_POWERS = -1  # instead of a number of decimals: three digits and a power of ten


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign and a typographic minus; what rounds to zero has no sign."""
    text = fixed(abs(value), digits)
    if not np.isfinite(value):
        return str(value)
    return text if float(text) == 0 else f"+{text}" if value > 0 else f"−{text}"


def fixed(value: float, digits: int) -> str:
    """A number with these decimals, see ``decimals``; by its power of ten where decimals would say nothing."""
    value = float(value)
    if digits == _POWERS and np.isfinite(value) and value != 0:
        return f"{value:.2e}"
    text = f"{value:.{max(digits, 0)}f}"
    return text.removeprefix("-") if np.isfinite(value) and float(text) == 0 else text


def outcome(value: float, digits: int) -> str:
    """A base value or prediction beside attributions with these decimals: precise enough to see them in it."""
    value = float(value)
    if digits == _POWERS and np.isfinite(value) and value != 0:
        return f"{value:.8g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.3e}"
    return fixed(value, digits)


def plus_minus(error: float, digits: int) -> str:
    """Half a 95 % interval of a standard error; a tiny one shows its power of ten, not zeros. Empty where unknown."""
    reach = Z * float(error)
    if not np.isfinite(reach):
        return ""
    text = fixed(reach, digits)
    return f"± {reach:.0e}" if reach and float(text) == 0 else f"± {text}"


def decimals(*magnitudes: float) -> int:
    """Decimals that show the largest of these numbers with three digits or so; -1 for very small and very large ones, see ``fixed``."""
    top = max((abs(m) for m in magnitudes if np.isfinite(m)), default=0.0)
    if top and not 1e-4 <= top < 1e6:
        return _POWERS
    return 3 if top == 0 else int(np.clip(2 - np.floor(np.log10(top)), 0, 8))


def is_additive(e: Attribution, row: int) -> bool:
    """Whether base value and attributions of a row add up to its prediction, up to rounding."""
    total = float(e.base_values[row] + np.sum(e.values[row]))
    goal = float(e.predictions[row])
    size = max(1.0, abs(goal), float(np.max(np.abs(e.values[row]), initial=0.0))) if np.isfinite(goal) else 1.0
    return abs(total - goal) <= 1e-6 * size
