"""An OpenAI-compatible server on loopback whose replies come from the structural editor, with faults on request and counts of its own.

Run it as ``python -m whybox.testing.llm_server --texts 200``; the first line that it prints is its base URL. It is for tests, examples and
benchmarks, and serves one process's worth of clients.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from whybox._random import generator
from whybox.datasets import concept_reviews
from whybox.testing.structural_editor import StructuralEditor

FAULTS = ("429", "500", "reset", "hang", "truncated", "html", "shape")
_REASONS = {200: "OK", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}
Answer = Callable[[str], str]


@dataclass
class Counts:
    """What the server saw.

    Args:
        requests: chat requests that arrived.
        answered: of them answered in full.
        faults: by kind.
        in_flight: requests being worked on now.
        most_in_flight: the most at any moment.
        sent_for: answers a distinct prompt got (hash to number), to notice what was sent twice.
        seconds: of the server's own work and waiting, summed over requests.
    """

    requests: int = 0
    answered: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    sent_for: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class LLMServer:
    """The server; answers are made by a function from the conversation's text to the reply.

    Args:
        answer: makes replies.
        faults: share of requests that go wrong.
        kinds: which faults, in turn.
        latency: seconds that every answer takes.
        retry_after: seconds that a 429 asks for.
        key: if given, requests without it get 401, which repeats the wrong key as real servers do.
        seed: of the choice of faults.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        faults: float = 0.0,
        kinds: Sequence[str] = FAULTS,
        latency: float = 0.0,
        retry_after: float = 0.05,
        key: str | None = None,
        seed: int = 0,
    ) -> None:
        self._answer, self._faults, self._kinds = answer, faults, tuple(kinds)
        self._latency, self._retry_after, self._key = latency, retry_after, key
        self._rng = generator(seed, "llm server")
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
            return await self._send(writer, 200, vars(self.counts))
        if method != "POST" or path != "/v1/chat/completions":
            return await self._send(writer, 404, {"error": {"message": "no such path"}})
        if self._key is not None and headers.get("authorization") != f"Bearer {self._key}":
            return await self._send(writer, 401, {"error": {"message": f"Incorrect API key: {headers.get('authorization')}"}})
        for _ in range(3):  # connections that a client has just given up are noticed before this one is counted
            await asyncio.sleep(0)
        counts = self.counts
        counts.requests += 1
        counts.in_flight += 1
        counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)
        began = asyncio.get_running_loop().time()
        try:
            asked = json.loads(body)
            return await self._chat(asked, reader, writer)
        finally:
            counts.in_flight -= 1
            counts.seconds += asyncio.get_running_loop().time() - began

    async def _chat(self, asked: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
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
            return await self._send(writer, 429, {"error": {"message": "slow down"}}, {"Retry-After": f"{self._retry_after:g}"})
        if kind == "500":
            return await self._send(writer, 500, {"error": {"message": "try later"}})
        if kind == "html":
            return await self._raw(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>")
        if kind == "shape":
            return await self._send(writer, 200, {"object": "chat.completion", "choices": []})
        if self._latency:
            await asyncio.sleep(self._latency)
        messages = asked["messages"]
        text = self._answer("\n\n".join(m["content"] for m in messages if m["role"] != "system"))
        usage = {"prompt_tokens": sum(len(m["content"]) // 4 for m in messages), "completion_tokens": len(text) // 4}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        reply = {"id": "chatcmpl-0", "object": "chat.completion", "model": asked["model"], "choices": [choice], "usage": usage}
        if kind == "truncated":
            cut = json.dumps(reply).encode()[:-40]
            return await self._raw(writer, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(cut) + cut)
        self.counts.answered += 1
        self.counts.sent_for[str(hash((json.dumps(messages), asked.get("seed"))))] += 1
        return await self._send(writer, 200, reply)

    def _fault(self) -> str | None:
        if not self._faults or self._rng.random() >= self._faults:
            return None
        return self._kinds[sum(self.counts.faults.values()) % len(self._kinds)]

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None) -> bool:
        content = json.dumps(body).encode()
        head = [f"HTTP/1.1 {status} {_REASONS[status]}", "Content-Type: application/json", f"Content-Length: {len(content)}"]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return await self._raw(writer, ("\r\n".join(head) + "\r\n\r\n").encode() + content)

    async def _raw(self, writer: asyncio.StreamWriter, content: bytes) -> bool:
        writer.write(content)
        await writer.drain()
        return True


@dataclass(frozen=True)
class Running:
    """A server in a process of its own.

    Args:
        base_url: for clients.
    """

    base_url: str

    def stats(self) -> dict[str, Any]:
        """The server's own counts."""
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/stats") as answer:  # noqa: S310  # loopback http
            counts: dict[str, Any] = json.load(answer)
        return counts


@contextmanager
def running(*options: str) -> Iterator[Running]:
    """Start the server in a process of its own, and end it afterwards.

    Args:
        *options: of the command line, such as ``"--texts", "100", "--faults", "0.1"``.

    Example:
        >>> with running("--texts", "5") as server:
        ...     server.stats()["requests"]
        0
    """
    command = [sys.executable, "-m", "whybox.testing.llm_server", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ourselves
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        if not line.startswith("http://"):
            raise RuntimeError(f"the server did not start; it printed {line!r}")
        yield Running(line)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="OpenAI-compatible loopback server that answers from a structural model")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--texts", type=int, default=200, help="number of concept_reviews that it knows")
    parser.add_argument("--seed", type=int, default=0, help="of the reviews")
    parser.add_argument("--sloppy", type=float, default=0.0, help="share of edits that move a confounder")
    parser.add_argument("--repents", action="store_true", help="edit properly when told what was wrong")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that go wrong")
    parser.add_argument("--kinds", default=",".join(FAULTS))
    parser.add_argument("--latency", type=float, default=0.0, help="seconds an answer")
    parser.add_argument("--retry-after", type=float, default=0.05)
    parser.add_argument("--key", default=None)
    parser.add_argument("--say", default=None, help="answer everything with this text instead")
    parser.add_argument("--find", default=None, help="answer with everything that this pattern finds in the conversation instead")
    given = parser.parse_args(arguments)
    answer: Answer
    if given.say is not None:
        answer = lambda _: str(given.say)  # noqa: E731  # one line is what it takes
    elif given.find is not None:
        answer = lambda text: " ".join(re.findall(given.find, text))  # noqa: E731
    else:
        answer = StructuralEditor(concept_reviews(given.texts, seed=given.seed), sloppy=given.sloppy, repents=given.repents)
    server = LLMServer(
        answer,
        faults=given.faults,
        kinds=given.kinds.split(","),
        latency=given.latency,
        retry_after=given.retry_after,
        key=given.key,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve(given.port, lambda port: print(f"http://127.0.0.1:{port}/v1", flush=True)))  # noqa: T201  # its address


if __name__ == "__main__":
    main()
