"""Models that are wrong, each in one known way.

A fault wraps an honest function, so that a test knows the right answer: the honest function's. :data:`FAULTS` lists every fault with what
an explainer must make of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whybox._arrays import is_frame, to_numpy
from whybox._random import generator
from whybox.engine import NoisyModelWarning
from whybox.errors import OutputOrderError, OutputShapeError, OutputValueError
from whybox.testing.models import Predict, n_rows
from whybox.typing import Rows


@dataclass
class RaisesAt:
    """Raises at one call, and answers all others.

    Args:
        fn: the honest function.
        at: the call that fails, counted from 0.
        error: what is raised: ConnectionError by default; KeyboardInterrupt makes a model that is interrupted.
    """

    fn: Predict
    at: int = 1
    error: type[BaseException] = ConnectionError
    calls: int = field(default=0, init=False)

    def __call__(self, rows: Rows) -> Any:
        """The honest answer, or the error."""
        self.calls += 1
        if self.calls == self.at + 1:
            raise self.error(f"call {self.at} failed")
        return self.fn(rows)


@dataclass
class RunsOutOfMemory:
    """Answers batches up to a size, and runs out of memory above it.

    Args:
        fn: the honest function.
        above: the most rows that fit.
        cuda: raise torch's RuntimeError message rather than MemoryError.
    """

    fn: Predict
    above: int = 50
    cuda: bool = False

    def __call__(self, rows: Rows) -> Any:
        """The honest answer, or the error."""
        if n_rows(rows) > self.above:
            raise (
                RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB") if self.cuda else MemoryError("Unable to allocate 2.00 GiB")
            )
        return self.fn(rows)


@dataclass
class Answers:
    """Changes the honest answer after the call.

    Args:
        fn: the honest function.
        change: (n,) or (n, k) float64 answer to what is returned instead.
    """

    fn: Predict
    change: Callable[[Any], Any]

    def __call__(self, rows: Rows) -> Any:
        """The changed answer."""
        return self.change(np.array(to_numpy(self.fn(rows)), dtype=np.float64))


@dataclass
class Noisy:
    """Adds seeded Gaussian noise, fresh at every call.

    Args:
        fn: the honest function.
        sd: standard deviation of the noise.
        seed: seed of the noise.
    """

    fn: Predict
    sd: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Make the noise's own generator."""
        self._rng = generator(self.seed, "testing", "noise")

    def __call__(self, rows: Rows) -> Any:
        """The honest answer and noise."""
        out = np.asarray(to_numpy(self.fn(rows)), dtype=np.float64)
        return out + self._rng.normal(0.0, self.sd, out.shape)


@dataclass
class MutatesInput:
    """Overwrites its input once it has the answer (of a DataFrame the first column).

    Args:
        fn: the honest function.
    """

    fn: Predict

    def __call__(self, rows: Rows) -> Any:
        """The honest answer; the rows are spoilt."""
        out = np.array(to_numpy(self.fn(rows)))
        if is_frame(rows):
            rows.iloc[:, 0] = rows.iloc[::-1, 0].array
        elif isinstance(rows, list):
            rows.reverse()
        else:
            rows[...] = rows[0] - rows if rows.dtype != bool else ~rows
        return out


@dataclass
class AnswersInItsInput:
    """Writes its answer into the first column of its input, returns that column as a view, and spoils it at the next call.

    Args:
        fn: the honest function, (n,); inputs are floating arrays.
    """

    fn: Predict
    kept: Any = field(default=None, init=False)

    def __call__(self, rows: Rows) -> Any:
        """A view of the input that holds the honest answer, until the next call."""
        out = self.fn(rows)
        if self.kept is not None:
            self.kept[...] = np.nan
        rows[:, 0] = out
        self.kept = rows
        return rows[:, 0]


@dataclass
class ReusesBuffer:
    """Returns a view of one output buffer, which the next call overwrites.

    Args:
        fn: the honest function.
    """

    fn: Predict
    buffer: Any = field(default=None, init=False)

    def __call__(self, rows: Rows) -> Any:
        """A view of the buffer."""
        out = np.asarray(self.fn(rows))
        if self.buffer is None or len(self.buffer) < len(out) or self.buffer.shape[1:] != out.shape[1:]:
            self.buffer = np.empty((max(len(out), 8192), *out.shape[1:]))
        self.buffer[: len(out)] = out
        return self.buffer[: len(out)]


@dataclass
class ChangesWidth:
    """Returns one column more at every other call.

    Args:
        fn: the honest function.
    """

    fn: Predict
    calls: int = field(default=0, init=False)

    def __call__(self, rows: Rows) -> Any:
        """(n, k) or (n, k + 1) outputs."""
        out = np.asarray(self.fn(rows)).reshape(n_rows(rows), -1)
        self.calls += 1
        return out if self.calls % 2 else np.concatenate([out, out[:, :1]], axis=1)


@dataclass
class Slow:
    """Sleeps for every row.

    Args:
        fn: the honest function.
        seconds: sleep a row.
    """

    fn: Predict
    seconds: float = 0.002

    def __call__(self, rows: Rows) -> Any:
        """The honest answer, late."""
        time.sleep(self.seconds * n_rows(rows))
        return self.fn(rows)


@dataclass(frozen=True)
class Fault:
    """One way of being wrong, and what an explainer must make of it.

    Args:
        name: short and unique.
        make: honest function to faulty model. The honest function returns (n,).
        outcome: the error or warning class that must come out, or None: the values are right in spite of the fault.
    """

    name: str
    make: Callable[[Predict], Predict]
    outcome: type[BaseException] | None = None


def _answers(change: Callable[[Any], Any]) -> Callable[[Predict], Predict]:
    return lambda fn: Answers(fn, change)


def _frame(out: Any) -> Any:
    import pandas as pd

    return pd.DataFrame({"score": out})


def _series(out: Any) -> Any:
    import pandas as pd

    return pd.Series(out, index=np.arange(len(out))[::-1])


def _tensor(out: Any) -> Any:
    import torch

    return torch.tensor(out, requires_grad=True)


def _some_nan(out: Any) -> Any:
    # which rows answer NaN follows from their honest answer alone: mixed bits of the float, one in twenty
    bits = np.ascontiguousarray(out).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.where((bits >> np.uint64(32)) % np.uint64(20) == 0, np.nan, out)


def _shuffled(fn: Predict) -> Predict:
    rng = generator(0, "testing", "shuffled")
    return Answers(fn, lambda out: out[rng.permutation(len(out))])


FAULTS: tuple[Fault, ...] = (
    Fault("raises once", RaisesAt),
    Fault("raises a bug once", lambda fn: RaisesAt(fn, error=ZeroDivisionError), ZeroDivisionError),
    Fault("interrupted", lambda fn: RaisesAt(fn, error=KeyboardInterrupt), KeyboardInterrupt),
    Fault("out of memory", RunsOutOfMemory),
    Fault("out of CUDA memory", lambda fn: RunsOutOfMemory(fn, cuda=True)),
    Fault("some NaN", _answers(_some_nan), OutputValueError),
    Fault("infinite", _answers(lambda out: np.where(out == out.max(), np.inf, out)), OutputValueError),
    Fault("one row short", _answers(lambda out: out[:-1]), OutputShapeError),
    Fault("one row more", _answers(lambda out: np.append(out, 0.0)), OutputShapeError),
    Fault("one row only", _answers(lambda out: out[:1]), OutputShapeError),
    Fault("scalar", _answers(lambda out: out.mean()), OutputShapeError),
    Fault("None", _answers(lambda _: None), OutputShapeError),
    Fault("three axes", _answers(lambda out: out[:, None, None]), OutputShapeError),
    Fault("strings", _answers(lambda out: np.where(out > np.median(out), "yes", "no")), OutputValueError),
    Fault("complex", _answers(lambda out: out + 0j), OutputValueError),
    Fault("list", _answers(lambda out: out.tolist())),
    Fault("object array", _answers(lambda out: out.astype(object))),
    Fault("one column", _answers(lambda out: out[:, None])),
    Fault("DataFrame", _answers(_frame)),
    Fault("Series", _answers(_series)),
    Fault("torch tensor", _answers(_tensor)),
    Fault("changes width", ChangesWidth, OutputShapeError),
    Fault("mutates its input", MutatesInput),
    Fault("answers in its input", AnswersInItsInput),
    Fault("reuses its buffer", ReusesBuffer),
    Fault("noisy", Noisy, NoisyModelWarning),
    Fault("sorted", _answers(np.sort), OutputOrderError),
    Fault("reversed", _answers(lambda out: out[::-1]), OutputOrderError),
    Fault("shuffled", _shuffled, OutputOrderError),
    Fault("subtracts the batch mean", _answers(lambda out: out - out.mean()), OutputOrderError),
    Fault("slow", Slow),
)
