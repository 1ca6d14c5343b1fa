"""The result of every attribution method: values, their standard errors, and what they cost. Names and shapes are shap's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError
from whybox.explanations import _check, _fields, _frames, _html, _pictures, _placed, _save, _select, _shap_bridge, _text
from whybox.explanations._hints import Hints
from whybox.explanations._lime_face import LimeFace
from whybox.explanations._placed import Arrays
from whybox.explanations._plotter import Plotter
from whybox.typing import Array, Floats, Ints, RunStats

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Attribution(LimeFace, Hints):
    """How much each feature of each row contributed to the model's output.

    With n rows, d features and k outputs. An explanation of one output has no output axis, and ``e[0]`` has no row axis, as in shap.
    Rows with features of their own (texts) are *ragged*: values, std_error and data are then (n,) object arrays with one array a row, and
    feature_names holds one tuple of names a row.

    Arrays are read-only. Those that arrive writable are copied; hand over read-only arrays to avoid the copy.

    Args:
        values: (n, d) or (n, d, k) float64 attributions.
        base_values: (n,) or (n, k), the output that the attributions start from.
        predictions: (n,) or (n, k), the model's output for each row.
        feature_names: d names; for ragged rows n tuples of names.
        method: the method's published name, such as "KernelSHAP".
        data: (n, d) array or DataFrame to display beside the values, or None.
        std_error: standard error of each value, shaped as values, or None where the method has none.
        output_names: names of the k outputs, or None. Without an output axis, of all outputs that target_index counts.
        score: (n,) or (n, k) R2 of a local surrogate, or None.
        intercept: (n,) or (n, k) intercept of a local surrogate, or None.
        local_pred: (n,) or (n, k) output of a local surrogate at the row, or None.
        members: for features that are groups of columns, the positions of each one's columns in data, or None. Data may then be wider.
        inputs: the n texts or images that marks refer to, or None. Of a single row, the text or image itself.
        marks: where each feature lies in its input, n arrays, or None: (d, 2) character spans of a text, or an (h, w) map of feature
            positions, -1 where there is none. Of a single row, the array itself.
        conditions: (n, d) texts that say what a value is about where that is not the feature itself ("3 < age <= 7"), or None.
        row_labels: what the n rows are called, or None: then by the index of data, or else by position. Of a single row, its label.
        estimator: which estimator answered, such as "odd GP".
        target: which output was asked for: None (every output), "predicted", a position or a name.
        target_index: (n,) position of the output that each row explains, where there is no output axis.
        seed: the seed of the call.
        stats: what the call cost.
        settings: what produced the values; anything that JSON can hold.
        single: one row without a row axis, as ``e[0]`` gives it.

    Raises:
        ShapeError: an array does not fit the others.
        InputError: an array does not hold real numbers, or a standard error is negative.

    Source: names and shapes follow ``shap.Explanation``; the LIME accessors follow ``lime.explanation.Explanation``.

    Example:
        >>> e = Attribution(
        ...     values=[[0.2, -0.1], [0.0, 0.3]],
        ...     base_values=[0.5, 0.5],
        ...     predictions=[0.6, 0.8],
        ...     data=[[44, 1.5], [31, 0.2]],
        ...     feature_names=("age", "dose"),
        ...     method="KernelSHAP",
        ... )
        >>> e[0].values
        array([ 0.2, -0.1])
        >>> e[:, "dose"].shape
        (2, 1)
    """

    values: NDArray[Any]
    base_values: Floats
    predictions: Floats
    feature_names: tuple[Any, ...]
    method: str
    data: Any = None
    std_error: NDArray[Any] | None = None
    output_names: tuple[str, ...] | None = None
    score: Floats | None = None
    intercept: Floats | None = None
    local_pred: Floats | None = None
    members: tuple[tuple[int, ...], ...] | None = None
    inputs: Any = None
    marks: Any = None
    conditions: NDArray[Any] | None = None
    row_labels: Any = None
    estimator: str = ""
    target: str | int | None = None
    target_index: Ints | None = None
    seed: int = 0
    stats: RunStats = field(default_factory=RunStats)
    settings: Mapping[str, Any] = field(default_factory=dict)
    single: bool = False

    def __post_init__(self) -> None:
        put = _fields.checked(self)
        for name, value in put.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor, so that a pickled explanation comes back read-only and checked.
        state = {item.name: getattr(self, item.name) for item in fields(self)}
        return _rebuild, (state | {"settings": dict(self.settings)},)

    @property
    def ragged(self) -> bool:
        """Whether each row has features of its own."""
        return bool(self.values.dtype == object)

    @property
    def multi_output(self) -> bool:
        """Whether the values have an output axis."""
        return self.base_values.ndim == (1 if self.single else 2)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of the values; None stands for the features of ragged rows, as in shap."""
        if self.ragged:
            return (len(self.values), None, *self.base_values.shape[1:])
        return self.values.shape

    @property
    def n_features(self) -> int | None:
        """Number of features; None where each row has its own."""
        return self.shape[0 if self.single else 1]

    @property
    def n_outputs(self) -> int:
        """Number of explained outputs."""
        return self.base_values.shape[-1] if self.multi_output else 1

    @property
    def n_queries(self) -> int:
        """Rows that the model was called with in the whole call, also after slicing."""
        return self.stats.n_queries

    @property
    def abs_mean(self) -> Floats:
        """(d,) or (d, k): mean absolute attribution over the rows.

        Raises:
            InputError: the rows have features of their own; ``importance()`` sums them up by name.
        """
        if self.ragged:
            raise InputError("abs_mean: the rows have features of their own; e.importance() averages them by name")
        size: Floats = np.abs(self.values)
        return size if self.single else np.mean(size, axis=0)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Attribution]:
        """The rows.

        Raises:
            TypeError: a single row; without an end of its own, NumPy would look for one for seconds.
        """
        if self.single:
            raise TypeError("an Attribution of a single row has no rows to go through; its attributions are e.values")
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The values, for NumPy's functions.

        Raises:
            TypeError: the rows have features of their own.
        """
        if self.ragged:
            raise TypeError("an Attribution whose rows have features of their own is no array; e.values holds one array a row")
        return np.array(self.values, dtype=dtype, copy=copy)

    def __getitem__(self, key: Any) -> Attribution:
        """Rows, features and outputs, by position, slice, mask or name: ``e[0]``, ``e[mask]``, ``e[:, "age"]``, ``e[..., 1]``.

        A single row or output loses its axis, as in shap; features keep theirs. What goes with the values goes along.
        """
        return _select.select(self, key)

    def output(self, which: int | str) -> Attribution:
        """The explanation of one output, by position or name.

        Raises:
            OptionError: there is no such output, or the explanation is of another one.
        """
        return _select.output(self, which)

    def interval(self, level: float = 0.95) -> tuple[NDArray[Any], NDArray[Any]]:
        """Lower and upper ends of the intervals that hold the exact values with the given probability, shaped as values.

        Args:
            level: probability, more than 0 and less than 1.

        Raises:
            InputError: the method gave no standard errors.
            OptionError: level is not a probability.
        """
        width = _check.reach(level)
        if self.std_error is None:
            raise InputError(f"interval: {self.method} gave no standard errors")
        reach = width * self.std_error
        return self.values - reach, self.values + reach

    def importance(self) -> pd.DataFrame:
        """Mean absolute attribution of every feature, most important first: output, feature, importance, std_error, rows.

        Ragged rows are averaged by feature name, over every place where it occurs; ``rows`` counts the rows that have it. The standard
        error is the mean of the values' standard errors: an upper bound whatever the correlation between rows, since rows may share
        coalitions.

        Raises:
            InputError: there are no rows.
        """
        return _frames.importance(self)

    def to_frame(self) -> pd.DataFrame:
        """One line for every row, feature and output: row, feature, value, output, attribution, std_error, ci_low, ci_high (95 %)."""
        return _frames.tidy(self)

    def to_arrays(self, like: Array, *, dtype: Any = None) -> Arrays:
        """Values, base values, predictions, standard errors and numeric data in the library and on the device of another array.

        Values are solved for on the host in float64, or come to it: what is read, plotted and saved. This gives them to code that goes on
        where the model lives, such as a loss.

        Args:
            like: a NumPy, torch or CuPy array, or one of another library of the array API standard, such as the explained rows themselves.
            dtype: of that library; None (default) leaves float64, and the data as they are.

        Raises:
            InputError: like is no array, or rows have features of their own.

        Example:
            >>> import numpy as np
            >>> e = Attribution(values=[[1.0]], base_values=[0.0], predictions=[1.0], feature_names=("a",), method="KernelSHAP")
            >>> e.to_arrays(np.zeros(0), dtype=np.float32).values.dtype
            dtype('float32')
        """
        return _placed.to_arrays(self, like, dtype)

    def to_shap(self) -> Any:
        """This as a ``shap.Explanation`` that views the same values, for shap's plots (extra ``shap``)."""
        return _shap_bridge.to_shap(self)

    @classmethod
    def from_shap(cls, explanation: Any, *, method: str = "shap") -> Attribution:
        """An Attribution with the content of a ``shap.Explanation``.

        Args:
            explanation: as any explainer of shap returns it.
            method: what to call its method.
        """
        return cls(**_shap_bridge.from_shap(explanation, method))

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything into one file (zip of npy arrays and JSON; no pickle), at once or not at all.

        Args:
            path: the file's name, as it is; by custom it ends in ``.npz``.

        Raises:
            InputError: the displayed data hold objects that the file format has no form for.
        """
        _save.save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Attribution:
        """Read what ``save`` wrote; no code in the file is ever run.

        Raises:
            InputError: the file is not one of ours, is damaged, or was written by a newer version.
        """
        return cls(**_save.load(path))

    @property
    def plot(self) -> Plotter:
        """Plots with error bars (extra ``plot``): ``e.plot.bar()``, beeswarm, waterfall, scatter, heatmap; images by ``image``."""
        return Plotter(self)

    def report(self, path: str | PathLike[str], *, title: str | None = None) -> None:
        """Write a self-contained report.html with tables and plots (extra ``plot``)."""
        self.plot.report(path, title=title)

    def to_png(self, path: str | PathLike[str]) -> None:
        """Write images beside their overlays, one line an image and one overlay an output; no plotting library is needed.

        Raises:
            OptionError: the rows are no images.
        """
        _pictures.to_png(self, path)

    def to_html(self, *, max_display: int = 10) -> str:
        """An HTML fragment with inline SVG: no script, no link, everything escaped."""
        return _html.fragment(self, max_display=max_display)

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_text(self, *, max_display: int = 10) -> str:
        """A table for terminals: each value with its 95 % interval."""
        return _text.table(self, max_display=max_display)

    def __repr__(self) -> str:
        return _text.one_line(self)


def _rebuild(state: dict[str, Any]) -> Attribution:
    return Attribution(**state)
