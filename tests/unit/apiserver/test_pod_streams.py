"""Logs, exec and live values: what nodes are asked, and what comes of their answers."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from skerry.apiserver.http import limits
from skerry.apiserver.http.message import User
from skerry.apiserver.http.pod_streams import container_of
from skerry.apiserver.registry.streams import Frames, frame
from skerry.apiserver.server import ApiServer
from skerry.model.errors import ApiError, unavailable
from skerry.testing.apiserver import Running, running
from tests.unit.apiserver.asking import MERGE, Asker, pod

PODS = "/api/v1/namespaces/default/pods"
DEVICES = "/apis/skerry.dev/v1alpha1/namespaces/default/devices"
TWINS = "/apis/live.skerry.dev/v1alpha1/namespaces/default/devicetwins"


class FakeStream:
    """A node's end, in memory: gives what it was told to, keeps what it gets."""

    def __init__(self) -> None:
        self.outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.got = bytearray()
        self.finished = self.was_reset = False
        self.heard = asyncio.Event()

    def give(self, *parts: bytes, end: bool = True) -> None:
        for part in (*parts, *((None,) if end else ())):
            self.outgoing.put_nowait(part)

    async def send(self, data: bytes) -> None:
        self.got += data
        self.heard.set()

    async def receive(self) -> bytes | None:
        return await self.outgoing.get()

    async def finish(self) -> None:
        self.finished = True

    def reset(self) -> None:
        self.was_reset = True


class FakeNodes:
    """The nodes that are connected, each with one stream ready."""

    def __init__(self, **streams: FakeStream) -> None:
        self._streams = streams
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    async def open(self, node: str, kind: str, params: Mapping[str, Any]) -> FakeStream:
        self.asked.append((node, kind, dict(params)))
        if node not in self._streams:
            raise unavailable(f"node {node} is not connected to the hub", retry_after_s=5)
        return self._streams[node]


@pytest.fixture
def stream() -> FakeStream:
    return FakeStream()


@pytest.fixture
def nodes(server: ApiServer, stream: FakeStream) -> FakeNodes:
    nodes = FakeNodes(n1=stream)
    server.streams.use(nodes)
    return nodes


async def test_logs_pass_through_as_they_come(ask: Asker, nodes: FakeNodes, stream: FakeStream) -> None:
    await ask("POST", PODS, pod("p", node="n1"))
    stream.give(b"one\n", b"two\n")

    response = await ask.raw("GET", f"{PODS}/p/log?follow=true&tailLines=5&sinceSeconds=60&timestamps=true")
    lines = [chunk async for chunk in cast("AsyncIterator[bytes]", response.body)]

    (asked,) = nodes.asked
    wanted = {"container": "c", "follow": True, "previous": False, "timestamps": True, "tailLines": 5, "sinceSeconds": 60}
    assert lines == [b"one\n", b"two\n"]
    assert asked[:2] == ("n1", "logs")
    assert wanted.items() <= asked[2].items()
    assert stream.finished
    assert stream.was_reset


async def test_logs_of_a_node_that_is_away_are_refused_at_once(ask: Asker, nodes: FakeNodes) -> None:
    await ask("POST", PODS, pod("p", node="n2"))

    response = await ask.raw("GET", f"{PODS}/p/log")

    assert response.status == 503
    assert "Retry-After" not in response.headers
    assert b"node n2 is not connected to the hub" in cast("bytes", response.body)


@pytest.mark.parametrize(
    "query", ["tailLines=-1", "limitBytes=0", "sinceTime=yesterday", "sinceSeconds=1&sinceTime=2026-01-05T10:00:00Z", "tailLines=x"]
)
async def test_options_of_logs_are_checked_before_a_node_is_asked(ask: Asker, nodes: FakeNodes, query: str) -> None:
    await ask("POST", PODS, pod("p", node="n1"))

    assert (await ask("GET", f"{PODS}/p/log?{query}"))[0] == 400
    assert nodes.asked == []


def test_the_container_is_the_only_one_the_annotated_one_or_must_be_named() -> None:
    one = pod("p")
    two = pod("p", containers=[{"name": "a"}, {"name": "b"}], initContainers=[{"name": "i"}])
    annotated = {**two, "metadata": {"name": "p", "annotations": {"kubectl.kubernetes.io/default-container": "b"}}}

    assert container_of(one, "") == "c"
    assert container_of(two, "i") == "i"
    assert container_of(annotated, "") == "b"
    with pytest.raises(ApiError, match=r"choose one of: \[a b\] or one of the init containers: \[i\]"):
        container_of(two, "")
    with pytest.raises(ApiError, match="container x is not valid for pod p"):
        container_of(two, "x")


async def test_exec_is_a_creation_whatever_the_method(ask: Asker, nodes: FakeNodes) -> None:
    await ask("POST", PODS, pod("p", node="n1"))
    rules = [{"apiGroups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get"]}]
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    await ask("POST", f"{rbac}/clusterroles", {"metadata": {"name": "reader"}, "rules": rules})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"}
    subjects = [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}]
    await ask("POST", f"{rbac}/clusterrolebindings", {"metadata": {"name": "bob"}, "roleRef": ref, "subjects": subjects})
    bob = ask.as_user(User("bob", ("system:authenticated",)))

    answers = [await bob(method, f"{PODS}/p/exec?command=sh") for method in ("GET", "POST")]

    assert (await bob("GET", f"{PODS}/p"))[0] == 200
    assert [status for status, _ in answers] == [403, 403]
    assert 'cannot create resource "pods/exec"' in answers[0][1]["message"]
    assert nodes.asked == []


async def test_exec_without_websocket_says_what_is_needed(ask: Asker, nodes: FakeNodes) -> None:
    await ask("POST", PODS, pod("p", node="n1"))

    plain = await ask("GET", f"{PODS}/p/exec?command=sh")
    spdy = await ask("POST", f"{PODS}/p/exec?command=sh", upgrade="SPDY/3.1", connection="Upgrade")
    empty = await ask("GET", f"{PODS}/p/exec")

    assert [r[0] for r in (plain, spdy, empty)] == [400, 400, 400]
    assert plain[1]["message"] == "Upgrade request required"
    assert "SPDY is not supported, only WebSocket" in spdy[1]["message"]


def test_frames_survive_any_cutting() -> None:
    sent = [(1, b"out"), (2, b""), (3, b'{"status":"Success"}')]
    wire = b"".join(frame(c, p) for c, p in sent)

    for size in (1, 2, 7, len(wire)):
        frames = Frames()
        assert [f for i in range(0, len(wire), size) for f in frames.feed(wire[i : i + size])] == sent


def test_a_frame_too_long_is_refused_before_it_is_kept() -> None:
    with pytest.raises(ValueError, match="a frame of 4294967295 bytes, the limit is 1048576"):
        list(Frames().feed(b"\x01\xff\xff\xff\xff"))


@pytest.fixture
async def over_tls(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as server:
        yield server


def _session(server: Running) -> aiohttp.ClientSession:
    folder = server.kubeconfig.parent
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "admin.pem", folder / "admin.key")
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


async def test_a_command_runs_over_a_websocket(over_tls: Running) -> None:
    stream = FakeStream()
    over_tls.server.streams.use(FakeNodes(n1=stream))
    await Asker(over_tls.server)("POST", PODS, pod("p", node="n1"))
    failure = json.dumps({"status": "Failure", "reason": "NonZeroExitCode"}).encode()

    url = f"{over_tls.url}{PODS}/p/exec?command=cat&stdin=true&stdout=true"
    async with _session(over_tls) as session, session.ws_connect(url, protocols=("v5.channel.k8s.io",)) as ws:
        await ws.send_bytes(b"\x00hello")
        await ws.send_bytes(b"\xff\x00")
        async with asyncio.timeout(60):
            while len(stream.got) < len(frame(0, b"hello") + frame(255, b"\x00")):
                stream.heard.clear()
                await stream.heard.wait()
            stream.give(frame(1, b"hel"), frame(1, b"lo") + frame(3, failure))
            got = [await ws.receive_bytes() for _ in range(3)]
            closing = await ws.receive()

    assert ws.protocol == "v5.channel.k8s.io"
    assert bytes(stream.got) == frame(0, b"hello") + frame(255, b"\x00")
    assert got == [b"\x01hel", b"\x01lo", b"\x03" + failure]
    assert closing.type is aiohttp.WSMsgType.CLOSE
    assert stream.was_reset


async def test_a_node_that_breaks_off_is_a_failure_on_the_error_channel(over_tls: Running) -> None:
    stream = FakeStream()
    over_tls.server.streams.use(FakeNodes(n1=stream))
    await Asker(over_tls.server)("POST", PODS, pod("p", node="n1"))
    stream.give(frame(1, b"x"))

    url = f"{over_tls.url}{PODS}/p/exec?command=cat&stdout=true"
    async with _session(over_tls) as session, session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as ws:
        async with asyncio.timeout(60):
            got = [await ws.receive_bytes() for _ in range(2)]

    assert got[0] == b"\x01x"
    assert (got[1][:1], json.loads(got[1][1:])["message"]) == (b"\x03", "the node ended the stream without saying how the command ended")


def _device() -> dict[str, Any]:
    connection = {"modbus": {"url": "tcp://127.0.0.1:502", "unit": 1}}
    meta = {"name": "meter"}
    return {"apiVersion": "skerry.dev/v1alpha1", "kind": "Device", "metadata": meta, "spec": {"profile": "p", "connection": connection}}


def _twin(value: int) -> bytes:
    status = {"nodeName": "n1", "lastSeen": "2026-01-05T10:00:00Z", "properties": {"level": {"value": value}}}
    meta = {"name": "meter", "namespace": "default", "resourceVersion": str(value)}
    twin = {"apiVersion": "live.skerry.dev/v1alpha1", "kind": "DeviceTwin", "metadata": meta, "status": status}
    return json.dumps(twin).encode() + b"\n"


async def test_a_twin_is_read_from_the_node_that_has_the_device(ask: Asker, nodes: FakeNodes, stream: FakeStream) -> None:
    await ask("POST", DEVICES, _device())
    unplaced = await ask("GET", f"{TWINS}/meter")
    await ask("PATCH", f"{DEVICES}/meter/status", {"status": {"nodeName": "n1"}}, content_type=MERGE)
    stream.give(_twin(7)[:20], _twin(7)[20:])

    status, twin = await ask("GET", f"{TWINS}/meter")

    assert (unplaced[0], (await ask("GET", f"{TWINS}/none"))[0]) == (503, 404)
    assert (status, twin["status"]["properties"]["level"]["value"]) == (200, 7)
    assert nodes.asked == [("n1", "twin", {"namespace": "default", "name": "meter", "watch": False})]


async def test_a_twin_is_watched_while_it_changes(ask: Asker, nodes: FakeNodes, stream: FakeStream) -> None:
    await ask("POST", DEVICES, _device())
    await ask("PATCH", f"{DEVICES}/meter/status", {"status": {"nodeName": "n1"}}, content_type=MERGE)
    stream.give(_twin(1), _twin(2) + _twin(3))

    events = await ask.watch(f"{TWINS}?watch=true&fieldSelector=metadata.name=meter")
    seen = [(e["type"], e["object"]["status"]["properties"]["level"]["value"]) async for e in events]

    assert seen == [("ADDED", 1), ("MODIFIED", 2), ("MODIFIED", 3)]
    assert (await ask("GET", f"{TWINS}?watch=true"))[0] == 400
    assert (await ask("GET", TWINS))[0] == 405


@pytest.mark.parametrize("sent", [b"not json\n", b"[]\n", b'{"metadata":1}\n', b"x" * (2 << 20)])
async def test_nonsense_from_a_node_is_an_error_and_no_twin(ask: Asker, nodes: FakeNodes, stream: FakeStream, sent: bytes) -> None:
    await ask("POST", DEVICES, _device())
    await ask("PATCH", f"{DEVICES}/meter/status", {"status": {"nodeName": "n1"}}, content_type=MERGE)
    stream.give(sent)

    assert (await ask("GET", f"{TWINS}/meter"))[0] == 500


@pytest.mark.parametrize("wrong", [{"Sec-WebSocket-Version": "99"}, {"Sec-WebSocket-Key": "x"}], ids=["version", "key"])
async def test_a_command_nobody_can_talk_to_is_given_up(over_tls: Running, wrong: dict[str, str]) -> None:
    """Each such request left a process on the node for good, until the link had no stream left (input 8)."""
    stream = FakeStream()
    over_tls.server.streams.use(FakeNodes(n1=stream))
    await Asker(over_tls.server)("POST", PODS, pod("p", node="n1"))
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "A" * 22 + "=="}

    async with _session(over_tls) as session:
        url = f"{over_tls.url}{PODS}/p/exec?command=cat&stdout=true"
        async with session.get(url, headers={**headers, **wrong}) as answer:
            assert answer.status == 400

    assert stream.was_reset


async def test_commands_and_forwarded_ports_are_streams_that_are_counted(over_tls: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """WebSockets without a limit are memory, and processes on nodes, without one."""
    monkeypatch.setattr(limits, "MAX_STREAMS_OF_ONE", 1)
    second = FakeStream()
    await Asker(over_tls.server)("POST", PODS, pod("p", node="n1"))
    url = f"{over_tls.url}{PODS}/p"

    async with _session(over_tls) as session:
        async with session.ws_connect(f"{url}/portforward?ports=80", protocols=("v4.channel.k8s.io",)):
            over_tls.server.streams.use(FakeNodes(n1=second))
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{url}/exec?command=cat&stdout=true", protocols=("v5.channel.k8s.io",))
        async with asyncio.timeout(60):
            while len(over_tls.server.http.streams):
                await asyncio.sleep(0.01)

    assert refused.value.status == 429
    assert second.was_reset


async def test_a_log_nobody_began_to_read_is_given_up(ask: Asker, nodes: FakeNodes, stream: FakeStream) -> None:
    await ask("POST", PODS, pod("p", node="n1"))
    response = await ask.raw("GET", f"{PODS}/p/log?follow=true")

    await response.body.aclose()  # type: ignore[union-attr]

    assert stream.was_reset
