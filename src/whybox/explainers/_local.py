"""How a local linear explanation is made: samples asked for once or for each row, a surrogate where it can help, a model for each row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from whybox._random import generator
from whybox.explainers._job import Job
from whybox.samplers.neighborhood import Design, unit_points
from whybox.solvers.control import fit_surrogate, limit, n_free
from whybox.solvers.linear import Selection
from whybox.solvers.local_linear import Known, LocalFit, fit_local
from whybox.spaces.neighborhood import NeighborhoodBound
from whybox.typing import Ask, Floats, Ints

_BLOCK_BYTES = 16 << 20
_FIRST_STAGE = 500
_SURROGATE_FROM, _SURROGATE_FEATURES, _SURROGATE_LEVELS, _SURROGATE_OUTPUTS = 200, 200, 2000, 10


@dataclass(frozen=True)
class LocalPlan:
    """What a local explanation needs beside its job.

    Args:
        samples: points of the neighbourhood.
        tol: standard error to be reached with at most these, or None.
        sampler: design of the points.
        control: whether a surrogate may be used.
        alpha: ridge penalty.
        k: most features, or None.
        how: how features are chosen.
    """

    samples: int
    tol: float | None
    sampler: Design
    control: bool
    alpha: float
    k: int | None
    how: Selection


def explain_local(job: Job, bound: NeighborhoodBound, plan: LocalPlan) -> LocalFit:
    """Local models of the job's distinct rows.

    With a tolerance, samples are doubled until a row's standard errors are small enough; a row stops by its own errors, so that it gets
    the same answer alone as among others.
    """
    u, d, t = len(job.rows), bound.d, job.full.shape[1] if job.chosen is None else 1
    result = LocalFit(
        np.zeros((u, d, t)), np.zeros((u, d, t)), np.zeros((u, t)), np.zeros((u, t)), np.zeros((u, t), dtype=bool), np.zeros(u)
    )
    open_rows = np.arange(u)
    codes = np.empty((0, d))
    asked = np.empty((1, 0, job.full.shape[1]))
    for stage, m in enumerate(_stages(plan)):
        rng = generator(job.request.seed, "neighborhood", d, stage)
        codes = np.concatenate([codes, unit_points(m - len(codes), d, rng, plan.sampler)])
        known = None
        if bound.shared:
            (more,) = job.run.values(bound, [Ask(job.rows[:1], codes[asked.shape[1] :])])
            asked = np.concatenate([asked, more], axis=1)
            known = _surrogates(job, bound, plan, codes, asked[0], stage)
        for block in _blocks(open_rows, m * max(d, job.full.shape[1]) * 8):
            _put(result, block, _fit(job, bound, plan, block, codes, asked if bound.shared else None, known))
        if plan.tol is not None:
            open_rows = open_rows[(result.std_error[open_rows] > plan.tol).any(axis=(1, 2))]
        if not len(open_rows):
            break
    return result


def _stages(plan: LocalPlan) -> Iterator[int]:
    m = plan.samples if plan.tol is None else min(_FIRST_STAGE, plan.samples)
    yield m
    while m < plan.samples:
        m = min(2 * m, plan.samples)
        yield m


def _fit(
    job: Job, bound: NeighborhoodBound, plan: LocalPlan, block: Ints, codes: Floats, asked: Floats | None, known: Known | None
) -> LocalFit:
    """Models of a block of rows, positions among the distinct ones."""
    rows = job.rows[block]
    y = asked if asked is not None else job.run.values(bound, [Ask(rows, codes)])[0]
    y = job.select(np.broadcast_to(y, (len(block), *y.shape[1:])), block)
    z = bound.features(rows, codes)
    w = bound.weights(z, rows)
    gone = np.asarray(np.isnan(y).any(axis=2))
    if gone.any():  # the engine lets NaN through only where it was told to skip such rows, and counts them
        y, w = np.where(gone[..., None], 0.0, y), np.where(gone, 0.0, w)
    mine = None
    if known is not None:
        g = job.select(np.broadcast_to(known.out_of_fold, (len(block), *known.out_of_fold.shape)), block)
        parts = (job.select(part[block], block) for part in (known.values, known.intercept, known.std_error))
        mine = Known(g, *parts)
    return fit_local(
        z,
        w,
        y,
        bound.row_features()[rows],
        job.select(job.full[block], block),
        alpha=plan.alpha,
        k=plan.k,
        how=plan.how,
        known=mine,
    )


def _surrogates(job: Job, bound: NeighborhoodBound, plan: LocalPlan, codes: Floats, y: Floats, stage: int) -> Known | None:
    """A surrogate for every explained output, or None where it is not worth while."""
    k = y.shape[1]
    wanted = np.arange(k) if job.chosen is None else np.unique(job.chosen)
    levels = int((bound.points.shares > 0).sum())
    if (
        not plan.control
        or bound.points.normal
        or len(codes) < _SURROGATE_FROM
        or bound.d > _SURROGATE_FEATURES
        or levels > _SURROGATE_LEVELS
        or k > _SURROGATE_OUTPUTS
        or np.isnan(y).any()
    ):
        return None
    free = unit_points(n_free(len(codes)), bound.d, generator(job.request.seed, "free points", bound.d, stage), "monte-carlo")
    mirrored = k == 2 and bool(np.abs(y.sum(axis=1) - 1.0).max() < 1e-9)
    fitted, beyond = np.zeros(y.shape), np.zeros((len(free), k))
    for output in [1] if mirrored else wanted.tolist():
        bounded = bool(((y[:, output] > 1e-6) & (y[:, output] < 1 - 1e-6)).mean() > 0.5) and bool((np.abs(y[:, output] - 0.5) <= 0.5).all())
        made = fit_surrogate(codes, y[:, output], free, bounded=bounded)
        fitted[:, output], beyond[:, output] = made.out_of_fold, made.free
    if mirrored:
        fitted[:, 0], beyond[:, 0] = 1.0 - fitted[:, 1], 1.0 - beyond[:, 1]
    values, intercept, error = limit(bound.points.level_of(free), beyond, bound.points.shares, bound.points.x_levels[job.rows], bound.width)
    return Known(fitted, values, intercept, error)


def _blocks(rows: Ints, row_bytes: int) -> list[Ints]:
    size = max(_BLOCK_BYTES // row_bytes, 1)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _put(result: LocalFit, where: Ints, part: LocalFit) -> None:
    for name in ("values", "std_error", "score", "intercept", "controlled", "weight"):
        getattr(result, name)[where] = getattr(part, name)
