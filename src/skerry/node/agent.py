"""The node process, put together: what was told from memory first, the hub whenever there is one.

What stays true: one process a state folder; containers outlive this process; nothing is stopped because of a clock, a
certificate or an absent hub; the end of any part is the end of the process, which finds everything again when it starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from skerry.kube import HttpApi
from skerry.model.errors import unavailable
from skerry.model.resources import BROKERS, DEVICES, NODES, PODS, SITE_LABEL, TRIGGERS, Resource
from skerry.node.connection import AnsweringStream, HubLink
from skerry.node.host import address_towards, host_facts, host_state
from skerry.node.identity import Identity, NodeSettings, StateFolder
from skerry.node.identity.hub_address import HubAddress
from skerry.node.logs import log_to_stderr
from skerry.node.memory import Memory, Mirror
from skerry.node.pods import (
    EventRecorder,
    NodeFacts,
    PodReconciler,
    PodTokens,
    PodTools,
    References,
    StatusReporter,
    VolumeRoom,
    memory_folder,
)
from skerry.node.presence import Presence, capacity
from skerry.node.registration import Registration
from skerry.node.runtimes.contract import Runtime
from skerry.node.runtimes.process import ProcessRuntime, ProcessSettings, Program, detect
from skerry.node.site import SiteWatch
from skerry.trust import Workshop
from skerry.trust.files import leave_no_core

if TYPE_CHECKING:
    from skerry.events.log import Outbox
    from skerry.node.streams import PodStreams

log = logging.getLogger(__name__)

MQTT_PORT = 1883

StreamHandler = Callable[[dict[str, Any], AnsweringStream], Awaitable[None]]


def run(folder: StateFolder) -> None:
    """Run the node of *folder* until SIGTERM or SIGINT; raises IdentityError when it has not joined or runs already."""
    log_to_stderr()
    leave_no_core()
    asyncio.run(_until_signal(folder))


async def _until_signal(folder: StateFolder) -> None:
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, main.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serve(folder)


async def serve(folder: StateFolder) -> None:
    """Run the node until cancelled; IdentityError when it has not joined, or another process runs it."""
    if not folder.settings.exists():
        folder.load()  # says how to join, and makes no folder
    folder.prepare()
    lock = folder.lock()
    try:
        identity = folder.load()
        async with contextlib.AsyncExitStack() as stack:
            node = await _assemble(folder, identity, stack)
            log.info("node started", extra={"node": identity.name, "pods": len(node.pods_mirror.items()), "pid": os.getpid()})
            await node.run()
    finally:
        os.close(lock)


def process_runtime(folder: StateFolder, settings: NodeSettings) -> ProcessRuntime:
    """Return the process runtime that goes with these settings, not opened yet."""
    programs = {n: Program(p, tuple(settings.program_binds.get(n, ()))) for n, p in settings.programs.items()}
    layouts = settings.oci_layouts
    return ProcessRuntime(
        ProcessSettings(pods=folder.path / "pods", programs=programs, layouts=folder.path / layouts if layouts else None),
        detect(f"skerry-{settings.name}"),
    )


async def _assemble(folder: StateFolder, identity: Identity, stack: contextlib.AsyncExitStack) -> Node:
    memory = await Memory.open(folder.path, spare=memory_folder(folder.path))
    stack.push_async_callback(memory.close)
    runtime = process_runtime(folder, identity.settings)
    await runtime.open()
    stack.push_async_callback(runtime.close)
    workshop = Workshop()
    stack.push_async_callback(workshop.close)
    return Node(folder, identity, memory, runtime, HubLink(folder, identity, workshop), stack)


class Node:
    """The parts and how they are joined; each part's own module says what it does. *stack* closes what the parts leave open."""

    def __init__(
        self,
        folder: StateFolder,
        identity: Identity,
        memory: Memory,
        runtime: Runtime,
        link: HubLink,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        self._folder, self._identity, self._memory, self._link = folder, identity, memory, link
        self._settings = identity.settings
        self._runtime = runtime
        self._facts = host_facts()
        self._api = HttpApi(link)
        self._address = self._first_address()
        name, connected = identity.name, link.wait_connected
        self._recorder = EventRecorder(self._api, name)
        self._reporter = StatusReporter(self._api, connected=connected)
        self._references = References(self._api, memory, lambda uid: self._pods.changed(uid), connected=connected)
        stack.push_async_callback(self._references.close)
        self._tokens = PodTokens(self._api, memory, lambda uid: self._pods.changed(uid), now=lambda: datetime.now(UTC), connected=connected)
        stack.push_async_callback(self._tokens.close)
        self.pods_mirror = Mirror(self._api, memory, PODS, fields=f"spec.nodeName={name}", connected=connected)
        self._own_mirror = Mirror(self._api, memory, NODES, fields=f"metadata.name={name}", connected=connected)
        self._pods = PodReconciler(self.pods_mirror, self._references, self._pod_tools())
        self._registration = Registration(self._api, self._presence, connected=connected)
        self._own_mirror.subscribe(lambda name: self._registration.again() if name not in self._own_mirror.items() else None)
        self._site = SiteWatch(name, self._own_mirror, self._at_site, self._registration.registered.wait)
        link.handle("logs", lambda params, stream: self._streams().logs(params, stream))
        link.handle("exec", lambda params, stream: self._streams().exec(params, stream))
        link.handle("forward", self._forward)
        link.handle("twin", self._twin)
        self._twins: StreamHandler | None = None

    def _pod_tools(self) -> PodTools:
        hub = HubAddress.parse(self._settings.hub)
        return PodTools(
            runtime=self._runtime,
            volumes=VolumeRoom(self._folder.path / "pods", memory_folder(self._folder.path), self._settings.host_paths),
            recorder=self._recorder,
            reporter=self._reporter,
            node=lambda: NodeFacts(self._identity.name, self._address, capacity(self._presence()), hub=(hub.host, hub.port)),
            lookup=self._references.lookup,
            tokens=self._tokens,
            allow_unenforced=self._settings.allow_unenforced_limits,
        )

    async def run(self) -> None:
        """Run every part until cancelled, or until one fails."""
        async with asyncio.TaskGroup() as group:
            for name, work in (
                ("link", self._link.run()),
                ("certificate", self._link.keep_fresh()),
                ("address", self._follow_address()),
                ("pods told", self.pods_mirror.run()),
                ("own node told", self._own_mirror.run()),
                ("pods", self._pods.run()),
                ("pod status", self._reporter.run()),
                ("events", self._recorder.run()),
                ("registration", self._registration.run()),
                ("site", self._site.run()),
            ):
                group.create_task(work, name=name)

    # ------------------------------------------------------------ who we are

    def _first_address(self) -> str:
        host = HubAddress.parse(self._settings.hub).host
        return self._settings.address or self._memory.fact("address") or address_towards(host)

    async def _follow_address(self) -> None:
        """Take the address that leads to the hub, and remember it for a start without one."""
        while not self._settings.address:
            await self._link.wait_connected()
            found = self._link.local_address
            if found and found != self._memory.fact("address"):
                self._address = found
                await self._memory.remember("address", found)
            await asyncio.sleep(30.0)

    def _presence(self) -> Presence:
        return Presence(
            name=self._identity.name,
            address=self._address,
            labels=self._settings.labels,
            facts=self._facts,
            state=host_state(self._folder.path),
            runtimes=(self._runtime.name,),
            enforcement=self._runtime.enforcement,
            doubt=self.pods_mirror.doubt,
            trouble=self._memory.trouble,
            problems={self._runtime.name: self._runtime.problem},
        )

    # ------------------------------------------------------------ devices and events

    @contextlib.asynccontextmanager
    async def _at_site(self, site: str) -> AsyncIterator[None]:
        """Devices and Triggers for as long as the node is at *site*."""
        from skerry.events.log import Outbox
        from skerry.node.eventing import EventingSubsystem

        async with contextlib.AsyncExitStack() as stack:
            outbox = await Outbox.open(self._folder.path / "events.sqlite")
            stack.push_async_callback(outbox.close)
            selectors = [f"!{SITE_LABEL}", *([f"{SITE_LABEL}={site}"] if site else [])]
            brokers = [self._mirror_by_label(BROKERS, s) for s in selectors]
            triggers = [self._mirror_by_label(TRIGGERS, s) for s in selectors]
            for mirror in brokers:
                stack.push_async_callback(_end, asyncio.create_task(mirror.run(), name=f"follow {mirror.key}"))
            stack.push_async_callback(_end, asyncio.create_task(follow_triggers(brokers, triggers), name="follow triggers"))
            eventing = EventingSubsystem(outbox, self._link, brokers=brokers, triggers=triggers, ingress=self._broker_address())
            stack.push_async_callback(eventing.stop)
            await eventing.start()
            group = await stack.enter_async_context(asyncio.TaskGroup())
            devices = group.create_task(self._run_devices(site, outbox), name="devices")
            yield
            devices.cancel()

    async def _run_devices(self, site: str, outbox: Outbox) -> None:
        """Drive devices until cancelled; what that takes is loaded when there is one, or when there is MQTT to listen to."""
        mqtt = self._mqtt_address()
        if mqtt is None:
            await self._first_device()
        from skerry.node.devices import DeviceSettings, DeviceSubsystem

        settings = DeviceSettings(
            node=self._identity.name,
            state=self._folder.path,
            site=site,
            mqtt=mqtt,
            mqtt_certificate=self._settings.mqtt_certificate,
            mqtt_key=self._settings.mqtt_key,
        )
        connected = self._link.wait_connected
        devices = DeviceSubsystem(self._api, self._memory, outbox, settings, connected=connected, record=self._recorder.record)
        try:
            await devices.start()
            self._twins = devices.twin_handler
            await asyncio.get_running_loop().create_future()
        finally:
            self._twins = None
            await devices.stop()

    async def _first_device(self) -> None:
        """Return once the node was told of a device, now or in an earlier life."""
        mine = f"status.nodeName={self._identity.name}"
        devices = Mirror(self._api, self._memory, DEVICES, fields=mine, connected=self._link.wait_connected)
        told = asyncio.Event()
        devices.subscribe(lambda _: told.set())
        following = asyncio.create_task(devices.run(), name="first device")
        try:
            while not devices.items():
                told.clear()
                await told.wait()
        finally:
            await _end(following)

    def _mirror_by_label(self, resource: Resource, selector: str) -> Mirror:
        return Mirror(self._api, self._memory, resource, labels=selector, connected=self._link.wait_connected)

    def _mqtt_address(self) -> tuple[str, int] | None:
        if self._settings.mqtt_listen == "off":
            return None
        host, _, port = self._settings.mqtt_listen.rpartition(":")
        return (host.strip("[]"), int(port)) if host else (self._address, MQTT_PORT)

    def _broker_address(self) -> tuple[str, int] | None:
        if self._settings.broker_listen == "off":
            return None
        host, _, port = self._settings.broker_listen.rpartition(":")
        return (host.strip("[]"), int(port)) if host else ("127.0.0.1", 0)

    def _streams(self) -> PodStreams:
        from skerry.node.streams import PodStreams  # loaded when somebody asks for a log or a command

        return PodStreams(self._runtime, self._pods.pod)

    async def _forward(self, params: dict[str, Any], stream: AnsweringStream) -> None:
        from skerry.node.forwarding import Forwarding

        forwarding = Forwarding(self._pods.pod, self._runtime.pod_owner, own_uid=os.geteuid(), address=lambda: self._address)
        await forwarding.forward(params, stream)

    async def _twin(self, params: dict[str, Any], stream: AnsweringStream) -> None:
        if self._twins is None:
            raise unavailable("the node has not begun with its devices yet")
        await self._twins(params, stream)


async def follow_triggers(brokers: Sequence[Mirror], triggers: Sequence[Mirror]) -> None:
    """Follow Triggers from the first Broker on: without one they do nothing, and each watch costs the hub as many as it has nodes."""
    told = asyncio.Event()
    for mirror in brokers:
        mirror.subscribe(lambda _: told.set())
    while not any(mirror.items() for mirror in brokers):
        told.clear()
        await told.wait()
    async with asyncio.TaskGroup() as group:
        for mirror in triggers:
            group.create_task(mirror.run(), name=f"follow {mirror.key}")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
