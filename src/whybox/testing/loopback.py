"""A JSON server on loopback for tests, examples and benchmarks, with faults on request and counts of its own.

What it answers is up to a :class:`Service`; :mod:`whybox.testing.llm_server` and :mod:`whybox.testing.model_server` bring one each and can
be run as processes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import selectors
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from whybox._random import generator

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}
TRANSPORT_FAULTS = ("429", "500", "reset", "hang", "truncated", "html")


class Service(Protocol):
    """What a server answers.

    Args:
        faults: kinds of wrong answers that it can give, apart from those of the transport.
    """

    @property
    def faults(self) -> tuple[str, ...]:
        """Kinds of answers that are valid JSON and wrong."""

    def serves(self, path: str) -> bool:
        """Whether requests to this path are answered."""

    def answer(self, path: str, asked: Any) -> Any:
        """The right answer to a request; ValueError is answered with status 400."""

    def wrong(self, kind: str, path: str, asked: Any) -> Any:
        """A wrong answer."""

    def items(self, path: str, asked: Any) -> list[str]:
        """What is asked for, one text an item, to notice what is paid for twice."""


@dataclass
class Counts:
    """What the server saw.

    Args:
        requests: requests that arrived.
        answered: of them answered in full.
        faults: by kind.
        in_flight: requests being worked on now.
        most_in_flight: the most at any moment.
        sent_for: right answers that a distinct item got, to notice what was sent twice.
        seconds: of the server's own work and waiting, summed over requests.
    """

    requests: int = 0
    answered: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    sent_for: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass(frozen=True)
class Manners:
    """How a server behaves.

    Args:
        faults: share of requests that go wrong.
        kinds: which faults, in turn: those of the transport, "slow", "broken off", "duplicated", and the service's own.
        latency: seconds that every answer takes.
        slow: seconds that the fault "slow" takes.
        retry_after: seconds that a 429 asks for.
        key: if given, requests without it get 401, which repeats the wrong key as real servers do.
        seed: of the choice of faults.
    """

    faults: float = 0.0
    kinds: tuple[str, ...] = TRANSPORT_FAULTS
    latency: float = 0.0
    slow: float = 0.2
    retry_after: float = 0.05
    key: str | None = None
    seed: int = 0


class Loopback:
    """The server.

    Args:
        service: what it answers.
        manners: how it behaves.
    """

    def __init__(self, service: Service, manners: Manners) -> None:
        self._service, self._manners = service, manners
        self._rng = generator(manners.seed, "loopback")
        self.counts = Counts()

    async def serve(self, port: int, ready: Callable[[int], None]) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", port, limit=1 << 24)
        ready(server.sockets[0].getsockname()[1])
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = lines[0].split(" ", 2)
                if not await self._request(method, path, headers, body, reader, writer):
                    break
        writer.close()

    async def _request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False closes the connection."""
        if method == "GET" and path in ("/health", "/stats"):
            return await _send(writer, 200, vars(self.counts) | {"cpu": time.process_time()})
        if method != "POST" or not self._service.serves(path):
            return await _send(writer, 404, {"error": {"message": "no such path"}})
        if self._manners.key is not None and headers.get("authorization") != f"Bearer {self._manners.key}":
            return await _send(writer, 401, {"error": {"message": f"Incorrect API key: {headers.get('authorization')}"}})
        for _ in range(3):  # connections that a client has just given up are noticed before this one is counted
            await asyncio.sleep(0)
        counts = self.counts
        counts.requests += 1
        counts.in_flight += 1
        counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)
        began = asyncio.get_running_loop().time()
        try:
            return await self._answer(path, json.loads(body), reader, writer)
        finally:
            counts.in_flight -= 1
            counts.seconds += asyncio.get_running_loop().time() - began

    async def _answer(self, path: str, asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        kind = self._fault()
        if kind is not None:
            self.counts.faults[kind] += 1
        if kind == "hang":
            await reader.read(1)  # until the client gives up
            return False
        if kind == "reset":
            writer.transport.abort()
            return False
        if kind == "429":
            return await _send(writer, 429, {"error": {"message": "slow down"}}, {"Retry-After": f"{self._manners.retry_after:g}"})
        if kind == "500":
            return await _send(writer, 500, {"error": {"message": "try later"}})
        if kind == "html":
            return await _raw(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>")
        began = asyncio.get_running_loop().time()
        if kind in self._service.faults:
            return await _send(writer, 200, self._service.wrong(kind, path, asked))
        try:
            reply = self._service.answer(path, asked)
        except ValueError as error:
            return await _send(writer, 400, {"error": {"message": str(error)}})
        due = began + self._manners.latency + (self._manners.slow if kind == "slow" else 0.0)
        if (wait := due - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(wait)
        if kind == "truncated":
            cut = json.dumps(reply).encode()[:-40]
            return await _raw(writer, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(cut) + cut)
        if kind == "broken off":
            await _raw(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + json.dumps(reply).encode()[:20])
            return False
        self.counts.answered += 1
        self.counts.sent_for.update(self._service.items(path, asked))
        return await _send(writer, 200, reply, times=2 if kind == "duplicated" else 1)

    def _fault(self) -> str | None:
        if not self._manners.faults or self._rng.random() >= self._manners.faults:
            return None
        return self._manners.kinds[sum(self.counts.faults.values()) % len(self._manners.kinds)]


async def _send(writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None, times: int = 1) -> bool:
    content = json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} {_REASONS[status]}", "Content-Type: application/json", f"Content-Length: {len(content)}"]
    head += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return await _raw(writer, (("\r\n".join(head) + "\r\n\r\n").encode() + content) * times)


async def _raw(writer: asyncio.StreamWriter, content: bytes) -> bool:
    writer.write(content)
    await writer.drain()
    return True


@dataclass(frozen=True)
class Running:
    """A server in a process of its own.

    Args:
        base_url: for clients.
        stats_url: where it tells what it saw.
    """

    base_url: str
    stats_url: str

    def stats(self) -> dict[str, Any]:
        """The server's own counts."""
        with urllib.request.urlopen(self.stats_url) as answer:  # noqa: S310  # loopback http
            counts: dict[str, Any] = json.load(answer)
        return counts


@contextmanager
def running_module(module: str, options: Sequence[str]) -> Iterator[Running]:
    """Start a server module in a process of its own, and end it afterwards.

    Args:
        module: its dotted name; the first line that it prints is its base URL.
        options: of its command line.

    Raises:
        RuntimeError: it did not start.
    """
    process = subprocess.Popen([sys.executable, "-m", module, *options], stdout=subprocess.PIPE, text=True)  # noqa: S603  # ourselves
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        if not line.startswith("http://"):
            raise RuntimeError(f"the server did not start; it printed {line!r}")
        yield Running(line, "/".join(line.split("/")[:3]) + "/stats")
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def add_manners(parser: argparse.ArgumentParser, kinds: Sequence[str]) -> None:
    """The options of every server's command line.

    Args:
        parser: gets them.
        kinds: the faults that it has by default.
    """
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that go wrong")
    parser.add_argument("--kinds", default=",".join(kinds), help="which faults, separated by commas")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds an answer")
    parser.add_argument("--slow", type=float, default=0.2, help='seconds that the fault "slow" takes')
    parser.add_argument("--retry-after", type=float, default=0.05)
    parser.add_argument("--key", default=None)


def serve(service: Service, given: argparse.Namespace, path: str = "") -> None:
    """Serve until interrupted; prints the base URL first.

    Args:
        service: what is answered.
        given: parsed options of :func:`add_manners`.
        path: what the base URL ends with.
    """
    server = Loopback(
        service, Manners(given.faults, tuple(given.kinds.split(",")), given.latency, given.slow, given.retry_after, given.key)
    )
    # by select(2), which wakes up in time: epoll waits in whole milliseconds, rounded up
    exact = asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector()))
    with contextlib.suppress(KeyboardInterrupt), exact as runner:
        runner.run(server.serve(given.port, lambda port: print(f"http://127.0.0.1:{port}{path}", flush=True)))  # noqa: T201  # its address
