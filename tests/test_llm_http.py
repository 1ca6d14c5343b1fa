"""The HTTP client and the reply cache against a real server process on loopback, with every fault that endpoints have."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from whybox._remote import JsonCache, RateLimiter, Secret, Tokens, digest, parse_retry_after
from whybox.errors import BudgetError, InputError, OptionError, RemoteError
from whybox.llms import Budget, Cached, FunctionGenerator, Limits, OpenAICompatible, Price, Prompt, Reply, Retry, Sampling
from whybox.testing.llm_server import FAULTS, running

KEY = "sk-planted-0123456789abcdef"
FAST = Retry(attempts=8, first=0.01, most=0.05)


def asks(n, tag=""):
    return [Prompt.of(f"question {tag}{i}") for i in range(n)]


def echoing(base_url, **options):
    return OpenAICompatible(base_url, "loopback", **({"retry": FAST, "limits": Limits(concurrency=8, timeout=1.0)} | options))


def test_300_requests_with_ten_percent_faults_lose_and_double_nothing():
    with running("--faults", "0.1", "--say", "yes", "--latency", "0.005") as server:
        replies = echoing(server.base_url, limits=Limits(concurrency=12, timeout=0.5)).generate(asks(300))
        stats = server.stats()
    assert [r.finish for r in replies] == ["stop"] * 300
    assert len(stats["sent_for"]) == 300
    assert set(stats["sent_for"].values()) == {1}, "a prompt that was answered was asked again"
    assert set(stats["faults"]) == set(FAULTS), "every fault was tried"
    assert stats["requests"] == 300 + sum(stats["faults"].values()) == sum(r.requests for r in replies)
    assert 2 <= stats["most_in_flight"] <= 12


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_survived(kind):
    with running("--faults", "0.3", "--kinds", kind, "--say", "yes") as server:
        replies = echoing(server.base_url, limits=Limits(concurrency=4, timeout=0.3)).generate(asks(20))
        faults = server.stats()["faults"]
    assert all(r.text == "yes" for r in replies)
    assert faults[kind] > 0


def test_replies_come_in_the_order_of_the_prompts():
    with running("--texts", "30", "--faults", "0.1", "--latency", "0.002") as server:
        from whybox.concepts import Concept, LLMCounterfactuals
        from whybox.datasets import concept_reviews

        data = concept_reviews(30)
        source = LLMCounterfactuals(echoing(server.base_url), data.concepts, data.graph)
        e = source.counterfactuals(data.texts, "food", to="Positive", current=data.values("food"))
    rows = [edit.original for edit in e.edits]
    assert tuple(edit.text for edit in e.edits) == data.counterfactual(rows, {"food": "Positive"})
    assert isinstance(data.concepts[0], Concept)


def test_equal_prompts_are_sent_once():
    with running("--say", "yes") as server:
        replies = echoing(server.base_url).generate([Prompt.of("same")] * 10 + [Prompt.of("same", seed=1)])
        assert server.stats()["requests"] == 2
    assert [r.text for r in replies] == ["yes"] * 11
    assert sum(r.requests for r in replies) == 2


def test_works_inside_a_running_event_loop():
    async def notebook(base_url):
        return echoing(base_url).generate(asks(3))

    with running("--say", "yes") as server:
        assert [r.text for r in asyncio.run(notebook(server.base_url))] == ["yes"] * 3


def test_dead_endpoint_ends_the_run_early():
    llm = OpenAICompatible("http://127.0.0.1:9/v1", "nobody", retry=Retry(attempts=2, first=0.0, most=0.0), limits=Limits(concurrency=2))
    with pytest.raises(RemoteError, match="requests in a row failed"):
        llm.generate(asks(1000))
    assert llm.spent.requests < 50


def test_failures_of_some_prompts_are_replies_with_a_reason():
    with running("--faults", "0.5", "--kinds", "500", "--say", "yes") as server:
        replies = echoing(server.base_url, retry=Retry(attempts=1), limits=Limits(concurrency=30)).generate(asks(60))
    failed = [r for r in replies if r.finish == "failed"]
    assert 10 < len(failed) < 50
    assert all("HTTP 500" in r.error and not r.text for r in failed)


def test_retry_after_is_honoured_by_everyone():
    with running("--faults", "0.2", "--kinds", "429", "--retry-after", "1.5", "--say", "yes") as server:
        began = time.monotonic()
        echoing(server.base_url).generate(asks(10))
        faults = server.stats()["faults"].get("429", 0)
    assert faults >= 1
    assert time.monotonic() - began >= 1.5


def test_retry_after_beyond_patience_is_given_up():
    with running("--faults", "1.0", "--kinds", "429", "--retry-after", "1000", "--say", "yes") as server:
        reply = echoing(server.base_url).generate(asks(1))[0]
        assert server.stats()["requests"] == 1
    assert "asks to wait 1000 s" in reply.error


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("-2", 0.0), ("", None), ("soon", None), ("nan", None), ("Wed, 21 Oct 2026 07:28:00 GMT", 60.0)],
)
def test_retry_after_is_read(text, seconds):
    assert parse_retry_after({"retry-after": text}, datetime(2026, 10, 21, 7, 27, tzinfo=UTC)) == seconds


def test_waits_grow_and_never_undercut_the_server():
    rng = np.random.default_rng(0)
    retry = Retry(first=1.0, most=8.0)
    waits = [[retry.wait(a, None, rng) for _ in range(50)] for a in range(1, 8)]
    assert all(0.5 * min(2.0**i, 8.0) <= w <= min(2.0**i, 8.0) for i, ws in enumerate(waits) for w in ws)
    assert len(set(waits[0])) == 50, "no jitter"
    assert all(retry.wait(a, 3.0, rng) >= 3.0 for a in range(1, 8))


def _admissions(limits, sizes, window):
    async def go():
        limiter = RateLimiter(limits, window)
        times = []

        async def one(size):
            await limiter.admit(size)
            times.append((time.monotonic(), size))

        await asyncio.gather(*(one(size) for size in sizes))
        return times

    return asyncio.run(go())


def test_no_window_holds_more_requests_than_the_limit():
    times = [t for t, _ in _admissions(Limits(requests_per_minute=5), [1] * 17, 0.1)]
    assert all(times[i + 5] - times[i] >= 0.1 for i in range(12))
    assert times[-1] - times[0] < 1.0


def test_no_window_holds_more_tokens_than_the_limit():
    sent = _admissions(Limits(tokens_per_minute=10), [4, 4, 4, 9, 1, 30, 2], 0.1)
    for start, _ in sent:
        inside = [size for t, size in sent if start <= t < start + 0.1]
        assert sum(inside) <= 10 or len(inside) == 1, "a request larger than the limit goes alone"


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_request_budget_is_never_exceeded_by_one(limit, tmp_path):
    with running("--faults", "0.2", "--kinds", "500", "--say", "yes", "--latency", "0.01") as server:
        llm = Cached.at(tmp_path / "r.sqlite", echoing(server.base_url, budget=Budget(requests=limit)))
        with pytest.raises(BudgetError, match="requests"):
            llm.generate(asks(40))
        stats = server.stats()
        assert stats["requests"] == limit
        assert len(llm.cache) == stats["answered"], "paid answers are kept"
        llm.cache.close()


@pytest.mark.parametrize("budget", [Budget(tokens=2000), Budget(money=0.002)])
def test_token_and_money_budgets_are_never_exceeded(budget):
    price = Price(prompt=1.0, reply=1.0)
    with running("--say", "yes") as server:
        llm = echoing(server.base_url, budget=budget, price=price)
        with pytest.raises(BudgetError, match=r"tokens|money"):
            llm.generate(asks(1000), Sampling(max_tokens=100))
        answered = server.stats()["answered"]
    assert llm.spent.tokens.total <= 2000
    assert llm.spent.money <= 0.002
    assert answered > 2000 // 150, "answers are booked with what they cost, not with their bound"


def test_plan_tells_the_cost_and_sends_nothing():
    llm = OpenAICompatible("http://127.0.0.1:9/v1", "m", price=Price(1.0, 2.0))
    plan = llm.plan([*asks(5), *asks(5)], Sampling(max_tokens=10))
    assert plan.requests == 5
    assert plan.tokens.total < plan.at_most.total
    assert plan.money < plan.money_at_most == Price(1.0, 2.0).of(plan.at_most)
    assert llm.spent.requests == 0


def test_budget_in_money_needs_a_price():
    with pytest.raises(OptionError, match="price"):
        OpenAICompatible("http://127.0.0.1:9/v1", "m", budget=Budget(money=1.0))


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setenv("WHYBOX_TEST_KEY", KEY)


def test_key_is_sent_and_appears_nowhere_else(planted, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    shown = []
    with running("--key", KEY, "--say", f"the key is {KEY}") as server:
        llm = Cached.at(tmp_path / "r.sqlite", echoing(server.base_url, api_key_env="WHYBOX_TEST_KEY"))
        reply = llm.generate(asks(3))[0]
        shown += [repr(llm), repr(reply), str(llm.identity()), repr(llm.generator._client)]
        shown.append(pickle.dumps(llm.generator).decode("latin-1"))
        llm.cache.close()
    assert reply.text == "the key is [key removed]"
    shown += [record.getMessage() for record in caplog.records]
    shown += [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
    assert not [text for text in shown if KEY in text]


def test_key_is_cut_out_of_errors(planted, monkeypatch):
    with running("--key", "another", "--say", "yes") as server:
        with pytest.raises(RemoteError) as caught:
            echoing(server.base_url, api_key_env="WHYBOX_TEST_KEY").generate(asks(3))
        assert server.stats()["requests"] == 0
    error = caught.value
    assert "HTTP 401" in str(error)
    while error is not None:
        assert KEY not in repr(error) + str(error.__dict__)
        error = error.__cause__ or error.__context__


def test_a_key_given_as_its_name_is_not_repeated():
    for wrong in (KEY, "AKIAPLANTED0123456789"):
        with pytest.raises(OptionError) as caught:
            OpenAICompatible("http://127.0.0.1:9/v1", "m", api_key_env=wrong)
        assert wrong not in str(caught.value)


def test_vanished_key_is_a_named_error(planted, monkeypatch):
    llm = OpenAICompatible("http://127.0.0.1:9/v1", "m", api_key_env="WHYBOX_TEST_KEY")
    monkeypatch.delenv("WHYBOX_TEST_KEY")
    with pytest.raises(InputError, match="WHYBOX_TEST_KEY"):
        llm.generate(asks(1))


@pytest.mark.parametrize("url", ["http://me:pw@host/v1", "http://host/v1?key=1", "host/v1", "ftp://host", ""])
def test_unusable_addresses_are_refused_without_showing_them(url):
    with pytest.raises(OptionError) as caught:
        OpenAICompatible(url, "m")
    assert "pw" not in str(caught.value)
    assert "key=1" not in str(caught.value)


@pytest.mark.parametrize("key", ["test", "none", "1", "choices", "the key"])
def test_a_short_key_is_a_word_of_answers_and_stays_in_them(key, monkeypatch, tmp_path):
    """Local servers take any key. Cut out of an answer it would spoil what was paid for, and its JSON."""
    monkeypatch.setenv("WHYBOX_TEST_KEY", key)
    with running("--key", key, "--say", "the greatest choices, none of them 11 or the key") as server:
        llm = Cached.at(tmp_path / "r.sqlite", echoing(server.base_url, api_key_env="WHYBOX_TEST_KEY"))
        assert llm.generate(asks(1))[0].text == llm.generate(asks(1))[0].text == "the greatest choices, none of them 11 or the key"
        llm.cache.close()


def test_a_key_is_cut_out_of_the_texts_of_an_answer_alone(planted):
    answer = {"a": [1.5, f"x {KEY}", None, {KEY: True}], "b": "none"}
    assert Secret("WHYBOX_TEST_KEY").scrub_answer(answer) == {"a": [1.5, "x [key removed]", None, {"[key removed]": True}], "b": "none"}
    assert Secret(None).scrub_answer(answer) is answer


def test_what_is_no_reply_is_refused_before_it_is_cached(tmp_path):
    calls = []

    def flaky(prompt):
        calls.append(prompt)
        return None if len(calls) == 2 else "fine"

    llm = Cached.at(tmp_path / "r.sqlite", FunctionGenerator(flaky, name="f"))
    with pytest.raises(InputError, match="expected a text, got NoneType"):
        llm.generate(asks(3))
    assert [reply.text for reply in llm.generate(asks(3))] == ["fine"] * 3
    assert len(calls) == 4, "the first answer was kept"
    llm.cache.close()

    class Own:
        def __init__(self, replies):
            self.replies = replies

        def identity(self):
            return {"own": len(self.replies)}

        def generate(self, prompts, sampling=None, *, on_reply=None):
            return self.replies

    for replies, said in ((["a", "b"], "expected a list of Reply, got str"), ([Reply("a")], "expected 2 replies, got 1")):
        with pytest.raises(InputError, match=rf"Own\.generate: {said}"):
            Cached.at(tmp_path / f"{len(replies)}.sqlite", Own(replies)).generate(asks(2))


def test_a_temperature_is_a_number_whatever_its_type(tmp_path):
    calls = []
    llm = Cached.at(tmp_path / "r.sqlite", FunctionGenerator(lambda prompt: calls.append(prompt) or "fine", name="f"))
    for temperature in (0.0, 0, np.float32(0)):
        llm.generate(asks(1), Sampling(temperature=temperature))
    assert len(calls) == 1
    llm.cache.close()


def test_secret_scrubs_only_its_key(planted):
    assert Secret("WHYBOX_TEST_KEY").scrub(f"a {KEY} b") == "a [key removed] b"
    assert Secret(None).scrub("a b") == "a b"


def test_cache_answers_without_asking_and_keeps_no_failure(tmp_path):
    with running("--faults", "0.5", "--kinds", "500", "--say", "yes") as server:
        llm = Cached.at(tmp_path / "r.sqlite", echoing(server.base_url, retry=Retry(attempts=1), limits=Limits(concurrency=20)))
        first = llm.generate(asks(20))
        failed = sum(r.finish == "failed" for r in first)
        assert 0 < failed < 20
        assert len(llm.cache) == 20 - failed
        again = llm.generate(asks(20))
        assert sum(r.cached for r in again) == 20 - failed
        llm.cache.close()


@pytest.mark.parametrize("changed", ["temperature", "seed", "model", "message", "extra", "revision"])
def test_cache_key_holds_model_parameters_seed_and_prompt(changed, tmp_path):
    with running("--say", "yes") as server:
        base = {"model": "loopback", "extra": {}, "revision": None} | {
            "model": {"model": "other"},
            "extra": {"extra": {"top_p": 0.5}},
            "revision": {"revision": "2"},
        }.get(changed, {})
        cache = JsonCache(tmp_path / "r.sqlite")
        Cached(OpenAICompatible(server.base_url, "loopback"), cache).generate([Prompt.of("q")])
        prompt = Prompt.of("Q" if changed == "message" else "q", seed=1 if changed == "seed" else None)
        sampling = Sampling(temperature=0.5 if changed == "temperature" else 0.0)
        other = Cached(OpenAICompatible(server.base_url, **base), cache)
        assert not other.generate([prompt], sampling)[0].cached
        assert other.generate([prompt], sampling)[0].cached
        cache.close()


def test_cache_file_is_json_and_refuses_other_files(tmp_path):
    with JsonCache(tmp_path / "c.sqlite") as cache:
        cache.put(digest("a"), {"text": "über 😀 \ud800"})
        assert cache.get_many([digest("a")])[digest("a")]["text"] == "über 😀 \ud800"
        assert cache.put(digest("a"), {"text": "later"})["text"] == "über 😀 \ud800", "the first value stays"
    assert b'{"text": "\\u00fcber' in b"".join(p.read_bytes() for p in tmp_path.iterdir())
    (tmp_path / "other").write_text("this is not a database, and long enough to be read as one" * 20)
    with pytest.raises(InputError, match="not a whybox cache"):
        JsonCache(tmp_path / "other")
    import sqlite3

    other = sqlite3.connect(tmp_path / "db")
    other.execute("CREATE TABLE t (a)")
    other.commit()
    other.close()
    with pytest.raises(InputError, match="another database"):
        JsonCache(tmp_path / "db")
    with pytest.raises(InputError, match="does not exist"):
        JsonCache(tmp_path / "no" / "c")


WRITER = """
import sys
from whybox._remote import JsonCache
with JsonCache(sys.argv[1]) as cache:
    for i in range(150):
        cache.put(str(i), [sys.argv[2], i])
"""


def test_processes_share_a_cache(tmp_path):
    path = str(tmp_path / "c.sqlite")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in "abcd"]
    assert [w.wait() for w in writers] == [0] * 4
    with JsonCache(path) as cache:
        found = cache.get_many([str(i) for i in range(150)])
    assert [found[str(i)][1] for i in range(150)] == list(range(150))


def test_forked_process_opens_its_own_connection(tmp_path):
    with JsonCache(tmp_path / "c.sqlite") as cache:
        cache.put("a", 1)
        pid = os.fork()
        if pid == 0:
            ok = cache.get_many(["a"]) == {"a": 1} and cache.put("b", 2) == 2
            os._exit(0 if ok else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert cache.get_many(["b"]) == {"b": 2}


EDITS = """
import sys
from whybox.llms import Cached, Limits, OpenAICompatible, Prompt
llm = Cached.at(sys.argv[2], OpenAICompatible(sys.argv[1], "loopback", limits=Limits(concurrency=8)))
replies = llm.generate([Prompt.of(f"edit {i}") for i in range(500)])
print(sum(r.text == "yes" for r in replies), sum(r.cached for r in replies))
"""


def test_killed_run_repeats_at_most_what_was_in_flight(tmp_path):
    with running("--say", "yes", "--latency", "0.01") as server:
        command = [sys.executable, "-c", EDITS, server.base_url, str(tmp_path / "r.sqlite")]
        victim = subprocess.Popen(command)
        while server.stats()["answered"] < 200:
            time.sleep(0.01)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        before = server.stats()["answered"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        stats = server.stats()
    right, cached = map(int, done.stdout.split())
    assert right == 500
    assert 200 <= before < 500
    twice = sum(n - 1 for n in stats["sent_for"].values())
    assert len(stats["sent_for"]) == 500
    assert twice <= 8, f"{twice} replies were paid twice"
    assert cached >= before - 8
    print(f"killed after {before} of 500 answers; {cached} from the cache, {twice} sent twice")  # noqa: T201  # shown with -s


LISTENS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def test_ctrl_c_ends_the_run_and_keeps_what_arrived(tmp_path):
    with running("--say", "yes", "--latency", "0.02") as server:
        victim = subprocess.Popen(
            # a parent that runs in the background may have left SIGINT ignored, which children inherit
            [sys.executable, "-c", LISTENS + EDITS, server.base_url, str(tmp_path / "r.sqlite")],
            stderr=subprocess.PIPE,
            text=True,
        )
        while server.stats()["answered"] < 50:
            time.sleep(0.01)
        victim.send_signal(signal.SIGINT)
        _, stderr = victim.communicate(timeout=5)
        assert victim.returncode != 0
        assert "KeyboardInterrupt" in stderr
        answered = server.stats()["answered"]
    with JsonCache(tmp_path / "r.sqlite") as cache:
        assert answered - 8 <= len(cache) <= answered


def test_bound_is_no_less_than_any_tokenizer_makes():
    llm = OpenAICompatible("http://127.0.0.1:9/v1", "m")
    text = "naïve 😀 日本語 \ud800"
    assert llm._bound(Prompt.of(text), Sampling(max_tokens=5)) == Tokens(len(text.encode("utf-8", "surrogatepass")) + 16, 5)


def test_lone_surrogates_can_be_sent():
    with running("--say", "yes") as server:
        assert echoing(server.base_url).generate([Prompt.of("half \ud83d")])[0].text == "yes"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Prompt(()),
        lambda: Prompt((("assistant", "hi"),)),
        lambda: Prompt((("robot", "hi"),)),
        lambda: Prompt((("user", 3),)),
        lambda: Sampling(temperature=-1),
        lambda: Sampling(max_tokens=0),
        lambda: Limits(concurrency=0),
        lambda: Limits(timeout=0),
        lambda: Limits(tokens_per_minute=True),
        lambda: Retry(attempts=0),
        lambda: Budget(requests=-1),
        lambda: OpenAICompatible("http://h/v1", "m", extra={"n": 4}),
        lambda: OpenAICompatible("http://h/v1", ""),
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises((InputError, OptionError)):
        wrong()


def test_reply_is_frozen():
    with pytest.raises(AttributeError):
        Reply("a").text = "b"
