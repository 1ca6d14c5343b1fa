"""The engine: what is sent, how often, in what portions, and what survives a fault."""

import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest

from whybox.engine import Engine, NoisyModelWarning
from whybox.errors import BudgetError, CheckpointError, OptionError, OutputOrderError, OutputShapeError, OutputValueError
from whybox.explainers import ExactSHAP, PermutationSHAP
from whybox.spaces import Marginal
from whybox.typing import Ask, Model

RNG = np.random.default_rng(7)
X = RNG.normal(size=(6, 4))
B = RNG.normal(size=(9, 4))
CODES = RNG.random((11, 4)) < 0.5


def honest(rows):
    """Row-wise arithmetic whose bits do not depend on the batch."""
    return rows[:, 0] * rows[:, 1] - rows[:, 2] + 0.25 * rows[:, 3] ** 2


def truth(predict=honest):
    rows = np.where(CODES[None, :, None, :], X[:, None, None, :], B[None, None])
    return predict(rows.reshape(-1, 4)).reshape(6, 11, 9).mean(axis=2)


def run_job(predict, engine=None, checkpoint=None, x=X, codes=CODES, max_batch=None, **start):
    model = Model(predict, max_batch=max_batch)
    bound = Marginal(B).bind(x, model)
    with (engine or Engine()).start(model, checkpoint=checkpoint, **start) as run:
        return run.values(bound, [Ask(np.arange(len(x)), codes)])[0][..., 0], run.stats


def test_values_are_the_mean_over_the_background():
    np.testing.assert_allclose(run_job(honest)[0], truth(), rtol=1e-13)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 9, 10, 99, 100, 594, 10_000, "auto"])
def test_batch_size_changes_no_bit(batch_size):
    values, stats = run_job(honest, Engine(batch_size=batch_size))
    assert np.array_equal(values, run_job(honest, Engine(batch_size=50))[0])
    assert batch_size == "auto" or stats.batch_size <= batch_size


def test_no_batch_is_larger_than_the_model_takes():
    sizes = []

    def predict(rows):
        sizes.append(len(rows))
        return honest(rows)

    run_job(predict, max_batch=100, x=np.tile(X, (40, 1)) + np.arange(240)[:, None])
    assert max(sizes) <= 100
    assert len(sizes) > 200


def test_stats_count_what_the_model_saw():
    sizes = []

    def predict(rows):
        sizes.append(len(rows))
        return honest(rows)

    _, stats = run_job(predict)
    assert stats.n_queries == sum(sizes)
    assert stats.n_calls == len(sizes)
    assert stats.batch_size == max(sizes)


def test_identical_rows_are_sent_once():
    seen = []

    def predict(rows):
        seen.append(rows.copy())
        return rows @ np.array([1.0, 10.0, 100.0])

    x = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 0.0]])
    background = np.repeat(np.array([[0.0, 0.0, 1.0], [2.0, 1.0, 0.0]]), 20, axis=0)
    codes = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=bool)
    model = Model(predict)
    with Engine(controls=False).start(model) as run:
        values = run.values(Marginal(background).bind(x, model), [Ask(np.arange(2), codes)])[0][..., 0]
        again = run.values(Marginal(background).bind(x, model), [Ask(np.arange(2), codes)])[0][..., 0]
        stats = run.stats
    rows = np.where(codes[None, :, None, :], x[:, None, None, :], background[None, None])
    distinct = len(np.unique(rows.reshape(-1, 3), axis=0))
    assert stats.n_queries == sum(map(len, seen)) == distinct
    assert stats.n_rows == 2 * rows.size // 3
    np.testing.assert_allclose(values, (rows @ np.array([1.0, 10.0, 100.0])).mean(axis=2))
    assert np.array_equal(values, again)


def test_deduplication_keeps_rows_apart_that_are_close_but_not_equal():
    x = np.array([[1.0, 1.0]])
    background = np.array([[1.0 + 1e-15, 1.0], [1.0, np.nextafter(1.0, 2.0)]])
    seen = []

    def predict(rows):
        seen.extend(map(tuple, rows))
        return rows[:, 0]

    model = Model(predict)
    codes = np.array([[True, False], [False, True], [True, True]])
    with Engine(dedupe=True, controls=False).start(model) as run:
        run.values(Marginal(background).bind(x, model), [Ask(np.arange(1), codes)])
    wanted = {tuple(row) for row in np.where(codes[:, None], x[0], background).reshape(-1, 2)}
    assert set(seen) == wanted
    assert len(seen) == len(wanted)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate")])
def test_out_of_memory_halves_the_batch_and_goes_on(error):
    def predict(rows):
        if len(rows) > 30:
            raise error
        return honest(rows)

    values, _ = run_job(predict, Engine(batch_size=500))
    np.testing.assert_allclose(values, truth(), rtol=1e-13)


def test_out_of_memory_for_a_single_row_passes_through():
    def predict(rows):
        raise MemoryError("one row is too much")

    with pytest.raises(MemoryError, match="one row"):
        run_job(predict)


def test_transient_errors_are_retried_and_counted():
    calls = []

    def predict(rows):
        calls.append(len(rows))
        if len(calls) in (2, 3):
            raise ConnectionError("reset")
        return honest(rows)

    values, stats = run_job(predict, Engine(batch_size=100, retry_wait=0.0))
    np.testing.assert_allclose(values, truth(), rtol=1e-13)
    assert stats.n_retries == 2


def test_a_models_own_exception_passes_through_with_its_batch():
    def predict(rows):
        raise KeyError("my own bug")

    with pytest.raises(KeyError, match="my own bug") as caught:
        run_job(predict)
    assert any("batch of" in note and "from row 0" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (lambda r: np.full(len(r), np.nan), OutputValueError, "NaN"),
        (lambda r: np.full(len(r), np.inf), OutputValueError, "infinite"),
        (lambda r: np.zeros(len(r) - 1), OutputShapeError, "expected .* outputs for"),
        (lambda r: np.zeros(len(r) + 1), OutputShapeError, "expected .* outputs for"),
        (lambda r: 1.0, OutputShapeError, "shape"),
        (lambda r: np.zeros((len(r), 2, 2)), OutputShapeError, "shape"),
        (lambda r: np.zeros((len(r), 0)), OutputShapeError, "at least one output"),
        (lambda r: None, OutputShapeError, "None"),
        (lambda r: np.array(["yes"] * len(r)), OutputValueError, "real numbers"),
        (lambda r: np.array([{}] * len(r)), OutputValueError, "real numbers"),
        (lambda r: np.zeros(len(r), dtype=complex), OutputValueError, "real numbers"),
        (lambda r: [[1.0], [1.0, 2.0]] * (len(r) // 2), OutputShapeError, "rectangular"),
        (lambda r: np.ma.masked_less(honest(r), 0.0), OutputValueError, "are masked"),
    ],
)
def test_unusable_answers_are_named_errors(answer, error, text):
    with pytest.raises(error, match=text):
        run_job(answer)


@pytest.mark.parametrize("convert", [list, tuple, lambda y: y[:, None], lambda y: y.astype(object), np.float32, "series", "frame", "torch"])
def test_any_container_of_numbers_is_an_answer(convert):
    import pandas as pd

    if convert == "torch":
        torch = pytest.importorskip("torch")
        convert = torch.from_numpy
    convert = {"series": pd.Series, "frame": pd.DataFrame}.get(convert, convert) if isinstance(convert, str) else convert
    values, _ = run_job(lambda r: convert(honest(r)))
    np.testing.assert_allclose(values, truth(), rtol=1e-5, atol=1e-6)


def test_nan_rows_can_be_skipped_and_are_counted():
    def predict(rows):
        out = honest(rows)
        out[rows[:, 0] == B[3, 0]] = np.nan
        return out

    values, stats = run_job(predict, Engine(on_nan="skip", dedupe=False, controls=False))
    rows = np.where(CODES[None, :, None, :], X[:, None, None, :], B[None, None])
    outputs = predict(rows.reshape(-1, 4)).reshape(6, 11, 9)
    np.testing.assert_allclose(values, np.nanmean(outputs, axis=2), rtol=1e-12)
    assert stats.n_nan == np.isnan(outputs).sum() > 0


@pytest.mark.parametrize("spoil", [np.sort, lambda y: y[::-1], lambda y: y - y.mean(), lambda y: np.roll(y, 1)])
def test_answers_that_depend_on_the_place_in_the_batch_are_refused(spoil):
    with pytest.raises(OutputOrderError, match="control rows"):
        run_job(lambda r: spoil(honest(r)), Engine(batch_size=1000))


def test_noise_is_measured_and_said():
    noise = np.random.default_rng(0)
    with pytest.warns(NoisyModelWarning, match="not deterministic"):
        _, stats = run_job(lambda r: honest(r) + noise.normal(scale=0.5, size=len(r)), Engine(batch_size=4000), x=np.tile(X, (60, 1)))
    assert stats.repeat_sd == pytest.approx(0.5, rel=0.35)
    assert run_job(honest, Engine(batch_size=200))[1].repeat_sd == 0.0


def test_a_model_that_changes_its_input_changes_nothing_else():
    def predict(rows):
        out = honest(rows)
        rows[:] = -1.0
        return out

    x, b = X.copy(), B.copy()
    values, _ = run_job(predict)
    np.testing.assert_allclose(values, truth(), rtol=1e-13)
    assert np.array_equal(x, X)
    assert np.array_equal(b, B)


def test_a_model_that_reuses_its_output_buffer_is_right():
    buffer = np.empty(1000)

    def predict(rows):
        buffer[: len(rows)] = honest(rows)
        return buffer[: len(rows)]

    np.testing.assert_allclose(run_job(predict, Engine(batch_size=100))[0], truth(), rtol=1e-13)


def test_budget_stops_before_it_is_exceeded():
    seen = []

    def predict(rows):
        seen.append(len(rows))
        return honest(rows)

    with pytest.raises(BudgetError, match="max_queries=250"):
        run_job(predict, Engine(batch_size=100, max_queries=250))
    assert 100 < sum(seen) <= 250


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"dedupe": "yes"},
        {"on_nan": "drop"},
        {"max_queries": -1},
        {"retries": -1},
        {"retries": 1.5},
        {"retries": "3"},
        {"retries": True},
        {"retry_wait": None},
        {"retry_wait": -1.0},
        {"retry_on": "ConnectionError"},
        {"retry_on": (ValueError("an instance"),)},
        {"controls": None},
    ],
)
def test_options_that_do_not_exist_are_refused(options):
    with pytest.raises(OptionError):
        Engine(**options)


@pytest.mark.parametrize(
    "options", [{"retries": 0}, {"retries": np.int64(2)}, {"retry_wait": np.float32(0.1)}, {"retry_on": ValueError}, {"retry_on": ()}]
)
def test_options_of_any_fitting_type_are_taken(options):
    Engine(**options)


@pytest.mark.parametrize("engine", [None, {}, Engine])
def test_what_is_no_engine_is_refused_by_name(engine):
    with pytest.raises(OptionError, match="engine: expected"):
        ExactSHAP(honest, B, engine=engine).explain(X)


def test_checkpoints_take_numpy_options_and_name_what_is_no_file(tmp_path):
    explainer = PermutationSHAP(honest, B)
    options = {"tol": np.float32(0.5), "budget": np.int64(64), "seed": np.int32(1)}
    first = explainer.explain(X, checkpoint=tmp_path / "log", **options)
    again = explainer.explain(X, checkpoint=tmp_path / "log", **options)
    assert np.array_equal(first.values, again.values)
    assert again.n_queries == 0
    for path in (tmp_path, tmp_path / "no" / "folder"):
        with pytest.raises(CheckpointError, match="cannot be opened"):
            explainer.explain(X, checkpoint=path)
    with pytest.raises(OptionError, match="checkpoint"):
        explainer.explain(X, checkpoint=3)


class Counting:
    def __init__(self, fail_after=None, error=KeyboardInterrupt):
        self.rows, self.calls, self.fail_after, self.error = 0, 0, fail_after, error

    def __call__(self, rows):
        self.calls += 1
        if self.fail_after is not None and self.calls > self.fail_after:
            raise self.error
        self.rows += len(rows)
        return honest(rows)


@pytest.mark.parametrize("dedupe", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_checkpoint_keeps_every_finished_batch(tmp_path, error, dedupe):
    engine = Engine(batch_size=50, controls=False, dedupe=dedupe)
    whole = Counting()
    undisturbed, _ = run_job(whole, engine)
    first, second = Counting(fail_after=5, error=error), Counting()
    with pytest.raises(error):
        run_job(first, engine, tmp_path / "log", job="a")
    values, stats = run_job(second, engine, tmp_path / "log", job="a")
    assert np.array_equal(values, undisturbed)
    assert first.rows + second.rows == whole.rows
    assert stats.n_resumed == first.rows > 0


def test_a_torn_record_is_cut_off(tmp_path):
    engine = Engine(batch_size=50, controls=False, dedupe=False)
    log = tmp_path / "log"
    undisturbed, _ = run_job(honest, engine, log, job="a")
    log.write_bytes(log.read_bytes()[:-7])
    again = Counting()
    values, _ = run_job(again, engine, log, job="a")
    assert np.array_equal(values, undisturbed)
    assert 0 < again.rows <= 50


def test_a_checkpoint_of_another_job_is_refused(tmp_path):
    run_job(honest, checkpoint=tmp_path / "log", job="a", about={"seed": 0})
    with pytest.raises(CheckpointError, match="seed"):
        run_job(honest, checkpoint=tmp_path / "log", job="b", about={"seed": 1})
    with pytest.raises(CheckpointError, match="rows of part"):
        run_job(honest, checkpoint=tmp_path / "log", job="a", about={"seed": 0}, codes=~CODES)
    (tmp_path / "other").write_text("my thesis, the only copy, which must not be overwritten")
    with pytest.raises(CheckpointError, match="not a whybox checkpoint"):
        run_job(honest, checkpoint=tmp_path / "other", job="a")
    assert "my thesis" in (tmp_path / "other").read_text()


def test_a_checkpoint_that_was_killed_at_its_first_line_takes_the_job_that_comes(tmp_path):
    (tmp_path / "log").write_bytes(b"whybox checkpoint 1\n")
    run_job(honest, checkpoint=tmp_path / "log", job="a", about={"seed": 0})
    with pytest.raises(CheckpointError, match="seed"):
        run_job(honest, checkpoint=tmp_path / "log", job="b", about={"seed": 1})


def test_two_calls_do_not_write_one_checkpoint(tmp_path):
    """Each would write over what the other has paid for."""

    def model(rows):
        with pytest.raises(CheckpointError, match="another call is at work"):
            run_job(honest, checkpoint=tmp_path / "log", job="a")
        return honest(rows)

    values, _ = run_job(model, checkpoint=tmp_path / "log", job="a")
    again, stats = run_job(honest, checkpoint=tmp_path / "log", job="a")
    assert stats.n_queries == 0
    np.testing.assert_array_equal(values, again)


def test_kill_9_costs_at_most_one_batch(tmp_path):
    script = textwrap.dedent(
        """
        import sys, time
        import numpy as np
        sys.path.insert(0, sys.argv[1])
        import test_engine as t
        from whybox.engine import Engine

        def predict(rows):
            with open(sys.argv[2] + ".count", "ab", buffering=0) as f:
                f.write(b"%d\\n" % len(rows))
            time.sleep(0.02)
            return t.honest(rows)

        values, stats = t.run_job(predict, Engine(batch_size=20, controls=False, dedupe=False), sys.argv[2], job="kill")
        np.save(sys.argv[2] + ".npy", values)
        """
    )
    log = tmp_path / "log"
    count = tmp_path / "log.count"
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(log)]
    process = subprocess.Popen(command)
    while not count.exists() or len(count.read_bytes().splitlines()) < 8:
        assert process.poll() is None, "the job ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command, check=True)
    sent = sum(map(int, count.read_text().split()))
    assert X.shape[0] * len(CODES) * len(B) <= sent <= X.shape[0] * len(CODES) * len(B) + 20
    np.testing.assert_array_equal(np.load(str(log) + ".npy"), run_job(honest, Engine(batch_size=20))[0])


def test_asks_of_different_rows_share_batches():
    sizes = []

    def predict(rows):
        sizes.append(len(rows))
        return honest(rows)

    model = Model(predict)
    bound = Marginal(B[:1]).bind(X, model)
    asks = [Ask(np.array([i]), CODES[: i + 1]) for i in range(6)]
    with Engine(batch_size=64, dedupe=False).start(model) as run:
        values = run.values(bound, asks)
    assert sizes == [21]
    for i, value in enumerate(values):
        np.testing.assert_allclose(value[0, :, 0], honest(np.where(CODES[: i + 1], X[i], B[0])))


def test_honest_models_raise_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_job(honest)


@pytest.mark.parametrize(
    "predict",
    [lambda rows: np.sort(rows @ np.arange(1.0, 7.0)), lambda rows: rows.sum(axis=1) - rows.mean(axis=0).sum()],
    ids=["sorted", "less the batch's mean"],
)
def test_a_small_job_has_a_control_row_too(predict):
    x = np.random.default_rng(0).normal(size=(3, 6))
    with pytest.raises(OutputOrderError):
        ExactSHAP(predict, np.zeros((1, 6))).explain(x)


def test_outputs_whose_sums_overflow_are_refused_by_name():
    with pytest.raises(OutputValueError, match="overflow"):
        ExactSHAP(lambda rows: rows.sum(axis=1) * 1e308, np.zeros((3, 3))).explain(np.full((1, 3), 0.5))
    e = ExactSHAP(lambda rows: rows.sum(axis=1) * 1e140, np.zeros((3, 3))).explain(np.full((1, 3), 0.5))
    np.testing.assert_allclose(e.values, 0.5e140)
