"""First order with a prior of its own, and the even half of every pair: linear algebra on all interactions, and what both are for."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np
import pytest

from whybox.samplers import coalitions
from whybox.solvers import odd_gp_fit
from whybox.solvers import odd_gp_settings as settings
from whybox.solvers.odd_gp import Design, solve_odd_gp
from whybox.solvers.odd_gp_fit import Data, Prior
from whybox.solvers.odd_gp_kernel import variance


@pytest.mark.parametrize("linear", [True, False])
def test_posterior_is_that_of_all_interactions(linear: bool) -> None:
    """Coefficients of every odd set of five features, independent, each with its own prior variance: Bayesian linear regression."""
    d, n, rng = 5, 12, np.random.default_rng(0)
    q, noise = rng.uniform(0.05, 0.4, d), 1e-3
    points = np.concatenate([rng.choice([-1.0, 1.0], (n, d)), np.ones((1, d))])
    sets = [set(s) for k in (1, 3, 5) for s in combinations(range(d), k)]
    signs = np.stack([points[:, sorted(s)].prod(axis=1) for s in sets], axis=1)
    prior = np.array([q[sorted(s)].prod() for s in sets])
    level = variance(q)
    prior[:d] += settings.VAGUE * level / d if linear else 0.0
    shares = np.array([[2.0 / len(s) if i in s else 0.0 for s in sets] for i in range(d)])
    y = rng.normal(size=n + 1)
    inside = np.linalg.inv((signs * prior) @ signs.T + np.diag([noise * level] * n + [settings.ENDS * level]))
    mean = shares @ (prior * (signs.T @ inside @ y))
    spread = np.diag(prior) - (prior[:, None] * (signs.T @ inside @ signs)) * prior
    scale = y @ inside @ y / (n + 1)
    data = Data(points, y, None, points @ points.T if linear else None)
    fit = Design(points, None)._posterior(data, Prior(q, noise), None)
    values, variances = fit.values(points)
    np.testing.assert_allclose(values, mean, rtol=1e-6)
    np.testing.assert_allclose(variances, scale * np.diag(shares @ spread @ shares.T), rtol=1e-4)  # of a quadrature


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("even", [True, False])
def test_steps_climb_the_marginal_likelihood(linear: bool, even: bool) -> None:
    d, n, rng = 6, 40, np.random.default_rng(1)
    points = np.concatenate([rng.choice([-1.0, 1.0], (n, d)), np.ones((1, d))])
    y = points @ rng.normal(size=d) + 0.3 * points[:, 0] * points[:, 1] * points[:, 2]
    data = Data(points, y / np.abs(y).max(), 0.2 * points[:, 0] * points[:, 1] if even else None, points @ points.T if linear else None)

    def likelihood(prior: Prior) -> float:
        both = odd_gp_fit.covariances(points, prior.q)
        level, square, log_det, count = float(both[0][0, 0]), 0.0, 0.0, 0.0
        for which, (seen, weight) in enumerate(odd_gp_fit._observations(data)):
            k = both[which] + (settings.CONSTANT * level if which else data.vague(level) * points @ points.T)
            k = k + np.diag([prior.noise * level] * n + [settings.ENDS * level])
            square += weight * seen @ np.linalg.solve(k, seen)
            log_det += weight * np.linalg.slogdet(k)[1]
            count += weight * len(seen)
        return -0.5 * count * np.log(square) - 0.5 * log_det

    before = Prior(np.full(d, 0.1), 1e-2)
    after = odd_gp_fit.improved(data, before, 2)
    assert likelihood(after) > likelihood(before) + 1.0


def network(rng: np.random.Generator, d: int, games: int) -> np.ndarray:
    """All values of smooth games, by the number of a coalition."""
    codes = (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(float)
    inner, outer = rng.normal(size=(games, d, 16)), rng.normal(size=(games, 16))
    return np.einsum("rmh,rh->rm", np.maximum(np.einsum("md,rdh->rmh", 2 * codes - 1, inner) + 2.0, 0.0), outer)


def exact(v: np.ndarray, d: int) -> np.ndarray:
    codes = (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(bool)
    size = codes.sum(axis=1)
    gain = np.array([1 / (d * comb(d - 1, k - 1)) if k else 0.0 for k in range(d + 1)])[size]
    loss = np.array([1 / (d * comb(d - 1, k)) if k < d else 0.0 for k in range(d + 1)])[size]
    return v @ np.where(codes, gain[:, None], -loss[:, None])


def error_of_networks(pairs_a_feature: int) -> float:
    d, rng = 12, np.random.default_rng(2)
    v = network(rng, d, 24)
    codes = coalitions(d, 2 * pairs_a_feature * d, rng)
    index = codes @ (1 << np.arange(d))
    found = solve_odd_gp(codes, v[:, index], v[:, 0], v[:, -1]).values
    truth = exact(v, d)
    return float(np.median(np.linalg.norm(found - truth, axis=1) / np.linalg.norm(truth, axis=1)))


@pytest.mark.parametrize("without", ["the even half", "first order apart"])
def test_networks_gain_from_both(without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = error_of_networks(12)
    if without == "first order apart":
        monkeypatch.setattr(settings, "LINEAR", 1e9)
    else:
        improved = odd_gp_fit.improved
        monkeypatch.setattr("whybox.solvers.odd_gp.improved", lambda data, *rest: improved(replace(data, even=None), *rest))
    assert both < error_of_networks(12)


def test_networks_gain_from_a_fit_that_begins_on_few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = error_of_networks(24)
    monkeypatch.setattr(settings, "BEGIN", 10**6)
    assert begun < 0.98 * error_of_networks(24)


def test_schedule_of_a_fit() -> None:
    """Pairs and cycles: few pairs, pairs from which single interactions are looked for, and twice as many as a fit begins with."""
    assert settings.schedule(40, 20) == [(40, 1)]
    assert settings.schedule(319, 20) == [(319, 3)]
    assert settings.schedule(320, 20) == [(160, 5), (320, 1)]
    assert settings.schedule(900, 20) == [(160, 5), (400, 1)]
    assert settings.schedule(900, 30) == [(400, 3)]
