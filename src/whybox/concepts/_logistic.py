"""Logistic and ridge regressions as arrays: what the matchers fit inside, where no model of the user is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whybox.typing import Floats


@dataclass(frozen=True)
class Logistic:
    """A fitted multinomial logistic regression on any features.

    Args:
        values: (v,) the classes, in the order of the probabilities.
        coef: (v, d) coefficients; empty for a single class.
        intercept: (v,) intercepts.
    """

    values: tuple[str, ...]
    coef: Floats
    intercept: Floats

    @classmethod
    def fit(cls, features: Any, labels: Sequence[str], *, strength: float = 1.0, weights: Sequence[float] | None = None) -> Logistic:
        """Fit by L-BFGS; one class gives the constant.

        Args:
            features: (n, d) array or sparse matrix.
            labels: n classes.
            strength: inverse of the L2 penalty (scikit-learn's C). Default 1.
            weights: how often each row counts; None (default): once.
        """
        values = tuple(sorted(set(labels)))
        if len(values) == 1:
            return cls(values, np.zeros((1, features.shape[1])), np.zeros(1))
        from sklearn.linear_model import LogisticRegression

        fitted = LogisticRegression(C=strength, max_iter=1000).fit(features, list(labels), sample_weight=weights)
        coef, intercept = np.asarray(fitted.coef_, dtype=np.float64), np.asarray(fitted.intercept_, dtype=np.float64)
        if len(values) == 2:  # one row of coefficients, for the second class
            coef, intercept = np.concatenate([np.zeros_like(coef), coef]), np.concatenate([np.zeros(1), intercept])
        return cls(values, coef, intercept)

    def probabilities(self, features: Any) -> Floats:
        """(n, v) probabilities."""
        scores = np.asarray(features @ self.coef.T) + self.intercept
        return softmax(scores)


def softmax(scores: Floats) -> Floats:
    """Along the last axis."""
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return result


def ridge(design: Floats, targets: Floats, penalty: float) -> Floats:
    """(d + 1, k) coefficients of a ridge regression, the intercept last and not penalised.

    Args:
        design: (n, d).
        targets: (n, k).
        penalty: on the squared coefficients.
    """
    middle, level = design.mean(axis=0), targets.mean(axis=0)
    centred = design - middle
    gram = centred.T @ centred + penalty * np.eye(design.shape[1])
    coef = np.linalg.solve(gram, centred.T @ (targets - level))
    return np.concatenate([coef, (level - middle @ coef)[None]])


def linear(design: Floats, coef: Floats) -> Floats:
    """(n, k) predictions: row by row the same sums, whatever the other rows."""
    result: Floats = np.einsum("nd,dk->nk", design, coef[:-1]) + coef[-1]
    return result


def leverage(design: Floats, penalty: float) -> Floats:
    """(n,) how much of its own target each row's prediction by :func:`ridge` takes; below 1."""
    centred = design - design.mean(axis=0)
    gram = centred.T @ centred + penalty * np.eye(design.shape[1])
    result: Floats = np.einsum("nd,dn->n", centred, np.linalg.solve(gram, centred.T)) + 1.0 / len(design)
    return np.minimum(result, 1.0 - 1e-9)
