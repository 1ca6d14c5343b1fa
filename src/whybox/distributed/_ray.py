"""Ray: a pool of actors, each with the explainer loaded once, and as much of a GPU as it is given.

Plain actors and no Ray Data pipeline: what travels is a number for a batch of thousands of rows, and Ray Data took three seconds longer to
start and some milliseconds more for every batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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
        """Results as they are finished; an actor gets the next batch when it has finished one.

        An actor that dies is replaced, and the others go on; the batch that it had is reported as lost when all others are done.

        Raises:
            MissingDependencyError: Ray is not installed.
            WorkerLostError: actors died, or could not be started.
        """
        try:
            import ray
        except ImportError:
            raise MissingDependencyError("ray", "ray", 'engine="ray"') from None
        own = not ray.is_initialized()
        if own:
            cpus = None if self.workers is None else max(math.ceil(self.workers * self.num_cpus), 1)
            ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield from self._mapped(ray, fn, batches)
        except ray.exceptions.RayError as error:
            raise WorkerLostError(f"{type(error).__name__}: {error}") from error
        finally:
            if own:
                ray.shutdown()

    def _mapped(self, ray: Any, fn: Callable[[Batch], Any], batches: Batches) -> Iterator[tuple[int, Any]]:
        given = ray.put(fn), ray.put(batches)
        kind = ray.remote(num_cpus=self.num_cpus, num_gpus=self.num_gpus)(Actor)
        pool: list[Any] = []
        calls: dict[Any, tuple[Any, int | None]] = {}  # under way: the actor, and its batch or None while it starts
        waiting, left, lost = iter(batches.numbers), len(batches), None

        def start() -> None:
            pool.append(kind.remote(*given))
            calls[pool[-1].ready.remote()] = pool[-1], None  # one that finds no place on the cluster gets no batch

        try:
            for _ in range(max(min(self._pool(ray), left), 1)):
                start()
            while left and calls:
                done = ray.wait(list(calls))[0][0]
                actor, number = calls.pop(done)
                left -= number is not None
                try:
                    result = ray.get(done)
                except ray.exceptions.RayActorError as error:
                    lost = error
                    if number is not None and left:  # one that could not even start is not tried again
                        pool.remove(actor)
                        start()
                    continue
                if (following := next(waiting, None)) is not None:
                    calls[actor.run.remote(following)] = actor, following
                if number is not None:
                    yield number, result
        finally:
            for actor in pool:
                ray.kill(actor)
        if lost is not None:
            raise lost

    def _pool(self, ray: Any) -> int:
        if self.workers is not None:
            return self.workers
        there = ray.cluster_resources()
        by_cpu = int(there.get("CPU", 1) / max(self.num_cpus, 1e-9)) if self.num_cpus else 1
        return max(min(by_cpu, int(there.get("GPU", 0) / self.num_gpus)) if self.num_gpus else by_cpu, 1)


class Actor:
    """One actor: the function and the data come once."""

    def __init__(self, fn: Callable[[Batch], Any], batches: Batches) -> None:
        self._fn, self._batches = fn, batches

    def ready(self) -> None:
        """Answers when the actor has found its place and started."""

    def run(self, number: int) -> Any:
        """The result of a batch."""
        return self._fn(self._batches[number])
