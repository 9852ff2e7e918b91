"""OpenAPI of a group with 30 MiB of definitions, which is nearly all texts: no form of it is ever in memory as a whole.

Before, such a document was there as values, as JSON and compressed at once: a request took 75 to 213 MiB and held the loop for 110 ms.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.bad_input.asking import MAX_GROWTH_KIB, Case, Server, request, status_of
from tests.bad_input.test_large_objects import CRDS, definition, held, send, unchunked

DEFINITIONS, PROPERTIES, TEXT_BYTES = 20, 10, 150 << 10
V2, V3 = "/openapi/v2", "/openapi/v3/apis/large.example/v1"
GNOSTIC = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
AT_ONCE = 5

FORMS = [
    Case(1, "v3-grew-213-mib", request("GET", V3), (200,)),
    Case(2, "v3-compressed-164-mib", request("GET", V3, Accept_Encoding="gzip"), (200,)),
    Case(3, "v2-151-mib", request("GET", V2), (200,)),
    Case(4, "v2-compressed-75-mib", request("GET", V2, Accept_Encoding="gzip"), (200,)),
    Case(5, "v2-as-protobuf-142-mib", request("GET", V2, Accept=GNOSTIC), (200,)),
    Case(6, "the-index", request("GET", "/openapi/v3"), (200,)),
]


def texts() -> Iterator[str]:
    """Yield texts that no compression makes short."""
    source = random.Random(3)
    while True:
        yield base64.b64encode(source.randbytes(TEXT_BYTES * 3 // 4)).decode()


@pytest.fixture(scope="module")
def wordy(hostile: Server) -> Server:
    words = texts()
    for i in range(DEFINITIONS):
        properties = {f"p{j}": {"type": "string", "description": next(words)} for j in range(PROPERTIES)}
        created = send("POST", CRDS, definition(f"{chr(97 + i)}things", properties))
        assert status_of(hostile.exchange(Case(0, "definition", created, (201,)))) == 201
    return hostile


@pytest.mark.slow
@pytest.mark.parametrize("case", FORMS, ids=str)
def test_a_long_document_is_made_as_it_is_sent(wordy: Server, case: Case) -> None:
    held(wordy, case)


@pytest.mark.slow
def test_several_who_ask_at_once_take_no_more(wordy: Server) -> None:
    before = wordy.mark()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda _: wordy.exchange(FORMS[0]), range(AT_ONCE)))
    after = wordy.mark()

    assert after["peak_kib"] - before["peak_kib"] < MAX_GROWTH_KIB
    assert [described(json.loads(unchunked(answer))) for answer in answers] == [expected()] * AT_ONCE


def expected() -> list[str]:
    words = texts()
    return [next(words) for _ in range(DEFINITIONS * PROPERTIES)]


def described(document: dict[str, Any]) -> list[str]:
    """Return the texts of all custom kinds, in their order."""
    kinds = [s for name, s in document["components"]["schemas"].items() if name.endswith("thing")]
    return [p["description"] for kind in kinds for p in kind["properties"]["spec"]["properties"].values()]
