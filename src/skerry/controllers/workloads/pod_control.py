"""How the controllers of workloads make and delete their Pods: what they do is known at once, and told on the owner.

A Pod that was deleted counts as gone before its event comes, so that no controller acts on it twice.
"""

from __future__ import annotations

from skerry.controllers.recorder import Recorder
from skerry.kube import Api, Change, Informer
from skerry.model.errors import ApiError
from skerry.model.objects import Object, metadata, name_of, uid_of
from skerry.model.resources import PODS


class PodControl:
    """The Pods of one controller; `deleted` has the UIDs of those whose event has not come."""

    def __init__(self, api: Api, pods: Informer, events: Recorder) -> None:
        self._api, self._pods, self._events = api, pods, events
        self.deleted: set[str] = set()

    def seen(self, change: Change) -> None:
        """Follow a change of the shared informer."""
        if change.new is None or metadata(change.new).get("deletionTimestamp"):
            self.deleted.discard(uid_of(change.object))

    async def create(self, owner: Object, pod: Object) -> None:
        """Create *pod*; an ApiError is told on *owner*, unless its namespace is ending, and raised."""
        try:
            created = await self._api.create(PODS, pod)
        except ApiError as error:
            if "being terminated" not in error.message:
                await self._events.warning(owner, "FailedCreate", f"Error creating: {error.message}")
            raise
        self._pods.learn(created)
        await self._events.normal(owner, "SuccessfulCreate", f"Created pod: {name_of(created).name}")

    async def delete(self, owner: Object, pod: Object) -> None:
        """Delete *pod*, which may be gone already; ApiError."""
        self.deleted.add(uid_of(pod))
        try:
            await self._api.delete(PODS, *name_of(pod), uid=uid_of(pod))
        except ApiError as error:
            self.deleted.discard(uid_of(pod))
            if error.code != 404:
                raise
            return
        await self._events.normal(owner, "SuccessfulDelete", f"Deleted pod: {name_of(pod).name}")
