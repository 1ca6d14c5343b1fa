"""Owen values of a text's words: whybox.PartitionSHAP beside shap.explainers.Partition, and what the rules of Anchors cost.

A TF-IDF and logistic regression on generated texts. "Over the limit" is the CPU time of the call divided by the model's own CPU time for
the same texts in the batch that it is fastest with. "Error" is the root mean square distance from the exact Owen values over the same
tree, as a share of their own root mean square, over three texts and three seeds: shap is handed whybox's tree there. Every measurement is a
process of its own on one thread, and the libraries take turns.

    python benchmarks/partition_speed.py --repeats 5 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from _measure import conditions, in_fresh_process, save, spread, table

POSITIVE = ["good", "great", "lovely", "fine", "superb", "delicious", "friendly", "quick"]
NEGATIVE = ["bad", "awful", "poor", "horrid", "bland", "slow", "rude", "cold"]
STARTS = ["ta", "ko", "mi", "ru", "se", "na", "lo", "pi"]
ENDS = ["dan", "ber", "lin", "fos", "gal", "mer", "tis", "von", "kel", "rop", "sud", "wan"]
WORDS = [start + end for start in STARTS for end in ENDS]


def document(rng: np.random.Generator, words: int, positive: bool) -> str:
    """A text of sentences of nine words; one word in twelve carries a mood."""
    made = rng.choice(WORDS, words).tolist()
    for at in rng.choice(words, max(words // 12, 1), replace=False):
        mine, other = (POSITIVE, NEGATIVE) if positive else (NEGATIVE, POSITIVE)
        made[at] = str(rng.choice(mine if rng.random() < 0.8 else other))
    return " ".join(" ".join(made[i : i + 9]).capitalize() + "." for i in range(0, words, 9))


def setting() -> Any:
    """The model, and a text of so many words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rng = np.random.default_rng(0)
    moods = rng.integers(0, 2, 600)
    texts = [document(rng, int(rng.integers(20, 300)), bool(mood)) for mood in moods]
    return make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0)).fit(texts, moods)


class Asked:
    """Keeps what a model is asked, and its CPU seconds."""

    def __init__(self, predict: Any) -> None:
        self._predict, self.texts, self.seconds, self.calls = predict, [], 0.0, 0

    def __call__(self, texts: Any) -> Any:
        """Outputs of the texts."""
        began = time.process_time()
        out = self._predict(list(texts))
        self.seconds += time.process_time() - began
        self.texts += list(texts)
        self.calls += 1
        return out


def limit(predict: Any, texts: list[str]) -> float:
    """The model's CPU seconds for these texts in its best batch."""
    best = np.inf
    for size in (16, 64, 256, 1024, 4096):
        for _ in range(3):
            began = time.process_time()
            for i in range(0, len(texts), size):
                predict(texts[i : i + size])
            best = min(best, time.process_time() - began)
        if size >= len(texts):
            break
    return float(best)


def shap_explainer(predict: Any, texts: list[str], tree: bool) -> Any:
    """shap's explainer with its own text masker, or with whybox's words and tree."""
    import shap

    if not tree:
        return shap.explainers.Partition(predict, shap.maskers.Text(r"\W+"), output_names=["negative", "positive"])
    from whybox.spaces import Words
    from whybox.spaces.hierarchy import partition_tree
    from whybox.typing import Ask

    bound = Words().bind(texts[:1], None)
    found = partition_tree(bound.tree(0), bound.n_features(0))
    d = found.d
    made, size = np.zeros((d - 1, 4)), {}
    number = {node: d + d - 2 - node for node in range(d - 1)}  # children before parents
    for node in reversed(range(d - 1)):
        leaves = found.order[[found.start[node], found.middle[node]]]
        children = [number[c] if c >= 0 else int(leaf) for c, leaf in zip(found.children[node].tolist(), leaves, strict=True)]
        size[number[node]] = sum(size.get(child, 1) for child in children)
        made[number[node] - d] = [*children, node, size[number[node]]]

    def of_masks(masks: Any) -> Any:
        return predict(bound.take(Ask(np.array([0]), np.asarray(masks) > 0), np.arange(len(masks))))

    return shap.explainers.Partition(of_masks, shap.maskers.Partition(np.zeros((1, d)), clustering=made))


def explain(library: str, predict: Any, texts: list[str], budget: int, seed: int = 0) -> Any:
    if library.startswith("shap"):
        tree = "same tree" in library
        x = np.ones((1, len(texts[0].split()))) if tree else np.array(texts, dtype=object)
        return shap_explainer(predict, texts, tree)(x, max_evals=budget, silent=True)
    import whybox as wb

    return wb.PartitionSHAP(predict, space=wb.spaces.Words()).explain(texts, target=1, budget=budget, seed=seed)


def errors(library: str, predict: Any, texts: list[str], budget: int) -> list[float]:
    """Root mean square distances from the exact values relative to their own, for each text and, where chance plays a part, three seeds."""
    found = []
    for text in texts:
        d = len(text.split())
        truth = explain("whybox", predict, [text], 40_000 if d > 300 else 10**6).values[0]  # all contexts, where they are few
        for seed in range(3 if library == "whybox" else 1):
            e = explain(library, predict, [text], budget, seed)
            mine = np.asarray(e.values[0]) if library == "whybox" else np.asarray(e.values).reshape(d, 2)[:, 1]
            found.append(float(np.sqrt(np.mean((mine - truth) ** 2) / np.mean(truth**2))))
    return found


def coverage(words: int, budget: int, seeds: int = 10, largest: int = 20) -> dict[str, float]:
    """Shares of whybox's 95 % intervals that hold the exact value, over four texts: of all words, and of the largest values."""
    model, rng = setting(), np.random.default_rng(5)
    texts = [document(rng, words, True) for _ in range(4)]
    truth = np.stack([explain("whybox", model.predict_proba, [text], 10**6).values[0] for text in texts])
    top = np.argsort(-np.abs(truth), axis=1)[:, :largest]
    holds, errors = [], []
    for seed in range(seeds):
        e = explain("whybox", model.predict_proba, texts, budget, seed)
        values, bars = np.stack(list(e.values)), np.stack(list(e.std_error))
        holds.append(np.abs(values - truth) <= 1.96 * bars)
        errors.append(np.sqrt(((values - truth) ** 2).mean(axis=1) / (truth**2).mean(axis=1)).mean())
    of_largest = np.mean([np.take_along_axis(hold, top, axis=1).mean() for hold in holds])
    return {"all": float(np.mean(holds)), "largest": float(of_largest), "error": float(np.mean(errors))}


def measure(library: str, words: int, count: int, budget: int) -> dict[str, Any]:
    """In this process: warm up, then explain."""
    warnings.simplefilter("ignore")
    model, rng = setting(), np.random.default_rng(words)
    texts = [document(rng, words, True) for _ in range(count)]
    explain(library, model.predict_proba, [document(rng, words, True)], budget)
    asked = Asked(model.predict_proba)
    began = time.process_time()
    explain(library, asked, texts, budget)
    cpu = time.process_time() - began
    result: dict[str, Any] = {"cpu": cpu, "limit": limit(model.predict_proba, asked.texts), "rows": len(asked.texts), "calls": asked.calls}
    if count == 1 and library in ("whybox", "shap, same tree"):
        result["errors"] = errors(library, model.predict_proba, [texts[0], *(document(rng, words, True) for _ in range(2))], budget)
    return result


def measure_rules(kind: str, count: int) -> dict[str, float]:
    """What a rule costs: rows of the model, precision that was reached."""
    import whybox as wb

    warnings.simplefilter("ignore")
    if kind == "text":
        model, rng = setting(), np.random.default_rng(1)
        x: Any = [document(rng, 60, bool(i % 2)) for i in range(count)]
        explainer = wb.Anchors(model, space=wb.spaces.Words())
    else:
        from sklearn.datasets import load_breast_cancer
        from sklearn.ensemble import RandomForestClassifier

        data, y = load_breast_cancer(return_X_y=True)
        model = RandomForestClassifier(100, random_state=0).fit(data[:400], y[:400])
        x, explainer = data[400 : 400 + count], wb.Anchors(model, data[:400])
    explainer.explain(x[:1])
    began = time.process_time()
    e = explainer.explain(x)
    cpu = time.process_time() - began
    low, _ = e.interval()
    return {
        "cpu": cpu / count,
        "model": e.stats.model_seconds / count,
        "queries": e.n_queries / count,
        "samples": e.stats.n_rows / count,
        "precision": float(e.precision.mean()),
        "low": float(low.mean()),
        "coverage": float(e.coverage.mean()),
        "size": float(np.mean([rule.size for rule in e.rules])),
        "found": float(e.found.mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--budgets", type=int, nargs="*", default=[500, 2000], help="coalitions a text")
    parser.add_argument("--cases", nargs="*", default=["50/1", "200/1", "600/1", "200/20"], help="words and texts")
    parser.add_argument("--no-rules", action="store_true", help="without the rules of Anchors")
    parser.add_argument("--quick", action="store_true", help="one repetition, one text of 200 words, few rules")
    parser.add_argument("--coverage", action="store_true", help="instead: how often the 95 %% intervals hold the exact value")
    parser.add_argument("--out")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--rules", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        library, *numbers = options.one
        print(json.dumps(measure(library, *map(int, numbers))))
        return
    if options.rules:
        print(json.dumps(measure_rules(options.rules[0], int(options.rules[1]))))
        return
    if options.coverage:
        warnings.simplefilter("ignore")
        found = {(words, budget): coverage(words, budget) for words in (120, 200) for budget in options.budgets}
        lines = [
            [str(words), str(budget), *(f"{run[name]:.3f}" for name in ("all", "largest", "error"))]
            for (words, budget), run in found.items()
        ]
        print(table(["words", "budget", "all words", "20 largest values", "error"], lines))
        return
    if options.quick:
        options.repeats, options.budgets = 1, [500]
    cases = [(200, 1)] if options.quick else [tuple(map(int, case.split("/"))) for case in options.cases]
    results: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.repeats):
        for words, count in cases:
            for budget in options.budgets:
                for library in ("whybox", "shap", "shap, same tree"):
                    if count > 1 and library == "shap, same tree":
                        continue
                    found = in_fresh_process(sys.argv[0], ["--one", library, str(words), str(count), str(budget)])
                    results.setdefault(f"{words}/{count}/{budget}/{library}", []).append(found)
                    print(words, count, budget, library, found, file=sys.stderr)
    lines = []
    for key, runs in results.items():
        good = [run for run in runs if "failed" not in run]
        if not good:
            lines.append([*key.split("/"), "failed: " + runs[0]["failed"][:60], "", "", "", "", ""])
            continue
        over = spread([run["cpu"] / run["limit"] for run in good])
        error = spread(good[0]["errors"], 2) if "errors" in good[0] else ""
        cpu, best = spread([run["cpu"] for run in good]), spread([run["limit"] for run in good])
        lines.append([*key.split("/"), f"{good[0]['rows']:.0f}", f"{good[0]['calls']:.0f}", cpu, best, over, error])
    head = ["words", "texts", "budget", "library", "model rows", "calls", "CPU seconds", "the model's own", "over the limit", "error"]
    text = table(head, lines)
    rules: dict[str, Any] = {}
    for kind, count in () if options.no_rules else (("table", 3 if options.quick else 20), ("text", 3 if options.quick else 20)):
        rules[kind] = in_fresh_process(sys.argv[0], ["--rules", kind, str(count)])
        print(kind, rules[kind], file=sys.stderr)
    names = ("queries", "samples", "cpu", "model", "precision", "low", "coverage", "size", "found")
    told = [[kind, *(f"{run[name]:.3g}" for name in names)] for kind, run in rules.items() if "failed" not in run]
    head = [
        "rules of",
        "model rows a rule",
        "samples",
        "CPU seconds",
        "in the model",
        "precision",
        "lower end",
        "coverage",
        "conditions",
        "found",
    ]
    text += "\n\n" + (table(head, told) + "\n\n" if told else "")
    text += conditions(("whybox", "shap", "numpy", "scikit-learn"), "python benchmarks/partition_speed.py " + " ".join(sys.argv[1:]))
    text += " Median (least to most) of the repetitions."
    save("partition_speed", text, {"results": results, "rules": rules}, options.out)


if __name__ == "__main__":
    main()
