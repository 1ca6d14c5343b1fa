"""Exact Shapley values by all coalitions."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, Literal

from whybox._random import generator
from whybox.engine import Engine
from whybox.errors import BudgetError, OptionError
from whybox.explainers._hints import Hints
from whybox.explainers._job import Request, positive, resolve_space
from whybox.explainers._plan import QueryPlan, plan_shapley
from whybox.explainers._shapley import Plan, explain_shapley
from whybox.explanations import Attribution
from whybox.samplers import coalitions
from whybox.solvers.exact import solve_exact
from whybox.typing import Space, Target

_MOST_FEATURES = 20


@dataclass(frozen=True)
class ExactSHAP(Hints):
    """Shapley values by their definition, from all ``2**d - 2`` proper coalitions (Shapley 1953).

    For up to 20 features. Standard errors are 0: the values are exact for the given background.

    Args:
        model: anything that :func:`whybox.as_model` takes.
        background: (b, d) reference rows that replace missing features, or None if ``space`` is given.
        space: what may vary, instead of a background.
        output: which output of the model, see :func:`whybox.as_model`. Default "auto".
        link: "identity" (default), or "logit" to explain probabilities in log-odds: values, base values and predictions.
        engine: how the model is called.

    Raises:
        OptionError: neither or both of background and space, or an unknown link.

    Example:
        >>> import numpy as np
        >>> ExactSHAP(lambda x: x[:, 0] * x[:, 1], np.zeros((1, 2))).explain([[2.0, 3.0]]).values
        array([[3., 3.]])
    """

    model: Any = field(repr=False)  # its repr may show an API key
    background: Any = field(default=None, repr=False)
    _: KW_ONLY
    space: Space | None = None
    output: str = "auto"
    link: Literal["identity", "logit"] = "identity"
    engine: Engine = Engine()

    def __post_init__(self) -> None:
        resolve_space(self.space, self.background)
        check_link(self.link)

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
            x: (n, d) rows, d at most 20.
            seed: recorded; nothing is drawn.
            target: None (default) explains every output, "predicted" each row's largest one; or an output's name or position.
            budget: coalitions a row; if given, it must allow all ``2**d - 2``.
            tol: needs no further coalitions, because the answer is exact.
            progress: show a progress bar.
            checkpoint: path of a log of answered batches, from which an interrupted call goes on.

        Returns:
            values (n, d) or (n, d, k), which add up to predictions minus base_values.

        Raises:
            InputError: x does not fit the background.
            BudgetError: more than 20 features, or a budget of fewer than ``2**d - 2`` coalitions.
        """
        if tol is not None:
            positive("tol", tol)
        request = Request(
            self,
            x,
            seed,
            target,
            progress,
            checkpoint,
            {"link": self.link},
        )
        return explain_shapley(
            request,
            _everything,
            budget=partial(_all_of, budget),
            tol=None,  # whatever it is, the answer is exact
            link=self.link,
        )

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
            BudgetError: the budget does not suffice.
        """
        del tol  # the answer is exact
        return plan_shapley(self, x, _everything, partial(_all_of, budget), None, probe)


def _everything(d: int, m: int) -> Plan:
    return Plan(coalitions(d, max(m, 2), generator(0)), solve_exact, complete=True)


def _all_of(budget: int | None, d: int, draws: int) -> int:
    del draws  # an exact answer costs what it costs
    if d > _MOST_FEATURES:
        raise BudgetError(f"ExactSHAP needs 2**d coalitions and takes at most {_MOST_FEATURES} features, got {d}; use KernelSHAP or Groups")
    if budget is not None and budget < 2**d - 2:
        raise BudgetError(f"ExactSHAP needs all {2**d - 2} coalitions of {d} features, got budget={budget!r}; use KernelSHAP")
    return int(max(2**d - 2, 0))


def check_link(link: str) -> None:
    """Refuse unknown links.

    Raises:
        OptionError: neither "identity" nor "logit".
    """
    if link not in ("identity", "logit"):
        named = getattr(link, "__name__", None)  # shap.links.logit
        hint = f'; give its name, link="{named}"' if named in ("identity", "logit") else ""
        raise OptionError(f'link: expected "identity" or "logit", got {link!r}{hint}')
