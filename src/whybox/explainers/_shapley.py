"""The loop that all Shapley explainers share: ask coalitions, fold outputs, solve, and go on where the standard error is too large."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from whybox.errors import InputError
from whybox.explainers._job import Job, Request, positive
from whybox.explainers._widths import Table, Width, blocks, by_width, check_size, empty_outputs
from whybox.explanations import Attribution
from whybox.solvers.choose import placed
from whybox.typing import Ask, Bools, Estimate, Floats, Ints

_BLOCK_BYTES = 2 << 20


class ToleranceWarning(UserWarning):
    """The requested standard error was not reached within the budget."""


# codes (m, d), v (r, m), v of the empty and of the full coalition (r,)
Solver = Callable[[Bools, Floats, Floats, Floats], Estimate]
# and which distinct row (r,), which output (r,), and the solver to fall back on
Solve = Callable[[Bools, Floats, Floats, Floats, Ints, Ints, Solver], Estimate]


class Listener(Protocol):
    """Whoever reads the same coalitions."""

    def accept(self, job: Job, plans: dict[int, int]) -> None:
        """Refuse before anything is asked: the number of coalitions for each number of features."""

    def hear(self, job: Job, at: Ints, codes: Bools, v: Floats, none: Floats, full: Floats) -> None:
        """What was asked of some rows: positions (n,) among the distinct ones, codes (m, d), v (n, q, m), none and full (n, q)."""


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
    listener: Listener | None = None,
) -> Attribution:
    """Explain by Shapley values.

    Args:
        request: the call.
        plan: features and coalitions to a plan; the plan of a smaller number of coalitions is a prefix of a larger one's.
        budget: features and draws to the number of coalitions (with ``tol``: the most that may be asked).
        tol: the standard error that every value must reach, in units of the output, or None.
        link: "identity" or "logit".
        guided: makes a solver that also sees which row and output it solves, and takes the place of the plan's where that is not exact.
        listener: hears of every row's coalitions, where ``tol`` is None.
    """
    limit = None if tol is None else positive("tol", tol)
    with Job(request) as job:
        widths = by_width(job)
        made = [_plans(job, width, plan, budget, limit) for width in widths]
        plans = {width.d: mine for width, mine in zip(widths, made, strict=True)}
        if listener is not None:
            listener.accept(job, {d: len(mine[-1].codes) for d, mine in plans.items() if mine})
        apply = link_function(link)
        u, k = job.full.shape
        q = k if job.chosen is None else 1
        base, goal = np.empty((u, q)), np.empty((u, q))
        values, errors = Table(job, widths, q), Table(job, widths, q)
        methods: dict[str, int] = {}
        guide = None if guided is None else guided(job)
        empty = apply(empty_outputs(job, widths))
        for block in blocks(widths, lambda d: 8 * k * max(len(plans[d][-1].codes) if plans[d] else 1, 1), _BLOCK_BYTES):
            parts = []
            for width in block:
                at = width.at
                full = job.select(apply(job.full[at]), at)
                none = job.select(np.broadcast_to(empty, job.full.shape)[at] if len(empty) == 1 else empty[at], at)
                base[at], goal[at] = none, full
                if width.d:  # a text without words has a base value and nothing to add
                    parts.append(_Part(at, plans[width.d], none, full))
            _solve_block(job, parts, limit, apply, methods, guide)
            for part in parts:
                values.put(part.at, part.values)
                errors.put(part.at, part.errors)
                if listener is not None:
                    listener.hear(job, part.at, part.plans[-1].codes, part.known, part.none, part.full)
        reached = errors.most()
        if limit is not None and reached > limit:
            most = max(len(mine[-1].codes) for mine in made if mine)
            warnings.warn(
                f"{request.method}: tol={limit:g} was not reached with {most} coalitions a row, the largest standard error "
                f"is {reached:.3g}; raise budget=",
                ToleranceWarning,
                stacklevel=3,
            )
        names = ", ".join(sorted(methods)) or "exact"
        return job.result(values=values.rows(), base_values=base, std_error=errors.rows(), estimator=names, predictions=goal)


def _plans(job: Job, width: Width, plan: Callable[[int, int], Plan], budget: Callable[[int, int], int], tol: float | None) -> list[Plan]:
    """One plan a round; none where there is nothing to leave out."""
    if width.d == 0:
        return []
    rounds = _rounds(width.d, budget(width.d, job.bound.draws), tol)
    check_size(job, width, rounds[-1])
    plans = [plan(width.d, m) for m in rounds]
    for less, more in pairwise(plans):
        if not np.array_equal(less.codes, more.codes[: len(less.codes)]):  # answers to the first would pass for answers to the second
            raise RuntimeError(f"plan: the {len(less.codes)} coalitions of one round are not the first {len(less.codes)} of the next")
    return plans


def _rounds(d: int, most: int, tol: float | None) -> list[int]:
    """Numbers of coalitions to be tried, one after the other."""
    if tol is None:
        return [most]
    rounds = [min(4 * d, most)]
    while rounds[-1] < most:
        rounds.append(min(2 * rounds[-1], most))
    return rounds


class _Part:
    """Rows of one width on the way to their values.

    Args:
        at: (r,) positions among the distinct rows.
        plans: one a round.
        none: (r, q) outputs of the empty coalition.
        full: (r, q) outputs of the rows.
    """

    def __init__(self, at: Ints, plans: list[Plan], none: Floats, full: Floats) -> None:
        self.at, self.plans, self.none, self.full = at, plans, none, full
        n, q = full.shape
        d = plans[0].codes.shape[1]
        self.values, self.errors = np.empty((n, d, q)), np.empty((n, d, q))
        self.open, self.known = np.arange(n), np.empty((n, q, 0))  # rows that still need more coalitions, and what these have answered

    def ask(self, job: Job, stage: int) -> Ask:
        """The coalitions that this round adds."""
        return Ask(job.rows[self.at[self.open]], self.plans[stage].codes[self.known.shape[2] :])

    def learn(self, job: Job, stage: int, answers: Floats, methods: dict[str, int], guide: Solve | None) -> None:
        """Solve with what the round has answered (r, m, k)."""
        now = self.open
        rows = self.at[now]
        outputs = np.tile(np.arange(self.full.shape[1]), (len(now), 1)) if job.chosen is None else job.chosen[rows][:, None]
        self.known = np.concatenate([self.known, job.select(answers, rows).transpose(0, 2, 1)], axis=2)
        plan = self.plans[stage]
        solve = _bind(plan, placed(plan.solve, job.run.seat), guide, rows, outputs)
        values, errors = _solve_mirrored(solve, plan.codes, self.known, self.none[now], self.full[now], methods)
        if stage and not plan.complete:
            errors = _checked(errors, np.abs(values - self.values[now]), self.errors[now])
        self.values[now], self.errors[now] = values, errors

    def goes_on(self, stage: int, tol: float | None) -> bool:
        """Whether another round follows; only the rows that need it stay open."""
        if tol is None or self.plans[stage].complete or stage == len(self.plans) - 1:
            return False
        most = np.nanmax(self.errors[self.open], axis=(1, 2))  # NaN: features that l1_reg left out
        left = most > (tol if stage else 0.0)  # the first round's errors have not been tried yet
        self.open, self.known = self.open[left], self.known[left]
        return bool(left.any())


def _checked(errors: Floats, moved: Floats, before: Floats) -> Floats:
    """Standard errors (n, d, q), widened by as much as those of the round before were too small for what has moved since.

    An estimate moves by less than its standard error when coalitions are added, the root mean square over features. A solver that takes
    what it has not seen yet for absent is found out here. Features that are left out in either round, whose error is NaN, do not count.
    """
    both = np.isfinite(errors) & np.isfinite(before)
    count = np.maximum(both.sum(axis=1, keepdims=True), 1)
    size, expected = (np.sqrt((np.where(both, part, 0.0) ** 2).sum(axis=1, keepdims=True) / count) for part in (moved, before))
    factor = np.maximum(np.divide(size, expected, out=np.ones_like(size), where=expected > 0), 1.0)
    widened: Floats = np.where(expected > 0, errors * factor, np.maximum(errors, size))
    return widened


def _solve_block(
    job: Job, parts: list[_Part], tol: float | None, apply: Callable[[Floats], Floats], methods: dict[str, int], guide: Solve | None
) -> None:
    """Round after round; what all widths ask in a round goes to the engine at once, so that a model's batch is filled across rows."""
    stage = 0
    while parts:
        answers = job.run.values(job.bound, [part.ask(job, stage) for part in parts])
        for part, answer in zip(parts, answers, strict=True):
            part.learn(job, stage, apply(answer), methods, guide)
        parts = [part for part in parts if part.goes_on(stage, tol)]
        stage += 1


def _bind(
    plan: Plan, solver: Solver, guide: Solve | None, rows: Ints, outputs: Ints
) -> Callable[[Bools, Bools, Floats, Floats, Floats], Estimate]:
    """The solver of chosen (row, output) pairs: ``chosen`` (n, q) says which."""

    def solve(chosen: Bools, codes: Bools, v: Floats, none: Floats, full: Floats) -> Estimate:
        if guide is None or plan.complete:
            return solver(codes, v, none, full)
        return guide(codes, v, none, full, np.repeat(rows[:, None], outputs.shape[1], axis=1)[chosen], outputs[chosen], solver)

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
            bad = float(outputs[(outputs <= 0.0) | (outputs >= 1.0)][0])
            raise InputError(
                f'link="logit" needs outputs strictly between 0 and 1, got {bad!r}; use link="identity", or explain the decision value'
            )
        return np.log(outputs) - np.log1p(-outputs)

    return logit
