"""explain_dataset: what a second process gains, what Ray costs over local processes on the same cores, and whether memory stays flat.

``speedup``: a model of Python code that holds the interpreter's lock, explained by one process and by two.
``engines``: rows of 20 features in Parquet, KernelSHAP with 64 coalitions and 10 background rows, on two processes: local against Ray
(and ``--engines spark dask``), the shards compared byte by byte. A cluster is there before the clock starts, as it is in real use; what
starting one takes is told beside it.
``memory``: peak of the driver and of the largest worker, for a hundredth of the rows, a tenth and all, on the same engines.

    python benchmarks/dataset_scale.py --rows 1000000 --repeats 3 --out benchmarks/results
    python benchmarks/dataset_scale.py --quick
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from _measure import conditions, in_fresh_process, resident, save, spread, table

D, BACKGROUND, COALITIONS, WORKERS, BATCH = 20, 10, 64, 2, 5000


def python_model(x: np.ndarray) -> np.ndarray:
    """Holds the interpreter's lock: no array operation at all."""
    return np.array([sum(a * b if a > b else a - b for a, b in pairwise(row)) for row in x.tolist()])


def linear_model(x: np.ndarray) -> np.ndarray:
    return x @ np.linspace(-1.0, 1.0, D)


def explainer(model: Any) -> Any:
    import whybox as wb

    background = np.random.default_rng(1).normal(size=(BACKGROUND, D))
    return wb.KernelSHAP(wb.as_model(model, version="1"), background)


def write_rows(path: Path, rows: int) -> None:
    import pandas as pd

    for i, start in enumerate(range(0, rows, 100_000)):
        count = min(100_000, rows - start)
        values = np.random.default_rng(i).normal(size=(count, D))
        frame = pd.DataFrame(values, columns=[f"f{j}" for j in range(D)])
        frame.to_parquet(path / f"part-{i:04d}.parquet", row_group_size=50_000, index=False)


def frames_explainer() -> Any:
    import pandas as pd

    import whybox as wb

    background = pd.DataFrame(np.random.default_rng(1).normal(size=(BACKGROUND, D)), columns=[f"f{j}" for j in range(D)])
    return wb.KernelSHAP(wb.as_model(lambda x: linear_model(np.asarray(x)), version="1"), background)


def run_speedup(workers: int, rows: int) -> dict[str, Any]:
    import whybox as wb

    x = np.random.default_rng(0).normal(size=(rows, D))
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        found = wb.explain_dataset(
            explainer(python_model), x, f"{out}/out", workers=workers, batch_size=max(rows // 40, 1), budget=COALITIONS
        )
        return {"seconds": time.perf_counter() - began, "queries": found.stats.n_queries, "digest": digest(found)}


def run_engine(engine: str, data: str) -> dict[str, Any]:
    import whybox as wb

    began = time.perf_counter()
    if engine == "ray":
        import ray

        ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    elif engine == "spark":
        from pyspark.sql import SparkSession

        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        SparkSession.builder.master(f"local[{WORKERS}]").config("spark.ui.enabled", "false").getOrCreate()
    elif engine == "dask":
        import distributed

        distributed.Client(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None)
    started = time.perf_counter() - began if engine != "local" else 0.0
    with tempfile.TemporaryDirectory() as out:
        with peaks_of_workers(Path(out) / "out" / "log") as peaks:
            began = time.perf_counter()
            found = wb.explain_dataset(
                frames_explainer(), data, f"{out}/out", engine=engine, workers=WORKERS, batch_size=BATCH, budget=COALITIONS
            )
            seconds = time.perf_counter() - began
            driver = resident("VmHWM")
        rows = {"rows": len(found), "digest": digest(found), "driver": driver, "worker": max(peaks.values()), "workers": len(peaks)}
        return {"seconds": seconds, "start": started, **rows}


@contextmanager
def peaks_of_workers(logs: Path) -> Iterator[dict[int, float]]:
    """Peak resident megabytes of every process that writes a log of the job, looked at ten times a second (Linux)."""
    peaks: dict[int, float] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for pid in {int(log.name.rsplit("-", 2)[1]) for log in logs.glob("*.jsonl")}:
                status = Path(f"/proc/{pid}/status")
                lines = status.read_text().splitlines() if status.exists() else []
                for line in (line for line in lines if line.startswith("VmHWM")):
                    peaks[pid] = int(line.split()[1]) / 1024

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield peaks
    finally:
        over.set()
        watch.join()


def digest(found: Any) -> str:
    import hashlib

    found.verify()
    return hashlib.sha256("".join(shard["sha256"] for shard in found.manifest["shards"]).encode()).hexdigest()


def measure(*arguments: str) -> Any:
    found = in_fresh_process(__file__, ["--one", *arguments], timeout=3600)
    if "failed" in found:
        raise SystemExit(f"{arguments}: {found['failed']}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the engines' part")
    parser.add_argument("--slow-rows", type=int, default=2400, help="of the speedup's part: some 20 ms each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engines", nargs="*", default=["ray"], choices=["ray", "spark", "dask"])
    parser.add_argument("--parts", nargs="*", default=["speedup", "engines", "memory"], choices=["speedup", "engines", "memory"])
    parser.add_argument("--quick", action="store_true", help="20,000 rows, once")
    parser.add_argument("--out", help="folder for dataset_scale.md and .json")
    parser.add_argument("--one", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.one:
        part, *rest = options.one
        made = run_speedup(int(rest[0]), int(rest[1])) if part == "speedup" else run_engine(rest[0], rest[1])
        print("\n" + json.dumps(made))
        sys.stdout.flush()
        return
    if options.quick:
        options.rows, options.slow_rows, options.repeats = 20_000, 200, 1
    lines, data = [], dict[str, Any]()
    if "speedup" in options.parts:
        times: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
        for _ in range(options.repeats):
            for workers, found in times.items():
                found.append(measure("speedup", str(workers), str(options.slow_rows)))
        alone, both = ([run["seconds"] for run in times[workers]] for workers in (1, 2))
        assert len({run["digest"] for runs in times.values() for run in runs}) == 1, "shards differ"
        rows = [["1", spread(alone), "1"], ["2", spread(both), f"{statistics.median(alone) / statistics.median(both):.2f}"]]
        lines += ["", f"A model of Python code, {options.slow_rows:,} rows. Shards are equal byte by byte.", ""]
        lines += [table(["processes", "seconds", "speed-up"], rows)]
        data["speedup"] = times
    with tempfile.TemporaryDirectory() as folder:
        parts = {options.rows // share: Path(folder) / str(share) for share in (100, 10, 1)}
        for count, path in parts.items():
            path.mkdir()
            write_rows(path, count)
        names = ["local", *options.engines]
        if "engines" in options.parts:
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
            for _ in range(options.repeats):
                for name in names:
                    runs[name].append(measure("engine", name, str(parts[options.rows])))
            assert len({run["digest"] for found in runs.values() for run in found}) == 1, "shards differ"
            base = statistics.median(run["seconds"] for run in runs["local"])
            rows = []
            for name in names:
                seconds = [run["seconds"] for run in runs[name]]
                over = f"{100 * (statistics.median(seconds) / base - 1):+.0f} %"
                rows.append([name, spread(seconds), over, spread([run["start"] for run in runs[name]])])
            lines += ["", f"{options.rows:,} rows of {D} features, {WORKERS} processes. Shards are equal byte by byte.", ""]
            lines += [table(["engine", "seconds", "over local", "seconds to start a cluster, not counted"], rows)]
            data["engines"] = runs
        if "memory" in options.parts:
            peaks = {name: {count: measure("engine", name, str(path)) for count, path in parts.items()} for name in names}
            rows = [
                [name, f"{run['rows']:,}", f"{run['driver']:.0f}", f"{run['worker']:.0f}"] for name in names for run in peaks[name].values()
            ]
            lines += ["", "Peak resident memory.", "", table(["engine", "rows", "driver, MB", "largest worker, MB"], rows)]
            data["memory"] = peaks
    command = "python benchmarks/dataset_scale.py " + " ".join(sys.argv[1:])
    text = "\n".join(["# dataset_scale", "", conditions(["whybox", "numpy", "pandas", "pyarrow", "ray", "joblib"], command), *lines])
    save("dataset_scale", text, data, options.out)


if __name__ == "__main__":
    main()
