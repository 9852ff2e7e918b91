"""The link over a network that fails in ways a closed socket does not show (F16, F17, F18): a relay that swallows bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from skerry.link import Limits
from skerry.node.connection import HubLink
from skerry.node.identity import StateFolder
from tests.unit.frontdoor.stage import InProcessWorkshop, Stage, a_stage, settle

pytestmark = pytest.mark.slow

FAST = Limits(ping_every_s=0.2, silent_s=0.6)
"""The link's own times, 40 times faster; the times themselves are tested on a virtual clock."""

PATIENT = Limits(ping_every_s=0.2, silent_s=2.5)
"""So that a machine that stands still for a moment is no silent hub."""


@dataclass
class Relay:
    """Carries bytes between node and hub; a direction that is cut swallows them, and tells nobody."""

    hub_port: int
    up: bool = True
    down: bool = True
    connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self.hub_port)
        self._writers += [writer, back]
        for source, sink, way in ((reader, back, "up"), (there, writer, "down")):
            task = asyncio.create_task(self._carry(source, sink, way))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str) -> None:
        try:
            while data := await source.read(65536):
                if getattr(self, way):
                    sink.write(data)
                    await sink.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if getattr(self, way):
                sink.close()

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(w.wait_closed() for w in self._writers), return_exceptions=True)


@asynccontextmanager
async def relayed(folder: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits = FAST) -> AsyncIterator[tuple[Stage, Relay, HubLink]]:
    monkeypatch.setattr("skerry.node.connection.hub_link.NODE_LIMITS", limits)
    async with a_stage(folder) as stage:
        relay = Relay(stage.port)
        server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
        state = stage.a_node("node-a")
        settings = msgspec.structs.replace(state.load_settings(), hub=f"https://localhost:{server.sockets[0].getsockname()[1]}")
        state.save_settings(settings)
        link = HubLink(StateFolder(state.path), state.load(), InProcessWorkshop())
        running = asyncio.create_task(link.run())
        try:
            await asyncio.wait_for(link.wait_connected(), 60)
            yield stage, relay, link
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            server.close()
            await relay.end()
            await settle()


@pytest.mark.parametrize("cut", ["up", "down", "both"])
async def test_a_link_that_lost_a_direction_is_found_and_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    async with relayed(tmp_path, monkeypatch) as (_, relay, link):
        relay.up, relay.down = cut not in ("up", "both"), cut not in ("down", "both")
        async with asyncio.timeout(60):
            while link.connected:
                await asyncio.sleep(0.01)

        relay.up = relay.down = True
        await asyncio.wait_for(link.wait_connected(), 5)

        assert relay.connections >= 2


async def test_an_idle_link_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with relayed(tmp_path, monkeypatch, PATIENT) as (stage, relay, link):
        await asyncio.sleep(3)

        assert link.connected
        assert relay.connections == 1
        assert stage.door.sessions.connected == ["node-a"]
