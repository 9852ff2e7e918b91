"""A node that stood still, a machine that starts again, and an outage with a burst (F15, F49; Shown by 4)."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.events import PLACE
from bench.events import Edge as Devices
from demo.stage import SKERRY
from skerry.node.pods import memory_folder
from tests.e2e.edge import a_pod, config, slowness, until
from tests.e2e.test_events_edge import Source, rows_at_the_hub
from tests.e2e.test_events_exact import Device, check
from tests.e2e.worst_day import Clock, WorstEdge, a_worst_edge, needs_bubblewrap, needs_faketime

pytestmark = [pytest.mark.slow, needs_bubblewrap]

PODS = 5


@pytest.fixture
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorstEdge]:
    with a_worst_edge(tmp_path_factory.mktemp("edge")) as found:
        found.start_node()
        pods = [a_pod(found, f"pod-{i}") for i in range(PODS)]
        for pod in pods:
            pod["spec"]["volumes"].append({"name": "ram", "emptyDir": {"medium": "Memory"}})
            pod["spec"]["volumes"].append({"name": "password", "secret": {"secretName": "password"}})
            mounts = [{"name": "ram", "mountPath": "/ram"}, {"name": "password", "mountPath": "/password"}]
            pod["spec"]["containers"][0]["volumeMounts"] += mounts
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "password"}, "stringData": {"password": "x"}}
        found.apply(config(), secret, *pods)
        until(lambda: found.ready(PODS), "five Pods")
        yield found


def test_after_a_reboot_with_no_hub_and_nothing_volatile_all_pods_run_again(edge: WorstEdge) -> None:
    edge.kill("hub")
    edge.kill("node")
    for pid in edge.processes():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not edge.processes(), "an empty machine")
    ram = memory_folder(edge.state)
    if ram is not None:
        shutil.rmtree(ram)

    slow, began = slowness(), time.monotonic()
    edge.start_node()
    until(lambda: edge.witnesses() == {f"pod-{i}": 2 for i in range(PODS)}, "each Pod to begin a second time")

    assert time.monotonic() - began < 10 * slow
    assert not (edge.witness / "double").exists()
    edge.start_hub()
    until(lambda: edge.ready(PODS), "their status at the hub")


def test_a_node_that_stood_still_goes_on_where_it_was(tmp_path: Path) -> None:
    """Long enough for the hub to miss it: nobody else began its work, and its Lease goes on by itself."""
    still_s = 13.0
    with a_worst_edge(tmp_path) as edge:
        edge.kill("hub")
        listen = f"127.0.0.1:{edge.port}"
        edge.start("hub", "hub", "run", "--data", str(edge.folder / "hub"), "--listen", listen, "--node-grace", "5s")
        edge.start_node()
        edge.connected()
        edge.apply(config(), a_pod(edge, "pod-0"))
        until(lambda: edge.ready(1), "the Pod")
        before, lease = edge.processes(), edge.lease()

        edge.running["node"].send_signal(signal.SIGSTOP)
        began = time.monotonic()
        until(lambda: edge.node_status("Ready").get("status") == "Unknown", "the hub to miss it")
        time.sleep(max(0.0, still_s - (time.monotonic() - began)))
        edge.running["node"].send_signal(signal.SIGCONT)

        until(lambda: edge.node_status("Ready").get("status") == "True", "the node to be heard again")
        until(lambda: edge.ready(1), "its Pod to be ready again")
        assert edge.lease()[0] != lease[0]
        assert edge.processes() == before
        assert edge.starts("pod-0") == 1


@pytest.fixture
def devices() -> Iterator[Devices]:
    made = Devices()
    try:
        made.up()
        yield made
    finally:
        made.stage.down()


@needs_faketime
def test_a_burst_during_an_outage_arrives_once_and_in_order_whatever_the_clock_does(devices: Devices) -> None:
    """5,000 messages while the hub is away, the node killed in between and its clock jumping by years."""
    seed = int(os.environ.get("SKERRY_SEED") or time.time_ns() % 1_000_000)
    print(f"SKERRY_SEED={seed}")
    luck, stage = random.Random(seed), devices.stage
    per_device = 5_000 // len(devices.names)
    moved = Clock(stage.folder / "clock")
    moved.jump(0)
    command = [*SKERRY, "node", "run", "--state", str(stage.folder / PLACE.name)]
    stage.kill(PLACE.name)
    stage.start(PLACE.name, command, environment=moved.environment)
    sources = [Source(name, (PLACE.address, stage.ports[f"mqtt-{PLACE.name}"])) for name in devices.names]
    try:
        for source in sources:
            source.start()
        until(lambda: all(s.client.is_connected() for s in sources), "the devices")
        stage.kill("hub")
        for share in (0.25, 0.5, 0.75, 1.0):
            _publish(sources, int(per_device * share))
            moved.jump(luck.choice([-1, 1]) * luck.uniform(3600, 10 * 365 * 86400))
            if share == 0.5:
                stage.kill(PLACE.name)
                stage.start(PLACE.name, command, environment=moved.environment)
        until(lambda: all(s.acknowledged == per_device for s in sources), "all to be taken by the node")
        stage.start_hub()
        until(lambda: devices.stored() >= per_device * len(sources), "all at the hub")
        rows = rows_at_the_hub(devices)
    finally:
        for source in sources:
            source.stop()

    check(rows, [Device(name, per_device) for name in devices.names])


def _publish(sources: list[Source], most: int) -> None:
    end = time.monotonic() + 90
    while any(s.published < most for s in sources):
        for source in sources:
            source.publish(most)
        time.sleep(0.005)
        assert time.monotonic() < end, f"published {[s.published for s in sources]} of {most}"
