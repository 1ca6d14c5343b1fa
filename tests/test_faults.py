"""Bad input and models that go wrong: every explainer gives the right values, or an error that has a name."""

import tracemalloc
import warnings
from inspect import isclass

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import whybox.explainers as explainers
from whybox.engine import Engine, NoisyModelWarning
from whybox.errors import BudgetError, InputError, OutputValueError, SchemaError, ShapeError, WhyboxError
from whybox.testing import FAULTS, RecordingModel, occlusion_values, owen_values, shapley_values

NAMES = sorted(
    name
    for name in explainers.__all__
    if isclass(item := getattr(explainers, name)) and "explain" in vars(item) and item.explain.__annotations__["return"] == "Attribution"
)
BY_DEFINITION = {
    "ExactSHAP": shapley_values,
    "KernelSHAP": shapley_values,
    "PartitionSHAP": owen_values,
    "PermutationSHAP": shapley_values,
    "Occlusion": occlusion_values,
}
KNOWN = [name for name in NAMES if name in BY_DEFINITION]
QUICK = {"LIME": {"budget": 150}}  # the others have defaults that are quick for few features

RNG = np.random.default_rng(11)
X = RNG.normal(size=(6, 6))
B = RNG.normal(size=(12, 6))

every = pytest.mark.parametrize("name", NAMES)
known = pytest.mark.parametrize("name", KNOWN)


def honest(rows):
    """No interaction above second order, so that PermutationSHAP is exact; bits do not depend on the batch."""
    return rows[:, 0] * rows[:, 1] - 2.0 * rows[:, 2] + rows[:, 3] * rows[:, 4] + 0.5 * rows[:, 5]


def make(name, model, background, **engine):
    own = {"min_score": None} if name == "LIME" else {}
    return getattr(explainers, name)(model, background, engine=Engine(retry_wait=0.0, **engine), **own)


def explain(name, model, background, x, engine=None, **options):
    return make(name, model, background, **(engine or {})).explain(x, **{**QUICK.get(name, {}), "target": None, **options})


def by_definition(name, predict, x, background):
    """Brute force over positions in the column, so that values of any kind stay what they are."""
    frame = isinstance(x, pd.DataFrame)
    both = pd.concat([x, background], ignore_index=True) if frame else np.concatenate([x, background])
    at = np.broadcast_to(np.arange(len(both), dtype=np.float64)[:, None], both.shape)

    def of_positions(codes):
        codes = codes.astype(int)
        if not frame:
            return predict(both[codes, np.arange(both.shape[1])])
        columns = {column: both[column].array.take(codes[:, j]) for j, column in enumerate(both.columns)}
        return predict(pd.DataFrame(columns))

    return BY_DEFINITION[name](of_positions, at[: len(x)], at[len(x) :])


def assert_right(name, predict, x, background, e, atol=1e-9):
    np.testing.assert_allclose(e.predictions.reshape(len(x)), np.asarray(predict(x), dtype=np.float64), rtol=1e-12, atol=1e-12)
    assert np.isfinite(e.values).all()
    if name in BY_DEFINITION:
        np.testing.assert_allclose(e.values.reshape(x.shape), by_definition(name, predict, x, background), rtol=1e-9, atol=atol)


# --- models that go wrong -------------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faulty_model_is_explained_right_or_refused_by_name(name, fault):
    model = fault.make(honest)
    options = {"engine": {"batch_size": 256}, **({"budget": 400} if name in ("LIME", "PermutationSHAP") else {})}
    if name == "LIME":
        options |= {"budget": 190}
    if fault.name == "slow":
        model.seconds = 1e-6
    if fault.outcome is None:
        e = explain(name, model, B, X, **options)
        assert_right(name, honest, X, B, e)
        clean = explain(name, honest, B, X, **options)
        assert np.array_equal(e.values.reshape(X.shape), clean.values)
    elif issubclass(fault.outcome, Warning):
        with pytest.warns(fault.outcome):
            explain(name, model, B, X, **options)
    else:
        with pytest.raises(fault.outcome) as caught:
            explain(name, model, B, X, **options)
        assert type(caught.value) is fault.outcome


@every
def test_nan_outputs_are_left_out_and_counted_on_request(name):
    def sometimes(rows):
        return np.where(rows[:, 0] > 0.5, np.nan, rows[:, 1])

    x = X[X[:, 0] <= 0.5]
    with pytest.raises(OutputValueError, match="on_nan"):
        explain(name, sometimes, B, x)
    e = explain(name, sometimes, B, x, engine={"on_nan": "skip"})
    assert e.stats.n_nan > 0
    assert np.isfinite(e.values).all()
    left, everyone = B[B[:, 0] <= 0.5, 1].mean(), B[:, 1].mean()  # v without features 0 and 1, and without feature 1
    first, second = (0.5 * (everyone - left), x[:, 1] - 0.5 * (everyone + left)) if name != "Occlusion" else (0.0, x[:, 1] - everyone)
    if name in KNOWN:
        np.testing.assert_allclose(e.values[:, 0], first, atol=1e-12)
        np.testing.assert_allclose(e.values[:, 1], second, atol=1e-12)
        np.testing.assert_allclose(e.values[:, 2:], 0.0, atol=1e-12)


@every
def test_an_interrupted_explainer_can_be_used_again(name):
    calls = []

    def impatient(rows):
        calls.append(len(rows))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return honest(rows)

    explainer = make(name, impatient, B, batch_size=100)
    with pytest.raises(KeyboardInterrupt):
        explainer.explain(X, target=None, **QUICK.get(name, {}))
    e = explainer.explain(X, target=None, **QUICK.get(name, {}))
    assert np.array_equal(e.values, explain(name, honest, B, X, engine={"batch_size": 100}).values)


@every
def test_what_was_paid_before_ctrl_c_is_not_paid_again(name, tmp_path):
    frame, background = pd.DataFrame(X, columns=list("abcdef")), pd.DataFrame(B, columns=list("abcdef"))
    calls = []

    def predict(rows):
        calls.append(len(rows))
        if len(calls) == stop:
            raise KeyboardInterrupt
        return honest(rows.to_numpy())

    stop = 0
    whole = explain(name, predict, background, frame, {"batch_size": 40})
    stop, total = len(calls) // 2, sum(calls)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        explain(name, predict, background, frame, {"batch_size": 40}, checkpoint=tmp_path / "job")
    stop = 0
    again = explain(name, predict, background, frame, {"batch_size": 40}, checkpoint=tmp_path / "job")
    assert np.array_equal(again.values, whole.values)
    assert sum(calls) <= total + 2 * 40


# --- shapes of tables -----------------------------------------------------------------------------------------------------------------

TABLES = {
    "a single row": (X[:1], B),
    "a single background row": (X, B[:1]),
    "one row each": (X[:1], B[:1]),
    "a row of the background": (B[:2], B),
    "all rows equal": (np.repeat(X[:1], 4, axis=0), np.repeat(B[:1], 3, axis=0)),
    "constant columns": (X * [1, 1, 0, 0, 1, 1], B * [1, 1, 0, 0, 1, 1]),
    "duplicated columns": (X[:, [0, 0, 2, 2, 2, 5]], B[:, [0, 0, 2, 2, 2, 5]]),
    "x equals the background": (np.zeros((2, 6)), np.zeros((5, 6))),
    "tiny scales": (X * 1e-9, B * 1e-9),
    "huge offsets": (1e9 + X, 1e9 + B),
    "negative zero": (np.where(X < 0, -0.0, X), np.where(B < 0, 0.0, B)),
    "subnormal numbers": (X * 1e-310, B * 1e-310),
}


@every
@pytest.mark.parametrize("table", TABLES)
def test_odd_tables_are_explained_right(name, table):
    x, background = TABLES[table]
    size = float(np.abs(honest(x)).max()) + float(np.abs(honest(background)).max())
    assert_right(name, honest, x, background, explain(name, honest, background, x), atol=1e-11 * size)


@every
def test_a_single_feature_gets_everything(name):
    x, background = X[:, :1], B[:, :1]
    e = explain(name, lambda rows: 3.0 * rows[:, 0], background, x)
    assert e.values.shape == (6, 1)
    assert_right(name, lambda rows: 3.0 * rows[:, 0], x, background, e)


@every
def test_two_features_are_explained_right(name):
    def product(rows):
        return rows[:, 0] * rows[:, 1]

    assert_right(name, product, X[:, :2], B[:, :2], explain(name, product, B[:, :2], X[:, :2]))


WIDE = {"LIME": 500}  # it solves a ridge of features by features for each row: 5,000 take a minute
MEMORY = {
    "PermutationSHAP": 320e6,
    "PartitionSHAP": 320e6,
}  # a pair of permutations passes through 9,998 coalitions of 5,000 features: 50 MB, a few times


@every
def test_five_thousand_features_take_a_bounded_memory(name):
    d = WIDE.get(name, 5000)
    x, background = RNG.normal(size=(1, d)), RNG.normal(size=(2, d))
    weights = RNG.normal(size=d)
    budget = {
        "ExactSHAP": None,
        "KernelSHAP": 256,
        "LIME": 256,
        "Occlusion": None,
        "PermutationSHAP": 2 * (d - 1),
        "PartitionSHAP": 2 * (d - 1),
    }[name]
    tracemalloc.start()
    try:
        if name == "ExactSHAP":
            with pytest.raises(BudgetError, match="KernelSHAP"):
                explain(name, lambda rows: rows @ weights, background, x)
        else:
            e = explain(name, lambda rows: rows @ weights, background, x, budget=budget)
            assert np.isfinite(e.values).all()
            if name in ("Occlusion", "PartitionSHAP", "PermutationSHAP"):
                np.testing.assert_allclose(e.values[0], weights * (x[0] - background.mean(axis=0)), atol=1e-8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY.get(name, 100e6)


# --- values and dtypes ----------------------------------------------------------------------------------------------------------------

WHOLE, WHOLE_B = np.round(10 * X), np.round(10 * B)
BIG = 2**60

DTYPES = {
    "float16": (X.astype(np.float16), B.astype(np.float16), lambda r: honest(r.astype(np.float64))),
    "float32": (X.astype(np.float32), B.astype(np.float32), lambda r: honest(r.astype(np.float64))),
    "longdouble": (X.astype(np.longdouble), B.astype(np.longdouble), lambda r: honest(r.astype(np.float64))),
    "big-endian": (X.astype(">f8"), B.astype(">f8"), honest),
    "bool": (X > 0, B > 0, lambda r: (r[:, 0] & r[:, 1]) + 2.0 * r[:, 2] + (r[:, 3] ^ r[:, 4])),
    "uint8": (np.abs(WHOLE).astype(np.uint8), np.abs(WHOLE_B).astype(np.uint8), lambda r: honest(r.astype(np.float64))),
    "int8": (WHOLE.astype(np.int8), WHOLE_B.astype(np.int8), lambda r: honest(r.astype(np.float64))),
    "int64 above 2**53": (
        WHOLE.astype(np.int64) + BIG,
        WHOLE_B.astype(np.int64) + BIG,
        lambda r: honest((r - BIG).astype(np.float64)),
    ),
    "uint64 above 2**63": (
        np.abs(WHOLE).astype(np.uint64) + np.uint64(2**63),
        np.abs(WHOLE_B).astype(np.uint64) + np.uint64(2**63),
        lambda r: honest((r - np.uint64(2**63)).astype(np.float64)),
    ),
    "integer background, float x": (X, WHOLE_B.astype(np.int64), honest),
    "float32 background, float64 x": (X, B.astype(np.float32), honest),
    "bool background, integer x": (WHOLE.astype(np.int32), B > 0, lambda r: honest(r.astype(np.float64))),
    "objects that are numbers": (X.astype(object), B.astype(object), lambda r: honest(r.astype(np.float64))),
    "objects of many kinds": (
        np.array([["a", 1, 2.5, True, None, "z"], ["b", 2, 0.5, False, "x", "z"]], dtype=object),
        np.array([["b", 3, 1.5, True, "x", "y"], ["a", 1, 1.0, True, None, "z"], ["a", 5, 2.0, False, None, "y"]], dtype=object),
        lambda r: (r[:, 0] == "a") * r[:, 1].astype(float) + r[:, 2].astype(float) * (r[:, 4] == None) + (r[:, 5] == "z"),  # noqa: E711
    ),
    "complex": (X + 1j * X[:, ::-1], B + 1j * B[:, ::-1], lambda r: honest(r.real) + r[:, 2].imag),
    "complex x, float background": (X + 1j * X[:, ::-1], B, lambda r: honest(r.real) + r[:, 2].imag),
    "lists of text and numbers": (
        [["a", 1, 0.5], ["b", 2, 1.5]],
        [["b", 3, 0.5], ["a", 2**60 + 1, 2.5]],
        lambda r: (r[:, 0] == "a") * np.array([float(v % 10) for v in r[:, 1]]) + r[:, 2].astype(float),
    ),
    "text": (
        np.array([["a", "long text"], ["b", "c"]]),
        np.array([["b", "d"], ["a", "c"]]),
        lambda r: 1.0 * (r[:, 0] == "a") + (r[:, 1] == "c"),
    ),
    "dates": (
        (np.datetime64("2024-01-01") + np.abs(WHOLE).astype("timedelta64[D]")),
        (np.datetime64("2024-01-01") + np.abs(WHOLE_B).astype("timedelta64[D]")),
        lambda r: honest((r - np.datetime64("2024-01-01")).astype(np.float64)),
    ),
    "lists": (X.tolist(), B.tolist(), honest),
    "a list of rows": (list(X), B, honest),
    "tuples": (tuple(map(tuple, X)), B, honest),
}


@every
@pytest.mark.parametrize("case", DTYPES)
def test_arrays_of_every_dtype_are_explained_right(name, case):
    x, background, predict = DTYPES[case]
    mixed = case == "lists of text and numbers"
    rows, reference = (np.asarray(part, dtype=object if mixed else None) for part in (x, background))
    seen = RecordingModel(predict, keep=True)
    try:
        e = explain(name, seen, background, x)
    except InputError as error:
        assert name == "LIME", error  # noqa: PT017  # the others take every dtype
        return
    wanted = rows.dtype if rows.dtype == reference.dtype or rows.dtype == object else np.result_type(rows, reference)
    assert {batch.dtype.newbyteorder("=") for batch in seen.batches} == {wanted.newbyteorder("=")}
    assert_right(name, predict, rows.astype(wanted), reference.astype(wanted), e)


@every
@pytest.mark.parametrize(
    ("x", "background"),
    [
        (np.array([[2**53 + 1, 0]]), np.array([[0.5, 0.5]])),
        (np.array([[0.5, 0.5]]), np.array([[2**53 + 1, 0]])),
        (np.array([[np.uint64(2**64 - 1), 0]], dtype=np.uint64), np.array([[-1, 0]])),
    ],
)
def test_dtypes_that_no_dtype_holds_exactly_are_refused(name, x, background):
    with pytest.raises(InputError, match="exactly"):
        explain(name, lambda rows: rows[:, 0] * 1.0, background, x)


@every
def test_integer_timestamps_within_an_hour_are_explained_right(name):
    noon = 1_700_000_000_000_000_000  # ns: a spacing of float64 is 256 of them, and isclose takes the hour for a moment
    frame = pd.DataFrame({"at": noon + np.arange(4) * 900_000_000_001, "load": X[:4, 0]})
    background = pd.DataFrame({"at": noon + np.arange(6) * 500_000_000_003, "load": B[:6, 0]})

    def predict(rows):
        return (rows["at"].to_numpy() - noon) / 1e9 * (2.0 + rows["load"].to_numpy())

    e = explain(name, predict, background, frame)
    assert_right(name, predict, frame, background, e)
    if name != "LIME":
        assert (np.abs(e.values[2:, 0]) > 100).all()
    floats = noon / 1e9 + np.linspace(0, 3600, 5)[:, None] + np.zeros((1, 2))

    def seconds(rows):
        return rows[:, 0] - noon / 1e9

    assert_right(name, seconds, floats[3:], floats[:3], explain(name, seconds, floats[:3], floats[3:]), atol=1e-6)


@every
@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values_reach_a_model_that_takes_them(name, hole):
    x, background = X.copy(), B.copy()
    x[1, 0], x[2, 3] = hole, hole
    background[4, 0], background[5, 2], background[6, 3] = hole, hole, hole

    def predict(rows):
        return honest(np.where(np.isfinite(rows), rows, 0.25))

    try:
        e = explain(name, predict, background, x)
    except InputError:
        assert name == "LIME"
        assert np.isinf(hole)
        return
    assert_right(name, predict, x, background, e)


@known
def test_a_missing_value_of_an_unused_feature_does_not_leak(name):
    x, background = X.copy(), B.copy()
    x[:, 5], background[2, 5] = np.nan, np.inf

    def predict(rows):
        return rows[:, 0] * rows[:, 1]

    e = explain(name, predict, background, x)
    assert np.abs(e.values[:, 2:]).max() <= 1e-12
    assert_right(name, predict, x, background, e)


@every
def test_missing_values_that_the_model_refuses_come_out_as_its_own_error(name):
    clf = LinearRegression().fit(B, honest(B))
    x, background = X.copy(), B.copy()
    x[2, 2] = background[1, 2] = np.nan
    with pytest.raises(ValueError, match="NaN") as caught:
        explain(name, clf, background, x)
    assert not isinstance(caught.value, WhyboxError)
    assert "batch of" in " ".join(caught.value.__notes__)
    trees = HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=2).fit(B, honest(B))
    e = explain(name, trees, background, x)
    np.testing.assert_allclose(e.predictions, trees.predict(x))


# --- containers -----------------------------------------------------------------------------------------------------------------------

REFUSED = {
    "no rows": (X[:0], InputError),
    "no rows in a list": ([], InputError),
    "one axis": (X[0], ShapeError),
    "a flat list": ([1.0] * 6, ShapeError),
    "three axes": (X[None], ShapeError),
    "unequal rows": ([[1.0] * 6, [1.0] * 5], ShapeError),
    "a sparse matrix": (scipy.sparse.csr_matrix(X), InputError),
    "a sparse array": (scipy.sparse.csr_array(X), InputError),
    "masked values": (np.ma.masked_less(X, -0.5), InputError),
    "text": ("abcdef", InputError),
    "a dict": ({"a": [1.0]}, InputError),
    "a generator": ((row for row in X), InputError),
    "a number": (1.0, InputError),
    "None": (None, InputError),
    "a DataFrame beside an array": (pd.DataFrame(X), SchemaError),
    "too few columns": (X[:, :5], SchemaError),
    "too many columns": (X[:, [0, 1, 2, 3, 4, 5, 5]], SchemaError),
}


@every
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_is_refused_by_name(name, case):
    x, error = REFUSED[case]
    model = RecordingModel(honest)
    with pytest.raises(error) as caught:
        explain(name, model, B, x)
    assert len(str(caught.value)) > 30
    assert model.n_calls == 0


@every
@pytest.mark.parametrize("background", [X[:0], X[0], None, scipy.sparse.csr_matrix(B), np.ma.masked_less(B, -0.5), [], 3.0])
def test_a_background_that_is_no_table_is_refused_by_name(name, background):
    with pytest.raises(InputError):
        explain(name, honest, background, X)


@every
def test_a_masked_array_without_masked_values_is_an_array(name):
    e = explain(name, honest, np.ma.array(B), np.ma.array(X))
    assert np.array_equal(e.values, explain(name, honest, B, X).values)


# --- DataFrames -----------------------------------------------------------------------------------------------------------------------


def frame_of(numbers):
    """Every kind of column that a raw table may hold."""
    n = len(numbers)
    return pd.DataFrame(
        {
            "city": pd.Series(np.where(numbers[:, 0] > 0, "Łódź", "Oslo"), dtype="str"),
            "size": pd.Categorical(np.where(numbers[:, 1] > 0, "L", "S"), categories=["S", "M", "L"], ordered=True),
            "kids": pd.array([None if v > 1 else int(5 * abs(v)) for v in numbers[:, 2]], dtype="Int64"),
            "owner": pd.array([None if v > 1.2 else bool(v > 0) for v in numbers[:, 3]], dtype="boolean"),
            "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.round(100 * numbers[:, 4]), unit="D"),
            "note": pd.Series([None if v < -1 else "x" if v < 0 else 7 for v in numbers[:, 5]], dtype=object),
            "gap": np.where(numbers[:, 0] > 1, np.nan, numbers[:, 0]),
        },
        index=pd.Index([f"row {i}" for i in range(n)]),
    )


def judge(rows):
    days = (rows["since"] - pd.Timestamp("2024-01-01")).dt.days.to_numpy(dtype=float)
    kids = rows["kids"].to_numpy(dtype=float, na_value=2.5)
    owner = rows["owner"].to_numpy(dtype=float, na_value=0.5)
    note = np.array([0.0 if v is None or v != v else 1.0 if v == "x" else 2.0 for v in rows["note"]])  # NaN
    gap = np.nan_to_num(rows["gap"].to_numpy(), nan=-1.0)
    return (rows["city"] == "Oslo").to_numpy() * kids + (rows["size"] > "S").to_numpy() * owner + 0.01 * days * note + gap


@every
def test_a_raw_dataframe_is_explained_right(name):
    x, background = frame_of(X), frame_of(B[:5])
    before = x.copy(deep=True)
    seen = RecordingModel(judge, keep=True)
    e = explain(name, seen, background, x)
    assert_right(name, judge, x, background, e)
    assert all(batch.dtypes.equals(x.dtypes) for batch in seen.batches)
    pd.testing.assert_frame_equal(x, before)
    assert e.feature_names == tuple(x.columns)


@every
def test_columns_are_matched_by_name(name):
    x, background = frame_of(X), frame_of(B[:5])
    e = explain(name, judge, background, x)
    assert np.array_equal(explain(name, judge, background, x[x.columns[::-1]]).values, e.values)


@every
@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x.drop(columns="kids"),
        lambda x: x.assign(more=1.0),
        lambda x: x.rename(columns={"kids": "Kids"}),
        lambda x: x.set_axis([*x.columns[:-1], "city"], axis=1),
        lambda x: x.assign(size=pd.Categorical(["XXL"] * len(x))),
        lambda x: x.assign(since="yesterday"),
        lambda x: x.assign(kids="two"),
        lambda x: x.to_numpy(),
        lambda x: x["city"],
        lambda x: x.iloc[:0],
    ],
    ids=["missing", "extra", "renamed", "repeated", "unseen category", "text for dates", "text for numbers", "array", "Series", "empty"],
)
def test_frames_that_do_not_match_are_refused_by_name(name, spoil):
    model = RecordingModel(judge)
    with pytest.raises(InputError):
        explain(name, model, frame_of(B[:5]), spoil(frame_of(X)))
    assert model.n_calls == 0


@every
def test_categories_in_another_order_are_the_same_categories(name):
    x, background = frame_of(X), frame_of(B[:5])
    other = x.assign(size=pd.Categorical(x["size"].astype(str), categories=["L", "S"]))
    e = explain(name, judge, background, other)
    assert np.array_equal(e.values, explain(name, judge, background, x).values)


@every
def test_a_pipeline_over_raw_columns_gets_them_by_name(name):
    x, background = (frame_of(rows)[["city", "gap"]].fillna({"gap": 0.0}) for rows in (X, B))
    pipeline = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"), LinearRegression())
    pipeline.fit(background, B[:, 0])
    e = explain(name, pipeline, background, x[["gap", "city"]])
    assert e.feature_names == ("city", "gap")
    assert_right(name, pipeline.predict, x, background, e)
    with pytest.raises(SchemaError):
        explain(name, pipeline, background, x.rename(columns={"gap": "gape"}))


@every
def test_a_model_trained_on_columns_gets_them_from_arrays(name):
    columns = list("abcdef")
    model = LinearRegression().fit(pd.DataFrame(B, columns=columns), honest(B))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scikit-learn warns of missing names
        e = explain(name, model, B, X)
    assert e.feature_names == tuple(columns)
    assert np.array_equal(e.values, explain(name, model, pd.DataFrame(B, columns=columns), pd.DataFrame(X, columns=columns)).values)


def test_the_battery_knows_every_explainer():
    assert set(NAMES) == set(BY_DEFINITION) | {"LIME"}
    assert issubclass(NoisyModelWarning, Warning)
