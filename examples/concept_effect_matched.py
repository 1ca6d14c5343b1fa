"""How does a triage classifier change its mind if a symptom had been strong, all else equal? Answered from a labelled pool, without an LLM.

The letters come from a structural causal model, so that the true effects are known: every method's error is printed beside its cost.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from whybox.concepts import (
    ApproxMatches,
    ConceptEffect,
    ConditionalExpectation,
    MatchedCounterfactuals,
    RandomMatches,
    SLearner,
    StructuralCounterfactuals,
)
from whybox.datasets import disease
from whybox.evaluation import compare, pairs_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("concept_effect_matched"), help="folder for the table, the diff and the plot")
    parser.add_argument("--quick", action="store_true", help="fewer texts")
    given = parser.parse_args()
    n = 20 if given.quick else given.texts
    given.out.mkdir(exist_ok=True)

    # The explained model sees texts only. The pool has labels; the explained texts are others.
    train, pool, data = disease(600 if given.quick else 2000, seed=1), disease(250 if given.quick else 1000, seed=2), disease(n, seed=3)
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=500)).fit(train.texts, train.labels)
    labels = {c.name: pool.values(c.name) for c in pool.concepts}
    began = time.perf_counter()
    source = MatchedCounterfactuals.fit(pool.texts, labels, pool.concepts, graph=pool.graph, not_told=None)
    print(f"fitted to {len(pool)} labelled texts in {time.perf_counter() - began:.1f} s")

    asked = data.concepts[:2] if given.quick else data.concepts
    current = {c.name: data.values(c.name) for c in asked}
    truth = ConceptEffect(model, StructuralCounterfactuals(data)).explain(data.texts, asked, current=current)
    sources = {
        "random": RandomMatches(source.pool),
        "Approx": ApproxMatches(source.pool, source.reader),
        "CONEXP": ConditionalExpectation(source.pool),
        "S-Learner": SLearner(source.pool, source.reader),
        "matched": source,
    }
    found, cost = {}, {}
    for name, each in sources.items():
        began = time.perf_counter()
        found[name] = ConceptEffect(model, each, k=10).explain(data.texts, asked, current=current)
        cost[name] = 1000 * (time.perf_counter() - began) / len(found[name].pair_original)

    report = compare(pairs_of(truth), found, n_bootstrap=200 if given.quick else 1000).to_frame()
    report["ms a pair"] = [cost.get(name, 0.0) for name in report.index]
    print(report[["l2_cells", "l2_cells low", "l2_cells high", "order", "ms a pair"]].round(3).to_string())
    report.to_csv(given.out / "table.csv")

    e = found["matched"]
    print(e.to_frame().query("output == '2' and to == 'strong'").round(3).to_string(index=False))  # influenza
    print(e.counterfactuals.to_text(max_edits=2))
    e.counterfactuals.save(given.out / "edits.jsonl")
    e.plot(output=2).figure.savefig(given.out / "effects.png")
    print(f"\nwritten: {given.out}/table.csv, edits.jsonl and effects.png")


if __name__ == "__main__":
    main()
