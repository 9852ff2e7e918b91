"""A Transport on aiohttp, for a kubeconfig: the hub against a real cluster, and the command line. Never on a node.

Redirects are not followed: the credential is for one server. A connection that says nothing for `SILENCE_S` is lost.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from skerry.kube.kubeconfig import Cluster
from skerry.model.reasons import why

CONNECT_S = 10.0
SILENCE_S = 300.0
"""A server sends bookmarks about once a minute; five times that without a byte is a dead connection."""


def tls_context(cluster: Cluster) -> ssl.SSLContext | None:
    """Return the client's TLS settings, or None for an http:// server."""
    if cluster.server.startswith("http://"):
        return None
    context = ssl.create_default_context(cadata=cluster.ca_pem or None)
    if cluster.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cluster.certificate_pem:
        # The ssl module reads a key from a file only: a private one, gone at once.
        with tempfile.TemporaryDirectory(prefix="skerry-") as folder:
            both = Path(folder) / "client.pem"
            both.touch(mode=0o600)
            both.write_text(f"{cluster.certificate_pem}\n{cluster.key_pem}")
            context.load_cert_chain(both)
    return context


class AioTransport:
    """One aiohttp session to one API server; use it as an async context manager."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tls = tls_context(cluster)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        headers = {"user-agent": "skerry"}
        if self._cluster.token:
            headers["authorization"] = f"Bearer {self._cluster.token}"
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls if self._tls is not None else True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> AioResponse:
        if self._session is None:
            raise ConnectionError("the transport is not open; use `async with`")
        from yarl import URL

        url = URL(self._cluster.server + path, encoded=True)
        try:
            response = await self._session.request(
                method, url, headers=headers, data=body or None, allow_redirects=False, server_hostname=self._cluster.server_name or None
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(f"{self._cluster.server} cannot be reached: {why(error)}") from error
        return AioResponse(response)


class AioResponse:
    """Implements TransportResponse."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = {k.lower(): v for k, v in response.headers.items()}

    async def read(self, *, limit_bytes: int) -> bytes:
        parts, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit_bytes:
                self._response.close()
                raise ConnectionError(f"the answer is longer than {limit_bytes} bytes")
            parts.append(chunk)
        return b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(f"the answer was cut: {error or type(error).__name__}") from error

    async def close(self) -> None:
        # A body that was read whole leaves the connection reusable; one that was not cannot be.
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
