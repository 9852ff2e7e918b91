"""Where the hub is, and one HTTPS exchange with it: for joining and renewing, before there is a link.

What stays true: no redirect is followed, no answer is longer than a limit, and whatever is not the answer that our hub
gives (a captive portal, a proxy, HTML) is a ConnectionError.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any
from urllib.parse import urlsplit

import msgspec

from skerry.model.reasons import why
from skerry.node.identity.dialing import dial

MAX_ANSWER = 256 * 1024


class HubAddress(msgspec.Struct, frozen=True):
    """The host (a name or an address) and the port of the hub's one listener."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> HubAddress:
        """Read `https://host:port`; raises ValueError that says what it should look like."""
        parts = urlsplit(url if "://" in url else f"https://{url}")
        if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
            raise ValueError(f"{url!r} is not a hub's address; it looks like https://hub.example.org:6443")
        return cls(parts.hostname, parts.port or 6443)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


class Reply(msgspec.Struct, frozen=True):
    """A whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(
    address: HubAddress, context: ssl.SSLContext, method: str, path: str, *, body: bytes = b"", timeout_s: float = 20
) -> Reply:
    """Send one request and return the answer; raises ConnectionError."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(address, context, method, path, body)
    except TimeoutError as error:
        raise ConnectionError(f"{address} did not answer within {timeout_s:.0f} s") from error
    except ssl.SSLError as error:
        raise ConnectionError(f"{address} is not our hub: {error}") from error
    except OSError as error:
        raise ConnectionError(f"{address} cannot be reached: {why(error)}") from error


async def _exchange(address: HubAddress, context: ssl.SSLContext, method: str, path: str, body: bytes) -> Reply:
    import h11  # only here: a node that has joined seldom needs it

    connected = await dial(address.host, address.port)
    reader, writer = await asyncio.open_connection(sock=connected, ssl=context, server_hostname=address.host, limit=MAX_ANSWER)
    try:
        peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=32 * 1024)
        headers = [("host", f"{address.host}:{address.port}"), ("accept", "application/json"), ("connection", "close")]
        if body:
            headers += [("content-type", "application/json"), ("content-length", str(len(body)))]
        writer.write(_send(peer, h11.Request(method=method, target=path, headers=headers)))
        if body:
            writer.write(_send(peer, h11.Data(data=body)))
        writer.write(_send(peer, h11.EndOfMessage()))
        await writer.drain()
        return await _receive(peer, reader)
    except h11.RemoteProtocolError as error:
        raise ConnectionError(f"{address} is not our hub: its answer is not HTTP ({error})") from error
    finally:
        writer.close()
        try:
            await asyncio.wait_for(writer.wait_closed(), 2)
        except (OSError, TimeoutError):
            writer.transport.abort()


def _send(peer: Any, event: Any) -> bytes:
    return bytes(peer.send(event) or b"")


async def _receive(peer: Any, reader: asyncio.StreamReader) -> Reply:
    import h11

    status, headers, body = 0, {}, bytearray()
    while True:
        event = peer.next_event()
        if event is h11.NEED_DATA:
            peer.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_ANSWER:
                raise ConnectionError(f"the answer is longer than {MAX_ANSWER} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return Reply(status, headers, bytes(body))
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionError("the connection was closed before an answer came")
