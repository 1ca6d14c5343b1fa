"""Third-order interactions that stand out: individual terms on top of the product prior.

The product prior says that strong features interact strongly. A game may also have a few strong interactions among any three features.
Their coefficients' z-scores under the process are one product for all triples; those that chance does not explain get a prior variance of
their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from whybox.typing import Floats, Ints

_MOST_CELLS = 4_000_000  # n d^2 / 2 pair products, 32 MB: beyond, no triples are looked for
MOST_SHARE = 8  # at most one triple for so many pairs of coalitions
_LEAST_FEATURES = 4
CHANCE = 4.5  # squared z-score over the logarithm of the number of triples; the largest of them reaches 2 by chance


@dataclass(frozen=True)
class Terms:
    """Interactions with a prior variance of their own.

    Args:
        members: (t, 3) features, ascending.
        signs: (n + 1, t) their products at the points.
        variance: (t,) prior variance, relative to the process.
    """

    members: Ints
    signs: Floats
    variance: Floats

    def explained(self, alpha: Floats) -> Floats:
        """(n + 1,) posterior mean of what these terms contribute, for the inverse covariance times the observations, alpha (n + 1,)."""
        out: Floats = self.signs @ (self.variance * (self.signs.T @ alpha))
        return out

    def covariance(self) -> Floats:
        """(n + 1, n + 1)."""
        out: Floats = (self.signs * self.variance) @ self.signs.T
        return out

    def shares(self, d: int) -> Floats:
        """(d, t) share of each feature's Shapley value in a coefficient: 2 / 3 for the members."""
        out = np.zeros((d, len(self.members)))
        np.put_along_axis(out, self.members.T, 2.0 / 3.0, axis=0)
        return out


@dataclass(frozen=True)
class Triples:
    """All triples of features at the points of a design.

    Args:
        points: (n + 1, d).
        first: (p,) smaller feature of each pair of features.
        second: (p,) larger one.
        products: (p, n + 1) product of the two.
    """

    points: Floats
    first: Ints
    second: Ints
    products: Floats

    @staticmethod
    def of(points: Floats) -> Triples | None:
        """The triples of these points; None where there are too few or too many."""
        d = points.shape[1]
        if d < _LEAST_FEATURES or len(points) * d * d > 2 * _MOST_CELLS:
            return None
        first, second = np.triu_indices(d, 1)
        return Triples(points, first, second, np.ascontiguousarray((points[:, first] * points[:, second]).T))

    def search(self, alpha: Floats, factor: Floats, s2: float, known: Terms | None) -> Terms | None:
        """The known terms, their variances brought up to date, and those that newly stand out beside them; None if none does.

        Args:
            alpha: (n + 1,) inverse covariance times observations.
            factor: (n + 1, n + 1) lower Cholesky factor of the covariance.
            s2: scale of the process.
            known: terms that the covariance holds.
        """
        n, d = self.points.shape
        score = self.products @ (self.points * alpha[:, None])  # (p, d)
        score[np.arange(d) <= self.second[:, None]] = 0.0  # each triple once: first < second < third
        if known is not None:
            pair = (
                known.members[:, 0] * d
                - known.members[:, 0] * (known.members[:, 0] + 1) // 2
                + known.members[:, 1]
                - known.members[:, 0]
                - 1
            )
            score[pair, known.members[:, 2]] = 0.0
        # a triple that the process does not favour has variance s2 tr(A^-1); the exact one is computed for the candidates
        inverse = lapack.dtrtri(factor, lower=1)[0]
        limit = CHANCE * np.log(d * (d - 1) * (d - 2) / 6.0)
        size = score**2 / (s2 * float((inverse**2).sum()))
        room = n // MOST_SHARE - (0 if known is None else len(known.members))
        top = np.argsort(size, axis=None)[::-1][: max(room, 0)]
        top = top[size.ravel()[top] > limit]
        if not len(top):
            return None
        pairs, third = np.divmod(top, d)
        members = np.stack([self.first[pairs], self.second[pairs], third], axis=1)
        signs = self.products[pairs].T * self.points[:, third]
        variance = np.zeros(len(top))
        if known is not None:
            members, signs = np.concatenate([known.members, members]), np.concatenate([known.signs, signs], axis=1)
            variance = np.concatenate([known.variance, variance])
        seen = signs.T @ alpha  # (t,)
        expected = ((inverse @ signs) ** 2).sum(axis=0)
        old = variance > 0.0
        # new: the variance of largest marginal likelihood; known: one step of expectation maximisation
        fresh = np.maximum(seen**2 / s2 - expected, 0.0) / expected**2
        again = (variance * seen) ** 2 / s2 + variance - variance**2 * expected
        return Terms(members=members, signs=signs, variance=np.where(old, np.maximum(again, 0.0), fresh))
