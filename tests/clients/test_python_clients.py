"""The Python clients that people use, unchanged: the official one, its asynchronous sibling, lightkube; election; Helm's Secrets."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import PROGRAMS, Client
from tests.e2e.edge import until

pytestmark = pytest.mark.slow


def test_the_official_client(client: Client, namespace: str) -> None:
    told = client.run("official.py", namespace)

    assert told["core"] == {"data": {"x": "2", "y": "3"}, "raced": 409, "listed": 1, "gone": 404, "changed": {"x": "2"}}
    assert told["apps"] == {"replicas": 3, "owner": "Deployment"}
    assert told["watched"] == [["ADDED", "s"], ["MODIFIED", "s"], ["DELETED", "s"]]
    customs = told["customs"]
    assert customs["spec"] == {"size": 4}
    assert customs["status"] == {"ok": True}
    assert customs["applied"] == {"size": 4, "colour": "red"}
    assert "painter" in customs["managers"]
    assert customs["deleted"] == 1
    assert told["informed"] == {"cache": [f"{namespace}/default"]}
    assert told["version"] == "32"


def test_the_asynchronous_client(client: Client, namespace: str) -> None:
    told = client.run("official_async.py", namespace)

    assert told["paged"] == 20
    assert told["seen"] == ["ADDED later", "DELETED c3", "DELETED c4"]
    assert told["deleted"] == "ConfigMapList"
    assert "05.000006" in told["renewed"]


def test_lightkube(client: Client, namespace: str) -> None:
    told = client.run("light.py", namespace)

    assert told["first"] == ["ADDED", "c"]
    assert told["data"] == {"a": "1", "b": "2"}
    assert told["pod"] == "Pending"
    assert told["applied"] == {"k": "v"}
    assert told["again"] == {"other": "v"}
    assert told["status"] == {"ok": 1}
    assert told["names"] == ["kube-node-lease", "kube-public", "kube-system"]
    assert (told["left"], told["many"]) == (0, 10)


def test_one_of_two_processes_leads_and_the_other_takes_over(client: Client, namespace: str, tmp_path: Path) -> None:
    log = tmp_path / "election.log"
    program = str(PROGRAMS / "candidate.py")
    first = client.start(sys.executable, program, namespace, "first", log=log)
    until(lambda: "first leads" in log.read_text(), "the first leader")
    second = client.start(sys.executable, program, namespace, "second", log=log)
    try:
        lease = json.loads(client.kubectl("get", "lease", "election", "-n", namespace, "-o", "json"))
        assert lease["spec"]["holderIdentity"] == "first"
        until(lambda: _renewed(client, namespace, lease["spec"]["renewTime"]), "the leader to renew")
        assert "second leads" not in log.read_text()

        first.kill()
        first.wait(timeout=60)

        until(lambda: "second leads" in log.read_text(), "the other to take over")
        holder = client.kubectl("get", "lease", "election", "-n", namespace, "-o", "jsonpath={.spec.holderIdentity}")
        assert holder == "second"
    finally:
        for process in (first, second):
            process.kill()
            process.wait(timeout=60)


def _renewed(client: Client, namespace: str, before: str) -> bool:
    return client.kubectl("get", "lease", "election", "-n", namespace, "-o", "jsonpath={.spec.renewTime}") != before


def test_secrets_as_helm_keeps_its_releases(client: Client, namespace: str) -> None:
    """Helm finds its releases by label, in Secrets of a type of its own that hold most of a mebibyte."""
    chart = "x" * 600_000
    for version in (1, 2, 3):
        release = base64.b64encode(gzip.compress(json.dumps({"version": version, "chart": chart}).encode(), mtime=0)).decode()
        labels = {"owner": "helm", "name": "web", "status": "deployed", "version": str(version)}
        secret: dict[str, Any] = {
            "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": {"name": f"sh.helm.release.v1.web.v{version}", "namespace": namespace, "labels": labels},
            "data": {"release": base64.b64encode(release.encode()).decode()},
        }  # fmt: skip
        assert client.hub.request("POST", f"/api/v1/namespaces/{namespace}/secrets", secret).status == 201
        if version > 1:
            older = f"sh.helm.release.v1.web.v{version - 1}"
            client.kubectl("label", "secret", older, "status=superseded", "--overwrite", "-n", namespace)

    found = client.hub.request(
        "GET", f"/api/v1/namespaces/{namespace}/secrets?labelSelector=name%3Dweb%2Cowner%3Dhelm%2Cstatus+in+%28deployed%29"
    )
    changed = {**secret, "type": "Opaque"}
    refused = client.hub.request("PUT", f"/api/v1/namespaces/{namespace}/secrets/{secret['metadata']['name']}", changed)
    large = {**secret, "metadata": {"name": "large"}, "data": {"release": base64.b64encode(b"x" * (1 << 20) + b"x").decode()}}
    too_large = client.hub.request("POST", f"/api/v1/namespaces/{namespace}/secrets", large)

    assert [s["metadata"]["labels"]["version"] for s in found.json["items"]] == ["3"]
    assert found.json["items"][0]["data"] == secret["data"]
    assert (refused.status, too_large.status) == (422, 422)
    assert "1048576" in too_large.body
