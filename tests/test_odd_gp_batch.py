"""The odd Gaussian process in stacks on a device (here torch's host) is the one that NumPy computes game by game."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import whybox as wb
from whybox.engine import _run
from whybox.samplers import coalitions
from whybox.solvers import odd_gp_batch, odd_gp_batch_fit, odd_gp_triples
from whybox.solvers.choose import placed
from whybox.solvers.least_squares import solve_least_squares
from whybox.solvers.odd_gp import solve_odd_gp

HERE = torch.zeros(0)


def smooth(codes, rng, games):
    """Networks."""
    d = codes.shape[1]
    inner, outer = rng.normal(size=(games, d, 8)) / np.sqrt(d), rng.normal(size=(games, 8))
    return np.einsum("rmh,rh->rm", np.tanh(2 * np.einsum("md,rdh->rmh", codes.astype(float), inner)), outer)


def sparse(codes, rng, games):
    """Few strong interactions of three features, other ones in each game, and in the first game none."""
    d = codes.shape[1]
    out = []
    for i in range(games):
        slope = rng.normal(size=d) * 0.2
        out.append(codes @ slope + 0.05 * np.sin(3 * codes @ slope))
        for _ in range(i):
            out[-1] = out[-1] + codes[:, rng.choice(d, 3, replace=False)].prod(axis=1)
    return np.stack(out)


def game(make, d, m, games=5):
    codes = coalitions(d, m, np.random.default_rng(0))
    ends = np.array([[False] * d, [True] * d])
    values = make(np.concatenate([codes, ends]), np.random.default_rng(d * m), games)
    return codes, values[:, :-2], values[:, -2], values[:, -1]


# pairs a feature from which the steps change: 1.25, 4, 6, 6.5 and 16; and more pairs than hyper-parameters are fitted to
@pytest.mark.parametrize(("d", "m"), [(32, 64), (12, 100), (5, 20), (8, 100), (8, 110), (12, 220), (6, 60), (4, 12), (10, 840)])
@pytest.mark.parametrize("make", [smooth, sparse])
def test_values_and_errors_are_those_of_numpy(make, d, m, monkeypatch):
    given = game(make, d, m)
    plain = solve_odd_gp(*given)
    monkeypatch.setattr(odd_gp_batch, "_BYTES", 3 * 8 * 12 * (m // 2 + 1) ** 2)  # three games at a time
    stacked = solve_odd_gp(*given, like=HERE)
    size = np.abs(plain.values).max()
    np.testing.assert_allclose(stacked.values, plain.values, atol=1e-8 * size, rtol=0)
    np.testing.assert_allclose(stacked.std_error, plain.std_error, atol=1e-8 * size, rtol=0)


def crowded(codes, rng, games):
    """Interactions of three features of falling strength, three more in each game."""
    z, d = 2.0 * codes - 1.0, codes.shape[1]
    out = []
    for i in range(games):
        slope = rng.normal(size=d) * 0.2
        out.append(codes @ slope)
        for j in range(3 * i):
            out[-1] = out[-1] + 0.6**j * z[:, rng.choice(d, 3, replace=False)].prod(axis=1)
        out[-1] = out[-1] + 0.02 * np.tanh(3 * codes @ slope)
    return np.stack(out)


def test_a_second_look_finds_interactions_in_some_games_only(monkeypatch):
    """With a lower bar, as a second look rarely finds any."""
    monkeypatch.setattr(odd_gp_triples, "CHANCE", 3.2)
    monkeypatch.setattr(odd_gp_batch, "CHANCE", 3.2)
    counts = []
    real = odd_gp_batch._put
    monkeypatch.setattr(
        odd_gp_batch, "_put", lambda whole, at, part: counts.append((whole.terms.count.tolist(), at.tolist())) or real(whole, at, part)
    )
    codes = coalitions(10, 300, np.random.default_rng(0))
    values = crowded(np.concatenate([codes, [[False] * 10, [True] * 10]]), np.random.default_rng(0), 6)
    given = codes, values[:, :-2], values[:, -2], values[:, -1]
    plain, stacked = solve_odd_gp(*given), solve_odd_gp(*given, like=HERE)
    (first, again), *_ = counts
    assert first[0] == 0 < max(first), "in one game nothing stands out, in others something does"
    assert 0 < len(again) < 6
    np.testing.assert_allclose(stacked.values, plain.values, atol=1e-8)
    np.testing.assert_allclose(stacked.std_error, plain.std_error, atol=1e-8)


def test_exact_and_linear_games_are_left_to_least_squares():
    codes = coalitions(6, 40, np.random.default_rng(0))
    slopes = np.random.default_rng(1).normal(size=(3, 6))
    slopes[0] = 0.0  # constant
    v, full = slopes @ codes.T, slopes.sum(axis=1)
    v[2] += np.tanh(codes[:, 0] * codes[:, 1] * 2.0) * codes[:, 2]
    full[2] += np.tanh(2.0)
    plain, stacked = (solve_odd_gp(codes, v, np.zeros(3), full, like=like) for like in (None, HERE))
    np.testing.assert_allclose(stacked.values, plain.values, atol=1e-10)
    np.testing.assert_allclose(stacked.values[1], slopes[1], atol=1e-12)


def test_a_covariance_that_rounding_makes_indefinite_gets_more_noise_and_stops_no_other():
    good = torch.eye(3, dtype=torch.float64)
    bad = torch.tensor([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    factor, failed = odd_gp_batch_fit.factorised(torch.stack([good, bad]), torch.ones(2).double(), torch.full((2,), 1e-6).double())
    assert failed.tolist() == [False, True]
    assert torch.isfinite(factor).all()
    stuck = odd_gp_batch_fit.Prior(*(torch.ones(2, 3).double() * 0.1, *(torch.full((2,), x).double() for x in (1e-6, 1.0, 1.0))))
    games = odd_gp_batch_fit.Games(torch.ones(3, 3).double(), torch.ones(2, 3).double(), None)
    moved, sound = odd_gp_batch_fit._stepped(games, stuck)
    assert torch.isfinite(moved.q[sound]).all()


def test_games_that_do_not_fit_the_memory_are_solved_in_smaller_stacks(monkeypatch):
    real, tried = odd_gp_batch._Solver.__call__, []

    def tight(self, g, *rest):
        tried.append(len(g))
        if len(g) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, g, *rest)

    monkeypatch.setattr(odd_gp_batch._Solver, "__call__", tight)
    given = game(smooth, 8, 60)
    np.testing.assert_allclose(solve_odd_gp(*given, like=HERE).values, solve_odd_gp(*given).values, atol=1e-8)
    assert tried[-3:] == [2, 2, 1]


def test_solver_goes_where_the_answers_are(monkeypatch):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)).double()
    x, background = np.random.default_rng(0).normal(size=(4, 12)), np.random.default_rng(1).normal(size=(6, 12))
    plain = wb.KernelSHAP(net, background).explain(x, budget=120)
    calls = []
    real = odd_gp_batch.posteriors
    monkeypatch.setattr(odd_gp_batch, "posteriors", lambda *given: calls.append(len(given[1])) or real(*given))
    wb.KernelSHAP(net, background).explain(x, budget=120)
    assert not calls, "on the host NumPy computes"
    monkeypatch.setattr(_run, "on_accelerator", lambda rows: isinstance(rows, torch.Tensor))
    there = wb.KernelSHAP(net, background).explain(x, budget=120)
    assert calls == [8], "four rows and two outputs at once"
    np.testing.assert_allclose(there.values, plain.values, atol=1e-9)
    np.testing.assert_allclose(there.std_error, plain.std_error, atol=1e-9)
    assert there.estimator == plain.estimator == "odd GP"
    assert placed(solve_least_squares, HERE) is solve_least_squares
    assert placed(solve_odd_gp, None) is solve_odd_gp
