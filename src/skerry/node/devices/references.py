"""Follows what this node's devices refer to: their profiles with all bases, and their credentials. Each by its own name.

What must stay true: a node asks only for what its devices refer to; what it has on disk is there at once, with no hub; what no
device refers to any more leaves the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from skerry.model.objects import Name, Object, dig, name_of
from skerry.model.profiles import MAX_EXTENDS
from skerry.model.resources import DEVICEPROFILES, SECRETS, Resource


class Watched(Protocol):
    """A persisted copy of one list (`skerry.node.memory.Mirror`)."""

    key: str

    @property
    def synced(self) -> bool: ...

    async def wait_synced(self) -> None: ...

    def items(self) -> Mapping[Name, Object]: ...

    def subscribe(self, subscriber: Callable[[Name], None], /) -> None: ...

    async def run(self) -> None: ...


class Copies(Protocol):
    """Where the copies are on disk (`skerry.node.memory.Memory`)."""

    def mirrors(self) -> Iterable[str]: ...

    async def forget(self, mirror: str) -> None: ...


PURPOSE = "devices"
Watch = Callable[[Resource, str, str], Watched]
"""Makes the copy of one resource in a namespace with a field selector."""

Reference = tuple[Resource, Name]


class References:
    """The profiles and secrets that are referred to; `changed` is called when one of them moves."""

    def __init__(self, watch: Watch, copies: Copies, changed: Callable[[], None]) -> None:
        self._watch = watch
        self._copies = copies
        self._changed = changed
        self._followed: dict[Reference, tuple[Watched, asyncio.Task[None]]] = {}

    def get(self, resource: Resource, name: Name) -> Object | None:
        followed = self._followed.get((resource, name))
        return followed[0].items().get(name) if followed else None

    def is_missing(self, resource: Resource, name: Name) -> bool:
        """Say whether the hub has said that there is none; what was never asked is not missing."""
        followed = self._followed.get((resource, name))
        return followed is not None and followed[0].synced and name not in followed[0].items()

    async def follow(self, devices: Mapping[Name, Object]) -> None:
        """Follow exactly what *devices* refer to, as far as it can be seen now; called again when more is seen."""
        wanted = self._of_all(devices)
        while new := wanted - self._followed.keys():
            for reference in new:
                self._begin(reference)
            wanted = self._of_all(devices)  # a profile that was on disk may have shown its bases
        for reference in self._followed.keys() - wanted:
            task = self._followed.pop(reference)[1]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        used = {copy.key for copy, _ in self._followed.values()}
        for key in self._copies.mirrors():
            if key.endswith(f"|{PURPOSE}") and key not in used:
                await self._copies.forget(key)

    def _of_all(self, devices: Mapping[Name, Object]) -> set[Reference]:
        return {r for device in devices.values() for r in self.of(device)}

    def of(self, device: Object) -> set[Reference]:
        """Return what *device* refers to, as far as it can be seen now."""
        namespace = name_of(device).namespace
        found: set[Reference] = set()
        secret = dig(device, "spec", "connection", "credentials", "secretRef", "name")
        if secret:
            found.add((SECRETS, Name(namespace, secret)))
        todo, depth = {str(dig(device, "spec", "profile", default=""))}, 0
        while todo and depth <= MAX_EXTENDS:
            names = {Name(namespace, n) for n in todo if n}
            found |= {(DEVICEPROFILES, n) for n in names}
            bases = {b for n in names for b in dig(self.get(DEVICEPROFILES, n), "spec", "extends", default=[])}
            todo = {b for b in bases if (DEVICEPROFILES, Name(namespace, b)) not in found}
            depth += 1
        return found

    def _begin(self, reference: Reference) -> None:
        resource, name = reference
        copy = self._watch(resource, name.namespace, f"metadata.name={name.name}")
        copy.subscribe(lambda _: self._changed())
        self._followed[reference] = (copy, asyncio.create_task(self._run(copy), name=f"follow {resource.plural} {name}"))
        if copy.items():
            self._changed()

    async def _run(self, copy: Watched) -> None:
        following = asyncio.create_task(copy.run())
        try:
            await copy.wait_synced()
            if not copy.items():
                self._changed()  # that there is none is news, too
            await following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def close(self) -> None:
        tasks = [task for _, task in self._followed.values()]
        self._followed.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
