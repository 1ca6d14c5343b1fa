"""Ordered probit regression: a linear score and Gaussian noise, cut into classes by thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whybox.typing import Floats, Ints

_FLOOR = 1e-9


@dataclass(frozen=True)
class Ordinal:
    """A fitted ordered probit.

    Args:
        coef: (d,) coefficients of the score.
        cuts: (v - 1,) increasing thresholds between the v classes.

    Source: McKelvey and Zavoina, Journal of Mathematical Sociology 4, 1975.
    """

    coef: Floats
    cuts: Floats

    @classmethod
    def fit(cls, design: Floats, codes: Ints, size: int, *, penalty: float = 0.1) -> Ordinal:
        """Fit by L-BFGS.

        Args:
            design: (n, d).
            codes: (n,) classes 0 to size - 1.
            size: number of classes.
            penalty: on the squared coefficients.
        """
        from scipy.optimize import minimize
        from scipy.special import ndtri

        d = design.shape[1]
        # a class that nobody has still gets a little room
        share = (np.bincount(codes, minlength=size) + 0.5) / (len(codes) + 0.5 * size)
        cuts = ndtri(np.cumsum(share)[:-1])
        start = np.concatenate([np.zeros(d), cuts[:1], np.log(np.diff(cuts))])

        def loss(parameters: Floats) -> tuple[float, Floats]:
            value, slope = _likelihood(parameters, design, codes, size)
            beta = parameters[:d]
            step = parameters[d + 1 :]  # steps between thresholds are held near where they began: no class vanishes
            off = step - start[d + 1 :]
            slope[:d] -= penalty * beta
            slope[d + 1 :] -= penalty * off
            return -(value - 0.5 * penalty * (beta @ beta + off @ off)), -slope

        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
        return cls(found.x[:d], _cuts(found.x[d:]))

    def cumulative(self, design: Floats) -> Floats:
        """(n, v) distribution function over the classes."""
        from scipy.special import ndtr

        below = ndtr(self.cuts - (design @ self.coef)[:, None])
        return np.concatenate([below, np.ones((len(design), 1))], axis=1)


def _cuts(parameters: Floats) -> Floats:
    return np.cumsum(np.concatenate([parameters[:1], np.exp(parameters[1:])]))


def _likelihood(parameters: Floats, design: Floats, codes: Ints, size: int) -> tuple[float, Floats]:
    """Log-likelihood and its gradient."""
    from scipy.special import ndtr

    d = design.shape[1]
    cuts = _cuts(parameters[d:])
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    score = design @ parameters[:d]
    high, low = edges[codes + 1] - score, edges[codes] - score
    p = np.maximum(ndtr(high) - ndtr(low), _FLOOR)
    dense_high, dense_low = _density(high), _density(low)
    slope_score = (dense_low - dense_high) / p
    slope_cuts = np.zeros(size + 1)
    np.add.at(slope_cuts, codes + 1, dense_high / p)
    np.add.at(slope_cuts, codes, -dense_low / p)
    inner = slope_cuts[1:-1]
    tails = np.cumsum(inner[::-1])[::-1]  # a step moves every later threshold
    slope = np.concatenate([design.T @ slope_score, tails[:1], tails[1:] * np.exp(parameters[d + 1 :])])
    return float(np.log(p).sum()), slope


def _density(x: Floats) -> Floats:
    result: Floats = np.where(np.isfinite(x), np.exp(-0.5 * np.square(np.where(np.isfinite(x), x, 0.0))), 0.0) / np.sqrt(2 * np.pi)
    return result
