"""Logs and commands on behalf of a person: what is looked up, how it is refused, how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from skerry.link import channels
from skerry.model.errors import ApiError
from skerry.model.objects import Object
from skerry.node.runtimes.contract import ContainerKey, ContainerSpec
from skerry.node.streams import PodStreams, exit_status, log_options
from skerry.testing.runtime import FakeHost, FakeRuntime

POD: Object = {"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": {"containers": [{"name": "app"}]}}
ASKED = {"namespace": "d", "name": "p", "uid": "u", "container": "app"}


class FakeStream:
    """Our end of a stream: what was sent, and what will be received."""

    def __init__(self, *chunks: bytes) -> None:
        self.sent = b""
        self.accepted = False
        self.aborted: Callable[[], object] = lambda: None
        self._chunks = list(chunks)

    async def accept(self) -> None:
        self.accepted = True

    async def send(self, data: bytes) -> None:
        self.sent += data

    async def receive(self) -> bytes | None:
        return self._chunks.pop(0) if self._chunks else None

    def on_abort(self, called: Callable[[], object]) -> None:
        self.aborted = called

    def frames(self, channel: int) -> bytes:
        return b"".join(f.payload for f in channels.Reader().feed(self.sent) if f.channel == channel)


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def streams(host: FakeHost) -> PodStreams:
    return PodStreams(FakeRuntime(host), lambda namespace, name: POD if (namespace, name) == ("d", "p") else None)


async def start(host: FakeHost, *argv: str, attempt: int = 0) -> None:
    runtime = FakeRuntime(host)
    image = await runtime.image("host.skerry.invalid/busy", pull="Always")
    spec = ContainerSpec(
        key=ContainerKey("u", "app"),
        attempt=attempt,
        namespace="d",
        pod="p",
        image=image,
        argv=("/busy", *argv),
        env={"COLOUR": "blue"},
        workdir="/",
        hostname="p",
    )
    await runtime.start(spec)
    await asyncio.sleep(0)


async def test_the_log_of_the_latest_attempt_and_of_the_one_before(host: FakeHost, streams: PodStreams) -> None:
    await start(host, "print", "old")
    await start(host, "print", "new", attempt=1)
    latest, before = FakeStream(), FakeStream()

    await streams.logs(dict(ASKED), latest)
    await streams.logs({**ASKED, "previous": True}, before)

    assert (latest.sent, before.sent) == (b"new\n", b"old\n")


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ({"name": "q"}, 404, 'pods "q" not found'),
        ({"uid": "another"}, 404, 'pods "p" not found'),
        ({"previous": True}, 400, 'previous terminated container "app" in pod "p" not found'),
        ({"container": "late"}, 400, 'container "late" in pod "p" is waiting to start: ContainerCreating'),
        ({"sinceTime": "yesterday"}, 400, "sinceTime"),
    ],
)
async def test_what_cannot_be_shown_is_refused_before_it_is_accepted(
    host: FakeHost, streams: PodStreams, asked: dict[str, Any], code: int, words: str
) -> None:
    await start(host, "print", "x")
    stream = FakeStream()

    with pytest.raises(ApiError, match=words) as caught:
        await streams.logs({**ASKED, **asked}, stream)

    assert caught.value.code == code
    assert not stream.accepted


async def test_following_ends_when_the_person_leaves(host: FakeHost, streams: PodStreams) -> None:
    await start(host, "wait")
    stream = FakeStream()
    task = asyncio.create_task(streams.logs({**ASKED, "follow": True}, stream))
    while not stream.sent:
        await asyncio.sleep(0.001)

    stream.aborted()
    await asyncio.wait([task])

    assert task.cancelled()


async def test_a_command_has_its_channels_and_its_end(host: FakeHost, streams: PodStreams) -> None:
    await start(host, "wait")
    typed = channels.encode(channels.STDIN, b"quiet") + channels.encode(channels.CLOSE, bytes((channels.STDIN,)))
    stream = FakeStream(typed[:3], typed[3:])

    await streams.exec({**ASKED, "command": ["/busy", "upper-then-exit", "9"], "stdin": True}, stream)

    assert stream.frames(channels.STDOUT) == b"QUIET"
    assert msgspec.json.decode(stream.frames(channels.STATUS))["details"]["causes"] == [{"reason": "ExitCode", "message": "9"}]


async def test_a_command_without_input_has_it_closed(host: FakeHost, streams: PodStreams) -> None:
    await start(host, "wait")
    stream = FakeStream()

    await streams.exec({**ASKED, "command": ["/busy", "env", "COLOUR"]}, stream)

    assert stream.frames(channels.STDOUT) == b"blue\n"
    assert msgspec.json.decode(stream.frames(channels.STATUS)) == {"metadata": {}, "status": "Success"}


@pytest.mark.parametrize("size", [b"", b"{}", b"[]", b"[" * 100_000, b'{"Width":"x","Height":1}', b'{"Width":80}', b'"\xff"'])
async def test_a_size_that_is_none_changes_nothing(host: FakeHost, streams: PodStreams, size: bytes) -> None:
    await start(host, "wait")
    typed = channels.encode(channels.RESIZE, size) + channels.encode(channels.STDIN, b"quiet")
    stream = FakeStream(typed + channels.encode(channels.CLOSE, bytes((channels.STDIN,))))

    await streams.exec({**ASKED, "command": ["/busy", "upper-then-exit", "9"], "stdin": True}, stream)

    assert stream.frames(channels.STDOUT) == b"QUIET"


async def test_no_command_runs_in_what_does_not_run(host: FakeHost, streams: PodStreams) -> None:
    await start(host, "exit", "0")

    with pytest.raises(ApiError, match="is not running"):
        await streams.exec({**ASKED, "command": ["true"]}, FakeStream())


async def test_a_command_that_is_too_long_is_refused(host: FakeHost, streams: PodStreams) -> None:
    await start(host, "wait")

    with pytest.raises(ApiError, match="longer than"):
        await streams.exec({**ASKED, "command": ["x" * 200_000]}, FakeStream())


def test_what_kubectl_logs_asked_for() -> None:
    options = log_options({"follow": True, "tailLines": 5, "sinceSeconds": 30, "timestamps": True, "limitBytes": 7}, now=100.0)

    assert (options.follow, options.tail_lines, options.since_at, options.timestamps, options.limit_bytes) == (True, 5, 70.0, True, 7)
    assert log_options({"sinceTime": "1970-01-01T00:01:00Z"}, now=0).since_at == 60.0


def test_exit_codes_read_as_kubectl_expects_them() -> None:
    assert exit_status(0)["status"] == "Success"
    assert exit_status(137)["reason"] == "NonZeroExitCode"
