"""The one client for everything that is asked over HTTP: limits, retries, budgets, keys, and the cache of answers.

It stands below the adapters, so that text generators (:mod:`whybox.llms`) and remote models use the same code.
"""

from whybox._remote.budget import Budget, Ledger, Price, Spending, Tokens
from whybox._remote.cache import JsonCache, digest
from whybox._remote.client import BadReply, Call, Outcome, RemoteClient
from whybox._remote.database import Database
from whybox._remote.limits import Limits, RateLimiter
from whybox._remote.loop import run_blocking
from whybox._remote.retry import Retry, parse_retry_after
from whybox._remote.secret import Secret

__all__ = [
    "BadReply",
    "Budget",
    "Call",
    "Database",
    "JsonCache",
    "Ledger",
    "Limits",
    "Outcome",
    "Price",
    "RateLimiter",
    "RemoteClient",
    "Retry",
    "Secret",
    "Spending",
    "Tokens",
    "digest",
    "parse_retry_after",
    "run_blocking",
]
