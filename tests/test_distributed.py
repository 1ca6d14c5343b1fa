"""explain_dataset: the same bytes on any engine, in any order, after any kill; and a job that is refused when it is another one."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

import whybox as wb
from whybox.distributed import ExplanationDataset, Local, Ray, UnidentifiedModelWarning, open_dataset
from whybox.distributed._identity import Identity
from whybox.distributed._job import open_folder
from whybox.errors import CheckpointError, InputError, MissingDependencyError, OptionError, SchemaError, ShapeError, WorkerLostError

pytest.importorskip("pyarrow", reason="explain_dataset writes Parquet: pip install 'whybox[parquet]'")

RNG = np.random.default_rng(0)
X, WIDE = RNG.normal(size=(23, 5)), RNG.normal(size=(20, 12))
FOREST = RandomForestClassifier(5, max_depth=4, random_state=0).fit(X, np.arange(23) % 3)


def product(x):
    return np.tanh(np.asarray(x)[:, 0]) * np.asarray(x)[:, 1] + np.asarray(x)[:, 2]


def explainer(**options) -> wb.KernelSHAP:
    return wb.KernelSHAP(wb.as_model(product, version="1"), X[:4], **options)


def hashes(found: ExplanationDataset) -> list[str]:
    found.verify()
    return [shard["sha256"] for shard in found.manifest["shards"]]


def explain(out: Path, who=None, data=X, **options) -> ExplanationDataset:
    options = {"workers": 1, "batch_size": 5, "budget": 20} | options
    if not isinstance(options.get("engine", "local"), str):
        del options["workers"]
    return wb.explain_dataset(explainer() if who is None else who, data, out, **options)


# Engines of a few lines, that behave in ways a real one may.


@dataclass
class Backwards:
    def map_batches(self, fn, batches):
        for number in reversed(batches.numbers):
            yield number, pickle.loads(pickle.dumps(fn))(pickle.loads(pickle.dumps(batches[number])))


@dataclass
class Twice:
    def map_batches(self, fn, batches):
        for batch in batches:
            fn(batch)
            yield batch.number, fn(batch)


@dataclass
class Dying:
    """Loses its workers after each batch, or at the first of some numbers."""

    poison: tuple[int, ...] = ()

    def map_batches(self, fn, batches):
        for batch in batches:
            if batch.number in self.poison:
                raise WorkerLostError("killed")
            yield batch.number, fn(batch)
            if not self.poison:
                raise WorkerLostError("killed")


@dataclass
class Elsewhere:
    """Workers that do not see the folder."""

    def map_batches(self, fn, batches):
        for batch in batches:
            yield batch.number, replace(fn, folder="/no/such/folder")(batch)


@dataclass
class Forgetful:
    def map_batches(self, fn, batches):
        yield 0, fn(batches[0])


@dataclass
class Liar:
    def map_batches(self, fn, batches):
        for batch in batches:
            yield batch.number, "done"


EXPLAINERS = {
    "KernelSHAP": lambda: wb.KernelSHAP(FOREST, X[:4]),
    "KernelSHAP, sampled": lambda: wb.KernelSHAP(wb.as_model(product, version="1"), WIDE[:3]),
    "KernelSHAP, fitted": lambda: explainer().fit(X, budget=400),
    "PermutationSHAP": lambda: wb.PermutationSHAP(FOREST, X[:4]),
    "ExactSHAP": lambda: wb.ExactSHAP(FOREST, X[:4]),
    "Occlusion": lambda: wb.Occlusion(FOREST, X[:4]),
    "LIME": lambda: wb.LIME(wb.as_model(product, version="1"), X, min_score=None),
    "LIME, plain": lambda: wb.LIME(FOREST, X, control="none", min_score=None),
    "LIME, gaussian": lambda: wb.LIME(FOREST, X, neighborhood="gaussian", min_score=None),
}


@pytest.mark.parametrize("name", EXPLAINERS)
def test_rows_have_the_bits_of_one_call(name, tmp_path):
    """20 rows, because kernels of matrix products may treat the 9th column of a block otherwise than the first."""
    who, x = EXPLAINERS[name](), (WIDE if "sampled" in name else X)[:20]
    budget = 250 if name.startswith("LIME") else 24 if "sampled" in name or "fitted" in name else None
    whole = who.explain(x, **({} if budget is None else {"budget": budget}))
    for size in (3, 20) if name != "LIME" else (12,):
        found = explain(tmp_path / str(size), who, x, batch_size=size, budget=budget).explanation()
        for field in ("values", "base_values", "predictions", "std_error", "score", "intercept", "local_pred", "target_index"):
            ours, theirs = getattr(found, field), getattr(whole, field)
            assert (ours is None) == (theirs is None), field
            assert ours is None or np.array_equal(ours, theirs), (field, size)
        assert (found.feature_names, found.output_names, found.method) == (whole.feature_names, whole.output_names, whole.method)
        assert (found.seed, found.target, found.settings) == (whole.seed, whole.target, whole.settings)
        assert whole.conditions is None or (found.conditions == whole.conditions).all()


@pytest.mark.parametrize("engine", [Backwards(), Twice(), Dying()], ids=lambda e: type(e).__name__)
def test_order_repetition_and_loss_of_workers_change_no_byte(engine, tmp_path):
    assert hashes(explain(tmp_path / "b", engine=engine)) == hashes(explain(tmp_path / "a"))


def test_processes_write_the_same_bytes(tmp_path):
    """Two processes; the model is a function of this file, which workers cannot import."""
    weights = np.arange(5.0)
    who = wb.KernelSHAP(wb.as_model(lambda x: product(x) + x @ weights, version="1"), X[:4])
    alone = explain(tmp_path / "a", who)
    apart = explain(tmp_path / "b", who, workers=2)
    assert hashes(apart) == hashes(alone)
    assert apart.stats.n_queries == alone.stats.n_queries > 0


SCRIPT = """
import os, signal, sys
import numpy as np
import whybox as wb
from whybox.distributed import Local

class Killing:
    # kills a process once, at a batch of its choice
    def __call__(self, x):
        if (np.abs(x - {row}).max(axis=1) < 1e-12).any() and not os.path.exists({mark!r}):
            open({mark!r}, "w").close()
            os.kill({pid}, signal.SIGKILL)
        return np.tanh(x[:, 0]) * x[:, 1] + x[:, 2]

X = np.random.default_rng(0).normal(size=(23, 5))  # as in the tests
who = wb.KernelSHAP(wb.as_model(Killing(), version="1", name="product"), X[:4])
found = wb.explain_dataset(who, X, {out!r}, workers={workers}, batch_size=2, budget=20)
print(found)
"""


@pytest.mark.parametrize(("killed", "workers"), [("driver", 1), ("driver", 2), ("worker", 2)])
def test_kill_costs_the_batches_under_way(killed, workers, tmp_path):
    """kill -9; the call goes on (or is made again): no byte differs, no finished shard is touched, what was done twice is told."""
    pid = "os.getppid()" if killed == "driver" and workers == 2 else "os.getpid()"
    whole = explain(tmp_path / "whole", batch_size=2)
    code = SCRIPT.format(row=X[13].tolist(), mark=str(tmp_path / "mark"), pid=pid, out=str(tmp_path / "out"), workers=workers)

    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)

    done = call()
    if killed == "driver":
        assert done.returncode == -9, done.stderr
        there = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "out" / "shards").glob("part-*")}
        assert len(open_dataset(tmp_path / "out").shards) >= 1
        done = call()
        after = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "out" / "shards").glob("part-*")}
        assert there.items() <= after.items(), "a finished shard was written again"
    assert done.returncode == 0, done.stderr
    found = open_dataset(tmp_path / "out")
    assert found.complete
    assert hashes(found) == hashes(whole)
    repeated = found.repeated["batches"]
    assert (0 if workers == 2 and killed == "driver" else 1) <= repeated <= 2 * workers  # a worker left alone may finish its batch
    assert f"{repeated} batches ({found.repeated['rows']} rows) begun more than once" in done.stdout


INTERRUPTED = """
import os, signal, sys
import numpy as np
import whybox as wb

class Interrupting:
    # Ctrl-C, which a terminal sends to all processes of the job
    def __call__(self, x):
        if (np.abs(x - {row}).max(axis=1) < 1e-12).any() and not os.path.exists({mark!r}):
            open({mark!r}, "w").close()
            os.killpg(os.getpgid(0), signal.SIGINT)
        return np.tanh(x[:, 0]) * x[:, 1] + x[:, 2]

X = np.random.default_rng(0).normal(size=(23, 5))
who = wb.KernelSHAP(wb.as_model(Interrupting(), version="1", name="product"), X[:4])
print(wb.explain_dataset(who, X, {out!r}, workers=2, batch_size=2, budget=20))
"""


def test_ctrl_c_costs_one_batch_a_worker(tmp_path):
    code = INTERRUPTED.format(row=X[13].tolist(), mark=str(tmp_path / "mark"), out=str(tmp_path / "out"))
    options = {"capture_output": True, "text": True, "check": False, "timeout": 120, "start_new_session": True}
    first = subprocess.run([sys.executable, "-c", code], **options)
    assert "KeyboardInterrupt" in first.stderr
    again = subprocess.run([sys.executable, "-c", code], **options)
    assert again.returncode == 0, again.stderr
    found = open_dataset(tmp_path / "out")
    assert hashes(found) == hashes(explain(tmp_path / "whole", batch_size=2))
    assert found.repeated["batches"] <= 2


def test_a_poisonous_batch_ends_the_job_and_costs_no_other(tmp_path):
    with pytest.raises(WorkerLostError, match=r"1 of 5 batches were not finished, the first: \[4\].*killed"):
        explain(tmp_path, engine=Dying(poison=(4,)))
    assert len(open_dataset(tmp_path).shards) == 4
    assert hashes(explain(tmp_path)) == hashes(explain(tmp_path / "other"))


def test_a_finished_job_asks_nothing(tmp_path):
    asked = []

    def model(x):
        asked.append(len(x))
        return product(x)

    who = wb.KernelSHAP(wb.as_model(model, version="1"), X[:4])
    first = wb.explain_dataset(who, X, tmp_path, workers=1, budget=20)
    n = len(asked)
    again = wb.explain_dataset(who, X, tmp_path, workers=1, budget=np.int64(20))
    assert (len(asked), again.manifest["shards"]) == (n, first.manifest["shards"])


OTHERS = {
    "data": {"data": X + 1e-12},
    "rows": {"data": X[:20]},
    "call.seed": {"seed": 1},
    "explainer.model": {"who": wb.KernelSHAP(wb.as_model(product, version="2"), X[:4])},
    "explainer.settings, background": {"who": wb.KernelSHAP(wb.as_model(product, version="1"), X[:5])},
    "explainer.settings, link": {"who": wb.KernelSHAP(wb.as_model(product, version="1"), X[:4], sampling="kernel")},
    "batch_size": {"batch_size": 6},
    "threads": {"threads": 2},
    "version": {"version": "b"},
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_job_is_refused_or_starts_anew(what, tmp_path):
    before = hashes(explain(tmp_path / "out"))
    other = {"out": tmp_path / "out", **OTHERS[what]}
    with pytest.raises(CheckpointError, match=rf"changed: .*{what.split(',')[0]} .*restart"):
        explain(**other)
    assert hashes(open_dataset(tmp_path / "out")) == before
    fresh = explain(**other, on_change="restart")
    assert hashes(fresh) == hashes(explain(**other | {"out": tmp_path / "fresh"}))
    assert hashes(open_dataset(tmp_path / "out" / "replaced-1")) == before


def test_an_engine_is_no_part_of_the_job(tmp_path):
    """How the model is called, and on how many workers, may change between calls."""
    with pytest.raises(WorkerLostError):
        explain(tmp_path, engine=Dying(poison=(2,)))
    found = explain(tmp_path, explainer(engine=wb.Engine(max_batch=17, retries=1)), engine=Backwards())
    assert hashes(found) == hashes(explain(tmp_path / "other"))


def test_a_job_without_a_finished_shard_is_no_obstacle(tmp_path):
    with pytest.raises(SchemaError):
        explain(tmp_path, data=X[:, :3])
    assert explain(tmp_path).complete


class OwnError(Exception):
    def __init__(self, code, *, reason):
        super().__init__(f"{code}: {reason}")


def test_the_models_exception_passes_through(tmp_path):
    calls = []

    def broken(x):
        calls.append(len(x))
        if len(calls) == 6:
            raise OwnError(5, reason="no quota left")  # cannot be unpickled: its arguments are lost
        return product(x)

    who = wb.KernelSHAP(wb.as_model(broken, version="1"), X[:4], engine=wb.Engine(controls=False))
    with pytest.raises(RuntimeError, match="OwnError: 5: no quota left") as caught:
        explain(tmp_path / "a", who)
    assert any("batch 1 of the data" in note for note in caught.value.__notes__)
    calls.clear()
    who = wb.KernelSHAP(wb.as_model(lambda x: 1 / 0, version="1"), X[:4])
    with pytest.raises(ZeroDivisionError):
        explain(tmp_path / "b", who)


def test_warnings_of_workers_come_back_once(tmp_path):
    who = wb.LIME(wb.as_model(lambda x: np.sin(20 * x[:, 0]), version="1"), X, control="none", min_score=0.99)
    with pytest.warns(wb.LowFidelityWarning, match="R2 is below") as caught:
        found = explain(tmp_path, who, budget=300)
    assert len(caught) == len(found.manifest["warnings"]) > 0
    assert "LowFidelityWarning" in found.manifest["warnings"][0]["category"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(tmp_path, who, budget=300)


def test_an_unidentified_model_is_told(tmp_path):
    with pytest.warns(UnidentifiedModelWarning, match="version="):
        explain(tmp_path / "a", wb.KernelSHAP(product, X[:4]))
    explain(tmp_path / "b", wb.KernelSHAP(product, X[:4]), version="1")


class Maker:
    """Makes an explainer in a worker, and counts."""

    made = 0

    def __init__(self, version: str) -> None:
        self.version = version

    def __call__(self) -> wb.KernelSHAP:
        Maker.made += 1
        return wb.KernelSHAP(wb.as_model(product, version=self.version), X[:4])


def test_a_factory_is_called_once_a_worker_and_its_product_is_checked(tmp_path):
    with pytest.raises(WorkerLostError):
        explain(tmp_path, Maker("1"), engine=Dying(poison=(3,)))
    assert Maker.made == 1
    with pytest.raises(CheckpointError, match=r"another explainer.*changed: model"):
        explain(tmp_path, Maker("2"))
    found = explain(tmp_path, Maker("1"))
    plain = explain(tmp_path / "plain")
    assert np.array_equal(found.explanation().values, plain.explanation().values)
    with pytest.raises(InputError, match="has no explain"):
        explain(tmp_path / "c", lambda: 3)


def test_shards_of_a_torn_state_are_not_believed(tmp_path):
    """What a kill leaves: half a line in a log, half a file under a temporary name."""
    with pytest.raises(WorkerLostError):
        explain(tmp_path, engine=Dying(poison=(3,)))
    (log,) = (tmp_path / "log").glob("*.jsonl")
    with log.open("a") as file:
        file.write('{"event": "explained", "bat')
    (tmp_path / "shards" / ".part-000003.parquet.abc.part").write_bytes(b"PAR1")
    assert hashes(explain(tmp_path)) == hashes(explain(tmp_path / "other"))
    assert not list((tmp_path / "shards").glob(".*"))


@dataclass
class Late:
    """A worker that outlived its job: it comes back when the folder is another one's."""

    tasks: list

    def map_batches(self, fn, batches):
        self.tasks.append((fn, batches[0]))
        for earlier, batch in self.tasks[:-1]:
            assert "another job by now" in earlier(batch).text
        for batch in batches:
            yield batch.number, fn(batch)


def test_a_worker_of_an_earlier_job_writes_nothing(tmp_path):
    late = Late([])
    explain(tmp_path / "out", engine=late)
    found = explain(tmp_path / "out", engine=late, seed=1, on_change="restart")
    assert hashes(found) == hashes(explain(tmp_path / "other", seed=1))


def test_a_lost_log_costs_nothing_but_its_figures(tmp_path):
    found = explain(tmp_path)
    for path in [tmp_path / "manifest.json", *(tmp_path / "log").iterdir()]:
        path.unlink()
    assert hashes(explain(tmp_path)) == hashes(open_dataset(tmp_path)) == [shard["sha256"] for shard in found.manifest["shards"]]


def test_one_process_at_a_time(tmp_path):
    with open_folder(tmp_path / "out"), pytest.raises(CheckpointError, match="another process is at work"):
        explain(tmp_path / "out")


def test_damage_is_seen(tmp_path):
    found = explain(tmp_path)
    path = found.shards[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="bytes have changed"):
        found.verify()
    path.unlink()
    for read in (found.verify, found.explanation, found.to_frame):
        with pytest.raises(CheckpointError, match="is gone"):
            read()
    again = explain(tmp_path)  # goes on: the rows of the lost shard are explained anew
    again.verify()
    assert again.repeated == {"batches": 1, "rows": 5}


def test_reader(tmp_path):
    frame = pd.DataFrame(X, columns=list("abcde")).assign(key=[f"row {i}" for i in range(23)])
    who = wb.ExactSHAP(RandomForestClassifier(5, random_state=0).fit(frame[list("abcde")], np.arange(23) % 3), frame[list("abcde")].head(4))
    found = explain(tmp_path, who, frame, id="key", keep_data=True, budget=None)
    whole = who.explain(frame[list("abcde")])
    part = found.explanation(3, 12)
    assert np.array_equal(part.values, whole.values[3:12])
    pd.testing.assert_frame_equal(part.data, frame[list("abcde")].iloc[3:12].reset_index(drop=True))
    assert [len(e) for e in found] == [5, 5, 5, 5, 3]
    assert sum(e.n_queries for e in found) == found.stats.n_queries
    assert found.ids().tolist() == frame["key"].tolist()
    wide = found.to_frame()
    assert wide["id"].tolist() == frame["key"].tolist()
    assert np.array_equal(wide["value.c.1"], whole.values[:, 2, 1])
    assert np.array_equal(wide["prediction.2"], whole.predictions[:, 2])
    assert json.loads((tmp_path / "manifest.json").read_text())["versions"]["numpy"] == np.__version__
    for start, stop in ((5, 5), (-1, 3), (0, 24)):
        with pytest.raises(OptionError, match="start < stop"):
            found.explanation(start, stop)


def test_texts_have_features_of_their_own(tmp_path):
    texts = pd.DataFrame({"text": ["the food was great but loud", "bad", "good good food", "so so"], "key": list("abcd")})
    score = wb.as_model(
        lambda rows: np.array([row.count("good") + row.count("great") - row.count("bad") * 1.0 for row in rows]), version="1"
    )
    who = wb.KernelSHAP(score, space=wb.spaces.Words())
    whole = who.explain(texts["text"].tolist(), budget=30)
    found = explain(tmp_path, who, texts, columns="text", id="key", batch_size=3, budget=30, keep_data=True)
    e = found.explanation()
    assert all(np.array_equal(a, b) for a, b in zip(e.values, whole.values, strict=True))
    assert e.feature_names == whole.feature_names
    assert [list(row) for row in e.data] == [list(row) for row in whole.data]
    assert found.to_frame()["id"].tolist() == list("abcd")


def test_a_column_that_parquet_cannot_hold_is_named(tmp_path):
    data = pd.DataFrame({"a": range(6), "mixed": [1, "one", 2.5, None, b"x", True]})
    who = wb.Occlusion(wb.as_model(lambda x: x["a"].to_numpy() * 2.0, version="1"), data.head(2))
    assert explain(tmp_path / "a", who, data, budget=None).complete
    with pytest.raises(InputError, match="mixed: Parquet has no type"):
        explain(tmp_path / "b", who, data, budget=None, keep_data=True)


def test_a_cache_of_answers_saves_a_batch_that_is_done_again(tmp_path):
    calls = []

    def model(x):
        calls.append(len(x))
        return product(x)

    def who():
        engine = wb.Engine(cache=str(tmp_path / "answers.sqlite"), controls=False, max_batch=10)
        return wb.KernelSHAP(wb.as_model(model, version="1"), X[:4], engine=engine)

    first = explain(tmp_path / "a", who())
    n = len(calls)
    assert hashes(explain(tmp_path / "b", who())) == hashes(first)
    assert len(calls) == n


def test_one_target(tmp_path):
    who = wb.ExactSHAP(FOREST, X[:4])
    found = explain(tmp_path, who, target="predicted", budget=None, keep_data=True).explanation()
    whole = who.explain(X, target="predicted")
    assert np.array_equal(found.values, whole.values)
    assert np.array_equal(found.target_index, whole.target_index)
    assert np.array_equal(found.data, X)
    assert found.target == "predicted"


def test_target_is_the_explainers_own_unless_given(tmp_path):
    who = wb.LIME(FOREST, X, control="none", min_score=None)
    assert explain(tmp_path / "a", who, budget=300).explanation().target == "predicted"
    assert explain(tmp_path / "b", who, budget=300, target=None).explanation().multi_output


def test_identity_sees_every_setting():
    clf = LogisticRegression().fit(X, np.arange(23) % 2)
    base = wb.KernelSHAP(clf, X[:4])
    others = [
        replace(base, background=X[:5]),
        replace(base, background=pd.DataFrame(X[:4])),
        replace(base, background=None, space=wb.spaces.Marginal(X[:4], weights=[1, 1, 1, 2])),
        replace(base, sampling="kernel"),
        replace(base, output="decision"),
        replace(base, model=LogisticRegression(C=2).fit(X, np.arange(23) % 2)),
        replace(base, engine=wb.Engine(on_nan="skip")),
        base.fit(X, budget=200),
        wb.PermutationSHAP(clf, X[:4]),
    ]
    seen = {Identity.of(who) for who in [base, *others]}
    assert len(seen) == 10
    assert None not in {part for who in seen for part in (who.model, who.settings)}
    assert Identity.of(pickle.loads(pickle.dumps(base))) == Identity.of(base) == Identity.of(replace(base, engine=wb.Engine(batch_size=3)))


def test_identity_is_the_same_in_another_process(tmp_path):
    frame = pd.DataFrame(X, columns=list("abcde"))
    who = wb.KernelSHAP(RandomForestClassifier(3, random_state=0).fit(frame, np.arange(23) % 3), frame.head(4)).fit(frame, budget=200)
    (tmp_path / "who.pkl").write_bytes(pickle.dumps(who))
    code = "import pickle, sys; from whybox.distributed._identity import Identity; print(Identity.of(pickle.load(open(sys.argv[1], 'rb'))))"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "who.pkl")], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == repr(Identity.of(pickle.loads(pickle.dumps(who))))


BAD = [
    ({"data": X[:0]}, InputError, "no rows"),
    ({"data": pd.DataFrame({"a": []})}, InputError, "no rows"),
    ({"data": []}, InputError, "no rows"),
    ({"data": X[0]}, ShapeError, "2 axes"),
    ({"data": object()}, InputError, "expected a DataFrame"),
    ({"data": X, "id": "key"}, OptionError, "leave them out"),
    ({"data": pd.DataFrame(X), "id": "key"}, SchemaError, "no columns"),
    ({"data": pd.DataFrame(X), "columns": [0, 9]}, SchemaError, "no columns"),
    ({"data": pd.DataFrame({"a": [1], "key": [1]}), "columns": []}, InputError, "no columns to explain"),
    ({"data": pd.DataFrame({"a": [1.0, 2, 3], "key": [1, 2, 1]}), "id": "key"}, InputError, r"repeats ids, such as \[1\]"),
    ({"data": pd.DataFrame({"a": [1.0, 2, 3], "key": [1, 2, None]}), "id": "key"}, InputError, "lacks 1 ids"),
    ({"data": pd.DataFrame(X[:, :2], columns=["a", "a"])}, SchemaError, "repeat"),
    ({"data": "no/such/file.parquet"}, InputError, "there is no file"),
    ({"who": 3}, InputError, "explain"),
    ({"who": wb.KernelSHAP}, InputError, "explain"),
    ({"engine": "slurm", "workers": None}, OptionError, "'local', 'ray', 'spark', 'dask'"),
    ({"engine": Local, "workers": None}, OptionError, "map_batches"),
    ({"workers": 0}, OptionError, "workers"),
    ({"batch_size": 0}, OptionError, "batch_size"),
    ({"threads": 1.5}, OptionError, "threads"),
    ({"seed": -1}, OptionError, "seed"),
    ({"on_change": "ignore"}, OptionError, "on_change"),
    ({"engine": Liar()}, OptionError, "map_batches to yield"),
    ({"engine": Elsewhere()}, CheckpointError, "does not see the job's folder"),
    ({"engine": Forgetful()}, WorkerLostError, "4 of 5 batches"),
]


@pytest.mark.parametrize(("bad", "error", "says"), BAD, ids=[f"{next(iter(b))}-{i}" for i, (b, _, _) in enumerate(BAD)])
def test_bad_input_is_a_named_error(bad, error, says, tmp_path):
    with pytest.raises(error, match=says):
        explain(tmp_path / "out", **bad)


def test_workers_go_with_the_name_of_an_engine(tmp_path):
    with pytest.raises(OptionError, match="options of its own"):
        wb.explain_dataset(explainer(), X, tmp_path, engine=Local(), workers=2)
    for make in (lambda: Local(workers=0), lambda: Ray(workers=-1), lambda: Ray(num_gpus=-0.5)):
        with pytest.raises(OptionError):
            make()


def test_folders_that_will_not_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        explain(tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"other files, such as \['thesis.tex'\]"):
        explain(tmp_path / "full")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "job.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a job of whybox"):
        explain(tmp_path / "odd")
    with pytest.raises(InputError, match="no job"):
        open_dataset(tmp_path / "nothing")


def test_an_explainer_that_cannot_travel_is_told(tmp_path):
    lock = threading.Lock()
    with pytest.raises(InputError, match="pass a function that makes it"):
        explain(tmp_path, wb.KernelSHAP(wb.as_model(lambda x: x[:, 0] if lock else x[:, 1], version="1"), X[:4]))


@pytest.mark.parametrize(("engine", "module"), [("ray", "ray"), ("spark", "pyspark.errors"), ("dask", "distributed")])
def test_an_engine_that_is_not_installed_is_named(engine, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"whybox\[{engine}\]"):
        explain(tmp_path, engine=engine)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"whybox\[parquet\]"):
        explain(tmp_path)


def test_blas_models_give_the_same_bytes_whatever_the_clock_says(tmp_path):
    """A product's last bits depend on the shape of the batch, and batch_size="auto" on the clock: workers fix it."""
    model = LinearRegression().fit(X, X @ np.arange(5.0) ** 0.3)
    who = wb.PermutationSHAP(model, X)
    assert hashes(explain(tmp_path / "a", who, budget=None)) == hashes(explain(tmp_path / "b", who, budget=None))
    assert {e.stats.batch_size for e in explain(tmp_path / "a", who, budget=None)} <= set(range(4097))
