"""Complementary pairs: half the products give the same moments and standard errors."""

from __future__ import annotations

import numpy as np
import pytest

from whybox.solvers import _complements as complements
from whybox.solvers.linear import moments, ridge
from whybox.solvers.local_linear import paired_std_error


def samples(m=900, d=12, n=3, seed=0, width=0.25):
    """The row itself, complementary pairs, and one more; weights of LIME's kernel, which differ much within a pair."""
    rng = np.random.default_rng(seed)
    half = rng.random((n, m // 2, d)) < rng.random((n, m // 2, 1))
    z = np.ones((n, m + 2, d), dtype=bool)
    z[:, 1 : m + 1 : 2], z[:, 2 : m + 1 : 2] = half, ~half
    z[:, m + 1] = False
    w = np.exp(-((1.0 - z.mean(axis=2)) ** 2) / width**2)
    y = z @ rng.normal(size=(n, d, 2)) + rng.normal(size=(n, m + 2, 2))
    return z, w, y


def defined(z, w, y):
    """Centred and weighted sums of products, by their definition."""
    z = z.astype(float)
    total = w.sum(axis=1)[:, None]
    mean_z, mean_y = (w[..., None] * z).sum(axis=1) / total, (w[..., None] * y).sum(axis=1) / total
    zc, yc = z - mean_z[:, None], y - mean_y[:, None]
    return np.einsum("nm,nmi,nmj->nij", w, zc, zc), np.einsum("nm,nmi,nmt->nit", w, zc, yc)


@pytest.mark.parametrize("width", [0.25, 0.03])
def test_moments_of_pairs_are_those_of_the_definition(width):
    z, w, y = samples(width=width)
    found = moments(z, w, y)
    zz, zy = defined(z, w, y)
    np.testing.assert_allclose(found.zz, zz, atol=1e-12 * np.abs(zz).max())
    np.testing.assert_allclose(found.zy, zy, atol=1e-12 * np.abs(zy).max())


def test_errors_of_pairs_are_those_of_samples_in_general():
    z, w, y = samples()
    found = moments(z, w, y)
    values, inverse = ridge(found.zz, found.zy, 1.0)
    of_numbers = paired_std_error(z.astype(float), w, y, found, values, inverse, 1.0)  # numbers take the general way
    np.testing.assert_allclose(paired_std_error(z, w, y, found, values, inverse, 1.0), of_numbers, rtol=1e-10)


def test_which_of_a_pair_stands_first_is_of_no_importance():
    """The heavier one is taken first whatever the order, for a narrow kernel leaves variances so small that digits would be lost."""
    z, w, y = samples(width=0.12)
    mean = (w[..., None] * z).sum(axis=1) / w.sum(axis=1)[:, None]
    z, w, y = z[:, 1:901], w[:, 1:901], y[:, 1:901]
    turned = np.arange(900).reshape(-1, 2)[:, ::-1].reshape(-1)
    zz, zy = complements.paired_products(z, w, y, mean)
    again = complements.paired_products(z[:, turned], w[:, turned], y[:, turned], mean)
    np.testing.assert_allclose(again[0], zz, atol=1e-13 * np.abs(zz).max())
    np.testing.assert_allclose(again[1], zy, atol=1e-13 * np.abs(zy).max())
    zc = z - mean[:, None]
    np.testing.assert_allclose(zz, np.einsum("nm,nmi,nmj->nij", w, zc, zc), atol=1e-13 * np.abs(zz).max())


def test_each_data_set_is_judged_alone():
    z, w, y = samples(n=2)
    z[1, 5] = z[1, 6]  # no pairs any more
    (first, whole), (second, broken) = complements.kinds(z[:, 1:513])
    assert (first.tolist(), whole, second.tolist(), broken) == ([0], True, [1], False)
    together = moments(z, w, y)
    for i in range(2):
        alone = moments(z[i : i + 1], w[i : i + 1], y[i : i + 1])
        assert np.array_equal(alone.zz[0], together.zz[i])
        assert np.array_equal(alone.zy[0], together.zy[i])
    np.testing.assert_allclose(together.zz, defined(z, w, y)[0], atol=1e-10)


def test_taking_all_samples_for_pairs_is_found_out(monkeypatch):
    z, w, y = samples(n=1, width=2.0)
    z[0, 5] = z[0, 6]
    monkeypatch.setattr(complements, "kinds", lambda part: [(slice(None), part.shape[1] % 2 == 0)])  # a wrong implementation
    assert np.abs(moments(z, w, y).zz - defined(z, w, y)[0]).max() > 1e-3
