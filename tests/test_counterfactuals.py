"""The result: frozen, sliceable, saved as JSON lines, shown without a script."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whybox.errors import InputError, OptionError, SchemaError, ShapeError
from whybox.explanations._words import diff, edit_distance, words
from whybox.explanations.counterfactuals import Counterfactuals, Edit, Failure, GenerationCost

TEXTS = ("The food was good.", "We waited long. The room was cold.", "Nice!")


def made(**changes):
    edits = (
        Edit(0, "food", "Positive", "Negative", 0, "The food was bad."),
        Edit(0, "food", "Positive", "Negative", 1, "", (Failure("no answer", "the reply is empty"),), attempts=2),
        Edit(2, "food", None, "Negative", 0, "Awful!", similarity=0.25, notes={"rejected": ["unchanged"]}),
    )
    given = {
        "texts": TEXTS,
        "edits": edits,
        "source": "test",
        "estimand": "total",
        "cost": GenerationCost(requests=4, replies=4, cache_hits=1, prompt_tokens=100, reply_tokens=20, seconds=1.5),
        "outputs_before": np.array([[0.25, 0.75], [0.5, 0.5], [0.0, 1.0]]),
        "outputs_after": np.array([[0.75, 0.25], [np.nan, np.nan], [0.125, 0.875]]),
        "output_names": ("neg", "pos"),
        "settings": {"k": 2},
    }
    return Counterfactuals(**(given | changes))


def same(a, b):
    assert (a.texts, a.edits, a.source, a.estimand, a.cost, a.output_names, dict(a.settings)) == (
        b.texts,
        b.edits,
        b.source,
        b.estimand,
        b.cost,
        b.output_names,
        dict(b.settings),
    )
    for x, y in ((a.outputs_before, b.outputs_before), (a.outputs_after, b.outputs_after)):
        assert (x is None) == (y is None)
        assert x is None or np.array_equal(x, y, equal_nan=True)


def test_effects_leave_invalid_edits_out():
    e = made()
    assert e.valid.tolist() == [True, False, True]
    np.testing.assert_array_equal(e.effects, [[0.5, -0.5], [np.nan, np.nan], [0.125, -0.125]])
    assert e.flip_rate == 1 / 3
    assert e.reasons() == {"no answer": 1}


def test_invalid_edit_has_no_effect_even_if_the_model_saw_it():
    after = np.array([[0.75, 0.25], [1.0, 0.0], [0.125, 0.875]])
    assert np.isnan(made(outputs_after=after).effects[1]).all()


def test_subset_gives_subset():
    e = made()
    part = e[[2, 0]]
    assert part.texts == (TEXTS[2], TEXTS[0])
    assert [edit.original for edit in part.edits] == [0, 1, 1]
    np.testing.assert_array_equal(part.outputs_before, e.outputs_before[[2, 0]])
    np.testing.assert_array_equal(part.effects, e.effects[[2, 0, 1]])
    assert [len(one.edits) for one in e] == [2, 0, 1]
    assert len(e[1:]) == 2
    assert e[-1].texts == (TEXTS[2],)
    with pytest.raises(IndexError):
        e[3]
    with pytest.raises(OptionError):
        e[[0, 0]]


def test_select_keeps_the_originals():
    e = made()
    assert len(e.select(valid=True).edits) == 2
    assert len(e.select(valid=False).outputs_after) == 1
    assert len(e.select(concept="service")) == 3
    assert not e.select(concept="service").edits


def test_frozen_and_read_only():
    e = made()
    with pytest.raises(AttributeError):
        e.texts = ()
    with pytest.raises(ValueError, match="read-only"):
        e.outputs_before[0, 0] = 1.0


def test_caller_keeps_its_own_array():
    before = np.zeros((3, 2))
    made(outputs_before=before)
    before[0, 0] = 1.0


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs_after": None},
        {"outputs_after": np.zeros((2, 2))},
        {"outputs_before": np.zeros((3, 1))},
        {"output_names": ("a",)},
    ],
)
def test_outputs_that_do_not_fit_are_refused(changes):
    with pytest.raises(ShapeError):
        made(**changes)


def test_original_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="below 1"):
        made(texts=("a",), outputs_before=None, outputs_after=None)


@pytest.mark.parametrize("outputs", [True, False])
def test_saved_and_loaded_is_the_same(tmp_path, outputs):
    e = made() if outputs else made(outputs_before=None, outputs_after=None, output_names=None)
    e.save(tmp_path / "e.jsonl")
    same(Counterfactuals.load(tmp_path / "e.jsonl"), e)
    lines = (tmp_path / "e.jsonl").read_text(encoding="ascii").splitlines()
    assert len(lines) == 1 + 3 + 3
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_tuples_in_notes_and_settings_are_lists_before_and_after_saving(tmp_path):
    edit = Edit(0, "food", None, "Negative", 0, "Bad.", notes={"rejected": ("unchanged", "target"), "at": {1: (2, np.int64(3))}})
    e = Counterfactuals(texts=TEXTS, edits=(edit,), source="test", settings={"fixed": ("room",)})
    assert e.edits[0].notes == {"rejected": ["unchanged", "target"], "at": {"1": [2, 3]}}
    e.save(tmp_path / "e.jsonl")
    same(Counterfactuals.load(tmp_path / "e.jsonl"), e)
    same(pickle.loads(pickle.dumps(e)), e)


def test_what_json_cannot_hold_is_refused_before_it_is_saved():
    with pytest.raises(SchemaError, match="notes"):
        Edit(0, "food", None, "Negative", 0, "Bad.", notes={"who": object()})
    with pytest.raises(SchemaError, match="settings"):
        made(settings={"who": object()})


NASTY = "\ud800 \u2028 <script>alert(1)</script> & ' \" \x00 \n\r\t 😀 日本"


def test_any_text_survives_saving(tmp_path):
    e = Counterfactuals(texts=(NASTY,), edits=(Edit(0, NASTY, None, NASTY, 0, NASTY, (Failure(NASTY, NASTY),)),), source=NASTY)
    e.save(tmp_path / "e.jsonl")
    same(Counterfactuals.load(tmp_path / "e.jsonl"), e)


@pytest.mark.parametrize("keep", [0, 1, 5, 100])
def test_file_that_is_cut_short_is_refused(tmp_path, keep):
    path = tmp_path / "e.jsonl"
    made().save(path)
    path.write_bytes(path.read_bytes()[:-keep] if keep == 1 else path.read_bytes()[: keep * 7])
    if keep == 1:  # only the last line break is gone: nothing is missing
        same(Counterfactuals.load(path), made())
        return
    with pytest.raises(InputError):
        Counterfactuals.load(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"format": "other"}',
        '{"format": "whybox.counterfactuals", "version": 99}',
        '{"format": "whybox.counterfactuals"}',
    ],
)
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "f").write_text(text)
    with pytest.raises(InputError):
        Counterfactuals.load(tmp_path / "f")


def test_html_escapes_everything():
    e = Counterfactuals(
        texts=(NASTY,),
        edits=(Edit(0, NASTY, NASTY, NASTY, 0, NASTY + " more", (Failure(NASTY, NASTY),)),),
        source=NASTY,
        outputs_before=[[0.0]],
        outputs_after=[[1.0]],
        output_names=(NASTY,),
    )
    page = e.to_html()
    for bad in ("<script", "\u2028", "\ud800", "\x00", "alert(1)</"):
        assert bad not in page
    assert "&lt;script&gt;" in page
    import xml.etree.ElementTree as ET

    ET.fromstring(page)


def test_text_shows_deletions_insertions_reasons_and_outputs():
    text = made().to_text()
    assert "[-good-] {+bad+}" in text
    assert "invalid, no answer: the reply is empty" in text
    assert "neg 0.250 -> 0.750; pos 0.750 -> 0.250" in text
    assert "2 more edits" in made().to_text(max_edits=1)


def test_frame_has_one_row_an_edit():
    frame = made().to_frame()
    assert len(frame) == 3
    assert frame["valid"].tolist() == [True, False, True]
    assert frame["distance"].tolist() == [1, 5, 1]
    assert frame["after pos"].tolist()[0] == 0.25


def test_empty_result_is_shown_and_saved(tmp_path):
    e = Counterfactuals(texts=("a",), edits=(), source="none")
    e.save(tmp_path / "e")
    same(Counterfactuals.load(tmp_path / "e"), e)
    assert "0 edits" in repr(e)
    assert len(e.to_frame()) == 0
    assert e.to_html()


def brute(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (x != y)))
        row = new
    return row[-1]


SOME = st.lists(st.sampled_from(["a", "b", "c", "."]), max_size=12)


@given(SOME, SOME)
def test_edit_distance_is_levenshtein(a, b):
    assert edit_distance(a, b) == brute(a, b) == edit_distance(b, a)


TEXT = st.text(alphabet="ab .!\n\u00e9\u65e5'", max_size=40)


@given(TEXT, TEXT)
def test_diff_gives_back_the_edit_exactly_and_the_words_of_the_original(a, b):
    pieces = diff(a, b)
    assert "".join(p.text for p in pieces if p.kind != "delete") == b
    assert words(" ".join(p.text for p in pieces if p.kind != "insert")) == words(a)


def test_diff_of_long_texts_is_by_sentence_first():
    a = "".join(f"The room {i} was fine and the food was fine. " for i in range(300))
    b = a.replace("fine", "poor", 1) + "One more."
    pieces = diff(a, b)
    assert [p.text for p in pieces if p.kind == "insert"] == ["poor", "One more."]
    assert "".join(p.text for p in pieces if p.kind != "delete") == b


def test_white_space_alone_is_no_difference():
    assert {p.kind for p in diff("a  b\nc", "a b c")} == {"keep"}
