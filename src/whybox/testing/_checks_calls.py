"""Contracts on how the model is called: when, how often, in what portions, and what a call leaves behind."""

from __future__ import annotations

import pickle
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from whybox.errors import BudgetError
from whybox.models import as_model
from whybox.testing._checks_bench import Bench, BrokenContractError, difference, expect, game, host, part, two_games
from whybox.testing._mixed import mixed_frame, mixed_game
from whybox.testing.faults import RaisesAt
from whybox.testing.models import RecordingModel
from whybox.typing import Rows


def construction_asks_nothing(bench: Bench) -> None:
    """1. Making an explainer calls no model; explaining does."""
    model = RecordingModel(game)
    explainer = bench.make(model)
    expect(model.n_calls == 0, "no model call at construction", f"{model.n_calls}", "move them into explain")
    explainer.explain(bench.x(1), **bench.few())
    expect(model.n_calls > 0, "explain to ask the model", "no call", "explain the model that was handed over")


def same_seed_same_bits(bench: Bench) -> None:
    """2. Two explainers, one seed: the same queries and the same bits."""
    models = [RecordingModel(two_games) for _ in range(2)]
    first, second = (bench.make(model).explain(bench.x(3), seed=7, **bench.few()) for model in models)
    expect(
        models[0].digests == models[1].digests, "the same batches for the same seed", "others", "take every draw from generator(seed, ...)"
    )
    gap = difference(first, second)
    expect(not gap, "the same bits for the same seed", gap, "keep clocks, counters, addresses and sets out of the arithmetic")


def other_seed_other_queries(bench: Bench) -> None:
    """2. Another seed asks other rows, and is recorded."""
    asked = []
    for seed in (1, 2):
        model = RecordingModel(game, keep=True)
        e = bench.make(model).explain(bench.x(1), seed=seed, **bench.few())
        asked.append({row.tobytes() for batch in model.batches for row in host(batch)})
        expect(e.seed == seed, f"the explanation to record seed={seed}", repr(e.seed), "store the seed of the call")
    expect(asked[0] != asked[1], "other queries for another seed", "the same rows", "hand the seed of the call to the sampler")


def subset_gives_subset(bench: Bench) -> None:
    """4. Some rows, in another order: the same bits as among all rows."""
    explainer = bench.make(two_games)
    everything = explainer.explain(bench.x(5), **bench.few())
    for index in ([3], [4, 0, 2], [1, 2]):
        gap = difference(explainer.explain(bench.x(5)[index], **bench.few()), part(everything, index))
        expect(not gap, f"the bits of rows {index} whatever rows stand beside them", gap, "let nothing of a row depend on its neighbours")
    if bench.texts:
        return
    x, explainer = mixed_frame(bench.x(4)), bench.make(mixed_game, mixed_frame(bench.background()))
    try:
        everything = explainer.explain(x, **bench.few())
    except Exception:  # noqa: BLE001  # whether tables of many kinds are explained, and reach the model as they are, is another check's
        return
    for index in ([2, 1], [3], [1, 0, 3]):
        gap = difference(explainer.explain(x.iloc[index], **bench.few()), part(everything, index))
        expect(not gap, f"the bits of rows {index} of a DataFrame", gap, "count categories as they come in the background")


def chunk_size_changes_nothing(bench: Bench) -> None:
    """5. Batches of any size give the same bits."""
    whole = bench.make(two_games, batch_size=100_000).explain(bench.x(3), **bench.few())
    for size in (3, 64, 101, "auto"):
        gap = difference(bench.make(two_games, batch_size=size).explain(bench.x(3), **bench.few()), whole)
        expect(not gap, f"the same bits with batch_size={size!r}", gap, "let no result depend on the portions")


def n_queries_is_what_the_model_saw(bench: Bench) -> None:
    """6. The cost that is reported is the cost."""
    for options in ({}, {"dedupe": False}, {"batch_size": 7, "controls": False}):
        model = RecordingModel(game)
        explainer = bench.make(model, **options)
        before = model.n_rows, model.n_calls
        e = explainer.explain(bench.x(2), **bench.few())
        saw = model.n_rows - before[0], model.n_calls - before[1]
        came = e.n_queries, e.stats.n_calls
        expect(came == saw, f"n_queries and n_calls {saw}, as the model saw with {options}", came, "report the stats of the run")
        biggest = max(model.batch_sizes[before[1] :])
        expect(e.stats.batch_size == biggest, f"batch_size {biggest}", e.stats.batch_size, "report the stats of the run")


def limits_hold(bench: Bench) -> None:
    """6. No batch is larger than allowed, and no query goes past max_queries."""
    for name, model, options in (
        ("batch_size=50", RecordingModel(game), {"batch_size": 50}),
        ("max_batch=37", RecordingModel(game), {"batch_size": "auto", "max_batch": 37}),
    ):
        bench.make(model, **options).explain(bench.x(2), **bench.few())
        most = int(name.rpartition("=")[2])
        expect(max(model.batch_sizes) <= most, f"no batch above {name}", max(model.batch_sizes), "call the model through the given engine")
    model = RecordingModel(game)
    bench.make(as_model(model, max_batch=23)).explain(bench.x(2), **bench.few())
    expect(max(model.batch_sizes) <= 23, "no batch above the model's own 23 rows", max(model.batch_sizes), "hand the Model on as it is")
    model = RecordingModel(game)
    explainer = bench.make(model, max_queries=30, batch_size=10)
    before = model.n_rows
    try:
        explainer.explain(bench.x(5), **bench.few())
    except BudgetError:
        expect(
            model.n_rows - before <= 30,
            "at most max_queries=30 rows",
            model.n_rows - before,
            "let the engine refuse before the batch is sent",
        )
    else:
        raise BrokenContractError("expected a BudgetError with max_queries=30; came none; call the model through the given engine")


def repeated_rows_cost_nothing(bench: Bench) -> None:
    """7. Copies of a row cost no query more than the row."""
    costs = []
    for index in ([0, 1], [0, 1, 0, 0, 1, 1]):
        model = RecordingModel(game)
        bench.make(model).explain(bench.x(2)[index], **bench.few())
        costs.append(model.n_rows)
    expect(costs[1] <= costs[0], f"6 rows, 2 of them distinct, to cost no more than 2: {costs[0]}", costs[1], "explain distinct rows only")


def repeated_rows_are_alike(bench: Bench) -> None:
    """7. Copies of a row in one call get identical explanations."""
    e = bench.make(two_games).explain(bench.x(3)[[0, 1, 0, 2, 1, 0]], **bench.few())
    for copy, first in ((2, 0), (5, 0), (4, 1)):
        gap = difference(part(e, [copy]), part(e, [first]))
        expect(
            not gap, f"rows {copy} and {first}, which are equal, to be explained alike", gap, "let no draw depend on the position of a row"
        )


def explain_leaves_the_explainer(bench: Bench) -> None:
    """A call leaves no trace in the explainer: what it says next does not depend on what was explained before."""
    used, fresh = bench.make(game), bench.make(game)
    before = _state(used)
    used.explain(bench.x(4)[2:], seed=3, **bench.few())
    after = _state(used)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    expect(not changed, "explain to leave the explainer as it was", f"changed {changed}", "keep what a call finds out in the call")
    gap = difference(used.explain(bench.x(2), **bench.few()), fresh.explain(bench.x(2), **bench.few()))
    expect(not gap, "a used explainer to answer as a fresh one", gap, "keep what a call finds out in the call")


def _state(explainer: Any) -> dict[str, Any]:
    """Each attribute as bytes; what cannot be pickled by its identity."""
    slots = [name for cls in type(explainer).__mro__ for name in getattr(cls, "__slots__", ())]
    content = {**{name: getattr(explainer, name) for name in slots if name != "__dict__"}, **getattr(explainer, "__dict__", {})}
    return {name: _bytes(value) for name, value in content.items()}


def _bytes(value: Any) -> object:
    try:
        return pickle.dumps(value)
    except Exception:  # noqa: BLE001  # whatever pickle minds
        return id(value)


def threads_equal_serial(bench: Bench) -> None:
    """Four threads that share an explainer get what one after the other gets."""

    def unhurried(rows: Rows) -> Any:
        time.sleep(0.0005)  # lets another thread in
        return game(rows)

    explainer = bench.make(unhurried, batch_size=100)

    def run(job: int) -> Any:
        return explainer.explain(bench.x(5)[job : job + 1 + job % 2], seed=job, **bench.few())

    jobs = range(4)
    serial = [run(job) for job in jobs]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(run, jobs))
    finally:
        sys.setswitchinterval(interval)
    for ours, theirs in zip(together, serial, strict=True):
        gap = difference(ours, theirs)
        expect(not gap, "four threads to get what serial calls get", gap, "share nothing that changes between calls")


def checkpoint_goes_on(bench: Bench) -> None:
    """An interrupted call goes on: the same bits, and only what had no answer is asked."""
    whole_model = RecordingModel(game)
    explainer = bench.make(whole_model, batch_size=50)
    before = whole_model.n_rows, whole_model.n_calls
    whole = explainer.explain(bench.x(4), **bench.few())
    rows, calls = whole_model.n_rows - before[0], whole_model.n_calls - before[1]
    if calls < 3:
        raise BrokenContractError(f"expected at least 3 batches of 50 rows; came {calls}; give a larger budget in Traits.few")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.whybox"
        breaks = RaisesAt(game, at=-2, error=KeyboardInterrupt)
        first = RecordingModel(breaks)
        explainer = bench.make(first, batch_size=50)
        breaks.at = first.n_calls + calls // 2 + 1
        asked = -first.n_rows
        try:
            explainer.explain(bench.x(4), checkpoint=path, **bench.few())
        except KeyboardInterrupt:
            asked += first.n_rows
        else:
            raise BrokenContractError("expected the model's KeyboardInterrupt to pass through; came no exception; catch Exception at most")
        second = RecordingModel(game)
        explainer = bench.make(second, batch_size=50)
        asked -= second.n_rows
        resumed = explainer.explain(bench.x(4), checkpoint=path, **bench.few())
        asked += second.n_rows
    gap = difference(resumed, whole)
    expect(not gap, "a resumed call to give the same bits", gap, "read every answer back from the checkpoint")
    most = 2 * max(whole_model.batch_sizes[before[1] :])  # the interrupted batch, and control rows of batches that are cut anew
    expect(
        asked - rows <= most, f"at most one batch to be asked again ({most} rows)", f"{asked - rows}", "hand checkpoint on to the engine"
    )
    finite = bool(np.isfinite(resumed.values).all())
    expect(finite, "finite values after resuming", "NaN", "read every answer back from the checkpoint")
