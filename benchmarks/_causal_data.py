"""What benchmarks/causal_effects.py measures on: CEBaB's human edits and the structural data sets, with the explained models."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from whybox import datasets
from whybox.concepts import CausalGraph, Concept, ConceptEffect, FittedClassifier, StructuralCounterfactuals
from whybox.evaluation import Pairs, pairs_of
from whybox.explanations import Counterfactuals, Edit, Intervention

ASPECTS = ("food", "ambiance", "service", "noise")
VALUES = ("Negative", "Positive", "unknown")
STARS = ("1", "2", "3", "4", "5")


def bag(strength: float = 10.0, least: int = 2) -> Any:
    """TF-IDF of words and pairs that at least so many texts hold, with a logistic regression.

    The explained model takes those of two texts, the protocol's concept classifiers all: so do those of the figures that the baselines are
    compared with.
    """
    return make_pipeline(TfidfVectorizer(ngram_range=(1, 2), min_df=least), LogisticRegression(max_iter=2000, C=strength))


@dataclass(frozen=True)
class Task:
    """One family of data.

    Args:
        name: of it.
        concepts: what texts tell.
        pool: candidates.
        labels: of the candidates, None where unknown.
        reads: texts and labels that whatever reads concepts is fitted to.
        train: texts and labels that the explained model is fitted to.
        texts: those that are explained, of each concept.
        current: their values, of each concept.
        gold: the explained model to the true pairs.
        rated: texts and labels for encoders that are fine-tuned on the label.
        edited: originals and their counterfactuals for the causal embedding, at most so many originals.
        graph: if it is known.
        not_told: the value that says that a text does not tell a concept.
        exact: the explained texts with their structural model, if there is one.
    """

    name: str
    concepts: tuple[Concept, ...]
    pool: tuple[str, ...]
    labels: dict[str, list[str | None]]
    reads: tuple[tuple[str, ...], dict[str, list[str | None]]]
    train: tuple[list[str], list[str]]
    texts: dict[str, list[str]]
    current: dict[str, list[str]]
    gold: Callable[[Any], Pairs]
    rated: tuple[list[str], list[str]]
    edited: Callable[[int | None], tuple[tuple[str, ...], Any]]
    graph: CausalGraph | None = None
    not_told: str | None = None
    exact: Any = None

    @cached_property
    def classifier(self) -> FittedClassifier:
        """The protocol's: TF-IDF classifiers, one a concept."""
        texts, labels = self.reads
        made = {}
        for concept, values in labels.items():
            known = [(t, v) for t, v in zip(texts, values, strict=True) if v is not None]
            made[concept] = bag(least=1).fit([t for t, _ in known], [v for _, v in known])
        return FittedClassifier(made)

    def effects(self, model: Any, source: Any, k: int, seed: int) -> list[Any]:
        """ConceptEffects of every concept."""
        made = []
        for concept in self.concepts:
            if texts := self.texts.get(concept.name):
                explain = ConceptEffect(model, source, k=k, n_bootstrap=20).explain
                made.append(explain(texts, concept.name, to=concept.values, current=self.current[concept.name], seed=seed))
        return made


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(folder / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def _label(row: dict[str, Any], concept: str) -> str | None:
    value = row[f"{concept}_aspect_majority"]
    return value if value in VALUES else None


def cebab(folder: Path, quick: bool, split: str = "dev", most: int | None = None) -> Task:
    """Pairs of edits of one original and one kind whose validated labels differ; candidates: half of train_exclusive.

    Args:
        folder: of the data.
        quick: 40 originals.
        split: which is explained; "fold0" to "fold2": a third of the families of train_inclusive that are not in the pool, and that
            nothing else is fitted to. Settings are chosen there.
        most: originals that are explained, the first ones; None: all.
    """
    exclusive, inclusive = (_rows(folder, name) for name in ("train_exclusive", "train_inclusive"))
    _, half = train_test_split([row for row in exclusive if row["review_majority"] in STARS], test_size=0.5, random_state=42)
    if split.startswith("fold"):
        free = sorted({row["original_id"] for row in inclusive} - {row["original_id"] for row in half})
        third = {free[i] for i in np.random.default_rng(0).permutation(len(free))[int(split.removeprefix("fold")) :: 3]}
        held_out = [row for row in inclusive if row["original_id"] in third]
        exclusive, inclusive = ([row for row in rows if row["original_id"] not in third] for rows in (exclusive, inclusive))
    else:
        held_out = _rows(folder, split)
    rated = [row for row in inclusive if row["review_majority"] in STARS]
    families: dict[str, list[dict[str, Any]]] = {}
    for row in held_out:
        families.setdefault(row["original_id"], []).append(row)
    families = dict(list(families.items())[: 40 if quick else most])
    pairs = []
    for original, rows in families.items():
        for concept in ASPECTS:
            members = [row for row in rows if row["is_original"] or row["edit_type"] == concept]
            for a in members:
                for b in members:
                    before, after = _label(a, concept), _label(b, concept)
                    if a is not b and before and after and before != after:
                        pairs.append((original, a["description"], b["description"], Intervention(concept, before, after)))
    asked: dict[str, dict[tuple[str, str], None]] = {}  # a text that stands twice with different labels is asked for with both
    for _, text, _, done in pairs:
        asked.setdefault(done.concept, {})[text, done.source_value] = None

    def gold(model: Any) -> Pairs:
        distinct = list(dict.fromkeys(text for p in pairs for text in p[1:3]))
        outputs = dict(zip(distinct, np.asarray(model(distinct)), strict=True))
        return Pairs(
            np.array([outputs[after] - outputs[before] for _, before, after, _ in pairs]),
            tuple(p[1] for p in pairs),
            tuple(p[3] for p in pairs),
            tuple(p[0] for p in pairs),
        )

    return Task(
        name="cebab",
        concepts=tuple(Concept(name, VALUES) for name in ASPECTS),
        pool=tuple(row["description"] for row in half),
        labels={c: [_label(row, c) for row in half] for c in ASPECTS},
        reads=(tuple(row["description"] for row in exclusive), {c: [_label(row, c) for row in exclusive] for c in ASPECTS}),
        train=([row["description"] for row in rated], [row["review_majority"] for row in rated]),
        texts={c: [text for text, _ in values] for c, values in asked.items()},
        current={c: [value for _, value in values] for c, values in asked.items()},
        gold=gold,
        not_told="unknown",
        rated=(
            [row["description"] for row in exclusive if row["review_majority"] in STARS],
            [row["review_majority"] for row in exclusive if row["review_majority"] in STARS],
        ),
        edited=lambda most: _human_edits(inclusive, {row["original_id"] for row in half}, most),
    )


def _human_edits(rows: list[dict[str, Any]], originals: set[str], most: int | None) -> tuple[tuple[str, ...], Counterfactuals]:
    """Originals of the training data and their human edits."""
    first = {row["original_id"]: row for row in rows if row["is_original"] and row["original_id"] in originals}
    first = dict(list(first.items())[:most])
    place = {original: i for i, original in enumerate(first)}
    edits = [
        Edit(
            place[row["original_id"]], row["edit_type"], _label(first[row["original_id"]], row["edit_type"]), target, 0, row["description"]
        )
        for row in rows
        if row["original_id"] in place
        and not row["is_original"]
        and row["edit_type"] in ASPECTS
        and (target := _label(row, row["edit_type"]))
    ]
    texts = tuple(row["description"] for row in first.values())
    return texts, Counterfactuals(texts=texts, edits=tuple(edits), source="human", estimand="direct")


def _exact_edits(data: Any) -> tuple[tuple[str, ...], list[Counterfactuals]]:
    """Texts of a structural model and their exact counterfactuals."""
    source = StructuralCounterfactuals(data)
    return data.texts, [source.counterfactuals(data.texts, c.name, to=value) for c in data.concepts for value in c.values]


def structural(name: str, quick: bool, most: int = 100, draw: int = 0) -> Task:
    """Texts of a structural model: 2,000 to train on, 1,000 candidates, 100 (or fewer) explained; total effects, exact.

    Args:
        name: of the model.
        quick: fewer texts.
        most: texts that are explained.
        draw: what is added to the seeds of the data.
    """
    make = getattr(datasets, name)
    sizes = (2000, 300 if quick else 1000, 20 if quick else most)
    train, pool, held_out = (make(n, seed=draw + i) for i, n in enumerate(sizes, 1))
    names = [c.name for c in held_out.concepts]

    def gold(model: Any) -> Pairs:
        true = [
            ConceptEffect(model, StructuralCounterfactuals(held_out), n_bootstrap=20).explain(
                held_out.texts, c.name, to=c.values, current=held_out.values(c.name)
            )
            for c in held_out.concepts
        ]
        each = [pairs_of(t) for t in true]
        return Pairs(
            np.concatenate([p.effects for p in each]),
            tuple(t for p in each for t in p.texts),
            tuple(i for p in each for i in p.interventions),
        )

    labels: dict[str, list[str | None]] = {c: list(pool.values(c)) for c in names}
    return Task(
        name=name,
        concepts=held_out.concepts,
        pool=pool.texts,
        labels=labels,
        reads=(pool.texts, labels),
        train=(list(train.texts), [str(code) for code in train.labels]),
        texts={c: list(held_out.texts) for c in names},
        current={c: list(held_out.values(c)) for c in names},
        gold=gold,
        graph=held_out.graph,
        rated=(list(train.texts[:1000]), [str(code) for code in train.labels[:1000]]),
        edited=lambda most: _exact_edits(train.rows(range(min(most or 100, 100)))),
        exact=held_out,
    )


def stacked(truth: Pairs, effects: Sequence[Any]) -> Any:
    """(p, k) estimates of the true pairs."""
    found = np.full(truth.effects.shape, np.nan)
    for e in effects:
        given = truth.estimates(e)
        known = np.isfinite(given).all(axis=1)
        found[known] = given[known]
    return found
