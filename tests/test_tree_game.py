"""Exact Shapley values and game values of trees, against brute force, shap and the trees themselves."""

from itertools import product
from math import factorial

import numpy as np
import pytest
import sklearn.base
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from whybox._random import generator
from whybox.errors import InputError, OptionError, ShapeError
from whybox.solvers.tree_game import TreeGame
from whybox.solvers.tree_leaves import ensembles
from whybox.solvers.tree_outputs import tree_outputs
from whybox.solvers.tree_spectrum import odd_coefficients, spectrum

D = 6
CODES = np.array(list(product([False, True], repeat=D)))


def table(missing: bool = True, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(0, "tree game test")
    x = rng.normal(size=(n, D))
    y = x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3] * x[:, 4] + np.abs(x[:, 5])
    if missing:
        x[rng.random(x.shape) < 0.1] = np.nan
    return x, y


def cases():
    x, y = table()
    whole, _ = table(missing=False)
    yield "histogram", HistGradientBoostingRegressor(max_iter=15, max_depth=5).fit(x, y), lambda m, r: m.predict(r)[:, None], x
    yield (
        "histogram classes",
        HistGradientBoostingClassifier(max_iter=5, max_depth=4).fit(x, np.digitize(y, [-0.5, 1.5])),
        (lambda m, r: m.decision_function(r)),
        x,
    )
    yield (
        "boosting",
        GradientBoostingRegressor(n_estimators=15, max_depth=4, random_state=0).fit(whole, y),
        (lambda m, r: m.predict(r)[:, None]),
        whole,
    )
    yield (
        "boosting classes",
        GradientBoostingClassifier(n_estimators=8, random_state=0).fit(whole, y > 0),
        (lambda m, r: m.decision_function(r)[:, None]),
        whole,
    )
    yield "forest", RandomForestRegressor(8, max_depth=5, random_state=0).fit(x, y), lambda m, r: m.predict(r)[:, None], x
    held = x if hasattr(sklearn.base, "is_clusterer") else whole  # since scikit-learn 1.6 these take missing values, too
    yield (
        "extra trees, two outputs",
        ExtraTreesRegressor(8, max_depth=5, random_state=0).fit(held, np.stack([y, -2 * y], 1)),
        (lambda m, r: m.predict(r)),
        held,
    )
    yield "forest classes", RandomForestClassifier(8, max_depth=5, random_state=0).fit(x, y > 0), lambda m, r: m.predict_proba(r), x
    yield "tree", DecisionTreeRegressor(max_depth=5).fit(x, y), lambda m, r: m.predict(r)[:, None], x


CASES = {name: (model, predict, x) for name, model, predict, x in cases()}


def brute_values(predict, model, x, background, weights=None) -> np.ndarray:
    hybrids = np.where(CODES[None, :, None, :], x[:, None, None, :], background[None, None])
    outputs = predict(model, hybrids.reshape(-1, D)).reshape(len(x), len(CODES), len(background), -1)
    return np.average(outputs, axis=2, weights=weights)


def brute_shapley(values: np.ndarray) -> np.ndarray:
    size, weight = CODES.sum(axis=1), np.array([factorial(s) * factorial(D - s - 1) / factorial(D) if s < D else 0 for s in range(D + 1)])
    place = 1 << np.arange(D)[::-1]
    phi = np.zeros((len(values), D))
    for j in range(D):
        without = np.flatnonzero(~CODES[:, j])
        phi[:, j] = (values[:, without + place[j]] - values[:, without]) @ weight[size[without]]
    return phi


@pytest.mark.parametrize("name", CASES)
def test_values_and_shapley_equal_brute_force(name):
    model, predict, x = CASES[name]
    rows, background = x[100:106], x[:20]
    truth = brute_values(predict, model, rows, background)
    trees = ensembles(model)
    assert len(trees) == truth.shape[2]
    for k, tree in enumerate(trees):
        game = TreeGame.of(tree, background)
        np.testing.assert_allclose(game.values(rows, CODES), truth[:, :, k], atol=1e-12)
        np.testing.assert_allclose(game.shapley(rows), brute_shapley(truth[:, :, k]), atol=1e-12)
        np.testing.assert_allclose(game.full(rows), predict(model, rows)[:, k], atol=1e-12)
        np.testing.assert_allclose(tree_outputs(tree, x), predict(model, x)[:, k], atol=1e-12)
        np.testing.assert_allclose(game.empty(), predict(model, background)[:, k].mean(), atol=1e-12)


def test_background_weights_equal_repeated_rows():
    model, _, x = CASES["histogram"]
    (tree,) = ensembles(model)
    weighted = TreeGame.of(tree, x[:3], weights=[1.0, 2.0, 3.0])
    repeated = TreeGame.of(tree, np.repeat(x[:3], [1, 2, 3], axis=0))
    np.testing.assert_allclose(weighted.shapley(x[50:60]), repeated.shapley(x[50:60]), atol=1e-13)
    np.testing.assert_allclose(weighted.values(x[50:60], CODES), repeated.values(x[50:60], CODES), atol=1e-13)


def test_shapley_equals_interventional_treeshap():
    shap = pytest.importorskip("shap", reason="the reference implementation is an extra")
    x, y = table(missing=False)
    model = GradientBoostingRegressor(n_estimators=40, max_depth=5, random_state=0).fit(x, y)
    reference = shap.TreeExplainer(model, x[:50], feature_perturbation="interventional").shap_values(x[100:140], check_additivity=False)
    (tree,) = ensembles(model)
    np.testing.assert_allclose(TreeGame.of(tree, x[:50]).shapley(x[100:140]), reference, atol=1e-5)  # shap computes in float32 in part


def test_infinities_and_rows_on_a_threshold_go_where_the_model_sends_them():
    model, _, x = CASES["histogram"]
    (tree,) = ensembles(model)
    game = TreeGame.of(tree, x[:5])
    edge = np.tile(x[7], (40, 1))
    thresholds = np.concatenate([p[0].nodes["num_threshold"][~p[0].nodes["is_leaf"].astype(bool)] for p in model._predictors])
    edge[:20, 0], edge[20:, 1] = thresholds[:20], thresholds[20:40]
    np.testing.assert_allclose(game.full(edge), model.predict(edge), atol=1e-12)
    for infinity in (np.inf, -np.inf):
        far = edge[:3].copy()
        far[0, 0], far[1, 3] = infinity, infinity
        outcome = np.concatenate([p[0].nodes["num_threshold"] for p in model._predictors])
        assert np.all(np.isfinite(outcome))
        expected = far.copy()
        expected[np.isinf(far)] = np.sign(infinity) * 1e300
        np.testing.assert_allclose(game.full(far), model.predict(expected), atol=1e-12)


@pytest.mark.parametrize("part", [slice(0, 1), slice(3, 5), slice(0, 40), slice(10, 530)])
def test_a_row_has_the_same_bits_whatever_the_other_rows_are(part):
    model, _, _ = CASES["histogram"]
    x, _ = table(n=600)
    (tree,) = ensembles(model)
    game = TreeGame.of(tree, x[:20])
    assert np.array_equal(game.values(x, CODES)[part], game.values(x[part], CODES))
    assert np.array_equal(game.shapley(x)[part], game.shapley(x[part]))
    assert np.array_equal(game.full(x)[part], game.full(x[part]))
    assert np.array_equal(tree_outputs(tree, x)[part], tree_outputs(tree, x[part]))


@pytest.mark.parametrize("leaves", [2, 3, 7, 8, 9])
def test_small_trees_answer_as_the_model_does_bit_by_bit(leaves):
    x, y = table(n=9000)  # more rows than a block
    model = HistGradientBoostingRegressor(max_iter=20, max_leaf_nodes=leaves, min_samples_leaf=5, random_state=0).fit(x[:500], y[:500])
    (tree,) = ensembles(model)
    assert max(np.count_nonzero(one.leaf) for one in tree.trees) == leaves
    assert np.isnan(x).any()
    assert np.array_equal(tree_outputs(tree, x), model.predict(x))


def test_codes_in_blocks_give_the_same_values():
    model, _, x = CASES["histogram"]
    (tree,) = ensembles(model)
    game = TreeGame.of(tree, x[:20])
    many = np.tile(CODES, (9, 1))  # more than one block
    np.testing.assert_array_equal(game.values(x[:4], many), np.tile(game.values(x[:4], CODES), (1, 9)))


def test_no_rows_and_no_codes_give_empty_answers():
    model, _, x = CASES["tree"]
    (tree,) = ensembles(model)
    game = TreeGame.of(tree, x[:2])
    assert game.shapley(x[:0]).shape == (0, D)
    assert game.values(x[:0], CODES).shape == (0, len(CODES))
    assert game.values(x[:3], CODES[:0]).shape == (3, 0)


def test_a_constant_model_explains_nothing():
    x, _ = table()
    (tree,) = ensembles(HistGradientBoostingRegressor(max_iter=2).fit(x, np.full(len(x), 3.0)))
    game = TreeGame.of(tree, x[:5])
    assert game.empty() == 3.0
    assert not game.shapley(x[:4]).any()
    assert odd_coefficients(game, x[:4]).third.shape == (4, 0)


def test_odd_coefficients_equal_brute_force():
    model, predict, x = CASES["histogram"]
    (tree,) = ensembles(model)
    game = TreeGame.of(tree, x[:20])
    found = odd_coefficients(game, x[100:140])
    truth = brute_values(predict, model, x[100:140], x[:20])[:, :, 0]
    signs = np.where(CODES, 1.0, -1.0)
    np.testing.assert_allclose(found.main, truth @ signs / len(CODES), atol=1e-12)
    np.testing.assert_allclose(found.third, truth @ signs[:, found.triples].prod(axis=2) / len(CODES), atol=1e-12)
    unlisted = [t for t in [(0, 1, 2), (0, 2, 5), (1, 3, 5)] if t not in set(map(tuple, found.triples.tolist()))]
    for t in unlisted:
        np.testing.assert_allclose(truth @ signs[:, t].prod(axis=1), 0.0, atol=1e-12)


def test_spectrum_finds_the_interaction_that_exists():
    rng = generator(0, "spectrum test")
    x = rng.normal(size=(4000, D))
    y = np.sign(x[:, 1] * x[:, 2] * x[:, 4]) + x[:, 0]
    games = [TreeGame.of(ensembles(HistGradientBoostingRegressor(max_depth=4).fit(x[half::2], y[half::2]))[0], x[:50]) for half in (0, 1)]
    found = spectrum(*games, x[50:100])
    assert tuple(found.triples[found.energy.argmax()]) == (1, 2, 4)
    assert found.energy.max() > 0.9 * found.energy.sum()
    assert found.main.argmax() == 0
    assert found.main_left[0] < 0.1 * found.main[0]
    assert found.trusted
    assert found.agreement > 0.8
    alone = [
        TreeGame.of(ensembles(HistGradientBoostingRegressor(max_depth=4).fit(x, rng.normal(size=len(x))))[0], x[:50]) for _ in range(2)
    ]
    assert spectrum(*alone, x[50:100]).agreement < 0.3  # of noise nothing is shared


def test_bad_input_is_named():
    x, y = table(missing=False)
    (tree,) = ensembles(CASES["tree"][0])
    game = TreeGame.of(tree, x[:3])
    with pytest.raises(ShapeError, match="6 columns"):
        game.shapley(x[:, :5])
    with pytest.raises(ShapeError, match="codes"):
        game.values(x, CODES.astype(int))
    with pytest.raises(ShapeError, match="weights"):
        TreeGame.of(tree, x[:3], weights=[1.0])
    with pytest.raises(InputError, match="non-negative"):
        TreeGame.of(tree, x[:3], weights=[1.0, -1.0, 1.0])
    with pytest.raises(InputError, match="background"):
        TreeGame.of(tree, x[:0])
    with pytest.raises(OptionError, match="LinearRegression"):
        ensembles(LinearRegression().fit(x, y))
    rng = generator(0, "deep")
    wide = rng.normal(size=(2000, 20))
    with pytest.raises(OptionError, match="max_depth"):
        ensembles(DecisionTreeRegressor().fit(wide, wide.sum(axis=1)))
    levels = np.concatenate([rng.integers(0, 8, size=(300, 1)), x[:300, 1:]], axis=1)
    categorical = HistGradientBoostingRegressor(categorical_features=[0]).fit(levels, np.isin(levels[:, 0], [1, 4, 6]).astype(float))
    with pytest.raises(OptionError, match="categories"):
        ensembles(categorical)


def test_another_node_layout_is_named():
    class Predictor:
        nodes = np.zeros(1, dtype=[("value", float)])

    class Boosting:
        n_features_in_ = 2
        _predictors = ((Predictor(),),)
        _baseline_prediction = np.zeros(1)

    with pytest.raises(OptionError, match="feature_idx"):
        ensembles(Boosting())
