"""Keeps at hand, and on disk, the ConfigMaps and Secrets that the node's Pods refer to, and no others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from skerry.kube import Api
from skerry.model.objects import Name, Object
from skerry.model.resources import CONFIGMAPS, SECRETS, Resource
from skerry.node.memory import Memory, Mirror
from skerry.node.pods.env import Kind, Lookup, NotKnownError

_RESOURCES: dict[str, Resource] = {"ConfigMap": CONFIGMAPS, "Secret": SECRETS}
_PURPOSE = "pods"
Reference = tuple[Kind, str, str]
"""Kind, namespace, name."""


class References:
    """One mirror for each object that some Pod refers to; *changed* is called with the uids of the Pods it concerns."""

    def __init__(
        self, api: Api, memory: Memory, changed: Callable[[str], None], *, connected: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self._api = api
        self._memory = memory
        self._changed = changed
        self._connected = connected
        self._mirrors: dict[Reference, tuple[Mirror, asyncio.Task[None]]] = {}
        self._users: dict[Reference, set[str]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def need(self, pod_uid: str, namespace: str, wanted: frozenset[tuple[Kind, str]]) -> None:
        """Say what a Pod refers to now; nothing any more with an empty set."""
        references = {(kind, namespace, name) for kind, name in wanted}
        for reference in [r for r, users in self._users.items() if pod_uid in users and r not in references]:
            self._users[reference].discard(pod_uid)
            if not self._users[reference]:
                self._end(reference)
        for reference in references:
            self._users.setdefault(reference, set()).add(pod_uid)
            if reference not in self._mirrors:
                self._begin(reference)

    def lookup(self, namespace: str) -> Lookup:
        """Return what finds the objects that Pods of *namespace* refer to."""

        def find(kind: Kind, name: str) -> Object | None:
            found = self._mirrors.get((kind, namespace, name))
            obj = found[0].items().get(Name(namespace, name)) if found else None
            if obj is None and (found is None or not found[0].synced):
                raise NotKnownError(f'{kind.lower()} "{name}" is not known to this node yet: it waits for its hub')
            return obj

        return find

    async def forget_unused(self) -> None:
        """Drop the copies of an earlier life that no Pod refers to any more."""
        for key in self._memory.mirrors():
            if key.endswith(f"|{_PURPOSE}") and all(m.key != key for m, _ in self._mirrors.values()):
                await self._memory.forget(key)

    async def close(self) -> None:
        tasks = [*(t for _, t in self._mirrors.values()), *self._ending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, reference: Reference) -> None:
        kind, namespace, name = reference
        mirror = Mirror(
            self._api,
            self._memory,
            _RESOURCES[kind],
            namespace,
            fields=f"metadata.name={name}",
            connected=self._connected,
            purpose=_PURPOSE,
        )
        mirror.subscribe(lambda _: self._tell(reference))
        task = asyncio.create_task(self._follow(mirror, reference))
        self._mirrors[reference] = (mirror, task)

    async def _follow(self, mirror: Mirror, reference: Reference) -> None:
        """Follow, and tell once that "not there" has become certain."""
        async with asyncio.TaskGroup() as group:
            group.create_task(mirror.run())
            await mirror.wait_synced()
            self._tell(reference)

    def _tell(self, reference: Reference) -> None:
        for uid in tuple(self._users.get(reference, ())):
            self._changed(uid)

    def _end(self, reference: Reference) -> None:
        del self._users[reference]
        mirror, task = self._mirrors.pop(reference)

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            if reference not in self._mirrors:
                await self._memory.forget(mirror.key)

        ending = asyncio.create_task(end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
