"""The console's routes, asked as a browser asks: what they give, and what they refuse."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.console import Console, Response, Sources
from skerry.console.assets import FOLDER, Assets
from skerry.console.sessions import IDLE_S
from skerry.console.stream import MOST_WAITING, Browser
from skerry.console.views import node_view
from skerry.events.cloudevents import Event
from skerry.kube import Informer
from skerry.model.resources import DEVICEPROFILES, DEVICES, NODES, PODS, SITES
from skerry.testing.fakeapi import FakeApi
from tests.console.fakehub import CODE, FakeLog, FakeTwins, a_device, a_node

JSON = {"content-type": "application/json", "sec-fetch-site": "same-origin"}


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Stage:
    """A console on a small fleet, and a browser that keeps its cookie."""

    def __init__(self, folder: Path) -> None:
        self.api, self.log, self.twins = FakeApi(), FakeLog(), FakeTwins()
        self.api.seed(SITES, {"metadata": {"name": "dock-3"}, "spec": {"displayName": "Dock 3"}})
        self.api.seed(NODES, a_node("a", "dock-3", address="10.0.0.2"), a_node("b", "", address="10.0.0.3", ready="Unknown"))
        self.api.seed(PODS, {"metadata": {"namespace": "s", "name": "p"}, "spec": {"nodeName": "a"}, "status": {"phase": "Running"}})
        self.api.seed(DEVICES, a_device("meter-1", "a", "flow-meter", setpoint=42))
        self.informers = {r.key: Informer(self.api, r) for r in (NODES, PODS, SITES, DEVICES, DEVICEPROFILES)}
        self.codes, self.time_s = {CODE}, 1000.0
        nodes, pods, sites, devices, profiles = self.informers.values()
        sources = Sources(nodes=nodes, pods=pods, sites=sites, devices=devices, profiles=profiles, events=self.log, twins=self.twins)
        (folder / "assets").mkdir()
        (folder / "index.html").write_text("<!doctype html>")
        (folder / "assets" / "app-1a2b.js").write_text("let x = 1;" * 50)
        self.console = Console(sources, redeem=self._redeem, clock=lambda: self.time_s, assets=Assets(folder))
        self.cookie, self.csrf = "", ""

    def _redeem(self, code: str) -> str | None:
        known = code in self.codes
        self.codes.discard(code)
        return "ann" if known else None

    async def get(self, path: str, **headers: str) -> Response:
        return await self.console.handle(Asked("GET", path, {"cookie": self.cookie, **headers}))

    async def post(self, path: str, body: Any, **headers: str) -> Response:
        sent = {**JSON, "cookie": self.cookie, "x-skerry-csrf": self.csrf, **headers}
        return await self.console.handle(Asked("POST", path, sent, msgspec.json.encode(body)))

    async def sign_in(self) -> None:
        answer = await self.post("/console/api/login", {"code": CODE})
        assert answer.status == 200
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self.csrf = said(answer)["csrf"]


def said(answer: Response) -> Any:
    assert isinstance(answer.body, bytes)
    return msgspec.json.decode(answer.body)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    found = Stage(tmp_path)
    tasks = [asyncio.create_task(i.run()) for i in found.informers.values()]
    for informer in found.informers.values():
        await informer.wait_synced()
    tasks.append(asyncio.create_task(found.console.run()))
    yield found
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Page:
    """Reads a stream message by message."""

    def __init__(self, answer: Response) -> None:
        assert not isinstance(answer.body, bytes)
        self._body = answer.body
        self._buffer = b""

    async def next(self, kind: str) -> Any:
        async with asyncio.timeout(60):
            while True:
                while b"\n\n" in self._buffer:
                    block, _, self._buffer = self._buffer.partition(b"\n\n")
                    event, data = block.decode().split("\n")
                    if event == f"event: {kind}":
                        return msgspec.json.decode(data.removeprefix("data: "))
                self._buffer += await anext(self._body)

    async def close(self) -> None:
        await self._body.aclose()  # type: ignore[attr-defined]


async def test_nothing_but_pages_and_sign_in_answers_without_a_session(stage: Stage) -> None:
    for name in ("session", "overview", "stream", "nothing"):
        assert (await stage.get(f"/console/api/{name}")).status == 401
    for name in ("watch", "logout", "nothing"):
        assert (await stage.post(f"/console/api/{name}", {})).status == 401


async def test_a_code_signs_in_once(stage: Stage) -> None:
    await stage.sign_in()

    again = await stage.post("/console/api/login", {"code": CODE})

    assert said(await stage.get("/console/api/session"))["user"] == "ann"
    assert again.status == 401
    assert "skerry hub login" in said(again)["message"]


async def test_guessing_codes_is_slowed_down(stage: Stage) -> None:
    statuses = [(await stage.post("/console/api/login", {"code": "wrong"})).status for _ in range(12)]

    assert statuses[:10] == [401] * 10
    assert statuses[10:] == [429, 429]


async def test_who_guesses_codes_locks_nobody_out(stage: Stage) -> None:
    for _ in range(30):
        await stage.post("/console/api/login", {"code": "wrong"})

    await stage.sign_in()

    assert said(await stage.get("/console/api/session"))["user"] == "ann"


async def test_a_session_ends_by_signing_out_and_by_leaving(stage: Stage) -> None:
    await stage.sign_in()
    left = await stage.post("/console/api/logout", {})
    after = await stage.get("/console/api/overview")
    stage.codes.add(CODE)
    await stage.sign_in()
    stage.time_s += IDLE_S

    assert "Max-Age=0" in left.headers["Set-Cookie"]
    assert (after.status, (await stage.get("/console/api/overview")).status) == (401, 401)


async def test_a_post_needs_the_sessions_token_and_a_page_of_ours(stage: Stage) -> None:
    await stage.sign_in()

    without = await stage.post("/console/api/logout", {}, **{"x-skerry-csrf": "other"})
    foreign = await stage.post("/console/api/logout", {}, **{"sec-fetch-site": "cross-site"})
    form = await stage.post("/console/api/login", {"code": CODE}, **{"content-type": "text/plain"})

    assert (without.status, foreign.status, form.status) == (403, 403, 415)
    assert (await stage.get("/console/api/overview")).status == 200


async def test_the_overview_has_nodes_sites_and_devices_with_what_is_true_of_them(stage: Stage) -> None:
    await stage.sign_in()

    found = said(await stage.get("/console/api/overview"))

    nodes = {n["name"]: n for n in found["nodes"]}
    assert (nodes["a"]["ready"]["status"], nodes["b"]["ready"]["status"]) == ("True", "Unknown")
    assert (nodes["a"]["site"], nodes["a"]["pods"], nodes["a"]["runtimes"]) == ("dock-3", 1, ["process"])
    assert [s["displayName"] for s in found["sites"]] == ["Dock 3"]
    device = found["devices"][0]
    assert (device["name"], device["node"], device["site"], device["protocol"]) == ("meter-1", "a", "dock-3", "modbus")
    assert device["desired"] == {"setpoint": 42}


async def test_an_open_page_is_told_what_changed_and_nothing_else(stage: Stage) -> None:
    await stage.sign_in()
    page = Page(await stage.get("/console/api/stream"))
    await page.next("hello")
    await stage.get("/console/api/overview")

    heartbeat = a_node("b", "", address="10.0.0.3", ready="Unknown")
    heartbeat["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-05T10:00:00Z"
    stage.api.seed(NODES, heartbeat, a_node("a", "dock-3", address="10.0.0.2", ready="False"))
    stage.api.erase(DEVICES, "default", "meter-1")

    node = await page.next("node")
    gone = await page.next("gone")
    await page.close()
    assert (node["name"], node["ready"]["status"]) == ("a", "False")
    assert gone == {"kind": "device", "key": "default/meter-1"}


async def test_live_values_come_while_a_page_shows_the_device_and_one_stream_serves_all(stage: Stage) -> None:
    await stage.sign_in()
    pages = [Page(await stage.get("/console/api/stream")) for _ in range(2)]
    ids = [(await p.next("hello"))["stream"] for p in pages]
    stage.twins.values["default", "meter-1"] = {"flow": {"value": 1}}

    for stream in ids:
        await stage.post("/console/api/watch", {"stream": stream, "devices": ["default/meter-1", "default/none"]})
    first = [(await p.next("twin"))["properties"]["flow"]["value"] for p in pages]
    stage.twins.values["default", "meter-1"] = {"flow": {"value": 2}}
    stage.twins.tick()
    second = [(await p.next("twin"))["properties"]["flow"]["value"] for p in pages]
    streams = stage.twins.open
    for page in pages:
        await page.close()

    assert (first, second, streams) == ([1, 1], [2, 2], 1)
    async with asyncio.timeout(60):
        while stage.twins.open:
            await asyncio.sleep(0.001)


async def test_a_device_on_a_node_that_is_away_says_so(stage: Stage) -> None:
    await stage.sign_in()
    stage.twins.away.add("a")
    page = Page(await stage.get("/console/api/stream"))
    stream = (await page.next("hello"))["stream"]

    await stage.post("/console/api/watch", {"stream": stream, "devices": ["default/meter-1"]})

    assert "node a is not connected" in (await page.next("twin"))["problem"]
    await page.close()


async def test_events_come_once_each_in_order_and_what_was_missed_is_counted(stage: Stage) -> None:
    await stage.sign_in()
    for i in range(300):
        stage.log.add("a", Event(id=str(i), source="/s", type="t", data={"i": i}))
    page = Page(await stage.get("/console/api/stream"))
    stream = (await page.next("hello"))["stream"]

    await stage.post("/console/api/watch", {"stream": stream, "devices": [], "events": True})
    backlog = await page.next("events")
    for i in range(300, 650):
        stage.log.add("a", Event(id=str(i), source="/s", type="t", data={"i": i}))
    later = await page.next("events")
    await page.close()

    assert [e["sequence"] for e in backlog["events"]] == list(range(101, 301))
    assert [e["event"]["data"]["i"] for e in later["events"]] == list(range(550, 650))
    assert (backlog["skipped"], later["skipped"]) == (0, 250)


async def test_signing_out_ends_the_open_pages_of_the_session(stage: Stage) -> None:
    await stage.sign_in()
    page = Page(await stage.get("/console/api/stream"))
    await page.next("hello")

    waiting = asyncio.create_task(page.next("signed-out"))
    await asyncio.sleep(0)
    await stage.post("/console/api/logout", {})

    assert await waiting == {}
    await page.close()


async def test_a_page_that_lags_starts_anew_instead_of_filling_memory() -> None:
    browser = Browser()
    for i in range(MOST_WAITING + 10):
        browser.tell("node", {"i": i})

    messages = browser.messages(lambda: True)
    await anext(messages)
    batch = await anext(messages)
    await messages.aclose()  # type: ignore[attr-defined]

    assert batch.startswith(b"event: reset\n")
    assert batch.count(b"event: node") == 10


@pytest.mark.parametrize(
    "path", ["/console/../hub.sqlite", "/console/assets/../../handlers.py", "/console/assets/none.js", "/console//etc/passwd.js"]
)
async def test_only_built_files_are_served(stage: Stage, path: str) -> None:
    assert (await stage.get(path)).status == 404


async def test_pages_come_with_a_strict_policy_and_hashed_files_stay_cached(stage: Stage) -> None:
    page = await stage.get("/console/devices/default/meter-1")
    script = await stage.get("/console/assets/app-1a2b.js", **{"accept-encoding": "gzip, br"})

    assert page.body == b"<!doctype html>"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-cache"
    assert (script.headers["Content-Encoding"], "immutable" in script.headers["Cache-Control"]) == ("gzip", True)


def test_the_built_pages_are_of_the_present_sources() -> None:
    web = Path(__file__).parents[3] / "web"
    files = [p for p in (web / "src").rglob("*") if p.is_file() and ".test." not in p.name]
    files += [web / name for name in ("index.html", "package-lock.json", "public/skerry.svg", "vite.config.ts")]
    hashed = hashlib.sha256()
    for name in sorted(p.relative_to(web).as_posix() for p in files):
        hashed.update(f"{name}\n".encode() + (web / name).read_bytes())

    assert (FOLDER / "sources.sha256").read_text().strip() == hashed.hexdigest(), "the pages are older than web/: run `make console`"


async def test_the_bare_address_leads_to_the_console(stage: Stage) -> None:
    answer = await stage.get("/")

    assert (answer.status, answer.headers["Location"]) == (302, "/console/")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"code": 5}', b'{"code": "\xb0"}', b'{"code": "x", "more": 1}', b"{" * 10_000, b'"' + b"x" * 70_000 + b'"']
)
async def test_a_body_that_cannot_be_read_is_refused_in_words(stage: Stage, body: bytes) -> None:
    answer = await stage.console.handle(Asked("POST", "/console/api/login", JSON, body))

    assert answer.status in (400, 413)
    assert said(answer)["message"]


def test_the_built_pages_are_in_the_package() -> None:
    found = Assets()

    page = found.answer("", {})

    assert page.status == 200
    assert isinstance(page.body, bytes)
    assert b"<script>" not in page.body
    assert b"https://" not in page.body
    assert sum(p.stat().st_size for p in found._files.values()) < 3 * 2**20


def test_a_nodes_trouble_is_told_and_what_is_well_is_not() -> None:
    node = a_node("a", "", address="10.0.0.2")
    said_by_it = {"DiskPressure": "True", "MemoryPressure": "False", "LimitsEnforced": "False", "HubTrusted": "True"}
    node["status"]["conditions"] += [{"type": k, "status": v, "message": f"about {k}"} for k, v in said_by_it.items()]

    found = node_view(node, pods=0, running=0)

    assert [p["type"] for p in found["problems"]] == ["DiskPressure", "LimitsEnforced"]


async def test_a_summary_shows_the_units_of_the_profile_and_of_its_bases(stage: Stage) -> None:
    stage.api.seed(
        DEVICEPROFILES,
        {"metadata": {"namespace": "default", "name": "meter"}, "spec": {"properties": {"setpoint": {"unit": "m3/h"}, "mode": {}}}},
        {"metadata": {"namespace": "default", "name": "flow-meter"}, "spec": {"extends": ["meter"]}},
    )
    await stage.sign_in()

    async with asyncio.timeout(60):
        while "unit" not in (shown := await summary(stage))["setpoint"]:
            await asyncio.sleep(0.01)

    assert shown["setpoint"]["unit"] == "m3/h"


async def summary(stage: Stage) -> Any:
    return said(await stage.get("/console/api/overview"))["devices"][0]["properties"]
