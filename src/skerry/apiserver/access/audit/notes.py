"""What admission says of a request in the audit log: annotations of its Event, kept beside the request while it is carried out.

Bounded: a webhook's answer or a policy's expression must not make a line that nobody can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

from skerry.apiserver.access.audit.events import NONE

MAX_NOTES, MAX_KEY, MAX_VALUE, MAX_TOTAL = 32, 320, 10 << 10, 24 << 10
"""Annotations of one Event, and bytes of a key, of a value, of all of them; 10 KiB for a value as in Kubernetes."""

_NOTES: ContextVar[dict[str, str] | None] = ContextVar("audit annotations of this request", default=None)


def begin() -> Mapping[str, str]:
    """Begin a request, and return the annotations that it will have gathered at its end."""
    notes: dict[str, str] = {}
    _NOTES.set(notes)
    return notes


def none() -> Mapping[str, str]:
    """Begin a request that gathers none: on a connection that is used again the last one's would still be there."""
    _NOTES.set(None)
    return NONE


def annotate(key: str, value: str) -> None:
    """Add an annotation to the line of the request that is carried out, in place of one of that key; nowhere without a request."""
    notes = _NOTES.get()
    if notes is None or len(key.encode()) > MAX_KEY:
        return
    value = value.encode()[:MAX_VALUE].decode(errors="ignore")
    others = {k: v for k, v in notes.items() if k != key}
    if len(others) < MAX_NOTES and sum(len(k) + len(v.encode()) for k, v in others.items()) + len(value.encode()) <= MAX_TOTAL:
        notes[key] = value


def annotated(key: str) -> str:
    """Return an annotation of this request as it is so far, "" for none."""
    return (_NOTES.get() or {}).get(key, "")
