"""OpenAICompatible against a server that is not ours: `transformers serve` with a tiny model made on the spot."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from whybox.concepts import CausalGraph, Concept, LLMCounterfactuals
from whybox.llms import Cached, Limits, OpenAICompatible, Prompt, Retry, Sampling

pytestmark = [pytest.mark.serve, pytest.mark.slow]
missing = [name for name in ("torch", "transformers", "fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None]
if missing:
    pytest.skip(f"{missing} are not installed: pip install 'whybox[serve]'", allow_module_level=True)

_spec = importlib.util.spec_from_file_location("tiny_lm", Path(__file__).with_name("tiny_lm.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(base_url, model name)."""
    folder = tmp_path_factory.mktemp("tiny")
    model, tokenizer = _module.tiny_lm(context=2048)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    port = free_port()
    command = shutil.which("transformers") or str(Path(sys.executable).with_name("transformers"))
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    log = (folder / "log").open("w+")
    process = subprocess.Popen(
        [command, "serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                    break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, Path(log.name).read_text()
                time.sleep(0.25)
        else:
            pytest.fail(f"no answer from transformers serve within a minute:\n{Path(log.name).read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait()
        log.close()


def client(served):
    url, name = served
    return OpenAICompatible(url, name, limits=Limits(concurrency=2, timeout=60.0), retry=Retry(attempts=3, first=0.1))


def test_replies_of_a_real_server_are_read(served):
    replies = client(served).generate(
        [Prompt.of(f"the food was {w}", system="edited text") for w in ("good", "bad", "slow")], Sampling(max_tokens=8)
    )
    assert [r.finish in ("stop", "length") for r in replies] == [True] * 3
    assert all(r.error is None and r.text and 0 < r.reply_tokens <= 8 for r in replies)


def test_second_run_is_answered_by_the_cache(served, tmp_path):
    llm = Cached.at(tmp_path / "r.sqlite", client(served))
    prompts = [Prompt.of("the room was nice")]
    first, again = (llm.generate(prompts, Sampling(max_tokens=8))[0] for _ in range(2))
    assert first.text == again.text
    assert (first.cached, again.cached) == (False, True)
    llm.cache.close()


def test_nonsense_edits_come_back_invalid_with_reasons(served):
    food = Concept("food", ("Negative", "Positive"))
    source = LLMCounterfactuals(client(served), [food], CausalGraph(nodes=("food",)), max_tokens=24, repairs=1)
    e = source.counterfactuals(["the food was good and we will be back ."], "food", to="Negative", current=["Positive"])
    assert len(e.edits) == 1
    assert not e.edits[0].valid
    assert e.reasons()
    assert e.edits[0].attempts == 2
    assert e.cost.requests >= 2
