"""The calls that check_model makes: counted, compared with what went before, and written down when they go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whybox._arrays import is_out_of_memory, take_rows
from whybox.engine import Engine
from whybox.engine._outputs import as_outputs
from whybox.errors import ModelError
from whybox.testing.model_report import Check, Level
from whybox.testing.models import content_digest, copy_rows, n_rows
from whybox.typing import Floats, Ints, Model, Rows


class UnansweredError(Exception):
    """A call that gave nothing to compare; the reason is already written down."""


@dataclass
class Asker:
    """Calls a model on chosen rows and collects findings.

    Args:
        model: the model.
        rows: the rows to choose from; fewer after ``ask_all`` if memory ran out.
    """

    model: Model
    rows: Rows
    calls: int = 0
    queries: int = 0
    found: dict[str, Check] = field(default_factory=dict)
    raw: Any = None
    width: int | None = None
    one_axis: bool = False

    def note(self, name: str, level: Level, detail: str) -> None:
        """Write a finding down; the first failure of a check stays."""
        if not self.failed(name):
            self.found[name] = Check(name, level, detail)

    def failed(self, name: str) -> bool:
        """Whether a check has failed."""
        return name in self.found and self.found[name].level == "fail"

    def ask(self, index: Ints, *, keep_raw: bool = False) -> Floats:
        """(len(index), k) answers for chosen rows, through a batch of the model's own.

        Args:
            index: positions of the rows.
            keep_raw: keep what the model returned in ``raw``.

        Raises:
            UnansweredError: the call failed, or has another width than the first.
            OutputShapeError, OutputValueError: the answer cannot be used.
        """
        batch = take_rows(self.rows, index)
        before = content_digest(batch)
        raw = self.call(batch, len(index))
        if content_digest(batch) != before:
            self.note("input untouched", "note", "the model writes into its input; whybox hands it rows of its own, other code may not")
        if keep_raw:
            self.raw = raw
        values, one_axis = as_outputs(raw, len(index), self.model.name)
        if self.width is None:
            self.width, self.one_axis = values.shape[1], one_axis
        if values.shape[1] != self.width:
            name = "one row" if len(index) == 1 else "output"
            self.note(name, "fail", f"{self.width} outputs a row in one call, {values.shape[1]} in another; keep the width fixed")
            raise UnansweredError
        if one_axis != self.one_axis:
            self.note("output", "note", "sometimes (n,), sometimes (n, 1)")
        return values

    def call(self, batch: Rows, n: int) -> Any:
        """The raw answer. A transient error is noted, and the call repeated once; want of memory passes through.

        Args:
            batch: the rows.
            n: how many.

        Raises:
            UnansweredError: the call failed.
        """
        for attempt in range(2):
            self.calls += 1
            self.queries += n
            try:
                return self.model.predict(copy_rows(batch) if attempt else batch)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                what = f"call {self.calls} ({n} rows) raised {type(error).__name__}: {error}"
                if isinstance(error, Engine.retry_on) and attempt == 0:
                    self.note("answers", "note", f"{what}; whybox tries such calls again")
                    continue
                self.note("answers", "fail", what)
                raise UnansweredError from error
        raise AssertionError("unreachable")

    def ask_all(self) -> Floats | None:
        """The answer for all rows, or for fewer if memory runs out; None if there is no usable one."""
        while True:
            n = n_rows(self.rows)
            try:
                return self.ask(np.arange(n), keep_raw=True)
            except ModelError as error:
                self.note("output", "fail", str(error))
                return None
            except UnansweredError:
                return None
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if n < 4:
                    self.note("memory", "fail", f"{n} rows are too many: {error}")
                    return None
                self.rows = take_rows(self.rows, np.arange(n // 2))
