"""The automatic batch size: what it finds when costs are known, how many rows the search wastes, and what noise does to it."""

import sys
import time

import numpy as np
import pytest

from whybox.engine import Engine
from whybox.engine._batch import BatchSizer
from whybox.engine._clock import Spent, Stopwatch
from whybox.spaces import Marginal
from whybox.typing import Ask, Model


def call_and_rows(a_call, a_row):
    return lambda rows: a_call + a_row * rows


def cliff(a_call, a_row, at, beyond):
    """A batch of more rows than ``at`` costs ``beyond`` times as much a row."""
    return lambda rows: a_call + a_row * rows * (beyond if rows > at else 1.0)


def send(sizer, n, cost, clocks=lambda seconds: Spent(seconds, seconds, False)):
    """Send n rows; returns the seconds that they cost."""
    spent = 0.0
    while n > 0:
        rows = sizer.next(0, n, 1 << 40, 1)
        spent += cost(rows)
        sizer.took(rows, clocks(cost(rows)))
        n -= rows
    return spent


def least(cost, limit=1 << 17):
    return min(cost(rows) / rows for rows in (1 << k for k in range(18)) if rows <= limit)


COSTS = {
    "texts": (call_and_rows(6e-4, 3e-5), 5000, 1000),
    "a dear call": (call_and_rows(5e-2, 1e-6), 4 * 10**6, 64),
    "cheap rows": (call_and_rows(2e-5, 1e-8), 10**6, 160),
    "images": (cliff(1e-4, 1e-3, 4, 1.8), 1000, 600_000),
    "a slow model": (call_and_rows(1e-2, 1.0), 2000, 100),
    "caches": (cliff(1e-4, 1e-6, 4096, 1.5), 10**6, 160),
    "nothing to gain": (call_and_rows(0.0, 1e-5), 10**5, 160),
}


@pytest.mark.parametrize("name", COSTS)
def test_the_whole_job_costs_little_more_than_in_the_best_batch(name):
    cost, n, row_nbytes = COSTS[name]
    sizer = BatchSizer("auto")
    sizer.cap_bytes(row_nbytes)
    spent = send(sizer, n, cost)
    assert spent < 1.1 * n * least(cost, sizer.limit)


def test_a_short_job_is_not_spent_on_trials_of_large_batches():
    """Half a million rows of a network whose activations outgrow the caches: larger batches could win 4 % and cost twice as much."""
    cost, n = cliff(5e-4, 7e-7, 30_000, 2.0), 512_000
    sizer = BatchSizer("auto")
    sizer.cap_bytes(160)
    assert send(sizer, n, cost) < 1.1 * n * least(cost, sizer.limit)
    long = BatchSizer("auto")
    long.cap_bytes(160)
    sizes = []
    send(long, 100 * n, lambda rows: (sizes.append(rows), cost(rows))[1])
    assert max(sizes) > 30_000  # where it may pay, it is tried


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", ["texts", "images", "caches"])
def test_other_work_on_the_machine_does_not_move_the_size(name, seed):
    """A core with ten other tasks: a batch is interrupted for milliseconds, longer ones more often, which the CPU clock does not see."""
    cost, n, row_nbytes = COSTS[name]
    rng = np.random.default_rng(seed)

    def clocks(seconds):
        cpu = seconds * rng.uniform(1.0, 1.1)
        return Spent(cpu + 4e-3 * rng.poisson(10 * cpu / 4e-3), cpu, False)

    sizer = BatchSizer("auto")
    sizer.cap_bytes(row_nbytes)
    spent = send(sizer, 10 * n, cost, clocks)
    assert spent < 1.1 * 10 * n * least(cost, sizer.limit)


def test_phases_of_a_slower_machine_do_not_move_the_size():
    """A third as fast now and then for a tenth of a second: what is tried in such a phase looks dear, and what comes after it cheap."""
    a_row = {64: 4.3, 256: 1.2, 1024: 0.83, 2048: 0.67, 4096: 0.79, 16384: 0.91, 32768: 0.98, 65536: 1.34}  # a small network, microseconds
    sizes, costs = np.log(list(a_row)), np.log(list(a_row.values()))

    def cost(rows):
        return 1e-6 * rows * np.exp(np.interp(np.log(rows), sizes, costs))

    wasted = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        phase = {"slower": rng.random() < 0.4, "left": rng.exponential(0.2)}

        def clocks(seconds, rng=rng, phase=phase):
            seconds *= rng.uniform(1.0, 1.3) * (3.0 if phase["slower"] else 1.0)
            phase["left"] -= seconds
            if phase["left"] < 0:
                phase.update(slower=not phase["slower"], left=rng.exponential(0.3 if phase["slower"] else 0.1))
            return Spent(seconds, seconds, False)

        sizer = BatchSizer("auto")
        sizer.cap_bytes(160)
        wasted.append(send(sizer, 2_500_000, cost, clocks) / (2_500_000 * least(cost, sizer.limit)) - 1)
    assert np.mean(wasted) < 0.045


def test_a_model_that_waits_is_judged_by_the_time_that_passes():
    """The CPU has 100 times less to do than the model's own machine, and would take any size."""
    cost = call_and_rows(5e-2, 1e-4)
    sizer = BatchSizer("auto")
    send(sizer, 10**5, cost, lambda seconds: Spent(seconds, 1e-3, True))
    assert sizer.size >= 2048


def test_a_clock_of_the_cpu_that_does_not_tick_is_not_believed():
    sizer = BatchSizer("auto")
    send(sizer, 10**6, call_and_rows(1e-3, 1e-6), lambda seconds: Spent(seconds, 0.0, False))
    assert sizer.size >= 8192


def test_threads_are_judged_by_the_time_that_passes():
    """From 1,000 rows on four threads share the work, and the CPU is four times as busy as the clock on the wall tells."""

    def clocks(seconds):
        return Spent(seconds / 4, seconds * 1.2, False) if seconds > 1e-2 else Spent(seconds, seconds, False)

    sizer = BatchSizer("auto")
    send(sizer, 10**6, call_and_rows(1e-5, 1e-5), clocks)
    assert sizer.size >= 1024


def test_amounts_of_work_tell_rows_of_unlike_length_apart():
    """Long texts first, then short ones: a row of the latter costs less, whatever the batch."""
    sizer = BatchSizer("auto")
    for length in [1000] * 4 + [10] * 40:
        rows = sizer.size
        sizer.took(rows, Spent(rows * length * 1e-6, rows * length * 1e-6, False), rows * length)
    assert sizer.settled
    assert sizer.size == 64


def test_a_size_is_sought_again_and_memory_is_not_asked_for_twice():
    sizer = BatchSizer("auto")
    send(sizer, 10**4, lambda rows: 1e-3 * rows)
    assert sizer.settled
    assert sizer.size == 64
    send(sizer, 10**7, lambda rows: 1e-3 + 1e-6 * rows)
    assert sizer.size >= 8192
    sizer.ran_out_of_memory(sizer.size)
    most = sizer.size
    send(sizer, 10**7, lambda rows: 1e-3 + 1e-6 * rows)
    assert sizer.size <= most


def test_large_rows_begin_with_few_and_never_leave_the_limit():
    sizer = BatchSizer("auto", max_batch=10)
    sizer.cap_bytes(600_000)
    assert sizer.size == 4
    seen = []
    for _ in range(100):
        seen.append(sizer.size)
        sizer.took(sizer.size, Spent(1.0 + 1e-3 * sizer.size, 1.0 + 1e-3 * sizer.size, False))
    assert max(seen) == 10


def test_a_given_size_is_kept():
    sizer = BatchSizer(7)
    sizer.cap_bytes(1 << 30)
    sizer.took(7, Spent(1.0, 1.0, False))
    assert (sizer.size, sizer.settled) == (7, True)


def test_a_model_of_costly_calls_gets_few_of_them():
    """In the engine itself: half of the work is in the calls until the size is found."""
    rng = np.random.default_rng(0)
    x, b = rng.normal(size=(40, 6)), rng.normal(size=(50, 6))
    codes = rng.random((60, 6)) < 0.5
    calls = []

    def predict(rows):
        calls.append(len(rows))
        sum(range(100_000))  # on one thread, whatever else the machine does
        return rows.sum(axis=1)

    model = Model(predict)
    with Engine(dedupe=False, controls=False).start(model) as run:
        run.values(Marginal(b).bind(x, model), [Ask(np.arange(40), codes)])
    assert sum(calls) == 120_000
    assert len(calls) < 60


def test_rows_that_are_there_already_are_sent_in_growing_batches_too():
    """Explained rows, and those that a surrogate learns from."""

    def costly(rows):
        until = time.process_time() + 0.002
        while time.process_time() < until:
            pass
        return rows.sum(axis=1)

    model = Model(name="costly", predict=costly)
    with Engine(controls=False).start(model) as run:
        rows = np.random.default_rng(0).normal(size=(50_000, 3))
        np.testing.assert_array_equal(run.predict(rows)[:, 0], rows.sum(axis=1))
    assert run.stats.n_calls < 80  # of 64 rows each there would be 782


def test_a_stopwatch_tells_waiting_from_working():
    time.sleep(0.5)  # threads of a numerical library spin on for a while after their work
    watch = Stopwatch()
    time.sleep(0.05)
    slept = watch.read()
    assert slept.waited
    assert slept.cpu < 0.04 < slept.wall
    stretches = []
    for _ in range(10):  # a busy machine, or a thread of the test runner, may cut in on some of them
        watch = Stopwatch()
        while watch.read().cpu < 0.02:
            pass
        stretches.append(watch.read())
    assert all(worked.cpu >= 0.02 for worked in stretches)
    if sys.platform == "linux":
        assert sum(worked.waited for worked in stretches) < len(stretches) / 2
