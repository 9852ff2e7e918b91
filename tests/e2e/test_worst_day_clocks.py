"""No clock stops anything (F26, F27, F28): nodes that think it is 1970 or 2040, clocks that jump, and a hub a day off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.edge import Edge, a_pod, config, until
from tests.e2e.worst_day import YEARS_S, Clock, WorstEdge, a_worst_edge, clock, needs_bubblewrap, needs_faketime

pytestmark = [pytest.mark.slow, needs_faketime, needs_bubblewrap]

DAY_S = 86400.0


def probed(edge: Edge, name: str) -> dict[str, Any]:
    """Return a Pod that a slow look or a jump would fail: asked every second, once is enough."""
    pod = a_pod(edge, name)
    probe = {"exec": {"command": ["/usr/bin/true"]}, "periodSeconds": 1, "timeoutSeconds": 60, "failureThreshold": 1}
    pod["spec"]["containers"][0] |= {"livenessProbe": probe, "readinessProbe": probe}
    return pod


def crashing(edge: Edge, name: str) -> dict[str, Any]:
    """Return a Pod that ends after a second, again and again."""
    pod = a_pod(edge, name)
    code = f"import time; open('/witness/{name}.starts', 'a').write('x\\n'); time.sleep(1); raise SystemExit(1)"
    pod["spec"]["containers"][0]["args"] = ["-c", code]
    return pod


@pytest.mark.parametrize(
    ("offset_s", "year"), [(YEARS_S[1970], "1970"), (YEARS_S[2040], "2040"), (-3600.0, ""), (DAY_S, "")], ids=["1970", "2040", "-1h", "+1d"]
)
def test_a_node_with_a_wrong_clock_joins_and_runs_its_pods(tmp_path: Path, offset_s: float, year: str) -> None:
    with a_worst_edge(tmp_path, node=clock(offset_s)) as edge:
        edge.start_node()
        edge.connected()
        edge.apply(config(), *(a_pod(edge, f"pod-{i}") for i in range(3)))
        until(lambda: edge.ready(3), "three Pods")
        before = edge.processes()
        edge.kill("node")
        edge.forget_log("node")

        edge.start_node()

        edge.connected()
        until(lambda: edge.ready(3) and edge.node_status("Ready").get("status") == "True", "the node and its Pods")
        until(lambda: edge.lease()[1].startswith(year), "a Lease by the node's own clock")
        assert edge.processes() == before
        assert set(edge.witnesses().values()) == {1}


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WorstEdge, Clock]]:
    folder = tmp_path_factory.mktemp("jumping")
    moved = Clock(folder / "clock")
    moved.jump(0)
    with a_worst_edge(folder, node=moved.environment) as edge:
        edge.start_node()
        edge.connected()
        yield edge, moved


def test_a_clock_that_jumps_moves_no_lease_probe_or_backoff(jumping: tuple[WorstEdge, Clock]) -> None:
    edge, moved = jumping
    edge.apply(config(), probed(edge, "probed"), crashing(edge, "crashing"))
    until(lambda: edge.starts("crashing") == 2, "the second start, which comes at once")
    began = time.monotonic()
    lease = edge.lease()
    jumps = [DAY_S, -DAY_S, YEARS_S[1970], YEARS_S[2040], 3600.0, -3600.0, 0.0]

    for offset_s in jumps:
        moved.jump(offset_s)
        time.sleep(1.5)

    took_s = time.monotonic() - began
    if took_s < 30:  # the fourth start comes after 10 and 20 s of waiting
        assert edge.starts("crashing") <= 3, f"{edge.starts('crashing')} starts within {took_s:.0f} s"
    until(lambda: edge.lease()[0] != lease[0], "the Lease to be renewed")
    until(lambda: edge.node_status("Ready").get("status") == "True", "a Node that is ready")
    assert edge.restarts()["probed"] == 0
    assert edge.starts("probed") == 1
    edge.kubectl("delete", "pods", "--all", "--wait=true", "--timeout=90s")


def test_a_hub_whose_clock_is_a_day_wrong_keeps_its_nodes(tmp_path: Path) -> None:
    with a_worst_edge(tmp_path) as edge:
        edge.start_node()
        edge.apply(config(), *(a_pod(edge, f"pod-{i}") for i in range(3)))
        until(lambda: edge.ready(3), "three Pods")
        before = edge.processes()

        for offset_s in (DAY_S, -DAY_S, 0.0):
            edge.kill("hub")
            edge.forget_log("node")
            edge.environments["hub"] = clock(offset_s) if offset_s else {}
            edge.start_hub()
            edge.connected()
            until(lambda: edge.ready(3) and edge.node_status("Ready").get("status") == "True", f"the node with a hub {offset_s:+.0f} s off")
            assert edge.processes() == before

        assert set(edge.witnesses().values()) == {1}


def test_a_node_connects_to_a_hub_that_thinks_it_is_2006(tmp_path: Path) -> None:
    """As a hub on a board without a battery starts: people cannot come in until its clock is set, nodes can."""
    with a_worst_edge(tmp_path) as edge:
        edge.start_node()
        edge.connected()
        edge.kill("hub")
        edge.forget_log("node")
        edge.environments["hub"] = clock(-20 * 365 * DAY_S)

        edge.start("hub", "hub", "run", "--data", str(edge.folder / "hub"), "--listen", f"127.0.0.1:{edge.port}")

        edge.connected()
        edge.kill("hub")
        edge.environments.clear()
        edge.start_hub()
