"""A Trigger runs where the data is: with the hub gone, and after the node was killed and started again without it."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bench.events import PLACE, Edge
from demo.stage import tail
from tests.e2e.test_events_edge import Source

pytestmark = pytest.mark.slow

EVENTING = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, namespace: default}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: alarms, namespace: default}
spec:
  broker: default
  filters:
    - prefix: {type: dev.skerry.device.}
    - exact: {devicename: probe-3}
  subscriber: {uri: "http://127.0.0.1:%d/alarms"}
  delivery: {retry: 20, backoffPolicy: linear, backoffDelay: PT0.2S}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: orders, namespace: default}
spec:
  broker: default
  filter: {attributes: {type: com.example.order}}
  subscriber: {uri: "http://127.0.0.1:%d/orders"}
"""


class Webhook:
    """An HTTP server of the standard library that remembers what it was told; `status` is what it answers."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], Any]] = []
        self.status = 202
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.told.append(({k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
                self.send_response(hook.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.close()


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    made = Edge()
    try:
        made.up()
        yield made
    finally:
        print(tail(made.stage.log_of(PLACE.name)))
        made.stage.down()


def until(what: str, holds: Callable[[], bool], *, timeout_s: float = 90) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.05)


def one_more(probe: Source, webhook: Webhook) -> bool:
    if not webhook.told:
        probe.publish(probe.published + 1)
    return bool(webhook.told)


def test_a_trigger_delivers_with_no_hub_and_after_a_restart(edge: Edge, webhook: Webhook) -> None:
    stage = edge.stage
    stage.kubectl("apply", "-f", "-", stdin=EVENTING % (webhook.server.server_port, webhook.server.server_port))
    stage.kubectl("wait", "trigger", "alarms", "--for=condition=Ready", "--timeout=90s")
    address = (PLACE.address, stage.ports[f"mqtt-{PLACE.name}"])
    probe, other = Source("default/probe-3", address), Source("default/probe-4", address)
    for source in (probe, other):
        source.start()
    try:
        until("the devices", lambda: probe.client.is_connected() and other.client.is_connected())
        other.publish(1)
        # The Trigger is on the node a moment after it is Ready at the hub: events from then on are delivered.
        until("the first delivery", lambda: one_more(probe, webhook))
        stage.kill("hub")
        stage.kill(PLACE.name)
        stage.start_node(PLACE)
        until("the node without a hub", lambda: probe.client.is_connected() and not probe.repeating)
        webhook.status = 503
        last = probe.published + 1
        probe.publish(last)
        until("attempts", lambda: sum(data == {"level": last} for _, data in webhook.told) >= 2)
        webhook.status = 202
        until("the answer to the device", lambda: probe.acknowledged == last)
        stage.start_hub()
        edge.wait_stored(last + 1)
        printed = stage.skerry("events", "tail", "--after", "0", "--source", f"/nodes/{PLACE.name}/devices/default/probe-3", "-o", "json")
    finally:
        for source in (probe, other):
            source.stop()

    headers = [h for h, data in webhook.told if data == {"level": last}][-1]
    assert (headers["ce-type"], headers["ce-devicename"], headers["ce-sequence"]) == ("dev.skerry.device.sample", "probe-3", str(last))
    assert {h["ce-devicename"] for h, _ in webhook.told} == {"probe-3"}
    assert [int(json.loads(line)["event"]["sequence"]) for line in printed.splitlines()] == list(range(1, last + 1))


def broker_address(edge: Edge) -> str:
    """Return where the node's Brokers take events, as its log says."""
    said = re.findall(r"brokers take events address=(\S+)", edge.stage.log_of(PLACE.name).read_text())
    assert said
    return str(said[-1])


def test_an_app_on_the_node_sends_an_event_into_a_broker(edge: Edge, webhook: Webhook) -> None:
    edge.stage.kubectl("apply", "-f", "-", stdin=EVENTING % (webhook.server.server_port, webhook.server.server_port))
    edge.stage.kubectl("wait", "trigger", "orders", "--for=condition=Ready", "--timeout=90s")
    headers = {"ce-specversion": "1.0", "ce-id": "o-1", "ce-source": "/shop", "ce-type": "com.example.order"}
    answers: list[int] = []

    def send() -> bool:
        url = f"http://{broker_address(edge)}/default/default"
        request = urllib.request.Request(url, b'{"apples":3}', {**headers, "content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answers.append(answer.status)
        except urllib.error.HTTPError as error:
            answers.append(error.code)
        time.sleep(0.1)
        return bool(orders())

    def orders() -> list[Any]:
        """Return what came of orders; the other Trigger may tell of a device meanwhile."""
        return [told for told in webhook.told if told[0]["ce-type"] == "com.example.order"]

    until("the delivery", send)

    got, data = orders()[0]
    assert (got["ce-id"], got["ce-source"], data) == ("o-1", "/shop", {"apples": 3})
    assert set(answers) <= {404, 202}, "the Broker is on the node a moment after it is Ready at the hub"
