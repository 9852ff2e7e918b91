"""A Secret's value is in no file that the hub writes, in no form, and in no backup: a canary proves it (T3)."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.hub_process import HubProcess

pytestmark = pytest.mark.slow

SECRETS = "/api/v1/namespaces/default/secrets"


def forms(canary: str) -> list[bytes]:
    """Return how the canary may look: as it is, in base64 alone, and inside a longer base64 at each of the three offsets."""
    raw = canary.encode()
    inside = [base64.b64encode(b"x" * n + raw)[4 : 4 * ((n + len(raw)) // 3)] for n in range(3)]
    return [raw, raw[::-1], raw.hex().encode(), base64.b64encode(raw).rstrip(b"=")[:-2], *inside]


def files_with(folder: Path, wanted: list[bytes]) -> list[str]:
    """Return the files below *folder* that hold any of *wanted*."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found += [f"{path.relative_to(folder)}: {form!r}" for form in wanted if form in content]
    return found


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path)
    hub.start()
    yield hub
    if hub.process is not None and hub.process.poll() is None:
        hub.stop()


def test_a_secret_is_in_no_file_of_the_hub_and_in_no_backup(hub: HubProcess, tmp_path: Path) -> None:
    canary = "canary-" + secrets.token_hex(24)
    wanted = forms(canary)
    encoded = base64.b64encode(canary.encode()).decode()
    assert hub.request("POST", SECRETS, {"metadata": {"name": "a"}, "stringData": {"password": canary}}).status == 201
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}, "data": {"password": encoded}}
    applied = subprocess.run(
        ["kubectl", "apply", "-f", "-"],
        input=json.dumps(manifest),
        env={**os.environ, "KUBECONFIG": str(hub.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert applied.returncode == 0, applied.stderr
    patched = hub.request("PATCH", f"{SECRETS}/a", {"data": {"more": encoded}}, headers={"Content-Type": "application/merge-patch+json"})
    assert patched.status == 200
    assert hub.request("POST", SECRETS, {"metadata": {"name": "c"}, "data": {"wrong": canary}}).status == 400  # told back, not kept
    assert hub.request("POST", SECRETS, {"metadata": {"name": "gone"}, "stringData": {"password": canary}}).status == 201
    assert hub.request("DELETE", f"{SECRETS}/gone").status == 200
    hub.skerry("hub", "keys", "rotate")
    hub.skerry("hub", "backup", str(tmp_path / "backup"), "--data", str(tmp_path / "hub"), "--key-file", str(tmp_path / "key"))

    assert files_with(tmp_path, wanted) == []  # while it runs, with its write-ahead logs
    hub.stop(signal.SIGKILL)
    assert files_with(tmp_path, wanted) == []
    hub.start()
    assert base64.b64decode(hub.request("GET", f"{SECRETS}/b").json["data"]["password"]).decode() == canary
    hub.stop()
    assert files_with(tmp_path, wanted) == []
    (tmp_path / "control").write_text(json.dumps(manifest))
    assert files_with(tmp_path, wanted) != []  # it would have been found


def test_a_hub_leaves_no_core_file(hub: HubProcess) -> None:
    limits = Path(f"/proc/{hub.pid}/limits").read_text()

    assert next(line.split()[4] for line in limits.splitlines() if line.startswith("Max core file size")) == "0"


def test_a_hub_without_its_key_ring_does_not_start_and_makes_no_other(hub: HubProcess, tmp_path: Path) -> None:
    assert hub.request("POST", SECRETS, {"metadata": {"name": "a"}, "stringData": {"password": "x"}}).status == 201
    hub.stop()
    ring = tmp_path / "hub" / "pki" / "secrets.keys"
    ring.rename(tmp_path / "ring")

    with pytest.raises(AssertionError, match=r"the key ring .*secrets.keys is missing: put it back from a backup"):
        hub.start()

    assert not ring.exists()
    (tmp_path / "ring").rename(ring)
    hub.start()
    assert hub.request("GET", f"{SECRETS}/a").status == 200
    hub.stop()
