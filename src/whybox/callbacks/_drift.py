"""How far explanations of the same rows have moved, and how much of it their standard errors alone would explain."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from whybox.errors import ShapeError
from whybox.explanations import Attribution
from whybox.typing import Floats

_MOVED = 1.959963984540054  # standard errors of a difference: what chance exceeds once in twenty


@dataclass(frozen=True)
class Drift:
    """The difference between two explanations of the same rows.

    Args:
        rows: (n,) for each row 1 minus the cosine of its values then and now: 0 where they point the same way, 1 where they have nothing in
            common, 2 where they are reversed. Of two rows of zeros 0, of one 1.
        noise: (n,) what ``rows`` would be about if only the standard errors told them apart; 0 where values are exact or have none.
        importance: 1 minus the cosine of the mean absolute values; NaN where rows have features of their own.
        ranks: 1 minus Spearman's correlation of the mean absolute values; NaN likewise, and where all are equal.
        moved: share of values that differ by more than 1.96 standard errors of the difference: about 0.05 if nothing moved. Without
            standard errors, the share that differs at all.

    Example:
        >>> from whybox import Occlusion
        >>> then, now = (Occlusion(lambda x, j=j: x[:, j], np.zeros((1, 2))).explain(np.ones((1, 2))) for j in (0, 1))
        >>> drift = explanation_drift(then, now)
        >>> drift.mean, drift.importance, drift.moved
        (1.0, 1.0, 1.0)
    """

    rows: Floats = field(repr=False)
    noise: Floats = field(repr=False)
    importance: float
    ranks: float
    moved: float

    @property
    def mean(self) -> float:
        """The mean of ``rows``."""
        return float(self.rows.mean())

    @property
    def beyond_noise(self) -> float:
        """The mean of ``rows`` less that of ``noise``, at least 0."""
        return max(self.mean - float(self.noise.mean()), 0.0)

    def scalars(self) -> dict[str, float]:
        """The numbers worth a curve, by name; without those that are NaN."""
        found = {
            "drift": self.mean,
            "drift_beyond_noise": self.beyond_noise,
            "drift_largest": float(self.rows.max()),
            "drift_importance": self.importance,
            "drift_ranks": self.ranks,
            "moved": self.moved,
        }
        return {name: value for name, value in found.items() if value == value}


def explanation_drift(then: Attribution, now: Attribution) -> Drift:
    """Compare two explanations of the same rows.

    Args:
        then: the earlier.
        now: the later.

    Raises:
        ShapeError: they explain other rows, features or outputs.

    Example:
        >>> from whybox import Occlusion
        >>> e = Occlusion(lambda x: x[:, 0], np.zeros((1, 2))).explain(np.ones((1, 2)))
        >>> explanation_drift(e, e).mean
        0.0
    """
    a, b = _vectors(then.values), _vectors(now.values)
    if [len(v) for v in a] != [len(v) for v in b]:
        raise ShapeError(
            f"drift: expected explanations of the same rows, features and outputs, got values of shapes {then.values.shape} and "
            f"{now.values.shape}"
        )
    s, t = _errors(then, a), _errors(now, b)
    rows = np.array([_apart(u, v) for u, v in zip(a, b, strict=True)])
    noise = np.array([_chance(u, e) + _chance(v, f) for u, v, e, f in zip(a, b, s, t, strict=True)])
    difference = np.concatenate([v - u for u, v in zip(a, b, strict=True)])
    allowed = _MOVED * np.sqrt(np.concatenate([e**2 + f**2 for e, f in zip(s, t, strict=True)]))
    importance = ranks = float("nan")
    if then.values.dtype != object:
        before, after = mean_importance(then), mean_importance(now)
        importance, ranks = _apart(before, after), _rank_distance(before, after)
    return Drift(rows, np.minimum(noise, 1.0), importance, ranks, float((np.abs(difference) > allowed).mean()))


def mean_importance(e: Attribution) -> Floats:
    """(d,) mean absolute values over rows and outputs."""
    values = np.abs(np.asarray(e.values, dtype=np.float64))
    return np.asarray(values.mean(axis=(0, 2) if values.ndim == 3 else 0))


def _vectors(values: np.ndarray) -> list[Floats]:
    return [np.asarray(row, dtype=np.float64).reshape(-1) for row in values]


def _errors(e: Attribution, values: list[Floats]) -> list[Floats]:
    if e.std_error is None:
        return [np.zeros_like(v) for v in values]
    return [np.nan_to_num(row) for row in _vectors(e.std_error)]


def _apart(u: Floats, v: Floats) -> float:
    """1 minus the cosine, from half the squared distance of the unit vectors: exact where they are equal."""
    lengths = float(np.linalg.norm(u)), float(np.linalg.norm(v))
    if 0.0 in lengths:
        return 0.0 if lengths[0] == lengths[1] else 1.0
    return 0.5 * float(np.square(u / lengths[0] - v / lengths[1]).sum())


def _chance(u: Floats, errors: Floats) -> float:
    """Half the expected squared angle by which independent errors turn a vector: only what is across it turns it."""
    squared = float(np.square(u).sum())
    if squared == 0.0:
        return float(errors.any())
    across = np.square(errors) * (1.0 - np.square(u) / squared)
    return 0.5 * float(across.sum()) / squared


def _rank_distance(a: Floats, b: Floats) -> float:
    from scipy.stats import rankdata

    p, q = rankdata(a), rankdata(b)
    if np.ptp(p) == 0.0 or np.ptp(q) == 0.0:
        return float("nan")
    return 1.0 - float(np.corrcoef(p, q)[0, 1])
