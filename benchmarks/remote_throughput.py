"""How much of an endpoint's speed reaches the user: requests a second of an HTTP model.

The server is a process of its own on loopback, each answer takes 20 ms there, and 16 requests are in flight: 800 a second, if client,
server and the machine cost nothing. How fast this server can really be asked is measured beside it, in turn, by a bare client: 16 sockets
that post one fixed body again and again and read no more of an answer than its length. Needs two idle cores, one for each process.

    python benchmarks/remote_throughput.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import socket
import statistics
import sys
import time
import tracemalloc
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from _measure import conditions, save, spread, table

import whybox as wb
from whybox.models import HTTPModel, JSONRows, Limits, MLflow, OpenInference
from whybox.testing.loopback import Running
from whybox.testing.model_server import running

DIALECTS: dict[str, Any] = {"/predict": JSONRows(), "/v2/models/m/infer": OpenInference(), "/invocations": MLflow()}
D = 10
CALLS = 2**D - 2  # coalitions of ExactSHAP, each a row over one background row


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def bare(url: str, body: bytes, requests: int, connections: int) -> float:
    """Requests a second of a client that does nothing but keep its sockets busy."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    request, selector = head.encode() + body, selectors.DefaultSelector()
    for _ in range(connections):
        made = socket.create_connection((parts.hostname, parts.port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(made, selectors.EVENT_READ, bytearray())
    began = time.perf_counter()
    for key in selector.get_map().values():
        key.fileobj.sendall(request)  # type: ignore[union-attr]  # sockets
    sent, answered = connections, 0
    while answered < requests:
        for key, _ in selector.select():
            link: Any = key.fileobj
            key.data.extend(link.recv(1 << 16))
            top, _, rest = bytes(key.data).partition(b"\r\n\r\n")
            if len(rest) >= int(top.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 1):
                key.data.clear()
                answered += 1
                if sent < requests:
                    link.sendall(request)
                    sent += 1
    seconds = time.perf_counter() - began
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    selector.close()
    return requests / seconds


def one(server: Running, path: str, rows_per_request: int, requests: int, limits: Limits) -> dict[str, float]:
    """One measurement: the bare client, then exact values of 10 features through the engine, as users go."""
    rng = np.random.default_rng(0)
    url, codec = server.base_url + path, DIALECTS[path]
    model = HTTPModel(url, codec, rows_per_request=rows_per_request, limits=limits)
    background, x = rng.normal(size=(1, D)), rng.normal(size=(max(requests * rows_per_request // CALLS, 1), D))
    explainer = wb.ExactSHAP(model, background, engine=wb.Engine(dedupe=False))
    explainer.explain(x[:1])  # imports and caches
    body = json.dumps(codec.encode(rng.normal(size=(rows_per_request, D)))).encode()
    found = {"bare": bare(url, body, requests // 2, limits.concurrency)}
    before, stats, used = model.spent.requests, server.stats(), cpu()
    began = time.perf_counter()
    explainer.explain(x)
    seconds, used = time.perf_counter() - began, cpu() - used
    sent, now = model.spent.requests - before, server.stats()
    found |= {"rate": sent / seconds, "client": used / sent * 1e3, "server": (now["cpu"] - stats["cpu"]) / sent * 1e3}
    return found | {"took": (now["seconds"] - stats["seconds"]) / (now["requests"] - stats["requests"]) * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="half of the requests, once")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", help="folder for remote_throughput.md and .json")
    given = parser.parse_args()
    requests, repeats = (4_000, 1) if given.quick else (8_000, given.repeats)
    limits = Limits(concurrency=given.concurrency)
    ideal = given.concurrency / given.latency
    jobs = [(path, 1) for path in DIALECTS] + [("/predict", 32)]
    runs: dict[str, list[dict[str, float]]] = {f"{path}, {rows}": [] for path, rows in jobs}
    with running("--light", "--latency", str(given.latency)) as server:
        for _ in range(repeats):
            for path, rows in jobs:
                runs[f"{path}, {rows}"].append(one(server, path, rows, requests, limits))
        tracemalloc.start()
        peaks, few, many = [], requests // 8, requests // 2
        for n in (few, many):
            tracemalloc.reset_peak()
            HTTPModel(server.base_url + "/predict", JSONRows(), rows_per_request=1, limits=limits)(np.zeros((n, D)))
            peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    rows_of = []
    for name, measured in runs.items():
        ratio = statistics.median(run["rate"] for run in measured) / ideal
        beside = statistics.median(run["rate"] / run["bare"] for run in measured)
        cells = [spread([run[key] for run in measured], 4) for key in ("rate", "bare")]
        cells += [f"{ratio:.1%}", f"{beside:.1%}", *(spread([run[key] for run in measured]) for key in ("client", "server", "took"))]
        rows_of.append([name, *cells])
    head = [
        "path, rows a request",
        "requests a second",
        "bare client",
        "of ideal",
        "of bare",
        "client CPU, ms",
        "server CPU, ms",
        "answer, ms",
    ]
    about = (
        f"{given.latency * 1e3:g} ms an answer, {given.concurrency} in flight: {ideal:.0f} requests a second at best. {requests:,} "
        f"requests a run, {repeats} run(s) in turn with the bare client, median (least to most); milliseconds are those of one request."
    )
    lines = [
        about,
        "",
        table(head, rows_of),
        "",
        f"Peak memory of Python objects: {peaks[0] / 1e6:.2f} MB for {few:,} requests, {peaks[1] / 1e6:.2f} MB for {many:,}.",
    ]
    command = " ".join(["python benchmarks/remote_throughput.py", *sys.argv[1:]])
    text = "\n".join(["# remote_throughput", "", conditions(["whybox", "numpy", "aiohttp"], command), "", *lines])
    save("remote_throughput", text, {"runs": runs, "peaks": peaks, "load": os.getloadavg()}, given.out)


if __name__ == "__main__":
    main()
