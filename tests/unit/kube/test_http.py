"""HttpApi speaks the API's HTTP and believes only what an API server can have said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.kube import HttpApi, WatchEvent, closing
from skerry.kube.lines import LineSplitter
from skerry.model.errors import ApiError, not_found
from skerry.model.resources import CONFIGMAPS, DEPLOYMENTS, NODES, PODS


class CannedResponse:
    def __init__(self, status: int, body: bytes, headers: Mapping[str, str], *, chunk: int = 7) -> None:
        self.status, self.headers, self.closed = status, headers, False
        self._body, self._chunk = body, chunk

    async def read(self, *, limit_bytes: int) -> bytes:
        if len(self._body) > limit_bytes:
            raise ConnectionError("too long")
        return self._body

    async def chunks(self) -> AsyncIterator[bytes]:
        for i in range(0, len(self._body), self._chunk):
            yield self._body[i : i + self._chunk]

    async def close(self) -> None:
        self.closed = True


class CannedTransport:
    """Answers with what it was given, in order, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str], Any]] = []
        self.responses: list[CannedResponse] = []
        self._next = 0

    def answer(self, body: Any, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        self.responses.append(CannedResponse(status, data, {k.replace("_", "-"): v for k, v in headers.items()}))

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> CannedResponse:
        self.asked.append((method, path, headers or {}, msgspec.json.decode(body) if body else None))
        self._next += 1
        return self.responses[self._next - 1]


@pytest.fixture
def transport() -> CannedTransport:
    return CannedTransport()


@pytest.fixture
def api(transport: CannedTransport) -> HttpApi:
    return HttpApi(transport)


async def _watched(api: HttpApi) -> list[WatchEvent]:
    async with closing(api.watch(PODS, "s", fields="spec.nodeName=a", revision="7")) as events:
        return [e async for e in events]


async def test_a_list_is_fetched_in_pages_and_its_items_are_typed(api: HttpApi, transport: CannedTransport) -> None:
    transport.answer({"metadata": {"resourceVersion": "9", "continue": "abc=="}, "items": [{"metadata": {"name": "a"}}]})
    transport.answer({"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b"}}]}, skerry_cluster="c", skerry_epoch="e")

    found = await api.list(PODS, "s", labels="a=b,c!=d", fields="spec.nodeName=n")

    assert [(o["apiVersion"], o["kind"], o["metadata"]["name"]) for o in found.items] == [("v1", "Pod", "a"), ("v1", "Pod", "b")]
    assert (found.revision, found.origin.cluster, found.origin.epoch) == ("9", "c", "e")
    query = "labelSelector=a%3Db%2Cc%21%3Dd&fieldSelector=spec.nodeName%3Dn&limit=500"
    assert [a[1] for a in transport.asked] == [
        f"/api/v1/namespaces/s/pods?{query}",
        f"/api/v1/namespaces/s/pods?{query}&continue=abc%3D%3D",
    ]
    assert all(r.closed for r in transport.responses)


async def test_each_patch_form_has_its_content_type(api: HttpApi, transport: CannedTransport) -> None:
    for form in ("json", "merge", "strategic"):
        transport.answer({})
        await api.patch(DEPLOYMENTS, "s", "d", {}, form=form, subresource="status")

    assert {a[1] for a in transport.asked} == {"/apis/apps/v1/namespaces/s/deployments/d/status"}
    types = [a[2]["content-type"] for a in transport.asked]
    assert types == ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"]


async def test_delete_carries_its_options_in_the_body(api: HttpApi, transport: CannedTransport) -> None:
    transport.answer({"kind": "Status"})

    await api.delete(PODS, "s", "p", uid="u", grace_s=0, propagation="Foreground")

    options = {"gracePeriodSeconds": 0, "propagationPolicy": "Foreground", "preconditions": {"uid": "u"}}
    assert transport.asked[0][3] == {"apiVersion": "v1", "kind": "DeleteOptions", **options}


async def test_a_binding_is_posted_to_its_pod(api: HttpApi, transport: CannedTransport) -> None:
    transport.answer({"kind": "Status"}, 201)

    await api.create(PODS, {"metadata": {"namespace": "s", "name": "p"}}, subresource="binding")

    assert transport.asked[0][:2] == ("POST", "/api/v1/namespaces/s/pods/p/binding")


async def test_a_status_of_failure_is_raised_as_what_it_says(api: HttpApi, transport: CannedTransport) -> None:
    transport.answer(not_found("nodes", "", "n").to_status(), 404)

    with pytest.raises(ApiError, match='nodes "n" not found') as caught:
        await api.get(NODES, "", "n")

    assert (caught.value.reason, caught.value.details["kind"]) == ("NotFound", "nodes")


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>please log in</html>"), (502, b"<html>bad gateway</html>"), (200, b"[]"), (302, b""), (503, b"{}")]
)
async def test_what_no_api_server_says_is_a_lost_connection(api: HttpApi, transport: CannedTransport, status: int, body: bytes) -> None:
    transport.answer(body, status)

    with pytest.raises(ConnectionError):
        await api.get(CONFIGMAPS, "s", "one")


async def test_an_unserved_group_is_not_found(api: HttpApi, transport: CannedTransport) -> None:
    transport.answer(b"404 page not found", 404)

    with pytest.raises(ApiError) as caught:
        await api.list(DEPLOYMENTS)

    assert caught.value.code == 404


async def test_a_watch_yields_events_with_their_origin_and_closes(api: HttpApi, transport: CannedTransport) -> None:
    line = msgspec.json.encode({"type": "ADDED", "object": {"metadata": {"name": "p"}}}) + b"\n"
    transport.answer(line * 3, skerry_cluster="c", skerry_epoch="e")

    events = await _watched(api)

    assert [(e.type, e.object["metadata"]["name"], e.origin.epoch) for e in events] == [("ADDED", "p", "e")] * 3
    assert transport.responses[0].closed
    assert transport.asked[0][1] == (
        "/api/v1/namespaces/s/pods?watch=true&allowWatchBookmarks=true&fieldSelector=spec.nodeName%3Da&resourceVersion=7"
    )


async def test_an_error_event_is_raised(api: HttpApi, transport: CannedTransport) -> None:
    transport.answer({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}})
    transport.responses[0]._body += b"\n"

    with pytest.raises(ApiError) as caught:
        await _watched(api)

    assert caught.value.code == 410


@pytest.mark.parametrize("body", [b'{"type":"ADDED","object":{', b"[]\n", b"<html>\n", b'{"type":"ADDED"}\n'])
async def test_a_watch_that_is_cut_or_garbled_is_a_lost_connection(api: HttpApi, transport: CannedTransport, body: bytes) -> None:
    transport.answer(body)

    with pytest.raises(ConnectionError):
        await _watched(api)

    assert transport.responses[0].closed


async def test_discovery_takes_each_resource_at_its_preferred_version(api: HttpApi, transport: CannedTransport) -> None:
    pods = {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced", "verbs": ["list"], "subresources": []}
    transport.answer({"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [pods]}]}]})
    old, new = ({"version": v, "resources": [{"resource": "events", "scope": "Namespaced"}]} for v in ("v1beta1", "v1"))
    transport.answer({"items": [{"metadata": {"name": "events.k8s.io"}, "versions": [new, old]}]})

    found = await api.discover()

    assert [(s.resource.key, s.resource.version) for s in found] == [("pods", "v1"), ("events.events.k8s.io", "v1")]


@given(st.lists(st.binary(min_size=1).filter(lambda b: b"\n" not in b and b.strip() != b""), max_size=8), st.integers(1, 9))
def test_lines_come_out_whole_however_they_were_cut(lines: list[bytes], size: int) -> None:
    data = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter(limit_bytes=10_000)

    found = [line for i in range(0, len(data), size) for line in splitter.feed(data[i : i + size])]

    assert found == lines
    assert not splitter.cut


def test_a_line_over_the_limit_is_refused_before_its_end() -> None:
    splitter = LineSplitter(limit_bytes=10)

    with pytest.raises(ConnectionError, match="longer than 10 bytes"):
        splitter.feed(b"x" * 11)
