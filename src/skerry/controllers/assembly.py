"""Puts the controllers together: which run, on what they share, and under whose eyes.

A controller that breaks is started again after a pause, alone: the others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any

import msgspec

from skerry.controllers.informers import Informers
from skerry.kube import Backoff, ClusterApi

log = logging.getLogger(__name__)

Run = Callable[[], Coroutine[Any, Any, None]]

RESTART = Backoff(first_s=1.0, limit_s=60.0)


class Settings(msgspec.Struct, frozen=True):
    """What the hub decides about its controllers."""

    ca_pem: str = ""
    """Goes into `kube-root-ca.crt` of each namespace; "" writes none."""
    node_grace_s: float = 40.0
    """How long a node may be silent before it turns NotReady; Kubernetes' default."""
    events_ttl_s: float = 3600.0
    """How long an Event is kept; Kubernetes' default."""
    workloads: bool = True
    """Whether Kubernetes' own controllers run: with the embedded API. A real cluster has them already."""


class Controllers(msgspec.Struct):
    """Everything that runs; `await run()` until cancelled."""

    informers: Informers
    runs: Mapping[str, Run] = msgspec.field(default_factory=dict)

    async def run(self) -> None:
        """Follow and reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.informers.run())
            for name, run in self.runs.items():
                group.create_task(self._keep_running(name, run), name=f"controller {name}")

    async def wait_synced(self) -> None:
        """Return once all that the controllers look at is known."""
        await self.informers.wait_synced()

    async def _keep_running(self, name: str, run: Run) -> None:
        # A controller that acts on half of the truth creates what exists already: first everything is listed.
        await self.informers.wait_synced()
        attempt = 0
        while True:
            try:
                await run()
            except Exception:
                log.exception("controller broke", extra={"controller": name, "attempt": attempt})
            await asyncio.sleep(RESTART.delay_s(attempt))
            attempt += 1


def start_all(api: ClusterApi, settings: Settings, now: Callable[[], datetime]) -> Controllers:
    """Return the controllers, ready to run; nothing happens before `run`."""
    informers = Informers(api)
    runs: dict[str, Run] = {}
    if settings.workloads:
        runs |= _workloads(api, informers, settings, now)
    runs |= _fleet(api, informers, now)
    return Controllers(informers, runs)


def _workloads(api: ClusterApi, informers: Informers, settings: Settings, now: Callable[[], datetime]) -> dict[str, Run]:
    from skerry.controllers.cluster import cluster_runs
    from skerry.controllers.volumes.placing import VolumePlacer
    from skerry.controllers.volumes.told import PlacedPods
    from skerry.controllers.workloads.autoscalers import Autoscalers
    from skerry.controllers.workloads.daemonset import DaemonSets
    from skerry.controllers.workloads.deployment import Deployments
    from skerry.controllers.workloads.expiry import EventExpiry
    from skerry.controllers.workloads.garbage import GarbageCollector
    from skerry.controllers.workloads.jobs.cronjob import CronJobs
    from skerry.controllers.workloads.jobs.job import Jobs
    from skerry.controllers.workloads.jobs.ttl import JobExpiry
    from skerry.controllers.workloads.namespaces import NamespaceDefaults, NamespacePurge
    from skerry.controllers.workloads.nodelife import NodeLifecycle, OrphanedPods
    from skerry.controllers.workloads.pod_garbage import EndedPods
    from skerry.controllers.workloads.replicaset import ReplicaSets, replication_controllers
    from skerry.controllers.workloads.scheduler import Scheduler
    from skerry.controllers.workloads.statefulsets.statefulset import StatefulSets

    placer = VolumePlacer(api, informers)
    return {
        "deployments": Deployments(api, informers, now).controller.run,
        "daemonsets": DaemonSets(api, informers, now).controller.run,
        "replicationcontrollers": replication_controllers(api, informers, now).controller.run,
        "autoscalers": Autoscalers(api, informers, now).controller.run,
        "ended-pods": EndedPods(api, informers).controller.run,
        "statefulsets": StatefulSets(api, informers, now).controller.run,
        "jobs": Jobs(api, informers, now).run,
        "cronjobs": CronJobs(api, informers, now).controller.run,
        "job-expiry": JobExpiry(api, informers, now).controller.run,
        "replicasets": ReplicaSets(api, informers, now).controller.run,
        "scheduler": Scheduler(api, informers, now, placer).controller.run,
        "placed-pods": PlacedPods(api, informers, placer).controller.run,
        **cluster_runs(api, informers, now),
        "garbage": GarbageCollector(api, now).run,
        "namespaces": NamespacePurge(api, informers, now).controller.run,
        "namespace-defaults": NamespaceDefaults(api, informers, ca_pem=settings.ca_pem).run,
        "nodes": NodeLifecycle(api, informers, now, grace_s=settings.node_grace_s).run,
        "orphaned-pods": OrphanedPods(api, informers, now).controller.run,
        "events": EventExpiry(api, now, ttl_s=settings.events_ttl_s).run,
    }


def _fleet(api: ClusterApi, informers: Informers, now: Callable[[], datetime]) -> dict[str, Run]:
    from skerry.controllers.fleet.devices import Devices
    from skerry.controllers.fleet.eventing import Brokers, Triggers
    from skerry.controllers.fleet.sites import Sites

    return {
        "sites": Sites(api, informers, now).controller.run,
        "devices": Devices(api, informers, now).controller.run,
        "brokers": Brokers(api, informers, now).controller.run,
        "triggers": Triggers(api, informers, now).controller.run,
    }
