"""The uploader against a real hub log over a connection that loses things."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from skerry.events.cloudevents import Event
from skerry.events.log import DROPPED_TYPE, HubLog, Outbox, OutboxLimits
from skerry.events.routes import EventRoutes
from skerry.model.errors import ApiError
from skerry.node.eventing import Uploader, UploadSettings

FAST = UploadSettings(gather_s=0.0, retry_s=0.001, max_retry_s=0.002)


@dataclass
class _Response:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    async def read(self, *, limit_bytes: int) -> bytes:
        return self.body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.body

    async def close(self) -> None:
        return None


class LossyHub:
    """The hub's routes behind a connection; `lose` is asked before and after each request."""

    def __init__(self, log: HubLog, lose: Callable[[], bool] = lambda: False) -> None:
        self.routes = EventRoutes(log)
        self.lose = lose
        self.requests = 0
        self.connected = asyncio.Event()
        self.connected.set()

    async def wait_connected(self) -> None:
        await self.connected.wait()

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> _Response:
        assert path == "/skerry/link/events"
        self.requests += 1
        stream = (headers or {})["skerry-stream"]
        if self.lose() or not self.connected.is_set():
            raise ConnectionError("lost on the way there")
        try:
            answer = await (self.routes.upload("n", stream, body) if method == "POST" else self.routes.mark("n", stream))
        except ApiError as error:
            return _Response(error.code, error.message.encode())
        if self.lose() or not self.connected.is_set():
            raise ConnectionError("lost on the way back")
        assert isinstance(answer.body, bytes)
        return _Response(answer.status, answer.body)


def an_event(number: int, size: int = 0) -> Event:
    return Event(id=str(number), source="/nodes/n/devices/p/d", type="t", data="x" * size)


async def stored_ids(log: HubLog) -> list[str]:
    found: list[str] = []
    after = 0
    while page := await log.page(after):
        found += [msgspec.json.decode(e.raw)["id"] for e in page]
        after = page[-1].sequence
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def uploaded(outbox: Outbox, hub: LossyHub, *, settings: UploadSettings = FAST) -> None:
    """Run an uploader until the hub has acknowledged everything."""
    running = asyncio.create_task(Uploader(outbox, hub, settings=settings).run())
    try:
        await until(lambda: running.done() or (outbox.acknowledged == outbox.newest and hub.requests > 0))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_everything_arrives_in_order(outbox: Outbox, hublog: HubLog) -> None:
    await outbox.append(*(an_event(i) for i in range(1, 3501)), key="k")

    await uploaded(outbox, LossyHub(hublog))

    assert await stored_ids(hublog) == [str(i) for i in range(1, 3501)]


@pytest.mark.parametrize("seed", range(3))
async def test_a_connection_that_loses_requests_and_answers_loses_and_repeats_nothing(outbox: Outbox, hublog: HubLog, seed: int) -> None:
    rng = random.Random(seed)
    hub = LossyHub(hublog, lambda: rng.random() < 0.2)
    running = asyncio.create_task(Uploader(outbox, hub, settings=FAST).run())

    for i in range(1, 501):
        await outbox.append(an_event(i), key="k")
    await until(lambda: outbox.acknowledged == 500)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert await stored_ids(hublog) == [str(i) for i in range(1, 501)]
    (account,) = await hublog.accounts()
    assert (account.stored, account.dropped) == (500, 0)


async def test_an_outage_is_waited_out(outbox: Outbox, hublog: HubLog) -> None:
    hub = LossyHub(hublog)
    hub.connected.clear()
    running = asyncio.create_task(Uploader(outbox, hub, settings=FAST).run())
    await outbox.append(*(an_event(i) for i in range(1, 21)), key="k")
    await asyncio.sleep(0.01)
    assert hub.requests == 0

    hub.connected.set()
    await until(lambda: outbox.acknowledged == 20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert len(await stored_ids(hublog)) == 20


async def test_what_was_dropped_is_declared_and_the_books_balance(tmp_path: Path, hublog: HubLog) -> None:
    box = await Outbox.open(tmp_path / "small.sqlite", limits=OutboxLimits(max_bytes=10_000))
    for i in range(1, 31):
        await box.append(an_event(i, size=900), key="k")

    await uploaded(box, LossyHub(hublog))

    (account,) = await hublog.accounts()
    assert (account.mark, account.stored + account.dropped, account.dropped) == (30, 30, box.dropped)
    first = msgspec.json.decode((await hublog.page())[0].raw)
    assert (first["type"], first["data"]["count"]) == (DROPPED_TYPE, box.dropped)
    await box.close()


async def test_an_outbox_that_lost_everything_to_its_bound_says_so(tmp_path: Path, hublog: HubLog) -> None:
    box = await Outbox.open(tmp_path / "tiny.sqlite", limits=OutboxLimits(max_bytes=10))
    await box.append(an_event(1), an_event(2), key="k")

    await uploaded(box, LossyHub(hublog))

    (account,) = await hublog.accounts()
    assert (account.mark, account.stored, account.dropped) == (2, 0, 2)
    await box.close()


async def test_a_hub_that_starts_anew_hears_what_an_earlier_one_had(tmp_path: Path, outbox: Outbox, hublog: HubLog) -> None:
    await outbox.append(*(an_event(i) for i in range(1, 11)), key="k")
    await uploaded(outbox, LossyHub(hublog))
    await outbox._settle()
    await outbox.append(an_event(11), key="k")

    other = await HubLog.open(tmp_path / "other.sqlite")
    await uploaded(outbox, LossyHub(other))

    assert (await stored_ids(other))[1:] == ["11"]
    assert "earlier hub" in msgspec.json.decode((await other.page())[0].raw)["data"]["reason"]
    await other.close()


async def test_an_older_copy_of_the_disk_begins_a_new_stream(outbox: Outbox, hublog: HubLog) -> None:
    await outbox.append(an_event(1), key="k")
    await uploaded(outbox, LossyHub(hublog))
    await hublog.store("n", outbox.stream, b'{"seq":2,"event":%b}' % an_event(2).to_json())  # the disk then went back to number 1

    await uploaded(outbox, LossyHub(hublog))
    await outbox.append(an_event(22), key="k")
    await uploaded(outbox, LossyHub(hublog))

    assert [i for i in await stored_ids(hublog) if i.isdigit()] == ["1", "2", "22"]
    assert len(await hublog.accounts()) == 2


async def test_an_older_copy_of_the_disk_is_found_by_what_its_numbers_mean(outbox: Outbox, hublog: HubLog) -> None:
    await outbox.append(an_event(1), key="k")
    await uploaded(outbox, LossyHub(hublog))
    await hublog.store("n", outbox.stream, b'{"seq":2,"event":%b}' % an_event(2).to_json())  # the disk then went back to number 1
    await outbox.append(an_event(22), key="k")  # and number 2 was given again before the hub was seen

    await uploaded(outbox, LossyHub(hublog))

    assert [i for i in await stored_ids(hublog) if i.isdigit()] == ["1", "2", "22"]


async def test_a_damaged_event_is_given_up_and_the_others_arrive(outbox: Outbox, hublog: HubLog) -> None:
    await outbox.append(*(an_event(i) for i in range(1, 6)), key="k")
    await outbox._writer.write(lambda db: db.execute("UPDATE outbox SET body = x'00ff' WHERE seq IN (3, 5)").fetchall())

    await uploaded(outbox, LossyHub(hublog))

    (account,) = await hublog.accounts()
    assert (account.stored, account.dropped) == (3, 2)
    reasons = [msgspec.json.decode(e.raw).get("data") for e in await hublog.page()]
    assert [r["reason"] for r in reasons if r and "reason" in r] == ["damaged on the node's disk"] * 2


async def test_a_batch_that_the_hub_refuses_is_kept(outbox: Outbox, hublog: HubLog) -> None:
    class Refusing(LossyHub):
        async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> _Response:
            return await super().request(method, path, headers=headers, body=b"nonsense" if method == "POST" else b"")

    await outbox.append(an_event(1), key="k")
    hub = Refusing(hublog)
    running = asyncio.create_task(Uploader(outbox, hub, settings=FAST).run())
    await until(lambda: hub.requests > 6)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert (outbox.acknowledged, len(await outbox.read(0, max_events=9, max_bytes=999))) == (0, 1)
