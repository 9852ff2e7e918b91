"""No token and no private key is in a file of the hub where it does not belong: audit log, log, store and backup among them."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.edge import until
from tests.e2e.hub_process import HubProcess

pytestmark = pytest.mark.slow

ACCOUNTS, SECRETS = "/api/v1/namespaces/default/serviceaccounts", "/api/v1/namespaces/default/secrets"


def files_with(folder: Path, wanted: list[bytes]) -> set[str]:
    """Return the files below *folder* that hold any of *wanted*."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)) for p in files if any(w in p.read_bytes() for w in wanted)}


def forms(token: str) -> list[bytes]:
    """Return a token's secret part as it is, and inside base64 at each offset."""
    raw = token.rpartition(".")[2].encode()
    return [raw, *(base64.b64encode(b"x" * n + raw)[4 : 4 * ((n + len(raw)) // 3)] for n in range(3))]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path)
    hub.start()
    yield hub
    if hub.process is not None and hub.process.poll() is None:
        hub.stop()


def audited(folder: Path) -> str:
    return "".join(p.read_text() for p in (folder / "hub" / "audit").glob("*.jsonl"))


def test_tokens_and_keys_are_nowhere_but_where_they_belong(hub: HubProcess, tmp_path: Path) -> None:
    assert hub.request("POST", ACCOUNTS, {"metadata": {"name": "bob"}}).status == 201
    token = hub.request("POST", f"{ACCOUNTS}/bob/token", {"spec": {}}).json["status"]["token"]
    meta = {"name": "old", "annotations": {"kubernetes.io/service-account.name": "bob"}}
    assert hub.request("POST", SECRETS, {"metadata": meta, "type": "kubernetes.io/service-account-token"}).status == 201
    data: dict[str, str] = {}
    while "token" not in data:
        data = hub.request("GET", f"{SECRETS}/old").json.get("data") or {}
    legacy = base64.b64decode(data["token"]).decode()
    for shown in (token, legacy, token[:-8] + "AAAAAAAA"):
        hub.request("POST", "/api/v1/namespaces/default/configmaps", {}, headers={"Authorization": f"Bearer {shown}"})
        hub.request("GET", f"/api/v1/namespaces/{shown[-40:]}/configmaps")  # a name that somebody mistook is a name
    review = {"spec": {"token": token}}
    assert hub.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review).json["status"]["authenticated"] is True
    hub.skerry("hub", "backup", str(tmp_path / "backup"), "--data", str(tmp_path / "hub"), "--key-file", str(tmp_path / "key"))
    until(lambda: "tokenreviews" in audited(tmp_path), "the audit log to be written")
    hub.stop(signal.SIGKILL)

    ca_key = (tmp_path / "hub" / "pki" / "ca.key").read_bytes().splitlines()[1]
    token_key = json.loads((tmp_path / "hub" / "pki" / "token-keys.json").read_bytes())["keys"][0]["private"].splitlines()[1].encode()

    assert files_with(tmp_path, [*forms(token), *forms(legacy)]) == set()
    assert files_with(tmp_path, [ca_key]) == {"hub/pki/ca.key"}
    assert files_with(tmp_path, [token_key]) == {"hub/pki/token-keys.json"}
