"""explain_dataset on Ray, Spark and Dask: the bytes of a local run, also after a worker or the driver was killed with kill -9.

Each test is a script of its own, because these engines start servers and warn of their own affairs.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

MODULES = {"ray": "ray.data", "spark": "pyspark", "dask": "distributed"}


def installed(name: str) -> bool:
    return importlib.util.find_spec(MODULES[name].split(".")[0]) is not None and (name != "spark" or shutil.which("java") is not None)


ENGINES = [
    pytest.param(
        name, marks=pytest.mark.skipif(not installed(name), reason=f"needs whybox[{name}]{' and Java' if name == 'spark' else ''}")
    )
    for name in MODULES
]

SCRIPT = """
import os, signal, sys, warnings
import numpy as np
import pandas as pd
warnings.simplefilter("ignore")
import whybox as wb
os.environ["PYSPARK_PYTHON"] = sys.executable

engine, out, mark, who_dies, driver = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], os.getpid()
X = np.random.default_rng(0).normal(size=(24, 4))

class Killing:
    def __init__(self, driver):
        self.driver = driver
    def __call__(self, x):
        fatal = who_dies == "always" or (who_dies != "nobody" and not os.path.exists(mark))
        if fatal and (np.abs(x - X[14]).max(axis=1) < 1e-12).any():
            open(mark, "w").close()
            os.kill(self.driver if who_dies == "driver" else os.getpid(), signal.SIGKILL)
        return np.tanh(x[:, 0]) * x[:, 1] + x[:, 2]

def explain(engine, out, data=X, **options):
    who = wb.ExactSHAP(wb.as_model(Killing(driver), version="1", name="model"), X[:3])
    if isinstance(data, pd.DataFrame) or data is not X:
        who = wb.ExactSHAP(wb.as_model(lambda x: Killing(driver)(x.to_numpy()), version="1"), pd.DataFrame(X[:3], columns=list("abcd")))
    workers = None if options.pop("own", False) else 2
    return wb.explain_dataset(who, data, out, engine=engine, workers=workers, batch_size=3, **options)

def hashes(found):
    found.verify()
    return [shard["sha256"] for shard in found.manifest["shards"]]
"""

KILL = """
found = explain(engine, out)
who_dies = "nobody"
assert found.complete
assert hashes(found) == hashes(explain("local", out + "-local"))
print(found)
"""

LOST = """
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
backend = wb.distributed.Ray(workers=5)  # more than find a place
try:
    explain(backend, out, own=True)
except wb.errors.WorkerLostError as error:
    print(error)
done = [number for number in range(8) if os.path.isfile(f"{out}/shards/part-{number:06d}.parquet")]
assert done == [0, 1, 2, 3, 5, 6, 7], done
"""

OWN = """
if engine == "ray":
    import ray
    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    make = lambda f: ray.data.from_pandas([f[:10], f[10:]])
    backend = wb.distributed.Ray(num_gpus=0.5)  # a GPU in name only: two actors share it
elif engine == "spark":
    from pyspark.sql import SparkSession
    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    make, backend = session.createDataFrame, wb.distributed.Spark(session)
else:
    import dask.dataframe, distributed
    client = distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
    make, backend = (lambda f: dask.dataframe.from_pandas(f, npartitions=3)), wb.distributed.Dask(client)
"""

DATA = """
frame = pd.DataFrame(X, columns=list("abcd")).assign(key=range(24))
if __name__ == "__main__":
    found = explain(backend, out, make(frame), id="key", own=True)
    values = found.to_frame().set_index("id").sort_index()
    plain = explain("local", out + "-local", frame, id="key").to_frame().set_index("id")
    assert (values == plain).all(axis=None)
    again = explain(backend, out, make(frame.sample(frac=1.0, random_state=1)), id="key", own=True)  # other partitions, same rows
    assert again.manifest["shards"] == found.manifest["shards"]
    try:
        explain(backend, out, make(frame.assign(a=frame["a"] + 1e-9)), id="key", own=True)
    except wb.errors.CheckpointError as error:
        assert "data changed" in str(error)
    else:
        raise AssertionError("changed data were taken")
    try:
        explain(backend, out, make(frame), own=True)
    except wb.errors.OptionError as error:
        assert "id=" in str(error)
    else:
        raise AssertionError("rows without ids were taken")
    print("same rows, same bits")
    if engine == "dask":
        client.close()
"""


CATEGORIES = """
rng = np.random.default_rng(1)
many = pd.CategoricalDtype([f"c{i:03d}" for i in range(300)])
frame = pd.DataFrame({
    "word": pd.Categorical(rng.choice(["red", "green", None], 24), categories=["red", "unused", "green"]),
    "size": pd.Categorical(rng.choice(["lo", "mid", "hi"], 24), categories=["lo", "mid", "hi", "most"], ordered=True),
    "year": pd.Categorical(rng.choice([2024, 2025, 2026], 24), categories=[2023, 2024, 2025, 2026]),
    "name": pd.Series([f"c{i:03d}" for i in [*range(22), 250, 290]], dtype=many),
    "side": rng.choice(["north", "south", None], 24),
    "n": rng.normal(size=24),
})
keyed = frame.assign(key=[f"p{i:02d}" for i in range(24)])

def model(x):  # codes tell the order of categories, too
    codes = [(x[name].cat.codes.to_numpy() + 2) * factor for name, factor in (("word", 1.0), ("size", 10.0), ("year", 0.1), ("name", 0.01))]
    return sum(codes) * x["n"].to_numpy() + (x["side"] == "south").to_numpy(dtype=bool)

if __name__ == "__main__":
    who = wb.ExactSHAP(wb.as_model(model, version="1"), frame[:4])
    whole = who.explain(frame)
    os.makedirs(out + "-files")
    keyed.to_parquet(out + "-one.parquet", index=False, row_group_size=7)
    for i, part in enumerate([keyed[:5], keyed[5:11], keyed[11:]]):
        seen = part["word"].cat.remove_unused_categories()
        part.assign(word=seen).to_parquet(f"{out}-files/{i}.parquet", index=False)
    given = {"frame": keyed, "file": out + "-one.parquet", "files": out + "-files"}
    if engine == "ray":
        given |= {"own": make(keyed), "read": ray.data.read_parquet(out + "-files")}
    elif engine == "spark":
        given |= {"own": make(keyed), "read": session.read.parquet(out + "-files")}
    else:
        given |= {"own": make(keyed), "read": dask.dataframe.read_parquet(out + "-one.parquet")}
    for name, data in given.items():
        found = wb.explain_dataset(who, data, f"{out}-of-{name}", id="key", engine=backend, batch_size=5)
        e, order = found.explanation(), np.argsort(found.ids())
        assert np.array_equal(e.predictions[order], whole.predictions), name
        assert np.array_equal(e.values[order], whole.values), name
    print("same rows, same bits")
    if engine == "dask":
        client.close()
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SCRIPT + code, *arguments], capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.parametrize("who", ["worker", "driver"])
@pytest.mark.parametrize("engine", ENGINES)
def test_kill_costs_the_batches_under_way(engine, who, tmp_path):
    arguments = (engine, str(tmp_path / "out"), str(tmp_path / "mark"), who)
    done = run(KILL, *arguments)
    if who == "driver":
        assert done.returncode == -9, done.stderr
        done = run(KILL, *arguments)
    assert done.returncode == 0, done.stderr
    begun_twice = int(done.stdout.rpartition("queries; ")[2].split(" ")[0])
    assert begun_twice <= 4, done.stdout
    assert (tmp_path / "mark").exists()


@pytest.mark.skipif(not installed("ray"), reason="needs whybox[ray]")
def test_a_batch_that_kills_its_actors_is_named_and_all_others_are_done(tmp_path):
    done = run(LOST, "ray", str(tmp_path / "out"), str(tmp_path / "mark"), "always")
    assert done.returncode == 0, done.stderr
    assert "1 of 8 batches were not finished, the first: [4]" in done.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_data_of_the_engine_are_rows_with_ids(engine, tmp_path):
    done = run(OWN + DATA, engine, str(tmp_path / "out"), "", "nobody")
    assert done.returncode == 0, done.stderr
    assert "same rows, same bits" in done.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_categories_and_strings_reach_the_model_on_every_engine(engine, tmp_path):
    done = run(OWN + CATEGORIES, engine, str(tmp_path / "out"), "", "nobody")
    assert done.returncode == 0, done.stderr
    assert "same rows, same bits" in done.stdout
