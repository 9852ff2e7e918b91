"""A bit that flips under a running hub: `skerry hub scrub` finds it, an Event and a metric tell of it, the object is served as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.hub_process import HubProcess

pytestmark = pytest.mark.slow

TEXT = "seldom-" * 20_000
MAP = "/api/v1/namespaces/default/configmaps/large"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub that was restarted, so that its database holds all and its write-ahead log little."""
    hub = HubProcess(tmp_path)
    hub.start()
    body = {"metadata": {"name": "large"}, "data": {"text": TEXT}}
    assert hub.request("POST", MAP.rpartition("/")[0], body).status == 201
    hub.stop()
    hub.start()
    yield hub
    if hub.process is not None and hub.process.poll() is None:
        hub.stop()


def scrub(hub: HubProcess) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": str(hub.kubeconfig)}
    return subprocess.run([sys.executable, "-m", "skerry", "hub", "scrub"], env=environment, capture_output=True, text=True, check=False)


def test_a_flipped_bit_is_told_and_not_served(hub: HubProcess) -> None:
    assert scrub(hub).returncode == 0
    path = hub.folder / "hub" / "hub.sqlite"
    where = path.read_bytes().index(b"seldom-" * 400)
    with path.open("r+b") as file:
        file.seek(where + 1_000)
        byte = file.read(1)[0]
        file.seek(where + 1_000)
        file.write(bytes([byte ^ 2]))

    done = scrub(hub)

    assert done.returncode == 1
    assert "configmaps default/large" in done.stdout
    assert f"page {(where + 1_000) // 4096 + 1} of" in done.stdout
    assert hub.request("GET", MAP).json["data"]["text"] == TEXT
    events = hub.request("GET", "/api/v1/events?fieldSelector=reason=StoreDamaged").json["items"]
    assert [e["type"] for e in events] == ["Warning"]
    gauge = next(line for line in hub.request("GET", "/metrics").body.splitlines() if line.startswith("skerry_store_damage "))
    assert float(gauge.split()[1]) > 0
    hub.stop()
    with pytest.raises(AssertionError, match=r"hub.sqlite is damaged .*: restore a backup"):
        hub.start()
