"""Counterfactual rows of tables: whybox beside DiCE and NICE, on the same models, rows and background.

Every library is asked for four counterfactuals of the other class for each row (NICE knows one), everything may vary, and all else is as it
comes. What it returns is judged here and by no library: the model is asked again about every row, and numbers that a library returns in
single precision count as what they were (to 1e-6). Measured are, as means over the explained rows that have a counterfactual:

- changed columns and distances, of the best counterfactual and of all. The distance that whybox minimises (with 0.5 for every changed
  column; the best is the one that costs least) is per number the share of the background between both values, 1 for another category,
  summed. Gower's, which it doesn't know, is the difference over the column's range, 1 for another category, mean over the columns.
- the share of new values that occur in the background's column, and of counterfactuals at least as close to their nearest background row
  as 5 % of the background rows are to theirs.
- diversity: 1 - Jaccard index of the columns that two counterfactuals of a row change, mean over pairs.
- needless changes: the share of counterfactuals of which one change can be taken back alone.

CPU seconds include making the explainer. A row on which a library spends more than ``--limit`` CPU seconds counts as not found, and a
library that this happened to is not run again on the same data. "generated" is a table of six numbers and six texts with interactions.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from _measure import CountingModel, conditions, in_fresh_process, save, spread, table
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Explain = Callable[[pd.DataFrame], list[pd.DataFrame]]  # rows -> counterfactuals of each

LIBRARIES = ("whybox", "DiCE random", "DiCE genetic", "DiCE kdtree", "NICE")
ASKED, BACKGROUND, SPARSITY, PLAUSIBLE, EQUAL = 4, 1000, 0.5, 0.05, 1e-6
ADULT = """age workclass fnlwgt education education_num marital_status occupation relationship race sex capital_gain capital_loss
hours_per_week native_country income""".split()  # noqa: SIM905  # as the UCI page lists them
MEASURES = {
    "found": "rows with a counterfactual",
    "distinct": f"distinct valid ones a row, of {ASKED}",
    "valid": "share of what is returned that is valid",
    "changed": "changed columns, best",
    "changed_all": "changed columns, all",
    "distance": "distance, best",
    "distance_all": "distance, all",
    "gower": "Gower distance, least",
    "gower_all": "Gower distance, all",
    "occurs": "new values that occur in the background",
    "plausible": f"plausibility of {PLAUSIBLE} or more",
    "diversity": "diversity",
    "needless": "with a needless change",
    "late": "rows out of time",
    "errors": "rows that ended in an error",
    "cpu": "CPU seconds a row",
    "model_rows": "model rows a row",
}


class OutOfTimeError(BaseException):
    """Not an Exception, so that no library takes it for one of its own."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError after so many CPU seconds."""

    def stop(*_: object) -> None:
        raise OutOfTimeError

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def generated(n: int = 5000) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Contracts that are cancelled (about a fifth): skewed, whole, rounded and often zero numbers, and texts, one of which has 12 values."""
    rng = np.random.default_rng(0)
    months = rng.integers(1, 73, n)
    usage = rng.gamma(2.0, 20.0, n).round(1)
    calls = rng.poisson(np.where(usage > 40, 2.5, 1.0))
    plan = rng.choice(["basic", "plus", "family", "business"], n, p=[0.45, 0.3, 0.15, 0.1])
    fee = (np.select([plan == "basic", plan == "plus", plan == "family"], [15, 25, 40], 60) * rng.uniform(0.8, 1.3, n)).round(2)
    debt = np.where(rng.random(n) < 0.7, 0, rng.lognormal(4.0, 0.8, n)).round()
    payment = rng.choice(["card", "debit", "invoice"], n, p=[0.4, 0.4, 0.2])
    term = rng.choice(["monthly", "one year", "two years"], n, p=[0.5, 0.3, 0.2])
    region = rng.choice([f"region {i}" for i in range(12)], n)
    channel = rng.choice(["shop", "web", "phone"], n)
    device = rng.choice(["own", "rented", "financed"], n)
    age = rng.integers(18, 85, n)
    score = 1.2 * (term == "monthly") * (months < 24) + 0.5 * calls * (plan != "business") - 0.02 * months + 0.012 * debt
    score += 0.03 * fee * (payment == "invoice") + 0.8 * ((region == "region 3") | (region == "region 7")) * (channel == "phone")
    score += 0.02 * np.abs(usage - 40) - 0.7 * (device == "financed") + 0.6 * (age < 26) * (plan == "family")
    y = (score + rng.logistic(0, 0.5, n) > 3.1).astype(np.int64)
    columns = {"months": months, "usage": usage, "calls": calls, "fee": fee, "debt": debt, "age": age}
    texts = {"plan": plan, "payment": payment, "term": term, "region": region, "channel": channel, "device": device}
    return pd.DataFrame(columns | {name: values.astype(object) for name, values in texts.items()}), y


def data(name: str, adult: str) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """A table, and its labels of 0 and 1."""
    if name == "generated":
        return generated()
    if name == "breast_cancer":
        from sklearn.datasets import load_breast_cancer

        found = load_breast_cancer(as_frame=True)
        return found.data.rename(columns=lambda column: column.replace(" ", "_")), found.target.to_numpy()
    read = pd.read_csv(adult, names=ADULT, skipinitialspace=True, na_values="?", comment="|").dropna().reset_index(drop=True)
    y = read.pop("income").str.strip(" .").eq(">50K").to_numpy().astype(np.int64)
    return read.astype({c: object for c in read if not pd.api.types.is_numeric_dtype(read[c].dtype)}), y


@dataclass(frozen=True)
class Task:
    """What every library gets."""

    model: Any
    background: pd.DataFrame
    labels: NDArray[np.int64]
    rows: pd.DataFrame
    texts: list[str]


def make_task(name: str, adult: str, rows: int) -> tuple[Task, Codec]:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    x, y = data(name, adult)
    texts = [c for c in x if x[c].dtype == object]
    train, test, goal, _ = train_test_split(x, y, test_size=0.4, random_state=0, stratify=y)
    encoder = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), texts), remainder="passthrough"
    )
    model = make_pipeline(encoder, HistGradientBoostingClassifier(random_state=0)).fit(train, goal)
    part, labels = train[:BACKGROUND].reset_index(drop=True), goal[:BACKGROUND]
    return Task(model, part, labels, test[:rows].reset_index(drop=True), texts), Codec(x, texts)


class Counted:
    """The model as a library gets it."""

    def __init__(self, model: Any) -> None:
        self.classes_ = model.classes_
        self.predict_proba, self.predict = CountingModel(model.predict_proba), CountingModel(model.predict)

    @property
    def rows(self) -> int:
        return self.predict_proba.rows + self.predict.rows


def make_whybox(task: Task, model: Counted, method: str, seed: int) -> Explain:
    import whybox as wb

    explainer = wb.TabularCounterfactuals(model.predict_proba, task.background, n_counterfactuals=ASKED)

    def explain(rows: pd.DataFrame) -> list[pd.DataFrame]:
        e = explainer.explain(rows, seed=seed)
        return [part.rows for part in e]

    return explain


def make_dice(task: Task, model: Counted, method: str, seed: int) -> Explain:
    import dice_ml

    numbers = [c for c in task.background if c not in task.texts]
    known = dice_ml.Data(dataframe=task.background.assign(outcome=task.labels), continuous_features=numbers, outcome_name="outcome")
    explainer = dice_ml.Dice(known, dice_ml.Model(model=model, backend="sklearn"), method=method)
    options = {"random_seed": seed} if method == "random" else {}

    def explain(rows: pd.DataFrame) -> list[pd.DataFrame]:
        try:
            (found,) = explainer.generate_counterfactuals(rows, total_CFs=ASKED, desired_class="opposite", **options).cf_examples_list
        except dice_ml.utils.exception.UserConfigValidationException as error:
            if "No counterfactuals found" not in str(error):
                raise
            return [rows[:0]]
        out = found.final_cfs_df if found.final_cfs_df_sparse is None else found.final_cfs_df_sparse
        return [rows[:0] if out is None else out[list(rows)]]

    return explain


def make_nice(task: Task, model: Counted, method: str, seed: int) -> Explain:
    from nice import NICE

    def predict(values: NDArray[Any]) -> Floats:
        return np.asarray(model.predict_proba(pd.DataFrame(values, columns=list(task.rows)).astype(task.rows.dtypes)))

    places = [task.rows.columns.get_loc(c) for c in task.texts]
    explainer = NICE(predict, task.background.to_numpy(dtype=object if places else float), places, y_train=task.labels)
    return lambda rows: [pd.DataFrame(explainer.explain(rows.to_numpy(dtype=object if places else float)), columns=list(rows))]


class Codec:
    """Rows as numbers and back: a text becomes its place among the table's."""

    def __init__(self, x: pd.DataFrame, texts: list[str]) -> None:
        self.dtypes, self.texts = x.dtypes, {c: sorted(x[c].unique()) for c in texts}
        self.ordered = np.array([c not in texts for c in x])

    def encode(self, x: pd.DataFrame) -> Floats:
        columns = [
            pd.Categorical(x[c].astype(str), self.texts[c]).codes
            if c in self.texts
            else pd.to_numeric(x[c]).round(0 if self.dtypes[c].kind == "i" else 15)
            for c in x
        ]
        return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns]).reshape(len(x), -1)

    def decode(self, z: Floats) -> pd.DataFrame:
        columns = {
            c: np.array(self.texts[c], dtype=object)[z[:, j].astype(int)] if c in self.texts else z[:, j]
            for j, c in enumerate(self.dtypes.index)
        }
        return pd.DataFrame(columns).astype(self.dtypes)


class Judge:
    """Distances, plausibility and validity, of rows as numbers (m, d)."""

    def __init__(self, task: Task, codec: Codec) -> None:
        self.model, self.codec, self.background = task.model, codec, codec.encode(task.background)
        self.sorted = np.sort(self.background, axis=0)
        self.width = np.where(np.ptp(self.background, axis=0) > 0, np.ptp(self.background, axis=0), 1.0)
        self.there = self.place(self.background)
        self.isolation = np.array([np.delete(self.gaps(row), i).min() for i, row in enumerate(self.background)])

    def classes(self, z: Floats) -> NDArray[np.int64]:
        return np.asarray(self.model.predict(self.codec.decode(z))) if len(z) else np.zeros(0, dtype=np.int64)

    def place(self, z: Floats) -> Floats:
        """Of every value among the background's, 0 to 1, equal ones counting half."""
        places = [np.searchsorted(s, c, "left") + np.searchsorted(s, c, "right") for s, c in zip(self.sorted.T, z.T, strict=True)]
        return np.stack(places, axis=1) / (2 * len(self.background))

    def apart(self, z: Floats, own: Floats) -> Floats:
        """(m, d) by the background between both values."""
        return np.where(self.codec.ordered, np.abs(self.place(z) - self.place(own[None])), z != own)

    def gower(self, z: Floats, own: Floats) -> Floats:
        return np.asarray(np.where(self.codec.ordered, np.abs(z - own) / self.width, z != own).mean(axis=1))

    def gaps(self, row: Floats) -> Floats:
        """(b,) distances to the background, for which gaps in the data count."""
        steps = np.maximum(np.abs(self.there - self.place(row[None])), np.abs(self.background - row) / self.width)
        return np.asarray(np.where(self.codec.ordered, steps, self.background != row).sum(axis=1))

    def plausible(self, z: Floats) -> Floats:
        return np.array([(self.isolation >= self.gaps(row).min() - 1e-12).mean() >= PLAUSIBLE for row in z])

    def cleaned(self, z: Floats, own: Floats) -> Floats:
        """Numbers that are nearly the row's own, or nearly one of the background, become it."""
        out = z.copy()
        for j in np.flatnonzero(self.codec.ordered):
            for known in (self.sorted[:, j], own[[j]]):
                right = np.searchsorted(known, z[:, j]).clip(0, len(known) - 1)
                for near in (known[right], known[(right - 1).clip(0)]):
                    out[:, j] = np.where(np.abs(z[:, j] - near) <= EQUAL * np.abs(near), near, out[:, j])
        return out

    def judge(self, returned: Floats, own: Floats) -> dict[str, float]:
        """What is told of one explained row."""
        was = self.classes(own[None])[0]
        z = self.cleaned(returned, own)
        good = self.classes(z) != was
        z = np.unique(z[good], axis=0)
        if not len(z):
            return {"found": 0.0, "distinct": 0.0} | ({"valid": 0.0} if len(returned) else {})
        changed = z != own
        count, distance, gower = changed.sum(axis=1), self.apart(z, own).sum(axis=1), self.gower(z, own)
        best = np.argmin(distance + SPARSITY * count)
        back = [
            (i, np.where(np.arange(len(own)) == j, own, row)) for i, row in enumerate(z) if count[i] > 1 for j in np.flatnonzero(changed[i])
        ]
        still = self.classes(np.array([row for _, row in back])) != was
        pairs = [1 - (a & b).sum() / (a | b).sum() for a, b in combinations(changed, 2)]
        occurs = [(self.background[:, j] == z[i, j]).any() for i, j in np.argwhere(changed)]
        return {
            "found": 1.0,
            "distinct": float(len(z)),
            "valid": float(good.mean()),
            "changed": float(count[best]),
            "changed_all": float(count.mean()),
            "distance": float(distance[best]),
            "distance_all": float(distance.mean()),
            "gower": float(gower.min()),
            "gower_all": float(gower.mean()),
            "occurs": float(np.mean(occurs)),
            "plausible": float(self.plausible(z).mean()),
            "needless": len({i for (i, _), yes in zip(back, still, strict=True) if yes}) / len(z),
        } | ({"diversity": float(np.mean(pairs))} if pairs else {})


def measure(library: str, name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """In this process: explain, with CPU time, then judge."""
    warnings.simplefilter("ignore")
    task, codec = make_task(name, options.adult, options.rows)
    model, (package, _, method) = Counted(task.model), library.partition(" ")
    make = {"whybox": make_whybox, "DiCE": make_dice, "NICE": make_nice}[package]
    make(task, Counted(task.model), method, seed)  # imports
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # DiCE draws from the global generators
    found: list[pd.DataFrame] = []
    late, errors = 0, []
    size = len(task.rows) if package == "whybox" else 1  # the others go through the rows one by one in any case
    began = time.process_time()
    explain = make(task, model, method, seed)
    for start in range(0, len(task.rows), size):
        part = task.rows[start : start + size]
        try:
            with limited(options.limit * len(part)):
                found += explain(part)
        except OutOfTimeError:
            found, late = found + [part[:0]] * len(part), late + len(part)
        except Exception as error:  # noqa: BLE001  # whatever a library raises is its answer
            found, errors = found + [part[:0]] * len(part), [*errors, f"{type(error).__name__}: {error}"[:200]] * len(part)
    seconds = (time.process_time() - began) / len(task.rows)
    judge, own = Judge(task, codec), codec.encode(task.rows)
    told = [judge.judge(codec.encode(frame[list(task.rows)]), row) for frame, row in zip(found, own, strict=True)]
    means = {key: float(np.mean([row[key] for row in told if key in row])) for key in MEASURES if any(key in row for row in told)}
    means |= {"late": late, "errors": len(errors), "cpu": seconds, "model_rows": model.rows / len(task.rows)}
    return {"measures": means, "messages": sorted(set(errors)), "each": told}


def cell(numbers: list[float]) -> str:
    """Median (least to most), or the one number there is."""
    return "" if not numbers else f"{numbers[0]:.3g}" if min(numbers) == max(numbers) else spread(numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3, help="with seeds 0, 1 and so on")
    parser.add_argument("--limit", type=float, default=30.0, help="CPU seconds a row")
    parser.add_argument("--data", nargs="*", default=["generated", "breast_cancer"], choices=["generated", "breast_cancer"])
    parser.add_argument("--adult", default="", help="path of the UCI file adult.data (or adult.data.gz), for that table, too")
    parser.add_argument("--libraries", nargs="*", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--quick", action="store_true", help="3 rows of the generated table, once, 5 seconds a row")
    parser.add_argument("--out")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rows, options.repeats, options.limit, options.data = 3, 1, 5.0, ["generated"]
    if options.one:
        print(json.dumps(measure(options.one[0], options.one[1], int(options.one[2]), options)))
        return
    names = options.data + (["adult"] if options.adult else [])
    results: dict[str, dict[str, list[dict[str, Any]]]] = {name: {library: [] for library in options.libraries} for name in names}
    for seed in range(options.repeats):
        for name, libraries in results.items():
            for library, runs in libraries.items():
                if any("failed" in run or run["measures"]["late"] for run in runs):
                    continue
                more = ["--rows", str(options.rows), "--limit", str(options.limit), "--adult", options.adult]
                limit = 2 * options.rows * options.limit + 300
                runs.append(in_fresh_process(sys.argv[0], ["--one", library, name, str(seed), *more], timeout=limit))
                print(name, library, seed, {k: v for k, v in runs[-1].items() if k != "each"}, file=sys.stderr, flush=True)
    text = ""
    for name, libraries in results.items():
        good = {library: [run["measures"] for run in runs if "failed" not in run] for library, runs in libraries.items()}
        lines = [[label, *(cell([run[key] for run in runs if key in run]) for runs in good.values())] for key, label in MEASURES.items()]
        text += f"### Counterfactual rows: {name}\n\n" + table(["", *good], lines) + "\n\n"
        for library, runs in libraries.items():
            said = sorted({message for run in runs for message in [run.get("failed", ""), *run.get("messages", [])] if message})
            text += f"{library}: {'; '.join(said)}\n\n" if said else ""
    packages = ("whybox", "dice-ml", "NICEx", "numpy", "pandas", "scikit-learn")
    text += conditions(packages, "python benchmarks/counterfactual_rows.py " + shlex.join(sys.argv[1:]))
    text += f" Median (least to most) of the repetitions, {options.rows} rows, seeds 0 to {options.repeats - 1}."
    save("counterfactual_rows", text, results, options.out)


if __name__ == "__main__":
    main()
