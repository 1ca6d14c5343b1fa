"""LIME's coalitions of a text or an image: how many features are left out, and which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.special import gammaln

from whybox.errors import OptionError
from whybox.samplers.neighborhood import Design, unit_points
from whybox.typing import Bools, Floats

_BLOCK_CELLS = 1 << 21

Removals = Literal["removals", "bernoulli"]


def removals(
    m: int,
    d: int,
    rng: np.random.Generator,
    *,
    sizes: Removals = "removals",
    design: Design = "latin-hypercube",
    weigh: Callable[[Floats], Floats] | None = None,
) -> Bools:
    """Coalitions by the number of features that they leave out.

    Args:
        m: coalitions.
        d: features.
        rng: from :func:`whybox._random.generator`.
        sizes: "removals": 1 to d features are left out, each number equally likely (Ribeiro 2016, for texts); "bernoulli": each feature
            is left out with probability 1/2 (for images).
        design: how the numbers of a draw depend on one another, see :func:`whybox.samplers.neighborhood.unit_points`; of "bernoulli" the
            features' own draws.
        weigh: weights by the share of features kept, if coalitions are to be drawn in proportion to them (GLIME); None draws as they come.

    Returns:
        (m, d) bool; True keeps the feature.

    Raises:
        OptionError: sizes or design do not exist, or there is no feature.

    Example:
        >>> kept = removals(6, 3, np.random.default_rng(0))
        >>> sorted((3 - kept.sum(axis=1)).tolist())
        [1, 1, 2, 2, 3, 3]
    """
    if sizes not in ("removals", "bernoulli"):
        raise OptionError(f'sizes: expected "removals" or "bernoulli", got {sizes!r}')
    if sizes == "bernoulli" and weigh is None:
        return unit_points(m, d, rng, design) > 0.5
    gone = np.arange(d + 1)
    if sizes == "removals":
        share = np.where(gone > 0, 1.0, 0.0)
    else:  # binomial, as logarithms, because d may be thousands
        logs = -(gammaln(gone + 1.0) + gammaln(d - gone + 1.0))
        share = np.exp(logs - logs.max())
    if weigh is not None:
        share = share * weigh(1.0 - gone / max(d, 1))
    ends = np.cumsum(share)
    size = np.searchsorted(ends[:-1] / ends[-1], unit_points(m, 1, rng, design)[:, 0], side="right")
    kept = np.empty((m, d), dtype=bool)
    step = max(_BLOCK_CELLS // max(d, 1), 1)
    for start in range(0, m, step):  # the features with the smallest keys are left out
        keys = rng.random((min(step, m - start), d))
        count = size[start : start + step]
        last = np.sort(keys, axis=1)[np.arange(len(keys)), np.maximum(count - 1, 0)]
        kept[start : start + step] = (keys > last[:, None]) | (count == 0)[:, None]
    return kept
