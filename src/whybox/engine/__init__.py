"""The engine: the only caller of the model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from whybox.engine._batch import is_count
from whybox.engine._checkpoint import Checkpoint
from whybox.engine._controls import NoisyModelWarning
from whybox.engine._run import Run
from whybox.errors import OptionError
from whybox.typing import BatchSize, Model

__all__ = ["Engine", "NoisyModelWarning", "Run"]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})  # what this file imports is nobody's to complete


@dataclass(frozen=True)
class Engine:
    """How the model is called.

    Args:
        batch_size: rows a call; "auto" (default) finds what costs least a row, in CPU seconds where the process itself computes.
            Out of memory halves it in any case, and the job goes on.
        max_batch: the most rows that the model takes; None (default) asks the model's adapter.
        dedupe: send identical rows of a job once, by exact comparison: "auto" (default: where at least a quarter of a first sample are
            duplicates), True or False.
        controls: send about 1 % of the rows of some batches twice, one at least, to notice noisy models and swapped rows. Batches of 32
            rows or fewer have none: :func:`whybox.testing.check_model` judges a model beforehand. Default True.
        on_nan: "raise" (default), or "skip" to leave rows with NaN outputs out of the averages and count them.
        retries: how often a call is repeated after a transient error. Default 3.
        retry_on: exceptions that count as transient. Default ConnectionError and TimeoutError.
        retry_wait: seconds before the first repetition, doubled each time. Default 0.5.
        cache: path of a file of answers that later jobs and other processes share; None (default) keeps none. The model needs a version
            (fitted estimators and torch modules have one; for functions see :func:`whybox.as_model`); answers are told apart by the
            model's name, output and version. Only for deterministic models.
        max_queries: the most rows that a call of ``explain`` may send; None (default): no limit.

    Raises:
        OptionError: an option has a value that does not exist.

    Example:
        >>> Engine(batch_size=512).batch_size
        512
    """

    batch_size: BatchSize = "auto"
    max_batch: int | None = None
    dedupe: bool | Literal["auto"] = "auto"
    controls: bool = True
    on_nan: Literal["raise", "skip"] = "raise"
    retries: int = 3
    retry_on: tuple[type[Exception], ...] = (ConnectionError, TimeoutError)
    retry_wait: float = 0.5
    max_queries: int | None = None
    cache: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.batch_size != "auto" and (not is_count(self.batch_size)):
            raise OptionError(f'batch_size: expected a positive integer or "auto", got {self.batch_size!r}')
        if self.dedupe not in ("auto", True, False):
            raise OptionError(f'dedupe: expected "auto", True or False, got {self.dedupe!r}')
        if self.on_nan not in ("raise", "skip"):
            raise OptionError(f'on_nan: expected "raise" or "skip", got {self.on_nan!r}')
        for name in ("max_batch", "max_queries"):
            value = getattr(self, name)
            if value is not None and not is_count(value):
                raise OptionError(f"{name}: expected a positive integer or None, got {value!r}")
        if not is_count(self.retries) and (self.retries != 0 or isinstance(self.retries, (bool, float))):
            raise OptionError(f"retries: expected a whole number of at least 0, got {self.retries!r}")
        wait: Any = self.retry_wait
        if isinstance(wait, bool) or not isinstance(wait, (int, float, np.number)) or not 0 <= wait < np.inf:
            raise OptionError(f"retry_wait: expected seconds, at least 0, got {wait!r}")
        kinds: Any = self.retry_on if isinstance(self.retry_on, tuple) else (self.retry_on,)
        if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
            raise OptionError(f"retry_on: expected a tuple of exception classes, got {self.retry_on!r}")
        if not isinstance(self.controls, (bool, np.bool_)):
            raise OptionError(f"controls: expected True or False, got {self.controls!r}")

    def start(
        self,
        model: Model,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        job: str = "",
        about: dict[str, Any] | None = None,
        progress: bool | None = None,
    ) -> Run:
        """Begin a job.

        Args:
            model: what is called.
            checkpoint: path of the log of answered batches; None keeps none.
            job: identifies the job in the checkpoint.
            about: readable facts of the job, for the checkpoint's messages.
            progress: show a progress bar; None and False show none.

        Returns:
            The run; use it in a ``with`` statement.
        """
        bar = None
        if progress:
            from tqdm.auto import tqdm

            bar = tqdm(unit=" rows", unit_scale=True, desc=model.name)
        return Run(self, model, Checkpoint(checkpoint, job, about or {}) if checkpoint is not None else None, bar)
