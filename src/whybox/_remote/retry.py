"""How long to wait before asking again."""

from __future__ import annotations

import email.utils
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from whybox.errors import OptionError

TRANSIENT = frozenset({408, 409, 429, *range(500, 600)})
FATAL = frozenset({401, 402, 403, 404, 405, 407, *range(300, 400)})


@dataclass(frozen=True)
class Retry:
    """Jittered exponential backoff.

    Args:
        attempts: how often a request is sent at most, the first time included. Default 6.
        first: seconds of the first wait before jitter; doubled each time. Default 0.5.
        most: seconds that a wait of our own choosing never exceeds. Default 30.
        patience: the longest Retry-After in seconds that is honoured; beyond it the request is given up. Default 300.

    Raises:
        OptionError: a value is out of range.

    Example:
        >>> Retry(attempts=3).attempts
        3
    """

    attempts: int = 6
    first: float = 0.5
    most: float = 30.0
    patience: float = 300.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise OptionError(f"attempts: expected a positive integer, got {self.attempts!r}")
        if not (0 <= self.first <= self.most) or self.patience < 0:
            raise OptionError(f"first, most, patience: expected 0 <= first <= most and patience >= 0, got {self!r}")

    def wait(self, attempt: int, retry_after: float | None, rng: np.random.Generator) -> float:
        """Seconds before the next attempt.

        Args:
            attempt: 1 after the first failure.
            retry_after: what the server asked for, in seconds, or None. It is never undercut.
            rng: for the jitter: clients that failed together must not come back together.
        """
        own = min(self.first * 2.0 ** (attempt - 1), self.most)
        jittered = own * (0.5 + 0.5 * float(rng.random()))
        return jittered if retry_after is None else retry_after + 0.1 * jittered


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds asked for by a Retry-After header (seconds or HTTP date, RFC 9110 section 10.2.3), or None if there is none to read.

    Example:
        >>> parse_retry_after({"retry-after": "2.5"})
        2.5
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(text)
        except (TypeError, ValueError):
            return None
        when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None
