"""A kopf operator runs against the hub unchanged: handlers, timers, finalizers, owner references, Events, a restart."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import PROGRAMS, Client
from tests.e2e.edge import until

pytestmark = pytest.mark.slow


class Operator:
    def __init__(self, client: Client, folder: Path) -> None:
        self.client, self.log = client, folder / "kopf.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ("-m", "kopf", "run", "--all-namespaces", "--standalone", str(PROGRAMS / "widgets.py"))
        self.process = self.client.start(sys.executable, *words, log=self.log)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def said(self, what: str) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        return what in self.log.read_text()


@pytest.fixture
def operator(client: Client, tmp_path: Path) -> Iterator[Operator]:
    made = Operator(client, tmp_path)
    made.start()
    yield made
    made.stop()


def widget(client: Client, namespace: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.kubectl("get", "widget", name, "-n", namespace, "-o", "json", "--ignore-not-found") or "{}")
    return found


def make(client: Client, namespace: str, name: str, size: int) -> None:
    made = {"apiVersion": "tests.example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}}
    client.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(made))


def test_an_operator_sees_creation_change_and_end(client: Client, namespace: str, operator: Operator) -> None:
    make(client, namespace, "w", 3)
    until(lambda: widget(client, namespace, "w").get("status", {}).get("created") == {"made": 1}, "the creation to be handled")
    until(lambda: widget(client, namespace, "w")["status"].get("ticks", 0) >= 2, "the timer")

    child = json.loads(client.kubectl("get", "configmap", "w-child", "-n", namespace, "-o", "json"))
    assert child["data"] == {"size": "3"}
    assert child["metadata"]["ownerReferences"][0]["name"] == "w"
    assert widget(client, namespace, "w")["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
    client.kubectl("patch", "widget", "w", "-n", namespace, "--type=merge", "-p", '{"spec":{"size":5}}')
    until(lambda: widget(client, namespace, "w")["status"].get("resized") == "3->5", "the change to be handled")
    until(lambda: "made its ConfigMap" in client.kubectl("events", "-n", namespace), "the Event of the operator")

    client.kubectl("delete", "widget", "w", "-n", namespace, "--timeout=90s")

    assert client.kubectl("get", "configmap", "w-farewell", "-n", namespace, "-o", "name").strip() == "configmap/w-farewell"
    until(lambda: not client.kubectl("get", "configmap", "w-child", "-n", namespace, "--ignore-not-found"), "the child to be collected")


def test_an_operator_that_was_away_catches_up(client: Client, namespace: str, operator: Operator) -> None:
    make(client, namespace, "before", 1)
    until(lambda: widget(client, namespace, "before").get("status", {}).get("created") == {"made": 1}, "the operator to work")
    operator.stop()
    make(client, namespace, "meanwhile", 1)
    watched = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen", "labels": {"watched": "yes"}}}
    client.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(watched))

    operator.start()

    until(lambda: widget(client, namespace, "meanwhile").get("status", {}).get("created") == {"made": 1}, "what was made meanwhile")
    until(lambda: operator.said(f"noticed {namespace}/seen"), "the ConfigMap to be noticed")
    client.kubectl("delete", "widget", "before", "meanwhile", "-n", namespace, "--timeout=90s")
