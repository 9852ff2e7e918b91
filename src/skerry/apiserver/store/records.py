"""What the store holds and tells: objects as the bytes that are served, with a thin index beside them.

Records and changes are shared by everybody who reads: nobody alters one. Only the store may give a record a new index, and
anybody may fill a change's `cache` with forms of it that are made once for all watchers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import msgspec

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
NOTHING: Mapping[str, str] = MappingProxyType({})


class Key(msgspec.Struct, frozen=True):
    """One object: `resource` is the plural with its group ("pods", "deployments.apps"); no namespace is ""."""

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource} {self.namespace}/{self.name}" if self.namespace else f"{self.resource} {self.name}"


class Index(msgspec.Struct, frozen=True):
    """What selectors look at: the object's labels and the field labels its resource offers."""

    labels: Mapping[str, str] = msgspec.field(default_factory=lambda: NOTHING)
    fields: Mapping[str, str] = msgspec.field(default_factory=lambda: NOTHING)


class Record(msgspec.Struct, frozen=True, eq=False):
    """An object at one revision: `value` is its JSON as served, resourceVersion included."""

    key: Key
    revision: int
    value: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]

    @classmethod
    def indexed(cls, key: Key, revision: int, value: bytes, index: Index) -> Record:
        return cls(key, revision, value, index.labels or NOTHING, index.fields or NOTHING)

    def take_index(self, index: Index) -> None:
        """Replace what selectors look at; for the store alone."""
        msgspec.structs.force_setattr(self, "labels", index.labels or NOTHING)
        msgspec.structs.force_setattr(self, "fields", index.fields or NOTHING)


class Change:
    """One event of the history. For DELETED, `record` is the final object, with the deletion's revision."""

    __slots__ = ("_cache", "previous", "record", "type")

    def __init__(self, type_: ChangeType, record: Record, previous: Record | None) -> None:
        self.type: ChangeType = type_
        self.record = record
        self.previous = previous
        self._cache: dict[Any, Any] | None = None

    def __repr__(self) -> str:
        return f"<{self.type} {self.record.key} at {self.record.revision}>"

    @property
    def revision(self) -> int:
        return self.record.revision

    @property
    def cache(self) -> dict[Any, Any]:
        """Encoded forms, made once for all watchers; emptied when the change is no longer among the newest."""
        if self._cache is None:
            self._cache = {}
        return self._cache

    def drop_cache(self) -> None:
        self._cache = None


class Snapshot(msgspec.Struct, frozen=True):
    """All objects of a resource at one revision, sorted by namespace and name."""

    records: Sequence[Record]
    revision: int
