"""Drives one device that is asked: reads what is due, writes what is wished, and backs off when it is silent.

What must stay true: only this task speaks to the device; it decides nothing (`schedule`, `twin.plan` and `judging` do); a write
is accepted only after it was read back; one missed answer is asked again before the device counts as lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from skerry.drivers import BusyError, DeviceOfflineError, Driver, DriverError, PeerError, Plugin, RefusedError, Target
from skerry.events.log import OutboxBusyError
from skerry.model.chance import fraction as by_chance
from skerry.model.profiles import Profile, Property
from skerry.node.devices.device import ManagedDevice
from skerry.node.devices.schedule import Schedule, reconnect_after_s
from skerry.node.devices.twin import Ack, Settle, Write, accepted, failed, plan, retry_after_s, same

log = logging.getLogger(__name__)

OPEN_S = 5.0
ASK_S = 3.0
IDLE_S = 60.0
_REASONS: tuple[tuple[type[DriverError], str], ...] = (
    (DeviceOfflineError, "Offline"),
    (PeerError, "Garbled"),
    (RefusedError, "Refused"),
    (BusyError, "LineBusy"),
)


class PolledDevice:
    """The conversation with one device, until `run` is cancelled."""

    def __init__(
        self,
        device: ManagedDevice,
        profile: Profile,
        target: Target,
        plugin: Callable[[], Plugin],
        *,
        fraction: Callable[[], float] = by_chance,
    ) -> None:
        self._device = device
        self._profile = profile
        self._target = target
        self._plugin = plugin
        self._fraction = fraction
        self._woken = asyncio.Event()
        self._retry_at: dict[str, float] = {}
        self._failures = 0
        self._lost_samples = False

    def wake(self) -> None:
        """There are new wishes."""
        self._retry_at.clear()
        self._woken.set()

    async def run(self) -> None:
        """Converse, and begin again after every failure."""
        while True:
            try:
                await self._converse()
            except DriverError as error:
                reason = next(r for kind, r in _REASONS if isinstance(error, kind))
                self._device.connection(False, reason, str(error))
            except Exception:  # a fault of a driver must not take the node's other devices along
                log.exception("driver failed", extra={"device": self._device.name, "protocol": self._profile.protocol})
                self._device.connection(False, "DriverFailed", "see the node's log")
            await asyncio.sleep(reconnect_after_s(self._failures, self._fraction()))
            self._failures += 1

    async def _converse(self) -> None:
        driver = await self._plugin().open(self._target, timeout_s=OPEN_S)
        try:
            driver.subscribe(lambda samples: self._device.take(samples, pushed=True))
            schedule = Schedule(self._profile.properties.values(), now=self._now())
            if schedule.next_at() == float("inf"):
                self._answered()
            while True:
                self._woken.clear()
                await self._read(driver, schedule.due(self._now()))
                await self._carry_out(driver)
                await self._wait(schedule.next_at())
        finally:
            await driver.close()

    async def _wait(self, until: float) -> None:
        until = min(until, *self._retry_at.values(), self._now() + IDLE_S)
        try:
            async with asyncio.timeout_at(until):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _read(self, driver: Driver, due: Sequence[Property]) -> None:
        if not due:
            return
        try:
            samples = await driver.read(due, timeout_s=ASK_S)
        except BusyError:
            return
        except (DeviceOfflineError, PeerError):
            samples = await driver.read(due, timeout_s=ASK_S)
        self._answered()
        try:
            self._device.take(samples)
        except OutboxBusyError as error:
            if not self._lost_samples:
                log.warning("samples not stored", extra={"device": self._device.name, "error": str(error)})
            self._lost_samples = True
        else:
            self._lost_samples = False

    def _answered(self) -> None:
        self._failures = 0
        self._device.connection(True, "Answers")

    async def _carry_out(self, driver: Driver) -> None:
        for step in plan(self._profile, self._device.twin):
            match step:
                case Settle(name, ack):
                    self._device.acknowledge(name, ack)
                case Write(prop, _) if self._retry_at.get(prop.name, 0.0) > self._now():
                    continue
                case Write():
                    await self._write(driver, step)

    async def _write(self, driver: Driver, step: Write) -> None:
        """Write and read back; a lost answer is taken down as failed before the conversation ends."""
        name, twin = step.prop.name, self._device.twin
        try:
            settled = await driver.write(step.prop, step.value, timeout_s=ASK_S)
            if step.prop.readable:
                await self._read(driver, [step.prop])
        except RefusedError as error:
            self._settle(name, Ack(twin.generation, "Rejected", step.value, message=str(error)))
            return
        except BusyError as error:
            self._settle(name, failed(twin, name, step.value, str(error)))
            return
        except DriverError as error:
            self._settle(name, failed(twin, name, step.value, f"{error}; whether it was written is not known"))
            raise
        reported = twin.reported.get(name) if step.prop.readable else None
        if reported is None or reported.value is None or same(reported.value, settled):
            self._settle(name, accepted(twin, name, step.value, settled))
        else:
            self._settle(name, failed(twin, name, step.value, f"wrote {settled!r}, reads back {reported.value!r}"))

    def _settle(self, name: str, ack: Ack) -> None:
        if name not in self._device.twin.desired:
            return
        self._device.acknowledge(name, ack)
        self._retry_at.pop(name, None)
        if ack.code == "Failed":
            self._retry_at[name] = self._now() + retry_after_s(ack)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
