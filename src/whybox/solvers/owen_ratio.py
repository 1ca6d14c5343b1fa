"""Owen values from orders that value some features more often than others, with what is known of how contributions fade with size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from whybox.spaces.hierarchy import PartitionTree
from whybox.typing import Bools, Floats, Ints

FADING = (0.0, 0.25, 0.5, 0.75, 1.0)  # contributions among k features are taken to fade as (k + 1)**-e: one of these
_STEP, _BELOW, _ABOVE = 0.5, 4.0, 1.5  # of the quadrature, on the logarithm of the rate
_CLEAR = 0.98  # a faster fading must leave less than this of the scatter
_COMMON = 2.0  # orders that what all features have in common counts for


@dataclass(frozen=True)
class Fading:
    """How contributions may fade with the number of features that are there already, and the mean over a tree's contexts.

    Each profile is a mixture of geometric sequences that is close to ``(k + 1)**-e``. Of these the mean over all contexts is a product over
    the branches beside a feature, each there or not by a fair coin, so that it is exact and takes a step a level.

    Args:
        profiles: (e, d) by number of features before.
        means: (e, d) by feature, over the contexts of Owen values.

    Example:
        >>> from whybox.spaces.hierarchy import partition_tree
        >>> fading = fading_of(partition_tree([[0, 1], 2], 3))
        >>> bool(np.allclose(fading.means[:, 2], (fading.profiles[:, 0] + fading.profiles[:, 2]) / 2))
        True
    """

    profiles: Floats
    means: Floats


def fading_of(tree: PartitionTree) -> Fading:
    """The profiles for a tree. ``x**-e`` is the integral of ``t**(e - 1) exp(-x t) / gamma(e)``, summed at steps of log t."""
    d = tree.d
    log_rate = np.arange(-math.log(d) - _BELOW, _ABOVE, _STEP)
    rate = np.exp(log_rate)
    mix = np.stack([_STEP / math.gamma(e) * np.exp(e * log_rate) for e in FADING if e])  # (e - 1, t)
    table = mix @ np.exp(-rate[:, None] * np.arange(1, d + 1))
    mean = np.ones((d, len(rate)))  # by feature: E exp(-rate * (features before it))
    inner = np.ones((max(tree.n_nodes, 1), len(rate)))
    size = np.stack([tree.stop - tree.middle, tree.middle - tree.start], axis=1)  # of the branch beside each child
    for nodes in tree.levels:
        for side in (0, 1):
            here = inner[nodes] * (0.5 + 0.5 * np.exp(-size[nodes, side, None] * rate))
            child = tree.children[nodes, side]
            leaf = tree.order[np.where(side == 0, tree.start[nodes], tree.middle[nodes])]
            inner[child[child >= 0]] = here[child >= 0]
            mean[leaf[child < 0]] = here[child < 0]
    flat = np.ones((1, d))
    return Fading(np.concatenate([flat, table]), np.concatenate([flat, mix @ (np.exp(-rate) * mean).T]))


@dataclass(frozen=True)
class Ratio:
    """Values and what is known of their errors.

    Args:
        values: (n, d), which add up to the given totals.
        variance: (n, d) of the values, each with a share of what all have in common.
        fading: (n,) which of :data:`FADING` was taken.
    """

    values: Floats
    variance: Floats
    fading: Ints


def solve_ratio(forward: Floats, backward: Floats, before: Ints, counted: Bools, total: Floats, fading: Fading) -> Ratio:
    """Ratio estimates of Owen values.

    What a feature adds in an order depends on how many features are there already, and by chance these were more or fewer than in the mean
    over all contexts. If contributions fade in proportion to a profile, ``mean contribution / mean profile * profile over all contexts``
    allows for that (Cochran, Sampling Techniques, 1977, chapter 6). The profile is the one that leaves the least scatter between the orders
    of features that have several; where none has, or none is clearly better, it is flat, and the estimate is the mean: so games without
    interactions above second order stay exact. A difference of the sum from the total is spread over the features by their variance.

    Args:
        forward: (p, n, d) what each feature adds in each order.
        backward: (p, n, d) the same in the reverse orders.
        before: (p, d) features before it in each order.
        counted: (p, n, d) which orders a feature was valued in: the first ones, one at least.
        total: (n,) what the values add up to.
        fading: of the tree.

    Example:
        >>> from whybox.spaces.hierarchy import partition_tree
        >>> once = np.array([[[1.0, 2.0]]])
        >>> solve_ratio(once, once, np.array([[0, 1]]), once > 0, np.array([3.0]), fading_of(partition_tree([0, 1], 2))).values
        array([[1., 2.]])
    """
    d = before.shape[1]
    count = counted.sum(axis=0)
    several = count > 1
    there = counted / count
    both = np.where(counted, 0.5 * (forward + backward), 0.0)
    apart = np.where(counted, 0.5 * (forward - backward), 0.0)
    sums = both.sum(axis=0) / count
    best = np.full(len(total), np.inf)
    values, variance, taken = np.empty_like(sums), np.empty_like(sums), np.zeros(len(total), dtype=np.int64)
    for e, profile in enumerate(fading.profiles):
        here, back = profile[before][:, None], profile[d - 1 - before][:, None]
        mean = 0.5 * (here + back)  # (p, 1, d)
        seen = (there * mean).sum(axis=0)
        weight, scale = sums / seen, fading.means[e] / seen
        off = np.where(counted, both - weight * mean, 0.0) * scale
        spread = (off**2).sum(axis=0) / np.maximum(count - 1, 1)
        scatter = np.where(several, spread / count, 0.0).sum(axis=1)
        better = (scatter < _CLEAR * best) if e else np.ones(len(total), dtype=bool)
        if not better.any():
            continue
        gap = ((np.where(counted, apart - weight * 0.5 * (here - back), 0.0) * scale) ** 2).sum(axis=0) / count
        one = ((count - 1) * spread + _of_gap(spread, gap, several) * gap) / count  # of one order: the gap counts as an order more
        best = np.where(better, scatter, best)
        values = np.where(better[:, None], weight * fading.means[e], values)
        variance = np.where(better[:, None], one, variance)
        taken = np.where(better, e, taken)
    own = variance / count
    left = total - values.sum(axis=1)
    whole = own.sum(axis=1, keepdims=True)
    values = values + np.divide(own, whole, out=np.zeros_like(own), where=whole > 0) * left[:, None]
    common = variance.mean(axis=1, keepdims=True)
    size = np.sqrt((values**2).mean(axis=1, keepdims=True))
    larger = np.divide(np.abs(values), size, out=np.zeros_like(values), where=size > 0)
    common = common * np.maximum(larger, 1.0)  # what adds much also varies much, which few orders may not show yet
    widened = np.where(several, stdtrit(count + 1, 0.975) / 1.959963984540054, 1.0) ** 2
    return Ratio(values, widened * (count * variance + _COMMON * common) / (count + _COMMON) / count, taken)


def _of_gap(spread: Floats, gap: Floats, several: Bools) -> Floats:
    """(n, 1) the scatter between orders as a share of that between an order and its reverse, as if both were alike once more."""
    both = np.where(several, gap, 0.0).sum(axis=1, keepdims=True)
    once = both / np.maximum(several.sum(axis=1, keepdims=True), 1)
    share = np.where(several, spread, 0.0).sum(axis=1, keepdims=True) + once
    return np.asarray(np.divide(share, both + once, out=np.ones_like(both), where=both > 0))
