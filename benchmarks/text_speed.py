"""Texts explained beside lime and shap: CPU seconds for one document, and the share of the attributions on words that people edited.

Speed: LIME with 5,000 samples for a document of 200 words and a TF-IDF and logistic regression model, and queries for a text of five
words. A total is compared with the model's own time: CPU seconds of the model alone, on the distinct texts that whybox asks, in the batch
that suits it best. After that batch is found, model and library take turns, and of each the fastest of five times counts, so that what else
the machine did counts for nobody.

Faithfulness: pairs of texts whose label somebody changed by editing as few words as possible. For each original, the share of the sum of
absolute attributions that lies on the edited words, at the same number of queries; the model is trained on other pairs. With --data, the
counterfactually augmented IMDB reviews of Kaushik, Hovy and Lipton (2020): a folder with train_paired.tsv.gz and dev_paired.tsv.gz from
github.com/acmi-lab/counterfactually-augmented-data. Without it, reviews from a structural model and their exact counterfactuals.

    python benchmarks/text_speed.py --data imdb_counterfactual --repeats 5 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
import time
import warnings
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
from _measure import CountingModel, conditions, in_fresh_process, own_seconds, save, spread, table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

SAMPLES, WORDS = 5000, 200
TIMES = 5  # the fastest counts
SPEED = ("lime", "lime, 10 words selected", "whybox", "whybox, 10 words selected")
FAITH = (
    "lime",
    "whybox LIME",
    "lime, 10 words",
    "whybox LIME, 10 words",
    "shap Kernel",
    "shap Partition",
    "whybox KernelSHAP",
    "shap Kernel, 10 words",
    "whybox KernelSHAP, 10 words",
)
PEER = {
    "whybox LIME": "lime",
    "whybox LIME, 10 words": "lime, 10 words",
    "whybox KernelSHAP": "shap Kernel",
    "whybox KernelSHAP, 10 words": "shap Kernel, 10 words",
}
OTHER = {"Positive": "Negative", "Negative": "Positive"}
Spans = list[tuple[int, int]]


def pairs(path: Path) -> list[tuple[str, str, str]]:
    """Original, its label, and the edited text."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        csv.field_size_limit(10**7)
        rows = list(csv.DictReader(file, delimiter="\t"))
    both: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        both.setdefault(row["batch_id"], []).append(row)
    return [(a["Text"], a["Sentiment"], b["Text"]) for a, b in both.values()]


def generated(n: int, seed: int) -> list[tuple[str, str, str]]:
    """Reviews that praise or condemn the food, and the same reviews had the food been the opposite."""
    from whybox.datasets import concept_reviews

    data = concept_reviews(n, seed=seed)
    return [
        (text, food, data.counterfactual([i], {"food": OTHER[food]}, estimand="direct")[0])
        for i, (text, food) in enumerate(zip(data.texts, data.values("food"), strict=True))
        if food in OTHER
    ]


def corpus(data: str | None, part: str) -> list[tuple[str, str, str]]:
    if data is None:
        return generated(1500 if part == "train" else 120, 1 if part == "train" else 2)
    return pairs(Path(data) / f"{part}_paired.tsv.gz")


def make_model(data: str | None) -> Any:
    texts, labels = [], []
    for original, label, edited in corpus(data, "train"):
        texts += [original, edited]
        labels += [label, OTHER[label]]
    return make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0)).fit(texts, labels)


def word_spans(text: str) -> Spans:
    import whybox as wb

    return [tuple(span) for span in wb.spaces.Words().bind([text], None).marks(0).tolist()]


def document(data: str | None) -> str:
    """A text of exactly so many words."""
    for original, _, _ in corpus(data, "train"):
        if len(word_spans(original)) >= WORDS:
            return original[: word_spans(original)[WORDS - 1][1]]
    joined = " ".join(original for original, _, _ in corpus(data, "train")[:20])
    return joined[: word_spans(joined)[WORDS - 1][1]]


def explain_document(library: str, model: Callable[[Any], Any], text: str, samples: int) -> Any:
    few = "selected" in library
    if library.startswith("lime"):
        from lime.lime_text import LimeTextExplainer

        explainer = LimeTextExplainer(bow=False, feature_selection="auto" if few else "none", random_state=0)
        return explainer.explain_instance(text, model, num_features=10 if few else 10**6, num_samples=samples, labels=(1,))
    import whybox as wb

    explainer = wb.LIME(model, space=wb.spaces.Words(), num_features=10 if few else None, min_score=None)
    return explainer.explain([text], target=1, budget=samples)


def measure_speed(library: str, data: str | None, samples: int) -> dict[str, float]:
    """In this process: warm up, find the model's best batch, then time the model alone and the explanation in turns."""
    warnings.simplefilter("ignore")
    model, text = make_model(data), document(data)
    explain_document(library, model.predict_proba, text, 200)
    seen: list[str] = []

    def watched(texts: list[str]) -> Any:
        seen.extend(texts)
        return model.predict_proba(texts)

    explain_document("whybox", watched, text, samples)
    texts = list(dict.fromkeys(seen))
    tried = {size: min(own_seconds(model.predict_proba, texts, size) for _ in range(3)) for size in (125, 250, 500, 1000, 2500, len(texts))}
    best = min(tried, key=tried.__getitem__)
    own = cpu = outside = np.inf
    for _ in range(TIMES):
        own = min(own, own_seconds(model.predict_proba, texts, best))
        counted = CountingModel(model.predict_proba)
        began = time.process_time()
        explain_document(library, counted, text, samples)
        spent = time.process_time() - began
        cpu, outside = min(cpu, spent), min(outside, spent - counted.seconds)
    short = CountingModel(model.predict_proba)
    explain_document(library, short, "Five words are not many.", samples)
    return {
        "cpu": cpu,
        "ratio": cpu / own,
        "outside": outside / own,
        "queries": counted.rows,
        "short": short.rows,
        "own": own,
    }


def edited_spans(original: str, edited: str) -> Spans:
    """Words of the original that the edit changed or deleted; for an insertion, the words on both sides."""
    spans = word_spans(original)
    ours = [original[i:j].lower() for i, j in spans]
    theirs = [edited[i:j].lower() for i, j in word_spans(edited)]
    changed: set[int] = set()
    for tag, i, j, _, _ in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if tag in ("replace", "delete"):
            changed |= set(range(i, j))
    return [spans[k] for k in sorted(changed)]


def attributions(library: str, model: Any, text: str, queries: int) -> tuple[Spans, np.ndarray]:
    """Places and attributions of the words of one text, for the predicted output."""
    label = int(np.argmax(model.predict_proba([text])[0]))
    few = library.endswith("10 words")
    spans = word_spans(text)
    if library.startswith("whybox"):
        import whybox as wb

        if "LIME" in library:
            e = wb.LIME(model, space=wb.spaces.Words(), num_features=10 if few else None, min_score=None).explain([text], budget=queries)
        else:
            e = wb.KernelSHAP(model, space=wb.spaces.Words(), l1_reg=10 if few else None).explain([text], target=label, budget=queries)
        return spans, e[0].values
    if library.startswith("lime"):
        from lime.lime_text import LimeTextExplainer

        explainer = LimeTextExplainer(
            bow=False, mask_string="", split_expression=lambda t: [t[i:j] for i, j in word_spans(t)], random_state=0,
            feature_selection="auto" if few else "none",
        )  # fmt: skip
        found = explainer.explain_instance(
            text, model.predict_proba, num_features=10 if few else 10**6, num_samples=queries, labels=(label,)
        )
        values = np.zeros(len(spans))
        for position, weight in found.as_map()[label]:
            values[position] = weight
        return spans, values
    import shap

    if "Partition" in library:
        explainer = shap.Explainer(lambda texts: model.predict_proba(list(texts))[:, label], shap.maskers.Text(r"\W+"))
        found = explainer([text], max_evals=queries, silent=True)
        ends = np.cumsum([len(token) for token in found.data[0]])
        return [(int(stop - len(token)), int(stop)) for token, stop in zip(found.data[0], ends, strict=True)], np.asarray(found.values[0])
    bound = _texts_of(text)
    kernel = shap.KernelExplainer(lambda z: model.predict_proba(bound(z))[:, label], np.zeros((1, len(spans))))
    np.random.seed(0)  # noqa: NPY002  # shap draws from the global generator
    values = kernel.shap_values(np.ones((1, len(spans))), nsamples=queries, l1_reg="num_features(10)" if few else False, silent=True)
    return spans, np.asarray(values)[0]


def _texts_of(text: str) -> Callable[[np.ndarray], list[str]]:
    """Masks to texts, the same texts as whybox asks."""
    import whybox as wb
    from whybox.typing import Ask

    bound = wb.spaces.Words().bind([text], None)
    return lambda z: bound.compose(Ask(np.array([0]), np.asarray(z) > 0.5), 0, len(z))


def measure_faith(library: str, data: str | None, texts: int, queries: int) -> dict[str, Any]:
    """The share of the attributions' mass on the edited words, text by text."""
    warnings.simplefilter("ignore")
    model = make_model(data)
    shares, began = [], time.process_time()
    for original, _, edited in corpus(data, "dev"):
        changed = edited_spans(original, edited)
        if not changed or len(word_spans(original)) > 250:
            continue
        spans, values = attributions(library, model, original, queries)
        hit = [any(i < stop and start < j for start, stop in changed) for i, j in spans]
        total = float(np.abs(values).sum())
        shares.append(float(np.abs(values[hit]).sum()) / total if total else 0.0)
        if len(shares) == texts:
            break
    return {"share": float(np.mean(shares)), "shares": shares, "cpu": (time.process_time() - began) / len(shares)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with the paired reviews; without it generated ones")
    parser.add_argument("--parts", nargs="*", default=["speed", "faith"], choices=("speed", "faith"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--texts", type=int, default=100, help="pairs of the faithfulness check")
    parser.add_argument("--queries", type=int, default=1000, help="queries a text of the faithfulness check")
    parser.add_argument("--quick", action="store_true", help="one repetition, 1,000 samples, 12 pairs")
    parser.add_argument("--out")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    samples = 1000 if options.quick else SAMPLES
    if options.quick:
        options.repeats, options.texts, options.queries = 1, 12, 400
    if options.one:
        kind, library = options.one
        if kind == "speed":
            found: dict[str, Any] = measure_speed(library, options.data, samples)
        else:
            found = measure_faith(library, options.data, options.texts, options.queries)
        print(json.dumps(found))
        return
    passed = [argument for argument in sys.argv[1:] if argument != "--out" and argument != options.out]
    results: dict[str, list[Any]] = {}
    for _ in range(options.repeats):
        for library in SPEED if "speed" in options.parts else ():
            results.setdefault(f"speed/{library}", []).append(in_fresh_process(sys.argv[0], ["--one", "speed", library, *passed]))
            print(library, results[f"speed/{library}"][-1], file=sys.stderr)
    for library in FAITH if "faith" in options.parts else ():
        found = in_fresh_process(sys.argv[0], ["--one", "faith", library, *passed], timeout=7200)
        results[f"faith/{library}"] = [found]
        print(library, {k: v for k, v in found.items() if k != "shares"}, file=sys.stderr)
    text = _tables(results, samples, options)
    packages = ("whybox", "lime", "shap", "numpy", "scikit-learn")
    shown = " ".join(argument if argument != options.data else Path(argument).name for argument in sys.argv[1:])
    text += "\n\n" + conditions(packages, "python benchmarks/text_speed.py " + shown) + " Median (least to most) of the repetitions."
    save("text_speed", text, {"results": results}, options.out)


def _tables(results: dict[str, list[Any]], samples: int, options: argparse.Namespace) -> str:
    told = []
    if "speed" in options.parts:
        told.append(_of_speed(results, samples))
    if "faith" in options.parts:
        told.append(_of_faith(results, options))
    return "\n\n".join(told)


def _of_speed(results: dict[str, list[Any]], samples: int) -> str:
    lines = []
    for library in SPEED:
        good = [run for run in results[f"speed/{library}"] if "failed" not in run]
        if not good:
            lines.append([library, "failed: " + results[f"speed/{library}"][0]["failed"][:60], "", "", "", ""])
            continue
        columns = [spread([run[name] for run in good]) for name in ("cpu", "ratio", "outside")]
        lines.append([library, *columns, f"{good[0]['queries']:,}", f"{good[0]['short']:,}"])
    head = ["library", "CPU seconds", "times the model's own", "of it outside of the model", "queries", "queries of five words"]
    return f"LIME, {WORDS} words, {samples:,} samples:\n\n" + table(head, lines)


def _of_faith(results: dict[str, list[Any]], options: argparse.Namespace) -> str:
    lines = []
    for library in FAITH:
        found = results[f"faith/{library}"][0]
        if "failed" in found:
            lines.append([library, "failed: " + found["failed"][:60], "", "", ""])
            continue
        told, peer = "", results[f"faith/{PEER[library]}"][0] if library in PEER else {"failed": ""}
        if "failed" not in peer:
            ahead = np.subtract(found["shares"], peer["shares"])  # of the same texts
            told = f"{ahead.mean():+.3f} ({_error(ahead):.3f})"
        lines.append([library, f"{found['share']:.3f}", f"{_error(found['shares']):.3f}", told, f"{found['cpu']:.3g}"])
    texts = max((len(found[0].get("shares", ())) for name, found in results.items() if name.startswith("faith/")), default=0)
    head = [
        "library",
        "share of the mass on edited words",
        "standard error over texts",
        "ahead of its peer (paired standard error)",
        "CPU seconds a text",
    ]
    return f"Faithfulness, {texts} pairs, {options.queries:,} queries a text:\n\n" + table(head, lines)


def _error(shares: Any) -> float:
    """Standard error of a mean."""
    return float(np.std(shares, ddof=1) / np.sqrt(len(shares)))


if __name__ == "__main__":
    main()
