"""as_model: what each library's models become, and what is refused by name."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

from whybox.errors import InputError, OptionError, SchemaError
from whybox.models import as_model, is_out_of_memory
from whybox.typing import Model

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(60, 4))


@pytest.fixture(scope="module")
def labels(x):
    return np.array(["low", "mid", "high"])[np.digitize(x[:, 0] + x[:, 1], [-0.6, 0.6])]


@pytest.fixture(scope="module")
def frame(x):
    return pd.DataFrame(x, columns=["a", "b", "c", "d"])


class Watched(ClassifierMixin, BaseEstimator):
    """A classifier that keeps what it was called with."""

    def fit(self, rows, y):
        self.classes_ = np.unique(y)
        self.seen_ = []
        return self

    def predict_proba(self, rows):
        self.seen_.append(rows)
        return np.full((len(rows), len(self.classes_)), 1 / len(self.classes_))


class PredictOnly(ClassifierMixin, BaseEstimator):
    def fit(self, rows, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, rows):
        return np.full(len(rows), self.classes_[0])


# functions


def test_a_function_is_called_itself():
    def total(rows):
        return rows.sum(axis=1)

    model = as_model(total)
    assert model.predict is total
    assert model.name.endswith("total")
    assert (model.kind, model.output_names, model.place, model.feature_names, model.max_batch) == ("unknown", None, None, None, None)
    assert as_model(functools.partial(total)).name.endswith("total")
    assert as_model(total, output="probability").kind == "probability"


def test_a_function_has_an_identity_only_if_it_is_given():
    assert as_model(np.sum).identity() is None
    assert as_model(np.sum, version="v7").identity() == "v7"


@pytest.mark.parametrize("bad", [LogisticRegression, 3, "model", None, {"predict": 1}])
def test_what_is_no_model_is_refused_by_name(bad):
    with pytest.raises(InputError, match="model: expected"):
        as_model(bad)


def test_async_and_generator_functions_are_refused():
    async def later(rows):
        return rows

    def one_by_one(rows):
        yield from rows

    for bad in (later, one_by_one):
        with pytest.raises(InputError, match="async or generator"):
            as_model(bad)


@pytest.mark.parametrize(
    "options",
    [{"max_batch": 0}, {"max_batch": True}, {"max_batch": 2.0}, {"output": "logit"}, {"output_names": "yes"}, {"output_names": []}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        as_model(np.sum, **options)


@pytest.mark.parametrize("obj", [np.sum, LinearRegression().fit([[0.0], [1.0]], [0, 1]), Model(predict=np.sum)])
def test_device_and_dtype_are_refused_where_there_is_none(obj):
    with pytest.raises(OptionError, match="torch"):
        as_model(obj, device="cpu")


def test_a_model_comes_back_with_options_applied():
    model = Model(predict=np.sum, kind="value", max_batch=3)
    assert as_model(model) is model
    changed = as_model(model, max_batch=np.int64(8), output_names=np.array(["p", "q"]), name="m", version="1")
    assert (changed.predict, changed.max_batch, changed.output_names, changed.name, changed.fingerprint) == (
        np.sum,
        8,
        ("p", "q"),
        "m",
        "1",
    )
    with pytest.raises(OptionError, match="kind 'value'"):
        as_model(model, output="probability")


def test_adapters_import_no_library_that_the_caller_did_not():
    code = (
        "import sys, whybox.models as m; m.as_model(len);"
        "print([n for n in ('torch', 'sklearn', 'pandas', 'xgboost', 'lightgbm', 'joblib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# scikit-learn


def test_a_classifier_answers_with_probabilities_named_by_class(x, labels):
    clf = LogisticRegression().fit(x, labels)
    model = as_model(clf)
    assert (model.kind, model.output_names, model.name) == ("probability", ("high", "low", "mid"), "LogisticRegression")
    assert np.array_equal(model.predict(x), clf.predict_proba(x))


def test_decision_values_are_named_by_class_and_by_the_second_of_two(x, labels):
    clf = LogisticRegression().fit(x, labels)
    model = as_model(clf, output="decision")
    assert (model.kind, model.output_names) == ("decision", ("high", "low", "mid"))
    assert np.array_equal(model.predict(x), clf.decision_function(x))
    two = as_model(LogisticRegression().fit(x, labels == "low"), output="decision")
    assert two.output_names == ("True",)
    assert two.predict(x).shape == (60,)


def test_auto_takes_decision_values_where_there_are_no_probabilities(x, labels):
    assert as_model(LinearSVC().fit(x, labels)).kind == "decision"
    assert as_model(IsolationForest(n_estimators=3, random_state=0).fit(x)).kind == "decision"
    assert as_model(GaussianMixture(2, random_state=0).fit(x)).kind == "probability"


def test_pairwise_decisions_get_no_class_names(x):
    four = np.digitize(x[:, 0], [-0.7, 0.0, 0.7])
    model = as_model(SVC(decision_function_shape="ovo").fit(x, four))
    assert model.predict(x).shape == (60, 6)
    assert model.output_names is None


def test_a_regressor_answers_with_its_value_and_keeps_every_output(x):
    one, two = LinearRegression().fit(x, x[:, 0]), LinearRegression().fit(x, x[:, :2])
    assert as_model(one).kind == "value"
    assert as_model(one).output_names is None
    assert as_model(two, output="value").predict(x).shape == (60, 2)
    with pytest.raises(OptionError, match="it has 'value'"):
        as_model(one, output="probability")


def test_several_targets_stand_side_by_side(x, labels):
    both = np.column_stack([labels, np.where(x[:, 2] > 0, "up", "down")])
    clf = RandomForestClassifier(3, random_state=0).fit(x, both)
    model = as_model(clf)
    assert model.output_names == ("0=high", "0=low", "0=mid", "1=down", "1=up")
    first, second = clf.predict_proba(x)
    assert np.array_equal(model.predict(x), np.hstack([first, second]))


def test_pipelines_and_searches_are_seen_through(x, frame, labels):
    pipe = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, labels)
    search = GridSearchCV(pipe, {"logisticregression__C": [0.1, 1.0]}, cv=2).fit(frame, labels)
    for obj in (pipe, search):
        model = as_model(obj)
        assert (model.kind, model.output_names) == ("probability", ("high", "low", "mid"))
        assert (model.feature_names, model.wants_frame) == (("a", "b", "c", "d"), True)


def test_a_classifier_with_predict_only_is_refused_with_a_way_out(x, labels):
    clf = PredictOnly().fit(x, labels)
    with pytest.raises(InputError, match=r"predict only.*CalibratedClassifierCV"):
        as_model(clf)
    assert as_model(clf.predict).kind == "label"


@pytest.mark.parametrize("make", [lambda x: KMeans(2, n_init=1, random_state=0).fit(x), lambda x: StandardScaler().fit(x)])
def test_clusterers_and_transformers_are_refused(make, x):
    with pytest.raises(InputError, match="pass a fitted model or a function"):
        as_model(make(x))


@pytest.mark.parametrize("make", [LogisticRegression, lambda: make_pipeline(StandardScaler(), LogisticRegression()), LinearRegression])
def test_unfitted_estimators_are_refused(make):
    with pytest.raises(InputError, match="not fitted"):
        as_model(make())


def test_construction_makes_no_call_and_a_raw_frame_reaches_the_model_as_it_is():
    raw = pd.DataFrame(
        {
            "text": ["a", "b", None],
            "category": pd.Categorical(["u", "v", "u"], categories=["v", "u", "w"], ordered=True),
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "date": pd.to_datetime(["2020-01-01", "2021-06-01", None]),
            "number": [1.0, np.nan, 3.0],
        }
    )
    clf = Watched().fit(raw, [0, 1, 0])
    model = as_model(clf)
    assert clf.seen_ == []
    model.predict(raw)
    assert clf.seen_[0] is raw


def test_a_pipeline_takes_raw_string_columns():
    raw = pd.DataFrame({"town": ["x", "y", "x", "z"] * 5, "size": np.arange(20.0)})
    encode = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    model = as_model(make_pipeline(encode, HistGradientBoostingClassifier(max_iter=2)).fit(raw, raw.index % 2))
    assert model.wants_frame
    assert model.feature_names == ("town", "size")
    assert model.predict(raw).shape == (20, 2)


def test_only_models_fitted_on_a_frame_want_one(x, frame, labels):
    on_array = as_model(LogisticRegression().fit(x, labels))
    assert (on_array.feature_names, on_array.wants_frame) == (None, False)
    on_frame = as_model(LogisticRegression().fit(frame, labels))
    assert (on_frame.feature_names, on_frame.wants_frame) == (("a", "b", "c", "d"), True)


def test_methods_of_an_estimator_bring_its_names_along(frame, labels):
    clf = LogisticRegression().fit(frame, labels)
    proba, log, decision = as_model(clf.predict_proba), as_model(clf.predict_log_proba), as_model(clf.decision_function)
    assert [m.kind for m in (proba, log, decision)] == ["probability", "unknown", "decision"]
    assert all(m.output_names == ("high", "low", "mid") and m.wants_frame for m in (proba, log, decision))
    assert np.array_equal(log.predict(frame), clf.predict_log_proba(frame))
    assert as_model(LinearRegression().fit(frame, frame["a"]).predict).kind == "value"
    with pytest.raises(OptionError, match="predict_proba"):
        as_model(clf.predict_proba, output="decision")


def test_identity_survives_a_round_trip_and_changes_with_a_refit(x, labels):
    clf = HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(x, labels)
    before = as_model(clf).identity()
    assert before is not None
    assert as_model(pickle.loads(pickle.dumps(clf))).identity() == before
    clf.predict_proba(x)
    assert as_model(clf).identity() == before
    assert as_model(clf, output="decision").identity() != before
    assert as_model(clf.fit(x, labels[::-1])).identity() != before


def test_what_cannot_be_pickled_has_no_identity(x, labels):
    clf = Watched().fit(x, labels)
    clf.hook = lambda: None
    assert as_model(clf).identity() is None


def test_models_can_be_pickled(x, labels):
    clf = LogisticRegression().fit(x, labels)
    for model in (as_model(clf), as_model(torch.nn.Linear(4, 2)), as_model(np.sum)):
        again = pickle.loads(pickle.dumps(model))
        assert np.array_equal(np.asarray(again.predict(x)), np.asarray(model.predict(x)))


# XGBoost and LightGBM


def _categorical(labels):
    rng = np.random.default_rng(1)
    town = pd.Categorical.from_codes(rng.integers(0, 3, len(labels)), ["x", "y", "z"])
    return pd.DataFrame({"town": town, "size": np.where(rng.random(len(labels)) < 0.1, np.nan, rng.normal(size=len(labels)))})


def test_lightgbm_takes_categories_and_gives_its_margin(x, labels):
    lgb = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    raw = _categorical(labels)
    clf = lgb.LGBMClassifier(n_estimators=3, min_child_samples=2, verbose=-1).fit(raw, labels)
    model = as_model(clf)
    assert (model.kind, model.output_names, model.feature_names, model.wants_frame) == (
        "probability",
        ("high", "low", "mid"),
        ("town", "size"),
        True,
    )
    assert np.array_equal(model.predict(raw), clf.predict_proba(raw))
    assert np.array_equal(as_model(clf, output="decision").predict(raw), clf.predict(raw, raw_score=True))
    on_array = as_model(lgb.LGBMRegressor(n_estimators=2, min_child_samples=2, verbose=-1).fit(x, x[:, 0]))
    assert (on_array.kind, on_array.wants_frame) == ("value", False)
    booster = as_model(clf.booster_)
    assert booster.kind == "unknown"
    assert booster.predict(raw).shape == (60, 3)


def test_column_names_that_lightgbm_made_up_are_not_asked_for():
    class Old(BaseEstimator):  # as LightGBM before 4.7, which has feature_names_in_ without having seen names
        __module__ = "lightgbm.sklearn"

        def fit(self, rows, y):
            raise AssertionError("not needed here")

        def __sklearn_is_fitted__(self):
            return True

        def predict(self, rows):
            return rows[:, 0]

    old = Old()
    old.feature_names_in_ = np.array(["Column_0", "Column_1"])
    assert (as_model(old).feature_names, as_model(old).wants_frame) == (None, False)
    old.feature_names_in_ = np.array(["Column_0", "size"])
    assert as_model(old).wants_frame


def test_xgboost_takes_categories_and_gives_its_margin(x, labels):
    xgb = pytest.importorskip("xgboost", reason="xgboost is not installed")
    raw = _categorical(labels)
    clf = xgb.XGBClassifier(n_estimators=3, n_jobs=1, enable_categorical=True).fit(raw, labels == "low")
    model = as_model(clf)
    assert (model.kind, model.feature_names, model.wants_frame) == ("probability", ("town", "size"), True)
    assert np.array_equal(model.predict(raw), clf.predict_proba(raw))
    margin = as_model(clf, output="decision")
    assert np.array_equal(margin.predict(raw), clf.predict(raw, output_margin=True))
    assert len(margin.output_names) == 1
    assert not as_model(xgb.XGBRegressor(n_estimators=2, n_jobs=1).fit(x, x[:, 0])).wants_frame
    with pytest.raises(InputError, match="DMatrix"):
        as_model(clf.get_booster())
    with pytest.raises(InputError, match="not fitted"):
        as_model(xgb.XGBClassifier())


# objects by protocol


def test_objects_answer_by_protocol():
    class Scorer:
        classes_ = ("no", "yes")

        def predict_proba(self, rows):
            return np.tile([0.25, 0.75], (len(rows), 1))

        def predict(self, rows):
            return np.ones(len(rows))

    model = as_model(Scorer())
    assert (model.kind, model.output_names, model.predict([0, 0]).shape) == ("probability", ("no", "yes"), (2, 2))
    assert as_model(Scorer(), output="value").predict([0]).shape == (1,)
    with pytest.raises(OptionError, match=r"decision_function, which is not there; it has predict_proba, predict"):
        as_model(Scorer(), output="decision")


# torch


class Branch(torch.nn.Module):
    """Counts calls of eval and train, and can fail."""

    def __init__(self):
        super().__init__()
        self.lin, self.drop, self.norm = torch.nn.Linear(4, 3), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(3)
        self.fail, self.switched, self.seen = False, 0, []

    def train(self, mode=True):
        self.switched += 1
        return super().train(mode)

    def forward(self, rows):
        self.seen.append((rows.dtype, rows.device.type, torch.is_grad_enabled(), [sub.training for sub in self.modules()]))
        if self.fail:
            raise ValueError("bad batch")
        return self.drop(self.norm(self.lin(rows)))


def flags(module):
    return [sub.training for sub in module.modules()]


def test_a_module_runs_in_eval_mode_without_gradients_and_gets_every_flag_back(x):
    net = Branch()
    net.norm.training = False  # frozen on purpose, while the rest trains
    before, state = flags(net), {k: v.clone() for k, v in net.state_dict().items()}
    model = as_model(net)
    first = model.predict(x)
    assert torch.equal(first, model.predict(x))
    assert not first.requires_grad
    dtype, device, grad, training = net.seen[0]
    assert (dtype, device, grad, any(training)) == (torch.float32, "cpu", False, False)
    net.fail = True
    with pytest.raises(ValueError, match="bad batch"):
        model.predict(x)
    assert flags(net) == before
    assert net.switched == 0, "overridden train() and eval() have effects of their own and must not be called"
    assert torch.is_grad_enabled()
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("first_out", [0, 1])
def test_a_thread_that_is_done_does_not_switch_training_on_under_another(first_out):
    inside, leave, flags_seen = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()], {}

    class Waits(torch.nn.Module):
        def forward(self, rows):
            which = int(rows[0, 0])
            inside[which].set()
            leave[which].wait(10)
            flags_seen[which] = self.training
            return rows.sum(dim=1)

    net = Waits()
    model = as_model(net)
    threads = [threading.Thread(target=model.predict, args=(np.full((1, 1), float(which)),)) for which in (0, 1)]
    for thread, event in zip(threads, inside, strict=True):  # the second enters while the first is inside
        thread.start()
        assert event.wait(10)
    for which in (first_out, 1 - first_out):
        leave[which].set()
        threads[which].join()
    assert flags_seen == {0: False, 1: False}
    assert net.training


def test_floats_take_the_module_dtype_and_integers_stay(x):
    model = as_model(torch.nn.Linear(4, 2).double())
    assert model.predict(x.astype(np.float32)).dtype == torch.float64
    ids = np.arange(6).reshape(2, 3)
    assert as_model(torch.nn.Embedding(6, 2)).predict(ids).shape == (2, 3, 2)
    with pytest.raises(RuntimeError) as caught:
        as_model(torch.nn.Linear(3, 1)).predict(ids)
    assert "pass dtype= to as_model" in caught.value.__notes__[0]
    assert as_model(torch.nn.Linear(3, 1), dtype=torch.float32).predict(ids).shape == (2, 1)
    assert as_model(torch.nn.Linear(3, 1).to(torch.bfloat16)).predict(ids.astype(float)).dtype == torch.bfloat16


def test_a_module_may_be_moved_between_calls(x):
    net = torch.nn.Linear(4, 1)
    model = as_model(net)
    assert model.place(x).dtype == torch.float32
    net.double()
    assert model.place(x).dtype == torch.float64
    assert model.predict(x).dtype == torch.float64


@pytest.mark.parametrize("kind", ["read-only", "reversed", "big-endian", "float16", "Fortran"])
def test_any_numeric_memory_is_taken(kind, x):
    net = torch.nn.Linear(4, 1).double()
    rows = {
        "read-only": x.copy(),
        "reversed": x[::-1],
        "big-endian": x.astype(">f8"),
        "float16": x.astype(np.float16),
        "Fortran": np.asfortranarray(x),
    }[kind]
    if kind == "read-only":
        rows.flags.writeable = False
    expected = np.asarray(rows, dtype=np.float64) @ net.weight.detach().numpy().T + net.bias.detach().numpy()
    assert np.allclose(as_model(net).predict(rows), expected, rtol=1e-12)


def test_memory_is_shared_where_nothing_changes(x):
    rows = x.copy()
    assert np.shares_memory(as_model(torch.nn.Linear(4, 1).double()).place(rows).numpy(), rows)


@pytest.mark.parametrize("rows", [np.array([["a", "b"]]), np.array([[1, "b"]], dtype=object), np.array([["2020-01-01"]], dtype="M8[s]")])
def test_rows_without_numbers_are_refused_by_name(rows):
    with pytest.raises(InputError, match="takes numbers"):
        as_model(torch.nn.Linear(2, 1)).predict(rows)


def test_frames_reach_a_module_as_numbers(x, frame):
    model = as_model(torch.nn.Linear(4, 1))
    assert torch.equal(model.predict(frame), model.predict(x))
    nullable = frame.convert_dtypes()
    nullable.loc[0, "a"] = pd.NA
    assert torch.isnan(model.predict(nullable)[0]).all()
    assert torch.equal(model.predict(nullable)[1:], model.predict(x)[1:])
    with pytest.raises(SchemaError, match="columns a are not numeric"):
        model.predict(frame.assign(a="text"))


def test_rows_that_are_no_arrays_reach_the_module_as_they_are():
    class Lengths(torch.nn.Module):
        def forward(self, texts):
            return torch.tensor([float(len(text)) for text in texts])

    assert as_model(Lengths()).predict(["a", "bcd"]).tolist() == [1.0, 3.0]


def test_a_module_is_never_moved_and_never_given_a_softmax(x):
    net = torch.nn.Linear(4, 2)
    with pytest.raises(OptionError, match="Softmax"):
        as_model(net, output="probability")
    with pytest.raises(OptionError, match="move it yourself"):
        as_model(net, device="meta")
    with pytest.raises(OptionError, match="torch dtype"):
        as_model(net, dtype="float32")
    assert as_model(net, device="cpu", output="decision").kind == "decision"


def test_module_identity_follows_weights_and_structure():
    torch_state = torch.random.get_rng_state()
    net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU())
    torch.random.set_rng_state(torch_state)
    before = as_model(net).identity()
    assert as_model(pickle.loads(pickle.dumps(net))).identity() == before
    assert as_model(torch.nn.Sequential(net[0], torch.nn.Tanh())).identity() != before
    with torch.no_grad():
        net[0].weight[0, 0] += 1e-3
    assert as_model(net).identity() != before


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_cuda_module_gets_its_rows_on_the_device(x):
    net = torch.nn.Linear(4, 2).cuda()
    model = as_model(net, device="cuda")
    placed = model.place(x)
    assert (placed.device.type, placed.dtype) == ("cuda", torch.float32)
    assert model.predict(x).device == model.predict(placed).device == net.weight.device
    assert np.allclose(model.predict(x).cpu(), as_model(net.cpu()).predict(x), atol=1e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_real_cuda_memory_errors_are_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 46, device="cuda")
    assert is_out_of_memory(caught.value)


# memory


def _from(inner):
    try:
        raise ValueError("worker failed") from inner
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (Exception("std::bad_alloc"), True),
        (_from(MemoryError()), True),
        (_from(KeyError("x")), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (KeyboardInterrupt("out of memory"), False),
    ],
)
def test_out_of_memory_is_told_by_class_message_and_cause(error, expected):
    assert is_out_of_memory(error) is expected
