"""What one client may take, and answers that are compressed."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from skerry.apiserver.http import limits
from skerry.apiserver.http.compression import MAX_KEPT_BYTES, MIN_BYTES, Compressor, accepts_gzip
from skerry.apiserver.http.limits import InFlight, OpenStreams, Receiving
from skerry.apiserver.http.message import ANONYMOUS, Response, User
from skerry.model.errors import ApiError

ALICE, BOB = User("alice"), User("bob")
GZIP = {"accept-encoding": "gzip"}


def a_list(revision: int = 1, size: int = MIN_BYTES) -> Response:
    return Response(
        200, {"Content-Type": "application/json"}, b'{"metadata":{"resourceVersion":"%d"},"items":["%b"]}' % (revision, b"x" * size)
    )


def test_one_user_cannot_take_all_places() -> None:
    places = InFlight()
    for _ in range(limits.MAX_IN_FLIGHT_OF_ONE):
        places.admit(ALICE)

    with pytest.raises(ApiError) as refused:
        places.admit(ALICE)
    places.admit(BOB)
    places.admit(ANONYMOUS)
    places.release(ALICE)
    places.admit(ALICE)

    assert (refused.value.code, refused.value.details) == (429, {"retryAfterSeconds": 1})


def test_strangers_have_places_of_their_own() -> None:
    places = InFlight()
    for _ in range(limits.MAX_STRANGERS):
        places.admit(ANONYMOUS)

    with pytest.raises(ApiError):
        places.admit(ANONYMOUS)
    places.admit(ALICE)


def test_what_is_released_is_forgotten() -> None:
    places = InFlight()
    for user in (ALICE, BOB, ANONYMOUS):
        places.admit(user)
        places.release(user)

    assert (places.total, places.strangers, places._of) == (0, 0, {})


def test_bodies_that_are_not_complete_share_a_budget() -> None:
    receiving = Receiving()
    receiving.take(limits.MAX_RECEIVING_BYTES)

    with pytest.raises(ApiError) as refused:
        receiving.take(1)
    receiving.give(limits.MAX_RECEIVING_BYTES)
    receiving.take(1)

    assert refused.value.code == 429


async def test_one_user_cannot_open_all_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STREAMS_OF_ONE", 2)
    streams = OpenStreams()
    first, _ = streams.open("alice", None), streams.open("alice", None)

    with pytest.raises(ApiError):
        streams.open("alice", None)
    streams.open("bob", None)
    streams.close(first)
    streams.open("alice", None)
    streams.stop()

    assert len(streams) == 3


class Transport:
    """A connection that remembers that it was cut."""

    def __init__(self) -> None:
        self.aborted = asyncio.Event()

    def abort(self) -> None:
        self.aborted.set()


async def test_a_stream_that_nobody_reads_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALLED_S", 0.01)
    monkeypatch.setattr(limits, "SWEEP_S", 0.01)
    streams, stalled, read = OpenStreams(), Transport(), Transport()
    streams.open("alice", stalled).since = asyncio.get_running_loop().time()
    streams.open("alice", read)

    async with asyncio.timeout(60):
        await stalled.aborted.wait()
    streams.stop()

    assert not read.aborted.is_set()


async def test_a_stream_ends_with_the_token_that_opened_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that a stolen node's Pod had opened went on after the denial, for as long as the thief liked (F32)."""
    monkeypatch.setattr(limits, "SWEEP_S", 0.01)
    good = {"a", "b"}
    streams, lapsed, others = OpenStreams(good.__contains__), Transport(), [Transport() for _ in range(2)]
    streams.open("alice", lapsed, "a")
    streams.open("alice", others[0], "b")
    streams.open("admin", others[1])

    await asyncio.sleep(0.05)
    assert not lapsed.aborted.is_set()
    good.remove("a")

    async with asyncio.timeout(30):
        await lapsed.aborted.wait()
    streams.stop()
    assert not any(t.aborted.is_set() for t in others)


@pytest.mark.parametrize("size", [MIN_BYTES, 3 * MIN_BYTES])
async def test_large_answers_are_compressed_for_who_takes_gzip(size: int) -> None:
    plain = a_list(size=size)
    packed = await Compressor().compressed("/api/v1/pods", GZIP, plain)

    assert isinstance(packed.body, bytes)
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["Content-Encoding"] == "gzip"
    assert await Compressor().compressed("/api/v1/pods", {}, plain) is plain
    small = a_list(size=10)
    assert await Compressor().compressed("/api/v1/pods", GZIP, small) is small


async def test_the_same_state_is_compressed_once_and_another_anew() -> None:
    compressor = Compressor()
    first, again, later = [await compressor.compressed("/api/v1/pods", GZIP, a_list(r)) for r in (1, 1, 2)]
    tables = [await compressor.compressed("/api/v1/pods", {**GZIP, "accept": "application/json;as=Table"}, a_list()) for _ in range(2)]

    assert first.body is again.body
    assert later.body != first.body
    assert tables[0].body is not tables[1].body  # ages change without a revision


async def test_what_is_kept_is_bounded() -> None:
    compressor = Compressor()
    for revision in range(30):
        await compressor.compressed(f"/{revision}", GZIP, a_list(revision))

    assert compressor._bytes == sum(map(len, compressor._kept.values())) <= MAX_KEPT_BYTES


@pytest.mark.parametrize(
    ("header", "taken"), [("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("identity", False), ("", False), ("xgzip", False)]
)
def test_a_weight_of_zero_refuses(header: str, taken: bool) -> None:
    assert accepts_gzip(header) is taken
