"""explain_dataset with a model behind an endpoint: its limits and its budget hold for the whole job, and nothing paid for is lost."""

from __future__ import annotations

import numpy as np
import pytest

import whybox as wb
from whybox.distributed import Dask, Local, Ray, Spark
from whybox.errors import BudgetError, OptionError
from whybox.models import Budget, HTTPModel, JSONRows, Limits
from whybox.testing.model_server import running, served_outputs

pytest.importorskip("pyarrow", reason="explain_dataset writes Parquet: pip install 'whybox[parquet]'")
pytest.importorskip("aiohttp", reason="HTTPModel posts with aiohttp: pip install 'whybox[http]'")

RNG = np.random.default_rng(5)
X, B = RNG.normal(size=(12, 4)), RNG.normal(size=(5, 4))


def model(url, **options):
    return HTTPModel(url + "/predict", JSONRows(), rows_per_request=4, limits=Limits(concurrency=3), version="1", **options)


@pytest.mark.parametrize("engine", ["ray", "spark", "dask", Ray(), Spark(), Dask(), Local(), Local(2)], ids=repr)
def test_a_budget_is_not_handed_to_several_processes(engine, tmp_path):
    """Each would spend all of it: with two workers twice the budget was sent."""
    who = wb.ExactSHAP(model("http://127.0.0.1:9", budget=Budget(requests=10)), B)
    with pytest.raises(OptionError, match="every process would spend the whole budget"):
        wb.explain_dataset(who, X, tmp_path / "out", engine=engine)
    with pytest.raises(OptionError, match="every process would spend the whole budget"):
        wb.explain_dataset(who, X, tmp_path / "out", workers=2)


def test_limits_and_budget_hold_for_the_job_and_paid_answers_are_kept(tmp_path):
    cache = wb.Engine(cache=tmp_path / "answers.sqlite", controls=False)
    with running("--latency", "0.003") as server:

        def explain(remote):
            return wb.explain_dataset(wb.ExactSHAP(remote, B, engine=cache), X, tmp_path / "out", batch_size=3)

        poor = model(server.base_url, budget=Budget(requests=60))
        for _ in range(2):  # a second call does not begin a second budget
            with pytest.raises(BudgetError):
                explain(poor)
            assert poor.spent.requests == server.stats()["requests"] == 60
        found = explain(model(server.base_url))
        stats = server.stats()
    assert found.complete
    assert stats["most_in_flight"] <= 3
    assert set(stats["sent_for"].values()) == {1}, "an answer was paid for twice"
    plain = wb.ExactSHAP(lambda rows: np.array(served_outputs(rows.tolist())), B).explain(X)
    np.testing.assert_array_equal(found.explanation().values, plain.values)
