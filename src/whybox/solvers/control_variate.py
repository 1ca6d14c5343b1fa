"""A surrogate's game as a control variate for any solver of paired coalitions.

phi(v) = beta phi(v^) + phi(v - beta v^) for every beta. What a paired estimator gets wrong is the odd part of the game that is not linear
in the coalition, so beta is the regression of that part of v on that part of v^: each right-hand side for itself, from coalitions that are
paid for. It is one more coefficient beside the d of least squares, so the bias it brings is of the order of one over the pairs left.
Where the residual's variance, with that coefficient charged for, is not smaller, beta is 0 and the plain estimate stands, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from whybox.solvers._pairs import apply_each, odd_part
from whybox.solvers._threads import one_blas_thread
from whybox.solvers.spectral_gp import Guide
from whybox.typing import Bools, Estimate, Floats

_LEAST_FREE = 8  # pairs beyond d that a regression coefficient needs
_MOST = 1.5


def control_coefficients(codes: Bools, v: Floats, v_empty: Floats, v_full: Floats, guide: Guide) -> Floats:
    """How much of the surrogate's game to subtract from each right-hand side.

    With less than 8 pairs more than features too little is left to regress on: beta is 1 if that makes the odd part smaller, else 0.

    Args:
        codes: (m, d) coalitions, row 2i + 1 the complement of row 2i.
        v: (r, m) values of the coalitions.
        v_empty: (r,) values of the empty coalition.
        v_full: (r,) values of the full one.
        guide: the surrogate's answers for the same right-hand sides.

    Returns:
        (r,) coefficients between 0 and 1.5.

    Source:
        Control variates with an estimated coefficient, S. Asmussen and P. Glynn, Stochastic Simulation (2007), section V.2.

    Example:
        >>> import numpy as np
        >>> codes = np.array([[True, False], [False, True]])
        >>> v, none, full = np.array([[1.0, 2.0]]), np.zeros(1), np.ones(1)
        >>> control_coefficients(codes, v, none, full, Guide(np.zeros((1, 2)), v, none, full)).tolist()
        [1.0]
    """
    model, tree = odd_part(codes, v, v_empty, v_full), odd_part(codes, guide.v, guide.v_empty, guide.v_full)
    n, d = model.z.shape
    free = n - d
    if free < _LEAST_FREE:
        return np.where(((model.g - tree.g) ** 2).sum(axis=1) < (model.g**2).sum(axis=1), 1.0, 0.0)
    with one_blas_thread():
        basis, _ = np.linalg.qr(model.z)
        rest, tree_rest = [g - apply_each(basis, apply_each(basis.T, g)) for g in (model.g, tree.g)]
    power = (tree_rest**2).sum(axis=1)
    beta = np.where(power > 0, (rest * tree_rest).sum(axis=1) / np.where(power > 0, power, 1.0), 0.0)
    beta = np.clip(beta, 0.0, _MOST)
    helps = ((rest - beta[:, None] * tree_rest) ** 2).sum(axis=1) / (free - 1) < (rest**2).sum(axis=1) / free
    return np.where(helps, beta, 0.0)


def solve_controlled(
    solve: Callable[[Bools, Floats, Floats, Floats], Estimate], codes: Bools, v: Floats, v_empty: Floats, v_full: Floats, guide: Guide
) -> Estimate:
    """Solve the residual game and add the surrogate's Shapley values.

    Args:
        solve: any solver of paired coalitions, such as ``solve_least_squares``.
        codes: (m, d) coalitions, row 2i + 1 the complement of row 2i.
        v: (r, m) values of the coalitions.
        v_empty: (r,) values of the empty coalition.
        v_full: (r,) values of the full one.
        guide: the surrogate's answers for the same right-hand sides.

    Returns:
        The estimate; its standard errors are those of the residual game; ``info["control"]`` (r,) holds the coefficients.
    """
    beta = control_coefficients(codes, v, v_empty, v_full, guide)
    left = solve(codes, v - beta[:, None] * guide.v, v_empty - beta * guide.v_empty, v_full - beta * guide.v_full)
    return replace(left, values=left.values + beta[:, None] * guide.shapley, info={**left.info, "control": beta})
