"""How fast a remote endpoint may be asked."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from whybox.errors import OptionError


@dataclass(frozen=True)
class Limits:
    """What an endpoint is asked at most.

    Args:
        concurrency: requests in flight. Default 16.
        requests_per_minute: requests, repeated ones included, that begin in any window of 60 s; None (default): no limit.
        tokens_per_minute: tokens of requests that begin in any window of 60 s; None (default): no limit. A request counts with its upper
            bound until its answer tells the true number.
        timeout: seconds for one request, from connecting to the last byte. Default 120.

    Raises:
        OptionError: a value is out of range.

    Example:
        >>> Limits(concurrency=4).concurrency
        4
    """

    concurrency: int = 16
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 120.0

    def __post_init__(self) -> None:
        for name in ("concurrency", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is None and name != "concurrency":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise OptionError(f"{name}: expected a positive integer, got {value!r}")
        if not self.timeout > 0:
            raise OptionError(f"timeout: expected seconds above 0, got {self.timeout!r}")


class Ticket:
    """One admitted request."""

    __slots__ = ("at", "tokens")

    def __init__(self, at: float, tokens: int) -> None:
        self.at, self.tokens = at, tokens


class RateLimiter:
    """Sliding windows over what was sent: exact, where a token bucket lets up to twice the limit through.

    Args:
        limits: requests and tokens a window.
        window: seconds of a window; 60 outside tests.
    """

    def __init__(self, limits: Limits, window: float = 60.0) -> None:
        self._limits, self._window = limits, window
        self._sent: deque[Ticket] = deque()
        self._resume = 0.0
        self._turn = asyncio.Lock()

    def pause(self, seconds: float) -> None:
        """Nobody is admitted for this long: what a server tells one request holds for all."""
        self._resume = max(self._resume, time.monotonic() + seconds)

    async def admit(self, tokens: int) -> Ticket:
        """Wait until a request of this many tokens may be sent; first come, first served.

        A request that alone is larger than the limit is sent when the window is empty.
        """
        async with self._turn:
            while (wait := self._wait(tokens)) > 0:
                await asyncio.sleep(wait)
            ticket = Ticket(time.monotonic(), tokens)
            if self._limits.requests_per_minute is not None or self._limits.tokens_per_minute is not None:
                self._sent.append(ticket)
            return ticket

    def _wait(self, tokens: int) -> float:
        now = time.monotonic()
        if now < self._resume:
            return self._resume - now
        while self._sent and self._sent[0].at + self._window <= now:
            self._sent.popleft()
        if not self._sent:
            return 0.0
        most, room = self._limits.requests_per_minute, self._limits.tokens_per_minute
        full = most is not None and len(self._sent) >= most
        full = full or (room is not None and sum(t.tokens for t in self._sent) + tokens > room)
        return self._sent[0].at + self._window - now + 1e-3 if full else 0.0
