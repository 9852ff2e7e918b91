"""One request as an Event of audit.k8s.io/v1, level Metadata: never a body, a header but the user agent, or a command's words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from skerry.apiserver.http.message import User
from skerry.apiserver.http.paths import Target

MAX_URI, MAX_AGENT, MAX_NAME, MAX_GROUPS = 1024, 256, 253, 8
MAX_BYTES = 60 << 10
"""Of an Event: who reads the log reads lines of 64 KiB. Of a longer one only the names' beginnings and the first groups are kept."""
CUT = "audit.skerry.dev/cut"
SEQUENCE = "audit.skerry.dev/sequence"
DECISION = "authorization.k8s.io/decision"
_HIDDEN = frozenset(("command",))
"""Query parameters that can hold anything, a password too."""

NONE: Mapping[str, str] = {}


class Entry(NamedTuple):
    """What the hot path hands over; all the rest is made in the writer's thread."""

    audit_id: str
    received: float
    done: float
    verb: str
    path: str
    query: str
    user: User
    acts_as: User | None
    peer: str
    agent: str
    target: Target | None
    status: int
    note: str = ""
    annotations: Mapping[str, str] = NONE


def encode(entry: Entry, sequence: int) -> bytes:
    """Return the Event as JSON, which is never longer than a line may be."""
    event = _event(entry, sequence)
    line = msgspec.json.encode(event)
    return line if len(line) <= MAX_BYTES else msgspec.json.encode(_cut(event))


def _event(entry: Entry, sequence: int) -> dict[str, Any]:
    event: dict[str, Any] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": entry.audit_id,
        "stage": "ResponseComplete",
        "requestURI": _uri(entry.path, entry.query),
        "verb": entry.verb,
        "user": _user(entry.user),
    }
    if entry.acts_as is not None:
        event["impersonatedUser"] = _user(entry.acts_as)
    if entry.peer:
        event["sourceIPs"] = [entry.peer]
    if entry.agent:
        event["userAgent"] = entry.agent[:MAX_AGENT]
    if entry.target is not None:
        event["objectRef"] = _reference(entry.target)
    event["responseStatus"] = {"metadata": {}, "code": entry.status}
    event["requestReceivedTimestamp"], event["stageTimestamp"] = _time(entry.received), _time(entry.done)
    notes = {**entry.annotations, DECISION: "forbid" if entry.status in (401, 403) else "allow", SEQUENCE: str(sequence)}
    if entry.note:
        notes["audit.skerry.dev/note"] = entry.note
    event["annotations"] = notes
    return event


def _cut(event: dict[str, Any]) -> dict[str, Any]:
    """Return the Event without what makes it long: that is names which nothing here has, or whom a master acts as."""
    found: dict[str, Any] = {**event, **{k: _shortened(event[k]) for k in ("user", "impersonatedUser") if k in event}}
    if "objectRef" in event:
        found["objectRef"] = {k: v[:MAX_NAME] for k, v in event["objectRef"].items()}
    return {**found, "annotations": {**event["annotations"], CUT: "true"}}


def _shortened(user: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"username": user["username"][:MAX_NAME], "groups": [g[:MAX_NAME] for g in user["groups"][:MAX_GROUPS]]}


def _user(user: User) -> Mapping[str, Any]:
    found: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        found["uid"] = user.uid
    if user.extra:
        found["extra"] = {k: list(v) for k, v in user.extra.items()}
    return found


def _reference(target: Target) -> Mapping[str, str]:
    parts = {
        "resource": target.plural,
        "namespace": target.namespace,
        "name": target.name,
        "apiGroup": target.group,
        "apiVersion": target.version,
        "subresource": target.subresource,
    }
    return {k: v for k, v in parts.items() if v}


def _uri(path: str, query: str) -> str:
    if query and ("command" in query or "%" in query):
        query = urlencode([(k, v) for k, v in parse_qsl(query[: 4 * MAX_URI], keep_blank_values=True) if k not in _HIDDEN])
    return (f"{path}?{query}" if query else path)[:MAX_URI]


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
