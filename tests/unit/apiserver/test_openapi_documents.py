"""Documents of OpenAPI are made once for all who ask, kept compressed within a bound, and sent whole in any case."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Iterator

import msgspec
import pytest

from skerry.apiserver.http import openapi_documents
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.openapi_documents import Documents, cut
from skerry.apiserver.registry.slices import CHUNK_BYTES, Finite
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import ADMIN, Asker

MEDIA = {"Content-Type": "application/json"}
WORDS, NOISE = b"some words " * 300_000, os.urandom(1 << 20)
GZIP = {"accept-encoding": "gzip"}


class Drawn:
    """What draws one text, and counts how often it had to."""

    def __init__(self, text: bytes) -> None:
        self._text, self.times = text, 0

    def __call__(self) -> Iterator[bytes]:
        self.times += 1
        for at in range(0, len(self._text), 100_000):
            yield self._text[at : at + 100_000]


@pytest.fixture
def documents(server: ApiServer) -> Documents:
    return Documents(server.registry)


async def answered(documents: Documents, drawn: Drawn, name: str = "a", hash_: str = "H", **headers: str) -> Response:
    request = Request("GET", "/openapi/v3/a", "", {k.replace("_", "-"): v for k, v in headers.items()}, b"", ADMIN)
    return await documents.answer(request, name, hash_, MEDIA, drawn)


async def body(response: Response) -> bytes:
    if isinstance(response.body, Finite):
        return b"".join([chunk async for chunk in response.body])
    assert isinstance(response.body, bytes)
    return gzip.decompress(response.body) if response.headers.get("Content-Encoding") == "gzip" else response.body


async def test_all_who_ask_at_once_wait_for_one_making(documents: Documents) -> None:
    drawn = Drawn(WORDS)

    answers = await asyncio.gather(*[answered(documents, drawn, **headers) for headers in (GZIP, {}) * 5])

    assert drawn.times == 1
    assert [await body(a) for a in answers] == [WORDS] * 10
    assert [a.headers.get("Content-Encoding", "") for a in answers] == ["gzip", ""] * 5


async def test_a_client_that_has_it_costs_nothing(documents: Documents) -> None:
    drawn = Drawn(WORDS)

    answer = await answered(documents, drawn, if_none_match='"H"')

    assert (answer.status, answer.headers["ETag"], drawn.times) == (304, '"H"', 0)


async def test_what_changed_is_made_anew(documents: Documents) -> None:
    before, after = Drawn(b"before"), Drawn(b"after")

    texts = [(await answered(documents, d, hash_=h)).body for d, h in ((before, "1"), (before, "1"), (after, "2"))]

    assert texts == [b"before", b"before", b"after"]
    assert (before.times, after.times) == (1, 1)


async def test_what_is_kept_is_bounded(documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi_documents, "MAX_KEPT_BYTES", len(NOISE) * 2 + 10_000)
    drawn = {name: Drawn(NOISE) for name in "abc"}

    for name in "abcca":
        assert await body(await answered(documents, drawn[name], name, **GZIP)) == NOISE

    assert {name: d.times for name, d in drawn.items()} == {"a": 2, "b": 1, "c": 1}


async def test_what_is_too_long_to_be_kept_is_sent_all_the_same(documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi_documents, "MAX_KEPT_BYTES", len(NOISE) // 2)
    drawn = Drawn(NOISE)

    answers = [await answered(documents, drawn, **GZIP) for _ in range(2)]

    assert [await body(a) for a in answers] == [NOISE] * 2
    assert drawn.times == 3  # once to learn that


def test_chunks_are_neither_short_nor_long() -> None:
    pieces = [b"ab", NOISE, b"", b"cd" * 1000, NOISE[: CHUNK_BYTES // 3]] * 3

    chunks = list(cut(pieces))

    assert b"".join(chunks) == b"".join(pieces)
    assert all(CHUNK_BYTES <= len(chunk) <= CHUNK_BYTES * 1.5 for chunk in chunks[:-1])


async def test_the_documents_of_a_server_are_the_same_in_every_form(ask: Asker) -> None:
    plain, packed = [await ask.raw("GET", "/openapi/v2", **headers) for headers in ({}, GZIP)]
    index = msgspec.json.decode(await body(await ask.raw("GET", "/openapi/v3")))
    moved = await ask.raw("GET", "/openapi/v3/api/v1?hash=old")
    core = await ask.raw("GET", index["paths"]["api/v1"]["serverRelativeURL"])

    assert await body(plain) == await body(packed)
    assert plain.headers["ETag"] == packed.headers["ETag"]
    assert (moved.status, moved.headers["Location"]) == (301, index["paths"]["api/v1"]["serverRelativeURL"])
    assert core.headers["Cache-Control"] == "public, immutable"
    assert "io.k8s.api.core.v1.Pod" in msgspec.json.decode(await body(core))["components"]["schemas"]
