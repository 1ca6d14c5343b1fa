"""Explanations a CPU second: whybox.LIME beside lime, on the same models and rows, at 5,000 samples.

lime asks 5,000 samples for every row; whybox asks them once for all rows of a call. Every measurement is a process of its own on one
thread, and the libraries take turns.

    python benchmarks/lime_speed.py --rows 100 --repeats 3 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from _measure import CountingModel, conditions, in_fresh_process, reset_peak, resident, save, spread, table
from tabular_speed import data, make_model

SAMPLES = 5000
LIBRARIES = ("lime", "whybox", "whybox, no control variate", "whybox, samples of each row's own")


def explain(library: str, model: Any, train: np.ndarray, x: np.ndarray) -> Any:
    if library == "lime":
        from lime.lime_tabular import LimeTabularExplainer

        explainer = LimeTabularExplainer(train, mode="regression", random_state=0)
        return [explainer.explain_instance(row, model, num_samples=SAMPLES) for row in x]
    import whybox as wb

    control = "none" if "no control" in library else "auto"
    neighborhood = "gaussian" if "own" in library else "bins"
    explainer = wb.LIME(model, train, control=control, neighborhood=neighborhood, min_score=None)
    return explainer.explain(x, budget=SAMPLES, target=0)


def measure(library: str, name: str, rows: int) -> dict[str, float]:
    """In this process: warm up, then explain."""
    warnings.simplefilter("ignore")
    train, _, _, x = data(rows)
    model = make_model(name)
    explain(library, model, train, x[:1])
    counted = CountingModel(model)
    before, began = reset_peak(), time.process_time()
    explain(library, counted, train, x)
    cpu = time.process_time() - began
    return {
        "cpu": cpu,
        "rows_per_second": rows / cpu,
        "model_rows": counted.rows / rows,
        "outside": (cpu - counted.seconds) / rows,
        "memory": resident("VmHWM") - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 100])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=["linear", "histgb"], choices=["linear", "mlp", "forest", "histgb"])
    parser.add_argument("--quick", action="store_true", help="one repetition, the linear model, 1 and 20 rows")
    parser.add_argument("--out")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], options.one[1], int(options.one[2]))))
        return
    if options.quick:
        options.rows, options.repeats, options.models = [1, 20], 1, ["linear"]
    results: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.repeats):
        for name in options.models:
            for rows in options.rows:
                for library in LIBRARIES:
                    found = in_fresh_process(sys.argv[0], ["--one", library, name, str(rows)])
                    results.setdefault(f"{name}/{rows}/{library}", []).append(found)
                    print(name, rows, library, found, file=sys.stderr)
    lines = []
    for key, runs in results.items():
        name, rows, library = key.split("/")
        good = [run for run in runs if "failed" not in run]
        if not good:
            lines.append([name, rows, library, "failed: " + runs[0]["failed"][:60], "", "", ""])
            continue
        columns = [spread([run[field] for run in good]) for field in ("rows_per_second", "outside", "memory")]
        lines.append([name, rows, library, *columns, f"{good[0]['model_rows']:.0f}"])
    head = ["model", "rows", "library", "rows a CPU second", "CPU seconds a row outside of the model", "peak memory above the process, MB"]
    text = table([*head, "model rows a row"], lines)
    packages = ("whybox", "lime", "numpy", "scikit-learn")
    text += (
        "\n\n"
        + conditions(packages, "python benchmarks/lime_speed.py " + " ".join(sys.argv[1:]))
        + " Median (least to most) of the repetitions."
    )
    save("lime_speed", text, {"results": results}, options.out)


if __name__ == "__main__":
    main()
