"""The devices of one node: who is driven, by which protocol, and everything that they share.

What must stay true: with no hub everything goes on; a device is driven while it is in the node's own copy of its assignments, and
the copy loses it only when the hub of our cluster says so; one device's trouble is never another's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from skerry.drivers import Plugin, RefusedError, Target, load_plugin
from skerry.kube.api import Api
from skerry.model.objects import Name, Object, dig, metadata, name_of, uid_of
from skerry.model.profiles import Profile, ProfileError, load_profile
from skerry.model.resources import DEVICEPROFILES, DEVICES, SECRETS, Resource
from skerry.node.devices.device import ManagedDevice, Record
from skerry.node.devices.journal import Journal, Outbox
from skerry.node.devices.live import TwinHandler
from skerry.node.devices.polled import PolledDevice
from skerry.node.devices.pushed import PushedDevice
from skerry.node.devices.references import PURPOSE, References, Watched
from skerry.node.devices.reporter import Reporter, must_tell
from skerry.node.devices.secrets import secret_values
from skerry.node.devices.store import TwinStore
from skerry.node.devices.twin import Twin
from skerry.node.memory import Memory, Mirror
from skerry.node.mqtt import ListenError, MqttListener

log = logging.getLogger(__name__)

SAVE_S = 0.2
MQTT_RETRY_S = 10.0
SAVE_VALUES_S = 3600.0
"""Values alone are saved once an hour and at the end: they are read again anyway, and flash wears out."""


class Runner(Protocol):
    """What drives one device."""

    def wake(self) -> None: ...

    async def run(self) -> None: ...


class DeviceSettings(msgspec.Struct, frozen=True):
    """`state` is the node's folder; `site` the Site that the hub gave it, "" when none.

    `mqtt` is where the MQTT listener listens, None for none; a certificate and its key are needed on any address but a loopback one.
    """

    node: str
    state: Path
    site: str = ""
    mqtt: tuple[str, int] | None = None
    mqtt_certificate: str = ""
    mqtt_key: str = ""


class _Driven(msgspec.Struct):
    device: ManagedDevice
    made_of: object
    runner: Runner | None = None
    task: asyncio.Task[None] | None = None


class DeviceSubsystem:
    """Drives the Devices whose `status.nodeName` is this node.

    `connected` waits for the hub, so that the copies are not asked for in vain; `record` writes Kubernetes Events about devices.
    """

    def __init__(
        self,
        api: Api,
        memory: Memory,
        outbox: Outbox,
        settings: DeviceSettings,
        *,
        connected: Callable[[], Awaitable[object]] | None = None,
        record: Record | None = None,
        plugins: Callable[[str], Plugin] = load_plugin,
        clock: Callable[[], float] = time.time,
    ) -> None:
        def watch(resource: Resource, namespace: str, fields: str) -> Watched:
            return Mirror(api, memory, resource, namespace, fields=fields, connected=connected, purpose=PURPOSE)

        self._outbox = outbox
        self._settings = settings
        self._load_plugin = plugins
        self._record = record
        self.mqtt = MqttListener() if settings.mqtt else None
        self._clock = clock
        self._devices = Mirror(api, memory, DEVICES, fields=f"status.nodeName={settings.node}", connected=connected)
        self._references = References(watch, memory, self._wake)
        self._reporter = Reporter(api, clock=clock, told=self._stored, connected=connected)
        self._plugins: dict[str, Plugin] = {}
        self._driven: dict[Name, _Driven] = {}
        self._known: dict[str, Twin] = {}
        self._unsaved: set[str] = set()
        self._stale: set[str] = set()
        self._store: TwinStore | None = None
        self._journal: Journal | None = None
        self._woken = asyncio.Event()
        self._reconciled = asyncio.Event()
        self._save_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.twin_handler = TwinHandler(self.find)

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Begin to drive what the node was told before, and follow what it is told now."""
        self._devices.subscribe(lambda _: self._wake())
        self._begin("devices followed", self._devices.run())
        self._begin("devices reconciled", self._reconcile_forever())
        self._begin("devices told", self._reporter.run())
        if self.mqtt is not None and self._settings.mqtt is not None:
            self._begin("MQTT listener", self._open_mqtt(self.mqtt, *self._settings.mqtt))
        self._wake()

    async def _open_mqtt(self, listener: MqttListener, host: str, port: int) -> None:
        """Open the listener once its devices are known: one that is turned away may not come back soon.

        A listener that cannot be opened costs the node its MQTT devices and nothing else; it is tried again.
        """
        await self._reconciled.wait()
        while True:
            before = listener.problem
            try:
                await listener.open(host, port, certificate=self._settings.mqtt_certificate, key=self._settings.mqtt_key)
            except ListenError as error:
                if listener.problem != before:
                    log.error("no MQTT listener", extra={"error": str(error)})
            if listener.problem != before:
                for driven in self._driven.values():
                    driven.made_of = None
                self._wake()
            if not listener.problem:
                return
            await asyncio.sleep(MQTT_RETRY_S)

    def _begin(self, name: str, work: Any) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def stop(self) -> None:
        """Stop driving, save everything, and end the workers; devices keep what they have."""
        tasks = self._tasks
        self._tasks = []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in list(self._driven):
            await self._halt(self._driven[name])
        if self.mqtt is not None:
            await self.mqtt.close()
        await self._references.close()
        for plugin in self._plugins.values():
            await plugin.close()
        if self._store is not None and self._journal is not None:
            with suppress(Exception):
                await self._store.save([d.device.twin for d in self._driven.values()])
                await self._journal.save()
            await self._store.close()

    def find(self, name: Name) -> ManagedDevice | None:
        driven = self._driven.get(name)
        return driven.device if driven else None

    @property
    def devices(self) -> list[ManagedDevice]:
        return [d.device for d in self._driven.values()]

    # ------------------------------------------------------------ who is driven

    def _wake(self) -> None:
        self._woken.set()

    async def _reconcile_forever(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._reconcile()
                self._reconciled.set()
            except Exception:
                log.exception("devices could not be reconciled")
                await asyncio.sleep(5.0)
                self._wake()

    async def _reconcile(self) -> None:
        wanted = dict(self._devices.items())
        if not wanted and self._store is None:
            return
        await self._open_store()
        await self._references.follow(wanted)
        for name in self._driven.keys() - wanted.keys():
            await self._drop(name)
        for name, obj in wanted.items():
            driven = self._driven.get(name)
            if driven is not None and driven.device.twin.uid != uid_of(obj):
                await self._drop(name)
            await self._drive(name, obj)

    async def _open_store(self) -> None:
        if self._store is not None:
            return
        store = await TwinStore.open(self._settings.state / "devices.sqlite")
        self._known = await store.twins()
        journal = Journal(self._outbox, store)
        await journal.load()
        self._store, self._journal = store, journal
        self._begin("device numbers saved", journal.run())
        self._begin("device twins saved", self._save_forever())

    async def _drive(self, name: Name, obj: Object) -> None:
        driven = self._driven.get(name)
        if driven is None:
            driven = self._driven[name] = _Driven(self._new(obj), None)
        new_wishes = driven.device.update(obj) if driven.device.object is not obj or driven.made_of is None else False
        made_of, profile, target = self._recipe(obj)
        if made_of != driven.made_of:
            await self._halt(driven)
            driven.made_of = made_of
            self._employ(driven, profile, target)
        elif new_wishes and driven.runner is not None:
            driven.runner.wake()

    def _new(self, obj: Object) -> ManagedDevice:
        assert self._journal is not None
        twin = self._known.pop(uid_of(obj), None) or Twin(uid_of(obj))
        s = self._settings
        return ManagedDevice(
            obj, twin, self._journal, node=s.node, site=s.site, clock=self._clock, changed=self._changed, record=self._record
        )

    def _recipe(self, obj: Object) -> tuple[object, Profile | ProfileError, Target]:
        """Return what a runner is made of; it is made anew when that changes."""
        namespace = name_of(obj).namespace

        def find(name: str) -> Object | None:
            return self._references.get(DEVICEPROFILES, Name(namespace, name))

        wanted = str(dig(obj, "spec", "profile", default=""))
        own = find(wanted)
        profile: Profile | ProfileError
        try:
            profile = load_profile(own, find) if own else ProfileError("ProfileNotFound", f"DeviceProfile {wanted} does not exist")
        except ProfileError as error:
            profile = error
        if isinstance(profile, ProfileError) and profile.reason == "ProfileNotFound" and not self._missing(obj):
            profile = ProfileError("ProfileNotRead", f"the hub has not told DeviceProfile {wanted}, or one that it extends, yet")
        secret = _secret(obj)
        values = secret_values(self._references.get(SECRETS, secret) if secret else None)
        protocol = profile.protocol if isinstance(profile, Profile) else ""
        target = Target(dig(obj, "spec", "connection", protocol, default={}), str(name_of(obj)), values)
        why = str(profile) if isinstance(profile, ProfileError) else ""
        return (_versions(own, find), why, target, self._untold(obj)), profile, target

    def _untold(self, device: Object) -> bool:
        """Say whether the device's credentials lie in a Secret that the hub has neither told nor called missing yet."""
        secret = _secret(device)
        return secret is not None and self._references.get(SECRETS, secret) is None and not self._references.is_missing(SECRETS, secret)

    def _missing(self, device: Object) -> bool:
        """Say whether the hub told that one of the device's profiles does not exist."""
        return any(self._references.is_missing(r, n) for r, n in self._references.of(device) if r == DEVICEPROFILES)

    def _employ(self, driven: _Driven, profile: Profile | ProfileError, target: Target) -> None:
        device = driven.device
        if isinstance(profile, ProfileError):
            device.without_profile(None if profile.reason == "ProfileNotRead" else False, profile.reason, str(profile))
            return
        device.use_profile(profile)
        if self._untold(device.object):
            device.connection(None, "CredentialsNotRead", "the hub has not told the Secret of spec.connection.credentials yet")
            return
        try:
            driven.runner = self._runner(device, profile, target)
        except RefusedError as error:
            device.connection(False, "NoDriver", str(error))
            return
        driven.task = asyncio.create_task(driven.runner.run(), name=f"device {device.name}")

    def _runner(self, device: ManagedDevice, profile: Profile, target: Target) -> Runner:
        if profile.protocol == "mqtt":
            if self.mqtt is None:
                raise RefusedError("this node has no MQTT listener")
            return PushedDevice(device, profile, target, self.mqtt, clock=self._clock)
        if profile.protocol not in self._plugins:
            self._plugins[profile.protocol] = self._load_plugin(profile.protocol)
        plugin = self._plugins[profile.protocol]
        return PolledDevice(device, profile, target, lambda: plugin)

    async def _halt(self, driven: _Driven) -> None:
        if driven.task is not None:
            driven.task.cancel()
            await asyncio.gather(driven.task, return_exceptions=True)
        driven.task = driven.runner = None

    async def _drop(self, name: Name) -> None:
        """Stop driving a device that the hub gave to nobody or to another node."""
        driven = self._driven.pop(name)
        await self._halt(driven)
        self._reporter.forget(driven.device)
        uid = driven.device.twin.uid
        self._unsaved.discard(uid)
        self._stale.discard(uid)
        assert self._store is not None
        await self._store.forget(uid)
        log.info("device no longer driven", extra={"device": str(name)})

    # ------------------------------------------------------------ what changed

    def _changed(self, device: ManagedDevice, at_once: bool) -> None:
        if at_once:
            self._unsaved.add(device.twin.uid)
            self._save_now.set()
            self._reporter.mark(device, at_once=must_tell(device))
        else:
            self._stale.add(device.twin.uid)
            self._reporter.mark(device, at_once=False)

    def _stored(self, obj: Object) -> None:
        """The hub has taken a status: judge by it until the watch brings a newer one."""
        driven = self._driven.get(name_of(obj))
        if driven is not None and driven.device.twin.generation == metadata(obj).get("generation"):
            driven.device.object = obj

    async def _save_forever(self) -> None:
        """Save acknowledgements soon, values seldom."""
        loop = asyncio.get_running_loop()
        values_at = loop.time() + SAVE_VALUES_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(values_at):
                    await self._save_now.wait()
            await asyncio.sleep(SAVE_S)
            self._save_now.clear()
            uids, self._unsaved = self._unsaved, set()
            if loop.time() >= values_at:
                values_at = loop.time() + SAVE_VALUES_S
                uids, self._stale = uids | self._stale, set()
            try:
                assert self._store is not None
                await self._store.save([d.device.twin for d in self._driven.values() if d.device.twin.uid in uids])
            except Exception:
                log.exception("twins could not be saved")
                self._unsaved |= uids


def _secret(device: Object) -> Name | None:
    name = dig(device, "spec", "connection", "credentials", "secretRef", "name")
    return Name(name_of(device).namespace, name) if name else None


def _versions(profile: Object | None, find: Callable[[str], Object | None]) -> list[object]:
    """Return the specs of a profile and all its bases: what a runner depends on."""
    found: list[object] = []
    todo, seen = [profile], set[str]()
    while todo:
        obj = todo.pop()
        name = str(metadata(obj).get("name")) if obj else ""
        if obj is None or name in seen:
            continue
        seen.add(name)
        found.append(obj.get("spec"))
        todo += [find(b) for b in dig(obj, "spec", "extends", default=[])]
    return found
