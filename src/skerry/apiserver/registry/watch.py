"""WATCH: what happened after a revision, as lines of JSON, one batch of lines at a time.

A line is encoded once for all watchers that want the same form, and kept with the change. An object that enters a selection
is ADDED, one that leaves it DELETED with its previous content at the new revision. Too old a revision is an ERROR event in
the stream (410), as every informer expects. A stream ends at its deadline or with an ERROR event that says why, never in the middle
of a line.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from skerry.apiserver.registry.encoding import dumps
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import ListOptions
from skerry.apiserver.registry.read import check_fields, matches, not_older, reached
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.slices import sliced
from skerry.apiserver.schema.fields import METADATA_FIELDS
from skerry.apiserver.store import NAME, Change, Only, Record, TooOldError, Watcher
from skerry.model.errors import ApiError
from skerry.model.selectors import FieldSelector

BOOKMARK_S = 60.0
MIN_TIMEOUT_S = 1800.0
FUTURE_S = 15.0
"""How long a watch waits for its revision to come, before its client is told to list again."""
MAX_TOGETHER = 500
"""Objects that others are asked to convert at a time."""
MAX_TOGETHER_BYTES = 4 << 20
MAX_CHUNK_BYTES = 16 << 10
"""What is handed over at once, if one line is not longer: what a client does not read waits as records that all share."""
END_OF_INITIAL = "k8s.io/initial-events-end"

T = TypeVar("T")
Render = Callable[[bytes], bytes]
"""Make the form that the client asked for of an object's bytes."""


class Form:
    """One form of the events of one kind; `name` tells it from the others in the cache of a change.

    *first* is how a watcher's first event is written where that differs (a Table names its columns once).
    """

    __slots__ = ("first", "name", "render")

    def __init__(self, name: object, render: Render | None = None, first: Render | None = None) -> None:
        self.name, self.render, self.first = name, render, first

    def line(self, type_: str, value: bytes) -> bytes:
        return _line(type_, value if self.render is None else self.render(value))


def _line(type_: str, value: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), value)


def open_watch(registry: Registry, kind: Kind, namespace: str, options: ListOptions, form: Form) -> AsyncGenerator[bytes, None]:
    """Check what can be checked before the answer begins, and return the stream."""
    check_fields(kind, options.fields)
    return _Watch(registry, kind, namespace, options, form).stream()


class _Watch:
    def __init__(self, registry: Registry, kind: Kind, namespace: str, options: ListOptions, form: Form) -> None:
        self._registry, self._kind, self._namespace, self._options, self._form = registry, kind, namespace, options, form
        self._first = form.first
        self._converts = kind.conversion is not None
        self._converted: Mapping[int, bytes] = {}
        """What others have converted of what is shown next, by the identity of its record."""
        self._moved = kind.encoding.moved if kind.custom and registry.kinds.storage(kind.key) is not kind else None
        if kind.view is not None:  # its lines are others than those of the kind that is kept
            self._moved, self._form = kind.view.shown, Form((kind.resource.api_version, form.name), form.render, form.first)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        store, options = self._registry.store, self._options
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (options.timeout_s or MIN_TIMEOUT_S * (1 + random.random()))  # noqa: S311 - spreads reconnects
        with_state = options.initial if options.initial is not None else not options.revision
        if with_state:
            if options.revision:
                try:
                    await not_older(self._registry, options.revision)
                except ApiError as error:
                    yield error_line(error)
                    return
            snapshot = store.list(self._kind.key, self._namespace)
            revision = snapshot.revision
        else:
            snapshot, revision = None, options.revision or store.revision
        if revision > store.revision and not await reached(self._registry, revision, min(deadline, loop.time() + FUTURE_S)):
            if loop.time() < deadline:
                yield error_line(_from_a_lost_time(revision, store.revision))
            return
        try:
            watcher = store.watch(self._kind.key, self._namespace, after=revision, only=_only(self._kind, options.fields))
        except TooOldError as error:
            yield error_line(_expired(error))
            return
        try:
            if snapshot is not None:
                for records in self._parts(snapshot.records, lambda r: len(r.value)):
                    await self._ready(records)
                    async for chunk in sliced(self._initial(records), MAX_CHUNK_BYTES):
                        yield chunk
                if options.initial and options.bookmarks:
                    yield self._bookmark(revision, end=True)
            async for chunk in self._live(watcher, deadline, began=revision):
                yield chunk
        except ApiError as error:  # of those who convert
            yield error_line(error)
        finally:
            watcher.close()

    def _parts(self, items: Sequence[T], size_of: Callable[[T], int]) -> Iterator[Sequence[T]]:
        """Yield what is about to be shown in as many parts as those who convert get it."""
        if not self._converts:
            yield items
            return
        start = size = 0
        for i, item in enumerate(items):
            size += size_of(item)
            if i > start and (i - start >= MAX_TOGETHER or size > MAX_TOGETHER_BYTES):
                yield items[start:i]
                start, size = i, size_of(item)
        yield items[start:]

    def _initial(self, records: Sequence[Record]) -> Iterator[bytes]:
        """Yield what is there as ADDED, made as it is handed over; b"" for what is not selected."""
        for r in records:
            if self._options.selective and not matches(self._kind, r, self._options):
                yield b""
            else:
                yield self._opening("ADDED", self._value(r)) or self._form.line("ADDED", self._value(r))

    def _opening(self, type_: str, value: bytes) -> bytes:
        """Return a watcher's first event where its form is another, b"" otherwise."""
        if self._first is None:
            return b""
        first, self._first = self._first, None
        return _line(type_, first(value))

    async def _live(self, watcher: Watcher, deadline: float, *, began: int) -> AsyncIterator[bytes]:
        """Yield batches until the deadline."""
        loop = asyncio.get_running_loop()
        revision, marks = began, self._options.bookmarks
        next_mark = loop.time() + BOOKMARK_S
        batches = aiter(watcher)
        while True:
            try:
                async with asyncio.timeout_at(min(deadline, next_mark)):
                    batch = await anext(batches)
            except TimeoutError:
                batch = []
            except TooOldError as error:
                yield error_line(_expired(error))
                return
            except StopAsyncIteration:
                return
            if batch:
                if len(batch) == 1:
                    if self._converts:
                        await self._ready(self._shown(batch))
                    if line := self._line(batch[0]):
                        yield line
                else:
                    for changes in self._parts(batch, lambda c: len(c.record.value)):
                        if self._converts:
                            await self._ready(self._shown(changes))
                        async for chunk in sliced(map(self._line, changes), MAX_CHUNK_BYTES):
                            yield chunk
                revision = batch[-1].revision
            now = loop.time()
            if now >= next_mark or now >= deadline:  # a watch that others' changes keep awake gets its bookmarks too
                next_mark = now + BOOKMARK_S
                if marks:
                    yield self._bookmark(max(revision, watcher.revision))
                if now >= deadline:
                    return

    def _line(self, change: Change) -> bytes:
        if not self._options.selective:
            if self._first is not None:
                return self._opening(change.type, self._value(change.record))
            cache = change.cache
            line: bytes | None = cache.get(self._form.name)
            if line is None:
                line = cache[self._form.name] = self._form.line(change.type, self._value(change.record))
            return line
        return self._selected(change)

    def _selected(self, change: Change) -> bytes:
        """Return the line of a change as a selection sees it; b"" when it does not."""
        options, previous = self._options, change.previous
        now = change.type != "DELETED" and matches(self._kind, change.record, options)
        before = previous is not None and matches(self._kind, previous, options)
        if not now and not before:
            return b""
        if now:
            return self._cached(change, "MODIFIED" if before else "ADDED", change.record)
        return self._cached(change, "DELETED", change.record if change.type == "DELETED" or previous is None else previous)

    def _cached(self, change: Change, type_: str, record: Record) -> bytes:
        key = (self._form.name, type_)
        line: bytes | None = None if self._first is not None else change.cache.get(key)
        if line is None:
            value = self._value(record)
            if record is not change.record:
                encoding = self._kind.encoding
                value = encoding.at(encoding.tail_of(value), change.revision)
            line = self._opening(type_, value)
            if not line:
                line = change.cache[key] = self._form.line(type_, value)
        return line

    def _shown(self, batch: Sequence[Change]) -> list[Record]:
        return [c.record for c in batch] + [c.previous for c in batch if c.previous is not None and self._options.selective]

    async def _ready(self, records: Sequence[Record]) -> None:
        """Have what is about to be shown in the version that was asked for; others' objects may take the place of these meanwhile."""
        if self._converts:
            self._converted = await self._registry.converted(self._kind, records)

    def _value(self, record: Record) -> bytes:
        if self._converts:
            found = self._converted.get(id(record))
            return self._registry.value_of(self._kind, record) if found is None else found
        return record.value if self._moved is None else self._moved(record.value)

    def _bookmark(self, revision: int, *, end: bool = False) -> bytes:
        meta: dict[str, object] = {"resourceVersion": str(revision)}
        if end:
            meta["annotations"] = {END_OF_INITIAL: "true"}
        obj = {"kind": self._kind.resource.kind, "apiVersion": self._kind.resource.api_version, "metadata": meta}
        return self._form.line("BOOKMARK", dumps(obj))


def _only(kind: Kind, fields: FieldSelector) -> Only | None:
    """Return the field by whose value the store finds this watch, if its selection has one."""
    name = fields.exact(NAME)
    if name is not None:
        return Only(NAME, name)
    if kind.view is not None:
        return None
    return next((Only(t.path, t.value) for t in fields.terms if t.equal and t.path not in METADATA_FIELDS), None)


def error_line(error: ApiError) -> bytes:
    """Return the ERROR event that ends a stream."""
    return b'{"type":"ERROR","object":%b}\n' % dumps(error.to_status())


def _from_a_lost_time(revision: int, current: int) -> ApiError:
    """A revision that does not come is of a time that we lost (files put back by hand): the client has to list again."""
    return ApiError(410, "Expired", f"too large resource version: {revision}, current: {current}; list again")


def _expired(error: TooOldError) -> ApiError:
    return ApiError(410, "Expired", str(error))


__all__ = ["Form", "error_line", "open_watch"]
