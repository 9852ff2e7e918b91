"""200 watches and their writers in a process of their own: how fast changes fan out.

Reads a JSON plan from standard input, prints a JSON result. An event is one line of a watch's stream; the watchers count
lines and note when each arrives, and parse nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import ssl
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

import uvloop

WRITERS = 20
REVISION = re.compile(rb'"resourceVersion":"(\d+)"')


class Watch(asyncio.Protocol):
    """One watch: `arrivals` has the revision and the time of each event."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.arrivals: list[tuple[int, float]] = []
        self.open = asyncio.get_running_loop().create_future()
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is not registered as one
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if not self.open.done():
            self.open.set_result(None)
        now = time.monotonic()
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            found = REVISION.search(line)
            if found and b'"ADDED"' not in line[:40]:
                self.arrivals.append((int(found[1]), now))


async def change(plan: dict[str, Any], context: ssl.SSLContext, objects: Sequence[int], pause_s: float) -> list[tuple[int, float]]:
    """Patch the objects one after the other; return the revision and the time of each answer."""
    reader, writer = await asyncio.open_connection(plan["host"], plan["port"], ssl=context)
    answers = []
    for i in objects:
        body = json.dumps({"data": {"i": f"{pause_s}-{i}"}}).encode()
        head = f"PATCH {plan['objects']}{i} HTTP/1.1\r\nHost: {plan['host']}\r\nContent-Type: application/merge-patch+json\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        at = answer.lower().find(b"content-length:") + 15
        content = await reader.readexactly(int(answer[at : answer.find(b"\r\n", at)]))
        found = REVISION.search(content)
        assert found, content[:300]
        answers.append((int(found[1]), time.monotonic()))
        await asyncio.sleep(pause_s)
    writer.close()
    return answers


async def everything(watches: list[Watch], count: int) -> None:
    for _ in range(600):
        if all(len(w.arrivals) >= count for w in watches):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"watches saw {sorted({len(w.arrivals) for w in watches})} events, not {count}")


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=plan["ca"])
    context.load_cert_chain(plan["cert"], plan["key"])
    request = f"GET {plan['watch']} HTTP/1.1\r\nHost: {plan['host']}\r\n\r\n".encode()
    watches = [Watch(request) for _ in range(plan["watches"])]
    loop = asyncio.get_running_loop()
    for watch in watches:
        await loop.create_connection(lambda w=watch: w, plan["host"], plan["port"], ssl=context)  # type: ignore[misc]
    await asyncio.gather(*(w.open for w in watches))
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    await asyncio.gather(*(change(plan, context, range(i, plan["burst"], WRITERS), 0) for i in range(WRITERS)))
    await everything(watches, plan["burst"])
    burst_s = max(w.arrivals[-1][1] for w in watches) - began
    for watch in watches:
        watch.arrivals.clear()
    answers = dict(await change(plan, context, range(plan["paced"]), 0.02))
    await everything(watches, plan["paced"])
    delays = sorted(at - answers[revision] for w in watches for revision, at in w.arrivals if revision in answers)
    after = resource.getrusage(resource.RUSAGE_SELF)
    for watch in watches:
        watch.transport.close()
    return {
        "events_per_s": plan["watches"] * plan["burst"] / burst_s,
        "p99_ms": delays[len(delays) * 99 // 100] * 1e3,
        "cpu_s": after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))
