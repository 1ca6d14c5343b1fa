"""Counterfactual rows as numbers, one array a row, for contracts that compare explanations row by row."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from whybox import TabularCounterfactuals
from whybox.typing import RunStats


@dataclass(frozen=True)
class ByRow:
    """values (n, 4, d + 3): of each counterfactual cells or their checksums, distance, plausibility, output; -1 where none is."""

    values: np.ndarray
    predictions: np.ndarray
    stats: RunStats

    @property
    def n_queries(self):
        return self.stats.n_queries


def number(cell):
    return float(cell) if isinstance(cell, (int, float, np.number)) else zlib.crc32(repr(cell).encode()) / 2**32


class NumbersByRow(TabularCounterfactuals):
    """Gives numbers; of a model with several outputs, the first is to be in the range."""

    def explain(self, x, *, target=None, **options):
        e = super().explain(x, target=0 if target is None else target, **options)
        cells = pd.DataFrame(e.rows).astype(object).map(number).to_numpy(dtype=float)
        each = np.concatenate([cells, e.distance[:, None], e.plausibility[:, None], e.after[:, :1]], axis=1)
        values = np.full((len(e), 4, each.shape[1]), -1.0)
        for i in range(len(e)):
            values[i, : e.found[i]] = each[e.of == i]
        return ByRow(values, e.before, e.stats)
