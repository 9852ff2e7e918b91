"""What the status of Brokers and Triggers says: pure.

They run on nodes, from what nodes were told; a status says whether they can, and what to change when they cannot. A Broker of another
class belongs to another controller: it is touched only as long as nobody has said anything about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from skerry.events.delivery import UnresolvedError, dead_letter_of, subscriber_of
from skerry.model.conditions import get_condition, with_condition
from skerry.model.kinds.broker import CLASS_ANNOTATION, OUR_CLASS, class_of
from skerry.model.objects import Object, dig, labels_of, metadata, name_of
from skerry.model.resources import SITE_LABEL


class Fact(msgspec.Struct, frozen=True):
    """One condition: `state` None is Unknown."""

    type: str
    state: bool | None
    reason: str
    message: str = ""


def broker_status(broker: Object, *, nodes: int, now: datetime) -> Object | None:
    """Return the status of a Broker, or None when it is not ours to write; *nodes* is how many nodes run it."""
    if class_of(broker) != OUR_CLASS:
        return _foreign_status(broker, now)
    sink, fact = _dead_letter({}, broker.get("spec") or {})
    facts = [_where(broker, nodes), fact]
    return _status(broker, facts, now, deadLetterSinkUri=sink)


def _foreign_status(broker: Object, now: datetime) -> Object | None:
    said = dig(broker, "status", "conditions", default=[])
    ours = get_condition(said, "Ready")
    if said and (ours is None or ours.get("reason") != "ClassNotServed"):
        return None
    message = f"no controller here runs class {class_of(broker)!r}: annotation {CLASS_ANNOTATION} is {OUR_CLASS!r} for Brokers on nodes"
    return _status(broker, [Fact("FilterReady", False, "ClassNotServed", message)], now)


def _where(broker: Object, nodes: int) -> Fact:
    site = labels_of(broker).get(SITE_LABEL)
    place = f"the nodes of Site {site}" if site else "every node"
    if nodes:
        return Fact("FilterReady", True, "RunsOnNodes", f"runs on {place}")
    return Fact("FilterReady", None, "NoNodes", f"runs on {place}, and there is none yet")


def trigger_status(trigger: Object, broker: Object | None, now: datetime) -> Object:
    """Return the status of a Trigger whose Broker is *broker* (None: there is none)."""
    spec, broker_spec = trigger.get("spec") or {}, dig(broker, "spec", default={})
    try:
        uri, resolved = subscriber_of(spec).uri, Fact("SubscriberResolved", True, "SubscriberResolved")
    except UnresolvedError as error:
        uri, resolved = "", Fact("SubscriberResolved", False, "ReferenceNotSupported", str(error))
    letters, dead = _dead_letter(spec, broker_spec)
    ready = _broker_ready(trigger, broker)
    runs = ready.state is not False and resolved.state is True
    subscription = Fact("SubscriptionReady", runs or None, "RunsOnNodes" if runs else "Waiting", "" if runs else "see the other conditions")
    facts = [ready, resolved, dead, Fact("DependencyReady", True, "NoDependency"), subscription]
    return _status(trigger, facts, now, subscriberUri=uri, deadLetterSinkUri=letters)


def _broker_ready(trigger: Object, broker: Object | None) -> Fact:
    name = str(dig(trigger, "spec", "broker", default=""))
    if broker is None:
        return Fact(
            "BrokerReady", False, "BrokerDoesNotExist", f"Broker {name!r} does not exist in namespace {name_of(trigger).namespace!r}"
        )
    if class_of(broker) != OUR_CLASS:
        return Fact("BrokerReady", False, "ClassNotServed", f"Broker {name!r} is of class {class_of(broker)!r}, which nodes do not run")
    mine, its = labels_of(trigger).get(SITE_LABEL), labels_of(broker).get(SITE_LABEL)
    if mine and its and mine != its:
        message = f"the Trigger is for Site {mine!r} and its Broker for Site {its!r}: give both the same label {SITE_LABEL}"
        return Fact("BrokerReady", False, "OtherSite", message)
    said = get_condition(dig(broker, "status", "conditions", default=[]), "Ready") or {}
    state = {"True": True, "False": False}.get(str(said.get("status")))
    return Fact("BrokerReady", state, str(said.get("reason") or "BrokerUnknown"), str(said.get("message") or ""))


def _dead_letter(spec: Mapping[str, Any], broker_spec: Mapping[str, Any]) -> tuple[str, Fact]:
    try:
        sink = dead_letter_of(spec, broker_spec)
    except UnresolvedError as error:
        return "", Fact("DeadLetterSinkResolved", False, "ReferenceNotSupported", str(error))
    if sink is None:
        return "", Fact("DeadLetterSinkResolved", True, "DeadLetterSinkNotConfigured", "what cannot be delivered is counted and dropped")
    return sink.uri, Fact("DeadLetterSinkResolved", True, "DeadLetterSinkResolved")


def _status(obj: Object, facts: Sequence[Fact], now: datetime, **uris: str) -> Object:
    """Return the new status: `Ready` is False when one fact is, else Unknown when one is, else True; in that fact's words."""
    worst = next((f for f in facts if f.state is False), None) or next((f for f in facts if f.state is None), None)
    ready = (
        Fact("Ready", True, facts[0].reason, facts[0].message) if worst is None else Fact("Ready", worst.state, worst.reason, worst.message)
    )
    generation = int(metadata(obj).get("generation") or 0)
    wanted = {"Ready", *(f.type for f in facts)}
    conditions = [c for c in dig(obj, "status", "conditions", default=[]) if c.get("type") in wanted]
    for fact in (ready, *facts):
        conditions = with_condition(
            conditions, fact.type, fact.state, reason=fact.reason, message=fact.message, now=now, generation=generation
        )
    return {"observedGeneration": generation, "conditions": conditions, **{k: v for k, v in uris.items() if v}}
