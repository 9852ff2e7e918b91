"""Owners that are not where their dependents are: gone for good, or in another namespace, where they own nothing?

Few are asked for by name. Many, as after a restart, are looked for in one list: to ask for each would cost orphans times objects.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from skerry.kube import ClusterApi
from skerry.model.objects import Object, uid_of
from skerry.model.resources import Resource

REMEMBERED = 4096
"""UIDs of what went last: of these nobody has to be asked."""
FEW = 8
"""Owners of one kind that are asked for by name, until all of the kind are listed once."""

Named = Callable[[Resource], set[str]]
"""Return the UIDs of everything of one kind that dependents name now as their owners."""


class Elsewhere:
    """Knows of a UID once and for all, since none comes a second time: one that is named, and is not in a list made afterwards, is gone."""

    def __init__(self, api: ClusterApi, named: Named) -> None:
        self._api, self._named = api, named
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._known: dict[str, dict[str, bool]] = {}
        self._asked: dict[str, int] = {}

    def went(self, uid: str) -> None:
        """Take note of what was seen to go."""
        self._gone[uid] = None
        if len(self._gone) > REMEMBERED:
            self._gone.popitem(last=False)

    async def has(self, resource: Resource, reference: Object) -> bool:
        """Say whether an owner that is not in its dependent's namespace is (or was, a while ago) in another one."""
        uid = str(reference["uid"])
        if uid in self._gone:
            return False
        known = self._known.setdefault(resource.key, {})
        if uid not in known:
            asked = self._asked.get(resource.key, 0)
            if asked < FEW:
                self._asked[resource.key] = asked + 1
                found = await self._api.list(resource, fields=f"metadata.name={reference['name']}")
                known[uid] = any(uid_of(o) == uid for o in found.items)
            else:
                known = self._known[resource.key] = await self._all(resource, uid)
                self._asked[resource.key] = 0
        return known[uid]

    async def _all(self, resource: Resource, uid: str) -> dict[str, bool]:
        named = self._named(resource) | {uid}  # before the list is made
        there = {uid_of(o) for o in (await self._api.list(resource)).items}
        return {u: u in there for u in named}
