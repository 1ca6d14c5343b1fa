"""Weighted linear models: against scikit-learn, against lime's own selection, and their standard errors against repetition."""

from __future__ import annotations

import numpy as np
import pytest
from lime.lime_base import LimeBase
from sklearn.linear_model import LinearRegression, Ridge

from whybox.errors import OptionError
from whybox.samplers.neighborhood import normal_points, unit_points
from whybox.solvers.linear import moments, r2, ridge, select, std_error
from whybox.solvers.local_linear import fit_local


def _data(seed=0, n=4, m=300, d=9, t=2):
    rng = np.random.default_rng(seed)
    z = (rng.random((n, m, d)) < rng.uniform(0.2, 0.8, d)).astype(float)
    z[:, 0] = 1.0
    w = rng.uniform(0.1, 1.0, (n, m))
    y = z @ rng.normal(size=(d, t)) + z[..., :1] * z[..., 1:2] + rng.normal(size=(n, m, t)) * (1 + z[..., :1])
    return z, w, y


@pytest.mark.parametrize("alpha", [1.0, 0.01, 30.0])
def test_ridge_and_r2_equal_scikit_learn(alpha):
    z, w, y = _data()
    found = moments(z, w, y)
    values, _ = ridge(found.zz, found.zy, alpha)
    score = r2(found, values)
    for i in range(len(z)):
        for j in range(y.shape[2]):
            model = Ridge(alpha=alpha).fit(z[i], y[i, :, j], sample_weight=w[i])
            np.testing.assert_allclose(values[i, :, j], model.coef_, atol=1e-10)
            np.testing.assert_allclose(score[i, j], model.score(z[i], y[i, :, j], sample_weight=w[i]), atol=1e-10)


def test_least_squares_equals_scikit_learn():
    z, w, y = _data(1)
    found = moments(z, w, y)
    values, _ = ridge(found.zz, found.zy, 0.0)
    for i in range(len(z)):
        np.testing.assert_allclose(values[i].T, LinearRegression().fit(z[i], y[i], sample_weight=w[i]).coef_, atol=1e-10)


def test_collinear_features_without_a_penalty_are_refused():
    z, w, y = _data(2)
    z[..., 3] = z[..., 4]
    found = moments(z, w, y)
    with pytest.raises(OptionError, match="linear combinations"):
        ridge(found.zz, found.zy, 0.0)
    assert np.isfinite(ridge(found.zz, found.zy, 1.0)[0]).all()


@pytest.mark.parametrize("alpha", [-1.0, np.nan, np.inf])
def test_bad_penalties_are_refused(alpha):
    with pytest.raises(OptionError, match="alpha"):
        ridge(np.eye(2)[None], np.ones((1, 2, 1)), alpha)


def test_features_that_do_not_vary_get_zero():
    z, w, y = _data(3)
    z[..., 2] = 1.0
    found = moments(z, w, y)
    values, inverse = ridge(found.zz, found.zy, 0.0)
    assert (values[:, 2] == 0).all()
    assert (std_error(z, w, y, found, values, inverse, 0.0)[:, 2] == 0).all()


@pytest.mark.parametrize("how", ["forward_selection", "highest_weights", "lasso_path", "auto", "none"])
@pytest.mark.parametrize("k", [1, 3, 6, 7])
def test_selection_and_weights_equal_lime(how, k):
    z, w, y = _data(4, n=3, t=2)
    base = LimeBase(lambda distance: distance)
    fit = fit_local(z[:, 1:], w[:, 1:], y[:, 1:], z[:, 0], y[:, 0], alpha=1.0, k=k, how=how, known=None)
    w[:, 0] = 1.0
    for i in range(3):
        for j in range(2):
            intercept, weights, score, _ = base.explain_instance_with_data(z[i], y[i], w[i], j, k, feature_selection=how)
            theirs = np.zeros(z.shape[2])
            for feature, weight in weights:
                theirs[feature] = weight
            np.testing.assert_allclose(fit.values[i, :, j], theirs, atol=1e-8)
            np.testing.assert_allclose([fit.intercept[i, j], fit.score[i, j]], [intercept, score], atol=1e-8)


@pytest.mark.parametrize(
    ("how", "k", "match"), [("best", 2, "feature_selection"), ("auto", 0, "num_features"), ("auto", 1.5, "num_features")]
)
def test_bad_selections_are_refused(how, k, match):
    with pytest.raises(OptionError, match=match):
        select(moments(*_data()), np.ones((4, 9)), k, how)


def test_a_row_has_the_same_bits_alone_and_among_others():
    z, w, y = _data(5, n=7, m=5000, d=30)
    together = fit_local(z[:, 1:], w[:, 1:], y[:, 1:], z[:, 0], y[:, 0], alpha=1.0, k=4, how="auto", known=None)
    for i in (0, 3, 6):
        part = slice(i, i + 1)
        alone = fit_local(z[part, 1:], w[part, 1:], y[part, 1:], z[part, 0], y[part, 0], alpha=1.0, k=4, how="auto", known=None)
        for name in ("values", "std_error", "score", "intercept"):
            assert np.array_equal(getattr(alone, name)[0], getattr(together, name)[i]), name


def test_standard_errors_cover_whatever_the_residuals():
    rng = np.random.default_rng(6)
    truth, hits = np.array([1.0, -0.5, 0.0, 2.0]), []
    z = (rng.random((300, 400, 4)) < 0.3).astype(float)
    w = rng.uniform(0.2, 1.0, (300, 400))
    noise = rng.normal(size=(300, 400)) * (0.2 + 3 * z[..., 0])  # far from homoscedastic
    y = (z @ truth + noise)[..., None]
    found = moments(z, w, y)
    values, inverse = ridge(found.zz, found.zy, 1.0)
    error = std_error(z, w, y, found, values, inverse, 1.0)
    hits = (np.abs(values[..., 0] - truth) < 1.96 * error[..., 0]).mean(axis=0)
    assert (hits > 0.9).all()
    assert (hits < 0.99).all()


def test_a_constant_output_is_explained_perfectly_by_nothing():
    z, w, _ = _data(7)
    found = moments(z, w, np.full((4, 300, 1), 0.3))
    values, _ = ridge(found.zz, found.zy, 1.0)
    np.testing.assert_allclose(values, 0, atol=1e-14)
    assert (r2(found, values) == 1.0).all()


@pytest.mark.parametrize("design", ["latin-hypercube", "antithetic", "monte-carlo"])
def test_points_are_uniform_inside_the_open_cube(design):
    u = unit_points(4001, 3, np.random.default_rng(0), design)
    assert u.shape == (4001, 3)
    assert u.min() > 0
    assert u.max() < 1
    np.testing.assert_allclose(u.mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(u.var(axis=0), 1 / 12, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(u.T), np.eye(3), atol=0.09)


def test_designs_are_what_they_say():
    rng = np.random.default_rng(0)
    lhs = unit_points(64, 5, rng)
    assert (np.sort(np.floor(64 * lhs), axis=0) == np.arange(64)[:, None]).all()
    pairs = unit_points(64, 5, rng, "antithetic").reshape(32, 2, 5)
    np.testing.assert_allclose(pairs.sum(axis=1), 1.0, rtol=1e-15)
    assert abs(normal_points(1000, 1, rng).std() - 1) < 0.01


def test_an_unknown_design_is_refused():
    with pytest.raises(OptionError, match="sampler"):
        unit_points(4, 2, np.random.default_rng(0), "sobol")
