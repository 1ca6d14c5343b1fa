"""The outcome model of matched counterfactuals: what the explained model says, given what a text tells and what else stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whybox.concepts._logistic import leverage, linear, ridge, softmax
from whybox.typing import Bools, Floats, Ints

_FLOOR = 1e-6  # probabilities below are as good as impossible on the scale of log-odds
_CERTAIN = 0.01  # share of such probabilities from which on outputs are not averaged as log-odds


def shares(outputs: Floats) -> bool:
    """Whether outputs are probabilities of exclusive classes."""
    finite = outputs[np.isfinite(outputs).all(axis=1)]
    return bool(outputs.shape[1] > 1 and len(finite) and (finite >= 0).all() and np.allclose(finite.sum(axis=1), 1.0, atol=1e-4))


def smooth(outputs: Floats) -> bool:
    """Whether outputs are probabilities of which hardly any is 0 or 1: log-odds of the others say nothing but the floor."""
    return shares(outputs) and bool((outputs < _FLOOR).mean() <= _CERTAIN)


def scores(outputs: Floats, probabilities: bool) -> Floats:
    """Centred log-probabilities, or the outputs themselves."""
    if not probabilities:
        return outputs
    logs = np.log(np.maximum(outputs, _FLOOR))
    result: Floats = logs - logs.mean(axis=1, keepdims=True)
    return result


def outputs_of(values: Floats, probabilities: bool) -> Floats:
    """The way back."""
    return softmax(values) if probabilities else values


@dataclass(frozen=True)
class OutcomeModel:
    """A ridge regression of the scores of whole texts on a concept's value, the scores of the rest of the text, and both together.

    Args:
        coef: coefficients, the intercept last.
        sizes: number of values of the concept and of each of its effects.
        centre: (k,) mean scores of the pool, which stand for the rest of a text that has no rest.
        probabilities: whether scores are log-probabilities; otherwise the outputs themselves.
        left_out: (m, k) scores that it tells for each text it was fitted to when that text is left out.
    """

    coef: Floats
    sizes: tuple[int, ...]
    centre: Floats
    probabilities: bool
    left_out: Floats

    @classmethod
    def fit(cls, whole: Floats, rest: Floats, empty: Bools, codes: Ints, sizes: Sequence[int], penalty: float) -> OutcomeModel:
        """Fit to the model's outputs.

        Args:
            whole: (m, k) outputs for texts.
            rest: (m, k) for the same texts without what tells the concept and its effects.
            empty: (m,) texts of which nothing is left.
            codes: (m, 1 + effects) values of the concept and of its effects.
            sizes: numbers of values.
            penalty: on the squared coefficients.
        """
        probabilities = smooth(whole)
        said, left = scores(whole, probabilities), scores(rest, probabilities)
        centre = said.mean(axis=0)
        left = np.where(empty[:, None], centre, left)
        design = _design(codes, left, sizes)
        coef = ridge(design, said, penalty)
        fitted = linear(design, coef)
        left_out = said - (said - fitted) / (1.0 - leverage(design, penalty))[:, None]
        return cls(coef, tuple(sizes), centre, probabilities, left_out)

    def outputs(self, rest: Floats, empty: Bools, codes: Ints) -> Floats:
        """(n, k) scores of texts with other values and the same rest."""
        left = np.where(empty[:, None], self.centre, scores(rest, self.probabilities))
        return linear(_design(codes, left, self.sizes), self.coef)


@dataclass(frozen=True)
class ToldModel:
    """A ridge regression of the scores of whole texts on concepts alone: the values of those that are set, and what tells the others.

    Args:
        coef: coefficients, the intercept last.
        sizes: numbers of values of those that are set.
    """

    coef: Floats
    sizes: tuple[int, ...]

    @classmethod
    def fit(cls, said: Floats, codes: Ints, others: Floats, sizes: Sequence[int], penalty: float) -> ToldModel:
        """Fit to scores.

        Args:
            said: (m, k) scores of texts.
            codes: (m, c) values of the concepts that are set.
            others: (m, d) how clearly the texts tell the values of the others.
            sizes: c numbers of values.
            penalty: on the squared coefficients.
        """
        return cls(ridge(np.concatenate([*_indicators(codes, sizes), others], axis=1), said, penalty), tuple(sizes))

    def outputs(self, codes: Ints, others: Floats) -> Floats:
        """(n, k) scores of texts with other values."""
        return linear(np.concatenate([*_indicators(codes, self.sizes), others], axis=1), self.coef)


def _indicators(codes: Ints, sizes: Sequence[int]) -> list[Floats]:
    return [np.eye(size)[codes[:, j]] for j, size in enumerate(sizes)]


def _design(codes: Ints, rest: Floats, sizes: Sequence[int]) -> Floats:
    """(n, d): indicators of the values; the rest; the rest by the concept's value."""
    indicators = _indicators(codes, sizes)
    both = (indicators[0][:, :, None] * rest[:, None, :]).reshape(len(rest), -1)
    return np.concatenate([*indicators, rest, both], axis=1)
