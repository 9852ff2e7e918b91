"""HTTP over mutual TLS: who asks, what is too much, and what becomes of those who leave."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from skerry.apiserver.http import limits, openapi_documents, shell
from skerry.apiserver.http.message import User
from skerry.testing.apiserver import Running, running
from tests.unit.apiserver.asking import CONFIGMAPS, configmap


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as server:
        yield server


def trust(server: Running, *, user: str = "", group: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(server.kubeconfig.parent / "ca.pem"))
    if user:
        server.ca.issue_cert(common_name=user, organization_name=group).configure_cert(context)
    return context


async def ask(server: Running, context: ssl.SSLContext, method: str, path: str, **kwargs: Any) -> tuple[int, Any]:
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session, session.request(method, server.url + path, **kwargs) as response:
        body = await response.read()
        return response.status, json.loads(body) if body[:1] == b"{" else body


async def test_a_certificate_names_the_user_and_the_groups(server: Running) -> None:
    admin, bob, nobody = trust(server, user="root", group="system:masters"), trust(server, user="bob", group="team"), trust(server)

    answers = [await ask(server, c, "GET", "/api/v1/namespaces") for c in (admin, bob, nobody)]
    review = await ask(server, bob, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json={})

    assert [status for status, _ in answers] == [200, 403, 403]
    assert review[1]["status"]["userInfo"] == {"username": "bob", "groups": ["team", "system:authenticated"]}
    assert 'User "system:anonymous"' in answers[2][1]["message"]


async def test_a_nodes_certificate_is_under_the_node_rule_here_too(server: Running) -> None:
    node = trust(server, user="system:node:n1", group="system:nodes")

    assert (await ask(server, node, "GET", "/api/v1/secrets"))[0] == 403
    assert (await ask(server, node, "GET", "/api/v1/nodes?fieldSelector=metadata.name=n1"))[0] == 200


async def test_who_speaks_http_1_0_gets_long_answers_too(server: Running) -> None:
    context = trust(server, user="root", group="system:masters")
    await ask(server, context, "POST", "/api/v1/namespaces", json={"metadata": {"name": "default"}})
    await ask(server, context, "POST", CONFIGMAPS, json=configmap("long", text="x" * 100_000))
    as_table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    connector = aiohttp.TCPConnector(ssl=context)

    async with (
        asyncio.timeout(60),  # it ended after three minutes, with the connection that the client had asked to keep
        aiohttp.ClientSession(connector=connector, version=aiohttp.HttpVersion10) as session,
        session.get(server.url + CONFIGMAPS, headers=as_table) as response,
    ):
        table = json.loads(await response.read())

    assert (response.status, response.headers.get("Transfer-Encoding")) == (200, None)
    assert [row["cells"][0] for row in table["rows"]] == ["long"]


async def test_who_asks_for_the_head_of_a_long_answer_gets_no_more(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi_documents, "WHOLE_BYTES", 0)
    context = trust(server, user="root", group="system:masters")
    asked = b"HEAD /openapi/v3/apis/apps/v1 HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    reader, writer = await asyncio.open_connection("localhost", server.port, ssl=context)
    writer.write(asked)
    answers = (await reader.read()).split(b"HTTP/1.1 200 OK")
    writer.close()

    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [b"", b"", b"ok"]


async def test_who_leaves_before_a_long_answer_begins_is_no_error(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = shell.ApiHttp._open

    async def left(self: shell.ApiHttp, body: AsyncIterator[bytes], user: User, raw: web.BaseRequest) -> limits.OpenStream:
        assert raw.transport is not None
        raw.transport.close()
        return await opened(self, body, user, raw)

    monkeypatch.setattr(shell.ApiHttp, "_open", left)
    context = trust(server, user="root", group="system:masters")
    reader, writer = await asyncio.open_connection("localhost", server.port, ssl=context)
    writer.write(b"GET /api/v1/namespaces?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    await ask(server, context, "GET", "/livez")
    writer.close()

    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == []


async def test_a_wrong_token_is_unauthorized_even_beside_a_good_certificate(server: Running) -> None:
    admin = trust(server, user="root", group="system:masters")

    status, answer = await ask(server, admin, "GET", "/api/v1/namespaces", headers={"Authorization": "Bearer guess"})

    assert (status, answer["reason"]) == (401, "Unauthorized")


async def test_who_expects_to_be_told_to_continue_is_told(server: Running) -> None:
    admin = trust(server, user="root", group="system:masters")

    async with asyncio.timeout(30):
        made = await ask(server, admin, "POST", CONFIGMAPS, json=configmap("a"), expect100=True)
        refused = await ask(server, admin, "POST", CONFIGMAPS, data=io.BytesIO(b" " * (shell.MAX_BODY_BYTES + 1)), expect100=True)

    assert (made[0], refused[0]) == (201, 413)


async def test_a_watch_ends_with_the_account_whose_token_opened_it(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SWEEP_S", 0.02)
    admin, nobody = trust(server, user="root", group="system:masters"), trust(server)
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await ask(server, admin, "POST", accounts, json={"metadata": {"name": "bob"}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    subjects = [{"kind": "ServiceAccount", "name": "bob", "namespace": "default"}]
    binding = {"metadata": {"name": "bob"}, "roleRef": role, "subjects": subjects}
    await ask(server, admin, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", json=binding)
    token = (await ask(server, admin, "POST", f"{accounts}/bob/token", json={"spec": {}}))[1]["status"]["token"]
    url = f"{server.url}/api/v1/configmaps?watch=1&timeoutSeconds=3600"
    connector = aiohttp.TCPConnector(ssl=nobody)

    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(30):
        response = await session.get(url, headers={"Authorization": f"Bearer {token}"})
        assert response.status == 200
        await ask(server, admin, "DELETE", f"{accounts}/bob")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


async def test_too_large_a_body_is_refused_before_it_is_read(server: Running) -> None:
    admin, nobody = trust(server, user="root", group="system:masters"), trust(server)

    large = await ask(server, admin, "POST", CONFIGMAPS, data=io.BytesIO(bytes(shell.MAX_BODY_BYTES + 1)))
    strangers = await ask(server, nobody, "POST", "/healthz", data=b"x" * (shell.MAX_STRANGERS_BODY_BYTES + 1))

    assert (large[0], large[1]["reason"]) == (413, "RequestEntityTooLarge")
    assert strangers[0] == 413


async def test_a_header_that_is_not_ascii_is_refused(server: Running) -> None:
    """A byte of 255 in the console's cookie was a 500 for anybody (input 5)."""
    host, port = server.url.removeprefix("https://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=trust(server))
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nCookie: __Host-skerry=\xff\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.transport.abort()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the header Cookie is not ASCII" in answer


async def test_strangers_who_send_slowly_take_nobodys_place(server: Running) -> None:
    """Fifty bodies that never came made the hub answer 429 to every node that wanted to join, and to health checks (T17, input 1)."""
    host, port = server.url.removeprefix("https://").rsplit(":", 1)
    opened = [await asyncio.open_connection(host, int(port), ssl=trust(server)) for _ in range(limits.MAX_STRANGERS + 2)]
    try:
        for _, writer in opened:
            writer.write(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            await writer.drain()
        await asyncio.sleep(0.05)

        assert (await ask(server, trust(server), "GET", "/healthz"))[0] == 200
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def test_a_body_without_a_length_has_the_same_limit(server: Running) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b"x" * (1 << 19)

    status, _ = await ask(server, trust(server, user="root", group="system:masters"), "POST", CONFIGMAPS, data=endless())

    assert status == 413


@pytest.mark.parametrize("path", ["/api/v1/namespaces/a%2fb/pods", "/api/v1/./pods", "/api/v1//pods", "/api/v1/%00"])
async def test_a_path_with_two_readings_is_refused(server: Running, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trust(server, user="root", group="system:masters"))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_watcher_that_leaves_is_forgotten(server: Running) -> None:
    admin = trust(server, user="root", group="system:masters")
    watchers = server.server.store._watchers
    connector = aiohttp.TCPConnector(ssl=admin)
    async with aiohttp.ClientSession(connector=connector) as session:
        response = await session.get(f"{server.url}{CONFIGMAPS}?watch=true")
        await ask(server, admin, "POST", CONFIGMAPS, json=configmap("a"))
        line = await response.content.readline()
        there = len(watchers["configmaps"])
        response.close()

    async with asyncio.timeout(60):
        while watchers["configmaps"]:
            await asyncio.sleep(0.01)

    assert json.loads(line)["object"]["metadata"]["name"] == "a"
    assert there == 1


async def test_the_owner_of_the_listener_may_say_whom_a_certificate_names(tmp_path: Path) -> None:
    def user_of(ssl_object: Any) -> User | None:
        found = shell.user_of_certificate(ssl_object)
        return found if found is not None and found.name != "denied" else None

    async with running(tmp_path, certificate=user_of) as server:
        good, denied = (trust(server, user=name, group="system:masters") for name in ("good", "denied"))

        assert (await ask(server, good, "GET", "/api/v1/namespaces"))[0] == 200
        assert (await ask(server, denied, "GET", "/api/v1/namespaces"))[0] == 403


async def test_bearer_tokens_are_the_authenticators(tmp_path: Path) -> None:
    class Tokens:
        def user_of(self, token: str) -> User | None:
            return {"good": User("robot", ("system:masters", "system:authenticated"))}.get(token)

    async with running(tmp_path, tokens=Tokens()) as server:
        headers: Mapping[str, str] = {"Authorization": "Bearer good"}
        review = {"spec": {"token": "good"}}

        status, _ = await ask(server, trust(server), "GET", "/api/v1/namespaces", headers=headers)
        _, answer = await ask(server, trust(server), "POST", "/apis/authentication.k8s.io/v1/tokenreviews", headers=headers, json=review)

    assert status == 200
    assert (answer["status"]["authenticated"], answer["status"]["user"]["username"]) == (True, "robot")
