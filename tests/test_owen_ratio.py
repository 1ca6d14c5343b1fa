"""Ratio estimates of Owen values: errors and their bars on a game that saturates, as texts do."""

from __future__ import annotations

import numpy as np
import pytest

from whybox import PartitionSHAP
from whybox.solvers import owen_ratio
from whybox.spaces import Baseline

D = 64
WEIGHTS = np.random.default_rng(0).normal(size=D) * (np.random.default_rng(1).random(D) < 0.3) + 0.02


def saturating(rows):
    """A mean of words, as a model of relative frequencies sees them: the fewer there are, the more each counts."""
    return np.tanh((rows @ WEIGHTS) / np.sqrt(rows.sum(axis=1) + 1.0))


def explained(budget, seed=0):
    return PartitionSHAP(saturating, space=Baseline(np.zeros(D))).explain(np.ones((1, D)), budget=budget, seed=seed)


@pytest.fixture(scope="module")
def truth():
    e = explained(10**6)
    assert e.estimator.endswith("exact")  # all contexts
    return e.values[0]


def coverage(truth, budget):
    """Shares of the 95 % intervals that hold the exact value: of all features, and of the ten largest."""
    found = [explained(budget, seed) for seed in range(30)]
    holds = np.array([np.abs(e.values[0] - truth) <= 1.96 * e.std_error[0] for e in found])
    return holds.mean(), holds[:, np.argsort(-np.abs(truth))[:10]].mean()


@pytest.mark.parametrize("budget", [200, 600])
def test_intervals_hold_the_exact_value_of_large_values_too(truth, budget):
    everywhere, largest = coverage(truth, budget)
    assert everywhere > 0.9
    assert largest > 0.8


def test_without_what_is_common_the_intervals_are_too_narrow(truth, monkeypatch):
    monkeypatch.setattr(owen_ratio, "_COMMON", 0.0)  # a wrong implementation that the test above must catch
    everywhere, largest = coverage(truth, 200)
    assert everywhere < 0.9 or largest < 0.8


def test_the_profile_of_fading_pays_where_contributions_fade(truth, monkeypatch):
    def error():
        return np.mean([((explained(200, seed).values[0] - truth) ** 2).sum() for seed in range(10)])

    with_profile = error()
    monkeypatch.setattr(owen_ratio, "_CLEAR", 0.0)  # nothing is ever better than plain means
    assert with_profile < 0.9 * error()
