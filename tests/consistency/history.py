"""What clients of an API server saw: the records that a trial makes and the checker judges. Plain values, no I/O.

Times are monotonic seconds of the one process that all clients live in, so "ended before the other began" is exact. A
request whose answer never came has `ended` infinite: whether it happened is for the rest of the history to say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NEVER = math.inf


class Key(NamedTuple):
    """One object; `resource` is the plural with its group."""

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """An object at one revision. `content` is all of it but apiVersion, kind and metadata.resourceVersion."""

    key: Key
    revision: int
    content: Mapping[str, Any]

    @property
    def uid(self) -> str:
        return str(self.content["metadata"].get("uid", ""))

    @property
    def terminating(self) -> bool:
        return "deletionTimestamp" in self.content["metadata"]

    @property
    def labels(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.content["metadata"].get("labels") or {}
        return found

    def same(self, other: Version) -> bool:
        """Say whether the other is this version, content and all."""
        return self is other or (self.revision == other.revision and self.key == other.key and self.content == other.content)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a list or a watch covers. `fields` are paths of the content (`metadata.name`, `spec.mode`) and their values."""

    resource: str
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def selective(self) -> bool:
        return bool(self.labels or self.fields)

    def covers(self, version: Version) -> bool:
        """Say whether the object, at this version, is in the scope."""
        key = version.key
        if key.resource != self.resource or (self.namespace and key.namespace != self.namespace):
            return False
        return all(version.labels.get(k) == v for k, v in self.labels) and all(_at(version, path) == v for path, v in self.fields)


def _at(version: Version, path: str) -> str:
    found: Any = version.content
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return "" if found is None else str(found)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a write sets; None leaves a thing as it is, where the verb can do that. `token` is unlike that of any other write."""

    token: str = ""
    color: str | None = None
    mode: str | None = None
    finalizers: tuple[str, ...] | None = None


@dataclass(slots=True)
class Write:
    """One request that may change an object.

    `verb` is create, put, merge, apply (on the server, forced), status, delete or release (a merge patch that takes the finalizers
    away). `expected` is the revision that it insists on, 0 for none. `status` is the answer's, 0 when there was none; `version` is the
    object it brought, `gone_uid` the uid of what a DELETE says it removed.
    """

    verb: str
    key: Key
    wanted: Wanted
    expected: int
    began: float
    ended: float = NEVER
    status: int = 0
    reason: str = ""
    version: Version | None = None
    gone_uid: str = ""


@dataclass(slots=True)
class Read:
    """One GET; `version` is None for 404. `not_older` is the revision that it asked for at least."""

    key: Key
    not_older: int
    began: float
    ended: float
    version: Version | None


@dataclass(slots=True)
class Page:
    """One answer of a paged list."""

    began: float
    ended: float
    revision: int
    versions: list[Version]
    remaining: int | None
    last: bool


@dataclass(slots=True)
class Listing:
    """One LIST, whole or in pages. `exact` and `not_older` are what it asked for; `expired` is a 410 that ended it."""

    scope: Scope
    pages: list[Page]
    exact: int = 0
    not_older: int = 0
    expired: Expired | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """A 410: `revision` was asked for, and when."""

    scope: Scope
    revision: int
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a watch. A bookmark has no version, only `revision`; `initial_end` marks that of the initial events."""

    type: str
    revision: int
    version: Version | None
    at: float
    initial_end: bool = False


@dataclass(slots=True)
class Session:
    """One watch on one connection.

    `after` is the revision that it began at, None when it asked for the present state first (`initial` with sendInitialEvents, and then
    not older than `not_older`). `end` says how it ended: closed at the end of the trial, left by the client, timeout, lost or expired.
    """

    scope: Scope
    after: int | None
    began: float
    initial: bool = False
    not_older: int = 0
    events: list[Event] = field(default_factory=list)
    ended: float = NEVER
    end: str = "closed"
    must_reach: int = 0


@dataclass(slots=True)
class History:
    """Everything that was seen. `base` is the revision at which every resource of the trial was known to be empty."""

    base: int = 0
    held: int = 0
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    expired: list[Expired] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    kills: int = 0

    @property
    def operations(self) -> int:
        return len(self.writes) + len(self.reads) + sum(len(listing.pages) for listing in self.listings)
