"""Models behind HTTP, against a real server process on loopback with every fault that endpoints have."""

from __future__ import annotations

import logging
import pickle
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import whybox as wb
from whybox.errors import BudgetError, InputError, OptionError, RemoteError
from whybox.models import Budget, HTTPModel, JSONRows, Limits, MLflow, OpenInference, Retry, as_model
from whybox.models.http import _Taken
from whybox.testing.model_server import FAULTS, running, served_outputs

KEY = "sk-planted-0123456789abcdef"
FAST = Retry(attempts=8, first=0.01, most=0.05)
RNG = np.random.default_rng(7)
X, B = RNG.normal(size=(4, 4)), RNG.normal(size=(5, 4))
DIALECTS = {"/predict": JSONRows(), "/v2/models/m/infer": OpenInference(), "/invocations": MLflow()}


def model(server, path="/predict", **options):
    options = {"retry": FAST, "limits": Limits(concurrency=8, timeout=1.0), "rows_per_request": 3} | options
    return HTTPModel(server.base_url + path, DIALECTS[path], **options)


def local(rows):
    return np.array(served_outputs(rows.tolist()))


@pytest.fixture(scope="module")
def plain():
    with running() as server:
        yield server


@pytest.mark.slow
def test_10_000_queries_with_ten_percent_faults(tmp_path):
    """All answers right, none lost or paid twice, never more in flight than allowed, and no budget exceeded by one."""
    rows = RNG.normal(size=(10_000, 3))
    engine = wb.Engine(cache=tmp_path / "answers", controls=False)
    with running("--faults", "0.1", "--slow", "0.05") as server:

        def ask(budget=None):
            limits = Limits(concurrency=16, timeout=1.0)
            options = {"rows_per_request": 1, "limits": limits, "n_outputs": 1, "version": "1", "budget": Budget(requests=budget)}
            remote = model(server, "/v2/models/m/infer", **options)
            with engine.start(as_model(remote)) as run:
                return run.predict(rows), run.stats

        for budget, spent in ((4000, 4000), (1, 4001), (700, 4701)):
            with pytest.raises(BudgetError, match=f"the limit is {budget}"):
                ask(budget)
            stopped = server.stats()
            assert stopped["requests"] == spent
        outputs, found = ask()
        stats = server.stats()
    np.testing.assert_array_equal(outputs[:, 0], local(rows))
    assert found.n_cached == stopped["answered"], "every answer that was paid for is kept"
    assert set(stats["faults"]) == set(FAULTS), "every fault was tried"
    assert len(stats["sent_for"]) == 10_000
    assert set(stats["sent_for"].values()) == {1}, "a row that was answered was asked again"
    assert 2 <= stats["most_in_flight"] <= 16
    assert 800 < sum(stats["faults"].values()) < 1300


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_survived(kind):
    rows = RNG.normal(size=(60, 3))
    path = "/v2/models/m/infer" if kind == "stale" else "/predict"  # only this dialect can tell an answer to another request
    with running("--faults", "0.3", "--kinds", kind, "--slow", "0.05", "--outputs", "2") as server:
        outputs = model(server, path, limits=Limits(concurrency=4, timeout=0.5), n_outputs=2)(rows)
        faults = server.stats()["faults"]
    np.testing.assert_array_equal(outputs, served_outputs(rows.tolist(), k=2))
    assert faults[kind] > 0


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize(
    "make",
    [
        lambda f, engine: wb.KernelSHAP(f, B, engine=engine),
        lambda f, engine: wb.PermutationSHAP(f, B, engine=engine),
        lambda f, engine: wb.ExactSHAP(f, B, engine=engine),
        lambda f, engine: wb.Occlusion(f, B, engine=engine),
        lambda f, engine: wb.LIME(f, RNG_ROWS, engine=engine, min_score=None),
    ],
    ids=["KernelSHAP", "PermutationSHAP", "ExactSHAP", "Occlusion", "LIME"],
)
def test_every_explainer_gives_the_same_bits_as_with_the_model_at_hand(plain, path, make):
    options = {"budget": 300} if make(local, wb.Engine()).__class__ is wb.LIME else {}
    near = make(local, wb.Engine()).explain(X, **options)
    far = make(model(plain, path, rows_per_request=50), wb.Engine()).explain(X, **options)
    np.testing.assert_array_equal(far.values, near.values)
    np.testing.assert_array_equal(far.std_error, near.std_error)


RNG_ROWS = np.random.default_rng(3).normal(size=(100, 4))


def test_order_of_results_is_that_of_the_rows():
    rows = RNG.normal(size=(40, 3))
    with running("--faults", "0.5", "--kinds", "slow", "--slow", "0.03") as server:
        np.testing.assert_array_equal(model(server, rows_per_request=1)(rows), local(rows))


def test_a_frame_reaches_every_dialect(plain):
    frame = pd.DataFrame(X, columns=list("abcd"))
    for path, codec in DIALECTS.items():
        if isinstance(codec, JSONRows):
            assert codec.encode(frame[:1]) == {"rows": [dict(zip("abcd", X[0].tolist(), strict=True))]}
        else:
            e = wb.Occlusion(model(plain, path), pd.DataFrame(B, columns=list("abcd"))).explain(frame)
            np.testing.assert_array_equal(e.values, wb.Occlusion(local, B).explain(X).values)


def test_frames_keep_texts_missing_values_and_dates():
    frame = pd.DataFrame(
        {
            "n": [1, 2],
            "f": [0.5, np.nan],
            "s": ["x", None],
            "t": pd.to_datetime(["2026-01-02", None]),
            "b": pd.array([True, None], "boolean"),
        }
    )
    table = MLflow().encode(frame)["dataframe_split"]
    assert table["columns"] == ["n", "f", "s", "t", "b"]
    assert table["data"] == [[1, 0.5, "x", "2026-01-02T00:00:00", True], [2, None, None, None, None]]
    tensors = OpenInference().encode(frame[["n", "f"]])["inputs"]
    assert [(t["name"], t["datatype"], t["shape"]) for t in tensors] == [("n", "INT64", [2, 1]), ("f", "FP64", [2, 1])]
    with pytest.raises(InputError, match="missing values"):
        OpenInference().encode(frame[["s"]])


def test_functions_encode_and_decode(plain):
    remote = HTTPModel(plain.base_url + "/predict", lambda r: {"rows": r}, lambda a: a["outputs"])
    np.testing.assert_array_equal(remote(X), local(X))  # NumPy arrays in a body are written as lists


def test_texts_are_posted():
    assert JSONRows("instances").encode(["a", "b"]) == {"instances": ["a", "b"]}
    assert OpenInference().encode(["a", "b"])["inputs"] == [{"name": "input", "shape": [2, 1], "datatype": "BYTES", "data": ["a", "b"]}]


def test_a_row_that_is_nan_at_every_try_is_the_models_answer():
    with running("--faults", "1.0", "--kinds", "nan") as server:
        remote = model(server, retry=Retry(attempts=3, first=0.0, most=0.0))
        assert np.isnan(remote(X)).all()
        with pytest.raises(wb.errors.OutputValueError, match="NaN"):
            wb.Occlusion(remote, B).explain(X)


def test_first_answer_of_a_wrong_width_is_asked_again():
    passed = []
    taken = _Taken(6, None, lambda at, outputs, one_axis: passed.append((at.tolist(), outputs.shape, one_axis)))
    taken.take(2, np.ones((2, 3)))
    taken.take(4, np.full((2, 2), 4.0))
    assert passed == [], "nothing is passed on before two answers agree"
    assert not taken.confirmed
    taken.take(0, np.zeros((2, 2)))
    assert passed == [([4, 5], (2, 2), False), ([0, 1], (2, 2), False)]
    assert taken.settle() == [(2, 4)]
    taken.take(2, np.full((2, 2), 2.0))
    assert taken.settle() == []
    np.testing.assert_array_equal(taken.outputs[:, 0], [0, 0, 2, 2, 4, 4])


def test_n_outputs_refuses_what_the_model_does_not_give(plain):
    with pytest.raises(RemoteError, match="1 outputs a row, expected 2"):
        model(plain, n_outputs=2, retry=Retry(attempts=2, first=0.0, most=0.0))(X)


def test_memory_holds_the_requests_in_flight_only():
    """Rows are encoded when there is room for them, not before."""
    ahead = []

    def encode(rows):
        ahead.append(len(ahead) - answered[0])
        return {"rows": rows}

    def decode(answer):
        answered[0] += 1
        return answer["outputs"]

    answered = [0]
    with running() as server:
        HTTPModel(server.base_url + "/predict", encode, decode, rows_per_request=1, limits=Limits(concurrency=5))(RNG.normal(size=(300, 2)))
    assert answered[0] == 300
    assert max(ahead) <= 11, "five in flight, five written ahead, and one that is being written"


@pytest.mark.parametrize("limit", [0, 1, 23])
def test_request_budget_is_never_exceeded_by_one_and_paid_answers_are_kept(limit, tmp_path):
    path = tmp_path / "answers"
    with running("--faults", "0.1", "--kinds", "500,reset", "--latency", "0.005") as server:
        options = {"version": "1", "rows_per_request": 2}
        remote = model(server, budget=Budget(requests=limit), **options)
        with pytest.raises(BudgetError, match="requests"):
            wb.ExactSHAP(remote, B, engine=wb.Engine(cache=path)).explain(X)
        stats = server.stats()
        assert stats["requests"] == limit == remote.spent.requests
        paid = stats["answered"]
        e = wb.ExactSHAP(model(server, **options), B, engine=wb.Engine(cache=path)).explain(X)
        again = server.stats()
        assert set(again["sent_for"].values()) <= {1, 2, 3}  # control rows are asked up to three times
        assert again["answered"] - paid <= -(-e.n_queries // 2) + 2
    np.testing.assert_array_equal(e.values, wb.ExactSHAP(local, B).explain(X).values)
    assert e.stats.n_cached >= 2 * paid - 8


def test_checkpoint_keeps_what_was_paid_before_the_budget_ran_out(tmp_path):
    with running("--latency", "0.002") as server:
        first = model(server, budget=Budget(requests=30), version="1", rows_per_request=1)
        with pytest.raises(BudgetError):
            wb.ExactSHAP(first, B, engine=wb.Engine(controls=False)).explain(X, checkpoint=tmp_path / "log")
        e = wb.ExactSHAP(model(server, version="1"), B, engine=wb.Engine(controls=False)).explain(X, checkpoint=tmp_path / "log")
        assert set(server.stats()["sent_for"].values()) == {1}
    assert e.stats.n_resumed == 30
    np.testing.assert_array_equal(e.values, wb.ExactSHAP(local, B).explain(X).values)


JOB = """
import sys
import numpy as np
import whybox as wb
from whybox.models import HTTPModel, JSONRows, Limits
rng = np.random.default_rng(1)
model = HTTPModel(sys.argv[1] + "/predict", JSONRows(), rows_per_request=1, limits=Limits(concurrency=8), version="1")
kept = {"cache": sys.argv[2]} if sys.argv[3] == "cache" else {}
explainer = wb.ExactSHAP(model, rng.normal(size=(8, 5)), engine=wb.Engine(controls=False, **kept))
e = explainer.explain(rng.normal(size=(3, 5)), checkpoint=None if kept else sys.argv[2])
print(e.values.tobytes().hex(), e.stats.n_cached + e.stats.n_resumed, e.n_queries)
"""


@pytest.mark.parametrize("keeper", ["cache", "checkpoint"])
def test_killed_writer_repeats_at_most_what_was_in_flight(keeper, tmp_path):
    def job(server, path):
        return [sys.executable, "-c", JOB, server.base_url, str(path), keeper]

    with running("--latency", "0.005") as server:
        victim = subprocess.Popen(job(server, tmp_path / "a"))
        while server.stats()["answered"] < 150:
            time.sleep(0.01)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        before = server.stats()["answered"]
        again = subprocess.run(job(server, tmp_path / "a"), capture_output=True, text=True, check=True)
        stats = server.stats()
    rng = np.random.default_rng(1)
    whole = wb.ExactSHAP(local, rng.normal(size=(8, 5))).explain(rng.normal(size=(3, 5)))
    values, kept, sent = again.stdout.split()
    twice = sum(n - 1 for n in stats["sent_for"].values())
    assert values == whole.values.tobytes().hex(), "equal bits"
    assert 150 <= before < 600
    assert twice <= 8, f"{twice} rows were paid twice"
    assert int(kept) >= before - 8
    print(f"{keeper}: killed after {before} answers; {kept} were kept, {sent} sent again, {twice} of them for the second time")  # noqa: T201


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setenv("WHYBOX_TEST_KEY", KEY)


def test_key_is_sent_and_appears_nowhere_else(planted, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    with running("--key", KEY) as server:
        remote = model(server, api_key_env="WHYBOX_TEST_KEY", version="1")
        e = wb.Occlusion(remote, B, engine=wb.Engine(cache=tmp_path / "answers")).explain(X, checkpoint=tmp_path / "log")
        assert server.stats()["requests"] > 0
    e.save(tmp_path / "e.npz")
    shown = [repr(remote), repr(remote._client), repr(as_model(remote)), repr(e), pickle.dumps(remote.url).decode("latin-1")]
    shown += [pickle.dumps(remote).decode("latin-1"), *(record.getMessage() for record in caplog.records)]
    shown += [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
    assert not [text for text in shown if KEY in text]


def test_key_is_cut_out_of_errors(planted):
    with running("--key", "another") as server, pytest.raises(RemoteError, match="HTTP 401") as caught:
        model(server, api_key_env="WHYBOX_TEST_KEY")(X)
    error = caught.value
    while error is not None:
        assert KEY not in repr(error) + str(error.__dict__)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("headers", [{"Authorization": KEY}, {"x-api-key": KEY}])
def test_keys_among_the_headers_are_refused_unseen(headers):
    with pytest.raises(OptionError, match="api_key_env") as caught:
        HTTPModel("http://127.0.0.1:9/p", JSONRows(), headers=headers)
    assert KEY not in str(caught.value)


def test_endpoint_that_refuses_a_request_is_named(plain):
    with pytest.raises(RemoteError, match=r"HTTP 404"):
        HTTPModel(plain.base_url + "/nowhere", JSONRows())(X)
    bad = HTTPModel(plain.base_url + "/v2/models/m/infer", lambda r: {"inputs": [{"name": "a", "shape": [1, 3], "data": [1]}]}, lambda a: a)
    with pytest.raises(RemoteError, match=r"rows 0 to 3 .* HTTP 400"):
        bad(X)


def test_dead_endpoint_ends_the_run_early():
    remote = HTTPModel("http://127.0.0.1:9/p", JSONRows(), retry=Retry(attempts=2, first=0.0, most=0.0), rows_per_request=1)
    with pytest.raises(RemoteError, match="have no answer"):
        remote(RNG.normal(size=(500, 2)))
    assert remote.spent.requests <= 64


def test_nan_in_a_body_is_a_named_error(plain):
    with pytest.raises(InputError, match="JSON does not have"):
        model(plain)(np.array([[np.nan, 1.0]]))


def test_errors_of_ones_own_functions_pass_through(plain):
    def encode(rows):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        HTTPModel(plain.base_url + "/predict", encode, lambda a: a)(X)
    remote = HTTPModel(plain.base_url + "/predict", lambda r: {"rows": r}, lambda a: a["output"], retry=Retry(2, 0.0, 0.0))
    with pytest.raises(RemoteError, match="decode raised KeyError: 'output'"):
        remote(X)


def test_a_model_with_labels_is_refused_with_what_came():
    with running("--faults", "1", "--kinds", "text") as server, pytest.raises(RemoteError, match="expected numbers as outputs, got"):
        model(server, retry=Retry(2, 0.0, 0.0))(X)


def test_pickled_model_works(plain):
    remote = pickle.loads(pickle.dumps(model(plain)))
    np.testing.assert_array_equal(remote(X), local(X))


def test_adapter_declares_what_it_is(plain):
    adapted = as_model(model(plain, output="probability", output_names=["no", "yes"], version="3"))
    assert (adapted.kind, adapted.output_names, adapted.identity()) == ("probability", ("no", "yes"), "3")
    assert adapted.remote.busy_batch == 3 * 8 * 256
    assert re.fullmatch(r"HTTPModel\(127\.0\.0\.1:\d+/predict\)", adapted.name)
    with pytest.raises(InputError, match="declared"):
        as_model(model(plain, output="probability"), output="value")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: HTTPModel("http://h/p", JSONRows),
        lambda: HTTPModel("http://h/p", JSONRows(), lambda a: a),
        lambda: HTTPModel("http://h/p", lambda r: r),
        lambda: HTTPModel("http://h/p?key=1", JSONRows()),
        lambda: HTTPModel("http://h/p", JSONRows(), rows_per_request=0),
        lambda: HTTPModel("http://h/p", JSONRows(), n_outputs=True),
        lambda: HTTPModel("http://h/p", JSONRows(), budget=Budget(tokens=5)),
        lambda: HTTPModel("http://h/p", JSONRows(), api_key_env=KEY),
        lambda: OpenInference(datatype="FLOAT"),
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(OptionError) as caught:
        wrong()
    assert KEY not in str(caught.value)
