"""Few coalitions a feature: which design is taken, what it gains, and errors that stay honest."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest

import whybox as wb
from polynomial import Polynomial
from whybox.samplers import coalitions
from whybox.samplers.coalitions import SCHEMES
from whybox.solvers import choose, least_squares
from whybox.solvers.choose import choose_estimator
from whybox.solvers.least_squares import solve_least_squares
from whybox.solvers.odd_gp import solve_odd_gp
from whybox.typing import Bools, Estimate, Floats, Ints

Solver = Callable[[Bools, Floats, Floats, Floats], Estimate]
D = 12
SOLVERS: list[Solver] = [solve_odd_gp, solve_least_squares]


def draw(budget: int, seed: int, scheme: str) -> Bools:
    return coalitions(D, budget, np.random.default_rng(seed), scheme=scheme)


def solve(solver: Solver, game: Polynomial, budget: int, seed: int, scheme: str) -> Estimate:
    codes = draw(budget, seed, scheme)
    return solver(codes, game(codes), *game.ends())


def median_error(solver: Solver, budget: int, scheme: str) -> float:
    """Relative, over 40 games of first to fourth order with 3 right-hand sides each."""
    found = []
    for seed in range(40):
        game = Polynomial(D, 3, seed=seed)
        truth = game.truth()
        values = solve(solver, game, budget, seed, scheme).values
        found.append(np.linalg.norm(values - truth, axis=1) / np.linalg.norm(truth, axis=1))
    return float(np.median(found))


def test_border_begins_with_single_features() -> None:
    codes = draw(2 * D + 6, 0, "border")
    assert sorted(map(tuple, codes[0 : 2 * D : 2].tolist())) == sorted(map(tuple, np.eye(D, dtype=bool).tolist()))
    assert codes[0:6:2].sum() == 3, "a budget that is cut short holds single features, too"
    assert min(codes[2 * D :].sum(axis=1).min(), (~codes[2 * D :]).sum(axis=1).min()) >= 2
    assert not np.array_equal(codes[: 2 * D], draw(2 * D, 1, "border")), "their order is drawn"


@pytest.mark.parametrize(("d", "budget", "scheme"), [
    (30, 20, "chain"), (30, 58, "chain"), (30, 59, "chain"), (30, 60, "border"), (30, 88, "border"), (30, 90, "leverage"),
    (31, 92, "border"), (31, 93, "border"), (31, 94, "leverage"), (300, 598, "chain"), (300, 600, "border"), (300, 1048, "border"),
    (300, 1050, "leverage"), (200, 3002, "leverage"),
])  # fmt: skip
def test_design_for_a_budget(d: int, budget: int, scheme: str) -> None:
    assert choose_estimator(d, budget).scheme == scheme


@pytest.mark.parametrize(("estimator", "single"), [("auto", False), ("odd GP", False), ("least squares", True)])
def test_the_explainer_asks_for_the_design_of_its_estimator(estimator: str, single: bool) -> None:
    """Of 3.25 coalitions a feature least squares sees every feature alone, the process does not."""
    asked: list[Floats] = []

    def model(rows: Floats) -> Floats:
        asked.append(rows)
        out: Floats = rows.sum(axis=1)
        return out

    explainer = wb.KernelSHAP(model, np.zeros((1, 24)), estimator=estimator)  # type: ignore[arg-type]
    explainer.explain(np.ones((1, 24)), budget=78)
    alone = {tuple(row) for row in np.concatenate(asked) if row.sum() == 1}
    assert (len(alone) == 24) == single


def test_one_triple_makes_half_the_squared_error_that_it_makes_on_a_permutation() -> None:
    """Of z_a z_b z_c, each has 2/3. A single feature's step up from the empty coalition says 2; a permutation's steps say 2, -2 and 2.

    Least squares shares out what single features say too much, which leaves less than half.
    """
    members = [2, 5, 7]

    def odd(codes: Bools) -> Floats:
        out: Floats = np.where(codes[:, members], 1.0, -1.0).prod(axis=1)
        return out

    truth = np.where(np.isin(np.arange(D), members), 2.0 / 3.0, 0.0)
    single = draw(2 * D, 3, "border")[0::2]
    alone = single.T @ (odd(single) + 1.0)  # the empty coalition has -1
    chain = draw(2 * D - 2, 3, "chain")[0::2]
    path = np.concatenate([np.zeros((1, D), bool), chain[np.argsort(chain.sum(axis=1))], np.ones((1, D), bool)])
    steps = np.diff(path.astype(int), axis=0).T @ np.diff(odd(path))
    assert ((alone - truth) ** 2).sum() == pytest.approx(3 * (4 / 3) ** 2)
    assert ((steps - truth) ** 2).sum() == pytest.approx(2 * (4 / 3) ** 2 + (8 / 3) ** 2)
    for scheme, budget, least in (("border", 2 * D, 4.0), ("chain", 2 * D - 2, 32 / 3)):
        codes = draw(budget, 3, scheme)
        found = solve_least_squares(codes, odd(codes)[None], -np.ones(1), np.ones(1)).values[0]
        assert ((found - truth) ** 2).sum() == pytest.approx(least)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("budget", [2 * D, 5 * D // 2])
def test_border_is_closer_than_one_permutation(solver: Solver, budget: int) -> None:
    assert median_error(solver, budget, "border") < 0.85 * median_error(solver, budget, "chain")


def coverage(solver: Solver, budget: int) -> tuple[float, float]:
    """Of 95 % intervals, and the mean standard error over the mean error."""
    off, said = [], []
    for seed in range(12):
        game = Polynomial(D, 3, seed=seed, orders=(1, 2, 3, 3, 5))
        found = solve(solver, game, budget, seed, "border")
        off.append(np.abs(found.values - game.truth()))
        said.append(found.std_error)
    return float(np.mean(np.array(off) <= 1.96 * np.array(said))), float(np.mean(said) / np.mean(off))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("budget", [2 * D, 2 * D + 6, 3 * D - 2])
def test_errors_cover(solver: Solver, budget: int) -> None:
    inside, width = coverage(solver, budget)
    assert inside >= 0.9
    if solver is solve_odd_gp or budget > 2 * D:  # of 12 pairs one is left to tell the noise of least squares from
        assert width < 4.0


def test_what_was_drawn_of_a_class_counts_where_nothing_is_missing() -> None:
    def shares(sizes: dict[int, int], d: int) -> list[float]:
        size = np.repeat(list(sizes), list(sizes.values()))
        drawn = least_squares.class_weights(size, d)[1]
        return [float(drawn[size == s][0]) for s in sizes]

    assert shares({1: 8, 2: 14, 3: 14, 4: 7}, 8) == pytest.approx([1.0, 14 / 28, 14 / 56, 7 / 35]), "many pairs of every size"
    assert shares({1: 8, 2: 5, 3: 5, 4: 5}, 8) == [0.0] * 4, "23 pairs of 8 features are few"
    assert shares({1: 8, 2: 14, 3: 14}, 8) == [0.0] * 3, "one size was not looked at"
    assert shares({1: 4, 2: 3}, 4) == [1.0, 1.0], "few pairs, but these are all"


def test_a_class_that_was_drawn_whole_does_not_make_values_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The saboteur trusts the share that was drawn of a class, however many classes were not looked at."""
    honest = least_squares.class_weights

    def trusting(size: Ints, d: int) -> tuple[Floats, Floats]:
        return honest(size, d)[0], np.where(size == 1, 1.0, 0.0)

    monkeypatch.setattr(least_squares, "class_weights", trusting)
    assert coverage(solve_least_squares, 2 * D)[0] < 0.2


def test_few_pairs_of_every_size_do_not_make_single_features_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The saboteur takes the share that was drawn of a class at its word where pairs are few, though every class was looked at."""
    size = np.minimum(codes_size := draw(3 * D, 0, "border")[0::2].sum(axis=1), D - codes_size)
    assert set(size.tolist()) == set(range(1, D // 2 + 1))
    assert coverage(solve_least_squares, 3 * D)[0] >= 0.95
    monkeypatch.setattr(least_squares, "_MANY", 0)
    assert coverage(solve_least_squares, 3 * D)[0] < 0.9


@pytest.mark.parametrize("sampling", ["auto", *SCHEMES])
def test_rounds_of_a_tolerance_that_end_with_all_coalitions_are_exact(sampling: str) -> None:
    background, x = np.random.default_rng(0).normal(size=(2, 4, 6))

    def model(rows: Floats) -> Floats:
        out: Floats = rows[:, :3].prod(axis=1) + np.sin(rows).sum(axis=1)
        return out

    found = wb.KernelSHAP(model, background, sampling=sampling).explain(x, tol=1e-9)  # type: ignore[arg-type]
    assert np.abs(found.values - wb.ExactSHAP(model, background).explain(x).values).max() < 1e-12


@pytest.mark.parametrize(("d", "estimator"), [(12, "auto"), (20, "least squares"), (40, "odd GP"), (300, "auto")])
def test_rounds_of_a_tolerance_are_nested(d: int, estimator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of one round are those of the next; a design that changes between them is refused."""

    def model(rows: Floats) -> Floats:
        out: Floats = rows[:, :3].prod(axis=1) + rows.sum(axis=1)
        return out

    explainer = wb.KernelSHAP(model, np.zeros((1, d)), estimator=estimator)  # type: ignore[arg-type]
    x = np.random.default_rng(0).normal(size=(1, d))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wb.ToleranceWarning)
        found = explainer.explain(x, tol=1e-9, budget=10 * d)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base_values, model(x), atol=1e-9)
    monkeypatch.setattr(choose, "_FEW", {False: 5.0, True: 5.0})
    with pytest.raises(RuntimeError, match="not the first"):
        explainer.explain(x, tol=1e-9, budget=10 * d)
