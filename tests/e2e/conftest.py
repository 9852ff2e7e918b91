"""One whole edge, brought up once for all end-to-end tests that only use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.stage import NODES, Stage


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The demo's hub, nodes, devices and apps, ready."""
    made = Stage.new(lambda text: None)
    try:
        made.up()
        made.kubectl("wait", "node", *(p.name for p in NODES), "--for=condition=Ready", "--timeout=90s")
        made.kubectl("rollout", "status", "deployment/greeter", "--timeout=90s")
        made.kubectl("wait", "devices", "meter-1", "sensor-1", "--for=condition=Connected", "--timeout=90s")
        yield made
    finally:
        left = made.down()
    assert not left, f"still running after the end: {left}"
