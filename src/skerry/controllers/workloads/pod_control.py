"""How the controllers of workloads make and delete their Pods: what they do is known at once, and told on the owner.

A Pod that was deleted counts as gone before its event comes, so that no controller acts on it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from skerry.controllers.recorder import Recorder
from skerry.kube import Api, Change, Informer
from skerry.model.errors import ApiError
from skerry.model.objects import Object, metadata, name_of, uid_of
from skerry.model.resources import PODS
from skerry.model.times import rfc3339


class Words(msgspec.Struct, frozen=True):
    """What the Events say: of {pod}, {owner} and {error}."""

    created: str = "Created pod: {pod}"
    not_created: str = "Error creating: {error}"
    deleted: str = "Deleted pod: {pod}"
    not_deleted: str = "Error deleting: {error}"


class PodControl:
    """The Pods of one controller."""

    def __init__(self, api: Api, pods: Informer, events: Recorder, words: Words | None = None) -> None:
        self._api, self._pods, self._events, self._words = api, pods, events, words or Words()
        self._deleted: set[str] = set()  # UIDs of those whose event has not come

    def seen(self, change: Change) -> None:
        """Follow a change of the shared informer."""
        if change.new is None or metadata(change.new).get("deletionTimestamp"):
            self._deleted.discard(uid_of(change.object))

    def known(self, pods: Iterable[Object], now: Callable[[], datetime]) -> list[Object]:
        """Return the Pods as they will be known once the events of our deletions have come."""
        return [self._ending(p, now) if uid_of(p) in self._deleted else p for p in pods]

    def left(self, pods: Iterable[Object]) -> list[Object]:
        """Return the Pods without those that we deleted and whose event has not come."""
        return [p for p in pods if uid_of(p) not in self._deleted]

    @staticmethod
    def _ending(pod: Object, now: Callable[[], datetime]) -> Object:
        meta = metadata(pod)
        if meta.get("deletionTimestamp"):
            return pod
        return {**pod, "metadata": {**meta, "deletionTimestamp": rfc3339(now()), "deletionGracePeriodSeconds": 30}}

    async def create(self, owner: Object, pod: Object) -> None:
        """Create *pod*; an ApiError is told on *owner*, unless its namespace is ending or the name is taken, and raised."""
        try:
            created = await self._api.create(PODS, pod)
        except ApiError as error:
            if "being terminated" not in error.message and error.reason != "AlreadyExists":
                await self.refused(owner, pod, error.message)
            raise
        self._pods.learn(created)
        await self._events.normal(owner, "SuccessfulCreate", self._say(self._words.created, owner, created))

    async def refused(self, owner: Object, pod: Object, error: str) -> None:
        """Tell on *owner* why *pod* could not be made."""
        await self._events.warning(owner, "FailedCreate", self._say(self._words.not_created, owner, pod, error))

    async def delete(self, owner: Object, pod: Object) -> None:
        """Delete *pod*, which may be gone already; another ApiError is told on *owner* and raised."""
        self._deleted.add(uid_of(pod))
        try:
            await self._api.delete(PODS, *name_of(pod), uid=uid_of(pod))
        except ApiError as error:
            self._deleted.discard(uid_of(pod))
            if error.code != 404:
                await self._events.warning(owner, "FailedDelete", self._say(self._words.not_deleted, owner, pod, error.message))
                raise
            return
        await self._events.normal(owner, "SuccessfulDelete", self._say(self._words.deleted, owner, pod))

    def _say(self, words: str, owner: Object, pod: Object, error: str = "") -> str:
        return words.format(owner=name_of(owner).name, pod=name_of(pod).name, error=error)
