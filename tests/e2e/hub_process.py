"""A hub in a process of its own, and plain HTTPS requests to it with any credential: shares no code with the hub."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from demo.stage import free_ports

KEPT_S = 30.0
"""Seconds for which an idle connection is used again: the hub closes it some time after that."""


class Answer(NamedTuple):
    status: int
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HubProcess:
    """`skerry hub run` on a free port of the loopback interface."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_ports(["hub"])["hub"]
        self.process: subprocess.Popen[bytes] | None = None
        self.kept = threading.local()
        self.opened: list[http.client.HTTPSConnection] = []

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "hub" / "admin.kubeconfig"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        command = ["hub", "run", "--data", str(self.folder / "hub"), "--listen", f"127.0.0.1:{self.port}", *self.options]
        with (self.folder / "hub.log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "skerry", *command], stdout=log, stderr=log)
        end = time.monotonic() + 90
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.kubeconfig.exists() and self.request("GET", "/readyz").status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise AssertionError(f"the hub did not start:\n{(self.folder / 'hub.log').read_text()[-3000:]}")

    def stop(self, sign: int = signal.SIGTERM) -> None:
        assert self.process is not None
        for connection in self.opened:
            connection.close()
        self.opened.clear()
        self.kept = threading.local()
        self.process.send_signal(sign)
        self.process.wait(timeout=60)

    def skerry(self, *args: str) -> str:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            [sys.executable, "-m", "skerry", *args], capture_output=True, text=True, env=environment, timeout=120, check=False
        )
        assert done.returncode == 0, f"skerry {' '.join(args)}: {done.stderr}{done.stdout}"
        return done.stdout

    def join(self, node: str, site: str) -> Path:
        """Let a node join with a token; returns its state folder."""
        made = {"apiVersion": "skerry.dev/v1alpha1", "kind": "Site", "metadata": {"name": site}}
        assert self.request("POST", "/apis/skerry.dev/v1alpha1/sites", made).status in (201, 409)
        token = json.loads(self.skerry("hub", "token", "create", "--node", node, "--site", site, "-o", "json"))["token"]
        state = self.folder / node
        self.skerry("node", "join", self.url, "--token", token, "--state", str(state), "--name", node, "--address", "127.0.0.1")
        return state

    def context(self, credential: Path | None) -> ssl.SSLContext:
        """Return a TLS context with the admin's credential ("admin"), a node's state folder, or none."""
        config = yaml.safe_load(self.kubeconfig.read_text())
        ca = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=ca)
        if credential == self.kubeconfig:
            user = config["users"][0]["user"]
            pair = self.folder / "admin.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            context.load_cert_chain(pair)
        elif credential is not None:
            context.load_cert_chain(credential / "node.crt", credential / "node.key")
        return context

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        credential: Path | str | None = "admin",
        headers: dict[str, str] | None = None,
        limit_bytes: int = 1 << 20,
    ) -> Answer:
        """Send one request; a stream is read for as long as its first part takes."""
        who = self.kubeconfig if credential == "admin" else credential
        assert not isinstance(who, str)
        connection = self._connection(who)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            streams = "watch=" in path and answer.getheader("Transfer-Encoding") == "chunked"
            text = "" if streams else answer.read(limit_bytes).decode(errors="replace")
        except BaseException:
            self._drop(who)
            raise
        if streams or not answer.isclosed():
            self._drop(who)
        return Answer(answer.status, text)

    def _connection(self, who: Path | None) -> http.client.HTTPSConnection:
        """Return this thread's connection with that credential."""
        kept: dict[Path | None, tuple[http.client.HTTPSConnection, float]] = self.kept.__dict__.setdefault("connections", {})
        connection, used = kept.get(who, (None, 0.0))
        if connection is None or time.monotonic() - used > KEPT_S:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(who), timeout=60)
            self.opened.append(connection)
        kept[who] = (connection, time.monotonic())
        return connection

    def _drop(self, who: Path | None) -> None:
        self.kept.connections.pop(who)[0].close()
