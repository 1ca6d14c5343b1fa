"""What a stretch of work took: on the wall, of the CPU, and whether the process waited or was kept from working."""

from __future__ import annotations

import time
from dataclasses import dataclass

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # the absence of a module

_WORKED = 0.95  # of the wall seconds: the rest is too short for a wait that counts, such as for another thread's turn of the interpreter
_WAITS = 0.2  # where the system does not say: a process that had less of the time than this was waiting


@dataclass(frozen=True)
class Spent:
    """A stretch of work.

    Args:
        wall: seconds that passed.
        cpu: CPU seconds of the process, all its threads together.
        waited: whether it gave the processor up of its own accord: for another machine, a device or a thread, and not because other
            processes had their turn.
    """

    wall: float
    cpu: float
    waited: bool


class Stopwatch:
    """Runs from when it is made.

    Example:
        >>> 0 <= Stopwatch().read().cpu < 1
        True
    """

    def __init__(self) -> None:
        self._given_up = _given_up()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def read(self) -> Spent:
        """What was spent so far."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        waited = cpu < _WAITS * wall if resource is None else _given_up() > self._given_up and cpu < _WORKED * wall
        return Spent(wall, cpu, waited)


def _given_up() -> int:
    """Of the calling thread where the system tells (Linux): other threads of the process, such as a notebook's, wait all the time."""
    return 0 if resource is None else resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)).ru_nvcsw
