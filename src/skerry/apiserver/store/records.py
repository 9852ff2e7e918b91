"""What the store holds and tells: objects as the bytes that are served, with a thin index beside them.

Records and changes are shared by everybody who reads: nobody alters one. A change's `cache` alone may be filled, with forms
of it that are made once for all watchers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Key:
    """One object: `resource` is the plural with its group ("pods", "deployments.apps"); no namespace is ""."""

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource} {self.namespace}/{self.name}" if self.namespace else f"{self.resource} {self.name}"


@dataclass(frozen=True, slots=True)
class Index:
    """What selectors look at: the object's labels and the field labels its resource offers."""

    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    fields: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """An object at one revision: `value` is its JSON as served, resourceVersion included."""

    key: Key
    revision: int
    value: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]


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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All objects of a resource at one revision, sorted by namespace and name."""

    records: Sequence[Record]
    revision: int
