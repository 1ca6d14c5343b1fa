"""Effects: the oracle is exact, sloppy edits are caught, intervals cover, models are asked once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from whybox.concepts import (
    CallableClassifier,
    Concept,
    ConceptEffect,
    FittedClassifier,
    FlipCounterfactuals,
    LLMCounterfactuals,
    StructuralCounterfactuals,
    null_edits,
    rewrite_twice,
)
from whybox.datasets import concept_reviews, cv_screening, disease, workplace_violence
from whybox.engine import Engine
from whybox.errors import InputError, OptionError
from whybox.explanations.counterfactuals import Counterfactuals, Edit, Failure
from whybox.llms import FunctionGenerator
from whybox.testing import RecordingModel
from whybox.testing.structural_editor import StructuralEditor

DATA = concept_reviews(80, seed=2)
NOW = {c.name: DATA.values(c.name) for c in DATA.concepts}


@pytest.fixture(scope="module")
def classifier():
    """The explained model: TF-IDF and logistic regression on ratings."""
    return fitted_on(concept_reviews(800, seed=1))


def fitted_on(data):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=500)).fit(data.texts, data.labels)


def by(editor, **options):
    return LLMCounterfactuals(FunctionGenerator(editor), DATA.concepts, DATA.graph, **options)


@pytest.mark.parametrize("make", [concept_reviews, workplace_violence, disease, cv_screening], ids=lambda make: make.__name__)
@pytest.mark.parametrize("estimand", ["total", "direct"])
def test_oracle_has_effect_error_exactly_zero(make, estimand):
    """Against effects computed here, one text at a time, from the structural model itself."""
    data = make(40, seed=3)
    model = fitted_on(make(300, seed=4))
    e = ConceptEffect(model, StructuralCounterfactuals(data, estimand)).explain(data.texts, data.concepts)
    pairs = {}
    for concept in data.concepts:
        for i, now in enumerate(data.values(concept.name)):
            for value in concept.values:
                if value != now:
                    text = data.counterfactual([i], {concept.name: value}, estimand=estimand)[0]
                    pairs[i, concept.name, value] = (model.predict_proba([text]) - model.predict_proba([data.texts[i]]))[0]
    assert len(e.individual) == len(pairs)
    for i, q, effect in zip(e.pair_original, e.pair_intervention, e.individual, strict=True):
        intervention = e.interventions[q]
        np.testing.assert_allclose(effect, pairs[i, intervention.concept, intervention.target], atol=1e-12)
    assert e.error_against(e) == 0.0
    assert e.estimand == estimand


def test_editor_that_follows_the_graph_has_error_exactly_zero(classifier):
    truth = ConceptEffect(classifier, StructuralCounterfactuals(DATA)).explain(DATA.texts, DATA.concepts)
    e = ConceptEffect(classifier, by(StructuralEditor(DATA))).explain(DATA.texts, DATA.concepts, current=NOW)
    for metric in ("l2", "norm", "cosine"):
        for over in ("pairs", "interventions"):
            expected = 0.0 if metric != "cosine" else pytest.approx(truth.error_against(truth, metric=metric, over=over))
            assert e.error_against(truth, metric=metric, over=over) == expected
    np.testing.assert_array_equal(e.mean, truth.mean)


def test_validation_catches_a_sloppy_editor_and_more_than_halves_the_error(classifier):
    train = concept_reviews(1500, seed=1)
    names = ("food", "service")
    reads = FittedClassifier.fit(train.texts, {name: train.values(name) for name in ("price", "food", "service", "ambiance")})
    sloppy = StructuralEditor(DATA, sloppy=1 / 3)
    raw, checked, truth = ({}, {}, {})
    bad, caught = 0, 0
    for name in names:
        options = {"to": ["Negative", "Mixed", "Positive"], "current": NOW[name]}
        truth[name] = ConceptEffect(classifier, StructuralCounterfactuals(DATA)).explain(DATA.texts, name, **options)
        raw[name] = ConceptEffect(classifier, by(sloppy)).explain(DATA.texts, name, **options)
        checked[name] = ConceptEffect(classifier, by(sloppy, classifier=reads)).explain(DATA.texts, name, **options)
        exact = {(x.original, x.target): x.text for x in truth[name].counterfactuals.edits}
        for x in checked[name].counterfactuals.edits:
            if sloppy.bad(DATA.texts[x.original], name, x.target):
                assert exact[x.original, x.target] != raw[name].counterfactuals.texts[x.original]
                bad += 1
                caught += not x.valid
    assert bad > 60
    assert caught / bad >= 0.95
    for name in names:
        assert checked[name].error_against(truth[name]) < 0.5 * raw[name].error_against(truth[name])


class Given:
    """A source with edits given in advance."""

    estimand = "direct"

    def __init__(self, edits):
        self.edits = edits

    def counterfactuals(self, texts, concept, *, to, k=1, seed=0, current=None):
        chosen = [e for e in self.edits if e.concept == concept and e.target == to]
        return Counterfactuals(texts=tuple(texts), edits=tuple(chosen), source="given", estimand="direct")


def length(texts):
    return [[float(len(t))] for t in texts]


TEXTS = ("aaaa", "bb", "cccccc")


def edit(i, text, *failures, sample=0, to="new"):
    return Edit(i, "c", "old", to, sample, text, tuple(Failure(f, f) for f in failures))


def test_predictions_are_averaged_over_valid_edits_only():
    source = Given([edit(0, "aaaaa"), edit(0, "aaaaaaa", sample=1), edit(0, "a" * 99, "length", sample=2), edit(1, "b" * 50, "target")])
    e = ConceptEffect(length, source, k=3).explain(TEXTS, "c", to="new")
    np.testing.assert_array_equal(e.individual, [[2.0], [np.nan]])
    assert e.n_valid.tolist() == [2, 0]
    assert e.mean.tolist() == [[2.0]]
    assert (e.n_pairs.tolist(), e.n_used.tolist()) == ([2], [1])
    frame = e.to_frame()
    assert (frame["pairs"][0], frame["used"][0]) == (2, 1)


def test_invalid_edits_are_not_even_asked():
    model = RecordingModel(length, keep=True)
    source = Given([edit(0, "x" * 50, "target"), edit(1, "bbb")])
    ConceptEffect(model, source, engine=Engine(controls=False)).explain(TEXTS, "c", to="new")
    seen = [row for call in model.batches for row in call]
    assert sorted(seen) == sorted([*TEXTS, "bbb"])


def test_equal_texts_are_asked_once_over_all_interventions():
    model = RecordingModel(length, keep=True)
    e = ConceptEffect(model, StructuralCounterfactuals(DATA), engine=Engine(controls=False)).explain(DATA.texts[:20] * 2, DATA.concepts)
    seen = [row for call in model.batches for row in call]
    assert len(seen) == len(set(seen)) == e.n_queries
    assert e.stats.n_rows == 40 + len(e.counterfactuals.edits) == 2 * e.n_queries
    assert len(model.batches) < 40, "one job, cut into batches"


def test_batch_size_changes_nothing(classifier):
    def run(size):
        effect = ConceptEffect(classifier, StructuralCounterfactuals(DATA), engine=Engine(batch_size=size))
        return effect.explain(DATA.texts, "food", to=["Negative", "Positive"])

    a, b = run(7), run(1000)
    np.testing.assert_allclose(a.individual, b.individual, atol=1e-15)


def test_same_seed_gives_same_interval_and_another_does_not(classifier):
    explain = ConceptEffect(classifier, StructuralCounterfactuals(DATA)).explain
    a, b, c = (explain(DATA.texts, "food", to="Negative", seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(a.low, b.low)
    assert (a.low != c.low).any()
    np.testing.assert_array_equal(a.mean, c.mean)


def test_subset_gives_subset(classifier):
    explain = ConceptEffect(classifier, StructuralCounterfactuals(DATA)).explain
    whole, part = explain(DATA.texts, "food", to="Negative"), explain(DATA.texts[10:30], "food", to="Negative")
    inside = (whole.pair_original >= 10) & (whole.pair_original < 30)
    np.testing.assert_array_equal(
        part.individual[np.argsort(part.pair_original)], whole.individual[inside][np.argsort(whole.pair_original[inside])]
    )


def test_bootstrap_draws_originals_and_not_edits():
    """k edits of one original are one observation: an interval from edits would be too narrow by sqrt(k)."""
    texts = [f"{'x' * (1 + i % 5)}{i:02d}" for i in range(40)]
    changes = np.array([1 + i % 7 for i in range(40)])
    edits = [edit(i, text + "y" * changes[i], sample=j) for i, text in enumerate(texts) for j in range(5)]
    e = ConceptEffect(length, Given(edits), k=5).explain(texts, "c", to="new")
    assert e.n_valid.tolist() == [5] * 40
    assert e.std_error[0, 0] == pytest.approx(changes.std() / np.sqrt(40), rel=0.1)


def test_intervals_cover_the_true_mean():
    """95 % intervals hold the population mean 90 to 99 % of the time."""
    data = concept_reviews(3000, seed=9)
    source = StructuralCounterfactuals(data)
    model = lambda texts: [[len(t) / 10 + 3 * ("back" in t)] for t in texts]  # noqa: E731
    everyone = ConceptEffect(model, source, n_bootstrap=2).explain(data.texts, "return", to="yes")
    truth, held = everyone.mean[0, 0], 0
    for part in range(60):
        texts = data.texts[part * 50 : part * 50 + 50]
        e = ConceptEffect(model, source, n_bootstrap=500).explain(texts, "return", to="yes", seed=part)
        held += e.low[0, 0] <= truth <= e.high[0, 0]
    assert 0.87 <= held / 60 <= 1.0


def test_single_original_has_an_effect_and_no_interval():
    e = ConceptEffect(length, Given([edit(0, "aaaaa")])).explain(TEXTS, "c", to="new")
    assert e.mean.tolist() == [[1.0]]
    assert np.isnan([e.low, e.high, e.std_error]).all()


def test_no_pair_at_all_is_an_empty_table():
    e = ConceptEffect(length, Given([])).explain(TEXTS, "c", to="new")
    assert len(e) == 0
    assert len(e.to_frame()) == 0
    with pytest.raises(InputError, match="no intervention"):
        e.plot()


def test_paraphrase_null_stands_beside_the_effects(classifier):
    source = by(StructuralEditor(DATA), checks=())
    e = ConceptEffect(classifier, source).explain(DATA.texts, "food", to="Negative", current=NOW["food"], null=True)
    assert e.null is not None
    assert all(i.source_value == i.target for i in e.null.interventions)
    assert len(e.null.individual) == len(DATA)
    frame = e.to_frame()
    assert (frame["null_size"] > 0).all()
    moved = np.abs(e.individual).mean(axis=0)
    assert (moved > e.null.size("food")).sum() >= 3, "the effect is beyond the null for most outputs"


def test_null_of_an_exact_source_is_exactly_zero(classifier):
    source = StructuralCounterfactuals(DATA)
    nulls = null_edits(source, DATA.texts, "food", ["Negative", "Positive"])
    assert [x.text for x in nulls.edits] == [DATA.texts[x.original] for x in nulls.edits]
    assert len(nulls.edits) == len(DATA)
    e = ConceptEffect(classifier, source).explain(DATA.texts, "food", to=["Negative", "Positive"], null=True)
    assert (e.null.individual == 0).all()


class Drifting:
    """An exact editor that adds a polite sentence to all that it touches."""

    estimand = "total"

    def __init__(self):
        self.exact = StructuralCounterfactuals(DATA)

    def counterfactuals(self, texts, concept, *, to, k=1, seed=0, current=None):
        from dataclasses import replace

        tail = " Kind regards."
        bare = [t.removesuffix(tail) for t in texts]
        e = self.exact.counterfactuals(bare, concept, to=to)
        return replace(e, texts=tuple(texts), edits=tuple(replace(x, text=x.text + tail) for x in e.edits))


def test_rewriting_twice_cancels_drift_that_rewriting_once_keeps():
    model = lambda texts: [[3.0 * ("Kind regards" in t) + 1.0 * ("back" in t)] for t in texts]  # noqa: E731
    options = {"treated": "yes", "control": "no", "current": NOW["return"]}
    exact = rewrite_twice(model, StructuralCounterfactuals(DATA), DATA.texts, "return", **options)
    drifting = rewrite_twice(model, Drifting(), DATA.texts, "return", **options)
    np.testing.assert_allclose(drifting.ate.mean, exact.ate.mean)
    np.testing.assert_allclose(drifting.att.mean, exact.att.mean)
    assert abs(drifting.once.mean[0] - exact.once.mean[0]) > 0.01
    assert drifting.ate.mean[0] == pytest.approx(
        (drifting.att.mean[0] * drifting.att.n + drifting.atu.mean[0] * drifting.atu.n) / drifting.ate.n
    )
    null = ConceptEffect(model, Drifting()).explain(DATA.texts, "return", to=["yes", "no"], null=True).null
    np.testing.assert_allclose(null.individual, 3.0)


def test_rewriting_twice_refuses_what_makes_no_sense():
    source = StructuralCounterfactuals(DATA)
    with pytest.raises(OptionError):
        rewrite_twice(length, source, DATA.texts, "return", treated="yes", control="yes", current=NOW["return"])
    with pytest.raises(InputError, match="no text"):
        rewrite_twice(length, source, DATA.texts, "food", treated="Mixed", control="Negative", current=["Positive"] * 80)
    with pytest.raises(InputError, match="one a text"):
        rewrite_twice(length, source, DATA.texts, "food", treated="Mixed", control="Negative", current=["Positive"])


def test_slices_and_frames_agree(classifier):
    e = ConceptEffect(classifier, StructuralCounterfactuals(DATA)).explain(DATA.texts, DATA.concepts)
    food = e["food"]
    assert {i.concept for i in food.interventions} == {"food"}
    assert len(food.counterfactuals.edits) == len(food.individual)
    np.testing.assert_array_equal(food.mean, e.mean[[q for q, i in enumerate(e.interventions) if i.concept == "food"]])
    frame = e.to_frame()
    assert len(frame) == len(e) * 5
    assert set(frame["estimand"]) == {"total"}
    assert len(e.individual_frame()) == len(e.individual)
    assert e.output("4") == 4 == e.output(-1)
    with pytest.raises(OptionError):
        e["colour"]
    with pytest.raises(OptionError):
        e.output("9")


def test_effects_of_counterfactuals_can_be_saved(classifier, tmp_path):
    e = ConceptEffect(classifier, StructuralCounterfactuals(DATA)).explain(DATA.texts, "food", to="Negative").counterfactuals
    e.save(tmp_path / "e.jsonl")
    np.testing.assert_array_equal(Counterfactuals.load(tmp_path / "e.jsonl").effects, e.effects)


def test_plots_draw_every_intervention(classifier):
    e = ConceptEffect(classifier, by(StructuralEditor(DATA), checks=())).explain(
        DATA.texts, "food", to=["Negative", "Positive"], current=NOW["food"], null=True
    )
    ax = e.plot(output="4")
    assert len(ax.get_yticklabels()) == len(e)
    assert "effect on 4" in ax.get_xlabel()
    assert len(e.plot_individual().collections[0].get_offsets()) == len(e.individual)
    assert "<script" not in e._repr_html_()


@pytest.mark.parametrize(
    "build",
    [
        lambda: ConceptEffect(length, Given([]), k=0),
        lambda: ConceptEffect(length, Given([]), n_bootstrap=1),
        lambda: ConceptEffect(length, Given([]), confidence=1.0),
        lambda: ConceptEffect(length, object()),
        lambda: ConceptEffect(object(), Given([])),
        lambda: ConceptEffect(length, Given([])).explain(TEXTS, "c"),
        lambda: ConceptEffect(length, Given([])).explain("text", "c", to="new"),
        lambda: ConceptEffect(length, Given([])).explain(TEXTS, DATA.concepts, to="new"),
        lambda: ConceptEffect(length, Given([])).explain(TEXTS, "c", to="new", current={"d": ["old"] * 3}),
        lambda: (
            ConceptEffect(length, Given([edit(0, "a")]))
            .explain(TEXTS, "c", to="new")
            .error_against(ConceptEffect(length, Given([])).explain(TEXTS, "c", to="new"))
        ),
    ],
)
def test_wrong_input_is_refused(build):
    with pytest.raises((OptionError, InputError)):
        build()


def test_model_that_raises_passes_its_own_exception():
    def broken(texts):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ConceptEffect(broken, Given([edit(0, "aaaaa")])).explain(TEXTS, "c", to="new")


def test_classifier_by_callable_is_a_classifier():
    assert CallableClassifier({"food": lambda texts: ["x"] * len(texts)}).classify(["a"], "food") == ("x",)


def test_no_interval_holds_nothing_and_excludes_nothing():
    source = LLMCounterfactuals(FunctionGenerator(lambda _: "The soup was bad."), [Concept("food", ("Negative", "Positive"))])
    effects = ConceptEffect(lambda texts: np.array([[0.0, float(len(t))] for t in texts]), source)
    table = effects.explain(["The soup was good."], "food", to="Negative", current=["Positive"]).to_frame()
    assert table["low"].isna().all()
    assert table["zero_in_interval"].isna().all()


def test_a_model_that_holds_a_key_is_not_in_a_repr():
    @dataclass
    class Keyed:
        api_key: str = "sk-planted"

        def __call__(self, texts):
            return [[float("bad" in text), 0.0] for text in texts]

    generator = FunctionGenerator(partial(str.replace, "sk-planted"))
    source = LLMCounterfactuals(generator, [Concept("food", ("Negative", "Positive"))])
    for holder in (ConceptEffect(Keyed(), source), FlipCounterfactuals(generator, Keyed(), labels=("a", "b")), generator, source):
        assert "sk-planted" not in repr(holder)
