"""One request as an Event of audit.k8s.io/v1, level Metadata: never a body, a header but the user agent, or a command's words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from skerry.apiserver.http.message import User
from skerry.apiserver.http.paths import Target

MAX_URI, MAX_AGENT = 1024, 256
SEQUENCE = "audit.skerry.dev/sequence"
DECISION = "authorization.k8s.io/decision"
_HIDDEN = frozenset(("command",))
"""Query parameters that can hold anything, a password too."""


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


def encode(entry: Entry, sequence: int) -> bytes:
    """Return the Event as JSON."""
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
    notes = {DECISION: "forbid" if entry.status in (401, 403) else "allow", SEQUENCE: str(sequence)}
    if entry.note:
        notes["audit.skerry.dev/note"] = entry.note
    event["annotations"] = notes
    return msgspec.json.encode(event)


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
