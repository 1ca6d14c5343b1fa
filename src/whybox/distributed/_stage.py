"""Data of a cluster engine (Ray, Dask, Spark), written to Parquet once, so that every worker reads the same rows in the same order."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from whybox.distributed._parquet import ParquetRows, in_files
from whybox.distributed._shards import publish
from whybox.errors import CheckpointError, OptionError

_LIBRARIES = {"ray": "Dataset", "pyspark": "DataFrame", "dask": "DataFrame"}


def is_distributed(data: Any) -> bool:
    """Whether data are a Ray Dataset, a Dask DataFrame or a Spark DataFrame; none of these is imported to find out."""
    return any(
        cls.__module__.partition(".")[0] in (*_LIBRARIES, "dask_expr") and cls.__name__ in _LIBRARIES.values() for cls in type(data).__mro__
    )


def stage(data: Any, folder: Path, columns: str | Sequence[str] | None, row_id: str | None) -> tuple[ParquetRows, str]:
    """The data as Parquet files in a folder, and the digest of their rows in whatever order they came.

    Files of an earlier call stay; the data are written again beside them, compared and removed, because their partitions may come in
    another order.

    Raises:
        OptionError: no id was named: partitions have no order that positions could be told by.
        CheckpointError: the data are not those of the earlier call.
    """
    if row_id is None:
        raise OptionError(
            f"id: rows of {type(data).__module__.partition('.')[0]} data have no fixed positions; name a column of row ids with id="
        )
    note = folder / "input.json"
    final = folder / "input"
    if not note.exists() and final.exists():
        shutil.rmtree(final)  # cut short
    fresh = folder / f"input-{uuid4().hex[:8]}.part"
    try:
        _write(data, fresh)
        source = in_files(fresh, columns, row_id)
        found = source.unordered_digest()
        if not note.exists():
            fresh.rename(final)
            publish(json.dumps({"digest": found, "rows": source.n}).encode(), note)
        elif json.loads(note.read_text(encoding="utf-8"))["digest"] != found:
            earlier = json.loads(note.read_text(encoding="utf-8"))["rows"]
            raise CheckpointError(
                f"{folder}: data changed: {earlier} rows then, {source.n} now, with other content; pass another out, or "
                'on_change="restart" to start anew'
            )
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return in_files(final, columns, row_id), found


def _write(data: Any, folder: Path) -> None:
    library = next(m for cls in type(data).__mro__ if (m := cls.__module__.partition(".")[0]) in (*_LIBRARIES, "dask_expr"))
    if library == "ray":
        data.write_parquet(str(folder))
    elif library == "pyspark":
        data.write.parquet(str(folder))
    else:  # Dask takes categories that it has not looked at for texts: each partition tells its own, and in_files what is common
        unknown = any(hasattr(dtype, "categories") and not data[name].cat.known for name, dtype in data.dtypes.items())
        data.to_parquet(str(folder), write_index=False, schema=None if unknown else "infer")
