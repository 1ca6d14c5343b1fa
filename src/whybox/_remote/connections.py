"""How requests travel: by aiohttp, over connections that are kept open, through the proxy that the environment names, if it names one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from whybox.errors import MissingDependencyError

if TYPE_CHECKING:
    import aiohttp


class TransportError(Exception):
    """The connection failed before the answer was complete.

    Args:
        message: what happened.
        sent: whether the request may have reached the server.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True)
class Response:
    """One answer.

    Args:
        status: of HTTP.
        headers: names in lower case; of repeated ones the last.
        content: the body, decoded from its transfer and content coding.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


class Posts:
    """Posts JSON bodies to one address."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url
        self._turn = asyncio.Lock()

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Response:
        """The answer, whatever its status.

        Args:
            body: JSON.
            headers: further headers, such as the one with the key.

        Raises:
            TransportError: no connection, or no complete answer.
        """
        import aiohttp

        # Answers that came together would else be dealt with together, and no request leave before the last of them: one a round of the
        # event loop, which writes it (in a task of aiohttp's, before Python 3.12) before the next one is begun.
        await self._turn.acquire()
        asyncio.get_running_loop().call_soon(self._turn.release)
        try:
            # a redirect must not carry the key to another host
            async with self._http.post(self._url, data=body, headers=headers, allow_redirects=False) as given:
                content = await given.read()
        except (aiohttp.ClientError, OSError) as error:
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            raise TransportError(why, sent=not isinstance(error, aiohttp.ClientConnectorError)) from error
        return Response(given.status, {name.lower(): value for name, value in given.headers.items()}, content)


@asynccontextmanager
async def connect(url: str, headers: Mapping[str, str], connections: int) -> AsyncIterator[Posts]:
    """Connections to an address, closed afterwards.

    Args:
        url: http or https.
        headers: of every request, none of them secret.
        connections: how many are used at once.

    Raises:
        MissingDependencyError: aiohttp is not installed.
    """
    try:
        import aiohttp
    except ImportError as error:
        raise MissingDependencyError("aiohttp", "http", "an HTTP endpoint") from error
    fixed = {"user-agent": "whybox", "accept": "application/json", "content-type": "application/json"} | dict(headers)

    class Clean(aiohttp.TCPConnector):
        """Gives up a connection on which something came that nobody had asked for: it would be taken for the next answer."""

        async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
            while True:
                connection = await super().connect(*args, **kwargs)
                if connection.protocol is None or not connection.protocol.should_close:
                    return connection
                connection.close()

    # the caller sets the time that a request may take; whether the environment names a proxy is looked up once, not with every request
    async with aiohttp.ClientSession(
        headers=fixed,
        connector=Clean(limit=connections),
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=bool(getproxies()),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as http:
        yield Posts(http, url)
