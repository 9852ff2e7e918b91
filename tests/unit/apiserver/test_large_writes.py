"""Writes of large objects, which others overtake while they are worked on beside the loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skerry.apiserver.http.message import Response
from skerry.apiserver.http.resources import Call
from skerry.apiserver.registry.beside import AT_ONCE, LARGE
from skerry.apiserver.registry.update import _Attempt
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap

NAMES = [f"large-{i}" for i in range(AT_ONCE + 1)]
SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture(autouse=True)
async def _default_namespace(ask: Asker) -> None:
    await ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})


def service(name: str, *, node_port: int = 0, **annotations: str) -> dict[str, Any]:
    ports = [{"port": 80, "nodePort": node_port}] if node_port else [{"port": 80}]
    spec = {"type": "NodePort" if node_port else "ClusterIP", "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations}, "spec": spec}


async def test_a_large_service_does_not_get_the_port_that_another_took_meanwhile(
    server: ApiServer, ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, large = await ask("POST", SERVICES, service("large", note="x" * LARGE))
    assert status == 201
    large["spec"] |= {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}
    run, others = server.registry.beside.run, []

    async def overtaken(work: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(work, "__name__", "") == "_require_valid":
            others.append(await ask("POST", SERVICES, service("small", node_port=30080)))
        return await run(work, *args, **kwargs)

    monkeypatch.setattr(server.registry.beside, "run", overtaken)

    status, refusal = await ask("PUT", f"{SERVICES}/large", large)

    assert [s for s, _ in others] == [201]
    assert status == 500
    assert "provided port is already allocated" in refusal["message"]


async def test_small_changes_of_large_objects_take_turns(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        await ask("POST", CONFIGMAPS, configmap(name, text="x" * LARGE))
    working = most = 0
    judge = _Attempt.judge_beside

    async def counted(attempt: _Attempt) -> Any:
        nonlocal working, most
        working += 1
        most = max(most, working)
        try:
            return await judge(attempt)
        finally:
            working -= 1

    monkeypatch.setattr(_Attempt, "judge_beside", counted)
    changes = [(name, {"metadata": {"labels": {f"l{i}": "x"}}}) for i in range(5) for name in NAMES]
    changes += [(NAMES[0], {"metadata": {"labels": {f"m{i}": "x"}}}) for i in range(15)]

    answers = await asyncio.gather(*[ask("PATCH", f"{CONFIGMAPS}/{name}", change, content_type=MERGE) for name, change in changes])

    assert {status for status, _ in answers} == {200}
    assert most == AT_ONCE
    assert [len((await ask("GET", f"{CONFIGMAPS}/{name}"))[1]["metadata"]["labels"]) for name in NAMES] == [20, 5, 5, 5, 5]


async def test_a_pod_that_takes_its_time_over_a_large_request_holds_up_nobody(server: ApiServer, ask: Asker) -> None:
    slow = asyncio.Event()

    async def proxied(_: Call) -> Response:
        await slow.wait()
        return Response(200)

    server.resources.add("pods", "proxy", proxied)
    body = b"x" * (LARGE + 1)
    uploads = [asyncio.create_task(ask("POST", "/api/v1/namespaces/default/pods/p/proxy/up", body)) for _ in range(AT_ONCE)]

    async with asyncio.timeout(60):
        status, _ = await ask("POST", CONFIGMAPS, configmap("large", text="x" * LARGE))

    assert status == 201
    slow.set()
    assert [status for status, _ in await asyncio.gather(*uploads)] == [200] * AT_ONCE
