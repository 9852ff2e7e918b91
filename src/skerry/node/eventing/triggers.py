"""Which Triggers run on this node, and what has to start or stop: pure.

A Trigger runs when its Broker exists, is of our class, and its subscriber can be resolved. One that stops running loses its cursor, so
that it holds no events back; one that changed keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from skerry.events.delivery import UnresolvedError, delivery_of
from skerry.events.filters import FilterError, compile_trigger
from skerry.model.kinds.broker import OUR_CLASS, class_of
from skerry.model.objects import Name, Object, dig, metadata, name_of, uid_of


@dataclass(frozen=True)
class RunningTrigger:
    """One Trigger as it is to run: `broker` is the Broker it takes events from; two that compare equal run alike."""

    uid: str
    name: Name
    broker: Name
    spec: Mapping[str, Any] = field(hash=False)
    broker_spec: Mapping[str, Any] = field(hash=False)


class Start(msgspec.Struct, frozen=True):
    trigger: RunningTrigger


class Stop(msgspec.Struct, frozen=True):
    """`forget` says that its cursor goes too."""

    uid: str
    forget: bool


Step = Start | Stop


def wanted(triggers: Iterable[Object], brokers: Mapping[Name, Object]) -> dict[str, RunningTrigger]:
    """Return what is to run, by Trigger UID."""
    found = (_running(trigger, brokers) for trigger in triggers)
    return {t.uid: t for t in found if t is not None}


def _running(trigger: Object, brokers: Mapping[Name, Object]) -> RunningTrigger | None:
    name, spec = name_of(trigger), trigger.get("spec") or {}
    broker = Name(name.namespace, str(spec.get("broker") or ""))
    found = brokers.get(broker)
    if found is None or class_of(found) != OUR_CLASS or metadata(trigger).get("deletionTimestamp"):
        return None
    broker_spec = dig(found, "spec", default={})
    try:
        compile_trigger(spec)
        delivery_of(spec, broker_spec)
    except (UnresolvedError, FilterError, ValueError):
        return None
    return RunningTrigger(uid_of(trigger), name, broker, spec, broker_spec)


def plan(want: Mapping[str, RunningTrigger], running: Mapping[str, RunningTrigger], cursors: Iterable[str]) -> list[Step]:
    """Return the steps from *running* to *want*; *cursors* are the UIDs that have one on disk, running or not."""
    gone = [Stop(uid, forget=True) for uid in sorted({*running, *cursors}) if uid not in want]
    changed = [Stop(uid, forget=False) for uid in sorted(running) if uid in want and running[uid] != want[uid]]
    starts = [Start(t) for uid, t in sorted(want.items()) if running.get(uid) != t]
    return [*gone, *changed, *starts]
