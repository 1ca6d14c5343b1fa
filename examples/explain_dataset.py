"""A data set larger than one call: explained by processes of this machine into Parquet shards; killed half-way, the same call goes on."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

import whybox as wb


def rows(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 90, n), "dose": rng.gamma(2.0, 1.0, n), "smoker": rng.random(n) < 0.3})
    return frame.assign(patient=[f"p{i:06d}" for i in range(n)])


def job(n: int, out: str, *, dies: bool) -> wb.distributed.ExplanationDataset:
    """The whole job, as a script would have it: run it again, and it goes on."""
    data = rows(n)
    x = data[["age", "dose", "smoker"]]
    model = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(x[:500], (x["age"] * x["dose"])[:500] > 100)
    explainer = wb.KernelSHAP(model, background=x[:50])
    # engine="ray", "spark" or "dask" runs the same job on a cluster, with the same bytes as its result.
    engine = Impatient() if dies else wb.distributed.Local(workers=2)
    return wb.explain_dataset(explainer, data, out, engine=engine, id="patient", target="True", batch_size=n // 8, keep_data=True)


class Impatient:
    """An engine of ten lines: it does the work here, and is killed after three batches, as by a scheduler or a power cut."""

    def map_batches(self, fn, batches):
        for done, batch in enumerate(batches):
            if done == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch.number, fn(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    parser.add_argument("--die", metavar="OUT", help="run the job and be killed half-way")
    options = parser.parse_args()
    n = 800 if options.quick else 8000
    if options.die:
        job(n, options.die, dies=True)
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "explained")
        again = [sys.executable, __file__, "--die", out, *(["--quick"] if options.quick else [])]
        killed = subprocess.run(again, check=False)  # noqa: S603  # this very script
        left = wb.distributed.open_dataset(out)
        print(f"killed with signal {-killed.returncode}: {left}")
        found = job(n, out, dies=False)
        print(f"the same call again: {found}")
        found.verify()  # every shard has the bytes that its worker wrote
        print(found.to_frame().head(3).round(3).T.to_string(header=False))
        for part in found:  # one shard in memory at a time
            print(f"{len(part)} rows, mean |value|: {dict(zip(part.feature_names, part.abs_mean.round(3).tolist(), strict=True))}")
            break
        assert found.complete


if __name__ == "__main__":
    main()
