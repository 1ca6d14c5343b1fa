"""What the transport makes of every way in which an answer can be framed or broken; certificates and proxies."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from whybox._remote.connections import TransportError, connect
from whybox.testing.model_server import running

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b'{"outputs": [1.0]}'
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)


@contextmanager
def scripted(*answers, pause=0.0):
    """A server that answers its requests with these bytes, one after the other; a list is sent piece by piece."""
    seen, started = [], threading.Event()
    left = list(answers)
    port, loops = [], []

    async def connection(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
                seen.append((head, await reader.readexactly(length), id(writer)))
                answer = left.pop(0)
                for piece in answer if isinstance(answer, list) else [answer]:
                    if piece is None:
                        writer.close()
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main():
        server = await asyncio.start_server(connection, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        loops.append((asyncio.get_running_loop(), asyncio.current_task()))
        started.set()
        try:
            async with server:
                await server.serve_forever()
        except asyncio.CancelledError:
            pass

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{port[0]}/p", seen
    finally:
        loop, task = loops[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


def ask(url, times=1, wait=0.0, headers=()):
    async def main():
        found = []
        async with connect(url, {}, 1) as poster:
            for _ in range(times):
                try:
                    found.append(await poster.post(b"{}", dict(headers)))
                except TransportError as error:
                    found.append(error)
                await asyncio.sleep(wait)
        return found

    return asyncio.run(main())


FRAMES = {
    "length": OK + LENGTH + BODY,
    "byte by byte": [bytes([b]) for b in OK + LENGTH + BODY],
    "chunked": OK
    + b"Transfer-Encoding: chunked\r\n\r\n4;name=value\r\n"
    + BODY[:4]
    + b"\r\nE\r\n"
    + BODY[4:]
    + b"\r\n0\r\nTrailer: 1\r\n\r\n",
    "until the end": [OK + b"\r\n" + BODY, None],
    "after information": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH + BODY,
    "compressed": OK
    + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(BODY, mtime=0))
    + gzip.compress(BODY, mtime=0),
    "closed politely": [OK + b"Connection: close\r\n" + LENGTH + BODY, None],
}


@pytest.mark.parametrize("frame", FRAMES)
def test_answer_is_read_however_it_is_framed(frame):
    with scripted(FRAMES[frame]) as (url, _):
        (response,) = ask(url)
    assert (response.status, response.content) == (200, BODY)


BROKEN = {
    "no HTTP": b"hello\r\n\r\n",
    "cut off": [OK + b"Content-Length: 100\r\n\r\n" + BODY, None],
    "cut off in the head": [OK + b"Content-Le", None],
    "nothing": [None],
    "cut off in a chunk": [OK + b"Transfer-Encoding: chunked\r\n\r\nFF\r\nabc", None],
    "a chunk without a length": OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a length that is none": OK + b"Content-Length: many\r\n\r\n",
    "not gzip": OK + b"Content-Encoding: gzip\r\n" + LENGTH + BODY,
    "a coding nobody asked for": OK + b"Content-Encoding: br\r\n" + LENGTH + BODY,
    "an endless head": [b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_answer_is_an_error_and_the_next_is_right(kind):
    with scripted(BROKEN[kind], OK + LENGTH + BODY) as (url, seen):
        first, second = ask(url, times=2)
    assert isinstance(first, TransportError)
    assert first.sent
    assert second.content == BODY
    assert seen[0][2] != seen[1][2], "a broken connection is not used again"


def test_connection_is_used_again():
    with scripted(*[OK + LENGTH + BODY] * 3) as (url, seen):
        assert [r.content for r in ask(url, times=3)] == [BODY] * 3
    assert len({connection for _, _, connection in seen}) == 1


def test_request_is_what_http_wants():
    with scripted(OK + LENGTH + BODY) as (url, seen):
        ask(url, headers={"authorization": "Bearer k"})
    head, body, _ = seen[0]
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /p HTTP/1.1"
    fields = {line.lower() for line in lines}
    assert {f"host: {url.split('/')[2]}", "authorization: bearer k", "content-type: application/json", "content-length: 2"} <= fields
    assert body == b"{}"


def test_cancelled_request_leaves_no_connection_behind():
    async def main(url):
        async with connect(url, {}, 1) as poster:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await poster.post(b"{}", {})
            return (await poster.post(b"{}", {})).content

    with scripted([], OK + LENGTH + BODY) as (url, seen):
        assert asyncio.run(main(url)) == BODY
    assert seen[0][2] != seen[1][2]


TLS = """
import numpy as np, ssl, sys, threading, http.server, json
from whybox.models import HTTPModel, JSONRows, Retry
from whybox.errors import RemoteError

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["rows"]
        body = json.dumps({"outputs": [sum(row) for row in rows]}).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = HTTPModel(f"https://localhost:{server.server_address[1]}/p", JSONRows(), retry=Retry(2, 0.0, 0.0), rows_per_request=1)
try:
    print(model(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist())
except RemoteError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*command.split(), "-keyout", str(path), "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + path.with_suffix(".pem.crt").read_bytes())
    return path


@pytest.mark.parametrize("trusted", [True, False])
def test_certificates_are_checked(certificate, trusted, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt" if trusted else "/dev/null")
    done = subprocess.run([sys.executable, "-c", TLS, str(certificate)], capture_output=True, text=True, check=True)
    if trusted:
        assert done.stdout.strip() == "[3.0, 7.0]"
    else:
        assert "CERTIFICATE_VERIFY_FAILED" in done.stdout


def test_proxy_of_the_environment_is_used(monkeypatch):
    """The server stands for the proxy: it is asked for a host that does not exist."""

    async def post(url):
        async with connect(url, {}, 4) as http:
            return (await http.post(b'{"rows": [[0.0]]}', {})).status

    with running() as server:
        monkeypatch.setenv("http_proxy", server.base_url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert asyncio.run(post("http://model.invalid/predict")) == 404, "a proxy gets the whole address as path, which is not served"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert asyncio.run(post(server.base_url + "/predict")) == 200
