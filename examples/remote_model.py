"""A model behind an HTTP endpoint: the cost before the run, a hard budget, and a run that goes on from what was paid for."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import whybox as wb
from whybox.models import Budget, HTTPModel, JSONRows, Limits
from whybox.testing.model_server import running


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    n = 2 if parser.parse_args().quick else 20
    rng = np.random.default_rng(0)
    x, background = rng.normal(size=(n, 6)), rng.normal(size=(10, 6))

    # A server of our own stands for a paid endpoint: every answer takes 5 ms, and one request in twenty goes wrong in some way.
    # Yours may speak KServe's protocol (models.OpenInference), MLflow's (models.MLflow), or encode= and decode= of your own.
    with (
        running("--latency", "0.005", "--faults", "0.05", "--kinds", "429,500,reset,truncated") as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        cache = Path(folder) / "answers.sqlite"

        def explainer(budget: int | None) -> wb.KernelSHAP:
            model = HTTPModel(
                server.base_url + "/predict",
                JSONRows(),
                rows_per_request=8,
                limits=Limits(concurrency=16, timeout=5.0),
                budget=Budget(requests=budget),
                version="1",  # tells its answers from those of the next version in the cache
            )
            return wb.KernelSHAP(model, background, engine=wb.Engine(cache=cache))

        plan = explainer(None).plan(x, probe=True)
        print(plan)

        try:
            explainer(plan.requests // 2).explain(x)
        except wb.errors.BudgetError as error:
            print(f"stopped: {error}")

        e = explainer(None).explain(x)
        print(f"went on: {e.stats.n_cached:,} answers had been paid for, {e.n_queries:,} rows were sent")
        stats = server.stats()
        wrong = sum(stats["faults"].values())
        print(f"the server saw {stats['requests']:,} requests, {wrong} went wrong, at most {stats['most_in_flight']} at once")
    print(e)
    assert e.stats.n_cached > 0


if __name__ == "__main__":
    main()
