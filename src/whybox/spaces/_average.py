"""Outputs of a coalition's draws, folded into one."""

from __future__ import annotations

import numpy as np

from whybox.errors import OutputValueError
from whybox.typing import Floats


def average(outputs: Floats, weights: Floats | None) -> Floats:
    """Mean over the draws: (n_i, m, b, k) to (n_i, m, k). NaN outputs, where the engine let them through, are left out.

    Args:
        outputs: of every draw.
        weights: (b,) weights that add up to 1; None weighs all draws alike.

    Raises:
        OutputValueError: all outputs of a coalition are NaN.

    Example:
        >>> average(np.array([[[[1.0], [3.0]]]]), None)
        array([[[2.]]])
    """
    draws = outputs.shape[2]
    if draws == 1 and not np.isnan(outputs.sum()):
        return outputs[:, :, 0, :]
    if not np.isnan(outputs.sum()):
        if weights is None:
            return np.asarray(np.add.reduce(outputs, axis=2) / draws)
        return np.asarray(np.add.reduce(outputs * weights[:, None], axis=2))
    weights = np.full(draws, 1.0 / draws) if weights is None else weights
    there = ~np.isnan(outputs)
    total = np.add.reduce(there * weights[:, None], axis=2)
    if (total == 0).any():
        raise OutputValueError("all outputs of a coalition are NaN: nothing is left to average; mend the model or enlarge the background")
    result: Floats = np.add.reduce(np.where(there, outputs, 0.0) * weights[:, None], axis=2) / total
    return result
