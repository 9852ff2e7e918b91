"""Evictions: charged to the Pod's budget, once each, and refused in Kubernetes' words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.apiserver.asking import MERGE, Asker

NAMESPACE = "/api/v1/namespaces/default"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


async def _prepare(ask: Asker, *, pods: int = 3, ready: bool = True, **status: Any) -> None:
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
    assert (await ask("POST", BUDGETS, {"metadata": {"name": "pdb"}, "spec": spec}))[0] == 201
    found = {"observedGeneration": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3, "disruptionsAllowed": 1, **status}
    assert (await ask("PATCH", f"{BUDGETS}/pdb/status", {"status": found}, content_type=MERGE))[0] == 200
    for i in range(pods):
        pod = {"metadata": {"name": f"p{i}", "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        assert (await ask("POST", f"{NAMESPACE}/pods", pod))[0] == 201
        running = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
        assert (await ask("PATCH", f"{NAMESPACE}/pods/p{i}/status", {"status": running}, content_type=MERGE))[0] == 200


async def _evict(ask: Asker, name: str, **options: Any) -> tuple[int, Any]:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options}
    return await ask("POST", f"{NAMESPACE}/pods/{name}/eviction", body)


async def test_of_three_at_once_one_goes(ask: Asker) -> None:
    await _prepare(ask)

    answers = await asyncio.gather(*[_evict(ask, f"p{i}") for i in range(3)])

    assert sorted(code for code, _ in answers) == [201, 429, 429]
    refused = next(body for code, body in answers if code == 429)
    assert refused["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    why = "The disruption budget pdb needs 2 healthy pods and has 3 currently"
    assert refused["details"] == {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    status = (await ask("GET", f"{BUDGETS}/pdb"))[1]["status"]
    assert (status["disruptionsAllowed"], len(status["disruptedPods"]), status["conditions"][0]["reason"]) == (0, 1, "InsufficientPods")


async def test_a_dry_run_takes_nothing(ask: Asker) -> None:
    await _prepare(ask)

    code, _ = await _evict(ask, "p0", dryRun=["All"])

    assert code == 201
    assert (await ask("GET", f"{BUDGETS}/pdb"))[1]["status"]["disruptionsAllowed"] == 1
    assert (await ask("GET", f"{NAMESPACE}/pods/p0"))[0] == 200


async def test_a_budget_that_was_not_looked_at_yet_says_so(ask: Asker) -> None:
    await _prepare(ask, observedGeneration=0)

    code, body = await _evict(ask, "p0")

    assert (code, body["details"]["retryAfterSeconds"]) == (429, 10)
    assert body["details"]["causes"][0]["message"] == "The disruption budget pdb is still being processed by the server."


async def test_two_budgets_for_one_pod_are_an_error(ask: Asker) -> None:
    await _prepare(ask)
    await ask("POST", BUDGETS, {"metadata": {"name": "second"}, "spec": {"minAvailable": 1, "selector": {}}})

    code, body = await _evict(ask, "p0")

    assert (code, "more than one PodDisruptionBudget" in body["message"]) == (500, True)


@pytest.mark.parametrize(
    ("policy", "healthy", "code"), [(None, 3, 201), (None, 1, 429), ("AlwaysAllow", 1, 201), ("IfHealthyBudget", 2, 201)]
)
async def test_a_pod_that_is_not_healthy_may_go_when_the_others_are(ask: Asker, policy: str | None, healthy: int, code: int) -> None:
    await _prepare(ask, ready=False, disruptionsAllowed=0, currentHealthy=healthy)
    if policy:
        await ask("PATCH", f"{BUDGETS}/pdb", {"spec": {"unhealthyPodEvictionPolicy": policy}}, content_type=MERGE)
        await ask("PATCH", f"{BUDGETS}/pdb/status", {"status": {"observedGeneration": 2}}, content_type=MERGE)

    assert (await _evict(ask, "p0"))[0] == code


async def test_a_pod_that_never_ran_needs_no_budget(ask: Asker) -> None:
    await _prepare(ask, pods=0, disruptionsAllowed=0)
    pod = {"metadata": {"name": "new", "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await ask("POST", f"{NAMESPACE}/pods", pod)

    assert (await _evict(ask, "new"))[0] == 201
