"""What explainer.plan says is what explain then does."""

from __future__ import annotations

import numpy as np
import pytest

import whybox as wb
from whybox.errors import BudgetError, InputError, OptionError
from whybox.models import HTTPModel, JSONRows, Limits
from whybox.testing import RecordingModel

RNG = np.random.default_rng(11)
X, B = RNG.normal(size=(7, 6)), RNG.normal(size=(9, 6))
EXACT = wb.Engine(dedupe=False, controls=False)


def curved(rows):
    return np.tanh(rows[:, 0]) * rows[:, 1] * rows[:, 4] + rows[:, 2] * rows[:, 3] * np.cos(rows[:, 1]) - rows[:, 4] + 0.1 * rows[:, 5] ** 2


CASES = {
    "KernelSHAP": (lambda f, e: wb.KernelSHAP(f, B, engine=e), {"budget": 20}),
    "KernelSHAP, exact": (lambda f, e: wb.KernelSHAP(f, B, engine=e), {}),
    "KernelSHAP, model rows": (lambda f, e: wb.KernelSHAP(f, B, engine=e), {"budget": wb.Budget(rows=200)}),
    "PermutationSHAP": (lambda f, e: wb.PermutationSHAP(f, B, engine=e), {}),
    "PartitionSHAP": (lambda f, e: wb.PartitionSHAP(f, B, engine=e), {}),
    "PartitionSHAP, orders": (lambda f, e: wb.PartitionSHAP(f, B, tree=[0, 1, 2, 3, 4, 5], engine=e), {"budget": 20}),
    "ExactSHAP": (lambda f, e: wb.ExactSHAP(f, B, engine=e), {}),
    "Occlusion": (lambda f, e: wb.Occlusion(f, B, engine=e), {}),
    "LIME, shared": (lambda f, e: wb.LIME(f, B, engine=e, min_score=None), {"budget": 150}),
    "LIME, each": (lambda f, e: wb.LIME(f, B, engine=e, neighborhood="gaussian", min_score=None), {"budget": 40}),
    "Groups": (lambda f, e: wb.KernelSHAP(f, space=wb.spaces.Groups(wb.spaces.Marginal(B), {"a": [0, 1], "b": [2, 3]}), engine=e), {}),
}
ADAPTIVE = {"PartitionSHAP, orders"}  # which features are valued again depends on the answers


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("x", [X, X[:1], X[[0, 1, 0, 1]]], ids=["rows", "one", "repeated"])
def test_exact_where_it_says_so(case, x):
    make, options = CASES[case]
    model = RecordingModel(curved)
    plan = make(model, EXACT).plan(x, **options)
    assert model.n_rows == 0, "no model call without being asked"
    e = make(model, EXACT).explain(x, **options)
    assert e.n_queries == model.n_rows
    if case in ADAPTIVE:
        assert plan.exact is None
        assert 0.5 * plan.at_most < e.n_queries <= plan.at_most
    else:
        assert plan.exact == plan.at_most == e.n_queries


@pytest.mark.parametrize("case", CASES)
def test_bound_holds_with_the_default_engine(case):
    make, options = CASES[case]
    plan = make(curved, wb.Engine()).plan(X, **options)
    e = make(curved, wb.Engine()).explain(X, **options)
    assert plan.exact is None
    assert 0.25 * plan.at_most < e.n_queries <= plan.at_most


@pytest.mark.parametrize("case", ["KernelSHAP", "PermutationSHAP", "LIME, each"])
def test_with_a_tolerance_the_most_is_planned(case):
    make, _ = CASES[case]
    plan = make(curved, EXACT).plan(X[:2], tol=1e-12, budget=60)
    assert plan.exact is None
    with pytest.warns(wb.ToleranceWarning):
        e = make(curved, EXACT).explain(X[:2], tol=1e-12, budget=60)
    assert e.n_queries == plan.at_most


TEXTS = ["the food was good", "", "bad", "the room was loud and the food was bad", "the food was good"]


def letters(texts):
    return np.array([len(set(text)) / 10 + text.count("food bad") for text in texts])


def test_branches_opened_best_first_are_within_the_bound():
    for options in ({"budget": 6}, {"tol": 1e-12}, {"tol": 0.3}):
        explainer = wb.PartitionSHAP(curved, B, tree=[0, 1, 2, 3, 4, 5], engine=EXACT)
        plan = explainer.plan(X, **options)
        assert plan.exact is None
        assert explainer.explain(X, **options).n_queries <= plan.at_most


@pytest.mark.parametrize("make", [wb.KernelSHAP, wb.PartitionSHAP, wb.PermutationSHAP, wb.Occlusion], ids=lambda make: make.__name__)
def test_texts_of_different_lengths(make):
    explainer = make(letters, space=wb.spaces.Words(), engine=EXACT)
    plan, e = explainer.plan(TEXTS), explainer.explain(TEXTS)
    assert plan.exact == e.n_queries
    assert plan.instances == 4


def test_texts_explained_by_lime_are_within_the_bound():
    explainer = wb.LIME(letters, space=wb.spaces.Words(), engine=EXACT, min_score=None)
    plan = explainer.plan(TEXTS, budget=200)
    assert plan.exact is None, "coalitions that repeat are not asked"
    assert 0 < explainer.explain(TEXTS, budget=200).n_queries <= plan.at_most


@pytest.mark.parametrize("noisy", [False, True])
def test_control_rows_are_within_the_bound(noisy):
    rng = np.random.default_rng(0)

    def model(rows):
        return curved(rows) + (rng.normal(size=len(rows)) if noisy else 0.0)

    engine = wb.Engine(batch_size=1000, dedupe=False)
    explainer = wb.KernelSHAP(model, B, engine=engine)
    plan = explainer.plan(X)
    if noisy:
        with pytest.warns(wb.NoisyModelWarning):
            e = explainer.explain(X)
    else:
        e = explainer.explain(X)
    assert plan.at_most / 1.031 <= e.n_queries <= plan.at_most
    assert plan.calls == 2 + 7, "the rows, the empty coalition, and a batch of 558 rows an instance"
    assert plan.calls <= e.stats.n_calls <= plan.calls + 4, "control rows may be asked alone"


def test_requests_and_calls_of_an_endpoint_are_told_without_asking_it():
    model = HTTPModel("http://127.0.0.1:9/p", JSONRows(), rows_per_request=10, limits=Limits(concurrency=4))
    plan = wb.ExactSHAP(model, B, engine=EXACT).plan(X)
    assert plan.exact == 7 + 9 + 7 * 62 * 9
    assert plan.requests == -(-plan.exact // 10)
    assert plan.calls == 3
    assert plan.seconds is None
    assert str(plan) == "ExactSHAP: 7 rows, 62 codes of 9 model rows each: at most 3,922 queries in about 393 requests"


def test_probe_measures_and_says_what_it_cost():
    import time

    def slow(rows):
        time.sleep(0.0005 * len(rows))
        return curved(rows)

    model = RecordingModel(slow)
    plan = wb.KernelSHAP(model, B).plan(X, probe=50)
    assert model.n_rows == plan.probe_queries == 51
    assert plan.seconds >= 0.0005 * plan.at_most


def test_a_probe_is_paid_for_once_where_there_is_a_cache(tmp_path):
    model = RecordingModel(curved)
    who = wb.ExactSHAP(wb.as_model(model, version="1"), B, engine=wb.Engine(cache=tmp_path / "answers", controls=False, dedupe=False))
    plan = who.plan(X, probe=50)
    assert plan.probe_queries == model.n_rows <= 51
    e = who.explain(X)
    assert e.stats.n_cached >= plan.probe_queries
    assert model.n_rows == plan.probe_queries + e.n_queries
    again = who.plan(X, probe=50)
    assert again.seconds is not None, "where all is known, time is measured by asking again"
    assert again.probe_queries == 51


def test_a_probe_of_an_endpoint_is_a_small_part_of_the_job():
    from whybox.testing.model_server import running

    with running() as server:
        model = HTTPModel(server.base_url + "/predict", JSONRows(), rows_per_request=10, limits=Limits(concurrency=8))
        for explainer, most in ((wb.ExactSHAP(model, B, engine=EXACT), 7 * 62 * 9 // 20), (wb.Occlusion(model, B[:2], engine=EXACT), 10)):
            plan = explainer.plan(X, probe=True)
            assert plan.probe_queries == most + 1
            assert plan.seconds > 0


def test_rate_limit_is_part_of_the_estimate():
    from whybox.testing.model_server import running

    with running() as server:
        limits = Limits(concurrency=2, requests_per_minute=60)
        model = HTTPModel(server.base_url + "/predict", JSONRows(), rows_per_request=1, limits=limits)
        plan = wb.Occlusion(model, B, engine=EXACT).plan(X, probe=3)
        assert server.stats()["requests"] == plan.probe_queries == 4
    assert (plan.exact, plan.seconds) == (394, 360.0), "60 requests begin in each of the first six minutes"


def test_bad_arguments_are_named():
    with pytest.raises(OptionError, match="probe"):
        wb.KernelSHAP(curved, B).plan(X, probe=0)
    with pytest.raises(InputError):
        wb.KernelSHAP(curved, B).plan(X[:, :3])
    with pytest.raises(BudgetError):
        wb.ExactSHAP(curved, B).plan(X, budget=3)
    with pytest.raises(OptionError, match="leave budget out"):
        wb.Occlusion(curved, B).plan(X, budget=3)
