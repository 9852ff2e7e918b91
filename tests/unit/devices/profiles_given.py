"""Profiles and devices as a test needs them."""

from __future__ import annotations

from typing import Any

from skerry.model.objects import Object, name_of
from skerry.model.profiles import Profile, load_profile
from skerry.model.resources import Resource

METER_SPEC: dict[str, Any] = {
    "protocol": "modbus",
    "properties": {
        "flow": {
            "type": "number",
            "unit": "m3/h",
            "range": [0, 120],
            "read": {"every": "1s", "deadband": 0.2},
            "binding": {"modbus": {"input": 30, "as": "float32", "order": "badc"}},
        },
        "setpoint": {
            "type": "number",
            "unit": "m3/h",
            "range": [0, 80],
            "access": "readWrite",
            "binding": {"modbus": {"holding": 4, "as": "uint16", "scale": 0.1}},
        },
        "mode": {"type": "enum", "values": ["auto", "manual"], "access": "readWrite", "binding": {"modbus": {"holding": 5}}},
    },
    "commands": {"zero": {"args": {"confirm": {"type": "boolean"}}, "timeout": "5s", "binding": {"modbus": {"coil": 9}}}},
    "events": {"leak": {"when": "flow > 100.0 && mode == 'auto'", "severity": 17}},
}


def a_profile(spec: dict[str, Any] | None = None, *, name: str = "flow-meter-x2") -> Object:
    return {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": name, "namespace": "default"},
        "spec": METER_SPEC if spec is None else spec,
    }


def a_device(*, name: str = "meter-1", profile: str = "flow-meter-x2", generation: int = 1, **spec: Any) -> Object:
    return {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "Device",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": generation},
        "spec": {"profile": profile, "connection": {"modbus": {"url": "tcp://127.0.0.1:502"}}, **spec},
    }


def typed(spec: dict[str, Any] | None = None) -> Profile:
    return load_profile(a_profile(spec), lambda _: None)


class Shelf:
    """A Lookup over a few objects."""

    def __init__(self, *objects: Object) -> None:
        self._objects = {(o["kind"], *name_of(o)): o for o in objects}

    def __call__(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._objects.get((resource.kind, namespace, name))
