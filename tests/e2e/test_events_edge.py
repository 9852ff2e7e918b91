"""Shown by 4, with the real hub, the real node and foreign MQTT devices (paho): each event at the hub once, in order per device.

What is at the hub is read with stock kubectl and compared with what the devices counted; the checker shares no code with skerry.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bench.events import DEVICES, PASSWORD, PLACE, Edge
from demo.stage import SKERRY
from tests.e2e.edge import slowness
from tests.e2e.test_events_exact import HUB_FAILPOINTS, NODE_FAILPOINTS, Device, check

pytestmark = pytest.mark.slow

EVENTS = 20_000
PER_DEVICE = EVENTS // DEVICES
SOAK = bool(os.environ.get("SKERRY_SOAK"))


@dataclass
class Source:
    """One device on paho, which sends again what was not answered; `acknowledged` counts answers.

    paho itself sends new messages before those that it repeats after a reconnect, so a new one waits until all those are answered.
    """

    name: str
    address: tuple[str, int]
    acknowledged: int = 0
    published: int = 0
    repeating: bool = False
    client: paho.Client = field(init=False)

    def start(self) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self.name.replace("/", "-"), clean_session=True)
        self.client.username_pw_set(self.name, PASSWORD)
        self.client.reconnect_delay_set(1, 2)
        self.client.on_publish = self.on_publish
        self.client.on_disconnect = self.on_disconnect
        self.client.connect_async(*self.address, keepalive=20)
        self.client.loop_start()

    def on_publish(self, *_: object) -> None:
        self.acknowledged += 1
        if self.acknowledged == self.published:
            self.repeating = False

    def on_disconnect(self, *_: object) -> None:
        self.repeating = self.acknowledged < self.published

    def publish(self, most: int) -> None:
        """Publish on up to number *most*, as far as the window of 20 allows."""
        while self.client.is_connected() and not self.repeating and self.published < min(most, self.acknowledged + 20):
            self.published += 1
            body = json.dumps({"seq": self.published, "level": self.published % 1000})
            self.client.publish(f"skerry/{self.name}/telemetry", body, qos=1)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client._reset_sockets()  # paho leaves its wake-up sockets to the garbage collector


@dataclass
class Victim:
    """The hub or the node: killed at random or at a failpoint, started again, in a thread of its own."""

    edge: Edge
    name: str
    command: Sequence[str]
    failpoints: Sequence[str]
    rng: random.Random
    every_s: tuple[float, float]
    deaths: Counter[str] = field(default_factory=Counter)
    enough: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def start(self, failpoint: str = "") -> subprocess.Popen[bytes]:
        armed = {"SKERRY_FAILPOINT": f"{failpoint}:{self.rng.choice([1, 3, 10, 30])}"} if failpoint else {}
        self.edge.stage.start(self.name, self.command, environment=armed)
        return self.edge.stage.processes[self.name]

    def suffer(self) -> None:
        self.enough.clear()
        self.thread = threading.Thread(target=self._suffer)
        self.thread.start()

    def _suffer(self) -> None:
        process = self.edge.stage.processes.get(self.name)
        while not self.enough.is_set():
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
                self.deaths["random"] += 1
            failpoint = self.rng.choice(["", *self.failpoints])
            process = self.start(failpoint)
            end = time.monotonic() + self.rng.uniform(*self.every_s)
            while time.monotonic() < end and process.poll() is None and not self.enough.is_set():
                time.sleep(0.02)
            if process.poll() is not None:
                self.deaths[failpoint if process.returncode == -signal.SIGKILL else f"ended with {process.returncode}"] += 1

    def spare(self) -> None:
        self.enough.set()
        if self.thread is not None:
            self.thread.join(timeout=120)

    def end(self) -> None:
        process = self.edge.stage.processes.get(self.name)
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.deaths["random"] += 1


@pytest.fixture
def edge() -> Iterator[Edge]:
    made = Edge()
    try:
        made.up()
        yield made
    finally:
        for name in ("hub", PLACE.name):
            lines = made.stage.log_of(name).read_text(errors="replace").splitlines()
            worse = [line for line in lines if " info " not in line and "level=info" not in line and "hub ready" not in line]
            print(f"what the log of {name} says besides what is usual:", *worse[-40:], sep="\n")
        made.stage.down()


def rows_at_the_hub(edge: Edge) -> list[tuple[str, int]]:
    """Return (device, its number) in the order of the hub's log, as kubectl reads it page by page."""
    found: list[tuple[str, int]] = []
    after = 0
    while lines := edge.stage.kubectl("get", "--raw", f"/skerry/events?after={after}&limit=1000").stdout.splitlines():
        entries = [json.loads(line) for line in lines]
        after = entries[-1]["sequence"]
        events = [e["event"] for e in entries]
        found += [(f"{e['devicenamespace']}/{e['devicename']}", int(e["sequence"])) for e in events if "devicename" in e]
    return found


def publish_until(sources: Sequence[Source], share: float, *, rate: float = 2500.0) -> None:
    """Publish, *rate* a second in all and as fast as it goes after a break, until each device has published its share."""
    began, first, last = time.monotonic(), min(s.published for s in sources), int(share * PER_DEVICE)
    while any(s.published < last for s in sources):
        due = first + int((time.monotonic() - began) * rate / len(sources))
        for source in sources:
            source.publish(min(due, last))
        time.sleep(0.005)
        assert time.monotonic() - began < 600, f"published {[s.published for s in sources]} of {last}"


def wait_for(what: str, total: int, count: object, *, timeout_s: float) -> float:
    assert callable(count)
    began = time.monotonic()
    while count() < total:
        assert time.monotonic() - began < timeout_s, f"{what}: {count()} of {total} after {timeout_s} s"
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.parametrize("round_", range(10 if SOAK else 1))
def test_twenty_thousand_events_of_mqtt_devices_arrive_once_and_in_order(edge: Edge, round_: int) -> None:
    seed = int(os.environ.get("SKERRY_SEED") or time.time_ns() % 1_000_000) + round_
    print(f"SKERRY_SEED={seed}")
    rng = random.Random(seed)
    folder = edge.stage.folder
    listen = f"127.0.0.1:{edge.stage.ports['hub']}"
    slow = slowness()
    lives = (1.5 * slow, 4.0 * slow)
    hub = Victim(edge, "hub", [*SKERRY, "hub", "run", "--data", str(folder / "hub"), "--listen", listen], HUB_FAILPOINTS, rng, lives)
    node = Victim(edge, PLACE.name, [*SKERRY, "node", "run", "--state", str(folder / PLACE.name)], NODE_FAILPOINTS, rng, lives)
    sources = [Source(name, (PLACE.address, edge.stage.ports[f"mqtt-{PLACE.name}"])) for name in edge.names]
    try:
        for source in sources:
            source.start()
        hub.suffer()
        node.suffer()
        publish_until(sources, 0.4)
        hub.spare()
        hub.end()  # the outage: the node dies and starts again with no hub, the devices go on
        publish_until(sources, 0.7)
        hub.suffer()
        publish_until(sources, 1.0)
        hub.spare()
        node.spare()
        hub.end()
        node.end()
        node.start()
        wait_for("acknowledged at the node", EVENTS, lambda: sum(s.acknowledged for s in sources), timeout_s=300)
        hub.start()
        returned = time.monotonic()
        edge.stage.wait("all events at the hub", lambda: edge.stored() >= EVENTS, of="hub", timeout_s=60 * slow)
        took_s = time.monotonic() - returned
        time.sleep(1)  # whatever comes too much would come now
        rows = rows_at_the_hub(edge)
    finally:
        hub.spare()
        node.spare()
        for source in sources:
            source.stop()

    print(f"complete {took_s:.1f} s after the hub's return; hub died {dict(hub.deaths)}, node died {dict(node.deaths)}")
    check(rows, [Device(name, PER_DEVICE) for name in edge.names])
    for victim in (hub, node):
        assert not [cause for cause in victim.deaths if cause.startswith("ended")], f"{victim.name} ended by itself: {victim.deaths}"
        assert victim.deaths.total() >= 3
