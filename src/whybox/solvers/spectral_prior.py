"""The prior over odd games that a spectrum makes: covariances of pairs with pairs, and of Shapley values with pairs.

A game's odd coefficients are independent and normal. First order: the variances of the spectrum. Third order: the triples it lists, and for
what it does not list a floor, the product prior of the odd Gaussian process with the first order taken out:
c_T ~ prod_{i in T} r_i^2 for odd |T| >= 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import roots_legendre

from whybox.solvers.tree_spectrum import Spectrum
from whybox.typing import Floats

_RELEVANCE = 0.1  # r_i^2 of the most relevant feature: orders five and up weigh little
_LEAST = 0.02  # least relevance against the largest, as in the odd Gaussian process
_LEAST_MAIN = 1e-3  # least variance of a main effect against the largest: no feature is excluded
_NODES = 12


@dataclass(frozen=True)
class Covariances:
    """One part of the prior: ``pairs`` (n, n), ``shapley`` (d, n) covariance of values with pairs, ``variance`` (d,) of the values."""

    pairs: Floats
    shapley: Floats
    variance: Floats

    def top(self, n: int) -> Covariances:
        """The same for the first n pairs."""
        return Covariances(self.pairs[:n, :n], self.shapley[:, :n], self.variance)


@dataclass(frozen=True)
class Prior:
    """The parts of the prior; hyper-parameters weigh them.

    Args:
        main: first order, with the spectrum's variances.
        main_left: first order of what the surrogate leaves.
        listed: the listed triples.
        floor: everything else of order three and up, scaled to the mean variance of ``listed``.
    """

    main: Covariances
    main_left: Covariances
    listed: Covariances
    floor: Covariances

    @classmethod
    def of(cls, spectrum: Spectrum, signs: Floats) -> Prior:
        """The prior at coalitions.

        Args:
            spectrum: of d features.
            signs: (n, d) coalitions as +1 and -1; of every pair one.
        """
        largest = max(float(spectrum.main.max(initial=0.0)), np.finfo(float).tiny)
        relevance = np.sqrt(np.clip(spectrum.main / largest, _LEAST, 1.0))
        floor = _product(_RELEVANCE * relevance, signs)
        listed = _listed(spectrum, signs)
        # Without listed triples the floor stands for all of the third order: a small share of the first.
        third = float(spectrum.energy.sum()) or _LEAST_MAIN * float(spectrum.main.sum()) or 1.0
        floor = Covariances(floor.pairs * third, floor.shapley * third, floor.variance * third)
        return cls(_first_order(spectrum.main, signs), _first_order(spectrum.main_left, signs), listed, floor)

    def first(self, subtracted: bool) -> Covariances:
        """The first order of the game, or of what the surrogate leaves of it."""
        return self.main_left if subtracted else self.main


def _first_order(variance: Floats, signs: Floats) -> Covariances:
    raised = variance + _LEAST_MAIN * max(float(variance.max(initial=0.0)), np.finfo(float).tiny)
    weighted = signs * raised
    return Covariances(weighted @ signs.T, 2.0 * weighted.T, 4.0 * raised)


def _listed(spectrum: Spectrum, signs: Floats) -> Covariances:
    """phi_i = 2 sum_T c_T / |T|: a triple gives each of its features 2/3 of its coefficient."""
    triples, energy = spectrum.triples, spectrum.energy
    d = signs.shape[1]
    characters = signs[:, triples[:, 0]] * signs[:, triples[:, 1]] * signs[:, triples[:, 2]]  # (n, u)
    share = np.zeros((d, len(triples)))
    share[triples, np.arange(len(triples))[:, None]] = 2.0 / 3.0
    weighted = characters * energy
    return Covariances(weighted @ characters.T, share @ weighted.T, (share**2) @ energy)


def _product(r2: Floats, signs: Floats) -> Covariances:
    """The product prior of odd orders three and up, scaled to unit variance of a pair.

    1 / |T| is an integral of t^(|T| - 1) over [0, 1], and 1 / |T|^2 of -log(t) t^(|T| - 1), which turn sums over subsets into products.
    """
    n, d = signs.shape

    def odd_products(t: float) -> tuple[Floats, Floats]:
        """(n,) products over features of 1 + t r^2 z and of 1 - t r^2 z."""
        plus, minus = np.log1p(t * r2), np.log1p(-t * r2)
        centre, slope = (plus + minus).sum() / 2, signs @ ((plus - minus) / 2)
        return np.exp(centre + slope), np.exp(centre - slope)

    plus, minus = np.log1p(r2), np.log1p(-r2)
    agree = (signs * ((plus - minus) / 2)) @ signs.T
    centre = (plus + minus).sum() / 2
    pairs = 0.5 * (np.exp(centre + agree) - np.exp(centre - agree)) - (signs * r2) @ signs.T
    shapley, variance = np.zeros((n, d)), np.zeros(d)
    nodes, weights = roots_legendre(_NODES)
    for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        up, down = odd_products(t)
        shapley += weight * 0.5 * (up[:, None] / (1 + t * r2 * signs) + down[:, None] / (1 - t * r2 * signs))
        others = 0.5 * (np.exp(np.log1p(t * r2).sum()) / (1 + t * r2) + np.exp(np.log1p(-t * r2).sum()) / (1 - t * r2))
        variance += weight * -np.log(t) * (others - 1.0)
    scale = float(pairs[0, 0])  # the diagonal is constant: every product is over z_i z_i = 1
    return Covariances(pairs / scale, (2 * r2 * signs * (shapley - 1.0)).T / scale, 4 * r2 * variance / scale)
