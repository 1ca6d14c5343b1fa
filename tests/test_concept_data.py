"""Texts from structural models: exact counterfactuals, and no word that gives a concept away."""

from __future__ import annotations

import numpy as np
import pytest

from whybox.concepts import ConceptEffect, StructuralCounterfactuals, rewrite_twice
from whybox.datasets import ConceptData, StructuralModel, Variable, concept_reviews, cv_screening, disease, workplace_violence
from whybox.errors import InputError, OptionError

MAKERS = [concept_reviews, workplace_violence, disease, cv_screening]
BY_NAME = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


@BY_NAME
def test_same_seed_gives_same_texts_and_another_does_not(make):
    assert make(40, seed=3).texts == make(40, seed=3).texts
    assert make(40, seed=3).texts != make(40, seed=4).texts


@BY_NAME
def test_texts_differ_and_every_value_occurs(make):
    data = make(1500, seed=0)
    assert len(set(data.texts)) == 1500
    for concept in data.concepts:
        assert set(data.values(concept.name)) == set(concept.values)
    assert set(data.labels.tolist()) == set(range(len(data.model[data.model.outcome].values)))


@BY_NAME
@pytest.mark.parametrize("estimand", ["total", "direct"])
def test_setting_a_concept_to_its_own_value_changes_nothing(make, estimand):
    data = make(60, seed=1)
    for concept in data.concepts:
        for i, value in enumerate(data.values(concept.name)):
            assert data.counterfactual([i], {concept.name: value}, estimand=estimand) == (data.texts[i],)


@BY_NAME
def test_total_effect_moves_only_descendants_and_direct_nothing_else(make):
    data = make(300, seed=2)
    rows = range(len(data))
    told = [c.name for c in data.concepts]
    for concept in data.concepts:
        for value in concept.values:
            code = concept.values.index(value)
            codes = data.model.solve(data.noise, {concept.name: np.full(len(data), code)})
            moved = {name for name in told if (codes[name] != data.codes[name]).any()}
            assert moved <= {concept.name, *data.graph.effects(concept.name)}
            others = {name: data.codes[name] for name in told if name != concept.name} | {concept.name: np.full(len(data), code)}
            from whybox.datasets._concept_data import render

            assert data.counterfactual(rows, {concept.name: value}, estimand="direct") == render(data.renderer, others, data.style)
            assert data.counterfactual(rows, {concept.name: value}) == render(data.renderer, codes, data.style)


def test_total_and_direct_differ_where_there_is_a_mediator():
    data = concept_reviews(200)
    rows = range(len(data))
    assert data.counterfactual(rows, {"food": "Negative"}) != data.counterfactual(rows, {"food": "Negative"}, estimand="direct")
    assert data.counterfactual(rows, {"return": "no"}) == data.counterfactual(rows, {"return": "no"}, estimand="direct")


def test_no_single_word_gives_a_concept_away():
    """Not even the best word tells a concept much better than guessing its most frequent value."""
    from sklearn.feature_extraction.text import CountVectorizer

    data = concept_reviews(2000, seed=5)
    there = CountVectorizer(binary=True, token_pattern=r"(?u)\b\w+\b").fit_transform(data.texts).toarray().astype(bool)
    for concept in data.concepts:
        codes = data.codes[concept.name]
        base = np.bincount(codes).max() / len(codes)
        best = 0.0
        for word in there.T:
            right = sum(np.bincount(codes[word == side], minlength=1).max() for side in (True, False) if (word == side).any())
            best = max(best, right / len(codes))
        assert best < base + 0.15, concept.name


def test_linear_model_of_words_does_not_read_sentiment():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = concept_reviews(2000, seed=5), concept_reviews(500, seed=6)
    words = CountVectorizer(binary=True).fit(train.texts)
    for name in ("food", "service", "ambiance"):
        clf = LogisticRegression(max_iter=500, C=0.3).fit(words.transform(train.texts), train.codes[name])
        assert clf.score(words.transform(test.texts), test.codes[name]) < 0.75


@pytest.mark.parametrize("make", MAKERS[1:], ids=lambda make: make.__name__)  # concept_reviews is our own
def test_the_published_equations_are_what_is_sampled(make):
    """Means of the codes against a plain Monte Carlo of the facts, written independently."""
    rng = np.random.default_rng(0)
    n = 200_000

    def clip(x, top):
        return np.clip(np.rint(x), 0, top)

    def e(mean, sd):
        return rng.normal(mean, sd, n)

    truth = {}
    if make is workplace_violence:
        g, a, r = rng.integers(0, 2, n), rng.choice(3, n, p=[0.25, 0.5, 0.25]), rng.integers(0, 4, n)
        t = clip(0.8 * a + e(0.05, 0.5), 2)
        le = clip(0.3 * g + 0.3 * r + 0.2 * a + e(0, 0.5), 2)
        d = clip(0.5 * g + 0.4 * r + 0.4 + e(0.2, 0.5), 3)
        s = clip(0.4 * a + 0.1 * (g + r) + 0.3 * (t + le) + e(0, 0.5), 3)
        y = clip(0.5 * (g + d) - 0.2 * (a + r + le + t + s) + 0.8 + e(0.3, 0.2), 2)
        truth = {"tenure": t, "training": le, "exposure": d, "standing": s, "violence": y}
    elif make is disease:
        y = rng.integers(0, 3, n)
        light = clip(0.9 * (y == 0) + e(0.2, 0.5), 2)
        nasal = clip(0.7 * (y == 1) + 0.4 * (y == 2) + e(0, 0.7), 2)
        truth = {
            "disease": y,
            "dizzy": clip(0.9 * (y == 0) + e(-0.1, 0.6), 2),
            "light": light,
            "nasal": nasal,
            "facial": clip(0.8 * (y == 1) + e(0.2, 0.6), 2),
            "fever": clip(0.4 * (y == 1) + 0.6 * (y == 2) + e(0, 0.6), 2),
            "weak": clip(0.7 * (y == 2) + e(0.2, 0.6), 2),
            "headache": clip(0.7 * (y == 0) + 0.4 * (y == 1) + 0.3 * light + 0.3 * nasal + e(-0.1, 0.5), 2),
        }
    else:
        r, g, a = rng.integers(0, 4, n), rng.integers(0, 2, n), rng.choice(3, n, p=[0.25, 0.5, 0.25])
        ed = clip(0.4 * (r + a + g) + e(0.35, 0.5), 3)
        s = clip(0.45 * ed + 0.25 * a + e(0.25, 0.35), 2)
        w = clip(0.5 * a + 0.3 * ed + e(0, 0.5), 2)
        v = clip(0.2 * ed + 0.3 * s + e(-0.35, 0.2), 1)
        c = clip(0.15 * (ed + w) + e(0, 0.3), 1)
        q = clip(0.3 * (ed + v + c + w) + e(0, 0.3), 2)
        truth = {"education": ed, "security": s, "experience": w, "volunteering": v, "certificates": c, "quality": q}
    model = make(1).model
    codes = model.solve(model.draw(np.random.default_rng(1), n))
    for name, values in truth.items():
        assert abs(codes[name].mean() - values.mean()) < 0.01, name
        assert abs(codes[name].std() - values.std()) < 0.01, name


def test_paraphrase_keeps_every_value_and_changes_the_words():
    data = concept_reviews(50)
    again = data.paraphrase(range(50), "food")
    assert all(a != b for a, b in zip(again, data.texts, strict=True))
    assert data.paraphrase(range(50), "food", wording=0) == data.texts


def test_rows_are_the_same_texts_with_the_same_counterfactuals():
    data = concept_reviews(30)
    some = data.rows([7, 2])
    assert some.texts == (data.texts[7], data.texts[2])
    assert some.counterfactual([0, 1], {"food": "Mixed"}) == data.counterfactual([7, 2], {"food": "Mixed"})


def test_confounded_model_is_misread_by_conditioning_and_not_by_counterfactuals():
    """CONEXP (difference of conditional means) orders two concepts wrongly under confounding; the structural source does not."""
    model = StructuralModel(
        (
            Variable("z", ("0", "1"), noise=(0.5, 0.5)),
            Variable("a", ("0", "1"), ("z",), lambda p, e: 0.9 * p["z"] + e, (0.05, 0.2)),
            Variable("b", ("0", "1"), noise=(0.5, 0.5)),
            Variable("y", ("0", "1"), ("z", "b"), lambda p, e: p["z"] + 0 * e, (0.0, 0.1)),
        ),
        "y",
    )

    class Plain:
        told = ("z", "a", "b")

        def __call__(self, codes, style):
            return " ".join(f"{name}{codes[name]}" for name in self.told) + f" {style[0]}"

    from whybox.datasets._concept_data import sample

    data = sample("confounded", model, Plain(), 400, 0)

    def f(texts):
        return [[1.0 * ("z1" in t) + 0.3 * ("b1" in t)] for t in texts]  # the model uses z and a little of b, never a

    outputs = np.array(f(data.texts))[:, 0]
    conexp = {c: outputs[data.codes[c] == 1].mean() - outputs[data.codes[c] == 0].mean() for c in ("a", "b")}
    source = StructuralCounterfactuals(data)
    effect = {c: ConceptEffect(f, source).explain(data.texts, c, to="1").mean[0, 0] for c in ("a", "b")}
    assert conexp["a"] > conexp["b"], "confounding makes the unused concept look stronger"
    assert effect["a"] == 0.0
    assert effect["b"] == pytest.approx(0.3)


def test_oracle_knows_counterfactuals_of_counterfactuals():
    data = concept_reviews(60)
    source = StructuralCounterfactuals(data)
    r = rewrite_twice(
        lambda texts: [[len(t) / 100] for t in texts],
        source,
        data.texts,
        "return",
        treated="yes",
        control="no",
        current=data.values("return"),
    )
    values = data.values("return")
    order = [edit.original for edit in r.edits.edits]
    assert order == list(range(60))
    assert all(back == data.texts[i] for i, back in zip(order, r.back, strict=True)), "there and back again is where it began"
    assert r.att.n + r.atu.n == 60
    assert r.att.n == sum(v == "yes" for v in values)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: concept_reviews(0),
        lambda: concept_reviews(5).counterfactual([0], {"food": "purple"}),
        lambda: concept_reviews(5).counterfactual([0], {"rating": "1"}),
        lambda: concept_reviews(5).counterfactual([0], {"food": "Mixed"}, estimand="other"),
        lambda: concept_reviews(5).index("unknown"),
        lambda: concept_reviews(5).model["unknown"],
        lambda: StructuralModel((Variable("a", ("0", "1"), ("b",)),), "a"),
        lambda: StructuralModel((Variable("a", ("0", "1")),), "b"),
    ],
)
def test_what_does_not_exist_is_refused(wrong):
    with pytest.raises((OptionError, InputError)):
        wrong()


def test_data_is_a_frozen_value():
    data = concept_reviews(3)
    assert isinstance(data, ConceptData)
    with pytest.raises(AttributeError):
        data.texts = ()
