"""An answer that is all there: its head and its body leave as one write.

It stands in for aiohttp's own response, which costs a third of a GET: header objects, two writes, two TLS records. What a body may
not have (HEAD, 204, 304) and when a connection ends are aiohttp's rules, kept here.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import HttpVersion10, HttpVersion11
from aiohttp.helpers import rfc822_formatted_time

from skerry.apiserver.http.message import Headers, pairs

if TYPE_CHECKING:
    from aiohttp import web

JOINED_BYTES = 64 << 10
"""A longer body is not copied behind its head: it is handed over beside it."""
_WITHOUT_BODY = frozenset((204, 304))


class Whole:
    """What aiohttp asks of a response, and no more."""

    __slots__ = ("_body", "_headers", "_request", "keep_alive", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status, self._headers, self._body = status, headers, body
        self._request: web.BaseRequest | None = None
        self.keep_alive = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Learn what is answered."""
        self._request, self.keep_alive = request, request.keep_alive

    async def write_eof(self) -> None:
        """Send everything; ConnectionResetError when the client has gone."""
        request = self._request
        transport = request.transport if request is not None else None
        if request is None or transport is None or transport.is_closing():
            raise ConnectionResetError("the client went away before its answer")
        head = f"{_head(self.status, self._headers)}\r\n{self._rest(request)}".encode()
        body = b"" if request._message.method == "HEAD" or self.status in _WITHOUT_BODY else self._body
        if len(body) <= JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    def _rest(self, request: web.BaseRequest) -> str:
        """Return the lines that differ from answer to answer."""
        length = "" if self.status in _WITHOUT_BODY else f"Content-Length: {len(self._body)}\r\n"
        version = request._message.version
        connection = ""
        if not self.keep_alive and version == HttpVersion11:
            connection = "Connection: close\r\n"
        elif self.keep_alive and version == HttpVersion10:
            connection = "Connection: keep-alive\r\n"
        return f"{length}{connection}Date: {rfc822_formatted_time()}\r\n\r\n"


def _head(status: int, headers: Headers) -> str:
    """Return the first lines of an answer; ValueError for a header that would be more than a line."""
    lines = [_first(status)]
    lines += [f"{name}: {value}" for name, value in (pairs(headers) if "Warning" in headers else headers.items())]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise ValueError(f"a header of an answer holds a line break: {dict(headers)!r}")
    return head


@cache
def _first(status: int) -> str:
    try:
        return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP/1.1 {status} "
