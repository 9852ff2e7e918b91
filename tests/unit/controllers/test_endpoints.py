"""EndpointSlices and Endpoints: who stands behind a Service, and how little is written when that changes."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skerry.controllers.network.backends import backends
from skerry.controllers.network.endpoints import Endpoints
from skerry.controllers.network.endpoints_plan import endpoints_of, is_mirrored, mirrored
from skerry.controllers.network.slices_plan import MAX_ENDPOINTS, Create, Delete, Replace, plan, service_labels, wanted
from skerry.model.objects import Object, labels_of, name_of
from skerry.model.resources import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES
from tests.unit.controllers.world import SPACE, World, virtually


def a_service(name: str = "web", *, selector: dict[str, str] | None = None, **spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    found = {"selector": {"app": "web"} if selector is None else selector, "ports": ports, "ipFamilies": ["IPv4"], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": SPACE, "name": name, "uid": "s-uid"}, "spec": found}


def a_backend(name: str, ip: str = "10.0.0.1", *, ready: bool = True, port: int = 8080, going: bool = False, **spec: Any) -> Object:
    meta: Object = {"namespace": SPACE, "name": name, "uid": f"uid-{name}", "labels": {"app": "web"}}
    if going:
        meta["deletionTimestamp"] = "2026-01-05T10:00:00Z"
    containers = [{"name": "main", "ports": [{"name": "http", "containerPort": port}]}]
    status = {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    return {"metadata": meta, "spec": {"nodeName": "n1", "containers": containers, **spec}, "status": status}


def _conditions(service: Object, pod: Object) -> dict[str, bool]:
    steps = plan(service, {}, [wanted("IPv4", backends(service, [pod], "IPv4", {}))], [])
    assert isinstance(steps[0], Create)
    found: dict[str, bool] = steps[0].slice["endpoints"][0]["conditions"]
    return found


def test_ready_is_serving_and_not_terminating() -> None:
    service, always = a_service(), a_service(publishNotReadyAddresses=True)

    assert _conditions(service, a_backend("a")) == {"ready": True, "serving": True, "terminating": False}
    assert _conditions(service, a_backend("a", ready=False)) == {"ready": False, "serving": False, "terminating": False}
    assert _conditions(service, a_backend("a", going=True)) == {"ready": False, "serving": True, "terminating": True}
    assert _conditions(always, a_backend("a", ready=False)) == {"ready": True, "serving": False, "terminating": False}


def test_ended_pods_pods_without_an_address_and_strangers_stand_behind_nothing() -> None:
    ended = a_backend("ended")
    ended["status"]["phase"] = "Succeeded"
    stranger = a_backend("stranger")
    stranger["metadata"]["labels"] = {"app": "other"}

    assert backends(a_service(), [ended, stranger, a_backend("new", ip="")], "IPv4", {}) == []


def test_each_family_has_addresses_of_its_own() -> None:
    pod = a_backend("a")
    pod["status"]["podIPs"] = [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]

    assert [b.address for f in ("IPv4", "IPv6") for b in backends(a_service(), [pod], f, {})] == ["10.0.0.1", "fd00::1"]


def test_a_named_port_may_differ_between_pods() -> None:
    found = wanted("IPv4", backends(a_service(), [a_backend("a", port=1), a_backend("b", port=2)], "IPv4", {}))

    assert [p[0][1] for p in found.by_ports] == [1, 2]


def test_a_hostname_is_shown_in_its_own_subdomain_only() -> None:
    pods = [a_backend("a", hostname="h", subdomain="web"), a_backend("b", hostname="h", subdomain="other")]

    assert [b.hostname for b in backends(a_service(), pods, "IPv4", {"n1": "z"})] == ["h", ""]


def test_a_service_without_pods_has_an_empty_slice() -> None:
    steps = plan(a_service(), {}, [wanted("IPv4", [])], [])

    assert [type(s) for s in steps] == [Create]


_PODS = st.lists(st.tuples(st.integers(0, 240), st.booleans(), st.sampled_from((80, 81))), max_size=240, unique_by=lambda p: p[0])


@given(_PODS, _PODS)
def test_slices_hold_each_pod_once_and_are_never_too_long(before: Any, after: Any) -> None:
    service, present = a_service(), list[Object]()
    labels = service_labels(service)
    for turn, pods in enumerate((before, after)):
        found = [a_backend(f"p{n}", f"10.0.{n // 250}.{n % 250 + 1}", ready=ready, port=port) for n, ready, port in pods]
        want = [wanted("IPv4", backends(service, found, "IPv4", {}))]
        for i, step in enumerate(plan(service, labels, want, present)):
            match step:
                case Create(new):
                    present.append({**new, "metadata": {**new["metadata"], "name": f"{turn}-{i}"}})
                case Replace(new):
                    present = [new if name_of(s) == name_of(new) else s for s in present]
                case Delete(old):
                    present.remove(old)

        held = [e["targetRef"]["name"] for s in present for e in s["endpoints"]]
        assert sorted(held) == sorted(f"p{n}" for n, _, _ in pods)
        assert all(len(s["endpoints"]) <= MAX_ENDPOINTS for s in present)
        assert plan(service, labels, want, present) == []


def test_endpoints_tell_those_that_are_ready_from_the_others_and_leave_out_those_that_go() -> None:
    pods = [a_backend("a"), a_backend("b", "10.0.0.2", ready=False), a_backend("c", "10.0.0.3", going=True)]
    found = endpoints_of(a_service(), backends(a_service(), pods, "IPv4", {}), None)

    assert found is not None
    subset = found["subsets"][0]
    assert ([a["ip"] for a in subset["addresses"]], [a["ip"] for a in subset["notReadyAddresses"]]) == (["10.0.0.1"], ["10.0.0.2"])
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert endpoints_of(a_service(), backends(a_service(), pods, "IPv4", {}), found) is None


def test_hand_made_endpoints_of_a_service_without_a_selector_are_mirrored() -> None:
    made = {"metadata": {"namespace": SPACE, "name": "db"}, "subsets": [{"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 5432}]}]}

    assert is_mirrored(made, a_service("db", selector={}))
    assert not is_mirrored(made, a_service("db"))
    assert [(w.family, [e["addresses"] for es in w.by_ports.values() for e in es]) for w in mirrored(made)] == [("IPv6", [["fd00::1"]])]


@virtually
async def test_endpoints_follow_the_pods(world: World) -> None:
    controller = Endpoints(world.api, world.informers).controller
    async with world.running(controller.run):
        await world.api.create(SERVICES, a_service())
        pod = a_backend("a")
        await world.api.create(PODS, pod)
        await world.api.patch(PODS, SPACE, "a", {"status": pod["status"]}, subresource="status")
        await asyncio.sleep(1)
        assert _shown(world) == (["10.0.0.1"], ["10.0.0.1"])

        await world.api.patch(PODS, SPACE, "a", {"status": {"podIP": "10.0.0.9"}}, subresource="status")
        await asyncio.sleep(1)
        assert _shown(world) == (["10.0.0.9"], ["10.0.0.9"])

        await world.api.delete(SERVICES, SPACE, "web")
        await asyncio.sleep(1)
        assert _shown(world) == ([], [])


@virtually
async def test_what_is_made_by_hand_stays_and_is_mirrored(world: World) -> None:
    controller = Endpoints(world.api, world.informers).controller
    made = {"metadata": {"namespace": SPACE, "name": "db"}, "subsets": [{"addresses": [{"ip": "10.9.9.9"}], "ports": [{"port": 5432}]}]}
    async with world.running(controller.run):
        await world.api.create(ENDPOINTS, made)
        await asyncio.sleep(1)
        assert _shown(world) == (["10.9.9.9"], [])

        await world.api.create(SERVICES, a_service("db", selector={}))
        await asyncio.sleep(1)
        assert _shown(world) == (["10.9.9.9"], ["10.9.9.9"])
        assert labels_of(world.api.all(ENDPOINTSLICES)[0])["kubernetes.io/service-name"] == "db"


def _shown(world: World) -> tuple[list[str], list[str]]:
    """Return the addresses that Endpoints and EndpointSlices show."""
    old = [a["ip"] for e in world.api.all(ENDPOINTS) for s in e.get("subsets") or () for a in s.get("addresses") or ()]
    return old, [a for s in world.api.all(ENDPOINTSLICES) for e in s["endpoints"] for a in e["addresses"]]
