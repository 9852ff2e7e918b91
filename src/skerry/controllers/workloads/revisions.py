"""Keeps the ControllerRevisions of an object as `history` decides; used by the DaemonSet and StatefulSet controllers."""

from __future__ import annotations

from collections.abc import Collection

from skerry.controllers.informers import BY_CONTROLLER, Informers
from skerry.controllers.workloads import history as rules
from skerry.kube import Api
from skerry.model.errors import ApiError
from skerry.model.objects import Object, controller_of, metadata, name_of, uid_of
from skerry.model.resources import CONTROLLERREVISIONS


class Revisions:
    """The history of all objects of one kind."""

    def __init__(self, api: Api, informers: Informers, hash_label: str) -> None:
        self._api, self._hash_label = api, hash_label
        self.informer = informers.of(CONTROLLERREVISIONS)

    def owned(self, owner: Object) -> list[Object]:
        return self.informer.indexed(BY_CONTROLLER, uid_of(owner))

    async def keep(self, owner: Object, *, live: Collection[str], collisions: int = 0) -> int:
        """Bring the history up to the present template; returns 1 when the name of its revision was taken, else 0."""
        for step in rules.plan(owner, self.owned(owner), live=live, hash_label=self._hash_label, collisions=collisions):
            match step:
                case rules.Keep(revision):
                    if not await self._create(owner, revision):
                        return 1
                case rules.Renumber(revision, patch):
                    guarded = {**patch, "metadata": {"uid": uid_of(revision), **patch.get("metadata", {})}}
                    self.informer.learn(await self._api.patch(CONTROLLERREVISIONS, *name_of(revision), guarded))
                case rules.Drop(revision):
                    await self._drop(revision)
        return 0

    async def _create(self, owner: Object, revision: Object) -> bool:
        try:
            created = await self._api.create(CONTROLLERREVISIONS, revision)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            created = await self._api.get(CONTROLLERREVISIONS, *name_of(revision))
            if (controller_of(created) or {}).get("uid") != uid_of(owner) or rules.current(owner, [created]) is None:
                return False
        self.informer.learn(created)
        return True

    async def _drop(self, revision: Object) -> None:
        if metadata(revision).get("deletionTimestamp"):
            return
        try:
            await self._api.delete(CONTROLLERREVISIONS, *name_of(revision), uid=uid_of(revision))
        except ApiError as error:
            if error.code != 404:
                raise
