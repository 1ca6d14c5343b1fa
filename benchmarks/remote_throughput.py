"""How much of an endpoint's speed reaches the user: requests a second of an HTTP model against concurrency / latency.

The server is a process of its own on loopback, each answer takes 20 ms there, and 16 requests are in flight: 800 a second at best, if
client and server cost nothing. "Of that" compares with what the server took by its own clock. Needs two idle cores, one for each.

    python benchmarks/remote_throughput.py [--quick]
"""

from __future__ import annotations

import argparse
import resource
import time
import tracemalloc

import numpy as np

import whybox as wb
from whybox.models import HTTPModel, JSONRows, Limits, MLflow, OpenInference
from whybox.testing.model_server import running

DIALECTS = {"/predict": JSONRows(), "/v2/models/m/infer": OpenInference(), "/invocations": MLflow()}


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the requests")
    parser.add_argument("--latency", type=float, default=0.02)
    parser.add_argument("--concurrency", type=int, default=16)
    given = parser.parse_args()
    requests = 4_000 if given.quick else 16_000
    limits = Limits(concurrency=given.concurrency)
    rng = np.random.default_rng(0)
    best = given.concurrency / given.latency

    print(f"latency {given.latency * 1e3:g} ms, {given.concurrency} in flight: at best {best:.0f} requests a second")
    columns = (
        ("rows/request", 14),
        ("requests", 10),
        ("a second", 10),
        ("of ideal", 10),
        ("server took", 13),
        ("of that", 9),
        ("client CPU", 14),
    )
    print(" " * 32 + "".join(f"{name:>{width}}" for name, width in columns))
    with running("--latency", str(given.latency)) as server:
        jobs = [(path, 1) for path in DIALECTS] + [("/predict", 32)]
        for path, rows_per_request in jobs:
            model = HTTPModel(server.base_url + path, DIALECTS[path], rows_per_request=rows_per_request, limits=limits)
            # exact values of 10 features: 1,022 coalitions over the background, through the engine as users go
            background = rng.normal(size=(1, 10))
            x = rng.normal(size=(max(requests * rows_per_request // 1022, 1), 10))
            explainer = wb.ExactSHAP(model, background, engine=wb.Engine(dedupe=False))
            explainer.explain(x[:1])  # imports and caches
            stats, before, used = server.stats(), model.spent.requests, cpu()
            began = time.perf_counter()
            explainer.explain(x)
            seconds, used = time.perf_counter() - began, cpu() - used
            sent, now = model.spent.requests - before, server.stats()
            took = (now["seconds"] - stats["seconds"]) / (now["requests"] - stats["requests"])
            print(
                f"{'ExactSHAP ' + path:32}{rows_per_request:>14}{sent:>10,}{sent / seconds:>10.0f}{sent / seconds / best:>10.1%}"
                f"{took * 1e3:>10.1f} ms{sent / seconds * took / given.concurrency:>9.1%}{used / sent * 1e3:>11.2f} ms"
            )
        tracemalloc.start()
        peaks = []
        for n in (requests // 8, requests // 2):
            tracemalloc.reset_peak()
            HTTPModel(server.base_url + "/predict", JSONRows(), rows_per_request=1, limits=limits)(rng.normal(size=(n, 10)))
            peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        few, many = requests // 8, requests // 2
        print(f"peak memory of Python objects: {peaks[0] / 1e6:.2f} MB for {few:,} requests, {peaks[1] / 1e6:.2f} MB for {many:,}")


if __name__ == "__main__":
    main()
