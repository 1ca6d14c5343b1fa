"""Counterfactuals on disk: JSON lines that any tool reads."""

from __future__ import annotations

import json
from dataclasses import asdict
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whybox.errors import InputError
from whybox.explanations._save import atomic

if TYPE_CHECKING:
    from whybox.explanations.counterfactuals import Counterfactuals
    from whybox.typing import Floats

FORMAT, VERSION = "whybox.counterfactuals", 1


def save(e: Counterfactuals, path: str | PathLike[str]) -> None:
    """Write the file, at once or not at all."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "source": e.source,
        "estimand": e.estimand,
        "cost": asdict(e.cost),
        "n_outputs": None if e.outputs_before is None else e.outputs_before.shape[1],
        "output_names": e.output_names,
        "settings": dict(e.settings),
        "n_texts": len(e.texts),
        "n_edits": len(e.edits),
    }
    originals = [{"text": text, "outputs": _row(e.outputs_before, i)} for i, text in enumerate(e.texts)]
    edits = [{"edit": asdict(edit), "outputs": _row(e.outputs_after, j)} for j, edit in enumerate(e.edits)]
    with atomic(path) as file:
        for line in [header, *originals, *edits]:
            # ASCII: lone surrogates and line separators survive, and every line of the file is one record
            file.write(json.dumps(line, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n")


def _row(outputs: Floats | None, i: int) -> list[float | None] | None:
    return None if outputs is None else [float(v) if np.isfinite(v) else None for v in outputs[i]]


def load(path: str | PathLike[str]) -> tuple[dict[str, Any], list[Any], list[Any]]:
    """Header, originals and edits.

    Raises:
        InputError: it is not such a file, of a newer version, or cut short.
    """
    name = fspath(path)
    try:
        lines = [json.loads(line) for line in Path(path).read_bytes().split(b"\n") if line]
    except ValueError as error:
        raise InputError(f"{name}: not counterfactuals saved by whybox, or damaged ({error})") from error
    header = lines[0] if lines and isinstance(lines[0], dict) else {}
    if header.get("format") != FORMAT:
        raise InputError(f"{name}: expected JSON lines of format {FORMAT!r}, got {str(header.get('format'))[:60]!r}")
    if not isinstance(header.get("version"), int) or header["version"] > VERSION:
        raise InputError(
            f"{name}: has format version {header.get('version')!r}, and this whybox reads up to {VERSION}; install a newer whybox"
        )
    n, m = header.get("n_texts"), header.get("n_edits")
    if not isinstance(n, int) or not isinstance(m, int) or len(lines) != 1 + n + m:
        raise InputError(f"{name}: expected {n} texts and {m} edits, got {len(lines) - 1} records; the file is cut short or changed")
    return header, lines[1 : 1 + n], lines[1 + n :]
