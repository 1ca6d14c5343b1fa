"""One job: described rows are cut into batches, sent once, checked, logged and folded."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import (
    concat_rows,
    is_array,
    is_numpy,
    is_out_of_memory,
    namespace,
    on_accelerator,
    row_digests,
    row_nbytes,
    take_rows,
    to_numpy,
)
from whybox._buffer import Buffer, append
from whybox._devices import empty_like, side_stream, synchronize
from whybox.engine._batch import BatchSizer
from whybox.engine._cache import Cache, version_of
from whybox.engine._checkpoint import Checkpoint
from whybox.engine._clock import Stopwatch
from whybox.engine._controls import Controls
from whybox.engine._dedupe import Deduplicator, share_repeated
from whybox.engine._keep import Kept, keep_first, keep_in_cache
from whybox.engine._outputs import as_device_outputs, as_outputs, check_finite, same_columns
from whybox.engine._rows import Described, PlainRows, UnitRows
from whybox.engine._units import units_of
from whybox.errors import BudgetError, OutputShapeError
from whybox.typing import Array, Ask, Bound, Floats, Ints, Model, OnAnswer, Rows, RunStats

if TYPE_CHECKING:
    from whybox.engine import Engine

_PILOT_ROWS = 1 << 15
_NO_GAP: Ints = np.empty(0, dtype=np.int64)
_WORTH = 0.25  # share of duplicates from which keys and sorting repay themselves


class Run:
    """The engine at work on one call. Made by :meth:`whybox.engine.Engine.start`; use it as a context manager.

    Args:
        engine: the options.
        model: what is called.
        checkpoint: the log of answered batches, or None.
        progress: called with the number of rows answered.
    """

    def __init__(self, engine: Engine, model: Model, checkpoint: Checkpoint | None, progress: Any) -> None:
        self._engine, self._model, self._log, self._bar = engine, model, checkpoint, progress
        most = model.max_batch if engine.max_batch is None else engine.max_batch
        wanted = model.batch_rows if model.remote is None else model.remote.busy_batch
        sizer = partial(BatchSizer, engine.batch_size, most, wanted, remote=model.remote is not None)
        self._sizers = {True: sizer(), False: sizer()}  # of composed rows, and of rows that are there already: these cost only the model
        self._sizer = self._sizers[True]
        self._cache = None if engine.cache is None else Cache(engine.cache, version_of(model))
        self._controls = Controls(model.name, model.rounding) if engine.controls else None
        self._dedupe = Deduplicator()
        self._answers = Buffer()  # of a unit
        self._deduping: bool | None = {"auto": None, True: True, False: False}[engine.dedupe]
        self._began = time.perf_counter()
        self._counts = dict.fromkeys(("n_queries", "n_rows", "n_calls", "batch_size", "n_retries", "n_nan", "n_resumed", "n_cached"), 0)
        self._seconds = 0.0
        self._unit = self._ahead = 0  # parts of the job that are done, and rows that are not
        # answers stay on the model's device until they are folded, unless the host needs each of them
        self._stay = checkpoint is None and engine.cache is None and engine.on_nan == "raise"
        self.seat: Array | None = None  # an empty array of that device, once they do
        self._stream: Callable[[Callable[[], Rows]], Rows] | None = None
        self.n_outputs: int | None = None
        self.one_axis = False
        self.columns: tuple[str, ...] | None = None  # of the tables that the model answers with

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self._log is not None:
            self._log.__exit__(None, None, None)
        if self._cache is not None:
            self._cache.close()
        if self._bar is not None:
            self._bar.close()

    @property
    def stats(self) -> RunStats:
        """What the call has cost so far."""
        repeat = self._controls.repeat_sd if self._controls is not None else None
        total = time.perf_counter() - self._began
        return RunStats(**self._counts, model_seconds=self._seconds, total_seconds=total, repeat_sd=repeat)

    def predict(self, rows: Rows, n: int | None = None) -> Floats:
        """Outputs (n, k) of plain rows."""
        count = len(rows) if n is None else n
        return np.asarray(to_numpy(self._unit_outputs(PlainRows(rows, count))))

    def values(self, bound: Bound, asks: Sequence[Ask]) -> list[Floats]:
        """Folded outputs of every ask.

        Args:
            bound: the space, bound to the explained rows.
            asks: codes for instances.

        Returns:
            For each ask (n_i, m, k) float64.

        Raises:
            ModelError: an unusable answer. Exceptions of the model itself pass through with a note that names the batch.
            BudgetError: the next batch would go past ``max_queries``.
        """
        results: list[Floats | None] = [None] * len(asks)
        folds = bool(getattr(bound, "folds_arrays", False))
        self._ahead = bound.draws * sum(len(ask.instances) * len(ask.codes) for ask in asks)
        for unit in units_of(asks, bound.draws, self.n_outputs or 1, device=self.seat is not None and folds):
            outputs = self._unit_outputs(UnitRows(bound, unit))
            self._ahead -= unit[-1].stop
            outputs = outputs if folds else to_numpy(outputs)
            for piece in unit:
                part = piece.ask
                n, m = len(part.instances), len(part.codes)
                block = outputs[piece.start : piece.stop, :]
                block = (np if is_numpy(block) else namespace(block)).reshape(block, (n, m, bound.draws, -1))
                folded = to_numpy(bound.fold(part, block))
                whole = results[piece.position]
                if whole is None:
                    ask = asks[piece.position]
                    whole = results[piece.position] = np.empty((len(ask.instances), len(ask.codes), folded.shape[2]))
                whole[piece.first_instance : piece.first_instance + n, piece.first_code : piece.first_code + m] = folded
                del block, folded
            del outputs  # its memory serves the next unit
        width = self.n_outputs or 1
        return [np.empty((len(a.instances), len(a.codes), width)) if r is None else r for a, r in zip(asks, results, strict=True)]

    def _unit_outputs(self, unit: Described) -> Array:
        n = unit.n
        self._counts["n_rows"] += n
        keys = self._keys(unit)
        plan = self._dedupe.plan(keys) if keys is not None else None
        if keys is None or plan is None:
            outputs = self._answer(unit)
        else:
            first, where = plan
            hit, known = self._dedupe.known(keys[first])
            fresh = to_numpy(self._answer(unit, None if not hit.any() and len(first) == n else first[~hit]))
            distinct = np.empty((len(first), fresh.shape[1]))
            distinct[~hit] = fresh
            if hit.any():
                distinct[hit] = known
            self._dedupe.learn(keys[first[~hit]], fresh)
            outputs = distinct[where]
        if self._bar is not None:
            self._bar.update(n)
        return outputs

    def _keys(self, unit: Described) -> NDArray[np.uint64] | None:
        if self._deduping is False:
            return None
        if self._deduping is None and unit.n >= 1024:
            pilot = unit.keys(_PILOT_ROWS)
            if pilot is None:
                return None
            self._deduping = share_repeated(pilot[:, 0]) >= _WORTH
            if not self._deduping:
                return None
        return unit.keys()

    def _answer(self, unit: Described, index: Ints | None = None) -> Array:
        """Outputs of the rows at these positions of the unit (None: all), each sent once; on the device where they may stay there."""
        n = unit.n if index is None else len(index)
        answered = np.zeros(n, dtype=bool)
        outputs = self._room_for(n, self.n_outputs or 1)
        if self._log is not None:
            places = np.arange(n, dtype=np.int64) if index is None else index
            digest = hashlib.sha256(unit.digest() + places.tobytes()).hexdigest()
            for at, values, one_axis in self._log.begin(self._unit, digest):
                self._shape(values.shape[1], one_axis)
                outputs = outputs if outputs.shape[1] == values.shape[1] else self._room_for(n, values.shape[1])
                outputs[at], answered[at] = values, True
                self._counts["n_resumed"] += len(at)
        position, resumed = 0, bool(answered.any())
        sizer = self._sizer = self._sizers[unit.composed]
        parts: list[Array] = []
        while position < n:
            if answered[position]:
                position += 1
                continue
            gap = np.flatnonzero(answered[position:]) if resumed else _NO_GAP
            stop = position + int(gap[0]) if len(gap) else n
            share = self._controls.share if self._controls is not None else 0
            size = sizer.next(position, stop - position, unit.run, unit.group, share, self._ahead - position)
            here = slice(position, position + size)
            kept = None if self._log is None or self._model.stream is None else Kept(self._log, self._unit, position, size)
            watch = Stopwatch()
            rows = None  # those of a batch that did not fit the memory are not held beside the next
            try:
                rows = self._composed(unit, position, size, None if index is None else index[here])
                if not sizer.capped:
                    sizer.cap_bytes(row_nbytes(rows), on_accelerator(rows))
                    if sizer.size < size:
                        continue
                values = self._batch(rows, size, position, kept)
            except Exception as error:
                if is_out_of_memory(error) and sizer.ran_out_of_memory(size):
                    continue
                raise
            sizer.took(size, watch.read(), None if sizer.settled or is_array(rows) else size * row_nbytes(rows))
            del rows  # else two batches are held while the next is composed
            if is_numpy(values) and not parts:
                if outputs.shape[1] != values.shape[1]:
                    outputs = self._room_for(n, values.shape[1])
                outputs[here] = values
            else:
                parts.append(values.copy() if is_numpy(values) else values)
            if self._log is not None:
                fresh = np.arange(size, dtype=np.int64) if kept is None else np.flatnonzero(~kept.done)
                self._log.record(self._unit, position + fresh, values[fresh], self.one_axis)
            position += size
        self._unit += 1
        if parts:
            return self._gathered(outputs, parts, n)
        return outputs if self.n_outputs is None else outputs.reshape(n, self.n_outputs)

    def _room_for(self, n: int, k: int) -> Floats:
        return self._answers.bytes(8 * n * k).view(np.float64).reshape(n, k)

    def _composed(self, unit: Described, position: int, size: int, index: Ints | None) -> Rows:
        def compose() -> Rows:
            return unit.compose(position, position + size) if index is None else unit.take(index)

        if self._stream is not None:
            return self._stream(compose)
        rows = compose()
        if self.seat is not None and on_accelerator(rows):
            self._stream = side_stream(rows)
        return rows

    def _gathered(self, outputs: Floats, parts: list[Array], n: int) -> Array:
        """The answers of a unit from its batches, of which the device may still be at work."""
        began = time.perf_counter()
        there = sum(int(part.shape[0]) for part in parts)
        if there < n or any(is_numpy(part) for part in parts):  # a model that answers now here, now there: put it together on the host
            rest = np.concatenate([to_numpy(part) for part in parts])
            whole: Array = np.concatenate([outputs.reshape(n, -1)[: n - there], rest]) if there < n else rest
        else:
            whole = concat_rows(parts)
        if not is_numpy(whole) and not bool(namespace(whole).isfinite(namespace(whole).sum(whole))):
            whole = to_numpy(whole)
        if is_numpy(whole):
            check_finite(whole, self._model.name, 0, self._engine.on_nan)
        self._seconds += time.perf_counter() - began
        return whole

    def _batch(self, rows: Rows, n: int, first: int, keep: OnAnswer | None = None) -> Array:
        """Outputs of a batch; only rows that the cache does not hold are sent. ``keep`` takes answers as they arrive."""
        if self._cache is None:
            return self._checked(rows, n, first, keep)
        keys = row_digests(rows)
        hit, known, one_axis = self._cache.get(keys)
        if known is not None:
            self._shape(known.shape[1], one_axis)
            self._counts["n_cached"] += int(hit.sum())
            if hit.all():
                return known
        rest = np.flatnonzero(~hit)
        fresh = self._checked(take_rows(rows, rest), len(rest), first, keep_in_cache(self._cache, keys, rest, keep))
        self._cache.put(keys[rest], fresh, self.one_axis)
        values = np.empty((n, fresh.shape[1]))
        values[rest] = fresh
        if known is not None:
            values[hit] = known
        return values

    def _checked(self, rows: Rows, n: int, first: int, keep: OnAnswer | None) -> Array:
        twice = self._controls.choose(n) if self._controls is not None else np.empty(0, dtype=np.int64)
        if self._controls is None or not len(twice):
            return self._call(rows, n, first, keep)
        again = take_rows(rows, twice)
        values = self._call(append(rows, again), n + len(twice), first, keep_first(n, keep))
        values = values.copy() if is_numpy(values) else values  # the model may write its next answers where it wrote these
        host = to_numpy(values)
        self._controls.judge(
            host[:n][twice], host[n:], host[:n], lambda: to_numpy(self._call(take_rows(again, np.arange(len(twice))), len(twice), first))
        )
        return values[:n, :]

    def _call(self, rows: Rows, n: int, first: int, keep: OnAnswer | None = None) -> Array:
        engine = self._engine
        if engine.max_queries is not None and self._counts["n_queries"] + n > engine.max_queries:
            raise BudgetError(
                f"max_queries={engine.max_queries}: {self._counts['n_queries']} rows were sent, and the next batch needs {n} more; raise "
                "max_queries or lower the budget (with checkpoint= the answers so far are kept and the next call goes on from them)"
            )
        attempt = 0
        while True:
            began = time.perf_counter()
            self._counts["n_queries"] += n
            self._counts["n_calls"] += 1
            self._counts["batch_size"] = max(self._counts["batch_size"], n)
            try:
                stream = self._model.stream
                answer = self._model.predict(rows) if stream is None or keep is None else stream(rows, keep)
                values, one_axis = self._outputs(answer, n)
                break
            except engine.retry_on as error:
                if attempt >= engine.retries:
                    error.add_note(f"whybox: batch of {n} rows from row {first} of part {self._unit}, after {attempt + 1} tries")
                    raise
                time.sleep(engine.retry_wait * 2**attempt)
                attempt += 1
                self._counts["n_retries"] += 1
            except BaseException as error:
                error.add_note(f"whybox: raised for a batch of {n} rows from row {first} of part {self._unit} of the job")
                raise
            finally:
                self._seconds += time.perf_counter() - began
        self._shape(values.shape[1], one_axis)
        if is_numpy(values):
            self._counts["n_nan"] += check_finite(values, self._model.name, first, engine.on_nan)
        return values

    def _outputs(self, answer: Any, n: int) -> tuple[Array, bool]:
        if not (self._stay and is_array(answer) and on_accelerator(answer)):
            self.columns = same_columns(answer, self.columns, self._model.name)
            return as_outputs(answer, n, self._model.name, copy=False)
        values, one_axis = as_device_outputs(answer, n, self._model.name)
        if self.seat is None:
            self.seat = empty_like(values)
        if not self._sizer.settled:  # what is still on its way has no time yet
            synchronize(values)
        return values, one_axis

    def _shape(self, width: int, one_axis: bool) -> None:
        if self.n_outputs is None:
            self.n_outputs, self.one_axis = width, one_axis
        elif width != self.n_outputs:
            raise OutputShapeError(
                f"{self._model.name}: returned {self.n_outputs} outputs a row before and {width} now; keep the width fixed"
            )
