"""One file for an explanation: a zip of ``whybox.json`` and npy arrays, which ``numpy.load`` reads too. Nothing in it is executed."""

from __future__ import annotations

import errno
import json
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError
from whybox.explanations._columns import Arrays, pack, unpack
from whybox.typing import RunStats

if TYPE_CHECKING:
    from whybox.explanations.attribution import Attribution

Result = TypeVar("Result")
FORMAT, VERSION = "whybox.attribution", 1
_HEADER = "whybox.json"
_DATED = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that the same explanation gives the same bytes
# What reading and rebuilding may raise on a file that is not as we wrote it. OSError and MemoryError are the machine's and pass through.
_DAMAGE = (ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError, struct.error, zlib.error)
_ARRAYS = (
    "values",
    "base_values",
    "predictions",
    "data",
    "std_error",
    "score",
    "intercept",
    "local_pred",
    "conditions",
    "target_index",
)
_TUPLES = ("inputs", "marks", "row_labels")  # one text, array or label a row
_PLAIN = ("feature_names", "output_names", "members", "method", "estimator", "target", "seed", "single")


def save(e: Attribution, path: str | PathLike[str], *, form: str = FORMAT, beside: Arrays | None = None) -> None:
    """Write an explanation into one file, at once or not at all.

    Args:
        e: the explanation.
        path: of the file.
        form: the file's format, where it holds more than an explanation.
        beside: what more: arrays under names that no field of an explanation has.
    """
    arrays: Arrays = dict(beside or {})
    notes = {name: pack(getattr(e, name), name, arrays) for name in _ARRAYS}
    notes |= {name: pack(_stacked(getattr(e, name), single=e.single), name, arrays) for name in _TUPLES}
    plain = {name: getattr(e, name) for name in _PLAIN} | {"settings": dict(e.settings), "stats": asdict(e.stats)}
    write(path, {"format": form, "version": VERSION, "arrays": notes, "plain": plain}, arrays)


def write(path: str | PathLike[str], header: Mapping[str, Any], arrays: Arrays) -> None:
    """Write a header, which says format and version, and arrays into one file, at once or not at all."""
    with atomic(path) as file, zipfile.ZipFile(file, "w") as archive:
        _put(archive, _HEADER, json.dumps(header, separators=(",", ":")).encode())
        for name, array in arrays.items():
            buffer = BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
            _put(archive, f"{name}.npy", buffer.getbuffer())


def load(path: str | PathLike[str]) -> dict[str, Any]:
    """The arguments of the Attribution in a file, see :func:`load_beside`."""
    return load_beside(path, FORMAT)[0]


def load_beside(path: str | PathLike[str], form: str) -> tuple[dict[str, Any], Arrays]:
    """The arguments of the Attribution in a file of this format, and all arrays that the file holds.

    Raises:
        InputError: not one of ours, damaged, or of a newer version.
    """
    return read(path, form, lambda header, arrays: (_arguments(header, arrays), arrays))


def read(path: str | PathLike[str], form: str, rebuild: Callable[[dict[str, Any], Arrays], Result]) -> Result:
    """What ``rebuild`` makes of the header and the arrays of a file of this format.

    Raises:
        InputError: not one of ours, damaged, or of a newer version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if _HEADER not in archive.namelist():
                raise InputError(f"{os.fspath(path)}: not an explanation saved by whybox (it has no {_HEADER})")
            header = json.loads(archive.read(_HEADER))
            if not isinstance(header, dict) or header.get("format") != form:
                raise InputError(f"{os.fspath(path)}: expected a file of format {form!r}, got {str(header)[:60]}")
            if not isinstance(header.get("version"), int) or header["version"] > VERSION:
                raise InputError(
                    f"{os.fspath(path)}: has format version {header.get('version')!r}, and this whybox reads up to {VERSION}; "
                    "install a newer whybox"
                )
            members = [name for name in archive.namelist() if name.endswith(".npy")]
            arrays = {name.removesuffix(".npy"): _array(archive, name) for name in members}
        return rebuild(header, arrays)
    except InputError:
        raise
    except zipfile.BadZipFile as error:
        raise InputError(f"{os.fspath(path)}: not an explanation saved by whybox, or cut short ({error})") from error
    except _DAMAGE as error:
        raise InputError(f"{os.fspath(path)}: damaged: {type(error).__name__}: {error}") from error


def _arguments(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    result = {name: unpack(note, arrays) for name, note in header["arrays"].items() if name in (*_ARRAYS, *_TUPLES)}
    for name in _TUPLES:
        found = result.get(name)
        if found is not None:
            result[name] = found[0] if header["plain"]["single"] else tuple(found)
    plain = {name: value for name, value in header["plain"].items() if name in (*_PLAIN, "settings")}
    for name in ("feature_names", "output_names", "members"):
        if plain.get(name) is not None:
            plain[name] = tuple(tuple(item) if isinstance(item, list) else item for item in plain[name])
    return result | plain | {"stats": stats_of(header["plain"]["stats"])}


def stats_of(state: Mapping[str, Any]) -> RunStats:
    """Costs as a file holds them; what an older or newer version counted beside is left."""
    known = {item.name for item in fields(RunStats)}
    return RunStats(**{name: value for name, value in state.items() if name in known})


def _stacked(rows: Any, *, single: bool) -> NDArray[np.object_] | None:
    """Texts or arrays, one a row, as one object array."""
    if rows is None:
        return None
    each = (rows,) if single else rows
    result = np.empty(len(each), dtype=object)
    for i, row in enumerate(each):  # assignment in one go would stack arrays of equal shape
        result[i] = row
    return result


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    array = np.lib.format.read_array(BytesIO(archive.read(name)), allow_pickle=False)
    array.setflags(write=False)
    return array


def _put(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    archive.writestr(zipfile.ZipInfo(name, _DATED), content, compress_type=zipfile.ZIP_DEFLATED, compresslevel=1)


@contextmanager
def atomic(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """A file that takes its name only when everything is in it; an error or a crash leaves what was there before."""
    goal = Path(path)
    if not goal.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder; create it first", str(goal.parent))
    part = goal.with_name(f".{goal.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(goal)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise
