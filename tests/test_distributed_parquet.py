"""Rows in Parquet files: a row group, a file and a null elsewhere change nothing of a row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import whybox as wb
from whybox.distributed._parquet import in_files
from whybox.errors import InputError, SchemaError

pytest.importorskip("pyarrow", reason="explain_dataset reads Parquet: pip install 'whybox[parquet]'")

RNG = np.random.default_rng(0)
N = 60
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(20, 70, N),
        "dose": RNG.normal(size=N),
        "ward": RNG.choice(["A", "B", "C"], N),
        "key": [f"p{i:03d}" for i in range(N)],
    }
)
FEATURES = ["age", "dose", "ward"]
ENCODE = make_column_transformer((OneHotEncoder(), ["ward"]), remainder="passthrough")
MODEL = make_pipeline(ENCODE, RandomForestRegressor(5, random_state=0)).fit(FRAME[FEATURES], FRAME["age"] * (FRAME["ward"] == "A"))
WHO = wb.ExactSHAP(MODEL, FRAME[FEATURES].head(5))


@pytest.fixture
def folder(tmp_path):
    """The rows in three files with row groups of 7, one without rows, and a file that is none of the data's."""
    path = tmp_path / "data"
    path.mkdir()
    for i, part in enumerate([FRAME[:20], FRAME[20:20], FRAME[20:25], FRAME[25:]]):
        part.to_parquet(path / f"part-{i}.parquet", row_group_size=7, index=False)
    (path / "_SUCCESS").write_text("")
    return path


def test_files_give_the_bytes_of_the_frame(folder, tmp_path):
    whole = WHO.explain(FRAME[FEATURES])
    for i, data in enumerate([folder, str(folder), sorted(folder.glob("*.parquet")), FRAME]):
        found = wb.explain_dataset(WHO, data, tmp_path / f"out{i}", id="key", workers=1, batch_size=9)
        assert np.array_equal(found.explanation().values, whole.values)
        assert found.ids().tolist() == FRAME["key"].tolist()
        assert [len(e) for e in found] == [9] * 6 + [6]


def test_columns_are_chosen_and_positions_are_ids(folder, tmp_path):
    found = wb.explain_dataset(WHO, folder, tmp_path / "out", columns=FEATURES, workers=1, batch_size=13, keep_data=True)
    assert found.ids().tolist() == list(range(N))
    assert found.explanation().data["ward"].tolist() == FRAME["ward"].tolist()


def test_a_null_elsewhere_changes_no_dtype(tmp_path):
    """pandas makes an integer column float where a value is missing: here all batches are alike, whichever holds it."""
    whole = pd.DataFrame({"a": pd.array([1, 2, 3, 4, None, 6], dtype="Int64"), "b": [True, None, True, False, True, False], "c": range(6)})
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = pa.Table.from_pandas(whole).replace_schema_metadata(None)  # as other programs write it
    pq.write_table(plain, tmp_path / "x.parquet", row_group_size=2)
    source = in_files(tmp_path / "x.parquet", None, None)
    kinds = {tuple(map(str, source.batch(0, i, i + 1).x.dtypes)) for i in range(6)}
    assert kinds == {("float64", "object", "int64")}
    assert source.batch(0, 3, 6).x["a"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_a_file_without_a_value_in_a_column_takes_the_type_of_the_others(empty, tmp_path):
    """pandas writes a part whose objects are all missing as a column of no type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    when = pd.to_datetime(["2024-01-01", None, "2024-01-03"]).as_unit("us")
    typed = pa.table({"n": pa.array([1, None, 3]), "s": pa.array(["a", None, "b"]), "t": pa.array(when), "x": [0.0, 1.0, 2.0]})
    nothing = pa.table({"n": pa.nulls(2), "s": pa.nulls(2), "t": pa.nulls(2), "x": [3.0, 4.0]})
    tables = [typed, typed]
    tables.insert(empty, nothing)
    for i, table in enumerate(tables):
        pq.write_table(table, tmp_path / f"{i}.parquet")
    source = in_files(tmp_path, None, None)
    batches = [source.batch(0, i, i + 1).x for i in range(8)] + [source.batch(0, 0, 8).x]
    assert len({tuple(map(str, batch.dtypes)) for batch in batches}) == 1
    pd.testing.assert_frame_equal(pd.concat(batches[:8], ignore_index=True), batches[8])
    assert batches[8]["x"].tolist() == [row for table in tables for row in table["x"].to_pylist()]
    assert batches[8]["s"].dropna().tolist() == ["a", "b"] * 2
    pq.write_table(typed.set_column(0, "n", pa.array(["1", "2", "3"])), tmp_path / "9.parquet")
    with pytest.raises(SchemaError, match=r"column 'n' is string in .*9\.parquet and int64 in"):
        in_files(tmp_path, None, None)


def test_a_batch_across_groups_and_files_is_the_rows_between(folder):
    source = in_files(folder, None, "key")
    for start, stop in ((0, 60), (6, 8), (18, 27), (59, 60)):
        batch = source.batch(3, start, stop)
        pd.testing.assert_frame_equal(batch.x, FRAME[FEATURES][start:stop].reset_index(drop=True), check_dtype=False)
        assert batch.ids.tolist() == FRAME["key"][start:stop].tolist()


def test_order_free_digest_sees_content_only(folder, tmp_path):
    first = in_files(folder, None, "key").unordered_digest()
    FRAME.sample(frac=1.0, random_state=0).to_parquet(tmp_path / "other.parquet", index=False)
    assert in_files(tmp_path / "other.parquet", None, "key").unordered_digest() == first
    FRAME.assign(dose=FRAME["dose"] + 1e-12).to_parquet(tmp_path / "changed.parquet", index=False)
    assert in_files(tmp_path / "changed.parquet", None, "key").unordered_digest() != first


def test_texts_are_handed_over_as_a_list(folder):
    source = in_files(folder, "ward", None)
    assert source.batch(0, 0, 3).x == FRAME["ward"][:3].tolist()
    assert source.unordered_digest()


def test_files_that_do_not_fit_are_named_errors(folder, tmp_path):
    def explain(data, **options):
        wb.explain_dataset(WHO, data, tmp_path / "out", workers=1, **options)

    FRAME.drop(columns="dose").to_parquet(folder / "part-9.parquet")
    with pytest.raises(SchemaError, match=r"part-9.parquet lacks the columns \['dose'\]"):
        explain(folder)
    FRAME.assign(dose="high").to_parquet(folder / "part-9.parquet")
    with pytest.raises(SchemaError, match=r"column 'dose' is .*string in .*part-9"):
        explain(folder)
    FRAME[:3].to_parquet(folder / "part-9.parquet")
    with pytest.raises(InputError, match=r"repeats ids, such as \['p000', 'p001', 'p002'\]"):
        explain(folder, id="key")
    FRAME[:3].assign(key=[None, "x", "y"]).to_parquet(folder / "part-9.parquet")
    with pytest.raises(InputError, match="lacks an id"):
        explain(folder, id="key")
    (folder / "part-9.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        explain(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no \.parquet files"):
        explain(tmp_path / "empty")
    FRAME[:0].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="have no rows"):
        explain(tmp_path / "none.parquet")
    with pytest.raises(SchemaError, match="no columns"):
        explain(tmp_path / "none.parquet", columns=["nothing"])


def test_categories_of_a_file_reach_the_model(tmp_path):
    """A schema tells of a category that it is one, not which there are; row groups and files have dictionaries of their own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    words, sizes = ["b", "a", None, "c", "a", "b"], ["lo", "hi", "mid", None, "hi", "lo"]
    grades = pd.CategoricalDtype(["lo", "mid", "hi"], ordered=True)
    frame = pd.DataFrame({"n": np.arange(6.0), "word": pd.Categorical(words), "size": pd.Series(sizes).astype(grades)})
    for i, (start, stop) in enumerate([(0, 1), (1, 4), (4, 6)]):
        part = frame[start:stop]
        part.assign(word=part["word"].cat.remove_unused_categories()).to_parquet(tmp_path / f"{i}.parquet", row_group_size=2)
    source = in_files(tmp_path, None, None)
    batches = [source.batch(0, i, i + 1).x for i in range(6)]
    assert {(batch["word"].dtype.name, tuple(batch["word"].cat.categories)) for batch in batches} == {("category", ("b", "a", "c"))}
    assert {batch["size"].dtype for batch in batches} == {grades}
    for name in ("word", "size"):
        assert pd.concat(batch[name].astype(object) for batch in batches).tolist() == frame[name].astype(object).tolist()

    def model(rows):
        return rows["n"].to_numpy() + 10.0 * (rows["word"] == "b").to_numpy() + 100.0 * (rows["size"] == "hi").to_numpy()

    who = wb.ExactSHAP(wb.as_model(model, version="1"), frame)
    found = wb.explain_dataset(who, tmp_path, tmp_path.with_name("out"), workers=1, batch_size=4).explanation()
    np.testing.assert_array_equal(found.predictions, model(frame))
    np.testing.assert_array_equal(found.values, who.explain(frame).values)
    pq.write_table(
        pa.Table.from_pandas(frame.assign(size=pd.Series(sizes).astype(grades).cat.reorder_categories(["hi", "mid", "lo"]))),
        tmp_path / "9.parquet",
    )
    with pytest.raises(SchemaError, match="column 'size' has the ordered categories"):
        in_files(tmp_path, None, None)


def test_parts_of_few_and_of_many_categories_are_one_column(tmp_path):
    """Codes take one byte or two by how many categories a part has; a part whose categories are all missing is written as numbers."""
    names = [f"c{i:03d}" for i in range(200)]
    frame = pd.DataFrame({"name": pd.Categorical(["c003", "c001", None, None, *names]), "n": 1.0})
    for i, (start, stop) in enumerate([(2, 4), (0, 2), (4, 204)]):
        part = frame[start:stop]
        part.assign(name=part["name"].cat.remove_unused_categories()).to_parquet(tmp_path / f"{i}.parquet", index=False, row_group_size=50)
    source = in_files(tmp_path, None, None)
    batches = [source.batch(0, start, min(start + 7, 204)).x for start in range(0, 204, 7)]
    order = [2, 3, 0, 1, *range(4, 204)]
    told = pd.concat(batch["name"].astype(object) for batch in batches)
    assert told.fillna("-").tolist() == frame["name"].astype(object).fillna("-").iloc[order].tolist()
    assert len({tuple(batch["name"].cat.categories) for batch in batches}) == 1, "equal codes in all batches"
    frame.assign(name=2.0).to_parquet(tmp_path / "9.parquet", index=False)
    with pytest.raises(SchemaError, match=r"column 'name' is double in .*9\.parquet and dictionary.* in .*1\.parquet"):
        in_files(tmp_path, None, None)


def test_categories_of_another_order_have_the_codes_of_all_batches(tmp_path):
    """pandas calls unordered categories equal whatever their order: batches of other row groups had other codes."""
    for i, words in enumerate([["a", "b", "c"], ["c", "b", "a"]]):
        pd.DataFrame({"word": pd.Categorical(words, categories=words)}).to_parquet(tmp_path / f"{i}.parquet", index=False)
    source = in_files(tmp_path, None, None)
    codes = [source.batch(0, start, start + 3).x["word"].cat.codes.tolist() for start in (0, 3)]
    assert codes == [[0, 1, 2], [2, 1, 0]]
