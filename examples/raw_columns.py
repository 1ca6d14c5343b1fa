"""A pipeline explained on its raw columns: strings, categories and missing values reach the model as they are, one column one feature."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import whybox as wb


def people(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Made-up loan applications, and whether each was granted."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "job": rng.choice(["baker", "nurse", "pilot"], n),
            "savings": np.where(rng.random(n) < 0.2, np.nan, rng.gamma(2.0, 4000.0, n)),
            "housing": pd.Categorical(rng.choice(["rent", "own"], n)),
        }
    )
    score = 0.02 * frame["age"] + (frame["job"] == "pilot") + frame["savings"].fillna(0.0) / 8000.0 + rng.normal(0.0, 0.5, n)
    return frame, np.where(score > score.median(), "granted", "refused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    quick = parser.parse_args().quick
    x, y = people(400 if quick else 2000, seed=0)
    encode = make_column_transformer((OneHotEncoder(), ["job", "housing"]), remainder="passthrough")
    model = make_pipeline(encode, RandomForestClassifier(20 if quick else 100, random_state=0)).fit(x, y)

    e = wb.ExactSHAP(model, background=x.sample(50, random_state=0)).explain(x[:10], target="granted")
    print(e[0].to_text())
    print(f"exact: {e.estimator}, {e.n_queries:,} rows sent to the model")


if __name__ == "__main__":
    main()
