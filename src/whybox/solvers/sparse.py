"""Shapley regression on few features: the l1 selection of KernelSHAP's authors, for those who ask for it."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from whybox.errors import OptionError
from whybox.solvers._pairs import odd_part
from whybox.solvers._threads import one_blas_thread
from whybox.solvers.choose import Solver, choose_estimator
from whybox.solvers.least_squares import class_weights
from whybox.typing import Bools, Estimate, Floats, Ints


def solve_sparse(
    codes: Bools, v: Floats, v_empty: Floats, v_full: Floats, *, keep: int | Literal["aic", "bic"], solve: Solver | None = None
) -> Estimate:
    """Select features by the lasso; their values are those of Shapley regression on these features alone.

    With all coalitions the regression on k features gives each its Shapley value and an equal share of what the others add, because the
    Shapley kernel treats all features alike. This is estimated directly: Shapley values by the best estimator for the budget, and what is
    left of the total shared out. Fitting the k features to the coalitions, as the authors do, has the same limit and more noise.

    The other features get the value 0, whatever their Shapley values are, and their standard error is NaN: it is not known. The lasso also
    sees that all values sum to the total.

    Args:
        codes: (m, d) coalitions, row 2i + 1 the complement of row 2i.
        v: (r, m) value of each coalition.
        v_empty: (r,) value of the empty coalition.
        v_full: (r,) value of the full coalition.
        keep: how many features, or the information criterion that decides.
        solve: estimator of the Shapley values; None (default): the best for so many coalitions.

    Returns:
        Values (r, d) that sum to ``v_full - v_empty``.

    Raises:
        OptionError: ``keep`` is neither a positive whole number nor "aic" nor "bic".

    Source:
        Lundberg and Lee, A unified approach to interpreting model predictions, NeurIPS 2017, section 4.1; least angle regression, Efron
        et al. 2004.

    Example:
        >>> import numpy as np
        >>> from whybox.samplers import coalitions
        >>> codes = coalitions(6, 40, np.random.default_rng(0))
        >>> game = (codes @ np.array([3.0, 0.0, 0.0, -1.0, 0.0, 0.0]))[None]
        >>> solve_sparse(codes, game, np.zeros(1), np.full(1, 2.0), keep=2).values.round(6).tolist()
        [[3.0, 0.0, 0.0, -1.0, 0.0, 0.0]]
    """
    check_keep(keep)
    pairs = odd_part(codes, v, v_empty, v_full)
    r, d = len(v), codes.shape[1]
    whole = (solve or choose_estimator(d, len(codes)).solve)(codes, v, v_empty, v_full)
    if d == 1:
        return whole
    weight, _ = class_weights(pairs.size, d)
    root = 0.5 * np.sqrt(np.append(weight, weight.sum()))
    design = root[:, None] * np.concatenate([pairs.z, np.ones((1, d))])
    values, errors = np.zeros((r, d)), np.full((r, d), np.nan)
    for i in range(r):  # each game selects features of its own
        with one_blas_thread():  # as the values are found, whose last digits depend on it
            chosen = _select(design, root * np.append(2.0 * pairs.g[i], pairs.total[i]), keep)
        k, variance = len(chosen), whole.std_error[i, chosen] ** 2
        values[i, chosen] = whole.values[i, chosen] + (pairs.total[i] - whole.values[i, chosen].sum()) / k
        shared = (1.0 - 1.0 / k) ** 2 * variance + (variance.sum() - variance) / k**2  # as if the values' errors were independent
        errors[i, chosen] = np.sqrt(shared if k < d else variance)  # where nothing is left out, nothing is shared
    return Estimate(values, errors, f"lasso and {whole.method}", {"keep": keep})


def check_keep(keep: object) -> None:
    """Refuse what is no selection.

    Raises:
        OptionError: neither a positive whole number nor "aic" nor "bic".
    """
    if keep in ("aic", "bic") or (isinstance(keep, (int, np.integer)) and not isinstance(keep, bool) and keep >= 1):
        return
    raise OptionError(f'l1_reg: expected None, a number of features, "aic" or "bic", got {keep!r}')


def _select(design: Floats, y: Floats, keep: int | str) -> Ints:
    """Positions of the selected features, at least one."""
    from sklearn.linear_model import LassoLarsIC, lars_path

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # early stops of the path on tied features: what was selected until then stands
        if isinstance(keep, str):
            found = np.flatnonzero(LassoLarsIC(criterion=keep, fit_intercept=False, noise_variance=_noise(design, y)).fit(design, y).coef_)
        else:
            _, _, path = lars_path(design, y, method="lasso", max_iter=8 * int(keep))
            counts = (path != 0).sum(axis=0)
            found = np.flatnonzero(path[:, np.flatnonzero(counts <= keep)[-1]])
    return found if len(found) else np.array([int(np.abs(design.T @ y).argmax())])


def _noise(design: Floats, y: Floats) -> float:
    residual: Floats = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    free = max(len(y) - design.shape[1], 1)
    return float(max(residual @ residual / free, np.finfo(np.float64).tiny))
