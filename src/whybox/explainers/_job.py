"""What every explainer does first and last: bind the space, find repeated rows, call the model on the rows themselves, build the result."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_frame, is_series, take_rows
from whybox._random import generator
from whybox.engine import Engine, Run
from whybox.errors import OptionError
from whybox.explainers._targets import check_names, resolve_target
from whybox.explanations import Attribution
from whybox.models import as_model
from whybox.spaces import Marginal
from whybox.typing import Bound, Floats, Ints, Model, OwnFeatures, Space, Target

PerRow = Floats | list[Floats]  # (u, d, q), or u arrays (d, q) of rows with features of their own

_PLAIN_ROWS = 8192  # explained rows at once


class Composed(Protocol):
    """What every explainer is made of."""

    @property
    def model(self) -> Any:
        """Whatever :func:`whybox.as_model` takes."""

    @property
    def output(self) -> str:
        """Which output, see :func:`whybox.as_model`."""

    @property
    def space(self) -> Space | None:
        """What may vary; None means the marginal space over ``background``."""

    @property
    def background(self) -> Any:
        """Reference rows, or None."""

    @property
    def engine(self) -> Engine:
        """How the model is called."""


@dataclass(frozen=True)
class Request:
    """One call of ``explain``.

    Args:
        explainer: who was called; its class names the method.
        x: rows to explain.
        seed: of every draw.
        target: outputs to explain.
        progress: show a progress bar.
        checkpoint: path of the log of answered batches, or None.
        settings: what else determines the result, JSON-able.
    """

    explainer: Composed
    x: Any
    seed: int
    target: Target
    progress: bool | None
    checkpoint: str | os.PathLike[str] | None
    settings: Mapping[str, Any]

    @property
    def method(self) -> str:
        """The method's name."""
        return type(self.explainer).__name__


class Job:
    """A request under way. Use it as a context manager.

    Attributes:
        model: the adapted model.
        bound: the space, bound to x.
        run: the engine at work.
        rows: (u,) positions of the first of each distinct row of x; only these are explained.
        full: (u, k) outputs for the distinct rows.
    """

    def __init__(self, request: Request) -> None:
        generator(request.seed)
        who = request.explainer
        if not isinstance(who.engine, Engine):
            raise OptionError(f"engine: expected a whybox.Engine, such as Engine(max_batch=100), got {who.engine!r}")
        self.request = request
        self.model: Model = as_model(who.model, output=who.output)  # type: ignore[arg-type]  # as_model checks the name
        self.bound: Bound = resolve_space(who.space, who.background).bind(request.x, self.model)
        self.rows, self._inverse = distinct_rows(self.bound)
        about = {"method": request.method, "seed": int(request.seed), **request.settings}
        self.run: Run = who.engine.start(
            self.model,
            checkpoint=request.checkpoint,
            job=self._identity(about) if request.checkpoint is not None else "",
            about=about,
            progress=request.progress,
        )
        try:
            self.full = self._predict_rows()
            if self.model.output_names is None and self.run.columns is not None:
                self.model = replace(self.model, output_names=self.run.columns)
            check_names(self.model, self.full.shape[1])
            self.target, self.chosen = resolve_target(request.target, self.full, self.model)
        except BaseException:
            self.run.__exit__(None, None, None)
            raise

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.run.__exit__(None, None, None)

    def _identity(self, about: Mapping[str, Any]) -> str:
        version = self.model.identity()
        content = repr((sorted((k, repr(v)) for k, v in about.items()), version, self.bound.digest()))
        return hashlib.sha256(content.encode()).hexdigest()

    def _predict_rows(self) -> Floats:
        """Outputs of the distinct rows, a bounded block at a time."""
        parts = []
        for start in range(0, self.bound.n, _PLAIN_ROWS):
            stop = min(start + _PLAIN_ROWS, self.bound.n)
            low, high = np.searchsorted(self.rows, (start, stop))  # they are in order
            rows = self.bound.plain(start, stop)
            if high - low < stop - start:
                rows = take_rows(rows, self.rows[low:high] - start)
            if high > low:
                parts.append(self.run.predict(rows, int(high - low)))
        return np.concatenate(parts)

    def select(self, outputs: Floats, rows: Ints) -> Floats:
        """The outputs to be explained: (r, ..., k) to (r, ..., q), where rows (r,) are positions among the distinct rows."""
        if self.chosen is None:
            return outputs
        index = self.chosen[rows].reshape(-1, *[1] * (outputs.ndim - 1))
        return np.take_along_axis(outputs, np.broadcast_to(index, (*outputs.shape[:-1], 1)), axis=-1)

    def everyone(self, array: NDArray[Any]) -> NDArray[Any]:
        """What was found for the distinct rows (u, ...), for all rows of x."""
        return array if len(self.rows) == self.bound.n else array[self._inverse]

    def result(
        self,
        *,
        values: PerRow,
        base_values: Floats,
        estimator: str,
        std_error: PerRow | None = None,
        score: Floats | None = None,
        intercept: Floats | None = None,
        feature_names: tuple[str, ...] | None = None,
        predictions: Floats | None = None,
    ) -> Attribution:
        """The explanation of all rows of x, repeated rows included.

        Args:
            values: (u, d, q) attributions of the distinct rows, or a list of u arrays (d, q) where rows have features of their own.
            base_values: (u, q).
            estimator: which estimator answered.
            std_error: as values, or None.
            score: (u, q) or None.
            intercept: (u, q) or None.
            feature_names: other names than the space's.
            predictions: (u, q), in units of the values where these are others than the outputs'; None takes the outputs.
        """
        request = self.request
        squeeze = self.chosen is not None or self.run.one_axis

        def shaped(array: PerRow) -> NDArray[Any]:
            if isinstance(array, list):
                return rows_of([row[..., 0] if squeeze else row for row in array], self._inverse)
            full = array if len(self.rows) == self.bound.n else array[self._inverse]
            full = full[..., 0] if squeeze else full
            full.setflags(write=False)  # the result takes read-only arrays as they are, without a copy
            return full

        everywhere = np.arange(len(self.rows))
        chosen = self.chosen if self.chosen is None or len(self.rows) == self.bound.n else self.chosen[self._inverse]
        return Attribution(
            values=shaped(values),
            base_values=shaped(base_values),
            predictions=shaped(self.select(self.full, everywhere) if predictions is None else predictions),
            **self._described(feature_names),
            std_error=None if std_error is None else shaped(std_error),
            output_names=self.model.output_names,
            score=None if score is None else shaped(score),
            intercept=None if intercept is None else shaped(intercept),
            method=request.method,
            estimator=estimator,
            target=self.target,
            target_index=None if self.run.one_axis else chosen,  # the only output needs no number
            seed=int(request.seed),
            stats=self.run.stats,
            settings=dict(request.settings),
        )

    def _described(self, names: tuple[str, ...] | None) -> dict[str, Any]:
        """Names and displayed data: of all rows, or of each row where rows have features of their own."""
        bound = self.bound
        if not isinstance(bound, OwnFeatures):
            return {
                "data": self.request.x,
                "feature_names": names if names is not None else bound.feature_names(0),
                "members": bound.members,
            }
        rows = self.rows.tolist()
        own, marks, inputs = ([part(i) for i in rows] for part in (bound.feature_names, bound.marks, bound.inputs))
        where = self._inverse.tolist()
        return {
            "data": rows_of([bound.data(i) for i in rows], self._inverse),
            "feature_names": tuple(own[i] for i in where),
            "marks": tuple(marks[i] for i in where),
            "inputs": tuple(inputs[i] for i in where),
            "row_labels": tuple(self.request.x.index) if is_series(self.request.x) or is_frame(self.request.x) else None,
        }


def rows_of(rows: Sequence[NDArray[Any]], where: Ints) -> NDArray[np.object_]:
    """A read-only (n,) object array of arrays that are read-only too: row ``where[i]`` at place i."""
    for row in rows:
        row.setflags(write=False)
    result = np.empty(len(where), dtype=object)
    for i, j in enumerate(where.tolist()):  # assignment in one go would stack rows of equal length
        result[i] = rows[j]
    result.setflags(write=False)
    return result


def resolve_space(space: Space | None, background: Any) -> Space:
    """The space of an explainer, which is given either as a space or as a background.

    Raises:
        OptionError: both or neither were given.
    """
    if space is not None and background is not None:
        raise OptionError("pass either background= or space=, not both; space=whybox.spaces.Marginal(background) is what background= means")
    if space is not None:
        if isinstance(space, type) or not isinstance(space, Space):
            raise OptionError(f"space: expected an object with bind(x, model), such as whybox.spaces.Marginal(background), got {space!r}")
        return space
    if background is None:
        raise OptionError("pass background= (reference rows, such as 100 training rows) or space=: without them no feature can be removed")
    return background if isinstance(background, Space) else Marginal(background)


def distinct_rows(bound: Bound) -> tuple[Ints, Ints]:
    """Positions of the first of each distinct row, in order, and each row's place among them."""
    everything = np.arange(bound.n, dtype=np.int64)
    keys = bound.row_keys()
    if keys is None:
        return everything, everything
    _, first, inverse = np.unique(keys[:, 0], return_index=True, return_inverse=True)
    if len(first) == bound.n or not np.array_equal(keys[first][inverse.reshape(-1)], keys):
        return everything, everything
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order].astype(np.int64), rank[inverse.reshape(-1)].astype(np.int64)


def count(name: str, value: object, least: int = 1) -> int:
    """A whole number of at least ``least``.

    Raises:
        OptionError: something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise OptionError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    return int(value)


def positive(name: str, value: object) -> float:
    """A finite positive number.

    Raises:
        OptionError: something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < float(value) < float("inf"):
        raise OptionError(f"{name}: expected a finite positive number, got {value!r}")
    return float(value)
