"""An API call that came over the link, to the dispatcher and back: the same `Request` and `Response` as over HTTP/1.1."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import msgspec

from skerry.apiserver.http.message import Request, Response, User, pairs
from skerry.apiserver.http.paths import normalise
from skerry.link import LinkStream
from skerry.model.errors import ApiError, bad_request, timeout, too_large

Handle = Callable[[Request], Awaitable[Response]]

MAX_BODY_BYTES = 3 * 1024 * 1024
BODY_TIMEOUT_S = 60.0

_NOT_ON_THE_LINK = frozenset(("connection", "transfer-encoding", "content-length", "keep-alive", "upgrade"))


async def read_request(stream: LinkStream, user: User, *, max_body: int = MAX_BODY_BYTES, peer: str = "") -> Request:
    """Read a whole request; raises ApiError when its path or body is not one that we serve."""
    raw, _, query = stream.target.partition("?")
    path = normalise(raw)
    if path is None:
        raise bad_request(f"the path {raw[:200]!r} cannot be served")
    headers = {k: v for k, v in stream.headers.items() if not k.startswith(":")}
    return Request(stream.method, path, query, headers, await read_body(stream, max_body), user, peer)


async def read_body(stream: LinkStream, limit: int) -> bytes:
    """Read a whole body; ApiError 413 beyond *limit*, 504 when it does not come in time."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while (data := await stream.receive()) is not None:
                size += len(data)
                if size > limit:
                    raise too_large(limit)
                parts.append(data)
    except TimeoutError as error:
        raise timeout(f"the body of the request did not come within {BODY_TIMEOUT_S:.0f} s") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def answer(stream: LinkStream, response: Response) -> None:
    """Send a whole answer, or a stream of them with a flush after each item."""
    if response.upgrade is not None:
        response = error_response(bad_request("connections cannot be upgraded on the link"))
    headers: dict[str, str] = {}
    for name, value in pairs(response.headers):
        if (key := name.lower()) not in _NOT_ON_THE_LINK:
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
    stream.respond(response.status, headers)
    if isinstance(response.body, bytes):
        await stream.send(response.body, ended=True)
    else:
        await _send_all(stream, response.body)


async def _send_all(stream: LinkStream, body: AsyncIterator[bytes]) -> None:
    try:
        async for chunk in body:
            await stream.send(chunk)
        await stream.finish()
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


def error_response(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """Return the error as its `Status`."""
    found = {"content-type": "application/json", **(headers or {})}
    retry = error.details.get("retryAfterSeconds")
    if retry:
        found["retry-after"] = str(retry)
    return Response(error.code, found, msgspec.json.encode(error.to_status()))
