"""check_model: what a user wants to know of a model before trusting an explanation of it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from whybox._arrays import is_array, is_numpy, is_out_of_memory, take_rows, to_numpy
from whybox._random import generator
from whybox.engine._outputs import as_outputs
from whybox.errors import ModelError, OptionError, ShapeError
from whybox.models import as_model
from whybox.testing._asker import Asker, UnansweredError
from whybox.testing.model_report import Check, Level, ModelReport
from whybox.testing.models import n_rows
from whybox.typing import Floats, Model, Rows

_SINGLES = 12  # rows that are also asked alone
_BATCHES = (1, 16, 256, 4096)  # batch sizes that are timed
_NOISE = 1e-6  # of the outputs' size: what the same call may differ by when it is repeated


def check_model(f: Any, x: Rows, *, max_rows: int = 256, tolerance: float = 1e-4, seconds: float = 5.0, seed: int = 0) -> ModelReport:
    """Ask a model everything that an explanation relies on.

    Is every call answered, with one finite output a row, of one width, for one row as for many? Is the model deterministic? Does a row's
    answer depend on its place or its neighbours in the batch? Does the model write into its input, or into outputs it has handed out? Does
    it take read-only arrays and large batches, and what does a row cost?

    Args:
        f: anything that :func:`whybox.as_model` takes, or a Model.
        x: rows as the model is to be called: array, DataFrame or list of texts; at least 2, better 100 different ones. Not changed.
        max_rows: only the first so many rows are used; the report says how many.
        tolerance: how far the answer for a row may move with the batch around it, as a share of the spread of its output over x. float32
            arithmetic moves it by about 1e-6; half precision is given more.
        seconds: larger batches are not tried once a batch would take longer than this.
        seed: of the shuffled batches.

    Returns:
        A report; ``print(report)`` to read it, ``report.raise_if_failed()`` in a test.

    Raises:
        ShapeError: x has fewer than 2 rows.
        OptionError: max_rows, tolerance or seconds is out of range.

    Example:
        >>> report = check_model(lambda rows: rows.sum(axis=1), np.arange(12.0).reshape(6, 2))
        >>> report.ok, report["deterministic"].level
        (True, 'ok')
    """
    if max_rows < 2 or not tolerance > 0 or not seconds > 0:
        raise OptionError(f"expected max_rows >= 2, tolerance > 0 and seconds > 0, got {max_rows!r}, {tolerance!r} and {seconds!r}")
    model = as_model(f)
    if n_rows(x) < 2:
        raise ShapeError(f"x: expected at least 2 rows to compare, got {n_rows(x)}")
    rows = take_rows(x, np.arange(min(n_rows(x), max_rows)))
    if model.wants_frame and is_array(rows):
        import pandas as pd

        rows = pd.DataFrame(to_numpy(rows), columns=list(model.feature_names or ()))
    session = _Session(model, rows, tolerance=tolerance, seed=seed)
    session.run()
    per_row = session.time(seconds) if session.answer is not None else {}
    return ModelReport(model.name, tuple(session.checks()), n_rows(session.asker.rows), session.asker.calls, session.asker.queries, per_row)


class _Session:
    """The checks of one model, in their order."""

    # the order in which they are reported
    NAMES = (
        "answers", "output", "finite", "one row", "names", "deterministic", "row order", "batch independent", "input untouched",
        "output kept", "read-only input", "memory", "speed",
    )  # fmt: skip

    def __init__(self, model: Model, rows: Rows, *, tolerance: float, seed: int) -> None:
        self.asker = Asker(model, rows)
        self.tolerance, self.seed = tolerance, seed
        self.answer: Floats | None = None  # (n, k) answer for all rows
        self.allowed: Floats | None = None  # (k,) how far a row's answer may move

    def checks(self) -> list[Check]:
        """The findings, one a name."""
        default = {
            "answers": Check("answers", "ok", f"all {self.asker.calls} calls were answered"),
            "input untouched": Check("input untouched", "ok", "the model did not write into its input"),
        }
        missing = "not tried: the model did not answer usably"
        return [self.asker.found.get(name, default.get(name, Check(name, "skip", missing))) for name in self.NAMES]

    def run(self) -> None:
        """All checks but time."""
        answer = self.asker.ask_all()
        if answer is None:
            return
        self.answer, n = answer, len(answer)
        kind = f"{type(self.asker.raw).__name__} of shape {(n,) if self.asker.one_axis else answer.shape}"
        self.asker.note("output", "ok", kind + ("" if is_array(self.asker.raw) else "; whybox makes an array of it"))
        self.allowed = self._allowed(answer)
        for step in (self._finite, self._names, self._repeat, self._kept, self._alone, self._order, self._neighbours, self._read_only):
            try:
                step()
            except UnansweredError:
                continue
            except ModelError as error:
                self.asker.note("output", "fail", str(error))

    def _allowed(self, answer: Floats) -> Floats:
        dtype = str(getattr(self.asker.raw, "dtype", ""))
        coarse = 0.05 if "float16" in dtype else 0.0  # float16 and bfloat16 carry 3 and 2 digits
        finite = np.where(np.isfinite(answer), answer, np.nan)
        if np.isnan(finite).all():
            return np.zeros(answer.shape[1])
        middle = np.nan_to_num(np.nanmean(finite, axis=0)) if not np.isnan(finite).all(axis=0).any() else np.zeros(answer.shape[1])
        finite = np.where(np.isnan(finite), middle, finite)
        spread = finite.max(axis=0) - finite.min(axis=0)
        size = np.abs(finite).max(axis=0)
        return np.asarray(max(self.tolerance, coarse) * spread + max(_NOISE, coarse) * size + 1e-300)

    def _finite(self) -> None:
        assert self.answer is not None
        bad = np.flatnonzero(~np.isfinite(self.answer).all(axis=1))
        if len(bad):
            self.asker.note(
                "finite", "fail", f"{len(bad)} of {len(self.answer)} rows have NaN or infinite outputs (rows {bad[:5].tolist()})"
            )
        else:
            self.asker.note("finite", "ok", f"between {self.answer.min():.4g} and {self.answer.max():.4g}")

    def _names(self) -> None:
        assert self.answer is not None
        names, k = self.asker.model.output_names, self.answer.shape[1]
        if names is None:
            self.asker.note("names", "skip", "the outputs have no names; as_model(..., output_names=...) gives them")
        elif len(names) != k:
            self.asker.note("names", "fail", f"{len(names)} output names for {k} outputs")
        else:
            self.asker.note("names", "ok", ", ".join(names[:5]))

    def _moved(self, a: Floats, b: Floats) -> bool:
        """Whether answers differ by more than arithmetic explains. NaN equals NaN."""
        assert self.allowed is not None
        with np.errstate(invalid="ignore"):
            same = np.abs(a - b) <= self.allowed
        return not bool((same | (a == b) | (np.isnan(a) & np.isnan(b))).all())

    def _repeat(self) -> None:
        assert self.answer is not None
        again = self.asker.ask(np.arange(len(self.answer)))
        size = np.nanmax(np.abs(np.where(np.isfinite(self.answer), self.answer, 0.0)), initial=0.0)
        gap = _gap(self.answer, again)
        if np.array_equal(self.answer, again, equal_nan=True):
            self.asker.note("deterministic", "ok", "the same call twice gives the same bits")
        elif gap <= _NOISE * size or (
            str(getattr(self.asker.raw, "dtype", "")).endswith("float16") and not self._moved(self.answer, again)
        ):
            self.asker.note("deterministic", "ok", f"the same call twice agrees to rounding (up to {gap:.2g} apart)")
        elif not self._moved(np.sort(self.answer, axis=0), np.sort(again, axis=0)):
            self.asker.note(
                "row order", "fail", "the same call twice gives the same answers in another order; return one output a row, in order"
            )
            self.asker.note("deterministic", "skip", "the rows came back in another order")
        else:
            self.asker.note(
                "deterministic", "fail", f"the same call twice differs by up to {gap:.3g}; fix the model's seed, or average several calls"
            )

    def _kept(self) -> None:
        """Whether an answer that was handed out changes when the model is called again."""
        assert self.answer is not None
        n = len(self.answer)
        self.asker.ask(np.arange(n), keep_raw=True)
        kept = self.asker.raw
        before, _ = as_outputs(kept, n, self.asker.model.name)
        self.asker.ask(np.arange(n)[::-1].copy())
        after, _ = as_outputs(kept, n, self.asker.model.name)
        if np.array_equal(before, after, equal_nan=True):
            self.asker.note("output kept", "ok", "an answer stays as it was when the model is called again")
        else:
            self.asker.note(
                "output kept",
                "note",
                "the next call overwrites the last answer (a reused buffer); whybox copies answers, other code may not",
            )

    def _alone(self) -> None:
        """Some rows one by one, and these rows as one batch."""
        assert self.answer is not None
        n = len(self.answer)
        index = np.unique(np.linspace(0, n - 1, min(n, _SINGLES)).astype(np.int64))
        try:
            alone = np.concatenate([self.asker.ask(index[i : i + 1]) for i in range(len(index))])
        except ModelError as error:
            self.asker.note("one row", "fail", f"a batch of one row: {error}")
            return
        self.asker.note("one row", "ok", "a batch of one row is answered like a batch of many")
        self._compare(alone, self.asker.ask(index), f"asked alone or as a batch of {len(index)}")
        self._compare(alone, self.answer[index], f"asked alone or among {n}", whole=False)

    def _order(self) -> None:
        """The same rows in another order."""
        assert self.answer is not None
        order = generator(self.seed, "check_model").permutation(len(self.answer))
        self._compare(self.answer[order], self.asker.ask(order), "in a shuffled batch")
        self.asker.note("row order", *_settled(self._told_apart(), "each answer stays with its row when the batch is shuffled"))

    def _neighbours(self) -> None:
        """Halves of the batch."""
        assert self.answer is not None
        half = len(self.answer) // 2
        index = np.arange(len(self.answer))
        halves = np.concatenate([self.asker.ask(index[:half]), self.asker.ask(index[half:])])
        self._compare(self.answer, halves, "asked in two halves", whole=False)
        self.asker.note(
            "batch independent", *_settled(self._told_apart(), "a row's answer is the same alone, in half the batch and in the batch")
        )

    def _told_apart(self) -> str | None:
        """Why answers cannot be compared, or None."""
        assert self.answer is not None
        if self.asker.failed("deterministic"):
            return "the model is not deterministic"
        if self.asker.failed("row order"):
            return "the rows come back in another order"
        return "all rows have the same answer" if not self._moved(self.answer, np.roll(self.answer, 1, axis=0)) else None

    def _compare(self, expected: Floats, got: Floats, how: str, *, whole: bool = True) -> None:
        """Judge two answers for the same rows. ``whole``: the same rows made up the batch, so a permutation can be recognised."""
        if self.asker.failed("deterministic") or not self._moved(expected, got):
            return
        gap = _gap(expected, got)
        if whole and not self._moved(np.sort(expected, axis=0), np.sort(got, axis=0)):
            self.asker.note("row order", "fail", f"rows {how} get one another's answers; return one output a row, in the order of the rows")
        elif not self.asker.failed("row order"):
            self.asker.note(
                "batch independent",
                "fail",
                f"rows {how} get answers up to {gap:.3g} apart: they depend on the rest of the batch (batch statistics?)",
            )

    def _read_only(self) -> None:
        if not is_numpy(self.asker.rows):
            self.asker.note("read-only input", "skip", "x is no NumPy array")
            return
        batch = self.asker.rows.copy()
        batch.flags.writeable = False
        self.asker.calls += 1
        self.asker.queries += len(batch)
        try:
            self.asker.model.predict(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is reported
            self.asker.note(
                "read-only input", "note", f"a read-only array raises {type(error).__name__}: {error}; whybox hands out writable rows"
            )
        else:
            self.asker.note("read-only input", "ok", "read-only arrays are taken")

    def time(self, seconds: float) -> dict[int, float]:
        """Wall seconds a row for growing batches, and where memory ends."""
        n = n_rows(self.asker.rows)
        per_row: dict[int, float] = {}
        for size in _BATCHES:
            if (self.asker.model.max_batch is not None and size > self.asker.model.max_batch) or (
                per_row and min(per_row.values()) * size > seconds
            ):
                break
            batches = [take_rows(self.asker.rows, np.arange(size) % n) for _ in range(2)]
            took = []
            try:
                for batch in batches:
                    began = time.perf_counter()
                    self.asker.call(batch, size)
                    took.append(time.perf_counter() - began)
            except UnansweredError:
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                fits = max(per_row, default=0)
                self.asker.note(
                    "memory",
                    "note",
                    f"{size} rows are too many ({error}), {fits} fit; whybox halves such batches, max_batch={fits} saves the tries",
                )
                break
            per_row[size] = min(took) / size
        if per_row:
            best = min(per_row, key=per_row.__getitem__)
            text = ", ".join(f"{size}: {_human(cost)}" for size, cost in per_row.items())
            level: Level = "note" if per_row[best] > 1e-3 else "ok"
            self.asker.note("speed", level, f"seconds a row by batch size {text}; 100,000 rows take about {_human(per_row[best] * 1e5)}s")
            if "memory" not in self.asker.found:
                self.asker.note("memory", "ok", f"batches of {max(per_row)} rows fit")
        return per_row


def _gap(a: Floats, b: Floats) -> float:
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b)
    return float(np.max(np.nan_to_num(np.where(a == b, 0.0, difference)), initial=0.0))


def _settled(reason: str | None, good: str) -> tuple[Level, str]:
    return ("ok", good) if reason is None else ("skip", reason)


def _human(value: float) -> str:
    return f"{value:.2g}"
