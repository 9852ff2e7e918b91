"""A part of the fleet: hundreds of nodes in one process, each made of the parts of a real one; only their containers are not real.

`python -m bench.fleet_nodes` reads a JSON plan from a line of standard input, joins its nodes as `skerry node join` does, runs them as
`skerry node run` does, and says a line of JSON after each of the two. It ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import resource
import sys
import time
from pathlib import Path

import msgspec

from skerry.node.agent import Node
from skerry.node.connection import HubLink
from skerry.node.identity import NodeSettings, StateFolder
from skerry.node.identity.hub_address import HubAddress
from skerry.node.identity.joining import fetch_ca, join
from skerry.node.memory import Memory
from skerry.testing.runtime import FakeHost, FakeRuntime
from skerry.trust import Workshop
from skerry.trust.joining import JoinToken

JOIN_S = 150.0


class Plan(msgspec.Struct):
    """Which nodes: `tokens` has one for each name. Their state is kept in a folder of *folder* each."""

    hub: str
    folder: str
    tokens: dict[str, str]

    def state(self, node: str) -> StateFolder:
        return StateFolder(Path(self.folder) / node)


def say(**told: object) -> None:
    print(json.dumps(told), flush=True)


async def join_all(plan: Plan) -> None:
    """Let every node ask for its certificate, all at the same time."""
    workshop, began, waits = Workshop(), time.monotonic(), 0

    def waiting(_: str) -> None:
        nonlocal waits
        waits += 1

    async def one(node: str, token: JoinToken) -> None:
        settings = NodeSettings(name=node, hub=plan.hub, mqtt_listen="off", broker_listen="off")
        ca = await fetch_ca(HubAddress.parse(plan.hub), token.ca_hash)
        await join(plan.state(node), settings, workshop, ca=ca, token=token, wait_s=JOIN_S, say=waiting)

    try:
        async with asyncio.TaskGroup() as group:
            for node, text in plan.tokens.items():
                group.create_task(one(node, JoinToken.parse(text)))
    finally:
        await workshop.close()
    say(step="joined", seconds=time.monotonic() - began, waits=waits)


async def run_node(folder: StateFolder, workshop: Workshop) -> None:
    """Run one node until cancelled, as `skerry.node.agent.serve` puts it together."""
    async with contextlib.AsyncExitStack() as stack:
        identity = folder.load()
        memory = await Memory.open(folder.path)
        stack.push_async_callback(memory.close)
        runtime = FakeRuntime(FakeHost())
        await runtime.open()
        node = Node(folder, identity, memory, runtime, HubLink(folder, identity, workshop), stack)
        await node.run()


async def run_all(plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    workshop, ended = Workshop(), asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_node(plan.state(node), workshop), name=node) for node in plan.tokens]
        await asyncio.sleep(0)
        say(step="started", cpu_s=time.process_time())
        await ended.wait()
        for task in tasks:
            task.cancel()
    await workshop.close()


async def main(plan: Plan) -> None:
    await join_all(plan)
    sys.stdin.readline()  # the others have joined, too
    await run_all(plan)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    gc.set_threshold(50_000, 20, 100)  # the nodes' objects stay
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(msgspec.json.decode(sys.stdin.readline(), type=Plan)))
