"""One device at its node, whatever it speaks: its twin, its conditions, and what goes out when it says something.

What must stay true: values are judged before they are kept; an event goes out when a condition begins, not while it lasts; what
changed is told to the status reporter, the live watchers and the store, each of which sets its own pace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from skerry.drivers import Quality, Sample
from skerry.model.objects import Object, dig, metadata, name_of
from skerry.model.profiles import Profile, Scalar
from skerry.model.resources import DEVICES
from skerry.model.times import parse_duration
from skerry.node.devices.cloudevents import Identity
from skerry.node.devices.journal import Done, Journal
from skerry.node.devices.judging import firing, is_news, judge
from skerry.node.devices.status import Condition, twin_object
from skerry.node.devices.twin import Ack, Reported, Twin, adopt, in_sync

log = logging.getLogger(__name__)

DEFAULT_SUMMARY_S = 60.0


class Record(Protocol):
    """Writes an Event about a device (`EventRecorder.record`); it never waits."""

    def __call__(self, about: Object, reason: str, message: str, *, warning: bool = False) -> None: ...


class ManagedDevice:
    """What the node knows of one device. `changed(device, urgent)` is called on the loop after every change."""

    def __init__(
        self,
        obj: Object,
        twin: Twin,
        journal: Journal,
        *,
        node: str,
        site: str,
        clock: Callable[[], float],
        changed: Callable[[ManagedDevice, bool], None],
        record: Record | None = None,
    ) -> None:
        self.object = obj
        self.identity = _identity(obj, node, site)
        self.broker = _broker(obj)
        self.twin = twin
        self.profile: Profile | None = None
        self.connected: bool | None = None
        self.revision = 0
        self.news = asyncio.Event()
        self._journal = journal
        self._node = node
        self._site = site
        self._clock = clock
        self._changed = changed
        self._record = record
        self._told: dict[str, Reported] = {}
        self._profile_condition = Condition("ProfileFound", None, "NotRead")
        self._connection = Condition("Connected", None, "Starting")
        # What was said before a restart may have changed since.
        twin.reported = {n: _uncertain(r) for n, r in twin.reported.items()}

    # ------------------------------------------------------------ what the hub says

    @property
    def name(self) -> str:
        return str(name_of(self.object))

    @property
    def summary_every_s(self) -> float:
        try:
            return parse_duration(dig(self.object, "spec", "telemetry", "summaryEvery", default="60s"))
        except ValueError:
            return DEFAULT_SUMMARY_S

    def update(self, obj: Object) -> bool:
        """Take over the object; returns whether there are new wishes."""
        self.object = obj
        self.identity, self.broker = _identity(obj, self._node, self._site), _broker(obj)
        new = adopt(self.twin, generation=int(metadata(obj).get("generation") or 0), desired=dig(obj, "spec", "desired", default={}))
        self.touch(urgent=True)
        return new

    def use_profile(self, profile: Profile) -> None:
        """Follow *profile*; wishes that another profile refused are judged again."""
        if self.profile is not None and self.profile != profile:
            self.twin.acks = {n: a for n, a in self.twin.acks.items() if a.code == "Accepted"}
        self.profile = profile
        self.twin.reported = {n: r for n, r in self.twin.reported.items() if n in profile.properties}
        self.twin.firing = [n for n in self.twin.firing if n in {r.name for r in profile.rules}]
        self._profile_condition = Condition("ProfileFound", True, "Found")
        self.touch(urgent=True)

    def without_profile(self, status: bool | None, reason: str, message: str) -> None:
        """There is no profile to drive the device by: False, or None while the hub has not said so."""
        self.profile = None
        self._profile_condition = Condition("ProfileFound", status, reason, message)
        self.connection(status, reason, message)

    # ------------------------------------------------------------ what the device says

    def connection(self, connected: bool | None, reason: str, message: str = "") -> None:
        """Take down whether it answers; what a lost device said before is Uncertain from then on."""
        was, self._connection = self._connection, Condition("Connected", connected, reason, message)
        if connected is not True and self.connected is True:
            self.twin.reported = {n: _uncertain(r) for n, r in self.twin.reported.items()}
        self.connected = connected
        if was.status != connected:
            log.info("device connected" if connected else "device not connected", extra={"device": self.name, "reason": reason})
            self._tell_people(reason, message or f"the device answers node {self._node}", warning=connected is False)
        if was != self._connection:
            self.touch(urgent=True)

    def seen(self) -> None:
        self.twin.last_seen = self._clock()

    def take(self, samples: Mapping[str, Sample], *, pushed: bool = False, own: int | None = None, done: Done | None = None) -> None:
        """Judge, keep and send on what the device said; *done* is called when it is stored, or need not be.

        *pushed*: the device spoke by itself, so it goes out even if nothing changed. *own* is its number for the message.

        Raises OutboxBusyError when the outbox takes nothing more; then nothing of it was kept.
        """
        profile = self.profile
        if profile is None:
            (done or _nobody)(None)
            return
        judged = {n: judge(profile.properties[n], s) for n, s in samples.items() if n in profile.properties}
        self.seen()
        done = done or _nobody
        parts = _parts(judged)
        if own is not None and parts and self._journal.is_repetition(self.identity, own, _values(parts[0]), done):
            return
        self._send(parts, pushed, own, done)
        self.twin.reported |= judged
        self._events(judged)
        self.touch(urgent=False)

    def _send(self, parts: Sequence[Mapping[str, Reported]], pushed: bool, own: int | None, done: Done) -> None:
        """Send what is news, good values and bad ones apart. What the device numbered goes out whole."""
        waiting = _Join(done)
        for part in parts:
            news = part if own is not None else self._news(part, pushed)
            if news:
                self._send_part(news, own, waiting.one())
                self._told |= news
            own = None
        waiting.begin()

    def _news(self, part: Mapping[str, Reported], pushed: bool) -> Mapping[str, Reported]:
        assert self.profile is not None
        props = self.profile.properties
        return {n: r for n, r in part.items() if (pushed and props[n].deadband == 0) or is_news(props[n], self._told.get(n), r)}

    def _send_part(self, part: Mapping[str, Reported], own: int | None, done: Done) -> None:
        worst = next((r.quality for r in part.values() if r.quality is not Quality.GOOD), Quality.GOOD)
        at = max(r.at for r in part.values())
        self._journal.sample(self.identity, self.broker, _values(part), at=at, quality=worst.value, own=own, done=done)

    def _events(self, judged: Mapping[str, Reported]) -> None:
        assert self.profile is not None
        begun, held = firing(self.profile.rules, self.twin.reported, self.twin.firing)
        at = max((r.at for r in judged.values()), default=self._clock())
        for rule in begun:
            data = {n: self.twin.reported[n].value for n in sorted(rule.when.names)}
            self._journal.event(self.identity, self.broker, rule.name, data, at=at, severity=rule.severity, done=_nobody)
            log.info("device event", extra={"device": self.name, "event": rule.name})
        if held != self.twin.firing:
            self.twin.firing = held
            self.touch(urgent=True)

    def tell(self, name: str, data: Mapping[str, object], *, done: Done) -> None:
        """Send on an event that the device tells by itself."""
        severity = next((r.severity for r in self.profile.rules if r.name == name), 9) if self.profile else 9
        self.seen()
        self._journal.event(self.identity, self.broker, name, data, at=self._clock(), severity=severity, done=done)

    def acknowledge(self, name: str, ack: Ack) -> None:
        """Take down what became of a wish."""
        if self.twin.acks.get(name) != ack:
            self.twin.acks[name] = ack
            if ack.code == "Rejected":
                self._tell_people("Rejected", f"desired {name}={ack.wanted!r}: {ack.message}", warning=True)
            self.touch(urgent=True)

    def _tell_people(self, reason: str, message: str, *, warning: bool) -> None:
        if self._record is not None:
            about = {"apiVersion": DEVICES.api_version, "kind": DEVICES.kind, "metadata": self.object["metadata"]}
            self._record(about, reason, message, warning=warning)

    # ------------------------------------------------------------ what is shown

    def conditions(self) -> list[Condition]:
        """Return Connected, InSync and ProfileFound as they are now."""
        if self.profile is None:
            found = self._profile_condition
            sync: tuple[bool | None, str, str] = (False if found.status is False else None, found.reason, found.message)
        else:
            sync = in_sync(self.profile, self.twin, connected=self.connected is True)
        return [self._connection, Condition("InSync", *sync), self._profile_condition]

    def live(self) -> Object:
        """Return the DeviceTwin of now."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        return twin_object(self.object, self.profile, self.twin, self.conditions(), node=self._node, revision=self.revision, now=now)

    def touch(self, *, urgent: bool) -> None:
        self.revision += 1
        news, self.news = self.news, asyncio.Event()
        news.set()
        self._changed(self, urgent)


class _Join:
    """Calls *done* once, when all parts are stored; with the first error."""

    def __init__(self, done: Done) -> None:
        self._done = done
        self._left = 1
        self._error: Exception | None = None

    def one(self) -> Done:
        self._left += 1
        return self._part

    def begin(self) -> None:
        self._part(None)

    def _part(self, error: Exception | None) -> None:
        self._error = self._error or error
        self._left -= 1
        if not self._left:
            self._done(self._error)


def _parts(judged: Mapping[str, Reported]) -> list[dict[str, Reported]]:
    """Return good values and bad ones apart, without empty parts; what has no value is in neither."""
    good = {n: r for n, r in judged.items() if r.value is not None and r.quality is not Quality.BAD}
    bad = {n: r for n, r in judged.items() if r.value is not None and n not in good} if len(good) < len(judged) else {}
    return [part for part in (good, bad) if part]


def _values(part: Mapping[str, Reported]) -> dict[str, Scalar]:
    return {n: r.value for n, r in part.items() if r.value is not None}


def _identity(obj: Object, node: str, site: str) -> Identity:
    namespace, name = name_of(obj)
    return Identity(node, site, namespace, name, str(dig(obj, "spec", "profile", default="")))


def _broker(obj: Object) -> str:
    return f"{name_of(obj).namespace}/{dig(obj, 'spec', 'telemetry', 'broker', default='default')}"


def _nobody(error: Exception | None) -> None:
    """The journal has logged it."""


def _uncertain(reported: Reported) -> Reported:
    return reported if reported.quality is Quality.BAD else msgspec.structs.replace(reported, quality=Quality.UNCERTAIN)
