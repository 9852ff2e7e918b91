"""What the hub asks the node for on behalf of a person: a container's log, and a command in it.

The hub has authorised it already; here only what it names is looked up, and what goes wrong is said in Kubernetes' words.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from skerry.link import channels
from skerry.link.channels import Frame
from skerry.model.errors import ApiError, bad_request, internal, not_found
from skerry.model.objects import Object, dig, uid_of
from skerry.model.times import parse_time
from skerry.model.unreadable import NOT_JSON
from skerry.node.runtimes.contract import Container, ContainerKey, ExecSession, ExecSpec, LogOptions, Runtime, RuntimeFailedError

log = logging.getLogger(__name__)

MAX_ARGUMENT_BYTES = 128 * 1024
"""All words of one command together."""


class Stream(Protocol):
    """Our end of what the hub opened."""

    async def accept(self) -> None: ...
    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> bytes | None: ...
    def on_abort(self, called: Callable[[], object]) -> None: ...


class PodStreams:
    """Serves `logs` and `exec`. *pod* finds a Pod of this node by namespace and name."""

    def __init__(self, runtime: Runtime, pod: Callable[[str, str], Object | None], *, now: Callable[[], float] = time.time) -> None:
        self._runtime = runtime
        self._pod = pod
        self._now = now

    async def logs(self, params: dict[str, Any], stream: Stream) -> None:
        """Send what a container printed."""
        key, attempts = self._find(params)
        name, previous = str(params.get("name")), bool(params.get("previous"))
        if previous and len(attempts) < 2:
            raise bad_request(f'previous terminated container "{key.name}" in pod "{name}" not found')
        if not attempts:
            raise bad_request(f'container "{key.name}" in pod "{name}" is waiting to start: {self._why_waiting(params, key.name)}')
        options = log_options(params, now=self._now())
        await stream.accept()
        give_up_with(stream)
        async for data in self._runtime.logs(key, attempts[-2 if previous else -1].attempt, options):
            await stream.send(data)

    async def exec(self, params: dict[str, Any], stream: Stream) -> None:
        """Run a command in a container, its channels as frames."""
        key, attempts = self._find(params)
        if not attempts or attempts[-1].state != "running":
            raise ApiError(500, "InternalError", f'container "{key.name}" in pod "{params.get("name")}" is not running')
        command = tuple(str(w) for w in params.get("command") or ())
        if sum(len(w) for w in command) > MAX_ARGUMENT_BYTES:
            raise bad_request(f"the command is longer than {MAX_ARGUMENT_BYTES} bytes")
        spec = ExecSpec(command, tty=bool(params.get("tty")), stdin=bool(params.get("stdin")))
        try:
            session = await self._runtime.exec(key, spec)
        except RuntimeFailedError as error:
            raise internal(error.message) from error
        try:
            await stream.accept()
            give_up_with(stream)
            await _serve(session, stream, spec)
        finally:
            await session.kill()

    def _find(self, params: dict[str, Any]) -> tuple[ContainerKey, list[Container]]:
        namespace, name = str(params.get("namespace") or ""), str(params.get("name") or "")
        pod = self._pod(namespace, name)
        if pod is None or (params.get("uid") and uid_of(pod) != params["uid"]):
            raise not_found("pods", "", name)
        key = ContainerKey(uid_of(pod), str(params.get("container") or ""))
        return key, [c for c in self._runtime.containers() if c.key == key]

    def _why_waiting(self, params: dict[str, Any], container: str) -> str:
        pod = self._pod(str(params.get("namespace") or ""), str(params.get("name") or "")) or {}
        statuses = [*dig(pod, "status", "containerStatuses", default=[]), *dig(pod, "status", "initContainerStatuses", default=[])]
        found: Any = next((s for s in statuses if s.get("name") == container), {})
        return str(dig(found, "state", "waiting", "reason", default="ContainerCreating"))


def log_options(params: dict[str, Any], *, now: float) -> LogOptions:
    """Read what `kubectl logs` asked for; raises ApiError for a time that is none."""
    since: float | None = None
    if params.get("sinceSeconds") is not None:
        since = now - float(params["sinceSeconds"])
    elif params.get("sinceTime"):
        try:
            since = parse_time(str(params["sinceTime"])).timestamp()
        except ValueError as error:
            raise bad_request(f"sinceTime {params['sinceTime']!r} is not an RFC 3339 time") from error
    tail, limit = params.get("tailLines"), params.get("limitBytes")
    return LogOptions(
        follow=bool(params.get("follow")),
        tail_lines=None if tail is None else max(0, int(tail)),
        since_at=since,
        timestamps=bool(params.get("timestamps")),
        limit_bytes=None if limit is None else max(0, int(limit)),
    )


def give_up_with(stream: Stream) -> None:
    """End the handler when the person at the other end has gone."""
    task = asyncio.current_task()
    assert task is not None
    stream.on_abort(task.cancel)


async def _serve(session: ExecSession, stream: Stream, spec: ExecSpec) -> None:
    """Carry the channels until the command has ended and all of its output is sent, then say how it ended."""
    turn = asyncio.Lock()

    async def outward(name: Literal["stdout", "stderr"], channel: int) -> None:
        while data := await session.read(name):
            async with turn:
                await stream.send(channels.encode(channel, data))

    inward = asyncio.create_task(_inward(session, stream, spec))
    try:
        if not spec.stdin and not spec.tty:
            await session.close_stdin()
        await asyncio.gather(outward("stdout", channels.STDOUT), outward("stderr", channels.STDERR))
        code = await session.wait()
        await stream.send(channels.encode(channels.STATUS, msgspec.json.encode(exit_status(code))))
    finally:
        inward.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await inward


async def _inward(session: ExecSession, stream: Stream, spec: ExecSpec) -> None:
    reader = channels.Reader()
    while (data := await stream.receive()) is not None:
        for frame in reader.feed(data):
            await _obey(session, frame, spec)
    if spec.stdin:
        await session.close_stdin()


async def _obey(session: ExecSession, frame: Frame, spec: ExecSpec) -> None:
    match frame.channel:
        case channels.STDIN if spec.stdin:
            await session.write(frame.payload)
        case channels.CLOSE if frame.payload[:1] == bytes((channels.STDIN,)) and spec.stdin:
            await session.close_stdin()
        case channels.RESIZE:
            with contextlib.suppress(*NOT_JSON, ValueError, TypeError, KeyError):
                size = msgspec.json.decode(frame.payload)
                session.resize(rows=int(size["Height"]), columns=int(size["Width"]))


def exit_status(code: int) -> dict[str, Any]:
    """Return the Status that remote commands end with."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
