"""Answers scored by teacher forcing: many prompts at once give what one prompt and one token at a time give."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest

import whybox as wb
from whybox.errors import InputError, OptionError, SchemaError
from whybox.models import PrefixWarning, TeacherForcing, TruncationWarning, _scores, as_model
from whybox.models._prefixes import prefix_groups

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'whybox[hf]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'whybox[hf]'")

_spec = importlib.util.spec_from_file_location("tiny_lm", Path(__file__).with_name("tiny_lm.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
tiny_lm, WORDS = _module.tiny_lm, _module.WORDS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ANSWER = "the room was nice ."


def tiny(kind):
    """A language model of another architecture, with the tokenizer of tiny_lm."""
    llama, tokenizer = tiny_lm(chat=False)
    common = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    mlp = {"intermediate_size": 64, "num_key_value_heads": 2, "initializer_range": 0.5}
    make = {
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.5, **common)
        ),
        "mistral, sliding window": lambda: transformers.MistralForCausalLM(
            transformers.MistralConfig(sliding_window=8, **size, **mlp, **common)
        ),
        "bloom, alibi": lambda: transformers.BloomForCausalLM(
            transformers.BloomConfig(hidden_size=32, n_layer=2, n_head=4, initializer_range=0.5, **common)
        ),
        "mamba, recurrent": lambda: transformers.MambaForCausalLM(
            transformers.MambaConfig(hidden_size=32, num_hidden_layers=2, initializer_range=0.5, **common)
        ),
        "t5, encoder and decoder": lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(
                d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0, initializer_factor=3.0, **common
            )
        ),
    }
    if kind == "llama":
        return llama, tokenizer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make[kind]().eval(), tokenizer


def prompts(n=12, head=0, longest=40, seed=0):
    rng = np.random.default_rng(seed)
    begin = list(rng.choice(WORDS, head))
    return [" ".join([*begin, *rng.choice(WORDS, rng.integers(1, longest))]) for _ in range(n)]


def token_by_token(model, tokenizer, texts, tokens):
    """(n, t) log-probabilities, one forward a token a prompt, without padding and without cache."""
    out = []
    for text in texts:
        ids, scores = tokenizer(text)["input_ids"], []
        for i, token in enumerate(tokens):
            with torch.no_grad():
                if model.config.is_encoder_decoder:
                    decoder = torch.tensor([[model.config.decoder_start_token_id, *tokens[:i]]])
                    logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=decoder).logits
                else:
                    logits = model(input_ids=torch.tensor([[*ids, *tokens[:i]]])).logits
            scores.append(torch.log_softmax(logits[0, -1].double(), dim=0)[token].item())
        out.append(scores)
    return np.array(out)


@pytest.fixture(scope="module")
def llama():
    return tiny("llama")


SHARES = {
    "llama": True,
    "gpt2": True,
    "bloom, alibi": True,
    "mistral, sliding window": False,
    "mamba, recurrent": False,
    "t5, encoder and decoder": False,
}


@pytest.mark.parametrize("head", [0, 30], ids=["no common beginning", "common beginning"])
@pytest.mark.parametrize("kind", SHARES)
def test_scores_are_those_of_one_prompt_and_one_token_at_a_time(kind, head):
    model, tokenizer = tiny(kind)
    forced = TeacherForcing(model, tokenizer, ANSWER, per="token", batch_tokens=250)
    expected = token_by_token(model, tokenizer, prompts(head=head), forced.tokens)
    found = as_model(forced).predict(prompts(head=head))
    assert expected.std() > 0.3
    np.testing.assert_allclose(found, expected, rtol=5e-5, atol=2e-4)
    scores = forced._scores(forced.tokens)
    scores(prompts(head=30))
    assert scores._shares == SHARES[kind]


def off_by_one(cache, rows):
    whole = honest_expanded(cache, rows)
    for layer in whole.layers:
        layer.keys, layer.values = layer.keys[:, :, 1:], layer.values[:, :, 1:]
    return whole


def pads_at_the_left(sequences, pad, **options):
    return honest_padded(sequences, pad, left=True)


honest_expanded, honest_padded = _scores._expanded, _scores.padded


@pytest.mark.parametrize(("name", "wrong", "head"), [("padded", pads_at_the_left, 0), ("_expanded", off_by_one, 30)])
def test_wrong_padding_and_wrong_positions_are_caught(monkeypatch, name, wrong, head):
    """The saboteurs of the comparison above; the second also switches off the check at run time."""
    model, tokenizer = tiny("gpt2")
    monkeypatch.setattr(_scores, name, wrong)
    monkeypatch.setattr(_scores.AnswerScores, "_check", lambda *_: None)
    forced = TeacherForcing(model, tokenizer, ANSWER, per="token")
    expected = token_by_token(model, tokenizer, prompts(head=head), forced.tokens)
    assert np.abs(as_model(forced).predict(prompts(head=head)) - expected).max() > 0.01


def test_cache_that_is_wrong_is_noticed_and_not_used(monkeypatch):
    model, tokenizer = tiny("gpt2")
    monkeypatch.setattr(_scores, "_expanded", off_by_one)
    forced = TeacherForcing(model, tokenizer, ANSWER, per="token")
    scored = as_model(forced)
    expected = token_by_token(model, tokenizer, prompts(head=30), forced.tokens)
    with pytest.warns(PrefixWarning, match="every prompt is computed in full"):
        np.testing.assert_allclose(scored.predict(prompts(head=30)), expected, atol=2e-4)
    np.testing.assert_allclose(scored.predict(prompts(head=30)), expected, atol=2e-4)


def test_common_beginning_is_computed_once(llama, monkeypatch):
    model, tokenizer = llama
    shapes, inner = [], model.forward
    monkeypatch.setattr(model, "forward", lambda input_ids=None, **o: (shapes.append(tuple(input_ids.shape)), inner(input_ids, **o))[1])
    model.forward.__signature__ = __import__("inspect").signature(inner)
    texts = prompts(head=100, longest=10)
    for share in (True, False):
        shapes.clear()
        as_model(TeacherForcing(model, tokenizer, ANSWER, share_prefix=share)).predict(texts)
        if share:
            assert shapes[0] == (1, 100)
            assert sum(n * width for n, width in shapes) < 100 + 115 + 12 * 15  # the beginning, one prompt as a check, the rest
        else:
            assert sum(n * width for n, width in shapes) >= 12 * 100


def test_last_layer_sees_the_places_of_the_answer_alone(llama):
    model, tokenizer = llama
    seen = []
    handle = model.lm_head.register_forward_hook(lambda _, given, out: seen.append(tuple(out.shape[:2])))
    try:
        as_model(TeacherForcing(model, tokenizer, ANSWER)).predict(prompts(head=30))
    finally:
        handle.remove()
    assert {t for _, t in seen} == {1, 5}  # the shared beginning, and answers
    assert not model.lm_head._forward_pre_hooks


def test_head_of_another_kind_is_scored_whole(llama, monkeypatch):
    model, tokenizer = llama
    texts = [*prompts(), "the"]
    expected = as_model(TeacherForcing(model, tokenizer, ANSWER)).predict(texts)
    monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
    np.testing.assert_allclose(as_model(TeacherForcing(model, tokenizer, ANSWER)).predict(texts), expected, atol=1e-4)
    np.testing.assert_allclose(as_model(TeacherForcing(model, tokenizer, ANSWER)).predict(["the"]), expected[-1:], atol=1e-4)


def test_threads_share_a_model(llama):
    from concurrent.futures import ThreadPoolExecutor

    scored = as_model(TeacherForcing(*llama, ANSWER))
    lists = [prompts(head=30 * (i % 2), seed=i) for i in range(8)]
    expected = [scored.predict(one) for one in lists]
    with ThreadPoolExecutor(4) as pool:
        for found, one in zip(pool.map(lambda one: as_model(TeacherForcing(*llama, ANSWER)).predict(one), lists), expected, strict=True):
            np.testing.assert_allclose(found, one, atol=1e-4)


def cost(rows, groups, overhead):
    return sum(sum(len(rows[i]) for i in members) - common * (len(members) - 1) + (overhead if common else 0) for common, members in groups)


def partitions(items):
    """Every way to put items into groups."""
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for i in range(len(rest)):
            yield [*rest[:i], [items[0], *rest[i]], *rest[i + 1 :]]


@pytest.mark.parametrize("seed", range(12))
def test_groups_of_common_beginnings_take_the_fewest_tokens(seed):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 2, rng.integers(1, 12)).tolist() for _ in range(7)]
    overhead, least = int(rng.integers(0, 6)), 2
    found = prefix_groups(rows, overhead=overhead, least=least)
    assert sorted(i for _, members in found for i in members) == list(range(7))
    assert all(rows[i][:common] == rows[members[0]][:common] and len(rows[i]) > common for common, members in found for i in members)
    best = min(
        sum(
            min(
                sum(len(rows[i]) for i in members),
                sum(len(rows[i]) for i in members) - common * (len(members) - 1) + overhead
                if (common := shared(rows, members)) >= least
                else 999,
            )
            for members in groups
        )
        for groups in partitions(list(range(7)))
    )
    assert cost(rows, found, overhead) == best


def shared(rows, members):
    most = min(len(rows[i]) for i in members) - 1
    return next((j for j in range(most) if len({rows[i][j] for i in members}) > 1), most)


def test_passages_in_turn_are_computed_once_each(llama, monkeypatch):
    model, tokenizer = llama
    rng = np.random.default_rng(0)
    passages = [" ".join(rng.choice(WORDS, 40)) for _ in range(4)]
    texts = [" ".join(p for p, keep in zip(passages, format(code, "04b"), strict=True) if keep == "1") for code in range(1, 16)]
    expected = token_by_token(model, tokenizer, texts, TeacherForcing(model, tokenizer, ANSWER).tokens)
    monkeypatch.setattr(_scores, "_GROUP_CPU", 8)  # passages of a test are short
    spent, inner = [], model.forward
    monkeypatch.setattr(model, "forward", lambda input_ids=None, **o: (spent.append(input_ids.numel()), inner(input_ids, **o))[1])
    model.forward.__signature__ = __import__("inspect").signature(inner)
    found = as_model(TeacherForcing(model, tokenizer, ANSWER, per="token")).predict(texts)
    np.testing.assert_allclose(found, expected, atol=5e-4)
    shared = sum(spent)
    spent.clear()
    as_model(TeacherForcing(model, tokenizer, ANSWER, share_prefix=False)).predict(texts)
    assert shared - 164 < 0.75 * sum(spent)  # without the one prompt that is computed twice, as a check


def test_answer_is_the_sum_of_its_tokens(llama):
    each = as_model(TeacherForcing(*llama, ANSWER, per="token"))
    whole = as_model(TeacherForcing(*llama, ANSWER))
    np.testing.assert_allclose(whole.predict(prompts()), each.predict(prompts()).sum(axis=1), rtol=1e-12)
    assert each.output_names == ("the", "room", "was", "nice", ".")
    assert whole.output_names == (ANSWER,)
    assert as_model(TeacherForcing(*llama, "good good food good", per="token")).output_names == ("good", "good #2", "food", "good #3")


def test_greedy_answer_is_what_the_model_says(llama):
    model, tokenizer = llama
    ids = tokenizer("the food was good", return_tensors="pt")["input_ids"]
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, do_sample=False, pad_token_id=2)[0, ids.shape[1] :]
    with pytest.warns(TruncationWarning, match="cut at max_tokens=9"):
        found = TeacherForcing(model, tokenizer).answering("the food was good", max_tokens=9)
    assert found.tokens == tuple(out.tolist())
    assert found.text == tokenizer.decode(out)
    scores = as_model(TeacherForcing(model, tokenizer, found.tokens, per="token")).predict(["the food was good"])
    with torch.no_grad():
        best = torch.log_softmax(model(torch.cat([ids, out[None]], dim=1)).logits[0, ids.shape[1] - 1 : -1].double(), dim=1).max(dim=1)[0]
    np.testing.assert_allclose(scores[0], best.numpy(), atol=1e-4)
    t5, _ = tiny("t5, encoder and decoder")
    with pytest.warns(TruncationWarning):
        assert len(TeacherForcing(t5, tokenizer).answering("the food", max_tokens=3).tokens) == 3


def test_answer_that_ends_at_once_is_named(llama):
    model, tokenizer = llama
    model = copy.deepcopy(model)
    model.generation_config.eos_token_id = list(range(len(tokenizer)))
    with pytest.raises(InputError, match="ends its answer at once"):
        TeacherForcing(model, tokenizer).answering("the food was good")


def test_template_and_chat_are_put_around_every_row():
    model, tokenizer = tiny_lm()
    forced = TeacherForcing(model, tokenizer, ANSWER, template="the room : {text} was not good ?", system="edited text")
    assert forced.prompts(["nice food", ""]) == [
        "[system] edited text [user] the room : nice food was not good ? [assistant] ",
        "[system] edited text [user] the room :  was not good ? [assistant] ",
    ]
    plain = TeacherForcing(model, tokenizer, ANSWER, chat=False)
    assert plain.prompts(["nice food"]) == ["nice food"]
    rendered = TeacherForcing(model, tokenizer, ANSWER, chat=False).to_model()
    np.testing.assert_allclose(forced.to_model().predict(["nice food"]), rendered.predict(forced.prompts(["nice food"])), atol=1e-4)


def test_fields_of_a_record_go_where_the_template_names_them(llama):
    import pandas as pd

    forced = TeacherForcing(*llama, "nice", template="the {place} was {what} and the {place} was")
    records = [{"place": "room", "what": "good", "id": 1}, {"place": "food", "what": "bad", "id": 2}]
    expected = ["the room was good and the room was", "the food was bad and the food was"]
    assert forced.prompts(records) == forced.prompts(pd.DataFrame(records)) == expected
    space = wb.spaces.Fields({"what": wb.spaces.Words()})
    e = wb.ExactSHAP(forced, space=space).explain(records[:1])
    gained = as_model(TeacherForcing(*llama, "nice")).predict([expected[0], "the room was  and the room was"])
    np.testing.assert_allclose(np.asarray(e[0].values, dtype=float), gained[:1] - gained[1:], atol=1e-4)


def test_tokenizer_that_closes_every_text_does_not_close_the_prompt(llama):
    from tokenizers import processors

    model, tokenizer = llama
    closing = copy.deepcopy(tokenizer)
    closing.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    assert closing("the food")["input_ids"][-1] == 2
    expected = as_model(TeacherForcing(model, tokenizer, ANSWER)).predict(prompts())
    assert np.array_equal(as_model(TeacherForcing(model, closing, ANSWER)).predict(prompts()), expected)


def test_empty_prompt_begins_with_the_first_token_there_is(llama):
    found = as_model(TeacherForcing(*llama, ANSWER)).predict(["", "<s>"])
    assert found[0] == found[1]


def test_long_prompt_is_named_and_never_cut():
    model, tokenizer = tiny_lm(chat=False, context=32)
    scored = as_model(TeacherForcing(model, tokenizer, ANSWER))
    fits = "the " * 28
    scored.predict([fits])
    with pytest.raises(InputError, match=r"1 of 2 prompts are longer than LlamaForCausalLM reads: 29 tokens, and 28 fit"):
        scored.predict([fits, fits + "the"])


def test_out_of_memory_halves_the_forwards(llama, monkeypatch):
    model, tokenizer = llama
    expected = as_model(TeacherForcing(model, tokenizer, ANSWER)).predict(prompts())
    shapes, inner = [], model.forward

    def forward(input_ids=None, **options):
        shapes.append(input_ids.numel())
        if input_ids.numel() > 150:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return inner(input_ids, **options)

    forward.__signature__ = __import__("inspect").signature(inner)
    monkeypatch.setattr(model, "forward", forward)
    np.testing.assert_allclose(as_model(TeacherForcing(model, tokenizer, ANSWER)).predict(prompts()), expected, atol=1e-4)
    assert max(shapes) > 150


def test_bfloat16_is_close_and_modes_are_kept(llama):
    model, tokenizer = llama
    exact = as_model(TeacherForcing(model, tokenizer, ANSWER)).predict(prompts(head=30))
    model.train()
    half = as_model(TeacherForcing(model, tokenizer, ANSWER, dtype="bfloat16")).predict(prompts(head=30))
    assert model.training
    model.eval()
    assert 1e-3 < np.abs(half - exact).max() < 0.1 * np.abs(exact).max()


def test_version_follows_answer_and_template(llama):
    versions = [
        as_model(TeacherForcing(*llama, *args, **options)).identity()
        for args, options in (((ANSWER,), {}), ((ANSWER,), {"template": "a {text}"}), (("good",), {}), ((ANSWER,), {"per": "token"}))
    ]
    assert len(set(versions)) == 4
    assert as_model(TeacherForcing(*llama, ANSWER)).identity() == versions[0]


def test_what_cannot_be_is_named(llama):
    model, tokenizer = llama
    bert, _ = _module.tiny_classifier()
    with pytest.raises(InputError, match="expected a loaded causal or encoder-decoder language model"):
        TeacherForcing(bert, tokenizer, ANSWER)
    with pytest.raises(InputError, match="expected the model's tokenizer"):
        TeacherForcing(model, None, ANSWER)
    with pytest.raises(OptionError, match="there is none yet"):
        as_model(TeacherForcing(model, tokenizer))
    with pytest.raises(OptionError, match="is a log-probability"):
        as_model(TeacherForcing(model, tokenizer, ANSWER), output="probability")
    with pytest.raises(InputError, match="at least one token"):
        TeacherForcing(model, tokenizer, "")
    for options in (
        {"per": "word"},
        {"template": "no slot"},
        {"batch_tokens": 0},
        {"chat": True},
        {"system": "be brief"},
        {"dtype": "int"},
    ):
        with pytest.raises(OptionError, match=next(iter(options))):
            TeacherForcing(model, tokenizer, ANSWER, **options)
    with pytest.raises(InputError, match="expected texts, or records"):
        as_model(TeacherForcing(model, tokenizer, ANSWER)).predict([("a", "b")])
    with pytest.raises(InputError, match="expected a list of texts"):
        as_model(TeacherForcing(model, tokenizer, ANSWER)).predict("the food")
    with pytest.raises(SchemaError, match=r"the template names \{room\}, and row 1 has food"):
        as_model(TeacherForcing(model, tokenizer, ANSWER, template="{room}")).predict([{"room": "a"}, {"food": "b"}])
    with pytest.raises(InputError, match="expected a text in the field 'room', got int"):
        as_model(TeacherForcing(model, tokenizer, ANSWER, template="{room}")).predict([{"room": 1}])


def test_words_of_a_prompt_are_explained_for_the_answer_and_for_each_token(llama):
    text = "the food was good and the service"
    each = wb.ExactSHAP(TeacherForcing(*llama, "was slow", per="token"), space=wb.spaces.Words()).explain([text])
    whole = wb.ExactSHAP(TeacherForcing(*llama, "was slow"), space=wb.spaces.Words()).explain([text])
    values = np.asarray(each[0].values, dtype=float)
    assert values.shape == (7, 2)
    np.testing.assert_allclose(values.sum(axis=1), np.asarray(whole[0].values, dtype=float), atol=1e-4)
    scores = as_model(TeacherForcing(*llama, "was slow", per="token")).predict([text, ""])
    np.testing.assert_allclose(values.sum(axis=0), scores[0] - scores[1], atol=1e-4)
    assert whole.stats.n_queries <= 2**7 + 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no NVIDIA GPU")
def test_cuda_equals_cpu(llama):
    model, tokenizer = llama
    expected = as_model(TeacherForcing(model, tokenizer, ANSWER)).predict(prompts(head=30))
    there = copy.deepcopy(model).to("cuda")
    np.testing.assert_allclose(as_model(TeacherForcing(there, tokenizer, ANSWER)).predict(prompts(head=30)), expected, atol=1e-3)
