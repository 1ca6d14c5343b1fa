"""The causal embedding: its sets and its loss are the published ones, and training puts counterfactuals nearer than the base does."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from whybox.concepts import (
    CallableClassifier,
    CausalEmbedding,
    CausalGraph,
    Concept,
    Encoder,
    StructuralCounterfactuals,
    TrainingOptions,
    TransformerEncoder,
)
from whybox.concepts._contrast import PAIRS, ContrastSets, contrastive_loss
from whybox.datasets import concept_reviews, disease
from whybox.errors import CheckpointError, InputError, OptionError
from whybox.explanations import Counterfactuals
from whybox.explanations.counterfactuals import Edit, Failure

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'whybox[torch]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install 'whybox[torch]'")

FAST = TrainingOptions(epochs=4, batch_size=32, learning_rate=3e-3, save_seconds=0.0)
TWO = (Concept("a", ("0", "1")), Concept("b", ("0", "1", "2")))


def random_sets(rng, *, n=40, c=3, unknown=0.1, single=True, free=False):
    fixed = ~np.eye(c, dtype=bool)
    if free:
        fixed[0, 1] = False  # setting the first concept may move the second
    values = rng.integers(0, 2, (n, c))
    values[rng.random((n, c)) < unknown] = -1
    concepts = tuple(Concept(str(i), ("0", "1")) for i in range(c))
    return ContrastSets(tuple(map(str, range(n))), rng.integers(0, 8, n), values, fixed, single, concepts)


def sets_by_definition(s, q, t, j):
    """Which set a text is in, from the words of the paper."""
    f = [c for c in range(s.values.shape[1]) if s.fixed[t, c]]
    if any(s.values[q, c] < 0 or s.values[j, c] < 0 for c in f) or q == j:
        return None
    differ = sum(s.values[q, c] != s.values[j, c] for c in f)
    if s.groups[q] != s.groups[j]:
        return "M" if differ == 0 else "notM"
    if s.values[q, t] < 0 or s.values[j, t] < 0:
        return None
    if s.values[q, t] != s.values[j, t]:
        return "CF" if differ == 0 else None
    return "notCF" if (differ == 1 if s.single else differ >= 1) else None


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_sets_follow_their_definition(seed, single):
    rng = np.random.default_rng(seed)
    s = random_sets(rng, single=single, free=not single)
    query, treatment = np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40)
    masks = s.masks(query, treatment, np.arange(40))
    for row, (q, t) in enumerate(zip(query, treatment, strict=True)):
        for j in range(40):
            found = [name for k, name in enumerate(("CF", "M", "notCF", "notM")) if masks[k, row, j]]
            assert found == [x for x in (sets_by_definition(s, q, t, j),) if x], (q, t, j)
    told = set(zip(*(x.tolist() for x in s.examples([0, 1, 2])), strict=True))
    assert told == {(q, t) for row, (q, t) in enumerate(zip(query.tolist(), treatment.tolist(), strict=True)) if masks[[0, 2], row].any()}


def test_pool_holds_members_of_every_set():
    s = random_sets(np.random.default_rng(0), n=200, unknown=0.0)
    query, treatment = s.examples([0, 1, 2])
    rng, held = np.random.default_rng(1), 0
    for q, t in list(zip(query, treatment, strict=True))[:50]:
        one = np.array([q]), np.array([t])
        pool = s.pool(*one, 3, rng)
        assert q in pool
        assert len(pool) <= 1 + 4 * 3
        possible = s.masks(*one, np.arange(200)).any(axis=2)[:, 0]
        drawn = s.masks(*one, pool).any(axis=2)[:, 0]
        assert np.array_equal(drawn[[0, 2]], possible[[0, 2]])  # M and notM may, by chance, be texts of the same original
        held += (drawn == possible).all()
    assert held >= 40


def loss_by_hand(similarity, masks, tau):
    total = 0.0
    for row in range(similarity.shape[0]):
        mean = [np.mean(np.exp(similarity[row, m[row]] / tau)) if m[row].any() else None for m in masks]
        total += sum(-math.log(mean[a] / (mean[a] + mean[b])) for a, b in PAIRS if mean[a] is not None and mean[b] is not None)
    return total / similarity.shape[0]


@pytest.mark.parametrize("seed", range(3))
def test_loss_is_the_sum_of_its_six_terms(seed):
    rng = np.random.default_rng(seed)
    s = random_sets(rng)
    query, treatment = s.examples([0, 1, 2])
    masks = s.masks(query, treatment, np.arange(40))
    assert not masks.any(axis=2).all()  # some sets are empty
    similarity = torch.tensor(rng.uniform(-1, 1, (len(query), 40)), requires_grad=True)
    loss = contrastive_loss(similarity, masks, 0.1)
    assert float(loss.detach()) == pytest.approx(loss_by_hand(similarity.detach().numpy(), masks, 0.1), rel=1e-7)
    loss.backward()
    assert torch.isfinite(similarity.grad).all()
    assert torch.equal(similarity.grad != 0, torch.from_numpy(masks.any(axis=0)) & (similarity.grad != 0))


def test_loss_wants_the_published_order():
    """Raising the similarity of a set lowers the loss for CF and raises it for notM."""
    masks = np.zeros((4, 1, 4), dtype=bool)
    masks[range(4), 0, range(4)] = True
    similarity = torch.zeros((1, 4), dtype=torch.float64, requires_grad=True)
    contrastive_loss(similarity, masks, 0.1).backward()
    np.testing.assert_allclose(similarity.grad[0].numpy(), np.array([-3, -1, 1, 3]) / 2 / 0.1)


def edits(*made):
    return Counterfactuals(texts=("x", "y"), edits=made, source="by hand")


def of(results, labels=None, classifier=None, graph=None, estimand="direct", concepts=TWO):
    return ContrastSets.of(("x", "y"), results, concepts, labels=labels, classifier=classifier, graph=graph, estimand=estimand)


LABELS = {"a": ["0", "1"], "b": ["2", None]}


def test_edits_are_trusted_without_a_classifier():
    e = edits(
        Edit(0, "a", "0", "1", 0, "x1"), Edit(1, "b", None, "0", 0, "y1"), Edit(0, "a", "0", "1", 1, "bad", (Failure("unchanged", ""),))
    )
    s = of([e, e], LABELS)
    assert s.texts == ("x", "y", "x1", "y1")
    assert s.groups.tolist() == [0, 1, 0, 1]
    assert s.values.tolist() == [[0, 2], [1, -1], [1, 2], [1, 0]]


def test_what_an_edit_may_move_is_not_known_without_a_classifier():
    graph = CausalGraph([("a", "b")])
    e = edits(Edit(0, "a", "0", "1", 0, "x1"), Edit(0, "b", "2", "0", 0, "x2"))
    s = of([e], LABELS, graph=graph, estimand="total")
    assert s.values[2:].tolist() == [[1, -1], [0, 0]]
    assert s.fixed.tolist() == [[False, False], [True, False]]
    assert not s.single
    assert of([e], LABELS, graph=graph, estimand="direct").values[2].tolist() == [1, 2]


def test_a_classifier_reads_the_edits():
    reads = CallableClassifier({"a": lambda t: ["1" if "1" in x else "0" for x in t], "b": lambda t: ["0"] * len(t)})
    s = of([edits(Edit(0, "a", "0", "1", 0, "x1"), Edit(0, "a", "0", "1", 1, "x2"))], None, reads)
    assert s.values.tolist() == [[0, 0], [0, 0], [1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: of([edits(Edit(0, "a", "0", "1", 0, "x1"))]), "pass labels=, or a classifier="),
        (lambda: of([edits(Edit(0, "a", "0", "1", 0, "x1"))], {"a": ["0", "1"]}), "'b' is missing"),
        (lambda: of([edits(Edit(0, "a", "0", "1", 0, "x1"))], {"a": ["0"], "b": ["0", "0"]}), "expected 2 values"),
        (lambda: of([edits(Edit(0, "a", "0", "1", 0, "x1"))], {"a": ["7", "1"], "b": ["0", "0"]}), "not values of the concept"),
        (lambda: of([edits(Edit(0, "c", "0", "1", 0, "x1"))], LABELS), "got one of 'c'"),
        (lambda: of([Counterfactuals(texts=("z",), edits=(Edit(0, "a", "0", "1", 0, "x1"),), source="")], LABELS), "not among the texts"),
        (lambda: of([edits()], LABELS), "valid edits"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


# What training does, on texts whose counterfactuals are known.


@pytest.fixture(scope="module")
def reviews():
    """(data, results of the direct counterfactuals, labels, base that is only frequent words)."""
    data = concept_reviews(80, seed=1)
    source = StructuralCounterfactuals(data, estimand="direct")
    results = [source.counterfactuals(data.texts, c.name, to=v) for c in data.concepts for v in c.values]
    words = TfidfVectorizer(max_features=150).fit(data.texts)
    return data, results, {c.name: data.values(c.name) for c in data.concepts}, lambda texts: words.transform(texts).toarray()


def agreement(encoder, data, concept):
    """Share of the other concepts that a text and the nearest other text have in common."""
    v = encoder(data.texts)
    v = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9)
    nearest = (v @ v.T - 9 * np.eye(len(v))).argmax(axis=1)
    return np.mean(
        [np.mean(np.array(data.values(c.name)) == np.array(data.values(c.name))[nearest]) for c in data.concepts if c.name != concept]
    )


@pytest.mark.parametrize("shared", [False, True])
def test_nearest_texts_agree_in_what_must_stay(reviews, shared):
    data, results, labels, base = reviews
    settings = {"labels": labels, "shared": shared, "options": replace(FAST, epochs=8), "treatments": ["food", "service"]}
    e = CausalEmbedding.fit(base, data.texts, results, data.concepts, **settings)
    new = concept_reviews(150, seed=5)
    assert agreement(e.for_concept("food"), new, "food") > agreement(base, new, "food") + 0.05
    for history in e.histories.values():
        assert history.validation[history.best] < history.validation[0]
    assert isinstance(e, Encoder)
    assert e(new.texts).shape == (150, 128 if shared else 2 * 128)


def match_error(encoder, model, train, data, concept, value):
    """Mean L2 error of the effects by the five nearest training texts with the value, for structural ground truth."""

    def unit(v):
        return v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9)

    truth = StructuralCounterfactuals(data).counterfactuals(data.texts, concept, to=value)
    asked, after = [data.texts[e.original] for e in truth.edits], model.predict_proba([e.text for e in truth.edits])
    pool = [text for text, v in zip(train.texts, train.values(concept), strict=True) if v == value]
    nearest = np.argsort(-(unit(encoder(asked)) @ unit(encoder(pool)).T), axis=1)[:, :5]
    return np.linalg.norm(model.predict_proba(pool)[nearest].mean(axis=1) - after, axis=1).mean()


def test_matches_are_better_than_those_of_the_base_in_every_seed():
    data, train, test = disease(80, seed=1), disease(400, seed=2), disease(60, seed=3)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0)).fit(train.texts, train.labels)
    words = TfidfVectorizer(max_features=200).fit(train.texts)
    labels, name = {c.name: data.values(c.name) for c in data.concepts}, data.concepts[0].name
    source = StructuralCounterfactuals(data)

    def base(texts):
        return words.transform(texts).toarray()

    results = [source.counterfactuals(data.texts, c.name, to=v) for c in data.concepts for v in c.values]
    settings = {"labels": labels, "graph": data.graph, "treatments": [name], "options": TrainingOptions(epochs=4, learning_rate=3e-3)}
    for seed in range(3):
        e = CausalEmbedding.fit(base, data.texts, results, data.concepts, seed=seed, **settings)
        for value in data.concepts[0].values[::2]:
            mine, theirs = (match_error(x, model, train, test, name, value) for x in (e.for_concept(name), base))
            assert mine < theirs


def test_same_seed_same_bits_and_nothing_global_is_touched(reviews):
    data, results, labels, base = reviews
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    a, b, c = (
        CausalEmbedding.fit(base, data.texts, results, data.concepts, labels=labels, shared=True, options=replace(FAST, epochs=1), seed=s)
        for s in (1, 1, 2)
    )
    assert np.array_equal(a(data.texts), b(data.texts))
    assert a.histories == b.histories
    assert not np.array_equal(a(data.texts), c(data.texts))
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])


def test_a_source_is_asked_for_every_concept_and_value(reviews):
    data, results, _, base = reviews
    some, names = data.rows(range(30)), {c.name: data.values(c.name)[:30] for c in data.concepts}
    options = replace(FAST, epochs=1)
    source = StructuralCounterfactuals(some, estimand="direct")
    a = CausalEmbedding.fit(base, some.texts, source, some.concepts, labels=names, options=options, shared=True)
    b = CausalEmbedding.fit(base, some.texts, [r[:30] for r in results], some.concepts, labels=names, options=options, shared=True)
    assert np.array_equal(a(data.texts), b(data.texts))


class Killed(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


@pytest.mark.parametrize("step", [2, 30])
def test_killed_training_goes_on_with_the_same_bits(reviews, tmp_path, monkeypatch, step):
    data, results, labels, base = reviews
    arguments = (base, data.texts, results[:4], data.concepts)
    settings = {"labels": labels, "options": replace(FAST, epochs=3), "seed": 5}
    concepts = ("price", "food")
    results = [r for r in results if r.edits[0].concept in concepts]
    arguments = (base, data.texts, results, data.concepts)
    whole = CausalEmbedding.fit(*arguments, **settings)
    adam, taken = torch.optim.AdamW.step, []

    def dies(self, *args, **kwargs):
        taken.append(1)
        if len(taken) > step:
            raise Killed
        return adam(self, *args, **kwargs)

    with monkeypatch.context() as m:
        m.setattr(torch.optim.AdamW, "step", dies)
        with pytest.raises(Killed):
            CausalEmbedding.fit(*arguments, checkpoint=tmp_path / "run", **settings)
    again = CausalEmbedding.fit(*arguments, checkpoint=tmp_path / "run", **settings)
    assert np.array_equal(again(data.texts), whole(data.texts))
    assert again.histories == whole.histories
    with pytest.raises(CheckpointError, match="other texts, settings or seed"):
        CausalEmbedding.fit(*arguments, checkpoint=tmp_path / "run", **(settings | {"seed": 6}))


def test_saved_and_read(reviews, tmp_path):
    data, results, labels, base = reviews
    e = CausalEmbedding.fit(base, data.texts, results, data.concepts, labels=labels, options=replace(FAST, epochs=1))
    e.save(tmp_path / "e.safetensors")
    again = CausalEmbedding.load(tmp_path / "e.safetensors", base)
    assert np.array_equal(again(data.texts), e(data.texts))
    assert (again.histories, again.settings, again.concepts) == (e.histories, e.settings, e.concepts)
    with pytest.raises(InputError, match="another base"):
        CausalEmbedding.load(tmp_path / "e.safetensors", lambda texts: base(texts)[:, ::-1])
    with pytest.raises(OptionError, match="expected one of"):
        e.for_concept("parking")


def test_a_transformer_is_trained_itself(tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed: pip install 'whybox[hf]'")
    spec = importlib.util.spec_from_file_location("tiny_bert", Path(__file__).with_name("tiny_bert.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = concept_reviews(6, seed=1)
    vocabulary = TfidfVectorizer(max_features=60).fit(data.texts).get_feature_names_out().tolist()
    base = TransformerEncoder(*module.tiny_bert(words=vocabulary, positions=256))
    before = base(data.texts)
    labels = {c.name: data.values(c.name) for c in data.concepts}
    source = StructuralCounterfactuals(data, estimand="direct")
    settings = {"labels": labels, "tune": True, "treatments": ["food"], "samples": 2, "options": TrainingOptions(1, 16, 1e-3)}
    a, b = (CausalEmbedding.fit(base, data.texts, source, data.concepts, **settings) for _ in range(2))
    assert np.array_equal(a(data.texts), b(data.texts))  # dropout is seeded
    assert np.array_equal(base(data.texts), before)
    assert np.abs(a(data.texts) - before).max() > 1e-3
    a.save(tmp_path / "a.safetensors")
    again = CausalEmbedding.load(tmp_path / "a.safetensors", TransformerEncoder(*module.tiny_bert(words=vocabulary, positions=256, seed=3)))
    assert np.array_equal(again(data.texts), a(data.texts))
    with pytest.raises(InputError, match="pass a TransformerEncoder"):
        CausalEmbedding.load(tmp_path / "a.safetensors", len)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tune": True}, "only a TransformerEncoder"),
        ({"temperature": 0.0}, "temperature"),
        ({"dimension": -1}, "dimension"),
        ({"samples": 0}, "samples"),
        ({"treatments": ["parking"]}, "some of the concepts"),
        ({"counterfactuals": 7}, "a source of them"),
        ({"counterfactuals": ["x"]}, "expected Counterfactuals, got str"),
        ({"estimand": "both"}, "estimand"),
        ({"base": lambda texts: np.zeros((2, 2))}, "one a text"),
        ({"graph": CausalGraph([("a", "b")])}, "not concepts"),
    ],
)
def test_wrong_arguments_are_named(reviews, change, message):
    data, results, labels, base = reviews
    given = {"base": base, "texts": data.texts, "counterfactuals": results, "concepts": data.concepts, "labels": labels} | change
    with pytest.raises(InputError, match=message):
        CausalEmbedding.fit(**given)


@pytest.mark.cuda
def test_cuda_agrees_with_cpu(reviews):
    data, results, labels, base = reviews
    settings = {"labels": labels, "shared": True, "options": replace(FAST, epochs=1)}
    a, b = (CausalEmbedding.fit(base, data.texts, results, data.concepts, device=d, **settings) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(a(data.texts), b(data.texts), atol=2e-3)
