"""Which sampler and solver answer best for a number of features and a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from whybox._arrays import is_torch
from whybox.errors import BudgetError, OptionError
from whybox.solvers.exact import solve_exact
from whybox.solvers.least_squares import solve_least_squares
from whybox.solvers.odd_gp import solve_odd_gp
from whybox.typing import Array, Bools, Estimate, Floats

Solver = Callable[[Bools, Floats, Floats, Floats], Estimate]

_MOST_EXACT = 20  # features: a million coalitions
_MOST_FEATURES = 256
_MOST_PAIRS = 1500
_FEW = {False: 3.0, True: 3.5}  # coalitions a feature from which independent pairs are the better design: the process, least squares


@dataclass(frozen=True)
class Choice:
    """What ``estimator="auto"`` does.

    Args:
        scheme: for :func:`whybox.samplers.coalitions`.
        solve: reads the coalitions that the scheme draws.
        name: of the solver.
        exact: the budget covers every coalition.
        reason: why, in a sentence for the user.
    """

    scheme: str
    solve: Solver
    name: str
    exact: bool
    reason: str


def placed(solve: Solver, like: Array | None) -> Solver:
    """The solver on the device where answers live, if it can work there: on the host, a fast model would wait for it.

    Args:
        solve: any solver.
        like: an array of that device; None for the host.
    """
    return partial(solve_odd_gp, like=like) if solve is solve_odd_gp and is_torch(like) else solve


def choose_estimator(d: int, budget: int) -> Choice:
    """The best estimator for d features and a budget of coalitions besides the empty and the full one.

    The exact values where the budget pays for them; the odd Gaussian process otherwise, which has the least error of all estimators from
    two to fifty coalitions a feature (benchmarks/shapley_accuracy.py), and whose time grows with the cube of the pairs; least squares where
    that is too much. A call that goes on until a tolerance is met chooses anew for each of its rounds. The first is of four coalitions a
    feature, from which on the scheme is always "leverage", so that its draws are nested.

    Args:
        d: number of features.
        budget: coalitions that :func:`whybox.samplers.coalitions` may draw.

    Raises:
        OptionError: d is below 1.
        BudgetError: the budget does not pay for one pair.

    Example:
        >>> choose_estimator(4, 14).name, choose_estimator(30, 300).name, choose_estimator(5000, 20000).name
        ('exact', 'odd GP', 'least squares')
    """
    if d < 1:
        raise OptionError(f"d: expected at least one feature, got {d}")
    if d > 1 and budget < 2:
        raise BudgetError(f"budget: {d} features need at least one pair of coalitions, got a budget of {budget}; give 2 or more")
    if d <= _MOST_EXACT and budget >= 2**d - 2:
        return Choice("leverage", solve_exact, "exact", True, f"the budget covers all 2**{d} coalitions")
    if d > _MOST_FEATURES:
        reason = f"{d} features are more than the {_MOST_FEATURES} for which the odd GP is affordable"
        return Choice(scheme_for(d, budget, linear=True), solve_least_squares, "least squares", False, reason)
    if budget // 2 > _MOST_PAIRS:
        reason = f"{budget // 2} pairs are more than the {_MOST_PAIRS} for which the odd GP is affordable"
        return Choice(scheme_for(d, budget, linear=True), solve_least_squares, "least squares", False, reason)
    reason = f"{budget} coalitions do not cover the 2**{d} of {d} features"
    return Choice(scheme_for(d, budget, linear=False), solve_odd_gp, "odd GP", False, reason)


def scheme_for(d: int, budget: int, *, linear: bool) -> str:
    """The best scheme for d features and a budget of coalitions that does not pay for all.

    One permutation determines all values by as few pairs as can be. With one pair more every feature is asked alone, at both ends of the
    game, where an interaction of three features makes half the squared error that it makes on a permutation's way. Then independent pairs.

    Args:
        d: number of features.
        budget: coalitions; of an odd number one is left unspent.
        linear: least squares are to read them, not the odd Gaussian process.
    """
    pairs = budget // 2
    if pairs < d:
        return "chain"
    return "border" if 2 * pairs < _FEW[linear] * d else "leverage"
