"""TCAV, LEACE and CausaLM: closed forms, definitions, and what must be seen on models whose concepts are planted."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.linear_model import LogisticRegression

from whybox.concepts import LEACE, TCAV, CausaLM, TrainingOptions
from whybox.concepts.tcav import _welch
from whybox.errors import InputError, OptionError, OutputShapeError, ShapeError

# LEACE


def planted(n=400, d=6, values=3, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.integers(0, values, n)
    mix = rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mix + rng.normal(size=(values, d))[z] + 5.0, z


def by_formula(x, onehot):
    """r(x) = x - W⁺ P W (x - mean), with the matrix square roots written out."""
    centred, concept = x - x.mean(axis=0), onehot - onehot.mean(axis=0)
    size, axes = np.linalg.eigh(centred.T @ centred / len(x))
    kept = size > 1e-10 * size.max()
    w = axes[:, kept] / np.sqrt(size[kept]) @ axes[:, kept].T
    a = w @ (centred.T @ concept / len(x))
    p = a @ scipy.linalg.pinv(a)
    return x - centred @ (scipy.linalg.pinv(w) @ p @ w).T


@pytest.mark.parametrize("values", [2, 3, 5])
def test_leace_is_its_formula(values):
    x, z = planted(values=values)
    np.testing.assert_allclose(LEACE.fit(x, z)(x), by_formula(x, np.eye(values)[z]), atol=1e-8)


def test_leace_of_singular_representations_is_its_formula():
    x, z = planted()
    x = np.concatenate([x, x[:, :2] + x[:, 2:4]], axis=1)  # two columns are sums of others
    np.testing.assert_allclose(LEACE.fit(x, z)(x), by_formula(x, np.eye(3)[z]), atol=1e-6)


def test_after_leace_no_linear_predictor_beats_the_mean():
    x, z = planted()
    erased = LEACE.fit(x, z)(x)
    onehot = np.eye(3)[z]
    centred = erased - erased.mean(axis=0)
    fitted = (
        onehot.mean(axis=0) + centred @ np.linalg.lstsq(centred, onehot - onehot.mean(axis=0), rcond=1e-8)[0]
    )  # what was erased is noise
    np.testing.assert_allclose(fitted, np.broadcast_to(onehot.mean(axis=0), fitted.shape), atol=1e-8)
    logistic = LogisticRegression(C=1e6, max_iter=2000, tol=1e-10).fit(erased, z)
    shares = np.bincount(z) / len(z)
    best_constant = -(shares * np.log(shares)).sum()
    loss = -np.log(logistic.predict_proba(erased)[np.arange(len(z)), z]).mean()
    assert loss == pytest.approx(best_constant, abs=1e-6)
    assert -np.log(LogisticRegression(max_iter=2000).fit(x, z).predict_proba(x)[np.arange(len(z)), z]).mean() < 0.9 * best_constant


def test_leace_moves_no_more_than_the_orthogonal_projection_and_only_a_rank_below_the_values():
    x, z = planted(n=2000)
    eraser = LEACE.fit(x, z)
    means = np.stack([x[z == v].mean(axis=0) for v in range(3)])
    span = scipy.linalg.orth((means - means.mean(axis=0)).T)
    projected = x - (x - x.mean(axis=0)) @ span @ span.T  # erases the concept, too
    assert ((eraser(x) - x) ** 2).sum() < ((projected - x) ** 2).sum()
    assert eraser.rank == 2
    assert np.linalg.matrix_rank(eraser(x) - x, tol=1e-8) == 2
    np.testing.assert_allclose(eraser(x).mean(axis=0), x.mean(axis=0))


def test_leace_of_numbers_and_of_nothing_to_erase():
    x, z = planted()
    several = np.stack([z, z**2], axis=1).astype(float)
    erased = LEACE.fit(x, several)(x)
    np.testing.assert_allclose((erased - erased.mean(axis=0)).T @ (several - several.mean(axis=0)), 0.0, atol=1e-6)
    clean = LEACE.fit(erased, several)
    np.testing.assert_allclose(clean(erased), erased, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "z", "error", "message"),
    [
        (np.zeros(4), [0, 1, 0, 1], ShapeError, "numbers"),
        (np.eye(4), [0, 1, 0], ShapeError, "expected 4 values"),
        (np.eye(4), [1, 1, 1, 1], InputError, "at least two values"),
        (np.diag([np.nan, 1.0, 1.0, 1.0]), [0, 1, 0, 1], InputError, "not finite"),
    ],
)
def test_leace_names_wrong_input(x, z, error, message):
    with pytest.raises(error, match=message):
        LEACE.fit(x, z)
    with pytest.raises(ShapeError, match=r"expected \(n, 6\)"):
        LEACE.fit(*planted())(np.zeros((2, 3)))


# TCAV

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'whybox[torch]'")


def network(seed=0):
    """Its first layer is the identity; output 0 rises with unit 0, output 1 falls with it, output 2 does not know it."""
    body = torch.nn.Linear(4, 4)
    head = torch.nn.Linear(4, 3)
    with torch.no_grad():
        body.weight.copy_(torch.eye(4))
        body.bias.zero_()
        head.weight.copy_(torch.tensor([[2.0, 0.1, 0, 0], [-2.0, 0, 0.1, 0], [0.0, 1.0, 1.0, 1.0]]))
    return torch.nn.Sequential(body, torch.nn.Tanh(), head, torch.nn.Dropout(0.5))


def examples(n, shift=0.0, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    x[:, 0] += shift
    return x


def test_tcav_finds_the_planted_concept_and_no_other():
    module = network().train()
    found = TCAV(module, "0").explain(examples(50), concept=examples(60, 4.0, 1), random=[examples(60, 0, s) for s in range(2, 14)])
    assert found.mean[0] == 1.0
    assert found.mean[1] == 0.0
    assert found.significant().tolist() == [True, True, False]
    assert found.accuracy.mean() > 0.9
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1.0)
    assert found.vectors[:, 0].min() > 0.9
    assert module.training  # as it was
    assert all(not m._forward_hooks for m in module.modules())


def test_tcav_of_a_random_concept_is_seldom_significant():
    called = 0
    for s in range(10):
        draws = [examples(30, 0, 100 * s + i) for i in range(9)]
        called += int(TCAV(network(), "0").explain(examples(30, 0, 7), concept=draws[0], random=draws[1:]).significant(0.05)[2])
    assert called <= 3  # directions that share one set are alike, so the test is not exact; a concept that is none is mostly not found


def test_tcav_gradients_and_activations_are_those_of_the_layer():
    module, x = network().eval(), examples(10)
    t = TCAV(module, "0", batch_size=3)
    np.testing.assert_allclose(t.activations(x), x, atol=1e-6)
    by_hand = (1 - np.tanh(x) ** 2)[None] * module[2].weight.detach().numpy()[:, None, :]
    np.testing.assert_allclose(t.gradients(x), by_hand, atol=1e-6)


def test_tcav_over_tokens_moves_all_of_them():
    class Sequence(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(5, 3)
            self.out = torch.nn.Linear(3, 2)

        def forward(self, ids):
            return self.out(self.embed(ids).mean(dim=1))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Sequence().eval()
    ids = np.random.default_rng(0).integers(0, 5, (6, 7))
    t = TCAV(module, "embed", layout="tokens")
    weight = module.out.weight.detach().numpy()
    np.testing.assert_allclose(t.gradients(ids), np.broadcast_to(weight[:, None, :], (2, 6, 3)), atol=1e-6)
    np.testing.assert_allclose(t.activations(ids), module.embed.weight.detach().numpy()[ids].mean(axis=1), atol=1e-6)
    with pytest.raises(OutputShapeError, match="expects"):
        TCAV(module, "out", layout="tokens").activations(ids)


def test_welch_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=7), rng.normal(0.5, 2, size=12)
    assert _welch(a, b) == pytest.approx(scipy.stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert _welch(np.ones(3), np.zeros(3)) == 0.0
    assert np.isnan(_welch(np.ones(3), np.ones(4)))


def test_tcav_same_seed_same_bits():
    arguments = {"concept": examples(30, 2.0, 1), "random": [examples(30, 0, s) for s in range(2, 6)]}
    a, b = (TCAV(network(), "0").explain(examples(20), seed=3, **arguments) for _ in range(2))
    assert np.array_equal(a.scores, b.scores)
    assert np.array_equal(a.accuracy, b.accuracy)


def test_tcav_names_wrong_input():
    with pytest.raises(OptionError, match=r"expected one of \['0', '1'"):
        TCAV(network(), "body")
    with pytest.raises(OptionError, match="layout"):
        TCAV(network(), "0", layout="pixels")
    t = TCAV(network(), "0")
    with pytest.raises(InputError, match="at least two sets"):
        t.explain(examples(5), concept=examples(5), random=[examples(5)])
    with pytest.raises(InputError, match="at least four examples"):
        t.explain(examples(5), concept=examples(2), random=[examples(5), examples(5)])
    with pytest.raises(InputError, match="at least one row"):
        t.activations(examples(0))


# CausaLM: the words that stand for two concepts and the label are known.
WORDS = ("good", "bad", "loud", "calm", "soup", "rice")


def counts(texts):
    return np.array([[1.0 + t.split().count(w) for w in WORDS] for t in texts], dtype=np.float32)


def menus(n=240, seed=0):
    rng = np.random.default_rng(seed)
    food, room = rng.integers(0, 2, (2, n))
    texts = [f"{('bad', 'good')[f]} {rng.choice(['soup', 'rice'])} {('calm', 'loud')[r]}" for f, r in zip(food, room, strict=True)]
    label = np.where(rng.random(n) < 0.9, food, room)
    return texts, label, food, room


OPTIONS = TrainingOptions(epochs=30, batch_size=32, learning_rate=0.02)


def test_causalm_blinds_one_model_and_keeps_the_control():
    texts, label, food, room = menus()
    e = CausaLM.fit(counts, texts, label, treated=food, control=room, options=OPTIONS, dimension=32)
    assert e.treated_accuracy[0] > 0.95
    assert np.abs(e.effects(texts)).mean() > 0.2
    blind = e.counterfactual.encoder(texts)
    assert LogisticRegression(max_iter=500).fit(blind, room).score(blind, room) > 0.95
    good, bad = (e.effects([f"{w} soup calm"])[0, 1] for w in ("good", "bad"))
    assert good < -0.15 < 0.15 < bad


def test_causalm_of_a_concept_that_the_label_ignores_is_small():
    texts, _, food, room = menus()
    used = CausaLM.fit(counts, texts, food, treated=food, options=OPTIONS, dimension=32)
    unused = CausaLM.fit(counts, texts, food, treated=room, control=food, options=OPTIONS, dimension=32)
    assert np.abs(unused.effects(texts)).mean() < 0.25 * np.abs(used.effects(texts)).mean()


def test_causalm_same_seed_same_bits():
    texts, label, food, room = menus(60)
    a, b = (
        CausaLM.fit(counts, texts, label, treated=food, control=room, options=TrainingOptions(epochs=3), dimension=8, seed=4)
        for _ in range(2)
    )
    assert np.array_equal(a.effects(texts), b.effects(texts))
    assert a.classes == ("0", "1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"treated": [0]}, "treated: expected 60"),
        ({"control": [1] * 60}, "control: expected at least two"),
        ({"strength": 0}, "strength"),
        ({"tune": True}, "tune"),
    ],
)
def test_causalm_names_wrong_input(change, message):
    texts, label, food, _ = menus(60)
    with pytest.raises(InputError, match=message):
        CausaLM.fit(counts, texts, label, **({"treated": food} | change))
