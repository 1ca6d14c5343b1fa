"""Shapley solvers: against closed forms and brute force; bits, scales, degenerate games and coverage."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from itertools import permutations as orders
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polynomial import Polynomial
from whybox.errors import BudgetError, InputError, OptionError, ShapeError
from whybox.samplers import coalitions, permutations
from whybox.samplers.coalitions import SCHEMES
from whybox.solvers.choose import choose_estimator
from whybox.solvers.exact import solve_exact
from whybox.solvers.least_squares import solve_least_squares
from whybox.solvers.odd_gp import solve_odd_gp
from whybox.solvers.odd_gp_kernel import covariance, covariances, value_covariance, value_variance, variance
from whybox.solvers.permutation import solve_permutation
from whybox.typing import Bools, Estimate, Floats

Solver = Callable[[Bools, Floats, Floats, Floats], Estimate]
PAIRED: list[Solver] = [solve_least_squares, solve_odd_gp]


def solve(solver: Solver, game: Polynomial, codes: Bools) -> Estimate:
    return solver(codes, game(codes), *game.ends())


def draw(d: int, budget: int, seed: int = 0, scheme: str = "chain") -> Bools:
    return coalitions(d, budget, np.random.default_rng(seed), scheme=scheme)


# exact


@pytest.mark.parametrize("d", [1, 2, 3, 5, 11])
def test_exact_equals_closed_form(d: int) -> None:
    game = Polynomial(d, 4, seed=d)
    codes = np.random.default_rng(0).permutation(draw(d, 2**d)) if d > 1 else draw(1, 2)
    found = solve(solve_exact, game, codes)
    assert np.abs(found.values - game.truth()).max() < 1e-12
    assert not found.std_error.any()


def test_exact_equals_average_over_all_orders() -> None:
    d, v = 5, np.random.default_rng(0).normal(size=32)
    expected = np.zeros(d)
    for order in orders(range(d)):
        inside = 0
        for i in order:
            expected[i] += (v[inside | 1 << i] - v[inside]) / factorial(d)
            inside |= 1 << i
    codes = (np.arange(1, 31)[:, None] >> np.arange(d) & 1).astype(bool)
    found = solve_exact(codes, v[None, 1:31], v[:1], v[31:])
    assert np.abs(found.values[0] - expected).max() < 1e-13


def test_exact_of_sixteen_features_with_a_large_constant() -> None:
    game = Polynomial(16, 2, seed=3)
    game.offset[:] = 1e6
    assert np.abs(solve(solve_exact, game, draw(16, 2**16)).values - game.truth()).max() < 1e-9


def test_exact_refuses_missing_and_repeated_coalitions() -> None:
    game, codes = Polynomial(4, 1, seed=0), draw(4, 14)
    with pytest.raises(BudgetError, match="need all"):
        solve(solve_exact, game, codes[:-2])
    with pytest.raises(InputError, match="exactly once"):
        solve(solve_exact, game, np.concatenate([codes[:-2], codes[:2]]))


# least squares and the Gaussian process


@pytest.mark.parametrize("solver", PAIRED)
@pytest.mark.parametrize("d", [2, 3, 7, 30])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_linear_games_are_exact_from_two_coalitions_a_feature(solver: Solver, d: int, scale: float) -> None:
    game = Polynomial(d, 3, seed=1, orders=(1,))
    game.weights *= scale
    game.offset *= scale
    for budget in (2 * d - 2, 2 * d, 5 * d):
        found = solve(solver, game, draw(d, budget))
        assert np.abs(found.values - game.truth()).max() < 1e-10 * scale


@pytest.mark.parametrize("solver", PAIRED)
def test_second_order_games_are_exact(solver: Solver) -> None:
    game = Polynomial(9, 3, seed=1, orders=(1, 2))
    assert np.abs(solve(solver, game, draw(9, 60)).values - game.truth()).max() < 1e-10


@pytest.mark.parametrize("solver", [*PAIRED, solve_permutation])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_values_sum_to_the_total(solver: Solver, scheme: str) -> None:
    game = Polynomial(10, 4, seed=2)
    empty, full = game.ends()
    for budget in (4, 10, 18, 60):
        codes = permutations(10, 4, np.random.default_rng(0)) if solver is solve_permutation else draw(10, budget, scheme=scheme)
        assert np.abs(solve(solver, game, codes).values.sum(axis=1) - (full - empty)).max() < 1e-10


@pytest.mark.parametrize("solver", [*PAIRED, solve_permutation, solve_exact])
@pytest.mark.parametrize("budget", [14, 40, 126])
def test_subset_gives_the_same_bits(solver: Solver, budget: int) -> None:
    d = 7
    if solver is solve_exact:
        budget = 126
    codes = permutations(d, 4, np.random.default_rng(0)) if solver is solve_permutation else draw(d, budget)
    game = Polynomial(d, 37, seed=4)
    v, (empty, full) = game(codes), game.ends()
    v[5:8] = v[5:6]
    everything = solver(codes, v, empty, full)
    for rows in (slice(3, 5), slice(0, 1), slice(36, 37), slice(10, 31), np.arange(36, -1, -1)):
        part = solver(codes, v[rows], empty[rows], full[rows])
        assert np.array_equal(part.values, everything.values[rows])
        assert np.array_equal(part.std_error, everything.std_error[rows])


@pytest.mark.parametrize("solver", [solve_least_squares, solve_odd_gp])
def test_subset_gives_the_same_bits_at_thirty_features(solver: Solver) -> None:
    codes, game = draw(30, 300), Polynomial(30, 9, seed=4)
    v, (empty, full) = game(codes), game.ends()
    everything, part = solver(codes, v, empty, full), solver(codes, v[3:5], empty[3:5], full[3:5])
    assert np.array_equal(part.values, everything.values[3:5])
    assert np.array_equal(part.std_error, everything.std_error[3:5])


@pytest.mark.parametrize("solver", [*PAIRED, solve_permutation, solve_exact])
def test_constant_games_have_zero_values_and_errors(solver: Solver) -> None:
    for d in (2, 3, 6):
        codes = permutations(d, 4, np.random.default_rng(0)) if solver is solve_permutation else draw(d, 2**d)
        v = np.array([[0.0], [3.7], [1e12], [1e-12]]) + np.zeros((4, len(codes)))
        found = solver(codes, v, v[:, 0], v[:, 0])
        assert np.isfinite(found.std_error).all()
        assert (np.abs(found.values) <= 1e-14 * v[:, :1]).all()
        assert (found.std_error <= 1e-13 * v[:, :1]).all()


@pytest.mark.parametrize("solver", [*PAIRED, solve_permutation, solve_exact])
def test_one_feature_gets_the_total(solver: Solver) -> None:
    found = solver(np.zeros((0, 1), dtype=bool), np.zeros((2, 0)), np.array([1.0, 2.0]), np.array([4.0, 2.0]))
    assert found.values.tolist() == [[3.0], [0.0]]
    assert found.std_error.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("solver", PAIRED)
@settings(max_examples=30, deadline=None)
@given(d=st.integers(2, 9), budget=st.integers(2, 60), seed=st.integers(0, 10**6), power=st.integers(-12, 12))
def test_any_game_gives_finite_values_and_scales(solver: Solver, d: int, budget: int, seed: int, power: int) -> None:
    rng, codes = np.random.default_rng(seed), draw(d, budget, seed)
    v, ends = rng.normal(size=(1, len(codes))), rng.normal(size=(2, 1))
    plain = solver(codes, v, *ends)
    factor = 2.0 ** (3 * power)
    scaled = solver(codes, v * factor, *(ends * factor))
    assert np.isfinite(plain.values).all()
    assert (plain.std_error >= 0).all()
    assert np.isfinite(plain.std_error).all()
    assert np.array_equal(scaled.values, plain.values * factor), "powers of two change no rounding"


@pytest.mark.parametrize("solver", PAIRED)
def test_right_hand_side_with_other_sign_gives_other_sign(solver: Solver) -> None:
    codes, game = draw(8, 60), Polynomial(8, 5, seed=0)
    v, (empty, full) = game(codes), game.ends()
    found, mirrored = solver(codes, v, empty, full), solver(codes, 1.0 - v, 1.0 - empty, 1.0 - full)
    assert np.abs(found.values + mirrored.values).max() < 1e-6 * np.abs(found.values).max()


def test_least_squares_equals_the_textbook_solution() -> None:
    """All coalitions of sizes 1 and 2 and their complements, by the constrained normal equations in full."""
    d, game = 6, Polynomial(6, 2, seed=8)
    z = np.array([[i in t for i in range(d)] for k in (1, 2) for t in combinations(range(d), k)])
    codes = np.stack([z, ~z], axis=1).reshape(-1, d)
    size = codes.sum(axis=1)
    weight = (d - 1) / (np.array([factorial(d) / factorial(s) / factorial(d - s) for s in size]) * size * (d - size))
    v, (empty, full) = game(codes), game.ends()
    gram = codes.T @ (weight[:, None] * codes)
    kkt = np.block([[gram, np.ones((d, 1))], [np.ones((1, d)), np.zeros((1, 1))]])
    for i in range(2):
        right = np.append(codes.T @ (weight * (v[i] - empty[i])), full[i] - empty[i])
        expected = np.linalg.solve(kkt, right)[:d]
        assert np.abs(solve(solve_least_squares, game, codes).values[i] - expected).max() < 1e-12


def test_least_squares_on_all_coalitions_is_exact() -> None:
    game, codes = Polynomial(7, 3, seed=5), draw(7, 126)
    found = solve(solve_least_squares, game, codes)
    assert np.abs(found.values - game.truth()).max() < 1e-12
    assert found.std_error.max() < 1e-12


@pytest.mark.parametrize(("n", "d"), [(5, 2100), (2100, 300)])
def test_least_squares_with_many_features_or_pairs(n: int, d: int) -> None:
    game = Polynomial(d, 1, seed=5, orders=(1,))
    found = solve(solve_least_squares, game, draw(d, 2 * n, scheme="leverage"))
    total = game.ends()[1] - game.ends()[0]
    assert np.abs(found.values.sum(axis=1) - total).max() < 1e-9
    if n > d:
        assert np.abs(found.values - game.truth()).max() < 1e-9


# permutations


def test_permutation_average_equals_its_definition() -> None:
    d, codes = 6, permutations(6, 4, np.random.default_rng(0))
    game = Polynomial(d, 2, seed=6)
    found = solve(solve_permutation, game, codes)
    expected = np.zeros((2, d))
    for chain in codes.reshape(2, d - 1, 2, d).transpose(0, 2, 1, 3).reshape(4, d - 1, d):
        steps = chain if chain[0].sum() == 1 else chain[::-1]
        path = np.concatenate([np.zeros((1, d), dtype=bool), steps, np.ones((1, d), dtype=bool)])
        added = np.argmax(path[1:] & ~path[:-1], axis=1)
        expected[:, added] += np.diff(game(path), axis=1) / 4
    assert np.abs(found.values - expected).max() < 1e-13


@pytest.mark.parametrize("pairs", [1, 3])
def test_permutations_are_exact_for_linear_games(pairs: int) -> None:
    game = Polynomial(5, 2, seed=6, orders=(1,))
    found = solve(solve_permutation, game, permutations(5, 2 * pairs, np.random.default_rng(0)))
    assert np.abs(found.values - game.truth()).max() < 1e-13
    assert found.std_error.max() < 1e-13


def test_permutation_solver_refuses_other_codes() -> None:
    game = Polynomial(5, 1, seed=0)
    with pytest.raises(InputError, match="permutations"):
        solve(solve_permutation, game, draw(5, 16, scheme="leverage"))
    with pytest.raises(InputError, match="whole antithetic"):
        solve(solve_permutation, game, permutations(5, 2, np.random.default_rng(0))[:6])


# the process itself


def test_kernel_equals_the_sum_over_all_interactions() -> None:
    rng = np.random.default_rng(0)
    d = 6
    q, z = rng.uniform(0.01, 0.55, d), rng.choice([-1.0, 1.0], (9, d))
    sets = [list(t) for k in range(d + 1) for t in combinations(range(d), k)]
    sign = np.array([z[:, t].prod(axis=1) for t in sets]).T
    prior = np.array([q[t].prod() for t in sets])
    odd = np.array([len(t) % 2 == 1 for t in sets])
    share = np.array([[2.0 / len(t) if i in t and len(t) % 2 else 0.0 for t in sets] for i in range(d)])
    k_odd, k_even = covariances(z, q)
    assert np.abs(k_odd - (sign * prior * odd) @ sign.T).max() < 1e-13
    assert np.abs(k_even - (sign * prior * ~odd) @ sign.T).max() < 1e-13
    assert np.abs(covariance(z, q) - k_odd).max() < 1e-13
    assert abs(variance(q) - prior[odd].sum()) < 1e-13
    assert np.abs(value_covariance(z, q) - share @ (sign * prior).T).max() < 1e-13
    assert np.abs(value_variance(q) / (share**2 @ prior) - 1).max() < 1e-5


@pytest.mark.parametrize(("d", "share"), [(9, 0.2), (30, 0.6), (60, 0.65)])
def test_process_has_less_error_than_least_squares_on_third_order(d: int, share: float) -> None:
    game, codes = Polynomial(d, 12, seed=11, orders=(1, 1, 2, 3), terms=d), draw(d, 20 * d)
    truth = game.truth()
    gp, ls = (np.linalg.norm(solve(s, game, codes).values - truth, axis=1) for s in (solve_odd_gp, solve_least_squares))
    assert np.median(gp) < share * np.median(ls)


def test_few_strong_triples_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """First order, and four products of three features that are otherwise weak: the product prior alone cannot say so."""
    d, rng = 20, np.random.default_rng(0)
    triples = np.array([[0, 1, 2], [3, 8, 9], [5, 6, 19], [4, 11, 17]])
    codes = draw(d, 400)

    def game(z: Bools) -> Floats:
        signs = np.where(z, 1.0, -1.0)
        out: Floats = (signs @ weights + signs[:, triples].prod(axis=2).sum(axis=1))[None]
        return out

    weights = np.where(np.arange(d) > 11, rng.normal(size=d), 0.0)
    ends = np.array([np.zeros(d, dtype=bool), np.ones(d, dtype=bool)])
    truth = 2.0 * weights + (2.0 / 3.0) * np.bincount(triples.ravel(), minlength=d)
    with_triples = solve_odd_gp(codes, game(codes), game(ends[:1])[0], game(ends[1:])[0])
    monkeypatch.setattr("whybox.solvers.odd_gp_settings.TRIPLES", np.inf)
    without = solve_odd_gp(codes, game(codes), game(ends[:1])[0], game(ends[1:])[0])
    error, other = (np.abs(found.values[0] - truth).max() for found in (with_triples, without))
    assert error < 0.03
    assert error < 0.25 * other


def test_standard_errors_cover() -> None:
    """95 % intervals hold the exact value 90 to 99.5 % of the time, over games, draws and features."""
    for solver, budgets in ((solve_least_squares, (50, 100)), (solve_odd_gp, (20, 30, 50, 100))):
        for budget in budgets:
            inside = []
            for seed in range(12):
                game = Polynomial(10, 6, seed=seed, orders=(1, 2, 3, 3, 5))
                found = solve(solver, game, draw(10, budget, seed, scheme="leverage" if solver is solve_least_squares else "chain"))
                inside.append(np.abs(found.values - game.truth()) <= 1.96 * found.std_error)
            assert 0.9 <= np.mean(inside) <= 0.995, (solver.__name__, budget, np.mean(inside))


def test_permutation_errors_cover() -> None:
    inside = []
    for seed in range(40):
        game = Polynomial(10, 6, seed=seed, orders=(1, 2, 3, 3, 5))
        found = solve(solve_permutation, game, permutations(10, 10, np.random.default_rng(seed)))
        inside.append(np.abs(found.values - game.truth()) <= 1.96 * found.std_error + 1e-12)
    assert 0.9 <= np.mean(inside) <= 0.995


# arguments


@pytest.mark.parametrize("solver", [*PAIRED, solve_permutation])
def test_arrays_that_do_not_belong_together_are_refused(solver: Solver) -> None:
    codes = permutations(4, 2, np.random.default_rng(0))
    v, end = np.zeros((3, 6)), np.zeros(3)
    with pytest.raises(ShapeError, match="codes"):
        solver(codes.astype(float), v, end, end)
    with pytest.raises(ShapeError, match="expected v"):
        solver(codes, v[:, :5], end, end)
    with pytest.raises(ShapeError, match="expected v"):
        solver(codes, v, end[:2], end)
    with pytest.raises(InputError, match="pairs"):
        solver(codes[[0, 2, 1, 3, 4, 5]], v, end, end)
    with pytest.raises(BudgetError, match="at least one pair"):
        solver(codes[:0], v[:, :0], end, end)
    with pytest.raises(InputError, match="empty and the full"):
        solver(np.array([[False] * 4, [True] * 4]), v[:, :2], end, end)


def test_too_many_features_for_the_process_are_refused() -> None:
    with pytest.raises(InputError, match="least squares"):
        solve_odd_gp(draw(1001, 4), np.zeros((1, 4)), np.zeros(1), np.zeros(1))


# choice


@pytest.mark.parametrize(("d", "budget", "name"), [
    (1, 0, "exact"), (4, 14, "exact"), (10, 1022, "exact"), (10, 1021, "odd GP"), (30, 60, "odd GP"), (256, 3000, "odd GP"),
    (30, 3002, "least squares"), (257, 514, "least squares"), (5000, 10**5, "least squares"),
])  # fmt: skip
def test_choice(d: int, budget: int, name: str) -> None:
    choice = choose_estimator(d, budget)
    assert choice.name == name
    assert choice.exact == (name == "exact")


@pytest.mark.parametrize("d", [1, 2, 5, 9])
def test_chosen_scheme_and_solver_fit_together(d: int) -> None:
    game = Polynomial(d, 2, seed=0)
    for budget in (2 * d - 2, 5 * d, 2**d - 2):
        if budget < 2 and d > 1:
            continue
        choice = choose_estimator(d, budget)
        found = solve(choice.solve, game, draw(d, budget, scheme=choice.scheme))
        assert found.method == choice.name
        if choice.exact:
            assert np.abs(found.values - game.truth()).max() < 1e-12


def test_choice_refuses_impossible_requests() -> None:
    with pytest.raises(OptionError, match="at least one feature"):
        choose_estimator(0, 10)
    with pytest.raises(BudgetError, match="at least one pair"):
        choose_estimator(3, 1)
