"""The explanations of a data set, read back from its folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whybox.distributed._reading import to_attribution, to_frame
from whybox.distributed._shards import read_table
from whybox.errors import CheckpointError, InputError, OptionError
from whybox.explanations import Attribution
from whybox.explanations._concat import together
from whybox.typing import RunStats

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ExplanationDataset:
    """The explanations of a data set, as :func:`whybox.explain_dataset` wrote them: shards on disk, read when they are asked for.

    Args:
        path: the folder.
        manifest: what the job was, its shards with content hashes, costs, versions, and the work that was done twice.

    Example:
        >>> import tempfile, numpy as np, whybox as wb
        >>> explainer = wb.ExactSHAP(wb.as_model(lambda x: x[:, 0] * x[:, 1], version="1"), np.zeros((1, 2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = wb.explain_dataset(explainer, np.ones((5, 2)), folder + "/out", batch_size=2, workers=1)
        ...     found.explanation(1, 4).values.tolist()
        [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """

    path: Path
    manifest: dict[str, Any]

    def __repr__(self) -> str:
        state = "complete" if self.complete else f"{len(self.manifest['shards'])} of {self.manifest['batches']} shards"
        again = self.repeated
        text = f"<ExplanationDataset {str(self.path)!r}: {len(self):,} rows, {state}; {self.stats.n_queries:,} model queries"
        return f"{text}; {again['batches']} batches ({again['rows']:,} rows) begun more than once>"

    def __len__(self) -> int:
        return sum(shard["rows"] for shard in self.manifest["shards"])

    @property
    def complete(self) -> bool:
        """Whether every row of the data is explained."""
        return bool(self.manifest["complete"])

    @property
    def stats(self) -> RunStats:
        """What the job has cost, work that was done twice included, as far as it was finished."""
        return _known(self.manifest["stats"])

    @property
    def repeated(self) -> dict[str, int]:
        """Work that was begun more than once: ``batches`` and ``rows``."""
        return dict(self.manifest["repeated"])

    @property
    def shards(self) -> tuple[Path, ...]:
        """The Parquet files, in the order of the data."""
        return tuple(self.path / shard["file"] for shard in self.manifest["shards"])

    def __iter__(self) -> Iterator[Attribution]:
        """One explanation a shard: memory holds one of them at a time."""
        for shard, path in zip(self.manifest["shards"], self.shards, strict=True):
            table, header = read_table(path)
            yield to_attribution([table], [header], _stats([shard]))

    def explanation(self, start: int = 0, stop: int | None = None) -> Attribution:
        """Rows start to stop as one explanation.

        Args:
            start: first row, counted among the rows that are explained.
            stop: row after the last; None (default): all.

        Raises:
            OptionError: there are no such rows.
            CheckpointError: a shard is missing or damaged.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start < stop <= len(self):
            raise OptionError(f"expected 0 <= start < stop <= {len(self)}, got {start} and {stop}")
        tables, headers, used, at = [], [], [], 0
        for shard, path in zip(self.manifest["shards"], self.shards, strict=True):
            rows = shard["rows"]
            first, last = max(start - at, 0), min(stop - at, rows)
            if first < last:
                table, header = read_table(path)
                tables.append(table.slice(first, last - first))
                headers.append(header)
                used.append(shard)
            at += rows
        return to_attribution(tables, headers, _stats(used))

    def ids(self) -> Any:
        """(n,) the row ids, in the order of the data."""
        import numpy as np

        return np.concatenate([read_table(path, ["id"])[0]["id"].to_numpy() for path in self.shards])

    def frames(self) -> Iterator[pd.DataFrame]:
        """One DataFrame a shard, as :meth:`to_frame` makes them."""
        for path in self.shards:
            yield to_frame(*read_table(path))

    def to_frame(self) -> pd.DataFrame:
        """One line a row: ``id``, ``prediction``, ``base_value``, ``value.<feature>``, ``std_error.<feature>``; of all shards at once.

        With several outputs, each name is followed by ``.<output>``.
        """
        import pandas as pd

        return pd.concat(list(self.frames()), ignore_index=True)

    def verify(self) -> None:
        """Read every shard and compare it with the hash that its worker wrote down.

        Raises:
            CheckpointError: a shard is missing, or its bytes have changed.
        """
        for shard, path in zip(self.manifest["shards"], self.shards, strict=True):
            if not path.exists():
                raise CheckpointError(f"{path}: the shard is gone; run explain_dataset again, it explains these rows anew")
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != shard["sha256"]:
                raise CheckpointError(f"{path}: its bytes have changed since it was written; remove it and run explain_dataset again")


def open_dataset(path: str | os.PathLike[str]) -> ExplanationDataset:
    """Open what :func:`whybox.explain_dataset` wrote, finished or not.

    Args:
        path: the folder that was passed as ``out``.

    Raises:
        InputError: there is no such job.
        CheckpointError: it cannot be read.

    Example:
        >>> open_dataset("no/such/folder")
        Traceback (most recent call last):
        whybox.errors.InputError: no/such/folder: ...
    """
    from whybox.distributed._job import JobFolder

    folder = Path(path)
    job = JobFolder(folder).job
    if job is None:
        raise InputError(f"{os.fspath(path)}: there is no job of explain_dataset here (no job.json)")
    with suppress(OSError, ValueError):
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["complete"] and manifest["digest"] == job["digest"]:
            return ExplanationDataset(folder, manifest)
    identity = job["identity"]  # under way, or killed: look at what is there
    return ExplanationDataset(folder, JobFolder(folder).manifest(-(-identity["rows"] // identity["batch_size"])))


def _stats(shards: list[dict[str, Any]]) -> RunStats:
    """The costs of some shards together."""
    return together([_known(shard["stats"]) for shard in shards])


def _known(stats: dict[str, Any]) -> RunStats:
    """Costs as a manifest has them, which another version may have written."""
    names = {item.name for item in fields(RunStats)}
    return RunStats(**{name: value for name, value in stats.items() if name in names})
