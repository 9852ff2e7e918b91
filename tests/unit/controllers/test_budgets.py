"""How many Pods a PodDisruptionBudget lets go."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from skerry.controllers.disruption.budget_plan import desired_healthy, status
from skerry.controllers.disruption.budgets import Budgets
from skerry.model.objects import Object
from skerry.model.resources import PODDISRUPTIONBUDGETS, PODS, REPLICASETS
from tests.unit.controllers.world import SPACE, World, a_pod, a_replicaset, virtually

NOW = datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)


def a_budget(status: Object | None = None, **spec: Any) -> Object:
    meta = {"namespace": SPACE, "name": "pdb", "generation": 2}
    return {"metadata": meta, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}, "status": status or {}}


def pods(ready: int, unready: int = 0) -> list[Object]:
    def one(i: int) -> Object:
        return {
            "metadata": {"namespace": SPACE, "name": f"p{i}"},
            "status": {"conditions": [{"type": "Ready", "status": str(i < ready)}]},
        }

    return [one(i) for i in range(ready + unready)]


@pytest.mark.parametrize(
    ("spec", "expected", "desired"),
    [
        ({"minAvailable": 2}, 3, 2),
        ({"minAvailable": "50%"}, 3, 2),
        ({"minAvailable": "100%"}, 3, 3),
        ({"maxUnavailable": 1}, 3, 2),
        ({"maxUnavailable": "30%"}, 10, 7),
        ({"maxUnavailable": "1%"}, 3, 2),
        ({"maxUnavailable": 5}, 3, 0),
        ({}, 3, 0),
    ],
)
def test_percentages_are_rounded_up(spec: dict[str, Any], expected: int, desired: int) -> None:
    assert desired_healthy(a_budget(**spec), expected) == desired


@pytest.mark.parametrize(
    ("ready", "unready", "allowed", "reason"),
    [(3, 0, 1, "SufficientPods"), (2, 1, 0, "InsufficientPods"), (1, 0, 0, "InsufficientPods"), (0, 0, 0, "InsufficientPods")],
)
def test_what_is_over_may_go(ready: int, unready: int, allowed: int, reason: str) -> None:
    found, _ = status(a_budget(minAvailable=2), pods(ready, unready), ready + unready, NOW)

    assert (found["disruptionsAllowed"], found["currentHealthy"], found["conditions"][0]["reason"]) == (allowed, ready, reason)
    assert found["observedGeneration"] == 2


def test_a_pod_whose_eviction_was_granted_is_not_counted_until_it_is_late() -> None:
    granted = {"disruptedPods": {"p0": "2026-01-05T09:59:00Z", "p1": "2026-01-05T09:57:00Z", "gone": "2026-01-05T09:59:59Z"}}
    found, again_s = status(a_budget(granted, minAvailable=1), pods(3), 3, NOW)

    assert (found["currentHealthy"], found["disruptedPods"], again_s) == (2, {"p0": "2026-01-05T09:59:00Z"}, 60.0)


@virtually
async def test_what_is_wanted_is_asked_of_the_pods_controllers(world: World) -> None:
    controller = Budgets(world.api, world.informers, world.now).controller
    async with world.running(controller.run, world.kubelet):
        made = await world.api.create(REPLICASETS, a_replicaset("web", 4))
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": made["metadata"]["uid"], "controller": True}
        for i in range(3):
            pod = a_pod(f"p{i}", labels={"app": "web"})
            pod["metadata"]["ownerReferences"] = [owner]
            await world.api.create(PODS, pod)
        await world.api.create(PODDISRUPTIONBUDGETS, a_budget(maxUnavailable="25%"))
        await asyncio.sleep(10)

    budget = world.api.peek(PODDISRUPTIONBUDGETS, SPACE, "pdb")
    assert budget is not None
    found = budget["status"]
    assert [found[k] for k in ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")] == [4, 3, 3, 0]
