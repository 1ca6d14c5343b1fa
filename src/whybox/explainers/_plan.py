"""What a call would cost, told before it is made: the one place that counts for every explainer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox.engine import Engine
from whybox.errors import OptionError
from whybox.explainers._job import Composed, count, distinct_rows, resolve_space
from whybox.explainers._shapley import Plan
from whybox.explainers._widths import Width, widths_of
from whybox.models import as_model
from whybox.spaces.neighborhood import NeighborhoodBound
from whybox.typing import Ask, Bound, Ints, Model

_PROBE = 256
_SHARE = 20  # of a job's rows, at most one in so many is sent to an endpoint to tell what the others will take
_CONTROLS = 3  # in a hundred: control rows of a batch, and twice alone where they raise doubts


@dataclass(frozen=True)
class QueryPlan:
    """What ``explain`` would cost. Made by ``explainer.plan(x)``.

    Args:
        method: the explainer.
        instances: distinct rows of x; repeated ones cost nothing.
        codes: coalitions or samples: of each row, or of all together where they are shared; with ``tol``, the most; where rows have
            features of their own, those of the row that has most.
        draws: model rows of one code, such as the background's.
        at_most: model rows that will be sent at most, control rows included, repetitions after transient errors not.
        exact: model rows that will be sent, where that is certain: without ``tol``, and with ``Engine(dedupe=False, controls=False)``;
            otherwise None, because repeated rows are sent once and control rows come on top.
        calls: calls of the model, about; None where the batch size is only found out during the run.
        requests: HTTP requests of an :class:`whybox.models.HTTPModel`, about, without repeated ones; None for other models.
        seconds: wall seconds of the model, about; None without a probe.
        probe_queries: model rows that the probe sent.

    Example:
        >>> import numpy as np
        >>> from whybox import KernelSHAP
        >>> plan = KernelSHAP(lambda x: x.sum(axis=1), np.zeros((10, 4))).plan(np.ones((3, 4)), budget=8)
        >>> plan.instances, plan.codes, plan.draws, plan.at_most
        (1, 8, 10, 91)
        >>> print(plan)
        KernelSHAP: 1 row, 8 codes of 10 model rows each: at most 91 queries
    """

    method: str
    instances: int
    codes: int
    draws: int
    at_most: int
    exact: int | None
    calls: int | None
    requests: int | None
    seconds: float | None
    probe_queries: int

    def __str__(self) -> str:
        rows = f"{self.instances:,} row{'s' * (self.instances != 1)}"
        text = f"{self.method}: {rows}, {self.codes:,} codes of {self.draws:,} model rows each: at most {self.at_most:,} queries"
        if self.requests is not None:
            text += f" in about {self.requests:,} requests"
        elif self.calls is not None:
            text += f" in about {self.calls:,} calls"
        return text if self.seconds is None else f"{text}, about {self.seconds:,.3g} s"


@dataclass(frozen=True)
class Wanted:
    """What an explainer asks for rows of one width.

    Args:
        codes: (m, d) codes; with a tolerance, those of the last round.
        certain: so many are asked whatever the answers are.
        shared: they are asked once for all rows.
        empty: the empty coalition is asked as well.
    """

    codes: NDArray[Any]
    certain: bool
    shared: bool = False
    empty: bool = True


def plan_shapley(
    who: Composed,
    x: Any,
    plan: Callable[[int, int], Plan],
    budget: Callable[[int, int], int],
    tol: float | None,
    probe: int | bool | None,
) -> QueryPlan:
    """Count what :func:`whybox.explainers._shapley.explain_shapley` would ask, of the same plan and budget."""
    method = type(who).__name__

    def wanted(bound: Bound, d: int) -> Wanted:
        return Wanted(plan(d, budget(d, bound.draws)).codes, certain=tol is None)

    return plan_queries(who, method, x, wanted, probe)


def plan_queries(who: Composed, method: str, x: Any, wanted: Callable[[Bound, int], Wanted], probe: int | bool | None) -> QueryPlan:
    """Count what a call would ask; no model call is made without a probe.

    Args:
        who: the explainer.
        method: its name.
        x: rows to explain.
        wanted: what is asked for rows of one width, once the space is bound.
        probe: model rows to send for a measurement of time; True takes a number that fits the model; None and False send none.

    Raises:
        OptionError: probe is no number of rows.
    """
    model = as_model(who.model, output=who.output)  # type: ignore[arg-type]  # as_model checks the name
    bound = resolve_space(who.space, who.background).bind(x, model)
    rows, _ = distinct_rows(bound)
    if isinstance(bound, NeighborhoodBound) and method == "LIME":
        widths = [Width(bound.d, np.arange(len(rows)))]
    else:
        widths = widths_of(bound, rows, method)
    parts = [_Part(len(width.at), wanted(bound, width.d), rows[width.at]) for width in widths if width.d]
    u, draws, engine = len(rows), bound.draws, who.engine
    described = u + sum(part.codes for part in parts) * draws
    empty = any(part.wanted.empty for part in parts)
    if empty:
        described += draws * (1 if bound.shared_empty else sum(part.rows for part in parts))
    sure = all(part.wanted.certain for part in parts) and not engine.controls and engine.dedupe is False and engine.cache is None
    at_most = described + (_CONTROLS * (described // 100) if engine.controls else 0)
    largest = max(parts, key=lambda part: part.codes, default=None)
    speed = None if probe is None or probe is False else _probe(model, bound, largest, probe, engine)
    return QueryPlan(
        method=method,
        instances=u,
        codes=max((len(part.wanted.codes) for part in parts), default=0),
        draws=draws,
        at_most=at_most,
        exact=described if sure else None,
        calls=_calls(parts, empty, u, draws, engine, model),
        requests=None if model.remote is None else -(-at_most // model.remote.rows_per_request),
        seconds=None if speed is None else _seconds(at_most, speed[0], model),
        probe_queries=0 if speed is None else speed[1],
    )


@dataclass(frozen=True)
class _Part:
    """What is asked for the rows of one width: so many rows, at these positions."""

    rows: int
    wanted: Wanted
    at: Ints

    @property
    def codes(self) -> int:
        """Codes, each counted for every row that it is asked for."""
        return len(self.wanted.codes) * (1 if self.wanted.shared else self.rows)


def _calls(parts: Sequence[_Part], empty: bool, u: int, draws: int, engine: Engine, model: Model) -> int | None:
    """Calls for the rows, the codes and the empty coalition; a batch that holds more than an instance's rows holds whole instances."""
    most = engine.max_batch if engine.max_batch is not None else model.max_batch
    if engine.batch_size != "auto":
        size = int(engine.batch_size)
    elif model.remote is not None:
        size = model.remote.busy_batch
    else:
        return None
    size = size if most is None else min(size, most)
    calls = -(-u // size) + int(empty)
    for part in parts:
        run, instances = len(part.wanted.codes) * draws, 1 if part.wanted.shared else part.rows
        calls += -(-instances // (size // run)) if 0 < run <= size else instances * -(-run // size)
    return calls


def _seconds(queries: int, seconds_a_row: float, model: Model) -> float:
    """The measured pace, or that of the rate limit where it is slower."""
    remote = model.remote
    if remote is None or remote.requests_per_minute is None:
        return queries * seconds_a_row
    requests = -(-queries // remote.rows_per_request)
    return max(queries * seconds_a_row, 60.0 * ((requests - 1) // remote.requests_per_minute))


def _probe(model: Model, bound: Bound, part: _Part | None, probe: int | bool, engine: Engine) -> tuple[float, int]:
    """Seconds a row, and rows that were sent: one row to warm up, then the probe in one call. A cache keeps their answers.

    Left to choose, it sends to an endpoint what keeps it busy four times over, but a twentieth of the job at most, or one request.
    """
    remote = model.remote
    most = engine.max_batch if engine.max_batch is not None else model.max_batch
    ask = None if part is None else Ask(part.at, part.wanted.codes)
    there = 0 if ask is None else len(ask.instances) * len(ask.codes) * bound.draws
    if probe is not True:
        size = count("probe", probe)
    elif remote is None:
        size = _PROBE
    else:
        size = min(4 * remote.concurrency * remote.rows_per_request, max(there // _SHARE, remote.rows_per_request))
    size = min(size, there, *([] if most is None else [most]))
    if ask is None or size < 1:
        raise OptionError("probe: there is nothing to ask, and so nothing to measure; leave probe out")
    quiet = replace(engine, batch_size=size, controls=False, dedupe=False)
    with quiet.start(model) as run:
        run.predict(bound.compose(ask, 0, 1), 1)
        before, began = run.stats.n_queries, time.perf_counter()
        run.predict(bound.compose(ask, 0, size), size)
        seconds, sent = time.perf_counter() - began, run.stats.n_queries
    if sent == before:  # all of them are in the cache, which tells nothing about the model
        return _probe(model, bound, part, probe, replace(engine, cache=None))
    idle = 1.0
    if remote is not None:  # too few requests to fill the line take as long as many
        asked, whole = (-(-rows // remote.rows_per_request) for rows in (sent - before, there))
        idle = asked / max(min(remote.concurrency, whole), asked) if asked < remote.concurrency else 1.0
    return idle * seconds / (sent - before), sent
