"""One local linear model for each explained row and output: chosen features, coefficients, errors, fidelity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox.solvers import _complements as complements
from whybox.solvers._threads import one_blas_thread
from whybox.solvers.linear import Moments, Selection, moments, r2, ridge, select, std_error
from whybox.typing import Bools, Floats

_MOST = 0.7  # more shrinkage would trust the surrogate further than intervals that cover allow (benchmarks/lime_stability.py)
_LEAST = 6  # features from which shrinkage towards the surrogate is sure to help (James and Stein 1961, and the estimate of the spread)


@dataclass(frozen=True)
class Known:
    """A surrogate whose own local linear models are known.

    Args:
        out_of_fold: (m, t) or (n, m, t) surrogate at the samples, by models that did not see them.
        values: (n, d, t) its coefficients.
        intercept: (n, t).
        std_error: (n, d, t) how closely they are known.
    """

    out_of_fold: Floats
    values: Floats
    intercept: Floats
    std_error: Floats


@dataclass(frozen=True)
class LocalFit:
    """Local linear models of n rows and t outputs.

    Args:
        values: (n, d, t) coefficients; 0 for features that were not chosen.
        std_error: (n, d, t).
        score: (n, t) weighted R2 on the model's outputs.
        intercept: (n, t).
        controlled: (n, t) whether the surrogate was of use.
        weight: (n,) sum of the samples' weights, the row's own left out.
    """

    values: Floats
    std_error: Floats
    score: Floats
    intercept: Floats
    controlled: Bools
    weight: Floats


@one_blas_thread()
def fit_local(
    z: NDArray[Any],
    w: Floats,
    y: Floats,
    row: Floats,
    row_y: Floats,
    *,
    alpha: float,
    k: int | None,
    how: Selection,
    known: Known | None,
    paired: bool = False,
) -> LocalFit:
    """Weighted ridge on the samples and the row itself, which weighs 1, as in lime.

    With a surrogate, an output ``y`` is replaced by ``y - g + (the linear model of g)``, which has the same linear model and less scatter;
    this is done for a row and output only where the scatter is indeed less. The difference that the samples then find, beside the
    surrogate's own coefficients, is shrunk by James and Stein's rule; the standard errors (Morris 1983) account for that.

    Args:
        z: (n, m, d) features.
        w: (n, m) weights.
        y: (n, m, t) outputs.
        row: (n, d) features of the explained rows.
        row_y: (n, t) their outputs.
        alpha: ridge penalty.
        k: at most so many features, or None.
        how: how they are chosen, see :func:`whybox.solvers.linear.select`.
        known: the surrogate, or None.
        paired: samples 2i and 2i + 1 were drawn together, so that their errors depend on one another.

    Returns:
        The models.
    """
    n, t = len(z), y.shape[2]
    weight = np.add.reduce(w, axis=1)
    # In C order whatever came, because products of other strides may differ in their last bits.
    z = np.ascontiguousarray(np.concatenate([row[:, None].astype(z.dtype), z], axis=1))
    w = np.ascontiguousarray(np.concatenate([np.ones((n, 1)), w], axis=1))
    y = np.ascontiguousarray(np.concatenate([row_y[:, None], y], axis=1))
    outputs = y
    if known is not None:
        linear = np.concatenate([z[:, s : s + 2048] @ known.values for s in range(0, z.shape[1], 2048)], axis=1)
        outputs = y.copy(order="C")
        outputs[:, 1:] += linear[:, 1:] + known.intercept[:, None] - known.out_of_fold
    found = moments(z, w, outputs)
    plain = found if known is None else moments(z, w, y)
    better = np.zeros((n, t), dtype=bool)
    if known is not None:
        left = [m.yy * (1.0 - r2(m, ridge(m.zz, m.zy, alpha)[0])) for m in (found, plain)]
        better = left[0] < left[1]
        outputs = np.ascontiguousarray(np.where(better[:, None], outputs, y))
        found = Moments(
            plain.total,
            plain.z,
            np.where(better, found.y, plain.y),
            plain.zz,
            np.where(better[:, None], found.zy, plain.zy),
            np.where(better, found.yy, plain.yy),
        )
    chosen = None if k is None or how == "none" else select(found, row, k, how)
    values, inverse = ridge(found.zz, found.zy, alpha, chosen)
    error = (paired_std_error if paired else std_error)(z, w, outputs, found, values, inverse, alpha)
    if known is not None:
        values, error = _shrunk(values, error, known, found.zz, inverse, better)
    intercept = found.y - np.add.reduce(found.z[:, :, None] * values, axis=1)
    return LocalFit(values, error, r2(plain, values), intercept, better, weight)


def paired_std_error(z: NDArray[Any], w: Floats, y: Floats, found: Moments, values: Floats, inverse: Floats, alpha: float) -> Floats:
    """As :func:`whybox.solvers.linear.std_error`, where samples after the first one come in pairs: the sandwich with pairs as clusters.

    Liang and Zeger 1986; the leverage correction is each sample's own, as in HC3.
    """
    n, d, t = values.shape
    meat = np.zeros((n, t, d))
    for s in complements.blocks(z.shape[1]):
        for rows, paired in complements.kinds(z[:, s]):
            part, weight, yc, mean = z[rows, s], w[rows, s], y[rows, s] - found.y[rows, None], found.z[rows]
            if paired:
                meat[rows] += complements.paired_meat(part, weight, yc, mean, found.total[rows], values[rows], inverse[rows])
                continue
            zc = part - mean[:, None]
            error = yc - zc @ values[rows]
            for output in range(t):
                pull = zc @ inverse[rows, min(output, inverse.shape[1] - 1)]
                leverage = weight * (np.add.reduce(pull * zc, axis=2) + 1.0 / found.total[rows, None])
                pull *= (error[..., output] * (weight / np.maximum(1.0 - leverage, 1e-3)))[..., None]
                whole = pull.shape[1] // 2 * 2
                meat[rows, output] += np.add.reduce((pull[:, 0:whole:2] + pull[:, 1:whole:2]) ** 2, axis=1)
                meat[rows, output] += np.add.reduce(pull[:, whole:] ** 2, axis=1)
    bias = alpha * np.matmul(inverse, values.transpose(0, 2, 1)[..., None])[..., 0]
    error_of: Floats = np.sqrt(meat + bias**2).transpose(0, 2, 1)
    return error_of


def _shrunk(values: Floats, error: Floats, known: Known, zz: Floats, inverse: Floats, better: Bools) -> tuple[Floats, Floats]:
    """Coefficients whose difference from the surrogate's, beside a common factor, is shrunk as far as it is likely to be chance."""
    own = np.matmul(inverse, (zz @ known.values).transpose(0, 2, 1)[..., None])[..., 0].transpose(0, 2, 1)
    live = (error > 0) & better[:, None]
    count = live.sum(axis=1)
    precision = np.where(live, 1.0 / np.where(live, error, 1.0) ** 2, 0.0)
    size = np.maximum(np.add.reduce(precision * own**2, axis=1), 1e-300)[:, None]
    change = values - own
    common = own * (np.add.reduce(precision * change * own, axis=1)[:, None] / size)
    rest = change - common
    fits = better & (count >= _LEAST)
    surprise = np.maximum(np.add.reduce(precision * rest**2, axis=1), 1e-300)
    part = np.where(fits, np.minimum((count - 3) / surprise, _MOST), 0.0)[:, None]
    spread = np.where(fits, 2.0 / np.maximum(count - 3, 1), 0.0)[:, None]
    variance = error**2 * (1.0 - part) + part * own**2 / size + spread * (part * rest) ** 2 + known.std_error**2
    result = np.where(live, values - part * rest, values)
    return result, np.sqrt(np.where(live, variance, error**2))
