"""A request of a judge that failed is not a text without a value: it is named, nothing paid for is lost, and no edit is blamed for it."""

from __future__ import annotations

import pickle

import pytest

from whybox.concepts import CandidatePool, Concept, ConfoundersKept, FlipCounterfactuals, LLMClassifier, LLMCounterfactuals, TargetReached
from whybox.concepts._checks import Candidate
from whybox.concepts._classifiers import UnjudgedError
from whybox.concepts._verdicts import judge
from whybox.errors import RemoteError
from whybox.explanations.counterfactuals import Counterfactuals
from whybox.llms import FunctionGenerator, Limits, OpenAICompatible, Reply, Retry
from whybox.testing.llm_server import running

FOOD = Concept("food", ("Negative", "Positive"))
ROOM = Concept("room", ("loud", "quiet"))


class Flaky:
    """Answers by a function; the request of a prompt that holds ``lost`` fails, until it is found."""

    def __init__(self, answer, lost, tells=True):
        self.answer, self.lost, self.tells, self.asked = answer, lost, tells, []

    def identity(self):
        return {"kind": "flaky"}

    def generate(self, prompts, sampling=None, *, on_reply=None):
        replies = []
        for position, prompt in enumerate(prompts):
            text = prompt.messages[-1][1]
            self.asked.append(text)
            failed = self.lost is not None and self.lost in text
            replies.append(Reply("", "failed", "HTTP 500 (after 6 tries)") if failed else Reply(self.answer(text), requests=1))
            if on_reply is not None and self.tells:
                on_reply(position, replies[-1])
        return replies


def value(question):
    if "Concept: room" in question:
        return "loud" if "noise" in question else "quiet"
    return "unclear" if "fish" in question else "Negative" if "awful" in question else "Positive"


@pytest.mark.parametrize("tells", [True, False])
def test_failed_request_is_an_error_and_the_same_call_asks_only_what_is_missing(tells):
    llm = Flaky(value, "rice", tells)
    c = LLMClassifier(llm, (FOOD,))
    texts = ["Soup.", "Some rice.", "Some fish.", "Some rice.", "An awful soup."]
    with pytest.raises(RemoteError, match=r"2 of 5 texts have no answer about 'food', the first at 1 \(HTTP 500") as told:
        c.classify(texts, "food")
    assert told.value.labels == ("Positive", None, None, None, "Negative")
    assert told.value.reasons == dict.fromkeys((1, 3), "HTTP 500 (after 6 tries)"), "that fish has no value is an answer"
    llm.lost, asked = None, len(llm.asked)
    assert c.classify(texts, "food") == ("Positive", "Positive", None, "Positive", "Negative")
    assert asked == 4
    assert len(llm.asked) == 5, "what was answered is not asked again"


def test_error_survives_a_process():
    error = UnjudgedError("1 of 2", ("a", None), {1: "HTTP 500"})
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.labels, back.reasons) == ("1 of 2", ("a", None), {1: "HTTP 500"})


def test_endpoint_that_fails_for_some_texts_is_an_error_over_http():
    with running("--texts", "40", "--faults", "0.4", "--kinds", "500") as server:
        llm = OpenAICompatible(server.base_url, "x", retry=Retry(attempts=1), limits=Limits(concurrency=30))
        with pytest.raises(RemoteError, match=r"of 40 texts have no answer .*HTTP 500"):
            LLMClassifier(llm, (FOOD,)).classify([f"Text {i}." for i in range(40)], "food")


def test_gap_in_a_pool_is_not_filled_by_a_failure():
    llm = Flaky(value, "rice")
    pool = CandidatePool(["Some rice.", "An awful soup."], {"food": [None, None]}, concepts=(FOOD,), classifier=LLMClassifier(llm, (FOOD,)))
    with pytest.raises(RemoteError):
        pool.missing("food")
    llm.lost = None
    assert pool.codes("food").tolist() == [1, 0]


EDIT = Candidate("Tasty soup, noise.", "An awful soup, noise.", Reply(""), "food", "Negative", ("room",))


@pytest.mark.parametrize(
    ("check", "lost", "why"),
    [
        (TargetReached, "awful", "target: nobody told food in the edit: HTTP 500 (after 6 tries)"),
        (ConfoundersKept, "awful", "confounder: nobody told room in the edit: HTTP 500 (after 6 tries)"),
        (ConfoundersKept, "Tasty", "confounder: nobody told room in the original: HTTP 500 (after 6 tries)"),
    ],
)
def test_edit_that_nobody_judged_is_marked_as_such(check, lost, why):
    checks = [check(LLMClassifier(Flaky(value, lost), (FOOD, ROOM)))]
    assert judge(checks, [EDIT]) == [[("not judged", why)]]
    assert judge([check(LLMClassifier(Flaky(value, None), (FOOD, ROOM)))], [EDIT]) == [[]]


def test_fault_that_was_found_stands_before_what_was_not_judged():
    moved = Candidate("Tasty soup, noise.", "An awful soup.", Reply(""), "food", "Negative", ("food", "room"))
    checks = [ConfoundersKept(LLMClassifier(Flaky(value, "Concept: food"), (FOOD, ROOM)))]
    assert judge(checks, [moved]) == [[("confounder", "room went from 'loud' to 'quiet': leave that as it was")]]


def writer(written):
    def write(conversation):
        written.append(conversation)
        return conversation.split("<<<TEXT")[1].split(">>>\n", 1)[1].split("\n<<<END")[0].replace("tasty", "awful")

    return FunctionGenerator(write)


def test_edits_whose_judge_failed_are_counted_kept_and_not_sent_back(tmp_path):
    written = []
    source = LLMCounterfactuals(writer(written), [FOOD], classifier=LLMClassifier(Flaky(value, "rice"), (FOOD,)), repairs=3)
    texts = ["The soup was tasty.", "The rice was tasty.", "The fish was tasty."]
    e = source.counterfactuals(texts, "food", to="Negative", current=["Positive"] * 3)
    assert e.reasons() == {"not judged": 1, "target": 1}
    assert e.valid.tolist() == [True, False, False]
    assert e.edits[1].text == "The rice was awful.", "it was paid for"
    assert [x.attempts for x in e.edits] == [1, 1, 4], "only what is wrong is written again"
    assert len(written) == 3 + 3
    e.save(tmp_path / "e.jsonl")
    assert Counterfactuals.load(tmp_path / "e.jsonl").edits == e.edits


def test_repair_does_not_speak_of_the_judge():
    written = []
    checks = (TargetReached(LLMClassifier(Flaky(value, "Concept: food"), (FOOD,))), Always())
    source = LLMCounterfactuals(writer(written), [FOOD], checks=checks, repairs=1)
    e = source.counterfactuals(["The soup was tasty."], "food", to="Negative", current=["Positive"])
    assert e.reasons() == {"not judged": 1, "never": 1}
    assert "That cannot be used: not good enough." in written[1]
    assert e.edits[0].notes == {"rejected": ["not judged", "never"]}


class Always:
    """A check that nothing passes."""

    name, costly = "never", True

    def judge(self, candidates):
        return ["not good enough"] * len(candidates)


def test_flip_notes_the_questions_that_got_no_answer():
    def answer(question):
        if "<<<TEXT" not in question or "Which" in question:
            return "tasty"
        return question.split("<<<TEXT")[1].split(">>>\n", 1)[1].split("\n<<<END")[0].replace("tasty", "awful")

    grader = lambda texts: [[float("awful" in t), float("awful" not in t)] for t in texts]  # noqa: E731
    for lost, noted in (("Which properties", {"features"}), ("Which words", {"words"}), (None, set())):
        e = FlipCounterfactuals(Flaky(answer, lost), grader, labels=("bad", "good")).counterfactuals(["The soup was tasty."])
        assert set(e.edits[0].notes.get("unanswered", {})) == noted
        assert e.edits[0].valid
