"""POSTs to subscribers over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from skerry.events.delivery import Sink
from skerry.events.sinks import HttpSender, NotAllowedError, UnsendableError
from skerry.events.sinks.http import MAX_REPLY_BYTES, refused_address
from tests.unit.events.subscriber import Request, Subscriber, answering


@pytest.fixture
async def subscriber() -> AsyncIterator[Subscriber]:
    made = Subscriber()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    made = HttpSender()
    yield made
    await made.close()


async def test_the_event_goes_out_as_it_is_and_the_answer_comes_back(subscriber: Subscriber, sender: HttpSender) -> None:
    subscriber.answer = lambda r: answering(200, b"hello", "X-A: b")

    reply = await sender.post(Sink(subscriber.uri), {"ce-id": "1"}, b"{}", timeout_s=30)

    assert (reply.status, reply.body, reply.headers["x-a"]) == (200, b"hello", "b")
    (request,) = subscriber.requests
    assert (request.path, request.body, request.headers["ce-id"]) == ("/in?x=1", b"{}", "1")
    assert set(request.headers) == {"host", "content-length", "user-agent", "ce-id"}


async def test_a_connection_is_used_again(subscriber: Subscriber, sender: HttpSender) -> None:
    for _ in range(5):
        await sender.post(Sink(subscriber.uri), {}, b"x", timeout_s=30)

    assert (len(subscriber.requests), subscriber.connections) == (5, 1)


async def test_a_connection_that_was_closed_while_idle_is_replaced(subscriber: Subscriber, sender: HttpSender) -> None:
    await sender.post(Sink(subscriber.uri), {}, b"1", timeout_s=30)
    await subscriber.stop()
    await subscriber.start()

    reply = await sender.post(Sink(subscriber.uri), {}, b"2", timeout_s=30)

    assert reply.status == 202


async def test_a_redirect_is_not_followed(subscriber: Subscriber, sender: HttpSender) -> None:
    subscriber.answer = lambda r: answering(302, b"", "location: http://127.0.0.1:1/")

    assert (await sender.post(Sink(subscriber.uri), {}, b"", timeout_s=30)).status == 302
    assert len(subscriber.requests) == 1


async def test_a_silent_subscriber_is_left_after_the_timeout(subscriber: Subscriber, sender: HttpSender) -> None:
    subscriber.answer = lambda r: b""

    with pytest.raises(TimeoutError):
        await sender.post(Sink(subscriber.uri), {}, b"", timeout_s=0.05)


@pytest.mark.parametrize("answer", [None, b"SSH-2.0-nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"])
async def test_no_answer_is_a_lost_connection(subscriber: Subscriber, sender: HttpSender, answer: bytes | None) -> None:
    def give_up(request: Request) -> bytes | None:
        for writer in subscriber._writers:
            if answer is not None:
                writer.write(answer)
        return None

    subscriber.answer = give_up

    with pytest.raises(ConnectionError):
        await sender.post(Sink(subscriber.uri), {}, b"", timeout_s=30)


async def test_nobody_listening_is_a_lost_connection(subscriber: Subscriber, sender: HttpSender) -> None:
    await subscriber.stop()

    with pytest.raises(ConnectionError, match="cannot be reached"):
        await sender.post(Sink(subscriber.uri), {}, b"", timeout_s=30)
    await subscriber.start()


async def test_an_endless_answer_is_cut(subscriber: Subscriber, sender: HttpSender) -> None:
    subscriber.answer = lambda r: answering(200, b"x" * (2 * MAX_REPLY_BYTES))

    reply = await sender.post(Sink(subscriber.uri), {}, b"", timeout_s=30)

    assert (len(reply.body), reply.whole) == (MAX_REPLY_BYTES, False)


async def test_link_local_addresses_are_not_connected_to(sender: HttpSender) -> None:
    with pytest.raises(NotAllowedError):
        await sender.post(Sink("http://169.254.169.254/latest"), {}, b"", timeout_s=30)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254", "0.0.0.0", "::", "224.0.0.1", "ff02::1"])
def test_addresses_events_never_go_to(address: str) -> None:
    assert refused_address(address)


@pytest.mark.parametrize("address", ["127.0.0.2", "10.4.0.7", "192.168.1.1", "fd00::1", "::1", "93.184.216.34"])
def test_addresses_of_pods_and_neighbours_are_fine(address: str) -> None:
    assert not refused_address(address)


@pytest.mark.parametrize("value", ["a\r\nx: y", "ä"])
async def test_what_is_no_header_is_not_sent(sender: HttpSender, value: str) -> None:
    with pytest.raises(UnsendableError):
        await sender.post(Sink("http://127.0.0.1:1/"), {"content-type": value}, b"", timeout_s=1)


async def test_cancelling_a_post_leaves_nothing_behind(subscriber: Subscriber, sender: HttpSender) -> None:
    subscriber.answer = lambda r: b""
    task = asyncio.create_task(sender.post(Sink(subscriber.uri), {}, b"", timeout_s=30))
    while not subscriber.requests:
        await asyncio.sleep(0.001)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
