"""Drives one device that speaks by itself, over the node's MQTT listener.

What must stay true: what is acknowledged is stored, or was judged to be no message at all; an acknowledgement counts for the
generation that it names; the device's own clock is believed only where it is plausible.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from skerry.drivers import Sample, Target
from skerry.drivers.mqtt import Topic
from skerry.model.profiles import Profile, Scalar
from skerry.model.times import parse_time
from skerry.model.unreadable import NOT_JSON
from skerry.node.devices.device import ManagedDevice
from skerry.node.devices.journal import Done
from skerry.node.devices.twin import Ack, Settle, Write, accepted, plan, same

log = logging.getLogger(__name__)

PLAUSIBLE_S = 7 * 86_400.0
AGAIN_S = 10.0
"""A device that listens but does not acknowledge is told its desired values again this often."""


class Listener(Protocol):
    """`skerry.node.mqtt.MqttListener`."""

    problem: str

    def serve(self, device: str, password: str, handler: Any) -> None: ...

    def dismiss(self, device: str) -> None: ...

    def desire(self, device: str) -> None: ...


class PushedDevice:
    """The handler of one device's messages, and its runner."""

    def __init__(self, device: ManagedDevice, profile: Profile, target: Target, listener: Listener, *, clock: Callable[[], float]) -> None:
        self._device = device
        self._profile = profile
        self._target = target
        self._listener = listener
        self._clock = clock
        self._keys = {str((p.binding.get("mqtt") or {}).get("name") or n): n for n, p in profile.properties.items()}
        self._woken = asyncio.Event()
        self._rejected = 0
        self._told = -1
        self._told_at = float("-inf")

    # ------------------------------------------------------------ the runner

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Serve the device until cancelled."""
        password = self._target.secret.get("password", "")
        if not password:
            self._device.connection(
                False, "CredentialsMissing", "spec.connection.credentials.secretRef names no Secret with a key `password`"
            )
            await asyncio.Event().wait()
        if self._listener.problem:
            self._device.connection(False, "NoListener", self._listener.problem)
            await asyncio.Event().wait()
        self._device.connection(False, "NotConnected", f"waiting for the device to connect as {self._target.device}")
        self._listener.serve(self._target.device, password, self)
        try:
            while True:
                self._woken.clear()
                self._settle()
                await self._pause(self._desire())
        finally:
            self._listener.dismiss(self._target.device)

    def _desire(self) -> float | None:
        """Tell the device what is new, or what it has not acknowledged for a while; returns when to look again."""
        twin, now = self._device.twin, asyncio.get_running_loop().time()
        unanswered = any(isinstance(s, Write) for s in plan(self._profile, twin))
        if twin.generation != self._told or (unanswered and now >= self._told_at + AGAIN_S):
            self._listener.desire(self._target.device)
        return self._told_at + AGAIN_S if unanswered and self._device.connected else None

    async def _pause(self, until: float | None) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._woken.wait()
        except TimeoutError:
            return

    def _settle(self) -> None:
        for step in plan(self._profile, self._device.twin):
            if isinstance(step, Settle):
                self._device.acknowledge(step.name, step.ack)

    # ------------------------------------------------------------ the handler

    def arrived(self) -> None:
        self._device.seen()
        self._device.connection(True, "Connected")

    def heard(self) -> None:
        self._device.seen()

    def left(self, why: str) -> None:
        self._device.connection(False, "NotConnected", why)

    def desired(self) -> bytes:
        """Return what the device should have, as far as its profile allows it."""
        twin = self._device.twin
        self._told, self._told_at = twin.generation, asyncio.get_running_loop().time()
        bad = {s.name for s in plan(self._profile, twin) if isinstance(s, Settle) and s.ack.code == "Rejected"}
        bad |= {n for n, a in twin.acks.items() if a.code == "Rejected" and n not in self._profile.properties}
        values = {self._key(n): v for n, v in twin.desired.items() if n not in bad}
        return msgspec.json.encode({"generation": twin.generation, "values": values})

    def _key(self, name: str) -> str:
        return next((k for k, n in self._keys.items() if n == name), name)

    def message(self, topic: Topic, payload: bytes, *, again: bool, done: Done) -> None:
        """Take one message; *done* is called when it is stored. What is no message is acknowledged, counted and forgotten."""
        doc = _document(payload)
        if doc is None:
            self._reject(topic, "not a JSON object")
            done(None)
            return
        match topic.kind:
            case "telemetry":
                self._on_telemetry(doc, done)
            case "reported":
                self._on_reported(doc, done)
            case "events":
                self._device.tell(topic.event, doc, done=done)

    def _on_telemetry(self, doc: dict[str, Any], done: Done) -> None:
        own = doc.get("seq")
        own = own if type(own) is int and 0 <= own < 2**63 else None
        samples = self._samples(doc, self._time(doc.get("at")))
        if not samples:
            self._reject(Topic("telemetry"), "none of the profile's properties")
            done(None)
            return
        self._device.take(samples, pushed=True, own=own, done=done)

    def _samples(self, doc: dict[str, Any], at: float) -> dict[str, Sample]:
        found: dict[str, Sample] = {}
        for key, value in doc.items():
            name = self._keys.get(key)
            if name is not None and isinstance(value, bool | int | float | str):
                found[name] = Sample(value, at)
        return found

    def _on_reported(self, doc: dict[str, Any], done: Done) -> None:
        values, acks, generation = doc.get("values"), doc.get("acks"), doc.get("generation")
        samples = self._samples(values, self._clock()) if isinstance(values, dict) else {}
        self._device.take(samples, done=done)
        if isinstance(acks, dict) and generation == self._device.twin.generation:
            for key, ack in acks.items():
                name = self._keys.get(key)
                if name is not None and name in self._device.twin.desired and isinstance(ack, dict):
                    self._on_ack(name, ack)
        self.wake()

    def _on_ack(self, name: str, ack: dict[str, Any]) -> None:
        twin = self._device.twin
        wanted = twin.desired[name]
        if ack.get("code") == "Accepted":
            reported = twin.reported.get(name)
            settled = reported.value if reported is not None and reported.value is not None and _close(reported.value, wanted) else wanted
            self._device.acknowledge(name, accepted(twin, name, wanted, settled))
        elif ack.get("code") == "Rejected":
            message = str(ack.get("detail") or "the device gave no reason")[:256]
            self._device.acknowledge(name, Ack(twin.generation, "Rejected", wanted, message=message))

    def _time(self, at: Any) -> float:
        """Return the device's time where it is within a week of ours, else ours."""
        now = self._clock()
        try:
            said = float(at) if type(at) in (int, float) else parse_time(at).timestamp() if isinstance(at, str) else now
        except (ValueError, OverflowError):
            return now
        return said if math.isfinite(said) and abs(said - now) <= PLAUSIBLE_S else now

    def _reject(self, topic: Topic, why: str) -> None:
        self._rejected += 1
        if self._rejected & (self._rejected - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
            facts = {"device": self._device.name, "topic": topic.kind, "why": why, "rejected": self._rejected}
            log.warning("device message is none", extra=facts)


def _document(payload: bytes) -> dict[str, Any] | None:
    try:
        doc = msgspec.json.decode(payload)
    except NOT_JSON:
        return None
    return doc if isinstance(doc, dict) else None


def _close(a: Scalar, b: Scalar) -> bool:
    """Equal, or as equal as a 32-bit float can be."""
    if isinstance(a, float) and type(b) in (int, float):
        return math.isclose(a, float(b), rel_tol=1e-6)
    return same(a, b)
