"""The folder of a job: who it belongs to, which batches are done, what it cost. Only finished files are ever looked at."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from whybox.distributed._identity import digest
from whybox.distributed._shards import publish, read_table, sync_folder
from whybox.errors import CheckpointError, InputError

FORMAT, VERSION = "whybox.dataset", 1
_OURS = ("job.json", "explainer.json", "manifest.json", "input.json", "input", "shards", "log")
_SHARD = re.compile(r"part-(\d{6,})\.parquet")
_LIBRARIES = ("whybox", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "torch", "ray", "pyspark", "dask")


@dataclass(frozen=True)
class JobFolder:
    """A job's folder, held by one process at a time.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def job(self) -> dict[str, Any] | None:
        """What the job is, or None before it was written.

        Raises:
            CheckpointError: it cannot be read.
        """
        try:
            return _known(json.loads((self.path / "job.json").read_text(encoding="utf-8")), self.path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise CheckpointError(f"{self.path / 'job.json'}: not a job of whybox ({error}); pass another out") from error

    def claim(self, identity: Mapping[str, Any], *, restart: bool) -> bool:
        """Make the folder this job's. Returns whether an earlier job was moved aside.

        Raises:
            CheckpointError: it belongs to another job, which has finished shards.
        """
        moved = False
        there = self.job
        if there is not None and there["identity"] != dict(identity):
            if restart:
                moved = self.move_aside()
            elif self.finished():
                raise CheckpointError(_changed(self.path, there["identity"], identity))
            else:
                shutil.rmtree(self.path / "log")  # nothing was finished: there is nothing to keep
                for name in ("job.json", "explainer.json", "manifest.json"):
                    (self.path / name).unlink(missing_ok=True)
        for name in ("shards", "log"):
            (self.path / name).mkdir(exist_ok=True)
        note = {"format": FORMAT, "version": VERSION, "digest": digest(identity), "identity": dict(identity)}
        publish(json.dumps(note, indent=1).encode(), self.path / "job.json")
        for part in (self.path / "shards").glob(".*.part"):  # of workers that died; one that lives fails to publish, and is done again
            part.unlink(missing_ok=True)
        return moved

    def move_aside(self) -> bool:
        """Keep an earlier job's files in a folder ``replaced-1`` beside the new ones."""
        names = [name for name in _OURS if (self.path / name).exists()]
        if not names:
            return False
        goal = next(p for i in range(1, 10**6) if not (p := self.path / f"replaced-{i}").exists())
        goal.mkdir()
        for name in names:
            (self.path / name).rename(goal / name)
        return True

    def finished(self) -> set[int]:
        """Numbers of the batches whose shard is there."""
        folder = self.path / "shards"
        return {int(m[1]) for p in folder.iterdir() if (m := _SHARD.fullmatch(p.name))} if folder.is_dir() else set()

    def events(self) -> Iterator[dict[str, Any]]:
        """What the workers wrote down, file by file; a line that was cut short by a kill is left out."""
        for path in sorted((self.path / "log").glob("*.jsonl")):
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    with suppress(ValueError):
                        yield json.loads(line)

    def manifest(self, batches: int) -> dict[str, Any]:
        """Everything about the job: identity, shards with content hashes, costs, work that was done twice, warnings."""
        done = self.finished()
        job = self.job
        assert job is not None
        shards, totals, said = {}, dict[str, float](), dict[tuple[str, str], int]()
        begun: dict[int, int] = {}
        rows: dict[int, int] = {}
        for event in self.events():
            if event["job"] != job["digest"]:  # of a worker that outlived another job
                continue
            number = event["batch"]
            rows[number] = event["rows"]
            if event["event"] == "begun":
                begun[number] = begun.get(number, 0) + 1
                continue
            for name, value in event["stats"].items():
                if isinstance(value, (int, float)) and name not in ("batch_size", "repeat_sd"):
                    totals[name] = totals.get(name, 0) + value
            for warning in event["said"]:
                key = (warning["category"], warning["text"])
                said[key] = said.get(key, 0) + 1
            if number in done:
                shards[number] = {"rows": event["rows"], "sha256": event["sha256"], "seconds": event["seconds"], "stats": event["stats"]}
        for number in done - shards.keys():  # its log is lost
            shards[number] = _from_file(self.path / "shards" / f"part-{number:06d}.parquet")
        again = {number: count - 1 for number, count in begun.items() if count > 1}
        return {
            **job,
            "complete": len(done) == batches,
            "batches": batches,
            "shards": [{"file": f"shards/part-{number:06d}.parquet", "batch": number, **shards[number]} for number in sorted(shards)],
            "stats": totals,
            "repeated": {"batches": sum(again.values()), "rows": sum(count * rows[number] for number, count in again.items())},
            "warnings": [{"category": category, "text": text, "batches": count} for (category, text), count in said.items()],
            "versions": versions(),
        }

    def write_manifest(self, batches: int) -> dict[str, Any]:
        """Write ``manifest.json`` anew, at once or not at all."""
        content = self.manifest(batches)
        part = self.path / ".manifest.json.part"
        with part.open("wb") as file:
            file.write(json.dumps(content, indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path / "manifest.json")
        sync_folder(self.path)
        return content


def versions() -> dict[str, str]:
    """What computed the values."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@contextmanager
def open_folder(out: str | os.PathLike[str]) -> Iterator[JobFolder]:
    """The folder of a job, made if it does not exist, and locked: a second process is refused. A killed process holds no lock.

    Raises:
        InputError: it cannot be made or written, or holds files that are not ours.
        CheckpointError: another process is at work on it.
    """
    path = Path(out).resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / ".lock").open("a")
    except OSError as error:
        raise InputError(f"out: {path} cannot be written ({error.strerror}); pass the path of a folder, which is made") from error
    with lock:
        try:
            _lock(lock)
        except OSError as error:
            raise CheckpointError(f"{path}: another process is at work on this job; wait for it, or stop it first") from error
        others = [p.name for p in path.iterdir() if p.name not in _OURS and not p.name.startswith((".", "replaced-", "input-"))]
        if others and not (path / "job.json").exists():
            raise InputError(f"out: {path} holds other files, such as {sorted(others)[:3]}; pass an empty folder, or a new name")
        yield JobFolder(path)


def _from_file(path: Path) -> dict[str, Any]:
    rows = read_table(path, ["id"])[1]["rows"]
    with path.open("rb") as file:
        return {"rows": rows, "sha256": hashlib.file_digest(file, "sha256").hexdigest(), "seconds": 0.0, "stats": {}}


def _lock(file: Any) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _known(job: Any, path: Path) -> dict[str, Any]:
    if not isinstance(job, dict) or job.get("format") != FORMAT:
        raise CheckpointError(f"{path / 'job.json'}: not a job of whybox; pass another out")
    if job.get("version", VERSION + 1) > VERSION:
        raise CheckpointError(f"{path / 'job.json'}: format version {job.get('version')}, this whybox reads up to {VERSION}")
    return job


def _changed(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    then, now = _flat(there), _flat(here)
    changed = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    shown = ", ".join(f"{name} ({_short(then.get(name))} then, {_short(now.get(name))} now)" for name in changed)
    return (
        f'{path}: belongs to another job; changed: {shown}. Pass another out, or on_change="restart" to start anew (the earlier files are '
        "kept in a folder replaced-1). A model that is fitted anew counts as changed: load it from a file"
    )


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Parts of the explainer by names of their own, so that the one that has changed is shown."""
    out: dict[str, Any] = {}
    for name, value in identity.items():
        out |= {f"{name}.{part}": item for part, item in value.items()} if isinstance(value, Mapping) else {name: value}
    return out


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}…{text[-16:]}"
