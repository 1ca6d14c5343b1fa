"""Which of many coins land heads most often: confidence bounds by Kullback-Leibler divergence, and whom to toss next (KL-LUCB)."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import rel_entr

from whybox.typing import Floats, Ints

_STEPS = 40  # of bisection: 2**-40


def exploration_rate(t: int, arms: int, delta: float) -> float:
    """How far the bounds have to reach in round t so that all of them hold at once with probability ``1 - delta``.

    ``log(c) + log(log(c))`` with ``c = 405.5 arms t**1.1 / delta`` (Kaufmann and Kalyanakrishnan 2013, theorem 1).

    Example:
        >>> round(exploration_rate(1, 10, 0.1), 2)
        12.97
    """
    reach = np.log(405.5 * arms * t**1.1 / delta)
    return float(reach + np.log(reach))


def kl_bounds(hits: Ints, n: Ints, rate: float) -> tuple[Floats, Floats]:
    """Lower and upper bounds of probabilities: all q with ``n KL(hits / n, q) <= rate``; (0, 1) where nothing was tossed.

    Args:
        hits: heads of each coin.
        n: tosses of each.
        rate: see :func:`exploration_rate`; ``log(1 / delta)`` for one coin at one time, one side (Chernoff).

    Example:
        >>> low, high = kl_bounds(np.array([90]), np.array([100]), 3.0)
        >>> round(float(low[0]), 3), round(float(high[0]), 3)
        (0.811, 0.958)
    """
    tossed = n > 0
    mean = np.where(tossed, hits / np.maximum(n, 1), 0.5)
    allowed = np.where(tossed, rate / np.maximum(n, 1), np.inf)
    inside, low, high = mean.copy(), np.zeros_like(mean), np.ones_like(mean)
    upper = mean.copy()
    for _ in range(_STEPS):  # both at once: [low, inside] brackets the lower bound, [upper, high] the upper one
        below, above = 0.5 * (low + inside), 0.5 * (upper + high)
        holds = _divergence(mean, below) <= allowed
        inside, low = np.where(holds, below, inside), np.where(holds, low, below)
        holds = _divergence(mean, above) <= allowed
        upper, high = np.where(holds, above, upper), np.where(holds, high, above)
    return np.where(tossed, low, 0.0), np.where(tossed, high, 1.0)


def _divergence(p: Floats, q: Floats) -> Floats:
    total: Floats = rel_entr(p, q) + rel_entr(1.0 - p, 1.0 - q)
    return total


def contenders(hits: Ints, n: Ints, top: int, rate: float) -> tuple[Ints, int, int, float]:
    """Who seems to be the best ``top`` coins, the two that are hardest to tell apart, and how far their bounds overlap.

    Args:
        hits: heads of each coin.
        n: tosses of each.
        top: how many are wanted, fewer than there are.
        rate: of the bounds.

    Returns:
        The best by mean, best first; the one among them with the lowest lower bound; the one among the others with the highest upper
        bound; and the latter's bound minus the former's.

    Source: Kaufmann and Kalyanakrishnan, Information complexity in bandit subset selection, 2013.

    Example:
        >>> best, weakest, strongest, overlap = contenders(np.array([9, 5, 1]), np.array([10, 10, 10]), 1, 1.0)
        >>> best.tolist(), weakest, strongest
        ([0], 0, 1)
    """
    order = np.argsort(-np.where(n > 0, hits / np.maximum(n, 1), 0.5), kind="stable")
    low, high = kl_bounds(hits, n, rate)
    best, rest = order[:top], order[top:]
    weakest, strongest = int(best[np.argmin(low[best])]), int(rest[np.argmax(high[rest])])
    return best, weakest, strongest, float(high[strongest] - low[weakest])


def proportion_interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a probability (Clopper and Pearson 1934): it covers at least as often as it says.

    Example:
        >>> [round(end, 3) for end in proportion_interval(95, 100)]
        [0.887, 0.984]
    """
    tail = 0.5 * (1.0 - level)
    low = 0.0 if hits == 0 else float(stats.beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(stats.beta.ppf(1.0 - tail, hits + 1, n - hits))
    return low, high
