"""The tour: train a classifier, explain 200 of its predictions by KernelSHAP and LIME, and write a report to read.

python examples/demo.py --out report.html
python examples/demo.py --data adult.data      # the UCI Adult table with its raw string columns, if you have it
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split

import whybox as wb
from whybox.plots import Figure, Note, Section, write_report

ADULT = """age workclass fnlwgt education education_num marital_status occupation relationship race sex capital_gain capital_loss
hours_per_week native_country income""".split()  # noqa: SIM905  # as the UCI page lists them


def breast_cancer() -> tuple[pd.DataFrame, np.ndarray, str, str]:
    """30 measurements of 569 biopsies, from scikit-learn."""
    data = load_breast_cancer(as_frame=True)
    return data.data, np.where(data.target == 0, "malignant", "benign"), "malignant", "569 biopsies with 30 measurements of cell nuclei"


def adult(path: Path) -> tuple[pd.DataFrame, np.ndarray, str, str]:
    """Census rows with strings as they are in the file; the model gets them as categories."""
    table = pd.read_csv(path, names=ADULT, skipinitialspace=True, na_values="?", comment="|")
    rows = table.drop(columns="income")
    texts = [name for name in rows if not pd.api.types.is_numeric_dtype(rows[name].dtype)]
    rows = rows.astype(dict.fromkeys(texts, "category"))
    return rows, table["income"].str.strip(" .").to_numpy(), ">50K", f"{len(rows):,} census rows with raw string columns"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="path of the UCI file adult.data (or adult.data.gz)")
    parser.add_argument("--rows", type=int, default=200, help="rows to explain")
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    parser.add_argument("--quick", action="store_true", help="fewer rows and trees")
    options = parser.parse_args()
    rows = min(options.rows, 20) if options.quick else options.rows
    began = time.perf_counter()

    x, y, target, about = adult(options.data) if options.data else breast_cancer()
    train, test, y_train, y_test = train_test_split(x, y, test_size=0.4, random_state=0, stratify=y)
    if options.data:
        model = HistGradientBoostingClassifier(max_iter=100, random_state=0, categorical_features="from_dtype")
    else:
        model = GradientBoostingClassifier(n_estimators=30 if options.quick else 100, random_state=0)
    model.fit(train, y_train)
    accuracy = model.score(test, y_test)
    test = test.iloc[:rows]
    background = train.sample(100, random_state=0)
    print(f"{type(model).__name__} on {about}: accuracy {accuracy:.3f} on held-out rows")

    # One surrogate, learnt from 50,000 model rows, is shared by all explained rows; each row then needs few coalitions of its own.
    explainer = wb.KernelSHAP(model, background).fit(
        train.sample(min(len(train), 400), random_state=1), budget=4000 if options.quick else 20_000
    )
    shap = explainer.explain(test, target=target, budget=150, seed=0)
    again = explainer.explain(test, target=target, budget=150, seed=1)
    lime = wb.LIME(model, train, min_score=None).explain(test, target=target, budget=2000 if options.quick else 20_000, seed=0)

    table = importance(shap, lime)
    print(f"\nWhat speaks for {target!r}, over {len(test)} rows (mean absolute value, ± 95 % interval):\n")
    print(table.head(8).to_string(index=False))
    learnt = explainer.surrogate
    assert learnt is not None
    queries = {"surrogate": learnt.n_queries, "KernelSHAP": shap.n_queries, "KernelSHAP again": again.n_queries, "LIME": lime.n_queries}
    print("\nModel rows: " + ", ".join(f"{name} {count:,}" for name, count in queries.items()))
    apart = np.abs(shap.values - again.values)
    inside = float(np.mean(apart <= 1.96 * np.hypot(shap.std_error, again.std_error)))
    gap = float(np.abs(shap.values.sum(axis=1) + shap.base_values - shap.predictions).max())
    print(
        f"With another seed {inside:.1%} of the values stay within the 95 % interval of their difference (honest errors give at least "
        f"about 95 %); additivity holds to {gap:.0e}."
    )

    certain = int(np.argmax(shap.predictions))
    open_ = int(np.argmin(np.abs(shap.predictions - 0.5)))
    searcher = wb.TabularCounterfactuals(model, train.sample(300, random_state=2), n_counterfactuals=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wb.CounterfactualNotFoundWarning)  # the report says it too
        other = searcher.explain(test.iloc[[certain, open_]])
    for change in other[1].changes[:1]:
        print(f"\nRow {test.index[open_]}, the closest call, would be {other.wanted[1]!r} with {change}.")
    queries["counterfactuals"] = other.n_queries
    seconds = time.perf_counter() - began
    write_report(
        options.out,
        Section(
            "What the model looks at",
            [
                f"Each point is one row. To the right a feature speaks for {target!r}, to the left against it, in units of probability.",
                Figure(shap.plot.beeswarm(), "All explained rows; the colour is the feature's value."),
                Figure(shap.plot.bar(), "Mean absolute Shapley values with their 95 % intervals."),
            ],
        ),
        Section(
            "Two rows",
            [
                (
                    f"Row {test.index[certain]} gets {target!r} with probability {shap.predictions[certain]:.3f}. Row {test.index[open_]} "
                    f"is the closest call, at {shap.predictions[open_]:.3f}. Bars add up from the average prediction to the row's own; "
                    "whiskers are 95 % intervals."
                ),
                Figure(shap[certain].plot.waterfall(), f"Row {test.index[certain]}."),
                Figure(shap[open_].plot.waterfall(), f"Row {test.index[open_]}."),
            ],
        ),
        Section(
            "What would have to be different",
            [
                (
                    "The least changes for which the model says something else about these two rows. Every value occurs in the data; "
                    "distance is the share of the data between old and new value, summed; plausibility says how many observed rows are "
                    "as far from their nearest neighbour. It is about the model: changing a value need not change anything else."
                ),
                other,
            ],
        ),
        Section(
            "KernelSHAP beside LIME",
            [
                (
                    "The two ask different questions: Shapley values share out the distance from the average prediction; LIME fits a "
                    f"linear model to a neighbourhood. There its fit explains {np.mean(lime.score):.0%} of the variance (R2, mean over "
                    f"rows), and less than 10 % for {int((lime.score < 0.1).sum())} of the {len(test)} rows: read those with care."
                ),
                table.head(12),
            ],
        ),
        Section(
            "Can this be trusted?",
            [
                {
                    "rows explained": len(test),
                    "model rows, all in all": f"{sum(queries.values()):,}",
                    "seconds": f"{seconds:.1f}",
                    "repeat within interval": f"{inside:.1%}",
                    "additivity gap": f"{gap:.0e}",
                },
                Note(
                    "Every value was estimated twice with different seeds. Where the standard errors are honest, at least about 95 % of "
                    "the pairs lie within the 95 % interval of their difference; a larger share says that the errors are cautious."
                ),
                (
                    f"The surrogate learnt from {learnt.n_queries:,} model rows and predicts held-out ones with R2 {learnt.r2[0]:.3f}; "
                    f"the values come from: {shap.estimator}. {cost(shap)}"
                ),
            ],
        ),
        title=f"Why does the model say {target!r}?",
        intro=f"A {type(model).__name__} learnt from {about}; it is right for {accuracy:.1%} of held-out rows. {len(test)} of its "
        "predictions are explained here by whybox.",
        footer=f"whybox {wb.__version__}, seed 0.",
    )
    print(f"\nReport: {options.out.resolve()} ({seconds:.0f} s)")


def importance(shap: wb.Attribution, lime: wb.Attribution) -> pd.DataFrame:
    """Features by mean absolute Shapley value, with LIME's mean absolute weight beside it."""
    found = shap.importance()  # with the errors of the bar plot: rows share coalitions, so their errors do not average out
    weight = lime.importance().set_index("feature")["importance"]
    rank = weight.rank(ascending=False, method="first").astype(int)
    return pd.DataFrame(
        {
            "feature": found["feature"],
            "mean |SHAP|": [
                f"{size:.4f} ± {1.96 * error:.4f}" for size, error in zip(found["importance"], found["std_error"], strict=True)
            ],
            "mean |LIME|": [f"{weight[name]:.4f}" for name in found["feature"]],
            "LIME's rank": [int(rank[name]) for name in found["feature"]],
        }
    )


def cost(e: wb.Attribution) -> str:
    """One sentence."""
    return (
        f"KernelSHAP sent {e.stats.n_queries:,} rows in {e.stats.n_calls:,} calls; {e.stats.model_seconds:.1f} s of "
        f"{e.stats.total_seconds:.1f} s were spent inside the model."
    )


if __name__ == "__main__":
    main()
