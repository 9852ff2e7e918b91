"""A node through SIGKILL, without its hub, and after a power cut of its memory: real processes, counted from outside.

Covers F2, F3, F15 and Shown by 4 of the second issue.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.e2e.edge import SKERRY, Edge, a_pod, an_edge, config, slowness, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")]

PODS = 10


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with an_edge(tmp_path_factory.mktemp("edge")) as found:
        yield found


@pytest.fixture
def running(edge: Edge) -> Iterator[Edge]:
    """The hub and the node run, and ten Pods on it."""
    for name, start in (("hub", edge.start_hub), ("node", edge.start_node)):
        if name not in edge.running:
            start()
    until(lambda: "node-a" in edge.kubectl("get", "nodes", check=False), "the node")
    edge.apply(config(), *(a_pod(edge, f"pod-{i}") for i in range(PODS)))
    until(lambda: edge.ready(PODS), "ten Pods")
    yield edge
    if "hub" not in edge.running:
        edge.start_hub()
    if "node" not in edge.running:
        edge.start_node()
    edge.kubectl("delete", "pods", "--all", "--wait=true", "--timeout=90s")
    for path in edge.witness.iterdir():
        path.unlink()


def nobody_ran_twice(edge: Edge) -> None:
    assert not (edge.witness / "double").exists(), (edge.witness / "double").read_text()


def test_killing_the_node_at_random_touches_no_container(running: Edge) -> None:
    edge, before, luck = running, running.processes(), random.Random(7)
    assert len(before) == 2 * PODS  # each sandbox is bubblewrap's monitor and its first process

    for _ in range(6):
        edge.kill("node")
        edge.start_node()
        time.sleep(luck.uniform(0.0, 1.2))
    until(lambda: "node started" in (edge.folder / "node.log").read_text(), "the node")

    assert edge.processes() == before
    assert set(edge.witnesses().values()) == {1}
    nobody_ran_twice(edge)


@pytest.mark.parametrize(
    "failpoint",
    [
        "runtime.after_intent:1",
        "runtime.after_intent:4",
        "runtime.after_fork:1",
        "runtime.after_fork:5",
        "runtime.before_exit_record:1",
        "runtime.after_exit_record:1",
        "durable.before_commit:3",
        "durable.after_commit:4",
    ],
)
def test_killed_at_any_point_of_starting_it_starts_nothing_twice(edge: Edge, failpoint: str) -> None:
    if "hub" not in edge.running:
        edge.start_hub()
    if "node" in edge.running:
        edge.kill("node")
    short = a_pod(edge, "short", restartPolicy="OnFailure")
    short["spec"]["containers"][0]["args"] = ["-c", "open('/witness/short.starts', 'a').write('x\\n')"]
    edge.start_node(failpoint=failpoint)
    edge.apply(config(), *(a_pod(edge, f"fp-{i}") for i in range(5)), short)

    until(lambda: edge.running["node"].poll() is not None, f"death at {failpoint}")
    assert edge.running.pop("node").returncode == -signal.SIGKILL
    edge.start_node()

    until(lambda: len([p for p in edge.pods() if p["status"]["phase"] == "Running"]) == 5, "five Pods")
    until(lambda: all(edge.starts(f"fp-{i}") == 1 for i in range(5)), "each to begin")
    nobody_ran_twice(edge)
    until(lambda: [p["status"]["phase"] for p in edge.pods() if p["metadata"]["name"] == "short"] == ["Succeeded"], "the short one")
    assert edge.starts("short") == 1
    edge.kubectl("delete", "pods", "--all", "--wait=true", "--timeout=90s")
    for path in edge.witness.iterdir():
        path.unlink()


def test_with_no_hub_all_pods_run_within_ten_seconds_of_a_start(running: Edge) -> None:
    edge = running
    edge.kill("hub")
    edge.kill("node")
    for pid in edge.processes():  # as after a reboot: nothing runs
        os.kill(pid, signal.SIGKILL)
    until(lambda: not edge.processes(), "an empty machine")

    slow, began = slowness(), time.monotonic()
    edge.start_node()
    until(lambda: set(edge.witnesses().values()) == {2} and len(edge.witnesses()) == PODS, "ten Pods to begin again")

    assert time.monotonic() - began < 10 * slow
    nobody_ran_twice(edge)
    edge.start_hub()
    until(lambda: edge.ready(PODS), "their status at the hub")


def test_a_hub_that_is_gone_costs_no_container(running: Edge) -> None:
    edge, before = running, running.processes()

    edge.kill("hub")
    time.sleep(2)
    assert edge.processes() == before
    edge.start_hub()
    until(lambda: edge.ready(PODS), "the hub to have them again")

    assert edge.processes() == before


def test_an_empty_hub_in_its_place_takes_nothing_away(running: Edge) -> None:
    """Another cluster at the same address, with the same CA, as after a wiped disk restored from a backup of the keys."""
    edge, before = running, running.processes()
    edge.kill("hub")
    data, aside = edge.folder / "hub", edge.folder / "hub.aside"
    data.rename(aside)
    shutil.copytree(aside, data, ignore=shutil.ignore_patterns("*.sqlite*", "lock", "store"))

    edge.start_hub()
    until(lambda: "hub" in edge.running, "the empty hub")
    time.sleep(6)
    assert edge.processes() == before

    edge.kill("hub")
    shutil.rmtree(data)
    aside.rename(data)
    edge.start_hub()
    until(lambda: edge.ready(PODS), "the old hub to have them again")
    assert edge.processes() == before


def test_two_nodes_cannot_share_a_state_folder(running: Edge) -> None:
    command = [*SKERRY, "node", "run", "--state", str(running.state)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode != 0
    assert "another skerry node runs" in done.stderr


def test_deleted_while_the_node_was_away_means_ended_when_it_is_back(running: Edge) -> None:
    edge = running
    edge.kill("node")
    edge.kubectl("delete", "pod", "pod-0", "--force", "--grace-period=0", "--wait=false")
    until(lambda: len(edge.pods()) == PODS - 1, "the Pod to be gone from the API")
    assert len(edge.processes()) == 2 * PODS

    edge.start_node()

    until(lambda: len(edge.processes()) == 2 * (PODS - 1), "its processes to end")
    nobody_ran_twice(edge)
