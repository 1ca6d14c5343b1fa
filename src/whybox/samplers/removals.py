"""LIME's coalitions of a text or an image: how many features are left out, and which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.special import gammaln

from whybox.errors import OptionError
from whybox.samplers.neighborhood import Design, unit_points
from whybox.typing import Bools, Floats, Ints

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

    Unless ``design`` is "monte-carlo" they come in pairs, 2i and 2i + 1, each the complement of the other: what interactions of an even
    number of features do to a linear model then cancels (a quarter less error on film reviews). The numbers of features left out are
    distributed as if they were drawn one by one.

    Args:
        m: coalitions.
        d: features.
        rng: from :func:`whybox._random.generator`.
        sizes: "removals": 1 to d features are left out, each number equally likely (Ribeiro 2016, for texts); "bernoulli": each feature
            is left out with probability 1/2 (for images).
        design: "latin-hypercube" (default): the numbers, or with "bernoulli" each feature's draws, are stratified, see
            :func:`whybox.samplers.neighborhood.unit_points`; "antithetic": they are not; "monte-carlo": independent, and no pairs.
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
    if weigh is None and design != "monte-carlo":
        return _pairs(m, d, rng, sizes, "latin-hypercube" if design == "latin-hypercube" else "monte-carlo")
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
    return _without(size, d, rng)


def _pairs(m: int, d: int, rng: np.random.Generator, sizes: Removals, design: Design) -> Bools:
    """Complementary pairs; with "removals" the empty coalition, whose complement leaves nothing out, has its share at the end."""
    empty = 0
    if sizes == "removals":  # of the parity of m, so that whole pairs are left; in the mean m / d
        share = m / d
        empty = int(share) - (int(share) - m) % 2
        empty = min(empty + 2 * int(rng.random() < (share - empty) / 2.0), m)
    count = (m - empty + 1) // 2
    if sizes == "bernoulli":
        half = unit_points(count, d, rng, design) > 0.5
    else:
        half = _without(1 + np.floor(unit_points(count, 1, rng, design)[:, 0] * (d - 1)).astype(np.int64), d, rng)
    kept = np.zeros((m, d), dtype=bool)
    both = kept[: m - empty]
    both[0::2], both[1::2] = half, ~half[: len(both) // 2]
    return kept


def _without(size: Ints, d: int, rng: np.random.Generator) -> Bools:
    """Coalitions (m, d) that leave so many features out, all sets of a size alike."""
    m = len(size)
    kept = np.empty((m, d), dtype=bool)
    step = max(_BLOCK_CELLS // max(d, 1), 1)
    for start in range(0, m, step):  # the features with the smallest keys are left out
        keys = rng.random((min(step, m - start), d))
        count = size[start : start + step]
        last = np.sort(keys, axis=1)[np.arange(len(keys)), np.maximum(count - 1, 0)]
        kept[start : start + step] = (keys > last[:, None]) | (count == 0)[:, None]
    return kept
