"""Events on a node, put together: the uploader, and a runner for each Trigger that this node was told of.

What must stay true: it works from the node's memory with no hub; a failing runner is started again and does not touch the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from skerry.durable import StoreError
from skerry.events.log import Outbox
from skerry.model.kinds.broker import OUR_CLASS, class_of
from skerry.model.objects import Name, Object
from skerry.node.eventing.ingress import BrokerIngress
from skerry.node.eventing.uploader import HubTransport, Uploader, UploadSettings

if TYPE_CHECKING:  # what Triggers need is loaded with the first of them
    from skerry.events.sinks import HttpSender
    from skerry.node.eventing.runner import TriggerCounts
    from skerry.node.eventing.triggers import RunningTrigger

log = logging.getLogger(__name__)

MAX_TRIGGERS = 500
_RESTART_S = 5.0
_SWEEP_S = 15.0


class Watched(Protocol):
    """The node's copy of one list and watch: a `Mirror`."""

    def items(self) -> Mapping[Name, Object]: ...
    def subscribe(self, callback: Callable[[Name], None], /) -> object: ...


class EventingSubsystem:
    """`start` and `stop`; *brokers* and *triggers* are the mirrors of what runs at this node's Site, and of what runs everywhere.

    *ingress* is the loopback address and port (0: a free one) where apps on this node send events to Brokers; None: nowhere.
    """

    def __init__(
        self,
        outbox: Outbox,
        hub: HubTransport,
        *,
        brokers: Sequence[Watched],
        triggers: Sequence[Watched],
        settings: UploadSettings | None = None,
        ingress: tuple[str, int] | None = None,
    ) -> None:
        self._outbox = outbox
        self._uploader = Uploader(outbox, hub, settings=settings)
        self._brokers = brokers
        self._triggers = triggers
        self._sender: HttpSender | None = None
        self._changed = asyncio.Event()
        self._running: dict[str, RunningTrigger] = {}
        self._runners: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._ingress_address = ingress
        self._ingress = BrokerIngress(outbox, self._runs_here)
        self.counts: dict[str, TriggerCounts] = {}

    @property
    def running(self) -> Mapping[str, RunningTrigger]:
        """The Triggers that run now, by UID."""
        return self._running

    @property
    def ingress(self) -> tuple[str, int] | None:
        """Where apps POST events to; None when nothing listens."""
        return self._ingress.address if self._ingress.address[0] else None

    def _runs_here(self, broker: Name) -> bool:
        found = next((m.items()[broker] for m in self._brokers if broker in m.items()), None)
        return found is not None and class_of(found) == OUR_CLASS

    async def start(self) -> None:
        """Start uploading and running Triggers; returns at once. A port that is taken costs the ingress and nothing else."""
        for mirror in (*self._brokers, *self._triggers):
            mirror.subscribe(self._on_change)
        self._changed.set()
        loop = asyncio.get_running_loop()
        if self._ingress_address is not None:
            try:
                await self._ingress.open(*self._ingress_address)
            except (OSError, ValueError) as error:
                log.error("brokers take no events over HTTP", extra={"address": self._ingress_address, "cause": str(error)})
        self._tasks = [loop.create_task(self._upload(), name="event uploads"), loop.create_task(self._follow(), name="triggers")]

    async def stop(self) -> None:
        """Stop; what was not delivered or uploaded is on disk."""
        await self._ingress.close()
        tasks = [*self._tasks, *self._runners.values()]
        self._tasks, self._runners = [], {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._sender is not None:
            await self._sender.close()

    def _on_change(self, name: Name) -> None:
        self._changed.set()

    async def _upload(self) -> None:
        """Upload, and begin again should it fail: a hub that is away or refuses is no failure, a broken disk is."""
        while True:
            try:
                await self._uploader.run()
            except Exception:
                log.exception("the upload of events failed", extra={"again_in_s": _RESTART_S})
            await asyncio.sleep(_RESTART_S)

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SWEEP_S):
                    await self._changed.wait()
            self._changed.clear()
            if self._sender is not None:
                self._sender.forget_idle()
            try:
                await self._apply()
            except StoreError as error:
                log.error("triggers cannot be changed", extra={"cause": str(error)})

    async def _apply(self) -> None:
        """Carry out the plan from what runs to what is wanted."""
        brokers = {name: obj for mirror in self._brokers for name, obj in mirror.items().items()}
        triggers = [obj for mirror in self._triggers for obj in mirror.items().values()]
        if len(triggers) > MAX_TRIGGERS:
            log.error("too many Triggers for one node", extra={"triggers": len(triggers), "limit": MAX_TRIGGERS})
            triggers = triggers[:MAX_TRIGGERS]
        if not triggers and not self._running and not self._outbox.cursors:
            return
        from skerry.node.eventing.triggers import Start, Stop, plan, wanted

        for step in plan(wanted(triggers, brokers), self._running, list(self._outbox.cursors)):
            match step:
                case Stop(uid, forget):
                    await self._stop_runner(uid, forget=forget)
                case Start(trigger):
                    self._running[trigger.uid] = trigger
                    self._runners[trigger.uid] = asyncio.create_task(self._run(trigger), name=f"trigger {trigger.name}")

    async def _stop_runner(self, uid: str, *, forget: bool) -> None:
        self._running.pop(uid, None)
        task = self._runners.pop(uid, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if forget:
            self.counts.pop(uid, None)
            await self._outbox.forget(uid)

    async def _run(self, trigger: RunningTrigger) -> None:
        """Run one Trigger and start it again should it fail."""
        from skerry.events.sinks import HttpSender
        from skerry.node.eventing.runner import TriggerCounts, TriggerRunner

        counts = self.counts.setdefault(trigger.uid, TriggerCounts())
        sender = self._sender = self._sender or HttpSender()
        while True:
            try:
                await TriggerRunner(trigger, self._outbox, sender, counts=counts).run()
            except Exception:
                log.exception("a Trigger's runner failed", extra={"trigger": str(trigger.name), "again_in_s": _RESTART_S})
            await asyncio.sleep(_RESTART_S)
