"""Answers that are made as they are sent say what they would if they were made at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import yaml

from skerry.apiserver.http import yaml_form
from skerry.apiserver.http.yaml_form import to_yaml, yaml_pieces
from skerry.apiserver.registry import slices
from skerry.apiserver.registry.slices import sliced

TEXTS = ["plain", "two\nlines\n", "", " blanks ", "a: b", "- c", "'", "\u2028", "null", "7", "\n\nend", "x" * 300]
NESTED: dict[str, Any] = {
    "empty": {},
    "none": [],
    "list": [{"n": str(i), "texts": TEXTS} for i in range(9)],
    "map": {f"f:k{i}": {"f:a": {}, "t": TEXTS[i % len(TEXTS)]} for i in range(40)},
    "x" * 200: {f"k{i}": i for i in range(40)},
}


@pytest.mark.parametrize("value", [{}, NESTED, {"deep": {"deeper": NESTED}}], ids=["nothing", "wide", "deep"])
def test_yaml_in_pieces_reads_as_the_same(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr(yaml_form, "PIECE_VALUES", 20)
    monkeypatch.setattr(yaml_form, "_ELEMENTS", 2)
    value = json.loads(json.dumps(value))  # as a decoded object is: nothing in it stands twice

    pieces = list(yaml_pieces(value))

    assert yaml.safe_load(b"".join(pieces)) == yaml.safe_load(to_yaml(value)) == value
    assert len(pieces) > 10 or not value


async def test_slices_let_others_have_their_turn_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_S", 0.0)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def slow() -> Any:
        for i in range(100):
            yield b"x" if i % 10 == 0 else b""

    task = asyncio.create_task(others())
    found = [chunk async for chunk in sliced(slow(), 3)]
    task.cancel()

    assert b"".join(found) == b"x" * 10
    assert turns > 50
