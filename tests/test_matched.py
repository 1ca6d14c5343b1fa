"""Matched counterfactuals: neighbours by brute force, passages cut without loss, effects against structural truth, named refusals."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from whybox.concepts import (
    CallableClassifier,
    CandidatePool,
    CausalGraph,
    Concept,
    ConceptEffect,
    ConditionalExpectation,
    CounterfactualSource,
    EffectEstimator,
    MatchedCounterfactuals,
    PassageReader,
    StructuralCounterfactuals,
    TfidfEncoder,
    exact_neighbors,
)
from whybox.concepts._coupling import Followers
from whybox.concepts._logistic import Logistic, leverage, linear, ridge
from whybox.concepts._ordinal import Ordinal, _likelihood
from whybox.concepts._outcome import scores
from whybox.concepts._passages import clauses, passage, replaced, without
from whybox.concepts._splice import told
from whybox.datasets import StructuralModel, Variable, disease, workplace_violence
from whybox.datasets._concept_data import sample
from whybox.datasets._render import Phrases
from whybox.errors import InputError, ModelError, OptionError
from whybox.evaluation import compare, pairs_of

TEXTS = (
    "Good soup. Rude waiter.",
    "Bad soup. Rude waiter.",
    "Good rice. Kind waiter.",
    "Bad rice. Kind waiter.",
    "Good fish. Kind staff.",
    "Bad fish. Rude staff.",
)
LABELS = {"food": ["+", "-"] * 3, "service": ["-", "-", "+", "+", "+", "-"]}


@pytest.fixture(scope="module")
def small():
    return MatchedCounterfactuals.fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def violence():
    """A pool, explained texts, an explained model, and the source with the graph."""
    train, pool, held_out = workplace_violence(800, seed=1), workplace_violence(300, seed=2), workplace_violence(25, seed=3)
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=500)).fit(train.texts, train.labels)
    labels = {c.name: pool.values(c.name) for c in pool.concepts}
    source = MatchedCounterfactuals.fit(pool.texts, labels, pool.concepts, graph=pool.graph, not_told=None)
    return model, pool, held_out, source


# neighbours


@pytest.mark.parametrize(("n", "m", "e", "k"), [(7, 50, 5, 3), (3, 4000, 8, 10), (1, 5, 2, 5)])
def test_neighbours_are_those_of_a_full_sort(n, m, e, k):
    rng = np.random.default_rng(0)
    queries, pool = rng.normal(size=(n, e)), rng.normal(size=(m, e))
    places, similarity = exact_neighbors(queries, pool, k)
    brute = np.argsort(-(queries @ pool.T), axis=1, kind="stable")[:, :k]
    assert (places == brute).all()
    assert np.allclose(similarity, np.take_along_axis(queries @ pool.T, brute, axis=1))


def test_neighbours_among_some_are_those_of_the_subset(monkeypatch):
    monkeypatch.setattr("whybox.concepts._neighbors._COLUMNS", 64)  # several blocks
    rng = np.random.default_rng(1)
    queries, pool = rng.normal(size=(9, 4)).astype(np.float32), rng.normal(size=(1000, 4)).astype(np.float32)
    among = np.sort(rng.choice(1000, 300, replace=False))
    places, _ = exact_neighbors(queries, pool, 6, among)
    brute = among[np.argsort(-(queries.astype(float) @ pool[among].astype(float).T), axis=1)[:, :6]]
    assert (places == brute).all()


def test_equals_come_in_the_order_of_the_pool():
    pool = np.tile(np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32), (5, 1))
    places, _ = exact_neighbors(np.array([[1.0, 0.0]]), pool, 4)
    assert places.tolist() == [[0, 2, 4, 6]]


def test_blocks_of_queries_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    queries, pool = rng.normal(size=(40, 6)).astype(np.float32), rng.normal(size=(700, 6)).astype(np.float32)
    whole = exact_neighbors(queries, pool, 5)
    monkeypatch.setattr("whybox.concepts._neighbors._BLOCK_BYTES", 1)
    alone = exact_neighbors(queries, pool, 5)
    assert all((a == b).all() for a, b in zip(whole, alone, strict=True))


def test_more_neighbours_than_vectors_are_refused():
    with pytest.raises(InputError, match="between 1 and the 3"):
        exact_neighbors(np.eye(3), np.eye(3), 4)


# passages

ODD = (
    "",
    " ",
    "One",
    "Wait... what?! No.",
    "价格很高。服务很好，不错。",
    "a,b;c",
    "Good food, and bad service\nbut 1,5 euros. ",
    "x " * 40,
    "é\u200b! 👩🏽‍🍳, ok",
)


@pytest.mark.parametrize("text", ODD)
def test_clauses_make_up_the_text(text):
    assert "".join(clauses(text)) == text
    assert replaced(clauses(text), (), {}) == text
    assert without(clauses(text), ()) == text


def test_pieces_change_places():
    pieces = clauses("The soup was good, but the waiter was rude. We left.")
    assert pieces == ["The soup was good,", " but the waiter was rude.", " We left."]
    assert without(pieces, {1}) == "The soup was good, We left."
    assert replaced(pieces, {1}, {1: "The waiter smiled."}) == "The soup was good, The waiter smiled. We left."
    assert replaced(pieces, (), {3: "It was loud."}).endswith("We left. It was loud.")
    assert passage(pieces, [1]) == "The waiter was rude."


def test_a_split_that_loses_something_is_refused():
    with pytest.raises(InputError, match="joined"):
        PassageReader.fit(["Good soup. Fine."], {"food": ["+"]}, split=lambda text: text.split("."))


# readers and pools


def test_reader_learns_values_and_places_from_labels_of_whole_texts(violence):
    _, pool, held_out, source = violence
    for concept in pool.concepts:
        right = np.mean(
            [a == b for a, b in zip(source.reader.classify(held_out.texts, concept.name), held_out.values(concept.name), strict=True)]
        )
        assert right > 0.95, concept.name


def test_a_reader_with_an_encoder_knows_words_that_no_label_came_with():
    alike = {"superb": [1.0, 0.0], "good": [1.0, 0.0], "awful": [0.0, 1.0], "bad": [0.0, 1.0]}
    encoder = lambda texts: [np.sum([alike.get(w.strip(".").lower(), [0.01, 0.01]) for w in t.split()], axis=0) for t in texts]  # noqa: E731
    labels = {"food": ["+", "-"] * 20}
    texts = [f"{'Good' if i % 2 == 0 else 'Bad'} soup {i}. We sat." for i in range(40)]
    new = ["Superb fish. We left.", "Awful fish. We left."]
    assert PassageReader.fit(texts, labels, encoder=encoder).classify(new, "food") == ("+", "-")
    assert len(set(PassageReader.fit(texts, labels).classify(new, "food"))) == 1


def test_reader_says_not_told_where_nothing_tells():
    texts = ["Good soup. We sat.", "Bad soup. We sat.", "We sat.", "We left."] * 10
    reader = PassageReader.fit(texts, {"food": ["+", "-", "unknown", "unknown"] * 10})
    assert reader.classify(["We sat. Good soup.", "We left. We sat."], "food") == ("+", "unknown")
    with pytest.raises(OptionError, match="noise"):
        reader.classify(["a"], "noise")


@pytest.mark.parametrize(
    ("labels", "message"),
    [({"food": ["+"]}, "expected 6 labels"), ({"food": "+-+-+-"}, "expected 6 labels"), ({}, "at least one Concept")],
)
def test_pools_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        MatchedCounterfactuals.fit(TEXTS, labels)


def test_an_empty_pool_is_refused():
    with pytest.raises(InputError, match="at least one text"):
        MatchedCounterfactuals.fit([], {"food": []})
    with pytest.raises(InputError, match="pool: expected at least one text"):
        CandidatePool((), {"food": []})


def test_values_and_concepts_that_nobody_has_are_refused(small):
    with pytest.raises(OptionError, match="noise"):
        small.counterfactuals(["Good tea."], "noise", to="+", current=["-"])
    with pytest.raises(OptionError, match="'#'"):
        small.counterfactuals(["Good tea."], "food", to="#", current=["-"])
    food = Concept("food", ("+", "-", "unknown"))
    pool = CandidatePool(TEXTS, {"food": LABELS["food"]}, (food,))
    with pytest.raises(InputError, match=r"no candidate has food='unknown' .*'\+': 3, '-': 3, 'unknown': 0"):
        replace(small, pool=pool, reader=small.reader).counterfactuals(["Good tea."], "food", to="unknown", current=["+"])


def test_missing_labels_are_counted_and_a_classifier_fills_them():
    labels = {"food": ["+", "-", None, "-", float("nan"), "-"]}
    pool = CandidatePool(TEXTS, labels)
    assert pool.missing("food") == 2
    assert pool.candidates("food", "+").tolist() == [0]
    reads = CallableClassifier({"food": lambda texts: ["+" if "Good" in t else "-" for t in texts]})
    assert CandidatePool(TEXTS, labels, classifier=reads).candidates("food", "+").tolist() == [0, 2, 4]
    source = MatchedCounterfactuals.fit(TEXTS, labels)
    assert source.counterfactuals(["Good tea. Kind waiter."], "food", to="-", current=["+"]).settings["without label"] == 2


# counterfactuals


def test_passages_of_the_nearest_take_the_place_of_the_texts_own(small):
    e = small.counterfactuals(["Good soup. Slow waiter."], "food", to="-", k=2, current=["+"])
    assert [edit.text for edit in e.edits] == ["Bad soup. Slow waiter.", "Bad rice. Slow waiter."] or e.edits[
        0
    ].text == "Bad soup. Slow waiter."
    assert all(edit.valid and "Slow waiter." in edit.text for edit in e.edits)
    assert [edit.similarity for edit in e.edits] == sorted((edit.similarity for edit in e.edits), reverse=True)


def test_a_text_that_has_the_value_gets_no_edit(small):
    assert small.counterfactuals(["Bad tea."], "food", to="-", current=["-"]).edits == ()
    assert small.counterfactuals(["Bad soup. Kind staff."], "food", to="-").edits == ()  # the reader finds it out


def test_whole_texts_are_the_nearest_by_brute_force(violence):
    _, pool, held_out, source = violence
    encoder = TfidfEncoder.fit(pool.texts)
    matcher = replace(source, unit="texts", encoder=encoder)
    e = matcher.counterfactuals(held_out.texts, "training", to="none", k=3, current=held_out.values("training"))
    mine, theirs = encoder(list(held_out.texts)).astype(float), encoder(list(pool.texts)).astype(float)
    cosine = (mine / np.linalg.norm(mine, axis=1)[:, None]) @ (theirs / np.linalg.norm(theirs, axis=1)[:, None]).T
    cosine[:, [v != "none" for v in pool.values("training")]] = -2
    for i, edits in itertools.groupby(e.edits, key=lambda edit: edit.original):
        assert [edit.notes["candidate"] for edit in edits] == np.argsort(-cosine[i], kind="stable")[:3].tolist()


def test_a_pool_that_holds_the_text_itself_does_not_answer_with_it(small):
    wrong = ["+", "+", *LABELS["food"][2:]]  # the text itself is labelled with the target
    source = MatchedCounterfactuals.fit(TEXTS, {"food": wrong}, unit="texts", estimand="direct")
    e = source.counterfactuals([TEXTS[1]], "food", to="+", k=3, current=["-"])
    assert TEXTS[1] not in [edit.text for edit in e.edits]
    assert e.settings["itself"] == 1
    assert len(e.edits) == 3


def test_an_own_search_may_answer_and_is_checked(small):
    calls = []

    def search(queries, pool, k, among=None):
        calls.append(k)
        return exact_neighbors(queries, pool, k, among)

    texts, current = ["Good tea. Kind waiter."], ["+"]
    mine = replace(small, neighbors=search).counterfactuals(texts, "food", to="-", k=2, current=current)
    assert calls
    assert mine.edits == small.counterfactuals(texts, "food", to="-", k=2, current=current).edits
    broken = replace(small, neighbors=lambda queries, pool, k, among=None: (np.zeros((1, 1), int), np.zeros((1, 1))))
    with pytest.raises(ModelError, match="shape"):
        broken.counterfactuals(texts, "food", to="-", k=2, current=current)


@pytest.mark.parametrize(
    "encoder", [lambda texts: np.zeros(len(texts)), lambda texts: np.full((len(texts), 2), np.nan)], ids=["flat", "nan"]
)
def test_encoders_are_checked(small, encoder):
    with pytest.raises((InputError, ModelError), match="encoder"):
        replace(small, encoder=encoder).counterfactuals(["Good tea."], "food", to="-", current=["+"])


def test_each_concept_may_have_an_encoder_of_its_own(small):
    encoder = TfidfEncoder.fit(TEXTS)
    own = replace(small, encoder={"food": encoder, "service": lambda texts: [[len(t), 1.0, t.count("s")] for t in texts]})
    ask = {"to": "-", "k": 2, "current": ["+"]}
    texts = ["Good rice. Kind staff."]
    assert own.counterfactuals(texts, "food", **ask).edits == replace(small, encoder=encoder).counterfactuals(texts, "food", **ask).edits
    assert (
        own.counterfactuals(texts, "service", **ask).edits != replace(small, encoder=encoder).counterfactuals(texts, "service", **ask).edits
    )
    with pytest.raises(InputError, match="service"):
        replace(small, encoder={"food": encoder})


@pytest.mark.parametrize(
    "options",
    [
        {"unit": "words"},
        {"adjust": 2.0},
        {"adjust": "half"},
        {"keep": 2.0},
        {"keep": "all"},
        {"default_k": 0},
        {"estimand": "total"},
        {"estimand": "none"},
    ],
)
def test_options_that_do_not_exist_are_refused(options):
    with pytest.raises(OptionError):
        MatchedCounterfactuals.fit(TEXTS, LABELS, **options)


def test_it_is_a_source_and_an_estimator_and_can_be_pickled(small):
    assert isinstance(small, CounterfactualSource)
    assert isinstance(small, EffectEstimator)
    again = pickle.loads(pickle.dumps(small))
    ask = (["Good tea. Kind waiter."], "food")
    assert again.counterfactuals(*ask, to="-", current=["+"]).edits == small.counterfactuals(*ask, to="-", current=["+"]).edits


# effects


def true_and_estimated(model, held_out, source, concepts=None):
    concepts = concepts or held_out.concepts
    current = {c.name: held_out.values(c.name) for c in concepts}
    truth = ConceptEffect(model, StructuralCounterfactuals(held_out)).explain(held_out.texts, concepts, current=current)
    return truth, ConceptEffect(model, source).explain(held_out.texts, concepts, current=current)


def test_effects_are_close_to_the_structural_truth(violence):
    model, _, held_out, source = violence
    truth, e = true_and_estimated(model, held_out, source, held_out.concepts[1:5:3])
    report = compare(pairs_of(truth), {"matched": e}, n_bootstrap=20)
    mine, zero = report.rows["matched"].values, report.rows["zero effect"].values
    assert mine["order"] > 0.8
    assert mine["l2_pairs"] < 0.6 * zero["l2_pairs"]


def test_a_concept_that_the_model_does_not_read_has_no_effect():
    """Planted: the model reads one symptom; of another one without effects the effect is 0 within its interval."""
    pool, held_out = disease(200, seed=1), disease(40, seed=2)

    def model(texts):
        fever = np.array([1.0 if "thermometer" in t or "fever" in t else 0.0 for t in texts])
        return np.stack([fever, 1.0 - fever], axis=1)

    labels = {c.name: pool.values(c.name) for c in pool.concepts}
    source = MatchedCounterfactuals.fit(pool.texts, labels, pool.concepts, not_told=None)
    e = ConceptEffect(model, source).explain(held_out.texts, "dizzy", to="strong", current=held_out.values("dizzy"))
    assert ((e.low <= 1e-9) & (e.high >= -1e-9)).all()
    assert np.abs(e.individual).max() < 0.05


def confounded(n, seed, noise=0.35):
    """Price drives the look of the food, the less noise the more; the model will read the price strongly, the service a little and the
    food not at all."""
    model = StructuralModel(
        (
            Variable("price", ("low", "high"), noise=(0.5, 0.5)),
            Variable("food", ("bad", "good"), ("price",), lambda p, e: 0.9 * p["price"] + e, (0.05, noise)),
            Variable("service", ("bad", "good"), noise=(0.5, 0.5)),
            Variable("rating", ("bad", "good"), ("price", "service"), lambda p, e: 0.7 * p["price"] + 0.3 * p["service"] + e, (0.0, 0.1)),
        ),
        "rating",
    )
    sentences = {
        "price": (("We paid little.", "It cost next to nothing."), ("We paid a lot.", "It cost a fortune.")),
        "food": (("The soup was cold.", "The meat was tough."), ("The soup was hot.", "The meat was tender.")),
        "service": (("The waiter was rude.", "Nobody looked after us."), ("The waiter was kind.", "They looked after us.")),
    }
    openings = tuple(
        f"We came {when}." for when in ("on Monday", "on Tuesday", "at noon", "late", "early", "with friends", "alone", "by train")
    )
    return sample("confounded", model, Phrases(sentences, openings, ("That is all.", "So much for it.", "Bye.", "The end.")), n, seed)


def reads_price_and_service(texts):
    score = np.array([0.7 * ("a lot" in t or "fortune" in t) + 0.2 * ("kind" in t or "They looked" in t) for t in texts])
    return np.stack([1 - score, score], axis=1)


@pytest.mark.parametrize(("noise", "agreement", "most"), [(0.35, 0.87, 0.3), (0.2, 0.99, 0.5)])
def test_under_confounding_conexp_ranks_two_concepts_wrongly_and_matching_rightly(noise, agreement, most):
    pool, held_out = confounded(200, 1, noise), confounded(40, 2, noise)
    both = [(p == "high") == (f == "good") for p, f in zip(pool.values("price"), pool.values("food"), strict=True)]
    assert np.mean(both) == pytest.approx(agreement, abs=0.01)
    labels = {c.name: pool.values(c.name) for c in pool.concepts}
    source = MatchedCounterfactuals.fit(pool.texts, labels, pool.concepts, graph=pool.graph, not_told=None)
    sizes = {}
    for name, asked in {
        "truth": StructuralCounterfactuals(held_out),
        "conexp": ConditionalExpectation(source.pool, source.reader),
        "matched": source,
    }.items():
        explain = ConceptEffect(reads_price_and_service, asked).explain
        sizes[name] = {
            c: float(np.abs(explain(held_out.texts, c, to="good", current=held_out.values(c)).mean).max()) for c in ("food", "service")
        }
    assert sizes["truth"]["food"] == 0.0 < sizes["truth"]["service"]
    assert sizes["conexp"]["food"] > sizes["conexp"]["service"]  # the food gets the price's credit
    assert sizes["matched"]["food"] < most * sizes["matched"]["service"]
    assert sizes["matched"]["service"] == pytest.approx(sizes["truth"]["service"], abs=0.03)


def test_values_that_are_not_probabilities_have_effects_too(violence):
    model, _, held_out, source = violence
    truth, e = true_and_estimated(lambda texts: model.decision_function(list(texts))[:, :1], held_out, source, held_out.concepts[5:6])
    assert e.error_against(truth) < 0.6 * float(np.linalg.norm(truth.individual, axis=1).mean())


def individual(model, held_out, concept, source, **options):
    explain = ConceptEffect(model, source, **options).explain
    return explain(held_out.texts, concept.name, to=concept.values[0], current=held_out.values(concept.name))


def test_without_an_outcome_model_effects_are_means_over_the_counterfactuals(violence):
    model, _, held_out, source = violence
    plain = individual(model, held_out, held_out.concepts[5], replace(source, adjust=0.0), k=10)
    change = plain.counterfactuals.effects
    for p, i in enumerate(plain.pair_original.tolist()):
        mine = [j for j, edit in enumerate(plain.counterfactuals.edits) if edit.original == i]
        assert np.allclose(plain.individual[p], change[mine].mean(axis=0))


@pytest.mark.parametrize("kind", ["probabilities", "certain", "scores"])
def test_estimates_average_matches_outcome_model_and_concepts(violence, kind):
    """Smooth probabilities as log-odds, others as they are; the text's own residual comes on top."""
    smooth, _, held_out, source = violence
    model = {
        "probabilities": smooth.predict_proba,
        "certain": lambda texts: np.eye(3)[smooth.predict(texts)],
        "scores": lambda texts: smooth.decision_function(texts),
    }[kind]
    parts = {
        name: individual(model, held_out, held_out.concepts[5], replace(source, adjust=share, keep=keep, by_concepts=third), k=10)
        for name, share, keep, third in (
            ("a", 0.25, 0.0, 0.0),
            ("b", 0.75, 0.0, 0.0),
            ("half", 0.5, 0.0, 0.0),
            ("little", 1.0, 0.2, 0.0),
            ("more", 1.0, 0.6, 0.0),
            ("third", 0.5, 0.0, 0.25),
            ("concepts", 0.5, 0.0, 1.0),
        )
    }
    before = model([parts["a"].counterfactuals.texts[i] for i in parts["a"].pair_original.tolist()])
    logs = {name: scores(before + e.individual, kind == "probabilities") for name, e in parts.items()}
    assert np.allclose(logs["half"], 0.5 * logs["a"] + 0.5 * logs["b"])
    alone = 1.5 * logs["b"] - 0.5 * logs["a"]  # the outcome model without the residual
    assert np.allclose(logs["more"] - alone, 3 * (logs["little"] - alone))
    assert not np.allclose(logs["more"], logs["little"])
    assert np.allclose(logs["third"], 0.75 * logs["half"] + 0.25 * logs["concepts"])
    said = parts["half"].counterfactuals.settings["calls"][0]["averaged as"]
    assert said == ("log-odds" if kind == "probabilities" else "outputs")


def test_what_a_text_is_known_to_tell_says_where_it_tells_it(small):
    """A reader alone may err; a known value is told somewhere, and what is not told nowhere."""
    odd = "Good soup. Rude waiter."
    assert told(small.reader, [odd], "food", ["+"]).tells == ((0,),)
    assert told(small.reader, [odd], "food", ["-"]).guessed == (True,)
    assert len(told(small.reader, [odd], "food", ["-"]).tells[0]) == 1
    assert told(small.reader, [odd], "food", [small.reader.not_told]).tells == ((),)
    assert told(small.reader, [odd], "food", [None]) == told(small.reader, [odd], "food")
    e = small.counterfactuals([odd, odd], "food", to="+", k=1, current=["-", "-"])
    assert e.settings["guessed"] == 2


def test_a_subset_of_texts_has_the_same_effects(violence):
    model, _, held_out, source = violence
    e = ConceptEffect(model, source).explain(held_out.texts, "role", to="nurse", current=held_out.values("role"))
    some = [3, 1, 8]
    part = ConceptEffect(model, source).explain(
        [held_out.texts[i] for i in some], "role", to="nurse", current=[held_out.values("role")[i] for i in some]
    )
    whole = dict(zip(e.pair_original.tolist(), e.individual, strict=True))
    for p, i in enumerate(part.pair_original.tolist()):
        assert np.allclose(part.individual[p], whole[some[i]], atol=1e-12)


def test_the_null_tells_the_same_value_in_other_words(violence):
    model, _, held_out, source = violence
    e = ConceptEffect(model, source).explain(held_out.texts, "training", to="none", current=held_out.values("training"), null=True)
    assert e.null is not None
    assert np.abs(e.null.individual).mean() < np.abs(e.individual).mean()


# what follows


def test_ordered_probit_finds_its_own_parameters():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    codes = np.clip(np.rint(x @ [0.5, -0.3] + 1 + 0.5 * rng.normal(size=4000)), 0, 3).astype(int)
    fitted = Ordinal.fit(x, codes, 4)
    assert np.allclose(0.5 * fitted.coef, [0.5, -0.3], atol=0.05)
    assert np.allclose(0.5 * fitted.cuts, [-0.5, 0.5, 1.5], atol=0.1)
    at, step = rng.normal(size=5) * 0.3, 1e-6
    _, slope = _likelihood(at, x, codes, 4)
    numeric = [(_likelihood(at + step * e, x, codes, 4)[0] - _likelihood(at - step * e, x, codes, 4)[0]) / (2 * step) for e in np.eye(5)]
    assert np.allclose(slope, numeric, rtol=1e-4)


def test_followers_have_the_distribution_of_the_exact_counterfactuals():
    data = workplace_violence(2000, seed=5)
    pool = CandidatePool(data.texts, {c.name: data.values(c.name) for c in data.concepts}, data.concepts)
    followers = Followers(pool, data.graph)
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(data.codes["age"] == 0)[:150]
    exact = data.model.solve({name: e[rows] for name, e in data.noise.items()}, {"age": np.full(len(rows), 2)})
    drawn = {name: [] for name in ("tenure", "standing", "training")}
    right = []
    for place, i in enumerate(rows.tolist()):
        before = {c.name: int(data.codes[c.name][i]) for c in data.concepts}
        after = [{**before, **draw} for draw in followers.follow(before, "age", 2, 10, rng)]
        right.append(np.mean([draw["tenure"] == exact["tenure"][place] for draw in after]))
        for name, found in drawn.items():
            found.append(np.mean([draw[name] for draw in after]))
        assert all(draw["role"] == before["role"] for draw in after)  # no effect of age
    for name, found in drawn.items():
        assert np.mean(found) == pytest.approx(float(exact[name].mean()), abs=0.12), name
    high = data.codes["tenure"][rows] > 0  # who stayed long though young stays long when old: each text keeps its place among its likes
    assert np.mean(np.array(right)[high]) > 0.95


def test_nothing_follows_under_the_direct_effect(violence):
    _, _, held_out, source = violence
    e = replace(source, estimand="direct").counterfactuals(held_out.texts, "age", to="old", k=3, current=held_out.values("age"))
    assert all("followed" not in edit.notes for edit in e.edits)
    assert e.settings["may_move"] == []
    total = source.counterfactuals(held_out.texts, "age", to="old", k=3, current=held_out.values("age"))
    assert any("followed" in edit.notes for edit in total.edits)


def test_a_graph_of_other_concepts_is_refused():
    with pytest.raises(InputError, match="causal graph"):
        MatchedCounterfactuals.fit(TEXTS, LABELS, graph=CausalGraph([("price", "food")]))


# regressions inside


def test_logistic_and_ridge_agree_with_scikit_learn():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    assert np.allclose(linear(x, ridge(x, y, 2.0)), Ridge(2.0).fit(x, y).predict(x))
    for classes in (2, 3):
        labels = [f"c{i}" for i in rng.integers(0, classes, 60)]
        oracle = LogisticRegression(C=2.0, max_iter=1000).fit(x, labels)
        assert np.allclose(Logistic.fit(x, labels, strength=2.0).probabilities(x), oracle.predict_proba(x), atol=1e-6)
    assert Logistic.fit(x, ["a"] * 60).probabilities(x).tolist() == [[1.0]] * 60


def test_leverage_gives_what_leaving_out_gives():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))
    quick = y - (y - linear(x, ridge(x, y, 1.0))) / (1 - leverage(x, 1.0))[:, None]
    slow = [linear(x[[i]], ridge(np.delete(x, i, 0), np.delete(y, i, 0), 1.0))[0] for i in range(30)]
    assert np.allclose(quick, slow, atol=0.02)  # the mean that is taken off moves a little as well
