"""Rows that are composed, called and folded where the model lives; here on torch-CPU and array_api_strict, told to be accelerators."""

import array_api_strict
import numpy as np
import pytest
import torch

import whybox as wb
from whybox import _arrays
from whybox.engine import _run
from whybox.errors import OutputShapeError, OutputValueError
from whybox.spaces import Groups, Marginal


@pytest.fixture
def host_trips(monkeypatch):
    """Any array that is not NumPy's counts as an accelerator's; records the shapes that come to the host."""
    trips = []

    def to_numpy(x):
        if not isinstance(x, np.ndarray):
            trips.append(tuple(x.shape))
        return _arrays.to_numpy(x)

    monkeypatch.setattr(_run, "on_accelerator", lambda x: not isinstance(x, np.ndarray))
    monkeypatch.setattr(_run, "to_numpy", to_numpy)
    return trips


@pytest.fixture
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)).double()


X = np.random.default_rng(0).normal(size=(7, 6))
BACKGROUND = np.random.default_rng(1).normal(size=(20, 6))


@pytest.mark.parametrize(
    "space",
    [Marginal(BACKGROUND), Marginal(BACKGROUND, weights=np.arange(1, 21)), Groups(Marginal(BACKGROUND), {"a": [0, 1], "b": [4, 2]})],
    ids=["plain", "weighted", "grouped"],
)
def test_values_are_those_of_the_host(net, space, host_trips, monkeypatch):
    on_device = wb.KernelSHAP(net, space=space).explain(X, budget=40)
    monkeypatch.undo()
    on_host = wb.KernelSHAP(net, space=space).explain(X, budget=40)
    np.testing.assert_allclose(on_device.values, on_host.values, atol=1e-12)
    np.testing.assert_allclose(on_device.std_error, on_host.std_error, atol=1e-9)
    assert on_device.stats.n_rows == on_host.stats.n_rows


def test_what_comes_to_the_host_is_folded(net, host_trips):
    e = wb.KernelSHAP(net, BACKGROUND, engine=wb.Engine(batch_size=50, controls=False, dedupe=False)).explain(X, budget=40)
    assert e.stats.n_calls > 100
    rows, codes = len(X), 40
    assert sorted(host_trips) == sorted([(rows, 3), (1, 1, 3), (rows, codes, 3)])  # predictions, the empty coalition, all others


def test_array_api_strict_stays_where_it_is(host_trips):
    xp = array_api_strict
    weights = xp.asarray(np.linspace(-1, 1, 6))

    def model(rows):
        return xp.matmul(rows, weights) ** 2

    e = wb.KernelSHAP(model, xp.asarray(BACKGROUND), engine=wb.Engine(batch_size=64, controls=False)).explain(xp.asarray(X))
    assert len(host_trips) == 3
    plain = wb.KernelSHAP(lambda rows: (rows @ np.linspace(-1, 1, 6)) ** 2, BACKGROUND).explain(X)
    np.testing.assert_allclose(e.values, plain.values, atol=1e-12)


def test_controls_and_deduplication_work_on_the_device(net, host_trips):
    engine = wb.Engine(batch_size=500, dedupe=True)
    e = wb.KernelSHAP(net, BACKGROUND, engine=engine).explain(np.concatenate([X, X]), budget=40)
    assert e.stats.repeat_sd is not None
    assert e.stats.n_queries < 1.2 * wb.KernelSHAP(net, BACKGROUND).explain(X, budget=40).stats.n_queries
    np.testing.assert_array_equal(e.values[:7], e.values[7:])


def test_bad_answers_of_a_device_are_refused(net, host_trips):
    with pytest.raises(OutputValueError, match="NaN"):
        wb.KernelSHAP(
            lambda rows: torch.from_numpy(rows[:, 0]) / torch.from_numpy(rows[:, 0] < 9).double() * torch.nan, BACKGROUND
        ).explain(X)
    with pytest.raises(OutputShapeError, match="in order"):
        wb.KernelSHAP(lambda rows: torch.zeros(3), BACKGROUND).explain(X)
    with pytest.raises(OutputValueError, match="real numbers"):
        wb.KernelSHAP(lambda rows: torch.zeros(len(rows), dtype=torch.complex64), BACKGROUND).explain(X)


def test_a_model_that_changes_the_place_of_its_answers(host_trips):
    calls = []

    def model(rows):
        calls.append(len(rows))
        y = rows @ np.arange(6.0) + np.sin(rows[:, 0])
        return y if len(calls) % 3 else torch.from_numpy(y)

    e = wb.KernelSHAP(model, BACKGROUND, engine=wb.Engine(batch_size=33, controls=False)).explain(X, budget=40)
    plain = wb.KernelSHAP(lambda rows: rows @ np.arange(6.0) + np.sin(rows[:, 0]), BACKGROUND).explain(X, budget=40)
    np.testing.assert_allclose(e.values, plain.values, atol=1e-12)


def test_memory_that_runs_out_while_rows_are_composed_halves_the_batch(monkeypatch):
    real = Marginal(BACKGROUND).bind(X, wb.as_model(lambda rows: rows[:, 0])).__class__.compose

    def compose(self, ask, start, stop):
        if stop - start > 100:
            raise MemoryError("Unable to allocate")
        return real(self, ask, start, stop)

    monkeypatch.setattr("whybox.spaces.marginal.MarginalBound.compose", compose)
    e = wb.KernelSHAP(lambda rows: rows[:, 0] * rows[:, 1], BACKGROUND, engine=wb.Engine(batch_size=1000)).explain(X, budget=40)
    assert 50 <= e.stats.batch_size <= 100


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_agrees_with_the_host(net):
    on_host = wb.KernelSHAP(net, BACKGROUND).explain(X, budget=40)
    on_gpu = wb.KernelSHAP(net.cuda(), BACKGROUND).explain(X, budget=40)
    np.testing.assert_allclose(on_gpu.values, on_host.values, atol=1e-9)
