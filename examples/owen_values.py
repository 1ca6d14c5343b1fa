"""Owen values: a review by its sentences and words, columns by the families that they come in, and branches that need not be opened."""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import whybox as wb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer reviews to learn from, fewer coalitions")
    quick = parser.parse_args().quick

    reviews = wb.datasets.concept_reviews(200 if quick else 1000, seed=0)
    moods = np.where(reviews.labels >= 2, "pleased", "displeased")
    classifier = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0)).fit(list(reviews.texts), moods)
    explainer = wb.PartitionSHAP(classifier, space=wb.spaces.Words())
    e = explainer.explain(list(reviews.texts[:3]), target="predicted", budget=800 if quick else 4000)
    print(reviews.texts[0])
    print(e[0].to_text(max_display=6))

    # The same text, opened only where it matters.
    e = explainer.explain(list(reviews.texts[:1]), target="predicted", budget=20)
    print("\nby 20 coalitions:", e.estimator)
    print([told for told in e.conditions[0] if told][:5] if e.conditions is not None else "every word was reached")

    # Columns of one family share one branch, so that a copy of a column takes nothing from the others.
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = HistGradientBoostingClassifier(max_iter=20 if quick else 100).fit(x, y)
    e = wb.PartitionSHAP(model, x.sample(20, random_state=0)).explain(x.iloc[:2], target=1, budget=116 if quick else 2000)
    print("\n" + e[0].to_text(max_display=5))


if __name__ == "__main__":
    main()
