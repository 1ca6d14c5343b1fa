"""A model behind HTTP on loopback, in three dialects, with faults on request and counts of its own.

Run it as ``python -m whybox.testing.model_server --latency 0.02``; the first line that it prints is its base URL. It answers

- ``POST /predict``: ``{"rows": [[...], ...]}`` with ``{"outputs": [...]}``;
- ``POST /v2/models/NAME/infer``: the Open Inference Protocol of KServe and Triton;
- ``POST /invocations``: MLflow's ``inputs`` and ``dataframe_split``.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from whybox.testing.loopback import TRANSPORT_FAULTS, Running, add_manners, running_module, serve

WRONG_ANSWERS = ("shape", "width", "ragged", "nan", "null", "text", "empty", "stale")
FAULTS = (*TRANSPORT_FAULTS, "slow", "broken off", "duplicated", *WRONG_ANSWERS)


def served_outputs(rows: Any, k: int = 1) -> list[Any]:
    """The model that the server serves: a function of each row alone, with interactions, in plain Python floats.

    Args:
        rows: n rows of d numbers.
        k: outputs a row; 1 gives plain numbers.

    Returns:
        n numbers, or n lists of k.

    Example:
        >>> served_outputs([[0.0, 0.0, 0.0]], k=2)
        [[0.0, 1.0]]
    """
    found = []
    for row in rows:
        values = [float(v) for v in row]
        score = sum(math.sin((j + 1) * v) for j, v in enumerate(values)) + sum(a * b for a, b in itertools.pairwise(values))
        found.append(score if k == 1 else [score, *(math.cos(j * score) for j in range(1, k))])
    return found


@dataclass
class Predictions:
    """Answers of a model.

    Args:
        outputs: outputs a row.
        light: answer with the sum of a row, and do not count what was asked twice: next to no work, for measurements of a client.
    """

    outputs: int = 1
    light: bool = False
    faults: tuple[str, ...] = WRONG_ANSWERS
    _last: Any = field(default=None)

    def serves(self, path: str) -> bool:
        """One path a dialect."""
        return path in ("/predict", "/invocations") or (path.startswith("/v2/models/") and path.endswith("/infer"))

    def answer(self, path: str, asked: Any) -> Any:
        """The right outputs."""
        rows = _rows(path, asked)
        found = _wrapped(path, asked, [sum(row) for row in rows] if self.light else served_outputs(rows, self.outputs))
        self._last = found
        return found

    def wrong(self, kind: str, path: str, asked: Any) -> Any:
        """One of WRONG_ANSWERS; "stale" is the answer to an earlier request."""
        good = served_outputs(_rows(path, asked), self.outputs)
        bad: Any = {
            "shape": good[:-1] if len(good) > 1 else good * 2,
            "width": [[v, v, v] for v in good] if self.outputs == 1 else [row[:-1] for row in good],
            "ragged": [[1.0], [1.0, 2.0]],
            "nan": [math.nan] * len(good) if self.outputs == 1 else [[math.nan] * self.outputs for _ in good],
            "null": [None] * len(good) if self.outputs == 1 else [[None] * self.outputs for _ in good],
            "text": ["yes"] * len(good),
            "empty": [],
        }
        if kind == "stale":
            return self._last if self._last is not None else {}
        return _wrapped(path, asked, bad[kind])

    def items(self, path: str, asked: Any) -> list[str]:
        """The rows."""
        return [] if self.light else [repr(row) for row in _rows(path, asked)]


def _rows(path: str, asked: Any) -> Any:
    if path == "/predict":
        return asked["rows"]
    if path == "/invocations":
        return asked["inputs"] if "inputs" in asked else asked["dataframe_split"]["data"]
    tensors = asked["inputs"]
    columns = []
    for tensor in tensors:
        n, d = tensor["shape"]
        if len(tensor["data"]) != n * d:
            raise ValueError(f"tensor {tensor['name']!r}: {len(tensor['data'])} values for the shape {tensor['shape']}")
        columns.append([tensor["data"][i * d : (i + 1) * d] for i in range(n)])
    return [[value for part in parts for value in part] for parts in zip(*columns, strict=True)]


def _wrapped(path: str, asked: Any, outputs: Any) -> Any:
    if path == "/predict":
        return {"outputs": outputs}
    if path == "/invocations":
        return {"predictions": outputs}
    wide = bool(outputs) and isinstance(outputs[0], list)
    flat = [v for row in outputs for v in row] if wide else outputs
    tensor = {"name": "output", "datatype": "FP64", "shape": [len(outputs), len(outputs[0])] if wide else [len(outputs)], "data": flat}
    return {"model_name": path.split("/")[3], "outputs": [tensor]} | ({"id": asked["id"]} if "id" in asked else {})


@contextmanager
def running(*options: str) -> Iterator[Running]:
    """Start the server in a process of its own, and end it afterwards.

    Args:
        *options: of the command line, such as ``"--latency", "0.02", "--faults", "0.1"``.

    Example:
        >>> with running("--outputs", "2") as server:
        ...     server.stats()["requests"]
        0
    """
    with running_module("whybox.testing.model_server", options) as server:
        yield server


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="a model behind HTTP on loopback")
    add_manners(parser, FAULTS)
    parser.add_argument("--outputs", type=int, default=1, help="outputs a row")
    parser.add_argument(
        "--light", action="store_true", help="answer with the sum of a row, at next to no cost, for measurements of a client"
    )
    given = parser.parse_args(arguments)
    serve(Predictions(given.outputs, given.light), given)


if __name__ == "__main__":
    main()
