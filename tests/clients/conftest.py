"""One hub for all foreign clients, and the way to run a program that uses one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.hub_process import HubProcess

PROGRAMS = Path(__file__).parent / "programs"
BIN = Path(sys.executable).parent
WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.tests.example.com"},
    "spec": {
        "group": "tests.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"size": {"type": "integer"}, "colour": {"type": "string"}}},
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


class Client:
    """Runs programs with the hub's admin credential in a process of their own, where their warnings and threads are theirs."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.environment = {**os.environ, "KUBECONFIG": str(hub.kubeconfig), "HOME": str(hub.folder), "PYTHONUNBUFFERED": "1"}

    def start(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def run(self, program: str, *words: str) -> dict[str, Any]:
        """Return the JSON object that the program prints last; it must end well."""
        command = [sys.executable, str(PROGRAMS / program), *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, f"{program}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        command = [str(BIN / "kubectl"), *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, input=stdin, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    hub = HubProcess(tmp_path_factory.mktemp("clients"))
    hub.start()
    try:
        client = Client(hub)
        client.kubectl("apply", "-f", "-", stdin=json.dumps(WIDGETS))
        client.kubectl("wait", "--for=condition=Established", "crd/widgets.tests.example.com", "--timeout=90s")
        yield client
    finally:
        hub.stop()


@pytest.fixture
def namespace(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, gone afterwards."""
    name = request.node.name.replace("_", "-").replace("[", "-").replace("]", "")[:60].rstrip("-").lower()
    client.kubectl("create", "namespace", name)
    yield name
    client.kubectl("delete", "namespace", name, "--timeout=90s")
