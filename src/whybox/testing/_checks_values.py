"""Contracts on the numbers: axioms, closed forms, brute force, and standard errors that cover."""

from __future__ import annotations

import numpy as np

from whybox.testing._checks_bench import (
    Bench,
    Linear,
    Scaled,
    dummy_game,
    expect,
    game,
    other_game,
    symmetric_game,
    two_games,
)
from whybox.typing import Floats

Z_95 = 1.959963984540054
SEEDS = 60  # of the coverage check
SLACK = 2.6  # standard errors of the observed coverage, over seeds: a right explainer fails 1 time in 100, and seeds are fixed


def _close(ours: Floats, theirs: Floats, tolerance: float) -> tuple[bool, str]:
    if ours.shape != theirs.shape:
        return False, f"shape {ours.shape} for {theirs.shape}"
    gap = float(np.abs(ours - theirs).max(initial=0.0))
    size = float(np.abs(theirs).max(initial=0.0))
    return gap <= tolerance * max(size, 1.0), f"a difference of {gap:.3g} where the largest is {size:.3g}"


def predictions_are_the_models(bench: Bench) -> None:
    """Predictions are the model's own outputs for x, output by output, and names and shapes go with them."""
    x = bench.x(3)
    e = bench.make(two_games).explain(bench.x(3), **bench.few())
    expect(e.values.shape == (3, 8, 2), "values of shape (3, 8, 2)", e.values.shape, "keep every output")
    kept, came = _close(e.predictions, two_games(x), 1e-15)
    expect(kept, "predictions equal to the model's outputs", came, "take them from the run")
    one = bench.make(game).explain(bench.x(3), **bench.few())
    expect(one.values.shape == (3, 8), "values of shape (3, 8) for outputs of one axis", one.values.shape, "keep shap's shapes")
    kept, came = _close(one.predictions, game(x), 1e-15)
    expect(kept, "predictions equal to the model's outputs", came, "take them from the run")


def target_picks_an_output(bench: Bench) -> None:
    """A target's explanation is that output's part of the explanation of all, and "predicted" is each row's largest output."""
    x, tolerance = bench.x(5), max(bench.traits.tolerance, 1e-9)
    explainer = bench.make(two_games)
    both = explainer.explain(bench.x(5), **bench.enough())
    best = np.argmax(two_games(x), axis=1)
    for target, index in ((0, np.zeros(5, dtype=int)), (1, np.ones(5, dtype=int)), ("predicted", best)):
        e = explainer.explain(bench.x(5), **{**bench.enough(), "target": target})
        kept, came = _close(e.values, np.take_along_axis(both.values, index[:, None, None], axis=2)[..., 0], tolerance)
        expect(kept, f"target={target!r} to give its part of the explanation of all outputs", came, "choose outputs by the target")
        kept, came = _close(e.predictions, np.take_along_axis(both.predictions, index[:, None], axis=1)[:, 0], 1e-15)
        expect(kept, f"target={target!r} to give its output's predictions", came, "choose outputs by the target")


def base_values_are_the_background_mean(bench: Bench) -> None:
    """The base value is the model's mean output over the background: what is said when nothing is known."""
    e = bench.make(two_games).explain(bench.x(3), **bench.few())
    base = two_games(bench.background()).mean(axis=0)
    kept, came = _close(e.base_values, np.broadcast_to(base, e.base_values.shape), 1e-12)
    expect(kept, "base values equal to the mean output over the background", came, "ask the empty coalition")


def efficiency(bench: Bench) -> None:
    """10. Values add up to the prediction minus the mean output over the background, at any budget."""
    x = bench.x(4)
    total = two_games(x) - two_games(bench.background()).mean(axis=0)
    for options in (bench.few(), bench.enough()):
        e = bench.make(two_games).explain(x, **options)
        kept, came = _close(e.values.sum(axis=1), total, 1e-9)
        expect(kept, f"values that add up to prediction minus base value with {options}", came, "solve under the efficiency constraint")


def dummy_gets_nothing(bench: Bench) -> None:
    """10. A feature that the model does not read gets 0, where answers are exact."""
    e = bench.make(dummy_game).explain(bench.x(4), **bench.enough())
    idle = np.abs(e.values[:, [2, 6]]).max()
    expect(idle <= 1e-9, "0 for features 2 and 6, which the model does not read", f"{idle:.3g}", "add nothing to what was not measured")


def symmetric_features_share(bench: Bench) -> None:
    """10. Features that the model treats alike, with equal values in x and background, get equal values, where answers are exact."""
    x, background = bench.x(4), bench.background()
    x[:, :4], background[:, :4] = x[:, :1], background[:, :1]
    e = bench.make(symmetric_game, background).explain(x, **bench.enough())
    spread = np.ptp(e.values[:, :4], axis=1).max()
    size = np.abs(e.values[:, :4]).max()
    expect(spread <= 1e-9 * size, "equal values for features 0 to 3", f"a spread of {spread:.3g} at {size:.3g}", "let no order break ties")


def linear_in_the_model(bench: Bench) -> None:
    """10. The explanation of a sum of models is the sum of their explanations, at any scale of the outputs, where answers are exact."""
    x = bench.x(3)
    f, g, both = (bench.make(m).explain(x, **bench.enough()).values for m in (game, other_game, Scaled(game, other_game, 1e6, -3e5)))
    kept, came = _close(both, 1e6 * f - 3e5 * g, 1e-9)
    expect(kept, "values of 1e6 f - 3e5 g from those of f and of g", came, "clip and round nothing, select nothing by size")
    tiny = bench.make(Scaled(game, other_game, 1e-9, 0.0)).explain(x, **bench.enough()).values
    kept, came = _close(1e9 * tiny, f, 1e-6)
    expect(kept, "values of 1e-9 f from those of f", came, "compare with nothing absolute")


def agrees_with_brute_force(bench: Bench) -> None:
    """10. Values equal their definition, computed apart from the library, for 8 features, 12 background rows and two outputs."""
    x, background = bench.x(2), bench.background(12)
    e = bench.make(two_games, background).explain(x, **bench.enough())
    kept, came = _close(e.values, bench.traits.reference(two_games, x, background), bench.traits.tolerance)
    expect(kept, "the values of the definition (Traits.reference)", came, "compare with brute force on a game of three features")


def exact_on_linear_models(bench: Bench) -> None:
    """10. On a linear model of many features a value is weight times distance from the background's mean, at the default budget."""
    d = bench.traits.wide
    x, background = bench.x(2, d), bench.background(6, d)
    model = Linear(d)
    e = bench.make(model, background).explain(x, target=None)
    kept, came = _close(e.values, np.array(model.weights) * (x - background.mean(axis=0)), max(bench.traits.tolerance, 1e-7))
    expect(kept, f"weight times (x - mean of the background) for {d} features", came, "select and shrink nothing by default")


def standard_errors_are_there(bench: Bench) -> None:
    """11. Every value has a finite, non-negative standard error."""
    for options in (bench.few(), bench.enough()):
        e = bench.make(two_games).explain(bench.x(2), **options)
        do = "say how sure the estimate is; where it is exact, say 0"
        expect(e.std_error is not None, "a standard error for each value", "None", do)
        expect(e.std_error.shape == e.values.shape, f"std_error of shape {e.values.shape}", e.std_error.shape, do)
        sound = bool(np.isfinite(e.std_error).all() and (e.std_error >= 0).all())
        expect(sound, "finite, non-negative standard errors", "others", do)


def no_error_where_exact(bench: Bench) -> None:
    """11. Where the values are exact the standard errors are 0, and not merely small."""
    e = bench.make(two_games).explain(bench.x(2), **bench.enough())
    worst = 0.0 if e.std_error is None else float(np.nan_to_num(e.std_error).max())  # that there are any is another check
    expect(worst == 0.0, "standard errors of exactly 0 where nothing was estimated", worst, "report the solver's, add no floor")


def intervals_cover(bench: Bench) -> None:
    """11. Over 60 seeds, 95 % intervals hold the exact value 90 to 99 % of the time, give or take 2.6 standard errors of that share.

    Values of one seed share their queries, so the standard error is that of the seeds' shares, and not the (smaller) binomial one.
    """
    x = bench.x(4)
    truth = bench.traits.reference(game, x, bench.background())
    explainer = bench.make(game, controls=False)
    shares = np.empty(SEEDS)
    for seed in range(SEEDS):  # a call shares its draws among rows, so that seeds have to be calls
        e = explainer.explain(x, seed=seed, **bench.few())
        error = np.full_like(e.values, np.nan) if e.std_error is None else e.std_error
        shares[seed] = np.mean(np.abs(e.values - truth) <= Z_95 * error)
    share, slack = float(shares.mean()), SLACK * float(shares.std(ddof=1)) / np.sqrt(SEEDS)
    came = f"{share:.1%} give or take {slack:.1%}"
    expect(share + slack >= 0.90, "95 % intervals that hold the exact value at least 90 % of the time", came, "widen the standard errors")
    expect(share - slack <= 0.99, "95 % intervals that hold the exact value at most 99 % of the time", came, "narrow the standard errors")
