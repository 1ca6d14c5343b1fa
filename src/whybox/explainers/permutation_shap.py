"""PermutationSHAP: Shapley values as averages over antithetic permutations."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, Literal

from whybox._random import generator
from whybox.engine import Engine
from whybox.errors import BudgetError
from whybox.explainers._hints import Hints
from whybox.explainers._job import Request, resolve_space
from whybox.explainers._plan import QueryPlan, plan_shapley
from whybox.explainers._shapley import Plan, explain_shapley
from whybox.explainers.budget import Budget, resolve_budget
from whybox.explainers.exact_shap import check_link
from whybox.explanations import Attribution
from whybox.samplers import permutations
from whybox.solvers.permutation import solve_permutation
from whybox.typing import Space, Target


@dataclass(frozen=True)
class PermutationSHAP(Hints):
    """Shapley values as average marginal contributions along random permutations, each with its reverse (Mitchell et al. 2022).

    Unbiased at every budget, and exact for models without interactions above second order. A pair of permutations costs ``2 (d - 1)``
    coalitions. Standard errors come from the spread between pairs; from a single pair, from the spread between its two permutations.

    Args:
        model: anything that :func:`whybox.as_model` takes.
        background: (b, d) reference rows that replace missing features, all of them used; or None if ``space`` is given.
        space: what may vary, instead of a background.
        output: which output of the model, see :func:`whybox.as_model`. Default "auto".
        link: "identity" (default), or "logit" to explain probabilities in log-odds: values, base values and predictions.
        engine: how the model is called.

    Raises:
        OptionError: neither or both of background and space, or an unknown link.

    Example:
        >>> import numpy as np
        >>> PermutationSHAP(lambda x: x[:, 0] * x[:, 1], np.zeros((1, 2))).explain([[2.0, 3.0]]).values
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
        budget: int | Budget | None = None,
        tol: float | None = None,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Attribution:
        """Explain every row of x.

        Args:
            x: (n, d) rows: array of any library, or DataFrame with the background's columns.
            seed: of the permutations; the same seed gives the same bits.
            target: None (default) explains every output, "predicted" each row's largest one; or an output's name or position.
            budget: coalitions a row, or :class:`whybox.Budget` in model rows; whole pairs of permutations are bought. Default ten pairs,
                ``20 (d - 1)``.
            tol: go on, doubling the permutations, until every standard error of a row is at most this, in units of the output; ``budget``
                is then the most coalitions (default ``2 d + 16384``).
            progress: show a progress bar.
            checkpoint: path of a log of answered batches, from which an interrupted call goes on.

        Returns:
            values (n, d) or (n, d, k), which add up to predictions minus base_values, and std_error.

        Raises:
            InputError: x does not fit the background.
            BudgetError: the budget does not buy a pair of permutations.
            OptionError: an argument has a value that does not exist.
        """
        settings = {"link": self.link, "budget": repr(budget), "tol": tol}
        request = Request(
            self,
            x,
            seed,
            target,
            progress,
            checkpoint,
            settings,
        )
        return explain_shapley(request, partial(_pairs, seed), budget=partial(_bought, budget, tol), tol=tol, link=self.link)

    def plan(self, x: Any, *, budget: int | Budget | None = None, tol: float | None = None, probe: int | bool | None = None) -> QueryPlan:
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
        return plan_shapley(self, x, partial(_pairs, 0), partial(_bought, budget, tol), tol, probe)


def _bought(budget: int | Budget | None, tol: float | None, d: int, draws: int) -> int:
    if budget is None and tol is None:
        return 20 * (d - 1)
    bought = budget.bought(draws) if isinstance(budget, Budget) else resolve_budget(budget, tol, 64, draws)
    if bought < 2 * (d - 1):
        raise BudgetError(f"budget: a pair of permutations of {d} features takes {2 * (d - 1)} coalitions, the budget buys {bought}")
    return bought


def _pairs(seed: int, d: int, m: int) -> Plan:
    pairs = max(m // max(2 * (d - 1), 1), 1)
    return Plan(permutations(d, 2 * pairs, generator(seed, "permutations", d)), solve_permutation, complete=d == 1)
