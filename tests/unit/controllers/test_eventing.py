"""Brokers and Triggers: what their status says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from skerry.controllers.fleet.eventing import Brokers, Triggers
from skerry.controllers.fleet.eventing_plan import broker_status, trigger_status
from skerry.model.conditions import get_condition
from skerry.model.kinds.broker import CLASS_ANNOTATION
from skerry.model.objects import Object
from skerry.model.resources import BROKERS, NODES, TRIGGERS
from tests.unit.controllers.world import World, a_node, virtually

NOW = datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)


def a_broker(*, cls: str = "Skerry", site: str = "", **spec: Any) -> Object:
    labels = {"skerry.dev/site": site} if site else {}
    meta = {"namespace": "team", "name": "default", "generation": 2, "annotations": {CLASS_ANNOTATION: cls}, "labels": labels}
    return {"apiVersion": BROKERS.api_version, "kind": "Broker", "metadata": meta, "spec": spec}


def a_trigger(*, site: str = "", **spec: Any) -> Object:
    labels = {"skerry.dev/site": site} if site else {}
    meta = {"namespace": "team", "name": "alarms", "generation": 1, "labels": labels}
    spec = {"broker": "default", "subscriber": {"uri": "http://127.0.0.1:9/"}, **spec}
    return {"apiVersion": TRIGGERS.api_version, "kind": "Trigger", "metadata": meta, "spec": spec}


def a_ready_broker(**more: Any) -> Object:
    broker = a_broker(**more)
    return {**broker, "status": broker_status(broker, nodes=1, now=NOW)}


def said(status: Object | None, kind: str = "Ready") -> tuple[str, str]:
    found = get_condition((status or {})["conditions"], kind)
    assert found is not None
    return found["status"], found["reason"]


def test_a_broker_is_ready_where_there_are_nodes() -> None:
    assert said(broker_status(a_broker(), nodes=2, now=NOW)) == ("True", "RunsOnNodes")
    assert said(broker_status(a_broker(site="dock-3"), nodes=0, now=NOW)) == ("Unknown", "NoNodes")


def test_a_broker_of_another_class_is_told_so_unless_somebody_else_speaks_for_it() -> None:
    foreign = a_broker(cls="Kafka")
    taken = {**foreign, "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Kafka"}]}}

    assert said(broker_status(foreign, nodes=1, now=NOW)) == ("False", "ClassNotServed")
    assert broker_status(taken, nodes=1, now=NOW) is None


def test_a_trigger_with_a_ready_broker_is_ready_and_says_where_events_go() -> None:
    status = trigger_status(a_trigger(), a_ready_broker(delivery={"deadLetterSink": {"uri": "http://dead/"}}), NOW)

    assert said(status) == ("True", "RunsOnNodes")
    assert (status["subscriberUri"], status["deadLetterSinkUri"]) == ("http://127.0.0.1:9/", "http://dead/")


def test_a_trigger_before_its_broker_waits_for_it() -> None:
    assert said(trigger_status(a_trigger(), None, NOW)) == ("False", "BrokerDoesNotExist")


def test_a_reference_is_refused_by_name() -> None:
    status = trigger_status(a_trigger(subscriber={"ref": {"kind": "Service", "name": "web"}}), a_ready_broker(), NOW)

    assert said(status) == ("False", "ReferenceNotSupported")
    assert said(status, "SubscriberResolved") == ("False", "ReferenceNotSupported")
    assert "give spec.subscriber.uri" in get_condition(status["conditions"], "Ready")["message"]  # type: ignore[index]


def test_a_dead_letter_reference_is_refused_by_name() -> None:
    status = trigger_status(a_trigger(delivery={"deadLetterSink": {"ref": {"kind": "Service", "name": "x"}}}), a_ready_broker(), NOW)

    assert said(status, "DeadLetterSinkResolved") == ("False", "ReferenceNotSupported")


def test_a_trigger_and_a_broker_of_different_sites_never_meet() -> None:
    assert said(trigger_status(a_trigger(site="a"), a_ready_broker(site="b"), NOW)) == ("False", "OtherSite")
    assert said(trigger_status(a_trigger(site="a"), a_ready_broker(), NOW))[0] == "True"


def test_a_status_that_says_the_same_is_the_same() -> None:
    broker = a_ready_broker()
    trigger = a_trigger()
    trigger["status"] = trigger_status(trigger, broker, NOW)
    later = NOW + timedelta(hours=1)

    assert broker_status(broker, nodes=3, now=later) == broker["status"]
    assert trigger_status(trigger, broker, later) == trigger["status"]


@virtually
async def test_the_controllers_write_what_the_rules_say_and_follow_changes(world: World) -> None:
    brokers, triggers = Brokers(world.api, world.informers, world.now), Triggers(world.api, world.informers, world.now)
    seen: list[str] = []

    async def look() -> None:
        await asyncio.sleep(5)
        found = world.api.peek(TRIGGERS, "team", "alarms")
        seen.append(said((found or {})["status"])[0])

    async with world.running(brokers.controller.run, triggers.controller.run):
        await world.api.create(TRIGGERS, a_trigger())
        await look()
        await world.api.create(BROKERS, a_broker(site="dock-3"))
        await look()
        await world.api.create(NODES, a_node("n1", labels={"skerry.dev/site": "dock-3"}))
        await look()
        await world.api.delete(BROKERS, "team", "default")
        await look()

    assert seen == ["False", "Unknown", "True", "False"]
