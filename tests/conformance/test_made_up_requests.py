"""Requests made up from the OpenAPI that the server publishes: whatever they are, none is answered with a fault of the server.

A share of all operations is tried each time, with another seed each day; `SKERRY_SOAK=1` tries them all, and more of each.
Two parameters are left out: `watch`, whose answer does not end, and `resourceVersion`, because a revision of the future is
answered 504 as Kubernetes does. Both have tables of their own. So are the proxies of Pods and Services: what they answer is a
Pod's, and 503 where there is none.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.bad_input.asking import ADMIN, Server, request

SOAK = bool(os.environ.get("SKERRY_SOAK"))
SHARE = 45
LEFT_OUT = ("watch", "resourceVersion")
LIMIT_S = 25


def get(server: Server, path: str) -> Any:
    with server.connect(server.context(ADMIN)) as connection:
        connection.sendall(request("GET", path))
        answer = b""
        while chunk := connection.recv(1 << 16):
            answer += chunk
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def everything(server: Server) -> dict[str, Any]:
    """Return one document of all groups and versions."""
    whole: dict[str, Any] = {"openapi": "3.0.0", "info": {"title": "all", "version": "1"}, "paths": {}, "components": {"schemas": {}}}
    for place in get(server, "/openapi/v3")["paths"]:
        found = get(server, f"/openapi/v3/{place}")
        whole["paths"] |= found["paths"]
        whole["components"]["schemas"] |= found["components"]["schemas"]
    return whole


def without(item: dict[str, Any]) -> dict[str, Any]:
    """Return a path item without the parameters that are left out."""
    return {
        method: {**operation, "parameters": [p for p in operation["parameters"] if p["name"] not in LEFT_OUT]}
        if isinstance(operation, dict) and "parameters" in operation
        else operation
        for method, operation in item.items()
    }


@pytest.mark.slow
def test_requests_made_up_from_the_published_schema_find_no_fault(tmp_path: Path) -> None:
    seed = int(os.environ.get("SKERRY_SEED") or f"{datetime.now(UTC):%Y%m%d}")
    server = Server(tmp_path)
    try:
        whole = everything(server)
        ours = sorted(path for path in whole["paths"] if not path.endswith("/proxy"))
        chosen = ours if SOAK else random.Random(seed).sample(ours, SHARE)
        whole["paths"] = {path: without(whole["paths"][path]) for path in chosen}
        document = tmp_path / "openapi.json"
        document.write_text(json.dumps(whole))
        found = made_up(server, document, seed)
    finally:
        server.close()

    assert found.returncode == 0, f"seed {seed}:\n{found.stdout[-6000:]}{found.stderr[-2000:]}"
    assert "Tested:" in found.stdout


def made_up(server: Server, document: Path, seed: int) -> subprocess.CompletedProcess[str]:
    """Run schemathesis in a process of its own: it brings warnings and threads of its own."""
    certificate, key, ca = (str(server.folder / name) for name in ("admin.pem", "admin.key", "ca.pem"))
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", f"https://localhost:{server.port}"]
    command += ["--checks", "not_a_server_error", "--phases", "fuzzing", "--seed", str(seed), "--no-color", "--no-shrink"]
    command += ["--request-cert", certificate, "--request-cert-key", key, "--tls-verify", ca, "--suppress-health-check", "all"]
    command += ["--max-examples", "20" if SOAK else "2", "--workers", "1", "--generation-database", "none", "--warnings", "off"]
    command += [] if SOAK else ["--max-time", str(LIMIT_S)]
    return subprocess.run(command, cwd=document.parent, capture_output=True, text=True, check=False, timeout=3_600 if SOAK else 240)
