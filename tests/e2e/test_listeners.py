"""Every socket on which a process of ours listens stands in docs/reference/listeners.md, and the other way round."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import psutil
import pytest

from demo.stage import NODES, Stage

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "listeners.md"


def documented(process: str) -> int:
    """Return how many listeners the page lists for a process."""
    return len(re.findall(rf"^\| {process} \|", PAGE.read_text(), re.MULTILINE))


def listening(stage: Stage, name: str) -> set[tuple[str, int]]:
    """Return what the process and its workers listen on, as the kernel says; apps of Pods are not its children."""
    root = psutil.Process(stage.processes[name].pid)
    found = set()
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # what a node runs for a moment only
            if not in_sandbox(process):
                sockets = [c for c in process.net_connections("all") if c.status == psutil.CONN_LISTEN and not isinstance(c.laddr, str)]
                found |= {(c.laddr.ip, c.laddr.port) for c in sockets}
    return found


def in_sandbox(process: psutil.Process) -> bool:
    return any("bwrap" in each.name() for each in (process, *process.parents()))


def test_the_hub_listens_on_its_one_port(stage: Stage) -> None:
    assert listening(stage, "hub") == {("127.0.0.1", stage.ports["hub"])}
    assert documented("hub") == 1


@pytest.mark.parametrize("place", NODES, ids=lambda p: p.name)
def test_a_node_listens_for_mqtt_and_for_its_own_apps(stage: Stage, place: object) -> None:
    assert isinstance(place, type(NODES[0]))
    sockets = listening(stage, place.name)

    assert (place.address, stage.ports[f"mqtt-{place.name}"]) in sockets
    others = sockets - {(place.address, stage.ports[f"mqtt-{place.name}"])}
    assert {ip for ip, _ in others} == {"127.0.0.1"}
    assert len(sockets) == documented("node")


def test_no_unix_socket_is_open_to_others(stage: Stage) -> None:
    for name in ("hub", *(p.name for p in NODES)):
        root = psutil.Process(stage.processes[name].pid)
        named = [c.laddr for c in root.net_connections("unix") if isinstance(c.laddr, str) and c.laddr]
        assert named == [], f"{name} has {named}"
