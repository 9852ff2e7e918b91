"""The Pod proxy: who is meant, and what a Pod can answer that is no HTTP, or only half of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skerry.apiserver.http.message import Request, Response, User
from skerry.apiserver.http.paths import Target, parse
from skerry.apiserver.http.pod_proxy import Place, _exchange, place_of, port_of_pod
from skerry.model.errors import ApiError
from tests.unit.apiserver.test_pod_streams import FakeStream

POD = {
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "a"}, {"name": "b", "ports": [{"containerPort": 81}, {"containerPort": 82, "name": "web"}]}]},
}


@pytest.mark.parametrize(
    ("text", "place"),
    [("p", Place("p", "")), ("p:80", Place("p", "80")), ("http:p:web", Place("p", "web")), (":p:", Place("p", ""))],
)
def test_a_name_may_have_a_scheme_and_a_port(text: str, place: Place) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["https:p:1", "a:b:c:d", ":1", "ftp:p:1"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        place_of(text)
    assert refused.value.code == 400


@pytest.mark.parametrize(("wanted", "port"), [("", 81), ("web", 82), ("9000", 9000)])
def test_ports_have_numbers_and_names(wanted: str, port: int) -> None:
    assert port_of_pod(POD, wanted) == port


@pytest.mark.parametrize(("pod", "wanted"), [(POD, "nope"), (POD, "70000"), ({"metadata": {"name": "p"}, "spec": {}}, "")])
def test_a_port_that_is_not_there_is_told(pod: Any, wanted: str) -> None:
    with pytest.raises(ApiError, match="pod p declares no port"):
        port_of_pod(pod, wanted)


def test_what_follows_the_proxy_is_the_pods() -> None:
    proxied = Target("", "v1", "pods", "ns", "p", "proxy")
    assert parse("/api/v1/namespaces/ns/pods/p/proxy") == proxied
    assert parse("/api/v1/namespaces/ns/pods/p/proxy/") == proxied
    assert parse("/api/v1/namespaces/ns/pods/p/proxy/a/b/") == proxied._replace(rest="a/b/")
    assert parse("/api/v1/namespaces/ns/pods/p/") == Target("", "v1", "pods", "ns", "p", "")


def asked(method: str = "GET", body: bytes = b"") -> Request:
    headers = {"authorization": "Bearer x", "cookie": "a=b", "impersonate-user": "root", "x-mine": "1", "host": "hub"}
    return Request(method, "/", "q=1", headers, body, User("ann", ()))


async def test_what_the_pod_hears_and_what_comes_back(tmp_path: Path) -> None:
    stream = FakeStream()
    stream.give(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\nX-Own: 1\r\n\r\nhe", b"llo")

    answer: Response = await _exchange(stream, asked("POST", b"body"), "a b/c", "p:80")

    told = bytes(stream.got).decode()
    assert told.startswith("POST /a%20b/c?q=1 HTTP/1.1\r\n")
    assert told.endswith("\r\n\r\nbody")
    assert "x-mine: 1" in told.lower()
    assert not any(word in told.lower() for word in ("bearer", "cookie", "impersonate"))
    assert not isinstance(answer.body, bytes)
    assert b"".join([part async for part in answer.body]) == b"hello"
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["X-Own"] == "1"
    assert stream.was_reset


@pytest.mark.parametrize("name", ["Clear-Site-Data", "WWW-Authenticate", "Strict-Transport-Security", "Alt-Svc"])
async def test_a_pod_says_nothing_in_the_hubs_name(name: str) -> None:
    stream = FakeStream()
    stream.give(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n" + name.encode() + b": x\r\n\r\n")

    answer = await _exchange(stream, asked(), "", "p:80")

    assert name.lower() not in {header.lower() for header in answer.headers}
    assert not isinstance(answer.body, bytes)
    assert [part async for part in answer.body] == []


@pytest.mark.parametrize("parts", [(b"SSH-2.0-x\r\n",), (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,), ()])
async def test_a_peer_that_speaks_no_http_is_a_bad_gateway(parts: tuple[bytes, ...]) -> None:
    stream = FakeStream()
    stream.give(*parts)

    with pytest.raises(ApiError) as refused:
        await _exchange(stream, asked(), "", "p:80")
    assert refused.value.code == 502


async def test_half_an_answer_does_not_look_whole() -> None:
    stream = FakeStream()
    stream.give(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")

    answer = await _exchange(stream, asked(), "", "p:80")

    assert not isinstance(answer.body, bytes)
    with pytest.raises(ConnectionError):
        [part async for part in answer.body]
