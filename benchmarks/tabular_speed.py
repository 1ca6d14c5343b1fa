"""Rows a second, CPU over the model's own, and peak memory: whybox beside shap, shapiq, captum, fastshap and lime.

Every measurement is a process of its own on one thread; the libraries take turns within a repetition, so that a change of the machine's
speed meets all of them. d = 20, background 100, 256 coalitions a row (fastshap has no such setting: it takes all coalitions of sizes 1, 2
and their complements, 420; lime takes 5,000 samples).

    python benchmarks/tabular_speed.py --rows 100 --repeats 3 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
import warnings
from typing import Any

import numpy as np
from _measure import CountingModel, conditions, in_fresh_process, own_seconds, reset_peak, resident, save, spread, table

D, BACKGROUND, COALITIONS = 20, 100, 256
LEAST = "whybox least squares"
LIBRARIES = (
    "whybox",
    LEAST,
    "shap kernel",
    "shap permutation",
    "shap sampling",
    "shapiq",
    "captum kernel",
    "captum sampling",
    "fastshap",
    "lime",
)
MODELS = ("linear", "mlp", "forest", "histgb")
LIMIT = 600.0
ALONE = 500_000  # rows that the model gets alone, before and after


def data(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(2000, D))
    y = train[:, 0] * train[:, 1] + np.sin(2 * train[:, 2]) + train[:, 3:8].sum(axis=1) * 0.5 + (train[:, 8] > 0) * train[:, 9]
    return train, y, train[:BACKGROUND].copy(), rng.normal(size=(rows, D))


def make_model(name: str) -> Any:
    train, y, _, _ = data(1)
    if name == "linear":
        weights = np.linspace(-1, 1, D)
        return lambda rows: rows @ weights
    if name == "mlp":
        import torch

        torch.manual_seed(0)
        torch.set_num_threads(1)
        net = torch.nn.Sequential(
            torch.nn.Linear(D, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1)
        )

        def predict(rows: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return net(torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)))[:, 0].numpy()

        return predict
    if name == "forest":
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(100, max_depth=8, random_state=0, n_jobs=1).fit(train, y).predict
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(random_state=0).fit(train, y).predict


def explain(library: str, model: Any, background: np.ndarray, x: np.ndarray, batch: int) -> Any:
    """The library's own way of explaining many rows."""
    if library in ("whybox", LEAST):
        import whybox as wb

        estimator = "least squares" if library == LEAST else "auto"
        return wb.KernelSHAP(model, background, estimator=estimator).explain(x, budget=COALITIONS)
    if library.startswith("shap"):
        import shap
    if library == "shap kernel":
        return shap.KernelExplainer(model, background).shap_values(x, nsamples=COALITIONS, l1_reg=0, silent=True)
    if library == "shap permutation":
        masker = shap.maskers.Independent(background, max_samples=BACKGROUND)
        return shap.PermutationExplainer(model, masker, seed=0)(x, max_evals=COALITIONS, silent=True)
    if library == "shap sampling":
        return shap.SamplingExplainer(model, background).shap_values(x, nsamples=COALITIONS * BACKGROUND, silent=True)
    if library == "shapiq":
        import shapiq

        explainer = shapiq.TabularExplainer(model, background, imputer="marginal", index="SV", max_order=1, sample_size=BACKGROUND)
        return explainer.explain_X(x, budget=COALITIONS)
    if library.startswith("captum"):
        return _captum(library, model, background, x, batch)
    if library == "fastshap":
        import pandas as pd
        from fastshap import KernelExplainer

        columns = [f"x{j}" for j in range(D)]
        explainer = KernelExplainer(lambda rows: model(np.asarray(rows)), pd.DataFrame(background, columns=columns))
        return explainer.calculate_shap_values(pd.DataFrame(x, columns=columns), n_coalition_sizes=2, verbose=False)
    from lime.lime_tabular import LimeTabularExplainer

    explainer = LimeTabularExplainer(data(1)[0], mode="regression", random_state=0)
    return [explainer.explain_instance(row, model, num_samples=5000) for row in x]


def _captum(library: str, model: Any, background: np.ndarray, x: np.ndarray, batch: int) -> Any:
    """captum knows one baseline a row: the game over the background is written as a function of the mask, many masks a call."""
    import torch
    from captum.attr import KernelShap, ShapleyValueSampling

    base = torch.from_numpy(background)
    values = []
    for row in torch.from_numpy(x):

        def game(masks: torch.Tensor, row: torch.Tensor = row) -> torch.Tensor:
            rows = torch.where(masks[:, None, :] > 0.5, row, base).reshape(-1, D)
            return torch.from_numpy(np.asarray(model(rows.numpy()), dtype=np.float64).reshape(-1, BACKGROUND).mean(1))

        ones = torch.ones(1, D, dtype=torch.float64)
        together = max(batch // BACKGROUND, 1)
        if library == "captum kernel":
            found = KernelShap(game).attribute(ones, baselines=0.0, n_samples=COALITIONS, perturbations_per_eval=together)
        else:
            turns = max(round(COALITIONS / D), 1)
            found = ShapleyValueSampling(game).attribute(ones, baselines=0.0, n_samples=turns, perturbations_per_eval=min(together, D))
        values.append(found.numpy())
    return np.concatenate(values)


def job_rows(background: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rows in the order of the job: branch prediction makes trees twice as fast on them as on shuffled rows."""
    codes = np.random.default_rng(1).random(((1 << 14) // BACKGROUND, D)) < 0.5
    return np.where(codes[:, None, :], x[0], background).reshape(-1, D)


def measure(library: str, name: str, rows: int) -> dict[str, float]:
    """In this process: find the model's best batch, warm up, then explain, with the model alone before and after."""
    warnings.simplefilter("ignore")
    _, _, background, x = data(rows)
    model = make_model(name)
    pool = job_rows(background, x)
    batch = min((2**power for power in range(8, 15)), key=lambda size: min(own_seconds(model, pool, size) for _ in range(2)))
    explain(library, model, background, x[:2], batch)
    times = max(min(rows * COALITIONS * BACKGROUND // 2, ALONE) // len(pool), 1)  # a mean, as that of the job is: not its luckiest moment
    alone = [own_seconds(model, pool, batch) for _ in range(times)]
    counted = CountingModel(model)
    before = reset_peak()
    began, wall = time.process_time(), time.perf_counter()
    explain(library, counted, background, x, batch)
    cpu, wall = time.process_time() - began, time.perf_counter() - wall
    peak = resident("VmHWM") - before
    alone += [own_seconds(model, pool, batch) for _ in range(times)]
    own = float(np.mean(alone)) / len(pool)
    return {
        "cpu": cpu,
        "wall": wall,
        "rows_per_second": rows / cpu,
        "model_rows": counted.rows / rows,
        "calls": counted.calls,
        "model_seconds": counted.seconds,
        "own_best": own * counted.rows,
        "over": cpu / (own * counted.rows),
        "memory": peak,
        "batch": batch,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS)
    parser.add_argument("--libraries", nargs="*", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--memory-rows", type=int, nargs="*", default=[], help="whybox alone: peak memory for these numbers of rows")
    parser.add_argument("--out")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], options.one[1], int(options.one[2]))))
        return
    results: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.repeats):
        for name in options.models:
            for library in options.libraries:
                slow = (library in ("shap sampling", "captum kernel", "captum sampling", "shapiq", "lime")) and name != "linear"
                rows = min(options.rows, 5) if slow else options.rows
                found = in_fresh_process(sys.argv[0], ["--one", library, name, str(rows)], timeout=LIMIT)
                results.setdefault(f"{name}/{library}", []).append({"rows": rows, **found})
                print(name, library, found, file=sys.stderr)
    lines = []
    for key, runs in results.items():
        name, library = key.split("/")
        good = [run for run in runs if "failed" not in run]
        if not good:
            lines.append([name, library, "failed: " + runs[0]["failed"][:60], "", "", ""])
            continue
        lines.append(
            [
                name,
                library,
                spread([run["rows_per_second"] for run in good]),
                spread([run["over"] for run in good]),
                spread([run["memory"] for run in good]),
                f"{good[0]['model_rows']:.0f}",
            ]
        )
    head = [
        "model",
        "library",
        "rows a CPU second",
        "CPU over the model's own in its best batch",
        "peak memory above the process, MB",
        "model rows a row",
    ]
    text = table(head, lines)
    memory = {n: in_fresh_process(sys.argv[0], ["--one", "whybox", "linear", str(n)]) for n in options.memory_rows}
    if memory:
        text += "\n\n" + table(
            ["rows explained", "whybox: peak memory above the process, MB"], [[str(n), f"{run['memory']:.0f}"] for n, run in memory.items()]
        )
    packages = ("whybox", "shap", "shapiq", "captum", "fastshap", "lime", "numpy", "scikit-learn", "torch")
    text += (
        "\n\n"
        + conditions(packages, "python benchmarks/tabular_speed.py " + shlex.join(sys.argv[1:]))
        + " Median (least to most) of the repetitions."
    )
    save("tabular_speed", text, {"results": results, "memory": memory}, options.out)


if __name__ == "__main__":
    main()
