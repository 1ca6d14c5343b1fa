"""A control variate for LIME: a surrogate's own LIME answer is known without asking the model, so only the difference has to be estimated.

For any function g, the LIME coefficients of the model f are those of g plus those of f - g. g is fitted out of fold on the queries that
were made anyway, so that f - g stays unbiased; the coefficients of g come from many free points, those of f - g from the queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from whybox.solvers._threads import one_blas_thread, threads_for
from whybox.solvers.tree_leaves import ensembles
from whybox.solvers.tree_outputs import tree_outputs
from whybox.typing import Floats, Ints

_ROWS = 32  # explained rows at once; fixed, because the shape of a matrix product decides its last bits
_CHUNK = 4096
_EDGE = 1e-6
_WORK, _LEAST = 4 * 10**9, 4_000  # products of levels, and points, at most and at least


@dataclass(frozen=True)
class Surrogate:
    """What was learnt of one output.

    Args:
        out_of_fold: (m,) surrogate at the queried points, each by the model that did not see it.
        free: (f,) surrogate at the free points, by blocks of the folds' models.
        r2: share of the output's variance that the surrogate explains out of fold.
    """

    out_of_fold: Floats
    free: Floats
    r2: float


def n_folds(m: int) -> int:
    """Folds for m queried points: the fewer points, the more of them each surrogate needs to see."""
    return 10 if m < 1500 else 5 if m < 3000 else 3


def n_free(m: int, levels: int) -> int:
    """Free points for m queried points, shared by the folds: so many that their own error is small beside that of the queries.

    Work grows with the square of the number of levels of all features, so that beyond 180 of them there are fewer points.
    """
    return min(max(24 * m, 48_000), 120_000, max(_WORK // levels**2, _LEAST))


def fit_surrogate(points: Floats, y: Floats, free: Floats, *, bounded: bool) -> Surrogate:
    """Fit boosted trees to one output, out of fold.

    Args:
        points: (m, d) queried points of the unit cube, in a random order.
        y: (m,) outputs.
        free: (f, d) further points of the same distribution.
        bounded: the output is a probability: trees are fitted to its logit, where boosted and linear classifiers are additive.

    Returns:
        The surrogate at all points.

    Source: cross-fitted control variates; Chernozhukov et al. 2018 for the folds.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    m, folds = len(points), n_folds(len(points))
    goal = logit(np.clip(y, _EDGE, 1.0 - _EDGE)) if bounded else y
    fold, blocks = np.arange(m) // 2 % folds, np.array_split(np.arange(len(free)), folds)  # pairs of antithetic points stay together
    out, beyond = np.empty(m), np.empty(len(free))
    with threads_for(m):
        for k in range(folds):
            trees = HistGradientBoostingRegressor(
                max_iter=200 if m < 1500 else 100 if m < 3000 else 75,
                learning_rate=0.1 if m < 1500 else 0.2,  # few points take slow steps; with many, these are hardly steadier and take longer
                max_leaf_nodes=4 if m < 1500 else 8,
                min_samples_leaf=10,
                early_stopping=False,
                random_state=0,
            ).fit(points[fold != k], goal[fold != k])
            (ensemble,) = ensembles(trees)  # which answers many points in a quarter of the time
            for where, put, at in ((points[fold == k], out, fold == k), (free[blocks[k]], beyond, blocks[k])):
                guess = tree_outputs(ensemble, where)
                put[at] = expit(guess) if bounded else guess
    variance = float(np.var(y))
    return Surrogate(out, beyond, 1.0 - float(np.mean((y - out) ** 2)) / variance if variance > 0 else 0.0)


def limit(levels: NDArray[Any], values: Floats, shares: Floats, x_levels: Ints, width: float) -> tuple[Floats, Floats, Floats]:
    """LIME coefficients of a function with infinitely many samples, as closely as the free points allow.

    The features of a binned neighbourhood are independent under LIME's weights, so a coefficient is the weighted mean of the function
    where the feature agrees with the row less the mean where it does not. The part of the function that is additive in the levels is
    solved in closed form, only the rest is averaged.

    Args:
        levels: (f, d) levels of the free points.
        values: (f, q) functions at the free points.
        shares: (d, c) probability of each level.
        x_levels: (n, d) levels of the explained rows.
        width: kernel width.

    Returns:
        (n, d, q) coefficients, (n, q) intercepts and (n, d, q) standard errors of the coefficients, from the number of free points.
    """
    d, q = levels.shape[1], values.shape[1]
    counts = (shares > 0).sum(axis=1)
    place = np.where(shares > 0, np.cumsum(shares > 0).reshape(shares.shape) - 1, -1)  # (d, c) columns of the one-hot matrix
    total = int(counts.sum())
    pull = np.exp(-0.5 / width**2)
    gram, cross = np.zeros((total, total)), np.zeros((total, q))
    chunks = [slice(s, min(s + _CHUNK, len(levels))) for s in range(0, len(levels), _CHUNK)]
    mean = values.mean(axis=0)
    for s in chunks:
        hot = _one_hot(levels[s], place, total)
        with one_blas_thread():  # which the last digits of all explained rows depend on, here and below
            gram += hot.T @ hot
            cross += hot.T @ (values[s] - mean)
    gram[np.arange(total), np.arange(total)] += 1e-6 * len(levels)
    with one_blas_thread():
        effect: Floats = np.linalg.solve(gram, cross).astype(np.float64)  # (total, q) additive part
    n = len(x_levels)
    own = np.where(x_levels >= 0, place[np.arange(d), x_levels], -1)  # (n, d)
    coefficients, base = np.zeros((n, d, q)), np.zeros((n, q))
    noise, chance = np.zeros(q), np.where(own >= 0, shares[np.arange(d), x_levels], 0.0)
    for start in range(0, n, _ROWS):
        rows = np.arange(start, min(start + _ROWS, n))
        filled = own[np.resize(rows, _ROWS)]
        mark = np.zeros((total, _ROWS), dtype=np.float32)
        np.put_along_axis(mark, np.maximum(filled.T, 0), 1.0, axis=0)
        mark[0] = (filled == 0).any(axis=1)  # -1 was written at 0
        weight_at = np.zeros((total, _ROWS))
        sums = np.zeros((q, total, _ROWS))
        for s in chunks:
            hot = _one_hot(levels[s], place, total)
            # In float64: products of float32 round other columns of a block otherwise, and a row would depend on its place.
            across = np.ascontiguousarray(hot.T, dtype=np.float64)
            with one_blas_thread():
                weight = np.exp((d - hot @ mark) * (-0.5 / width**2)).astype(np.float64)  # counts are exact in any order
                rest = values[s] - mean - hot @ effect
                if start == 0:
                    noise += (rest**2).sum(axis=0) / len(levels) ** 2
                weight_at += across @ weight
                for j in range(q):
                    sums[j] += across @ (weight * rest[:, j, None])
        for i, row in enumerate(rows.tolist()):
            coefficients[row], base[row] = _one(filled[i], weight_at[:, i], sums[:, :, i], effect, shares, place, pull)
    spread = np.maximum(chance * (1.0 - chance), 1.0 / len(levels))
    return coefficients, base + mean, np.sqrt(noise / spread[:, :, None])


def _one(own: Ints, weight: Floats, sums: Floats, effect: Floats, shares: Floats, place: Ints, pull: float) -> tuple[Floats, Floats]:
    """Coefficients (d, q) and intercept (q,) of one row, from sums over the free points."""
    there = own >= 0
    at = np.maximum(own, 0)
    first = place.max(axis=1) - (shares > 0).sum(axis=1) + 1
    feature_total = np.add.reduceat(weight, first)
    feature_sum = np.add.reduceat(sums, first, axis=1)  # (q, d), the same total for every feature
    inside = np.where(there, weight[at], 0.0)
    outside = feature_total - inside
    seen = there & (inside > 0) & (outside > 1e-9 * feature_total)
    mean_in = np.where(seen, sums[:, at] / np.where(seen, inside, 1.0), 0.0)
    mean_out = np.where(seen, (feature_sum - sums[:, at]) / np.where(seen, outside, 1.0), 0.0)
    flat = np.where(shares > 0, shares, 0.0)[shares > 0]
    expected = np.add.reduceat(flat[:, None] * effect, first, axis=0)  # (d, q) additive effect over all levels
    share = np.where(there, flat[at], 0.0)
    other = np.where(share < 1, (expected - share[:, None] * effect[at]).T / np.where(share < 1, 1.0 - share, 1.0), 0.0).T
    slope = np.where(seen[:, None], effect[at] - other, 0.0)
    tilted = np.where(there, share / np.maximum(share + (1.0 - share) * pull, 1e-300), 0.0)
    coefficient = slope + (mean_in - mean_out).T
    additive = np.where(seen[:, None], other + tilted[:, None] * slope, expected)
    level = additive.sum(axis=0) + feature_sum[:, 0] / feature_total[0]
    return coefficient, level - tilted @ coefficient


def _one_hot(levels: NDArray[Any], place: Ints, total: int) -> NDArray[np.float32]:
    hot = np.zeros(len(levels) * total, dtype=np.float32)
    columns = place[np.arange(levels.shape[1]), levels]
    hot[(columns + np.arange(0, len(hot), total)[:, None]).reshape(-1)] = 1.0
    return hot.reshape(-1, total)
