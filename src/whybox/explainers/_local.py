"""How a local linear explanation is made: samples asked for once or for each row, a surrogate where it can help, a model for each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._random import generator
from whybox.explainers._job import Job
from whybox.explainers._widths import Table, Width, blocks
from whybox.samplers.neighborhood import Design, unit_points
from whybox.samplers.removals import removals
from whybox.solvers.control import fit_surrogate, limit, n_free
from whybox.solvers.linear import Selection
from whybox.solvers.local_linear import Known, LocalFit, fit_local
from whybox.spaces._coalition_neighborhood import CoalitionNeighborhood
from whybox.spaces.neighborhood import NeighborhoodBound
from whybox.typing import Ask, Floats, Ints, LocalBound

_BLOCK_BYTES, _KEPT_BYTES = 16 << 20, 256 << 20
_FIRST_STAGE = 500
_SURROGATE_FROM, _SURROGATE_FEATURES, _SURROGATE_LEVELS, _SURROGATE_OUTPUTS = 200, 200, 2000, 10


@dataclass(frozen=True)
class LocalRows:
    """Local models of the distinct rows, see :class:`whybox.solvers.local_linear.LocalFit`."""

    values: Table
    std_error: Table
    score: Floats
    intercept: Floats
    controlled: Floats
    weight: Floats

    def put(self, at: Ints, fit: LocalFit) -> None:
        """The models of the rows at these positions."""
        self.values.put(at, fit.values)
        self.std_error.put(at, fit.std_error)
        for name in ("score", "intercept", "controlled", "weight"):
            getattr(self, name)[at] = getattr(fit, name)

    def features(self, most: int | None) -> Ints:
        """(u,) features that a row's model may use."""
        return np.minimum(self.values.counts(), most) if most else self.values.counts()


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


def explain_local(job: Job, local: LocalBound, widths: Sequence[Width], plan: LocalPlan) -> LocalRows:
    """Local models of the job's distinct rows.

    With a tolerance, samples are doubled until a row's standard errors are small enough; a row stops by its own errors, so that it gets
    the same answer alone as among others.

    Args:
        job: the job.
        local: where it looks.
        widths: the job's distinct rows by their number of features.
        plan: the settings.
    """
    u, k = job.full.shape
    t = k if job.chosen is None else 1
    score, intercept, controlled = (np.zeros((u, t)) for _ in range(3))
    result = LocalRows(Table(job, widths, t), Table(job, widths, t), score, intercept, controlled, np.zeros(u))
    samples = {width.d: _Samples(np.empty((0, width.d)), np.empty((1, 0, k))) for width in widths}
    open_rows = [width for width in widths if width.d]
    for width in widths:
        if not width.d:  # nothing to leave out: the model of such a row is its output
            result.intercept[width.at] = job.select(job.full[width.at], width.at)
            result.score[width.at] = 1.0
    keep = plan.tol is not None and u * plan.samples * k * 8 <= _KEPT_BYTES  # else later rounds ask the earlier ones' samples again
    for stage, m in enumerate(_stages(plan)):
        for width in open_rows:
            mine = samples[width.d]
            mine.draw(job, local, plan, stage, m)
            if local.shared:
                (more,) = job.run.values(job.bound, [Ask(job.rows[:1], mine.codes[mine.asked.shape[1] :])])
                mine.asked = np.concatenate([mine.asked, more], axis=1)
                mine.known = _surrogates(job, plan, mine.codes, mine.asked[0], stage)
        for block in blocks(open_rows, lambda d: m * max(d, k) * 8, _BLOCK_BYTES):  # noqa: B023  # used up within this stage
            for width, y in zip(block, _answers(job, local, block, samples, keep=keep), strict=True):
                result.put(width.at, _fit(job, local, plan, width, y, samples[width.d]))
        if plan.tol is not None:
            late = [width.at[(result.std_error.of(width) > plan.tol).any(axis=(1, 2))] for width in open_rows]
            open_rows = [Width(width.d, at) for width, at in zip(open_rows, late, strict=True) if len(at)]
        if not open_rows:
            break
    return result


class _Samples:
    """The samples of one width.

    Args:
        codes: (m, d).
        asked: (1, m, k) answers where all rows share them.
    """

    def __init__(self, codes: NDArray[Any], asked: Floats) -> None:
        self.codes, self.asked = codes, asked
        self.known: Known | None = None
        self.distinct: NDArray[Any] = codes  # coalitions without repeats and the full one, in the order in which they were drawn
        self.where: Ints = np.empty(0, dtype=np.int64)  # of each code among these; -1 is the full coalition
        self.settled = 0  # so many of them were asked in earlier rounds, and what rows answered is kept
        self.kept: dict[int, Floats] = {}

    def draw(self, job: Job, local: LocalBound, plan: LocalPlan, stage: int, m: int) -> None:
        """As many codes as are missing."""
        d = self.codes.shape[1]
        missing = m - len(self.codes)
        rng = generator(job.request.seed, "neighborhood", d, stage)
        if local.design == "points":
            self.codes = np.concatenate([self.codes, unit_points(missing, d, rng, plan.sampler)])
            return
        assert isinstance(local, CoalitionNeighborhood)
        weigh = local.of_share if local.weighed else None
        fresh = removals(missing, d, rng, sizes=local.design, design=plan.sampler, weigh=weigh)
        self.codes = np.concatenate([self.codes.astype(bool), fresh])
        self.settled = len(self.distinct) if self.kept else 0
        full = self.codes.all(axis=1)
        packed = np.packbits(self.codes[~full], axis=1)
        rows = packed.view(f"V{packed.shape[1]}")[:, 0]
        _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        self.distinct = self.codes[~full][first[order]]
        self.where = np.full(m, -1, dtype=np.int64)
        self.where[~full] = rank[inverse]

    def whole(self, at: Ints, answers: Floats, *, keep: bool) -> Floats:
        """Answers (r, distinct, k) of these rows, of all rounds."""
        if self.settled:
            answers = np.concatenate([np.stack([self.kept[i] for i in at.tolist()]), answers], axis=1)
        if keep:
            self.kept |= dict(zip(at.tolist(), answers, strict=True))
        return answers


def _answers(job: Job, local: LocalBound, block: Sequence[Width], samples: dict[int, _Samples], *, keep: bool) -> list[Floats]:
    """Outputs (r, m, k) of every code for the rows of a block; repeated coalitions are asked once, and the full one is known."""
    if local.shared:
        return [samples[width.d].asked for width in block]
    points = local.design == "points"
    fresh = [samples[width.d].codes if points else samples[width.d].distinct[samples[width.d].settled :] for width in block]
    asks = [Ask(job.rows[width.at], codes) for width, codes in zip(block, fresh, strict=True)]
    answers = job.run.values(job.bound, asks)
    if points:
        return answers
    result = []
    for width, y in zip(block, answers, strict=True):
        mine = samples[width.d]
        known = np.concatenate([mine.whole(width.at, y, keep=keep), job.full[width.at][:, None]], axis=1)
        result.append(known[:, mine.where])
    return result


def _stages(plan: LocalPlan) -> Iterator[int]:
    m = plan.samples if plan.tol is None else min(_FIRST_STAGE, plan.samples)
    yield m
    while m < plan.samples:
        m = min(2 * m, plan.samples)
        yield m


def _fit(job: Job, local: LocalBound, plan: LocalPlan, width: Width, y: Floats, samples: _Samples) -> LocalFit:
    """Models of rows of one width."""
    block, codes, known = width.at, samples.codes, samples.known
    rows = job.rows[block]
    y = job.select(np.broadcast_to(y, (len(block), *y.shape[1:])), block)
    z = local.features(rows, codes)
    w = local.weights(z, rows)
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
        local.row_features(rows, width.d),
        job.select(job.full[block], block),
        alpha=plan.alpha,
        k=plan.k,
        how=plan.how,
        known=mine,
        paired=isinstance(local, CoalitionNeighborhood) and not local.weighed and plan.sampler != "monte-carlo",
    )


def _surrogates(job: Job, plan: LocalPlan, codes: Floats, y: Floats, stage: int) -> Known | None:
    """A surrogate for every explained output, or None where it is not worth while."""
    bound = job.bound
    assert isinstance(bound, NeighborhoodBound)  # the only one whose samples are shared
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
    free = unit_points(n_free(len(codes), levels), bound.d, generator(job.request.seed, "free points", bound.d, stage), "monte-carlo")
    mirrored = k == 2 and bool(np.abs(y.sum(axis=1) - 1.0).max() < 1e-9)
    fitted, beyond = np.zeros(y.shape), np.zeros((len(free), k))
    for output in [1] if mirrored else wanted.tolist():
        bounded = bool(((y[:, output] > 1e-6) & (y[:, output] < 1 - 1e-6)).mean() > 0.5) and bool((np.abs(y[:, output] - 0.5) <= 0.5).all())
        made = fit_surrogate(codes, y[:, output], free, bounded=bounded)
        fitted[:, output], beyond[:, output] = made.out_of_fold, made.free
    own = [1] if mirrored else list(range(k))
    values, intercept, error = limit(
        bound.points.level_of(free), beyond[:, own], bound.points.shares, bound.points.x_levels[job.rows], bound.width
    )
    if mirrored:  # the other output is one less this one, and so are its answers
        fitted[:, 0] = 1.0 - fitted[:, 1]
        values, error = np.concatenate([-values, values], axis=2), np.concatenate([error, error], axis=2)
        intercept = np.concatenate([1.0 - intercept, intercept], axis=1)
    return Known(fitted, values, intercept, error)
