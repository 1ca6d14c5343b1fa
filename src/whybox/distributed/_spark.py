"""Spark: ``mapInPandas`` over the numbers of the batches."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from whybox.distributed._sources import Batch, Batches
from whybox.errors import MissingDependencyError, WorkerLostError

_TRIES = 4  # of a batch, before Spark gives the job up; a local session's own default is 1


@dataclass(frozen=True)
class Spark:
    """Python workers of a Spark cluster. An active session is used; otherwise one is started on this machine.

    Args:
        session: a SparkSession; None (default) takes the active one.
        workers: cores of a session that is started here; None (default) takes all.

    Example:
        >>> Spark(workers=2)
        Spark(session=None, workers=2)
    """

    session: Any = None
    workers: int | None = None

    def map_batches(self, fn: Callable[[Batch], Any], batches: Batches) -> Iterator[tuple[int, Any]]:
        """Results when Spark is done with all of them; shards appear while it works.

        Raises:
            MissingDependencyError: pyspark is not installed.
            WorkerLostError: the Spark job failed.
        """
        try:
            from py4j.protocol import Py4JError
            from pyspark.errors import PySparkException
            from pyspark.sql import SparkSession
        except ImportError:
            raise MissingDependencyError("pyspark", "spark", 'engine="spark"') from None
        session, own = self.session or SparkSession.getActiveSession(), False
        if session is None:
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            builder = (
                SparkSession.builder.master(f"local[{self.workers or '*'},{_TRIES}]").appName("whybox").config("spark.ui.enabled", "false")
            )
            session, own = builder.config("spark.log.level", "ERROR").getOrCreate(), True
        try:
            yield from _mapped(session, fn, batches)
        except (PySparkException, Py4JError) as error:
            raise WorkerLostError(f"{type(error).__name__}: {str(error)[:500]}") from error
        finally:
            if own:
                with suppress(Py4JError):  # Spark itself may be gone
                    session.stop()


def _mapped(session: Any, fn: Callable[[Batch], Any], batches: Batches) -> Iterator[tuple[int, Any]]:
    shared = session.sparkContext.broadcast((fn, batches))

    def work(frames: Iterator[Any]) -> Iterator[Any]:
        import pandas as pd

        call, data = shared.value
        for frame in frames:
            numbers = frame["id"].tolist()
            yield pd.DataFrame({"number": numbers, "result": [pickle.dumps(call(data[number])) for number in numbers]})

    try:
        numbers = batches.numbers
        # each batch a partition of its own: a core takes the next one when it is done
        frame = session.createDataFrame(session.sparkContext.parallelize([(n,) for n in numbers], len(numbers)), "id long")
        for row in frame.mapInPandas(work, "number long, result binary").collect():
            yield int(row["number"]), pickle.loads(row["result"])  # noqa: S301  # made by our own workers
    finally:
        with suppress(Exception):  # the session may be gone
            shared.destroy()
