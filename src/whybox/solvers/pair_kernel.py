"""What a Gaussian process on the even part of a game knows of its pairwise interactions.

The Shapley interaction index of two features is I_ij = 4 sum c_T / (|T| - 1) over even T that contain both: with each feature present with
probability p, the mean of the product of the other |T| - 2 signs is (2 p - 1)^(|T| - 2), and averaged over all p 1 / (|T| - 1). Its sum
over j, S_i = 4 sum c_T over even T that contain i, has no such weights. Both have closed forms under the prior of
:mod:`whybox.solvers.odd_gp_kernel`, c_T ~ N(0, prod_{i in T} q_i).
"""

from __future__ import annotations

import numpy as np

from whybox.solvers.odd_gp_kernel import log_nodes, nodes
from whybox.typing import Floats


class PairCovariance:
    """Covariances of the indices and the even part at points z (n, d), for relevances q (d,).

    With 1 / (|T| - 1) = integral of t^(|T| - 2), the covariance of I_ij is
    2 q_i q_j z_i z_j integral_0^1 prod_{l != i, j} (1 + t q_l z_l) + prod_{l != i, j} (1 - t q_l z_l) dt.

    Args:
        z: (n, d) points, -1 and +1.
        q: (d,) relevances, between 0 and 1.

    Example:
        >>> PairCovariance(np.ones((1, 2)), np.array([0.5, 0.5])).of(0)
        array([[0., 1.]])
    """

    def __init__(self, z: Floats, q: Floats) -> None:
        t, weight = nodes(z.shape[1])
        both = np.concatenate([t, -t])[:, None, None]
        factors = 1.0 + both * (z * q)  # (nodes, n, d)
        self._z, self._q = z, q
        self._product = 2.0 * np.concatenate([weight, weight])[:, None] * factors.prod(axis=2)  # (nodes, n)
        self._without = (z * q) / factors  # a factor taken out of the product, and the feature's own put in

    def of(self, i: int) -> Floats:
        """(n, d) covariances of I_ij for every j; 0 for j = i."""
        out: Floats = np.einsum("tn,tnj->nj", self._product * self._without[:, :, i], self._without)
        out[:, i] = 0.0
        return out

    def sums(self) -> Floats:
        """(n, d) covariances of S_i: 2 q_i z_i [prod_{l != i} (1 + q_l z_l) - prod_{l != i} (1 - q_l z_l)]."""
        up, down = 1.0 + self._z * self._q, 1.0 - self._z * self._q
        out: Floats = 2.0 * self._q * self._z * (up.prod(axis=1)[:, None] / up - down.prod(axis=1)[:, None] / down)
        return out


def pair_variance(q: Floats) -> Floats:
    """(d, d) prior variances of I_ij, 0 on the diagonal: 16 sum q_T / (|T| - 1)^2, 1 / k^2 = integral of t^(k - 1) log(1 / t)."""
    t, weight = log_nodes()
    out = np.zeros((len(q), len(q)))
    for sign in (1.0, -1.0):
        factors = 1.0 + sign * t[:, None] * q
        each = np.sqrt(weight * factors.prod(axis=1))[:, None] * q / factors
        out += 8.0 * each.T @ each
    out[np.diag_indices(len(q))] = 0.0
    return out


def sum_variance(q: Floats) -> Floats:
    """(d,) prior variances of S_i: 16 sum of q_T over even T that contain i."""
    up, down = 1.0 + q, 1.0 - q
    out: Floats = 8.0 * q * (up.prod() / up - down.prod() / down)
    return out
