"""A node's disk that is full or fails (F8, F9): Pods run on, nothing is lost without being told, all is well once there is space."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.events import PLACE
from bench.events import Edge as Devices
from tests.e2e.edge import a_pod, config, until
from tests.e2e.test_events_edge import Source, rows_at_the_hub
from tests.e2e.test_events_exact import Device, check
from tests.e2e.worst_day import WorstEdge, a_small_disk, a_worst_edge, fill, needs_bubblewrap

pytestmark = [pytest.mark.slow, needs_bubblewrap]

PODS = 3


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[WorstEdge]:
    """Three Pods run on a node whose state folder is a disk of its own: 40 MiB more than where disk pressure begins."""
    with a_small_disk(tmp_path / "node-a", "140m"), a_worst_edge(tmp_path) as found:
        found.start_node()
        found.apply(config(), *(a_pod(found, f"pod-{i}") for i in range(PODS)))
        until(lambda: found.ready(PODS), "three Pods")
        yield found


def test_pods_outlive_a_full_disk_and_a_start_of_the_node_on_it(edge: WorstEdge) -> None:
    before = edge.processes()
    ballast = fill(edge.state)

    edge.apply(a_pod(edge, "late"))
    until(lambda: "what the hub tells cannot be kept" in edge.log("node"), "the node to notice")
    assert edge.processes() == before
    edge.kill("node")
    edge.forget_log("node")
    edge.start_node()
    edge.connected()
    time.sleep(3)  # whatever it would end, it would end now

    assert edge.running["node"].poll() is None
    assert edge.processes() == before
    assert "kept in RAM" in edge.log("node")
    assert "damaged" not in edge.log("node")
    until(lambda: edge.node_status("DiskPressure").get("status") == "True", "the condition")
    ballast.unlink()
    until(lambda: edge.ready(PODS + 1), "the Pod that waited for space")
    assert before.items() <= edge.processes().items()
    assert set(edge.witnesses().values()) == {1}


def test_a_container_that_prints_outlives_a_full_disk(edge: WorstEdge) -> None:
    """Its output goes to the disk that is full; it has space ahead, and then that of its own old lines."""
    talker = a_pod(edge, "talker")
    code = "import time\nopen('/witness/talker.starts', 'a').write('x\\n')\nwhile True: print('x' * 3000); time.sleep(0.03)"
    talker["spec"]["containers"][0]["args"] = ["-u", "-c", code]
    edge.apply(talker)
    until(lambda: edge.ready(PODS + 1), "the talker")
    uid = next(p["metadata"]["uid"] for p in edge.pods() if p["metadata"]["name"] == "talker")
    log = next((edge.state / "pods" / uid).glob("**/log"))
    until(lambda: log.stat().st_blocks * 512 > log.stat().st_size + 250_000, "space ahead of its log")
    before = log.stat().st_size

    ballast = fill(edge.state)

    until(lambda: log.stat().st_size > before + 700_000, "more than it had space for ahead")
    assert log.stat().st_blocks * 512 < 700_000, "old lines were given back"
    ballast.unlink()
    assert edge.starts("talker") == 1
    assert edge.restarts()["talker"] == 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_pods_outlive_a_disk_that_fails_and_the_memory_takes_writes_again(edge: WorstEdge) -> None:
    before = edge.processes()
    faults = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]
    tracing = subprocess.Popen(
        ["strace", "-f", "-q", "-o", str(edge.folder / "strace"), *faults, "-p", str(edge.running["node"].pid)], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: _traced(edge.running["node"].pid), "strace")
        edge.apply(a_pod(edge, "late"))
        until(lambda: "durable file failed" in edge.log("node"), "the first failed fsync")
        time.sleep(2)
        assert edge.running["node"].poll() is None
        assert edge.processes() == before
    finally:
        tracing.send_signal(signal.SIGINT)
        tracing.wait(timeout=60)

    until(lambda: edge.ready(PODS + 1), "the Pod that came while nothing could be kept")

    assert "the node's memory takes writes again" in edge.log("node")
    assert before.items() <= edge.processes().items()
    assert set(edge.witnesses().values()) == {1}


def _traced(pid: int) -> bool:
    try:
        return all("TracerPid:\t0" not in (t / "status").read_text() for t in Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):  # a thread ended
        return False


@pytest.fixture
def devices() -> Iterator[Devices]:
    made = Devices()
    disk = made.stage.folder / PLACE.name
    with a_small_disk(disk, "24m"):
        try:
            made.up()
            yield made
        finally:
            made.stage.down()


def test_what_a_full_disk_cannot_take_is_not_acknowledged_and_comes_later(devices: Devices) -> None:
    per_device, names = 60, devices.names[:5]
    sources = [Source(name, (PLACE.address, devices.stage.ports[f"mqtt-{PLACE.name}"])) for name in names]
    try:
        for source in sources:
            source.start()
        _publish(sources, per_device // 3)
        until(lambda: all(s.acknowledged == per_device // 3 for s in sources), "the first third")
        ballast = fill(devices.stage.folder / PLACE.name)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            for source in sources:
                source.publish(per_device)
            time.sleep(0.05)
        stuck = sum(s.acknowledged for s in sources)
        ballast.unlink()
        _publish(sources, per_device)
        until(lambda: all(s.acknowledged == per_device for s in sources), "the rest")
        until(lambda: devices.stored() >= per_device * len(names), "all at the hub")
        rows = rows_at_the_hub(devices)
    finally:
        for source in sources:
            source.stop()

    assert stuck < per_device * len(names), "the disk was not full"
    assert devices.stage.processes[PLACE.name].poll() is None
    check(rows, [Device(name, per_device) for name in names])


def _publish(sources: list[Source], most: int) -> None:
    end = time.monotonic() + 90
    while any(s.published < most for s in sources):
        for source in sources:
            source.publish(most)
        time.sleep(0.01)
        assert time.monotonic() < end, f"published {[s.published for s in sources]} of {most}"
