"""check_model catches every fault it is meant to, and raises no false alarm; RecordingModel counts what there is to count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from whybox.errors import ModelError, OptionError, ShapeError
from whybox.models import as_model
from whybox.testing import FAULTS, RecordingModel, check_model
from whybox.testing.faults import Fault, Noisy, RaisesAt, RunsOutOfMemory, Slow
from whybox.typing import Model

torch = pytest.importorskip("torch", reason="torch is not installed")

# What the report says of each fault: names of failed checks, names of noted checks.
# "infinite" marks the largest output of the batch, which depends on the batch; a width that changes shows for one row as well.
CAUGHT: dict[str, tuple[set[str], set[str]]] = {
    "raises once": (set(), {"answers"}),
    "raises a bug once": ({"answers"}, set()),
    "out of memory": (set(), {"memory"}),
    "out of CUDA memory": (set(), {"memory"}),
    "some NaN": ({"finite"}, set()),
    "infinite": ({"finite", "batch independent"}, set()),
    "one row short": ({"output"}, set()),
    "one row more": ({"output"}, set()),
    "one row only": ({"output"}, set()),
    "scalar": ({"output"}, set()),
    "None": ({"output"}, set()),
    "three axes": ({"output"}, set()),
    "strings": ({"output"}, set()),
    "complex": ({"output"}, set()),
    "changes width": ({"output", "one row"}, set()),
    "mutates its input": (set(), {"input untouched", "read-only input"}),
    "answers in its input": (set(), {"input untouched", "output kept", "read-only input"}),
    "reuses its buffer": (set(), {"output kept"}),
    "noisy": ({"deterministic"}, set()),
    "sorted": ({"row order"}, set()),
    "reversed": ({"row order"}, set()),
    "shuffled": ({"row order"}, set()),
    "subtracts the batch mean": ({"batch independent"}, set()),
    "slow": (set(), {"speed"}),
}
# These are no faults to whybox, which takes all of them: the report says what came.
CONTAINERS = {
    "list": "list of shape (100,); whybox makes an array of it",
    "object array": "ndarray of shape (100,)",
    "one column": "ndarray of shape (100, 1)",
    "DataFrame": "DataFrame of shape (100, 1); whybox makes an array of it",
    "Series": "Series of shape (100,); whybox makes an array of it",
    "torch tensor": "Tensor of shape (100,)",
}


def honest(rows):
    return rows @ np.array([1.0, 2.0, -1.0, 0.5]) + np.sin(3 * rows[:, 0])


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(100, 4))


def quiet(report):
    """Failed and noted checks, without speed: machines differ."""
    return set(report.failed), set(report.noted) - {"speed"}


def by_name(name: str) -> Fault:
    return next(fault for fault in FAULTS if fault.name == name)


def test_every_fault_has_its_case():
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    assert set(names) == {*CAUGHT, *CONTAINERS, "interrupted"}


@pytest.mark.parametrize("name", CAUGHT)
def test_a_fault_is_caught_and_nothing_else_is_claimed(name, x):
    before = x.tobytes()
    report = check_model(by_name(name).make(honest), x, seconds=0.2)
    failed, noted = CAUGHT[name]
    assert (set(report.failed), set(report.noted) - ({"speed"} - noted)) == (failed, noted), str(report)
    assert x.tobytes() == before
    if failed:
        with pytest.raises(ModelError, match=next(iter(failed))):
            report.raise_if_failed()
        report.raise_if_failed(ignore=failed)
    else:
        report.raise_if_failed()


@pytest.mark.parametrize("name", CONTAINERS)
def test_any_container_of_outputs_is_taken(name, x):
    report = check_model(by_name(name).make(honest), x, seconds=0.2)
    assert quiet(report) == (set(), set()), str(report)
    assert report["output"].detail == CONTAINERS[name]


def test_an_interrupt_passes_through(x):
    with pytest.raises(KeyboardInterrupt):
        check_model(by_name("interrupted").make(honest), x)


@pytest.mark.parametrize("name", sorted({*CAUGHT, *CONTAINERS} - {"slow"}))
def test_a_fault_differs_from_the_honest_model_as_it_says(name, x):
    """A double whose outcome is None gives the honest values, read at once; all others give something else, or raise."""
    fault = by_name(name)
    model = fault.make(honest)
    expected = honest(x)
    if name.startswith("out of"):
        with pytest.raises((MemoryError, RuntimeError)):
            model(x.copy())
        assert np.array_equal(model(x[:50].copy()), expected[:50])
        return
    got, again = None, None
    try:
        got = model(x.copy())
        got = got.detach().numpy() if torch.is_tensor(got) else np.array(got)
        again = model(x.copy())
    except (ConnectionError, ZeroDivisionError):
        assert name.startswith("raises")
        again = model(x.copy())
        assert np.array_equal(got, expected)
        assert np.array_equal(again, expected)
        return
    same = got.shape in {(100,), (100, 1)} and got.dtype.kind in "fO" and np.array_equal(got.ravel().astype(float), expected)
    if name == "changes width":
        assert again.shape == (100, 2)
    else:
        assert same is (fault.outcome is None)


def test_a_shuffled_model_with_one_output_for_all_rows_is_not_accused(x):
    report = check_model(lambda rows: np.full(len(rows), 0.5), x, seconds=0.2)
    assert report.ok
    assert report["row order"].level == report["batch independent"].level == "skip"
    assert "same answer" in report["row order"].detail


# honest models


def test_no_false_alarm_on_trees_and_linear_models():
    data = load_breast_cancer(as_frame=True)
    models = [
        GradientBoostingClassifier(n_estimators=20, random_state=0),
        HistGradientBoostingClassifier(max_iter=20, random_state=0),
        LogisticRegression(solver="liblinear"),
        RandomForestRegressor(5, random_state=0),
    ]
    for model in models:
        report = check_model(model.fit(data.data, data.target), data.data, max_rows=100, seconds=0.2)
        assert quiet(report) == (set(), set()), str(report)
        assert report.n_rows == 100
        if report["names"].level == "ok":
            assert report["names"].detail == "0, 1"


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_no_false_alarm_on_float32_arithmetic_that_depends_on_the_batch(scale):
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(128, 40)) * scale
    hidden, out = (rng.normal(size=shape).astype(np.float32) for shape in ((40, 512), (512, 3)))
    net = torch.nn.Sequential(torch.nn.Linear(40, 512), torch.nn.Tanh(), torch.nn.Dropout(0.3), torch.nn.Linear(512, 3))
    with torch.no_grad():
        net[0].weight.copy_(torch.from_numpy(hidden.T))
        net[3].weight.copy_(torch.from_numpy(out.T))
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        report = check_model(net.to(dtype), rows, seconds=0.2)
        assert quiet(report) == (set(), set()), str(report)


def test_rounding_that_depends_on_the_batch_is_told_from_batch_statistics(x):
    """What BLAS may do, on every machine: the last float32 digit follows the batch size."""
    report = check_model(lambda rows: honest(rows) * (1 + 1e-7 * len(rows) ** 0.5), x, seconds=0.2)
    assert quiet(report) == (set(), set()), str(report)
    report = check_model(lambda rows: honest(rows) * (1 + 1e-3 * len(rows) ** 0.5), x, seconds=0.2)
    assert report.failed == ("batch independent",), str(report)


def test_a_module_left_in_training_mode_inside_a_function_is_caught(x):
    generator_state = torch.random.get_rng_state()
    norm = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.BatchNorm1d(2, track_running_stats=False))
    torch.random.set_rng_state(generator_state)
    report = check_model(lambda rows: norm(torch.from_numpy(rows).float() + 1), x, seconds=0.2)
    assert set(report.failed) == {"answers", "batch independent"}, str(report)
    assert "Expected more than 1 value per channel" in report["answers"].detail


def test_a_squeezed_single_row_is_caught(x):
    report = check_model(lambda rows: np.squeeze(honest(rows)[:, None]) if len(rows) > 1 else honest(rows)[0], x, seconds=0.2)
    assert report.failed == ("one row",)


# inputs


def test_frames_and_texts_are_taken_as_they_are():
    raw = pd.DataFrame({"town": pd.Categorical(["x", "y"] * 20), "size": np.arange(40.0), "tags": [["a"]] * 40})
    seen = []

    def model(rows):
        seen.append(rows.dtypes.tolist())
        return rows["size"].to_numpy() * 2

    report = check_model(model, raw, seconds=0.2)
    assert quiet(report) == (set(), set()), str(report)
    assert all(dtypes == raw.dtypes.tolist() for dtypes in seen)
    assert report["read-only input"].level == "skip"
    texts = ["good food", "bad room", "good room", "bad food"] * 5
    clf = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0] * 5)
    report = check_model(clf, texts, seconds=0.2)
    assert quiet(report) == (set(), set()), str(report)


@pytest.mark.parametrize("kind", ["frame", "list"])
def test_a_mutated_frame_or_list_is_noticed(kind):
    rows = pd.DataFrame({"a": np.arange(30.0)}) if kind == "frame" else [f"{i:03d}" for i in range(30)]

    def value(rows):
        return rows["a"].to_numpy() if kind == "frame" else np.array([float(text) for text in rows])

    report = check_model(by_name("mutates its input").make(value), rows, seconds=0.2)
    assert quiet(report) == (set(), {"input untouched"}), str(report)


def test_an_array_reaches_a_model_fitted_on_a_frame_under_its_column_names(x):
    frame = pd.DataFrame(x, columns=list("abcd"))
    clf = LogisticRegression().fit(frame, x[:, 0] > 0)
    assert check_model(clf, x, seconds=0.2).ok  # scikit-learn's warning about missing names would be an error here


def test_tensors_are_taken(x):
    assert check_model(lambda rows: rows.sum(dim=1), torch.from_numpy(x), seconds=0.2).ok


def test_names_that_do_not_fit_are_caught(x):
    report = check_model(Model(predict=honest, output_names=("a", "b")), x, seconds=0.2)
    assert report.failed == ("names",)
    assert report["names"].detail == "2 output names for 1 outputs"


def test_max_batch_is_honoured_and_batches_are_counted(x):
    recorded = RecordingModel(RunsOutOfMemory(honest, above=100))
    report = check_model(as_model(recorded, max_batch=100), x, seconds=0.2)
    assert report.ok
    assert "memory" not in report.noted
    assert max(recorded.batch_sizes) == 100
    assert (report.n_calls, report.n_queries) == (recorded.n_calls, recorded.n_rows)
    assert list(report.seconds_per_row) == [1, 16]


def test_time_is_measured_a_row_and_large_batches_of_slow_models_are_not_tried(x):
    report = check_model(Slow(honest, seconds=0.005), x[:4], seconds=0.05)
    assert list(report.seconds_per_row) == [1]
    assert report.seconds_per_row[1] >= 0.005
    assert report["speed"].level == "note"


def test_small_noise_is_told_from_rounding(x):
    assert check_model(Noisy(honest, sd=1e-3), x, seconds=0.2).failed == ("deterministic",)
    report = check_model(Noisy(honest, sd=1e-9), x, seconds=0.2)
    assert report.ok
    assert "to rounding" in report["deterministic"].detail


def test_too_few_rows_and_options_out_of_range_are_refused(x):
    with pytest.raises(ShapeError, match="at least 2 rows"):
        check_model(honest, x[:1])
    for options in ({"max_rows": 1}, {"tolerance": 0.0}, {"seconds": -1.0}):
        with pytest.raises(OptionError, match="max_rows"):
            check_model(honest, x, **options)


def test_a_report_reads_as_text(x):
    report = check_model(by_name("sorted").make(honest), x, seconds=0.2)
    text = str(report)
    assert text.startswith("Answers: FAILED (100 rows, ")
    assert "\n  FAIL  row order " in text
    assert len(text.splitlines()) == 1 + len(report.checks)
    with pytest.raises(KeyError, match="no check is named 'speeed'"):
        report["speeed"]


# RecordingModel


def test_recording_counts_calls_rows_and_content(x):
    model = RecordingModel(honest, apart_from=[x], keep=True)
    assert np.array_equal(model(x[:3].copy()), honest(x[:3]))
    model(x[:3].copy())
    model(x[3:5])
    assert (model.n_calls, model.n_rows, model.batch_sizes) == (3, 8, [3, 3, 2])
    assert model.digests[0] == model.digests[1] != model.digests[2]
    assert model.aliased == [2]
    assert np.array_equal(model.batches[2], x[3:5])
    assert not np.shares_memory(model.batches[2], x)


def test_recording_notices_what_the_model_does_to_its_input(x):
    model = RecordingModel(by_name("mutates its input").make(honest), keep=True)
    rows = x[:5].copy()
    model(rows)
    assert not np.array_equal(rows, x[:5])
    assert np.array_equal(model.batches[0], x[:5])


def test_recording_sees_shared_columns_of_frames_and_tensors(x):
    frame = pd.DataFrame(x, columns=list("abcd"))
    model = RecordingModel(len, apart_from=[frame])
    model(frame)
    model(frame.copy(deep=True))
    assert model.aliased == [0]
    tensor = torch.from_numpy(x)
    model = RecordingModel(len, apart_from=[x])
    model(tensor[:2])
    model(tensor.clone())
    assert model.aliased == [0]


def test_raises_at_counts_from_zero(x):
    model = RaisesAt(honest, at=0)
    with pytest.raises(ConnectionError):
        model(x)
    assert np.array_equal(model(x), honest(x))
