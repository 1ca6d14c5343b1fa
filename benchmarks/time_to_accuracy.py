"""CPU seconds until the Shapley values of 100 rows are within 5 % of the exact ones: whybox beside shap.

breast_cancer (30 features), scikit-learn GradientBoostingClassifier on the margin, background 100; exact values by interventional TreeSHAP.
For every library the smallest budget of a common grid is sought whose median relative L2 error over the rows is at most 5 % for each of
the seeds; then the whole call is timed at that budget, in a process of its own on one thread. Fitting whybox's surrogate counts.

    python benchmarks/time_to_accuracy.py --rows 100 --repeats 3 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from _measure import CountingModel, conditions, in_fresh_process, save, spread, table

LIBRARIES = ("whybox", "whybox fitted", "shap permutation", "shap kernel")
TURNS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 28, 40)  # coalitions a feature
TARGET, SEEDS = 0.05, 3


def task(rows: int) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    import shap
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:400], order[400:]
    model = GradientBoostingClassifier(random_state=0).fit(x[train], y[train])
    background = x[train[:100]]
    tree = shap.TreeExplainer(model, background, feature_perturbation="interventional", model_output="raw")
    exact = tree.shap_values(x[test], check_additivity=False)
    # TreeSHAP rounds thresholds to float32; rows that thereby fall on the other side of a question have no exact values there
    sound = np.abs(exact.sum(axis=1) + tree.expected_value - model.decision_function(x[test])) < 1e-5
    if sound.sum() < rows:
        raise SystemExit(f"only {sound.sum()} rows have exact values")
    return model.decision_function, x[train], background, x[test][sound][:rows], exact[sound][:rows]


def explain(library: str, model: Any, train: np.ndarray, background: np.ndarray, x: np.ndarray, budget: int, seed: int) -> np.ndarray:
    if library.startswith("whybox"):
        import whybox as wb

        explainer = wb.KernelSHAP(model, background)
        if library == "whybox fitted":
            explainer = explainer.fit(train, seed=seed)
        return explainer.explain(x, budget=budget, seed=seed).values
    import shap

    np.random.seed(seed)  # noqa: NPY002  # shap draws from the global generator
    if library == "shap kernel":
        return shap.KernelExplainer(model, background).shap_values(x, nsamples=budget, l1_reg=0, silent=True)
    masker = shap.maskers.Independent(background, max_samples=len(background))
    return shap.PermutationExplainer(model, masker, seed=seed)(x, max_evals=budget + 1, silent=True).values


def measure(library: str, rows: int) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    model, train, background, x, exact = task(rows)
    d = x.shape[1]
    size = np.linalg.norm(exact, axis=1)

    def error(budget: int, seed: int, part: slice) -> float:
        found = explain(library, model, train, background, x[part], budget, seed)
        return float(np.median(np.linalg.norm(found - exact[part], axis=1) / size[part]))

    few = slice(0, min(rows, 30))  # the search is on fewer rows; the timed call is judged on all
    for turns in TURNS:
        if library == "shap permutation" and turns * d < 2 * d:
            continue
        if all(error(turns * d, seed, few) <= TARGET for seed in range(SEEDS)):
            counted = CountingModel(model)
            began = time.process_time()
            found = explain(library, counted, train, background, x, turns * d, 0)
            cpu = time.process_time() - began
            reached = float(np.median(np.linalg.norm(found - exact, axis=1) / size))
            return {"budget": turns * d, "cpu": cpu, "error": reached, "model_rows": counted.rows, "model_seconds": counted.seconds}
    return {"failed": f"no budget up to {TURNS[-1] * d} reaches {TARGET:.0%}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="20 rows, once")
    parser.add_argument("--out")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    rows, repeats = (20, 1) if options.quick else (options.rows, options.repeats)
    results: dict[str, list[dict[str, Any]]] = {library: [] for library in LIBRARIES}
    for _ in range(repeats):
        for library in LIBRARIES:
            results[library].append(in_fresh_process(sys.argv[0], ["--one", library, str(rows)]))
            print(library, results[library][-1], file=sys.stderr)
    good = {library: [run for run in runs if "failed" not in run] for library, runs in results.items()}
    medians = {library: float(np.median([run["cpu"] for run in runs])) for library, runs in good.items() if runs}
    peer = min((seconds for library, seconds in medians.items() if library.startswith("shap")), default=float("nan"))
    lines = [
        [
            library,
            f"{runs[0]['budget']}",
            spread([run["cpu"] for run in runs]),
            f"{np.median([run['error'] for run in runs]):.3f}",
            f"{runs[0]['model_rows']:,}",
            f"{peer / medians[library]:.2f}",
        ]
        if runs
        else [library, results[library][0]["failed"], "", "", "", ""]
        for library, runs in good.items()
    ]
    head = ["library", "coalitions a row", "CPU seconds", "relative error reached", "model rows", "faster than the best of shap by"]
    text = table(head, lines)
    packages = ("whybox", "shap", "numpy", "scikit-learn")
    text += (
        "\n\n"
        + conditions(packages, "python benchmarks/time_to_accuracy.py " + " ".join(sys.argv[1:]))
        + f" {rows} rows, {repeats} repeats, seeds 0 to 2."
    )
    save("time_to_accuracy", text, results, options.out)


if __name__ == "__main__":
    main()
