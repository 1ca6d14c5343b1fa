"""What the benchmarks share: one process a measurement, threads fixed, CPU seconds, peak memory, and tables with their conditions."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1")


def in_fresh_process(script: str, arguments: Sequence[str], timeout: float = 1800) -> Any:
    """Run a script of this folder in a process of its own, on one thread, and read the JSON of its last line."""
    command, environment = [sys.executable, script, *arguments], {**os.environ, **THREADS}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {timeout:.0f} s"}
    if done.returncode != 0:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def own_seconds(model: Callable[[Any], Any], rows: Any, batch: int) -> float:
    """CPU seconds of the model alone for these rows, in batches of a size."""
    began = time.process_time()
    for start in range(0, len(rows), batch):
        model(rows[start : start + batch])
    return time.process_time() - began


def reset_peak() -> float:
    """Forget the peak of resident memory so far (Linux); returns resident megabytes now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return resident()


def resident(field: str = "VmRSS") -> float:
    """Resident megabytes now, or (``VmHWM``) at the peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) / 1024


class CountingModel:
    """Counts rows, calls and CPU seconds of a predict function."""

    def __init__(self, predict: Callable[[Any], Any]) -> None:
        self._fn, self.rows, self.calls, self.seconds = predict, 0, 0, 0.0

    def __call__(self, rows: Any) -> Any:
        began = time.process_time()
        out = self._fn(rows)
        self.seconds += time.process_time() - began
        self.rows += len(rows)
        self.calls += 1
        return out


def spread(numbers: Sequence[float], digits: int = 3) -> str:
    """Median (least to most)."""
    return f"{statistics.median(numbers):.{digits}g} ({min(numbers):.{digits}g} to {max(numbers):.{digits}g})"


def conditions(packages: Sequence[str], command: str) -> str:
    """One paragraph: command, machine, versions."""
    model = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor())
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages if _there(name))
    return f"Command: `{command}`. {model}, {os.cpu_count()} cores, one thread a process, Python {platform.python_version()}; {versions}."


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _there(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def save(name: str, text: str, data: Any, out: str | None) -> None:
    """Print the table; with ``out``, write NAME.md and NAME.json into that folder."""
    print(text)
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(text + "\n")
        (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
