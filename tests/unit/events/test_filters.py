"""Filters of Triggers, dialect by dialect."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.events.filters import FilterError, compile_trigger

EVENT: dict[str, str | int | bool] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/nodes/a/devices/p/meter",
    "type": "dev.skerry.device.event",
    "subject": "leak",
    "severity": 17,
    "test": True,
    "empty": "",
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"filter": {}}, True),
        ({"filter": {"attributes": {"type": "dev.skerry.device.event"}}}, True),
        ({"filter": {"attributes": {"type": "dev.skerry.device.event", "subject": "fire"}}}, False),
        ({"filter": {"attributes": {"subject": ""}}}, True),
        ({"filter": {"attributes": {"missing": ""}}}, False),
        ({"filter": {"attributes": {"empty": ""}}}, False),
        ({"filter": {"attributes": {"severity": "17"}}}, True),
        ({"filter": {"attributes": {"test": "true"}}}, True),
        ({"filter": {"attributes": {"subject": "Leak"}}}, False),
        ({"filters": [{"exact": {"subject": "leak"}}], "filter": {"attributes": {"subject": "fire"}}}, True),
        ({"filters": [], "filter": {"attributes": {"subject": "fire"}}}, False),
        ({"filters": [{"prefix": {"source": "/nodes/a/"}}, {"suffix": {"source": "/meter"}}]}, True),
        ({"filters": [{"prefix": {"source": "/nodes/a/"}}, {"suffix": {"source": "/pump"}}]}, False),
        ({"filters": [{"exact": {"missing": "x"}}]}, False),
        ({"filters": [{"not": {"exact": {"missing": "x"}}}]}, True),
        ({"filters": [{"any": [{"exact": {"subject": "fire"}}, {"exact": {"subject": "leak"}}]}]}, True),
        ({"filters": [{"all": [{"exact": {"subject": "fire"}}, {"exact": {"subject": "leak"}}]}]}, False),
        ({"filters": [{"not": {"any": [{"prefix": {"type": "com."}}, {"exact": {"subject": "leak"}}]}}]}, False),
    ],
)
def test_a_trigger_takes_what_its_filter_says(spec: dict[str, Any], expected: bool) -> None:
    assert compile_trigger(spec)(EVENT) is expected


@pytest.mark.parametrize("expression", [{"cesql": "TRUE"}, {}, {"exact": {"a": "b"}, "not": {}}, "exact"])
def test_what_is_not_a_filter_is_refused(expression: Any) -> None:
    with pytest.raises(FilterError):
        compile_trigger({"filters": [expression]})
