"""The expressions on the reference page are ones."""

from __future__ import annotations

import re
from pathlib import Path

from skerry.model.expressions import MAX_DEPTH, MAX_SOURCE, Kind, parse

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "expressions.md"
KINDS: dict[str, Kind] = {
    "flow": "double",
    "temperature": "double",
    "ambient": "double",
    "mode": "string",
    "serial": "string",
    "pump": "bool",
}


def test_every_example_is_accepted() -> None:
    [block] = re.findall(r"```cel\n(.*?)```", PAGE.read_text(), re.DOTALL)

    assert [parse(line, KINDS).kind for line in block.splitlines()] == ["bool"] * 5


def test_the_limits_are_those_of_the_code() -> None:
    assert f"{MAX_SOURCE:,} characters; {MAX_DEPTH} levels" in PAGE.read_text()
