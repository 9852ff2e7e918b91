"""Devices as an operator meets them: stock kubectl, a hub, a node, and a Modbus server that is a process of its own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.stage import Stage
from demo.tour import SETPOINT, read_register

pytestmark = pytest.mark.slow


def device(stage: Stage, name: str = "meter-1") -> Any:
    return json.loads(stage.kubectl("get", "device", name, "-o", "json").stdout)


def condition(obj: Any, kind: str) -> Any:
    return next((c for c in (obj.get("status") or {}).get("conditions", []) if c["type"] == kind), {})


def desire(stage: Stage, setpoint: Any, *, check: bool = True) -> Any:
    return stage.kubectl(
        "patch", "device", "meter-1", "--type", "merge", "-p", json.dumps({"spec": {"desired": {"setpoint": setpoint}}}), check=check
    )


def until(holds: Callable[[], Any], timeout_s: float = 90.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@pytest.fixture
def in_sync(stage: Stage) -> Iterator[Stage]:
    desire(stage, 20)
    stage.kubectl("wait", "device/meter-1", "--for=condition=InSync", "--timeout=90s")
    yield stage
    desire(stage, 20)


def test_wait_returns_only_once_the_separate_server_holds_the_value(in_sync: Stage) -> None:
    for setpoint in (42, 43, 7, 80, 0):
        assert condition(device(in_sync), "InSync")["status"] == "True", "it was in sync before"

        desire(in_sync, setpoint)
        in_sync.kubectl("wait", "device/meter-1", "--for=condition=InSync", "--timeout=90s")

        assert read_register(in_sync, table="holding", address=SETPOINT) == [setpoint]
        found = device(in_sync)
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"] == condition(found, "InSync")["observedGeneration"]
        assert found["status"]["properties"]["setpoint"]["ack"] == {"generation": found["metadata"]["generation"], "code": "Accepted"}


@pytest.mark.parametrize(
    ("setpoint", "words"),
    [
        (142, "spec.desired.setpoint: Invalid value: 142: must be between 0 and 80 m3/h"),
        ("42", 'spec.desired.setpoint: Invalid value: "42": must be a finite integer'),
        (4.5, "spec.desired.setpoint: Invalid value: 4.5: must be a whole number"),
    ],
)
def test_a_value_that_cannot_be_is_refused_at_once(in_sync: Stage, setpoint: Any, words: str) -> None:
    done = desire(in_sync, setpoint, check=False)

    assert done.returncode != 0
    assert words in done.stderr
    assert read_register(in_sync, table="holding", address=SETPOINT) == [20]


def test_an_unknown_property_is_refused_with_those_that_can_be_set(in_sync: Stage) -> None:
    done = in_sync.kubectl("patch", "device", "meter-1", "--type", "merge", "-p", '{"spec":{"desired":{"speed":1}}}', check=False)

    assert 'spec.desired.speed: Unsupported value: "speed": supported values: "setpoint"' in done.stderr


def test_the_table_shows_what_people_look_for(stage: Stage) -> None:
    head, *rows = stage.kubectl("get", "devices").stdout.splitlines()

    assert head.split() == ["NAME", "PROFILE", "NODE", "CONNECTED", "INSYNC", "LAST-SEEN", "AGE"]
    meter = next(r for r in rows if r.startswith("meter-1"))
    assert re.match(r"meter-1 +flow-meter +dock-3-gw +True +\S+ +\S+ +\S+", meter)


def test_every_field_is_explained(stage: Stage) -> None:
    for path, words in (
        ("device.spec.desired", "The values that writable properties should have"),
        ("device.status.properties", "last known values"),
        ("deviceprofile.spec.properties.binding.modbus", "Word and byte order"),
        ("deviceprofile.spec.events", "becomes true"),
    ):
        assert words in " ".join(stage.kubectl("explain", path).stdout.split())


def test_the_twin_is_read_at_the_node(in_sync: Stage) -> None:
    def value() -> float:
        twin = json.loads(in_sync.kubectl("get", "devicetwin", "meter-1", "-o", "json").stdout)
        assert twin["status"]["nodeName"] == "dock-3-gw"
        return float(twin["status"]["properties"]["flow"]["value"])

    first = value()

    until(lambda: value() != first)


def test_a_device_may_come_before_its_profile_and_go_again(stage: Stage) -> None:
    url = f"tcp://127.0.0.1:{stage.ports['modbus']}"
    early = {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "Device",
        "metadata": {"name": "early"},
        "spec": {"profile": "later", "placement": {"nodeSelector": {"skerry.dev/site": "dock-3"}}, "connection": {"modbus": {"url": url}}},
    }
    stage.kubectl("apply", "-f", "-", stdin=json.dumps(early))
    found = until(lambda: condition(device(stage, "early"), "ProfileFound"))
    assert (found["status"], found["reason"]) == ("False", "ProfileNotFound")

    flow = {"type": "number", "binding": {"modbus": {"input": 30, "as": "float32"}}}
    profile = {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": "later"},
        "spec": {"protocol": "modbus", "properties": {"flow": flow}},
    }
    stage.kubectl("apply", "-f", "-", stdin=json.dumps(profile))
    stage.kubectl("wait", "device/early", "--for=condition=Connected", "--timeout=90s")
    stage.kubectl("delete", "device/early", "deviceprofile/later", "--timeout=90s")


def test_a_device_that_no_node_may_have_says_so(stage: Stage) -> None:
    lost = {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "Device",
        "metadata": {"name": "lost"},
        "spec": {"profile": "flow-meter", "placement": {"nodeSelector": {"skerry.dev/site": "nowhere"}}},
    }
    stage.kubectl("apply", "-f", "-", stdin=json.dumps(lost))

    found = until(lambda: condition(device(stage, "lost"), "Connected"))

    assert (found["status"], found["reason"], found["message"]) == ("False", "NoNode", "no node has label skerry.dev/site=nowhere")
    stage.kubectl("delete", "device/lost", "--timeout=90s")
