"""Samplers: coalitions and permutations."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whybox.errors import BudgetError, OptionError
from whybox.samplers import coalitions, permutations
from whybox.samplers.coalitions import SCHEMES
from whybox.typing import Bools


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("d", "budget"), [(2, 2), (3, 6), (5, 9), (8, 100), (20, 41), (30, 600), (70, 300)])
def test_coalitions_are_distinct_pairs_without_ends(scheme: str, d: int, budget: int) -> None:
    z = coalitions(d, budget, rng(), scheme=scheme)
    assert z.dtype == np.bool_
    assert z.shape == (min(budget // 2 * 2, 2**d - 2), d)
    assert (z[0::2] ^ z[1::2]).all()
    assert len(np.unique(z, axis=0)) == len(z)
    assert z.sum(axis=1).min() > 0
    assert z.sum(axis=1).max() < d


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=40, deadline=None)
@given(d=st.integers(2, 24), small=st.integers(2, 200), more=st.integers(0, 400), seed=st.integers(0, 1000))
def test_smaller_budget_is_a_prefix_of_a_larger(scheme: str, d: int, small: int, more: int, seed: int) -> None:
    first = coalitions(d, small, rng(seed), scheme=scheme)
    second = coalitions(d, small + more, rng(seed), scheme=scheme)
    assert np.array_equal(second[: len(first)], first)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("d", range(2, 12))
def test_budget_that_covers_everything_returns_every_coalition(scheme: str, d: int) -> None:
    z = coalitions(d, 10**9, rng(d), scheme=scheme)
    numbers = np.sort(z @ (1 << np.arange(d)))
    assert np.array_equal(numbers, np.arange(1, 2**d - 1))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rejected_repeats_do_not_break_the_prefix(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("whybox.samplers.coalitions"), "_ENUMERATED", 3)  # every class is now drawn by rejection
    everything = coalitions(7, 1000, rng(), scheme=scheme)
    assert len(np.unique(everything, axis=0)) == len(everything) == 126
    for budget in range(2, 126, 10):
        assert np.array_equal(coalitions(7, budget, rng(), scheme=scheme), everything[:budget])


def test_one_feature_has_no_coalitions() -> None:
    assert coalitions(1, 50, rng()).shape == (0, 1)


def test_five_thousand_features() -> None:
    z = coalitions(5000, 400, rng(), scheme="leverage")
    assert z.shape == (400, 5000)
    assert (z[0::2] ^ z[1::2]).all()


def test_leverage_gives_every_size_the_same_share() -> None:
    z = coalitions(21, 2000, rng())
    counts = np.bincount(z.sum(axis=1), minlength=22)[1:21]
    assert counts[0] == counts[-1] == 21, "the class of single features is smaller than its share, and therefore complete"
    assert counts[1:-1].max() - counts[1:-1].min() <= 6


def test_kernel_gives_small_and_large_sizes_more() -> None:
    z = coalitions(40, 600, rng(), scheme="kernel")[0::2]
    counts = np.bincount(np.minimum(z.sum(axis=1), 40 - z.sum(axis=1)), minlength=21)
    share = np.array([1 / (s * (40 - s)) for s in range(2, 20)])
    assert counts[1] == 40, "single features have more than 40 pairs' share, and are complete"
    assert np.abs(counts[2:20] / counts[2:20].sum() - share / share.sum()).max() < 0.02


def test_every_feature_is_drawn_equally_often() -> None:
    # odd d: with a middle size, one of the two in its pairs has to be listed first, and it is the one with the last feature
    share = np.mean([coalitions(13, 200, rng(seed))[0::2].mean(axis=0) for seed in range(60)], axis=0)
    assert np.ptp(share) < 0.04


def test_chain_begins_with_one_permutation() -> None:
    z = coalitions(9, 16, rng(), scheme="chain")[0::2]
    z = z[np.argsort(z.sum(axis=1))]
    assert z.sum(axis=1).tolist() == list(range(1, 9))
    assert not (z[:-1] & ~z[1:]).any()


def test_seed_decides_the_draw() -> None:
    assert np.array_equal(coalitions(10, 60, rng(1)), coalitions(10, 60, rng(1)))
    assert not np.array_equal(coalitions(10, 60, rng(1)), coalitions(10, 60, rng(2)))


@pytest.mark.parametrize(("call", "error"), [
    (lambda: coalitions(0, 10, rng()), OptionError),
    (lambda: coalitions(5, 1, rng()), BudgetError),
    (lambda: coalitions(5, -3, rng()), BudgetError),
    (lambda: coalitions(5, 10, rng(), scheme="sobol"), OptionError),
    (lambda: permutations(0, 2, rng()), OptionError),
    (lambda: permutations(5, 3, rng()), OptionError),
    (lambda: permutations(5, 0, rng()), OptionError),
])  # fmt: skip
def test_impossible_requests_are_named(call: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"expected|at least"):
        call()  # type: ignore[operator]  # a thunk


@pytest.mark.parametrize("d", [1, 2, 3, 8])
def test_permutations_list_antithetic_chains(d: int) -> None:
    codes = permutations(d, 6, rng())
    assert codes.shape == (6 * (d - 1), d)
    chains: Bools = codes.reshape(3, d - 1, 2, d)
    assert (chains[:, :, 0] ^ chains[:, :, 1]).all()
    assert (chains[:, :, 0].sum(axis=2) == np.arange(1, d)).all()
    assert not (chains[:, :-1, 0] & ~chains[:, 1:, 0]).any()


def test_fewer_permutations_are_a_prefix() -> None:
    assert np.array_equal(permutations(6, 8, rng())[:20], permutations(6, 4, rng()))
