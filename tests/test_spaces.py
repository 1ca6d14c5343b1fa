"""Spaces compose the rows that the definition says, give equal keys to equal rows only, and change no value and no dtype."""

import tracemalloc
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whybox.errors import InputError, OptionError, OutputValueError, SchemaError, ShapeError
from whybox.explainers import ExactSHAP
from whybox.spaces import Baseline, Conditions, Groups, Marginal, Neighborhood, Observed, summaries, summarize
from whybox.testing import shapley_values
from whybox.typing import Ask, Bound, Model, Space

MODEL = Model(lambda rows: rows[:, 0])
RNG = np.random.default_rng(5)


def frame(rows):
    """Columns of several kinds whose values are told apart by rows."""
    rows = np.asarray(rows)
    return pd.DataFrame(
        {
            "number": rows[:, 0].astype(np.float64),
            "other": rows[:, 1].astype(np.float64),
            "whole": rows[:, 2].astype(np.int64),
            "kind": pd.Categorical.from_codes(rows[:, 3].astype(int) % 3, categories=["a", "b", "c"]),
            "maybe": pd.array([None if v == 0 else int(v) for v in rows[:, 4]], dtype="Int64"),
        }
    )


KINDS = {
    "float64": lambda rows: rows.astype(np.float64),
    "float32": lambda rows: rows.astype(np.float32),
    "float16": lambda rows: rows.astype(np.float16),
    "int64": lambda rows: rows.astype(np.int64) + 2**60,
    "uint8": lambda rows: rows.astype(np.uint8),
    "bool": lambda rows: rows > 0,
    "longdouble": lambda rows: rows.astype(np.longdouble),
    "complex128": lambda rows: rows + 1j,
    "datetime64": lambda rows: np.datetime64("2024-01-01") + rows.astype("timedelta64[h]"),
    "text": lambda rows: rows.astype(str),
    "object": lambda rows: np.where(rows > 1, rows.astype(str).astype(object), rows.astype(object)),
    "DataFrame": frame,
}


def brute(x, background, ask):
    """Every row of an ask, by definition, as a list of tuples of cells."""
    cells = [[tuple(row) for row in (part.itertuples(index=False) if isinstance(part, pd.DataFrame) else part)] for part in (x, background)]
    return [
        tuple(cells[0][i][j] if keep else cells[1][b][j] for j, keep in enumerate(code))
        for i in ask.instances
        for code in ask.codes
        for b in range(len(background))
    ]


def listed(rows):
    return [tuple(row) for row in (rows.itertuples(index=False) if isinstance(rows, pd.DataFrame) else rows)]


def same(a, b):
    """Equal cells of equal kinds; missing equals missing."""
    return len(a) == len(b) and all(
        len(r) == len(s)
        and all((u is v) or (pd.isna(u) and pd.isna(v)) or (u == v and type(u) is type(v)) for u, v in zip(r, s, strict=True))
        for r, s in zip(a, b, strict=True)
    )


def small_game(seed, kind, n=3, b=3, m=4, d=5):
    rng = np.random.default_rng(seed)
    x, background = (KINDS[kind](rng.integers(0, 3, (rows, d))) for rows in (n, b))
    ask = Ask(rng.permutation(n)[: rng.integers(1, n + 1)].astype(np.int64), rng.random((m, d)) < 0.5)
    return x, background, ask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_compose_is_the_definition_for_every_portion(kind, seed):
    x, background, ask = small_game(seed, kind, n=2, b=3, m=3)
    bound = Marginal(background).bind(x, MODEL)
    rows = brute(x, background, ask)
    for start, stop in product(range(len(rows)), range(1, len(rows) + 1)):
        if start < stop and (kind != "DataFrame" or (start + stop) % 5 == seed):  # frames are slow to make
            assert same(listed(bound.compose(ask, start, stop)), rows[start:stop])


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
def test_take_is_compose(kind, seed):
    x, background, ask = small_game(seed, kind)
    bound = Marginal(background).bind(x, MODEL)
    total = len(ask.instances) * len(ask.codes) * bound.draws
    index = np.sort(np.random.default_rng(seed).choice(total, 7, replace=False)).astype(np.int64)
    whole = listed(bound.compose(ask, 0, total))
    assert same(listed(bound.take(ask, index)), [whole[i] for i in index])


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
def test_keys_are_equal_exactly_for_equal_rows(kind, seed):
    x, background, ask = small_game(seed, kind)
    bound = Marginal(background).bind(x, MODEL)
    rows = [tuple(map(repr, row)) for row in brute(x, background, ask)]  # repr tells 1 from 1.0 and True
    keys = [tuple(key) for key in bound.keys(ask)]
    assert len(set(zip(rows, keys, strict=True))) == len(set(rows)) == len(set(keys))
    own = [tuple(key) for key in bound.row_keys()]
    cells = [tuple(map(repr, row)) for row in listed(x)]
    assert len(set(zip(cells, own, strict=True))) == len(set(cells)) == len(set(own))


def test_keys_tell_neighbouring_floats_and_columns_apart():
    one = 1.0
    x = np.array([[one, np.nextafter(one, 2.0)], [np.nextafter(one, 2.0), one], [one, one]])
    keys = Marginal(x).bind(x, MODEL).row_keys()
    assert len({tuple(key) for key in keys}) == 3


def test_keys_of_many_codes_do_not_depend_on_the_portion():
    d = 3000  # more codes than one table of integers may hold
    x, background = RNG.normal(size=(1, d)), RNG.normal(size=(2, d))
    ask = Ask(np.zeros(1, dtype=np.int64), RNG.random((700, d)) < 0.5)
    bound = Marginal(background).bind(x, MODEL)
    keys = bound.keys(ask)
    few = np.array([0, 348, 349, 350, 699])
    assert np.array_equal(keys.reshape(700, 2, 2)[few].reshape(-1, 2), bound.keys(Ask(ask.instances, ask.codes[few])))


@pytest.mark.parametrize("kind", ["float64", "object", "DataFrame"])
def test_rows_are_the_models_own(kind):
    x, background, ask = small_game(0, kind)
    before = repr(listed(x)), repr(listed(background))
    bound = Marginal(background).bind(x, MODEL)
    for rows in (bound.compose(ask, 0, 9), bound.take(ask, np.arange(4)), bound.plain(0, 2)):
        if isinstance(rows, pd.DataFrame):
            rows.iloc[:, 0] = -1.0
            rows["kind"] = "a"
        else:
            assert not np.shares_memory(rows, x)
            assert not np.shares_memory(rows, background)
            rows[...] = 0
    assert (repr(listed(x)), repr(listed(background))) == before


COLUMNS = [
    pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a")], names=["u", "v"]),
    pd.Index([("a", 1), ("b", 1), ("c", 2)], tupleize_cols=False),
    pd.Index([3, 1, 2], name="k"),
    pd.RangeIndex(3),
    pd.period_range("2020", periods=3, freq="D"),
    pd.Index(["a", 1, None], dtype=object),
]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("columns", COLUMNS, ids=lambda columns: type(columns).__name__)
def test_column_names_of_any_kind_reach_the_model(columns, plain):
    x = pd.DataFrame(RNG.normal(size=(2, 3)), columns=columns)
    if not plain:
        x[columns[0]] = x[columns[0]].astype("Float64")
    ask = Ask(np.arange(2), RNG.random((3, 3)) < 0.5)
    bound = Marginal(x).bind(x, MODEL)
    for _ in range(2):
        for rows in (bound.compose(ask, 0, 12), bound.take(ask, np.arange(4)), bound.plain(0, 2)):
            assert type(rows.columns) is type(columns)
            pd.testing.assert_index_equal(rows.columns, columns, exact=True)
            rows.columns.names = ["renamed"] * columns.nlevels  # by the model
    assert "renamed" not in columns.names


def test_frames_keep_columns_dtypes_and_categories():
    x, background, ask = small_game(1, "DataFrame")
    bound = Marginal(background).bind(x.set_index(pd.Index(["p", "q", "r"])), MODEL)
    for rows in (bound.compose(ask, 0, 9), bound.compose(ask, 4, 5), bound.take(ask, np.array([1, 5])), bound.plain(0, 3)):
        assert rows.dtypes.equals(x.dtypes)
        assert list(rows.columns) == list(x.columns)
        assert rows.index.equals(pd.RangeIndex(len(rows)))
    assert bound.feature_names(0) == tuple(x.columns)


@pytest.mark.parametrize(
    ("x", "background"),
    [(a, b) for a in ("int8", "uint8", "int32", "int64", "float16", "float32", "bool") for b in ("float64", "int64", "uint16")],
)
def test_promotion_is_exact(x, background):
    ours = np.array([[0, 1], [1, 1]]).astype(x)
    theirs = np.array([[3, 200]]).astype(background)
    bound = Marginal(theirs).bind(ours, MODEL)
    rows = bound.compose(Ask(np.arange(2), np.array([[True, False], [False, True]])), 0, 4)
    assert rows.tolist() == [[0, 200], [3, 1], [1, 200], [3, 1]]
    assert rows.dtype == np.result_type(ours, theirs)


@pytest.mark.parametrize(
    ("x", "background"),
    [
        (np.array([[2**53 + 1]]), np.array([[0.5]])),
        (np.array([[2**63 + 1]], dtype=np.uint64), np.array([[-1]])),
        (np.array([[np.iinfo(np.int64).min + 1]]), np.array([[2**63 + 3]], dtype=np.uint64)),
    ],
)
def test_promotion_that_would_round_is_refused(x, background):
    for ours, theirs in ((x, background), (background, x)):
        with pytest.raises(InputError, match="exactly"):
            Marginal(theirs).bind(ours, MODEL)
        with pytest.raises(InputError, match="exactly"):
            Marginal(pd.DataFrame(theirs, columns=["a"])).bind(pd.DataFrame(ours, columns=["a"]), MODEL)


def test_promotion_of_large_integers_that_fit_is_allowed():
    bound = Marginal(np.array([[0.5]])).bind(np.array([[2**53], [2**60]]), MODEL)
    assert bound.plain(0, 2).ravel().tolist() == [2.0**53, 2.0**60]


# --- weights, folding, other spaces ---------------------------------------------------------------------------------------------------


def test_fold_is_the_weighted_mean():
    outputs = RNG.normal(size=(2, 3, 4, 2))
    x, background = RNG.normal(size=(2, 2)), RNG.normal(size=(4, 2))
    ask = Ask(np.arange(2), np.ones((3, 2), dtype=bool))
    plain = Marginal(background).bind(x, MODEL).fold(ask, outputs)
    np.testing.assert_allclose(plain, outputs.mean(axis=2), rtol=1e-14)
    weighted = Marginal(background, [1, 2, 0, 5]).bind(x, MODEL).fold(ask, outputs)
    np.testing.assert_allclose(weighted, np.average(outputs, axis=2, weights=[1, 2, 0, 5]), rtol=1e-13)


def test_fold_leaves_nan_out_and_refuses_to_average_nothing():
    outputs = RNG.normal(size=(1, 2, 3, 1))
    outputs[0, 0, 1] = np.nan
    bound = Marginal(RNG.normal(size=(3, 2)), [1, 5, 3]).bind(RNG.normal(size=(1, 2)), MODEL)
    ask = Ask(np.arange(1), np.ones((2, 2), dtype=bool))
    folded = bound.fold(ask, outputs)
    np.testing.assert_allclose(folded[0, 0], np.average(outputs[0, 0, [0, 2]], axis=0, weights=[1, 3]))
    outputs[0, 1] = np.nan
    with pytest.raises(OutputValueError, match="nothing is left"):
        bound.fold(ask, outputs)


def test_integer_weights_are_repeated_rows():
    x, background = RNG.normal(size=(2, 4)), RNG.normal(size=(3, 4))

    def game(rows):
        return rows[:, 0] * rows[:, 1] * rows[:, 2] + rows[:, 3] ** 2

    weighted = ExactSHAP(game, space=Marginal(background, [1, 3, 2])).explain(x)
    repeated = np.repeat(background, [1, 3, 2], axis=0)
    np.testing.assert_allclose(weighted.values, shapley_values(game, x, repeated), rtol=1e-12)


@pytest.mark.parametrize(
    "weights", [[1.0, 1.0], [[1.0], [1.0], [1.0]], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, np.nan, 1.0], [1.0, np.inf, 1.0], "abc"]
)
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(InputError, match="weights"):
        Marginal(np.zeros((3, 2)), weights)


def test_a_baseline_is_a_background_of_one_row():
    x, row = RNG.normal(size=(2, 4)), RNG.normal(size=4)
    ask = Ask(np.arange(2), RNG.random((5, 4)) < 0.5)
    expected = Marginal(row[None]).bind(x, MODEL).compose(ask, 0, 10)
    for values in (row, row[None], row.tolist(), tuple(row)):
        assert np.array_equal(Baseline(values).bind(x, MODEL).compose(ask, 0, 10), expected)
    named = Baseline(pd.DataFrame(row[None], columns=list("abcd"))).bind(pd.DataFrame(x, columns=list("abcd"))[list("dcba")], MODEL)
    assert np.array_equal(named.compose(ask, 0, 10).to_numpy(), expected)
    with pytest.raises(ShapeError, match="one reference row"):
        Baseline(np.zeros((2, 4)))


def test_groups_are_columns_played_together():
    x, background = RNG.normal(size=(2, 5)), RNG.normal(size=(4, 5))

    def game(rows):
        return rows[:, 0] * rows[:, 3] + rows[:, 1] * rows[:, 2] * rows[:, 4]

    groups = Groups(Marginal(background), {"first": [0, 2], "second": [4]})
    e = ExactSHAP(game, space=groups).explain(x)
    assert e.feature_names == ("first", "second", "feature 1", "feature 3")
    members = [[0, 2], [4], [1], [3]]

    def players(codes):
        """Four columns, each the number of a row of x or of the background."""
        both, at = np.concatenate([x, background]), codes.astype(int)
        rows = np.empty((len(codes), 5))
        for player, columns in enumerate(members):
            rows[:, columns] = both[at[:, player]][:, columns]
        return game(rows)

    numbers = np.repeat(np.arange(6.0)[:, None], 4, axis=1)
    np.testing.assert_allclose(e.values, shapley_values(players, numbers[:2], numbers[2:]), atol=1e-12)
    bound = groups.bind(x, MODEL)
    ask = Ask(np.arange(2), RNG.random((6, 4)) < 0.5)
    assert np.array_equal(bound.take(ask, np.arange(3, 20)), bound.compose(ask, 3, 20))
    assert len(bound.keys(ask)) == 2 * 6 * 4


def test_groups_by_name_are_groups_by_position():
    columns = list("abcd")
    x, background = pd.DataFrame(RNG.normal(size=(2, 4)), columns=columns), pd.DataFrame(RNG.normal(size=(3, 4)), columns=columns)
    ask = Ask(np.arange(2), RNG.random((5, 3)) < 0.5)
    by = [Groups(Marginal(background), {"g": group}).bind(x, MODEL).compose(ask, 0, 30) for group in (["b", "d"], [1, 3])]
    pd.testing.assert_frame_equal(*by)


def test_a_baseline_may_be_a_series():
    x = pd.DataFrame({"n": [1, 2], "f": [0.5, 1.5], "s": ["a", "b"]})
    for by in (Baseline(x.iloc[0]), Baseline(x.iloc[0][["s", "n", "f"]])):
        rows = by.bind(x, MODEL).compose(Ask(np.array([1]), np.array([[False] * 3, [True] * 3])), 0, 2)
        assert {tuple(row) for row in rows[["n", "f", "s"]].itertuples(index=False)} == {(1, 0.5, "a"), (2, 1.5, "b")}
        assert sorted(map(str, rows.dtypes)) == sorted(map(str, x.dtypes))
    with pytest.raises(SchemaError, match="other columns"):
        Baseline(x[["n"]].mean()).bind(x, MODEL)


def test_what_is_one_row_is_told_how_to_be_a_table():
    x = pd.DataFrame({"n": [1, 2]})
    with pytest.raises(ShapeError, match="iloc"):
        Marginal(x).bind(x.iloc[0], MODEL)
    with pytest.raises(InputError, match="list of dicts"):
        Marginal(x).bind(x.to_dict("records"), MODEL)
    with pytest.raises(InputError, match="no rows"):
        Marginal([])


def test_tables_of_other_libraries_are_refused_rather_than_stripped_of_their_names():
    class Table:
        """As polars, pyarrow and dask have them: its cells can be read as an array."""

        columns = ("b", "a")

        def __array__(self, dtype=None, copy=None):
            return np.eye(2)

    arrow = pytest.importorskip("pyarrow").table({"b": [1.0, 2.0], "a": [3.0, 4.0]})
    x = pd.DataFrame({"a": [1.0], "b": [2.0]})
    for table, name in ((Table(), "Table"), (arrow, "pyarrow.Table")):
        for rows, reference in ((x, table), (table, x), (table, table)):
            with pytest.raises(InputError, match=rf"{name}, and its column names would be lost; pass (x|background)\.to_pandas"):
                Marginal(reference).bind(rows, MODEL)


def test_medoids_are_the_exact_ones():
    levels = RNG.integers(0, 3, size=(40, 2))
    numbers = RNG.normal(size=(40, 3))
    apart = np.abs(numbers[:, None] - numbers[None]).sum(axis=2) + (levels[:, None] != levels[None]).sum(axis=2)
    for members in (np.arange(40), np.arange(1, 40, 3), np.array([7]), np.array([2, 9])):
        assert summaries._medoid(numbers, levels, members) == members[apart[np.ix_(members, members)].sum(axis=1).argmin()]


def test_a_summary_of_many_rows_holds_no_table_of_pairs():
    background = np.random.default_rng(0).normal(size=(30_000, 4))
    tracemalloc.start()
    space = summarize(background, 2)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50 * background.nbytes
    assert len(space.background) == 2


@pytest.mark.parametrize("groups", [["a"], {"a": "bc"}, {"a": 1}, None])
def test_groups_that_are_no_lists_of_features_are_refused(groups):
    with pytest.raises(OptionError, match="lists of features"):
        Groups(Marginal(pd.DataFrame(np.zeros((2, 3)), columns=list("abc"))), groups)


@pytest.mark.parametrize("space", [{"a": [0]}, np.zeros((2, 3)), Marginal])
def test_groups_of_no_space_are_refused(space):
    with pytest.raises(OptionError, match="expected a space first"):
        Groups(space, {"a": [0]})


def test_groups_that_make_no_sense_are_refused():
    space = Marginal(np.zeros((2, 3)))
    for groups in ({}, {"a": []}, {"a": [0], "b": [0]}, {"a": [0, 0]}):
        with pytest.raises(InputError):
            Groups(space, groups)
    for groups in ({"a": [3]}, {"a": ["nobody"]}, {"a": [-1]}):
        with pytest.raises(SchemaError):
            Groups(space, groups).bind(np.zeros((1, 3)), MODEL)
    with pytest.raises(InputError, match="more than one"):
        Groups(space, {"a": [0], "b": ["feature 0"]}).bind(np.zeros((1, 3)), MODEL)


# --- summaries ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float64", "int64", "object", "DataFrame", "text", "bool"])
def test_a_summary_is_rows_of_the_background_with_their_shares(kind):
    background = KINDS[kind](RNG.integers(0, 3, (40, 5)))
    space = summarize(background, 6)
    rows, whole = listed(space.background), {tuple(map(repr, row)) for row in listed(background)}
    assert {tuple(map(repr, row)) for row in rows} <= whole
    assert len(rows) <= 6
    assert np.isclose(space.weights.sum(), 1.0)
    assert (space.weights > 0).all()
    again = summarize(background, 6)
    assert repr(listed(again.background)) == repr(rows)
    assert np.array_equal(again.weights, space.weights)


def test_a_summary_of_all_distinct_rows_is_the_background():
    background = RNG.normal(size=(7, 3))
    space = summarize(background, 7)
    assert {tuple(row) for row in space.background} == {tuple(row) for row in background}
    np.testing.assert_allclose(space.weights, 1 / 7)


def test_a_summary_finds_separate_clusters():
    background = np.concatenate([RNG.normal(0, 0.01, (30, 2)), RNG.normal(5, 0.01, (10, 2))])
    for method in ("kmedoids", "kmeans"):
        space = summarize(background, 2, method=method)
        order = np.argsort(np.asarray(space.background)[:, 0])
        np.testing.assert_allclose(np.asarray(space.background)[order], [[0, 0], [5, 5]], atol=0.05)
        np.testing.assert_allclose(np.asarray(space.weights)[order], [0.75, 0.25])


@pytest.mark.parametrize(("k", "method"), [(0, "kmedoids"), (41, "kmedoids"), (2.0, "kmedoids"), (True, "kmedoids"), (3, "random")])
def test_a_summary_that_cannot_be_is_refused(k, method):
    with pytest.raises(OptionError):
        summarize(RNG.normal(size=(40, 2)), k, method=method)
    with pytest.raises(InputError, match="kmedoids"):
        summarize(np.array([[np.nan], [1.0]]), 1, method="kmeans")


def test_spaces_keep_their_protocols():
    background = np.zeros((2, 3))
    for space in (Marginal(background), Baseline(background[0]), Groups(Marginal(background), {"a": [0, 1]})):
        assert isinstance(space, Space)
        assert isinstance(space.bind(np.zeros((1, 3)), MODEL), Bound)


def test_digest_tells_content_apart():
    x, background = RNG.normal(size=(2, 3)), RNG.normal(size=(4, 3))
    spaces = [
        Marginal(background),
        Marginal(background, [1, 2, 3, 4]),
        Marginal(background[::-1].copy()),
        Groups(Marginal(background), {"a": [0, 1]}),
        Groups(Marginal(background), {"a": [0, 2]}),
    ]
    digests = [space.bind(x, MODEL).digest() for space in spaces] + [spaces[0].bind(x + 1e-15, MODEL).digest()]
    assert len(set(digests)) == len(digests)
    assert spaces[0].bind(x.copy(), MODEL).digest() == digests[0]
    one, other = (pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": values}) for values in (["x", "y"], ["x", "z"]))
    assert Marginal(one).bind(one, MODEL).digest() != Marginal(one).bind(other, MODEL).digest()


CELLS = [1, 1.0, True, "1", np.int64(1), np.float32(1), 0, 0.0, -0.0, False, None, np.nan, pd.NA, pd.NaT, (1,), (True,), [1], [1.0]]
LONG = [np.zeros(2000), np.concatenate([np.zeros(1999), [1.0]]), {"a": 1}, {"a": True}]  # their repr is shortened, or they are ==


@pytest.mark.parametrize("as_frame", [True, False])
def test_objects_are_the_same_only_if_type_and_content_are(as_frame):
    cells = np.empty((len(CELLS + LONG), 1), dtype=object)
    cells[:, 0] = CELLS + LONG
    x = pd.DataFrame({"o": cells[:, 0]}) if as_frame else cells
    keys = Marginal(x).bind(x, MODEL).row_keys()
    assert len({tuple(key) for key in keys}) == len(cells)
    again = [np.zeros(2000) if isinstance(cell, np.ndarray) and not cell.any() else cell for cell in cells[:, 0]]
    cells[:, 0] = again
    x = pd.DataFrame({"o": pd.concat([x["o"], pd.Series(again)], ignore_index=True)}) if as_frame else np.concatenate([x, cells])
    keys = Marginal(x).bind(x, MODEL).row_keys()
    assert np.array_equal(keys[: len(again)], keys[len(again) :])


@pytest.mark.parametrize("dtype", ["float64", "float32", "Float64", "complex128"])
def test_signed_zeros_of_a_frame_are_two_values(dtype):
    x = pd.DataFrame({"a": np.array([0.0, -0.0, 1.0]).astype(dtype.lower())}).astype(dtype)
    keys = Marginal(x).bind(x, MODEL).row_keys()
    assert len({tuple(key) for key in keys}) == 3


def test_rows_that_are_equal_but_not_the_same_are_each_explained():
    kinds = {"int": 1.0, "bool": 2.0, "float": 3.0, "NoneType": 4.0}
    x = pd.DataFrame({"o": pd.Series([1, True, 1.0, None, np.nan], dtype=object)})
    e = ExactSHAP(lambda rows: rows["o"].map(lambda value: kinds[type(value).__name__]), x).explain(x)
    assert e.predictions.tolist() == [1.0, 2.0, 3.0, 4.0, 3.0]


def test_objects_whose_content_cannot_be_read_leave_no_checkpoint(tmp_path):
    x = pd.DataFrame({"o": pd.Series([lambda: 1, lambda: 2], dtype=object)})

    def model(rows):
        return rows["o"].map(lambda value: value()).to_numpy(float)

    assert ExactSHAP(model, x).explain(x).predictions.tolist() == [1.0, 2.0]
    with pytest.raises(InputError, match="content cannot be read"):
        ExactSHAP(model, x).explain(x, checkpoint=tmp_path / "log")


def test_a_summary_scales_by_what_is_there():
    days = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02", "2024-06-01", "2024-06-02", None, None]))
    space = summarize(pd.DataFrame({"day": days}), 3)
    assert sorted(space.weights) == [1 / 3] * 3
    space = summarize(np.array([[0.0], [0.1], [np.inf], [np.inf], [-np.inf], [9.0], [9.1], [9.2]]), 4)
    assert sorted(space.weights) == [1 / 8, 2 / 8, 2 / 8, 3 / 8]


@pytest.mark.parametrize("arrays", [False, True])
def test_columns_of_objects_stay_objects_whatever_a_batch_holds(arrays):
    """pandas makes strings of a batch that holds no None, and dates of one that holds Timestamps; the model was trained on neither."""
    cells = {"word": ["x", "y", None, "x"], "day": [None, *pd.date_range("2024", periods=3)], "number": [0, 1.5, 2, 3]}
    x = pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in cells.items()})

    def worth(rows):
        assert rows.dtypes.tolist() == [object] * 3
        word, day = [w is None for w in rows["word"]], [3 if d is None else d.day for d in rows["day"]]
        return np.array(word, float) * np.array(day) + rows["number"].to_numpy(dtype=float)

    model = Model(worth, feature_names=tuple(cells), wants_frame=True)
    given = (x.to_numpy(), x.to_numpy()) if arrays else (x, x)
    found = ExactSHAP(model, given[1]).explain(given[0][:2])

    def of(places):
        return worth(
            pd.DataFrame({c: pd.Series([cells[c][int(i)] for i in at], dtype=object) for c, at in zip(cells, places.T, strict=True)})
        )

    places = np.repeat(np.arange(4.0)[:, None], 3, axis=1)
    np.testing.assert_allclose(found.base_values, worth(x).mean())
    np.testing.assert_allclose(found.values, shapley_values(of, places[:2], places), atol=1e-12)


@pytest.mark.parametrize("space", [Marginal, lambda rows: Baseline(rows[:1]), Observed, Conditions, Neighborhood], ids=range(5))
def test_categories_have_the_codes_of_the_background(space):
    background = pd.DataFrame({"n": np.arange(4.0), "w": pd.Categorical(["a", "b", "c", "a"], categories=["a", "b", "c"])})
    other = background.assign(w=background["w"].cat.reorder_categories(["c", "a", "b"]))
    assert other["w"].dtype == background["w"].dtype  # says pandas, which does not ask for the order
    bound = space(background).bind(other, Model(lambda rows: rows))
    pd.testing.assert_frame_equal(bound.plain(0, 4), background)
    assert bound.plain(0, 4)["w"].cat.codes.tolist() == [0, 1, 2, 0]
