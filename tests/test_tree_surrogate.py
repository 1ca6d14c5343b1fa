"""The shared surrogate: what it learns, that it never makes things worse by hope, and that its answers stay exact and unbiased."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from whybox._random import generator
from whybox.errors import InputError, OptionError, OutputValueError, SchemaError, ShapeError
from whybox.samplers.coalitions import coalitions
from whybox.solvers.control_variate import control_coefficients, solve_controlled
from whybox.solvers.least_squares import solve_least_squares
from whybox.solvers.row_encoding import fit_encoder
from whybox.solvers.spectral_gp import Guide, solve_spectral_gp
from whybox.solvers.spectral_prior import Prior
from whybox.solvers.tree_game import TreeGame
from whybox.solvers.tree_leaves import ensembles
from whybox.solvers.tree_spectrum import Spectrum
from whybox.solvers.tree_surrogate import TreeSettings, fit_surrogate

D = 12
B = 30


def hybrids(x, background, n, rng):
    kept = rng.random((n, x.shape[1])).argsort(axis=1) < rng.integers(0, x.shape[1] + 1, size=(n, 1))
    return np.where(kept, x[rng.integers(len(x), size=n)], background[rng.integers(len(background), size=n)])


@pytest.fixture(scope="module")
def job():
    """A tree model with interactions, its exact truth, and a surrogate of it."""
    rng = generator(0, "surrogate test")
    x = rng.normal(size=(1200, D))
    y = 4 * (x[:, 2:5] > 0).all(axis=1) + 3 * (x[:, [0, 1, 5]] > -0.3).all(axis=1) + (x[:, 6] > 0) * x[:, 7] + x[:, 8:] @ np.ones(4)
    model = GradientBoostingRegressor(n_estimators=30, learning_rate=0.3, max_depth=3, random_state=0).fit(x, y)
    game = TreeGame.of(ensembles(model)[0], x[:B])
    rows = hybrids(x[:1000], x[:B], 12_000, rng)
    surrogate = fit_surrogate(rows, model.predict(rows))
    return model, x, game, surrogate, surrogate.bind(x[:B], x[100:150])


def right_hand_sides(game, x, codes):
    return game.values(x, codes), np.full(len(x), game.empty()), game.full(x)


def relative(found, truth):
    return np.median(np.linalg.norm(found - truth, axis=1) / np.linalg.norm(truth, axis=1))


def test_r2_is_out_of_sample(job):
    model, x, _, surrogate, _ = job
    fresh = hybrids(x[1000:], x[:B], 4000, generator(1, "fresh"))
    truth = model.predict(fresh)
    honest = 1 - np.mean((surrogate.predict(fresh)[:, 0] - truth) ** 2) / truth.var()
    assert 0.8 < surrogate.r2[0] <= honest + 0.02  # each half alone is no better than their mean
    noise = generator(2, "noise").normal(size=len(fresh))
    assert fit_surrogate(fresh, noise).r2[0] < 0.05


def test_guide_is_the_surrogates_own_game(job):
    _, x, _, surrogate, bound = job
    codes = coalitions(D, 20, generator(0, "codes"))
    guide = bound.guide(x[1000:1004], codes, 0)
    rows = np.where(codes[None, :, None], x[1000:1004][:, None, None], x[:B])
    np.testing.assert_allclose(guide.v, surrogate.predict(rows.reshape(-1, D)).reshape(4, 20, B).mean(axis=2), atol=1e-10)
    np.testing.assert_allclose(guide.shapley.sum(axis=1), guide.v_full - guide.v_empty, atol=1e-10)
    np.testing.assert_allclose(guide.v_full, surrogate.predict(x[1000:1004])[:, 0], atol=1e-10)


@pytest.mark.parametrize("budget", [2 * D, 5 * D, 10 * D])
def test_guided_process_has_half_the_error_of_paired_least_squares(job, budget):
    _, x, game, _, bound = job
    rows, truth = x[1000:1040], game.shapley(x[1000:1040])
    errors = []
    for seed in range(6):
        codes = coalitions(D, budget, generator(seed, "codes"))
        sides = right_hand_sides(game, rows, codes)
        plain = solve_least_squares(codes, *sides)
        guided = solve_spectral_gp(codes, *sides, spectrum=bound.spectra[0], guide=bound.guide(rows, codes, 0))
        np.testing.assert_allclose(guided.values.sum(axis=1), sides[2] - sides[1], atol=1e-9)
        errors.append((relative(plain.values, truth), relative(guided.values, truth)))
    plain_error, guided_error = np.mean(errors, axis=0)
    assert guided_error < plain_error / 2


def test_standard_errors_cover(job):
    _, x, game, _, bound = job
    rows, truth = x[1000:1040], game.shapley(x[1000:1040])
    inside = []
    for seed in range(8):
        codes = coalitions(D, 6 * D, generator(seed, "codes"))
        found = solve_spectral_gp(codes, *right_hand_sides(game, rows, codes), spectrum=bound.spectra[0], guide=bound.guide(rows, codes, 0))
        inside.append(np.abs(found.values - truth) <= 1.96 * found.std_error)
    assert 0.9 < np.mean(inside) < 0.99


def test_a_surrogate_of_another_model_gets_no_weight(job):
    _, x, game, _, bound = job
    rows = x[1000:1020]
    codes = coalitions(D, 10 * D, generator(0, "codes"))
    sides = right_hand_sides(game, rows, codes)
    alien = bound.guide(rows[:, ::-1], codes, 0)
    found = solve_spectral_gp(codes, *sides, spectrum=bound.spectra[0], guide=alien)
    alone = solve_spectral_gp(codes, *sides, spectrum=bound.spectra[0])
    assert found.info["subtracted"].max() < 0.01
    np.testing.assert_allclose(found.values, alone.values, atol=0.01 * np.abs(alone.values).max())


def test_a_wrong_spectrum_costs_little_against_least_squares(job):
    _, x, game, _, bound = job
    rows, truth = x[1000:1020], game.shapley(x[1000:1020])
    right = bound.spectra[0]
    wrong = Spectrum(right.main[::-1].copy(), np.sort(D - 1 - right.triples, axis=1), right.energy, right.main_left)
    codes = coalitions(D, 10 * D, generator(0, "codes"))
    sides = right_hand_sides(game, rows, codes)
    plain, found = solve_least_squares(codes, *sides), solve_spectral_gp(codes, *sides, spectrum=wrong)
    assert relative(found.values, truth) < 1.25 * relative(plain.values, truth)


def test_a_row_has_the_same_bits_whatever_the_other_rows_are(job):
    _, x, game, _, bound = job
    for budget in (4 * D, 45 * D):  # settings averaged, and one setting chosen
        codes = coalitions(D, budget, generator(0, "codes"))

        def solve(rows, codes=codes):
            found = solve_spectral_gp(
                codes, *right_hand_sides(game, rows, codes), spectrum=bound.spectra[0], guide=bound.guide(rows, codes, 0)
            )
            return np.concatenate([found.values, found.std_error], axis=1)

        every = solve(x[1000:1100])
        assert np.array_equal(every[3:5], solve(x[1003:1005]))
        assert np.array_equal(every[70:], solve(x[1070:1100]))
        assert np.array_equal(every[::-1], solve(x[1000:1100][::-1]))


@pytest.mark.parametrize("subtracted", [False, True])
def test_control_variate_leaves_an_unbiased_estimate(job, subtracted):
    """The mean over designs is the truth, within its own standard error."""
    _, x, game, _, bound = job
    rows = x[1000:1008]
    truth = game.shapley(rows)
    found = []
    for seed in range(40):
        codes = coalitions(D, 6 * D, generator(seed, "codes"))
        sides, guide = right_hand_sides(game, rows, codes), bound.guide(rows, codes, 0)
        if not subtracted:
            guide = Guide(np.zeros_like(guide.shapley), np.zeros_like(guide.v), np.zeros(8), np.zeros(8))
        found.append(solve_controlled(solve_least_squares, codes, *sides, guide).values)
    error = np.mean(found, axis=0) - truth
    assert np.mean(np.abs(error) / (np.std(found, axis=0) / np.sqrt(40))) < 1.3  # 0.8 for normal errors without bias


def test_control_variate_lowers_the_error_where_the_surrogate_is_good(job):
    _, x, game, _, bound = job
    rows, truth = x[1000:1040], game.shapley(x[1000:1040])
    codes = coalitions(D, 8 * D, generator(0, "codes"))
    sides, guide = right_hand_sides(game, rows, codes), bound.guide(rows, codes, 0)
    controlled = solve_controlled(solve_least_squares, codes, *sides, guide)
    assert relative(controlled.values, truth) < 0.75 * relative(solve_least_squares(codes, *sides).values, truth)
    assert 0.5 < np.median(controlled.info["control"]) <= 1.5


def test_control_variate_that_does_not_help_leaves_the_plain_estimate(job):
    _, x, game, _, _ = job
    codes = coalitions(D, 8 * D, generator(0, "codes"))
    sides = right_hand_sides(game, x[1000:1040], codes)
    rng = generator(3, "useless")
    useless = Guide(np.zeros((40, D)), rng.normal(size=sides[0].shape), np.zeros(40), np.zeros(40))
    beta = control_coefficients(codes, *sides, useless)
    assert np.mean(beta == 0) > 0.5
    plain, found = solve_least_squares(codes, *sides), solve_controlled(solve_least_squares, codes, *sides, useless)
    assert np.array_equal(found.values[beta == 0], plain.values[beta == 0])
    assert relative(found.values, plain.values) < 0.1
    few = coalitions(D, 2 * D, generator(0, "codes"))
    sides = right_hand_sides(game, x[1000:1040], few)
    loud = Guide(np.zeros((40, D)), 100 * rng.normal(size=sides[0].shape), np.zeros(40), np.zeros(40))
    assert not control_coefficients(few, *sides, loud).any()


def test_prior_equals_its_sum_over_subsets():
    """Covariances of the product floor and of listed triples, against explicit sums over all odd subsets."""
    rng = generator(0, "prior test")
    d = 5
    signs = np.vstack([np.ones(d), rng.choice([-1.0, 1.0], size=(6, d))])
    spectrum = Spectrum(rng.random(d) + 0.1, np.array([[0, 1, 2], [1, 3, 4]]), np.array([0.5, 0.2]), rng.random(d) + 0.1)
    prior = Prior.of(spectrum, signs)
    subsets = [np.flatnonzero(np.array(list(np.binary_repr(i, d))) == "1") for i in range(1, 2**d)]
    r2 = 0.1 * np.sqrt(np.clip(spectrum.main / spectrum.main.max(), 0.02, 1))
    energy = {tuple(t): float(np.prod(r2[t])) for t in subsets if len(t) in (3, 5)}
    total = sum(energy.values())
    parts = {
        "floor": ({t: spectrum.energy.sum() * e / total for t, e in energy.items()}, prior.floor),
        "listed": ({(0, 1, 2): 0.5, (1, 3, 4): 0.2}, prior.listed),
        "main": ({(i,): spectrum.main[i] + 1e-3 * spectrum.main.max() for i in range(d)}, prior.main),
    }
    for name, (energies, found) in parts.items():
        pairs, shapley, variance = np.zeros((7, 7)), np.zeros((d, 7)), np.zeros(d)
        for t, e in energies.items():
            character, share = signs[:, t].prod(axis=1), np.zeros(d)
            share[list(t)] = 2 / len(t)
            pairs += e * np.outer(character, character)
            shapley += e * np.outer(share, character)
            variance += e * share**2
        np.testing.assert_allclose(found.pairs, pairs, rtol=1e-8, atol=1e-14, err_msg=name)
        np.testing.assert_allclose(found.shapley, shapley, rtol=1e-8, atol=1e-14, err_msg=name)
        np.testing.assert_allclose(found.variance, variance, rtol=1e-3, err_msg=name)


def test_mirrored_outputs_are_fitted_once(job):
    _, x, _, _, _ = job
    p = 1 / (1 + np.exp(-x[:, 0] - x[:, 1] * x[:, 2]))
    both = fit_surrogate(x, np.stack([1 - p, p], axis=1))
    assert len(both.halves) == 1
    np.testing.assert_allclose(both.predict(x[:20]).sum(axis=1), 1.0, atol=1e-12)
    bound = both.bind(x[:B], x[100:150])
    codes = coalitions(D, 20, generator(0, "codes"))
    no, yes = bound.guide(x[:3], codes, 0), bound.guide(x[:3], codes, 1)
    np.testing.assert_allclose(no.v + yes.v, 1.0, atol=1e-12)
    np.testing.assert_allclose(no.v_full + yes.v_full, 1.0, atol=1e-12)
    np.testing.assert_allclose(no.shapley, -yes.shapley, atol=1e-15)
    alone = fit_surrogate(x, p).bind(x[:B], x[100:150]).guide(x[:3], codes, 0)
    np.testing.assert_allclose(alone.shapley, yes.shapley, atol=1e-4)
    with pytest.raises(OptionError, match="output"):
        bound.guide(x[:3], codes, 2)


def test_three_outputs_are_explained_one_by_one(job):
    _, x, _, _, _ = job
    outputs = np.stack([x[:, 0], x[:, 1] * x[:, 2], np.full(len(x), 2.0)], axis=1)
    surrogate = fit_surrogate(x, outputs)
    assert surrogate.predict(x[:5]).shape == (5, 3)
    assert surrogate.r2.shape == (3,)
    bound = surrogate.bind(x[:B], x[100:150])
    guides = [bound.guide(x[:5], coalitions(D, 20, generator(0, "codes")), k) for k in range(3)]
    assert np.abs(guides[0].shapley).sum(axis=0).argmax() == 0
    assert not guides[2].shapley.any()


def test_same_queries_same_bits_and_pickle(job):
    _, x, _, surrogate, _ = job
    again = fit_surrogate(x[:600], x[:600, 0] * x[:600, 1], settings=TreeSettings(trees=20))
    once = fit_surrogate(x[:600], x[:600, 0] * x[:600, 1], settings=TreeSettings(trees=20))
    assert np.array_equal(again.predict(x), once.predict(x))
    assert np.array_equal(pickle.loads(pickle.dumps(surrogate)).predict(x), surrogate.predict(x))


def test_missing_values_are_learned_from(job):
    _, x, _, _, _ = job
    holes = x.copy()
    holes[generator(0, "holes").random(x.shape) < 0.2] = np.nan
    surrogate = fit_surrogate(holes, np.where(np.isnan(holes[:, 0]), 2.0, np.nan_to_num(holes[:, 0])))
    assert surrogate.r2[0] > 0.9
    assert np.isfinite(surrogate.bind(holes[:B], holes[50:80]).guide(holes[:9], coalitions(D, 20, generator(0, "codes")), 0).v).all()


def test_bad_input_is_named(job):
    _, x, game, _, bound = job
    with pytest.raises(InputError, match="at least 200"):
        fit_surrogate(x[:50], x[:50, 0])
    with pytest.raises(ShapeError, match="rows"):
        fit_surrogate(x, x[:50, 0])
    with pytest.raises(OutputValueError, match="finite"):
        fit_surrogate(x, np.where(x[:, 0] > 2, np.nan, x[:, 0]))
    with pytest.raises(OptionError, match="depth"):
        fit_surrogate(x, x[:, 0], settings=TreeSettings(depth=9))
    with pytest.raises(ShapeError, match="reference"):
        fit_surrogate(x, x[:, 0], settings=TreeSettings(trees=2)).bind(x[:B], x[:0])
    codes = coalitions(D, 20, generator(0, "codes"))
    sides = right_hand_sides(game, x[:3], codes)
    with pytest.raises(InputError, match="pairs"):
        solve_spectral_gp(codes[::-1][1:19], sides[0][:, 1:19], *sides[1:], spectrum=bound.spectra[0])
    with pytest.raises(ShapeError, match="guide"):
        solve_spectral_gp(codes, *sides, spectrum=bound.spectra[0], guide=bound.guide(x[:2], codes, 0))


def test_frames_of_any_types_become_numbers():
    frame = pd.DataFrame(
        {
            "text": ["a", "b", None, "a", "c"],
            "category": pd.Categorical(["low", "high", "low", None, "high"]),
            "whole": pd.array([1, None, 3, 4, 5], dtype="Int64"),
            "flag": [True, False, True, True, False],
            "day": pd.to_datetime(["2020-01-01", "2020-01-02", None, "2020-01-01", "2020-01-04"]),
            "large": np.array([2**60, 2**60 + 1, 2**60 + 2, 2**60, 2**60 + 7]),
            "unsigned": np.array([5, 3, 9, 3, 2**63 + 1], dtype=np.uint64),
            "real": [0.5, np.nan, 1.0, 2.0, 3.0],
        }
    )
    encoder = fit_encoder(frame, [3.0, 1.0, 0.0, 3.0, 2.0])
    codes = encoder.encode(frame)
    assert codes.dtype == np.float64
    np.testing.assert_array_equal(codes[:, 0], [2, 0, np.nan, 2, 1])  # by mean output: b 1, c 2, a 3
    np.testing.assert_array_equal(codes[:, 1], [1, 0, 1, np.nan, 0])  # a tie keeps the order of the names: both have mean 1.5
    np.testing.assert_array_equal(codes[:, 2], [0, np.nan, 2, 3, 4])
    np.testing.assert_array_equal(codes[:, 3], [1, 0, 1, 1, 0])
    np.testing.assert_array_equal(codes[:, 4], [0, 86400, np.nan, 0, 3 * 86400])
    np.testing.assert_array_equal(codes[:, 5], [0, 1, 2, 0, 7])
    np.testing.assert_array_equal(codes[:4, 6], [2, 0, 6, 0])
    np.testing.assert_array_equal(codes[:, 7], frame["real"])


def test_unseen_levels_count_as_missing_and_other_columns_are_refused():
    frame = pd.DataFrame({"text": ["a", "b"], "n": [1, 2]})
    encoder = fit_encoder(frame)
    np.testing.assert_array_equal(encoder.encode(pd.DataFrame({"text": ["z", "b"], "n": [1, 9]})), [[np.nan, 0], [1, 8]])
    with pytest.raises(SchemaError, match="columns"):
        encoder.encode(frame[["n", "text"]])
    with pytest.raises(SchemaError, match="numbers"):
        encoder.encode(pd.DataFrame({"text": ["a", "b"], "n": ["1", "2"]}))
    with pytest.raises(ShapeError, match="two axes"):
        fit_encoder(np.arange(3))


def test_arrays_pass_through_the_encoder_and_keep_objects_apart():
    x = np.array([[0.5, np.nan], [1.5, 2.0]])
    np.testing.assert_array_equal(fit_encoder(x).encode(x), x)
    mixed = np.array([[1, "x"], ["1", "y"], [1, None]], dtype=object)
    codes = fit_encoder(mixed).encode(mixed)
    assert codes[0, 0] == codes[2, 0] != codes[1, 0]
    assert np.isnan(codes[2, 1])


def test_surrogate_of_a_model_on_a_raw_frame():
    rng = generator(0, "frame surrogate")
    frame = pd.DataFrame({"colour": rng.choice(["red", "green", "blue", "grey"], size=3000), "size": rng.normal(size=3000)})
    outputs = np.where(frame["colour"].isin(["red", "grey"]), frame["size"], -1.0)
    encoder = fit_encoder(frame, outputs)
    surrogate = fit_surrogate(encoder.encode(frame), outputs)
    assert surrogate.r2[0] > 0.95
