"""LIME's neighbourhood of a text or an image: coalitions, weighed by how much of the input they keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whybox.typing import Floats, Ints


@dataclass(frozen=True)
class CoalitionNeighborhood:
    """What LIME sees of a space of coalitions, see :class:`whybox.typing.LocalBound`: a feature is 1 where it is kept, else 0.

    Args:
        design: which coalitions are drawn, see :class:`whybox.typing.Coalitions`.
        width: of the weights.
        weighed: draw from the weighted distribution and weigh all samples alike (GLIME, Tan, Tian and Li 2023).

    Source: Ribeiro, Singh and Guestrin 2016, section 3.3; ``lime.lime_text`` (width 25 on 100 times the cosine distance).

    Example:
        >>> near = CoalitionNeighborhood("removals", 0.25)
        >>> near.weights(np.array([[[True, True], [True, False], [False, False]]]), np.array([0])).round(2)
        array([[1. , 0.5, 0. ]])
    """

    design: Literal["removals", "bernoulli"]
    width: float
    weighed: bool = False
    shared: bool = False

    def features(self, instances: Ints, codes: NDArray[Any]) -> NDArray[Any]:
        """The coalitions themselves (n_i, m, d)."""
        return np.broadcast_to(codes, (len(instances), *codes.shape))

    def row_features(self, instances: Ints, d: int) -> Floats:
        """Everything is kept."""
        return np.ones((len(instances), d))

    def weights(self, z: NDArray[Any], instances: Ints) -> Floats:  # instances: all rows are weighed alike
        """Weights (n_i, m) by the cosine distance ``1 - sqrt(share kept)`` from the full coalition."""
        if self.weighed:
            return np.ones(z.shape[:2])
        return self.of_share(np.count_nonzero(z, axis=2) / max(z.shape[2], 1))

    def of_share(self, kept: Floats) -> Floats:
        """Weights of coalitions that keep such shares of the features."""
        weight: Floats = np.exp((1.0 - np.sqrt(kept)) ** 2 / (-2.0 * self.width**2))
        return weight

    def conditions(self) -> None:
        """A feature's name says what it is about."""
        return
