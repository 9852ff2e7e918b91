"""What the node says of itself, and when: its Node, its conditions, its Lease; on a virtual clock that may be wrong (F26, F27)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from skerry.model.errors import ApiError
from skerry.model.objects import dig
from skerry.model.resources import LEASES, NODES
from skerry.node.host import HostFacts, HostState, host_facts, host_state
from skerry.node.presence import Presence, node_conditions, node_labels, node_status
from skerry.node.registration import Registration
from skerry.node.runtimes.contract import Enforcement
from skerry.testing.clock import run_virtually
from skerry.testing.fakeapi import FakeApi

GIB = 2**30
NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
ALL = Enforcement(memory=True, cpu=True, pids=True)
PRESENCE = Presence(
    name="node-a",
    address="10.0.0.7",
    labels={"rack": "r1"},
    facts=HostFacts("gw-7", "arm64", "6.1", "Debian GNU/Linux 12", "m", "b", 4, 2 * GIB),
    state=HostState(GIB, 16 * GIB, 8 * GIB, 100, 32768),
    runtimes=("process",),
    enforcement=ALL,
)


def conditions(presence: Presence, before: list[dict[str, Any]] | None = None) -> dict[str, str]:
    return {c["type"]: c["status"] for c in node_conditions(presence, before or [], now=NOW)}


def test_a_well_node() -> None:
    assert conditions(PRESENCE) == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "ProcessLimitsEnforced": "True",
        "ProcessRuntimeUsable": "True",
        "HubTrusted": "True",
        "MemoryIntact": "True",
        "Ready": "True",
    }


def test_each_trouble_is_a_condition_and_the_node_stays_ready() -> None:
    state = HostState(10 * 2**20, 16 * GIB, 2**20, 32768, 32768)
    none = Enforcement(memory=False, cpu=False, pids=False, message="no cgroups")

    found = conditions(
        replace(PRESENCE, state=state, enforcement=none, doubt="another cluster", trouble="damaged", problems={"process": "no bwrap"})
    )

    assert found == {
        "MemoryPressure": "True",
        "DiskPressure": "True",
        "PIDPressure": "True",
        "ProcessLimitsEnforced": "False",
        "ProcessRuntimeUsable": "False",
        "HubTrusted": "False",
        "MemoryIntact": "False",
        "Ready": "True",
    }


def test_labels_of_the_hub_are_not_the_nodes_to_claim() -> None:
    labels = node_labels(replace(PRESENCE, labels={"skerry.dev/site": "mine", "kubernetes.io/os": "plan9", "rack": "r1"}))

    assert "skerry.dev/site" not in labels
    assert labels["kubernetes.io/os"] == "linux"
    assert (labels["rack"], labels["runtime.skerry.dev/process"]) == ("r1", "true")


def test_this_machine_can_be_described(tmp_path: Any) -> None:
    facts, state = host_facts(), host_state(tmp_path)

    assert facts.cpus > 0
    assert facts.memory_bytes > 2**20
    assert facts.kernel
    assert 0 < state.disk_available <= state.disk_bytes
    assert node_status(replace(PRESENCE, facts=facts, state=state), [], now=NOW)["capacity"]["cpu"] == str(facts.cpus)


def test_a_runtime_that_cannot_be_used_is_not_offered() -> None:
    labels = node_labels(replace(PRESENCE, problems={"process": "no bubblewrap"}))

    assert "runtime.skerry.dev/process" not in labels


class Hub:
    """A fake API and whether the node can reach it."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.up = asyncio.Event()
        self.up.set()
        self.presence = PRESENCE
        self.wall = NOW

    def registration(self) -> Registration:
        return Registration(self.api, lambda: self.presence, connected=self.up.wait, now=lambda: self.wall)

    def count(self, what: str) -> int:
        return len([w for w in self.api.writes() if what in w])


async def for_a_while(work: Registration, seconds: float) -> None:
    task = asyncio.create_task(work.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait([task])


def test_it_registers_renews_its_lease_and_does_not_chatter() -> None:
    async def main() -> None:
        hub = Hub()
        await for_a_while(hub.registration(), 601)

        node = hub.api.peek(NODES, "", "node-a")
        assert dig(node, "status", "addresses", 0, "address") == "10.0.0.7"
        assert 58 <= hub.count("leases") <= 63
        assert hub.count("patch nodes/status") == 3

    run_virtually(main())


def test_a_change_is_told_at_once() -> None:
    async def main() -> None:
        hub = Hub()
        task = asyncio.create_task(hub.registration().run())
        await asyncio.sleep(5)
        hub.presence = replace(PRESENCE, doubt="another cluster")
        await asyncio.sleep(11)
        task.cancel()
        await asyncio.wait([task])

        found = dig(hub.api.peek(NODES, "", "node-a"), "status", "conditions", default=[])
        assert next(c for c in found if c["type"] == "HubTrusted")["status"] == "False"

    run_virtually(main())


def test_a_clock_at_1970_that_jumps_back_and_forth_changes_no_rhythm() -> None:
    async def main() -> None:
        hub = Hub()
        hub.wall = datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
        task = asyncio.create_task(hub.registration().run())
        await asyncio.sleep(100)
        hub.wall = datetime(2040, 1, 1, tzinfo=UTC)
        await asyncio.sleep(100)
        hub.wall = NOW
        await asyncio.sleep(101)
        task.cancel()
        await asyncio.wait([task])

        assert 28 <= hub.count("leases") <= 33

    run_virtually(main())


def test_an_absent_hub_and_its_refusals_end_nothing() -> None:
    async def main() -> None:
        hub = Hub()
        hub.api.fail_next(ApiError(403, "Forbidden", "not yet"))
        hub.api.fail_next(ConnectionError("gone"))
        hub.api.fail_next(ApiError(409, "Conflict", "somebody was faster"), "patch")
        await for_a_while(hub.registration(), 30)

        assert dig(hub.api.peek(NODES, "", "node-a"), "status", "conditions")
        assert dig(hub.api.peek(LEASES, "kube-node-lease", "node-a"), "spec", "holderIdentity") == "node-a"

    run_virtually(main())


def test_a_node_that_was_deleted_registers_again() -> None:
    async def main() -> None:
        hub = Hub()
        registration = hub.registration()
        task = asyncio.create_task(registration.run())
        await asyncio.sleep(5)
        hub.api.erase(NODES, "", "node-a")
        registration.again()
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])

        assert dig(hub.api.peek(NODES, "", "node-a"), "status", "addresses")

    run_virtually(main())
