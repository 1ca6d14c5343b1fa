"""How much LIME's answer changes with the seed, at the same number of model queries: whybox beside lime.

For every row, the five features with the largest weights are found with ten seeds; the table shows how much these sets overlap (Jaccard
index, mean over pairs of seeds). "a row alone" gives each row as many queries as lime does. "a job" explains all rows in one call, with as
many queries as lime needs for these rows: they share their samples, because lime's neighbourhood does not depend on the row. The error is
the distance from LIME's own limit (the definition with very many samples), relative to its length; coverage is the share of 95 % intervals
that hold the limit.

    python benchmarks/lime_stability.py --rows 20 --seeds 10 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from itertools import combinations
from typing import Any

import numpy as np
from _measure import THREADS, CountingModel, conditions, save, table
from threadpoolctl import threadpool_limits

TOP = 5
LIMIT_SAMPLES, LIMIT_PARTS = 200_000, 5


def make_model(name: str, rows: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Predict function of one output, training rows, rows to explain."""
    from sklearn.datasets import load_breast_cancer, load_diabetes
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
    from sklearn.model_selection import train_test_split

    if name == "synthetic":
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2000, 60))
        y = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3:12].sum(axis=1) * 0.5 + (x[:, 12] > 0) * x[:, 13]
    else:
        x, y = {"breast_cancer": load_breast_cancer, "diabetes": load_diabetes}[name](return_X_y=True)
    train, test, goal, _ = train_test_split(x, y, random_state=0)
    kind = GradientBoostingClassifier if name == "breast_cancer" else GradientBoostingRegressor
    model = kind(random_state=0).fit(train, goal)
    chosen = np.random.default_rng(0).choice(len(test), rows, replace=False)
    predict = model.predict if name != "breast_cancer" else lambda part: model.predict_proba(part)[:, 1]
    return predict, train, test[chosen]


def true_limit(predict: Any, train: np.ndarray, x: np.ndarray) -> np.ndarray:
    """LIME's weights (n, d) with a million samples, by the independence of its features."""
    from whybox.models import as_model
    from whybox.samplers.neighborhood import unit_points
    from whybox.solvers.control import limit
    from whybox.spaces.neighborhood import Neighborhood
    from whybox.typing import Ask

    bound = Neighborhood(train).bind(x, as_model(predict))
    parts = []
    for part in range(LIMIT_PARTS):
        codes = unit_points(LIMIT_SAMPLES, x.shape[1], np.random.default_rng(10_000 + part))
        y = np.concatenate(
            [predict(bound.compose(Ask(np.array([0]), codes), s, min(s + 20_000, LIMIT_SAMPLES))) for s in range(0, LIMIT_SAMPLES, 20_000)]
        )
        points = bound.points
        parts.append(limit(points.level_of(codes), y[:, None], points.shares, points.x_levels, points.width)[0][..., 0])
    return np.mean(parts, axis=0)


def lime_tops(predict: Any, train: np.ndarray, x: np.ndarray, queries: int, seed: int) -> dict[str, Any]:
    """lime as its users call it: num_features=5, which selects features forwards."""
    from lime.lime_tabular import LimeTabularExplainer

    explainer = LimeTabularExplainer(train, mode="regression", random_state=seed)
    found = [explainer.explain_instance(row, predict, num_samples=queries, num_features=TOP) for row in x]
    return {"tops": [{j for j, _ in e.as_map()[1]} for e in found], "score": [float(e.score) for e in found]}


def ours(predict: Any, train: np.ndarray, x: np.ndarray, queries: int, seed: int, control: str, sampler: str) -> dict[str, Any]:
    """One call; a row's answer has the same bits as alone, so a call of all rows stands for as many calls of one row."""
    import whybox as wb

    explainer = wb.LIME(predict, train, control=control, sampler=sampler, engine=wb.Engine(controls=False), min_score=None)
    e = explainer.explain(x, seed=seed, target=0, budget=queries)
    values = e.values
    tops = [set(np.argsort(-np.abs(row), kind="stable")[:TOP].tolist()) for row in values]
    return {"tops": tops, "score": e.score.tolist(), "values": values, "std_error": e.std_error}


def stability(tops: list[list[set[int]]]) -> list[float]:
    """Mean Jaccard index over pairs of seeds, for every row."""
    return [float(np.mean([len(a & b) / len(a | b) for a, b in combinations(sets, 2)])) for sets in zip(*tops, strict=True)]


def run(name: str, settings: argparse.Namespace) -> list[dict[str, Any]]:
    predict, train, x = make_model(name, settings.rows)
    truth = true_limit(predict, train, x)
    size = np.linalg.norm(truth, axis=1)
    results = []
    for queries in settings.queries:
        alone, job = queries - 1, queries * len(x) - len(x)
        methods: dict[str, Any] = {
            "lime": (lime_tops, queries, ()),
            "whybox, a row alone": (ours, alone, ("auto", "latin-hypercube")),
            "whybox, a row alone, no control variate": (ours, alone, ("none", "latin-hypercube")),
            "whybox, a row alone, neither control variate nor design": (ours, alone, ("none", "monte-carlo")),
            "whybox, a job": (ours, job, ("auto", "latin-hypercube")),
            "whybox, a job, no control variate": (ours, job, ("none", "latin-hypercube")),
        }
        for method, (explain, samples, more) in methods.items():
            counted, began = CountingModel(predict), time.process_time()
            found = [explain(counted, train, x, samples, seed, *more) for seed in range(settings.seeds)]
            seconds = (time.process_time() - began) / settings.seeds
            overlap = stability([f["tops"] for f in found])
            result: dict[str, Any] = {
                "model": name,
                "queries": queries,
                "method": method,
                "jaccard": overlap,
                "score": float(np.median([f["score"] for f in found])),
                "cpu_a_call": seconds,
                "model_rows_a_call": counted.rows / settings.seeds,
            }
            if "values" in found[0]:
                values, error = np.array([f["values"] for f in found]), np.array([f["std_error"] for f in found])
                result["error"] = (np.linalg.norm(values - truth, axis=2) / size).mean(axis=0).tolist()
                result["coverage"] = float((np.abs(values - truth) <= 1.96 * error).mean())
            results.append(result)
            print(name, queries, method, round(float(np.median(overlap)), 3), round(seconds, 2), file=sys.stderr, flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--queries", type=int, nargs="*", default=[500, 5000])
    parser.add_argument("--models", nargs="*", default=["breast_cancer"], choices=["breast_cancer", "diabetes", "synthetic"])
    parser.add_argument("--quick", action="store_true", help="4 rows, 3 seeds, 500 queries")
    parser.add_argument("--out")
    settings = parser.parse_args()
    if settings.quick:
        settings.rows, settings.seeds, settings.queries = 4, 3, [500]
    warnings.simplefilter("ignore")
    with threadpool_limits(int(THREADS["OMP_NUM_THREADS"])):
        results = [result for name in settings.models for result in run(name, settings)]
    lines = []
    for r in results:
        low, middle, high = np.percentile(r["jaccard"], [25, 50, 75])
        lines.append(
            [
                r["model"],
                str(r["queries"]),
                r["method"],
                f"{middle:.2f} ({low:.2f} to {high:.2f})",
                f"{np.mean(r['jaccard']):.2f}",
                f"{np.median(r['error']):.3f}" if "error" in r else "",
                f"{r['coverage']:.1%}" if "coverage" in r else "",
                f"{r['score']:.2f}",
                f"{r['model_rows_a_call']:.0f}",
                f"{r['cpu_a_call']:.2f}",
            ]
        )
    head = ["model", "queries a row", "method", f"top-{TOP} Jaccard, median row (quartiles)", "mean row", "error", "coverage", "R2"]
    head += [f"model rows for {settings.rows} rows", "CPU seconds"]
    command = "python benchmarks/lime_stability.py " + " ".join(sys.argv[1:])
    text = table(head, lines) + "\n\n" + conditions(("whybox", "lime", "numpy", "scikit-learn"), command)
    text += (
        f" Seeds 0 to {settings.seeds - 1}, {settings.rows} rows. A row alone: all rows in one call, with the samples one row would have."
    )
    save("lime_stability", text, {"results": results, "rows": settings.rows, "seeds": settings.seeds}, settings.out)


if __name__ == "__main__":
    main()
