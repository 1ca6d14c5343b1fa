"""Local generation: batches, padding, seeds and memory change nothing but the time."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from whybox.errors import InputError, OptionError
from whybox.llms import Cached, Prompt, Sampling, TransformersGenerator

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'whybox[hf]'")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'whybox[hf]'")

_spec = importlib.util.spec_from_file_location("tiny_lm", Path(__file__).with_name("tiny_lm.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
tiny_lm = _module.tiny_lm

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SHORT = Sampling(max_tokens=12)
WARM = Sampling(temperature=1.0, max_tokens=12)


@pytest.fixture(scope="module")
def lm():
    return tiny_lm()


def prompts(n):
    text = ["the", "food", "was", "good", "and", "the", "service", "was", "slow", "but", "we", "will", "be", "back"]
    return [Prompt.of(" ".join(text[: 1 + (5 * i) % len(text)] * (1 + i % 3)), seed=i) for i in range(n)]


@pytest.mark.parametrize("sampling", [SHORT, WARM], ids=["greedy", "sampled"])
@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 3}, {"batch_size": 16}, {"batch_tokens": 60}])
def test_batching_changes_nothing(lm, sampling, options):
    alone = [TransformersGenerator(*lm).generate([p], sampling)[0].text for p in prompts(13)]
    together = [r.text for r in TransformersGenerator(*lm, **options).generate(prompts(13), sampling)]
    assert together == alone
    assert len(set(alone)) > 3


def test_greedy_is_what_transformers_itself_generates(lm):
    model, tokenizer = lm
    for prompt in prompts(4):
        messages = [{"role": "user", "content": prompt.messages[0][1]}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=2)
        expected = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert TransformersGenerator(*lm).generate([prompt], SHORT)[0].text == expected


def test_sampling_follows_the_model_distribution(lm):
    model, tokenizer = lm
    ids = torch.tensor([TransformersGenerator(*lm)._encode(Prompt.of("the food"))])
    with torch.no_grad():
        expected = torch.softmax(model(ids).logits[0, -1].double() / 1.5, dim=-1).numpy()
    n = 3000
    many = [Prompt.of("the food", seed=i) for i in range(n)]
    replies = TransformersGenerator(*lm, batch_size=n).generate(many, Sampling(temperature=1.5, max_tokens=1))
    counts = np.zeros(len(expected))
    for reply in replies:
        counts[2 if reply.finish == "stop" else tokenizer.convert_tokens_to_ids(reply.text or "<unk>")] += 1
    special = [0, 1, 2, 3, 4, 5]
    plain = np.setdiff1d(np.arange(len(expected)), special)
    error = np.abs(counts[plain] / n - expected[plain])
    assert (error < 4.5 * np.sqrt(expected[plain] * (1 - expected[plain]) / n) + 1e-3).all()


def test_seed_decides_a_sample_and_nothing_else_does(lm):
    llm = TransformersGenerator(*lm)
    a, b, c = llm.generate([Prompt.of("the room", seed=1), Prompt.of("the room", seed=2), Prompt.of("the food", seed=1)], WARM)
    assert a.text != b.text
    assert llm.generate([Prompt.of("the room", seed=1)], WARM)[0].text == a.text
    assert c.text


def test_global_generators_modes_and_settings_are_left_alone(lm):
    model, tokenizer = lm
    model.train()
    model.model.layers[0].eval()
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    settings, side = model.generation_config.to_dict(), tokenizer.padding_side
    TransformersGenerator(*lm).generate(prompts(5), WARM)
    assert model.training
    assert not model.model.layers[0].training
    model.eval()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]
    assert model.generation_config.to_dict() == settings
    assert (tokenizer.padding_side, tokenizer.pad_token) == (side, None)


class Cramped:
    """A model whose memory ends at a few prompts."""

    def __init__(self, model, most):
        self._model, self._most, self.sizes = model, most, []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def generate(self, input_ids, **options):
        self.sizes.append(len(input_ids))
        if len(input_ids) > self._most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self._model.generate(input_ids=input_ids, **options)


def test_out_of_memory_halves_the_batch_and_goes_on(lm):
    model, tokenizer = lm
    cramped = Cramped(model, 3)
    replies = TransformersGenerator(cramped, tokenizer, batch_size=16).generate(prompts(16), SHORT)
    assert [r.text for r in replies] == [r.text for r in TransformersGenerator(model, tokenizer).generate(prompts(16), SHORT)]
    assert cramped.sizes[:4] == [16, 8, 4, 2]
    assert set(cramped.sizes[3:]) == {2}


def test_one_prompt_too_large_for_memory_raises(lm):
    model, tokenizer = lm
    with pytest.raises(RuntimeError, match="out of memory"):
        TransformersGenerator(Cramped(model, 0), tokenizer).generate(prompts(4), SHORT)


def test_prompt_beyond_the_context_fails_alone():
    model, tokenizer = tiny_lm(context=64)
    long = Prompt.of("the food was good " * 20)
    replies = TransformersGenerator(model, tokenizer).generate([*prompts(2), long], SHORT)
    assert [r.finish == "failed" for r in replies] == [False, False, True]
    assert "context of 64" in replies[2].error


def test_finish_and_tokens_are_told(lm):
    replies = TransformersGenerator(*lm).generate([Prompt.of(f"the food {i}", seed=i) for i in range(40)], Sampling(2.0, 30))
    assert {r.finish for r in replies} == {"stop", "length"}
    assert all(r.reply_tokens == 30 for r in replies if r.finish == "length")
    assert all(r.reply_tokens <= 30 and r.prompt_tokens > 3 for r in replies)


def test_model_without_chat_template_gets_the_plain_text():
    model, tokenizer = tiny_lm(chat=False)
    assert TransformersGenerator(model, tokenizer).generate([Prompt.of("the food", system="edited text")], SHORT)[0].requests == 1


def test_identity_tells_weights_and_template_apart(lm):
    ids = [TransformersGenerator(*pair).identity() for pair in (lm, tiny_lm(seed=1), tiny_lm(chat=False), tiny_lm())]
    assert ids[0] == ids[3]
    assert len({json.dumps(i) for i in ids}) == 3


def test_replies_are_reported_after_each_batch_and_cached(lm, tmp_path):
    model, tokenizer = lm
    broken = Cramped(model, 100)
    calls = []

    def generate(input_ids, **options):
        calls.append(len(input_ids))
        if len(calls) == 3:
            raise ValueError("the power went")
        return model.generate(input_ids=input_ids, **options)

    broken.generate = generate
    llm = Cached.at(tmp_path / "r.sqlite", TransformersGenerator(broken, tokenizer, batch_size=3))
    with pytest.raises(ValueError, match="power"):
        llm.generate(prompts(13), SHORT)
    assert len(llm.cache) == 6
    assert sum(r.cached for r in llm.generate(prompts(13), SHORT)) == 6
    llm.cache.close()


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_tokens": 0}, {"batch_size": True}])
def test_wrong_sizes_are_refused(lm, options):
    with pytest.raises(OptionError):
        TransformersGenerator(*lm, **options)


def test_other_objects_are_refused(lm):
    with pytest.raises(InputError, match="causal language model"):
        TransformersGenerator("gpt2", lm[1])
    with pytest.raises(InputError, match="tokenizer"):
        TransformersGenerator(lm[0], "gpt2")
    assert "Parameter" not in repr(TransformersGenerator(*lm))


@pytest.mark.cuda
def test_cuda_answers_as_cpu(lm):
    model, tokenizer = tiny_lm()
    cpu = [r.text for r in TransformersGenerator(*lm).generate(prompts(13), WARM)]
    assert [r.text for r in TransformersGenerator(model.cuda(), tokenizer).generate(prompts(13), WARM)] == cpu


def test_transformers_is_not_imported_before_it_is_needed():
    import subprocess

    code = "import sys, whybox.llms; print([m for m in ('torch', 'transformers', 'aiohttp') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
