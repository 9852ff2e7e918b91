"""A request handed on to another API server, and its answer handed back as it comes.

Who asks is said in `X-Remote-*` headers over a connection that our front-proxy certificate vouches for: no credential of the
client goes further. No redirect is followed; nothing is kept but what a stream's buffers hold.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from skerry.apiserver.aggregation.front_proxy import FrontProxy
from skerry.apiserver.aggregation.plan import Remote
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.store import Store
from skerry.apiserver.webhooks.client import CallError, guarded_resolver, require_reachable, target, trust
from skerry.model.errors import bad_request, unavailable

if TYPE_CHECKING:
    import aiohttp

CONNECT_S = 5.0
ANSWER_S = 60.0
"""How long another server may take until its answer begins, or until more of it comes; a watch may be silent for longer."""
WATCH_S = 3600.0
MAX_DOCUMENT = 3 << 20
_OURS = frozenset(
    ("host", "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade")
)
_NOT_FORWARDED = _OURS | {"authorization", "content-length", "cookie", "expect"}
_NOT_RETURNED = _OURS | {"content-length", "set-cookie"}


def headers_for(request: Request) -> dict[str, str]:
    """Return the headers of a request as another server gets it: without credentials, and with who asks."""
    found = {k: v for k, v in request.headers.items() if k not in _NOT_FORWARDED and not k.startswith(("impersonate-", "x-remote-"))}
    user = request.user
    found["X-Remote-User"] = user.name
    if user.uid:
        found["X-Remote-Uid"] = user.uid
    return found


def identity_lines(request: Request) -> list[tuple[str, str]]:
    """Return the headers that may stand several times: groups, and what else is known of the user."""
    groups = [("X-Remote-Group", g) for g in request.user.groups]
    return groups + [(f"X-Remote-Extra-{quote(k, safe='').lower()}", v) for k, values in request.user.extra.items() for v in values]


class Forwarding:
    """Connections to the servers behind APIServices."""

    def __init__(self, store: Store, proxy: FrontProxy) -> None:
        self._store, self._proxy = store, proxy
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}

    async def forward(self, remote: Remote, request: Request) -> Response:
        """Hand a request on; ApiError 503 when the server is not there, 400 for what cannot be handed on."""
        if "upgrade" in request.headers:
            raise bad_request("connections to an aggregated API cannot be upgraded")
        path = quote(request.path, safe="/:@!$&'()*+,;=-._~") + (f"?{request.query}" if request.query else "")
        lines = [*headers_for(request).items(), *identity_lines(request)]
        answer = await self._send(remote, request.method, path, lines, request.body, WATCH_S if "watch" in request.query else ANSWER_S)
        if 300 <= answer.status < 400 and answer.status != 304:
            answer.close()
            raise unavailable("the server behind the APIService redirects requests, which is not followed")
        returned = {k: v for k, v in answer.headers.items() if k.lower() not in _NOT_RETURNED}
        return Response(answer.status, returned, _streamed(answer))

    async def document(self, remote: Remote, path: str) -> bytes | None:
        """Return what a GET of *path* answers when it is 200; ApiError 503 when the server is not there."""
        lines = [("Accept", "application/json"), ("X-Remote-User", "system:kube-aggregator"), ("X-Remote-Group", "system:masters")]
        answer = await self._send(remote, "GET", path, lines, b"", CONNECT_S)
        try:
            async with asyncio.timeout(CONNECT_S):
                body = await answer.content.read(MAX_DOCUMENT + 1)
                while not answer.content.at_eof() and len(body) <= MAX_DOCUMENT:
                    body += await answer.content.read(MAX_DOCUMENT + 1 - len(body))
        except (TimeoutError, OSError) as error:
            raise unavailable(f"{remote.name}: {error or 'no answer in time'}") from None
        finally:
            answer.close()
        return body if answer.status == 200 and len(body) <= MAX_DOCUMENT else None

    async def _send(
        self, remote: Remote, method: str, path: str, lines: list[tuple[str, str]], body: bytes, silence_s: float
    ) -> aiohttp.ClientResponse:
        import aiohttp
        from multidict import CIMultiDict
        from yarl import URL

        try:
            where = target({"service": {"namespace": remote.namespace, "name": remote.service, "port": remote.port}}, self._store)
            require_reachable(urlsplit(where.url).hostname or "")
            context = await self._context(remote)
            async with asyncio.timeout(silence_s):  # the head of an answer may come a byte at a time, and never be silent for long
                return await self._open().request(
                    method,
                    URL(where.url.rstrip("/") + path, encoded=True),
                    data=body or None,
                    headers=CIMultiDict(lines),
                    allow_redirects=False,
                    ssl=context,
                    server_hostname=where.host,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s),
                )
        except CallError as error:
            raise unavailable(f"{remote.name}: {error}") from None
        except (aiohttp.ClientError, ssl.SSLError, TimeoutError, OSError, ValueError) as error:
            raise unavailable(f"{remote.name}: error trying to reach service: {str(error)[:300] or type(error).__name__}") from None

    async def _context(self, remote: Remote) -> ssl.SSLContext:
        key = (remote.ca, remote.insecure)
        found = self._contexts.get(key)
        if found is None:
            found = self._contexts[key] = trust(remote.ca)
            if remote.insecure:
                found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
            certificate, private = await self._proxy.files()
            found.load_cert_chain(certificate, private)
        return found

    def forget(self) -> None:
        """Trust nobody until asked again: an APIService changed."""
        self._contexts.clear()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=512, resolver=guarded_resolver()),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _streamed(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return  # the other server went away: the client sees an end, and asks again
    finally:
        answer.close()


__all__ = ["Forwarding", "headers_for", "identity_lines"]
