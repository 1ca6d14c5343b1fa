"""KernelSHAP: Shapley values by regression on sampled coalitions."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from whybox._random import generator
from whybox.engine import Engine
from whybox.errors import OptionError
from whybox.explainers._hints import Hints
from whybox.explainers._interactions import PairListener
from whybox.explainers._job import Request, resolve_space
from whybox.explainers._plan import QueryPlan, plan_shapley
from whybox.explainers._shapley import Plan, explain_shapley
from whybox.explainers.budget import Budget, resolve_budget
from whybox.explainers.exact_shap import check_link
from whybox.explanations import Attribution, Interactions
from whybox.samplers import coalitions
from whybox.samplers.coalitions import SCHEMES
from whybox.solvers.choose import choose_estimator, scheme_for
from whybox.solvers.least_squares import solve_least_squares
from whybox.solvers.odd_gp import solve_odd_gp
from whybox.solvers.sparse import check_keep, solve_sparse
from whybox.typing import Space, Target

if TYPE_CHECKING:
    from whybox.explainers._guide import FittedSurrogate

ESTIMATORS = {"least squares": solve_least_squares, "odd GP": solve_odd_gp}
SAMPLINGS = ("auto", *SCHEMES)


@dataclass(frozen=True)
class KernelSHAP(Hints):
    """Shapley values from far fewer than ``2**d`` coalitions, each with a standard error (Lundberg and Lee 2017).

    All rows share the coalitions of a call, so that one factorisation serves every row and output; they come in complementary pairs and
    without replacement (Covert and Lee 2021; Musco and Witter 2025). ``estimator="auto"`` takes the best known estimator for the number
    of features and the budget: exact if the budget covers all coalitions, otherwise the odd Gaussian process or paired least squares. The
    result says which: ``e.estimator``.

    Args:
        model: anything that :func:`whybox.as_model` takes.
        background: (b, d) reference rows that replace missing features, all of them used; or None if ``space`` is given.
        space: what may vary, instead of a background.
        output: which output of the model, see :func:`whybox.as_model`. Default "auto".
        estimator: "auto" (default), "odd GP" or "least squares".
        sampling: "leverage", "kernel", "chain" or "border", see :func:`whybox.samplers.coalitions`. "auto" (default): "chain" below 2 d
            coalitions, "border" below 3 d (of least squares 3.5 d), from there on and with a surrogate "leverage".
        link: "identity" (default), or "logit" to explain probabilities in log-odds: values, base values and predictions.
        l1_reg: None (default) estimates every feature. A number of features, "aic" or "bic" selects features by the lasso, as shap does by
            default, and sets the others to 0; their standard errors are then NaN. What they add is shared out equally among those that
            stay, as by shap's regression.
        engine: how the model is called.
        surrogate: what :meth:`fit` has learnt; None (default): nothing.

    Raises:
        OptionError: neither or both of background and space, or an option that does not exist.

    Example:
        >>> import numpy as np
        >>> e = KernelSHAP(lambda x: x @ np.array([1.0, 2.0, 3.0]), np.zeros((1, 3))).explain(np.ones((2, 3)))
        >>> e.values.round(6)
        array([[1., 2., 3.],
               [1., 2., 3.]])
    """

    model: Any = field(repr=False)  # its repr may show an API key
    background: Any = field(default=None, repr=False)
    _: KW_ONLY
    space: Space | None = None
    output: str = "auto"
    estimator: Literal["auto", "odd GP", "least squares"] = "auto"
    sampling: Literal["auto", "leverage", "kernel", "chain", "border"] = "auto"
    link: Literal["identity", "logit"] = "identity"
    l1_reg: int | Literal["aic", "bic"] | None = None
    engine: Engine = Engine()
    surrogate: FittedSurrogate | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        resolve_space(self.space, self.background)
        check_link(self.link)
        if self.estimator != "auto" and self.estimator not in ESTIMATORS:
            raise OptionError(f'estimator: expected "auto" or one of {list(ESTIMATORS)}, got {self.estimator!r}')
        if self.sampling not in SAMPLINGS:
            raise OptionError(f"sampling: expected one of {list(SAMPLINGS)}, got {self.sampling!r}")
        if self.l1_reg is not None:
            check_keep(self.l1_reg)
            if self.surrogate is not None:
                raise OptionError("l1_reg: does not select features by a surrogate; leave one of them out")
        if self.surrogate is not None:
            from whybox.explainers._guide import FittedSurrogate

            if not isinstance(self.surrogate, FittedSurrogate):
                raise OptionError(f"surrogate: expected what KernelSHAP(...).fit(x) has learnt, got {self.surrogate!r}")
        if self.surrogate is not None and (self.link != "identity" or self.estimator != "auto"):
            raise OptionError('surrogate: works with link="identity" and estimator="auto" only; the surrogate brings its own estimator')

    def fit(
        self,
        x: Any,
        *,
        budget: int = 50_000,
        seed: int = 0,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> KernelSHAP:
        """Learn a surrogate of the model that later calls share; returns a new explainer, this one stays as it is.

        All rows query the same model, so what was learnt from some is information about every other. Boosted trees are fitted to the
        model's answers on hybrids of reference and background rows. Their Shapley values are known exactly, their interactions become the
        prior of a Gaussian process, and only what they get wrong is left to be estimated from each row's own coalitions: the values stay
        consistent whatever the surrogate is, and standard errors are for the values themselves. A row's values do not depend on which
        other rows are explained. Two halves of the surrogate learn from different queries: outputs for which they disagree on the
        interactions are estimated without it, and elsewhere the evidence of each row's coalitions decides how much of it is used.

        Args:
            x: (n, d) rows like those that will be explained, such as training rows; they set where the surrogate is accurate.
            budget: model rows to spend, once. Default 50,000, the cost of explaining one row by 500 coalitions of 100 background rows.
                ``explainer.surrogate.n_queries`` says what was spent, ``.r2`` what was learnt and ``.trusted`` whether it is used.
            seed: of the hybrids.
            progress: show a progress bar.
            checkpoint: path of a log of answered batches, from which an interrupted call goes on.

        Raises:
            InputError: x does not fit the background, or has one feature only.
            OptionError: the space has no background, or the budget is below 200.

        Example:
            >>> import numpy as np
            >>> rng = np.random.default_rng(0)
            >>> x = rng.normal(size=(50, 6))
            >>> fitted = KernelSHAP(lambda x: np.maximum(x, 0).prod(axis=1) + x[:, 0], x).fit(x, budget=2000)
            >>> fitted.surrogate.n_queries >= 2000, round(fitted.surrogate.r2[0], 1)
            (True, 1.0)
        """
        from whybox.explainers._guide import fit_shared

        return replace(self, surrogate=fit_shared(self, x, budget=budget, seed=seed, progress=progress, checkpoint=checkpoint))

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
            seed: of the coalitions; the same seed gives the same bits.
            target: None (default) explains every output, "predicted" each row's largest one; or an output's name or position.
            budget: coalitions a row, or :class:`whybox.Budget` in model rows. Default ``2 d + 512``, or all ``2**d - 2`` if these are
                at most twice as many (up to d = 10): then values are exact.
            tol: go on, doubling the coalitions, until every standard error of a row is at most this, in units of the output; ``budget``
                is then the most coalitions (default ``2 d + 2400``, as far as the odd Gaussian process goes; with more than 256
                features ``2 d + 16384``). Beyond 3,000 coalitions "auto" takes least squares, which needs many more to be as close.
                Two rounds at least: errors that the second finds too small are widened, by as much as the values have moved.
            progress: show a progress bar.
            checkpoint: path of a log of answered batches, from which an interrupted call goes on.

        Returns:
            values (n, d) or (n, d, k), which add up to predictions minus base_values, and std_error.

        Raises:
            InputError: x does not fit the background.
            BudgetError: the budget does not buy a single pair of coalitions.
            OptionError: an argument has a value that does not exist.
        """
        request = Request(self, x, seed, target, progress, checkpoint, self._settings(budget, tol))
        return self._explained(request, budget, tol)

    def interactions(
        self,
        x: Any,
        *,
        seed: int = 0,
        target: Target = None,
        budget: int | Budget | None = None,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Interactions:
        """Take the Shapley values of every row apart into main effects and interactions of two features.

        The coalitions, and so the values and their cost, are those of ``explain`` with the same arguments; a checkpoint of either serves
        both. Where they are not all, a Gaussian process on the even part of the game gives the indices and their standard errors.

        Args:
            x: as in ``explain``.
            seed: as in ``explain``.
            target: as in ``explain``.
            budget: as in ``explain``; at most 3,000 coalitions a row, unless these are all.
            progress: as in ``explain``.
            checkpoint: as in ``explain``.

        Returns:
            values (n, d, d) or (n, d, d, k), whose rows add up to the Shapley values; ``.attribution`` has these.

        Raises:
            InputError: x does not fit the background, there are more than 256 features, or rows have features of their own.
            BudgetError: the budget does not buy a single pair of coalitions, or more than 3,000.
            OptionError: an argument has a value that does not exist, or the explainer has a surrogate or ``l1_reg``.

        References:
            Grabisch and Roubens 1999, equation 8 (Shapley interaction index); Lundberg et al. 2020, equations 7 to 9 (layout).

        Example:
            >>> import numpy as np
            >>> model = lambda x: x[:, 0] * x[:, 1] + x[:, 2]
            >>> i = KernelSHAP(model, np.zeros((1, 3))).interactions([[2.0, 3.0, 1.0]])
            >>> i.importance().interaction.round(6).tolist()
            [6.0, 0.0, 0.0]
        """
        if self.surrogate is not None or self.l1_reg is not None:
            raise OptionError(
                "interactions: are estimated for all features, and without a surrogate; call it on an explainer without "
                + ("l1_reg" if self.surrogate is None else "fit")
            )
        listener = PairListener()
        request = Request(self, x, seed, target, progress, checkpoint, self._settings(budget, None))
        return listener.result(self._explained(request, budget, None, listener))

    def _settings(self, budget: int | Budget | None, tol: float | None) -> dict[str, Any]:
        fitted = self.surrogate
        return {
            "estimator": self.estimator,
            "sampling": self.sampling,
            "link": self.link,
            "l1_reg": self.l1_reg,
            "budget": repr(budget),
            "tol": tol,
            "surrogate": None if fitted is None else {"r2": fitted.r2, "n_queries": fitted.n_queries, "seed": fitted.seed},
        }

    def _explained(
        self, request: Request, budget: int | Budget | None, tol: float | None, listener: PairListener | None = None
    ) -> Attribution:
        return explain_shapley(
            request,
            lambda d, m: self._plan(d, m, request.seed),
            budget=partial(self._bought, budget, tol),
            tol=tol,
            link=self.link,
            guided=None if self.surrogate is None else self.surrogate.solver,
            listener=listener,
        )

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
        return plan_shapley(self, x, lambda d, m: self._plan(d, m, 0), partial(self._bought, budget, tol), tol, probe)

    def _bought(self, budget: int | Budget | None, tol: float | None, d: int, draws: int) -> int:
        return resolve_budget(budget, tol, d, draws, 2400 if d <= 256 else 16384)

    def _plan(self, d: int, m: int, seed: int) -> Plan:
        rng = generator(seed, "coalitions", d)
        chosen = choose_estimator(d, m)
        solve = chosen.solve if self.estimator == "auto" or chosen.exact else ESTIMATORS[self.estimator]
        if self.l1_reg is not None:
            solve = partial(solve_sparse, keep=self.l1_reg, solve=solve)
        scheme: str = self.sampling
        if scheme == "auto":
            learnt = self.surrogate is not None and self.surrogate.trusted
            linear = (chosen.name if self.estimator == "auto" else self.estimator) == "least squares"
            scheme = "leverage" if chosen.exact or learnt else scheme_for(d, m, linear=linear)
        return Plan(coalitions(d, max(m, 2), rng, scheme=scheme), solve, complete=chosen.exact)
