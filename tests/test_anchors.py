"""Anchors: the rule that brute force finds, precisions that intervals hold, bandit bounds by their definition, and results that keep."""

from __future__ import annotations

import itertools
import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest

from whybox import Anchors, Engine, Rules
from whybox.errors import InputError, OptionError
from whybox.explainers import RuleNotFoundWarning
from whybox.explanations import Condition, Rule
from whybox.models import as_model
from whybox.solvers.kl_lucb import contenders, exploration_rate, kl_bounds, proportion_interval
from whybox.spaces import Baseline, Conditions, Marginal, Neighborhood, Segments, Words
from whybox.testing import RecordingModel
from whybox.typing import Ask, Model

RNG = np.random.default_rng(8)
B = (RNG.random((60, 5)) < [0.5, 0.3, 0.6, 0.5, 0.4]).astype(int)
ALL = tuple(range(5))


def model(rows):
    """Class 1 if 0 and 1 are set, or 2, 3 and 4 are not."""
    yes = ((rows[:, 0] == 1) & (rows[:, 1] == 1)) | ((rows[:, 2] == 0) & (rows[:, 3] == 0) & (rows[:, 4] == 0))
    return np.stack([~yes, yes], axis=1).astype(float)


def exact_precision(x, held):
    """Of categories: each background row with the held features as in x."""
    rows = B.copy()
    rows[:, list(held)] = x[list(held)]
    return float((model(rows).argmax(axis=1) == model(x[None]).argmax()).mean())


def coverage(x, held):
    return float((B[:, list(held)] == x[list(held)]).all(axis=1).mean())


def brute_force(x, threshold):
    """The rule of largest coverage among those that reach the threshold."""
    rules = [held for size in range(6) for held in itertools.combinations(ALL, size)]
    return max((held for held in rules if exact_precision(x, held) >= threshold), key=lambda held: coverage(x, held))


EVERY = np.array(list(itertools.product([0, 1], repeat=5)))


def anchors(**options):
    return Anchors(model, B, **{"categorical": ALL, "threshold": 0.95, "n_precision": 200, **options})


def test_rule_is_the_one_of_brute_force():
    e = anchors(beam=10).explain(EVERY, tol=0.02)
    assert e.found.all()
    for x, rule in zip(EVERY, e.rules, strict=True):
        held = tuple(condition.feature for condition in rule.conditions)
        best = brute_force(x, 0.95)
        assert exact_precision(x, held) >= 0.93
        assert rule.coverage == pytest.approx(coverage(x, held))
        assert rule.coverage >= coverage(x, best) - 1e-12
        assert rule.prediction == f"output {model(x[None]).argmax()}"


def test_intervals_hold_the_exact_precision():
    x = EVERY[[3, 8, 14, 21, 27, 30]]
    inside, exact = [], []
    for seed in range(40):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuleNotFoundWarning)
            e = anchors(threshold=0.7, n_precision=100, max_size=1).explain(x, seed=seed, tol=0.1, budget=300)
        for row, rule in zip(x, e.rules, strict=True):
            exact.append(exact_precision(row, [condition.feature for condition in rule.conditions]))
            inside.append(rule.low <= exact[-1] <= rule.high)
    assert np.mean(inside) >= 0.93
    assert np.mean(np.array(exact) < 0.95) > 0.5  # where nothing can go wrong, nothing is shown


def test_rules_below_the_threshold_are_said_to_be():
    noise = RNG.normal(size=(200, 4))
    with pytest.warns(RuleNotFoundWarning, match="1 of 1 rows"):
        e = Anchors(lambda rows: (np.sin(37.0 * rows.sum(axis=1)) > 0).astype(float), noise, within=0, max_size=2).explain(
            noise[:1], budget=2000
        )
    assert not e.found[0]
    assert e.rules[0].precision < 0.95
    assert "did not show that it reaches 0.95" in e.to_text()


def test_samples_meet_their_conditions_and_come_from_the_background():
    background = pd.DataFrame({"size": RNG.normal(size=80), "kind": RNG.choice(["a", "b", "c"], 80), "n": RNG.integers(0, 50, 80)})
    background.loc[::9, "size"] = np.nan
    x = background.iloc[[1, 9]].reset_index(drop=True)
    bound = Conditions(background).bind(x, Model(lambda rows: rows))
    for i, held in itertools.product((0, 1), itertools.product([False, True], repeat=3)):
        codes = bound.draw(i, np.array(held), 50, np.random.default_rng(0))
        rows = bound.take(Ask(np.array([i]), codes), np.arange(50))
        for j in np.flatnonzero(held):
            assert bound.condition(i, j).holds(rows.iloc[:, j]).all()
        if not any(held):
            merged = rows.merge(background.drop_duplicates(), how="left", indicator=True)
            assert (merged["_merge"] == "both").all()
        keys = bound.keys(Ask(np.array([i]), codes))
        told = rows.astype(object).where(rows.notna(), "missing").apply(tuple, axis=1)
        assert len(np.unique(keys, axis=0)) == told.nunique()
    assert bound.condition(1, 0).kind == "missing"


def test_coverage_of_data_is_what_covers_counts():
    frame = pd.DataFrame(
        {
            "dose": RNG.normal(size=150),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 300, 150), unit="D"),
            "kind": pd.Categorical(RNG.choice(["a", "b"], 150)),
            "flag": RNG.random(150) < 0.5,
        }
    )

    def predict(rows):
        return ((rows["dose"] > 0) & (rows["kind"] == "a")).to_numpy().astype(float)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuleNotFoundWarning)
        e = Anchors(predict, frame, within=0, threshold=0.9).explain(frame.head(8), budget=5000)
    np.testing.assert_allclose(e.covers(frame).mean(axis=1), e.coverage)
    assert e.covers(frame)[np.arange(8), np.arange(8)].all()
    with pytest.raises(InputError, match="no column"):
        e[[i for i in range(8) if e.rules[i].size][:1]].covers(frame.rename(columns=str.upper))


def test_rows_with_the_same_conditions_share_their_queries():
    one, many = RecordingModel(model), RecordingModel(model)
    options = {"engine": Engine(controls=False, dedupe=True)}
    Anchors(one, B, categorical=ALL, **options).explain(EVERY[:1])
    Anchors(many, B, categorical=ALL, **options).explain(EVERY[::2])
    assert many.n_rows <= 32 + 60 + one.n_rows  # there are no more than 32 rows to ask about


def test_rule_does_not_depend_on_the_other_rows():
    whole = anchors().explain(EVERY[:6])
    for i in (0, 3):
        assert anchors().explain(EVERY[[i]]).rules == whole[i].rules


def test_search_goes_on_from_a_checkpoint(tmp_path):
    calls = []

    def impatient(rows):
        calls.append(len(rows))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return model(rows)

    engine = Engine(batch_size=50, dedupe=False, controls=False)
    explainer = Anchors(as_model(impatient, version="1"), B, categorical=ALL, engine=engine)
    with pytest.raises(KeyboardInterrupt):
        explainer.explain(EVERY[:2], checkpoint=tmp_path / "job")
    e = explainer.explain(EVERY[:2], checkpoint=tmp_path / "job")
    assert e.rules == Anchors(model, B, categorical=ALL, engine=engine).explain(EVERY[:2]).rules
    assert e.stats.n_resumed > 0


# --- what is held ---------------------------------------------------------------------------------------------------------------------


def test_one_probability_is_split_at_a_half_and_a_number_needs_a_distance():
    def predict(rows):
        return np.where(rows[:, 0] == 1, 0.8, 0.3)

    background = B.astype(float)
    e = Anchors(Model(predict, kind="probability"), background, categorical=ALL).explain(background[:4])
    assert [rule.prediction for rule in e.rules] == [f"output 0{'' if row[0] == 1 else ' no'}" for row in background[:4]]
    with pytest.raises(OptionError, match="within="):
        Anchors(predict, background).explain(background[:1])
    e = Anchors(predict, background, within=0.1, categorical=ALL).explain(background[:1])
    assert e.rules[0].prediction.endswith("± 0.1")


def test_target_holds_whether_it_is_the_largest():
    def three(rows):
        return np.stack([rows[:, 0] == 1, (rows[:, 0] == 0) & (rows[:, 1] == 1), (rows[:, 0] == 0) & (rows[:, 1] == 0)], axis=1).astype(
            float
        )

    x = np.array([[0, 1, 0, 0, 0]])
    assert Anchors(three, B, categorical=ALL).explain(x).rules[0].text == "feature 0 = 0 and feature 1 = 1"
    rule = Anchors(three, B, categorical=ALL).explain(x, target=0).rules[0]
    assert (rule.text, rule.prediction) == ("feature 0 = 0", "not output 0")


@pytest.mark.parametrize(
    "options",
    [{"threshold": 1.0}, {"delta": 0.0}, {"beam": 0}, {"max_size": 1.5}, {"within": -1.0}, {"n_precision": 0}, {"discretize": "ten"}],
)
def test_options_that_do_not_exist_are_refused(options):
    with pytest.raises(OptionError):
        Anchors(model, B, **options)


def test_a_neighbourhood_is_refused():
    with pytest.raises(OptionError, match="LIME"):
        Anchors(model, space=Neighborhood(B.astype(float))).explain(B[:1].astype(float))


# --- games and texts ------------------------------------------------------------------------------------------------------------------


def mood(texts):
    good = np.array([" good" in f" {text.lower()}" and "not good" not in text.lower() for text in texts])
    return np.stack([~good, good], axis=1).astype(float)


def test_texts_have_rules_of_words():
    recording = RecordingModel(mood)
    e = Anchors(recording, space=Words()).explain(["The soup was good and cheap today.", "It was bad.", "This is not good."])
    assert [rule.text for rule in e.rules[:1]] == ["'good' is there"]
    assert e.coverage_of == "perturbations"
    assert e.rules[0].coverage == 0.5
    assert e.rules[1].text == "always"
    assert {condition.name for condition in e.rules[2].conditions} == {"not"} or e.rules[2].precision > 0.95
    assert all("good" in example for example in e.rules[0].same)
    assert e[0].covers(["a good one", "goodness", "Bad"]).tolist() == [[True, False, False]]
    assert recording.n_rows < 5000


def test_a_game_keeps_values():
    for space in (Marginal(B), Baseline(np.zeros(5, dtype=int))):
        e = Anchors(model, space=space).explain(np.array([[1, 1, 1, 1, 1]]))
        assert e.rules[0].text == "feature 0 is kept and feature 1 is kept"
        with pytest.raises(InputError, match="explained row"):
            e.covers(B)


# --- bounds ---------------------------------------------------------------------------------------------------------------------------


def test_bounds_are_where_the_divergence_meets_the_rate():
    hits, n = np.array([0, 3, 50, 99, 100, 0]), np.array([10, 10, 100, 100, 100, 0])
    low, high = kl_bounds(hits, n, 2.0)
    mean = hits[:5] / n[:5]

    def divergence(p, q):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(p * np.log(p / q)) + np.nan_to_num((1 - p) * np.log((1 - p) / (1 - q)))

    inside = (mean > 0) & (mean < 1)
    np.testing.assert_allclose((n[:5] * divergence(mean, low[:5]))[inside], 2.0, rtol=1e-6)
    np.testing.assert_allclose((n[:5] * divergence(mean, high[:5]))[inside], 2.0, rtol=1e-6)
    assert (low[0], high[4]) == (0.0, 1.0)
    np.testing.assert_allclose([high[0], low[4]], [1 - np.exp(-0.2), np.exp(-0.02)], rtol=1e-6)
    assert (low[5], high[5]) == (0.0, 1.0)


def test_bounds_cover_in_all_rounds_at_once():
    p, delta, missed = 0.8, 0.1, 0
    for seed in range(50):
        tosses = np.random.default_rng(seed).random(400) < p
        ends = [kl_bounds(np.array([tosses[:t].sum()]), np.array([t]), exploration_rate(t, 1, delta)) for t in range(20, 401, 20)]
        missed += any(not low[0] <= p <= high[0] for low, high in ends)
    assert missed <= 50 * delta


def test_exact_interval_of_a_proportion():
    from scipy.stats import binomtest

    for hits, n in ((0, 20), (20, 20), (13, 20), (480, 500)):
        ends = binomtest(hits, n).proportion_ci(0.95, method="exact")
        np.testing.assert_allclose(proportion_interval(hits, n), (ends.low, ends.high), atol=1e-12)


def test_the_hardest_to_tell_apart_are_found():
    best, weakest, strongest, overlap = contenders(np.array([95, 80, 79, 20, 0]), np.array([100, 100, 100, 100, 0]), 2, 3.0)
    assert set(best.tolist()) == {0, 1}
    assert (weakest, strongest) == (1, 4)  # what was never tried may be the best
    assert overlap > 0


# --- the result -----------------------------------------------------------------------------------------------------------------------

TRICKY = Rule(
    (
        Condition(0, "<b>age</b>", "<b>age</b> <= 7", "interval", high=7.0),
        Condition(1, "job\n", "job\n = nurse", "category", value="nurse"),
    ),
    "<script>alert(1)</script>",
    0.97,
    0.95,
    0.98,
    0.25,
    True,
    500,
    same=({"<b>age</b>": 3.0, "job\n": "nurse"},),
    other=("a text <i>",),
)


def test_results_are_escaped_and_of_one_line():
    e = Rules(rules=(TRICKY,), method="Anchors", threshold=0.95)
    html = e.to_html()
    assert "<script" not in html
    assert "<b>age" not in html
    assert "<i>" not in html.replace("<i>and</i>", "")
    assert "job\n" not in e.to_text()
    assert repr(e) == "<Rules: Anchors, 1 rule, 0 model queries>"


def test_results_come_back_from_file_and_pickle(tmp_path):
    e = anchors().explain(EVERY[:3])
    e.save(tmp_path / "rules.json")
    for again in (Rules.load(tmp_path / "rules.json"), pickle.loads(pickle.dumps(e))):
        assert again.rules == e.rules
        assert again.stats == e.stats
        assert dict(again.settings) == dict(e.settings)
        assert again.to_text() == e.to_text()
    (tmp_path / "other.json").write_text(json.dumps({"format": "something"}))
    (tmp_path / "newer.json").write_text(json.dumps({"format": "whybox.rules", "version": 99}))
    (tmp_path / "torn.json").write_bytes((tmp_path / "rules.json").read_bytes()[:100])
    (tmp_path / "gap.json").write_text(json.dumps({"format": "whybox.rules", "version": 1}))
    for name in ("other", "newer", "torn", "gap"):
        with pytest.raises(InputError):
            Rules.load(tmp_path / f"{name}.json")


def test_results_are_sliced_and_tabulated():
    e = anchors().explain(EVERY[:5])
    assert [len(e[key]) for key in (0, slice(1, 3), [4, 0], np.array([True, False, True, False, False]))] == [1, 2, 2, 2]
    assert e[[4, 0]].rules == (e.rules[4], e.rules[0])
    assert [one.rules for one in e] == [(rule,) for rule in e.rules]
    frame = e.to_frame()
    assert frame.columns.tolist() == ["row", "rule", "prediction", "precision", "ci_low", "ci_high", "coverage", "size", "found"]
    assert ((frame["ci_low"] <= frame["precision"]) & (frame["precision"] <= frame["ci_high"])).all()
    with pytest.raises(IndexError):
        e[9]
    with pytest.raises(InputError, match="a sequence of texts"):
        e.covers("text")


def test_results_show_no_secret():
    class Keyed:
        key = "sk-planted"

        def __call__(self, rows):
            return model(rows)

        def __repr__(self):
            return f"Keyed({self.key})"

    explainer = Anchors(Keyed(), B, categorical=ALL)
    e = explainer.explain(EVERY[:1])
    assert not any("sk-planted" in text for text in (repr(explainer), repr(e), e.to_html(), json.dumps(dict(e.settings)), e.to_text()))


def test_images_have_rules_of_segments():
    def bright(rows):
        corner = np.asarray(rows)[:, :8, :8].mean(axis=(1, 2)) > 0.5
        return np.stack([~corner, corner], axis=1).astype(float)

    image = np.zeros((1, 16, 16))
    image[:, :8, :8] = 1.0
    e = Anchors(bright, space=Segments(n_segments=4, fill=0.0)).explain(image)
    assert e.rules[0].size == 1
    assert e.rules[0].text.endswith("is kept")
    assert e.rules[0].precision == 1.0
