"""Few features by the lasso: what their values are, and how well that is known."""

from dataclasses import replace
from itertools import product
from math import comb

import numpy as np
import pytest

import whybox as wb
from whybox.errors import OptionError
from whybox.samplers import coalitions
from whybox.solvers.exact import solve_exact
from whybox.solvers.odd_gp import solve_odd_gp
from whybox.solvers.sparse import solve_sparse

D = 7
ALL = np.array(list(product([False, True], repeat=D)))[1:-1]


def game(codes, seed=0):
    """Three features that matter, alone and together, and little ones."""
    rng = np.random.default_rng(seed)
    z = np.asarray(codes, dtype=float)
    small, deep = z @ rng.normal(scale=0.2, size=D), z[:, 0] * z[:, 1] * z[:, 2]
    return 3.0 * z[:, 0] - 2.0 * z[:, 1] + 1.5 * deep + small + 0.3 * z[:, 3] * z[:, 4] * z[:, 5]


def ends(seed=0):
    return game(np.zeros((1, D)), seed), game(np.ones((1, D)), seed)


def regression(codes, v, empty, full, chosen):
    """KernelSHAP's constrained regression on some features, by its normal equations and a multiplier for the sum."""
    size, k = codes.sum(axis=1), len(chosen)
    weight = np.array([(D - 1) / (comb(D, s) * s * (D - s)) for s in size])
    z = codes[:, chosen].astype(float)
    system = np.block([[z.T @ (weight[:, None] * z), np.ones((k, 1))], [np.ones((1, k)), np.zeros((1, 1))]])
    return np.linalg.solve(system, np.append(z.T @ (weight * (v - empty)), full - empty))[:k]


@pytest.mark.parametrize("keep", [1, 3, 5, "bic"])
def test_all_coalitions_give_the_regression_on_what_is_chosen(keep):
    codes = coalitions(D, 2**D - 2, np.random.default_rng(0))
    v, (empty, full) = game(codes), ends()
    found = solve_sparse(codes, v[None], empty, full, keep=keep)
    chosen = np.flatnonzero(found.values[0])
    assert len(chosen) == keep or keep == "bic"
    np.testing.assert_allclose(found.values[0, chosen], regression(codes, v, empty[0], full[0], chosen), atol=1e-9)
    assert (found.std_error[0, chosen] == 0.0).all()
    assert np.isnan(np.delete(found.std_error[0], chosen)).all()


def limit(exact, chosen):
    return exact[chosen] + (exact.sum() - exact[chosen].sum()) / len(chosen)


def test_intervals_hold_the_limit_and_noise_is_less_than_that_of_the_regression():
    empty, full = ends()
    exact = solve_exact(ALL, game(ALL)[None], empty, full).values[0]
    inside, ours, theirs = [], [], []
    for seed in range(40):
        codes = coalitions(D, 40, np.random.default_rng(seed), scheme="kernel")
        found = solve_sparse(codes, game(codes)[None], empty, full, keep=3)
        chosen = np.flatnonzero(found.values[0])
        truth = limit(exact, chosen)
        inside += (np.abs(found.values[0, chosen] - truth) <= 1.96 * found.std_error[0, chosen] + 1e-12).tolist()
        ours.append(np.linalg.norm(found.values[0, chosen] - truth))
        z = codes[:, chosen].astype(float)  # drawn by the kernel: all weigh alike
        system = np.block([[z.T @ z, np.ones((3, 1))], [np.ones((1, 3)), np.zeros((1, 1))]])
        plain = np.linalg.solve(system, np.append(z.T @ (game(codes) - empty), full - empty))[:3]
        theirs.append(np.linalg.norm(plain - truth))
        np.testing.assert_allclose(found.values.sum(), full - empty)
    assert np.mean(inside) >= 0.9
    assert np.mean(ours) < 0.7 * np.mean(theirs)


def test_a_selection_also_holds_where_all_coalitions_are_asked():
    e = wb.KernelSHAP(lambda rows: game(rows), np.zeros((1, D)), l1_reg=2).explain(np.ones((2, D)), budget=2**D)
    assert ((e.values != 0).sum(axis=1) == 2).all()
    np.testing.assert_allclose(e.values.sum(axis=1) + e.base_values, e.predictions)
    assert "lasso" in e.estimator


def test_where_nothing_is_left_out_nothing_changes():
    codes = coalitions(D, 30, np.random.default_rng(0))
    v, (empty, full) = game(codes)[None], ends()
    whole, found = solve_odd_gp(codes, v, empty, full), solve_sparse(codes, v, empty, full, keep=50)
    np.testing.assert_allclose(found.values, whole.values, atol=1e-12)
    np.testing.assert_allclose(found.std_error, whole.std_error)


def test_a_tolerance_holds_for_what_is_selected():
    x, background = np.ones((2, D)), np.zeros((1, D))
    e = wb.KernelSHAP(game, background, l1_reg=3).explain(x, tol=1e-6)
    assert np.nanmax(e.std_error) <= 1e-6  # all coalitions, in the end
    with pytest.warns(wb.ToleranceWarning, match="tol="):
        e = wb.KernelSHAP(game, background, l1_reg=3).explain(x, tol=1e-6, budget=60)
    assert e.stats.n_queries > 2 * 4 * D
    assert np.nanmax(e.std_error) > 1e-6


def test_an_estimator_that_was_asked_for_is_used():
    x, background = np.ones((2, D)), np.zeros((1, D))
    for estimator in ("least squares", "odd GP"):
        e = wb.KernelSHAP(game, background, l1_reg=2, estimator=estimator).explain(x, budget=60)
        assert estimator in e.estimator
    with pytest.raises(OptionError, match="surrogate"):
        replace(wb.KernelSHAP(game, background).fit(np.random.default_rng(0).random((50, D)), budget=500), l1_reg=2)


def test_one_feature_has_everything():
    found = solve_sparse(np.zeros((0, 1), dtype=bool), np.zeros((2, 0)), np.zeros(2), np.array([1.0, -2.0]), keep=1)
    assert found.values.tolist() == [[1.0], [-2.0]]
