"""Endpoints that return only text: the similarity of answers is the game, and nothing is paid twice."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics.pairwise import cosine_similarity

import whybox as wb
from whybox.errors import BudgetError, InputError, OptionError, OutputShapeError, RemoteError, SchemaError
from whybox.llms import AnswerSimilarity, Budget, Cached, FunctionGenerator, OpenAICompatible, Reply, Retry
from whybox.models import as_model
from whybox.testing.llm_server import running

CITIES = r"\b(?:Paris|Rome|Oslo)\b"
PROMPT = "Paris is old, Rome is older, but which one is in France?"


def cities(text):
    return " ".join(word for word in text.replace(",", " ").split() if word in {"Paris", "Rome", "Oslo"})


class Flaky:
    """Answers some prompts, and then no more for a while."""

    def __init__(self, fails):
        self.fails, self.asked = fails, []

    def identity(self):
        return {"kind": "flaky"}

    def generate(self, prompts, sampling=None, *, on_reply=None):
        replies = []
        for position, prompt in enumerate(prompts):
            text = prompt.messages[-1][1]
            self.asked.append(text)
            replies.append(Reply("", "failed", "no route") if len(self.asked) in self.fails else Reply(text))
            if on_reply is not None:
                on_reply(position, replies[-1])
        return replies


@pytest.mark.parametrize(
    ("answer", "other", "f1"),
    [
        ("the red car", "the red car", 1.0),
        ("the red car", "The RED, car!", 1.0),
        ("the red car", "a blue bus", 0.0),
        ("the red car", "the car", 0.8),
        ("the the car", "the car", 0.8),
        ("the car", "", 0.0),
        ("", "", 1.0),
        ("...", "the", 0.0),
    ],
)
def test_f1_of_words_is_as_defined(answer, other, f1):
    (found,) = as_model(AnswerSimilarity(FunctionGenerator(lambda _: other), answer)).predict(["prompt"])
    assert found == pytest.approx(f1)


def test_cosine_is_the_one_of_word_counts():
    answers = ["the red car", "the the bus", "a blue bus and a red car", "nothing"]
    goal = "the red bus and the blue car"
    counts = CountVectorizer(token_pattern=r"\w+").fit_transform([goal, *answers])
    game = AnswerSimilarity(FunctionGenerator(lambda text: text), goal, similarity="cosine")
    np.testing.assert_allclose(as_model(game).predict(answers), cosine_similarity(counts)[0, 1:])
    assert as_model(AnswerSimilarity(FunctionGenerator(lambda _: ""), "", similarity="cosine")).predict(["a"]) == 1.0


def test_words_that_decide_the_answer_get_the_value():
    game = AnswerSimilarity(FunctionGenerator(cities)).answering(PROMPT)
    assert game.answer == "Paris Rome"
    e = wb.ExactSHAP(game, space=wb.spaces.Words()).explain([PROMPT])
    values = dict(zip(e[0].feature_names, np.asarray(e[0].values, dtype=float), strict=True))
    assert values.pop("Paris") == pytest.approx(0.5)
    assert values.pop("Rome") == pytest.approx(0.5)
    assert max(map(abs, values.values())) < 1e-12


def test_an_endpoint_is_explained_through_its_client_and_its_cache(tmp_path):
    with running("--find", CITIES, "--faults", "0.1", "--kinds", "500,429") as server:
        for first in (True, False):
            llm = OpenAICompatible(server.base_url, "finder", retry=Retry(first=0.01))
            cached = Cached.at(tmp_path / "answers.db", llm)
            game = AnswerSimilarity(cached).answering(PROMPT)
            e = wb.KernelSHAP(game, space=wb.spaces.Words()).explain([PROMPT], budget=40, seed=0)
            values = dict(zip(e[0].feature_names, np.asarray(e[0].values, dtype=float), strict=True))
            assert sorted(values, key=values.__getitem__)[-2:] in (["Paris", "Rome"], ["Rome", "Paris"])
            assert (llm.spent.requests == 0) is not first
            cached.cache.close()
        assert server.stats()["sent_for"]
        assert max(server.stats()["sent_for"].values()) == 1


def test_budget_ends_the_job_and_answers_that_came_are_kept():
    with running("--find", CITIES) as server:
        llm = OpenAICompatible(server.base_url, "finder", budget=Budget(requests=12))
        game = AnswerSimilarity(llm, "Paris Rome")
        with pytest.raises(BudgetError):
            as_model(game).predict([f"Paris {i}" for i in range(40)])
        kept = len(game._known)
        assert 1 <= kept <= 12
        assert server.stats()["answered"] >= kept
        assert as_model(game).predict([prompt.messages[0][1] for prompt in game._known]).shape == (kept,)


def test_no_prompt_is_asked_twice_also_after_a_failure():
    flaky = Flaky(fails={3})
    game = AnswerSimilarity(flaky, "a")
    model = as_model(game)
    with pytest.raises(RemoteError, match=r"1 of 4 prompts have no answer \(no route\)"):
        model.predict(["a", "b", "c", "d", "a"])
    assert model.predict(["a", "b", "c", "d"]).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert flaky.asked == ["a", "b", "c", "d", "c"]
    other = game.answering("d")
    as_model(other).predict(["a", "b"])
    assert len(flaky.asked) == 5


def test_template_system_and_own_similarity():
    seen = []

    class Watch(Flaky):
        def generate(self, prompts, sampling=None, *, on_reply=None):
            seen.extend((prompt.messages, sampling.temperature) for prompt in prompts)
            return super().generate(prompts, sampling, on_reply=on_reply)

    def by_length(answers, answer):
        return [len(text) - len(answer) for text in answers]

    game = AnswerSimilarity(Watch(()), "four", similarity=by_length, template='Q: {text} "x"', system="be brief")
    assert as_model(game).predict(["abc"]).tolist() == [6.0]
    assert seen == [((("system", "be brief"), ("user", 'Q: abc "x"')), 0.0)]
    with pytest.raises(OutputShapeError, match="expected 2 numbers for 2 answers"):
        as_model(AnswerSimilarity(Flaky(()), "a", similarity=lambda *_: [1.0])).predict(["a", "b"])


def test_version_follows_generator_answer_and_similarity():
    generator = FunctionGenerator(cities, name="cities")
    versions = [
        as_model(AnswerSimilarity(*args, **options)).identity()
        for args, options in (
            ((generator, "a"), {}),
            ((generator, "b"), {}),
            ((generator, "a"), {"similarity": "cosine"}),
            ((FunctionGenerator(cities, name="other"), "a"), {}),
        )
    ]
    assert len(set(versions)) == 4
    assert as_model(AnswerSimilarity(generator, "a", similarity=lambda *_: [])).identity() is None
    assert as_model(AnswerSimilarity(generator, "a", similarity=lambda *_: [], version="2")).identity() == "2"


def test_what_cannot_be_is_named():
    generator = FunctionGenerator(cities)
    with pytest.raises(OptionError, match="there is none yet"):
        as_model(AnswerSimilarity(generator))
    with pytest.raises(OptionError, match="is a similarity"):
        as_model(AnswerSimilarity(generator, "a"), output="probability")
    with pytest.raises(InputError, match="expected a list of texts"):
        as_model(AnswerSimilarity(generator, "a")).predict("Paris")
    with pytest.raises(SchemaError, match=r"the template names \{x\}"):
        as_model(AnswerSimilarity(generator, "a", template="{x}")).predict(["Paris"])
    with pytest.raises(OptionError, match="expected a text generator"):
        AnswerSimilarity(cities)
    for options in ({"answer": 3}, {"similarity": "bleu"}, {"template": "none"}):
        with pytest.raises(OptionError, match=next(iter(options))):
            AnswerSimilarity(generator, **options)


def test_answers_are_in_the_checkpoint_as_they_come_and_plans_tell_the_requests(tmp_path):
    with running("--find", CITIES) as server:
        llm = OpenAICompatible(server.base_url, "finder", budget=Budget(requests=30))
        game = AnswerSimilarity(llm, "Paris Rome")
        explainer = wb.KernelSHAP(game, space=wb.spaces.Words())
        assert explainer.plan([PROMPT], budget=60).requests <= 62
        with pytest.raises(BudgetError):
            explainer.explain([PROMPT], budget=60, seed=0, checkpoint=tmp_path / "log")
        rich = AnswerSimilarity(OpenAICompatible(server.base_url, "finder"), "Paris Rome")
        e = wb.KernelSHAP(rich, space=wb.spaces.Words()).explain([PROMPT], budget=60, seed=0, checkpoint=tmp_path / "log")
        assert e.stats.n_resumed > 10
        assert rich.generator.spent.requests <= e.stats.n_rows - e.stats.n_resumed
    plain = wb.KernelSHAP(AnswerSimilarity(FunctionGenerator(cities), "Paris Rome"), space=wb.spaces.Words())
    np.testing.assert_allclose(
        np.asarray(e[0].values, dtype=float), np.asarray(plain.explain([PROMPT], budget=60, seed=0)[0].values, dtype=float), atol=1e-12
    )
