"""Addresses and node ports: given once, kept, let go; dry runs and refused writes hold nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.apiserver.http.message import User
from skerry.apiserver.local import LocalApi
from skerry.apiserver.registry.create import create
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.server import ApiServer
from skerry.apiserver.services.advertise import advertise
from skerry.apiserver.services.pools import FullError, Pool, address_at, address_pool, offset_of, port_pool
from skerry.model.errors import ApiError
from skerry.model.objects import Object
from skerry.model.resources import ENDPOINTS, ENDPOINTSLICES, SERVICES

ADMIN = User("admin", ("system:masters",))


@given(st.integers(1, 300), st.integers(0, 300), st.integers())
def test_a_pool_gives_everything_once_and_then_says_that_it_is_full(size: int, reserved: int, seed: int) -> None:
    pool, chance, taken = Pool(size, min(reserved, size)), random.Random(seed), set[int]()

    for _ in range(size):
        offset = pool.draw(taken, chance)
        assert offset not in taken
        taken.add(offset)

    assert taken == set(range(size))
    with pytest.raises(FullError):
        pool.draw(taken, chance)


def test_the_lower_part_of_a_range_is_left_to_those_who_ask_by_name() -> None:
    pool = address_pool(IPv4Network("10.96.0.0/16"))
    drawn = {pool.draw((), random.Random(i)) for i in range(500)}

    assert (pool.size, pool.reserved, min(drawn) >= 256) == (65534, 256, True)
    assert (port_pool(30000, 32767).size, port_pool(30000, 32767).reserved) == (2768, 86)


@pytest.mark.parametrize("network", [IPv4Network("10.96.0.0/28"), IPv6Network("fd00:96::/112")])
def test_neither_the_first_nor_the_last_address_of_a_network_is_given(network: Any) -> None:
    assert address_at(network, 0) == str(network[1])
    assert offset_of(network, str(network[0])) is None
    assert offset_of(network, str(network[5])) == 4
    assert network.version == 6 or offset_of(network, str(network[-1])) is None


def a_service(name: str, **spec: Any) -> Object:
    return {"metadata": {"namespace": "default", "name": name}, "spec": {"ports": [{"port": 80}], **spec}}


@asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[tuple[ApiServer, LocalApi]]:
    server = await ApiServer.open(folder / "hub.sqlite")
    try:
        yield server, LocalApi(server.registry)
    finally:
        await server.close()


def _twice(services: list[Object]) -> list[Any]:
    """Return addresses and node ports that two Services have; a runner of its own, which asks nobody but the Services."""
    seen: dict[Any, str] = {}
    found = []
    for service in services:
        spec, name = service["spec"], service["metadata"]["name"]
        ports = {p["nodePort"] for p in spec.get("ports", ()) if "nodePort" in p} | {spec.get("healthCheckNodePort")} - {None}
        holds = [*(a for a in spec.get("clusterIPs", ()) if a != "None"), *ports]
        found += [(held, name) for held in holds if seen.setdefault(held, name) != name]
    return found


async def test_two_hundred_at_once_get_addresses_and_ports_of_their_own(tmp_path: Path) -> None:
    async with _server(tmp_path) as (_, api):
        kinds = ("ClusterIP", "NodePort", "LoadBalancer")
        wanted = [a_service(f"s{i}", type=kinds[i % 3], ipFamilyPolicy="RequireDualStack") for i in range(200)]

        made = await asyncio.gather(*[api.create(SERVICES, s) for s in wanted])

        assert _twice(list(made)) == []
        assert all(len(s["spec"]["clusterIPs"]) == 2 for s in made)


async def test_what_is_asked_for_by_name_goes_to_one_only(tmp_path: Path) -> None:
    async with _server(tmp_path) as (_, api):
        wanted = [a_service(f"s{i}", clusterIP="10.96.7.7") for i in range(10)]
        answers = await asyncio.gather(*[api.create(SERVICES, s) for s in wanted], return_exceptions=True)
        refused = [a for a in answers if isinstance(a, ApiError)]

        assert len(refused) == 9
        why = 'spec.clusterIPs: Invalid value: []string{"10.96.7.7"}: failed to allocate IP 10.96.7.7: provided IP is already allocated'
        assert {e.code for e in refused} == {422}
        assert all(why in e.message for e in refused)


async def test_ports_are_refused_in_kubernetes_words(tmp_path: Path) -> None:
    async with _server(tmp_path) as (_, api):
        await api.create(SERVICES, a_service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))

        with pytest.raises(ApiError, match=r"spec.ports\[0\].nodePort: Invalid value: 30080: provided port is already allocated"):
            await api.create(SERVICES, a_service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
        with pytest.raises(ApiError, match=r"provided port is not in the valid range. The range of valid ports is 30000-32767"):
            await api.create(SERVICES, a_service("b", type="NodePort", ports=[{"port": 80, "nodePort": 80}]))


async def test_tcp_and_udp_of_one_number_share_a_node_port(tmp_path: Path) -> None:
    async with _server(tmp_path) as (_, api):
        ports = [{"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]
        made = await api.create(SERVICES, a_service("dns", type="NodePort", ports=ports))

        assert len({p["nodePort"] for p in made["spec"]["ports"]}) == 1


async def test_what_was_held_is_free_once_the_service_is_gone(tmp_path: Path) -> None:
    async with _server(tmp_path) as (_, api):
        await api.create(SERVICES, a_service("a", type="NodePort", clusterIP="10.96.7.7", ports=[{"port": 80, "nodePort": 30080}]))
        await api.patch(SERVICES, "default", "a", {"spec": {"type": "ClusterIP"}})
        await api.create(SERVICES, a_service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
        await api.delete(SERVICES, "default", "a")

        again = await api.create(SERVICES, a_service("c", clusterIP="10.96.7.7"))

        assert again["spec"]["clusterIPs"] == ["10.96.7.7"]


async def test_what_is_held_survives_a_restart(tmp_path: Path) -> None:
    async with _server(tmp_path) as (_, api):
        await api.create(SERVICES, a_service("a", clusterIP="10.96.7.7"))

    async with _server(tmp_path) as (_, api):
        with pytest.raises(ApiError, match="provided IP is already allocated"):
            await api.create(SERVICES, a_service("b", clusterIP="10.96.7.7"))


async def test_a_dry_run_and_a_refused_write_hold_nothing(tmp_path: Path) -> None:
    async with _server(tmp_path) as (server, api):
        kind = server.kinds.storage("services")
        assert kind is not None
        before = dict(server.addresses.addresses), dict(server.addresses.ports)

        wanted = {"apiVersion": "v1", "kind": "Service", **a_service("dry", type="NodePort")}
        answer = decode(await create(server.registry, kind, "default", wanted, WriteOptions(ADMIN, dry_run=True)))
        with pytest.raises(ApiError, match=r"spec.ports: Required value"):
            await api.create(SERVICES, a_service("bad", type="NodePort", ports=[]))

        assert answer["spec"]["clusterIP"].startswith("10.96.")
        assert (server.addresses.addresses, server.addresses.ports) == before


async def test_the_api_has_a_service_with_the_first_address(tmp_path: Path) -> None:
    async with _server(tmp_path) as (_, api):
        found = await api.get(SERVICES, "default", "kubernetes")

        assert found["spec"]["clusterIP"] == "10.96.0.1"


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ({}, {"type": "ExternalName", "externalName": "a.example"}, {"type": "ExternalName", "clusterIP": None, "ipFamilies": None}),
        ({"type": "NodePort"}, {"type": "ExternalName", "externalName": "a.example"}, {"clusterIPs": None, "externalTrafficPolicy": None}),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, {"type": "NodePort"}, {"healthCheckNodePort": None}),
        ({"ipFamilyPolicy": "RequireDualStack"}, {"ipFamilyPolicy": "SingleStack"}, {"ipFamilies": ["IPv4"]}),
        ({}, {"ipFamilyPolicy": "PreferDualStack"}, {"ipFamilies": ["IPv4", "IPv6"]}),
        (
            {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
            {},
            {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]},
        ),
    ],
)
async def test_a_change_of_type_drops_what_the_new_type_has_no_use_for(
    before: dict[str, Any], patch: dict[str, Any], after: dict[str, Any], tmp_path: Path
) -> None:
    async with _server(tmp_path) as (_, api):
        await api.create(SERVICES, a_service("a", **before))
        spec = (await api.patch(SERVICES, "default", "a", {"spec": patch}))["spec"]

        assert {k: spec.get(k) for k in after} == after


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(("create", "delete", "retype", "families")),
        st.integers(0, 5),
        st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer")),
        st.sampled_from((None, 30001, 30002)),
        st.sampled_from((None, "10.96.3.1", "10.96.3.2")),
    ),
    max_size=25,
)


@settings(max_examples=15, deadline=None)
@given(_STEPS, st.integers(1, 4))
def test_no_interleaving_gives_anything_twice(steps: list[tuple[Any, ...]], at_once: int) -> None:
    import tempfile

    async def one(api: LocalApi, verb: str, number: int, kind: str, port: int | None, address: str | None) -> None:
        name = f"s{number}"
        try:
            if verb == "create":
                ports = [{"port": 80, **({"nodePort": port} if port and kind != "ClusterIP" else {})}]
                await api.create(SERVICES, a_service(name, type=kind, ports=ports, **({"clusterIP": address} if address else {})))
            elif verb == "delete":
                await api.delete(SERVICES, "default", name)
            elif verb == "retype":
                await api.patch(SERVICES, "default", name, {"spec": {"type": kind}})
            else:
                policy = "RequireDualStack" if port else "SingleStack"
                await api.patch(SERVICES, "default", name, {"spec": {"ipFamilyPolicy": policy}})
        except ApiError as error:
            if error.code not in (404, 409, 422):
                raise

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with _server(Path(folder)) as (server, api):
                for start in range(0, len(steps), at_once):
                    await asyncio.gather(*[one(api, *step) for step in steps[start : start + at_once]])
                    found = list((await api.list(SERVICES)).items)
                    assert _twice(found) == []
                held = {a for s in found for a in s["spec"]["clusterIPs"]} if steps else set()
                assert not steps or set(server.addresses.addresses) == held

    asyncio.run(main())


async def test_the_hub_says_where_it_can_be_reached(tmp_path: Path) -> None:
    async with _server(tmp_path) as (server, api):
        for port in (6443, 7443):
            await advertise(server.registry, ["hub.example", "127.0.0.1", "::1", "192.0.2.7"], port)

        endpoints, found = await api.get(ENDPOINTS, "default", "kubernetes"), await api.get(ENDPOINTSLICES, "default", "kubernetes")

        assert endpoints["subsets"] == [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"name": "https", "port": 7443, "protocol": "TCP"}]}]
        assert [e["addresses"] for e in found["endpoints"]] == [["192.0.2.7"]]
