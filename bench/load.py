"""The load client: a process of its own that sends prepared requests over keep-alive TLS connections.

`python -m bench.load PLAN` reads a JSON plan from standard input and prints a JSON result: seconds, its own CPU
seconds, answers by status and latencies. It parses as little HTTP as it must, so that it does not become the bottleneck.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import ssl
import sys
import time
from collections import Counter
from typing import Any, cast
from urllib.parse import quote

import uvloop

LAST_CHUNK = b"\r\n0\r\n\r\n"
TOKEN = re.compile(rb'"continue":"([^"]+)"')


class Client(asyncio.Protocol):
    """One connection: sends a request, waits for its answer, sends the next."""

    def __init__(
        self, requests: list[tuple[bytes, str]], done: asyncio.Future[None], statuses: Counter[int], latencies: list[float]
    ) -> None:
        self.requests = iter(requests)
        self.done = done
        self.statuses = statuses
        self.latencies = latencies
        self.buffer = bytearray()
        self.need = -1
        self.sent = 0.0
        self.page = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is not registered as one
        self.next()

    def next(self) -> None:
        request, self.page = next(self.requests, (None, ""))
        if request is None:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            if self.need < 0:
                end = self.buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = bytes(self.buffer[: end + 2]).lower()
                if b"transfer-encoding: chunked" not in head:
                    self.need = end + 4 + self.length(head)
                elif self.buffer.endswith(LAST_CHUNK):  # one request at a time: nothing comes behind it
                    self.need = len(self.buffer)
                else:
                    return
            if len(self.buffer) < self.need:
                return
            self.statuses[int(self.buffer[9:12])] += 1
            more = self.more(bytes(self.buffer[: self.need])) if self.page else b""
            del self.buffer[: self.need]
            self.need = -1
            self.latencies.append(time.perf_counter() - self.sent)
            if more:
                self.transport.write(more)
            else:
                self.next()

    def more(self, answer: bytes) -> bytes:
        """Return the request for the page that follows *answer*, b"" when it was the last."""
        found = TOKEN.search(answer)
        return self.page.replace("TOKEN", quote(found[1].decode())).encode() if found else b""

    @staticmethod
    def length(head: bytes) -> int:
        at = head.find(b"content-length:")
        if at < 0:
            raise ValueError(f"an answer without Content-Length: {head!r}")
        return int(head[at + 15 : head.find(b"\r\n", at)])

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))


def render(host: str, step: dict[str, Any]) -> tuple[bytes, str]:
    """Return a request, and for a list in pages what the next page is asked for with."""
    body = (step.get("body") or "").encode()
    head = f"{step['method']} {step['path']} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {step.get('type', 'application/json')}\r\n"
    page = f"GET {step['path']}&continue=TOKEN HTTP/1.1\r\nHost: {host}\r\n\r\n" if step.get("pages") else ""
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body, page


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=plan["ca"])
    context.load_cert_chain(plan["cert"], plan["key"])
    loop = asyncio.get_running_loop()
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    steps = [render(plan["host"], step) for step in plan["steps"]]
    clients = plan["clients"]
    began = 0.0
    finished = [loop.create_future() for _ in range(clients)]
    protocols = [Client(steps[i::clients], finished[i], statuses, latencies) for i in range(clients)]
    began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.gather(*(loop.create_connection(lambda p=p: p, plan["host"], plan["port"], ssl=context) for p in protocols))  # type: ignore[misc]
    await asyncio.gather(*finished)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    latencies.sort()
    return {
        "seconds": seconds,
        "cpu_s": after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime,
        "statuses": statuses,
        "p50_ms": latencies[len(latencies) // 2] * 1e3,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1e3,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))
