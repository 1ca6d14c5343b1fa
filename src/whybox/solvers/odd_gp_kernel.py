"""The covariance of a random game whose odd interactions are independent, with variance falling with their order.

A game on z in {-1, +1}^d is v(z) = sum_T c_T prod_{i in T} z_i, and Shapley values see only odd orders:
phi_i = 2 sum_{T contains i} c_T / |T|. With c_T ~ N(0, prod_{i in T} q_i) independent for odd |T|, everything has a closed form in the
relevances q (d,).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from whybox.typing import Floats

_MOST_NODES = 12


def covariance(z: Floats, q: Floats) -> Floats:
    """Covariance of the odd part at z (n, d): (n, n).

    1/2 [prod (1 + q_i z_i z'_i) - prod (1 - q_i z_i z'_i)] = exp(a) sinh(z diag(b) z'), b = atanh(q), a = sum log(1 - q^2) / 2.
    """
    up, down = _exponentials(z, q)
    up -= down
    return up


def covariances(z: Floats, q: Floats) -> tuple[Floats, Floats]:
    """Covariances of the odd and of the even part, which has cosh for sinh and includes the constant: (n, n) each."""
    up, down = _exponentials(z, q)
    odd = up - down
    up += down
    return odd, up


def _exponentials(z: Floats, q: Floats) -> tuple[Floats, Floats]:
    """The covariances' two terms, (n, n) each; half the work of a hyperbolic sine, and as close where it counts, beside the diagonal."""
    up: Floats = (z * np.arctanh(q)) @ z.T
    np.exp(up, out=up)
    scale = 0.5 * np.exp(0.5 * np.log1p(-q * q).sum())
    down = scale / up
    up *= scale
    return up, down


def variance(q: Floats) -> float:
    """Variance of g at any z."""
    return float(0.5 * (np.exp(np.log1p(q).sum()) - np.exp(np.log1p(-q).sum())))


def value_covariance(z: Floats, q: Floats) -> Floats:
    """Covariance of the Shapley values and g at z: (d, n).

    2 q_i z_i integral_0^1 1/2 [prod_{j != i} (1 + t q_j z_j) + prod_{j != i} (1 - t q_j z_j)] dt, since 1 / |T| = integral of t^(|T| - 1).
    Gauss-Legendre is exact up to d = 24 and has more nodes than it needs beyond.
    """
    t, weight = nodes(z.shape[1])
    reach = np.arctanh(t[:, None] * q)  # (nodes, d)
    scale = weight * np.exp(0.5 * np.log1p(-((t[:, None] * q) ** 2)).sum(axis=1))
    field = z @ reach.T  # (n, nodes)
    # without feature i: cosh(field - reach_i z_i) / sqrt(1 - t^2 q_i^2), expanded so that it becomes two products
    even, odd = np.cosh(field) * scale, np.sinh(field) * scale
    lift = 1.0 / (1.0 - (t[:, None] * q) ** 2)
    # cosh(f - r z) = cosh f cosh r - z sinh f sinh r, cosh r = 1 / sqrt(1 - t^2 q^2), sinh r = t q / sqrt(1 - t^2 q^2)
    without = (even @ lift) - z * (odd @ (lift * (t[:, None] * q)))
    out: Floats = (2.0 * q * z * without).T
    return out


def value_variance(q: Floats) -> Floats:
    """Prior variance of each Shapley value: (d,).

    4 q_i sum over odd T containing i of prod_{j in T, j != i} q_j / |T|^2; 1 / k^2 = integral of t^(k - 1) log(1 / t).
    """
    t, weight = log_nodes()
    up = np.log1p(t[:, None] * q).sum(axis=1)[:, None] - np.log1p(t[:, None] * q)
    down = np.log1p(-t[:, None] * q).sum(axis=1)[:, None] - np.log1p(-t[:, None] * q)
    out: Floats = 2.0 * q * (weight @ (np.exp(up) + np.exp(down)))
    return out


@lru_cache(maxsize=16)
def nodes(d: int) -> tuple[Floats, Floats]:
    """Nodes and weights for integrals over [0, 1] of what d features make."""
    x, w = np.polynomial.legendre.leggauss(min((d + 1) // 2, _MOST_NODES))
    return 0.5 * (x + 1.0), 0.5 * w


@lru_cache(maxsize=1)
def log_nodes() -> tuple[Floats, Floats]:
    """Nodes for integrals of f(t) log(1 / t) on [0, 1], by the substitution t = s^2: 4 s log(1 / s) is smooth enough."""
    x, w = np.polynomial.legendre.leggauss(32)
    s = 0.5 * (x + 1.0)
    return s * s, 0.5 * w * 4.0 * s * np.log(1.0 / s)
