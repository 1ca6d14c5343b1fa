"""Rows that are composed, called and folded where the model lives; here on torch-CPU and array_api_strict, told to be accelerators."""

import array_api_strict
import numpy as np
import pytest
import torch

import whybox as wb
from whybox import _arrays, _devices
from whybox.distributed import _task
from whybox.engine import _run
from whybox.engine._batch import BatchSizer
from whybox.engine._clock import Spent
from whybox.engine._outputs import as_device_outputs
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


def test_background_of_a_neighbourhood_comes_to_the_host_once(net, host_trips, monkeypatch):
    """LIME takes values from it for every batch."""
    trips = []
    monkeypatch.setattr("whybox.spaces._points.to_numpy", lambda x: trips.append(x.shape) or _arrays.to_numpy(x))
    engine = wb.Engine(batch_size=50, controls=False)
    e = wb.LIME(net, torch.from_numpy(BACKGROUND), engine=engine, min_score=None).explain(torch.from_numpy(X), budget=1000)
    assert e.stats.n_calls > 20
    assert len(trips) <= 4, "none is for a batch"
    plain = wb.LIME(net, BACKGROUND, engine=engine, min_score=None).explain(X, budget=1000)
    np.testing.assert_allclose(e.values, plain.values, atol=1e-9)


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


# The rest runs the CUDA paths themselves, with a torch that only pretends to have a device.


class OnCuda(torch.Tensor):
    device = property(lambda _: torch.device("cuda:0"))


@pytest.fixture
def said(monkeypatch):
    """What torch was told to do, in order."""
    told = []
    real = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: told.append("pin") or self)

    def to(self, *args, **options):
        if args and isinstance(args[0], torch.device) and args[0].type == "cuda":
            told.append(("to", str(args[0]), options))
            return self
        return real(self, *args, **options)

    class Stream:
        def __init__(self, device=None, name="side"):
            self.name = name

        def wait_stream(self, other):
            told.append(f"{self.name} waits for {other.name}")

        def __enter__(self):
            told.append("on side")

        def __exit__(self, *_):
            told.append("on main")

    main = Stream(name="main")
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: main)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: told.append(f"kept for {stream.name}"))
    return told


def test_codes_travel_by_pinned_memory_and_nobody_waits(said):
    frozen = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    frozen.setflags(write=False)  # torch warns of read-only memory, and warnings are errors here
    there = _devices.send(frozen, torch.zeros(1).as_subclass(OnCuda))
    assert said == ["pin", ("to", "cuda:0", {"non_blocking": True})]
    np.testing.assert_array_equal(there.numpy(), frozen)


def test_rows_of_the_host_travel_by_pinned_memory_in_the_dtype_of_the_module(said, monkeypatch):
    net = torch.nn.Linear(3, 1).bfloat16()
    monkeypatch.setattr("whybox.models.torch.first_tensor", lambda _: torch.zeros(1).as_subclass(OnCuda))
    there = wb.as_model(net).place(np.ones((2, 3))[:, ::-1])
    assert there.dtype == torch.bfloat16, "half of what travels, or less"
    assert said == ["pin", ("to", "cuda:0", {"non_blocking": True})]


def test_composing_overlaps_the_model_and_rows_live_until_it_has_read_them(said):
    run = _devices.side_stream(torch.zeros(1).as_subclass(OnCuda))
    run(lambda: said.append("compose") or torch.zeros(2))
    run(lambda: said.append("compose") or torch.zeros(2))
    batch = ["on side", "compose", "on main", "main waits for side", "kept for main"]
    assert said == ["side waits for main", *batch, *batch], "the side stream never waits for the model"


def test_host_waits_once_for_a_unit_and_never_for_a_batch(net, host_trips, monkeypatch):
    """Outputs that need many units on the host need one on the device; batches of a settled size are not waited for."""
    monkeypatch.setattr("whybox.engine._units._BYTES", 8 * 3 * 500)
    waits, made = [], []
    monkeypatch.setattr(_run, "synchronize", waits.append)
    real = _run.side_stream
    monkeypatch.setattr(_run, "side_stream", lambda rows: made.append(type(rows)) or real(rows))
    e = wb.KernelSHAP(net, BACKGROUND, engine=wb.Engine(batch_size=50, controls=False)).explain(X, budget=40)
    assert e.stats.n_calls > 100
    assert len(host_trips) == 3
    assert not waits
    assert made == [torch.Tensor], "one stream, beside the rows"


def test_workers_of_a_data_set_send_a_device_more_rows_at_once(net, monkeypatch):
    """The size is fixed there, for equal bits; 4,096 rows would leave a GPU idle."""
    who = wb.KernelSHAP(net, BACKGROUND)
    assert _task._fixed_calls(who, X).engine.batch_size == 4096
    monkeypatch.setattr(_task, "on_accelerator", lambda rows: isinstance(rows, torch.Tensor))
    assert _task._fixed_calls(who, X).engine.batch_size == 1 << 18
    assert _task._fixed_calls(wb.KernelSHAP(lambda rows: rows[:, 0], BACKGROUND), X).engine.batch_size == 4096


def test_search_for_a_size_ends_where_no_batch_can_be_so_large():
    """Else every batch of the job would be waited for."""
    sizer = BatchSizer("auto")
    sizer.cap_bytes(64, accelerator=True)
    calls = 0
    while not sizer.settled and calls < 1000:  # units of 3,000 rows, of a device on which more rows cost nothing
        left = 3000
        while left and not sizer.settled:
            size = sizer.next(3000 - left, left, 3000, 10)
            sizer.took(size, Spent(wall=1e-3, cpu=1e-3, waited=True))
            left -= size
            calls += 1
    assert sizer.settled
    assert calls < 150
    assert sizer.next(0, 3000, 3000, 10) == 3000


def test_outputs_on_the_device_hold_no_gradients():
    values, _ = as_device_outputs(torch.ones(4, requires_grad=True) * 2, 4, "model")
    assert not values.requires_grad
