"""Which words made a text classifier say so? LIME and KernelSHAP over the words of reviews, checked against edits that are known.

A TF-IDF and logistic regression model learns whether the food was good. Each review has a twin in which only the food is the opposite: the
words that differ are the words that matter, so the attributions should lie on them. Without options the reviews are generated; with
--data they are film reviews that people rewrote (github.com/acmi-lab/counterfactually-augmented-data, sentiment, paired):

    python examples/explain_text.py --data imdb_counterfactual
"""

from __future__ import annotations

import argparse
import csv
import gzip
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import whybox as wb
from whybox.datasets import concept_reviews
from whybox.spaces import Passages, Words

OTHER = {"Positive": "Negative", "Negative": "Positive"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with train_paired.tsv.gz and dev_paired.tsv.gz")
    parser.add_argument("--out", type=Path, default=Path("explain_text.html"), help="where the highlighted texts go")
    parser.add_argument("--texts", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="fewer texts and queries")
    given = parser.parse_args()
    n, budget = (6, 300) if given.quick else (given.texts, 1000)

    train, test = (reviews(part, given.data, given.quick) for part in ("train", "dev"))
    texts = [text for pair in train for text in (pair[0], pair[2])]
    labels = [label for pair in train for label in (pair[1], OTHER[pair[1]])]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0)).fit(texts, labels)
    some = test[:n]
    originals = [original for original, _, _ in some]

    kernel = wb.KernelSHAP(model, space=Words()).explain(originals, target="predicted", budget=budget)
    lime = wb.LIME(model, space=Words(), min_score=None).explain(originals, budget=budget)
    print(kernel[0].to_text(max_display=8))
    print()
    for e in (kernel, lime):
        shares = [on_edited(row, edited) for row, (_, _, edited) in zip(e, some, strict=True)]
        print(
            f"{e.method}: {np.mean(shares):.0%} of the attributions' mass lies on the words that the twin changes; {e.n_queries:,} queries"
        )
    uniform = [len(changed(row, edited)) / len(row.feature_names) for row, (_, _, edited) in zip(kernel, some, strict=True)]
    print(f"these are {np.mean(uniform):.0%} of the words")

    # A long text by its passages first: one value for about 40 words each.
    long = " ".join(originals)
    passages = wb.KernelSHAP(model, space=Passages(40)).explain([long], target="predicted", budget=budget)
    print(f"\nthe same reviews as one text of {len(long):,} characters, by passages:")
    print(passages[0].to_text(max_display=3).splitlines()[-4])
    given.out.write_text(f'<!doctype html><meta charset="utf-8">{kernel[:5].to_html()}', encoding="utf-8")
    print(f"written: {given.out}")


def reviews(part: str, folder: Path | None, quick: bool) -> list[tuple[str, str, str]]:
    """Original, its label, and its twin."""
    if folder is not None:
        with gzip.open(folder / f"{part}_paired.tsv.gz", "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        pairs: dict[str, list[dict[str, str]]] = {}
        for row in rows:
            pairs.setdefault(row["batch_id"], []).append(row)
        return [(a["Text"], a["Sentiment"], b["Text"]) for a, b in pairs.values()]
    size = 400 if quick else 1500
    data = concept_reviews(size if part == "train" else 100, seed=1 if part == "train" else 2)
    told = [(i, food) for i, food in enumerate(data.values("food")) if food in OTHER]
    return [(data.texts[i], food, data.counterfactual([i], {"food": OTHER[food]}, estimand="direct")[0]) for i, food in told]


def changed(row: wb.Attribution, edited: str) -> list[int]:
    """Positions of the words that the twin lacks."""
    ours, theirs = ([w.lower() for w in words] for words in (row.feature_names, Words().bind([edited], None).feature_names(0)))
    steps = SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
    return [k for tag, i, j, _, _ in steps if tag in ("replace", "delete") for k in range(i, j)]


def on_edited(row: wb.Attribution, edited: str) -> float:
    """The share of absolute attributions on them."""
    size = np.abs(row.values)
    return float(size[changed(row, edited)].sum() / max(size.sum(), 1e-12))


if __name__ == "__main__":
    main()
