"""Wrongs that saboteurs do before a call: to its options, to x and to the background.

Each is as small as the mistake it stands for. Nothing here is for use.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whybox._arrays import is_array, is_frame, is_numpy, is_torch, take_rows, to_numpy
from whybox.explanations import Attribution
from whybox.testing.models import n_rows

Options = dict[str, Any]


def _same_call(x: Any, options: Options) -> tuple[Any, Options]:
    return x, options


def _same_result(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001  # the signature of all changes
    return e


@dataclass(frozen=True)
class Wrapped:
    """An explainer, and what is done before and after it.

    Args:
        inner: an explainer that keeps the contracts.
        before: x and options to other ones.
        after: result, x and options to another result.
    """

    inner: Any
    before: Callable[[Any, Options], tuple[Any, Options]] = _same_call
    after: Callable[[Attribution, Any, Options], Attribution] = _same_result

    def explain(self, x: Any, **options: Any) -> Any:
        """Explain, wrongly."""
        rows, others = self.before(x, options)
        return self.after(self.inner.explain(rows, **others), x, options)


def draw_globally(x: Any, options: Options) -> tuple[Any, Options]:
    """pandas shuffles by NumPy's global generator."""
    import pandas as pd

    pd.Series(range(8)).sample(frac=1.0)
    return x, options


def memory_order(x: Any, options: Options) -> tuple[Any, Options]:
    """Rows read as they lie in memory."""
    return (x.ravel(order="K").reshape(x.shape) if is_numpy(x) else x), options


def one_axis_to_two(x: Any, options: Options) -> tuple[Any, Options]:
    """A vector is taken for one row."""
    return (x[None] if is_numpy(x) and x.ndim == 1 else x), options


def no_seed_is_zero(x: Any, options: Options) -> tuple[Any, Options]:
    """seed=None means 0."""
    return x, {**options, "seed": 0} if options.get("seed", 0) is None else options


def always_output_1(x: Any, options: Options) -> tuple[Any, Options]:
    """The predicted class is taken to be class 1."""
    return x, {**options, "target": 1} if options.get("target") == "predicted" else options


def no_checkpoint(x: Any, options: Options) -> tuple[Any, Options]:
    """checkpoint= is taken, an empty file is made, and that is all."""
    path = options.get("checkpoint")
    if path is not None:
        path.touch()
    return x, {name: value for name, value in options.items() if name != "checkpoint"}


def through_a_shared_place(x: Any, options: Options) -> tuple[Any, Options]:
    """x is put where all calls put it, and taken from there a moment later."""
    _shared["x"] = x
    time.sleep(0.002)
    return _shared["x"], options


_shared: dict[str, Any] = {}


def changed_rows(change: Callable[[Any], Any], x: Any, options: Options) -> tuple[Any, Options]:
    """x, changed as the background was."""
    return change(x), options


def show_the_original(e: Attribution, x: Any, options: Options) -> Attribution:  # noqa: ARG001
    """What is displayed is what came in."""
    return replace(e, data=x)


def widened(rows: Any) -> Any:
    """float32 becomes float64."""
    return rows.astype(np.float64) if is_numpy(rows) and rows.dtype == np.float32 else rows


def tensors_to_numpy(rows: Any) -> Any:
    """Tensors on the host become NumPy arrays."""
    return to_numpy(rows) if is_torch(rows) and rows.device.type == "cpu" else rows


def strict_to_numpy(rows: Any) -> Any:
    """Arrays of any other library become NumPy arrays."""
    return to_numpy(rows) if is_array(rows) and not is_numpy(rows) and not is_torch(rows) else rows


def cuda_to_cpu(rows: Any) -> Any:
    """Tensors come to the host."""
    return rows.cpu() if is_torch(rows) else rows


def columns_to_objects(rows: Any) -> Any:
    """What ``to_numpy`` does to columns of several dtypes."""
    return rows.astype(object) if is_frame(rows) and len(set(rows.dtypes)) > 1 else rows


def objects_to_guesses(rows: Any) -> Any:
    """What pandas makes of columns of objects, by what a batch happens to hold."""
    return rows.infer_objects() if is_frame(rows) else rows


def first_eight(background: Any) -> Any:
    """A large background is cut in silence."""
    return take_rows(background, np.arange(min(n_rows(background), 8)))
