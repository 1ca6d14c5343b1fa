"""Pairwise interactions: how much two features contribute together beyond what each contributes alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError, OptionError, ShapeError
from whybox.explanations import _check, _save
from whybox.explanations._escape import escape
from whybox.explanations._select import position, positions
from whybox.explanations._view import batch, output_label, row_labels, row_outputs
from whybox.explanations.attribution import Attribution
from whybox.typing import RunStats

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_FORM = "whybox.interactions"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Interactions:
    """Shapley values taken apart into main effects and interactions of two features, in shap's layout.

    Row i of the matrix adds up to the Shapley value of feature i. Off the diagonal stands half of the Shapley interaction index, the other
    half on the other side of it; ``index`` has it whole. On the diagonal stands what is left of the value: the main effect.

    Args:
        values: (n, d, d) or (n, d, d, k), symmetric in the features.
        std_error: of each value, of the same shape; NaN where too little was seen to say. ``index_std_error`` is that of the index.
        attribution: the Shapley values from the same model calls.
        estimator: which estimator answered: "exact" or "even GP".

    Raises:
        ShapeError: the arrays do not fit the attribution.
        InputError: an array does not hold real numbers.

    Source: layout of shap's ``shap_interaction_values``; Lundberg et al. 2020, From local explanations to global understanding with
    explainable AI for trees, equations 7 to 9; the same numbers as n-Shapley values of order 2 (k-SII in shapiq).

    Example:
        >>> import numpy as np
        >>> from whybox.explainers import KernelSHAP
        >>> model = lambda x: x[:, 0] * x[:, 1] + x[:, 2]
        >>> i = KernelSHAP(model, np.zeros((1, 3))).interactions([[2.0, 3.0, 1.0]])
        >>> i.values[0].round(6) + 0.0
        array([[0., 3., 0.],
               [3., 0., 0.],
               [0., 0., 1.]])
        >>> float(round(i.index[0, 0, 1], 6))
        6.0
    """

    values: NDArray[Any]
    std_error: NDArray[Any]
    attribution: Attribution
    estimator: str = ""

    def __post_init__(self) -> None:
        shape = self.attribution.values.shape
        axis = 0 if self.attribution.single else 1
        expected = (*shape[: axis + 1], *shape[axis:])
        for name in ("values", "std_error"):
            array = _check.floats(name, getattr(self, name))
            if array.shape != expected:
                raise ShapeError(f"{name}: expected shape {expected}, a matrix for each row of the attribution, got {array.shape}")
            object.__setattr__(self, name, array)

    @property
    def feature_names(self) -> tuple[Any, ...]:
        """Names of the d features."""
        return self.attribution.feature_names

    @property
    def output_names(self) -> tuple[str, ...] | None:
        """Names of the k outputs, or None."""
        return self.attribution.output_names

    @property
    def base_values(self) -> NDArray[Any]:
        """(n,) or (n, k): what all values of a row add up to the prediction from."""
        return self.attribution.base_values

    @property
    def stats(self) -> RunStats:
        """What the call cost."""
        return self.attribution.stats

    @property
    def n_queries(self) -> int:
        """Rows that the model was called with."""
        return self.attribution.n_queries

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.values.shape

    @property
    def index(self) -> NDArray[Any]:
        """Shapley interaction indices, shaped as values: twice what stands off the diagonal, 0 on it."""
        return self._whole(self.values)

    @property
    def index_std_error(self) -> NDArray[Any]:
        """Standard errors of ``index``, of the same shape."""
        return self._whole(self.std_error)

    def _whole(self, array: NDArray[Any]) -> NDArray[Any]:
        out = 2.0 * array
        diagonal = np.arange(len(self.feature_names))
        out[(..., diagonal, diagonal, slice(None)) if self.attribution.multi_output else (..., diagonal, diagonal)] = 0.0
        return out

    def __len__(self) -> int:
        return len(self.attribution)

    def __getitem__(self, key: Any) -> Interactions:
        """Rows by position, slice, mask or list; a single row has no row axis.

        Raises:
            OptionError: something else, or this is a single row already.
            IndexError: there is no such row.
            ShapeError: a mask of another length.
        """
        if self.attribution.single or isinstance(key, (tuple, str)) or key is Ellipsis:
            raise OptionError(f"interactions[...]: expected rows of an explanation of several, got {key!r}; outputs: i.output(name)")
        pick: Any = position(key, None, len(self), "row") if np.ndim(key) == 0 and not isinstance(key, slice) else None
        pick = positions(key, None, len(self), "row") if pick is None else pick
        return replace(self, values=self.values[pick], std_error=self.std_error[pick], attribution=self.attribution[key])

    def output(self, which: int | str) -> Interactions:
        """The interactions of one output, by position or name.

        Raises:
            OptionError: there is no such output, or the explanation is of another one.
        """
        e = self.attribution.output(which)
        if not self.attribution.multi_output:
            return replace(self, attribution=e)
        at = position(which, self.output_names, self.attribution.n_outputs, "output")
        return replace(self, values=self.values[..., at], std_error=self.std_error[..., at], attribution=e)

    def interval(self, level: float = 0.95) -> tuple[NDArray[Any], NDArray[Any]]:
        """Lower and upper ends of the intervals that hold the exact ``values`` (off the diagonal: half the index), shaped as values.

        Args:
            level: probability, more than 0 and less than 1.

        Raises:
            OptionError: level is not a probability.
        """
        reach = _check.reach(level) * self.std_error
        return self.values - reach, self.values + reach

    def to_frame(self) -> pd.DataFrame:
        """One line for every row, pair and output, the strongest pairs of a row first.

        Columns: row, feature_1, feature_2, output, interaction (the whole index), std_error, ci_low, ci_high (95 %).
        """
        import pandas as pd

        e, index, error, first, second = self._pairs()
        n, p, k = index.shape
        outputs = [output_label(e, j) for j in range(k)] if e.multi_output else row_outputs(e)
        labels = row_labels(e)
        parts = []
        for row in range(n):
            for j in range(k):
                order = np.argsort(-np.abs(index[row, :, j]), kind="stable")
                parts.append(
                    pd.DataFrame(
                        {
                            "row": [labels[row]] * p,
                            "feature_1": [e.feature_names[a] for a in first[order]],
                            "feature_2": [e.feature_names[b] for b in second[order]],
                            "output": [outputs[j] if e.multi_output else outputs[row]] * p,
                            "interaction": index[row, order, j],
                            "std_error": error[row, order, j],
                        }
                    )
                )
        frame = pd.concat(parts, ignore_index=True)
        reach = 1.959963984540054 * frame["std_error"]
        return frame.assign(ci_low=frame["interaction"] - reach, ci_high=frame["interaction"] + reach)

    def importance(self) -> pd.DataFrame:
        """Mean absolute interaction index of every pair over the rows, strongest first.

        Columns: output, feature_1, feature_2, interaction, std_error (the mean of the rows' standard errors, an upper bound).
        """
        import pandas as pd

        e, index, error, first, second = self._pairs()
        size, spread = np.abs(index).mean(axis=0), error.mean(axis=0)
        parts = []
        for j in range(size.shape[1]):
            order = np.argsort(-size[:, j], kind="stable")
            explained = [output_label(e, j)] if e.multi_output else list(dict.fromkeys(row_outputs(e)))
            label = explained[0] if len(explained) == 1 else " / ".join(map(str, explained))
            parts.append(
                pd.DataFrame(
                    {
                        "output": label,
                        "feature_1": [e.feature_names[a] for a in first[order]],
                        "feature_2": [e.feature_names[b] for b in second[order]],
                        "interaction": size[order, j],
                        "std_error": spread[order, j],
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    def _pairs(self) -> tuple[Attribution, NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """The attribution with a row axis, indices and errors (n, p, k), and both positions (p,) of every pair."""
        e = batch(self.attribution)
        d = len(self.feature_names)
        first, second = np.triu_indices(d, 1)
        k = e.n_outputs
        index, error = (2.0 * array.reshape(len(e), d, d, k)[:, first, second] for array in (self.values, self.std_error))
        return e, index, error, first, second

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything, the Shapley values too, into one file (zip of npy arrays and JSON; no pickle), at once or not at all.

        Args:
            path: the file's name, as it is; by custom it ends in ``.npz``.
        """
        beside = {"pairs": self.values, "pairs_std_error": self.std_error, "pairs_estimator": np.array(self.estimator)}
        _save.save(self.attribution, path, form=_FORM, beside=beside)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Interactions:
        """Read what ``save`` wrote; no code in the file is ever run.

        Raises:
            InputError: the file is not one of ours, is damaged, or was written by a newer version.
        """
        arguments, arrays = _save.load_beside(path, _FORM)
        names = ("pairs", "pairs_std_error", "pairs_estimator")
        if missing := [name for name in names if name not in arrays]:
            raise InputError(f"{fspath(path)}: damaged: {', '.join(missing)} missing")
        values, error, estimator = (arrays[name] for name in names)
        return cls(values=values, std_error=error, attribution=Attribution(**arguments), estimator=str(estimator))

    def plot(self, *, max_display: int = 10, ax: Axes | None = None) -> Axes:
        """A matrix of features by features (extra ``plot``): of a single row signed, of several the mean absolute values.

        Args:
            max_display: features shown, those with the largest values in all.
            ax: Axes to draw on, or None for a new figure.

        Raises:
            OptionError: there are several outputs; choose one by ``output``.
            MissingDependencyError: matplotlib is not installed.
        """
        axes: Axes = import_module("whybox.plots").interactions(self, max_display=max_display, ax=ax)
        return axes

    def _repr_html_(self) -> str:
        shown = self.importance().groupby("output", sort=False, dropna=False).head(10)
        named = bool(shown["output"].notna().any())
        head = "".join(f"<th>{name}</th>" for name in ["output"] * named + ["pair", "mean |interaction|", "standard error"])
        lines = "".join(
            "<tr>"
            + f"<td>{escape(line.output)}</td>" * named
            + f"<td>{escape(line.feature_1)} × {escape(line.feature_2)}</td>"
            + f"<td>{line.interaction:.4g}</td><td>{line.std_error:.2g}</td></tr>"
            for line in shown.itertuples(index=False)
        )
        return f"<p>{escape(repr(self)[1:-1])}</p><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"

    def __repr__(self) -> str:
        e = batch(self.attribution)
        rows = "1 row" if len(e) == 1 else f"{len(e)} rows"
        size = f"{rows}, {len(self.feature_names)} features" + (f", {e.n_outputs} outputs" if e.multi_output else "")
        return f"<Interactions by {e.method} ({self.estimator}): {size}, {self.n_queries:,} queries>"
