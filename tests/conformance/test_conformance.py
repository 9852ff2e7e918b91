"""The API answers as kube-apiserver 1.32 did: what matched once keeps matching."""

from __future__ import annotations

import asyncio
import copy
import difflib
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skerry.apiserver.local import LocalApi
from skerry.controllers import Settings, start_all
from skerry.testing.apiserver import Running, running
from tests.conformance.normal import Normal
from tests.conformance.pointers import places
from tests.conformance.steps import Area, Connection

DATA = Path(__file__).parent / "data"
MATCHING = DATA / "matching.txt"
AREAS = ("discovery", "errors", "create", "update", "patch", "list", "watch", "table", "defaults", "crd")
WRITE = os.environ.get("SKERRY_CONFORMANCE") == "write"
SHOW = os.environ.get("SKERRY_CONFORMANCE") == "show"
"""`write` adds what matches now to the list; `show` prints how each of the others differs (with `pytest -s`)."""


def _golden() -> dict[str, Any]:
    files = [f for f in sorted((DATA / "golden").glob("*.json")) if f.name != "loose.json"]
    return {k: v for f in files for k, v in json.loads(f.read_text()).items()}


def _loosened(answer: Any, pointers: list[str]) -> Any:
    """Return the answer with what differed between two recordings blotted out."""
    answer = copy.deepcopy(answer)
    for pointer in pointers:
        if not pointer:
            return "<free>"
        head, _, last = pointer.rpartition("/")
        for parent, key, _ in places(answer, pointer):
            parent[key] = "<free>"
        for _, _, node in places(answer, head):
            if isinstance(node, dict):
                node[last.replace("~1", "/").replace("~0", "~")] = "<free>"
    return answer


@asynccontextmanager
async def _cluster(folder: Path, *, scheduler: bool = True) -> AsyncIterator[Running]:
    """A server with its controllers; the recorded one had no scheduler."""
    async with running(folder) as server:
        ca = server.ca.cert_pem.bytes().decode()
        controllers = start_all(LocalApi(server.server.registry), Settings(ca_pem=ca), lambda: datetime.now(UTC))
        if not scheduler:
            controllers.runs = {name: run for name, run in controllers.runs.items() if name != "scheduler"}
        task = asyncio.create_task(controllers.run())
        await controllers.wait_synced()
        yield server
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _contexts(server: Running) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    folder = server.kubeconfig.parent
    admin, nobody = (ssl.create_default_context(cafile=str(folder / "ca.pem")) for _ in range(2))
    admin.load_cert_chain(folder / "admin.pem", folder / "admin.key")
    return admin, nobody


async def _answers(server: Running, area: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    steps = [s for s in json.loads((DATA / "cases.json").read_text()) if s["area"] == area]
    connection = Connection(server.url, *_contexts(server))
    try:
        runner = Area(connection, Normal(f"127.0.0.1:{server.port}", "admin"))
        return {step["id"]: await runner.run(step, recorded.get(step["id"])) for step in steps}
    finally:
        await connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("area", AREAS)
async def test_what_matched_the_real_server_still_does(area: str, tmp_path: Path) -> None:
    golden, loose = _golden(), json.loads((DATA / "golden" / "loose.json").read_text())
    expected = {i for i in MATCHING.read_text().split() if i.startswith(f"{area}-")} if MATCHING.exists() else set()

    async with _cluster(tmp_path, scheduler=False) as server:
        answers = await _answers(server, area, {i: golden[i] for i in expected})

    alike = {i: (_loosened(golden[i], loose.get(i, [])), _loosened(a, loose.get(i, []))) for i, a in answers.items() if i in golden}
    matched = {i for i, (want, got) in alike.items() if want == got}
    if WRITE:
        _write(area, matched | expected)
        return
    if SHOW:
        print("\n".join(_difference(i, *pair) for i, pair in sorted(alike.items()) if i not in matched))
    lost = sorted(expected - matched)
    assert lost == [], "\n".join(_difference(i, *alike[i]) for i in lost[:5])
    if matched - expected:
        print(f"{len(matched - expected)} more match now, keep them with SKERRY_CONFORMANCE=write: {sorted(matched - expected)}")


def test_what_differs_is_listed_with_its_reason() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "kubernetes-api.md").read_text()
    differing = set(_golden()) - set(MATCHING.read_text().split())

    assert sorted(i for i in differing if f"`{i}`" not in page) == []


def _write(area: str, matched: set[str]) -> None:
    others = {i for i in (MATCHING.read_text().split() if MATCHING.exists() else ()) if not i.startswith(f"{area}-")}
    MATCHING.write_text("\n".join(sorted(others | matched)) + "\n")


def _difference(name: str, want: Any, got: Any) -> str:
    recorded, answered = (json.dumps(x, indent=1, sort_keys=True, ensure_ascii=False).splitlines() for x in (want, got))
    return "\n".join(list(difflib.unified_diff(recorded, answered, f"{name} recorded", f"{name} answered", lineterm="", n=2))[:40])
