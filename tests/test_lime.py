"""LIME on tables: against lime, against its own definition with very many samples, and with what tables bring along."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from lime.discretize import DecileDiscretizer, QuartileDiscretizer
from lime.lime_base import LimeBase
from lime.lime_tabular import LimeTabularExplainer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier

from whybox.engine import Engine
from whybox.errors import InputError, OptionError, OutputValueError, SchemaError
from whybox.explainers import ToleranceWarning
from whybox.explainers.lime import LIME, LowFidelityWarning
from whybox.models import as_model
from whybox.samplers.neighborhood import unit_points
from whybox.solvers.control import limit, n_free
from whybox.spaces.neighborhood import Neighborhood
from whybox.typing import Ask

pytestmark = pytest.mark.filterwarnings("ignore::whybox.explainers.lime.LowFidelityWarning")

MODES = ["bins", "gaussian", "gaussian-mean", "c-lime", "glime"]


@pytest.fixture(scope="module")
def cancer():
    data = load_breast_cancer()
    model = GradientBoostingClassifier(random_state=0, n_estimators=30).fit(data.data[:400], data.target[:400])
    return model, data.data[:400], data.data[400:]


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    background = rng.normal(size=(300, 4)) * [1.0, 2.0, 0.5, 10.0] + [0.0, 1.0, 5.0, -3.0]

    def model(x):
        p = 1 / (1 + np.exp(-(x[:, 0] + 0.5 * x[:, 1] * (x[:, 2] - 5) + 0.1 * x[:, 3])))
        return np.column_stack([1 - p, p])

    return model, background, background[:6] + 0.1


def _bound(background, x, **settings):
    return Neighborhood(background, **settings).bind(x, as_model(lambda rows: np.asarray(rows)[:, 0]))


# lime's definition


@pytest.mark.parametrize(("name", "theirs"), [("quartile", QuartileDiscretizer), ("decile", DecileDiscretizer)])
def test_bins_are_limes(cancer, name, theirs):
    _, background, x = cancer
    x = np.concatenate([x, background[:50]])
    bound = _bound(background, x, discretize=name)
    lime = theirs(background, [], [str(j) for j in range(30)])
    assert np.array_equal(bound.points.x_levels, lime.discretize(x))
    for j, column in bound.points.levels.items():
        spread = np.stack([lime.means[j], lime.stds[j], lime.mins[j], lime.maxs[j]], axis=1)
        occupied = column.share[:-1] > 0
        np.testing.assert_allclose(column.spread[:-1][occupied], spread[occupied], rtol=1e-12)


def test_draws_have_limes_distribution(cancer):
    _, background, x = cancer
    bound = _bound(background, x[:1])
    ours = bound.compose(Ask(np.array([0]), unit_points(4000, 30, np.random.default_rng(0))), 0, 4000)
    seen = []

    def spy(rows):
        seen.append(rows.copy())
        return np.column_stack([rows[:, 0] * 0, rows[:, 0] * 0 + 1])

    LimeTabularExplainer(background, random_state=0).explain_instance(x[0], spy, num_samples=4000, num_features=1)
    spread = background.std(axis=0)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        gap = (np.quantile(ours, share, axis=0) - np.quantile(seen[0], share, axis=0)) / spread
        assert np.abs(gap).max() < 0.15
    np.testing.assert_allclose(ours.mean(axis=0), seen[0].mean(axis=0), atol=(5 * spread / 4000**0.5).max())


@pytest.mark.parametrize("mode", ["bins", "gaussian", "gaussian-mean"])
def test_weights_are_limes_on_the_same_samples(small, mode):
    model, background, x = small
    seen = []

    def spy(rows):
        seen.append(np.array(rows))
        return model(rows)

    explainer = LIME(
        spy, background, neighborhood=mode, control="none", sampler="monte-carlo", engine=Engine(batch_size=10_000, controls=False)
    )
    e = explainer.explain(x, target=1, budget=700)
    rows = np.concatenate(seen)
    assert np.array_equal(rows[:6], x)
    drawn = np.broadcast_to(rows[6:].reshape(-1, 700, 4), (6, 700, 4))
    lime = LimeTabularExplainer(background, discretize_continuous=mode == "bins")
    base = LimeBase(lambda distance: np.sqrt(np.exp(-(distance**2) / (0.75 * 2) ** 2)))
    for i in range(6):
        every = np.concatenate([x[i : i + 1], drawn[i]])
        if mode == "bins":
            z = (lime.discretizer.discretize(every) == lime.discretizer.discretize(x[i])).astype(float)
        else:
            z = (every - background.mean(axis=0)) / background.std(axis=0)
        distance = np.linalg.norm(z - z[0], axis=1)
        intercept, weights, score, local = base.explain_instance_with_data(z, model(every), distance, 1, 4, "none")
        np.testing.assert_allclose(e.values[i], [weight for _, weight in sorted(weights)], atol=1e-8)
        np.testing.assert_allclose([e.intercept[i], e.score[i], e.local_pred[i]], [intercept, score, local[0]], atol=1e-8)


def test_the_limit_is_limes(cancer):
    """lime with 60,000 samples of its own, and the definition solved by independence of the features: the same numbers."""
    model, background, x = cancer
    bound = _bound(background, x[:2])
    codes = unit_points(60_000, 30, np.random.default_rng(1))
    y = model.predict_proba(bound.compose(Ask(np.array([0]), codes), 0, len(codes)))[:, 1:]
    values, _, error = limit(bound.points.level_of(codes), y, bound.points.shares, bound.points.x_levels, bound.width)
    lime = LimeTabularExplainer(background, random_state=0, feature_selection="none")
    for i in range(2):
        theirs = dict(lime.explain_instance(x[i], model.predict_proba, num_features=30, num_samples=60_000).local_exp[1])
        gap = np.array([theirs[j] for j in range(30)]) - values[i, :, 0]
        assert (np.abs(gap) < 8 * error[i, :, 0] + 1e-3).all()
        assert np.corrcoef([theirs[j] for j in range(30)], values[i, :, 0])[0, 1] > 0.99


def test_two_probabilities_have_opposite_answers_and_those_of_each_alone(cancer):
    """The surrogate of one of them is the other's as well, and so is what it says with infinitely many samples."""
    model, background, x = cancer
    both = LIME(model, background).explain(x[:3], target=None, seed=0)
    np.testing.assert_allclose(both.values[..., 0], -both.values[..., 1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(both.std_error[..., 0], both.std_error[..., 1], rtol=1e-9)
    np.testing.assert_allclose(both.intercept.sum(axis=-1), 1.0, atol=1e-12)
    alone = LIME(lambda rows: model.predict_proba(rows)[:, 1], background).explain(x[:3], seed=0)
    np.testing.assert_allclose(both.values[..., 1], alone.values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(both.std_error[..., 1], alone.std_error, rtol=1e-9)


def test_the_control_variate_has_the_same_limit_and_less_error(cancer):
    model, background, x = cancer
    x = x[:5]
    bound = _bound(background, x)
    codes = unit_points(150_000, 30, np.random.default_rng(5))
    y = model.predict_proba(bound.compose(Ask(np.array([0]), codes), 0, len(codes)))[:, 1:]
    truth = limit(bound.points.level_of(codes), y, bound.points.shares, bound.points.x_levels, bound.width)[0][..., 0]
    found = {}
    for control in ("auto", "none"):
        explained = [LIME(model, background, control=control).explain(x, seed=s, target=1, budget=1000) for s in range(3)]
        values, error = np.array([e.values for e in explained]), np.array([e.std_error for e in explained])
        found[control] = np.sqrt(((values - truth) ** 2).mean())
        inside = (np.abs(values - truth) < 1.96 * error).mean()
        assert 0.88 < inside <= 0.995, (control, inside)
    assert found["auto"] < 0.5 * found["none"]
    assert explained[0].estimator == "ridge"
    assert LIME(model, background).explain(x, target=1, budget=1000).estimator == "ridge with control variate"


def test_a_useless_surrogate_does_no_harm(small):
    _, background, x = small

    def hash_of(rows):
        return np.modf(np.sin(rows @ np.array([12.9, 78.2, 37.7, 94.6])) * 43758.5)[0]

    plain = LIME(hash_of, background, control="none").explain(x, target=None, budget=800)
    ours = LIME(hash_of, background).explain(x, target=None, budget=800)
    assert np.median(ours.std_error / plain.std_error) < 1.1
    np.testing.assert_allclose(ours.values, plain.values, atol=(5 * plain.std_error).max())


@pytest.mark.parametrize("mode", ["gaussian", "gaussian-mean", "c-lime", "glime"])
def test_linear_models_are_recovered(mode):
    rng = np.random.default_rng(0)
    background, slope = rng.normal(size=(200, 5)) * [1, 10, 0.1, 3, 5], np.array([1.0, -0.2, 30.0, 0.0, 0.4])
    explainer = LIME(lambda rows: rows @ slope, background, neighborhood=mode, solver="least_squares")
    e = explainer.explain(background[:3], target=None, budget=200)
    np.testing.assert_allclose(e.values, np.broadcast_to(slope * background.std(axis=0), (3, 5)), atol=1e-8)
    np.testing.assert_allclose(e.score, 1.0, atol=1e-12)
    np.testing.assert_allclose(e.local_pred, e.predictions, atol=1e-8)


def test_raw_units_give_the_gradient():
    background = np.random.default_rng(0).normal(size=(100, 2)) * [1, 100]
    space = Neighborhood(background, discretize=None, units="raw", scale=1e-3, kernel_width=np.inf)
    e = LIME(lambda rows: rows[:, 0] ** 2 + rows[:, 1], space=space, solver="least_squares").explain([[3.0, 50.0]], target=None, budget=400)
    np.testing.assert_allclose(e.values, [[6.0, 1.0]], rtol=1e-4)


def test_glime_and_weighted_lime_have_the_same_limit(small):
    model, background, x = small
    for bins in ({"discretize": None}, {"discretize": "quartile"}):
        found = []
        for sampling in ("prior", "kernel"):
            space = Neighborhood(background, kernel_width=0.6, sampling=sampling, **bins)
            found.append(LIME(model, space=space, control="none").explain(x, target=1, budget=20_000))
        error = np.hypot(found[0].std_error, found[1].std_error)
        assert (np.abs(found[0].values - found[1].values) < 4 * error).all()
        assert error.max() < 0.05


# contracts


@pytest.mark.parametrize("mode", MODES)
def test_same_seed_same_bits_and_another_seed_other_queries(small, mode):
    model, background, x = small
    explainer = LIME(model, background, neighborhood=mode)
    first, second, other = (explainer.explain(x, seed=s, budget=250) for s in (3, 3, 4))
    assert np.array_equal(first.values, second.values)
    assert np.array_equal(first.std_error, second.std_error)
    assert not np.array_equal(first.values, other.values)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", ["predicted", None])
def test_subset_gives_subset(small, mode, target):
    model, background, x = small
    explainer = LIME(model, background, neighborhood=mode)
    whole = explainer.explain(x, budget=250, target=target)
    for keep in ([2], [4, 1], [0, 1, 2, 3, 5]):
        part = explainer.explain(x[keep], budget=250, target=target)
        for name in ("values", "std_error", "score", "intercept", "local_pred"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[keep]), name


@pytest.mark.parametrize("mode", ["bins", "gaussian"])
def test_a_tolerance_is_met_row_by_row(small, mode):
    model, background, x = small
    explainer = LIME(model, background, neighborhood=mode, control="none")
    loose = explainer.explain(x, budget=500)
    tol = float(loose.std_error.max() / 2)
    with pytest.warns(ToleranceWarning, match="raise budget"):
        explainer.explain(x, tol=tol / 100, budget=500)
    e = explainer.explain(x, tol=tol)
    assert e.std_error.max() <= tol
    assert e.n_queries > loose.n_queries
    assert np.array_equal(explainer.explain(x[3:4], tol=tol).values[0], e.values[3])


def test_rows_share_their_samples(cancer):
    model, background, x = cancer
    e = LIME(model, background, engine=Engine(controls=False)).explain(x[:40], budget=500)
    assert e.n_queries == 540


def test_batch_size_changes_nothing(small):
    model, background, x = small
    found = [LIME(model, background, engine=Engine(batch_size=b), control="none").explain(x, budget=300).values for b in (7, 64, 1000)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_copies_of_a_row_cost_no_more_than_one(small):
    model, background, x = small
    explainer = LIME(model, background, neighborhood="gaussian", engine=Engine(controls=False))
    e = explainer.explain(np.repeat(x[:1], 9, axis=0), budget=300)
    assert e.n_queries == 301
    assert (e.values == e.values[0]).all()
    assert e.conditions is None


def test_global_generators_and_inputs_are_untouched(small):
    model, background, x = small
    background, x = background.copy(), x.copy()
    background.flags.writeable = x.flags.writeable = False
    np.random.seed(7)  # the global generator is what this is about
    LIME(model, background).explain(x, budget=150)
    assert np.random.random() == np.random.RandomState(7).random()


def test_only_chosen_features_have_weights(cancer):
    model, background, x = cancer
    e = LIME(model, background, num_features=5).explain(x[:3], budget=300)
    assert ((e.values != 0).sum(axis=1) == 5).all()
    assert ((e.std_error > 0) == (e.values != 0)).all()
    assert len(e[0].as_list()) == 5


def test_each_row_explains_its_own_class(small):
    model, background, x = small
    own = LIME(model, background).explain(x, budget=400)
    every = LIME(model, background).explain(x, budget=400, target=None)
    assert every.values.shape == (6, 4, 2)
    for i, label in enumerate(model(x).argmax(axis=1)):
        np.testing.assert_allclose(own.values[i], every.values[i, :, label], rtol=1e-9)
    np.testing.assert_allclose(every.values[..., 0], -every.values[..., 1], atol=1e-6)


def test_results_are_saved_with_their_conditions(small, tmp_path):
    model, background, x = small
    e = LIME(model, background).explain(x, budget=150)
    assert "feature 0" in e.conditions[0, 0]
    assert json.dumps(dict(e.settings))
    e.save(tmp_path / "lime.npz")
    again = type(e).load(tmp_path / "lime.npz")
    assert np.array_equal(again.values, e.values)
    assert again[0].as_list() == e[0].as_list()


def test_low_fidelity_is_said(small):
    _, background, x = small
    with pytest.warns(LowFidelityWarning, match="R2 is below 0.9 for 6 of 6 rows"):
        LIME(lambda rows: np.sin(20 * rows[:, 0]), background, min_score=0.9).explain(x, target=None, budget=300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LIME(lambda rows: np.sin(20 * rows[:, 0]), background, min_score=None).explain(x, target=None, budget=300)


@pytest.mark.parametrize("options", [{"kernel_width": 1e-3}, {"kernel_width": 1e-3, "neighborhood": "gaussian"}])
def test_samples_without_weight_are_said(small, options):
    _, background, x = small
    with pytest.warns(LowFidelityWarning, match="6 of 6 rows .*the penalty decides"):
        e = LIME(lambda rows: rows[:, 0], background, **options).explain(x, target=None, budget=300)
    assert np.abs(e.values).max() < 1e-6  # although the slope is 1, and with an R2 of 1
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        LIME(lambda rows: rows[:, 0], background, neighborhood="glime", kernel_width=0.1).explain(x, target=None, budget=300)
    assert not any("penalty" in str(warning.message) for warning in found)


# tables


@pytest.mark.parametrize("dtype", ["float32", "float64", "Float32", "Float64"])
@pytest.mark.parametrize("neighborhood", ["bins", "gaussian", "glime"])
def test_the_model_gets_floats_of_its_own_dtype(dtype, neighborhood):
    background = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["a", "b"]).astype(dtype)
    seen = set()

    def model(rows):
        seen.update(map(str, rows.dtypes))
        return rows["a"].to_numpy(float)

    LIME(model, background, neighborhood=neighborhood).explain(background[:1], budget=100)
    assert seen == {dtype}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    n = 400
    return pd.DataFrame(
        {
            "age": pd.array(np.where(rng.random(n) < 0.1, None, rng.integers(18, 80, n)), dtype="Int64"),
            "job": rng.choice(["nurse", "cook", None], n, p=[0.5, 0.4, 0.1]),
            "kind": pd.Categorical(rng.choice(["a", "b", "c"], n), categories=["c", "b", "a", "never"]),
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 3600, n), unit="s"),
            "member": rng.random(n) < 0.5,
            "income": np.where(rng.random(n) < 0.2, np.nan, rng.lognormal(size=n)),
            "stamp": rng.integers(0, 3600, n) + 1_700_000_000_000_000_000,
        }
    )


def _score(rows):
    return (
        (rows["job"] == "nurse").fillna(False).astype(float)
        + 0.5 * (rows["kind"] == "a")
        + rows["income"].isna()
        + 0.2 * rows["member"]
        + 0.3 * rows["age"].isna().astype(float)
        + (rows["when"] > pd.Timestamp("2020-01-01 00:30")).astype(float)
        + (rows["stamp"] > 1_700_000_000_000_001_800).astype(float)
    ).to_numpy(dtype=float)


def test_raw_columns_reach_the_model_as_they_are(frame):
    def model(rows):
        assert list(rows.columns) == list(frame.columns)
        assert (rows.dtypes == frame.dtypes).all()
        assert set(rows["job"].dropna().unique()) <= {"nurse", "cook"}
        assert set(rows["age"].dropna()) <= set(frame["age"].dropna())
        return _score(rows)

    e = LIME(model, frame).explain(frame.iloc[:20], budget=4000)
    assert e.feature_names == tuple(frame.columns)
    sign = dict(zip(e.feature_names, range(7), strict=True))
    nurse = (frame["job"].iloc[:20] == "nurse").fillna(False).to_numpy(dtype=bool)
    assert (np.sign(e.values[:, sign["job"]]) == np.where(nurse, 1, -1)).all()
    np.testing.assert_allclose(e.values[nurse, sign["job"]], 1.0, atol=0.05)
    missing = frame["income"].iloc[:20].isna().to_numpy()
    np.testing.assert_allclose(e.values[missing, sign["income"]], 1.0, atol=0.05)
    assert "income is missing" in e.conditions[missing][0]
    member = frame["member"].iloc[:20].to_numpy()
    np.testing.assert_allclose(e.values[:, sign["member"]], np.where(member, 0.2, -0.2), atol=0.03)


def test_columns_of_a_frame_may_come_in_another_order(frame):
    explainer = LIME(_score, frame)
    e, turned = explainer.explain(frame.iloc[:3], budget=150), explainer.explain(frame.iloc[:3, ::-1], budget=150)
    assert np.array_equal(e.values, turned.values)


def test_a_value_that_the_background_lacks_is_a_named_error(frame):
    new = frame.iloc[:1].copy()
    new["job"] = "pilot"
    with pytest.raises(SchemaError, match="pilot"):
        LIME(_score, frame).explain(new, budget=300)
    with pytest.raises(SchemaError, match="nan"):
        LIME(_score, frame.dropna()).explain(frame[frame["income"].isna()].iloc[:1], budget=300)


HAS_ARROW = importlib.util.find_spec("pyarrow") is not None
DAYS = pd.date_range("2020-01-01", periods=401)


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (DAYS, "t <= 2020-04-10"),
        (DAYS.as_unit("s"), "t <= 2020-04-10"),
        (DAYS.tz_localize("Europe/Berlin"), "t <= 2020-04-10"),
        (DAYS.date, "t <= 2020-04-10"),
        (DAYS.astype("timestamp[ns][pyarrow]") if HAS_ARROW else DAYS, "t <= 2020-04-10"),
        (pd.date_range("9000-01-01", periods=401, freq="2D", unit="s"), "t <= 9000-07-20"),
        (pd.date_range("2020-01-01 10:00", periods=41, freq="7h"), "t <= 2020-01-04 08:00"),
        (pd.date_range("2020-01-01 10:00", periods=41, freq="7s"), "t <= 2020-01-01 10:01:10"),
        (pd.date_range("2020-01-01 10:00", periods=41, freq="7us"), "t <= 2020-01-01 10:00:00.000070"),
        (pd.date_range("2020-01-01 10:00", periods=41, freq="7us").as_unit("ns"), "t <= 2020-01-01 10:00:00.000070"),
        (pd.to_timedelta(np.arange(41), "D"), "t <= 10 days"),
        (pd.to_timedelta(np.arange(41), "h"), "t <= 10:00:00"),
        (np.arange(41.0), "t <= 10"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.dtype),
)
def test_conditions_on_moments_are_written_as_moments(values, first):
    frame = pd.DataFrame({"t": values})
    e = LIME(lambda rows: np.zeros(len(rows)), frame).explain(frame, budget=100)
    said = list(dict.fromkeys(e.conditions[:, 0]))
    assert said[0] == first
    assert len(said) == 4
    assert not any("e+" in text for text in said)


def test_normal_noise_for_dates_is_refused(frame):
    with pytest.raises(InputError, match="when"):
        LIME(_score, frame[["when"]], neighborhood="gaussian").explain(frame[["when"]].iloc[:1])


def test_numbers_can_be_declared_categories():
    rng = np.random.default_rng(0)
    background = np.column_stack([rng.integers(0, 3, 300), rng.normal(size=300)]).astype(float)
    space = Neighborhood(background, categorical=[0])
    e = LIME(lambda rows: (rows[:, 0] == 2) * 3.0, space=space).explain([[2.0, 0.0], [0.0, 0.0]], target=None, budget=3000)
    assert abs(e.values[0, 0] - 3) < 0.05
    assert e.conditions[0, 0] is None
    mixed = Neighborhood(background, categorical=[0], discretize=None)
    e = LIME(lambda rows: (rows[:, 0] == 2) * 3.0 + rows[:, 1], space=mixed).explain([[2.0, 0.0]], target=None, budget=3000)
    np.testing.assert_allclose(e.values[0], [3.0, background[:, 1].std()], atol=0.05)


def test_discrete_rows_are_sent_once():
    background = np.random.default_rng(0).integers(0, 2, (100, 4))
    e = LIME(lambda rows: rows.sum(axis=1).astype(float), background, engine=Engine(controls=False)).explain(
        background[:3], target=None, budget=5000
    )
    assert e.n_queries <= 19  # 3 rows and 2**4 others


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, object])
def test_other_dtypes_agree_with_float64(dtype):
    rng = np.random.default_rng(0)
    background = rng.integers(0, 50, (200, 3)).astype(dtype)
    e = LIME(lambda rows: np.asarray(rows, dtype=float) @ np.ones(3), background, control="none")
    e = e.explain(background[:2], target=None, budget=4000)
    plain = LIME(lambda rows: rows @ np.ones(3), background.astype(float), control="none")
    plain = plain.explain(background[:2].astype(float), target=None, budget=4000)
    np.testing.assert_allclose(e.values, plain.values, atol=1.0)  # integers are drawn from the data, floats from normals


def test_torch_tensors_are_explained_where_they_are():
    torch = pytest.importorskip("torch")
    background = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))

    def model(rows):
        assert isinstance(rows, torch.Tensor)
        assert rows.dtype == torch.float32
        return rows.sum(dim=1)

    e = LIME(model, background, control="none").explain(background[:2], target=None, budget=500)
    plain = LIME(lambda rows: rows.sum(axis=1), background.numpy(), control="none")
    plain = plain.explain(background[:2].numpy(), target=None, budget=500)
    np.testing.assert_allclose(e.values, plain.values, atol=1e-4)


def test_constant_duplicated_and_single_features():
    rng = np.random.default_rng(0)
    column = rng.normal(size=200)
    background = np.column_stack([column, np.full(200, 1e9), column])
    e = LIME(lambda rows: rows[:, 0] + rows[:, 1], background).explain(background[:3], target=None, budget=400)
    assert (e.values[:, 1] == 0).all()
    assert np.isfinite(e.values).all()
    one = LIME(lambda rows: rows[:, 0], background[:, :1], neighborhood="gaussian").explain(background[:3, :1], target=None, budget=400)
    np.testing.assert_allclose(one.values, column.std(), rtol=0.02)
    lone = LIME(lambda rows: rows[:, 0], background[:1]).explain(background[:1], target=None, budget=50)
    assert np.array_equal(lone.values, np.zeros((1, 3)))


def test_many_features_fit_in_memory():
    background = np.random.default_rng(0).normal(size=(50, 1000))
    e = LIME(lambda rows: rows[:, 0], background, neighborhood="c-lime").explain(background[:2], target=None, budget=300)
    assert e.values.shape == (2, 1000)
    assert (np.abs(e.values).argmax(axis=1) == 0).all()


# faults


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"neighborhood": "ball"}, "neighborhood"),
        ({"discretize": 1}, "discretize"),
        ({"discretize": "entropy"}, "discretize"),
        ({"kernel_width": 0.0}, "kernel_width"),
        ({"sampler": "sobol"}, "sampler"),
        ({"num_features": 0}, "num_features"),
        ({"feature_selection": "best"}, "feature_selection"),
        ({"solver": "forest"}, "solver"),
        ({"alpha": -1.0}, "alpha"),
        ({"control": True}, "control"),
    ],
)
def test_bad_settings_are_refused_at_once(small, settings, match):
    with pytest.raises(OptionError, match=match):
        LIME(small[0], small[1], **settings)


def test_background_and_space_exclude_one_another(small):
    model, background, _ = small
    with pytest.raises(OptionError, match="not both"):
        LIME(model)
    with pytest.raises(OptionError, match="not both"):
        LIME(model, background, space=Neighborhood(background))
    with pytest.raises(OptionError, match="Neighborhood"):
        LIME(model, space=object())


@pytest.mark.parametrize("budget", [0, 1, 2.5, True, "many"])
def test_bad_budgets_are_refused(small, budget):
    with pytest.raises(OptionError, match="budget"):
        LIME(small[0], small[1]).explain(small[2], budget=budget)


@pytest.mark.parametrize("x", [np.empty((0, 4)), np.zeros(4), np.zeros((2, 3)), None])
def test_bad_rows_are_refused(small, x):
    with pytest.raises(InputError):
        LIME(small[0], small[1]).explain(x)


def test_infinite_values_are_refused(small):
    model, background, x = small
    x = x.copy()
    x[0, 1] = np.inf
    with pytest.raises(InputError, match="infinite"):
        LIME(model, background).explain(x)


def test_nan_outputs_are_refused_or_skipped_and_counted(small):
    _, background, x = small

    def model(rows):
        return np.where(rows[:, 0] > 1.5, np.nan, rows[:, 1])

    with pytest.raises(OutputValueError):
        LIME(model, background).explain(x[x[:, 0] < 1], target=None, budget=300)
    e = LIME(model, background, engine=Engine(on_nan="skip")).explain(x[x[:, 0] < 1], target=None, budget=300)
    assert np.isfinite(e.values).all()
    assert e.stats.n_nan > 0


def test_a_checkpoint_keeps_what_was_paid(small, tmp_path):
    model, background, x = small
    calls = []

    def dies(rows):
        calls.append(len(rows))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return model(rows)

    explainer = LIME(dies, background, engine=Engine(batch_size=50, controls=False))
    with pytest.raises(KeyboardInterrupt):
        explainer.explain(x, budget=190, checkpoint=tmp_path / "log")
    e = explainer.explain(x, budget=190, checkpoint=tmp_path / "log")
    assert e.stats.n_resumed > 0
    assert np.array_equal(e.values, LIME(model, background).explain(x, budget=190).values)


def test_settings_are_frozen(small):
    explainer = LIME(small[0], small[1])
    with pytest.raises(dataclasses.FrozenInstanceError):
        explainer.alpha = 2.0


def test_a_row_has_the_same_bits_at_every_place():
    """Kernels of float32 products treat the 9th column of a block otherwise than the first."""
    x = np.random.default_rng(0).normal(size=(30, 5))
    explainer = LIME(lambda rows: np.tanh(rows[:, 0]) * rows[:, 1] + rows[:, 2], x, min_score=None)
    among, alone = explainer.explain(x[:12], budget=250), explainer.explain(x[8:12], budget=250)
    assert np.array_equal(among.values[8:], alone.values)
    assert np.array_equal(among.std_error[8:], alone.std_error)


def test_the_only_output_of_a_function_has_no_number(small):
    _, background, x = small
    for target in ("predicted", 0):
        e = LIME(lambda rows: rows[:, 0], background).explain(x[:1], target=target, budget=100)
        assert e.target_index is None
        assert "output" not in e.to_text()
        assert e.as_list(1) == e.as_list()


@pytest.mark.parametrize(("m", "levels", "points"), [(500, 120, 48_000), (5000, 120, 120_000), (5000, 800, 6_250), (5000, 2000, 4_000)])
def test_many_levels_take_fewer_free_points(m, levels, points):
    """The work of the surrogate's own answer is their number by the square of the levels."""
    assert n_free(m, levels) == points
