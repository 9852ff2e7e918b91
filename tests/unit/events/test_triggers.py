"""Which Triggers run: the plan."""

from __future__ import annotations

from typing import Any

from skerry.model.kinds.broker import CLASS_ANNOTATION
from skerry.model.objects import Name, Object
from skerry.node.eventing.triggers import RunningTrigger, Start, Stop, plan, wanted


def a_broker(name: str = "default", *, cls: str = "Skerry", **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "plant", "annotations": {CLASS_ANNOTATION: cls}}, "spec": spec}


def a_trigger(uid: str = "u1", *, broker: str = "default", **spec: Any) -> Object:
    spec = {"broker": broker, "subscriber": {"uri": "http://127.0.0.1:9/"}, **spec}
    return {"metadata": {"name": f"t-{uid}", "namespace": "plant", "uid": uid}, "spec": spec}


BROKERS = {Name("plant", "default"): a_broker()}


def running(*triggers: Object) -> dict[str, RunningTrigger]:
    return wanted(triggers, BROKERS)


def test_a_trigger_runs_when_its_broker_is_ours() -> None:
    others = {Name("plant", "default"): a_broker(cls="Kafka")}

    assert set(wanted([a_trigger()], BROKERS)) == {"u1"}
    assert wanted([a_trigger()], others) == {}
    assert wanted([a_trigger()], {}) == {}
    assert wanted([a_trigger(broker="other")], BROKERS) == {}


def test_what_cannot_be_resolved_or_read_does_not_run() -> None:
    unresolved = a_trigger(subscriber={"ref": {"kind": "Service", "name": "x"}})
    unreadable = a_trigger(filters=[{"cesql": "TRUE"}])

    assert wanted([unresolved, unreadable], BROKERS) == {}


def test_a_trigger_that_is_being_deleted_does_not_run() -> None:
    trigger = a_trigger()
    trigger["metadata"]["deletionTimestamp"] = "2026-01-05T10:00:00Z"

    assert wanted([trigger], BROKERS) == {}


def test_a_new_trigger_starts_and_planning_again_does_nothing() -> None:
    want = running(a_trigger())

    assert plan(want, {}, []) == [Start(want["u1"])]
    assert plan(want, want, ["u1"]) == []


def test_a_changed_trigger_stops_before_it_starts_again_and_keeps_its_cursor() -> None:
    old, new = running(a_trigger()), running(a_trigger(filter={"attributes": {"type": "x"}}))

    assert plan(new, old, ["u1"]) == [Stop("u1", forget=False), Start(new["u1"])]


def test_a_trigger_that_is_gone_loses_its_cursor_even_when_it_went_while_we_were_down() -> None:
    assert plan({}, running(a_trigger()), ["u1"]) == [Stop("u1", forget=True)]
    assert plan({}, {}, ["u7"]) == [Stop("u7", forget=True)]


def test_a_broker_that_changes_its_delivery_changes_its_triggers() -> None:
    changed = wanted([a_trigger()], {Name("plant", "default"): a_broker(delivery={"retry": 1})})

    assert [type(s) for s in plan(changed, running(a_trigger()), ["u1"])] == [Stop, Start]
