"""Points of the unit cube that a neighbourhood turns into rows: independent, antithetic or Latin hypercube."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.special import ndtri

from whybox.errors import OptionError
from whybox.typing import Floats

Design = Literal["latin-hypercube", "antithetic", "monte-carlo"]


def unit_points(m: int, d: int, rng: np.random.Generator, design: Design = "latin-hypercube") -> Floats:
    """Points (m, d), each uniform in the open unit cube, so that any neighbourhood is a quantile function away.

    All three designs are unbiased; they differ in how the points of one draw depend on one another.

    Args:
        m: points.
        d: features.
        rng: from :func:`whybox._random.generator`.
        design: "latin-hypercube" (default; every feature's m points lie in m different intervals of width 1/m, McKay, Beckman and
            Conover 1979), "antithetic" (points come in pairs u and 1 - u) or "monte-carlo" (independent).

    Returns:
        (m, d) float64, strictly between 0 and 1.

    Raises:
        OptionError: an unknown design, or a negative number of points.

    Example:
        >>> u = unit_points(4, 2, np.random.default_rng(0))
        >>> sorted(np.floor(4 * u[:, 0]).tolist())
        [0.0, 1.0, 2.0, 3.0]
    """
    if design not in get_args(Design):
        raise OptionError(f"sampler: expected one of {', '.join(get_args(Design))}, got {design!r}")
    if m < 0 or d < 1:
        raise OptionError(f"points: expected at least 0 points of at least 1 feature, got {m} and {d}")
    if design == "antithetic":
        half = rng.random(((m + 1) // 2, d))
        points = np.stack([half, 1.0 - half], axis=1).reshape(-1, d)[:m]
    else:
        points = rng.random((m, d))
        if design == "latin-hypercube":
            cells = rng.permuted(np.broadcast_to(np.arange(m)[:, None], (m, d)), axis=0)
            points = (cells + points) / max(m, 1)
    tiny = np.finfo(np.float64).tiny  # random() may return 0, whose normal quantile is -inf
    clipped: Floats = np.clip(points, tiny, 1.0 - 2.0**-53)
    return clipped


def normal_points(m: int, d: int, rng: np.random.Generator, design: Design = "latin-hypercube") -> Floats:
    """Standard normal points (m, d) of the same designs.

    Args:
        m: points.
        d: features.
        rng: from :func:`whybox._random.generator`.
        design: see :func:`unit_points`.

    Returns:
        (m, d) float64.

    Example:
        >>> bool(abs(normal_points(1000, 1, np.random.default_rng(0)).mean()) < 0.01)
        True
    """
    normal: Floats = ndtri(unit_points(m, d, rng, design))
    return normal
