"""How much may be asked for one row."""

from __future__ import annotations

from dataclasses import dataclass

from whybox.errors import BudgetError, OptionError
from whybox.explainers._job import count

DEFAULT_EXTRA = 512
TOLERANCE_EXTRA = 16384


@dataclass(frozen=True)
class Budget:
    """A limit for each explained row, in coalitions or in model rows.

    Args:
        coalitions: coalitions a row, beside the empty and the full one.
        rows: model rows a row; a coalition takes one for each background row.

    Raises:
        OptionError: not exactly one of the two, or no positive whole number.

    Example:
        >>> Budget(rows=25_600).resolve(d=20, draws=100)
        256
    """

    coalitions: int | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        if (self.coalitions is None) == (self.rows is None):
            raise OptionError("Budget: pass exactly one of coalitions= and rows=")
        count("budget", self.coalitions if self.rows is None else self.rows)

    def resolve(self, d: int, draws: int) -> int:
        """Coalitions that the budget buys, at most all ``2**d - 2``.

        Raises:
            BudgetError: it does not buy a single one.
        """
        return clip_to_all(d, self.bought(draws))

    def bought(self, draws: int) -> int:
        """Coalitions that the budget pays for.

        Raises:
            BudgetError: it does not buy a single one.
        """
        bought = self.coalitions if self.coalitions is not None else (self.rows or 0) // draws
        if bought < 1:
            raise BudgetError(f"budget: {self.rows} model rows are less than one coalition, which takes {draws} (one a background row)")
        return bought


def clip_to_all(d: int, coalitions: int) -> int:
    """No more than all proper coalitions: asking for more than exist buys the exact answer."""
    return min(coalitions, 2**d - 2) if d < 60 else coalitions


def resolve_budget(budget: int | Budget | None, tol: float | None, d: int, draws: int, most: int = TOLERANCE_EXTRA) -> int:
    """Coalitions a row: the default is ``2 d + 512``, or all of them if these are at most twice as many: exact values cost no solver.

    With ``tol`` the default is up to ``2 d + most``, or all of them if these are fewer.

    Raises:
        OptionError: the budget is no positive whole number and no :class:`Budget`.
    """
    if budget is None:
        usual = 2 * d + (DEFAULT_EXTRA if tol is None else most)
        everything = clip_to_all(d, 2 * usual + 1)  # if these are at most twice as many, otherwise more
        return everything if tol is None and everything <= 2 * usual else clip_to_all(d, usual)
    if isinstance(budget, Budget):
        return budget.resolve(d, draws)
    return clip_to_all(d, count("budget", budget))
