"""The GET of an HTTP probe: a request as the kubelet makes it, and the status of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import h11

MAX_ANSWER_BYTES = 10 * 1024


async def get_status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, spec: Mapping[str, Any]) -> int:
    """Ask for the path of an `httpGet`; raises ConnectionError when what answers is not HTTP."""
    try:
        return await _exchange(reader, writer, host, spec)
    except h11.ProtocolError as error:
        raise ConnectionError(str(error)) from error


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, spec: Mapping[str, Any]) -> int:
    path = spec.get("path") or "/"
    headers = [(h["name"], h.get("value") or "") for h in spec.get("httpHeaders") or ()]
    given = {n.lower() for n, _ in headers}
    defaults = [("Host", host), ("User-Agent", "kube-probe/1.32"), ("Accept", "*/*"), ("Connection", "close")]
    connection = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=MAX_ANSWER_BYTES)
    request = h11.Request(
        method="GET",
        target=path if path.startswith("/") else f"/{path}",
        headers=[*(d for d in defaults if d[0].lower() not in given), *headers],
    )
    writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(MAX_ANSWER_BYTES))
        elif isinstance(event, h11.Response):
            return event.status_code
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionError("the connection was closed without an answer")
