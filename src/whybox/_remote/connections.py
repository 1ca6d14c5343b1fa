"""How requests travel: straight to the host, or through the proxy that the environment names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from whybox._remote.http1 import Poster, Response, TransportError
from whybox.errors import MissingDependencyError

if TYPE_CHECKING:
    import httpx2


class Posts(Protocol):
    """Posts a body to the one address."""

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Response:
        """The answer, whatever its status.

        Raises:
            TransportError: no connection, or no complete answer.
        """


@asynccontextmanager
async def connect(url: str, headers: Mapping[str, str], connections: int) -> AsyncIterator[Posts]:
    """Connections to an address, closed afterwards.

    Args:
        url: http or https.
        headers: of every request, none of them secret.
        connections: how many are used at once.

    Raises:
        MissingDependencyError: a proxy is to be used, and httpx2 is not installed.
    """
    parts = urlsplit(url)
    if getproxies().get(parts.scheme) is None or proxy_bypass(parts.netloc):
        async with Poster(url, headers) as straight:
            yield straight
        return
    try:
        import httpx2
    except ImportError as error:
        raise MissingDependencyError("httpx2", "llm", "an HTTP endpoint behind a proxy") from error
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    # a redirect must not carry the key to another host; the caller sets the time that a request may take
    async with httpx2.AsyncClient(headers=dict(headers), timeout=None, limits=limits, follow_redirects=False) as http:
        yield _Proxied(http, url)


class _Proxied:
    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http, self._url = http, url

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Response:
        import httpx2

        try:
            given = await self._http.post(self._url, content=body, headers={"content-type": "application/json"} | dict(headers))
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            raise TransportError(why, sent=not isinstance(error, (httpx2.ConnectError, httpx2.ProxyError))) from error
        return Response(given.status_code, {name.lower(): value for name, value in given.headers.items()}, given.content)
