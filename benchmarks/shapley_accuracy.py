"""Error of Shapley values at a number of coalitions: whybox's estimators beside those of shap and shapiq, on games whose values are known.

Every estimator may ask for as many coalitions as the budget says besides the empty and the full one (shap's Permutation rounds down to
whole antithetic permutations, which take 2 d - 2; a game with fewer coalitions than that is asked for all of them). Error: |estimate -
truth| / |truth|, Euclidean, a row; its median over the rows; the median, least and largest of these over the seeds. Seeds change rows,
background and draws. LeverageSHAP and OddSHAP need shapiq >= 1.6.

    python benchmarks/shapley_accuracy.py --rows 20 --seeds 3 --budgets 2d-2 2d 5d 10d 20d 50d --out benchmarks/results
    python benchmarks/shapley_accuracy.py --quick
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from statistics import median
from typing import Any

import numpy as np
from _games import GAMES, Bools, Floats, Game
from _measure import conditions, save, spread, table
from _peers import ALL_PEERS, PEERS, SkippedError

from whybox.samplers import coalitions
from whybox.solvers.choose import choose_estimator, scheme_for
from whybox.solvers.least_squares import solve_least_squares
from whybox.typing import Estimate

OURS = ("whybox auto", "whybox least squares")


def whybox_values(game: Game, asked: int, seed: int, auto: bool) -> tuple[Estimate, float]:
    """Estimate for all rows, and CPU milliseconds a row."""
    d = game.x.shape[1]
    choice = choose_estimator(d, asked - 2)
    scheme = choice.scheme if auto else scheme_for(d, asked - 2, linear=True)
    codes = coalitions(d, asked - 2, np.random.default_rng([seed, d]), scheme=scheme)
    empty, full = game.ends()
    v = game.values(codes)
    began = time.process_time()
    found = (choice.solve if auto else solve_least_squares)(codes, v, empty, full)
    return found, 1e3 * (time.process_time() - began) / len(v)


def errors(values: Floats, truth: Floats) -> Floats:
    """(rows,) relative Euclidean errors."""
    out: Floats = np.linalg.norm(values - truth, axis=1) / np.linalg.norm(truth, axis=1)
    return out


def coalitions_of(budget: str, d: int) -> int:
    """How many coalitions "2d-2", "5d" or "2.5d" are, with the empty and the full one."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)d([+-]\d+)?", budget)
    if found is None:
        raise SystemExit(f"--budgets: expected multiples of d such as 2d-2, 2d or 2.5d, got {budget}")
    return min(round(float(found[1]) * d) + int(found[2] or 0) + 2, 2**d)


def run_seed(game: Game, budgets: list[str], seed: int, peers: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Results by estimator and budget."""
    d = game.x.shape[1]
    out: dict[str, dict[str, dict[str, float]]] = {name: {} for name in (*OURS, *peers)}
    for budget in budgets:
        asked = coalitions_of(budget, d)
        for name in OURS:
            found, cost = whybox_values(game, asked, seed, name == "whybox auto")
            inside = np.abs(found.values - game.truth) <= 1.96 * found.std_error + 1e-9 * np.abs(game.truth).max()
            out[name][budget] = {"error": float(np.median(errors(found.values, game.truth))), "coverage": float(inside.mean()), "ms": cost}
        for name in peers:
            try:
                values, cost = peer_values(game, asked, seed, name)
            except SkippedError:
                continue
            out[name][budget] = {"error": float(np.median(errors(values, game.truth))), "ms": cost}
    return out


def peer_values(game: Game, asked: int, seed: int, name: str) -> tuple[Floats, float]:
    """Values for all rows, and CPU milliseconds a row outside the game."""
    d, inside, values = game.x.shape[1], 0.0, np.empty_like(game.truth)
    began = time.process_time()
    for i in range(len(values)):

        def value(codes: Bools, at: int = i) -> Floats:
            nonlocal inside
            start = time.process_time()
            found: Floats = game.values(np.atleast_2d(codes).astype(bool), slice(at, at + 1))[0]
            inside += time.process_time() - start
            return found

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the peers' own remarks on budgets and solvers
            values[i] = ALL_PEERS[name](value, d, asked, seed * 1000 + i)
    return values, 1e3 * (time.process_time() - began - inside) / len(values)


def report(name: str, results: list[dict[str, dict[str, dict[str, float]]]], budgets: list[str], peers: list[str]) -> str:
    """One game's table."""

    def cell(who: str, budget: str, what: str, digits: int = 2) -> str:
        found = [seed[who][budget][what] for seed in results if budget in seed[who]]
        return spread(found, digits) if found else "-"

    rows = [[who, *(cell(who, b, "error") for b in budgets)] for who in (*OURS, *peers)]
    best = []
    for b in budgets:
        known = {who: median(s[who][b]["error"] for s in results) for who in peers if all(b in s[who] for s in results)}
        ours = median(s[OURS[0]][b]["error"] for s in results)
        winner = min(known, key=lambda who: known[who]) if known else ""
        best.append(f"{known[winner] / max(ours, 1e-12):.2f} ({winner})" if known and ours > 1e-9 else "exact")
    rows.append(["**best peer's error over whybox auto's**", *best])
    rows.append(["coverage of whybox auto's 95 % intervals", *(cell(OURS[0], b, "coverage") for b in budgets)])
    rows.append(["ms a row, whybox auto", *(cell(OURS[0], b, "ms") for b in budgets)])
    text: str = table(["estimator", *budgets], rows)
    return f"### {name}\n\n{text}\n"


def main() -> None:
    """Run and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budgets", nargs="+", default=["2d-2", "2d", "5d", "10d", "20d", "50d"], help="coalitions besides both ends")
    parser.add_argument("--games", nargs="+", choices=list(GAMES), default=list(GAMES))
    parser.add_argument("--peers", nargs="*", choices=list(ALL_PEERS), default=list(PEERS))
    parser.add_argument("--quick", action="store_true", help="6 rows, 1 seed, budgets 2d, 5d and 10d, the 30 and the 8 features")
    parser.add_argument("--out", help="folder for shapley_accuracy.md and .json")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rows, chosen.seeds, chosen.budgets, chosen.games = 6, 1, ["2d", "5d", "10d"], ["breast_cancer", "gbdt8"]
    text, data = [], {}
    for key in chosen.games:
        results: list[dict[str, Any]] = []
        for seed in range(chosen.seeds):
            game = GAMES[key](chosen.rows, seed)
            results.append(run_seed(game, chosen.budgets, seed, chosen.peers))
            print(f"{key}, seed {seed}: done", file=sys.stderr)
        text.append(report(game.name, results, chosen.budgets, chosen.peers))
        data[key] = {"rows": chosen.rows, "seeds": list(range(chosen.seeds)), "results": results}
    packages = ("whybox", "numpy", "scipy", "scikit-learn", "shap", "shapiq", "lightgbm")
    made = conditions(packages, "python benchmarks/shapley_accuracy.py " + " ".join(sys.argv[1:]))
    head = f"## Relative error of Shapley values\n\nMedian over {chosen.rows} rows; median (least to most) of {chosen.seeds} seeds.\n\n"
    save("shapley_accuracy", head + "\n".join(text) + "\n" + made, {"conditions": made, "games": data}, chosen.out)


if __name__ == "__main__":
    main()
