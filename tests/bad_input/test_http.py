"""Inputs 1 to 9: what is wrong before there is a body, and bodies that are wrong as HTTP."""

# ruff: noqa: E501 - a row of a table is one line

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.bad_input.asking import ADMIN, STRANGER, Case, Server, head, judge, request, status_of

CM = "/api/v1/namespaces/default/configmaps"
GET = f"{CM}/kept"
WS = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
}
OK_BODY = b'{"metadata":{"name":"smuggled"}}'


def raw(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(path: str, *chunks: bytes) -> bytes:
    headers = {"Host": "x", "Connection": "close", "Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    return head("POST", path, headers) + b"".join(chunks)


SLOW = [
    Case(1, "headers-that-never-end", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ", (0, 400, 408), STRANGER),
    Case(1, "nothing-at-all", b"", (0, 408), STRANGER),
    Case(1, "a-body-that-never-comes", head("POST", CM, {"Host": "x", "Content-Length": "100"}) + b"{", (408,)),
    Case(1, "a-strangers-body-that-never-comes", head("POST", "/healthz", {"Host": "x", "Content-Length": "100"}) + b"{", (408,), STRANGER),
    Case(1, "a-chunk-that-never-comes", chunked(CM, b"5\r\n{"), (408,)),
]
FRAMING = [
    Case(2, "length-and-chunks", raw(f"POST {CM} HTTP/1.1", "Host: x", "Connection: close", "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), (400, 0)),
    Case(2, "two-lengths", raw(f"POST {CM} HTTP/1.1", "Host: x", "Content-Length: 0", f"Content-Length: {len(OK_BODY)}", body=OK_BODY), (400, 0)),
    Case(2, "two-lengths-in-one", raw(f"POST {CM} HTTP/1.1", "Host: x", f"Content-Length: {len(OK_BODY)}, {len(OK_BODY)}", body=OK_BODY), (400, 0)),
    Case(2, "two-hosts", raw(f"GET {GET} HTTP/1.1", "Host: a", "Host: b", "Connection: close"), (400,)),
    Case(2, "no-host", raw(f"GET {GET} HTTP/1.1", "Connection: close"), (400, 404)),
    Case(2, "a-negative-length", raw(f"POST {CM} HTTP/1.1", "Host: x", "Content-Length: -1", body=OK_BODY), (400, 0)),
    Case(2, "te-that-is-not-last", raw(f"POST {CM} HTTP/1.1", "Host: x", "Connection: close", "Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"), (400, 0)),
    Case(2, "te-in-disguise", raw(f"POST {CM} HTTP/1.1", "Host: x", "Connection: close", "Transfer-Encoding : chunked", body=b"0\r\n\r\n"), (400, 0)),
    Case(2, "a-folded-header", raw(f"GET {GET} HTTP/1.1", "Host: x", "X-A: b", " c", "Connection: close"), (400, 0)),
    Case(2, "a-bare-newline-in-a-header", b"GET /version HTTP/1.1\r\nHost: x\nX-A: b\r\nConnection: close\r\n\r\n", (400, 0)),
    Case(3, "a-chunk-of-2-to-the-64", chunked(CM, b"10000000000000000\r\n{}"), (400, 0)),
    Case(3, "a-chunk-of-2-to-the-60", chunked(CM, b"1000000000000000\r\n{}"), (400, 408, 413, 0)),
    Case(3, "a-negative-chunk", chunked(CM, b"-1\r\n{}\r\n0\r\n\r\n"), (400, 0)),
    Case(3, "a-chunk-that-is-longer-than-it-says", chunked(CM, b"1\r\n{}}\r\n0\r\n\r\n"), (400, 0)),
    Case(3, "a-million-chunks-of-a-byte", chunked(CM, b"1\r\n \r\n" * 1_000_000, b"0\r\n\r\n"), (400, 408, 413, 0)),
    Case(3, "extensions-without-end", chunked(CM, b"1;" + b"a" * 1_000_000), (400, 413, 408, 0)),
    Case(3, "trailers-without-end", chunked(CM, b"2\r\n{}\r\n0\r\n", b"A: b\r\n" * 200_000), (400, 413, 408, 422, 0)),
    Case(4, "a-header-of-64-kib", request("GET", GET, X_A="a" * (64 << 10)), (400, 431, 0)),
    Case(4, "a-header-of-4-mib", request("GET", GET, X_A="a" * (4 << 20)), (400, 431, 0)),
    Case(4, "a-name-of-64-kib", request("GET", GET, **{"X" * (64 << 10): "a"}), (400, 431, 0)),
    Case(4, "ten-thousand-headers", request("GET", GET, **{f"X_{i}": "a" for i in range(10_000)}), (400, 431, 0)),
    Case(4, "a-path-of-128-kib", request("GET", f"{CM}/{'a' * (128 << 10)}"), (400, 414, 0)),
    Case(4, "a-query-of-a-thousand-parameters", request("GET", f"{CM}?{'&'.join(f'a{i}=b' for i in range(1_000))}"), (400,)),
    Case(5, "arabic-digits-in-the-length", raw(f"POST {CM} HTTP/1.1", "Host: x", "Content-Length: \xd9\xa1", body=b"{"), (400, 0)),
    Case(5, "a-superscript-in-the-length", raw(f"POST {CM} HTTP/1.1", "Host: x", "Content-Length: \xb2", body=b"{}"), (400, 0)),
    Case(5, "a-plus-in-the-length", raw(f"POST {CM} HTTP/1.1", "Host: x", "Content-Length: +2", body=b"{}"), (400, 0)),
    Case(5, "an-underscore-in-the-length", raw(f"POST {CM} HTTP/1.1", "Host: x", "Content-Length: 1_0", body=b"{}"), (400, 0)),
    Case(5, "a-range-that-is-none", request("GET", GET, Range="bytes=\xb2-"), (400,)),
    Case(6, "a-gzip-bomb", request("POST", CM, gzip.compress(b"{" + b" " * (64 << 20)), Content_Encoding="gzip"), (400, 413, 415)),
    Case(6, "gzip-in-the-transfer", raw(f"POST {CM} HTTP/1.1", "Host: x", "Connection: close", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), (400, 415, 501, 0)),
    Case(8, "an-unknown-method", request("BREW", GET), (400, 405)),
    Case(8, "connect", raw("CONNECT example.com:443 HTTP/1.1", "Host: x", "Connection: close"), (400, 404, 405)),
    Case(8, "h2c", request("GET", "/version", Connection="close, Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAMAAABkAAQAAP__"), (200, 400)),
    Case(8, "http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", (400, 404, 405, 505, 0)),
    Case(8, "an-unknown-protocol", head("GET", "/echo", {"Host": "x", "Upgrade": "quic", "Connection": "close, Upgrade"}), (400, 426)),
    Case(8, "data-before-the-101", head("GET", "/echo", WS | {"Sec-WebSocket-Key": "short"}) + b"\x82\x7f" + b"\xff" * 8, (400,)),
    Case(8, "http-1.0", b"GET /version HTTP/1.0\r\n\r\n", (200, 400)),
    Case(8, "http-9.9", b"GET /version HTTP/9.9\r\nHost: x\r\n\r\n", (400, 505, 0)),
    Case(8, "no-http", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), (400, 0)),
]  # fmt: skip
PATHS = [
    *(
        Case(7, f"path-{i}", request("GET", path), (400,))
        for i, path in enumerate(
            (
                "/api/v1/namespaces/%2e%2e/secrets", "/api/v1/namespaces/./secrets", "/api/v1/../../etc/passwd", "/api//v1/namespaces",
                "/api/v1/namespaces/default%00/pods", "/api/v1/namespaces/a%2fb/pods", "/api/v1/namespaces/a%2Fb", "/healthz/%2E%2E/metrics",
                "/api/v1/namespaces/%ff/pods", "/api/v1/namespaces/%0d%0aX-A:b/pods", "/api/v1/%E2%80%AEnamespaces",
            )
        )
    ),
    Case(7, "encoded-twice", request("GET", "/api/v1/namespaces/%252e%252e/secrets"), (200, 404)),
    Case(7, "a-parameter-in-the-path", request("GET", "/api/v1/namespaces;a=b/default"), (404,)),
    Case(7, "a-parameter-in-the-name", request("GET", "/api/v1/namespaces/default;x/configmaps/a"), (404,)),
    Case(7, "an-absolute-url", request("GET", "http://127.0.0.1:1/api/v1/namespaces/kube-system"), (200, 400, 404)),
    Case(7, "a-star", request("GET", "*"), (400, 404)),
    Case(7, "no-slash", request("GET", "api/v1/namespaces"), (400, 404)),
    Case(7, "a-space", b"GET /api/v1 /namespaces HTTP/1.1\r\nHost: x\r\n\r\n", (400, 0)),
    Case(7, "a-broken-escape", request("GET", "/api/v1/namespaces/%zz"), (400, 404)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", [*FRAMING, *PATHS], ids=str)
def test_what_is_wrong_as_http_is_refused(hostile: Server, case: Case) -> None:
    judge(hostile, case)


@pytest.mark.slow
def test_who_sends_slowly_is_closed(hostile: Server) -> None:
    before = hostile.mark()
    with ThreadPoolExecutor(len(SLOW)) as pool:
        answers = list(pool.map(hostile.exchange, SLOW))
    after = hostile.mark()

    assert [str(c) for c, answer in zip(SLOW, answers, strict=True) if status_of(answer) not in c.expected] == []
    assert (after["revision"], after["in_flight"]) == (before["revision"], 0)


FRAMES = [
    Case(9, "a-frame-of-2-to-the-63", b"\x82\xff" + b"\xff" * 8 + b"\0" * 4, (101,), ADMIN),
    Case(9, "a-frame-that-is-too-large", b"\x82\xff" + (1 << 30).to_bytes(8, "big") + b"\0" * 4, (101,)),
    Case(9, "fragments-without-end", b"\x02\xfe\xff\xff\0\0\0\0" + bytes(65_535) + (b"\x00\xfe\xff\xff\0\0\0\0" + bytes(65_535)) * 40, (101,)),
    Case(9, "text-that-is-not-utf-8", b"\x81\x82\0\0\0\0\xff\xfe", (101,)),
    Case(9, "an-unknown-opcode", b"\x83\x80\0\0\0\0", (101,)),
    Case(9, "reserved-bits", b"\xf2\x80\0\0\0\0", (101,)),
    Case(9, "a-long-ping", b"\x89\xfe\x10\x00\0\0\0\0" + bytes(4096), (101,)),
    Case(9, "a-continuation-of-nothing", b"\x80\x80\0\0\0\0", (101,)),
    Case(9, "a-bad-close", b"\x88\x81\0\0\0\0a", (101,)),
    Case(9, "many-empty-frames-then-nonsense", b"\x82\x80\0\0\0\0" * 100_000 + b"\x83\x80\0\0\0\0", (101,)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", FRAMES, ids=str)
def test_a_frame_that_is_none_ends_the_websocket(hostile: Server, case: Case) -> None:
    sent = head("GET", "/echo", {**WS, "Sec-WebSocket-Protocol": "v5.channel.k8s.io"})

    judge(hostile, Case(case.row, case.name, sent, case.expected, then=(case.sent,)))
