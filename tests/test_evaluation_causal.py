"""Metrics of concept effects by their definitions, on numbers that can be done by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from whybox.concepts import ConceptEffect, StructuralCounterfactuals, ZeroEffect
from whybox.datasets import concept_reviews
from whybox.errors import InputError, OptionError, ShapeError
from whybox.evaluation import METRICS, Pairs, compare, pairs_of, score
from whybox.explanations import Intervention

UP, DOWN, LOUD = Intervention("food", "-", "+"), Intervention("food", "+", "-"), Intervention("noise", "low", "high")


@pytest.fixture
def truth():
    rng = np.random.default_rng(0)
    texts = tuple(f"t{i}" for i in range(20) for _ in range(3))
    return Pairs(rng.normal(size=(60, 3)), texts, (UP, DOWN, LOUD) * 20, tuple(f"o{i // 2}" for i in range(20) for _ in range(3)))


def by_hand(truth, guess):
    """The same numbers by loops."""
    l2 = [np.linalg.norm(a - b) for a, b in zip(truth.effects, guess, strict=True)]
    cosine = [
        1.0 if not np.linalg.norm(a) * np.linalg.norm(b) else 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(truth.effects, guess, strict=True)
    ]
    norm = [abs(np.linalg.norm(a) - np.linalg.norm(b)) for a, b in zip(truth.effects, guess, strict=True)]
    cells = {c: [i for i, x in enumerate(truth.interventions) if x == c] for c in truth.cells}
    right, every = [], []
    for i, j in itertools.combinations(range(len(truth)), 2):
        if truth.texts[i] == truth.texts[j]:
            every.append(np.mean(np.sign(truth.effects[i] - truth.effects[j]) == np.sign(guess[i] - guess[j])))
            right += every[-1:] if truth.interventions[i] != truth.interventions[j] else []
    average = []
    for a, b in itertools.combinations(cells.values(), 2):
        true = truth.effects[a].mean(axis=0) - truth.effects[b].mean(axis=0)
        average.append(np.sign(true) == np.sign(guess[a].mean(axis=0) - guess[b].mean(axis=0)))

    def over(values):
        return np.mean([np.mean([values[i] for i in c]) for c in cells.values()])

    return {
        "l2_cells": over(l2), "l2_pairs": np.mean(l2), "cosine_cells": over(cosine), "norm_cells": over(norm),
        "order": np.mean(right), "order_all": np.mean(every), "order_average": np.mean(average),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["noisy", "zero", "half zero"])
def test_metrics_are_those_of_the_loops(truth, kind):
    rng = np.random.default_rng(1)
    guess = {"noisy": truth.effects + rng.normal(size=truth.effects.shape), "zero": np.zeros(truth.effects.shape)}
    guess["half zero"] = np.where(np.arange(60)[:, None] % 2, guess["noisy"], 0.0)
    found, expected = score(truth, guess[kind], n_bootstrap=2).values, by_hand(truth, guess[kind])
    assert set(found) == set(expected) == set(METRICS)
    for metric, value in expected.items():
        assert found[metric] == pytest.approx(value), metric


def test_the_truth_is_without_error_and_faithful(truth):
    found = score(truth, truth.effects, n_bootstrap=2).values
    assert [found[m] for m in ("l2_cells", "l2_pairs", "norm_cells")] == [0.0, 0.0, 0.0]
    assert found["order"] == found["order_all"] == found["order_average"] == 1.0


def test_a_resample_of_one_cell_orders_nothing():
    truth = Pairs(np.array([[1.0, 2.0], [0.5, 1.0], [0.1, 0.1], [0.2, 0.3]]), tuple("abcd"), (UP, UP, LOUD, LOUD))
    found = score(truth, truth.effects)
    assert (found.values["order_average"], found.low["order_average"]) == (1.0, 1.0)


def test_two_counterfactuals_of_one_kind_count_in_all_pairs_only():
    """What an estimate says of them is the same, so that all pairs hold some that no estimate can rank."""
    same, other = Intervention("food", "+", "-"), Intervention("noise", "+", "-")
    truth = Pairs(np.array([[0.1], [0.2], [0.9]]), ("a",) * 3, (same, same, other))
    found = score(truth, np.array([[0.15], [0.15], [0.9]]), n_bootstrap=2).values
    assert found["order"] == 1.0
    assert found["order_all"] == pytest.approx(2 / 3)


def test_unequal_cells_weigh_alike_over_cells_and_not_over_pairs():
    truth = Pairs(np.ones((4, 1)), ("a", "b", "c", "d"), (UP, UP, UP, LOUD))
    guess = np.array([[1.0], [1.0], [1.0], [0.0]])
    found = score(truth, guess, n_bootstrap=2).values
    assert (found["l2_cells"], found["l2_pairs"]) == (0.5, 0.25)


def test_two_edits_of_one_intervention_are_not_ranked():
    truth = Pairs(np.array([[1.0], [2.0], [3.0]]), ("a", "a", "a"), (UP, UP, LOUD))
    assert score(truth, np.array([[0.0], [0.0], [1.0]]), n_bootstrap=2).values["order"] == 1.0


def test_intervals_draw_originals_and_not_pairs():
    """Fifty copies of each pair tell nothing new: the interval must not shrink."""
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(30, 2))
    once = Pairs(effects, tuple(f"t{i}" for i in range(30)), (UP,) * 30)
    often = Pairs(np.repeat(effects, 50, axis=0), tuple(f"t{i}" for i in range(30) for _ in range(50)), (UP,) * 1500)
    widths = [s.high["l2_pairs"] - s.low["l2_pairs"] for s in (score(p, np.zeros(p.effects.shape), n_bootstrap=400) for p in (once, often))]
    assert widths[0] == pytest.approx(widths[1])
    spread = np.linalg.norm(effects, axis=1).std() / np.sqrt(30)
    assert widths[0] == pytest.approx(2 * 1.96 * spread, rel=0.15)


def test_a_saboteur_that_counts_pairs_is_narrower():
    """What the test above must catch: resampling pairs as if they were independent."""
    effects = np.repeat(np.random.default_rng(0).normal(size=(30, 2)), 50, axis=0)
    mine = Pairs(effects, tuple(f"t{i}" for i in range(30) for _ in range(50)), (UP,) * 1500)
    wrong = Pairs(effects, tuple(f"t{i}" for i in range(1500)), (UP,) * 1500)
    widths = [s.high["l2_pairs"] - s.low["l2_pairs"] for s in (score(p, np.zeros(p.effects.shape), n_bootstrap=400) for p in (mine, wrong))]
    assert widths[1] < 0.5 * widths[0]


def test_estimates_that_are_missing_are_counted_and_count_nowhere(truth):
    guess = truth.effects.copy()
    guess[:6] = np.nan
    found = score(truth, guess, n_bootstrap=2)
    assert (found.n_pairs, found.n_missing, found.values["l2_pairs"]) == (54, 6, 0.0)
    with pytest.raises(InputError, match="at least one pair"):
        score(truth, np.full(truth.effects.shape, np.nan))


def test_tables_carry_zero_and_null_and_differences_are_paired(truth):
    rng = np.random.default_rng(2)
    good, bad = truth.effects + 0.1 * rng.normal(size=(60, 3)), truth.effects + rng.normal(size=(60, 3))
    report = compare(truth, {"good": good, "bad": bad}, null=0.01 * rng.normal(size=(60, 3)), n_bootstrap=200)
    assert list(report.rows) == ["zero effect", "paraphrase null", "good", "bad"]
    assert list(report.to_frame().index) == list(report.rows)
    value, low, high = report.difference("good", "bad")
    assert low < value < high < 0
    with pytest.raises(OptionError, match="nobody"):
        report.difference("nobody", "bad")
    with pytest.raises(OptionError, match="metric"):
        report.difference("good", "bad", "taste")


def test_same_seed_same_intervals(truth):
    guess = truth.effects + 1.0
    a, b, c = (score(truth, guess, n_bootstrap=50, seed=s) for s in (0, 0, 1))
    assert a.low == b.low
    assert a.low != c.low


def test_effects_of_explanations_are_found_by_text_and_intervention():
    data = concept_reviews(15)

    def model(texts):
        return [[float("good" in t), float("bad" in t)] for t in texts]

    true = ConceptEffect(model, StructuralCounterfactuals(data)).explain(
        data.texts, "food", to=["Negative", "Positive"], current=data.values("food")
    )
    truth = pairs_of(true, originals=[f"o{i // 3}" for i in range(15)])
    assert set(truth.originals) == {f"o{i}" for i in range(5)}
    report = compare(truth, {"exact": true}, n_bootstrap=5)
    assert report.rows["exact"].values["l2_pairs"] == 0.0
    zero = ConceptEffect(model, ZeroEffect(data.concepts)).explain(data.texts, "food", to="Negative", current=data.values("food"))
    assert np.isnan(truth.estimates(zero)).any()  # the other direction was not asked for
    with pytest.raises(InputError, match="one a text"):
        pairs_of(true, originals=["a"])


@pytest.mark.parametrize(
    ("effects", "texts", "error"),
    [(np.ones(3), ("a", "b", "c"), ShapeError), (np.ones((2, 1)), ("a",), ShapeError), (np.full((1, 1), np.nan), ("a",), InputError)],
)
def test_pairs_that_do_not_fit_are_refused(effects, texts, error):
    with pytest.raises(error, match="pairs"):
        Pairs(effects, texts, (UP,) * len(effects))


def test_estimates_of_another_shape_are_refused(truth):
    with pytest.raises(ShapeError, match="estimates"):
        score(truth, np.zeros((60, 2)))
    with pytest.raises(OptionError, match="n_bootstrap"):
        score(truth, truth.effects, n_bootstrap=1)
