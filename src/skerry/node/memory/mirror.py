"""A persisted copy of one list and watch. It is there at once, before any hub was seen, and follows when one answers.

What stays true: a change is on the disk before anybody hears of it; nothing is dropped but by `rule`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from skerry.durable import StoreError
from skerry.kube import Api, Origin, WatchEvent, closing
from skerry.kube.backoff import Backoff
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, name_of, revision_of
from skerry.model.resources import Resource
from skerry.node.memory.memory import Memory
from skerry.node.memory.rule import Changes, Position, Trust, changes_of_event, changes_of_list, trust_in, went_back

log = logging.getLogger(__name__)

RECONNECT = Backoff(first_s=0.5, limit_s=30.0)
UNACCEPTED_RELIST_S = 60.0
"""How often an epoch that nobody has accepted yet is looked at again."""

Subscriber = Callable[[Name], None]


class _ListAgainError(Exception):
    """What answers is not what we watched."""


def mirror_key(resource: Resource, namespace: str = "", labels: str = "", fields: str = "", purpose: str = "") -> str:
    """Return the name of a copy; two users of the same selection who forget it on their own need a *purpose* each."""
    return f"{resource.key}|{namespace}|{labels}|{fields}" + (f"|{purpose}" if purpose else "")


def kept(obj: Object) -> Object:
    """Return what a node keeps of *obj*: who owns which field is the hub's business, and would cost a fifth of the memory."""
    meta = obj.get("metadata") or {}
    return {**obj, "metadata": {k: v for k, v in meta.items() if k != "managedFields"}} if "managedFields" in meta else obj


class Mirror:
    """One collection, as the hub last said. Objects handed out are shared: never modify them."""

    def __init__(
        self,
        api: Api,
        memory: Memory,
        resource: Resource,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        *,
        connected: Callable[[], Awaitable[object]] | None = None,
        purpose: str = "",
        backoff: Backoff = RECONNECT,
    ) -> None:
        self.resource = resource
        self.key = mirror_key(resource, namespace, labels, fields, purpose)
        self._api = api
        self._memory = memory
        self._namespace, self._labels, self._fields = namespace, labels, fields
        self._connected = connected
        self._backoff = backoff
        self._subscribers: list[Subscriber] = []
        self._synced = asyncio.Event()
        self._watch_from = ""
        self._answers = Origin()
        self._disk_trouble = ""
        self.doubt = ""
        """Why the last answer was not fully believed; "" when it was."""

    @property
    def synced(self) -> bool:
        """Whether a list from our own cluster and epoch was taken over in this life of the node."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def items(self) -> Mapping[Name, Object]:
        return MappingProxyType(self._memory.objects(self.key))

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call *subscriber* with each name that changed, on the loop; it must not block or raise."""
        self._subscribers.append(subscriber)

    async def run(self) -> None:
        """Follow the collection until cancelled."""
        attempt = 0
        while True:
            before, went_well = self._memory.position(self.key), False
            try:
                if self._connected is not None:
                    await self._connected()
                await self._follow()
                went_well = True
            except ApiError as error:
                self._on_refusal(error)
            except (ConnectionError, TimeoutError, _ListAgainError) as error:
                log.debug("mirror interrupted", extra={"mirror": self.key, "error": str(error)})
            except StoreError as error:  # a full disk, most likely: go on with what is known, and try again
                self._on_disk_trouble(str(error))
                self._watch_from = ""
            except Exception:
                log.exception("mirror failed", extra={"mirror": self.key})
                self._watch_from = ""
            attempt = 0 if self._memory.position(self.key) != before else attempt
            if not went_well or attempt:
                await asyncio.sleep(self._backoff.delay_s(attempt))
            attempt += 1

    def _on_disk_trouble(self, trouble: str) -> None:
        if trouble and not self._disk_trouble:
            log.error("what the hub tells cannot be kept", extra={"mirror": self.key, "error": trouble})
        elif self._disk_trouble and not trouble:
            log.info("what the hub tells is kept again", extra={"mirror": self.key})
        self._disk_trouble = trouble

    def _on_refusal(self, error: ApiError) -> None:
        if error.code == 410:
            self._watch_from = ""
        else:
            log.warning("mirror refused", extra={"mirror": self.key, "code": error.code, "error": error.message})

    async def _follow(self) -> None:
        if not self._watch_from:
            await self._list()
        events = self._api.watch(self.resource, self._namespace, labels=self._labels, fields=self._fields, revision=self._watch_from)
        try:
            async with asyncio.timeout(UNACCEPTED_RELIST_S if self.doubt else None), closing(events):
                async for event in events:
                    await self._on_event(event)
        except (TimeoutError, _ListAgainError):
            self._watch_from = ""
            raise

    async def _list(self) -> None:
        found = await self._api.list(self.resource, self._namespace, labels=self._labels, fields=self._fields)
        revision = int(found.revision or 0)
        origin = await self._origin_of(found.origin, revision)
        trust = self._judge(origin, revision)
        if trust is Trust.NONE:
            raise _ListAgainError(self.doubt)
        await self._memory.join(origin)
        listed = {name_of(o): kept(o) for o in found.items}
        await self._take(changes_of_list(self.items(), listed, trust), trust, Position(origin, revision))
        self._watch_from, self._answers = found.revision, found.origin
        if trust is Trust.FULL:
            self._synced.set()

    async def _origin_of(self, answered: Origin, revision: int) -> Origin:
        """Return what we call the origin of a list; a hub that went back is in an epoch of its own from now on."""
        origin = self._memory.named(answered)
        seen = self._memory.position(self.key)
        if went_back(origin, revision=revision, seen=seen):
            facts = {"mirror": self.key, "seen": seen.revision, "listed": revision}
            log.error("the hub went back: it was put back to an older copy of its data", extra=facts)
            await self._memory.relapsed(answered)
        return self._memory.named(answered)

    async def _on_event(self, event: WatchEvent) -> None:
        if event.origin != self._answers:
            raise _ListAgainError("the server that answers is another one than before")
        revision = max(revision_of(event.object), int(self._watch_from or 0))
        origin = self._memory.named(event.origin)
        trust = self._judge(origin, revision)
        changes = Changes({}, frozenset())
        if event.type != "BOOKMARK":
            changes = changes_of_event(self.items(), event.type, name_of(event.object), kept(event.object), trust)
        await self._take(changes, trust, Position(origin, revision))
        self._watch_from = str(revision)

    async def _take(self, changes: Changes, trust: Trust, position: Position) -> None:
        known = self._memory.position(self.key)
        if trust is not Trust.FULL:
            position = known
        if not changes.put and not changes.drop and known.revision and known.origin == position.origin:
            self._memory.advance(self.key, position)
            return
        await self._memory.apply(self.key, changes, position)
        self._on_disk_trouble("")
        for name in (*changes.put, *changes.drop):
            for subscriber in self._subscribers:
                subscriber(name)

    def _judge(self, origin: Origin, revision: int) -> Trust:
        joined = self._memory.joined
        trust = trust_in(origin, joined=joined, revision=revision, seen=self._memory.position(self.key))
        doubt = _doubt(trust, origin, joined)
        if doubt and doubt != self.doubt:
            log.warning("hub not believed", extra={"mirror": self.key, "trust": trust.value, "why": doubt})
        self.doubt = doubt
        return trust


def _doubt(trust: Trust, origin: Origin, joined: Origin) -> str:
    if trust is Trust.FULL:
        return ""
    if trust is Trust.NO_REMOVAL:
        return (
            f"the hub is in epoch {origin.epoch!r} (a restored backup?), this node joined {joined.epoch!r}: "
            f"nothing is removed until `skerry node accept-epoch {origin.epoch}`"
        )
    if origin.cluster != joined.cluster:
        return f"the answer is from cluster {origin.cluster!r}, this node joined {joined.cluster!r}"
    return "the answer is older than what this node has seen"
