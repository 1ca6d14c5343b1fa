"""Occlusion: what changes when one feature is taken away."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from whybox.engine import Engine
from whybox.errors import OptionError
from whybox.explainers._hints import Hints
from whybox.explainers._job import Job, Request, resolve_space
from whybox.explainers._plan import QueryPlan, Wanted, plan_queries
from whybox.explainers._widths import Table, blocks, by_width, empty_outputs
from whybox.explanations import Attribution
from whybox.typing import Ask, Space, Target

_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class Occlusion(Hints):
    """The model's output minus its output without a feature, feature by feature (Zeiler and Fergus 2014, section 4.2).

    ``values[i, j] = f(x_i) - v(all features but j)``, where v averages over the background. Costs d coalitions a row, and is exact:
    standard errors are 0. The values do not add up to the prediction, except for additive models.

    Args:
        model: anything that :func:`whybox.as_model` takes.
        background: (b, d) reference rows that replace the occluded feature, or None if ``space`` is given.
        space: what may vary, instead of a background.
        output: which output of the model, see :func:`whybox.as_model`. Default "auto".
        engine: how the model is called.

    Raises:
        OptionError: neither or both of background and space.

    Example:
        >>> import numpy as np
        >>> Occlusion(lambda x: x @ np.array([1.0, 2.0]), np.zeros((1, 2))).explain([[3.0, 4.0]]).values
        array([[3., 8.]])
    """

    model: Any = field(repr=False)  # its repr may show an API key
    background: Any = field(default=None, repr=False)
    _: KW_ONLY
    space: Space | None = None
    output: str = "auto"
    engine: Engine = Engine()

    def __post_init__(self) -> None:
        resolve_space(self.space, self.background)

    def explain(
        self,
        x: Any,
        *,
        seed: int = 0,
        target: Target = None,
        budget: int | None = None,
        tol: float | None = None,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Attribution:
        """Explain every row of x.

        Args:
            x: (n, d) rows.
            seed: recorded; occlusion draws nothing.
            target: None (default) explains every output, "predicted" each row's largest one; or an output's name or position.
            budget: must be None: occlusion always asks d coalitions.
            tol: ignored if given, because the answer is exact.
            progress: show a progress bar.
            checkpoint: path of a log of answered batches, from which an interrupted call goes on.

        Returns:
            values (n, d) or (n, d, k).

        Raises:
            InputError: x does not fit the background.
            OptionError: an argument has a value that does not exist, or a budget was given.
        """
        _check(budget, tol)
        request = Request(self, x, seed, target, progress, checkpoint, {})
        with Job(request) as job:
            widths = by_width(job)
            u, k = job.full.shape
            q = k if job.chosen is None else 1
            base, values = np.empty((u, q)), Table(job, widths, q)
            for block in blocks(widths, lambda d: 8 * k * d, _BLOCK_BYTES):
                asks = [Ask(job.rows[width.at], ~np.eye(width.d, dtype=bool)) for width in block]
                for width, without in zip(block, job.run.values(job.bound, asks), strict=True):
                    full = job.select(job.full[width.at], width.at)
                    values.put(width.at, full[:, None] - job.select(without, width.at))
            base[:] = job.select(np.broadcast_to(empty_outputs(job, widths), (u, k)), np.arange(u))
            exact = Table(job, widths, q)  # zeros
            return job.result(values=values.rows(), base_values=base, std_error=exact.rows(), estimator="exact")

    def plan(self, x: Any, *, budget: int | None = None, tol: float | None = None, probe: int | bool | None = None) -> QueryPlan:
        """Tell what ``explain`` with these arguments would cost. Without a probe no model call is made.

        Args:
            x: (n, d) rows.
            budget: as in ``explain``.
            tol: as in ``explain``; the plan then counts the most that may be asked.
            probe: model rows to send for a measurement of time; True takes a number that fits the model. Default None: send none.

        Raises:
            InputError: x does not fit the background.
            OptionError: an argument has a value that does not exist.
        """
        _check(budget, tol)
        return plan_queries(self, "Occlusion", x, lambda _, d: Wanted(~np.eye(d, dtype=bool), certain=True), probe)


def _check(budget: int | None, tol: float | None) -> None:
    if budget is not None:
        raise OptionError(f"budget: Occlusion always asks one coalition a feature, got {budget!r}; leave budget out")
    if tol is not None and not tol > 0:
        raise OptionError(f"tol: expected a positive number, got {tol!r}")
