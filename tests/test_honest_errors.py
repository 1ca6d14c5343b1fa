"""Standard errors where an interaction is rare: what no coalition has shown yet must not count as known to be absent."""

from __future__ import annotations

import numpy as np
import pytest

import whybox as wb
from whybox.explainers import _shapley
from whybox.samplers import coalitions
from whybox.solvers import odd_gp_fit
from whybox.solvers.odd_gp import solve_odd_gp

DATA = np.random.default_rng(0).normal(size=(200, 12))
ROWS, BACKGROUND = DATA[100:115], DATA[:20]


def rare(rows):
    """A product, and a jump where three features agree, which few coalitions show."""
    return rows[:, 0] * rows[:, 1] + 10.0 * ((rows[:, 2] > 1) & (rows[:, 3] > 1) & (rows[:, 4] > 0))


@pytest.fixture(scope="module")
def truth():
    return wb.ExactSHAP(rare, BACKGROUND).explain(ROWS).values


def missed(truth, **options):
    """Error over standard error, the largest, and the share of 95 % intervals that hold the exact value; rows that are exact count."""
    worst, holds = 0.0, []
    for seed in range(5):
        e = wb.KernelSHAP(rare, BACKGROUND).explain(ROWS, seed=seed, **options)
        error = np.where(np.abs(e.values - truth) < 1e-9, 0.0, np.abs(e.values - truth))
        worst = max(worst, float((error / np.maximum(e.std_error, 1e-12)).max()))
        holds.append((error <= 1.96 * e.std_error).mean())
    return worst, float(np.mean(holds))


@pytest.mark.parametrize("budget", [48, 100, 150])
def test_a_small_budget_has_wide_bars(truth, budget):
    worst, covered = missed(truth, budget=budget)
    assert worst < 12
    assert covered > 0.95


def test_pairs_alike_do_not_narrow_the_bars(truth, monkeypatch):
    monkeypatch.setattr(  # each pair is predicted well from its likes: taken at its word, that says that all is known
        odd_gp_fit, "spread_of", lambda alpha, diagonal, s2: float((alpha**2 / diagonal).mean()) / s2
    )
    worst, _ = missed(truth, budget=150)
    assert worst > 20


def test_a_tolerance_is_kept_by_the_values_themselves(truth):
    for seed in range(4):
        e = wb.KernelSHAP(rare, BACKGROUND).explain(ROWS, tol=0.01, seed=seed)
        assert e.std_error.max() <= 0.01
        assert np.abs(e.values - truth).max() < 0.03


def test_a_round_that_moves_the_values_widens_their_bars():
    errors, before = np.full((2, 4, 1), 0.1), np.full((2, 4, 1), 0.2)
    moved = np.full((2, 4, 1), 0.1)
    moved[1] = 2.0
    found = _shapley._checked(errors, moved, before)
    np.testing.assert_allclose(found[0], 0.1)
    np.testing.assert_allclose(found[1], 1.0)
    np.testing.assert_allclose(_shapley._checked(0.0 * errors, moved, 0.0 * before)[1], 2.0)  # an error of zero that was none


def test_looking_linear_is_not_enough_with_few_pairs_to_spare():
    """Twelve features, 18 pairs: values are those of least squares, but not without an error."""
    codes = coalitions(12, 36, np.random.default_rng(0))
    game = (codes @ np.arange(1.0, 13.0))[None]
    few = solve_odd_gp(codes, game, np.zeros(1), np.full(1, 78.0))
    np.testing.assert_allclose(few.values[0], np.arange(1.0, 13.0))
    assert (few.std_error > 0).all()
    codes = coalitions(12, 100, np.random.default_rng(0))
    many = solve_odd_gp(codes, (codes @ np.arange(1.0, 13.0))[None], np.zeros(1), np.full(1, 78.0))
    assert (many.std_error < 1e-12).all()


def test_permutations_that_agree_by_chance_have_an_error():
    def conjunction(rows):
        return (rows > 0.5).all(axis=1) * 1.0

    for seed in range(4):
        e = wb.PermutationSHAP(conjunction, np.zeros((1, 12))).explain(np.ones((1, 12)), seed=seed)
        assert (e.std_error > 0).all()
        assert (np.abs(e.values - 1 / 12) < 5 * e.std_error).all()
