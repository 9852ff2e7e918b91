"""The batch that a node uploads: lines of JSON, in sequence without a hole, as bytes that nobody decodes twice.

A line is `{"seq":N,"event":{...}}`, or `{"dropped":{"first":A,"last":B,"reason":"..."}}` for numbers that will never come. Every
sequence number of an outbox is in exactly one line that the hub accepts, so sent = stored + dropped, always.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from skerry.model.unreadable import NOT_JSON

MAX_EVENT_BYTES = 256 * 1024
MAX_BATCH_EVENTS = 1000
MAX_BATCH_BYTES = 1024 * 1024 + MAX_EVENT_BYTES
"""What a hub reads of one request: a full batch and the event that filled it."""
MAX_SEQUENCE = 2**62


class BatchError(ValueError):
    """Not a batch; the message names the line."""


_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
_Sequence = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQUENCE)]


class Head(msgspec.Struct, frozen=True):
    """What every CloudEvent has; reading it proves that the event is one JSON object with these."""

    id: _Word
    source: _Word
    type: _Word
    specversion: str


class Dropped(msgspec.Struct, frozen=True):
    """Numbers that the node gave up, and why: a bound was reached, or an earlier hub had them."""

    first: _Sequence
    last: _Sequence
    reason: Annotated[str, msgspec.Meta(max_length=256)] = ""


class Stored(msgspec.Struct, frozen=True):
    """One event with its number; `raw` is its structured JSON."""

    seq: int
    raw: bytes


class _Line(msgspec.Struct):
    seq: _Sequence | None = None
    event: msgspec.Raw = msgspec.Raw()
    dropped: Dropped | None = None


Entry = Stored | Dropped
_LINES = msgspec.json.Decoder(_Line)
_HEAD = msgspec.json.Decoder(Head)


def head(raw: bytes | msgspec.Raw) -> Head:
    """Read id, source and type of a structured event; raises BatchError."""
    try:
        return _HEAD.decode(raw)
    except NOT_JSON as error:
        raise BatchError(f"not a CloudEvent: {error}") from error


def digest(raw: bytes) -> str:
    """Return by what node and hub see that a number means the same event to both."""
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


def encode(after: int, rows: Sequence[tuple[int, bytes]], *, reason: str) -> bytes:
    """Return the batch that goes on after number *after*; numbers missing from *rows* are declared dropped for *reason*."""
    lines: list[bytes] = []
    for seq, raw in rows:
        if seq != after + 1:
            lines.append(_dropped(after + 1, seq - 1, reason))
        lines.append(b'{"seq":%d,"event":%b}\n' % (seq, raw))
        after = seq
    return b"".join(lines)


def encode_dropped(first: int, last: int, *, reason: str) -> bytes:
    """Return a batch that only declares numbers dropped."""
    return _dropped(first, last, reason)


def _dropped(first: int, last: int, reason: str) -> bytes:
    return b'{"dropped":%b}\n' % msgspec.json.encode(Dropped(first, last, reason))


def decode(body: bytes) -> list[Entry]:
    """Read a batch; raises BatchError unless its numbers follow each other and each event is a CloudEvent."""
    if len(body) > MAX_BATCH_BYTES:
        raise BatchError(f"a batch has {len(body)} bytes; the limit is {MAX_BATCH_BYTES}")
    try:
        lines = _LINES.decode_lines(body)
    except NOT_JSON as error:
        raise BatchError(f"not lines of a batch: {error}") from error
    if not 0 < len(lines) <= 2 * MAX_BATCH_EVENTS:
        raise BatchError(f"a batch has {len(lines)} lines; it must have 1 to {2 * MAX_BATCH_EVENTS}")
    entries = [_entry(i, line) for i, line in enumerate(lines, 1)]
    _check_sequence(entries)
    return entries


def _entry(number: int, line: _Line) -> Entry:
    if line.seq is not None and line.dropped is None:
        try:
            _HEAD.decode(line.event)
        except NOT_JSON as error:
            raise BatchError(f"line {number}, event {line.seq}: {error}") from error
        return Stored(line.seq, bytes(line.event))
    if line.dropped is None or line.seq is not None or line.dropped.last < line.dropped.first:
        raise BatchError(f"line {number} has neither one event with its number nor a range of dropped numbers")
    return line.dropped


def _check_sequence(entries: Iterable[Entry]) -> None:
    expected = 0
    for entry in entries:
        first, last = bounds(entry)
        if expected and first != expected:
            raise BatchError(f"number {first} follows {expected - 1}: a batch has no holes")
        expected = last + 1


def bounds(entry: Entry) -> tuple[int, int]:
    """Return the first and the last number that *entry* accounts for."""
    return (entry.seq, entry.seq) if isinstance(entry, Stored) else (entry.first, entry.last)
