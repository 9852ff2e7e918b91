"""APIServices: local ones are there for every group; another server's groups are served through ours, as who asks."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme
from aiohttp import web

from skerry.apiserver.aggregation import aggregator, forwarding
from skerry.apiserver.aggregation.front_proxy import FrontProxy
from skerry.apiserver.aggregation.plan import discovered, judge, remote_of
from skerry.apiserver.http.message import Request, User
from skerry.apiserver.server import ApiServer
from skerry.model.errors import ApiError
from tests.unit.apiserver.asking import Asker

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
METRICS = "/apis/metrics.k8s.io/v1beta1"
RESOURCES = [
    {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list", "watch"]},
    {"name": "pods/status", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get"]},
]


class Extension:
    """A small API server: tells who asked, streams a watch, redirects, answers at length."""

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.bodies: list[bytes] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.bodies.append(await request.read())
        if request.path == METRICS:
            return web.json_response({"kind": "APIResourceList", "groupVersion": "metrics.k8s.io/v1beta1", "resources": RESOURCES})
        if request.path.endswith("/elsewhere"):
            return web.Response(status=302, headers={"Location": "https://169.254.169.254/"})
        if "watch" in request.query:
            out = web.StreamResponse()
            await out.prepare(request)
            for i in range(3):
                await out.write(b'{"type":"ADDED","object":{"n":%d}}\n' % i)
            await asyncio.sleep(30)
            return out
        return web.json_response({"kind": "PodMetricsList", "items": []}, headers={"X-Mine": "1", "Set-Cookie": "a=b"})


@asynccontextmanager
async def extension(ca: trustme.CA, proxy_ca: Path) -> AsyncIterator[tuple[Extension, int]]:
    """Run one that takes nobody but our front proxy."""
    found = Extension()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("metrics.kube-system.svc").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(proxy_ca)
    runner = web.ServerRunner(web.Server(found.answer, handler_cancellation=True), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield found, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.02)


def api_service(ca: trustme.CA, **more: Any) -> dict[str, Any]:
    bundle = base64.b64encode(ca.cert_pem.bytes()).decode()
    spec = {"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100}
    spec |= {"service": {"namespace": "kube-system", "name": "metrics"}, "caBundle": bundle, **more}
    return {"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": spec}


async def behind(ask: Asker, port: int) -> None:
    """Make the Service that leads to *port* here."""
    service = {"metadata": {"name": "metrics", "namespace": "kube-system"}, "spec": {"ports": [{"port": 443, "targetPort": port}]}}
    assert (await ask("POST", "/api/v1/namespaces/kube-system/services", service))[0] == 201
    labels = {"kubernetes.io/service-name": "metrics"}
    slice_ = {"metadata": {"name": "metrics-1", "labels": labels}, "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]}
    slice_["ports"] = [{"port": port, "name": ""}]
    answer = await ask("POST", "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", slice_)
    assert answer[0] == 201, answer


async def condition(ask: Asker) -> tuple[str, str]:
    found = (await ask("GET", f"{SERVICES}/v1beta1.metrics.k8s.io"))[1].get("status", {}).get("conditions") or [{}]
    return found[0].get("status", ""), found[0].get("reason", "")


async def read(body: Any) -> bytes:
    return body if isinstance(body, bytes) else b"".join([chunk async for chunk in body])


async def test_every_group_that_is_served_has_its_api_service(server: ApiServer, ask: Asker) -> None:
    served = {f"{version}.{group}" for group, versions in server.kinds.groups().items() for version in versions}

    async def all_there() -> bool:
        found = (await ask("GET", SERVICES))[1]["items"]
        said = {o["metadata"]["name"] for o in found if o.get("status", {}).get("conditions")}
        return served <= said

    await until(all_there)
    found = {o["metadata"]["name"]: o for o in (await ask("GET", SERVICES))[1]["items"]}

    assert {"v1.", "v1.apps", "v2.autoscaling", "v1alpha1.live.skerry.dev"} <= set(found)
    assert found["v1.apps"]["spec"] == {"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15}
    assert found["v1.apps"]["status"]["conditions"][0]["reason"] == "Local"


async def test_groups_of_definitions_come_and_go_with_them(ask: Asker) -> None:
    names = {"plural": "wids", "singular": "wid", "kind": "Wid", "listKind": "WidList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    spec = {"group": "x.example.com", "names": names, "scope": "Namespaced", "versions": [version]}
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await ask("POST", crds, {"metadata": {"name": "wids.x.example.com"}, "spec": spec})

    async def there() -> bool:
        return (await ask("GET", f"{SERVICES}/v1.x.example.com"))[0] == 200

    async def gone() -> bool:
        return not await there()

    await until(there)
    await ask("DELETE", f"{crds}/wids.x.example.com")
    await until(gone)


async def test_another_servers_group_is_served_through_ours(
    server: ApiServer, ask: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregator, "LOOK_AGAIN_S", 0.05)
    ca = trustme.CA()
    assert (await ask("POST", SERVICES, api_service(ca)))[0] == 201

    async def unavailable() -> bool:
        return (await condition(ask)) == ("False", "FailedDiscoveryCheck")

    async def available() -> bool:
        return (await condition(ask)) == ("True", "Passed")

    await until(unavailable)
    assert (await ask("GET", f"{METRICS}/pods"))[0] == 503
    async with extension(ca, tmp_path / "front-proxy" / "ca.pem") as (other, port):
        await behind(ask, port)
        await until(available)
        alice = ask.as_user(User("alice", ("system:masters", "team é"), "7", {"Scope/a": ("x", "y")}))

        response = await alice.raw(
            "POST", f"{METRICS}/namespaces/default/pods?a=%2F", {"b": 1}, authorization="Bearer s3cret", x_remote_user="root"
        )
        sent = other.seen[-1]

        assert (response.status, response.headers["X-Mine"]) == (200, "1")
        assert "Set-Cookie" not in response.headers
        assert json.loads(await read(response.body))["kind"] == "PodMetricsList"
        assert (sent.method, sent.raw_path, other.bodies[-1]) == ("POST", f"{METRICS}/namespaces/default/pods?a=%2F", b'{"b":1}')
        assert (sent.headers.getall("X-Remote-User"), sent.headers["X-Remote-Uid"]) == (["alice"], "7")
        assert sent.headers.getall("X-Remote-Group") == ["system:masters", "team é"]
        assert sent.headers.getall("X-Remote-Extra-scope%2fa") == ["x", "y"]
        assert "Authorization" not in sent.headers
        await discovery_names_it(ask, freshness="Current")
        await a_watch_comes_through(ask)
        assert (await ask.raw("GET", f"{METRICS}/elsewhere")).status == 503
        assert (await ask.as_user(User("bob", ("system:authenticated",))).raw("GET", f"{METRICS}/pods")).status == 403
        before = len(other.seen)
    await until(unavailable_after(ask))
    await discovery_names_it(ask, freshness="Stale")
    assert len(other.seen) == before
    assert server.aggregator.serves("metrics.k8s.io", "v1beta1")


class Dripping(asyncio.Protocol):
    """A server whose answer has a head without an end, a byte at a time."""

    open: ClassVar[set[Dripping]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.open.add(self)
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"HTTP/1.1 200 OK\r\nX: ")
        self._drip(transport)

    def _drip(self, transport: asyncio.WriteTransport) -> None:
        transport.write(b"x")
        self._next = asyncio.get_running_loop().call_later(0.1, self._drip, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._next.cancel()
        self.open.discard(self)

    @classmethod
    async def none_left(cls) -> bool:
        return not cls.open


async def test_an_answer_that_never_begins_holds_neither_requests_nor_other_services(
    server: ApiServer, ask: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte of the head now and then is not silence: a server could so stop all APIServices from being looked after."""
    monkeypatch.setattr(forwarding, "CONNECT_S", 0.5)
    monkeypatch.setattr(forwarding, "ANSWER_S", 0.5)
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("metrics.kube-system.svc").configure_cert(context)
    listener = await asyncio.get_running_loop().create_server(Dripping, "127.0.0.1", 0, ssl=context)
    await behind(ask, listener.sockets[0].getsockname()[1])
    remote = remote_of(api_service(ca))
    assert remote is not None
    calling = forwarding.Forwarding(server.store, FrontProxy(tmp_path / "proxy"))
    try:
        async with asyncio.timeout(60):
            with pytest.raises(ApiError, match="error trying to reach service"):
                await calling.forward(remote, Request("GET", f"{METRICS}/pods", "", {}, b"", User("alice")))
            with pytest.raises(ApiError, match="error trying to reach service"):
                await calling.document(remote, METRICS)
    finally:
        await calling.close()
        listener.close()
        await until(Dripping.none_left)


def unavailable_after(ask: Asker) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        await ask.raw("GET", f"{METRICS}/pods")  # a request that fails makes the server look
        return (await condition(ask))[0] == "False"

    return asked


async def discovery_names_it(ask: Asker, *, freshness: str) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    items = (await ask("GET", "/apis", accept=accept))[1]["items"]
    version = next(i for i in items if i["metadata"]["name"] == "metrics.k8s.io")["versions"][0]
    assert (version["freshness"], [r["resource"] for r in version["resources"]]) == (freshness, ["pods"])
    assert "metrics.k8s.io" in [g["name"] for g in (await ask("GET", "/apis"))[1]["groups"]]
    assert (await ask("GET", "/apis/metrics.k8s.io"))[1]["preferredVersion"]["version"] == "v1beta1"
    if freshness == "Current":
        assert json.loads(await read((await ask.raw("GET", METRICS)).body))["kind"] == "APIResourceList"


async def a_watch_comes_through(ask: Asker) -> None:
    response = await ask.raw("GET", f"{METRICS}/pods?watch=true")
    assert not isinstance(response.body, bytes)
    got = b""
    async for chunk in response.body:
        got += chunk
        if got.count(b"\n") == 3:
            break
    await response.body.aclose()  # type: ignore[attr-defined]
    assert [json.loads(line)["object"]["n"] for line in got.splitlines()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": ""}, "metadata.name"),
        ({"versionPriority": 1001}, "spec.versionPriority"),
        ({"groupPriorityMinimum": 0}, "spec.groupPriorityMinimum"),
        ({"insecureSkipTLSVerify": True}, "spec.insecureSkipTLSVerify"),
        ({"caBundle": "!"}, "spec.caBundle"),
        ({"service": {"name": "a"}}, "spec.service.namespace"),
        ({"service": None}, "spec.caBundle"),
    ],
)
def test_an_api_service_that_could_not_be_served_is_refused(change: dict[str, Any], field: str) -> None:
    causes = judge(api_service(trustme.CA(), **change))

    assert field in [c.field for c in causes]


def test_who_signs_a_server_may_be_said_later() -> None:
    assert judge(api_service(trustme.CA(), caBundle="")) == []  # until then it is a CA that this machine trusts, as in Kubernetes


def test_legacy_discovery_becomes_the_aggregated_form() -> None:
    assert discovered(RESOURCES) == [
        {
            "resource": "pods",
            "responseKind": {"group": "", "version": "", "kind": "PodMetrics"},
            "scope": "Namespaced",
            "singularResource": "pod",
            "verbs": ["get", "list", "watch"],
            "subresources": [
                {"subresource": "status", "responseKind": {"group": "", "version": "", "kind": "PodMetrics"}, "verbs": ["get"]}
            ],
        }
    ]
