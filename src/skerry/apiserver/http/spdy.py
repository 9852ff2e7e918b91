"""SPDY/3.1 as kubectl speaks it for port-forward, the server's end, without sockets: bytes in, events and bytes out.

Only what that needs: streams that the client opens, replies, data, resets, pings. Lengths are claims: beyond the limits a frame is
refused unread, and a header block that grows beyond its limit while it is unpacked is refused too.
Source: the SPDY protocol, draft 3.1, sections 2.2 to 2.6.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

import msgspec

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FLAG_FIN = 1
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL, INTERNAL_ERROR = 1, 3, 5, 6
MAX_DATA_BYTES = 1 << 20
MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 64
SEND_BYTES = 32 * 1024

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization "
    "cache-control connection content-base content-encoding content-language content-length content-location content-md5 content-range "
    "content-type date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified "
    "location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding "
    "upgrade user-agent vary via warning www-authenticate method get status|200 OK|version HTTP/1.1 url public set-cookie keep-alive origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information204 No "
    "Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 "
    "Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,"
    "image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,"
    "sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    """Return the header dictionary of section 2.6.10.1; its Adler-32 is 0xe3c6a7c2."""
    first, ok, last = _WORDS.split("|")
    words = [*first.split(), ok, *last.split()]
    return b"".join(struct.pack(">I", len(w)) + w.encode() for w in words) + _TAIL.encode()


DICTIONARY = _dictionary()


class SpdyError(Exception):
    """The peer broke the protocol or a limit; the connection cannot go on."""


class Opened(msgspec.Struct, frozen=True):
    """The client opened stream `id`."""

    id: int
    headers: Mapping[str, str]
    ended: bool


class Data(msgspec.Struct, frozen=True):
    """Bytes on stream `id`; `ended`: the client sends no more on it."""

    id: int
    data: bytes
    ended: bool


class Reset(msgspec.Struct, frozen=True):
    """The client gave stream `id` up."""

    id: int


Event = Opened | Data | Reset


class Spdy:
    """One connection. `feed` returns what happened; `to_send` takes what has to go out."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._out = bytearray()
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)
        self._pack = zlib.compressobj(level=6, wbits=11, zdict=DICTIONARY)
        self._last = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what *data* brings; raises SpdyError."""
        self._rest += data
        while len(self._rest) >= 8:
            first, flags_length = struct.unpack_from(">II", self._rest)
            flags, length = flags_length >> 24, flags_length & 0xFFFFFF
            limit = MAX_HEADER_BYTES if first & 0x80000000 else MAX_DATA_BYTES
            if length > limit:
                raise SpdyError(f"a frame of {length} bytes, the limit is {limit}")
            if len(self._rest) < 8 + length:
                return
            payload = bytes(self._rest[8 : 8 + length])
            del self._rest[: 8 + length]
            if first & 0x80000000:
                yield from self._control(first, flags, payload)
            else:
                yield self._data(first & 0x7FFFFFFF, flags, payload)

    def _data(self, stream: int, flags: int, payload: bytes) -> Data:
        if payload:  # what was taken may be sent again: this end never holds more than one frame of it
            for where in (stream, 0):
                self._put(WINDOW_UPDATE, 0, struct.pack(">II", where, len(payload)))
        return Data(stream, payload, bool(flags & FLAG_FIN))

    def _control(self, first: int, flags: int, payload: bytes) -> Iterator[Event]:
        version, kind = (first >> 16) & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise SpdyError(f"SPDY version {version}, this is {VERSION}")
        if kind == SYN_STREAM:
            yield self._opened(flags, payload)
        elif kind == RST_STREAM and len(payload) == 8:
            yield Reset(struct.unpack(">II", payload)[0] & 0x7FFFFFFF)
        elif kind == PING and len(payload) == 4:
            self._put(PING, 0, payload)
        elif kind == HEADERS and len(payload) >= 4:
            self._headers(payload[4:])  # the blocks of a connection are one compressed stream: each has to be read

    def _opened(self, flags: int, payload: bytes) -> Opened:
        if len(payload) < 10:
            raise SpdyError("a SYN_STREAM that is too short")
        stream = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
        if stream % 2 == 0 or stream <= self._last:
            raise SpdyError(f"stream {stream} after stream {self._last}: a client's streams have odd numbers that grow")
        self._last = stream
        return Opened(stream, self._headers(payload[10:]), bool(flags & FLAG_FIN))

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._unpack.decompress(block, MAX_HEADER_BYTES)
        except zlib.error as error:
            raise SpdyError(f"a header block that cannot be unpacked: {error}") from error
        if self._unpack.unconsumed_tail:
            raise SpdyError(f"a header block of more than {MAX_HEADER_BYTES} bytes")
        return dict(_pairs(plain))

    def reply(self, stream: int) -> None:
        """Accept *stream*."""
        block = self._pack.compress(struct.pack(">I", 0)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        self._put(SYN_REPLY, 0, struct.pack(">I", stream) + block)

    def data(self, stream: int, data: bytes, *, ended: bool = False) -> None:
        """Send *data* on *stream*."""
        parts = [data[at : at + SEND_BYTES] for at in range(0, len(data), SEND_BYTES)] or [b""]
        for number, part in enumerate(parts, 1):
            flags = FLAG_FIN if ended and number == len(parts) else 0
            self._out += struct.pack(">II", stream, flags << 24 | len(part)) + part

    def reset(self, stream: int, status: int = CANCEL) -> None:
        """Give *stream* up."""
        self._put(RST_STREAM, 0, struct.pack(">II", stream, status))

    def goaway(self, status: int = 0) -> None:
        """Say that this connection ends; *status* 1 is a protocol error."""
        self._put(GOAWAY, 0, struct.pack(">II", self._last, status))

    def to_send(self) -> bytes:
        """Take what has to go out."""
        out, self._out = bytes(self._out), bytearray()
        return out

    def _put(self, kind: int, flags: int, payload: bytes) -> None:
        self._out += struct.pack(">HHI", 0x8000 | VERSION, kind, flags << 24 | len(payload)) + payload


def _pairs(block: bytes) -> Iterator[tuple[str, str]]:
    """Yield the headers of an unpacked block, names in small letters."""
    at = 0

    def take() -> bytes:
        nonlocal at
        if at + 4 > len(block):
            raise SpdyError("a header block that ends in the middle")
        size = struct.unpack_from(">I", block, at)[0]
        at += 4
        if size > len(block) - at:
            raise SpdyError("a header block that ends in the middle")
        part = block[at : at + size]
        at += size
        return part

    if len(block) < 4:
        raise SpdyError("a header block without a number of headers")
    count = struct.unpack_from(">I", block)[0]
    at = 4
    if count > MAX_HEADERS:
        raise SpdyError(f"{count} headers, the limit is {MAX_HEADERS}")
    for _ in range(count):
        name, value = take(), take()
        yield name.decode("latin-1").lower(), value.decode("latin-1")
