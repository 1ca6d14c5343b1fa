"""PartitionSHAP: Owen values by their definition, orders that keep branches together, branches that stay closed, trees of all kinds."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from whybox import PartitionSHAP
from whybox.engine import Engine
from whybox.errors import InputError, OptionError, SchemaError, ShapeError
from whybox.explainers import Budget, PermutationSHAP, ToleranceWarning
from whybox.samplers.tree_orders import tree_orders
from whybox.solvers.owen import owen_coalitions, solve_owen_exact
from whybox.spaces import Baseline, Groups, Marginal, Segments, Words
from whybox.spaces.hierarchy import partition_tree
from whybox.testing import RecordingModel, owen_values, shapley_values
from whybox.typing import Model

RNG = np.random.default_rng(3)
X, B = RNG.normal(size=(3, 6)), RNG.normal(size=(4, 6))
TREES = {
    "pairs": [[0, 1], [2, 3], [4, 5]],
    "a chain": [[[[[0, 1], 2], 3], 4], 5],
    "a flat list": [5, 3, 1, 0, 2, 4],
    "mixed": [[0, [3, 2]], [[1, 5], 4]],
}


def game(rows):
    return np.stack(
        [
            rows[:, 0] * rows[:, 1] * rows[:, 2] * rows[:, 5] + np.sin(rows[:, 3] * rows[:, 4]) + rows[:, 0] * rows[:, 4] * rows[:, 2],
            rows[:, 1] * rows[:, 2] + rows[:, 5] ** 2 * rows[:, 3] * rows[:, 1],
        ],
        axis=1,
    )


@pytest.mark.parametrize("name", TREES)
def test_values_are_owen_values_by_definition(name):
    e = PartitionSHAP(game, B, tree=TREES[name]).explain(X)
    np.testing.assert_allclose(e.values, owen_values(game, X, B, TREES[name]), atol=1e-12)
    assert e.estimator == "exact"
    assert (e.std_error == 0).all()
    assert e.conditions is None


def test_values_of_all_orders_are_shapley_values():
    """The reference itself: of two features every order keeps the branches together, and a root over singles too."""
    np.testing.assert_allclose(
        owen_values(game, X[:, :], B, TREES["pairs"]).sum(axis=1), shapley_values(game, X, B).sum(axis=1), atol=1e-12
    )
    two = lambda rows: rows[:, 0] * rows[:, 1]  # noqa: E731
    np.testing.assert_allclose(owen_values(two, X[:, :2], B[:, :2], [0, 1]), shapley_values(two, X[:, :2], B[:, :2]), atol=1e-12)


def test_values_equal_shaps_partition_explainer():
    """Figures of shap 0.51's ``explainers.Partition`` with all evaluations; it is not asked here because it compiles for 20 seconds."""
    x = np.array([[1.0, -0.5, 2.0, 0.3], [0.2, 1.5, -1.0, 0.8]])
    background = np.array([[0.0, 0.5, 1.0, -1.0], [1.0, 0.0, -0.5, 0.5], [-1.0, 1.0, 0.0, 0.0]])
    matrix = np.array([[0, 3, 0.1, 2], [1, 4, 0.2, 3], [2, 5, 0.3, 4]])
    e = PartitionSHAP(
        lambda rows: rows[:, 0] * rows[:, 1] * rows[:, 2] + np.sin(rows[:, 3] * rows[:, 1]) + rows[:, 0] * rows[:, 3] * rows[:, 2],
        background,
        tree=matrix,
    ).explain(x)
    theirs = [
        [0.09166666666666665, -0.40530426976697564, -0.30833333333333335, 0.3156746501614441],
        [-0.05000000000000003, 0.11715202278616477, -0.14333333333333342, 0.7913622427157959],
    ]
    np.testing.assert_allclose(e.values, theirs, atol=1e-14)
    np.testing.assert_allclose(e.base_values, -0.243141846201401, atol=1e-14)


def test_one_pair_of_orders_is_exact_without_higher_interactions():
    def second_order(rows):
        return rows[:, 0] * rows[:, 1] - 2.0 * rows[:, 2] + rows[:, 3] * rows[:, 4] * 0.5 + rows[:, 5] * rows[:, 0]

    e = PartitionSHAP(second_order, B, tree=TREES["mixed"]).explain(X, budget=10)
    np.testing.assert_allclose(e.values, owen_values(second_order, X, B, TREES["mixed"]), atol=1e-12)
    assert e.estimator == "orders"


def test_orders_are_unbiased_and_more_of_them_are_better():
    truth = owen_values(game, X, B, TREES["a flat list"])
    explainer = PartitionSHAP(game, B, tree=TREES["a flat list"])
    few = np.stack([explainer.explain(X, seed=seed, budget=10).values for seed in range(200)])
    error = few.std(axis=0) / np.sqrt(len(few))
    assert (np.abs(few.mean(axis=0) - truth) <= 4.0 * error + 1e-12).all()
    assert np.abs(few - truth).mean() > 0
    wide = RNG.normal(size=(1, 16))
    deep = PartitionSHAP(lambda rows: np.tanh(rows.sum(axis=1)) * rows[:, 3] + rows[:, 5] * rows[:, 9] * rows[:, 12], np.zeros((1, 16)))
    exact = deep.explain(wide, budget=10**6).values
    gaps = [np.mean([np.abs(deep.explain(wide, seed=s, budget=30 * p).values - exact).mean() for s in range(10)]) for p in (1, 4, 8)]
    assert gaps[0] > 1.5 * gaps[1] > 1.5 * gaps[2]


def test_orders_keep_branches_together_and_few_are_a_prefix_of_many():
    tree = partition_tree([[[0, 4], 2], [[1, 3, 5, 6], 7]], 8)
    many = tree_orders(tree, 16, np.random.default_rng(0))
    for branch in ([0, 4], [0, 4, 2], [1, 3], [5, 6], [1, 3, 5, 6]):
        assert (np.ptp(many.place[:, branch], axis=1) == len(branch) - 1).all()
    assert (np.sort(many.place, axis=1) == np.arange(8)).all()
    few = tree_orders(tree, 5, np.random.default_rng(0))
    assert np.array_equal(few.place, many.place[:5])
    level = tree.depth == 2  # two coins above a node that is two levels down: four orders see all four
    assert {tuple(pair) for pair in np.stack([many.first[:4, 1], many.first[:4, np.flatnonzero(level)[0]]], axis=1).tolist()} == {
        (0, 0), (0, 1), (1, 0), (1, 1)
    }  # fmt: skip


def test_exact_cost_counts_the_coalitions():
    for nested, d in ((TREES["mixed"], 6), ([0, 1], 2), ([0], 1), (list(range(11)), 11)):
        tree = partition_tree(nested, d)
        codes = owen_coalitions(tree)
        assert len(codes) == tree.exact_cost
        assert len(np.unique(codes, axis=0)) == len(codes)
        assert solve_owen_exact(tree, np.zeros((2, len(codes))), np.zeros(2), np.ones(2)).shape == (2, d)


# --- branches that stay closed --------------------------------------------------------------------------------------------------------


def sparse(rows):
    return 2.0 * rows[:, 3] + rows[:, 50] - rows[:, 51]


WIDE = RNG.normal(size=(4, 100)) + 3.0


def test_only_branches_that_matter_are_opened():
    model = RecordingModel(sparse)
    e = PartitionSHAP(model, space=Baseline(np.zeros(100)), engine=Engine(controls=False)).explain(WIDE, tol=0.01)
    expected = np.zeros((4, 100))
    expected[:, [3, 50, 51]] = WIDE[:, [3, 50, 51]] * [2.0, 1.0, -1.0]
    np.testing.assert_allclose(e.values, expected, atol=1e-9)
    assert (e.std_error <= 0.01).all()
    assert model.n_rows < 4 * 60  # a pair of orders alone takes 198 a row
    assert e.conditions is not None


def test_a_closed_branch_is_shared_evenly_and_says_so():
    e = PartitionSHAP(sparse, space=Baseline(np.zeros(100)), tree=list(range(100))).explain(WIDE[:1], budget=20)
    np.testing.assert_allclose(e.values.sum(axis=1), e.predictions - e.base_values)
    shared = np.array([None if told is None else int(told.split("shared by ")[1][:-1]) for told in e.conditions[0]], dtype=object)
    closed = np.array([size is not None for size in shared])
    assert closed.any()
    for size in set(shared[closed]):
        assert (shared == size).sum() % size == 0
    where = np.flatnonzero(shared == shared[3]) if closed[3] else np.array([3])
    assert np.ptp(e.values[0, [j for j in where if abs(j - 3) < 3]]) < 1e-12 or not closed[3]
    held = np.abs(e.values[0] * np.where(closed, shared, 1).astype(float))
    allowed = held * np.sqrt(np.where(closed, shared, 1).astype(float) - 1) / np.where(closed, shared, 1).astype(float)
    assert (e.std_error[0] >= allowed - 1e-9).all()
    assert "shared by" in e[0].to_text()


def test_no_budget_at_all_shares_everything():
    e = PartitionSHAP(sparse, space=Baseline(np.zeros(100))).explain(WIDE[:2], budget=1)
    np.testing.assert_allclose(e.values, np.repeat((e.predictions - e.base_values)[:, None] / 100, 100, axis=1))
    assert e.estimator == "orders, some branches closed"


def test_tolerance_ends_at_the_exact_values_where_these_cost_less():
    e = PartitionSHAP(game, B, tree=TREES["mixed"]).explain(X, tol=1e-9)
    np.testing.assert_allclose(e.values, owen_values(game, X, B, TREES["mixed"]), atol=1e-12)
    assert (e.std_error == 0).all()


def test_tolerance_out_of_reach_is_said():
    deep = PartitionSHAP(lambda rows: np.tanh(rows.sum(axis=1)) * rows[:, 3], np.zeros((1, 40)))
    with pytest.warns(ToleranceWarning, match="raise budget"):
        deep.explain(RNG.normal(size=(1, 40)), tol=1e-9, budget=200)


def test_rows_are_opened_each_by_its_own_branches_and_alone_as_among_others():
    explainer = PartitionSHAP(lambda rows: rows[:, 3] ** 2 + rows[:, 60] * rows[:, 61] * rows[:, 3], space=Baseline(np.zeros(100)))
    together = explainer.explain(WIDE, tol=0.02)
    for i in (0, 3):
        alone = explainer.explain(WIDE[[i]], tol=0.02)
        assert np.array_equal(alone.values[0], together.values[i])
        assert np.array_equal(alone.std_error[0], together.std_error[i])


def test_budget_is_kept():
    for budget in (7, 60, 199, 500):
        model = RecordingModel(lambda rows: np.tanh(rows.sum(axis=1)))
        PartitionSHAP(model, space=Baseline(np.zeros(100)), engine=Engine(controls=False)).explain(WIDE[:1], budget=budget)
        assert model.n_rows <= budget + 2
    model = RecordingModel(sparse)
    PartitionSHAP(model, np.zeros((5, 100)), engine=Engine(controls=False)).explain(WIDE[:1], budget=Budget(rows=100))
    assert model.n_rows <= 100 + 5 + 1


# --- trees ----------------------------------------------------------------------------------------------------------------------------


def test_columns_that_vary_together_stand_together():
    z = RNG.normal(size=(300, 3))
    frame = pd.DataFrame({"a": z[:, 0], "b": z[:, 1], "c": -z[:, 0] + 0.05 * RNG.normal(size=300), "d": z[:, 2]})
    frame["kind"] = np.where(z[:, 1] > 0, "high", "low")
    frame["constant"] = 1.0
    nested = Marginal(frame).bind(frame.head(1), Model(lambda rows: rows)).tree(0)

    def leaves(node):
        return {node} if isinstance(node, int) else set().union(*map(leaves, node))

    def branches(node):
        return [] if isinstance(node, int) else [leaves(node), *(found for child in node for found in branches(child))]

    assert {0, 2} in branches(nested)
    assert {1, 4} in branches(nested)


def test_groups_have_a_tree_of_groups():
    z = RNG.normal(size=(200, 2))
    background = np.column_stack([z[:, 0], z[:, 1], RNG.normal(size=200), z[:, 0], z[:, 1]])
    space = Groups(Marginal(background), {"left": [0, 2], "right": [1]})
    bound = space.bind(background[:2], Model(lambda rows: rows))
    assert bound.feature_names(0) == ("left", "right", "feature 3", "feature 4")
    tree = bound.tree(0)
    assert sorted(map(sorted, tree)) == [[0, 2], [1, 3]]
    e = PartitionSHAP(lambda rows: rows[:, 0] * rows[:, 3] + rows[:, 1], space=space).explain(background[:2])
    np.testing.assert_allclose(e.values.sum(axis=1), e.predictions - e.base_values)


def test_a_tree_of_names_and_a_linkage_matrix_are_taken():
    frame = pd.DataFrame(X, columns=list("abcdef"))
    background = pd.DataFrame(B, columns=list("abcdef"))

    def model(rows):
        return game(rows.to_numpy())

    named = PartitionSHAP(model, background, tree=[["a", ["d", "c"]], [["b", "f"], "e"]]).explain(frame)
    np.testing.assert_array_equal(named.values, PartitionSHAP(game, B, tree=TREES["mixed"]).explain(X).values)
    matrix = np.array([[2, 3, 1, 2], [0, 6, 2, 3], [1, 5, 2, 2], [8, 4, 3, 3], [7, 9, 4, 6]], dtype=float)
    np.testing.assert_allclose(PartitionSHAP(game, B, tree=matrix).explain(X).values, named.values, atol=1e-12)


@pytest.mark.parametrize(
    ("tree", "error", "match"),
    [
        ([[0, 1], [2, 3]], SchemaError, "missing"),
        ([[0, 1], [2, 3], [4, 5, 0]], SchemaError, "twice"),
        ([0, 1, 2, 3, 4, 6], SchemaError, "no feature"),
        ([0, 1, 2, 3, 4, "age"], SchemaError, "'age' is no feature"),
        ([[], [0, 1, 2, 3, 4, 5]], OptionError, "empty"),
        (np.zeros((3, 4)), ShapeError, "linkage"),
        (np.array([[9, 1, 0, 2]] * 5, dtype=float), InputError, "does not exist yet"),
    ],
)
def test_what_is_no_tree_is_refused_by_name(tree, error, match):
    with pytest.raises(error, match=match):
        PartitionSHAP(game, B, tree=tree).explain(X)


# --- texts ----------------------------------------------------------------------------------------------------------------------------

GOOD, BAD = ("good", "lovely", "fine"), ("bad", "awful")


def mood(texts):
    """Words count, "not" before a word turns it over."""
    score = []
    for text in texts:
        words = text.lower().replace(".", " ").split()
        signs = [(word in GOOD) - (word in BAD) for word in words]
        signs = [-s if i and words[i - 1] == "not" else s for i, s in enumerate(signs)]
        score.append(sum(signs))
    score = np.array(score, dtype=float)
    return np.stack([1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))], axis=1)


TEXTS = [
    "The food was good. The room was not good. We left.",
    "Lovely.",
    "",
    "An awful place, bad service and a lovely view. " * 8,
    "The food was good. The room was not good. We left.",
]


def test_texts_are_explained_by_their_hierarchy():
    e = PartitionSHAP(mood, space=Words(), link="logit").explain(TEXTS, target=1)
    assert [len(row) for row in e.values] == [11, 1, 0, 72, 11]
    for row, goal, base in zip(e.values, e.predictions, e.base_values, strict=True):
        assert row.sum() == pytest.approx(goal - base)
    words = e.feature_names[0]
    assert e.values[0][words.index("good")] == pytest.approx(1.0)
    assert e.values[0][8:].tolist() == [0.0, 0.0, 0.0] or abs(e.values[0][9:]).max() < 1e-12
    assert np.array_equal(e.values[0], e.values[4])
    alone = PartitionSHAP(mood, space=Words(), link="logit").explain(TEXTS[3:4], target=1)
    assert np.array_equal(alone.values[0], e.values[3])


def test_texts_of_all_lengths_share_batches():
    model = RecordingModel(mood)
    texts = [" ".join(["good"] * n) for n in range(20, 60)]
    PartitionSHAP(model, space=Words(), engine=Engine(batch_size=2000, controls=False)).explain(texts, budget=100)
    assert model.n_calls <= 16  # 40 trees, 4,000 coalitions in some rounds


def test_closed_branches_of_a_text_are_named():
    e = PartitionSHAP(mood, space=Words()).explain(TEXTS, target=1, budget=12)
    assert e.conditions[1].tolist() == [None]
    assert any("shared by" in str(told) for told in e.conditions[3])


def test_texts_agree_with_shapley_values_where_words_are_additive():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = PartitionSHAP(mood, space=Words(), link="logit").explain(TEXTS[3:4], target=1).values[0]
    theirs = PermutationSHAP(mood, space=Words(), link="logit").explain(TEXTS[3:4], target=1).values[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_images_are_explained_by_their_quadtree():
    images = RNG.random((2, 16, 16, 3))

    def corner(rows):
        return np.asarray(rows)[:, :4, :4].mean(axis=(1, 2, 3))

    e = PartitionSHAP(corner, space=Segments()).explain(images)
    for row, goal, base, marks in zip(e.values, e.predictions, e.base_values, e.marks, strict=True):
        assert row.sum() == pytest.approx(goal - base)
        seen = np.unique(marks[:4, :4])
        assert np.abs(np.delete(row, seen)).max() < 1e-12
