"""sp_lime: the greedy choice of the paper, by column, by condition and by word."""

from __future__ import annotations

import numpy as np
import pytest

from whybox import LIME, Attribution, Occlusion, sp_lime
from whybox.errors import InputError, OptionError
from whybox.solvers.submodular import greedy_cover
from whybox.spaces import Words

RNG = np.random.default_rng(4)


def attribution(values, **more):
    n, d = values.shape
    names = tuple(f"x{j}" for j in range(d))
    return Attribution(values=values, base_values=np.zeros(n), predictions=values.sum(1), feature_names=names, method="LIME", **more)


def by_the_paper(w, k):
    """Algorithm 2 and equations 3 and 4 of Ribeiro, Singh and Guestrin 2016, as they stand there."""
    importance = np.sqrt(np.abs(w).sum(axis=0))
    chosen = []
    while len(chosen) < k:
        covered = {i: sum(importance[j] for j in range(w.shape[1]) if any(w[r, j] != 0 for r in [*chosen, i])) for i in range(len(w))}
        left = [i for i in covered if i not in chosen]
        chosen.append(max(left, key=lambda i: (covered[i], -i)))
    return chosen


def sparse_values(n=40, d=12):
    return RNG.normal(size=(n, d)) * (RNG.random((n, d)) < 0.25)


def test_choice_is_the_papers():
    for _ in range(5):
        w = sparse_values()
        assert sp_lime(attribution(w), 6, num_features=None).rows.tolist() == by_the_paper(w, 6)


def test_choice_is_limes():
    """``lime.submodular_pick`` on the same weights; it prefers the last of equals, so no two are equal here."""
    pick = pytest.importorskip("lime.submodular_pick")
    w = sparse_values(25, 9)

    class Told:
        mode = "regression"

        def __init__(self, row):
            self.row = row

        def as_list(self, label=None):
            return [(f"x{j}", value) for j, value in enumerate(self.row) if value]

    class Teller:
        def explain_instance(self, row, *_, **__):
            return Told(row)

    theirs = pick.SubmodularPick(Teller(), w, None, method="full", num_exps_desired=3)
    ours = sp_lime(attribution(w), 3, num_features=None)
    assert ours.rows.tolist() == theirs.V


def test_greedy_choice_is_within_its_bound():
    covers, worth = RNG.random((10, 15)) < 0.2, RNG.random(15)
    rows, share = greedy_cover(covers, worth, 3)
    total = worth[covers.any(axis=0)].sum()
    best = max(worth[covers[[i, j, k]].any(axis=0)].sum() for i in range(10) for j in range(10) for k in range(10)) / total
    assert (1 - 1 / np.e) * best <= share[-1] <= best + 1e-12
    assert len(set(rows.tolist())) == 3
    assert (np.diff(share) >= 0).all()


def test_conditions_are_features_of_their_own():
    values = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 0.5]])
    conditions = np.array([["x0 <= 1", None], ["x0 > 1", None], [None, "x1 > 3"]], dtype=object)
    e = attribution(values, conditions=conditions)
    assert sp_lime(e, 2).rows.tolist() == [0, 1]
    assert sp_lime(e, 2, by="feature").rows.tolist() == [0, 2]
    assert sp_lime(e, 2).features == ("x0 <= 1", "x0 > 1", "x1 > 3")


def test_dense_values_cover_their_largest_features_only():
    w = np.abs(RNG.normal(size=(30, 8))) * 0.01
    w[:4, 0], w[4, 5], w[5, 6] = 5.0, 4.0, 3.0
    pick = sp_lime(attribution(w), 3, num_features=1)
    assert set(pick.rows.tolist()) >= {4, 5}
    assert sp_lime(attribution(w), 3, num_features=None).coverage[0] == pytest.approx(1.0)


def test_picks_explain_limes_bins_and_texts_words():
    x = RNG.normal(size=(60, 4))
    e = LIME(lambda rows: rows[:, 0] + (rows[:, 1] > 0), x, min_score=None).explain(x[:20], budget=190)
    pick = sp_lime(e, 4, num_features=2)
    assert len(pick) == 4
    assert any("<" in name or ">" in name for name in pick.features)
    assert np.array_equal(pick.explanation.values, e.values[pick.rows])
    texts = ["good good soup", "bad soup", "good view", "quiet room"]
    model = lambda rows: np.array([t.count("good") - 2.0 * t.count("bad") for t in rows])  # noqa: E731
    words = sp_lime(Occlusion(model, space=Words()).explain(texts), 2)
    assert words.features == ("good", "bad")
    assert words.importance.tolist() == pytest.approx([np.sqrt(3.0), np.sqrt(2.0)])
    assert words.rows.tolist() == [0, 1]
    assert words.coverage[-1] == pytest.approx(1.0)
    assert "rows [0, 1]" in repr(words)


def test_what_cannot_be_picked_is_refused():
    e = attribution(sparse_values(5, 3))
    for refused, error in (
        (lambda: sp_lime(e, 6), OptionError),
        (lambda: sp_lime(e, 0), OptionError),
        (lambda: sp_lime(e, 2, by="word"), OptionError),
        (lambda: sp_lime(e, 2, num_features=0), OptionError),
        (lambda: sp_lime(e[0], 1), InputError),
    ):
        with pytest.raises(error):
            refused()
    two = Attribution(
        values=np.zeros((3, 2, 2)), base_values=np.zeros((3, 2)), predictions=np.zeros((3, 2)), feature_names=("a", "b"), method="LIME"
    )
    with pytest.raises(InputError, match="one output"):
        sp_lime(two, 1)
    assert sp_lime(attribution(np.zeros((3, 2))), 2).coverage.tolist() == [1.0, 1.0]
