"""Hard budgets: what is about to be sent is reserved at its upper bound, so that no answer can go past the limit."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from whybox.errors import BudgetError, OptionError


@dataclass(frozen=True)
class Tokens:
    """Tokens of one request or of many.

    Args:
        prompt: tokens that are sent.
        reply: tokens that come back.
    """

    prompt: int = 0
    reply: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.prompt + self.reply


@dataclass(frozen=True)
class Price:
    """What tokens cost.

    Args:
        prompt: money for a million prompt tokens.
        reply: money for a million reply tokens.

    Example:
        >>> Price(prompt=1.0, reply=2.0).of(Tokens(500_000, 250_000))
        1.0
    """

    prompt: float
    reply: float

    def of(self, tokens: Tokens) -> float:
        """The price of these tokens."""
        return (tokens.prompt * self.prompt + tokens.reply * self.reply) / 1e6


@dataclass(frozen=True)
class Budget:
    """The most that may be spent; None leaves a kind without limit.

    Args:
        requests: requests sent, repeated ones included.
        tokens: prompt and reply tokens together.
        money: in the currency of the :class:`Price`.

    Raises:
        OptionError: a limit is negative.

    Example:
        >>> Budget(requests=100).requests
        100
    """

    requests: int | None = None
    tokens: int | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        for name in ("requests", "tokens", "money"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not value >= 0):
                raise OptionError(f"budget: expected {name} of at least 0 or None, got {value!r}")


@dataclass(frozen=True)
class Spending:
    """What was spent.

    Args:
        requests: requests sent, repeated ones included.
        tokens: tokens as the endpoint reported them; where it did not answer, their upper bound.
        money: their price, None without a :class:`Price`.

    Example:
        >>> Spending(requests=2, tokens=Tokens(100, 20)).tokens.total
        120
    """

    requests: int = 0
    tokens: Tokens = Tokens()
    money: float | None = None


class Ledger:
    """The account of one client; safe to use from several threads.

    Args:
        budget: what may be spent.
        price: what tokens cost; needed for a budget in money.

    Raises:
        OptionError: a budget in money without a price.
    """

    def __init__(self, budget: Budget, price: Price | None) -> None:
        if budget.money is not None and price is None:
            raise OptionError(
                "budget: a limit in money needs price=Price(prompt=..., reply=...), the cost of a million tokens of each kind"
            )
        self.budget, self.price = budget, price
        self._requests, self._prompt, self._reply = 0, 0, 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spending:
        """What was spent so far, requests in flight at their upper bound."""
        with self._lock:
            return self._spending(self._requests, Tokens(self._prompt, self._reply))

    def _spending(self, requests: int, tokens: Tokens) -> Spending:
        return Spending(requests, tokens, None if self.price is None else self.price.of(tokens))

    def reserve(self, bound: Tokens) -> None:
        """Set one request aside at its upper bound.

        Raises:
            BudgetError: the budget does not hold it; nothing was set aside.
        """
        with self._lock:
            after = self._spending(self._requests + 1, Tokens(self._prompt + bound.prompt, self._reply + bound.reply))
            limit = self.budget
            for name, value, most in (
                ("requests", after.requests, limit.requests),
                ("tokens", after.tokens.total, limit.tokens),
                ("money", after.money, limit.money),
            ):
                if most is not None and value is not None and value > most:
                    raise BudgetError(
                        f"budget: the next request may bring the {name} spent to {value:g}, and the limit is {most:g}; it was not sent. "
                        "Answers that arrived are kept in the cache, if there is one: raise the budget and call again to go on from there"
                    )
            self._requests, self._prompt, self._reply = after.requests, after.tokens.prompt, after.tokens.reply

    def settle(self, bound: Tokens, actual: Tokens) -> None:
        """Replace a reservation's tokens by what was really used."""
        with self._lock:
            self._prompt += actual.prompt - bound.prompt
            self._reply += actual.reply - bound.reply

    def withdraw(self, bound: Tokens) -> None:
        """Give back a reservation whose request was never sent."""
        with self._lock:
            self._requests -= 1
            self._prompt -= bound.prompt
            self._reply -= bound.reply
