"""Locally weighted linear models: ridge, least squares, feature selection, R2 and standard errors, for many rows at once.

Every quantity is computed for each explained row by products of that row's own shape, so that a row's result has the same bits alone as
among others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whybox.errors import OptionError
from whybox.solvers import _complements as complements
from whybox.typing import Bools, Floats, Ints

Selection = Literal["none", "auto", "forward_selection", "highest_weights", "lasso_path"]
_BLOCK = 512  # samples at once: few enough for the caches; fixed, because the order of a sum decides its last bits
_SINGULAR = 1e-10  # a feature whose remaining variance is below this share of its own is a combination of others


@dataclass(frozen=True)
class Moments:
    """Weighted first and second moments of n local data sets with d features and t outputs.

    Args:
        total: (n,) sum of the weights.
        z: (n, d) weighted means of the features.
        y: (n, t) weighted means of the outputs.
        zz: (n, d, d) centred and weighted sums of products.
        zy: (n, d, t) likewise, features by outputs.
        yy: (n, t) likewise, outputs squared.
    """

    total: Floats
    z: Floats
    y: Floats
    zz: Floats
    zy: Floats
    yy: Floats


def moments(z: NDArray[Any], w: Floats, y: Floats) -> Moments:
    """Moments of weighted data.

    Args:
        z: (n, m, d) features, of any numeric or bool dtype.
        w: (n, m) non-negative weights.
        y: (n, m, t) outputs.

    Returns:
        The moments, summed in float64 over blocks of samples of a fixed size.

    Example:
        >>> moments(np.ones((1, 4, 2)), np.ones((1, 4)), np.ones((1, 4, 1))).z
        array([[1., 1.]])
    """
    total = np.add.reduce(w, axis=1)
    mean_z, mean_y = np.zeros((len(z), z.shape[2])), np.zeros((len(y), y.shape[2]))
    for s in _blocks(z.shape[1]):
        mean_z += np.matmul(w[:, None, s], z[:, s].astype(np.float64))[:, 0]
        mean_y += np.matmul(w[:, None, s], y[:, s])[:, 0]
    mean_z /= total[:, None]
    mean_y /= total[:, None]
    d, t = z.shape[2], y.shape[2]
    zz, zy, yy = np.zeros((len(z), d, d)), np.zeros((len(z), d, t)), np.zeros((len(z), t))
    for s in complements.blocks(z.shape[1]) if z.dtype == np.bool_ else _blocks(z.shape[1]):
        for rows, paired in complements.kinds(z[:, s]):
            part, weight, mean, yc = z[rows, s], w[rows, s], mean_z[rows], y[rows, s] - mean_y[rows, None]
            if paired:
                products = complements.paired_products(part, weight, yc, mean)
            else:
                root = np.sqrt(weight[..., None])
                zc = root * (part - mean[:, None])
                turned = zc.transpose(0, 2, 1)
                products = turned @ zc, turned @ (root * yc)  # of a matrix with itself: half the work
            zz[rows] += products[0]
            zy[rows] += products[1]
            yy[rows] += np.add.reduce(weight[..., None] * yc**2, axis=1)
    constant = np.asarray((z == z[:, :1]).all(axis=1))  # exactly, where rounding of the mean would leave a trace
    zz[constant[:, :, None] | constant[:, None, :]] = 0.0
    zy[constant] = 0.0
    return Moments(total, mean_z, mean_y, zz, zy, yy)


def ridge(zz: Floats, zy: Floats, alpha: float, chosen: Bools | None = None) -> tuple[Floats, Floats]:
    """Ridge coefficients of n rows and t outputs from their moments, and the inverse that made them.

    A feature that does not vary, and one that is not chosen, gets the coefficient 0.

    Args:
        zz: (n, d, d) centred, weighted sums of products.
        zy: (n, d, t) features by outputs.
        alpha: penalty on the squared coefficients, 0 for least squares. The intercept is not penalised.
        chosen: (n, d, t) features that may enter, other for each output; None for all.

    Returns:
        (n, d, t) coefficients, and (n, s, d, d) inverse of the penalised products, with s = 1 unless the outputs have other features.

    Raises:
        OptionError: alpha is negative or not finite, or it is 0 and features are linearly dependent.

    Example:
        >>> ridge(np.eye(2)[None] * 3, np.ones((1, 2, 1)), 1.0)[0].ravel()
        array([0.25, 0.25])
    """
    if not np.isfinite(alpha) or alpha < 0:
        raise OptionError(f"alpha: expected a finite number of at least 0, got {alpha!r}")
    d = zz.shape[1]
    varies = np.diagonal(zz, axis1=1, axis2=2) > 0
    use = varies[:, None] if chosen is None else varies[:, None] & chosen.transpose(0, 2, 1)  # (n, s, d)
    everything = bool(use.all())
    both = None if everything else use[..., :, None] & use[..., None, :]
    matrix = zz[:, None].copy() if both is None else np.where(both, zz[:, None], 0.0)
    index = np.arange(d)
    matrix[..., index, index] += np.where(use, alpha, 1.0)
    try:
        inverse: Floats = np.linalg.inv(matrix).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        inverse = np.full_like(matrix, np.inf)
    if alpha == 0:
        scale = np.abs(matrix).max(axis=(-1, -2)) * np.abs(inverse).max(axis=(-1, -2))
        if not (scale < 1e14).all():
            raise OptionError(
                "alpha=0: some features are linear combinations of others in the sample, so that least squares has no "
                "single answer; use alpha > 0, a larger budget, or num_features"
            )
    if both is not None:
        inverse = np.where(both, inverse, 0.0)
    if inverse.shape[1] == 1:
        return inverse[:, 0] @ zy, inverse
    values = np.matmul(inverse, zy.transpose(0, 2, 1)[..., None])[..., 0]
    return values.transpose(0, 2, 1), inverse


def r2(found: Moments, values: Floats) -> Floats:
    """Weighted coefficient of determination (n, t) of coefficients (n, d, t) with their best intercept; 1 where the output is constant.

    Example:
        >>> data = moments(np.arange(4.0).reshape(1, 4, 1), np.ones((1, 4)), np.arange(4.0).reshape(1, 4, 1))
        >>> r2(data, np.ones((1, 1, 1)))
        array([[1.]])
    """
    left = found.yy - 2 * np.add.reduce(values * found.zy, axis=1) + np.add.reduce(values * (found.zz @ values), axis=1)
    constant = found.yy <= 1e-24 * np.maximum(found.y**2, 1e-300) * found.total[:, None]
    score: Floats = np.where(constant, 1.0, 1.0 - np.maximum(left, 0.0) / np.where(constant, 1.0, found.yy))
    return score


def std_error(z: NDArray[Any], w: Floats, y: Floats, found: Moments, values: Floats, inverse: Floats, alpha: float) -> Floats:
    """Standard errors that hold whatever the residuals look like: the sandwich with leverage correction.

    ``sum_i (B_i w_i e_i / (1 - h_i))^2`` with ``B`` the features times the inverse: HC3 (MacKinnon and White 1985). The square of the
    shrinkage that ridge causes, ``alpha * inverse @ values``, is added, so that intervals hold the answer of infinitely many samples.

    Args:
        z: (n, m, d) features.
        w: (n, m) weights.
        y: (n, m, t) outputs.
        found: their moments.
        values: (n, d, t) coefficients.
        inverse: from :func:`ridge`.
        alpha: from :func:`ridge`.

    Returns:
        (n, d, t) standard errors.
    """
    n, d, t = values.shape
    meat = np.zeros((n, t, d))
    for s in _blocks(z.shape[1]):
        zc = z[:, s] - found.z[:, None]
        error = y[:, s] - found.y[:, None] - zc @ values
        weight = w[:, s]
        for output in range(inverse.shape[1]):
            pull = zc @ inverse[:, output]
            leverage = weight * (np.add.reduce(pull * zc, axis=2) + 1.0 / found.total[:, None])
            which = slice(None) if inverse.shape[1] == 1 else slice(output, output + 1)
            swing = error[..., which] * (weight / np.maximum(1.0 - leverage, 1e-3))[..., None]
            meat[:, which] += (swing**2).transpose(0, 2, 1) @ pull**2
    bias = alpha * np.matmul(inverse, values.transpose(0, 2, 1)[..., None])[..., 0]
    error_of: Floats = np.sqrt(meat + bias**2).transpose(0, 2, 1)
    return error_of


def select(found: Moments, row: Floats, k: int, how: Selection) -> Bools:
    """Features that enter an explanation of at most k features, by lime's rules.

    Args:
        found: moments of the local data.
        row: (n, d) the explained rows' own interpretable features.
        k: how many features may enter.
        how: "forward_selection" adds the feature that raises R2 most, k times; "highest_weights" takes the largest products of a
            ridge coefficient (alpha 0.01) and the row's feature; "lasso_path" takes the longest lasso model with at most k features;
            "auto" is forward selection for k <= 6 and highest weights above; "none" takes all.

    Returns:
        (n, d, t).

    Raises:
        OptionError: an unknown rule, or k below 1.

    Example:
        >>> data = Moments(*(np.ones(s) for s in ((1,), (1, 2), (1, 1))), np.eye(2)[None], np.array([[[1.0], [2.0]]]), np.full((1, 1), 9.0))
        >>> select(data, np.ones((1, 2)), 1, "auto").ravel()
        array([False,  True])
    """
    if how not in get_args(Selection):
        raise OptionError(f"feature_selection: expected one of {', '.join(get_args(Selection))}, got {how!r}")
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise OptionError(f"num_features: expected an integer of at least 1 or None, got {k!r}")
    if how == "none" or k >= found.zz.shape[1]:
        return np.ones(found.zy.shape, dtype=bool)
    how = ("forward_selection" if k <= 6 else "highest_weights") if how == "auto" else how
    if how == "lasso_path":
        return _lasso_path(found, k)
    if how == "forward_selection":
        return _forward(found, k)
    strength = np.abs(ridge(found.zz, found.zy, 0.01)[0] * row[:, :, None])
    return _top(np.argsort(-strength, axis=1, kind="stable")[:, :k], found.zy.shape)


def _forward(found: Moments, k: int) -> Bools:
    """Forward selection by k sweeps of the cross products: no model is fitted anew."""
    n, d, t = found.zy.shape
    zz = np.repeat(found.zz[:, None], t, axis=1).reshape(n * t, d, d)
    zy = found.zy.transpose(0, 2, 1).reshape(n * t, d).copy()
    own = np.diagonal(zz, axis1=1, axis2=2).copy()
    everyone, order, used = np.arange(n * t), np.empty((n * t, k), dtype=np.int64), np.zeros((n * t, d), dtype=bool)
    for step in range(k):
        left = np.diagonal(zz, axis1=1, axis2=2)
        free = left > _SINGULAR * own
        gain = np.where(free, zy**2 / np.where(free, left, 1.0), 0.0)
        best = np.where(used, -1.0, gain).argmax(axis=1)
        order[:, step], used[everyone, best] = best, True
        live = free[everyone, best]
        pivot = np.where(live, left[everyone, best], 1.0)
        column = np.where(live[:, None], zz[everyone, :, best], 0.0)
        zy = zy - column * (zy[everyone, best] / pivot)[:, None]
        zz = zz - column[:, :, None] * (column / pivot[:, None])[:, None, :]
    return _top(order.reshape(n, t, k).transpose(0, 2, 1), found.zy.shape)


def _lasso_path(found: Moments, k: int) -> Bools:
    from sklearn.linear_model import lars_path_gram

    n, d, t = found.zy.shape
    chosen = np.zeros((n, d, t), dtype=bool)
    for i, output in np.ndindex(n, t):  # a path is a sequence of its own for every row
        path = lars_path_gram(found.zy[i, :, output], found.zz[i], n_samples=1, method="lasso", return_path=True)[2]
        size = (path != 0).sum(axis=0)
        longest = np.flatnonzero(size <= k)[-1]
        chosen[i, :, output] = path[:, longest] != 0
    return chosen


def _top(order: Ints, shape: tuple[int, ...]) -> Bools:
    chosen = np.zeros(shape, dtype=bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen


def _blocks(m: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, m)) for start in range(0, m, _BLOCK)]
