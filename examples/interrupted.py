"""A model that fails half-way: the checkpoint keeps what was paid for, and the same call goes on from there."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import whybox as wb


class Service:
    """Stands for a model behind a network: it goes away once."""

    def __init__(self, fail_after: int) -> None:
        self.rows = 0
        self.fail_after = fail_after

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if self.rows + len(x) > self.fail_after:
            self.fail_after = 10**12
            raise OSError("the service went away")
        self.rows += len(x)
        return np.tanh(x[:, 0]) * x[:, 1] + x[:, 2:].sum(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    n = 20 if parser.parse_args().quick else 200
    rng = np.random.default_rng(0)
    x, background = rng.normal(size=(n, 8)), rng.normal(size=(50, 8))
    service = Service(fail_after=n * 50 * 100)
    # A function has no content to identify it by; version= says that it is the same model when the call is repeated.
    explainer = wb.ExactSHAP(wb.as_model(service, version="1"), background=background)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "job.whybox"
        try:
            explainer.explain(x, seed=0, checkpoint=log)
        except OSError as error:
            print(f"stopped after {service.rows:,} rows: {error}")
        e = explainer.explain(x, seed=0, checkpoint=log)
    print(f"went on: {e.stats.n_resumed:,} rows came from the checkpoint, {e.n_queries:,} were sent")
    assert e.stats.n_resumed > 0


if __name__ == "__main__":
    main()
