"""The transport under every remote model: what comes unasked is never taken for an answer."""

import asyncio
import json
import sys

import pytest

from whybox._remote.connections import TransportError, connect

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Echo:
    """Answers with the body that it got; after every third answer it sends it once more, at once or late."""

    def __init__(self, late):
        self.late, self.answers, self.heads = late, 0, []

    async def __call__(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head.decode("latin-1").lower())
                (length,) = (line for line in self.heads[-1].split("\r\n") if line.startswith("content-length"))
                body = await reader.readexactly(int(length.partition(":")[2]))
                self.answers += 1
                for again in range(2 if self.answers % 3 == 0 else 1):
                    await asyncio.sleep(0.02 if again and self.late else 0)
                    writer.write(HEAD % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()


async def wrong_answers(late, requests=24):
    echo = Echo(late)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wrong = 0
    async with connect(f"http://127.0.0.1:{port}/", {"x-team": "a"}, 1) as http:
        for i in range(requests):
            answer = await http.post(json.dumps(i).encode(), {"authorization": "Bearer k"})
            wrong += json.loads(answer.content) != i
            await asyncio.sleep(0.04 if late else 0)
    server.close()
    return wrong, echo


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_that_comes_twice_is_not_taken_for_the_next(late):
    wrong, echo = asyncio.run(wrong_answers(late))
    assert wrong == 0
    assert echo.answers == 24
    assert all("x-team: a" in head and "authorization: bearer k" in head and "user-agent: whybox" in head for head in echo.heads)


def test_a_plain_pool_would_take_it(monkeypatch):
    import aiohttp

    monkeypatch.setattr(aiohttp.client_proto.ResponseHandler, "should_close", property(lambda self: False))
    wrong, _ = asyncio.run(wrong_answers(True))
    assert wrong > 0


def test_what_never_left_is_told_from_what_may_have():
    async def run(port):
        async with connect(f"http://127.0.0.1:{port}/", {}, 1) as http:
            await http.post(b"1", {})

    async def closing():
        async def hang_up(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        try:
            await run(server.sockets[0].getsockname()[1])
        finally:
            server.close()

    with pytest.raises(TransportError) as refused:
        asyncio.run(run(9))  # nobody listens
    with pytest.raises(TransportError) as broken:
        asyncio.run(closing())
    assert (refused.value.sent, broken.value.sent) == (False, True)


async def order_of_work(posts):
    """What happens to requests that are made together: each is begun, then written."""
    import aiohttp

    log = []
    begin, write = aiohttp.ClientSession.post, aiohttp.ClientRequest.write_bytes

    def begun(self, *args, **kwargs):
        log.append("begun")
        return begin(self, *args, **kwargs)

    async def written(self, *args, **kwargs):
        log.append("written")
        await write(self, *args, **kwargs)

    server = await asyncio.start_server(Echo(late=False), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with connect(f"http://127.0.0.1:{port}/", {}, posts) as http:
        await asyncio.gather(*(http.post(b"1", {}) for _ in range(posts)))  # connections are open from here on
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(aiohttp.ClientSession, "post", begun)
            patch.setattr(aiohttp.ClientRequest, "write_bytes", written)
            await asyncio.gather(*(http.post(b"1", {}) for _ in range(posts)))
    server.close()
    return log


def test_a_request_is_on_its_way_before_the_next_is_begun():
    assert asyncio.run(order_of_work(6)) == ["begun", "written"] * 6


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="aiohttp writes at once where tasks can start eagerly")
def test_without_turns_all_would_wait_for_the_last(monkeypatch):
    class Free:
        async def acquire(self):
            pass

        def release(self):
            pass

    monkeypatch.setattr(asyncio, "Lock", Free)
    assert asyncio.run(order_of_work(6)) == ["begun"] * 6 + ["written"] * 6
