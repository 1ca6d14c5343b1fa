"""Counterfactual rows of tables: whybox beside DiCE and NICE, on the same models, rows and background.

Every library is asked for four counterfactuals of the other class for each row (NICE knows one); all columns may vary, all else is as it
comes. What is returned is judged here and by no library: the model is asked again about every row, and numbers that a library keeps in
single precision count as what they were. Shown are means over the explained rows that have a counterfactual. Distance is what whybox
minimises, with 0.5 for every changed column: per number the share of the background between both values, 1 for another category, summed;
the best counterfactual is the cheapest. Gower's distance, of which no library is told, is the difference over the column's range, 1 for
another category, mean over columns. A plausible row is at least as close to a background row as 5 % of these are to another one, in the
distance or in shares of the range, whichever is larger. Diversity is 1 - Jaccard index of the columns that two counterfactuals of a row
change. A change is needless if it can be taken back alone. CPU seconds include making the explainer. A row that takes more than
``--limit`` CPU seconds counts as not found; where that is more than half of the rows, the library is not run again.

    python benchmarks/counterfactual_rows.py --adult adult.data --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable
from itertools import combinations, product
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from _measure import CountingModel, conditions, in_fresh_process, save, spread, table
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

Explain = Callable[[pd.DataFrame], list[pd.DataFrame]]  # rows -> counterfactuals of each

LIBRARIES = ("whybox", "DiCE random", "DiCE genetic", "DiCE kdtree", "NICE")
ASKED, BACKGROUND, SPARSITY, PLAUSIBLE, EQUAL = 4, 1000, 0.5, 0.05, 1e-6
ADULT = """age workclass fnlwgt education education_num marital_status occupation relationship race sex capital_gain capital_loss
hours_per_week native_country income""".split()  # noqa: SIM905  # as the UCI page lists them
MEASURES = {
    "found": "rows with a valid counterfactual",
    "distinct": f"valid ones a row, of {ASKED}",
    "valid": "share of the returned that is valid",
    "changed": "changed columns, best",
    "changed_all": "changed columns, all",
    "distance": "distance, best",
    "distance_all": "distance, all",
    "gower": "Gower distance, least",
    "gower_all": "Gower distance, all",
    "occurs": "new values that occur in the background",
    "plausible": "plausible ones",
    "diversity": "diversity",
    "needless": "with a needless change",
    "late": "rows out of time",
    "errors": "rows that ended in an error",
    "cpu": "CPU seconds a row",
    "model_rows": "model rows a row",
}


def generated(n: int = 5000) -> tuple[pd.DataFrame, np.ndarray]:
    """Contracts, of which a fifth is cancelled: six whole, rounded, skewed or often zero numbers, and six texts, with interactions."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"months": rng.integers(1, 73, n), "usage": rng.gamma(2, 20, n).round(1), "age": rng.integers(18, 85, n)})
    x["calls"] = rng.poisson(np.where(x["usage"] > 40, 2.5, 1.0))
    x["debt"] = np.where(rng.random(n) < 0.7, 0, rng.lognormal(4, 0.8, n)).round()
    x["plan"] = rng.choice(["basic", "plus", "family", "business"], n, p=[0.45, 0.3, 0.15, 0.1])
    x["fee"] = (x["plan"].map({"basic": 15, "plus": 25, "family": 40, "business": 60}) * rng.uniform(0.8, 1.3, n)).round(2)
    x["term"] = rng.choice(["monthly", "one year", "two years"], n, p=[0.5, 0.3, 0.2])
    x["region"] = rng.choice([f"region {i}" for i in range(12)], n)
    for name, values in {"payment": "card debit invoice", "channel": "shop web phone", "device": "own rented financed"}.items():
        x[name] = rng.choice(values.split(), n)
    score = 1.2 * (x["term"] == "monthly") * (x["months"] < 24) + 0.5 * x["calls"] * (x["plan"] != "business") - 0.02 * x["months"]
    score += 0.012 * x["debt"] + 0.03 * x["fee"] * (x["payment"] == "invoice") + 0.02 * (x["usage"] - 40).abs()
    score += 0.8 * x["region"].isin(["region 3", "region 7"]) * (x["channel"] == "phone") - 0.7 * (x["device"] == "financed")
    score += 0.6 * (x["age"] < 26) * (x["plan"] == "family") + rng.logistic(0, 0.5, n)
    return x, (score > score.quantile(0.8)).to_numpy().astype(int)


def data(name: str, adult: str) -> tuple[pd.DataFrame, np.ndarray]:
    if name == "generated":
        return generated()
    if name == "breast_cancer":
        x, y = load_breast_cancer(return_X_y=True, as_frame=True)
        return x, y.to_numpy()
    x = pd.read_csv(adult, names=ADULT, skipinitialspace=True, na_values="?", comment="|").dropna().reset_index(drop=True)
    return x, x.pop("income").str.strip(" .").eq(">50K").to_numpy().astype(int)


class Task(NamedTuple):
    """What every library gets."""

    model: Any
    background: pd.DataFrame
    labels: np.ndarray
    rows: pd.DataFrame
    texts: dict[str, np.ndarray]  # values of the columns that hold texts


def make_task(name: str, adult: str, rows: int) -> Task:
    x, y = data(name, adult)
    names = [c for c in x if not pd.api.types.is_numeric_dtype(x[c].dtype)]
    x = x.astype(dict.fromkeys(names, object))
    train, test, goal, _ = train_test_split(x, y, test_size=0.4, random_state=0, stratify=y)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    transformer = make_column_transformer((encoder, names), remainder="passthrough")
    model = make_pipeline(transformer, HistGradientBoostingClassifier(random_state=0)).fit(train, goal)
    texts = {c: np.sort(x[c].unique()) for c in names}
    return Task(model, train[:BACKGROUND].reset_index(drop=True), goal[:BACKGROUND], test[:rows].reset_index(drop=True), texts)


def counted(model: Any) -> Any:
    return SimpleNamespace(predict_proba=CountingModel(model.predict_proba), predict=CountingModel(model.predict))


def make_whybox(task: Task, model: Any, _: str, seed: int) -> Explain:
    import whybox as wb

    explainer = wb.TabularCounterfactuals(model.predict_proba, task.background, n_counterfactuals=ASKED)
    return lambda rows: [part.rows for part in explainer.explain(rows, seed=seed)]


def make_dice(task: Task, model: Any, method: str, seed: int) -> Explain:
    import dice_ml

    numbers = [c for c in task.rows if c not in task.texts]
    observed = dice_ml.Data(dataframe=task.background.assign(outcome=task.labels), continuous_features=numbers, outcome_name="outcome")
    explainer = dice_ml.Dice(observed, dice_ml.Model(model=model, backend="sklearn"), method=method)
    more = {"random_seed": seed} if method == "random" else {}

    def explain(rows: pd.DataFrame) -> list[pd.DataFrame]:
        found = explainer.generate_counterfactuals(rows, total_CFs=ASKED, desired_class="opposite", **more).cf_examples_list[0]
        out = found.final_cfs_df if found.final_cfs_df_sparse is None else found.final_cfs_df_sparse
        return [rows[:0] if out is None else out]

    return explain


def make_nice(task: Task, model: Any, _: str, __: int) -> Explain:
    from nice import NICE

    def frame(values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, columns=task.rows.columns).astype(task.rows.dtypes)

    kind, places = object if task.texts else float, [task.rows.columns.get_loc(c) for c in task.texts]
    explainer = NICE(lambda z: model.predict_proba(frame(z)), task.background.to_numpy(dtype=kind), places, y_train=task.labels)
    return lambda rows: [frame(explainer.explain(rows.to_numpy(dtype=kind)))]


def encoded(task: Task, x: pd.DataFrame) -> np.ndarray:
    """Rows as numbers (m, d): a text becomes its place among its column's."""
    out = np.empty((len(x), len(task.rows.columns)))
    for j, c in enumerate(task.rows):
        out[:, j] = np.searchsorted(task.texts[c], x[c].to_numpy(dtype=object)) if c in task.texts else pd.to_numeric(x[c])
    return np.where([dtype.kind in "iu" for dtype in task.rows.dtypes], np.round(out), out)


class Judge:
    """Measures counterfactuals, as rows of numbers."""

    def __init__(self, task: Task) -> None:
        self.task, self.background = task, encoded(task, task.background)
        self.ordered = np.array([c not in task.texts for c in task.rows])
        self.sorted = np.sort(self.background, axis=0)
        self.width = np.maximum(np.ptp(self.background, axis=0), 1e-300)
        self.alone = np.array([np.delete(self._gaps(row), i).min() for i, row in enumerate(self.background)])

    def _classes(self, z: np.ndarray) -> np.ndarray:
        texts = self.task.texts
        columns = {c: texts[c][z[:, j].astype(int)] if c in texts else z[:, j] for j, c in enumerate(self.task.rows)}
        return self.task.model.predict(pd.DataFrame(columns).astype(self.task.rows.dtypes)) if len(z) else np.zeros(0)

    def _places(self, z: np.ndarray) -> np.ndarray:
        """Of every value among the background's, 0 to 1, equal ones counting half."""
        sides = [np.searchsorted(a, b, "left") + np.searchsorted(a, b, "right") for a, b in zip(self.sorted.T, z.T, strict=True)]
        return np.stack(sides, axis=1) / (2 * len(self.background))

    def _apart(self, z: np.ndarray, row: np.ndarray) -> np.ndarray:
        return np.where(self.ordered, np.abs(self._places(z) - self._places(row[None])), z != row)

    def _scaled(self, z: np.ndarray, row: np.ndarray) -> np.ndarray:
        return np.where(self.ordered, np.abs(z - row) / self.width, z != row)

    def _gaps(self, row: np.ndarray) -> np.ndarray:
        return np.maximum(self._apart(self.background, row), self._scaled(self.background, row)).sum(axis=1)

    def _cleaned(self, z: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Numbers that are nearly one of the background, or nearly the row's own, become it."""
        out = z.copy()
        for j in np.flatnonzero(self.ordered):
            for known in (self.sorted[:, j], own[[j]]):
                near = known[np.abs(known[:, None] - z[:, j]).argmin(axis=0)]
                out[:, j] = np.where(np.abs(z[:, j] - near) <= EQUAL * np.abs(near), near, out[:, j])
        return out

    def judge(self, returned: np.ndarray, own: np.ndarray) -> dict[str, Any]:
        """All measures of one explained row."""
        was, z = self._classes(own[None]), self._cleaned(returned, own)
        good = self._classes(z) != was
        z = np.unique(z[good], axis=0)
        if not len(z):
            return {"found": 0.0, "distinct": 0.0} | ({"valid": 0.0} if len(returned) else {})
        changed = z != own
        count, distance, gower = changed.sum(axis=1), self._apart(z, own).sum(axis=1), self._scaled(z, own).mean(axis=1)
        best = np.argmin(distance + SPARSITY * count)
        cells = [(i, j) for i, j in np.argwhere(changed) if count[i] > 1]
        less = [np.where(np.arange(len(own)) == j, own, z[i]) for i, j in cells]
        needless = {i for (i, _), now in zip(cells, self._classes(np.reshape(less, (-1, len(own)))), strict=True) if now != was[0]}
        pairs = [1 - (a & b).sum() / (a | b).sum() for a, b in combinations(changed, 2)]
        out = {"found": 1.0, "distinct": len(z), "valid": good.mean(), "needless": len(needless) / len(z)}
        out |= {"changed": count[best], "changed_all": count.mean(), "distance": distance[best], "distance_all": distance.mean()}
        out |= {"gower": gower.min(), "gower_all": gower.mean()} | ({"diversity": np.mean(pairs)} if pairs else {})
        out["occurs"] = np.mean([(self.background[:, j] == z[i, j]).any() for i, j in np.argwhere(changed)])
        out["plausible"] = np.mean([(self.alone >= self._gaps(row).min() - 1e-12).mean() >= PLAUSIBLE for row in z])
        return out


def measure(library: str, name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """In this process: explain, with CPU time, then judge."""
    warnings.simplefilter("ignore")
    task = make_task(name, options.adult, options.rows)
    model, (package, _, method) = counted(task.model), library.partition(" ")
    make = {"whybox": make_whybox, "DiCE": make_dice, "NICE": make_nice}[package]
    make(task, counted(task.model), method, seed)  # imports
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # DiCE draws from the global generators
    signal.signal(signal.SIGPROF, signal.default_int_handler)  # KeyboardInterrupt, which no library takes for an error of its own
    found, late, errors = [], 0, []
    size = len(task.rows) if package == "whybox" else 1  # the others go through the rows one by one in any case
    began = time.process_time()
    explain = make(task, model, method, seed)
    for start in range(0, len(task.rows), size):
        part = task.rows[start : start + size]
        signal.setitimer(signal.ITIMER_PROF, options.limit * len(part))
        try:
            found += explain(part)
        except KeyboardInterrupt:
            late += len(part)
        except Exception as error:  # noqa: BLE001  # whatever a library raises is its answer; DiCE raises where it found nothing
            errors += [f"{type(error).__name__}: {error}"[:200]] * len(part)
        signal.setitimer(signal.ITIMER_PROF, 0)
        found += [part[:0]] * (start + len(part) - len(found))
    seconds, judge = time.process_time() - began, Judge(task)
    told = [judge.judge(encoded(task, frame), row) for frame, row in zip(found, encoded(task, task.rows), strict=True)]
    out = {key: float(np.mean(there)) for key in MEASURES if (there := [row[key] for row in told if key in row])}
    out |= {"late": late, "errors": len(errors), "cpu": seconds / len(task.rows)}
    out["model_rows"] = (model.predict_proba.rows + model.predict.rows) / len(task.rows)
    return {"measures": out, "messages": sorted(set(errors))}


def cell(numbers: list[float]) -> str:
    return "" if not numbers else f"{numbers[0]:.3g}" if min(numbers) == max(numbers) else spread(numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3, help="with seeds 0, 1 and so on")
    parser.add_argument("--limit", type=float, default=15.0, help="CPU seconds a row")
    parser.add_argument("--adult", default="", help="path of the UCI file adult.data (or adult.data.gz), for that table, too")
    parser.add_argument("--libraries", nargs="*", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--quick", action="store_true", help="3 rows, once, at most 5 seconds a row")
    parser.add_argument("--out")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rows, options.repeats, options.limit = 3, 1, 5.0
    if options.one:
        print(json.dumps(measure(options.one[0], options.one[1], int(options.one[2]), options)))
        return
    results: dict[str, dict[str, Any]] = {name: {} for name in ("generated", "breast_cancer", *["adult"][: bool(options.adult)])}
    more = ["--rows", str(options.rows), "--limit", str(options.limit), "--adult", options.adult]
    for seed, name, library in product(range(options.repeats), results, options.libraries):
        runs, one = results[name].setdefault(library, []), ["--one", library, name, str(seed), *more]
        if not any("failed" in run or run["measures"]["late"] > options.rows / 2 for run in runs):
            runs.append(in_fresh_process(sys.argv[0], one, timeout=2 * options.rows * options.limit + 300))
            print(*one[1:4], runs[-1], file=sys.stderr, flush=True)
    text = ""
    for name, libraries in results.items():
        good = {library: [run["measures"] for run in runs if "failed" not in run] for library, runs in libraries.items()}
        lines = [[label, *(cell([run[key] for run in runs if key in run]) for runs in good.values())] for key, label in MEASURES.items()]
        text += f"### Counterfactual rows: {name}\n\n" + table(["", *good], lines) + "\n\n"
        said = {key: {run.get("failed", "; ".join(run.get("messages", []))) for run in runs} - {""} for key, runs in libraries.items()}
        text += "".join(f"{library}: {'; '.join(sorted(each))}\n\n" for library, each in said.items() if each)
    packages = ("whybox", "dice-ml", "NICEx", "numpy", "pandas", "scikit-learn")
    text += conditions(packages, "python benchmarks/counterfactual_rows.py " + shlex.join(sys.argv[1:]))
    text += f" Median (least to most) of the repetitions, {options.rows} rows, seeds 0 to {options.repeats - 1}."
    save("counterfactual_rows", text, results, options.out)


if __name__ == "__main__":
    main()
