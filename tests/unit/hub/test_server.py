"""The hub put together, in this process: what it starts, what it leaves, and that half a hub is none."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from skerry.durable import StoreFailedError
from skerry.hub.server import Hub, HubError
from skerry.hub.settings import HubSettings
from skerry.kube import HttpApi
from skerry.kube.aio import AioTransport
from skerry.kube.kubeconfig import read_kubeconfig
from skerry.model.resources import ENROLLMENTS, NAMESPACES
from skerry.node.connection import HubLink
from skerry.node.identity import NodeSettings, StateFolder
from skerry.node.identity.hub_address import HubAddress, exchange
from skerry.node.identity.joining import RefusedError, ask, fetch_ca, read_answer
from skerry.trust import Workshop, facts_of_pem
from skerry.trust.authority import issue_node
from skerry.trust.tls import client_context
from tests.unit.frontdoor.stage import settle

pytestmark = pytest.mark.slow


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    running = await Hub.start(HubSettings(data=tmp_path / "hub", port=0))
    yield running
    await running.stop()
    await settle()


async def test_what_it_starts_answers_an_admin(hub: Hub) -> None:
    async with AioTransport(read_kubeconfig(hub.kubeconfig)) as transport:
        api = HttpApi(transport)

        names = [n["metadata"]["name"] for n in (await api.list(NAMESPACES)).items]
        enrollments = await api.list(ENROLLMENTS)

    assert {"default", "kube-system", "skerry-system"} <= set(names)
    assert enrollments.items == []


async def test_it_lists_its_listeners(hub: Hub) -> None:
    listeners = hub.listeners()

    assert [x["address"] for x in listeners] == [hub.url.removeprefix("https://")]


@pytest.mark.parametrize("which", ["objects", "events"])
async def test_a_disk_that_failed_ends_the_hub(hub: Hub, which: str) -> None:
    writer = hub.server.store._writer if which == "objects" else hub.event_log._writer

    def fails(db: apsw.Connection) -> None:
        raise apsw.IOError("fsync")

    with pytest.raises(StoreFailedError):
        await writer.write(fails)

    with pytest.raises(HubError, match="fsync"):
        await asyncio.wait_for(hub.wait_failed(), 60)


async def test_a_part_that_breaks_takes_the_hub_with_it(hub: Hub) -> None:
    async def breaks() -> None:
        raise RuntimeError("a part broke")

    hub._run("part", breaks())

    with pytest.raises(HubError, match="part failed"):
        await asyncio.wait_for(hub.wait_failed(), 60)


async def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    first = await Hub.start(HubSettings(data=tmp_path / "a", port=0))
    taken = int(first.url.rpartition(":")[2])

    with pytest.raises(OSError, match="in use"):
        await Hub.start(HubSettings(data=tmp_path / "b", port=taken))
    await first.stop()
    again = await Hub.start(HubSettings(data=tmp_path / "b", port=0))
    await again.stop()
    await settle()


async def test_a_node_that_lost_its_certificate_asks_again_with_its_key(hub: Hub, tmp_path: Path) -> None:
    folder, workshop = StateFolder(tmp_path / "node"), Workshop()
    folder.prepare()
    settings = NodeSettings(name="node-a", hub=hub.url)
    ca = await fetch_ca(HubAddress.parse(hub.url), hub.pki.ca_hash())
    assert (await ask(folder, settings, ca, workshop)).phase == "Pending"
    name = (await hub.api.list(ENROLLMENTS)).items[0]["metadata"]["name"]
    await hub.api.patch(ENROLLMENTS, "", name, {"spec": {"decision": "Approved"}})

    first = await ask(folder, settings, ca, workshop)
    folder.certificate.unlink()
    second = await ask(folder, settings, ca, workshop)

    assert first.certificate == second.certificate == folder.certificate.read_text()
    await workshop.close()


async def test_a_hub_under_another_hash_is_refused_before_anything_is_said(hub: Hub) -> None:
    with pytest.raises(RefusedError, match="not the hub that the token is for"):
        await fetch_ca(HubAddress.parse(hub.url), "ab" * 32)


async def test_a_node_over_http_1_is_that_node_until_its_key_is_denied(hub: Hub, tmp_path: Path) -> None:
    folder, workshop = StateFolder(tmp_path / "node"), Workshop()
    folder.prepare()
    settings = NodeSettings(name="node-a", hub=hub.url)
    await ask(folder, settings, hub.pki.ca_pem(), workshop)
    name = (await hub.api.list(ENROLLMENTS)).items[0]["metadata"]["name"]
    await hub.api.patch(ENROLLMENTS, "", name, {"spec": {"decision": "Approved"}})
    await ask(folder, settings, hub.pki.ca_pem(), workshop)
    context = client_context(hub.pki.ca_pem(), certificate=folder.certificate, key=folder.key)
    reader, writer = await _connect(hub, context)
    own = await exchange(HubAddress.parse(hub.url), context, "GET", "/api/v1/nodes/node-a")
    others = await exchange(HubAddress.parse(hub.url), context, "GET", "/api/v1/nodes/node-b")

    await hub.api.patch(ENROLLMENTS, "", name, {"spec": {"decision": "Denied"}})
    left = await asyncio.wait_for(reader.read(), 60)
    try:
        after = (await exchange(HubAddress.parse(hub.url), context, "GET", "/api/v1/nodes/node-a")).status
    except ConnectionError:
        after = 403  # closed before it was answered: the sweep of the denied key's connections came first

    assert (own.status, others.status) == (404, 403)  # it may ask for its own Node, which is not there yet
    assert left == b""  # the idle connection was closed
    assert after in (401, 403)
    writer.transport.abort()
    await workshop.close()


async def test_a_certificate_that_lapsed_during_an_outage_is_renewed_without_a_visit(hub: Hub, tmp_path: Path) -> None:
    """F29: the key proves who we are; the hub refuses the old certificate in the handshake."""
    folder, workshop = StateFolder(tmp_path / "node"), Workshop()
    folder.prepare()
    settings = NodeSettings(name="node-a", hub=hub.url)
    folder.save_settings(settings)
    folder.save_ca(hub.pki.ca_pem())
    await ask(folder, settings, hub.pki.ca_pem(), workshop)
    name = (await hub.api.list(ENROLLMENTS)).items[0]["metadata"]["name"]
    await hub.api.patch(ENROLLMENTS, "", name, {"spec": {"decision": "Approved"}})
    request, _ = await workshop.make_node_key(folder.key, "node-a")
    long_ago = datetime.now(UTC) - timedelta(days=700)
    lapsed = issue_node(hub.pki.ca_key.read_text(), hub.pki.ca_pem(), request, "node-a", long_ago)
    folder.save_certificate(lapsed)

    link = HubLink(folder, folder.load(), workshop)
    running = asyncio.create_task(link.run())
    await asyncio.wait_for(link.wait_connected(), 60)

    assert facts_of_pem(folder.certificate.read_text()).not_after > datetime.now(UTC)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await workshop.close()


async def test_a_node_cannot_ask_in_the_name_of_somebody_else(hub: Hub, tmp_path: Path) -> None:
    folder, workshop = StateFolder(tmp_path / "node"), Workshop()
    folder.prepare()
    folder.save_settings(NodeSettings(name="node-a", hub=hub.url))
    folder.save_ca(hub.pki.ca_pem())
    await ask(folder, folder.load_settings(), hub.pki.ca_pem(), workshop)
    name = (await hub.api.list(ENROLLMENTS)).items[0]["metadata"]["name"]
    await hub.api.patch(ENROLLMENTS, "", name, {"spec": {"decision": "Approved"}})
    await ask(folder, folder.load_settings(), hub.pki.ca_pem(), workshop)
    link = HubLink(folder, folder.load(), workshop)
    running = asyncio.create_task(link.run())
    await asyncio.wait_for(link.wait_connected(), 60)

    for claim in ({}, {"impersonate-user": "skerry-admin", "impersonate-group": "system:masters"}, {"authorization": "Bearer x"}):
        assert (await link.request("GET", "/api/v1/namespaces/kube-system/secrets", headers=claim)).status == 403

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await workshop.close()


async def test_a_node_whose_clock_runs_behind_renews_when_the_hub_refuses_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F26: at 1970 nothing seems due, so the hub's refusal must be enough."""
    monkeypatch.setattr("skerry.node.connection.hub_link.renewal_due", lambda *_: False)
    await test_a_certificate_that_lapsed_during_an_outage_is_renewed_without_a_visit(hub, tmp_path)


async def _connect(hub: Hub, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = HubAddress.parse(hub.url)
    return await asyncio.open_connection(address.host, address.port, ssl=context, server_hostname=address.host)


async def test_a_stranger_may_ask_for_health_and_enrollment_only(hub: Hub) -> None:
    context, address = client_context(hub.pki.ca_pem()), HubAddress.parse(hub.url)
    statuses = {}
    for path in ("/healthz", "/enroll/ca", "/api", "/api/v1/nodes", "/skerry/events", "/skerry/link/control", "/console/api/overview"):
        statuses[path] = (await exchange(address, context, "GET", path)).status

    assert (statuses["/healthz"], statuses["/enroll/ca"]) == (200, 200)
    assert {s for p, s in statuses.items() if p not in ("/healthz", "/enroll/ca")} <= {401, 403, 404}


async def test_an_answer_that_is_not_the_hubs_is_no_refusal(hub: Hub) -> None:
    reply = await exchange(HubAddress.parse(hub.url), client_context(hub.pki.ca_pem()), "GET", "/enroll/ca")

    with pytest.raises(ConnectionError):
        read_answer(reply)
    assert facts_of_pem(reply.body.decode()).common_name.startswith("skerry hub CA")
