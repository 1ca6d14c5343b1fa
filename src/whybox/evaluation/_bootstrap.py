"""Resampled means: originals are drawn, and everything that goes back to one comes along."""

from __future__ import annotations

import numpy as np

from whybox.typing import Floats, Ints


def ratios(weights: Floats, original: Ints, values: Floats) -> Floats:
    """(b,) weighted means of the values, NaN where a resample has none.

    Args:
        weights: (b, n) how often each original was drawn.
        original: (p,) the original of each value.
        values: (p,) what is averaged.
    """
    n = weights.shape[1]
    sums = np.bincount(original, weights=values, minlength=n)
    counts = np.bincount(original, minlength=n).astype(np.float64)
    total = weights @ counts
    result: Floats = np.divide(weights @ sums, total, out=np.full(len(weights), np.nan), where=total > 0)
    return result
