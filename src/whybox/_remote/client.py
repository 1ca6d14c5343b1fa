"""The asynchronous HTTP client: many JSON requests, bounded in flight, limited, repeated, budgeted, and answered one by one."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import numpy as np

from whybox._random import generator
from whybox._remote.budget import Budget, Ledger, Tokens
from whybox._remote.connections import Posts, TransportError, connect
from whybox._remote.limits import Limits, RateLimiter
from whybox._remote.loop import run_blocking
from whybox._remote.retry import FATAL, TRANSIENT, Retry, parse_retry_after
from whybox._remote.secret import Secret
from whybox.errors import InputError, OptionError, RemoteError, WhyboxError

T = TypeVar("T")
_EXCERPT = 300


class BadReply(Exception):  # noqa: N818  # raised by decoders to ask for another try; it never reaches a user
    """An answer with status 200 that cannot be what was asked for: truncated, of another shape."""


@dataclass(frozen=True)
class Call:
    """One request.

    Args:
        body: what is posted, as JSON.
        bound: the most tokens that it can cost; zeros where tokens mean nothing.
        about: whatever the decoder needs to judge the answer.
    """

    body: Any
    bound: Tokens = field(default=Tokens())
    about: Any = None


Decode = Callable[[Any, Call], tuple[T, Tokens | None]]


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of one request.

    Args:
        value: the decoded answer, or None.
        error: why there is none, or None.
        attempts: requests that were sent for it.
        tokens: what they cost, as far as the endpoint told.
        seconds: from the first sending to the answer, waits included.
    """

    value: T | None
    error: str | None
    attempts: int
    tokens: Tokens
    seconds: float


@dataclass(frozen=True)
class RemoteClient:
    """Posts JSON to one address.

    Args:
        url: http or https, without user, password or query: keys have no place in it.
        secret: the key, sent as ``key_header: key_prefix + key``.
        limits: concurrency, rates, time-out.
        retry: backoff on 408, 409, 429, 5xx, broken connections, time-outs and answers that cannot be read.
        ledger: the account that every request is booked on; None books without a limit.
        headers: further headers, none of them secret: they are shown in the repr.
        key_header: where the key goes. Default "authorization".
        key_prefix: what stands before it. Default "Bearer ".

    Raises:
        OptionError: the url is unusable.
    """

    url: str
    secret: Secret = field(default=Secret())
    limits: Limits = field(default=Limits())
    retry: Retry = field(default=Retry())
    ledger: Ledger = field(default_factory=lambda: Ledger(Budget(), None), repr=False, compare=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    key_header: str = "authorization"
    key_prefix: str = "Bearer "

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise OptionError("url: expected an address without user, password, query or fragment; a key belongs in api_key_env")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError(f"url: expected http://host/path or https://host/path, got {self.url!r}")

    def run(
        self,
        calls: Iterable[Call],
        decode: Decode[T],
        on_outcome: Callable[[int, Outcome[T]], None],
    ) -> None:
        """Send all calls and hand over each outcome as it arrives.

        Memory holds the requests in flight and as many written ahead: calls may be a generator. It works inside a running event loop.

        Args:
            calls: the requests.
            decode: JSON answer and its call to (value, tokens used or None if the answer does not say); raises BadReply for another try.
            on_outcome: called with the position of the call and its outcome, in order of arrival, from one other thread. What it raises
                ends the run: nothing more is sent.

        Raises:
            RemoteError: the endpoint refused the client (401, 403, 404, redirect), or nothing succeeds any more.
            BudgetError: the budget does not allow the next request. In both cases, and where making a call, decode or on_outcome raises,
                requests in flight are awaited and handed over first.
            MissingDependencyError: aiohttp is not installed.
        """
        run_blocking(lambda: _Session(self, decode, on_outcome).run(iter(calls)))


class _Session(Generic[T]):
    """One run of a client, inside its event loop."""

    def __init__(self, client: RemoteClient, decode: Decode[T], on_outcome: Callable[[int, Outcome[T]], None]) -> None:
        self._client, self._decode, self._on_outcome = client, decode, on_outcome
        self._limiter = RateLimiter(client.limits)
        self._rng: np.random.Generator = generator(time.time_ns(), "backoff", os.getpid())
        self._stop: BaseException | None = None
        self._failed_in_a_row = 0

    async def run(self, calls: Iterator[Call]) -> None:
        async with connect(self._client.url, self._client.headers, self._client.limits.concurrency) as http:
            n = self._client.limits.concurrency
            written: asyncio.Queue[_Written | None] = asyncio.Queue(n)
            writer = asyncio.create_task(self._write(calls, written, n))
            workers = [asyncio.create_task(self._work(http, written)) for _ in range(n)]
            try:
                await asyncio.gather(*workers)
            finally:
                for task in (writer, *workers):
                    task.cancel()
                await asyncio.gather(writer, *workers, return_exceptions=True)
        if self._stop is not None:
            raise self._stop

    async def _write(self, calls: Iterator[Call], written: asyncio.Queue[_Written | None], workers: int) -> None:
        """Write bodies a little ahead, while answers are awaited: whoever has got one can send the next at once."""
        try:
            for position, call in enumerate(calls):
                await written.put(_Written(position, call, _json(call.body)))
                await asyncio.sleep(0)
                if self._stop is not None:
                    break
        except Exception as error:  # noqa: BLE001  # such as a caller's encoder; the run ends with it once the others have arrived
            self._stop = self._stop or error
        for _ in range(workers):
            await written.put(None)

    async def _work(self, http: Posts, written: asyncio.Queue[_Written | None]) -> None:
        while (item := await written.get()) is not None and self._stop is None:
            outcome = await self._one(http, item)
            if outcome is None:
                return
            try:
                self._on_outcome(item.position, outcome)
            except Exception as error:  # noqa: BLE001  # likewise
                self._stop = self._stop or error
                return
            self._failed_in_a_row = self._failed_in_a_row + 1 if outcome.error is not None else 0
            if self._failed_in_a_row >= max(5, self._client.limits.concurrency) and self._stop is None:
                self._stop = RemoteError(
                    f"{self._client.url}: {self._failed_in_a_row} requests in a row failed, the last with: {outcome.error}. The rest was "
                    "not sent; check the endpoint and call again (answers that arrived are kept in the cache, if there is one)"
                )

    async def _one(self, http: Posts, item: _Written) -> Outcome[T] | None:
        """The outcome of one call, or None if the run was stopped before it had one."""
        call, began = item.call, time.perf_counter()
        used, attempts, why = Tokens(), 0, ""
        for attempt in range(1, self._client.retry.attempts + 1):
            try:
                self._client.ledger.reserve(call.bound)
            except Exception as error:  # noqa: BLE001  # the run ends with it once the others have arrived
                self._stop = self._stop or error
                return None
            ticket = await self._admit(call.bound)
            if ticket is None:
                return None
            attempts += 1
            verdict = await self._send(http, item)
            booked = verdict.tokens if verdict.tokens is not None else call.bound
            self._client.ledger.settle(call.bound, booked)
            ticket.tokens = booked.total
            used = Tokens(used.prompt + booked.prompt, used.reply + booked.reply)
            why = verdict.error or ""
            if verdict.fatal:
                self._stop = self._stop or RemoteError(f"{self._client.url}: {why}")
                return None
            if verdict.error is None or not verdict.again:
                return Outcome(verdict.value, verdict.error, attempts, used, time.perf_counter() - began)
            if attempt == self._client.retry.attempts:
                break
            if self._stop is not None:
                return None
            if verdict.retry_after is not None:
                if verdict.retry_after > self._client.retry.patience:
                    why += f"; it asks to wait {verdict.retry_after:g} s, more than the patience of {self._client.retry.patience:g} s"
                    break
                self._limiter.pause(verdict.retry_after)
            await asyncio.sleep(self._client.retry.wait(attempt, verdict.retry_after, self._rng))
        return Outcome(None, f"{why} (after {attempts} tries)", attempts, used, time.perf_counter() - began)

    async def _admit(self, bound: Tokens) -> Any:
        try:
            ticket = await self._limiter.admit(bound.total)
        except BaseException:
            self._client.ledger.withdraw(bound)
            raise
        if self._stop is not None:  # stopped while it was waiting for its turn
            self._client.ledger.withdraw(bound)
            return None
        return ticket

    async def _send(self, http: Posts, item: _Written) -> _Verdict[T]:
        client = self._client
        key = client.secret.reveal()
        try:
            async with asyncio.timeout(client.limits.timeout):
                response = await http.post(item.body, {} if key is None else {client.key_header: client.key_prefix + key})
        except TimeoutError:
            return _Verdict(error=f"no answer within {client.limits.timeout:g} s")
        except TransportError as error:
            # A request that never left cost nothing; one that broke half-way may have been charged: it keeps its bound.
            return _Verdict(error=client.secret.scrub(str(error)), tokens=None if error.sent else Tokens())
        body = response.content.decode("utf-8", "replace")
        status = response.status
        if status != 200:
            return _Verdict(
                error=f"HTTP {status}: {_excerpt(client.secret.scrub(body))}",
                tokens=Tokens(),
                again=status in TRANSIENT,
                fatal=status in FATAL,
                retry_after=parse_retry_after(response.headers) if status in TRANSIENT else None,
            )
        try:
            value, tokens = self._decode(client.secret.scrub_answer(json.loads(body)), item.call)
        except WhyboxError as error:  # no other answer would be read either
            self._stop = self._stop or error
            return _Verdict(error=str(error), fatal=True)
        except (ValueError, BadReply) as error:
            return _Verdict(error=client.secret.scrub(f"an answer that cannot be read ({error}): {_excerpt(body)}"))
        except Exception as error:  # noqa: BLE001  # a caller's decoder; the run ends with it
            error.add_note(f"whybox: raised while reading an answer of {client.url}")
            self._stop = self._stop or error
            return _Verdict(error=str(error), fatal=True)
        return _Verdict(value=value, tokens=tokens)


@dataclass(frozen=True, slots=True)
class _Written:
    """A request that is ready to be sent."""

    position: int
    call: Call
    body: bytes


@dataclass(frozen=True)
class _Verdict(Generic[T]):
    """What one sending brought. tokens None: unknown, book the bound."""

    value: T | None = None
    error: str | None = None
    tokens: Tokens | None = None
    again: bool = True
    fatal: bool = False
    retry_after: float | None = None


def _json(body: Any) -> bytes:
    """ASCII JSON: a text may hold lone surrogates, which cannot be encoded otherwise."""
    try:
        return json.dumps(body, allow_nan=False, default=_plain, separators=(",", ":")).encode("ascii")
    except ValueError as error:
        raise InputError(
            f"a request holds a number that JSON does not have, NaN or infinite ({error}); encode it, for example as null"
        ) from error
    except TypeError as error:
        raise InputError(f"a request cannot be written as JSON ({error}); encode rows as lists, numbers, texts and dicts") from error


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"objects of type {type(value).__name__}")


def _excerpt(body: str) -> str:
    text = " ".join(body.split())
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + " ..."
