"""The persistent cache: what was paid for in one job is not paid for in the next."""

import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeRegressor

import whybox as wb
from whybox._arrays import row_digests
from whybox.errors import CheckpointError, OptionError
from whybox.testing import RecordingModel

RNG = np.random.default_rng(5)
X, B = RNG.normal(size=(6, 4)), RNG.normal(size=(8, 4))


def curved(rows):
    return rows[:, 0] * rows[:, 1] + rows[:, 2] - rows[:, 3] ** 2


def explain(path, model, version="v1", x=X):
    return wb.ExactSHAP(wb.as_model(model, version=version, name="curved"), B, engine=wb.Engine(cache=path)).explain(x)


def test_a_second_job_sends_nothing(tmp_path):
    path = tmp_path / "answers"
    first = explain(path, curved)
    model = RecordingModel(curved)
    second = explain(path, model)
    np.testing.assert_array_equal(first.values, second.values)
    assert first.stats.n_cached == 0
    assert model.n_rows == second.n_queries == 0
    assert second.stats.n_cached == first.stats.n_rows > 0
    assert second.values.shape == first.values.shape == (6, 4)


def test_new_rows_are_sent_and_known_ones_are_not(tmp_path):
    path = tmp_path / "answers"
    explain(path, curved, x=X[:4])
    model = RecordingModel(curved)
    e = explain(path, model, x=X)
    np.testing.assert_array_equal(e.values, wb.ExactSHAP(curved, B).explain(X).values)
    assert 0 < model.n_rows <= 2 * (14 * 8 + 1) + 10


def test_another_version_is_another_model(tmp_path):
    path = tmp_path / "answers"
    explain(path, curved)
    model = RecordingModel(lambda r: 2 * curved(r))
    doubled = explain(path, model, version="v2")
    assert model.n_rows > 0
    np.testing.assert_allclose(doubled.values, 2 * wb.ExactSHAP(curved, B).explain(X).values, atol=1e-12)


def test_estimators_are_told_apart_by_their_content(tmp_path):
    path = tmp_path / "answers"
    for depth in (1, 3):
        model = DecisionTreeRegressor(max_depth=depth, random_state=0).fit(B, curved(B))
        e = wb.ExactSHAP(model, B, engine=wb.Engine(cache=path)).explain(X)
        np.testing.assert_allclose(e.values, wb.ExactSHAP(model, B).explain(X).values, atol=1e-12)
        assert e.n_queries > 0


def test_a_function_without_a_version_is_refused(tmp_path):
    with pytest.raises(OptionError, match="version"):
        wb.ExactSHAP(curved, B, engine=wb.Engine(cache=tmp_path / "answers")).explain(X)


def test_a_failed_job_keeps_what_was_paid(tmp_path):
    path, calls = tmp_path / "answers", []

    def failing(rows):
        calls.append(len(rows))
        if len(calls) == 4:
            raise RuntimeError("down")
        return curved(rows)

    engine = wb.Engine(cache=path, batch_size=64, controls=False)
    with pytest.raises(RuntimeError, match="down"):
        wb.ExactSHAP(wb.as_model(failing, version="v1", name="curved"), B, engine=engine).explain(X)
    e = wb.ExactSHAP(wb.as_model(curved, version="v1"), B, engine=engine).explain(X)
    assert e.stats.n_cached == sum(calls[:3])


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_text("my only copy " * 100)
    with pytest.raises(CheckpointError, match="not a whybox cache"):
        explain(path, curved)
    assert "my only copy" in path.read_text()


def test_processes_share_the_file(tmp_path):
    script = textwrap.dedent(
        """
        import sys
        import numpy as np, whybox as wb
        rng = np.random.default_rng(5)
        x, b = rng.normal(size=(6, 4)), rng.normal(size=(8, 4))
        f = lambda r: r[:, 0] * r[:, 1] + r[:, 2] - r[:, 3] ** 2
        e = wb.ExactSHAP(wb.as_model(f, version="v1", name="shared"), b, engine=wb.Engine(cache=sys.argv[1], batch_size=32)).explain(x)
        print(e.n_queries, repr(float(e.values.sum())))
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path / "answers")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = {process.communicate(timeout=120)[0].split()[1] for process in running}
    assert len(sums) == 1
    last = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert last[0] == "0"
    assert last[1] in sums


def test_digests_are_equal_exactly_for_equal_rows():
    frame = pd.DataFrame({"a": ["x", "y", "x", None], "b": [1.0, 2.0, 1.0, np.nan], "c": pd.Categorical(["u", "v", "u", "u"])})
    for rows in (
        frame,
        X[[0, 1, 0, 2]],
        X[[0, 1, 0, 2]].astype(np.float32),
        ["a", "b", "a", "c"],
        np.array([["a"], ["b"], ["a"], [1]], dtype=object),
    ):
        keys = row_digests(rows)
        same = (keys[:, None] == keys[None]).all(axis=2)
        assert same[0, 2]
        assert same.sum() == 6
    assert (row_digests(X) != row_digests(X[:, ::-1].copy())).any(axis=1).all()
    assert (row_digests(X.astype(np.float32)) != row_digests(X.astype(np.float32).astype(float))).any(axis=1).all()
    assert (row_digests(frame) != row_digests(frame.rename(columns={"a": "z"}))).any(axis=1).all()
