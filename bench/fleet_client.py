"""Somebody with kubectl beside the fleet: one request after the other, each over a connection of its own, as kubectl makes them.

`python -m bench.fleet_client` reads a JSON plan from a line of standard input, asks until its input ends, and prints what it measured.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import ssl
import sys
import time
from itertools import count, cycle
from typing import Any

PACE_S = 0.05
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def requests(numbers: count[int], prefix: str) -> dict[str, Any]:
    """Return what is asked, by its name: method, path and body, made anew for each request."""
    return {
        "GET": lambda: ("GET", "/api/v1/namespaces/default", None),
        "LIST": lambda: ("GET", "/api/v1/nodes?limit=500", None),
        "create": lambda: ("POST", CONFIGMAPS, _configmap(f"{prefix}-{next(numbers)}")),
    }


def _configmap(name: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "x" * 1024}})


def ask(plan: dict[str, Any], context: ssl.SSLContext, method: str, path: str, body: str | None) -> bool:
    """Send one request; return whether it was answered well."""
    connection = http.client.HTTPSConnection(plan["host"], plan["port"], context=context, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status in (200, 201)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main(plan: dict[str, Any]) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=plan["ca"])
    context.load_cert_chain(plan["cert"], plan["key"])
    kinds = requests(count(), plan["prefix"])
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    failed = 0
    for kind in cycle(kinds):
        if select.select([sys.stdin], [], [], PACE_S)[0]:
            break
        began = time.perf_counter()
        if ask(plan, context, *kinds[kind]()):
            took[kind].append((time.perf_counter() - began) * 1e3)
        else:
            failed += 1
    return {"took_ms": took, "failed": failed}


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(main(json.loads(sys.stdin.readline()))))
