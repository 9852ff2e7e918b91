"""Calls to webhooks: one POST over TLS to whoever a configuration names, bounded in time and bytes. It judges nothing.

No redirect is followed, no proxy is used, no address of the link (metadata services of clouds) is called. aiohttp is loaded by
the first call.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import math
import random
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.store import Key, Store
from skerry.model.objects import Object

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER = 3 * 1024 * 1024
"""Longest answer of a webhook: bytes."""
MAX_CONNECTIONS = 512
MAX_PER_HOST = 64
"""Connections to one webhook; who waits for one does so within its own time limit."""
MAX_CONTEXTS = 100
SLICES = "endpointslices.discovery.k8s.io"
_METADATA = (ipaddress.ip_address("fd00:ec2::254"),)
"""Where clouds tell secrets outside of the link."""


class CallError(Exception):
    """A webhook that gave no answer; the message says why, as a Go client would."""


class Target(msgspec.Struct, frozen=True):
    """Where to connect, and what is said there: `shown` is the URL in messages, `host` the name in the certificate."""

    url: str
    shown: str
    host: str


def target(config: Mapping[str, Any], store: Store, choose: Callable[[list[str]], str] = random.choice) -> Target:
    """Return where `clientConfig` points to; raises CallError for a Service that has nobody."""
    url = config.get("url")
    if url:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise CallError(f'the URL of a webhook begins with https://, got "{url}"')
        return Target(url, url, parts.hostname)
    service = config.get("service") or {}
    namespace, name, port = service.get("namespace", ""), service.get("name", ""), service.get("port") or 443
    path = "/" + (service.get("path") or "").lstrip("/")
    found = _endpoints(store, namespace, name, port)
    if not found:
        raise CallError(f'no endpoints available for service "{name}"')
    host = f"{name}.{namespace}.svc"
    return Target(f"https://{choose(found)}{path}", f"https://{host}:{port}{path}", host)


def _endpoints(store: Store, namespace: str, name: str, port: int) -> list[str]:
    """Return `address:port` of everybody ready behind a Service: nothing here forwards its own address."""
    record = store.get(Key("services", namespace, name))
    if record is None:
        raise CallError(f'service "{name}" not found')
    ports = (decode(record.value).get("spec") or {}).get("ports") or ()
    entry = next((p for p in ports if p.get("port") == port), None)
    if entry is None:
        raise CallError(f'no service port {port} found for service "{name}"')
    found: list[str] = []
    for slice_ in store.list(SLICES, namespace).records:
        obj: Object = decode(slice_.value)
        if (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name:
            found += _addresses(obj, entry.get("name") or "")
    return found


def _addresses(obj: Object, port_name: str) -> list[str]:
    port = next((p.get("port") for p in obj.get("ports") or () if (p.get("name") or "") == port_name), None)
    if port is None:
        return []
    ready = [e for e in obj.get("endpoints") or () if (e.get("conditions") or {}).get("ready") is not False]
    return [f"[{a}]:{port}" if ":" in a else f"{a}:{port}" for e in ready for a in e.get("addresses") or ()]


class Caller:
    """One client for all webhooks of a server; `close` ends its connections."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def call(self, config: Mapping[str, Any], body: bytes, *, timeout_s: float) -> bytes:
        """POST *body* and return the answer's; raises CallError, whatever went wrong, within *timeout_s*."""
        where = target(config, self._store)
        query = f"?timeout={math.ceil(timeout_s)}s"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(where, query, body, str(config.get("caBundle") or ""))
        except TimeoutError:
            raise CallError(f'failed to call webhook: Post "{where.shown}{query}": context deadline exceeded') from None

    async def _post(self, where: Target, query: str, body: bytes, bundle: str) -> bytes:
        import aiohttp

        prefix = f'failed to call webhook: Post "{where.shown}{query}": '
        literal = urlsplit(where.url).hostname or ""
        require_reachable(literal)
        try:
            async with self._open().post(
                where.url + query,
                data=body,
                headers={"Content-Type": "application/json", "Accept": "application/json", "Host": urlsplit(where.shown).netloc},
                allow_redirects=False,
                ssl=self._context(bundle),
                server_hostname=where.host,
            ) as response:
                answer = await _limited(response)
                if response.status != 200:
                    why = f"the server responded with the status code {response.status} but did not return more information"
                    raise CallError(f"failed to call webhook: {why}")
                return answer
        except aiohttp.ClientConnectorCertificateError as error:
            raise CallError(f"{prefix}tls: failed to verify certificate: x509: {_reason(error.certificate_error)}") from None
        except aiohttp.ClientConnectorError as error:
            raise CallError(f"{prefix}dial tcp {error.host}:{error.port}: {_reason(error.os_error)}") from None
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
            raise CallError(f"{prefix}{_reason(error)}") from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, limit_per_host=MAX_PER_HOST, resolver=guarded_resolver())
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=60), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        return self._session

    def _context(self, bundle: str) -> ssl.SSLContext:
        """Return the trust of a configuration: exactly its own CAs, or the machine's when it names none."""
        found = self._contexts.get(bundle)
        if found is None:
            if len(self._contexts) >= MAX_CONTEXTS:
                self._contexts.clear()
            found = self._contexts[bundle] = trust(bundle)
        return found

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def trust(bundle: str) -> ssl.SSLContext:
    """Return a client's TLS context for a caBundle (base64 of PEM); raises CallError when it cannot be read."""
    if not bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=base64.b64decode(bundle, validate=True).decode("ascii"))
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError, ValueError):
        raise CallError("unable to load root certificates: unable to parse bytes as PEM block") from None


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        found += chunk
        if len(found) > MAX_ANSWER:
            raise CallError(f"failed to call webhook: the answer is longer than {MAX_ANSWER} bytes")
    return bytes(found)


def require_reachable(host: str) -> None:
    """Raise CallError for an address of the link (clouds tell secrets there), however it is written; a name is no address yet."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise CallError(f"failed to call webhook: {host} is no address that a webhook may have")


def guarded_resolver() -> Any:
    """Return what finds the addresses of names, and refuses the same ones."""
    from aiohttp.resolver import ThreadedResolver

    class Guarded(ThreadedResolver):
        """Names that lead to an address of the link are not followed there."""

        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            found = await super().resolve(host, port, family)
            for entry in found:
                require_reachable(entry["host"])
            return found

    return Guarded()


def _reason(error: object) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connect: connection refused"
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = "certificate signed by unknown authority"
        return unknown if error.verify_code in (18, 19, 20, 21) else error.verify_message
    return str(error)[:500] or type(error).__name__
