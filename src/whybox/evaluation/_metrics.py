"""Distances and orders of effects, each for every bootstrap resample at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from whybox.evaluation._bootstrap import ratios
from whybox.typing import Floats, Ints


def errors(true: Floats, guess: Floats) -> dict[str, Floats]:
    """(p,) distances."""
    a, b = np.linalg.norm(true, axis=1), np.linalg.norm(guess, axis=1)
    both = a * b
    cosine = np.divide((true * guess).sum(axis=1), both, out=np.zeros_like(both), where=both > 0)
    return {"l2": np.linalg.norm(true - guess, axis=1), "cosine": 1.0 - cosine, "norm": np.abs(a - b)}


def numbered(names: Sequence[Any]) -> Ints:
    """(p,) number of each name, in order of appearance."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)


def two_of_a_text(texts: Sequence[str]) -> tuple[Ints, Ints]:
    """Positions of all two pairs of one text."""
    groups: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        groups.setdefault(text, []).append(i)
    first, second = [], []
    for group in groups.values():
        at = np.array(group)
        a, b = np.triu_indices(len(at), 1)
        first.append(at[a])
        second.append(at[b])
    return np.concatenate(first), np.concatenate(second)


def over_cells(weights: Floats, original: Ints, which: Ints, values: Floats) -> Floats:
    """(b,) unweighted mean over the cells of each cell's mean."""
    each = np.stack([ratios(weights, original[which == q], values[which == q]) for q in range(int(which.max()) + 1)])
    known = np.isfinite(each)
    result: Floats = np.where(known, each, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return result


def order_of_averages(weights: Floats, original: Ints, which: Ints, true: Floats, guess: Floats) -> Floats:
    """(b,) share of right signs among the differences of the cells' average effects."""
    cells = int(which.max()) + 1
    if cells < 2:
        return np.full(len(weights), np.nan)
    averages = []
    for values in (true, guess):
        each = [[ratios(weights, original[which == q], values[which == q, j]) for q in range(cells)] for j in range(values.shape[1])]
        averages.append(np.array(each))  # (k, cells, b)
    a, b = np.triu_indices(cells, 1)
    right = [np.sign(v[:, a] - v[:, b]) for v in averages]
    known = np.isfinite(right[0]) & np.isfinite(right[1])
    agree = (right[0] == right[1]) & known
    count = known.sum(axis=(0, 1))
    result: Floats = np.where(count > 0, agree.sum(axis=(0, 1)) / np.maximum(count, 1), np.nan)  # a resample of one cell orders nothing
    return result


def percentile(values: Floats, q: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.percentile(known, q)) if len(known) else float("nan")
