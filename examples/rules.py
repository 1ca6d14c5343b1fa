"""Rules that hold a prediction (Anchors), of a table and of texts, and a few rows that show the whole model (sp_lime)."""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

import whybox as wb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer trees, fewer rows")
    quick = parser.parse_args().quick

    x, y = load_wine(return_X_y=True, as_frame=True)
    model = RandomForestClassifier(10 if quick else 100, random_state=0).fit(x, y)
    rows = x.iloc[[0, 70, 150]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wb.RuleNotFoundWarning)  # `found` says it too
        e = wb.Anchors(model, x, threshold=0.9).explain(rows, seed=0, budget=2000 if quick else None)
    print(e.to_frame()[["rule", "prediction", "precision", "ci_low", "coverage", "found"]].to_string())
    print(e[0].to_text())

    reviews = wb.datasets.concept_reviews(200 if quick else 1000, seed=0)
    moods = np.array([str(label) for label in reviews.labels])
    classifier = make_pipeline(CountVectorizer(), MultinomialNB()).fit(list(reviews.texts), moods)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wb.RuleNotFoundWarning)
        e = wb.Anchors(classifier, space=wb.spaces.Words(), threshold=0.9).explain(list(reviews.texts[:2]), budget=1000 if quick else None)
    print("\n" + e.to_text())
    print("share of all reviews that meet each rule:", e.covers(list(reviews.texts)).mean(axis=1).round(3))

    attribution = wb.LIME(model, x, min_score=None).explain(x.iloc[::6], target="predicted", budget=200 if quick else 5000)
    pick = wb.sp_lime(attribution, 3)
    print(f"\nrows {pick.rows.tolist()} cover {pick.coverage[-1]:.0%} of what matters, first of all {', '.join(pick.features[:3])}")


if __name__ == "__main__":
    main()
