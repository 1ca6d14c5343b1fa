"""What a surrogate that all rows share saves: error of Shapley values with and without it, at equal queries.

    python benchmarks/shared_surrogate.py [--games breast_cancer gbdt8 mlp16 synthetic60] [--fit 50000] [--share 100] [--rows 24]
        [--seeds 3] [--budgets 2 5 10 20 50]

The surrogate learns from ``--fit`` hybrids of training rows and background rows. Its queries are charged to the ``--share`` rows that are
assumed to be explained with it: in the columns that use it every row has fit / (share * background) coalitions fewer (rounded up to pairs).
Errors are relative L2, median over the rows, mean over the seeds (of coalitions and of the background) with their range; "cover" is the
share of 95 % intervals of "prior+s" that hold the exact value. "rho" is what the surrogate leaves of the odd part beyond the linear one,
which is what a paired estimator gets wrong: 1 means that there is nothing to gain by subtraction, and says why. "agreement" is that of the
surrogate's two halves on third-order interactions: below 0.6 the prior does not know them, and the odd GP should be used. Times are CPU.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from _games import GAMES, Game

from whybox._random import generator
from whybox.errors import WhyboxError
from whybox.samplers.coalitions import coalitions
from whybox.solvers._pairs import odd_part
from whybox.solvers.choose import choose_estimator
from whybox.solvers.control_variate import solve_controlled
from whybox.solvers.least_squares import solve_least_squares
from whybox.solvers.odd_gp import solve_odd_gp
from whybox.solvers.spectral_gp import solve_spectral_gp
from whybox.solvers.tree_surrogate import BoundSurrogate, fit_surrogate
from whybox.typing import Floats

REFERENCE = 200
ODD_GP_PAIRS = 800  # beyond, the odd Gaussian process of each row is too slow for a benchmark


def reference_rows(name: str) -> Floats:
    """Training rows: backgrounds of other seeds of the same model."""
    rows = np.zeros((0, 0))
    for seed in range(1000, 1000 + REFERENCE):
        fresh = GAMES[name](1, seed).background
        rows = fresh if not rows.size else np.concatenate([rows, fresh])
        if len(rows) >= REFERENCE:
            break
    return rows[:REFERENCE]


def hybrids(reference: Floats, background: Floats, n: int, rng: np.random.Generator) -> Floats:
    """(n, d) rows with coalitions of every size from 0 to d equally likely."""
    d = reference.shape[1]
    kept = rng.random((n, d)).argsort(axis=1) < rng.integers(0, d + 1, size=(n, 1))
    return np.where(kept, reference[rng.integers(len(reference), size=n)], background[rng.integers(len(background), size=n)])


def relative_error(found: Floats, truth: Floats) -> float:
    return float(np.median(np.linalg.norm(found - truth, axis=1) / np.linalg.norm(truth, axis=1)))


def rho(codes: np.ndarray, v: Floats, left: Floats) -> float:
    """Root of the share of the odd part beyond the linear one that is left."""
    ends = np.zeros(len(v))
    both = [odd_part(codes, values, ends, ends) for values in (v, left)]
    basis, _ = np.linalg.qr(both[0].z)
    whole, rest = (np.linalg.norm(pairs.g - pairs.g @ basis @ basis.T, axis=1) for pairs in both)
    return float(np.median(rest / whole))


def one_budget(game: Game, bound: BoundSurrogate, m: int, charged: int, seed: int) -> dict[str, float]:
    """Errors, coverage and seconds of every estimator at one budget and seed."""
    found: dict[str, float] = {}
    empty, full = game.ends()
    d = game.x.shape[1]
    rng = generator(seed, "benchmark coalitions")
    most = 2 ** min(d, 62) - 2
    for shared, budget in ((False, min(m, most)), (True, min(m - charged, most))):
        if budget < 4:
            continue
        scheme = "leverage" if shared else choose_estimator(d, budget).scheme
        codes = coalitions(d, budget, generator(seed, "benchmark coalitions"), scheme=scheme)
        v = game.values(codes)
        if not shared:
            even = coalitions(d, budget, rng)
            found["WLS"] = relative_error(solve_least_squares(even, game.values(even), empty, full).values, game.truth)
            if budget // 2 <= ODD_GP_PAIRS:
                found["odd GP"] = relative_error(solve_odd_gp(codes, v, empty, full).values, game.truth)
            continue
        began = time.process_time()
        guide = bound.guide(game.x, codes, 0)
        found["guide ms/row"] = 1e3 * (time.process_time() - began) / len(game.x)
        found["rho"] = rho(codes, v, v - guide.v) if budget > 3 * d else float("nan")
        found["surrogate alone"] = relative_error(guide.shapley, game.truth)
        found["WLS+s"] = relative_error(solve_controlled(solve_least_squares, codes, v, empty, full, guide).values, game.truth)
        if budget // 2 <= ODD_GP_PAIRS:
            found["odd GP+s"] = relative_error(solve_controlled(solve_odd_gp, codes, v, empty, full, guide).values, game.truth)
        found["prior"] = relative_error(solve_spectral_gp(codes, v, empty, full, spectrum=bound.spectra[0]).values, game.truth)
        began = time.process_time()
        both = solve_spectral_gp(codes, v, empty, full, spectrum=bound.spectra[0], guide=guide)
        found["solve ms/row"] = 1e3 * (time.process_time() - began) / len(game.x)
        found["prior+s"] = relative_error(both.values, game.truth)
        found["cover"] = float(np.mean(np.abs(both.values - game.truth) <= 1.96 * both.std_error + 1e-12))
    return found


def run(name: str, options: argparse.Namespace) -> None:
    reference = reference_rows(name)
    rows: dict[int, list[dict[str, float]]] = {k: [] for k in options.budgets}
    for seed in range(options.seeds):
        game = GAMES[name](options.rows, seed)
        b, d = game.background.shape
        queries = hybrids(reference, game.background, options.fit, generator(seed, "benchmark hybrids"))
        surrogate = fit_surrogate(queries, game.predict(queries))
        began = time.process_time()
        bound = surrogate.bind(game.background, reference[:100])
        charged = 2 * int(np.ceil(options.fit / (options.share * b) / 2))
        if seed == 0:
            leaves = sum(half.ensemble.n_leaves for pair in bound.games for half in pair)
            print(
                f"\n## {game.name}: R2 {surrogate.r2[0]:.4f}, agreement {bound.spectra[0].agreement:.2f}, "
                f"fit {surrogate.fit_seconds:.1f} s, bind {time.process_time() - began:.2f} s, "
                f"{leaves} leaves, {len(bound.spectra[0].triples)} triples; {options.fit} queries = {charged} of the coalitions of each of "
                f"{options.share} rows"
            )
        for k in options.budgets:
            if k * d < 2**d - 2:
                rows[k].append(one_budget(game, bound, k * d, charged, seed))
    columns = ["WLS", "odd GP", "WLS+s", "odd GP+s", "prior", "prior+s", "surrogate alone", "rho", "cover", "guide ms/row", "solve ms/row"]
    print("| | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    for k, found in rows.items():
        if found:
            print(f"| {k}d | " + " | ".join(cell([row[column] for row in found if column in row]) for column in columns) + " |")


def cell(numbers: list[float]) -> str:
    if not numbers:
        return ""
    spread = f" ({min(numbers):.2g}-{max(numbers):.2g})" if len(numbers) > 1 else ""
    return f"{np.mean(numbers):.3g}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=sorted(GAMES), default=sorted(GAMES))
    parser.add_argument("--fit", type=int, default=50_000, help="queries that the surrogate learns from")
    parser.add_argument("--share", type=int, default=100, help="rows that share the surrogate's queries")
    parser.add_argument("--rows", type=int, default=24, help="rows over which the error is measured")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budgets", type=int, nargs="+", default=[2, 5, 10, 20, 50], help="coalitions of a row, in multiples of d")
    options = parser.parse_args()
    for name in options.games:
        try:
            run(name, options)
        except WhyboxError as error:
            print(f"\n## {name}: {error}")


if __name__ == "__main__":
    main()
