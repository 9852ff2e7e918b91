"""An API server in a process of its own that watches itself: how long its loop stood still, how much memory it has, what it holds.

Run as `python -m tests.bad_input.serving FOLDER SECONDS LOOP`: so long it waits for what clients owe it, where it would otherwise wait
for half a minute. Says its port in one line of JSON; each line on its input is answered with a
line that says what was the case since the last one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from skerry.apiserver.http import limits, shell
from skerry.apiserver.http.message import Request, Response, Upgrade, User, WebSocket
from skerry.apiserver.http.routes import Access, Route
from skerry.hub import collecting
from skerry.testing.apiserver import Running, running

BEAT_S = 0.002


class Turning(asyncio.SelectorEventLoop):
    """A loop that knows how much CPU time its longest turn took: everything that ran between two looks at who else has come.

    What the machine does beside it does not count, nor what runs in other threads. uvloop, on which a hub runs, tells nobody of its turns;
    the callbacks are the same.
    """

    worst_s = 0.0

    def _run_once(self) -> None:
        began = time.thread_time()
        super()._run_once()  # type: ignore[misc]
        self.worst_s = max(self.worst_s, time.thread_time() - began)


class Heart:
    """A task that beats; what lies between two beats is how long the loop stood still by the clock: with what others did meanwhile."""

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def beat(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(BEAT_S)
            now = time.perf_counter()
            self.worst_s = max(self.worst_s, now - before)
            before = now


def machine_factor() -> float:
    """Say how much slower this machine is, now, than the one whose figures the limits are: at least 1."""
    text = json.dumps([{"a": [1, 2, 3], "b": {"c": "d" * 20}} for _ in range(2_000)])
    began = time.thread_time()
    for _ in range(3):
        json.loads(text)
    return max(1.0, (time.thread_time() - began) / 0.012)


def resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


async def _echo(ws: WebSocket) -> None:
    while (message := await ws.receive()) is not None:
        await ws.send(message)


async def _upgrade(request: Request) -> Response:
    return Response(101, upgrade=Upgrade(("v5.channel.k8s.io",), _echo, lambda: None))


async def serve(folder: Path, lines: Callable[[], Awaitable[bytes]], haste_s: float) -> None:
    shell.FIRST_REQUEST_S = shell.BODY_TIMEOUT_S = shell.STRANGERS_BODY_S = haste_s
    limits.STALLED_S, limits.SWEEP_S = haste_s, haste_s / 4
    heart, loop = Heart(), asyncio.get_running_loop()
    async with running(folder) as server:
        server.server.routes.add(Route(("GET",), "/echo", Access.PATH, _upgrade))
        task = asyncio.create_task(heart.beat())
        await _keep_one(server)
        _leaf_files(server, folder)
        collecting.settle()
        print(json.dumps({"port": server.port}), flush=True)
        while await lines():
            await asyncio.sleep(BEAT_S * 3)
            turn_s = loop.worst_s if isinstance(loop, Turning) else 0.0
            factor = await asyncio.to_thread(machine_factor)
            print(json.dumps({**_said(server), "factor": factor, "worst_s": turn_s, "wall_s": heart.worst_s}), flush=True)
            forget_peak()
            heart.worst_s = 0.0
            if isinstance(loop, Turning):
                loop.worst_s = 0.0
        task.cancel()


def _said(server: Running) -> dict[str, Any]:
    store = server.server.store
    watchers = sum(len(found) for found in store._watchers.values())
    return {
        "peak_kib": resident_kib(),
        "revision": store.revision,
        "watchers": watchers,
        "in_flight": server.server.http.in_flight.total + server.server.http.in_flight.strangers,
    }


async def _keep_one(server: Running) -> None:
    """Make the object that requests try to change."""
    body = b'{"metadata":{"name":"kept"},"data":{"k":"v"}}'
    user = User("admin", ("system:masters",))
    answer = await server.server.dispatcher.handle(Request("POST", "/api/v1/namespaces/default/configmaps", "", {}, body, user))
    assert answer.status == 201, answer.body


def _leaf_files(server: Running, folder: Path) -> None:
    """Leave the CA's key beside the server's state: tests issue certificates with it."""
    server.ca.private_key_pem.write_to_path(str(folder / "ca.key"))


async def main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await serve(Path(sys.argv[1]), reader.readline, float(sys.argv[2]))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=Turning if sys.argv[3] == "measured" else uvloop.new_event_loop) as runner:
        runner.run(main())
