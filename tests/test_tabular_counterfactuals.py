"""Counterfactual rows: the cheapest by brute force, nothing that is not in the data, nothing needless, and only what may change."""

from __future__ import annotations

import itertools
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OrdinalEncoder

from whybox import CounterfactualNotFoundWarning, CounterfactualRows, Engine, TabularCounterfactuals, as_model
from whybox.errors import BudgetError, InputError, OptionError, SchemaError, ShapeError
from whybox.spaces import Marginal, Observed
from whybox.testing import RecordingModel
from whybox.typing import Model

RNG = np.random.default_rng(5)
GRID = RNG.integers(0, 5, size=(80, 4))


def two_classes(score):
    """Classes by the sign of a score (n,)."""
    return lambda rows: np.stack([score(rows) < 0, score(rows) >= 0], axis=1).astype(float)


def random_game(seed, levels=5, d=4):
    """A score of pairs of whole numbers below ``levels``."""
    rng = np.random.default_rng(seed)
    tables = {pair: rng.normal(size=(levels, levels)) for pair in itertools.combinations(range(d), 2)}

    def score(rows):
        rows = np.asarray(rows, dtype=int)
        return sum(table[rows[:, a], rows[:, b]] for (a, b), table in tables.items()) - 1.0

    return score


# --- distances and costs by their definitions ------------------------------------------------------------------------------------------


def apart(column, a, b, ordered=True, gaps=False):
    """How far two values are apart: the share of the column between them, half of those that are equal counting.

    With ``gaps``, at least the share of the column's range.
    """
    if pd.isna(a) and pd.isna(b):
        return 0.0
    if not ordered or pd.isna(a) or pd.isna(b):
        return float(pd.isna(a) != pd.isna(b) or a != b)
    there = [v for v in column if not pd.isna(v)]

    def position(v):
        return sum(1.0 if other < v else 0.5 if other == v else 0.0 for other in there) / len(there)

    wide = abs(a - b) / (max(there) - min(there)) if gaps else 0.0
    return max(abs(position(a) - position(b)), wide)


def distance_of(background, x, row, ordered, gaps=False):
    return sum(apart(background[:, j], x[j], row[j], ordered[j], gaps) for j in range(len(x)))


def check_rows(e, background, predict, margin, *, ordered=None, plausible=None):
    """What holds for every result of default weights.

    Args:
        margin: of outputs and explained row, at least 0 where the goal is reached.
        ordered: (d,) which columns are no categories.
        plausible: of a row, its plausibility; None where plausibility has no weight.
    """

    def cost_of(row, own):
        least = 0.0 if plausible is None else min(0.05, plausible(own))
        penalty = 2.0 * max(1.0 - plausible(row) / least, 0.0) if least else 0.0
        return (
            distance_of(back, own, row, ordered) + 0.5 * sum(apart(back[:, j], own[j], row[j], ordered[j]) > 0 for j in range(d)) + penalty
        )

    x, rows, back = (np.asarray(pd.DataFrame(part), dtype=object) for part in (e.x, e.rows, background))
    d = x.shape[1]
    ordered = [True] * d if ordered is None else ordered
    assert len(rows), "nothing to check"
    after = np.asarray(predict(e.rows))
    np.testing.assert_array_equal(after.reshape(len(rows), -1), e.after)
    for i, row in enumerate(rows):
        own = x[e.of[i]]
        differs = [not (row[j] == own[j] or (pd.isna(row[j]) and pd.isna(own[j]))) for j in range(d)]
        assert e.changed[i].tolist() == differs, "changed says which cells differ"
        assert any(differs), "a counterfactual is another row"
        assert margin(e.after[[i]], e.of[i])[0] >= 0, "it reaches the goal"
        for j in np.flatnonzero(differs):
            assert any(row[j] == v or (pd.isna(row[j]) and pd.isna(v)) for v in back[:, j]), "values occur in the background"
        assert e.distance[i] == pytest.approx(distance_of(back, own, row, ordered)), "distance is what it is said to be"
        if plausible is not None:
            assert e.plausibility[i] == pytest.approx(plausible(row)), "so is plausibility"
        for j in np.flatnonzero(differs) if sum(differs) > 1 else []:
            less = e.rows.iloc[[i]].copy() if isinstance(e.rows, pd.DataFrame) else e.rows[[i]].copy()
            if isinstance(less, pd.DataFrame):
                less[less.columns[j]] = e.x[e.x.columns[j]].iloc[[e.of[i]]].to_numpy()
                less = less.astype(e.rows.dtypes)
            else:
                less[0, j] = e.x[e.of[i], j]
            shorter = np.asarray(less, dtype=object)[0]
            fails = margin(np.asarray(predict(less)).reshape(1, -1), e.of[i])[0] < 0
            assert fails or cost_of(shorter, own) > e.cost[i], "no change is needless"
        assert e.cost[i] == pytest.approx(cost_of(row, own)), "cost is what it is said to be"
    for row in range(len(e)):
        mine = np.flatnonzero(e.of == row)
        assert not len(mine) or e.cost[mine[0]] <= min(e.cost[mine]) + 1e-12, "the first is the cheapest"
        for a, b in itertools.permutations(mine, 2):
            more = [
                (e.changed[b][j] and (rows[b][j] == rows[a][j] or (ordered[j] and x[row][j] < rows[a][j] <= rows[b][j])))
                or (e.changed[b][j] and ordered[j] and rows[b][j] <= rows[a][j] < x[row][j])
                for j in np.flatnonzero(e.changed[a])
            ]
            assert not all(more), "none asks for all that another asks for, or more"


def plausibility_of(background, ordered=None):
    """By its definition, every background row being one of those that calibrate."""
    back = np.asarray(pd.DataFrame(background), dtype=object)
    ordered = [True] * back.shape[1] if ordered is None else ordered
    alone = [min(distance_of(back, row, other, ordered, True) for k, other in enumerate(back) if k != i) for i, row in enumerate(back)]

    def plausible(row):
        nearest = min(distance_of(back, row, other, ordered, True) for other in back)
        return np.mean(np.array(alone) >= nearest - 1e-9)

    return plausible


def other_class(e):
    best = e.before.argmax(axis=1)

    def margin(outputs, row):
        said = outputs.argmax(axis=1)
        return np.where(said != best[row], 1.0, -1.0)

    return margin


# --- what is found ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_where_all_combinations_are_asked_the_first_is_the_cheapest(seed):
    score = random_game(seed)
    predict = two_classes(score)
    x = GRID[:8]
    e = TabularCounterfactuals(predict, GRID, min_plausibility=0.0).explain(x, budget=5**4 - 1)
    assert e.exact.all()
    every = np.array(list(itertools.product(range(5), repeat=4)))
    said = predict(every).argmax(axis=1)
    for i, row in enumerate(x):
        others = every[said != predict(row[None]).argmax()]
        cost = min(distance_of(GRID, row, other, [True] * 4) + 0.5 * (other != row).sum() for other in others)
        first = np.flatnonzero(e.of == i)[0]
        assert e.distance[first] + 0.5 * e.n_changed[first] == pytest.approx(cost)
    check_rows(e, GRID, predict, other_class(e))


def test_the_search_comes_close_to_the_cheapest():
    background = RNG.integers(0, 9, size=(150, 5))
    ratios = []
    for seed in range(6):
        predict = two_classes(random_game(seed, levels=9, d=5))
        x = background[:6]
        e = TabularCounterfactuals(predict, background, min_plausibility=0.0, n_counterfactuals=1).explain(x, budget=1500)
        assert not e.exact.any()
        every = np.array(list(itertools.product(range(9), repeat=5)))
        said = predict(every).argmax(axis=1)
        position = np.array([[((background[:, j] < v) + 0.5 * (background[:, j] == v)).mean() for v in range(9)] for j in range(5)])
        for i, row in enumerate(x):
            others = every[said != predict(row[None]).argmax()]
            moved = np.abs(position[np.arange(5), others] - position[np.arange(5), row]).sum(axis=1)
            best = (moved + 0.5 * (others != row).sum(axis=1)).min()
            ratios.append((e.distance[e.of == i][0] + 0.5 * e.n_changed[e.of == i][0]) / best)
        check_rows(e, background, predict, other_class(e))
    assert min(ratios) >= 1 - 1e-9
    assert np.mean(np.array(ratios) < 1 + 1e-9) >= 0.8
    assert np.mean(ratios) < 1.05


def test_one_number_moves_to_the_nearest_value_that_is_enough():
    background = np.stack([np.sort(RNG.normal(size=60)), RNG.normal(size=60)], axis=1)
    e = TabularCounterfactuals(two_classes(lambda rows: rows[:, 0] - 0.5), background, features_to_vary=[0], min_plausibility=0.0).explain(
        np.array([[-1.0, 0.0]])
    )
    assert len(e.rows) == 1
    assert e.rows[0].tolist() == [background[background[:, 0] >= 0.5, 0].min(), 0.0]


TABLE = pd.DataFrame(
    {
        "age": RNG.integers(18, 70, 120),
        "size": np.where(RNG.random(120) < 0.1, np.nan, RNG.normal(size=120)),
        "job": RNG.choice(["cook", "nurse", "clerk"], 120),
        "grade": pd.Categorical(RNG.choice(["low", "mid", "high"], 120), categories=["low", "mid", "high"], ordered=True),
        "town": pd.Categorical(RNG.choice(["A", "B", "C"], 120)),
        "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.integers(0, 900, 120), unit="D"),
        "flag": RNG.random(120) < 0.5,
    },
    index=[f"row {i}" for i in range(120)],
)
ORDERED = [True, True, False, False, False, True, False]  # grades are compared as texts here, so by another test


def mixed(rows):
    """Sees the columns as they are, or fails."""
    assert list(rows.columns) == list(TABLE.columns)
    assert rows.dtypes.tolist() == TABLE.dtypes.tolist()
    days = (rows["since"] - pd.Timestamp("2020-01-01")).dt.days.to_numpy()
    score = (
        (rows["age"].to_numpy() - 45) / 10
        + rows["size"].fillna(-1.0).to_numpy()
        + (rows["job"] == "nurse").to_numpy() * 2.0
        + rows["grade"].cat.codes.to_numpy()
        - (rows["town"] == "B").to_numpy() * rows["flag"].to_numpy() * 2.0
        + days / 450
        - 2.0
    )
    p = 1 / (1 + np.exp(-score))
    return np.stack([1 - p, p], axis=1)


def test_tables_of_all_kinds_keep_their_types_and_labels():
    e = TabularCounterfactuals(mixed, TABLE, features_to_vary=["age", "size", "job", "town", "since", "flag"], implausibility=0.0).explain(
        TABLE.iloc[:8]
    )
    assert e.rows.dtypes.tolist() == TABLE.dtypes.tolist()
    assert e.x.index.tolist() == TABLE.index[:8].tolist()
    pd.testing.assert_frame_equal(e.x, TABLE.iloc[:8])
    assert e.found.min() >= 1
    check_rows(e, TABLE, mixed, other_class(e), ordered=ORDERED)
    frame = e.to_frame()
    assert frame["row"].tolist() == [TABLE.index[i] for i in e.of]
    assert frame["changes"].tolist() == list(e.changes)
    changes = e.to_changes()
    assert len(changes) == e.changed.sum()
    assert set(changes["feature"]) <= set(TABLE.columns)


def test_plausibility_is_how_isolated_a_row_is():
    predict = two_classes(random_game(7))
    e = TabularCounterfactuals(predict, GRID).explain(GRID[:6], budget=300)
    check_rows(e, GRID, predict, other_class(e), plausible=plausibility_of(GRID))
    ordered = [*ORDERED[:3], False, *ORDERED[4:]]
    some = TABLE.iloc[:40].drop(columns="grade")
    told = Observed(some).bind(some.iloc[:3], Model(lambda rows: rows))
    donors = np.array([[0, 1, 2, 3, 4, 5], [7] * 6, [39, 2, 11, 5, 6, 1]])
    rows = np.asarray(told.rows.columns.gather(donors), dtype=object)
    plausible = plausibility_of(some, [*ordered[:3], *ordered[4:]])
    np.testing.assert_allclose(told.plausibility(told.nearest(donors)), [plausible(row) for row in rows])
    assert told.plausibility(told.nearest(donors))[1] == 1.0
    base = donors[1], np.stack([told.gaps(donors[1, j : j + 1], j)[0] for j in range(6)])
    np.testing.assert_allclose(told.nearest(donors, base), told.nearest(donors), atol=1e-12)


def test_plausible_ones_come_first():
    corner = np.concatenate([RNG.normal(size=(150, 2)) * 0.1, RNG.normal(size=(150, 2)) * 0.1 + 3.0])  # two clouds, nothing between
    predict = two_classes(lambda rows: rows[:, 0] - 1.5)
    free = TabularCounterfactuals(predict, corner, min_plausibility=0.0, n_counterfactuals=1).explain(corner[:10])
    kept = TabularCounterfactuals(predict, corner, min_plausibility=0.2, n_counterfactuals=1).explain(corner[:10])
    assert (free.n_changed == 1).all()  # from one cloud into the void
    assert free.plausibility.max() < 0.05
    assert (kept.n_changed == 2).all()
    assert kept.plausibility.min() >= 0.2


def test_further_ones_change_other_things():
    background = RNG.integers(0, 8, size=(200, 6)).astype(float)
    predict = two_classes(lambda rows: rows[:, 0] + rows[:, 1] + rows[:, 2] + rows[:, 3] - 18.0)
    alike, other = (TabularCounterfactuals(predict, background, diversity=w).explain(background[:20]) for w in (0.0, 2.0))

    def shared(e):
        pairs = [(a, b) for i in range(len(e)) for a, b in itertools.combinations(np.flatnonzero(e.of == i), 2)]
        return np.mean([(e.changed[a] & e.changed[b]).sum() / (e.changed[a] | e.changed[b]).sum() for a, b in pairs])

    assert shared(other) < shared(alike)


# --- what may change -------------------------------------------------------------------------------------------------------------------


def test_only_what_is_permitted_changes():
    permitted = {
        "age": "increase",
        "size": (None, 1.0),
        "job": {"nurse", "cook"},
        "grade": "increase",
        "since": (pd.Timestamp("2020-06-01"), pd.Timestamp("2021-06-01")),
    }
    vary = [*permitted, "flag"]
    explainer = TabularCounterfactuals(mixed, TABLE, features_to_vary=vary, permitted_range=permitted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CounterfactualNotFoundWarning)
        e = explainer.explain(TABLE.iloc[:40])
    assert len(e.rows) > 40
    old, new = e.x.iloc[e.of].reset_index(drop=True), e.rows
    moved = pd.DataFrame(e.changed, columns=TABLE.columns)
    assert not moved["town"].any()
    assert (new["age"] > old["age"])[moved["age"]].all()
    assert (new["size"] <= 1.0)[moved["size"]].all()
    assert new["job"][moved["job"]].isin(["nurse", "cook"]).all()
    assert (new["grade"].cat.codes > old["grade"].cat.codes)[moved["grade"]].all()
    assert new["since"][moved["since"]].between("2020-06-01", "2021-06-01").all()
    assert moved.drop(columns="town").any().all()  # each of them does change somewhere


def test_rows_that_cannot_be_changed_are_named():
    explainer = TabularCounterfactuals(two_classes(lambda rows: rows[:, 0] - 2.5), GRID, features_to_vary=[1, 2])
    with pytest.warns(CounterfactualNotFoundWarning, match=r"3 of 3 distinct rows have no counterfactual \(0 of them"):
        e = explainer.explain(GRID[:3])
    assert e.missing.all()
    assert e.found.tolist() == [0, 0, 0]
    assert "no counterfactual was found" in e.to_text()
    assert e.to_frame().empty
    assert e.importance()["any"].tolist() == [0.0] * 4


def test_a_wanted_class_and_rows_that_have_it():
    x = RNG.normal(size=(200, 3))
    y = np.digitize(x[:, 0] + 0.5 * x[:, 1], [-0.5, 0.5])
    model = RandomForestClassifier(30, random_state=0).fit(x, np.array(["low", "mid", "high"])[y])
    e = TabularCounterfactuals(model, x).explain(x[:12], target="high")
    k = list(model.classes_).index("high")
    there = model.predict(x[:12]) == "high"
    assert e.reached.tolist() == there.tolist()
    assert not e.found[there].any()
    assert e.found[~there].all()
    assert (model.predict(e.rows) == "high").all()
    assert set(e.wanted) == {"high"}
    sure = TabularCounterfactuals(model, x, min_probability=0.8).explain(x[:12], target="high")
    assert sure.after[:, k].min() >= 0.8
    assert set(TabularCounterfactuals(model, x).explain(x[:3]).wanted) <= {"not low", "not mid", "not high"}


def test_ranges_sides_and_decisions():
    x = RNG.normal(size=(150, 3))

    def number(rows):
        return rows[:, 0] * 2 + rows[:, 1]

    e = TabularCounterfactuals(number, x, desired_range=(1.0, 1.5)).explain(x[:10])
    assert ((e.after >= 1.0) & (e.after <= 1.5)).all()
    assert e.wanted[0] == "output 0 1 to 1.5"
    e = TabularCounterfactuals(lambda rows: np.stack([number(rows), -number(rows)], axis=1), x, desired_range=(None, -2.0)).explain(
        x[:10], target=1
    )
    assert (e.after[:, 1] <= -2.0).all()
    with pytest.raises(OptionError, match="say which of them"):
        TabularCounterfactuals(lambda rows: np.stack([number(rows)] * 2, axis=1), x, desired_range=(0, 1)).explain(x[:1])
    with pytest.raises(OptionError, match="desired_range="):
        TabularCounterfactuals(number, x).explain(x[:1])
    clf = LogisticRegression().fit(x, number(x) > 0)
    probability = TabularCounterfactuals(lambda rows: clf.predict_proba(rows)[:, 1], x)
    with pytest.raises(OptionError, match="numbers and no classes"):
        probability.explain(x[:1])
    one = TabularCounterfactuals(Model(lambda rows: clf.predict_proba(rows)[:, 1], kind="probability"), x).explain(x[:20])
    assert ((one.after[:, 0] >= 0.5) == (one.before[one.of, 0] < 0.5)).all()
    decision = TabularCounterfactuals(clf, x, output="decision").explain(x[:20])
    assert ((decision.after[:, 0] >= 0) == (decision.before[decision.of, 0] < 0)).all()
    np.testing.assert_array_equal(decision.rows, one.rows)


# --- calls ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1, 7, 40, 300])
def test_no_row_costs_more_than_the_budget(budget):
    model = RecordingModel(two_classes(random_game(1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CounterfactualNotFoundWarning)
        e = TabularCounterfactuals(model, GRID, engine=Engine(controls=False, dedupe=False)).explain(GRID[:5], budget=budget)
    assert model.n_rows <= 5 + len(GRID) + 5 * budget
    assert e.n_queries == model.n_rows
    with pytest.raises(BudgetError):
        TabularCounterfactuals(model, GRID, engine=Engine(max_queries=90)).explain(GRID[:5])


def test_a_small_budget_still_gives_the_nearest_rows():
    model = two_classes(lambda rows: np.sin(9.0 * rows.sum(axis=1)))
    x = RNG.normal(size=(60, 8))
    e = TabularCounterfactuals(model, x, min_plausibility=0.0).explain(x[:10], budget=1)
    assert e.found.all()  # background rows of the other class were asked anyway
    more = TabularCounterfactuals(model, x, min_plausibility=0.0).explain(x[:10])
    cost = [part.distance + 0.5 * part.n_changed for part in (e, more)]
    first = [np.searchsorted(part.of, np.arange(10)) for part in (e, more)]
    assert (cost[1][first[1]] <= cost[0][first[0]]).all()


@pytest.mark.parametrize(("d", "budget"), [(60, 150), (60, 2000), (300, 500)])
def test_a_budget_that_is_small_for_the_columns_gives_few_changes(d, budget):
    x = np.random.default_rng(0).normal(size=(150, d))
    weights = np.zeros(d)
    weights[:: d // 15] = 1.0

    def predict(rows):
        p = 1 / (1 + np.exp(-rows @ weights))
        return np.stack([1 - p, p], axis=1)

    e = TabularCounterfactuals(predict, x).explain(x[:6], budget=budget)
    assert (e.found > 0).all()
    assert e.n_changed[np.searchsorted(e.of, np.arange(6))].max() <= 5  # the nearest rows of the other class differ in all columns


def test_rows_do_not_depend_on_one_another_and_come_twice_where_they_do():
    predict = two_classes(random_game(3))
    x = GRID[[4, 9, 4, 30]]
    e = TabularCounterfactuals(predict, GRID).explain(x)
    for i in range(4):
        alone = TabularCounterfactuals(predict, GRID).explain(x[[i]])
        np.testing.assert_array_equal(e[i].rows, alone.rows)
        np.testing.assert_array_equal(e[i].plausibility, alone.plausibility)
    np.testing.assert_array_equal(e[0].rows, e[2].rows)


def test_the_search_goes_on_from_a_checkpoint(tmp_path):
    calls = []

    def impatient(rows):
        calls.append(len(rows))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return two_classes(random_game(2))(rows)

    explainer = TabularCounterfactuals(as_model(impatient, version="1"), GRID, engine=Engine(batch_size=40, controls=False, dedupe=False))
    with pytest.raises(KeyboardInterrupt):
        explainer.explain(GRID[:3], budget=200, checkpoint=tmp_path / "job")
    e = explainer.explain(GRID[:3], budget=200, checkpoint=tmp_path / "job")
    assert e.stats.n_resumed > 0
    np.testing.assert_array_equal(e.rows, explainer.explain(GRID[:3], budget=200).rows)


def test_many_rows_are_searched_in_parts(monkeypatch):
    predict = two_classes(random_game(4))
    whole = TabularCounterfactuals(predict, GRID).explain(GRID[:10], budget=100)
    monkeypatch.setattr("whybox.explainers.tabular_counterfactuals._TOGETHER", 3)
    parts = TabularCounterfactuals(predict, GRID).explain(GRID[:10], budget=100)
    np.testing.assert_array_equal(whole.rows, parts.rows)
    np.testing.assert_array_equal(whole.of, parts.of)


def test_a_pipeline_with_raw_columns():
    table = TABLE.drop(columns=["since", "grade"])
    texts = ["job", "town"]
    encoder = OrdinalEncoder().fit(table[texts])

    def ready(rows):
        return np.concatenate([encoder.transform(rows[texts]), rows[["age", "size", "flag"]].astype(float).to_numpy()], axis=1)

    label = mixed(TABLE).argmax(axis=1)
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(ready(table), label)
    e = TabularCounterfactuals(lambda rows: model.predict_proba(ready(rows)), table, min_plausibility=0.0).explain(table.iloc[:5])
    assert e.found.all()
    check_rows(e, table, lambda rows: model.predict_proba(ready(rows)), other_class(e), ordered=[True, True, False, False, False])


def test_rows_without_an_answer_are_no_counterfactuals():
    def silent(rows):
        out = two_classes(lambda rows: rows[:, 0] - 2.5)(rows)
        out[rows[:, 1] > 2] = np.nan
        return out

    x = GRID[(GRID[:, 0] < 2)][:6]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        e = TabularCounterfactuals(silent, GRID, engine=Engine(on_nan="skip")).explain(x, budget=300)
    assert e.missing.tolist() == (x[:, 1] > 2).tolist()
    assert e.missing.any()
    assert not e.missing.all()
    assert np.isfinite(e.after).all()
    assert (e.rows[:, 1] <= 2).all()


def test_large_integers_and_signed_zeros_are_values_of_their_own():
    table = pd.DataFrame({"id": 2**60 + np.arange(60), **{f"k{i}": RNG.integers(0, 50, 60) for i in range(5)}})
    predict = two_classes(lambda rows: ((rows["id"].to_numpy() % 2 == 0) & (rows["k0"].to_numpy() >= 25)) - 0.5)
    x = table[(table["id"] % 2 == 1) & (table["k0"] < 25)].head(3)
    e = TabularCounterfactuals(predict, table).explain(x)
    assert e.found.all()
    np.testing.assert_array_equal(predict(e.rows), e.after)
    signed = np.stack([np.where(RNG.random(60) < 0.5, 0.0, -0.0), *RNG.integers(0, 50, (5, 60)).astype(float)], axis=1)
    predict = two_classes(lambda rows: (np.signbit(rows[:, 0]) & (rows[:, 1] >= 25)) - 0.5)
    e = TabularCounterfactuals(predict, signed).explain(signed[~np.signbit(signed[:, 0]) & (signed[:, 1] < 25)][:3])
    np.testing.assert_array_equal(predict(e.rows), e.after)


def test_the_background_alone_says_what_is_ordered():
    table = pd.DataFrame({"o": pd.Series(RNG.integers(0, 20, 100).tolist(), dtype=object), "k": RNG.integers(0, 5, 100)})
    explainer = TabularCounterfactuals(two_classes(lambda rows: rows["o"].astype(float).to_numpy() - 9.5), table)
    x = pd.DataFrame({"o": pd.Series([3, "?"], dtype=object), "k": [1, 1]})
    assert explainer.explain(x[:1]).distance[0] < 1.0
    with pytest.raises(SchemaError, match="the background holds numbers"):
        explainer.explain(x)


def test_what_asks_for_more_of_the_same_does_not_hide_something_else():
    values = RNG.permutation(1000) * 1.0
    background = np.stack([values, RNG.integers(0, 2, 1000)], axis=1)
    predict = two_classes(lambda rows: ((rows[:, 0] > 500) | (rows[:, 1] == 1)) - 0.5)
    e = TabularCounterfactuals(predict, background).explain(np.array([[499.0, 0.0]]))
    assert e.exact.all()
    assert set(e.changes) == {"feature 0: 499 → 501", "feature 1: 0 → 1"}


# --- bad input ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"features_to_vary": ["no such"]}, "no columns"),
        ({"features_to_vary": [False, True]}, "flatnonzero"),
        ({"features_to_vary": [0.9]}, "positions or names"),
        ({"permitted_range": {"age": (20, 30), 0: "increase"}}, "twice"),
        ({"features_to_vary": "age"}, r"pass \['age'\]"),
        ({"permitted_range": {"age": "up"}}, "increase"),
        ({"permitted_range": {"job": "increase"}}, "no order"),
        ({"permitted_range": {"age": [20, 30]}}, "may be a range or single values"),
        ({"permitted_range": {"age": (80, 90)}}, "no background row"),
        ({"permitted_range": {"age": (20, 30, 40)}}, "expected a range"),
        ({"permitted_range": {"age": ("a", None)}}, "cannot be compared"),
        ({"permitted_range": {"job": {"pilot"}}}, "occur in no background row"),
        ({"permitted_range": {"job": set()}}, "a set of values"),
        ({"permitted_range": {"wage": (1, 2)}}, "no columns"),
        ({"permitted_range": ["age"]}, "expected a dict"),
        ({"features_to_vary": ["age"], "permitted_range": {"job": {"cook"}}}, "never change"),
        ({"n_counterfactuals": 0}, "at least 1"),
        ({"sparsity": -1.0}, "at least 0"),
        ({"diversity": np.inf}, "finite"),
        ({"min_plausibility": 2.0}, "from 0 to 1"),
        ({"implausibility": -1.0}, "at least 0"),
        ({"min_probability": 0.0}, "above 0"),
        ({"desired_range": (1, 0)}, "above the high end"),
        ({"desired_range": (None, None)}, "one may be None"),
        ({"desired_range": 3.0}, "one may be None"),
        ({"desired_range": (0, 1), "min_probability": 0.5}, "not both"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, match):
    with pytest.raises(OptionError, match=match):
        TabularCounterfactuals(mixed, TABLE, **options).explain(TABLE.iloc[:1])


def test_calls_that_make_no_sense_are_refused():
    explainer = TabularCounterfactuals(mixed, TABLE)
    for options, match in (({"tol": 0.1}, "tol"), ({"target": "predicted"}, "leaves the predicted class"), ({"budget": 0}, "budget")):
        with pytest.raises(OptionError, match=match):
            explainer.explain(TABLE.iloc[:1], **options)
    with pytest.raises(OptionError, match="Observed"):
        TabularCounterfactuals(mixed, space=Marginal(TABLE))
    with pytest.raises(OptionError, match="pass it to Observed"):
        TabularCounterfactuals(mixed, space=Observed(TABLE), features_to_vary=["age"])
    clf = LogisticRegression().fit(GRID, GRID[:, 0] > 2)
    with pytest.raises(OptionError, match="decision values"):
        TabularCounterfactuals(clf, GRID, output="decision", min_probability=0.6).explain(GRID[:1])
    with pytest.raises(SchemaError, match="other columns"):
        explainer.explain(TABLE.iloc[:1].drop(columns="age"))


# --- the result -----------------------------------------------------------------------------------------------------------------------


def test_results_come_back_from_file_and_pickle(tmp_path):
    e = TabularCounterfactuals(mixed, TABLE).explain(TABLE.iloc[:6])
    e.save(tmp_path / "rows.npz")
    for again in (CounterfactualRows.load(tmp_path / "rows.npz"), pickle.loads(pickle.dumps(e))):
        pd.testing.assert_frame_equal(again.rows, e.rows)
        pd.testing.assert_frame_equal(again.x, e.x)
        pd.testing.assert_frame_equal(again.to_frame(), e.to_frame())
        assert again.to_html() == e.to_html()
        assert again.stats == e.stats
        assert dict(again.settings) == dict(e.settings)
    (tmp_path / "torn.npz").write_bytes((tmp_path / "rows.npz").read_bytes()[:-200])
    with pytest.raises(InputError):
        CounterfactualRows.load(tmp_path / "torn.npz")
    attribution = tmp_path / "attribution.npz"
    from whybox import Occlusion

    Occlusion(mixed, TABLE).explain(TABLE.iloc[:2]).save(attribution)
    with pytest.raises(InputError, match="counterfactual_rows"):
        CounterfactualRows.load(attribution)


def test_results_are_sliced():
    e = TabularCounterfactuals(two_classes(random_game(2)), GRID).explain(GRID[:6])
    few = e[[4, 1]]
    assert few.of.tolist() == [0] * e.found[4] + [1] * e.found[1]
    np.testing.assert_array_equal(few.rows, np.concatenate([e.rows[e.of == 4], e.rows[e.of == 1]]))
    assert len(e[2]) == 1
    assert [len(part.rows) for part in e] == e.found.tolist()
    np.testing.assert_array_equal(e[e.found > 0].rows, e.rows)
    assert len(e[:0].rows) == 0
    with pytest.raises(OptionError):
        e["first"]
    with pytest.raises(ShapeError):
        replace(e, of=e.of[::-1])
    with pytest.raises(ShapeError):
        replace(e, distance=e.distance[:-1])


def test_words_are_escaped_and_tell_values_apart():
    table = pd.DataFrame({"<b>x</b>\n": [1.00001, 1.00002, 1.00003, 5.0] * 5, "k": ["<script>", "b"] * 10})
    e = TabularCounterfactuals(two_classes(lambda rows: rows.iloc[:, 0].to_numpy() - 1.000025), table, features_to_vary=[0]).explain(
        table.iloc[:1]
    )
    assert "<b>x" not in e.to_html()
    assert "1.00001 → 1.00003" in e.changes[0]
    assert len(e.to_text().splitlines()) == 5
    e = TabularCounterfactuals(two_classes(lambda rows: (rows["k"] == "<script>") - 0.5), table, min_plausibility=0.0).explain(
        table.iloc[:2]
    )
    assert "<script" not in e.to_html()
    assert e.importance()["feature"].tolist()[0] == "k"
    assert e.importance()["first"].tolist()[0] == 1.0


# --- saboteurs ------------------------------------------------------------------------------------------------------------------------


def _good():
    predict = two_classes(random_game(7))
    e = TabularCounterfactuals(predict, GRID, n_counterfactuals=3).explain(GRID[:6], budget=624)
    assert e.n_changed.max() > 1
    return e, predict


def _put(e, i, j, value):
    rows = e.rows.copy()
    rows[i, j] = value
    return rows


def needless(e):
    """Changes one column more, which does not matter for the answer."""
    predict = _good()[1]
    for i, j in np.argwhere(~e.changed):
        for value in range(5):
            rows = _put(e, i, j, value)
            if value != e.x[e.of[i], j] and predict(rows[[i]]).argmax() == e.after[i].argmax():
                return _told_rightly(e, rows)
    raise AssertionError("nothing to spoil")


def _told_rightly(e, rows):
    distance = np.array([distance_of(GRID, e.x[e.of[i]], rows[i], [True] * 4) for i in range(len(rows))])
    changed, plausible = rows != e.x[e.of], plausibility_of(GRID)
    plausibility = np.array([plausible(row) for row in rows])
    cost = distance + 0.5 * changed.sum(axis=1) + 2.0 * np.maximum(1 - plausibility / 0.05, 0.0)
    return replace(e, rows=rows, changed=changed, distance=distance, plausibility=plausibility, cost=cost)


def worse_first(e):
    """Counterfactuals of a row in another order."""
    order = np.concatenate([np.flatnonzero(e.of == i)[::-1] for i in range(len(e))])
    parts = {name: getattr(e, name)[order] for name in ("rows", "changed", "after", "distance", "plausibility", "cost")}
    return replace(e, **parts)


def twice(e):
    """The first counterfactual comes again."""
    parts = ("rows", "of", "changed", "after", "distance", "plausibility", "cost")
    return replace(e, **{name: np.concatenate([getattr(e, name)[:1], getattr(e, name)]) for name in parts})


SABOTEURS = {
    "no change is needless": needless,
    "the first is the cheapest": worse_first,
    "changed says": lambda e: replace(e, changed=~e.changed),
    "another row": lambda e: replace(
        e, rows=np.concatenate([e.x[e.of[:1]], e.rows[1:]]), changed=np.concatenate([e.changed[:1] * False, e.changed[1:]])
    ),
    "distance is": lambda e: replace(e, distance=e.distance * 1.01),
    "cost is": lambda e: replace(e, cost=e.cost + 0.01),
    "so is plausibility": lambda e: replace(e, plausibility=1.0 - e.plausibility),
    "none asks for": twice,
}


@pytest.mark.parametrize("message", SABOTEURS)
def test_wrong_results_are_caught(message):
    e, predict = _good()
    spoilt = SABOTEURS[message](e)
    after = predict(spoilt.rows)
    with pytest.raises(AssertionError, match=message):
        check_rows(replace(spoilt, after=after), GRID, predict, other_class(e), plausible=plausibility_of(GRID))


def test_invented_values_and_missed_goals_are_caught():
    e, predict = _good()
    i, j = np.argwhere(e.changed)[0]
    told, value = e.rows[i, j], 9

    def blind(rows):  # takes the invented value for the one that was there
        rows = np.array(rows)
        rows[:, j] = np.where(rows[:, j] == value, told, rows[:, j])
        return predict(rows)

    spoilt = _told_rightly(e, _put(e, i, j, value))
    with pytest.raises(AssertionError, match="values occur"):
        check_rows(spoilt, GRID, blind, other_class(e), plausible=plausibility_of(GRID))
    with pytest.raises(AssertionError, match="reaches the goal"):
        check_rows(e, GRID, predict, lambda outputs, row: -np.ones(1))
    with pytest.raises(AssertionError, match="nothing to check"):
        check_rows(e[:0], GRID, predict, other_class(e))


def steps(rows):
    """Two of three columns have to be above 0.3; single changes show nothing."""
    yes = (rows[:, -3:] > 0.3).sum(axis=1) >= 2
    return np.stack([~yes, yes], axis=1).astype(float)


@pytest.mark.parametrize(("d", "budget"), [(40, 500), (200, 2000), (500, 2000)])
def test_a_model_without_a_slope_has_few_changes_too(d, budget):
    x = np.random.default_rng(1).normal(size=(400, d))
    rows = x[steps(x)[:, 0] == 1][:5]
    e = TabularCounterfactuals(steps, x, min_plausibility=0.0, n_counterfactuals=1).explain(rows, budget=budget)
    assert e.found.all()
    assert e.n_changed.max() <= 2


def test_the_end_of_the_budget_is_said():
    x = np.random.default_rng(1).normal(size=(200, 30))
    e = TabularCounterfactuals(steps, x).explain(x[:4], budget=20)
    searched = ~e.reached
    assert e.spent[searched].all()
    assert "at the end of the budget" in repr(e)
    assert not TabularCounterfactuals(two_classes(random_game(1)), GRID).explain(GRID[:4]).spent.any()
