"""ResourceQuotas: what counts, what is refused and how, and that nothing ever goes over."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.apiserver.local import LocalApi
from skerry.apiserver.quota.scopes import in_scope
from skerry.apiserver.quota.usage import usage
from skerry.apiserver.server import ApiServer
from skerry.model.errors import ApiError
from skerry.model.objects import Object
from skerry.model.resources import CONFIGMAPS, PODS, RESOURCEQUOTAS, SERVICES, Resource


def a_quota(name: str = "q", *, scopes: list[str] | None = None, **hard: str) -> Object:
    spec: Object = {"hard": {k.replace("__", "/").replace("_", "."): v for k, v in hard.items()}}
    if scopes:
        spec["scopes"] = scopes
    return {"metadata": {"namespace": "default", "name": name}, "spec": spec}


def a_pod(name: str, *, cpu: str = "", memory: str = "", **spec: Any) -> Object:
    asked = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v}
    containers = [{"name": "c", "image": "host.skerry.invalid/app", "resources": {"requests": asked} if asked else {}}]
    return {"metadata": {"namespace": "default", "name": name}, "spec": {"containers": containers, **spec}}


@asynccontextmanager
async def _api(folder: Path) -> AsyncIterator[tuple[ApiServer, LocalApi]]:
    server = await ApiServer.open(folder / "hub.sqlite")
    try:
        yield server, LocalApi(server.registry)
    finally:
        await server.close()


USES: list[tuple[str, Object, dict[str, str]]] = [
    ("pods", a_pod("p", cpu="500m"), {"pods": "1", "count/pods": "1", "cpu": "0.5", "requests.cpu": "0.5"}),
    ("pods", {**a_pod("p", cpu="1"), "status": {"phase": "Succeeded"}}, {"count/pods": "1"}),
    ("services", {"spec": {"type": "NodePort", "ports": [{}, {}]}}, {"services": "1", "count/services": "1", "services.nodeports": "2"}),
    (
        "services",
        {"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{}]}},
        {"services": "1", "count/services": "1", "services.loadbalancers": "1", "services.nodeports": "0"},
    ),
    (
        "persistentvolumeclaims",
        {"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Ki"}}}},
        {
            "persistentvolumeclaims": "1",
            "count/persistentvolumeclaims": "1",
            "requests.storage": "1024",
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
            "fast.storageclass.storage.k8s.io/requests.storage": "1024",
        },
    ),
    ("deployments.apps", {}, {"count/deployments.apps": "1"}),
    ("configmaps", {}, {"configmaps": "1", "count/configmaps": "1"}),
]


@pytest.mark.parametrize(("key", "obj", "wanted"), USES)
def test_what_an_object_uses(key: str, obj: Object, wanted: dict[str, str]) -> None:
    assert usage(key, obj) == {k: Decimal(v) for k, v in wanted.items()}


def test_scopes_speak_of_some_pods_only() -> None:
    best, bounded = a_pod("p"), a_pod("p", cpu="1", activeDeadlineSeconds=5)

    found = {
        scope: [in_scope(a_quota(scopes=[scope], pods="1"), "pods", p) for p in (best, bounded)]
        for scope in ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating")
    }

    assert found == {
        "BestEffort": [True, False],
        "NotBestEffort": [False, True],
        "Terminating": [False, True],
        "NotTerminating": [True, False],
    }
    assert not in_scope(a_quota(scopes=["BestEffort"], pods="1"), "configmaps", None)


async def test_what_exceeds_a_quota_is_refused_in_kubernetes_words(tmp_path: Path) -> None:
    async with _api(tmp_path) as (_, api):
        await api.create(RESOURCEQUOTAS, a_quota(requests_cpu="1", pods="5"))
        await api.create(PODS, a_pod("a", cpu="600m"))

        with pytest.raises(ApiError) as refused:
            await api.create(PODS, a_pod("b", cpu="500m"))
        with pytest.raises(ApiError) as silent:
            await api.create(PODS, a_pod("c"))

        why = "exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
        assert (refused.value.code, refused.value.message) == (403, f'pods "b" is forbidden: {why}')
        assert silent.value.message == 'pods "c" is forbidden: failed quota: q: must specify requests.cpu for: c'


async def test_the_status_tells_what_is_used(tmp_path: Path) -> None:
    async with _api(tmp_path) as (_, api):
        await api.create(CONFIGMAPS, {"metadata": {"namespace": "default", "name": "before"}, "data": {}})
        await api.create(RESOURCEQUOTAS, a_quota(configmaps="9", requests_memory="1Gi", services_nodeports="3"))
        await api.create(PODS, a_pod("a", memory="512Mi"))
        await api.create(
            SERVICES, {"metadata": {"namespace": "default", "name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
        )
        wanted = {"configmaps": "1", "requests.memory": "512Mi", "services.nodeports": "1"}

        async with asyncio.timeout(60):
            while (await api.get(RESOURCEQUOTAS, "default", "q")).get("status", {}).get("used") != wanted:
                await asyncio.sleep(0.02)


async def test_what_is_deleted_or_over_is_given_back(tmp_path: Path) -> None:
    async with _api(tmp_path) as (_, api):
        await api.create(RESOURCEQUOTAS, a_quota(pods="1", count__configmaps="1"))
        await api.create(PODS, a_pod("a"))
        await api.patch(PODS, "default", "a", {"status": {"phase": "Succeeded"}}, subresource="status")
        await api.create(PODS, a_pod("b"))
        await api.delete(PODS, "default", "b")
        await api.create(PODS, a_pod("c"))

        with pytest.raises(ApiError, match=r"exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"):
            await api.create(PODS, a_pod("d"))


async def test_many_at_once_never_go_over(tmp_path: Path) -> None:
    async with _api(tmp_path) as (_, api):
        await api.create(RESOURCEQUOTAS, a_quota(count__configmaps="7"))
        wanted = [{"metadata": {"namespace": "default", "name": f"c{i}"}} for i in range(50)]

        answers = await asyncio.gather(*[api.create(CONFIGMAPS, c) for c in wanted], return_exceptions=True)

        assert Counter(isinstance(a, ApiError) for a in answers) == {True: 43, False: 7}


async def test_a_quota_counts_what_waits_for_its_commit_when_it_comes(tmp_path: Path) -> None:
    async with _api(tmp_path) as (server, api):
        made = [api.create(CONFIGMAPS, {"metadata": {"namespace": "default", "name": f"c{i}"}}) for i in range(5)]
        await asyncio.gather(*made, api.create(RESOURCEQUOTAS, a_quota(configmaps="5")))

        assert server.ledger.used("default", "q") == {"configmaps": "5"}


async def test_the_account_survives_a_restart(tmp_path: Path) -> None:
    async with _api(tmp_path) as (_, api):
        await api.create(RESOURCEQUOTAS, a_quota(configmaps="1"))
        await api.create(CONFIGMAPS, {"metadata": {"namespace": "default", "name": "a"}})

    async with _api(tmp_path) as (_, api):
        with pytest.raises(ApiError, match="exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1"):
            await api.create(CONFIGMAPS, {"metadata": {"namespace": "default", "name": "b"}})


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(("pod", "unpod", "service", "retype", "unservice", "end", "shrink")),
        st.integers(0, 4),
        st.sampled_from(("100m", "400m", "1")),
    ),
    max_size=30,
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(_STEPS, st.integers(1, 5))
def test_no_interleaving_goes_over(steps: list[tuple[str, int, str]], at_once: int) -> None:
    async def one(api: LocalApi, verb: str, number: int, cpu: str) -> None:
        pod, service = f"p{number}", f"s{number}"
        kind = "NodePort" if number % 2 else "ClusterIP"
        body = {"metadata": {"namespace": "default", "name": service}, "spec": {"type": kind, "ports": [{"port": 80}]}}
        try:
            match verb:
                case "pod":
                    await api.create(PODS, a_pod(pod, cpu=cpu))
                case "unpod":
                    await api.delete(PODS, "default", pod)
                case "end":
                    await api.patch(PODS, "default", pod, {"status": {"phase": "Failed"}}, subresource="status")
                case "service":
                    await api.create(SERVICES, body)
                case "retype":
                    await api.patch(SERVICES, "default", service, {"spec": {"type": "NodePort"}})
                case "unservice":
                    await api.delete(SERVICES, "default", service)
        except ApiError as error:
            if error.code not in (403, 404, 409):
                raise

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with _api(Path(folder)) as (server, api):
                await api.create(RESOURCEQUOTAS, a_quota(requests_cpu="1", pods="3", services_nodeports="2"))
                for start in range(0, len(steps), at_once):
                    await asyncio.gather(*[one(api, *step) for step in steps[start : start + at_once]])
                    cpu, pods, ports = await _sums(api)
                    assert (cpu <= 1000, pods <= 3, ports <= 2) == (True, True, True)
                cpu, pods, ports = await _sums(api)
                used = server.ledger.used("default", "q")
                assert used is not None
                assert (used["pods"], used["services.nodeports"]) == (str(pods), str(ports))

    asyncio.run(main())


async def _sums(api: LocalApi) -> tuple[int, int, int]:
    """Return milli-CPUs and number of Pods that have not ended, and node ports; counted by this test alone."""
    living = [p for p in await _all(api, PODS) if p["status"]["phase"] not in ("Failed", "Succeeded")]
    texts = [p["spec"]["containers"][0]["resources"]["requests"]["cpu"] for p in living]
    cpu = sum(int(t[:-1]) if t.endswith("m") else 1000 * int(t) for t in texts)
    services = await _all(api, SERVICES)
    return cpu, len(living), sum("nodePort" in p for s in services for p in s["spec"]["ports"])


async def _all(api: LocalApi, resource: Resource) -> list[Object]:
    return list((await api.list(resource, "default")).items)
