"""What would have to be different: counterfactual rows of a table of loans, within what an applicant can change."""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

import whybox as wb


def loans(n: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Invented applications: numbers, texts, an ordered category, missing values."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.integers(19, 70, n),
            "income": rng.lognormal(10.3, 0.4, n).round(-2),
            "savings": np.where(rng.random(n) < 0.2, np.nan, rng.lognormal(8, 1, n).round(-2)),
            "amount": rng.lognormal(9.2, 0.6, n).round(-2),
            "months": rng.choice([12, 24, 36, 48, 60], n),
            "housing": rng.choice(["own", "rent", "parents"], n, p=[0.4, 0.5, 0.1]),
            "purpose": rng.choice(["car", "furniture", "education", "holiday"], n),
            "history": pd.Categorical(rng.choice(["late", "none", "good"], n), categories=["late", "none", "good"], ordered=True),
        }
    )
    score = (
        1.5 * np.log(table["income"] / table["amount"])
        + 0.4 * np.log1p(table["savings"].fillna(0.0) / 1000)
        + 0.8 * table["history"].cat.codes
        + 0.7 * (table["housing"] == "own")
        - 0.6 * ((table["purpose"] == "holiday") & (table["months"] > 24))
    )
    return table, np.where(score + rng.logistic(0, 0.5, n) > 3.2, "granted", "refused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    quick = parser.parse_args().quick

    x, y = loans(600 if quick else 4000)
    texts = ["housing", "purpose", "history"]
    model = make_pipeline(
        make_column_transformer((OrdinalEncoder(), texts), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=30 if quick else 100, random_state=0),
    ).fit(x, y)
    background = x.head(500)
    refused = x.tail(300)[model.predict(x.tail(300)) == "refused"].head(5 if quick else 50)

    # what an applicant can do: save more, ask for less, wait; nobody gets younger, and nobody is told to move
    explainer = wb.TabularCounterfactuals(
        model,
        background,
        features_to_vary=["age", "savings", "amount", "months", "purpose", "history"],
        permitted_range={"age": "increase", "savings": "increase", "amount": "decrease", "history": "increase"},
        min_probability=0.6,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wb.CounterfactualNotFoundWarning)  # `missing` says it too
        e = explainer.explain(refused, target="granted")
    print(e[:3].to_text())
    print(
        f"\n{e.n_queries / len(e):.0f} rows sent to the model for each application, {e.found.mean():.1f} counterfactuals found; "
        f"{e.missing.sum()} of {len(e)} cannot be granted by such changes"
    )
    print("\nwhat the cheapest counterfactual changes, and what any of them does, as shares of the applications:")
    print(e.importance().query("any > 0").round(2).to_string(index=False))
    assert (model.predict(e.rows) == "granted").all()  # a table as the model takes it


if __name__ == "__main__":
    main()
