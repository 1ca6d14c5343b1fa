"""Baselines of concept effects by closed forms; promises of every matcher, each with a saboteur that breaks it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from whybox.concepts import (
    ApproxMatches,
    CallableClassifier,
    CandidatePool,
    Concept,
    ConceptEffect,
    ConceptVectors,
    ConditionalExpectation,
    MatchedCounterfactuals,
    PropensityMatches,
    RandomMatches,
    SLearner,
    ZeroEffect,
)
from whybox.errors import InputError, OptionError

WORDS = {"food": ("bad", "good"), "noise": ("quiet", "loud"), "price": ("cheap", "dear")}
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 2, size=(60, 3))
CODES[:, 2] = np.where(RNG.random(60) < 0.8, CODES[:, 0], CODES[:, 2])  # dear places cook well
TEXTS = tuple(
    f"Table {i}. A {WORDS['food'][a]} soup. A {WORDS['noise'][b]} room. A {WORDS['price'][c]} bill."
    for i, (a, b, c) in enumerate(CODES.tolist())
)
LABELS = {name: [values[c] for c in CODES[:, j].tolist()] for j, (name, values) in enumerate(WORDS.items())}
READS = CallableClassifier({n: lambda texts, v=v: [v[1] if v[1] in t else v[0] for t in texts] for n, v in WORDS.items()})
POOL = CandidatePool(TEXTS, LABELS, tuple(Concept(n, v) for n, v in WORDS.items()), READS)
QUERIES = ("Table 99. A good soup. A loud room. A dear bill.", TEXTS[3], "Table 98. A bad soup. A quiet room. A dear bill.", TEXTS[7])


def model(texts):
    score = np.array([0.2 + 0.3 * ("good" in t) + 0.2 * ("dear" in t) + 0.1 * ("good" in t and "loud" in t) for t in texts])
    return np.stack([1 - score, score], axis=1)


MATCHERS: dict[str, Any] = {
    "random": RandomMatches(POOL, READS),
    "propensity": PropensityMatches(POOL, READS),
    "approx": ApproxMatches(POOL, READS),
    "approx, ranked": ApproxMatches(POOL, READS, lambda texts: [[t.count("o"), t.count("a"), 1.0] for t in texts]),
    "texts": MatchedCounterfactuals.fit(TEXTS, LABELS, POOL.concepts, classifier=READS, unit="texts"),
    "passages": MatchedCounterfactuals.fit(TEXTS, LABELS, POOL.concepts),
}


def check_matcher(source):
    """What every matcher promises."""
    ask = {"to": "good", "k": 3}
    e = source.counterfactuals(QUERIES, "food", **ask, seed=0)
    have = READS.classify(QUERIES, "food")
    assert {edit.original for edit in e.edits} == {i for i, v in enumerate(have) if v != "good"}, "a text that has the value was edited"
    assert all(READS.classify([edit.text], "food") == ("good",) for edit in e.edits), "an edit without the target value"
    assert all(edit.text != e.texts[edit.original] for edit in e.edits), "a text was matched with itself"
    assert max(edit.sample for edit in e.edits) < 3, "more than k"
    assert source.counterfactuals(QUERIES, "food", **ask, seed=0).edits == e.edits, "the same seed gave something else"
    for i in (2, 1):
        alone = source.counterfactuals([QUERIES[i]], "food", **ask, seed=0)
        assert [x.text for x in alone.edits] == [x.text for x in e.edits if x.original == i], "the neighbours of a text change its matches"
    assert source.counterfactuals(QUERIES, "food", **ask, current=["good"] * 4).edits == (), "given values were not believed"


@pytest.mark.parametrize("name", MATCHERS)
def test_matchers_keep_their_promises(name):
    check_matcher(MATCHERS[name])


@dataclass(frozen=True)
class Broken:
    """A matcher that breaks one promise."""

    how: str
    inner: Any = MATCHERS["random"]
    calls: Any = None

    def counterfactuals(self, texts, concept, *, to, k=1, seed=0, current=None):
        if self.how == "any value":
            to = "bad" if to == "good" else "good"
            return self.inner.counterfactuals(texts, concept, to=to, k=k, seed=seed, current=current)
        if self.how == "too many":
            return self.inner.counterfactuals(texts, concept, to=to, k=k + 1, seed=seed, current=current)
        if self.how == "no seed":
            self.calls.append(1)
            return self.inner.counterfactuals(texts, concept, to=to, k=k, seed=len(self.calls), current=current)
        if self.how == "by position":
            return self.inner.counterfactuals(texts, concept, to=to, k=k, seed=len(texts), current=current)
        if self.how == "deaf":
            return self.inner.counterfactuals(texts, concept, to=to, k=k, seed=seed)
        e = self.inner.counterfactuals(texts, concept, to=to, k=k, seed=seed, current=current)
        return replace(e, edits=tuple(replace(edit, text=e.texts[edit.original] + " good") for edit in e.edits[:1]) + e.edits[1:])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("any value", "has the value was edited|without the target"),
        ("too many", "more than k"),
        ("no seed", "the same seed"),
        ("by position", "neighbours"),
        ("deaf", "not believed"),
    ],
)
def test_a_broken_matcher_is_caught(how, message):
    with pytest.raises(AssertionError, match=message):
        check_matcher(Broken(how, calls=[]))


def test_a_matcher_that_answers_with_the_text_itself_is_caught():
    @dataclass(frozen=True)
    class Itself:
        def counterfactuals(self, texts, concept, *, to, k=1, seed=0, current=None):
            e = MATCHERS["random"].counterfactuals(texts, concept, to=to, k=k, seed=seed, current=current)
            return replace(
                e, edits=tuple(replace(x, text="good " + x.text) for x in e.edits), texts=tuple("good " + e.edits[0].text for _ in texts)
            )

    with pytest.raises(AssertionError, match="itself"):
        check_matcher(Itself())


def test_random_draws_all_candidates_with_the_value_alike():
    found = [MATCHERS["random"].counterfactuals([QUERIES[2]], "food", to="good", seed=s).edits[0].notes["candidate"] for s in range(600)]
    counts = np.bincount(found, minlength=60)[CODES[:, 0] == 1]
    assert counts.sum() == 600
    assert counts.min() > 0.2 * 600 / len(counts)


def test_approx_holds_the_other_concepts_and_tells_its_coverage():
    e = MATCHERS["approx"].counterfactuals(QUERIES, "food", to="good", k=2)
    for edit in e.edits:
        if edit.notes["exact"]:
            for other in ("noise", "price"):
                assert READS.classify([edit.text], other) == READS.classify([e.texts[edit.original]], other)
    assert e.settings["coverage"] == 1.0
    some = TEXTS[:1] + tuple(t for t in TEXTS if "good" in t and "dear" in t)
    few = CandidatePool(some, {n: READS.classify(some, n) for n in WORDS}, POOL.concepts)
    e = ApproxMatches(few, READS).counterfactuals(["A bad soup. A loud room. A cheap bill.", QUERIES[2]], "food", to="good")
    assert [edit.notes["exact"] for edit in e.edits] == [False, True]
    assert e.settings["coverage"] == 0.5


def test_propensity_takes_the_nearest_score():
    e = MATCHERS["propensity"].counterfactuals([QUERIES[2]], "food", to="good", k=1)
    design = np.array([[1.0, t.count("quiet"), t.count("loud"), t.count("cheap"), t.count("dear")] for t in TEXTS])
    fitted = LogisticRegression(max_iter=1000).fit(design, CODES[:, 0])
    scores = fitted.predict_proba(design)[:, 1]
    mine = fitted.predict_proba([[1.0, 1, 0, 0, 1]])[0, 1]
    gaps = np.abs(scores - mine)[CODES[:, 0] == 1]
    assert abs(scores[e.edits[0].notes["candidate"]] - mine) == pytest.approx(gaps.min(), abs=1e-4)


def test_conexp_is_a_difference_of_means():
    outputs = model(TEXTS)
    food = CODES[:, 0] == 1
    e = ConceptEffect(model, ConditionalExpectation(POOL)).explain(QUERIES[:1], "food", to="bad", current=["good"])
    assert np.allclose(e.individual[0], outputs[~food].mean(axis=0) - outputs[food].mean(axis=0))
    unknown = ConceptEffect(model, ConditionalExpectation(POOL)).explain(QUERIES[:1], "food", to="bad", current=[None])
    assert np.allclose(unknown.individual[0], outputs[~food].mean(axis=0) - outputs.mean(axis=0))


def test_s_learner_swaps_one_indicator_of_a_logistic_regression():
    design = np.concatenate([np.eye(2)[CODES[:, j]] for j in range(3)], axis=1)
    fitted = LogisticRegression(max_iter=1000).fit(design, model(TEXTS).argmax(axis=1))
    before, after = np.array([[0, 1, 0, 1, 0, 1.0]]), np.array([[1.0, 0, 0, 1, 0, 1]])
    e = ConceptEffect(model, SLearner(POOL, READS)).explain(QUERIES[:1], "food", to="bad")
    assert np.allclose(e.individual[0], (fitted.predict_proba(after) - fitted.predict_proba(before))[0], atol=1e-4)


def test_zero_is_zero_and_costs_one_query_a_text():
    e = ConceptEffect(model, ZeroEffect(POOL.concepts)).explain(QUERIES, "food", to="bad", current=["good"] * 4)
    assert not e.individual.any()
    assert e.n_queries == 4
    with pytest.raises(OptionError, match="null"):
        ConceptEffect(model, ZeroEffect(POOL.concepts)).explain(QUERIES, "food", to="bad", current=["good"] * 4, null=True)


def test_concept_vectors_lie_side_by_side():
    vectors = ConceptVectors(lambda texts, c: np.array([[float(w in t) for w in WORDS[c]] for t in texts]), tuple(WORDS))
    assert vectors(QUERIES[:1]).tolist() == [[0, 1, 0, 1, 0, 1]]


def test_estimators_ask_each_text_once():
    asked: list[str] = []

    def counting(texts):
        asked.extend(texts)
        return model(texts)

    from whybox.engine import Engine

    source = MATCHERS["passages"]
    e = ConceptEffect(counting, source, engine=Engine(controls=False)).explain(QUERIES, POOL.concepts)
    assert len(asked) == len(set(asked)) == e.n_queries


@pytest.mark.parametrize(
    "source", [*list(MATCHERS.values())[:4], ConditionalExpectation(POOL), SLearner(POOL, READS), ZeroEffect(POOL.concepts)]
)
def test_unknown_concepts_and_values_are_refused(source):
    explain = ConceptEffect(model, source).explain
    with pytest.raises(OptionError, match="taste"):
        explain(QUERIES, "taste", to="good")
    with pytest.raises(OptionError, match="fine"):
        explain(QUERIES, "food", to="fine")
    with pytest.raises(InputError, match="current"):
        explain(QUERIES, "food", to="good", current=["good"])


def test_a_pool_with_nothing_but_the_text_itself_is_refused():
    alone = CandidatePool(["good", "bad"], {"food": ["+", "-"]})
    with pytest.raises(InputError, match="text itself"):
        RandomMatches(alone).counterfactuals(["good"], "food", to="+", current=["-"])
