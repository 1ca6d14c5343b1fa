"""Text classifiers of transformers: padding, buckets, devices and memory change nothing but the time."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import whybox as wb
from whybox.errors import InputError, OptionError, OutputShapeError
from whybox.models import TransformersClassifier, TruncationWarning, as_model
from whybox.models import transformers as adapter
from whybox.typing import Ask, Model

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'whybox[hf]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'whybox[hf]'")

_spec = importlib.util.spec_from_file_location("tiny_lm", Path(__file__).with_name("tiny_lm.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
tiny_classifier, WORDS = _module.tiny_classifier, _module.WORDS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def texts(n, longest=60, seed=0):
    rng = np.random.default_rng(seed)
    return ["", *(" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(n - 1))]


def one_by_one(model, tokenizer, rows):
    """(n, labels) logits, each row in a forward of its own without padding."""
    out = []
    for row in rows:
        inputs = tokenizer(*row, return_tensors="pt") if isinstance(row, tuple) else tokenizer(row, return_tensors="pt")
        with torch.no_grad():
            out.append(model(**inputs).logits[0].numpy())
    return np.array(out)


@pytest.fixture(scope="module")
def bert():
    return tiny_classifier(labels=3)


class Spied:
    """Notes the shapes of a model's forwards, and may run out of memory."""

    def __init__(self, monkeypatch, model, most=None):
        self.shapes, inner = [], model.forward

        def forward(input_ids=None, attention_mask=None, token_type_ids=None, **options):
            self.shapes.append((*input_ids.shape, int(attention_mask.sum())))
            if most is not None and input_ids.numel() > most:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return inner(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, **options)

        monkeypatch.setattr(model, "forward", forward)


ACTIVATIONS = {
    "softmax": ({"labels": 3}, lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), "probability"),
    "multi-label": ({"labels": 3, "problem_type": "multi_label_classification"}, lambda z: 1 / (1 + np.exp(-z)), "probability"),
    "one label": ({"labels": 1}, lambda z: 1 / (1 + np.exp(-z[:, 0])), "probability"),
    "regression": ({"labels": 1, "problem_type": "regression"}, lambda z: z[:, 0], "value"),
    "two regressions": ({"labels": 2, "problem_type": "regression"}, lambda z: z, "value"),
}


@pytest.mark.parametrize("case", ACTIVATIONS)
def test_outputs_are_those_of_each_text_alone(case):
    config, activation, kind = ACTIVATIONS[case]
    model, tokenizer = tiny_classifier(**config)
    adapted = as_model(TransformersClassifier(model, tokenizer, batch_tokens=300))
    rows = texts(40)
    np.testing.assert_allclose(adapted.predict(rows), activation(one_by_one(model, tokenizer, rows)), atol=1e-5)
    assert adapted.kind == kind
    assert adapted.output_names == tuple(model.config.id2label.values())


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_other_architectures_too(kind):
    model, tokenizer = tiny_classifier(kind, labels=3)
    rows = texts(30)[kind == "gpt2" :]  # without special tokens there is nothing to read in an empty text
    found = as_model(TransformersClassifier(model, tokenizer, batch_tokens=200), output="decision").predict(rows)
    np.testing.assert_allclose(found, one_by_one(model, tokenizer, rows), atol=2e-5)


def test_forgotten_mask_is_caught(bert, monkeypatch):
    """The saboteur of the comparison above: padding that is read as text."""
    honest = adapter.padded
    monkeypatch.setattr(adapter, "padded", lambda *a, **k: (honest(*a, **k)[0], np.ones_like(honest(*a, **k)[1])))
    found = as_model(TransformersClassifier(*bert, batch_tokens=300), output="decision").predict(texts(40))
    assert np.abs(found - one_by_one(*bert, texts(40))).max() > 0.01


def test_unsorted_answers_are_caught(bert, monkeypatch):
    """The saboteur of the order: answers come back as the buckets lie."""
    honest = adapter.padded
    monkeypatch.setattr(adapter, "padded", lambda rows, *a, **k: honest(list(rows)[::-1], *a, **k))
    found = as_model(TransformersClassifier(*bert, batch_tokens=300), output="decision").predict(texts(40))
    assert np.abs(found - one_by_one(*bert, texts(40))).max() > 0.01


def test_output_decides_between_logits_and_probabilities(bert):
    rows = texts(10)
    logits = one_by_one(*bert, rows)
    decision = as_model(TransformersClassifier(*bert), output="decision")
    assert decision.kind == "decision"
    np.testing.assert_allclose(decision.predict(rows), logits, atol=1e-5)
    none = as_model(TransformersClassifier(*bert, activation="none"))
    assert none.kind == "decision"
    assert as_model(TransformersClassifier(*bert, activation="none"), output="probability").kind == "probability"
    sigmoid = as_model(TransformersClassifier(*bert, activation="sigmoid"))
    np.testing.assert_allclose(sigmoid.predict(rows), 1 / (1 + np.exp(-logits)), atol=1e-5)
    with pytest.raises(OptionError, match="has probabilities and decision values"):
        as_model(TransformersClassifier(*bert), output="value")
    regression = TransformersClassifier(*tiny_classifier(labels=1, problem_type="regression"))
    with pytest.raises(OptionError, match="has a value"):
        as_model(regression, output="probability")


def test_pairs_are_read_with_their_types(bert):
    rows = [(a, b) for a, b in itertools.pairwise(texts(20))]
    expected = one_by_one(*bert, rows)
    given = as_model(TransformersClassifier(*bert, batch_tokens=250), output="decision")
    np.testing.assert_allclose(given.predict(rows), expected, atol=1e-5)
    records = [{"text": a, "text_pair": b} for a, b in rows]
    np.testing.assert_allclose(given.predict(records), expected, atol=1e-5)
    np.testing.assert_allclose(given.predict(pd.DataFrame(records)), expected, atol=1e-5)


@pytest.mark.parametrize("rows", ["the food", [1.0, 2.0], [("a", "b", "c")], ["the food", None]])
def test_other_rows_are_named(bert, rows):
    with pytest.raises(InputError, match=r"expected (texts or pairs|a list of texts)"):
        as_model(TransformersClassifier(*bert)).predict(rows)


def test_text_arrays_and_series_are_rows_too(bert):
    model, rows = as_model(TransformersClassifier(*bert)), texts(5)
    expected = model.predict(rows)
    assert np.array_equal(model.predict(np.array(rows, dtype=object)), expected)
    assert np.array_equal(model.predict(pd.Series(rows)), expected)


def test_forwards_hold_texts_of_like_length_within_the_budget(bert, monkeypatch):
    spied = Spied(monkeypatch, bert[0])
    as_model(TransformersClassifier(*bert, batch_tokens=500)).predict(texts(400))
    rows, width, read = np.array(spied.shapes).T
    assert rows.sum() == 400
    assert (rows * width).max() <= 500
    assert read.sum() > 0.94 * (rows * width).sum()


def test_tokenizer_is_called_once_a_batch(bert):
    model, tokenizer = bert
    calls = []

    class Counting:
        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __call__(self, *args, **options):
            calls.append(len(args[0]))
            return tokenizer(*args, **options)

    as_model(TransformersClassifier(model, Counting())).predict(texts(300))
    assert calls == [300]


def test_out_of_memory_halves_the_forwards_and_is_remembered(bert, monkeypatch):
    rows = texts(60)
    expected = as_model(TransformersClassifier(*bert)).predict(rows)
    spied = Spied(monkeypatch, bert[0], most=400)
    model = as_model(TransformersClassifier(*bert, batch_tokens=2000))
    np.testing.assert_allclose(model.predict(rows), expected, atol=1e-5)
    failed = sum(n * width > 400 for n, width, _ in spied.shapes)
    assert 1 <= failed <= 4
    model.predict(rows)
    assert sum(n * width > 400 for n, width, _ in spied.shapes) == failed


def test_one_text_too_large_for_memory_raises(bert, monkeypatch):
    Spied(monkeypatch, bert[0], most=1)
    with pytest.raises(RuntimeError, match="out of memory"):
        as_model(TransformersClassifier(*bert)).predict(["the food was good"])


def test_long_texts_are_an_error_by_default_and_a_counted_warning_where_asked():
    model, tokenizer = tiny_classifier(context=16)
    rows = ["the food was good", "the food was bad " * 10, "and the room " * 9]
    with pytest.raises(InputError, match=r"2 of 3 texts are longer than the 16 tokens .*longest 42.*truncation=True"):
        as_model(TransformersClassifier(model, tokenizer)).predict(rows)
    cutting = as_model(TransformersClassifier(model, tokenizer, truncation=True), output="decision")
    with pytest.warns(TruncationWarning, match="2 of 3 texts are longer than the 16 tokens"):
        found = cutting.predict(rows)
    expected = np.array(
        [model(**tokenizer(row, truncation=True, max_length=16, return_tensors="pt")).logits[0].detach().numpy() for row in rows]
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.warns(TruncationWarning, match="4 rows so far"):
        cutting.predict(rows)
    short = as_model(TransformersClassifier(model, tokenizer, max_length=6, truncation=True))
    with pytest.warns(TruncationWarning, match="2 of 3 texts are longer than the 6 tokens"):
        short.predict(rows)


def test_truncation_is_told_in_every_explanation():
    explainer = wb.Occlusion(TransformersClassifier(*tiny_classifier(context=8), truncation=True), space=wb.spaces.Words())
    for _ in range(2):
        with pytest.warns(TruncationWarning, match="were cut"):
            explainer.explain(["the food was good and the room was nice"], target=1)


def test_position_tables_after_a_padding_row_are_shorter():
    model, tokenizer = tiny_classifier("roberta", context=20)
    rows = ["the " * 17, "the " * 18]
    as_model(TransformersClassifier(model, tokenizer)).predict(rows[:1])
    with pytest.raises(InputError, match="1 of 2 texts are longer than the 19 tokens"):
        as_model(TransformersClassifier(model, tokenizer)).predict(rows)


def test_modes_gradients_and_tokenizer_are_left_alone():
    model, tokenizer = tiny_classifier(hidden_dropout_prob=0.5)
    model.train()
    model.bert.encoder.layer[0].eval()
    state = torch.get_rng_state(), tokenizer.padding_side, tokenizer.backend_tokenizer.to_str()
    adapted = as_model(TransformersClassifier(model, tokenizer))
    assert np.array_equal(adapted.predict(texts(20)), adapted.predict(texts(20)))
    assert model.training
    assert not model.bert.encoder.layer[0].training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (tokenizer.padding_side, tokenizer.backend_tokenizer.to_str()) == state[1:]


def test_bfloat16_is_close_keeps_the_weights_and_passes_the_control_rows(bert):
    model, rows = bert[0], texts(300)
    exact = as_model(TransformersClassifier(*bert)).predict(rows)
    half = TransformersClassifier(*bert, dtype="bfloat16")
    found = as_model(half).predict(rows)
    assert 1e-5 < np.abs(found - exact).max() < 0.1
    assert next(model.parameters()).dtype == torch.float32
    with wb.Engine().start(as_model(half)) as run:
        run.predict(rows)
    with pytest.raises(OptionError, match='expected a floating dtype such as "bfloat16"'):
        TransformersClassifier(*bert, dtype="int8")


def test_version_follows_weights_tokenizer_and_settings(bert):
    def version(classifier, **options):
        return as_model(classifier, **options).identity()

    same = version(TransformersClassifier(*bert))
    as_model(TransformersClassifier(*bert)).predict(texts(3))
    assert version(TransformersClassifier(*bert)) == same
    assert version(TransformersClassifier(*tiny_classifier(labels=3))) == same
    others = [
        version(TransformersClassifier(*tiny_classifier(labels=3, seed=1))),
        version(TransformersClassifier(*bert), output="decision"),
        version(TransformersClassifier(*bert, max_length=7)),
        version(
            TransformersClassifier(bert[0], _module.tiny_lm()[1].__class__(tokenizer_object=other_vocabulary(bert[1]), pad_token="[PAD]"))
        ),
    ]
    assert len({same, *others}) == 5
    assert version(TransformersClassifier(*bert, version="7")) == "7"


def other_vocabulary(tokenizer):
    from tokenizers import Tokenizer

    return Tokenizer.from_str(tokenizer.backend_tokenizer.to_str().replace('"food"', '"drink"'))


# pipelines


def test_pipeline_is_explained_by_its_own_scores(bert):
    model, tokenizer = bert
    pipe = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device=-1)
    rows = texts(12)
    adapted = as_model(pipe)
    scores = [{one["label"]: one["score"] for one in row} for row in pipe(rows)]
    expected = np.array([[row[name] for name in adapted.output_names] for row in scores])
    np.testing.assert_allclose(adapted.predict(rows), expected, atol=1e-5)


def test_settings_of_a_pipeline_are_kept():
    model, tokenizer = tiny_classifier(context=16)
    options = {"truncation": True, "max_length": 10, "function_to_apply": "sigmoid", "top_k": None}
    pipe = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device=-1, **options)
    rows = ["the food was good", "the food was bad " * 10]
    scores = [{one["label"]: one["score"] for one in row} for row in pipe(rows)]
    with pytest.warns(TruncationWarning, match="the 10 tokens"):
        found = as_model(pipe).predict(rows)
    np.testing.assert_allclose(found, [[row["LABEL_0"], row["LABEL_1"]] for row in scores], atol=1e-5)


def test_other_pipelines_devices_and_options_are_named(bert):
    pipe = transformers.pipeline("text-classification", model=bert[0], tokenizer=bert[1], device=-1)
    with pytest.raises(OptionError, match="TextClassificationPipeline is on cpu, not on cuda"):
        as_model(pipe, device="cuda")
    assert as_model(pipe, device="cpu", dtype="bfloat16").rounding > 1e-3
    pipe._preprocess_params["stride"] = 3
    with pytest.raises(OptionError, match="stride"):
        as_model(pipe)
    lm = _module.tiny_lm()
    with pytest.raises(InputError, match="of the pipelines only text classification is known"):
        as_model(transformers.pipeline("text-generation", model=lm[0], tokenizer=lm[1], device=-1))


# what cannot be


def test_what_is_no_classifier_is_named(bert):
    model, tokenizer = bert
    with pytest.raises(InputError, match="expected a loaded sequence classification model"):
        TransformersClassifier(len, tokenizer)
    with pytest.raises(InputError, match="expected the model's tokenizer"):
        TransformersClassifier(model, "bert-base")
    with pytest.raises(OptionError, match="device and dtype: TransformersClassifier makes its own model"):
        as_model(TransformersClassifier(model, tokenizer), dtype="bfloat16")
    for name, value in {"batch_tokens": 0, "max_length": 1.5, "truncation": "yes", "activation": "relu"}.items():
        with pytest.raises(OptionError, match=name):
            TransformersClassifier(model, tokenizer, **{name: value})
    with pytest.raises(OutputShapeError, match="a sequence classification model is needed"):
        as_model(TransformersClassifier(_module.tiny_lm()[0], tokenizer)).predict(["the food"])


def test_missing_padding_token_is_named():
    model, tokenizer = tiny_classifier("gpt2")
    model.config.pad_token_id = tokenizer.pad_token = None
    with pytest.raises(InputError, match="no token to pad with"):
        TransformersClassifier(model, tokenizer)


# explanations


def test_short_text_is_exact_and_costs_its_coalitions(bert):
    classifier, text = TransformersClassifier(*bert), "the food was good nice"
    e = wb.KernelSHAP(classifier, space=wb.spaces.Words(), engine=wb.Engine(controls=False)).explain([text], target=1, seed=0)
    words = text.split()
    game = {}
    for kept in itertools.product([False, True], repeat=5):
        row = " ".join(word for word, keep in zip(words, kept, strict=True) if keep)
        game[kept] = torch.softmax(torch.tensor(one_by_one(*bert, [row])[0]), dim=0)[1].item()
    shapley = np.zeros(5)
    for order in itertools.permutations(range(5)):
        kept = [False] * 5
        for i in order:
            before = game[tuple(kept)]
            kept[i] = True
            shapley[i] += (game[tuple(kept)] - before) / 120
    np.testing.assert_allclose(np.asarray(e[0].values, dtype=float), shapley, atol=1e-5)
    assert e.stats.n_queries <= 32


def test_batches_are_filled_across_texts_and_their_size_changes_nothing(bert):
    rows = [text for text in texts(12, longest=20, seed=3) if len(text.split()) > 2]
    explain = {}
    for size in ("auto", 37):
        explainer = wb.KernelSHAP(TransformersClassifier(*bert), space=wb.spaces.Words(), engine=wb.Engine(batch_size=size))
        explain[size] = explainer.explain(rows, budget=60, target=1, seed=0)
    assert explain["auto"].stats.n_calls <= 4
    assert explain[37].stats.batch_size <= 38
    for i in range(len(rows)):
        np.testing.assert_allclose(
            np.asarray(explain["auto"][i].values, dtype=float), np.asarray(explain[37][i].values, dtype=float), atol=1e-5
        )


def test_same_seed_gives_same_bits_and_a_subset_the_subset(bert):
    rows = texts(9, longest=15, seed=4)[1:]
    explainer = wb.KernelSHAP(TransformersClassifier(*bert), space=wb.spaces.Words())
    first, again = (explainer.explain(rows, budget=50, target="LABEL_1", seed=0) for _ in range(2))
    part = explainer.explain(rows[2:5], budget=50, target="LABEL_1", seed=0)
    for i in range(8):
        assert np.array_equal(np.asarray(first[i].values, dtype=float), np.asarray(again[i].values, dtype=float))
    for i in range(3):  # up to float32: padding and the shape of a forward move the last digits
        np.testing.assert_allclose(np.asarray(part[i].values, dtype=float), np.asarray(first[i + 2].values, dtype=float), atol=1e-5)


def test_texts_for_a_bare_module_are_met_with_advice(bert):
    with pytest.raises(AttributeError) as caught:
        as_model(bert[0]).predict(["the food"])
    assert "TransformersClassifier(model, tokenizer)" in caught.value.__notes__[0]


def test_model_names_its_batch_and_the_caller_has_the_last_word():
    sizes = []

    def predict(rows):
        sizes.append(len(rows))
        return np.zeros(len(rows))

    for batch_size, max_batch, largest in (("auto", None, 500), (40, None, 40), ("auto", 90, 90)):
        sizes.clear()
        with wb.Engine(batch_size=batch_size, max_batch=max_batch, controls=False).start(Model(predict, batch_rows=500)) as run:
            run.predict(np.zeros((1200, 2)))
        assert max(sizes) == largest
        assert sizes[0] == largest
    sizes.clear()
    with wb.Engine(controls=False).start(Model(predict, batch_rows=10)) as run:  # also a long job does not seek another
        run.values(wb.spaces.Baseline(np.zeros(11)).bind(np.ones((1, 11)), Model(predict)), [Ask(np.arange(1), everything(11))])
    assert set(sizes[:-1]) == {10}
    assert len(sizes) > 150


def everything(d):
    return (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(bool)


def test_rounding_of_a_model_is_allowed_to_its_control_rows_and_no_more():
    def predict(rows):  # what the neighbours do to half precision
        return rows[:, 0] + 1e-3 * len(rows) / 2000

    rows = np.linspace(1, 2, 2000)[:, None]
    with wb.Engine(batch_size=1000).start(Model(predict, rounding=1e-2)) as run:
        run.predict(rows)
    with pytest.raises(wb.errors.OutputOrderError), wb.Engine(batch_size=1000).start(Model(predict, rounding=1e-5)) as run:
        run.predict(rows)


def test_anyone_may_make_a_model_of_their_own():
    class Own:
        def to_model(self, output="auto"):
            return Model(lambda rows: [len(row) for row in rows], name="own", kind=output)

    assert as_model(Own(), output="decision").kind == "decision"
    assert as_model(Own()).predict(["a", "abc"]) == [1, 3]

    class Wrong:
        def to_model(self, output="auto"):
            return len

    with pytest.raises(InputError, match=r"expected a whybox\.typing\.Model"):
        as_model(Wrong())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no NVIDIA GPU")
def test_cuda_equals_cpu():
    rows = texts(200)
    expected = as_model(TransformersClassifier(*tiny_classifier(labels=3))).predict(rows)
    model, tokenizer = tiny_classifier(labels=3)
    found = as_model(TransformersClassifier(model.to("cuda"), tokenizer)).predict(rows)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    half = as_model(TransformersClassifier(model, tokenizer, dtype="bfloat16")).predict(rows)
    np.testing.assert_allclose(half, expected, atol=0.1)
