"""Explain data that outgrow one call: batches go to the workers of an engine, shards come back, and a killed job goes on."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from types import EllipsisType
from typing import Any, Literal

import numpy as np

from whybox._random import generator
from whybox.distributed._dask import Dask
from whybox.distributed._identity import Identity, UnidentifiedModelWarning, model_of
from whybox.distributed._job import JobFolder, open_folder, versions
from whybox.distributed._local import Local
from whybox.distributed._parquet import in_files, is_paths
from whybox.distributed._pickling import dumps
from whybox.distributed._ray import Ray
from whybox.distributed._shards import arrow
from whybox.distributed._sources import Batches, Source, in_memory
from whybox.distributed._spark import Spark
from whybox.distributed._stage import is_distributed, stage
from whybox.distributed._task import Result, Task
from whybox.distributed.backends import Backend
from whybox.distributed.dataset import ExplanationDataset, open_dataset
from whybox.errors import CheckpointError, InputError, OptionError, WorkerLostError
from whybox.typing import Explainer, Target

_ENGINES = {"local": Local, "ray": Ray, "spark": Spark, "dask": Dask}
_BATCH = 1000
_ROUNDS = 3  # in a row without a finished batch, after which the workers are given up


def explain_dataset(
    explainer: Explainer | Callable[[], Explainer],
    data: Any,
    out: str | os.PathLike[str],
    *,
    engine: str | Backend = "local",
    workers: int | None = None,
    columns: str | Sequence[str] | None = None,
    id: str | None = None,  # noqa: A002  # what databases call it
    seed: int = 0,
    target: Target | EllipsisType = ...,
    budget: Any = None,
    tol: float | None = None,
    batch_size: int | None = None,
    threads: int = 1,
    keep_data: bool = False,
    version: str | None = None,
    on_change: Literal["error", "restart"] = "error",
    progress: bool | None = None,
) -> ExplanationDataset:
    """Explain every row of a data set on many processes or machines, into Parquet shards; a call that was killed goes on.

    The data are cut into batches. A worker explains a batch, writes its shard under a temporary name and gives it its name when all of it
    is on disk; a finished shard is never written again. So the same call, made again after a crash or ``kill -9`` of the driver or of
    workers, repeats at most the batches that were under way. What is drawn for a row depends on the seed and the row: engines, workers,
    their order and restarts change no bit of a shard.

    Args:
        explainer: any explainer; or a function without arguments that makes one, called once in each worker, for models that load from a
            file or onto a GPU.
        data: DataFrame, array (n, d), list of texts; path of a Parquet file or folder, or a list of :class:`pathlib.Path`; Ray Dataset,
            Dask or Spark DataFrame (these are first written to ``out/input``).
        out: folder of the results. It is made; all workers must see it under this path.
        engine: "local" (default: processes), "ray", "spark", "dask"; or :class:`whybox.distributed.Ray` and its like, for their options.
        workers: of a named engine; None (default) takes one a core, and on "local" the calling process alone for a model behind an
            endpoint, whose ``limits`` hold for each process.
        columns: columns to explain; None (default) takes all but ``id``. One name, not in a list, is a column of texts.
        id: column of row ids, all different; None (default) takes positions. Ray, Dask and Spark data need one.
        seed: of every draw.
        target: which output, as in ``explain``; left out, the explainer's own default.
        budget: as in ``explain``, for each row (LIME: for each batch).
        tol: as in ``explain``.
        batch_size: rows of a batch and of a shard: what a kill may cost. None (default) takes 1,000, or what the job began with.
        threads: BLAS and OpenMP threads of a worker. Default 1: other numbers may change last bits.
        keep_data: write the explained rows into the shards as well. Default False.
        version: identifies the model where nothing else does: a function, or a factory's file. Change it when the model changes.
        on_change: "error" (default) refuses a job whose explainer, model, data or options are others than those of the finished shards;
            "restart" moves the earlier files into ``out/replaced-1`` and starts anew.
        progress: show a progress bar in rows.

    Returns:
        The results, see :class:`whybox.distributed.ExplanationDataset`.

    Raises:
        CheckpointError: ``out`` belongs to another job, another process works on it, or workers do not see it.
        InputError: data without rows, ids that repeat, ``out`` that cannot be written, an explainer that cannot be sent to workers.
        SchemaError: files with other columns than the first, or columns that do not exist.
        OptionError: an argument has a value that does not exist; or several processes would each spend the budget of an endpoint.
        MissingDependencyError: the engine, or pyarrow, is not installed.
        WorkerLostError: workers died again and again; what is finished stays.

    Warns:
        UnidentifiedModelWarning: nothing identifies the model, so a later call could not notice that it has changed.

    Example:
        >>> import tempfile, numpy as np, whybox as wb
        >>> explainer = wb.KernelSHAP(wb.as_model(lambda x: x @ np.array([1.0, 2.0]), version="1"), np.zeros((1, 2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = wb.explain_dataset(explainer, np.ones((5, 2)), folder + "/out", batch_size=2, workers=1)
        ...     len(found.shards), found.complete, found.to_frame()["value.feature 1"].tolist()
        (3, True, [2.0, 2.0, 2.0, 2.0, 2.0])
    """
    generator(seed)
    arrow()
    model = model_of(explainer)
    remote = None if model is None else model.remote
    backend = _backend(engine, 1 if remote is not None and engine == "local" and workers is None else workers)
    if remote is not None and remote.budgeted and isinstance(backend, tuple(_ENGINES.values())) and backend != Local(1):
        raise OptionError(
            "budget: every process would spend the whole budget of the model's endpoint; leave engine and workers out, and one process "
            "keeps limits.concurrency requests in flight, or leave the model's budget out"
        )
    _positive("threads", threads)
    if batch_size is not None:
        _positive("batch_size", batch_size)
    if on_change not in ("error", "restart"):
        raise OptionError(f'on_change: expected "error" or "restart", got {on_change!r}')
    factory = isinstance(explainer, type) or not callable(getattr(explainer, "explain", None))
    who = _who(explainer, version, factory)
    budget = int(budget) if isinstance(budget, np.integer) else budget
    call = {"seed": int(seed), "budget": budget, "tol": tol} | ({} if target is ... else {"target": target})
    with open_folder(out) as folder:
        source, digest = _source(data, folder, columns, id, restart=on_change == "restart")
        size = batch_size or (job["identity"]["batch_size"] if (job := folder.job) is not None else _BATCH)
        identity = {
            **who,
            "call": {name: repr(value) for name, value in sorted(call.items())},
            "data": digest,
            "rows": source.n,
            "batch_size": size,
        }
        identity |= {"columns": None if source.columns is None else list(source.columns), "threads": threads, "keep_data": keep_data}
        folder.claim(identity, restart=on_change == "restart")
        job = folder.job
        assert job is not None
        task = Task(str(folder.path), job["digest"], _payload(explainer), factory, call, threads, keep_data)
        batches = -(-source.n // size)
        before = folder.manifest(batches)
        try:
            with task.at_hand(explainer):
                _run(backend, task, folder, Batches(source, size, tuple(range(batches))), progress)
        finally:
            manifest = folder.write_manifest(batches)
        _warn(before["warnings"], manifest["warnings"])
    return open_dataset(out)


def _run(backend: Backend, task: Task, folder: JobFolder, everything: Batches, progress: bool | None) -> None:
    """Hand out what is not finished, until all is; after a loss of workers, what is left."""
    bar = _bar(progress, everything.source.n)
    done, idle = folder.finished(), 0
    bar(sum(everything.rows(number) for number in done))
    try:
        while len(done) < len(everything):
            left = tuple(number for number in everything.numbers if number not in done)
            lost: WorkerLostError | None = None
            results = iter(backend.map_batches(task, Batches(everything.source, everything.size, left)))
            try:
                for number, result in results:
                    _judged(number, result).raise_error()
                    bar(everything.rows(number))
            except WorkerLostError as error:
                lost = error
            finally:
                getattr(results, "close", lambda: None)()
            before, done = done, folder.finished()
            idle = 0 if len(done) > len(before) else idle + 1
            if idle >= _ROUNDS or (lost is None and len(done) < len(everything)):
                waiting = [number for number in everything.numbers if number not in done]
                raise WorkerLostError(
                    f"{len(waiting)} of {len(everything)} batches were not finished, the first: {waiting[:5]}; workers died on them {idle} "
                    f"times in a row ({lost}). If it was for want of memory, give a worker more, or fewer rows with batch_size="
                ) from lost
    finally:
        bar(None)


def _warn(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    """What workers warned of in this call: each text once, in its own category where there is one."""
    known = {(warning["category"], warning["text"]): warning["batches"] for warning in before}
    for warning in after:
        count = warning["batches"] - known.get((warning["category"], warning["text"]), 0)
        if count:
            module, _, name = warning["category"].rpartition(".")
            category = getattr(sys.modules.get(module), name, None)
            kind = category if isinstance(category, type) and issubclass(category, Warning) else UserWarning
            warnings.warn(f"{warning['text']} ({count} of the batches)", kind, stacklevel=3)


def _judged(number: int, result: Any) -> Result:
    if not isinstance(result, Result) or result.batch != number:
        raise OptionError(f"engine: expected map_batches to yield (number, result of fn), got {number!r} and {result!r}")
    return result


def _bar(progress: bool | None, rows: int) -> Callable[[int | None], object]:
    if not progress:
        return lambda _: None
    from tqdm.auto import tqdm

    bar = tqdm(total=rows, unit=" rows", unit_scale=True, desc="explain_dataset")
    return lambda n: bar.close() if n is None else bar.update(n)


def _backend(engine: str | Backend, workers: int | None) -> Backend:
    if isinstance(engine, str):
        if engine not in _ENGINES:
            raise OptionError(f"engine: expected one of {', '.join(map(repr, _ENGINES))} or an object with map_batches, got {engine!r}")
        if workers is not None:
            _positive("workers", workers)
        made: Backend = _ENGINES[engine](workers=workers)
        return made
    if isinstance(engine, type) or not isinstance(engine, Backend):
        raise OptionError(f"engine: expected a name or an object with map_batches(fn, batches), got {engine!r}")
    if workers is not None:
        raise OptionError(f"workers: goes with the name of an engine; {type(engine).__name__} has options of its own")
    return engine


def _who(explainer: Any, version: str | None, factory: bool) -> dict[str, Any]:
    """What the explainer is, for the job's identity.

    Raises:
        InputError: neither an explainer nor a function that makes one.
    """
    library = versions().get("whybox", "unknown")
    if factory:
        if isinstance(explainer, type) or not callable(explainer):
            raise InputError(f"explainer: expected an object with explain(x), or a function that makes one, got {explainer!r}")
        return {"explainer": "made in the workers", "version": version, "whybox": library}
    found = Identity.of(explainer)
    if version is None and (found.model is None or found.settings is None):
        warnings.warn(
            f"{found.method}: nothing identifies its {'model' if found.model is None else 'settings'}, so a call that goes on could not "
            "notice a change; pass version=, or whybox.as_model(f, version=...)",
            UnidentifiedModelWarning,
            stacklevel=3,
        )
    return {"explainer": asdict(found), "version": version, "whybox": library}


def _source(data: Any, folder: JobFolder, columns: Any, row_id: str | None, *, restart: bool) -> tuple[Source, str]:
    if is_paths(data):
        source: Source = in_files(data, columns, row_id)
        return source, source.digest()
    if not is_distributed(data):
        source = in_memory(data, columns, row_id)
        return source, source.digest()
    try:
        return stage(data, folder.path, columns, row_id)
    except CheckpointError:
        if not restart:
            raise
        folder.move_aside()
        return stage(data, folder.path, columns, row_id)


def _payload(explainer: Any) -> bytes:
    try:
        return dumps(explainer)
    except Exception as error:
        raise InputError(
            f"explainer: cannot be sent to workers ({type(error).__name__}: {error}); pass a function that makes it in the worker, such as "
            "lambda: KernelSHAP(load_model(path), background)"
        ) from error


def _positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"{name}: expected a positive whole number, got {value!r}")
