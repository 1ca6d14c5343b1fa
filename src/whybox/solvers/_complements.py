"""Coalitions in complementary pairs: the products of one half tell those of the other, which halves the work of a local linear model.

About the mean m, a coalition is z - m and its complement (1 - 2 m) - (z - m).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox.typing import Bools, Floats, Ints

BLOCK = 512  # samples at once, an even number


def blocks(m: int) -> Iterator[slice]:
    """The first sample, which is the explained row itself, whole pairs, and what is left of a last one."""
    yield slice(0, 1)
    whole = m - (m - 1) % 2
    for start in range(1, whole, BLOCK):
        yield slice(start, min(start + BLOCK, whole))
    if whole < m:
        yield slice(whole, m)


def kinds(z: NDArray[Any]) -> list[tuple[Ints | slice, bool]]:
    """Data sets whose samples (n, s, d) are complementary pairs, and the others; each data set is judged alone.

    Example:
        >>> kinds(np.array([[[True, False], [False, True]]]))
        [(slice(None, None, None), True)]
        >>> kinds(np.array([[[True, False], [True, False]]]))
        [(slice(None, None, None), False)]
    """
    if z.dtype != np.bool_ or z.shape[1] % 2 or not z.size:
        return [(slice(None), False)]
    paired = (z[:, 0::2] != z[:, 1::2]).all(axis=(1, 2))
    if paired.all() or not paired.any():
        return [(slice(None), bool(paired[0]))]
    return [(np.flatnonzero(paired), True), (np.flatnonzero(~paired), False)]


def paired_products(z: Bools, w: Floats, y: Floats, mean_z: Floats) -> tuple[Floats, Floats]:
    """Weighted sums of products of pairs.

    Args:
        z: (n, s, d) pairs.
        w: (n, s) weights.
        y: (n, s, t) centred outputs.
        mean_z: (n, d) what z is centred by.

    Returns:
        (n, d, d) features by features, and (n, d, t) features by outputs.
    """
    light = w[:, 0::2] < w[:, 1::2]  # what is subtracted below must be the smaller part, or digits are lost
    some = light[..., None]
    centred = np.where(some, z[:, 1::2], z[:, 0::2]) - mean_z[:, None]
    heavy_w, light_w = np.maximum(w[:, 0::2], w[:, 1::2]), np.minimum(w[:, 0::2], w[:, 1::2])
    heavy_y, light_y = np.where(some, y[:, 1::2], y[:, 0::2]), np.where(some, y[:, 0::2], y[:, 1::2])
    apart = 1.0 - 2.0 * mean_z
    cross = np.matmul(light_w[:, None], centred).transpose(0, 2, 1) * apart[:, None]
    zy = centred.transpose(0, 2, 1) @ (heavy_w[..., None] * heavy_y - light_w[..., None] * light_y)
    zy += apart[..., None] * np.add.reduce(light_w[..., None] * light_y, axis=1)[:, None]
    centred *= np.sqrt(heavy_w + light_w)[..., None]
    zz = centred.transpose(0, 2, 1) @ centred  # of a matrix with itself: half the work
    zz -= cross + cross.transpose(0, 2, 1)
    zz += np.add.reduce(light_w, axis=1)[:, None, None] * (apart[:, :, None] * apart[:, None])
    return zz, zy


def paired_meat(z: Bools, w: Floats, y: Floats, mean_z: Floats, total: Floats, values: Floats, inverse: Floats) -> Floats:
    """Sums of squares of what each pair pulls the coefficients by, where the pair is a cluster: (n, t, d).

    Args:
        z: (n, s, d) pairs.
        w: (n, s) weights.
        y: (n, s, t) centred outputs.
        mean_z: (n, d) what z is centred by.
        total: (n,) sum of all weights.
        values: (n, d, t) coefficients.
        inverse: (n, t or 1, d, d) of the regularised matrix of products.
    """
    n, d, t = values.shape
    meat = np.empty((n, t, d))
    centred, apart = z[:, 0::2] - mean_z[:, None], (1.0 - 2.0 * mean_z)[:, None]
    fitted, fitted_apart = centred @ values, apart @ values
    errors = y[:, 0::2] - fitted, y[:, 1::2] - (fitted_apart - fitted)
    weights = w[:, 0::2], w[:, 1::2]
    for output in range(t):
        bread = inverse[:, min(output, inverse.shape[1] - 1)]
        pull, pull_apart = centred @ bread, apart @ bread
        size = np.add.reduce(pull * centred, axis=2)
        turned = np.matmul(centred, pull_apart.transpose(0, 2, 1))[..., 0]
        sizes = size, size - 2.0 * turned + (pull_apart @ apart.transpose(0, 2, 1))[..., 0]
        push = []
        for weight, error, of_design in zip(weights, errors, sizes, strict=True):
            leverage = weight * (of_design + 1.0 / total[:, None])
            push.append(error[..., output] * (weight / np.maximum(1.0 - leverage, 1e-3)))
        pull *= (push[0] - push[1])[..., None]
        pull += push[1][..., None] * pull_apart
        meat[:, output] = np.einsum("npd,npd->nd", pull, pull)
    return meat
