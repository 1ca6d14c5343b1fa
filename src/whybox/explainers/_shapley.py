"""The loop that all Shapley explainers share: ask coalitions, fold outputs, solve, and go on where the standard error is too large."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from whybox.errors import InputError
from whybox.explainers._job import Job, Request, one_width, positive
from whybox.explanations import Attribution
from whybox.typing import Ask, Bools, Estimate, Floats, Ints

_BLOCK_BYTES = 4 << 20


class ToleranceWarning(UserWarning):
    """The requested standard error was not reached within the budget."""


# codes (m, d), v (r, m), v of the empty and of the full coalition (r,)
Solver = Callable[[Bools, Floats, Floats, Floats], Estimate]
# and which distinct row (r,), which output (r,), and the solver to fall back on
Solve = Callable[[Bools, Floats, Floats, Floats, Ints, Ints, Solver], Estimate]


@dataclass(frozen=True)
class Plan:
    """Coalitions, and the solver that reads them.

    Args:
        codes: (m, d) coalitions, without the empty and the full one.
        solve: codes (m, d), v (r, m), v of the empty coalition (r,) and of the full one (r,) to an estimate.
        complete: the estimate is exact; more coalitions change nothing.
    """

    codes: Bools
    solve: Solver
    complete: bool = False


def explain_shapley(
    request: Request,
    plan: Callable[[int, int], Plan],
    *,
    budget: Callable[[int, int], int],
    tol: float | None,
    link: str,
    guided: Callable[[Job], Solve] | None = None,
) -> Attribution:
    """Explain by Shapley values.

    Args:
        request: the call.
        plan: features and coalitions to a plan; the plan of a smaller number of coalitions is a prefix of a larger one's.
        budget: features and draws to the number of coalitions (with ``tol``: the most that may be asked).
        tol: the standard error that every value must reach, in units of the output, or None.
        link: "identity" or "logit".
        guided: makes a solver that also sees which row and output it solves, and takes the place of the plan's where that is not exact.
    """
    limit = None if tol is None else positive("tol", tol)
    with Job(request) as job:
        d = one_width(job.bound, request.method)
        most = budget(d, job.bound.draws)
        plans = [plan(d, m) for m in _rounds(d, most, limit)]
        apply = link_function(link)
        u, k = job.full.shape
        q = k if job.chosen is None else 1
        values, errors, base, goal = np.empty((u, d, q)), np.empty((u, d, q)), np.empty((u, q)), np.empty((u, q))
        block = max(_BLOCK_BYTES // (8 * k * max(len(plans[-1].codes), 1)), 1)
        methods: dict[str, int] = {}
        guide = None if guided is None else guided(job)
        empty = apply(_empty(job, d))
        for start in range(0, u, block):
            at = np.arange(start, min(start + block, u))
            full = job.select(apply(job.full[at]), at)
            none = job.select(np.broadcast_to(empty, job.full.shape)[at] if len(empty) == 1 else empty[at], at)
            base[at], goal[at] = none, full
            values[at], errors[at] = _solve_block(job, at, plans, none, full, limit, apply, methods, guide)
        reached = float(errors.max(initial=0.0))
        if limit is not None and reached > limit:
            warnings.warn(
                f"{request.method}: tol={limit:g} was not reached with {len(plans[-1].codes)} coalitions a row, the largest standard error "
                f"is {reached:.3g}; raise budget=",
                ToleranceWarning,
                stacklevel=3,
            )
        names = ", ".join(sorted(methods))
        return job.result(values=values, base_values=base, std_error=errors, estimator=names, predictions=goal)


def _rounds(d: int, most: int, tol: float | None) -> list[int]:
    """Numbers of coalitions to be tried, one after the other."""
    if tol is None:
        return [most]
    rounds = [min(4 * d, most)]
    while rounds[-1] < most:
        rounds.append(min(2 * rounds[-1], most))
    return rounds


def _empty(job: Job, d: int) -> Floats:
    """Outputs of the empty coalition: (1, k) where it is the same for all rows, otherwise (u, k)."""
    rows = job.rows[:1] if job.bound.shared_empty else job.rows
    return job.run.values(job.bound, [Ask(rows, np.zeros((1, d), dtype=bool))])[0][:, 0]


def _solve_block(
    job: Job,
    at: Ints,
    plans: list[Plan],
    none: Floats,
    full: Floats,
    tol: float | None,
    apply: Callable[[Floats], Floats],
    methods: dict[str, int],
    guide: Solve | None,
) -> tuple[Floats, Floats]:
    n, q = full.shape
    outputs = np.tile(np.arange(q), (n, 1)) if job.chosen is None else job.chosen[at][:, None]
    d = plans[0].codes.shape[1]
    values, errors = np.empty((n, d, q)), np.empty((n, d, q))
    open_, known = np.arange(n), np.empty((n, q, 0))
    for i, plan in enumerate(plans):
        fresh = plan.codes[known.shape[2] :]
        if len(fresh):
            answers = job.run.values(job.bound, [Ask(job.rows[at[open_]], fresh)])[0]
            chosen = job.select(apply(answers), at[open_])
            known = np.concatenate([known, chosen.transpose(0, 2, 1)], axis=2)
        values[open_], errors[open_] = _solve_mirrored(
            _bind(plan, guide, at[open_], outputs[open_]), plan.codes, known, none[open_], full[open_], methods
        )
        if tol is None or plan.complete or i == len(plans) - 1:
            break
        left = errors[open_].max(axis=(1, 2)) > tol
        if not left.any():
            break
        open_, known = open_[left], known[left]
    return values, errors


def _bind(plan: Plan, guide: Solve | None, rows: Ints, outputs: Ints) -> Callable[[Bools, Bools, Floats, Floats, Floats], Estimate]:
    """The solver of chosen (row, output) pairs: ``chosen`` (n, q) says which."""

    def solve(chosen: Bools, codes: Bools, v: Floats, none: Floats, full: Floats) -> Estimate:
        if guide is None or plan.complete:
            return plan.solve(codes, v, none, full)
        return guide(codes, v, none, full, np.repeat(rows[:, None], outputs.shape[1], axis=1)[chosen], outputs[chosen], plan.solve)

    return solve


def _solve_mirrored(
    solve: Callable[[Bools, Bools, Floats, Floats, Floats], Estimate],
    codes: Bools,
    v: Floats,
    none: Floats,
    full: Floats,
    methods: dict[str, int],
) -> tuple[Floats, Floats]:
    """Solve every row and output: v (n, q, m). Where two outputs add up to a constant (the two probabilities), one is solved for both."""
    n, q = v.shape[:2]
    d = codes.shape[1]
    mirrored = np.zeros(n, dtype=bool)
    if q == 2:
        total = none.sum(axis=1)
        allowed = 1e-13 * np.maximum(np.abs(full).max(axis=1), np.abs(none).max(axis=1))
        gap = np.abs(v.sum(axis=1) - total[:, None]).max(axis=1, initial=0.0)
        mirrored = (gap <= allowed) & (np.abs(full.sum(axis=1) - total) <= allowed)
    chosen = np.ones((n, q), dtype=bool)
    chosen[mirrored, 0] = False
    estimate = solve(chosen, codes, v[chosen], none[chosen], full[chosen])
    methods[estimate.method] = methods.get(estimate.method, 0) + int(chosen.sum())
    values, errors = np.empty((n, q, d)), np.empty((n, q, d))
    values[chosen], errors[chosen] = estimate.values, estimate.std_error
    if mirrored.any():
        values[mirrored, 0], errors[mirrored, 0] = -values[mirrored, 1], errors[mirrored, 1]
    return values.transpose(0, 2, 1), errors.transpose(0, 2, 1)


def link_function(link: str) -> Callable[[Floats], Floats]:
    """The link's function.

    Raises:
        InputError: an output is 0 or 1 (or outside), whose logit is not finite.
    """
    if link == "identity":
        return lambda outputs: outputs

    def logit(outputs: Floats) -> Floats:
        if outputs.size and not (outputs.min() > 0.0 and outputs.max() < 1.0):
            bad = outputs[(outputs <= 0.0) | (outputs >= 1.0)][0]
            raise InputError(
                f'link="logit" needs outputs strictly between 0 and 1, got {bad!r}; use link="identity", or explain the decision value'
            )
        return np.log(outputs) - np.log1p(-outputs)

    return logit
