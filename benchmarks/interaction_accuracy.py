"""Error of pairwise Shapley interaction indices at a number of coalitions: whybox beside shapiq, on games whose indices are known.

Every estimator may ask for budget times d coalitions, the empty and the full one among them. Error: |estimate - truth| / |truth| over all
pairs, Euclidean, a row; its median over the rows; the median, least and largest of these over the seeds. Seeds change rows, background and
draws. Truth: the definition, from all 2^d coalitions. Time: CPU milliseconds a row outside the game. ProxySHAP and ProxySPEX need
shapiq >= 1.6 with xgboost and lightgbm; the latter runs without its search for hyper-parameters.

    python benchmarks/interaction_accuracy.py --rows 10 --seeds 3 --out benchmarks/results
    python benchmarks/interaction_accuracy.py --quick
"""

from __future__ import annotations

import argparse
import inspect
import logging
import sys
import time
import warnings
from collections.abc import Callable
from math import comb
from statistics import median
from typing import Any

import _games
import numpy as np
from _games import Bools, Floats, Game
from _measure import conditions, save, spread, table

from whybox.samplers import coalitions
from whybox.solvers.pair_interactions import solve_pairs

PEERS: dict[str, dict[str, Any]] = {
    "KernelSHAPIQ": {},
    "InconsistentKernelSHAPIQ": {},
    "PermutationSamplingSII": {},
    "SVARMIQ": {},
    "SHAPIQ": {},
    "ProxySHAP": {},
    "ProxySPEX": {"hpo": False},
}
STRONGEST = 5  # pairs whose intervals are looked at on their own


def all_codes(d: int) -> Bools:
    return (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(bool)


def forest14(rows: int, seed: int) -> Game:
    """Forest on the first 14 columns of breast_cancer: its trees are deep, and so are its interactions."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    x, y = load_breast_cancer(return_X_y=True)
    x = x[:, :14]
    train, test, background = _games.split(len(x), rows, seed, b=20)
    model = RandomForestClassifier(40, random_state=0, n_jobs=1).fit(x[train], y[train])
    return Game("forest breast_cancer d=14", x[test], x[background], lambda a: model.predict_proba(a)[:, 1], np.empty(0))


def gbdt14(rows: int, seed: int) -> Game:
    """Boosted trees of depth 3 on the same columns, margin."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    x, y = load_breast_cancer(return_X_y=True)
    x = x[:, :14]
    train, test, background = _games.split(len(x), rows, seed, b=20)
    model = GradientBoostingClassifier(random_state=0).fit(x[train], y[train])
    return Game("GBDT breast_cancer d=14", x[test], x[background], model.decision_function, np.empty(0))


GAMES: dict[str, Callable[[int, int], Game]] = {"gbdt8": _games.housing_like, "gbdt14": gbdt14, "forest14": forest14, "mlp16": _games.mlp}


def definition(v: Floats) -> Floats:
    """Indices (rows, d, d) of games (rows, 2^d): the weighted mean, over coalitions without both, of what both add beyond each alone."""
    d = int(np.log2(v.shape[1]))
    out = np.zeros((len(v), d, d))
    codes = all_codes(d)
    weight = np.array([1.0 / ((d - 1) * comb(d - 2, k)) for k in range(d - 1)])
    for i in range(d):
        for j in range(i):
            s = np.flatnonzero(~codes[:, i] & ~codes[:, j])
            delta = v[:, s | 1 << i | 1 << j] - v[:, s | 1 << i] - v[:, s | 1 << j] + v[:, s]
            out[:, i, j] = out[:, j, i] = delta @ weight[codes[s].sum(axis=1)]
    return out


def place(codes: Bools) -> Any:
    return codes @ (1 << np.arange(codes.shape[1]))


def theirs(name: str, v: Floats, budget: int, seed: int) -> tuple[Floats, float]:
    """One game's indices by an estimator of shapiq, and CPU milliseconds."""
    import shapiq.approximator

    d = int(np.log2(len(v)))
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = getattr(shapiq.approximator, name)(n=d, max_order=2, index="SII", random_state=seed, **PEERS[name])
        found = made.approximate(budget=budget, game=lambda codes: v[place(np.atleast_2d(codes).astype(bool))] - v[0])
    return np.asarray(found.get_n_order_values(2)), 1e3 * (time.process_time() - began)


def run(game: Game, budgets: list[int], seed: int, peers: list[str]) -> dict[str, dict[int, dict[str, float]]]:
    """Median error, coverage and milliseconds, by estimator and budget."""
    d = game.x.shape[1]
    every = game.values(all_codes(d))
    truth = definition(every)
    upper = np.triu_indices(d, 1)
    size = np.linalg.norm(truth[:, *upper], axis=1)
    strongest = np.argsort(-np.abs(truth[:, *upper]), axis=1)[:, :STRONGEST]
    out: dict[str, dict[int, dict[str, float]]] = {name: {} for name in ("whybox", *peers)}
    for budget in budgets:
        asked = budget * d
        if asked >= 2**d:
            continue
        codes = coalitions(d, asked - 2, np.random.default_rng([seed, d]), scheme="leverage")
        began = time.process_time()
        found = solve_pairs(codes, every[:, place(codes)], every[:, 0], every[:, -1])
        cost = 1e3 * (time.process_time() - began) / len(every)
        off = np.abs(found.index - truth)[:, *upper]
        inside = off <= 1.96 * found.std_error[:, *upper] + 1e-9 * np.abs(truth).max()
        out["whybox"][budget] = {
            "error": float(np.median(np.linalg.norm(off, axis=1) / size)),
            "coverage": float(inside.mean()),
            "strong": float(np.take_along_axis(inside, strongest, axis=1).mean()),
            "ms": cost,
        }
        for name in peers:
            pairs = [theirs(name, v, asked, seed) for v in every]
            error = np.linalg.norm(np.array([index for index, _ in pairs])[:, *upper] - truth[:, *upper], axis=1) / size
            out[name][budget] = {"error": float(np.median(error)), "ms": float(np.mean([ms for _, ms in pairs]))}
    return out


def report(name: str, results: list[Any], budgets: list[int], peers: list[str]) -> str:
    """A table of one game."""
    seen = [b for b in budgets if b in results[0]["whybox"]]

    def cell(who: str, b: int, what: str, digits: int = 3) -> str:
        return spread([result[who][b][what] for result in results], digits)

    rows = [[f"**{who}**" if who == "whybox" else f"shapiq {who}", *(cell(who, b, "error") for b in seen)] for who in ("whybox", *peers)]
    rows.append(["coverage of whybox's 95 % intervals", *(cell("whybox", b, "coverage") for b in seen)])
    rows.append([f"the same for each row's {STRONGEST} strongest pairs", *(cell("whybox", b, "strong") for b in seen)])
    middle = {who: [median(result[who][b]["error"] for result in results) for b in seen] for who in ("whybox", *peers)}
    rows.append(["ms a row: whybox", *(cell("whybox", b, "ms", 2) for b in seen)])
    if peers:
        best = [min(peers, key=lambda who: middle[who][k]) for k in range(len(seen))]
        rows.insert(
            -1,
            ["**best peer's error over whybox's**", *(f"{middle[who][k] / middle['whybox'][k]:.1f} ({who})" for k, who in enumerate(best))],
        )
        rows.append(["ms a row: that peer", *(cell(who, b, "ms", 2) for b, who in zip(seen, best, strict=True))])
    return f"### {name}\n\n" + table(["estimator", *(f"{b}d" for b in seen)], rows)


def main() -> None:
    """Run and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budgets", type=int, nargs="+", default=[5, 10, 20, 50], help="multiples of d")
    parser.add_argument("--games", nargs="+", choices=list(GAMES), default=list(GAMES))
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--quick", action="store_true", help="3 rows, 1 seed, budgets 5 to 20, the 8 and one of the 14 features")
    parser.add_argument("--out", help="folder for interaction_accuracy.md and .json")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rows, chosen.seeds, chosen.budgets, chosen.games = 3, 1, [5, 10, 20], ["gbdt8", "gbdt14"]
    import shapiq.approximator

    kinds = {name: getattr(shapiq.approximator, name, None) for name in chosen.peers}
    there = [name for name, kind in kinds.items() if kind and PEERS[name].keys() <= inspect.signature(kind).parameters.keys()]
    print("not in the installed shapiq:", [name for name in chosen.peers if name not in there], file=sys.stderr)
    chosen.peers = there
    if "ProxySPEX" in chosen.peers:
        import lightgbm

        lightgbm.register_logger(logging.getLogger("lightgbm"))
        logging.getLogger("lightgbm").setLevel(logging.ERROR)
    text, data = [], {}
    for key in chosen.games:
        results = []
        for seed in range(chosen.seeds):
            game = GAMES[key](chosen.rows, seed)
            results.append(run(game, chosen.budgets, seed, chosen.peers))
            print(f"{key}, seed {seed}: done", file=sys.stderr)
        text.append(report(game.name, results, chosen.budgets, chosen.peers))
        data[key] = {"rows": chosen.rows, "seeds": list(range(chosen.seeds)), "results": results}
    made = conditions(
        ("whybox", "numpy", "scipy", "scikit-learn", "shapiq", "xgboost", "lightgbm"),
        "python benchmarks/interaction_accuracy.py " + " ".join(sys.argv[1:]),
    )
    save("interaction_accuracy", "\n\n".join(text) + "\n\n" + made, {"conditions": made, "games": data}, chosen.out)


if __name__ == "__main__":
    main()
