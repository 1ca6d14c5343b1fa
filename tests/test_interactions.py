"""Pairwise interactions: by definition where all coalitions are asked, close and with honest errors where they are not."""

from dataclasses import replace
from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier

import whybox as wb
from whybox.errors import BudgetError, InputError, OptionError, ShapeError
from whybox.samplers import coalitions
from whybox.solvers.pair_interactions import solve_pairs
from whybox.solvers.pair_kernel import PairCovariance, pair_variance, sum_variance


def all_codes(d):
    return (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(bool)


def by_definition(v):
    """Shapley interaction indices of a game v (2^d,): the weighted mean of what two features add together beyond what each adds alone."""
    d = int(np.log2(len(v)))
    out = np.zeros((d, d))
    for i, j in combinations(range(d), 2):
        for s in range(2**d):
            if not s >> i & 1 and not s >> j & 1:
                size = s.bit_count()
                weight = factorial(d - size - 2) * factorial(size) / factorial(d - 1)
                out[i, j] += weight * (v[s | 1 << i | 1 << j] - v[s | 1 << i] - v[s | 1 << j] + v[s])
    return out + out.T


def by_regression(codes, v, none, full):
    """What one would write first: ordinary least squares on products of two features. The saboteur of the tests of accuracy."""
    d = codes.shape[1]
    first, second = np.triu_indices(d, 1)
    z = np.concatenate([codes, np.zeros((1, d)), np.ones((1, d))]).astype(float)
    design = np.concatenate([np.ones((len(z), 1)), z, z[:, first] * z[:, second]], axis=1)
    found = np.linalg.lstsq(design, np.append(v, [none, full]), rcond=None)[0]
    out = np.zeros((d, d))
    out[first, second] = found[1 + d :]
    return out + out.T


def tree_games(rows=6, d=12):
    """Games (rows, 2^d) of boosted trees, and their indices."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(800, d))
    y = x[:, 0] * x[:, 1] + 2.0 * (x[:, 2] > 0) * x[:, 3] + np.maximum(x[:, 4], x[:, 5]) + x[:, 6]
    model = GradientBoostingRegressor(n_estimators=30, max_depth=6, random_state=0).fit(x, y)
    codes = all_codes(d)
    background = x[:5]
    games = np.array(
        [model.predict(np.where(codes[:, None], row, background).reshape(-1, d)).reshape(len(codes), -1).mean(axis=1) for row in x[-rows:]]
    )
    return games, np.array([exact_index(game) for game in games])


def exact_index(game):
    codes = all_codes(int(np.log2(len(game))))
    half = codes[1 : len(codes) // 2]
    pairs = np.stack([half, ~half], axis=1).reshape(-1, codes.shape[1])
    found = solve_pairs(pairs, game[None, place(pairs)], game[:1], game[-1:])
    assert found.method == "exact"
    return found.index[0]


def place(codes):
    return codes @ (1 << np.arange(codes.shape[1]))


@pytest.mark.parametrize("d", [2, 3, 6])
def test_all_coalitions_give_the_definition(d):
    game = np.random.default_rng(d).normal(size=2**d)
    np.testing.assert_allclose(exact_index(game), by_definition(game), atol=1e-12)


def test_an_explainer_gives_the_definition_on_a_model():
    rng = np.random.default_rng(0)
    b, x = rng.normal(size=(7, 5)), rng.normal(size=(3, 5))

    def model(rows):
        return rows[:, 0] * rows[:, 1] + np.sin(rows[:, 2] * rows[:, 3]) * rows[:, 4]

    found = wb.KernelSHAP(model, b).interactions(x)
    for row, mine in zip(x, found.index, strict=True):
        game = np.array([model(np.where(code, row, b)).mean() for code in all_codes(5)])
        np.testing.assert_allclose(mine, by_definition(game), atol=1e-12)
    assert found.estimator == "exact"
    assert not found.std_error.any()


def test_rows_of_the_matrix_add_up_to_what_explain_says():
    rng = np.random.default_rng(1)
    b, x = rng.normal(size=(10, 12)), rng.normal(size=(4, 12))

    def model(rows):
        return np.tanh(rows[:, :6].sum(axis=1)) * rows[:, 6]

    explainer = wb.KernelSHAP(model, b)
    found, alone = explainer.interactions(x, budget=200, seed=3), explainer.explain(x, budget=200, seed=3)
    np.testing.assert_array_equal(found.attribution.values, alone.values)
    np.testing.assert_allclose(found.values.sum(axis=2), alone.values, atol=1e-12)
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=(1, 2)), alone.predictions, atol=1e-12)
    np.testing.assert_array_equal(found.values, found.values.transpose(0, 2, 1))
    assert found.stats.n_rows == alone.stats.n_rows
    assert (found.std_error[:, np.arange(12), np.arange(12)] > alone.std_error).all()  # main effects are less certain than the values


def test_covariances_are_sums_over_the_terms_of_the_game():
    rng = np.random.default_rng(2)
    d, q = 5, np.array([0.1, 0.5, 0.02, 0.3, 0.25])
    z = np.where(rng.random((7, d)) < 0.5, -1.0, 1.0)
    pairs, single = np.zeros((d, d)), np.zeros(d)
    cross, sums = np.zeros((d, 7, d)), np.zeros((7, d))
    for size in (2, 4):
        for term in combinations(range(d), size):
            members, variance = list(term), q[list(term)].prod()
            sign = z[:, members].prod(axis=1)
            for i in members:
                single[i] += 16 * variance
                sums[:, i] += 4 * variance * sign
                for j in set(members) - {i}:
                    pairs[i, j] += 16 * variance / (size - 1) ** 2
                    cross[i, :, j] += 4 * variance * sign / (size - 1)
    found = PairCovariance(z, q)
    np.testing.assert_allclose(pair_variance(q), pairs, rtol=1e-6)
    np.testing.assert_allclose(sum_variance(q), single, rtol=1e-12)
    np.testing.assert_allclose(found.sums(), sums, atol=1e-14)
    for i in range(d):
        np.testing.assert_allclose(found.of(i), cross[i], atol=1e-14)


def test_few_coalitions_come_close_and_closer_than_regression():
    games, truth = tree_games()
    for asked, most in ((240, 0.06), (600, 0.01)):
        codes = coalitions(12, asked, np.random.default_rng(0))
        v = games[:, place(codes)]
        found = solve_pairs(codes, v, games[:, 0], games[:, -1]).index
        plain = np.array([by_regression(codes, *game) for game in zip(v, games[:, 0], games[:, -1], strict=True)])
        ours, theirs = (
            np.median(np.linalg.norm(part - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))) for part in (found, plain)
        )
        assert ours < most
        assert ours < 0.4 * theirs


def test_intervals_hold_the_exact_indices():
    games, truth = tree_games(rows=4)
    first, second = np.triu_indices(12, 1)
    inside, sums, narrow, large = [], [], [], []
    for seed in range(6):
        codes = coalitions(12, 150, np.random.default_rng(seed))
        found = solve_pairs(codes, games[:, place(codes)], games[:, 0], games[:, -1])
        off = np.abs(found.index - truth)[:, first, second]
        inside.append(off <= 1.96 * found.std_error[:, first, second])
        narrow.append(off <= 0.196 * found.std_error[:, first, second])
        sums.append(np.abs(found.index.sum(axis=2) - truth.sum(axis=2)) <= 1.96 * found.sum_error)
        strong = np.abs(truth[:, first, second]) > 0.1 * np.abs(truth).max()
        large.append(inside[-1][strong])
    assert np.mean(inside) >= 0.9
    assert np.mean(np.concatenate(large)) >= 0.9
    assert np.mean(sums) >= 0.85
    assert np.mean(narrow) < 0.6  # a tenth of the width is not enough, so the intervals are not simply huge


def test_features_that_only_work_together_are_found():
    """Signs of a product: no feature has a value of its own, and only the even part of the game says which two belong together."""
    rng = np.random.default_rng(0)
    d = 14
    codes = coalitions(d, 200, rng)
    z = np.where(codes, 1.0, -1.0)
    ends = np.array([1.0])
    found = solve_pairs(codes, (z[:, 3] * z[:, 9])[None], ends, ends)
    expected = np.zeros((d, d))
    expected[3, 9] = expected[9, 3] = 4.0
    np.testing.assert_allclose(found.index[0], expected, atol=0.01)


def test_without_interactions_there_are_none():
    rng = np.random.default_rng(0)
    b, x = rng.normal(size=(10, 15)), rng.normal(size=(3, 15))
    found = wb.KernelSHAP(lambda rows: rows @ np.arange(15.0), b).interactions(x, budget=140)
    off = found.index
    assert np.abs(off).max() < 1e-9
    assert found.std_error.max() < 1e-6


def test_a_row_depends_neither_on_its_neighbours_nor_on_the_batch():
    rng = np.random.default_rng(4)
    b, x = rng.normal(size=(6, 12)), rng.normal(size=(5, 12))

    def model(rows):
        return np.maximum(rows[:, :3].sum(axis=1), 0.0) * rows[:, 3]

    together = wb.KernelSHAP(model, b).interactions(x, budget=120)
    alone = wb.KernelSHAP(model, b, engine=wb.Engine(batch_size=7)).interactions(x[3:4], budget=120)
    np.testing.assert_array_equal(together.values[3], alone.values[0])
    np.testing.assert_array_equal(together.std_error[3], alone.std_error[0])
    repeated = wb.KernelSHAP(model, b).interactions(x[[3, 0, 3]], budget=120)
    np.testing.assert_array_equal(repeated.values[0], repeated.values[2])
    np.testing.assert_array_equal(repeated.values[0], alone.values[0])


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_units_of_the_output_do_not_matter(unit):
    games, _ = tree_games(rows=1)
    codes = coalitions(12, 120, np.random.default_rng(0))
    ends = games[:, 0], games[:, -1]
    one = solve_pairs(codes, games[:, place(codes)], *ends)
    other = solve_pairs(codes, unit * games[:, place(codes)], unit * ends[0], unit * ends[1])
    np.testing.assert_allclose(other.index, unit * one.index, rtol=1e-4, atol=1e-5 * unit)
    np.testing.assert_allclose(other.std_error, unit * one.std_error, rtol=1e-3, atol=1e-6 * unit)


@pytest.fixture(scope="module")
def classified():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(150, 5)), columns=["a", "b", "<c>", "d", "e"])
    y = np.where(x["a"] * x["b"] > 0, "same", "other")
    model = RandomForestClassifier(20, random_state=0).fit(x, y)
    return wb.KernelSHAP(model, x[:20]), x[100:106]


def test_outputs_rows_and_tables(classified):
    explainer, x = classified
    found = explainer.interactions(x)
    assert found.shape == (6, 5, 5, 2)
    np.testing.assert_allclose(found.values[..., 0], -found.values[..., 1], atol=1e-12)
    same = found.output("same")
    np.testing.assert_array_equal(same.values, found.values[..., 1])
    np.testing.assert_array_equal(explainer.interactions(x, target="same").values, same.values)
    assert same[2].values.shape == (5, 5)
    np.testing.assert_array_equal(same[[True, False, False, True, False, False]].values, same.values[[0, 3]])
    assert same.importance().loc[0, ["feature_1", "feature_2"]].tolist() == ["a", "b"]
    table = found.to_frame()
    assert len(table) == 6 * 10 * 2
    line = table[(table.row == 102) & (table.output == "same") & (table.feature_1 == "a") & (table.feature_2 == "b")].iloc[0]
    assert line.interaction == 2.0 * found.values[2, 0, 1, 1]
    assert same[2].to_frame().row.unique().tolist() == [102]
    np.testing.assert_array_equal(same.index[:, 0, 1], 2.0 * same.values[:, 0, 1])
    low, high = same.interval()
    assert (low <= same.values).all()
    assert (same.values <= high).all()
    assert "<c>" not in found._repr_html_()
    assert "&lt;c&gt;" in found._repr_html_()
    assert repr(same).startswith("<Interactions by KernelSHAP (exact): 6 rows, 5 features, ")


def test_plots_show_what_is_strongest(classified):
    explainer, x = classified
    found = explainer.interactions(x).output("same")
    axes = found.plot(max_display=3)
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert set(shown[:2]) == {"a", "b"}
    numbers = [text.get_text() for text in axes.texts]
    assert f"{np.abs(found.index[:, 0, 1]).mean():.3f}" in numbers  # at most 1, so that a hundredth of the largest still shows
    assert "3 of 5 features" in axes.get_xlabel()
    signs = {text.get_text().strip("(")[0] for text in found[0].plot().texts}
    assert signs <= {"+", "−"}
    large = replace(found, values=1e5 * found.values, std_error=1e5 * np.abs(found.values))
    texts = {text.get_text() for text in large.plot().texts}
    assert max(map(len, texts)) <= len("(10.00)")  # in powers of ten
    assert all(text.startswith("(") for text in texts)  # nothing is more than its error
    assert "times 10^" in large.plot().get_xlabel()
    with pytest.raises(OptionError, match="output"):
        explainer.interactions(x).plot()


def test_what_an_explanation_has_paid_for_serves_interactions(tmp_path, classified):
    explainer, x = classified
    explained = explainer.explain(x, checkpoint=tmp_path / "log")
    found = explainer.interactions(x, checkpoint=tmp_path / "log")
    assert explained.n_queries > 0
    assert found.n_queries == 0
    np.testing.assert_array_equal(found.attribution.values, explained.values)


def test_a_file_brings_everything_back(tmp_path, classified):
    explainer, x = classified
    found = explainer.interactions(x)
    for one in (found, found[2], found.output("same")):
        one.save(tmp_path / "pairs.npz")
        back = wb.Interactions.load(tmp_path / "pairs.npz")
        np.testing.assert_array_equal(back.values, one.values)
        np.testing.assert_array_equal(back.std_error, one.std_error)
        np.testing.assert_array_equal(back.attribution.values, one.attribution.values)
        assert back.to_frame().equals(one.to_frame())
        assert repr(back) == repr(one)
    with pytest.raises(InputError, match=r"whybox\.attribution"):
        wb.Attribution.load(tmp_path / "pairs.npz")
    found.attribution.save(tmp_path / "values.npz")
    with pytest.raises(InputError, match=r"whybox\.interactions"):
        wb.Interactions.load(tmp_path / "values.npz")


def test_groups_and_log_odds():
    rng = np.random.default_rng(0)
    b, x = rng.normal(size=(8, 4)), rng.normal(size=(2, 4))

    def model(rows):
        return 1.0 / (1.0 + np.exp(-(rows[:, 0] + rows[:, 1] * rows[:, 2])))

    plain = wb.KernelSHAP(model, b[:1], link="logit").interactions(x)
    assert np.abs(plain.index[:, 0]).max() < 1e-9  # additive in log-odds against one background row
    assert np.abs(plain.index[:, 1, 2]).min() > 1e-6
    grouped = wb.KernelSHAP(model, space=wb.spaces.Groups(wb.spaces.Marginal(b), {"first": [0], "both": [1, 2], "last": [3]})).interactions(
        x
    )
    assert grouped.shape == (2, 3, 3)
    assert grouped.feature_names == ("first", "both", "last")


def test_too_few_pairs_say_that_they_do_not_know():
    """A rule of six features, seen by none of 20 pairs, must not be 0 +- 0."""
    rng = np.random.default_rng(1)
    codes = coalitions(20, 40, rng)
    flat = codes @ np.arange(20.0)
    found = solve_pairs(codes, flat[None], np.zeros(1), np.array([190.0]))
    assert np.isnan(found.std_error[0, 0, 1])
    many = coalitions(20, 200, rng)
    found = solve_pairs(many, (many @ np.arange(20.0))[None], np.zeros(1), np.array([190.0]))
    assert not found.std_error.any()


def test_all_coalitions_are_all_of_them():
    codes = all_codes(3)[1:4]
    pairs = np.stack([codes, ~codes], axis=1).reshape(-1, 3)
    pairs[2:4] = pairs[:2]
    with pytest.raises(InputError, match="twice"):
        solve_pairs(pairs, np.zeros((1, 6)), np.zeros(1), np.ones(1))


def test_unnamed_outputs_are_told_apart_in_html():
    rng = np.random.default_rng(0)
    found = wb.KernelSHAP(lambda rows: rows[:, :2] * rows[:, 1:], rng.normal(size=(4, 3))).interactions(rng.normal(size=(2, 3)))
    assert "<th>output</th>" in found._repr_html_()
    single = wb.KernelSHAP(lambda rows: rows[:, 0] * rows[:, 1], rng.normal(size=(4, 3))).interactions(rng.normal(size=(2, 3)))
    assert "<th>output</th>" not in single._repr_html_()
    np.testing.assert_array_equal(single.index_std_error, 2.0 * single.std_error)


def test_one_feature_has_no_partner():
    found = wb.KernelSHAP(lambda rows: rows[:, 0] ** 2, np.zeros((1, 1))).interactions([[3.0]])
    assert found.values.tolist() == [[[9.0]]]


def test_what_cannot_be_is_refused_by_name():
    rng = np.random.default_rng(0)
    b = rng.normal(size=(5, 12))

    def model(rows):
        return rows[:, 0] * rows[:, 1]

    with pytest.raises(OptionError, match="without l1_reg"):
        wb.KernelSHAP(model, b, l1_reg=3).interactions(b)
    with pytest.raises(OptionError, match="without fit"):
        wb.KernelSHAP(model, b).fit(b, budget=500).interactions(b)
    with pytest.raises(BudgetError, match="3,000 coalitions"):
        wb.KernelSHAP(model, b).interactions(b, budget=3500)
    sent = []

    def counted(rows):
        sent.append(len(rows))
        return rows[:, 0]

    with pytest.raises(BudgetError, match="raise it to 4,096"):
        wb.KernelSHAP(counted, b).interactions(b, budget=3500)
    assert sum(sent) <= 6  # the rows themselves, and one of them again: refused before the coalitions are paid for
    wide = rng.normal(size=(2, 300))
    with pytest.raises(InputError, match="256 features"):
        wb.KernelSHAP(model, wide).interactions(wide, budget=200)
    with pytest.raises(InputError, match="features of their own"):
        wb.KernelSHAP(lambda texts: np.array([float("a" in t) for t in texts]), space=wb.spaces.Words()).interactions(["a b c"])
    with pytest.raises(AttributeError, match="interactions"):
        wb.KernelSHAP(model, b).shap_interaction_values  # noqa: B018  # the name of another library
    found = wb.KernelSHAP(model, b).interactions(b, budget=60)
    for key in ((0, 1), "x0", ...):
        with pytest.raises(OptionError, match="rows"):
            found[key]
    with pytest.raises(OptionError, match="rows"):
        found[0][0]
    with pytest.raises(OptionError, match="probability"):
        found.interval(95)
    with pytest.raises(ShapeError, match="matrix for each row"):
        wb.Interactions(values=found.values[:, :3], std_error=found.std_error, attribution=found.attribution)
