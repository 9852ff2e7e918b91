"""What an answer of the hub may do to what the node remembers: one pure decision, and the heart of running cut off.

A workload disappears only when the cluster that the node joined, in the epoch that it joined, at a revision not older than
the last, says so. Anything else that answers (another cluster, a restored backup, an older copy) removes nothing. A hub that went
back (the same epoch at a lower revision: its files were put back by hand) counts as being in a new epoch from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from skerry.kube.api import Origin
from skerry.model.objects import Name, Object, revision_of, uid_of

RELAPSE = "~"
"""Stands between an epoch's name and how often it went back; the hub's own names are hexadecimal."""


class Trust(Enum):
    """How far an answer is believed."""

    FULL = "full"
    """Ours: it may add, change and remove."""
    NO_REMOVAL = "no-removal"
    """Our cluster in another epoch (a restored backup): it may add and change."""
    NONE = "none"
    """Foreign, nameless or older than what we know: it changes nothing."""


class Position(msgspec.Struct, frozen=True):
    """The last fully believed answer: its origin and the `revision` within that epoch; 0 before the first list."""

    origin: Origin = msgspec.field(default_factory=Origin)
    revision: int = 0


class Changes(msgspec.Struct, frozen=True):
    """What to do to the copy: objects to put, names to drop."""

    put: Mapping[Name, Object]
    drop: frozenset[Name]


def trust_in(answer: Origin, *, joined: Origin, revision: int, seen: Position) -> Trust:
    """Judge an answer at *revision*. *joined* is the cluster and epoch that this node accepted; empty before the first one."""
    if not answer.cluster or not answer.epoch:
        return Trust.NONE
    if joined.cluster and answer.cluster != joined.cluster:
        return Trust.NONE
    if joined.epoch and answer.epoch != joined.epoch:
        return Trust.NO_REMOVAL
    if seen.origin == answer and revision < seen.revision:
        return Trust.NONE
    return Trust.FULL


def went_back(answer: Origin, *, revision: int, seen: Position) -> bool:
    """Whether the hub forgot what it once told us: the same epoch, and a list older than what was seen of it."""
    return bool(answer.epoch) and seen.origin == answer and revision < seen.revision


def after_relapses(origin: Origin, times: int) -> Origin:
    """Return what we call an epoch that went back so many times: only its first run is what the hub calls it."""
    return Origin(origin.cluster, f"{origin.epoch}{RELAPSE}{times}") if times else origin


def changes_of_list(have: Mapping[Name, Object], listed: Mapping[Name, Object], trust: Trust) -> Changes:
    """Return what a complete list changes."""
    if trust is Trust.NONE:
        return Changes({}, frozenset())
    put = {n: o for n, o in listed.items() if n not in have or not same(have[n], o)}
    gone = frozenset(have) - frozenset(listed) if trust is Trust.FULL else frozenset()
    return Changes(put, gone)


def changes_of_event(have: Mapping[Name, Object], kind: str, name: Name, obj: Object, trust: Trust) -> Changes:
    """Return what one event of a watch changes. An event older than what we have is a repetition."""
    nothing = Changes({}, frozenset())
    if trust is Trust.NONE:
        return nothing
    known = have.get(name)
    if kind == "DELETED":
        return Changes({}, frozenset({name})) if trust is Trust.FULL and known is not None and uid_of(known) == uid_of(obj) else nothing
    if known is not None and (same(known, obj) or (trust is Trust.FULL and revision_of(known) > revision_of(obj))):
        return nothing
    return Changes({name: obj}, frozenset())


def same(a: Object, b: Object) -> bool:
    return uid_of(a) == uid_of(b) and revision_of(a) == revision_of(b)
