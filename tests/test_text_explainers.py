"""Explainers over texts: rows of different widths side by side, what they cost, and what stands in for a text that is hard."""

import html
import re
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import whybox as wb
from whybox.errors import BudgetError, InputError, OptionError
from whybox.explainers import LIME, ExactSHAP, KernelSHAP, Occlusion, PartitionSHAP, PermutationSHAP
from whybox.samplers.removals import removals
from whybox.spaces import Fields, Marginal, Passages, Sentences, Words
from whybox.spaces._coalition_neighborhood import CoalitionNeighborhood
from whybox.testing import FAULTS, RecordingModel

EXPLAINERS = {
    "ExactSHAP": ExactSHAP,
    "KernelSHAP": KernelSHAP,
    "LIME": partial(LIME, min_score=None),
    "Occlusion": Occlusion,
    "PartitionSHAP": PartitionSHAP,
    "PermutationSHAP": PermutationSHAP,
}
every = pytest.mark.parametrize("name", EXPLAINERS)
TEXTS = ["good food but bad rooms", "bad", "", "a good good day", "bad rooms and good food at night", "!?"]
WORTH = {"good": 1.0, "bad": -1.5, "rooms": -0.25, "food": 0.5}


def judge(texts):
    """Worth of the words, and of some pairs of them."""
    values = []
    for text in texts:
        words = text.split()
        total = sum(WORTH.get(word, 0.125) for word in words)
        total += 2.0 * ("good" in words and "food" in words) - 0.75 * (words[:1] == ["bad"]) + 0.5 * words.count("good") ** 2
        values.append(total)
    return np.array(values)


def both(texts):
    return np.stack([judge(texts), -0.5 * judge(texts) ** 2], axis=1)


def explain(name, model=judge, x=TEXTS, space=None, engine=None, **options):
    made = EXPLAINERS[name](model, space=space or Words(), engine=engine or wb.Engine())
    return made.explain(x, **{"target": None, **({"budget": 300} if name == "LIME" else {}), **options})


def brute_force(text):
    """Shapley values by their definition over orders of the words."""
    from itertools import permutations

    words = text.split()
    values = np.zeros(len(words))
    orders = list(permutations(range(len(words))))
    for order in orders:
        kept, before = set(), judge([""])[0]
        for j in order:
            kept.add(j)
            after = judge([" ".join(words[i] for i in sorted(kept))])[0]
            values[j] += (after - before) / len(orders)
            before = after
    return values


def test_shapley_values_of_texts_are_those_of_the_definition():
    for name in ("ExactSHAP", "KernelSHAP"):
        e = explain(name)
        for i, text in enumerate(TEXTS[:5]):
            np.testing.assert_allclose(e[i].values, brute_force(text), atol=1e-12)
        np.testing.assert_allclose([row.sum() for row in e.values], e.predictions - e.base_values, atol=1e-12)
        assert (e.base_values == judge([""])[0]).all() or e.base_values[5] == judge(["!?"])[0]


def test_occlusion_of_texts_is_that_of_the_definition():
    e = explain("Occlusion")
    assert e[1].values.tolist() == [judge(["bad"])[0] - judge([""])[0]]
    words = TEXTS[0].split()
    without = judge([" ".join(words[:j] + words[j + 1 :]) for j in range(5)])
    np.testing.assert_allclose(e[0].values, judge([TEXTS[0]])[0] - without)


@every
@pytest.mark.parametrize("model", [judge, both], ids=["one output", "two outputs"])
def test_a_text_is_explained_alone_as_among_others(name, model):
    together = explain(name, model, x=[*TEXTS, TEXTS[0]])
    assert together.ragged
    for i, text in enumerate([*TEXTS, TEXTS[0]]):
        alone = explain(name, model, x=[text])
        assert np.array_equal(alone[0].values, together[i].values)
        assert np.array_equal(alone[0].std_error, together[i].std_error)
        assert np.array_equal(alone.base_values[0], together.base_values[i])
    assert together[0].feature_names == together[6].feature_names == tuple(TEXTS[0].split())


@every
def test_texts_of_one_width_are_ragged_too(name):
    e = explain(name, x=["good food", "bad food"])
    assert e.ragged
    assert e[0].values.shape == (2,)
    assert [row.inputs for row in e] == ["good food", "bad food"]


@every
def test_words_of_all_widths_fill_one_batch(name):
    model = RecordingModel(judge)
    texts = ["good " * k for k in range(1, 8)]
    explain(name, model, x=texts, engine=wb.Engine(batch_size=10_000), **({} if name != "LIME" else {"budget": 40}))
    assert model.n_calls <= 4  # the texts, the empty coalitions, all the others; and control rows


@every
def test_a_tolerance_holds_for_every_width(name):
    options = {"tol": 0.05} | ({"budget": 4000} if name in ("LIME", "PermutationSHAP") else {})
    x = TEXTS if name != "LIME" else [TEXTS[i] for i in (0, 3, 5, 2, 4)]  # its penalty shrinks what it finds of a single word
    e = explain(name, x=x, **options)
    assert max(float(row.max(initial=0.0)) for row in e.std_error) <= 0.05
    alone = explain(name, x=TEXTS[4:5], **options)
    assert np.array_equal(alone[0].values, e[4].values)


@pytest.mark.parametrize("kept", [1 << 28, 0])
def test_rounds_of_lime_ask_nothing_again(kept, monkeypatch):
    monkeypatch.setattr("whybox.explainers._local._KEPT_BYTES", kept)
    model = RecordingModel(judge)
    texts = [" ".join(f"w{i} good" for i in range(14)), "bad " * 28]
    with pytest.warns(wb.ToleranceWarning):
        e = explain("LIME", model, x=texts, tol=1e-6, budget=2000, engine=wb.Engine(controls=False, dedupe=False))
    once = explain("LIME", x=texts, budget=2000)
    assert (model.n_rows < 4100) == (kept > 0)
    assert e.n_queries == model.n_rows
    assert e[0].values.shape == once[0].values.shape
    assert e.estimator == once.estimator


def test_a_tolerance_that_is_not_reached_is_told():
    rough = RecordingModel(lambda texts: np.array([hash_of(text) for text in texts]))
    with pytest.warns(wb.ToleranceWarning, match="not reached"):
        explain("KernelSHAP", rough, x=["a b c d e f g h i j k l", "a b"], tol=1e-6, budget=60)


def hash_of(text):
    import hashlib

    return hashlib.sha256(text.encode()).digest()[0] / 255


def test_five_words_cost_at_most_32_queries():
    for name in EXPLAINERS:
        if name != "PermutationSHAP":
            options = {"budget": 5000} if name == "LIME" else {}
            assert explain(name, x=["one two three four five"], **options).n_queries <= 32
    among = explain("LIME", x=[" ".join("abcdefghijklmnop"), "one two three four five"], budget=5000)
    alone = explain("LIME", x=[" ".join("abcdefghijklmnop")], budget=5000)
    assert among.n_queries - alone.n_queries <= 32 + 16  # and control rows


@every
def test_a_checkpoint_goes_on_across_widths(name, tmp_path):
    class Breaks:
        calls = 0

        def __call__(self, texts):
            self.calls += 1
            if self.calls == 5:
                raise KeyboardInterrupt
            return judge(texts)

    engine = wb.Engine(batch_size=3)
    path = tmp_path / "job.whybox"
    with pytest.raises(KeyboardInterrupt):
        explain(name, wb.as_model(Breaks(), version="1", name="judge"), engine=engine, checkpoint=path)
    e = explain(name, wb.as_model(judge, version="1", name="judge"), engine=engine, checkpoint=path)
    assert e.stats.n_resumed > 0
    whole = explain(name, engine=engine)
    assert all(np.array_equal(a, b) for a, b in zip(e.values, whole.values, strict=True))


HARD = {
    "emoji": "\U0001f600 \U0001f469\u200d\U0001f373 good \U0001f1e9\U0001f1ea",
    "right to left": "الفندق good و bad",
    "combining": "cafe\u0301 na\u0308 good",
    "ideographs": "你好 good",
    "blank": " \t\n ",
    "signs": "?! ... --",
    "surrogate": "good \ud800 bad",
    "controls": "good\x00bad \u202egood",
    "bytes": "good\r\nbad\u2028food",
}


@every
@pytest.mark.parametrize("kind", HARD)
def test_hard_texts_are_explained(name, kind):
    seen = []

    def model(texts):
        seen.extend(texts)
        return judge(texts)

    e = explain(name, model, x=[HARD[kind], "good day"])
    assert HARD[kind] in seen
    assert np.isfinite(e[0].values).all()
    assert e.predictions[0] == judge([HARD[kind]])[0]
    if name not in ("LIME", "Occlusion"):
        np.testing.assert_allclose(e[0].values.sum(), e.predictions[0] - e.base_values[0], atol=1e-9)
    for shown in (e[0].to_text(), e.to_html(), repr(e)):
        assert isinstance(shown, str)


@every
def test_what_is_no_text_is_refused_before_the_model_is_asked(name):
    model = RecordingModel(judge)
    for x in ("good food", [], None, 3, ["a", None], [1.0], [["a"]], pd.DataFrame({"a": ["b"]}), np.zeros((2, 2)), b"good"):
        with pytest.raises(InputError):
            explain(name, model, x=x)
    assert model.n_calls == 0


def test_a_text_of_100000_characters_is_refused_by_words_and_explained_by_passages():
    text = "A good word, and then a bad one. " * 3100
    with pytest.raises(BudgetError, match="20 features"):
        explain("ExactSHAP", x=[text])
    for name in ("LIME", "KernelSHAP"):
        with pytest.raises(InputError, match=r"row 1 has .* features.*Passages"):
            explain(name, x=["good", text], budget=20_000)
    e = explain("KernelSHAP", lambda texts: np.array([float(len(t)) for t in texts]), x=[text], space=Passages(500), budget=120)
    assert e[0].values.shape == (len(e[0].feature_names),)
    np.testing.assert_allclose(e[0].values.sum(), len(text), rtol=1e-9)


def test_a_model_of_columns_is_refused_by_name():
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(pd.DataFrame({"a": [0.0, 1.0]}), [0.0, 1.0])
    with pytest.raises(InputError, match="Fields"):
        explain("KernelSHAP", model)


def test_records_are_explained_by_field():
    def model(rows):
        frame = pd.DataFrame(rows)
        return judge(frame["question"].tolist()) + 2.0 * judge(frame["context"].tolist()) + frame["weight"].to_numpy(dtype=float)

    records = [
        {"question": "good food", "context": "bad. rooms.", "weight": 3.0},
        {"question": "", "context": "good day.", "weight": 1.0},
    ]
    space = Fields({"question": Words(), "context": Words()})
    e = explain("ExactSHAP", model, x=records, space=space)
    np.testing.assert_allclose(e[1].values.sum(), e.predictions[1] - e.base_values[1])
    framed = explain("ExactSHAP", model, x=pd.DataFrame(records), space=space)
    assert all(np.array_equal(a, b) for a, b in zip(e.values, framed.values, strict=True))
    assert e[0].feature_names[:2] == ("question: good", "question: food")
    assert "question: good food" in re.sub(r"<[^>]*>", "", e[0].to_html())


ON_ARRAYS = {"answers in its input"}  # it writes numbers into the rows, which texts have no place for


@pytest.mark.parametrize("name", ["KernelSHAP", "LIME"])
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name not in ON_ARRAYS], ids=lambda fault: fault.name)
def test_faulty_model_of_texts_is_explained_right_or_refused_by_name(name, fault):
    model = fault.make(judge)
    if fault.name == "slow":
        model.seconds = 1e-6
    call = partial(explain, name, model, x=[*TEXTS[:2], "a b c d e f g h i j"], engine=wb.Engine(batch_size=256, retry_wait=0.0))
    if fault.outcome is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            e = call()
        clean = explain(name, x=[*TEXTS[:2], "a b c d e f g h i j"], engine=wb.Engine(batch_size=256))
        assert all(np.array_equal(ours.ravel(), theirs.ravel()) for ours, theirs in zip(e.values, clean.values, strict=True))
    elif issubclass(fault.outcome, Warning):
        with pytest.warns(fault.outcome):
            call()
    else:
        with pytest.raises(fault.outcome) as caught:
            call()
        assert type(caught.value) is fault.outcome


# --- LIME -----------------------------------------------------------------------------------------------------------------------------


def test_weights_of_texts_are_those_of_lime():
    text = pytest.importorskip("lime.lime_text")
    words = ["good", "food", "but", "bad", "rooms", "at", "night"]
    oracle = text.LimeTextExplainer(random_state=0, feature_selection="none").explain_instance(
        " ".join(words), lambda rows: np.stack([1 - judge(rows), judge(rows)], axis=1), num_features=9, num_samples=40_000, labels=(1,)
    )
    theirs = dict(oracle.as_list(label=1))
    e = explain("LIME", x=[" ".join(words)], budget=40_000)
    ours = dict(e[0].as_list())
    assert set(ours) == set(theirs)
    assert max(abs(ours[word] - theirs[word]) for word in words) < 0.02
    assert abs(float(e.intercept[0]) - oracle.intercept[1]) < 0.04
    assert abs(float(e.score[0]) - oracle.score[1] if isinstance(oracle.score, dict) else float(e.score[0]) - oracle.score) < 0.02


def test_removals_are_uniform_in_number_and_in_which():
    kept = removals(6000, 5, np.random.default_rng(0))
    gone = (~kept).sum(axis=1)
    assert np.bincount(gone, minlength=6).tolist() == [0, 1200, 1200, 1200, 1200, 1200]
    assert np.abs((~kept).mean(axis=0) - 0.6).max() < 0.02
    loose = removals(6000, 5, np.random.default_rng(0), design="monte-carlo")
    assert np.abs(np.bincount((~loose).sum(axis=1), minlength=6)[1:] / 6000 - 0.2).max() < 0.02
    halves = removals(4000, 5, np.random.default_rng(0), sizes="bernoulli")
    assert np.array_equal(halves.sum(axis=0), [2000] * 5)
    with pytest.raises(OptionError, match="sizes"):
        removals(4, 2, np.random.default_rng(0), sizes="words")


@pytest.mark.parametrize("sizes", ["removals", "bernoulli"])
def test_weighed_removals_follow_the_weights(sizes):
    near = CoalitionNeighborhood(sizes, 0.25)
    d = 4
    plain = removals(100_000, d, np.random.default_rng(0), sizes=sizes)
    weighed = removals(100_000, d, np.random.default_rng(1), sizes=sizes, weigh=near.of_share)
    counts = np.bincount(plain.sum(axis=1), minlength=d + 1) * near.of_share(np.arange(d + 1) / d)
    np.testing.assert_allclose(np.bincount(weighed.sum(axis=1), minlength=d + 1) / 1e5, counts / counts.sum(), atol=0.01)
    assert removals(50, 3000, np.random.default_rng(0), sizes=sizes, weigh=near.of_share).shape == (50, 3000)


def test_glime_of_texts_finds_the_same_weights():
    x = ["good food but bad rooms at night"]
    plain = LIME(judge, space=Words(), min_score=None).explain(x, target=None, budget=40_000)
    weighed = LIME(judge, space=Words(), min_score=None, neighborhood="glime").explain(x, target=None, budget=40_000)
    np.testing.assert_allclose(weighed[0].values, plain[0].values, atol=0.02)
    with pytest.raises(OptionError, match="for tables"):
        LIME(judge, space=Words(), neighborhood="gaussian").explain(x)


def test_kernel_width_and_features_are_lime_s_to_choose():
    x = ["good food but bad rooms at night"]
    wide, narrow = (LIME(judge, space=Words(), kernel_width=w, min_score=None).explain(x, target=None, budget=500) for w in (np.inf, 0.1))
    assert not np.allclose(wide[0].values, narrow[0].values, atol=0.01)
    few = LIME(judge, space=Words(), num_features=2, min_score=None).explain([*x, "", "bad"], target=None, budget=500)
    assert [np.count_nonzero(row) for row in few.values] == [2, 0, 1]
    np.testing.assert_allclose(few.local_pred, few.intercept + [row.sum() for row in few.values])
    for width in (0.0, -1.0):
        with pytest.raises(OptionError, match="kernel_width"):
            LIME(judge, space=Words(), kernel_width=width).explain(x)


def test_spaces_of_tables_are_refused_by_lime_by_name():
    for space in (Marginal(np.zeros((1, 2))), Words, "words"):
        with pytest.raises(OptionError, match="space"):
            LIME(judge, space=space)


# --- results --------------------------------------------------------------------------------------------------------------------------


def test_explanations_of_texts_go_to_files_shap_and_tables(tmp_path):
    e = explain("KernelSHAP", both)
    for one in (e, e[0], e[2], e.output(1), e[1:4]):
        one.save(tmp_path / "e.npz")
        back = wb.Attribution.load(tmp_path / "e.npz")
        assert back.inputs == one.inputs
        marks = zip(back.marks, one.marks, strict=True) if not one.single else [(back.marks, one.marks)]
        assert all(np.array_equal(a, b) for a, b in marks)
        assert back.feature_names == one.feature_names
    frame = e.output(0).to_frame()
    assert set(frame["feature"]) >= {"good", "rooms"}
    assert e[0][["good", "food"]].marks.tolist() == [[0, 4], [5, 9]]
    shap = pytest.importorskip("shap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shap's own
        theirs = e.output(0).to_shap()
    assert isinstance(theirs, shap.Explanation)
    assert list(theirs.data[0]) == TEXTS[0].split()
    back = wb.Attribution.from_shap(theirs)
    assert all(np.array_equal(a, b) for a, b in zip(back.values, e.output(0).values, strict=True))
    assert back.feature_names == e.feature_names


def test_inputs_and_marks_that_do_not_fit_are_refused():
    e = explain("KernelSHAP", x=["good food"])
    good = {
        "values": list(e.values),
        "base_values": e.base_values,
        "predictions": e.predictions,
        "feature_names": e.feature_names,
        "method": "m",
    }
    good["values"] = e.values
    for wrong in ({"inputs": e.inputs}, {"inputs": e.inputs, "marks": ()}, {"inputs": e.inputs, "marks": (np.zeros((2, 2)),)}):
        with pytest.raises(wb.errors.ShapeError, match="marks"):
            wb.Attribution(**good, **wrong)


PLANTED = "<script>alert(1)</script> good \"quoted\" & 'food' <img src=x onerror=alert(1)> bad\u202e rooms"


def test_a_script_in_a_text_stays_text():
    e = explain("KernelSHAP", x=[PLANTED, "good"])
    for page in (e.to_html(), e[0].to_html(), explain("KernelSHAP", both, x=[PLANTED])._repr_html_()):
        assert "<script" not in page
        assert "<img" not in page
        assert "\u202e" not in page
        shown = html.unescape(re.sub(r"<[^>]*>", "", page))
        assert PLANTED.replace("\u202e", "\ufffd") in shown
    assert "\u202e" not in e[0].to_text()


def test_marks_are_as_deep_as_the_attribution_is_large_and_say_its_sign_twice():
    page = explain("ExactSHAP", x=["bad rooms and food"])[0].to_html()
    marks = dict(re.findall(r'<mark style="([^"]*)" title="[^"]*">(\w+)</mark>', page.split("</div>")[0])[::-1])
    found = {word: style for style, word in marks.items()}
    depth = {word: float(re.search(r",(0\.\d+)\)", style)[1]) for word, style in found.items()}
    assert depth["bad"] > depth["food"] > depth["rooms"]
    assert "solid" in found["food"]
    assert "dashed" in found["bad"]


def test_a_text_is_marked_on_a_terminal():
    shown = (
        explain("ExactSHAP", x=["bad rooms\nand\tfood " + "so " * 60])[0] if False else explain("ExactSHAP", x=["bad rooms\nand food"])[0]
    )
    lines = shown.to_text().splitlines()
    assert any("[bad −" in line for line in lines)
    assert any(line.startswith("bad ") and "█" in line for line in lines)
    assert "no features" in explain("ExactSHAP", x=["", "good"])[0].to_text()


def test_a_pipeline_of_texts_is_explained():
    texts = ["good good film", "a bad film", "good story", "bad bad story"] * 5
    clf = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["yes", "no"] * 10)
    e = KernelSHAP(clf, space=Sentences()).explain(pd.Series(["A good film. A bad story."], index=[4]), target="yes")
    assert e[0].feature_names == ("A good film.", "A bad story.")
    assert e[0].values[0] > 0 > e[0].values[1]
    found = LIME(clf, space=Words()).explain(["a good film"])
    assert found[0].as_list()[0][0] == "good"
    assert found.target == "predicted"


def test_texts_of_a_series_keep_its_index(tmp_path):
    e = KernelSHAP(judge, space=Words()).explain(pd.Series(["bad food", "good", "bad food"], index=["r70", "r71", "r72"]))
    assert e.to_frame()["row"].unique().tolist() == ["r70", "r71", "r72"]
    assert "row r71:" in e[1].to_text()
    assert re.findall(r"row (\w+)[ :]", e[[2, 0]].to_html()) == ["r72", "r70"]
    for part in (e, e[1], e[::2]):
        part.save(tmp_path / "e.npz")
        assert wb.Attribution.load(tmp_path / "e.npz").row_labels == part.row_labels
    assert KernelSHAP(judge, space=Words()).explain(["bad food", "good"])[1].row_labels == 1
