"""KernelSHAP, PermutationSHAP, ExactSHAP and Occlusion on whole models: right values, honest options, counted queries."""

import copy
import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
import shap
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier

import whybox as wb
from whybox.errors import BudgetError, InputError, OptionError, OutputShapeError
from whybox.testing import RecordingModel


def curved(rows):
    """Third order, on six features."""
    return rows[:, 0] * rows[:, 1] * rows[:, 2] + np.maximum(rows[:, 3], 0.0) * rows[:, 4] + 0.5 * rows[:, 5]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    return rng.normal(size=(7, 6)), rng.normal(size=(12, 6))


@pytest.fixture(scope="module")
def cancer():
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = GradientBoostingClassifier(n_estimators=40, random_state=0).fit(x.iloc[:400], y[:400])
    background, explained = x.iloc[:50], x.iloc[400:412]
    truth = shap.TreeExplainer(model, background.to_numpy(), feature_perturbation="interventional", model_output="raw")
    return model, background, explained, truth.shap_values(explained.to_numpy())


def relative_error(values, truth):
    return float(np.median(np.linalg.norm(values - truth, axis=1) / np.linalg.norm(truth, axis=1)))


def test_exact_equals_shaps_exact_explainer(rows):
    x, background = rows
    theirs = shap.ExactExplainer(curved, shap.maskers.Independent(background, max_samples=100))(x)
    ours = wb.ExactSHAP(curved, background).explain(x)
    np.testing.assert_allclose(ours.values, theirs.values, atol=1e-12)
    np.testing.assert_allclose(ours.base_values, theirs.base_values, atol=1e-12)
    assert (ours.std_error == 0).all()


def test_kernel_shap_is_exact_where_the_budget_covers_everything(rows):
    x, background = rows
    exact = wb.ExactSHAP(curved, background).explain(x)
    e = wb.KernelSHAP(curved, background).explain(x)
    assert e.estimator == "exact"
    np.testing.assert_allclose(e.values, exact.values, atol=1e-12)


def test_kernel_shap_equals_tree_shap_within_its_standard_errors(cancer):
    model, background, x, truth = cancer
    e = wb.KernelSHAP(model.decision_function, background).explain(x, budget=300)
    assert relative_error(e.values, truth) < 0.06
    assert np.mean(np.abs(e.values - truth) <= 1.96 * e.std_error) > 0.85


def test_more_coalitions_come_closer(cancer):
    model, background, x, truth = cancer
    errors = [relative_error(wb.KernelSHAP(model.decision_function, background).explain(x, budget=m).values, truth) for m in (60, 240, 960)]
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]


@pytest.mark.parametrize("make", [wb.KernelSHAP, wb.PermutationSHAP])
def test_values_add_up_to_the_prediction(make, cancer):
    model, background, x, _ = cancer
    e = make(model, background).explain(x, budget=90)
    np.testing.assert_allclose(e.values.sum(axis=1) + e.base_values, model.predict_proba(x), atol=1e-12)
    np.testing.assert_allclose(e.base_values[0], model.predict_proba(background).mean(axis=0), atol=1e-12)


def test_estimators_and_samplings_agree_in_the_limit(rows):
    x, background = rows
    exact = wb.ExactSHAP(curved, background).explain(x).values
    for estimator in ("odd GP", "least squares"):
        for sampling in ("leverage", "kernel", "chain", "border"):
            e = wb.KernelSHAP(curved, background, estimator=estimator, sampling=sampling).explain(x, budget=50)
            assert e.estimator == estimator
            assert relative_error(e.values, exact) < 0.1


def test_a_fitted_surrogate_lowers_the_error(cancer):
    model, background, x, truth = cancer
    everything = load_breast_cancer(as_frame=True).data.iloc[:400]
    plain = wb.KernelSHAP(model.decision_function, background)
    fitted = plain.fit(everything, budget=20_000)
    assert plain.surrogate is None
    assert fitted.surrogate.n_queries >= 20_000
    assert len(repr(fitted.surrogate)) < 120
    assert fitted.surrogate.trusted
    without, with_ = (np.mean([relative_error(e.explain(x, budget=60, seed=s).values, truth) for s in range(3)]) for e in (plain, fitted))
    assert with_ < 0.8 * without
    e = fitted.explain(x, budget=90)
    assert np.mean(np.abs(e.values - truth) <= 1.96 * e.std_error) > 0.85
    np.testing.assert_array_equal(fitted.explain(x.iloc[3:5], budget=90).values, e.values[3:5])


def test_a_surrogate_of_something_else_is_refused(rows):
    x, background = rows
    with pytest.raises(OptionError, match="surrogate"):
        wb.KernelSHAP(lambda r: r[:, 0], background, surrogate=3)
    fitted = wb.KernelSHAP(lambda r: r[:, 0] * r[:, 1], background).fit(x, budget=300)
    with pytest.raises(OptionError, match="fitted to 1 outputs"):
        dataclasses.replace(fitted, model=lambda r: r[:, :2]).explain(x, budget=20)


def test_a_surrogate_that_knows_nothing_does_no_harm(rows):
    x, background = rows
    plain = wb.KernelSHAP(curved, background)
    exact = wb.ExactSHAP(curved, background).explain(x).values
    misled = wb.KernelSHAP(
        curved, background, surrogate=wb.KernelSHAP(lambda r: np.sin(40 * r.sum(axis=1)), background).fit(x, budget=500).surrogate
    )
    assert (
        relative_error(misled.explain(x, budget=40).values, exact) < 2.0 * relative_error(plain.explain(x, budget=40).values, exact) + 1e-9
    )


def test_raw_columns_are_one_feature_each():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"job": rng.choice(["baker", "nurse", "pilot"], 300), "age": rng.integers(20, 70, 300), "city": rng.choice(["A", "B"], 300)}
    )
    frame = frame.astype({"job": "category", "city": "category"})
    y = (frame["job"] == "pilot") | (frame["age"] > 55)
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features="from_dtype", random_state=0).fit(frame, y)
    e = wb.KernelSHAP(model, frame.iloc[:40]).explain(frame.iloc[50:55], target=1)
    assert e.feature_names == ("job", "age", "city")
    assert np.abs(e.values).mean(axis=0).argmin() == 2
    fitted = wb.KernelSHAP(model, frame.iloc[:40]).fit(frame, budget=1000).explain(frame.iloc[50:55], target=1, budget=4)
    assert relative_error(fitted.values, e.values) < 0.2


def test_discrete_rows_are_asked_once():
    rng = np.random.default_rng(0)
    x, background = (rng.integers(0, 3, (n, 8)).astype(float) for n in (20, 50))
    model = RecordingModel(lambda r: r[:, 0] * r[:, 1] - r[:, 2] ** 2 + r[:, 3:].sum(axis=1))
    e = wb.ExactSHAP(model, background).explain(x)
    assert e.n_queries == model.n_rows <= 6600


def test_a_timestamp_column_keeps_its_credit():
    start = 1_700_000_000_000_000_000
    rng = np.random.default_rng(0)
    x = np.stack([start + rng.integers(0, 3600 * 10**9, 20), rng.integers(0, 5, 20)], axis=1)
    model = lambda r: (r[:, 0] - start) / 3.6e12 + 0.0 * r[:, 1]  # noqa: E731
    e = wb.ExactSHAP(model, x[5:]).explain(x[:5])
    seconds = (x[:, 0] - start) / 3.6e12
    np.testing.assert_allclose(e.values, np.stack([seconds[:5] - seconds[5:].mean(), np.zeros(5)], axis=1), atol=1e-12)


def test_tolerance_is_met_and_costs_no_more_than_it_must(cancer):
    model, background, x, _ = cancer
    explainer = wb.KernelSHAP(model, background)
    loose, tight = (explainer.explain(x, target=1, tol=tol) for tol in (0.02, 0.004))
    assert loose.std_error.max() <= 0.02
    assert tight.std_error.max() <= 0.004
    assert loose.n_queries < tight.n_queries
    np.testing.assert_array_equal(explainer.explain(x.iloc[2:3], target=1, tol=0.004).values, tight.values[2:3])


def test_a_tolerance_out_of_reach_is_said(cancer):
    model, background, x, _ = cancer
    with pytest.warns(wb.ToleranceWarning, match="was not reached with 60 coalitions"):
        wb.KernelSHAP(model, background).explain(x, tol=1e-9, budget=60)


def test_budget_in_model_rows_is_kept(rows):
    x, background = rows
    model = RecordingModel(curved)
    wb.KernelSHAP(model, background, engine=wb.Engine(controls=False, dedupe=False)).explain(x[:1], budget=wb.Budget(rows=250))
    assert model.n_rows <= 250 + len(background) + 1
    with pytest.raises(BudgetError, match="less than one coalition"):
        wb.KernelSHAP(curved, background).explain(x, budget=wb.Budget(rows=3))


@pytest.mark.parametrize("budget", [0, -5, 2.5, "many", True])
def test_a_budget_that_is_no_count_is_refused(budget, rows):
    x, background = rows
    for make in (wb.KernelSHAP, wb.PermutationSHAP):
        with pytest.raises(OptionError, match="budget"):
            make(curved, background).explain(x, budget=budget)


def test_targets(cancer):
    model, background, x, _ = cancer
    explainer = wb.PermutationSHAP(model, background)
    everything = explainer.explain(x)
    predicted = explainer.explain(x, target="predicted")
    classes = model.predict_proba(x).argmax(axis=1)
    np.testing.assert_allclose(predicted.values, everything.values[np.arange(len(x)), :, classes], atol=1e-14)
    for name in ("1", 1, -1):
        np.testing.assert_allclose(explainer.explain(x, target=name).values, everything.values[..., 1], atol=1e-14)
    for wrong in ("2", 2, 1.5):
        with pytest.raises(OptionError, match="target"):
            explainer.explain(x, target=wrong)


@pytest.mark.parametrize(("classes", "wrong", "right"), [((1, 2, 3), 1, "1"), ((-1, 1), -1, "-1"), ((3, 1, 0), 0, "0")])
def test_a_position_that_reads_as_another_class_is_refused(rows, classes, wrong, right):
    x, background = rows
    names = tuple(map(str, classes))
    model = wb.as_model(lambda r: np.stack([r[:, j] for j in range(len(names))], axis=1), output_names=names)
    explainer = wb.ExactSHAP(model, background)
    with pytest.raises(OptionError, match="pass the name you mean"):
        explainer.explain(x, target=wrong)
    assert set(explainer.explain(x, target=right).target_index) == {names.index(right)}
    assert explainer.explain(x, target=len(names) - 1 if len(names) == 2 else right).values.ndim == 2


@pytest.mark.parametrize("explainer", [wb.KernelSHAP, wb.PermutationSHAP, wb.ExactSHAP, wb.Occlusion])
def test_a_neighbourhood_is_no_game(rows, explainer):
    x, background = rows
    with pytest.raises(OptionError, match="features can be left out"):
        explainer(lambda r: r[:, 0], space=wb.spaces.Neighborhood(background)).explain(x)


def test_logit_link_explains_log_odds(cancer):
    model, background, x, _ = cancer
    e = wb.KernelSHAP(model, background, link="logit").explain(x, target=1, budget=100)
    np.testing.assert_allclose(e.values.sum(axis=1) + e.base_values, model.decision_function(x), atol=1e-9)
    np.testing.assert_allclose(e.predictions, model.decision_function(x), atol=1e-9)  # one unit for all of them
    assert "need not add up" not in e[0].to_text()
    with pytest.raises(InputError, match="strictly between 0 and 1"):
        wb.KernelSHAP(lambda r: (r[:, 0] > 15).astype(float), background.to_numpy(), link="logit").explain(x.to_numpy(), budget=100)


def test_grouped_columns_are_one_player(rows):
    x, background = rows
    space = wb.spaces.Groups(wb.spaces.Marginal(background), {"ab": [0, 1], "rest": [2, 3, 4, 5]})
    e = wb.ExactSHAP(curved, space=space).explain(x)
    mean = lambda r: curved(r).mean()  # noqa: E731
    for i in range(len(x)):
        full, empty = mean(x[i : i + 1]), mean(background)
        ab, rest = background.copy(), background.copy()
        ab[:, :2], rest[:, 2:] = x[i, :2], x[i, 2:]
        first = 0.5 * (mean(ab) - empty + full - mean(rest))
        np.testing.assert_allclose(e.values[i], [first, full - empty - first], atol=1e-12)


def test_weighted_background(rows):
    x, background = rows
    twice = wb.ExactSHAP(curved, np.concatenate([background, background[:4]])).explain(x)
    weights = np.where(np.arange(len(background)) < 4, 2.0, 1.0)
    once = wb.ExactSHAP(curved, space=wb.spaces.Marginal(background, weights)).explain(x)
    np.testing.assert_allclose(once.values, twice.values, atol=1e-12)


def test_occlusion_is_the_drop_without_a_feature(rows):
    x, background = rows
    e = wb.Occlusion(curved, background).explain(x)
    for j in range(6):
        without = np.repeat(x[:, None], len(background), axis=1)
        without[:, :, j] = background[:, j]
        np.testing.assert_allclose(e.values[:, j], curved(x) - curved(without.reshape(-1, 6)).reshape(7, -1).mean(axis=1), atol=1e-12)


def test_a_link_is_named():
    def logit(p):
        return np.log(p / (1 - p))

    with pytest.raises(OptionError, match=r'give its name, link="logit"'):
        wb.KernelSHAP(curved, np.zeros((1, 6)), link=logit)
    with pytest.raises(OptionError, match=r"expected .* got 'probit'$"):
        wb.ExactSHAP(curved, np.zeros((1, 6)), link="probit")


def test_a_background_is_needed(rows):
    for make in (wb.KernelSHAP, wb.PermutationSHAP, wb.ExactSHAP, wb.Occlusion):
        with pytest.raises(OptionError, match="background"):
            make(curved)


def test_l1_selection_keeps_as_many_as_asked_and_adds_up(cancer):
    model, background, x, _ = cancer
    e = wb.KernelSHAP(model, background, l1_reg=5).explain(x, target=1, budget=200)
    assert ((e.values != 0).sum(axis=1) <= 5).all()
    np.testing.assert_allclose(e.values.sum(axis=1) + e.base_values, e.predictions, atol=1e-12)
    assert np.array_equal(np.isnan(e.std_error), e.values == 0)
    plain = wb.KernelSHAP(model, background).explain(x, target=1, budget=1000)
    top = np.argsort(-np.abs(plain.values), axis=1)[:, :3]
    for seed in range(3):  # 100 pairs are too few for the lasso to find them whatever the draw
        sparse = wb.KernelSHAP(model, background, l1_reg=5).explain(x, target=1, budget=1000, seed=seed).values
        assert np.mean(np.take_along_axis(sparse, top, axis=1) != 0) > 0.9
    weights = np.zeros(30)
    weights[[3, 7]] = 2.0, -1.0
    sparse = wb.KernelSHAP(lambda r: r @ weights, background.to_numpy(), l1_reg="bic").explain(x.to_numpy(), budget=200)
    np.testing.assert_allclose(sparse.values, weights * (x.to_numpy() - background.to_numpy().mean(axis=0)), atol=1e-8)
    for wrong in (0, -1, "ten", 2.5, True):
        with pytest.raises(OptionError, match="l1_reg"):
            wb.KernelSHAP(model, background, l1_reg=wrong)


def test_a_tolerance_asks_an_exact_explainer_for_nothing_less():
    x = np.ones((1, 8))
    e = wb.ExactSHAP(lambda rows: rows.prod(axis=1) + rows[:, 0], np.zeros((1, 8))).explain(x, tol=0.1)
    np.testing.assert_allclose(e.values, [[1.125, *[0.125] * 7]])
    with pytest.raises(OptionError, match="tol"):
        wb.ExactSHAP(lambda rows: rows[:, 0], np.zeros((1, 8))).explain(x, tol=-1.0)


def test_columns_of_a_models_table_name_its_outputs():
    frame = pd.DataFrame({"u": [1.0, 2.0, 4.0], "v": [3.0, 4.0, 1.0]})

    def model(rows):
        return pd.DataFrame({"risk": rows.u * rows.v, "loss": rows.v})

    e = wb.ExactSHAP(model, frame).explain(frame)
    assert e.output_names == ("risk", "loss")
    np.testing.assert_array_equal(wb.ExactSHAP(model, frame).explain(frame, target="loss").values, e.values[..., 1])

    def turned(rows):
        return model(rows)[["risk", "loss"] if len(rows) == 3 else ["loss", "risk"]]

    def twice(rows):
        return pd.DataFrame(np.stack([rows.u, rows.v], axis=1), columns=["same", "same"])

    assert wb.ExactSHAP(twice, frame).explain(frame).output_names is None  # names that tell nothing apart are none
    with pytest.raises(OutputShapeError, match="columns"):
        wb.ExactSHAP(turned, frame).explain(frame)


def test_repeated_rows_are_asked_once_and_come_back_in_their_places():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 3))[rng.integers(0, 12_000, 20_000)]
    e = wb.Occlusion(curved3, np.zeros((1, 3))).explain(x)
    np.testing.assert_array_equal(e.predictions, curved3(x))
    assert e.n_queries < 4.3 * len(np.unique(x, axis=0))


def curved3(rows):
    return rows[:, 0] * rows[:, 1] + rows[:, 2]


@pytest.mark.parametrize(
    ("names", "target", "says"),
    [
        (("1", "2", "3"), 3, r"3 outputs, got position 3; for the class pass its name: target='3'$"),
        (None, 3, r"3 outputs, got position 3$"),
        (
            ("False", "True", "other"),
            True,
            r"got True; for the class pass its name: target='True'; the outputs are 'False', 'True', 'other'$",
        ),
        (("a", "b", "c"), pd.Series([1, 2]), r"got a Series; each call explains one output or all of them; the outputs are 'a', 'b', 'c'$"),
        (("1.0", "2.0", "3.0"), 2.0, r"got 2.0; for the class pass its name: target='2.0'; the outputs"),
    ],
)
def test_a_class_label_as_target_is_answered_with_its_name(names, target, says):
    model = wb.as_model(lambda x: np.stack([x[:, 0]] * 3, axis=1))
    model = dataclasses.replace(model, output_names=names) if names else model
    with pytest.raises(OptionError, match=says):
        wb.KernelSHAP(model, np.zeros((1, 2))).explain([[1.0, 2.0]], target=target)


HINTED = [wb.KernelSHAP, wb.LIME, wb.ExactSHAP, wb.PermutationSHAP, wb.PartitionSHAP, wb.Occlusion, wb.Anchors]


@pytest.mark.parametrize("kind", HINTED)
def test_an_explainer_answers_other_libraries_calls_with_its_own_name(kind):
    explainer = kind(np.sum, np.zeros((2, 2)))
    with pytest.raises(TypeError, match=r"explain\(x\)"):
        explainer(np.zeros((1, 2)))
    for name, says in (("shap_values", r"\.values"), ("expected_value", r"\.base_values"), ("explain_instance", "as_list")):
        assert not hasattr(explainer, name)
        with pytest.raises(AttributeError, match=f"{kind.__name__}.*{name}.*{says}"):
            getattr(explainer, name)
    with pytest.raises(AttributeError, match=r"no attribute 'explian'"):
        explainer.explian  # noqa: B018
    for other in (pickle.loads(pickle.dumps(explainer)), copy.copy(explainer), copy.deepcopy(explainer), dataclasses.replace(explainer)):
        assert type(other) is kind
        assert other.model is np.sum
