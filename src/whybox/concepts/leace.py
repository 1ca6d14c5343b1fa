"""Least-squares concept erasure: the smallest linear change of representations after which no linear predictor finds a concept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whybox._arrays import is_array, to_numpy
from whybox.errors import InputError, ShapeError
from whybox.typing import Floats


@dataclass(frozen=True, eq=False)
class LEACE:
    """A map of representations that removes what a linear predictor could know of a concept, and as little else as possible.

    The erased representation is r(x) = x - W⁺ P W (x - E[X]) with W = Σ_XX^(-1/2) and P the orthogonal projection on the columns of
    W Σ_XZ. Its covariance with the concept is 0, which holds if and only if no linear predictor, under any convex loss, beats a constant;
    and among all such affine maps it moves the representations the least. Source: Belrose et al. (2023), LEACE, arXiv 2306.03819.

    Args:
        mean: (d,) mean of the representations.
        keep: (r, d) rows that the part which is removed is measured by.
        lift: (d, r) what is taken away for each of them.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.integers(0, 2, 500)
        >>> x = rng.normal(size=(500, 4)) + 3 * z[:, None] * np.array([1.0, 1.0, 0.0, 0.0])
        >>> erased = LEACE.fit(x, z)(x)
        >>> bool(np.abs(erased[z == 0].mean(axis=0) - erased[z == 1].mean(axis=0)).max() < 1e-9)
        True
    """

    mean: Floats = field(repr=False)
    keep: Floats = field(repr=False)
    lift: Floats = field(repr=False)

    @classmethod
    def fit(cls, x: Any, z: Sequence[Any] | Any) -> LEACE:
        """Find the map.

        Args:
            x: (n, d) representations, of any array library.
            z: n values of the concept; or (n, c) numbers, such as several concepts at once.

        Raises:
            ShapeError: x is not (n, d), or z has another n.
            InputError: a number is not finite, or the concept has one value only.
        """
        points = _points(x)
        told = np.asarray(to_numpy(z) if is_array(z) else z)
        if len(told) != len(points) or told.ndim not in (1, 2):
            raise ShapeError(f"z: expected {len(points)} values or an ({len(points)}, c) array, one row a representation, got {told.shape}")
        if told.ndim == 1:
            values, codes = np.unique(told, return_inverse=True)
            if len(values) < 2:
                raise InputError(f"z: expected at least two values of the concept, got {values.tolist()}")
            told = np.eye(len(values))[codes.reshape(-1)]
        elif told.dtype.kind not in "biuf" or not np.isfinite(told).all():
            raise InputError("z: expected finite numbers in an (n, c) array")
        mean = points.mean(axis=0)
        centred, concept = points - mean, told.astype(np.float64) - told.mean(axis=0)
        # with X = U S V', W = sqrt(n) V S⁻¹ V': the projection is taken in the coordinates of V, where W is diagonal
        u, s, vt = np.linalg.svd(centred, full_matrices=False)
        rank = int((s > s.max(initial=0.0) * max(centred.shape) * np.finfo(np.float64).eps).sum())
        u, s, vt = u[:, :rank], s[:rank], vt[:rank]
        cross = u.T @ concept  # (rank, c): columns of W Σ_XZ, up to a factor
        q, size, _ = np.linalg.svd(cross, full_matrices=False)
        q = q[:, size > max(size.max(initial=0.0) * max(cross.shape), np.sqrt(len(points))) * 1e-12]
        return cls(mean, (q.T / s) @ vt, vt.T @ (s[:, None] * q))

    @property
    def rank(self) -> int:
        """Directions that were removed, at most the concept's values less one."""
        return len(self.keep)

    def __call__(self, x: Any) -> Floats:
        """(n, d) representations with the concept erased, float64.

        Raises:
            ShapeError: they have another number of dimensions than those it was fitted on.
        """
        points = _points(x)
        if points.shape[1] != len(self.mean):
            raise ShapeError(f"x: expected (n, {len(self.mean)}) representations, got {points.shape}")
        erased: Floats = points - ((points - self.mean) @ self.keep.T) @ self.lift.T
        return erased


def _points(x: Any) -> Floats:
    points = np.asarray(to_numpy(x) if is_array(x) else x)
    if points.ndim != 2 or len(points) < 1 or points.dtype.kind not in "biuf":
        raise ShapeError(f"x: expected (n, d) numbers, got {points.dtype} of shape {points.shape}")
    if not np.isfinite(points).all():
        raise InputError(f"x: {int((~np.isfinite(points)).any(axis=1).sum())} of {len(points)} representations are not finite")
    return points.astype(np.float64)
