"""PartitionSHAP: Owen values over a tree of features."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, Literal

from whybox.engine import Engine
from whybox.explainers._hints import Hints
from whybox.explainers._job import Request, count, resolve_space
from whybox.explainers._partition import explain_owen, planned
from whybox.explainers._plan import QueryPlan, Wanted, plan_queries
from whybox.explainers.budget import TOLERANCE_EXTRA, Budget
from whybox.explainers.exact_shap import check_link
from whybox.explanations import Attribution
from whybox.typing import Bound, Space, Target

DEFAULT_BUDGET = 1024


@dataclass(frozen=True)
class PartitionSHAP(Hints):
    """Owen values over a tree: words in sentences in passages, or columns that vary together (Owen 1977; Winter 1989).

    At every node of a binary tree one child is valued with its sibling and without it. Where the budget covers all contexts, values are
    exact. Where it covers less, they come from random orders that keep branches together, each with its reverse; features whose values are
    least certain are valued in more of them. Contributions that fade with the number of features are allowed for; without interactions
    above second order values are exact. Where it does not cover one such pair of orders, or where ``tol`` is given, branches
    are opened best first, row by row; a branch that stays closed shares its value evenly among its features.

    Standard errors of open features are the spread over their orders, joined with what is common to all features. In a closed branch of s
    features and value V an allowance of ``|V| sqrt(s - 1) / s`` comes on top: the root mean square error of even shares if one feature, any
    of them alike, held all of V. ``e.conditions`` names the features that share a value. Values inside a closed branch that cancel are not
    seen.

    Args:
        model: anything that :func:`whybox.as_model` takes.
        background: (b, d) reference rows that replace missing features, or None if ``space`` is given.
        space: what may vary, instead of a background.
        tree: nested lists of features by position or name, or a linkage matrix, for all rows; None (default) takes what the space offers:
            document, passages, sentences and words of a text; for columns, average linkage of their rank correlation in the background.
            A node of more than two children is split into halves, in order.
        output: which output of the model, see :func:`whybox.as_model`. Default "auto".
        link: "identity" (default), or "logit" to explain probabilities in log-odds: values, base values and predictions.
        engine: how the model is called.

    Raises:
        OptionError: neither or both of background and space, or an unknown link.

    Example:
        >>> import numpy as np
        >>> explainer = PartitionSHAP(lambda x: x[:, 0] * x[:, 1] * x[:, 2], np.zeros((1, 3)), tree=[[0, 1], 2])
        >>> explainer.explain([[1.0, 2.0, 6.0]]).values
        array([[3., 3., 6.]])
    """

    model: Any = field(repr=False)  # its repr may show an API key
    background: Any = field(default=None, repr=False)
    _: KW_ONLY
    space: Space | None = None
    tree: Any = None
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
            x: rows: array of any library, DataFrame with the background's columns, or texts for a text space.
            seed: of the orders; the same seed gives the same bits.
            target: None (default) explains every output, "predicted" each row's largest one; or an output's name or position.
            budget: the most coalitions a row, or :class:`whybox.Budget` in model rows. A pair of orders of d features takes
                ``2 (d - 1)``. Default four pairs, and 1024 at least.
            tol: open branches and draw orders until every standard error is at most this, in units of the output; ``budget`` is then the
                most coalitions (default ``2 d + 16384``).
            progress: show a progress bar.
            checkpoint: path of a log of answered batches, from which an interrupted call goes on.

        Returns:
            values (n, d) or (n, d, k), which add up to predictions minus base_values, and std_error.

        Raises:
            InputError: x does not fit the background, or the tree does not fit the features.
            OptionError: an argument has a value that does not exist.
        """
        settings = {"link": self.link, "budget": repr(budget), "tol": tol, "tree": None if self.tree is None else _told(self.tree)}
        request = Request(self, x, seed, target, progress, checkpoint, settings)
        return explain_owen(request, self.tree, budget=partial(_bought, budget, tol), tol=tol, link=self.link)

    def plan(self, x: Any, *, budget: int | Budget | None = None, tol: float | None = None, probe: int | bool | None = None) -> QueryPlan:
        """Tell what ``explain`` with these arguments would cost. Without a probe no model call is made.

        Args:
            x: rows.
            budget: as in ``explain``.
            tol: as in ``explain``; the plan then counts the most that may be asked.
            probe: model rows to send for a measurement of time; True takes a number that fits the model. Default None: send none.

        Raises:
            InputError: x does not fit the background, or the tree does not fit the features.
            OptionError: an argument has a value that does not exist.
        """

        def wanted(bound: Bound, d: int) -> Wanted:
            codes, certain = planned(bound, self.tree, d, _bought(budget, tol, d, bound.draws), tol)
            return Wanted(codes, certain)

        return plan_queries(self, "PartitionSHAP", x, wanted, probe)


def _bought(budget: int | Budget | None, tol: float | None, d: int, draws: int) -> int:
    if isinstance(budget, Budget):
        return budget.bought(draws)
    if budget is None:
        return max(DEFAULT_BUDGET, 8 * (d - 1)) if tol is None else 2 * d + TOLERANCE_EXTRA
    return count("budget", budget)


def _told(tree: Any) -> str:
    """The given tree as text, for the settings and for checkpoints."""
    return repr(tree.tolist() if hasattr(tree, "tolist") else tree)
