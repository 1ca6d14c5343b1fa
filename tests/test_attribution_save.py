"""Attribution.save and load: everything comes back to the bit, nothing is executed, foreign and damaged files are refused."""

import datetime as dt
import decimal
import json
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whybox.errors import InputError, WhyboxError
from whybox.explanations import Attribution
from whybox.typing import RunStats

try:
    import pyarrow as pa
except ImportError:
    pa = None

N = 4


def explained(data, **changes):
    d = data.shape[1] if data is not None else 3
    values = np.random.default_rng(0).normal(size=(N, d))
    parts = {
        "values": values,
        "base_values": np.zeros(N),
        "predictions": values.sum(axis=1),
        "data": data,
        "feature_names": tuple(f"f{i}" for i in range(d)),
        "method": "KernelSHAP",
        "stats": RunStats(n_queries=10, n_calls=2, total_seconds=0.1, repeat_sd=0.0),
        "settings": {"budget": [1, 2], "nested": {"a": None}},
    }
    return Attribution(**(parts | changes))


def round_trip(e, tmp_path):
    path = tmp_path / "e.npz"
    e.save(path)
    return Attribution.load(path)


COLUMNS = {
    "int64": pd.Series([1, 2, -3, 2**62]),
    "uint8": np.array([1, 2, 3, 255], np.uint8),
    "float": [0.1, np.nan, np.inf, -0.0],
    "float32": np.array([0.1, 2, 3, 4], np.float32),
    "bool": [True, False, True, True],
    "complex": [1j, 2, 3, 4],
    "str": pd.Series(["a", "<b>", None, "\u2028"], dtype="str"),
    "string": pd.array(["x", pd.NA, "y", ""], dtype="string[python]"),
    "ordered categories": pd.Categorical(["u", "v", None, "u"], categories=["v", "u", "unused"], ordered=True),
    "categories of numbers": pd.Categorical([1.5, 2.5, 1.5, None]),
    "Int64": pd.array([1, None, 3, 2**60 + 1], dtype="Int64"),
    "Float64": pd.array([0.5, None, 1e300, -0.0], dtype="Float64"),
    "boolean": pd.array([True, None, False, True], dtype="boolean"),
    "datetime": pd.to_datetime(["2020-01-01", None, "2021-02-03 04:05:06.789012345", "1999-01-01"], format="mixed"),
    "datetime in seconds": pd.to_datetime(["2020-01-01", None, "2021-02-03", "1999-01-01"]).as_unit("s"),
    "zoned": pd.to_datetime(["2020-01-01", None, "2021-07-03", "1999-01-01"]).tz_localize("Europe/Berlin"),
    "timedelta": pd.to_timedelta([1, 2, 3, None], unit="s"),
    "period": pd.PeriodIndex(["2020-01", "2020-02", None, "2021-01"], freq="M"),
    "interval": pd.IntervalIndex.from_breaks([0, 1, 2, 3, 4], closed="left"),
    "sparse": pd.arrays.SparseArray([0.0, 0.0, 1.5, np.nan], fill_value=0.0),
    "object": np.array([1, "two", None, decimal.Decimal("1.10")], dtype=object),
    "object of dates": np.array([(1, 2), dt.date(2020, 1, 1), pd.NaT, dt.datetime(2020, 1, 1, 2)], dtype=object),
    "object of scalars": np.array([np.float32(0.1), np.int64(3), pd.Timestamp("2020-01-01", tz="UTC"), b"x"], dtype=object),
}


if pa is not None:
    COLUMNS |= {
        "arrow integers": pd.array([2**60 + 1, None, 3, 4], dtype="int64[pyarrow]"),
        "arrow strings": pd.array(["a", None, "\u2028", ""], dtype=pd.ArrowDtype(pa.string())),
        "arrow moments": pd.array(pd.to_datetime(["2020-01-01", None, "2021-02-03", "1999-01-01"]), dtype="timestamp[us, UTC][pyarrow]"),
        "arrow lists": pd.Series([[1], None, [], [2, 3]], dtype=pd.ArrowDtype(pa.list_(pa.int8()))).array,
    }


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_each_kind_comes_back(name, tmp_path):
    frame = pd.DataFrame({name: COLUMNS[name], "other": range(N)})
    loaded = round_trip(explained(frame), tmp_path).data
    pd.testing.assert_frame_equal(loaded, frame, check_exact=True, check_freq=False)
    assert [type(cell) for cell in loaded[name]] == [type(cell) for cell in frame[name]]
    row = explained(frame)[1]
    again = round_trip(row, tmp_path)
    pd.testing.assert_series_equal(again.data, row.data, check_exact=True)
    assert again.single


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(3, 11, 2, name="n"),
        pd.Index(["a", "b", "b", None], name=("t", 1)),
        pd.MultiIndex.from_tuples([("x", 1), ("x", 2), ("y", 1), ("z", 9)], names=["k", None]),
        pd.date_range("2020", periods=4, tz="UTC"),
    ],
    ids=["range", "text", "multi", "dates"],
)
def test_an_index_comes_back(index, tmp_path):
    frame = pd.DataFrame(np.arange(8.0).reshape(4, 2), index=index, columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]))
    loaded = round_trip(explained(frame), tmp_path).data
    pd.testing.assert_frame_equal(loaded, frame, check_freq=False)


@pytest.mark.parametrize(
    "data",
    [None, np.arange(12, dtype=np.uint8).reshape(4, 3), np.array([["a", "bb", "ccc"]] * 4), np.array([[1, "x", None]] * 4, dtype=object)],
)
def test_an_array_comes_back(data, tmp_path):
    loaded = round_trip(explained(data), tmp_path).data
    np.testing.assert_array_equal(loaded, data)
    assert data is None or loaded.dtype == data.dtype


def test_numbers_come_back_to_the_bit_and_everything_else_equal(tmp_path):
    values = np.array([[0.1, -0.0, np.nan], [5e-324, 1e308, np.inf], [1 / 3, 2 / 3, 1.0], [1, 2, 3]])
    e = explained(
        None,
        values=values,
        std_error=np.abs(values),
        output_names=("no", "<yes>"),
        target="predicted",
        target_index=[0, 1, 1, 0],
        score=np.ones(N),
        conditions=np.full((N, 3), "1 < x"),
        members=((0,), (1, 2), ()),
        seed=3,
    )
    loaded = round_trip(e, tmp_path)
    assert loaded.values.tobytes() == e.values.tobytes()
    assert loaded.target_index.tolist() == [0, 1, 1, 0]
    assert loaded.members == ((0,), (1, 2), ())
    assert loaded.conditions[0, 0] == "1 < x"
    for part in ("feature_names", "output_names", "method", "estimator", "target", "seed", "stats", "single"):
        assert getattr(loaded, part) == getattr(e, part)
    assert dict(loaded.settings) == dict(e.settings)
    assert not loaded.values.flags.writeable


def test_ragged_rows_come_back(tmp_path):
    words = (("a", "good\u2028", "day"), ("bad",), (), ("good", "good"))
    values = [np.random.default_rng(0).normal(size=(len(row), 2)) for row in words]
    base = np.zeros((4, 2))
    parts = {"values": values, "base_values": base, "predictions": base, "feature_names": words, "method": "LIME"}
    for data in ([list(row) for row in words], None, [np.arange(len(row)) for row in words]):
        e = Attribution(**parts, std_error=[np.abs(row) for row in values], data=data)
        loaded = round_trip(e, tmp_path)
        assert loaded.feature_names == words
        for name in ("values", "std_error", "data"):
            if getattr(e, name) is not None:
                assert [row.tolist() for row in getattr(loaded, name)] == [row.tolist() for row in getattr(e, name)]
        assert round_trip(e[0:0], tmp_path).shape == (0, None, 2)
        assert round_trip(e[2], tmp_path).values.shape == (0, 2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())) | st.binary() | st.dates(),
        min_size=N,
        max_size=N,
    )
)
def test_any_cells_of_an_object_column_come_back(tmp_path_factory, cells):
    column = np.empty(N, dtype=object)
    column[:] = cells
    loaded = round_trip(explained(pd.DataFrame({"o": pd.Series(column, dtype=object)})), tmp_path_factory.mktemp("cells")).data["o"]
    for one, other in zip(loaded, column, strict=True):
        assert type(one) is type(other)
        assert one == other or (one != one and other != other)


def test_the_same_explanation_gives_the_same_bytes(tmp_path):
    e = explained(pd.DataFrame(COLUMNS))
    e.save(tmp_path / "a")
    round_trip(e, tmp_path).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_object_without_a_form_is_refused_by_name_and_leaves_no_file(tmp_path):
    frame = pd.DataFrame({"ok": range(N), "model": [object()] * N})
    with pytest.raises(InputError, match=r"'model'.*builtins.object"):
        explained(frame).save(tmp_path / "e.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "e.npz"
    explained(None).save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        explained(None, seed=9).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["e.npz"]


def test_numpy_reads_the_arrays_without_pickle(tmp_path):
    e = explained(None)
    e.save(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["values"], e.values)


class Trap:
    """Unpickling this would leave a trace."""

    touched = False

    def __reduce__(self):
        return (setattr, (Trap, "touched", True))


def rewritten(path, change):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def header(**changes):
    def change(members):
        members["whybox.json"] = json.dumps(json.loads(members["whybox.json"]) | changes).encode()

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (header(version=2), "install a newer whybox"),
        (header(version="1"), "version"),
        (header(format="other"), "expected a file of format"),
        (header(arrays=[]), "damaged"),
        (lambda members: members.pop("whybox.json"), "not an explanation"),
        (lambda members: members.pop("values.npy"), "damaged"),
        (lambda members: members.update({"whybox.json": b"[" * 100_000}), "damaged"),
        (lambda members: members.update({"values.npy": members["base_values.npy"]}), "values: expected"),
    ],
)
def test_foreign_newer_and_damaged_files_are_refused(tmp_path, change, says):
    path = tmp_path / "e.npz"
    explained(None).save(path)
    rewritten(path, change)
    with pytest.raises(InputError, match=says):
        Attribution.load(path)


def test_files_that_are_no_archive_are_refused_and_a_missing_one_is_missing(tmp_path):
    path = tmp_path / "e.npz"
    explained(None).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="cut short"):
        Attribution.load(path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="not an explanation"):
        Attribution.load(path)
    with pytest.raises(FileNotFoundError):
        Attribution.load(tmp_path / "none")


def test_a_pickle_in_the_file_is_never_opened(tmp_path):
    path = tmp_path / "e.npz"
    explained(None).save(path)
    trap = np.empty(1, dtype=object)
    trap[0] = Trap()
    np.save(tmp_path / "trap.npy", trap, allow_pickle=True)
    rewritten(path, lambda members: members.update({"values.npy": (tmp_path / "trap.npy").read_bytes()}))
    with pytest.raises(InputError, match="damaged"):
        Attribution.load(path)
    assert not Trap.touched


def test_flipped_bytes_are_refused_or_harmless(tmp_path):
    path = tmp_path / "e.npz"
    explained(pd.DataFrame(COLUMNS).iloc[:, ::4]).save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.integers(0, len(content), 150):
        broken = bytearray(content)
        broken[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(broken))
        try:
            Attribution.load(path)
        except WhyboxError:
            refused += 1
    assert refused > 75
