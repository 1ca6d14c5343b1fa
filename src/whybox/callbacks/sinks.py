"""Where numbers of a training go: MLflow and TensorBoard, each imported when it is first used."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from whybox.errors import MissingDependencyError

_NOT_IN_MLFLOW = re.compile(r"[^\w\-. /]")  # what a metric's name may not hold


@dataclass
class MLflowSink:
    """Logs numbers as metrics of the active MLflow run.

    The extra ``whybox[mlflow]`` brings MLflow's client, for a tracking server; runs in a database on disk need the whole ``mlflow``.

    Args:
        client: an object with ``log_metrics(metrics, step=...)``; None (default) takes the ``mlflow`` module.

    Raises:
        MissingDependencyError: mlflow is not installed.

    Example:
        >>> class Recorder:
        ...     def log_metrics(self, metrics, step):
        ...         print(step, metrics)
        >>> MLflowSink(Recorder())(3, {"whybox/drift": 0.25})
        3 {'whybox/drift': 0.25}
    """

    client: Any = None

    def __post_init__(self) -> None:
        if self.client is None and not _installed("mlflow"):
            raise MissingDependencyError("mlflow", "mlflow", "MLflowSink")

    def __call__(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log one step's numbers."""
        if self.client is None:
            import mlflow

            self.client = mlflow
        self.client.log_metrics({_NOT_IN_MLFLOW.sub("_", name): value for name, value in scalars.items()}, step=step)


@dataclass
class TensorBoardSink:
    """Writes numbers as scalars for TensorBoard.

    Args:
        writer: a ``SummaryWriter`` of torch.utils.tensorboard or tensorboardX, or a folder for a new one.

    Raises:
        MissingDependencyError: a folder was given and tensorboard is not installed.

    Example:
        >>> class Writer:
        ...     def add_scalar(self, tag, value, step):
        ...         print(tag, value, step)
        >>> TensorBoardSink(Writer())(3, {"whybox/drift": 0.25})
        whybox/drift 0.25 3
    """

    writer: Any
    _opened: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.writer, (str, os.PathLike)) and not (_installed("torch") and _installed("tensorboard")):
            raise MissingDependencyError("tensorboard", "tensorboard", "TensorBoardSink with a folder")

    def __call__(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write one step's numbers."""
        if self._opened is None:
            self._opened = _writer(self.writer) if isinstance(self.writer, (str, os.PathLike)) else self.writer
        for name, value in scalars.items():
            self._opened.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close a writer that was opened here; one that was handed in stays open."""
        if self._opened is not None and self._opened is not self.writer:
            self._opened.close()
            self._opened = None


def _writer(folder: str | os.PathLike[str]) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(os.fspath(folder))


def _installed(package: str) -> bool:
    """Whether a package could be imported: told when a sink is made, and not when the first epoch is over."""
    return sys.modules.get(package, package) is not None and (package in sys.modules or find_spec(package) is not None)
