"""The hub's budgets: start, memory, and CPU per operation, with the load client in a process of its own.

`python -m bench hub --only get list`: the rows whose names contain one of the words; what they need is made without being measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from bench.hub_process import (
    CONFIGMAPS,
    CRD,
    CRD_NAME,
    CRDS,
    LEASES,
    PUMPS,
    Hub,
    a_hub,
    configmap,
    lease,
    patch,
    post,
    pump,
    put,
)
from bench.report import Report, Stopwatch, memory_mib, tree

OBJECTS = 5_000  # of each kind
WRITES, READS = 4_000, 20_000


class Rows:
    """What is measured of one hub; each method is a row, or a few that belong together, in this order."""

    def __init__(self, report: Report, hub: Hub, first_start_s: float) -> None:
        self.report, self.hub, self.first_start_s = report, hub, first_start_s

    def start_new(self) -> None:
        self.report.row("start to ready, new data folder", self.first_start_s, "s", note=f"CPU {self.hub.start_cpu_s:.2f} s")

    def idle(self) -> None:
        self.hub.idle(quiet_s=20)  # the worker that made the certificates has ended then
        resident, proportional = memory_mib([p.pid for p in tree(self.hub.pid)])
        self.report.row("resident, idle", resident, "MiB", 72, peer=292)
        self.report.row("proportional, idle", proportional, "MiB")

    def create(self) -> None:
        one = [post(CONFIGMAPS, configmap(i)) for i in range(500)]
        self._operations("create ConfigMap 1 KiB, 1 client", one, 1, rate=300, peer_rate=252)
        many = [post(CONFIGMAPS, configmap(i)) for i in range(500, OBJECTS)]
        self._operations("create ConfigMap 1 KiB, 32 clients", many, cpu_ms=0.35, rate=2_500, peer_cpu_ms=1.24, peer_rate=1_254)
        define(self.hub)
        pumps = [post(PUMPS, pump(i)) for i in range(OBJECTS)]
        self._operations("create custom resource 2 KB, 32 clients", pumps, cpu_ms=0.45, rate=2_000, peer_cpu_ms=1.91, peer_rate=913)
        resident = memory_mib([p.pid for p in tree(self.hub.pid)])[0]
        self.report.row("resident, after creating 5,000 + 5,000 objects", resident, "MiB", 160, peer=534)

    def get(self) -> None:
        steps = [{"method": "GET", "path": f"{CONFIGMAPS}/c-{i % OBJECTS}"} for i in range(READS)]
        self._operations("GET, 32 clients", steps, cpu_ms=0.09, rate=10_000, peer_cpu_ms=0.74, peer_rate=1_955)

    def patch_configmap(self) -> None:
        steps = [patch(f"{CONFIGMAPS}/c-{i}", {"data": {"more": str(i)}}) for i in range(WRITES)]
        self._operations("merge patch ConfigMap, 32 clients", steps, cpu_ms=0.40, rate=2_200, peer_cpu_ms=1.51, peer_rate=1_155)

    def patch_custom(self) -> None:
        steps = [patch(f"{PUMPS}/p-{i}", {"spec": {"speed": i + 1}}) for i in range(WRITES)]
        self._operations("merge patch custom resource, 32 clients", steps, cpu_ms=0.50, rate=1_800, peer_cpu_ms=2.44, peer_rate=721)

    def status(self) -> None:
        found = self.hub.ask("GET", PUMPS)["items"][:WRITES]
        steps = [put(f"{PUMPS}/{p['metadata']['name']}/status", {**p, "status": {"speed": 1, "note": "turns"}}) for p in found]
        self._operations("PUT status of a custom resource, 32 clients", steps, cpu_ms=0.45, rate=2_000, peer_cpu_ms=3.01, peer_rate=567)

    def lease(self) -> None:
        self.hub.load([post(LEASES, lease(i)) for i in range(WRITES)], 32)
        found = [x for x in self.hub.ask("GET", LEASES)["items"] if x["metadata"]["name"].startswith("l-")]
        steps = [put(f"{LEASES}/{x['metadata']['name']}", renewed(x)) for x in found]
        self._operations("Lease renewal (PUT), 32 clients", steps, cpu_ms=0.25, rate=3_500, peer_cpu_ms=1.38, peer_rate=1_150)

    def list_whole(self) -> None:
        told = self.hub.load([{"method": "GET", "path": PUMPS}] * 10, 1)
        note = f"hub CPU {told['hub_cpu_s'] / 10 * 1e3:.1f} ms, client CPU {told['cpu_s'] / 10 * 1e3:.1f} ms"
        self.report.row("LIST of 5,000 custom resources, 10 MB, median", told["p50_ms"], "ms", 40, peer=348, note=note)

    def list_pages(self) -> None:
        steps = [{"method": "GET", "path": f"{PUMPS}?limit=500", "pages": True}] * 5
        told = self.hub.load(steps, 1)
        note = f"hub CPU {told['hub_cpu_s'] / 5 * 1e3:.1f} ms, client CPU {told['cpu_s'] / 5 * 1e3:.1f} ms"
        self.report.row("LIST of 5,000 in pages of 500, mean", told["seconds"] / 5 * 1e3, "ms", 120, peer=1_392, note=note)

    def delete_collection(self) -> None:
        watch = Stopwatch(self.hub.pid)
        told = self.hub.load([{"method": "DELETE", "path": PUMPS}], 1)
        wrong = "" if told["statuses"] == {"200": 1} else f", NOT 200: {told['statuses']}"
        note = f"hub CPU {watch.read()[1]:.2f} s{wrong}"
        self.report.row("DELETE of a collection of 5,000", told["p50_ms"] / 1e3, "s", 1.5, peer=12.8, note=note)

    def loaded(self) -> None:
        resident = memory_mib([p.pid for p in tree(self.hub.pid)])[0]
        self.report.row("resident, after the whole load", resident, "MiB", 200, peer=1_087)

    def restart(self) -> None:
        """Fill up to 10,000 and to 50,000 objects, and start on them."""
        for total in (10_000, 50_000):
            fill(self.hub, total)
            self.hub.stop()
            os.sync()
            seconds = self.hub.start()
            budget, peer = (1.0, 2.3) if total == 10_000 else (None, None)
            self.report.row(
                f"start to ready, store of {total:,} objects", seconds, "s", budget, peer=peer, note=f"CPU {self.hub.start_cpu_s:.2f} s"
            )
            self.hub.idle()
            resident = memory_mib([p.pid for p in tree(self.hub.pid)])[0]
            self.report.row(f"resident then, {total:,} objects", resident, "MiB")

    def _operations(
        self,
        what: str,
        steps: Sequence[dict[str, Any]],
        clients: int = 32,
        *,
        rate: float,
        peer_rate: float,
        cpu_ms: float | None = None,
        peer_cpu_ms: float | None = None,
    ) -> None:
        """Send the steps; CPU of the hub per operation is the figure, the rate follows from it."""
        told, count = self.hub.load(list(steps), clients), len(steps)
        wrong = {status: n for status, n in told["statuses"].items() if not status.startswith("2")}
        note = f"client CPU {told['cpu_s'] / count * 1e3:.3f} ms, p99 {told['p99_ms']:.1f} ms" + (f", NOT 2xx: {wrong}" if wrong else "")
        self.report.row(f"{what}: hub CPU", told["hub_cpu_s"] / count * 1e3, "ms/op", cpu_ms, peer=peer_cpu_ms)
        self.report.row(f"{what}: rate", count / told["seconds"], "/s", rate, more_is_better=True, peer=peer_rate, note=note)


def renewed(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "spec": {**found["spec"], "renewTime": "2026-11-23T00:00:10.000000Z"}}


def define(hub: Hub) -> None:
    """Make the custom kind, and wait until it is served."""
    hub.ask("POST", CRDS, CRD)
    while hub.ask("GET", PUMPS).get("kind") != "PumpList":
        pass


def fill(hub: Hub, total: int) -> None:
    """Bring the hub to *total* objects, half of them ConfigMaps of 1 KiB and half custom resources of 2 KB; none is measured."""
    if hub.ask("GET", f"{CRDS}/{CRD_NAME}").get("code") == 404:
        define(hub)
    for path, make in ((CONFIGMAPS, configmap), (PUMPS, pump)):
        have = {x["metadata"]["name"] for x in hub.ask("GET", path)["items"]}
        wanted = [make(i) for i in range(total // 2)]
        steps = [post(path, x) for x in wanted if x["metadata"]["name"] not in have]
        for start in range(0, len(steps), 5_000):
            hub.load(steps[start : start + 5_000], 32)


ROWS: Sequence[Callable[[Rows], None]] = (
    Rows.start_new,
    Rows.idle,
    Rows.create,
    Rows.get,
    Rows.patch_configmap,
    Rows.patch_custom,
    Rows.status,
    Rows.lease,
    Rows.list_whole,
    Rows.list_pages,
    Rows.loaded,
    Rows.delete_collection,
    Rows.restart,
)
_NEED_OBJECTS = frozenset(ROWS[3:12])


def main(only: Sequence[str] = ()) -> list[Report]:
    report = Report("Hub")
    chosen = [row for row in ROWS if not only or any(word in row.__name__ for word in only)]
    with a_hub() as (hub, first):
        if only and Rows.create not in chosen and _NEED_OBJECTS.intersection(chosen):
            fill(hub, 2 * OBJECTS)
        for row in chosen:
            row(Rows(report, hub, first))
    return [report]
