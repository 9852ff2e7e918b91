"""Bytes to the server and its answer back, over TLS, with nothing in between that would put right what is wrong."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 30.0
MAX_GROWTH_KIB = 64 << 10
MAX_BLOCK_S = 0.1
"""CPU time of the loop's thread in one turn: what the machine does beside it, and what other threads do, does not count."""
HASTE_S = 1.5

ADMIN, STRANGER = "admin", ""


@dataclass(frozen=True)
class Case:
    """One request, and the statuses that answer it; 0 is a closed connection without an answer."""

    row: int
    name: str
    sent: bytes
    expected: tuple[int, ...]
    user: str = ADMIN
    says: str = ""
    then: tuple[bytes, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.row}-{self.name}"


def request(method: str, path: str, body: Any = b"", **headers: str) -> bytes:
    """Return a request that is well-formed, whatever its body is."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    found: dict[str, str] = {"Host": "x", "Connection": "close", **{k.replace("_", "-"): v for k, v in headers.items()}}
    if sent or method in ("POST", "PUT", "PATCH"):
        found = {"Content-Type": "application/json", "Content-Length": str(len(sent)), **found}
    return head(method, path, found) + sent


def head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


class Server:
    """The process, and connections to it."""

    def __init__(self, folder: Path, haste_s: float = HASTE_S, loop: str = "measured") -> None:
        """*loop* is `measured`, whose turns are timed, or `uvloop`, on which a hub runs and a connection takes less memory."""
        command = [sys.executable, "-m", "tests.bad_input.serving", str(folder), str(haste_s), loop]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.folder = folder
        self.port = int(self._line()["port"])
        self._settle()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def mark(self) -> dict[str, Any]:
        """Return what the server saw of itself since the last mark."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"mark\n")
        self._process.stdin.flush()
        return self._line()

    def _settle(self) -> None:
        """Wait until the server has made what every cluster has."""
        quiet, revision = 0, -1
        while quiet < 3:
            time.sleep(0.1)
            now = self.mark()["revision"]
            quiet, revision = quiet + 1 if now == revision else 0, now

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(LONG_S)
        self._process.stdout.close()

    def ca(self) -> trustme.CA:
        return trustme.CA.from_pem((self.folder / "ca.pem").read_bytes(), (self.folder / "ca.key").read_bytes())

    def context(self, user: str = ADMIN) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if user:
            context.load_cert_chain(self.folder / f"{user}.pem", self.folder / f"{user}.key")
        return context

    def connect(self, context: ssl.SSLContext, *, name: str | None = "localhost") -> ssl.SSLSocket:
        context.check_hostname = name is not None and context.check_hostname
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=LONG_S)
        return context.wrap_socket(raw, server_hostname=name)

    def exchange(self, case: Case) -> bytes:
        """Send a case's bytes and return everything that comes back until the server closes."""
        with self.connect(self.context(case.user)) as connection:
            try:
                connection.sendall(case.sent)
                for more in case.then:
                    connection.sendall(more)
            except OSError:
                pass  # refused before it was all there
            return read_all(connection)


def read_all(connection: ssl.SSLSocket) -> bytes:
    chunks = []
    try:
        while chunk := connection.recv(1 << 16):
            chunks.append(chunk)
    except (ConnectionError, ssl.SSLError):
        pass
    return b"".join(chunks)


def status_of(answer: bytes) -> int:
    """Return the status of an answer, 0 for none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def judge(server: Server, case: Case) -> None:
    """Send *case* and assert what has to hold for every bad input."""
    before = server.mark()
    answer = server.exchange(case)
    after = server.mark()
    assert status_of(answer) in case.expected, answer[:600]
    assert answer.count(b"HTTP/1.1 ") <= 1, "answered as two requests"
    assert case.says.encode() in answer
    assert after["revision"] == before["revision"], "something was stored"
    assert after["peak_kib"] - before["peak_kib"] < MAX_GROWTH_KIB
    assert worst(server, case, after) <= MAX_BLOCK_S, told(case, after)


def told(case: Case, seen: dict[str, Any]) -> str:
    """Return how long the loop was held by one turn, of its CPU time and by the clock."""
    return f"{case}: {seen['worst_s'] * 1000:.0f} ms of CPU in one turn of the loop, {seen['wall_s'] * 1000:.0f} ms by the clock"


def worst(server: Server, case: Case, seen: dict[str, Any]) -> float:
    """Return the longest turn of the loop for a case, on the machine of the figures; the best of three counts when the first is slow."""
    found = float(seen["worst_s"] / seen["factor"])
    for _ in range(2):
        if found <= MAX_BLOCK_S:
            break
        server.mark()
        server.exchange(case)
        seen = server.mark()
        found = min(found, seen["worst_s"] / seen["factor"])
    return found
