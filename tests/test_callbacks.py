"""Explanations during a training: what is logged, how drift is measured, and that the training does not notice."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch

import whybox as wb
from whybox.callbacks import ExplanationLogger, MLflowSink, SinkWarning, TensorBoardSink, explanation_drift, trainer_callback
from whybox.errors import MissingDependencyError, OptionError, ShapeError

RNG = np.random.default_rng(5)
X, B = RNG.normal(size=(6, 4)), RNG.normal(size=(5, 4))


def linear(weights):
    return wb.Occlusion(lambda rows: rows @ np.asarray(weights, dtype=float), np.zeros((1, len(weights))))


def sampled(seed, power=1.0):
    """Twelve features at few coalitions, with interactions: values with standard errors."""
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(12, 4)), rng.normal(size=(8, 12))
    model = wb.KernelSHAP(lambda r: np.tanh(r @ w).prod(axis=1) * power + r.sum(axis=1), np.zeros((1, 12)), estimator="least squares")
    return model.explain(x, seed=seed, budget=150)


def test_drift_of_vectors_at_a_known_angle():
    x = np.ones((1, 2))
    then = linear([1, 0]).explain(x)
    for angle in (0.0, 0.3, np.pi / 2, np.pi):
        now = linear([np.cos(angle), np.sin(angle)]).explain(x)
        assert explanation_drift(then, now).mean == pytest.approx(1 - np.cos(angle), abs=1e-12)


def test_drift_ignores_a_change_of_scale_and_sees_a_change_of_order():
    then, doubled = linear([1, 2, 3]).explain(np.ones((2, 3))), linear([2, 4, 6]).explain(np.ones((2, 3)))
    drift = explanation_drift(then, doubled)
    assert (drift.mean, drift.ranks) == (pytest.approx(0, abs=1e-15), pytest.approx(0))
    assert drift.moved == 1.0, "values did change"
    assert explanation_drift(then, linear([3, 2, 1]).explain(np.ones((2, 3)))).ranks == pytest.approx(2.0)


def test_values_of_zeros():
    nothing, something = linear([0, 0]).explain(np.ones((1, 2))), linear([1, 0]).explain(np.ones((1, 2)))
    assert explanation_drift(nothing, nothing).mean == 0.0
    assert explanation_drift(nothing, something).mean == 1.0
    assert "drift_ranks" not in explanation_drift(nothing, something).scalars()


def test_standard_errors_tell_noise_from_drift():
    """The same model, other coalitions: what differs is noise, and is told to be."""
    drifts = [explanation_drift(sampled(0), sampled(seed)) for seed in range(1, 6)]
    mean, noise = np.mean([d.mean for d in drifts]), np.mean([d.noise.mean() for d in drifts])
    assert mean > 0
    assert 0.5 < mean / noise < 2.0
    assert np.mean([d.moved for d in drifts]) < 0.1
    other = explanation_drift(sampled(0), sampled(1, power=-4.0))
    assert other.mean > 3 * noise
    assert other.beyond_noise > 0.5 * other.mean
    assert other.moved > 0.2


def test_other_rows_or_features_are_refused():
    with pytest.raises(ShapeError, match="same rows"):
        explanation_drift(linear([1, 2]).explain(np.ones((1, 2))), linear([1, 2]).explain(np.ones((2, 2))))
    with pytest.raises(ShapeError, match="same rows"):
        explanation_drift(linear([1, 2]).explain(np.ones((1, 2))), linear([1, 2, 3]).explain(np.ones((1, 3))))


class Weights:
    def __init__(self):
        self.w = np.array([1.0, 0.0, 0.0])

    def __call__(self, rows):
        return rows @ self.w


@pytest.mark.parametrize(("against", "drifts"), [("previous", [0.0, 1.0, 0.0]), ("first", [0.0, 1.0, 1.0])])
def test_every_against_and_history(against, drifts, tmp_path):
    model = Weights()
    log = ExplanationLogger(wb.Occlusion(model, np.zeros((1, 3))), np.ones((2, 3)), every=10, against=against, hold="all", folder=tmp_path)
    for step in range(1, 41):
        if step == 25:
            model.w = np.array([0.0, 2.0, 0.0])
        assert (log(step) is None) == (step % 10 != 0)
    assert [entry.step for entry in log.history] == [10, 20, 30, 40]
    assert log.history[0].drift is None
    assert [entry.drift.mean for entry in log.history[1:]] == pytest.approx(drifts)
    saved = wb.Attribution.load(tmp_path / "explanation-000030.npz")
    np.testing.assert_array_equal(saved.values, log.history[2].explanation.values)
    np.testing.assert_array_equal(saved.values[0], [0, 2, 0])


def test_sinks_get_numbers_by_name():
    got = []
    explainer = wb.Occlusion(lambda r: r @ np.array([1.0, -2.0]), np.zeros((1, 2)))
    log = ExplanationLogger(explainer, np.ones((2, 2)), sinks=(lambda step, numbers: got.append((step, dict(numbers))),))
    log(0)
    log(1)
    assert [step for step, _ in got] == [0, 1]
    first = got[0][1]
    assert [first[name] for name in first if name.startswith("whybox/importance/")] == [1.0, 2.0]
    assert "whybox/drift" not in first
    assert got[1][1]["whybox/drift"] == got[1][1]["whybox/moved"] == 0.0
    assert all(type(v) is float and v == v for _, numbers in got for v in numbers.values())


def test_training_does_not_notice():
    """Modes of every submodule, gradients, weights and generators are what they would be without the logger."""

    def train(log):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
        net[1].eval()  # a part that the user froze
        logger = ExplanationLogger(wb.KernelSHAP(net, B), X) if log else lambda epoch: None
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        data = torch.randn(64, 4)
        for epoch in range(3):
            optimizer.zero_grad()
            net(data).pow(2).mean().backward()
            logger(epoch)
            optimizer.step()
            assert [m.training for m in net.modules()] == [True, True, False, True, True]
        return net.state_dict(), torch.rand(3), logger

    with_log, drawn, logger = train(True)
    without, drawn_without, _ = train(False)
    assert all(torch.equal(with_log[name], without[name]) for name in without)
    assert torch.equal(drawn, drawn_without)
    assert len(logger.history) == 3
    assert all(entry.drift.mean > 0 for entry in logger.history[1:])


class Net(torch.nn.Module):
    """What the Trainer trains; the part from inputs to outputs is explained."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def forward(self, x, labels):
        out = self.layers(x)[:, 0]
        return {"loss": (out - labels).pow(2).mean(), "out": out}


@pytest.mark.parametrize(("on", "steps"), [("epoch", [1, 2, 3]), ("step", [4, 8, 12])])
def test_hugging_face_trainer_calls_it(on, steps, tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
    net = Net()
    logger = ExplanationLogger(wb.Occlusion(net.layers, B), X, every=1 if on == "epoch" else 4)
    data = [
        {"x": torch.tensor(row, dtype=torch.float32), "labels": torch.tensor(row[0], dtype=torch.float32)}
        for row in RNG.normal(size=(32, 4))
    ]
    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=3, per_device_train_batch_size=8, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True
    )
    trainer = transformers.Trainer(net, arguments, train_dataset=data, callbacks=[trainer_callback(logger, on=on)])
    trainer.train()
    assert [entry.step for entry in logger.history] == steps
    assert [record["step"] for record in trainer.state.log_history if "whybox/drift" in record] == [8, 12]


class State:
    """What the Trainer hands to its callbacks (transformers.TrainerState), as far as it is read."""

    def __init__(self, epoch, step, zero=True):
        self.epoch, self.global_step, self.is_world_process_zero, self.log_history = epoch, step, zero, []


def test_callback_reads_the_trainers_state():
    """Without accelerate, too: the callback is called as the Trainer calls it."""
    pytest.importorskip("transformers")
    logger = ExplanationLogger(linear([1, 2]), np.ones((1, 2)))
    callback, state = trainer_callback(logger), State(epoch=0.9999, step=7)
    callback.on_step_end(None, state, None, model=None)
    assert not logger.history
    callback.on_epoch_end(None, state, None, model=None)
    assert [entry.step for entry in logger.history] == [1]
    (record,) = state.log_history
    assert (record["epoch"], record["step"]) == (0.9999, 7)
    assert sorted(v for name, v in record.items() if "importance" in name) == [1.0, 2.0]
    callback.on_epoch_end(None, State(2.0, 14, zero=False), None)
    assert len(logger.history) == 1, "only the first process logs"


def test_mlflow_gets_metrics_with_names_that_it_takes(monkeypatch):
    logged = []
    fake = types.ModuleType("mlflow")
    fake.log_metrics = lambda metrics, step=None: logged.append((metrics, step))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    MLflowSink()(3, {"whybox/importance/price [€]": 1.0})
    assert logged == [({"whybox/importance/price ___": 1.0}, 3)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its own database layer
def test_real_mlflow(tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    pytest.importorskip("sqlalchemy", reason="mlflow-skinny has no database of its own")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs.db'}")
    with mlflow.start_run() as run:
        log = ExplanationLogger(linear([1, 2]), np.ones((1, 2)), sinks=(MLflowSink(),))
        log(0)
        log(1)
    found = mlflow.get_run(run.info.run_id).data.metrics
    assert found["whybox/drift"] == 0.0


def test_tensorboard_writer_is_used_and_left_open():
    class Writer:
        def __init__(self):
            self.got, self.closed = [], False

        def add_scalar(self, tag, value, step):
            self.got.append((tag, value, step))

        def close(self):
            self.closed = True

    writer = Writer()
    sink = TensorBoardSink(writer)
    sink(2, {"a": 1.0, "b": 0.5})
    sink.close()
    assert (writer.got, writer.closed) == ([("a", 1.0, 2), ("b", 0.5, 2)], False)


def test_real_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sink = TensorBoardSink(tmp_path)
    for step in range(3):
        sink(step, {"whybox/drift": 0.5 * step})
    sink.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("whybox/drift")] == [(0, 0.0), (1, 0.5), (2, 1.0)]


@pytest.mark.parametrize(("module", "make"), [("mlflow", MLflowSink), ("tensorboard", lambda: TensorBoardSink("folder"))])
def test_missing_package_is_named_before_the_training(module, make, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        make()


def test_a_sink_that_fails_ends_no_training():
    def broken(step, scalars):
        raise ConnectionError("the server is gone")

    got = []
    log = ExplanationLogger(linear([1, 2]), np.ones((1, 2)), sinks=(broken, lambda step, scalars: got.append(step)))
    for step in range(2):
        with pytest.warns(SinkWarning, match=f"numbers of step {step}.*ConnectionError: the server is gone"):
            log(step)
    assert got == [0, 1], "the others get theirs"
    assert [entry.step for entry in log.history] == [0, 1]


@pytest.mark.parametrize("wrong", [{"every": 0}, {"every": True}, {"against": "last"}, {"hold": "none"}, {"sinks": (3,)}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(OptionError):
        ExplanationLogger(linear([1]), np.ones((1, 1)), **wrong)
    with pytest.raises(OptionError):
        trainer_callback(None, on="batch")
