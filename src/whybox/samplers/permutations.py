"""Antithetic permutations, written as the coalitions that they pass through."""

from __future__ import annotations

import numpy as np

from whybox.errors import OptionError
from whybox.typing import Bools


def permutations(d: int, n_permutations: int, rng: np.random.Generator) -> Bools:
    """Draw permutations in antithetic pairs (one and its reverse) and list the coalitions on their way.

    A pair of permutations passes through ``2 (d - 1)`` coalitions besides the empty and the full one: row 2k is the set of the first k + 1
    features of the permutation, row 2k + 1 its complement, which its reverse passes through. The draw for fewer permutations is a prefix
    of the draw for more (same d and state of ``rng``). Repeated coalitions are kept; the engine pays for them once.

    Args:
        d: number of features, at least 1.
        n_permutations: how many, an even number of at least 2.
        rng: the generator, from :func:`whybox._random.generator`.

    Returns:
        (n_permutations (d - 1), d) bool; True keeps the feature of the explained row.

    Raises:
        OptionError: d is below 1, or the number of permutations is odd or below 2.

    References:
        Mitchell, Cooper, Frank and Holmes, Sampling permutations for Shapley value estimation, JMLR 2022 (antithetic sampling).

    Example:
        >>> import numpy as np
        >>> permutations(4, 2, np.random.default_rng(0)).sum(axis=1).tolist()
        [1, 3, 2, 2, 3, 1]
    """
    if d < 1:
        raise OptionError(f"d: expected at least one feature, got {d}")
    if n_permutations < 2 or n_permutations % 2:
        raise OptionError(f"n_permutations: expected an even number of at least 2 (each goes with its reverse), got {n_permutations}")
    pairs = n_permutations // 2
    place = rng.permuted(np.tile(np.arange(d), (pairs, 1)), axis=1)
    codes = np.empty((pairs, d - 1, 2, d), dtype=bool)
    codes[:, :, 0] = place[:, None, :] <= np.arange(d - 1)[:, None]
    codes[:, :, 1] = ~codes[:, :, 0]
    return codes.reshape(-1, d)
