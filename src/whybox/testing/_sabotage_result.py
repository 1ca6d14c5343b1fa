"""Wrongs that saboteurs do to a result.

Each is as small as the mistake it stands for. Nothing here is for use.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any
from zlib import crc32

import numpy as np

from whybox._arrays import is_frame, is_numpy
from whybox.explanations import Attribution
from whybox.typing import Floats

Options = dict[str, Any]
_TINY = 1e-12  # what floating point loses by itself: seen by checks that compare bits, and by no other


def write_into_x(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """x is jittered in place, after it was explained."""
    if is_numpy(x) and x.dtype == np.float64 and x.flags.writeable:
        x += _TINY
    return e


def leak_of_neighbours(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """A part in 10**12 of the mean over the call's rows, as a matrix product that rounds by its size leaves it."""
    return replace(e, values=e.values + _TINY * e.values.mean(axis=0))


def categories_by_appearance(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """Categories are numbered as they come in the rows of the call, and what is drawn depends on their numbers."""
    if not is_frame(x):
        return e
    first = crc32(" ".join(sorted(map(str, x.select_dtypes(exclude="number").iloc[0]))).encode()) % 1000  # the same in every process
    return replace(e, values=e.values * (1.0 + first * _TINY))


def errors_by_count(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """Standard errors that shrink with the number of rows explained."""
    return replace(e, std_error=_errors(e) * (1.0 - 1e-3 * len(e.values)))


def one_query_less(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """The first call is not counted."""
    return replace(e, stats=replace(e.stats, n_queries=e.stats.n_queries - 1))


def copies_differ(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """The second of two equal rows gets draws of its own."""
    first = np.unique(e.values.reshape(len(e.values), -1), axis=0, return_index=True)[1]
    copies = np.setdiff1d(np.arange(len(e.values)), first)
    values = e.values.copy()
    values[copies] *= 1.0 + _TINY
    return replace(e, values=values)


def short_predictions(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """Predictions of float32."""
    return replace(e, predictions=e.predictions.astype(np.float32).astype(np.float64))


def other_base(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """A base value that is nobody's mean."""
    return replace(e, base_values=e.base_values + 0.01)


def leave_a_rest(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """A small part of each value is lost where values are estimated."""
    return e if options.get("budget") is None else replace(e, values=e.values * 0.9999)


def share_with_the_idle(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """Features without effect get a tenth of a percent of the largest value."""
    size = np.abs(e.values).max(axis=1, keepdims=True)
    return replace(e, values=np.where(np.abs(e.values) < 1e-12 * size, 1e-3 * size, e.values))


def break_ties(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """Of two equal values the first gets a little from the second."""
    values = e.values.copy()
    tied = np.abs(values[:, 0] - values[:, 1]) <= 1e-9 * np.abs(values[:, 0])
    gift = np.where(tied, 0.01 * values[:, 1], 0.0)
    values[:, 0], values[:, 1] = values[:, 0] + gift, values[:, 1] - gift
    return replace(e, values=values)


def keep_ten(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """Of many features the ten largest are kept."""
    if e.values.shape[1] <= 15:
        return e
    order = np.argsort(-np.abs(e.values), axis=1)
    values = e.values.copy()
    np.put_along_axis(values, order[:, 10:], 0.0, axis=1)
    return replace(e, values=values)


def _errors(e: Attribution) -> Floats:
    return np.zeros_like(e.values) if e.std_error is None else e.std_error


def nan_where_exact(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """0 / 0."""
    return replace(e, std_error=np.where(_errors(e) == 0.0, np.nan, _errors(e)))


def floor(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """So that nobody divides by zero."""
    return replace(e, std_error=np.maximum(_errors(e), 1e-9))


def narrow(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """A standard error of something else."""
    return replace(e, std_error=_errors(e) / 5)


def wide(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """A standard deviation."""
    return replace(e, std_error=_errors(e) * 5)


class _Forgetful(Attribution):
    def save(self, path: Any) -> None:
        """Write all but the standard errors."""
        Attribution(**{item.name: getattr(self, item.name) for item in fields(self) if item.name != "std_error"}).save(path)


def forgetful(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """An explanation that is saved in part."""
    return _Forgetful(**{item.name: getattr(e, item.name) for item in fields(e)})
