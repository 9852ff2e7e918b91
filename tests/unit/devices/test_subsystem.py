"""The devices of a node end to end, with the real memory, mirrors and outbox, a fake API and a fake wire."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.drivers import Plugin, RefusedError
from skerry.events.log import Outbox
from skerry.model.conditions import get_condition
from skerry.model.objects import Name, Object
from skerry.model.resources import DEVICEPROFILES, DEVICES, SECRETS
from skerry.node.devices import DeviceSettings, DeviceSubsystem
from skerry.node.memory import Memory
from skerry.testing.drivers import FakeDevice, FakePlugin
from skerry.testing.fakeapi import FakeApi
from tests.unit.devices.profiles_given import METER_SPEC, a_device, a_profile

NODE = "gw-1"
SOURCE = f"/nodes/{NODE}/devices/default/meter-1"


def fast(spec: dict[str, Any] | None = None) -> dict[str, Any]:
    found = copy.deepcopy(spec or METER_SPEC)
    for prop in found["properties"].values():
        prop["read"] = {**prop.get("read", {}), "every": "100ms"}
    return found


def ours(**spec: Any) -> Object:
    spec.setdefault("connection", {"modbus": {"url": "fake"}})
    return {**a_device(**spec), "status": {"nodeName": NODE}}


class Site:
    """One node's devices, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = FakeApi()
        self.device = FakeDevice({"flow": 42.0, "setpoint": 20.0, "mode": "auto"})
        self.subsystem: DeviceSubsystem
        self.outbox: Outbox
        self.now = 1_800_000_000.0
        self.told: list[tuple[str, str, str, bool]] = []

    def record(self, about: Object, reason: str, message: str, *, warning: bool = False) -> None:
        self.told.append((f"{about['kind']}/{about['metadata']['name']}", reason, message, warning))

    def plugin(self, protocol: str) -> Plugin:
        if protocol != "modbus":
            raise RefusedError(f"no driver for {protocol}")
        return FakePlugin({"fake": self.device})

    async def start(self) -> None:
        self.memory = await Memory.open(self.folder)
        self.outbox = await Outbox.open(self.folder / "events.sqlite")
        settings = DeviceSettings(NODE, self.folder, site="dock-3")
        self.subsystem = DeviceSubsystem(
            self.api, self.memory, self.outbox, settings, plugins=self.plugin, clock=lambda: self.now, record=self.record
        )
        await self.subsystem.start()

    async def stop(self) -> None:
        await self.subsystem.stop()
        await self.outbox.close()
        await self.memory.close()

    def stored(self) -> Object:
        found = self.api.peek(DEVICES, "default", "meter-1")
        assert found is not None
        return found

    def condition(self, kind: str) -> tuple[str, str, int]:
        found = get_condition(self.stored().get("status", {}).get("conditions"), kind) or {}
        return found.get("status", ""), found.get("reason", ""), found.get("observedGeneration", 0)

    async def want(self, **desired: Any) -> int:
        changed = await self.api.patch(DEVICES, "default", "meter-1", {"spec": {"desired": desired}})
        return int(changed["metadata"]["generation"])

    async def flows(self, flow: float) -> None:
        """Have the device measure *flow*, and wait until the node knows."""
        device = self.subsystem.find(Name("default", "meter-1"))
        assert device is not None
        self.device.values["flow"] = flow
        await until(lambda: device.twin.reported["flow"].value == flow)

    async def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(raw) for _, raw in await self.outbox.read(0, max_events=10_000, max_bytes=1 << 30)]


async def until(holds: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    site.api.seed(DEVICEPROFILES, a_profile(fast()))
    site.api.seed(DEVICES, ours(desired={"setpoint": 20.0}))
    await site.start()
    yield site
    await site.stop()


async def test_a_device_is_connected_and_in_sync_with_its_values_in_status(site: Site) -> None:
    await until(lambda: site.condition("InSync")[:2] == ("True", "AllAccepted"))

    assert site.told == [("Device/meter-1", "Answers", "the device answers node gw-1", False)]
    status = site.stored()["status"]
    assert site.condition("Connected") == ("True", "Answers", 1)
    assert status["observedGeneration"] == 1
    assert status["properties"]["setpoint"] == {
        "value": 20.0,
        "at": "2027-01-15T08:00:00Z",
        "quality": "Good",
        "ack": {"generation": 1, "code": "Accepted"},
    } | {"at": status["properties"]["setpoint"]["at"]}


@pytest.mark.slow
async def test_in_sync_of_a_new_generation_waits_for_the_device(site: Site) -> None:
    await until(lambda: site.condition("InSync")[0] == "True")
    site.device.go_silent()
    generation = await site.want(setpoint=42.0)
    stored = site.stored()
    assert (get_condition(stored["status"]["conditions"], "InSync") or {})["observedGeneration"] < generation, "kubectl wait goes on"
    await until(lambda: site.condition("InSync")[2] == generation)
    assert site.condition("InSync")[0] == "False"
    assert site.device.values["setpoint"] == 20.0

    site.device.recover()
    await until(lambda: site.condition("InSync")[0] == "True")

    assert site.device.values["setpoint"] == 42.0
    assert site.stored()["status"]["properties"]["setpoint"]["ack"] == {"generation": generation, "code": "Accepted"}


async def test_a_device_that_drifts_is_brought_back(site: Site) -> None:
    await until(lambda: site.condition("InSync")[0] == "True")

    site.device.values["setpoint"] = 7.0

    await until(lambda: site.device.values["setpoint"] == 20.0)


async def test_what_the_device_refuses_is_rejected_and_not_tried_again(site: Site) -> None:
    site.device.refuses.add("mode")
    await site.want(mode="manual")

    await until(lambda: site.condition("InSync")[1] == "Rejected")

    told = [t for t in site.told if t[1] == "Rejected"]
    assert told == [("Device/meter-1", "Rejected", "desired mode='manual': the device refused mode='manual'", True)]
    ack = site.stored()["status"]["properties"]["mode"]["ack"]
    assert (ack["code"], ack["message"]) == ("Rejected", "the device refused mode='manual'")


async def test_a_profile_that_forbids_what_is_desired_says_so(site: Site) -> None:
    await until(lambda: site.condition("InSync")[0] == "True")
    spec = fast()
    spec["properties"]["setpoint"]["range"] = [0, 10]
    site.api.seed(DEVICEPROFILES, a_profile(spec))

    await until(lambda: site.condition("InSync")[1] == "DesiredInvalid")
    message = (get_condition(site.stored()["status"]["conditions"], "InSync") or {})["message"]
    assert message == "setpoint: must be between 0 and 10 m3/h"


async def test_samples_and_events_are_numbered_without_a_gap(site: Site) -> None:
    await until(lambda: site.condition("Connected")[0] == "True")
    for flow in (50.0, 110.0, 111.0, 60.0, 120.0):
        await site.flows(flow)
    await until(lambda: site.outbox.newest >= 8)
    events = await site.events()

    assert [int(e["sequence"]) for e in events] == list(range(1, len(events) + 1))
    alarms = [e for e in events if e["type"] == "dev.skerry.device.event"]
    assert [(e["subject"], e["data"], e["severity"]) for e in alarms] == [
        ("leak", {"flow": 110.0, "mode": "auto"}, 17),
        ("leak", {"flow": 120.0, "mode": "auto"}, 17),
    ]
    assert {e["source"] for e in events} == {SOURCE}
    assert {(e["devicenamespace"], e["devicename"], e["profile"], e["site"]) for e in events} == {
        ("default", "meter-1", "flow-meter-x2", "dock-3")
    }


async def test_a_change_within_the_deadband_is_no_news(site: Site) -> None:
    await until(lambda: site.condition("Connected")[0] == "True")
    before = len(await site.events())
    site.device.values["flow"] = 42.1
    device = site.subsystem.find(Name("default", "meter-1"))
    assert device is not None

    await until(lambda: device.twin.reported["flow"].value == 42.1)

    assert len(await site.events()) == before


async def test_devices_are_driven_from_memory_with_no_hub_at_all(site: Site) -> None:
    await until(lambda: site.condition("InSync")[0] == "True")
    await until(lambda: site.outbox.newest)
    numbers = site.outbox.newest
    await site.stop()
    site.api = FakeApi()
    for _ in range(50):
        site.api.fail_next(ConnectionError("no hub"))
    site.device.values["flow"] = 77.0
    await site.start()

    await until(lambda: site.subsystem.find(Name("default", "meter-1")) is not None)
    device = site.subsystem.find(Name("default", "meter-1"))
    assert device is not None
    await until(lambda: device.connected)
    await until(lambda: device.twin.reported["flow"].value == 77.0)
    assert device.twin.acks["setpoint"].code == "Accepted", "the twin survived"
    await until(lambda: site.outbox.newest > numbers)
    events = await site.events()
    assert [int(e["sequence"]) for e in events] == list(range(1, len(events) + 1)), "numbers go on after a restart"


async def test_a_profile_with_bases_is_read_from_memory_with_no_hub(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for name, spec in (("root", fast()), ("middle", {"extends": ["root"]}), ("flow-meter-x2", {"extends": ["middle"]})):
        site.api.seed(DEVICEPROFILES, a_profile(spec, name=name))
    site.api.seed(DEVICES, ours())
    await site.start()
    await until(lambda: site.condition("Connected")[0] == "True")
    await site.stop()

    for _ in range(2):  # the second life shows that the first forgot nothing
        site.api = FakeApi()
        for _ in range(50):
            site.api.fail_next(ConnectionError("no hub"))
        await site.start()
        await until(lambda: any(d.connected for d in site.subsystem.devices))
        await site.stop()


async def test_a_device_without_its_profile_waits_and_says_so(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.api.seed(DEVICES, ours())
    await site.start()
    await until(lambda: site.condition("ProfileFound")[:2] == ("False", "ProfileNotFound"))
    assert site.condition("InSync")[0] == "False"

    site.api.seed(DEVICEPROFILES, a_profile(fast()))

    await until(lambda: site.condition("Connected")[0] == "True")
    await site.stop()


async def test_a_device_whose_protocol_nobody_speaks_says_so_and_harms_no_other(site: Site) -> None:
    spec = {"protocol": "opcua", "properties": {"x": {"type": "number"}}}
    site.api.seed(DEVICEPROFILES, a_profile(spec, name="strange"))
    site.api.seed(DEVICES, {**ours(name="other", profile="strange"), "status": {"nodeName": NODE}})

    await until(lambda: "other" in str([d.name for d in site.subsystem.devices]))
    await until(lambda: site.condition("Connected")[0] == "True")
    other = site.subsystem.find(Name("default", "other"))
    assert other is not None
    await until(lambda: other.conditions()[0].reason == "NoDriver")


async def test_a_device_that_goes_elsewhere_is_no_longer_driven(site: Site) -> None:
    await until(lambda: site.device.connections == 1)

    await site.api.patch(DEVICES, "default", "meter-1", {"status": {"nodeName": "gw-2"}}, subresource="status")

    await until(lambda: site.device.connections == 0)
    assert site.subsystem.devices == []
    await until(lambda: [k for k in site.memory.mirrors() if "deviceprofiles" in k] == [])


async def test_the_twin_stream_gives_the_live_values_and_goes_on_when_they_change(site: Site) -> None:
    await until(lambda: site.condition("InSync")[0] == "True")
    lines: list[dict[str, Any]] = []

    class Stream:
        async def send(self, data: bytes) -> None:
            lines.append(msgspec.json.decode(data))

    watching = asyncio.create_task(site.subsystem.twin_handler({"namespace": "default", "name": "meter-1", "watch": True}, Stream()))
    site.device.values["flow"] = 66.0
    await until(lambda: lines and lines[-1]["status"]["properties"]["flow"]["value"] == 66.0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    shown = lines[-1]["status"]["properties"]
    assert lines[-1]["kind"] == "DeviceTwin"
    assert (shown["flow"]["unit"], shown["flow"]["quality"]) == ("m3/h", "Good")
    assert (shown["setpoint"]["desired"], shown["setpoint"]["ack"]["code"]) == (20.0, "Accepted")


@pytest.mark.slow
async def test_nothing_that_happens_per_sample_writes_the_api(site: Site) -> None:
    await until(lambda: site.condition("InSync")[0] == "True")
    await asyncio.sleep(0.3)
    before = len(site.api.writes())
    for flow in range(50, 60):
        site.device.values["flow"] = float(flow)
        await asyncio.sleep(0.1)

    assert len(site.api.writes()) == before


def credentialed() -> Object:
    return ours(connection={"modbus": {"url": "fake"}, "credentials": {"secretRef": {"name": "meter-key"}}})


async def test_a_secret_that_was_made_with_its_device_is_waited_for_without_a_warning(site: Site) -> None:
    await site.api.delete(DEVICES, "default", "meter-1")
    site.api.seed(SECRETS, {"metadata": {"name": "meter-key", "namespace": "default"}, "data": {"password": "b3Blbg=="}})
    site.told.clear()
    site.api.seed(DEVICES, credentialed())

    await until(lambda: site.told)

    assert site.told == [("Device/meter-1", "Answers", "the device answers node gw-1", False)]


async def test_credentials_that_the_hub_calls_missing_do_not_hold_up_a_driver_that_may_do_without(site: Site) -> None:
    await site.api.delete(DEVICES, "default", "meter-1")
    site.api.seed(DEVICES, credentialed())

    await until(lambda: site.condition("Connected")[:2] == ("True", "Answers"))
