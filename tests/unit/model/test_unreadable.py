"""All that msgspec says of bytes that are not the JSON they should be."""

from __future__ import annotations

import msgspec
import pytest

from skerry.model.unreadable import NOT_JSON


@pytest.mark.parametrize("data", [b"", b"{", b"[1", b'"\xff"', b"[" * 100_000, b'{"a":' * 100_000])
def test_whatever_cannot_be_read_is_one_of_these(data: bytes) -> None:
    with pytest.raises(NOT_JSON):
        msgspec.json.decode(data)


def test_neither_is_the_wrong_shape() -> None:
    with pytest.raises(NOT_JSON):
        msgspec.json.decode(b"[1]", type=dict[str, int])
