"""What the hub serves of its event log, free of any HTTP library: uploads from nodes, and reading by whoever may.

`POST /skerry/link/events`: one batch, answered after its fsync with `{"acknowledged":N}`; 409 with the same body says from where to
send. `GET /skerry/link/events`: the mark, and the digest of the event that has this number.
`GET /skerry/events`: lines of `{"sequence":S,"node":"...","seq":N,"event":{...}}`; the header `skerry-next` says after which entry the
next page begins. With `watch=true` new ones follow as they come, with an empty line when it is quiet.
The caller has authenticated and authorised; *node* is who the connection belongs to, never what a header says.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from urllib.parse import parse_qsl

import msgspec

from skerry.events.log import BatchError, GapError, HubLog, LogEntry, LogExpiredError
from skerry.events.log.batch import head
from skerry.model.errors import ApiError, bad_request, expired

STREAM_HEADER = "skerry-stream"
DEFAULT_LIMIT = 500
MAX_LIMIT = 1000
_MAX_SCANNED_PAGES = 20
_QUIET_S = 15.0
_STREAM = re.compile(r"[0-9a-f]{32}")
_PARAMETERS = ("after", "tail", "limit", "watch", "node", "source")
_BOOLEANS = {"true": True, "1": True, "": False, "false": False, "0": False}


class Answer(msgspec.Struct, frozen=True):
    """A response: `body` is bytes, or a stream to be flushed at each item."""

    status: int
    body: bytes | AsyncIterator[bytes]
    headers: Mapping[str, str] = msgspec.field(default_factory=lambda: {"content-type": "application/json"})


class Query(msgspec.Struct, frozen=True):
    """What a reader wants: entries after `after` (None: all that is held), or the last `tail`; of one node, or one source."""

    after: int | None = None
    tail: int | None = None
    limit: int = DEFAULT_LIMIT
    watch: bool = False
    node: str = ""
    source: str = ""

    def wants(self, entry: LogEntry) -> bool:
        return (not self.node or entry.node == self.node) and (not self.source or _source(entry) == self.source)


def parse_query(text: str) -> Query:
    """Read the query of `GET /skerry/events`; an unknown or senseless parameter is refused by name."""
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=16, strict_parsing=bool(text))
    except ValueError as error:
        raise bad_request(f"the query cannot be read: {error}") from error
    for name, value in pairs:
        if name not in _PARAMETERS or name in found:
            raise bad_request(
                f"query parameter {name!r} is not supported here, or is given twice: use after, tail, limit, watch, node, source"
            )
        found[name] = value
    if "after" in found and "tail" in found:
        raise bad_request("after and tail exclude each other")
    watch = _BOOLEANS.get(found.get("watch", ""))
    if watch is None:
        raise bad_request(f"watch={found['watch']!r} is neither true nor false")
    tail = _number("tail", found.get("tail"), MAX_LIMIT)
    return Query(
        after=_number("after", found.get("after"), 2**62),
        tail=tail,
        limit=_number("limit", found.get("limit"), MAX_LIMIT) or tail or DEFAULT_LIMIT,
        watch=watch,
        node=found.get("node", ""),
        source=found.get("source", ""),
    )


def _number(name: str, text: str | None, most: int) -> int | None:
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise bad_request(f"{name}={text[:32]!r} is not a number from 0 to {most}")
    return int(text)


class EventRoutes:
    """The three routes over one log."""

    def __init__(self, log: HubLog, *, quiet_s: float = _QUIET_S) -> None:
        self._log = log
        self._quiet_s = quiet_s

    async def mark(self, node: str, stream: str) -> Answer:
        """Say what the hub has of a node's stream."""
        mark, digest = await self._log.position(node, _stream(stream))
        return Answer(200, b'{"acknowledged":%d,"digest":"%b"}' % (mark, digest.encode()))

    async def upload(self, node: str, stream: str, body: bytes) -> Answer:
        """Store one batch; `MAX_BATCH_BYTES` of body are enough to read."""
        try:
            return _acknowledged(200, await self._log.store(node, _stream(stream), body))
        except GapError as error:
            return _acknowledged(409, error.mark)
        except BatchError as error:
            raise bad_request(f"the batch of node {node} is refused: {error}") from error

    async def read(self, query: str) -> Answer:
        """Serve the log; ApiError 410 when `after` is no longer held."""
        wanted = parse_query(query)
        try:
            after = wanted.after if wanted.tail is None else await self._back(wanted)
            lines, after = await self._page(wanted, after)
        except LogExpiredError as error:
            raise _expired(error) from error
        headers = {"content-type": "application/x-ndjson", "skerry-next": str(after or 0)}
        if not wanted.watch:
            return Answer(200, lines, headers)
        return Answer(200, self._watch(wanted, lines, after), headers)

    async def _back(self, wanted: Query) -> int:
        """Return after which entry the last `tail` that are wanted begin, or the part of the log that is searched for them."""
        tail, newest, oldest = wanted.tail or 0, self._log.newest, await self._log.oldest()
        floor = oldest - 1 if oldest else newest
        if not tail or not (wanted.node or wanted.source):
            return max(newest - tail, floor)
        start, found = newest, 0
        for _ in range(_MAX_SCANNED_PAGES):
            end, start = start, max(start - MAX_LIMIT, floor)
            among = [e.sequence async for e in self._between(start, end) if wanted.wants(e)]
            found += len(among)
            if found >= tail:
                return among[found - tail] - 1
            if start == floor:
                break
        return start

    async def _between(self, start: int, end: int) -> AsyncIterator[LogEntry]:
        """Yield the entries after *start* up to *end*, however many of them fit into a page."""
        while start < end and (entries := await self._log.page(start, limit=end - start)):
            for entry in entries:
                if (start := entry.sequence) <= end:
                    yield entry

    async def _page(self, wanted: Query, after: int | None) -> tuple[bytes, int | None]:
        """Return lines of up to `limit` entries, and after which entry to go on."""
        lines: list[bytes] = []
        size = MAX_LIMIT if wanted.node or wanted.source else wanted.limit
        for _ in range(_MAX_SCANNED_PAGES):
            entries = await self._log.page(after, limit=size)
            for entry in entries:
                after = entry.sequence
                if wanted.wants(entry):
                    lines.append(_line(entry))
                    if len(lines) == wanted.limit:
                        return b"".join(lines), after
            if not entries:
                break
        return b"".join(lines), after

    async def _watch(self, wanted: Query, lines: bytes, after: int | None) -> AsyncIterator[bytes]:
        while True:
            if lines:
                yield lines
            try:
                if self._log.newest <= (after or 0):
                    async with asyncio.timeout(self._quiet_s):
                        await self._log.wait_newer(after or 0)
                lines, after = await self._page(wanted, after)
            except TimeoutError:
                lines = b"\n"
            except LogExpiredError as error:
                yield msgspec.json.encode({"error": _expired(error).to_status()}) + b"\n"
                return


def _expired(error: LogExpiredError) -> ApiError:
    return expired(f"{error}: read on with after={error.resume_after}")


def _stream(text: str) -> str:
    if not _STREAM.fullmatch(text):
        raise bad_request(f"header {STREAM_HEADER} must be the outbox's identity, 32 hexadecimal digits; it is {text[:40]!r}")
    return text


def _acknowledged(status: int, mark: int) -> Answer:
    return Answer(status, b'{"acknowledged":%d}' % mark)


def _source(entry: LogEntry) -> str:
    return head(entry.raw).source


def _line(entry: LogEntry) -> bytes:
    node = msgspec.json.encode(entry.node)
    return b'{"sequence":%d,"node":%b,"seq":%d,"event":%b}\n' % (entry.sequence, node, entry.seq, entry.raw)
