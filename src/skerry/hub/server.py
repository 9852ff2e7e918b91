"""The hub: store, API, controllers, event log and front door put together in one process, started and stopped in order.

What stays true: one process at a time has the data folder; nobody is let in before the roster is known; a hub that is killed
at any point starts again from what was acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from skerry.apiserver.access.audit import AuditLog, Auditor
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.routes import Access, Route
from skerry.apiserver.local import LocalApi
from skerry.apiserver.server import ApiServer
from skerry.apiserver.services.advertise import advertise
from skerry.apiserver.store import KeyRingError, RingVault
from skerry.controllers import Settings as ControllerSettings
from skerry.controllers import start_all
from skerry.controllers.recorder import Recorder
from skerry.durable import StoreError
from skerry.events.log import HubLog
from skerry.events.routes import EventRoutes
from skerry.hub import collecting, data_folder
from skerry.hub.certificates import REQUESTS as CERTIFICATE_REQUESTS
from skerry.hub.certificates import CertificateSigner
from skerry.hub.console import make_console, mount
from skerry.hub.enrollment import EnrollmentDesk, EnrollmentReconciler
from skerry.hub.frontdoor import Door, Roster, Sessions, user_by_certificate
from skerry.hub.frontdoor.door import PROTOCOLS
from skerry.hub.keys import KeyDesk
from skerry.hub.kubeconfig import kubeconfig, write_kubeconfig
from skerry.hub.login_codes import LIFETIME_S, LoginCodes
from skerry.hub.open_files import allow_many, door_settings
from skerry.hub.pki import Pki, server_names
from skerry.hub.scrubbing import ScrubDesk
from skerry.hub.settings import HubSettings
from skerry.model.resources import ENROLLMENTS, NODES
from skerry.model.times import rfc3339
from skerry.trust import Workshop
from skerry.trust.files import leave_no_core
from skerry.trust.joining import CA_PATH, ENROLL_PATH
from skerry.trust.tls import hub_context

log = logging.getLogger(__name__)

LAST_ANSWERS_S = 0.5
"""Seconds for answers that are being written when the hub stops."""
LOOK_AT_CERTIFICATE_EVERY_S = 6 * 3600.0


class HubError(Exception):
    """The hub cannot start; the message says why and what to do."""


class Hub:
    """One hub, running; make it with `start`, end it with `stop`."""

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self.pki = Pki(settings.data / "pki")
        self.roster = Roster()
        self.sessions = Sessions(self.roster)
        self.login_codes = LoginCodes()
        self.url = ""
        self._workshop = Workshop()
        self._tasks: list[asyncio.Task[None]] = []
        self._closers: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def kubeconfig(self) -> Path:
        return self.settings.data / "admin.kubeconfig"

    def listeners(self) -> list[dict[str, str]]:
        """Return every socket of this process that listens, and what for."""
        return [{"address": a, "purpose": "hub", "protocol": "TLS 1.3: the link of nodes, HTTP/1.1"} for a in self.door.listeners()]

    @classmethod
    async def start(cls, settings: HubSettings) -> Hub:
        """Start a hub; whatever had been started is stopped again when a part fails."""
        hub = cls(settings)
        try:
            await hub._start()
        except BaseException:
            await hub.stop()
            raise
        return hub

    async def _start(self) -> None:
        settings = self.settings
        self._lock()
        self._closers.append(self._workshop.close)
        await self.pki.prepare(server_names(settings.host, settings.names), self._workshop, _now())
        context = hub_context(self.pki.ca, self.pki.server, PROTOCOLS)
        await self._open_stores()
        self._add_routes()
        self.door = Door(
            door_settings(settings.host, settings.port, files=allow_many()),
            context,
            self.sessions,
            http=self.server.http.protocol_factory,
            handle=self.server.dispatcher.handle,
            events=self.event_routes,
        )
        await self._start_controllers()
        host, port = await self.door.start()
        self._closers.append(self._stop_serving)
        await advertise(self.server.registry, server_names(settings.host, settings.names), port)
        self.url = _url(settings, host, port)
        text = kubeconfig(url=self.url, ca_pem=self.pki.ca_pem(), identity_pem=self.pki.admin.read_text())
        write_kubeconfig(self.kubeconfig, text)
        self._run("object store", _as_error(self.server.store.wait_failed))
        self._run("event log", _as_error(self.event_log.wait_failed))
        self._run("scrub", self.scrub_desk.run())
        self._run("hub certificate", self._keep_certificate(context))

    def _lock(self) -> None:
        """Take the data folder for this process."""
        try:
            lock = data_folder.take(self.settings.data)
            data_folder.require_store(self.settings.data)
            data_folder.remove_leftovers(self.settings.data)
        except data_folder.DataFolderError as error:
            raise HubError(str(error)) from error

        async def unlock() -> None:
            lock.release()

        self._closers.append(unlock)

    async def _open_stores(self) -> None:
        try:
            await self._open_api()
            self.event_log = await HubLog.open(self.settings.data / data_folder.EVENTS)
        except (StoreError, KeyRingError, data_folder.DataFolderError) as error:
            raise HubError(str(error)) from error
        self._closers.append(self.event_log.close)
        self.server.store.scrub.files.append(self.settings.data / data_folder.EVENTS)
        self.event_routes = EventRoutes(self.event_log)
        self.api = LocalApi(self.server.registry)
        self.server.streams.use(self.sessions)
        self.scrub_desk = ScrubDesk(self.server.store.scrub, Recorder(self.api, "skerry-hub", _now))
        self.server.metrics.gauge("skerry_store_damage", "Faults on the disk that the last scrub found.", self.scrub_desk.damage)

    def _open_audit(self) -> Auditor:
        audit = AuditLog(self.settings.data / data_folder.AUDIT)

        async def close() -> None:
            await asyncio.to_thread(audit.close)

        self._closers.append(close)
        return Auditor(audit, required=self.settings.audit_required)

    async def _open_api(self) -> None:
        data = self.settings.data
        self.vault = RingVault.open(self.pki.folder / data_folder.KEY_RING, made=rfc3339(_now()))
        self.server = await ApiServer.open(
            data / data_folder.STORE,
            vault=self.vault,
            certificate=lambda ssl_object: user_by_certificate(self.roster, ssl_object),
            token_keys=self.pki.token_keys,
            auditor=self._open_audit(),
            trusts=self.roster.trusts,
        )
        self._closers.append(self.server.close)
        data_folder.remember_store(data, self.server.store.identity)
        assert self.server.store.rotation is not None, "the vault has keys"
        self.key_desk = KeyDesk(self.server.store.rotation, _now)
        self.key_desk.resume()
        self._closers.append(self.key_desk.close)

    def _add_routes(self) -> None:
        try:
            desk = EnrollmentDesk(self.api, self.roster, self._workshop, self.pki.folder, now=_now)
        except data_folder.DataFolderError as error:
            raise HubError(str(error)) from error
        for route in (
            Route(("GET",), CA_PATH, Access.PUBLIC, desk.ca, "the hub's CA certificate"),
            Route(("POST",), ENROLL_PATH, Access.OWN, desk.enroll, "enrollment: the request proves its key"),
            Route(("POST",), "/skerry/login-codes", Access.PATH, self._make_login_code, "a one-use code for the console"),
            Route(("GET",), "/skerry/events", Access.PATH, self._read_events, "the event log"),
            *self.key_desk.routes(),
            *self.scrub_desk.routes(),
        ):
            self.server.routes.add(route)

    async def _start_controllers(self) -> None:
        settings = ControllerSettings(ca_pem=self.pki.ca_pem(), node_grace_s=self.settings.node_grace_s)
        controllers = start_all(self.api, settings, _now)
        reconciler = EnrollmentReconciler(
            self.api,
            self.roster,
            self._workshop,
            self.pki.folder,
            enrollments=controllers.informers.of(ENROLLMENTS),
            nodes=controllers.informers.of(NODES),
            now=_now,
            changed=self.door.enforce,
        )
        signer = CertificateSigner(
            self.api, self._workshop, self.pki.folder, requests=controllers.informers.of(CERTIFICATE_REQUESTS), now=_now
        )
        console = make_console(controllers.informers, self.event_log, self.sessions, self.login_codes)
        mount(console, self.server.routes)
        self._run("controllers", controllers.run())
        self._run("console", console.run())
        self._run("enrollment", reconciler.run())
        self._run("certificates", signer.run())
        await controllers.wait_synced()

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._on_done)
        self._tasks.append(task)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """A part that ends by itself takes the hub with it: half a hub would look like a whole one."""
        if task.cancelled() or self._failed.done():
            return
        error = task.exception() or RuntimeError("it ended")
        self._failed.set_exception(HubError(f"{task.get_name()} failed: {error!r}"))

    async def wait_failed(self) -> None:
        """Return never, or raise HubError as soon as a part of the hub failed."""
        await asyncio.shield(self._failed)

    async def stop(self) -> None:
        """Stop in the opposite order of starting."""
        if not self._failed.done():
            self._failed.cancel()
        for task in reversed(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._closers:
            await self._closers.pop()()

    async def _stop_serving(self) -> None:
        """Let nobody in any more, and end what is open; watches and followed logs would go on for ever."""
        await self.door.stop()
        await self.server.http.close(LAST_ANSWERS_S)

    async def _keep_certificate(self, context: Any) -> None:
        """Renew the hub's own certificate in time; connections that are open go on with the old one."""
        while True:
            await asyncio.sleep(LOOK_AT_CERTIFICATE_EVERY_S)
            if await self.pki.renew_server([], self._workshop, _now()):
                context.load_cert_chain(self.pki.server)
                log.info("the hub's certificate was renewed")

    async def _make_login_code(self, request: Request) -> Response:
        """`POST /skerry/login-codes`: a code that signs in to the console as whoever asks."""
        code = self.login_codes.make(request.user, asyncio.get_running_loop().time())
        told = {"code": code, "expiresInSeconds": int(LIFETIME_S), "path": "/console/"}
        return Response(201, {"Content-Type": "application/json", "Cache-Control": "no-store"}, msgspec.json.encode(told))

    async def _read_events(self, request: Request) -> Response:
        """`GET /skerry/events`: what nodes have sent."""
        told = await self.event_routes.read(request.query)
        return Response(told.status, told.headers, told.body)


async def _as_error(failure: Callable[[], Awaitable[Exception]]) -> None:
    """Raise what a store failed with: a hub that cannot write must not look as if it could."""
    raise await failure()


def _now() -> datetime:
    return datetime.now(UTC)


def _url(settings: HubSettings, host: str, port: int) -> str:
    if settings.names:
        host = settings.names[0]
    elif host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


async def serve(settings: HubSettings, say: Callable[[str], None]) -> None:
    """Run a hub until SIGTERM or SIGINT; raises HubError when it cannot start or a part fails."""
    stop = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    hub = await Hub.start(settings)
    collecting.settle()
    try:
        say(f"hub ready at {hub.url}\nkubeconfig: {hub.kubeconfig}")
        failed = asyncio.ensure_future(hub.wait_failed())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if failed.done():
            failed.result()
        failed.cancel()
        log.info("the hub stops")
    finally:
        await hub.stop()


def run(settings: HubSettings, say: Callable[[str], None]) -> None:
    """Run a hub in this process, on uvloop."""
    import uvloop

    from skerry.hub.logs import configure

    configure()
    leave_no_core()
    collecting.pause()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, say))
