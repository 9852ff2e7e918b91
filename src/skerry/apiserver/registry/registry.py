"""What the verbs share: the store, the kinds that are served, admission, the clock. It decides nothing itself."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from skerry.apiserver.registry.admission import Chain
from skerry.apiserver.registry.beside import Beside, Place, wait_outside
from skerry.apiserver.registry.encoding import Encoding, decode
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.kinds import Kinds
from skerry.apiserver.registry.meta import GENERATED_LENGTH, GENERATED_LETTERS
from skerry.apiserver.registry.view import View
from skerry.apiserver.store import Change, Key, Record, Store
from skerry.model.errors import not_found
from skerry.model.objects import Object
from skerry.model.resources import Resource
from skerry.model.times import rfc3339


class Conversions(Protocol):
    """Who knows the objects of custom kinds in their other versions."""

    async def prepare(self, kind: Kind, records: Sequence[Record]) -> None: ...

    def converted(self, kind: Kind, record: Record) -> bytes: ...

    async def stored(self, kind: Kind, storage: Encoding, tail: bytes) -> bytes: ...


class Registry:
    """The objects of one cluster, as kinds see them."""

    conversions: Conversions | None = None

    def __init__(
        self,
        store: Store,
        kinds: Kinds,
        chain: Chain,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        randomness: random.Random | None = None,
    ) -> None:
        self.store, self.kinds, self.chain = store, kinds, chain
        self._now = now
        self._random = randomness or random.SystemRandom()
        self._second = (-1, "")
        self._waiting: set[asyncio.Future[None]] = set()
        self.beside = Beside()
        store.subscribe(self._committed)

    async def next_commit(self, timeout_s: float) -> bool:
        """Wait until something was committed; False when nothing was in time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return not future.cancelled()  # a commit may come in the same turn of the loop
        finally:
            self._waiting.discard(future)
        return True

    async def superseded(self, record: Record, timeout_s: float) -> None:
        """Wait until *record* is no longer the newest of its key: a write of it waits for its commit, others may come first."""
        while self.store.get(record.key) is record and await self.next_commit(timeout_s):
            pass

    def _committed(self, changes: list[Change]) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def now(self) -> datetime:
        return self._now()

    def timestamp(self) -> str:
        """Return the current second as metav1.Time."""
        at = self._now()
        second = int(at.timestamp())
        if second != self._second[0]:
            self._second = (second, rfc3339(at))
        return self._second[1]

    @staticmethod
    def uid() -> str:
        return str(uuid.uuid4())

    def suffix(self) -> str:
        """Return what is appended to a generateName."""
        return "".join(self._random.choice(GENERATED_LETTERS) for _ in range(GENERATED_LENGTH))

    def find(self, kind: Kind, namespace: str, name: str) -> Record:
        """Return the stored record; ApiError 404."""
        record = self.store.get(Key(kind.key, namespace, name))
        if record is None:
            raise not_found(kind.resource.plural, kind.resource.group, name)
        return record

    def value_of(self, kind: Kind, record: Record) -> bytes:
        """Return the record's bytes in the version that *kind* serves, complete by its present schema."""
        if not kind.custom:
            return record.value if kind.view is None else kind.view.shown(record.value)
        if kind.conversion is not None and not kind.encoding.fits(record.value):
            assert self.conversions is not None, "a kind is served with those who convert it"
            return self.conversions.converted(kind, record)
        value = kind.encoding.moved(record.value)
        return self._completed(kind, record, value) if record.revision < kind.schema_revision else value

    @staticmethod
    def _completed(kind: Kind, record: Record, value: bytes) -> bytes:
        """Prune and default an object that was stored before its kind's schema changed."""
        obj = decode(value)
        kind.schema.prune_unknown(obj)
        kind.schema.default(obj)
        return kind.encoding.at(kind.encoding.tail(obj), record.revision)

    async def ready(self, kind: Kind, records: Sequence[Record]) -> None:
        """Have *records* converted to *kind*'s version, if others do that; `value_of` may be called then. Else it does not suspend."""
        if kind.conversion is not None and self.conversions is not None:
            await self.conversions.prepare(kind, records)

    async def read(self, kind: Kind, record: Record, place: Place | None = None) -> bytes:
        """Return what `value_of` does, after those who convert were asked, if others do that. Else it does not suspend."""
        if kind.conversion is None or self.conversions is None:
            return self.value_of(kind, record)
        return await wait_outside(self._converted(self.conversions, kind, record), place)

    async def read_back(self, kind: Kind, record: Record, place: Place | None) -> bytes:
        """Return what was just stored as `read` does. The place is not asked for again: nobody is told to come back with what is done."""
        if place is not None and kind.conversion is not None:
            place.end()
        return await self.read(kind, record)

    async def _converted(self, conversions: Conversions, kind: Kind, record: Record) -> bytes:
        await conversions.prepare(kind, (record,))
        return self.value_of(kind, record)  # in the same turn of the loop: it is not kept for long

    async def converted(self, kind: Kind, records: Sequence[Record]) -> dict[int, bytes]:
        """Return by its identity what others convert of *records*."""
        await self.ready(kind, records)
        return {id(r): self.value_of(kind, r) for r in records if not kind.encoding.fits(r.value)}

    async def kept(self, kind: Kind, tail: bytes, place: Place | None = None) -> Callable[[int], bytes]:
        """Return what the store calls for an object of *kind*, in the version in which it is stored."""
        storage = self.stored_as(kind)
        if isinstance(storage, Encoding) and kind.conversion is not None and storage is not kind.encoding and self.conversions is not None:
            tail = await wait_outside(self.conversions.stored(kind, storage, tail), place)
        return storage.later(tail)

    def stored_as(self, kind: Kind) -> Encoding | View:
        """Return the encoding in which objects of *kind* are kept: that of its storage version."""
        if not kind.custom:
            return kind.encoding if kind.view is None else kind.view
        storage = self.kinds.storage(kind.key)
        return kind.encoding if storage is None else storage.encoding

    def lookup(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Read another object while one is admitted; None when it does not exist."""
        record = self.store.get(Key(resource.key, namespace if resource.namespaced else "", name))
        if record is None:
            return None
        found: Object = decode(record.value)
        return found
