"""What the API refuses of a DeviceProfile and a Device, and in which words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from skerry.model.kinds import device, deviceprofile
from skerry.model.kinds.definition import Lookup
from skerry.model.objects import Object
from tests.unit.devices.profiles_given import METER_SPEC, Shelf, a_device, a_profile

NOTHING: Lookup = Shelf()


def refused(obj: Object, old: Object | None = None, lookup: Lookup = NOTHING) -> list[str]:
    admit = device.admit if obj["kind"] == "Device" else deviceprofile.admit
    return [str(c) for c in admit(obj, old, lookup)]


def changed(path: str, value: Any) -> Object:
    spec = copy.deepcopy(METER_SPEC)
    *parents, last = path.split(".")
    at = spec
    for step in parents:
        at = at[step]
    at[last] = value
    return a_profile(spec)


def test_a_consistent_profile_is_admitted() -> None:
    assert refused(a_profile()) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("properties.flow.range", [5, 1], "spec.properties.flow.range: Invalid value: [5, 1]: the least value comes first"),
        ("properties.flow.range", [1], "must be two finite numbers"),
        ("properties.mode.values", [], "spec.properties.mode.values: Required value"),
        ("properties.mode.values", ["a", "a"], "must have no duplicates"),
        ("properties.mode.unit", "bar", "is for numbers and integers, this is a enum"),
        ("properties.flow.type", "boolean", "is for numbers and integers, this is a boolean"),
        ("properties.flow.access", "readWrite", "the input table cannot be written"),
        ("properties.flow.read.every", "1ms", "must be between 0.1s and 86400s"),
        ("properties.flow.read.every", "often", "is not a duration"),
        ("properties.flow.read.deadband", -1, "at least 0"),
        ("properties.flow.binding", {"mqtt": {}}, "spec.properties.flow.binding.modbus: Required value"),
        ("properties.flow.binding.modbus", {}, "exactly one of input, holding, coil, discrete"),
        ("properties.flow.binding.modbus", {"input": 1, "as": "float16"}, "Unsupported value"),
        ("properties.flow.binding.modbus", {"coil": 1}, "the coil table holds booleans, the property is a number"),
        ("properties.setpoint.binding.modbus", {"holding": 4, "as": "uint16", "scale": 0.001}, "does not cover the range"),
        ("properties.setpoint.binding.modbus", {"holding": 4, "scale": 0}, "and a scale not 0"),
        ("properties.mode.binding.modbus", {"holding": 5, "as": "float32"}, "use an integer format"),
        ("commands.zero.binding.modbus", {"discrete": 9}, "cannot be written"),
        ("events.leak.when", "flaw > 1.0", "no property 'flaw'; known: flow, mode, setpoint"),
        ("events.leak.when", "flow + 1.0", "must be true or false, this is a double"),
        ("events.leak.when", "flow >", "expected a value, found 'the end'"),
        ("properties.in", {"type": "boolean", "binding": {"modbus": {"coil": 1}}}, "reserved word"),
        ("properties.0x", {"type": "boolean", "binding": {"modbus": {"coil": 1}}}, "must match"),
        ("protocol", "", "spec.protocol: Required value"),
    ],
)
def test_a_contradiction_in_a_profile_is_named(path: str, value: Any, words: str) -> None:
    found = refused(changed(path, value))

    assert any(words in f for f in found), found


def test_a_profile_inherits_what_it_does_not_say() -> None:
    base = a_profile(name="base")
    derived = a_profile({"extends": ["base"], "properties": {"flow": {"range": [0, 60]}}}, name="derived")

    assert refused(derived, lookup=Shelf(base)) == []
    assert refused(derived) == [], "a base that is not there yet is no reason to refuse"


def test_a_profile_that_extends_itself_is_refused() -> None:
    a = a_profile({"extends": ["b"]}, name="a")
    b = a_profile({"extends": ["a"]}, name="b")

    assert "extends itself: a -> b -> a" in refused(a, lookup=Shelf(b))[0]


@pytest.mark.parametrize(
    ("desired", "words"),
    [
        ({"setpoint": 142}, "spec.desired.setpoint: Invalid value: 142: must be between 0 and 80 m3/h"),
        ({"setpoint": float("nan")}, "spec.desired.setpoint: Invalid value: nan: must be a finite number"),
        ({"setpoint": 10**400}, "must be a finite number"),
        ({"setpoint": True}, "spec.desired.setpoint: Invalid value: true: must be a finite number"),
        ({"setpoint": "42"}, 'spec.desired.setpoint: Invalid value: "42": must be a finite number'),
        ({"mode": "off"}, 'spec.desired.mode: Invalid value: "off": must be one of auto, manual'),
        ({"flow": 3}, "spec.desired.flow: Invalid value: 3: cannot be set: DeviceProfile flow-meter-x2 gives it access: read"),
        ({"speed": 3}, 'spec.desired.speed: Unsupported value: "speed": supported values: "mode", "setpoint"'),
    ],
)
def test_a_desired_value_is_judged_by_the_profile(desired: dict[str, Any], words: str) -> None:
    assert words in refused(a_device(desired=desired), lookup=Shelf(a_profile()))[0]


def test_a_device_may_come_before_its_profile() -> None:
    assert refused(a_device(desired={"setpoint": 142})) == []


def test_a_profile_that_moved_on_does_not_lock_the_devices_other_fields() -> None:
    old = a_device(desired={"setpoint": 70})
    narrower = changed("properties.setpoint.range", [0, 10])

    assert refused(a_device(desired={"setpoint": 70, "mode": "auto"}), old, Shelf(narrower)) == []
    assert "between 0 and 10" in refused(a_device(desired={"setpoint": 71}), old, Shelf(narrower))[0]


def test_a_number_in_the_place_of_a_truth_is_refused_also_where_python_calls_them_equal() -> None:
    power = {"type": "boolean", "access": "readWrite", "binding": {"modbus": {"coil": 3}}}
    profile = a_profile({"protocol": "modbus", "properties": {"power": power}})

    assert "must be true or false" in refused(a_device(desired={"power": 1}), a_device(desired={"power": True}), Shelf(profile))[0]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"connection": {"modbus": {}}}, "spec.connection.modbus.url: Required value"),
        ({"connection": {"modbus": {"url": "serial:///dev/ttyUSB0"}}}, "serial lines are not supported yet"),
        ({"connection": {"modbus": {"url": "tcp://a:b@h:1"}}}, "tcp://host:port and nothing else"),
        ({"connection": {"modbus": {"url": "tcp://h:99999"}}}, "Port out of range"),
        ({"connection": {"modbus": {"url": "tcp://h;$(reboot):502"}}}, "spec.connection.modbus.url: Invalid value"),
        ({"connection": {"modbus": {"url": "tcp://h:1", "unit": 0}}}, "must be between 1 and 247"),
        ({"telemetry": {"summaryEvery": "10ms"}}, "must be between 1s and 86400s"),
        ({"placement": {"nodeSelector": {"a b": "c"}}}, "spec.placement.nodeSelector"),
    ],
)
def test_what_is_wrong_with_a_device_is_named(spec: dict[str, Any], words: str) -> None:
    found = refused(a_device(**spec))

    assert any(words in f for f in found), found


def test_a_devices_name_is_one_topic_level() -> None:
    assert "metadata.name" in refused(a_device(name="a.b"))[0]


def test_a_status_write_is_not_judged_again() -> None:
    old = a_device(desired={"setpoint": 142})

    assert refused({**old, "status": {"observedGeneration": 1}}, old, Shelf(a_profile())) == []
