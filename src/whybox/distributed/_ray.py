"""Ray Data: an actor pool, each actor with the explainer loaded once, and as much of a GPU as it is given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from whybox.distributed._sources import Batch, Batches
from whybox.errors import MissingDependencyError, OptionError, WorkerLostError


@dataclass(frozen=True)
class Ray:
    """Actors of a Ray cluster. A cluster that the program is connected to is used; otherwise one is started on this machine.

    Args:
        workers: actors; None (default) takes one for each CPU of the cluster, or as many as its GPUs allow.
        num_gpus: GPUs of an actor, such as 0.25: four actors share one. Default 0.
        num_cpus: CPUs of an actor. Default 1.

    Raises:
        OptionError: an option is no positive number.

    Example:
        >>> Ray(num_gpus=0.25)
        Ray(workers=None, num_gpus=0.25, num_cpus=1.0)
    """

    workers: int | None = None
    num_gpus: float = 0.0
    num_cpus: float = 1.0

    def __post_init__(self) -> None:
        if self.workers is not None and (isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 1):
            raise OptionError(f"workers: expected a positive whole number or None, got {self.workers!r}")
        for name in ("num_gpus", "num_cpus"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise OptionError(f"{name}: expected a number of at least 0, got {value!r}")

    def map_batches(self, fn: Callable[[Batch], Any], batches: Batches) -> Iterator[tuple[int, Any]]:
        """Results as Ray Data hands them on.

        Raises:
            MissingDependencyError: Ray is not installed.
            WorkerLostError: Ray gave up.
        """
        try:
            import ray
            import ray.data
        except ImportError:
            raise MissingDependencyError("ray", "ray", 'engine="ray"') from None
        own = not ray.is_initialized()
        if own:
            ray.init(num_cpus=self.workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield from self._mapped(ray, fn, batches)
        except ray.exceptions.RayError as error:
            raise WorkerLostError(f"{type(error).__name__}: {error}") from error
        finally:
            if own:
                ray.shutdown()

    def _mapped(self, ray: Any, fn: Callable[[Batch], Any], batches: Batches) -> Iterator[tuple[int, Any]]:
        _quiet(ray)
        numbers = np.array(batches.numbers)
        blocks = ray.data.from_numpy([numbers[i : i + 1] for i in range(len(numbers))])  # one block a batch: any actor takes the next
        workers = max(min(self._pool(ray), len(numbers)), 1)
        mapped = blocks.map_batches(
            Actor,
            fn_constructor_args=(ray.put(fn), ray.put(batches)),
            batch_size=1,  # with GPUs, Ray Data wants a number
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=self.num_cpus,
            **({"num_gpus": self.num_gpus} if self.num_gpus else {}),
        )
        for row in mapped.iter_rows():
            yield int(row["number"]), row["result"]

    def _pool(self, ray: Any) -> int:
        if self.workers is not None:
            return self.workers
        there = ray.cluster_resources()
        by_cpu = int(there.get("CPU", 1) / max(self.num_cpus, 1e-9)) if self.num_cpus else 1
        return max(min(by_cpu, int(there.get("GPU", 0) / self.num_gpus)) if self.num_gpus else by_cpu, 1)


def _quiet(ray: Any) -> None:
    """No bars and no log of Ray Data's own: progress is the job's to show."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


class Actor:
    """One actor: the function and the data are fetched once."""

    def __init__(self, fn: Any, batches: Any) -> None:
        import ray

        self._fn, self._batches = ray.get(fn), ray.get(batches)

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Results of the batches whose numbers are in the block."""
        numbers = [int(number) for number in np.asarray(block["data"]).ravel()]
        results = np.empty(len(numbers), dtype=object)
        for i, number in enumerate(numbers):
            results[i] = self._fn(self._batches[number])
        return {"number": np.array(numbers), "result": results}
