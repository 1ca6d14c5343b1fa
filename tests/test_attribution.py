"""Attribution: what it refuses, slicing, tables, LIME's and shap's views."""

import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whybox._arrays import to_numpy
from whybox.errors import InputError, OptionError, SchemaError, ShapeError
from whybox.explanations import Attribution
from whybox.typing import RunStats

RNG = np.random.default_rng(0)

NAMES = ("age", "job", "dose", "when")


def frame(n=6):
    return pd.DataFrame(
        {
            "age": np.arange(20, 20 + n),
            "job": pd.Categorical((["nurse", "cook", None] * n)[:n]),
            "dose": np.linspace(0, 1, n),
            "when": pd.date_range("2024-01-01", periods=n),
        },
        index=[f"p{i}" for i in range(n)],
    )


def make(n=6, k=None, **changes):
    rng = np.random.default_rng(n)
    tail = () if k is None else (k,)
    values = rng.normal(size=(n, 4, *tail))
    base = rng.normal(size=(n, *tail))
    parts = {
        "values": values,
        "base_values": base,
        "predictions": base + values.sum(axis=1),
        "data": frame(n),
        "std_error": np.abs(rng.normal(size=values.shape)),
        "score": rng.random(size=base.shape),
        "intercept": rng.normal(size=base.shape),
        "local_pred": rng.normal(size=base.shape),
        "conditions": np.array([[f"{name} {i}" for name in NAMES] for i in range(n)], dtype=object),
        "feature_names": NAMES,
        "output_names": None if k is None else tuple("abcdefg"[:k]),
        "method": "KernelSHAP",
        "estimator": "odd GP",
        "seed": 7,
        "stats": RunStats(n_queries=1234, n_calls=3, model_seconds=0.5, total_seconds=0.75),
        "settings": {"budget": 100, "paired": True},
    }
    return Attribution(**(parts | changes))


WORDS = (("a", "good", "day"), ("bad",), (), ("good", "good"))


def ragged(k=None, **changes):
    rng = np.random.default_rng(0)
    tail = () if k is None else (k,)
    values = [rng.normal(size=(len(row), *tail)) for row in WORDS]
    base = rng.normal(size=(len(WORDS), *tail))
    parts = {
        "values": values,
        "base_values": base,
        "predictions": base + np.array([row.sum(axis=0) for row in values]),
        "data": [list(row) for row in WORDS],
        "std_error": [np.abs(row) for row in values],
        "feature_names": WORDS,
        "output_names": None if k is None else tuple("abcdefg"[:k]),
        "method": "LIME",
    }
    return Attribution(**(parts | changes))


# Construction


def test_arrays_are_read_only_and_the_callers_stay_writable():
    values, base, data = np.ones((2, 3)), np.zeros(2), np.ones((2, 3))
    e = Attribution(values=values, base_values=base, predictions=base, data=data, feature_names=tuple("abc"), method="m")
    for array in (e.values, e.base_values, e.predictions, e.data):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5
    values[0, 0], base[0], data[0, 0] = 9, 9, 9
    assert e.values[0, 0] == 1
    assert e.base_values[0] == 0
    assert e.data[0, 0] == 1


def test_read_only_arrays_are_not_copied():
    values = np.ones((2, 3))
    values.setflags(write=False)
    e = Attribution(values=values, base_values=np.zeros(2), predictions=np.zeros(2), feature_names=tuple("abc"), method="m")
    assert np.shares_memory(e.values, values)


def test_a_frame_that_changes_later_changes_nothing():
    data = frame()
    e = make(data=data)
    data.loc["p0", "age"] = 99
    assert e.data.loc["p0", "age"] == 20


def test_fields_cannot_be_assigned_and_settings_cannot_be_changed():
    e = make()
    with pytest.raises(FrozenInstanceError):
        e.seed = 3
    with pytest.raises(TypeError):
        e.settings["budget"] = 1


@pytest.mark.parametrize("part", ["base_values", "predictions", "std_error", "score", "intercept", "local_pred", "data"])
def test_a_part_of_another_length_is_refused_by_name(part):
    whole = make()
    wrong = getattr(whole, part)[:-1]
    with pytest.raises(ShapeError, match=f"{part}: expected"):
        replace(whole, **{part: wrong})


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"values": np.ones(4)}, ShapeError, r"expected \(n, d\)"),
        ({"values": np.ones((6, 4), dtype=complex)}, InputError, "real numbers"),
        ({"values": np.full((6, 4), "x")}, InputError, "real numbers"),
        ({"values": np.full((6, 4), 2**53 + 1)}, InputError, r"2\*\*53"),
        ({"std_error": -np.ones((6, 4))}, InputError, "negative"),
        ({"feature_names": ("a", "b")}, ShapeError, "4 names"),
        ({"feature_names": "abcd"}, OptionError, "sequence of names"),
        ({"output_names": ("a", "b")}, ShapeError, "target_index"),
        ({"target_index": np.full(6, 2), "output_names": ("a", "b")}, OptionError, "from 0 to 1"),
        ({"target_index": np.full(6, 0.5)}, InputError, "integers"),
        ({"settings": {"model": object()}}, SchemaError, "JSON"),
        ({"data": np.ones((6, 5))}, ShapeError, "data: expected"),
        ({"members": ((0, 1), (2,), (3,), (4,))}, ShapeError, "members"),
    ],
)
def test_what_does_not_fit_is_refused(changes, error, says):
    with pytest.raises(error, match=says):
        make(**changes)


def test_ragged_parts_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"feature_names\[1\]"):
        ragged(feature_names=(("a", "good", "day"), (), (), ("good", "good")))
    with pytest.raises(ShapeError, match=r"std_error\[0\]"):
        ragged(std_error=[np.ones(2), np.ones(1), np.ones(0), np.ones(2)])
    with pytest.raises(ShapeError, match=r"data\[0\]"):
        ragged(data=[["a"], ["bad"], [], ["good", "good"]])
    with pytest.raises(ShapeError, match="a row"):
        ragged(values=[np.ones(3), np.ones((1, 2)), np.ones(0), np.ones(2)])


def test_pickle_gives_an_equal_read_only_explanation():
    e = make(k=3)
    copy = pickle.loads(pickle.dumps(e))
    same(copy, e)
    assert not copy.values.flags.writeable
    same(pickle.loads(pickle.dumps(ragged(k=2))), ragged(k=2))


def test_sizes_and_costs():
    e = make(k=3)
    assert (e.shape, len(e), e.n_features, e.n_outputs, e.n_queries, e.multi_output) == ((6, 4, 3), 6, 4, 3, 1234, True)
    np.testing.assert_allclose(e.abs_mean, np.abs(e.values).mean(axis=0))
    assert make().n_outputs == 1
    assert (ragged().shape, ragged(k=2).shape, ragged().n_features) == ((4, None), (4, None, 2), None)
    with pytest.raises(InputError, match="importance"):
        _ = ragged().abs_mean


# Slicing

PARTS = ("values", "std_error", "base_values", "predictions", "score", "intercept", "local_pred", "conditions", "target_index")


def same(one, other):
    for part in PARTS:
        a, b = getattr(one, part), getattr(other, part)
        if a is None or b is None:
            assert a is None, part
            assert b is None, part
        elif one.ragged and np.asarray(a).dtype == object:
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                np.testing.assert_array_equal(x, y)
        else:
            np.testing.assert_array_equal(a, b)
    for part in ("feature_names", "output_names", "method", "estimator", "target", "seed", "stats", "single", "members"):
        assert getattr(one, part) == getattr(other, part), part
    assert dict(one.settings) == dict(other.settings)
    if isinstance(one.data, pd.DataFrame):
        pd.testing.assert_frame_equal(one.data, other.data)
    elif isinstance(one.data, pd.Series):
        pd.testing.assert_series_equal(one.data, other.data)
    elif one.ragged and one.data is not None:
        assert [list(row) for row in one.data] == [list(row) for row in other.data]
    else:
        np.testing.assert_array_equal(one.data, other.data)


ROWS = [slice(1, 4), slice(None, None, -1), [4, 0, 0], np.array([True, False, True, True, False, False]), slice(0, 0), -2, np.int64(3)]


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("k", [None, 3])
def test_a_slice_of_rows_slices_every_part(rows, k):
    e = make(k=k, target_index=None if k else np.arange(6) % 2, output_names=tuple("abc") if k else ("no", "yes"))
    part = e[rows]
    for name in PARTS:
        whole = getattr(e, name)
        if whole is not None:
            np.testing.assert_array_equal(getattr(part, name), whole[rows])
    if isinstance(rows, (int, np.integer)):
        assert part.data.tolist() == list(e.data.iloc[[rows]].astype(object).iloc[0])
        assert part.single
    else:
        pd.testing.assert_frame_equal(part.data, e.data.iloc[rows])
    assert part.stats == e.stats
    assert not part.values.flags.writeable


def test_one_row_has_the_shapes_of_shap_and_keeps_each_datum_as_it_was():
    row = make(k=2)[1]
    assert (row.values.shape, row.base_values.shape, row.predictions.shape) == ((4, 2), (2,), (2,))
    assert make()[1].base_values.shape == ()
    assert row.data["age"] == 21
    assert isinstance(row.data["age"], (int, np.integer))
    assert row.data["when"] == pd.Timestamp("2024-01-02")


def test_features_by_name_position_mask_and_slice_agree():
    e = make(k=2)
    by_name = e[:, ["job", "when"]]
    assert by_name.feature_names == ("job", "when")
    assert list(by_name.data.columns) == ["job", "when"]
    for key in ([1, 3], [False, True, False, True], slice(1, None, 2), [-3, "when"]):
        same(e[:, key], by_name)
        same(e[2][key], by_name[2])
    assert e[:, "age"].values.shape == (6, 1, 2)
    assert e[0]["age"].values.shape == (1, 2)


def test_an_output_by_name_position_and_axis_agree():
    e = make(k=3)
    one = e.output("b")
    np.testing.assert_array_equal(one.values, e.values[..., 1])
    np.testing.assert_array_equal(one.score, e.score[..., 1])
    assert (one.target, one.target_index.tolist()) == ("b", [1] * 6)
    for other in (e[..., "b"], e[:, :, "b"], e.output("b").output("b"), e.output("b").output(1)):
        same(other, one)
    same(e[2].output("b"), one[2])
    same(e[..., [0, 2]][..., 1], replace(e.output("c"), target=1, target_index=np.ones(6, dtype=int), output_names=("a", "c")))
    assert e[1:3, ["age"], "c"].values.shape == (2, 1)
    assert e[..., 1:].output_names == ("b", "c")


@pytest.mark.parametrize(
    ("key", "error", "says"),
    [
        ("age", OptionError, r"e\[:, 'age'\]"),
        ((slice(None), "agee"), OptionError, "did you mean 'age'"),
        ((..., "d"), OptionError, "no output named 'd'"),
        (True, OptionError, "position"),
        (1.5, OptionError, "position"),
        ((0, 0, 0, 0), OptionError, "at most one entry"),
        ((..., ...), OptionError, "at most one entry"),
        ([True, False], ShapeError, "expected 6 entries"),
        (6, IndexError, "there are 6"),
        ([[0, 1]], OptionError, "list"),
    ],
)
def test_keys_that_mean_nothing_are_refused(key, error, says):
    with pytest.raises(error, match=says):
        make(k=3)[key]


@pytest.mark.parametrize("which", [1, -1, np.int64(1)])
def test_a_position_that_is_another_outputs_name_is_refused_as_a_target_is(which):
    """Of the classes 1, 2 and 3, and of -1 and 1."""
    e = make(k=3, output_names=("1", "2", "3") if which != -1 else ("0", "-1", "1"))
    with pytest.raises(OptionError, match="another output is named"):
        e.output(which)
    with pytest.raises(OptionError, match="expected a position below 3 or a name, got 3; for the class pass its name: '3'"):
        make(k=3, output_names=("1", "2", "3")).output(3)
    np.testing.assert_array_equal(e.output(str(which)).values, e[..., e.output_names.index(str(which))].values)
    assert make(k=3, output_names=("2", "1", "0")).output(1).target == 1


def test_an_output_that_was_not_explained_is_refused():
    e = make(target_index=np.array([0, 1, 1, 1, 1, 1]), output_names=("no", "yes"), target="predicted")
    with pytest.raises(OptionError, match="target='yes'"):
        e.output("yes")
    assert e[1:].output("yes").n_outputs == 1
    with pytest.raises(OptionError, match="this explains 'no'"):
        e[0].output(1)


def test_a_name_that_two_features_share_is_refused():
    e = make(feature_names=("a", "a", "b", "c"))
    with pytest.raises(OptionError, match=r"positions \[0, 1\]"):
        e[:, "a"]
    assert e[:, 1].feature_names == ("a",)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(0, 2))
def test_slicing_in_one_go_or_step_by_step_is_the_same(rows, features, output):
    e = make(k=3)
    same(e[np.array(rows, dtype=int), features, output], e[np.array(rows, dtype=int)][:, features][..., output])


def test_iterating_gives_the_rows():
    e = make(k=2)
    rows = list(e)
    assert len(rows) == 6
    same(rows[3], e[3])


def test_slices_keep_the_labels_of_rows():
    for e in (make(), make(data=None), make(data=np.zeros((6, 4))), ragged(), ragged(row_labels=("r70", "r71", "r72", "r73"))):
        table = e.to_frame()
        labels = [*dict.fromkeys(table["row"])]
        some = labels[-1]
        last = table[table["row"] == some].reset_index(drop=True)
        at = len(e) - 1
        for part in (e[at], e[[at]], e[1:][at - 1 :], e[[at, 0]][0], pickle.loads(pickle.dumps(e[at]))):
            assert part.to_frame()["row"].tolist() == [some] * len(last)
            assert f"row {some}:" in part.to_text()
        assert [*dict.fromkeys(e[[at, 0]].to_frame()["row"])] == [some, labels[0]]


def test_row_labels_are_one_a_row():
    with pytest.raises(ShapeError, match="row_labels: expected 6"):
        make(row_labels=("a", "b"))
    e = make(row_labels=range(10, 16))
    assert e[2:4].row_labels == (12, 13)
    assert e[2].row_labels == 12


def test_numpy_takes_the_values():
    for e in (make(), make(k=2), make()[0]):
        assert np.asarray(e) is e.values
        np.testing.assert_array_equal(np.abs(e), np.abs(e.values))
    assert np.array(make()).flags.writeable
    assert np.asarray(make(), dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("e", [ragged(), ragged(k=2)])
def test_rows_with_features_of_their_own_are_no_array(e):
    with pytest.raises(TypeError, match=r"e\.values holds one array a row"):
        np.asarray(e)
    with pytest.raises(TypeError, match=r"e\.values holds one array a row"):
        np.abs(e)


def test_a_single_row_has_no_rows_to_go_through():
    with pytest.raises(TypeError, match=r"single row.*e\.values"):
        iter(make()[0])


def test_ragged_rows_are_sliced_with_their_names_and_data():
    e = ragged(k=2)
    row = e[0]
    assert (row.feature_names, row.values.shape, list(row.data), row.single, row.ragged) == (WORDS[0], (3, 2), list(WORDS[0]), True, False)
    part = e[[3, 0]]
    assert part.feature_names == (WORDS[3], WORDS[0])
    np.testing.assert_array_equal(part.values[1], e.values[0])
    np.testing.assert_array_equal(e.output("b").values[3], e.values[3][:, 1])
    np.testing.assert_array_equal(e[3, 0].values, e[3].values[[0]])
    with pytest.raises(OptionError, match="choose a row first"):
        e[:, 0]
    assert len(e[2].values) == 0


def test_rows_of_equal_length_may_be_ragged_too():
    values = np.empty(2, dtype=object)
    values[:] = [np.ones(2), np.zeros(2)]
    e = Attribution(values=values, base_values=[0, 0], predictions=[2, 0], feature_names=(("a", "b"), ("c", "d")), method="m")
    assert e.ragged
    assert e[1].feature_names == ("c", "d")
    assert len(e[0:0]) == 0


def test_groups_keep_all_columns_of_the_data():
    e = make(feature_names=("who", "what"), values=np.ones((6, 2)), std_error=None, conditions=None, members=((0, 1), (2, 3)))
    assert e[:, "what"].members == ((2, 3),)
    assert e[:, "what"].data.shape == (6, 4)
    assert e.to_frame()["value"][0] == "20, nurse"
    assert e[0].to_frame()["value"].tolist() == e.to_frame()["value"][:2].tolist()


# Tables


def test_to_frame_has_a_line_for_every_row_feature_and_output():
    e = make(k=2)
    table = e.to_frame()
    assert table.columns.tolist() == ["row", "feature", "value", "output", "attribution", "std_error", "ci_low", "ci_high"]
    assert len(table) == 6 * 4 * 2
    line = table[(table.row == "p3") & (table.feature == "dose") & (table.output == "b")].iloc[0]
    assert line.attribution == e.values[3, 2, 1]
    assert line.value == e.data["dose"].iloc[3]
    low, high = e.interval()
    np.testing.assert_allclose([line.ci_low, line.ci_high], [low[3, 2, 1], high[3, 2, 1]])
    np.testing.assert_allclose((high - low) / 2 / e.std_error, 1.959964, rtol=1e-6)
    pd.testing.assert_frame_equal(e[3].to_frame(), table[table.row == "p3"].reset_index(drop=True), check_dtype=False)


def test_to_frame_keeps_a_dtype_that_all_columns_share():
    assert make(data=np.arange(24, dtype=np.uint8).reshape(6, 4)).to_frame()["value"].dtype == np.uint8
    assert make().to_frame()["value"][0] == 20


def test_ragged_to_frame_and_importance_go_by_name():
    e = ragged()
    table = e.to_frame()
    assert table["feature"].tolist() == ["a", "good", "day", "bad", "good", "good"]
    assert table["row"].tolist() == [0, 0, 0, 1, 3, 3]
    good = e.importance().set_index("feature").loc["good"]
    expected = np.abs([e.values[0][1], *e.values[3]])
    assert good["importance"] == pytest.approx(expected.mean())
    assert good["rows"] == 2  # it occurs three times
    assert sorted(ragged(k=2).importance()["rows"]) == [1] * 6 + [2] * 2
    assert len(ragged(k=2).importance()) == 8


def test_importance_is_sorted_within_each_output():
    table = make(k=3).importance()
    assert table["output"].tolist() == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    for _, part in table.groupby("output"):
        assert part["importance"].is_monotonic_decreasing
    by_name = table[table.output == "c"].set_index("feature")["importance"]
    np.testing.assert_allclose(by_name[list(NAMES)], make(k=3).abs_mean[:, 2])


def test_interval_needs_standard_errors_and_a_probability():
    with pytest.raises(InputError, match="no standard errors"):
        make(std_error=None).interval()
    with pytest.raises(OptionError, match="level"):
        make().interval(95)


def test_texts_are_short_and_name_what_was_asked():
    e = make(k=2)
    assert repr(e) == "<Attribution: KernelSHAP (odd GP), 6 rows × 4 features × 2 outputs, with standard errors, 1,234 model queries>"
    assert "1 row × 4 features" in repr(e[0])
    assert "ragged features" in repr(ragged())
    text = e[0].output("b").to_text()
    assert "prediction" in text
    assert "±" in text
    assert "±" not in make(std_error=None).to_text()
    assert "more" in e.to_text(max_display=2)
    for other in (ragged(), ragged(k=2), ragged()[0], e[0:0], ragged()[2]):
        assert other.to_text()


@pytest.mark.parametrize(
    ("scale", "base", "shown"),
    [
        (1e-7, 0.5, ["base 0.5 → prediction 0.50000005", "+1.30e-07", "± 2.55e-09", "−8.00e-08"]),
        (1e6, 4e6, ["base 4.000e+06 → prediction 4.500e+06", "+1.30e+06", "± 2.55e+04", "−8.00e+05"]),
        (1.0, 0.5, ["base 0.50 → prediction 1.00", "+1.30", "± 0.03", "−0.80", " 0.00 "]),
    ],
)
def test_very_small_and_very_large_numbers_are_shown_by_their_power_of_ten(scale, base, shown):
    values = np.array([[1.3, -0.8, -1e-12]]) * scale
    parts = {"base_values": [base], "predictions": base + values.sum(axis=1), "feature_names": ("a", "b", "c"), "method": "m"}
    text = Attribution(values=values, std_error=np.abs(values) * 0.01, **parts).to_text()
    assert [part for part in shown if part not in text] == []
    precise = Attribution(values=np.array([[1.3, -0.8, 0.0]]), std_error=np.array([[1e-9, 0.01, 0.0]]), **parts).to_text()
    assert "± 2e-09" in precise
    assert "−0.00" not in text + precise


def test_a_name_with_control_characters_cannot_move_the_cursor():
    text = make(feature_names=("a\x1b[2J", "b\nc", "d", "e"), conditions=None)[0].to_text()
    assert "\x1b" not in text
    assert "b c" in text


# LIME


def test_lime_accessors_read_as_lime_does():
    lime_explanation = pytest.importorskip("lime.explanation")
    row = make(k=2, conditions=None)[2]
    theirs = lime_explanation.Explanation(lime_explanation.DomainMapper(), class_names=["a", "b"])
    theirs.local_exp = {j: sorted(enumerate(row.values[:, j]), key=lambda pair: -abs(pair[1])) for j in (0, 1)}
    assert row.as_map() == theirs.as_map() == row.local_exp
    assert [weight for _, weight in row.as_list()] == [weight for _, weight in theirs.as_list()]
    assert [weight for _, weight in row.as_list("a")] == [weight for _, weight in theirs.as_list(0)]
    assert row.available_labels() == [0, 1]


def test_lime_names_categories_with_their_value_and_conditions_as_they_are():
    names = {name for name, _ in make(conditions=None)[0].as_list()}
    assert names == {"age", "job=nurse", "dose", "when=2024-01-01"}
    assert {name for name, _ in make()[0].as_list()} == {f"{name} 0" for name in NAMES}
    assert [name for name, _ in ragged()[1].as_list()] == ["bad"]


def test_lime_accessors_leave_out_features_that_were_not_selected():
    e = make(values=np.array([[0.0, -3.0, 0.0, 1.0]] * 6), conditions=None)
    assert [i for i, _ in e[0].as_map()[1]] == [1, 3]


def test_lime_labels_follow_the_target():
    e = make(target_index=np.arange(6) % 2, output_names=("no", "yes"), target="predicted")
    assert list(e[0].as_map()) == [0]
    assert e[1].as_list(1) == e[1].as_list("yes") == e[1].as_list()
    with pytest.raises(OptionError, match="was not explained"):
        e[1].as_list("no")
    with pytest.raises(InputError, match=r"e\[0\].as_list"):
        e.as_list()


# shap


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_numbers_go_where_the_caller_goes_on(library):
    xp = pytest.importorskip(library)
    e = Attribution(
        values=RNG.normal(size=(3, 2)),
        std_error=np.ones((3, 2)),
        base_values=np.zeros(3),
        predictions=np.ones(3),
        data=RNG.normal(size=(3, 2)),
        feature_names=("a", "b"),
        method="KernelSHAP",
    )
    like = xp.zeros(1)
    found = e.to_arrays(like)
    for name, array in found._asdict().items():
        assert type(array) is type(like)
        np.testing.assert_array_equal(to_numpy(array), getattr(e, name))
    assert e.to_arrays(like, dtype=xp.float32).values.dtype == xp.float32
    before = e.values.copy()
    found.values[...] = 0.0  # memory of its own
    np.testing.assert_array_equal(e.values, before)
    texts = replace(e, data=np.array([["x", "y"]] * 3), std_error=None).to_arrays(like)
    assert texts.data is None
    assert texts.std_error is None
    with pytest.raises(InputError, match="like"):
        e.to_arrays([1.0])


NAMED = {"output_names": ("no", "yes"), "target_index": np.ones(6, dtype=np.int64)}
SHAPED = [make, lambda: make(k=3), lambda: make()[0], lambda: make(k=3)[2], ragged, lambda: ragged(k=2)[0]]


@pytest.mark.parametrize(
    "make_one", [*SHAPED, lambda: make(**NAMED)[0], lambda: make(output_names=("yes",))[0], lambda: make(k=3)[2, :, "b"]]
)
def test_to_shap_is_a_view_and_from_shap_brings_it_back(make_one):
    pytest.importorskip("shap")
    e = make_one()
    there = e.to_shap()
    assert there.values is e.values or np.shares_memory(there.values, e.values)
    back = Attribution.from_shap(there)
    assert (back.shape, back.single, back.feature_names) == (e.shape, e.single, e.feature_names)
    for name in ("values", "base_values", "predictions"):
        a, b = getattr(back, name), getattr(e, name)
        for x, y in zip(np.atleast_1d(a), np.atleast_1d(b), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


def test_a_single_row_of_a_named_output_can_be_used_in_shap():
    pytest.importorskip("shap")
    e = make(**NAMED)
    row = e[2].to_shap()
    assert (e.to_shap().output_names, row.base_values, row.shape) == ("yes", e.base_values[2], (4,))
    assert row.abs.shape == (4,)
    assert row[:2].feature_names == list(NAMES[:2])


def test_from_shap_reads_what_an_explainer_of_shap_returns():
    shap = pytest.importorskip("shap")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    theirs = shap.explainers.Linear((np.array([1.0, -2.0, 0.5]), 0.0), x)(x[:4])
    ours = Attribution.from_shap(theirs, method="LinearSHAP")
    np.testing.assert_allclose(ours.values, (x[:4] - x.mean(axis=0)) * [1, -2, 0.5], atol=1e-9)
    np.testing.assert_allclose(ours.predictions, x[:4] @ [1, -2, 0.5], atol=1e-9)
    assert ours.feature_names == ("Feature 0", "Feature 1", "Feature 2")


def test_names_of_other_libraries_are_answered_with_ours():
    e = make()
    for name, hint in {"shap_values": r"\.values", "expected_value": "base_values", "cohorts": "e\\[mask\\]"}.items():
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; in whybox, .*{hint}"):
            getattr(e, name)
        assert not hasattr(e, name)
    for name, hint in {"force": "to_shap", "summary_plot": "beeswarm"}.items():
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; in whybox, .*{hint}"):
            getattr(e.plot, name)
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        _ = e.nothing
    assert copy.deepcopy(pickle.loads(pickle.dumps(e))).values.tolist() == e.values.tolist()


def test_what_cannot_be_is_said_in_words(tmp_path):
    e = make()
    with pytest.raises(InputError, match="importance: the explanation has no rows"):
        e[:0].importance()
    with pytest.raises(OptionError, match=r"features: a slice has positions, .*e\[:, \['a', 'b'\]\]"):
        e[:, "age":"dose"]
    for write in (e.save, e.report):
        with pytest.raises(FileNotFoundError, match=r"no such folder; create it first: '.*nowhere'"):
            write(tmp_path / "nowhere" / "e.npz")


def test_tables_keep_whole_numbers_and_moments_as_they_are():
    data = pd.DataFrame(
        {
            "n": pd.array([2**53 + 1, 2, None], dtype="Int64"),
            "when": pd.to_datetime(["2024-01-01", None, "2024-01-03 04:05:06.789012345"], format="mixed").as_unit("ns"),
            "x": [0.5, 1.5, 2.5],
        }
    )
    values = np.ones((3, 3))
    e = Attribution(
        values=values, base_values=np.zeros(3), predictions=values.sum(1), data=data, feature_names=("n", "when", "x"), method="m"
    )
    table = e.to_frame()
    assert table[table.feature == "n"].value.tolist() == [2**53 + 1, 2, pd.NA]
    assert table[table.feature == "when"].value.tolist() == data["when"].tolist()


def test_outputs_whose_names_are_numbers_are_shown_and_read_by_lime(tmp_path):
    """Classes 1 and 2: positions are another output's names, which views must not mind."""
    e = make(k=2, output_names=("1", "2"))
    e.report(tmp_path / "report.html")
    assert "output 1" in e.to_text()
    assert "output 2" in e.to_html()
    assert e[0].as_map()[0][0][1] == e[0].output("1").values[np.argmax(np.abs(e[0].output("1").values))]
    assert [e[0].as_list(label)[0][1] for label in e[0].available_labels()] == [e[0].as_list(name)[0][1] for name in ("1", "2")]
    assert make(k=1, output_names=("1",)).to_text()
