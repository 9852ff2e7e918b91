"""Runs the recorded steps against a server and gives the answers in the form of the recording."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import re
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from tests.conformance.normal import Normal
from tests.conformance.pointers import places, value_at

AGENT = "golden-replay/1.0"
_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_QUIET = ("Accept-Encoding", "Content-Type", "User-Agent", "Accept")
_UNTIL_S = 30.0
_LATE_S = 30.0
_HURRIED_UNTIL_S = 1.0
Step = Mapping[str, Any]


class Connection:
    """The server under test, reached as the administrator, as nobody, or with a token."""

    def __init__(self, url: str, admin: ssl.SSLContext, nobody: ssl.SSLContext) -> None:
        self.url = url
        timeout = aiohttp.ClientTimeout(total=120)
        self._sessions = {
            who: aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), timeout=timeout)
            for who, context in (("admin", admin), ("nobody", nobody))
        }

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    def ask(
        self, method: str, path: str, headers: Mapping[str, Any] | None = None, body: bytes | None = None, *, who: str = "admin"
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        sent = {"User-Agent": AGENT, "Accept": "application/json"}
        if who not in ("admin", "anon"):
            sent["Authorization"] = f"Bearer {who}"
        sent |= headers or {}
        sent = {k: v for k, v in sent.items() if v is not None}
        session = self._sessions["admin" if who == "admin" else "nobody"]
        url = URL(self.url + path.replace(" ", "%20"), encoded=True)
        content = io.BytesIO(body) if body is not None else None
        return session.request(method, url, headers=sent, data=content, skip_auto_headers=_QUIET, allow_redirects=False)


class Area:
    """The steps of one area: they share variables that earlier answers gave."""

    def __init__(self, connection: Connection, normal: Normal) -> None:
        self._connection, self._normal = connection, normal
        self._variables: dict[str, Any] = {}
        self._revisions: dict[str, str] = {}
        self._late = 0

    async def run(self, step: Step, recorded: Any = None) -> Any:
        """Return the answer of one step, made alike; what *recorded* has and a busy machine brings late is waited for."""
        if "sleep" in step:
            await asyncio.sleep(step["sleep"])
        if "watch" in step:
            return await self._watch(step, recorded)
        status, headers, data = await self._until(step)
        document = _parsed(headers, data)
        for name, pointer in (step.get("capture") or {}).items():
            found = headers.get(pointer[1:]) if pointer.startswith("@") else value_at(document, pointer)
            if found is not None:
                self._variables[name] = found
        return self._answer(step, status, headers, document, data)

    async def _until(self, step: Step) -> tuple[int, Mapping[str, str], bytes]:
        loop = asyncio.get_running_loop()
        # What never comes true is waited for twice at full length: a weak server must not cost an hour.
        limit = loop.time() + (step.get("timeout", _UNTIL_S) if self._late < 2 else _HURRIED_UNTIL_S)
        while True:
            status, headers, data = await self._send(step)
            wanted = step.get("until")
            document = _parsed(headers, data) if wanted else None
            if not wanted or all(status == v if p == "status" else _holds(document, p, v) for p, v in wanted.items()):
                return status, headers, data
            if loop.time() > limit:
                self._late += 1
                return status, headers, data
            await asyncio.sleep(0.1)

    async def _send(self, step: Step) -> tuple[int, Any, bytes]:
        body = self._body(step)
        headers = dict(self._filled(step.get("headers") or {}))
        if body is not None and "Content-Type" not in headers and not step.get("no_type"):
            headers["Content-Type"] = "application/json"
        who = self._filled(step.get("who", "admin"))
        async with self._connection.ask(step["method"], self._filled(step["path"]), headers, body, who=who) as response:
            return response.status, response.headers, await response.read()

    def _body(self, step: Step) -> bytes | None:
        if "raw64" in step:
            return base64.b64decode(step["raw64"])
        if "raw" in step:
            text = self._filled(step["raw"]) if step.get("fill", True) else step["raw"]
            return str(text).encode()
        if step.get("body") is None:
            return None
        body = self._filled(step["body"])
        if "repeat" in step:
            *path, last = step["repeat"]["path"]
            node = body
            for key in path:
                node = node[key]
            node[last] = "x" * step["repeat"]["n"]
        return json.dumps(body).encode()

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return _VARIABLE.sub(lambda m: str(self._variables.get(m[1], m[0])), value)
        if isinstance(value, list):
            return [self._filled(v) for v in value]
        if isinstance(value, dict):
            return {self._filled(k): self._filled(v) for k, v in value.items()}
        return value

    def _answer(self, step: Step, status: int, headers: Any, document: Any, data: bytes) -> Any:
        found: dict[str, Any] = {"status": status, "type": (headers.get("Content-Type") or "").replace(" ", "")}
        warnings = headers.getall("Warning", ())
        if warnings:
            found["warning"] = sorted(self._normal.text(w) for w in warnings)
        for name in step.get("show", ()):
            found[f"header {name.lower()}"] = self._header(name, headers.get(name))
        self._follow_revision(step, document, found)
        match step.get("count", "body"):
            case "status":
                return {"status": status}
            case "code":
                picked = {k: document.get(k) for k in ("kind", "reason", "code")} if isinstance(document, dict) else None
                return {"status": status, "body": picked}
            case "length" if not isinstance(document, (dict, list)):
                found["body"] = "<bytes>" if data else "<empty>"
                return found
        if isinstance(document, (dict, list)):
            sent = [step.get("body"), step.get("raw")]
            found["body"] = _shaped(step, self._normal.document(document, sent, managed=step.get("mf", False)))
        else:
            found["body"] = self._normal.text(data.decode("utf-8", "replace"))
        return found

    def _header(self, name: str, value: str | None) -> str | None:
        if value is None:
            return None
        return "<present>" if name.lower() == "etag" else re.sub(r"(hash=)\w+", r"\1<hash>", self._normal.text(value))

    def _follow_revision(self, step: Step, document: Any, found: dict[str, Any]) -> None:
        """Say of a write whether the object's revision moved."""
        meta = document.get("metadata") if isinstance(document, dict) else None
        if not isinstance(meta, dict) or not meta.get("uid"):
            return
        if step.get("rv", step["method"] in ("PUT", "PATCH")) and document.get("kind") != "Status":
            before = self._revisions.get(meta["uid"])
            if before:
                found["rv"] = "same" if before == meta.get("resourceVersion") else "changed"
        if meta.get("resourceVersion") and "dryRun" not in step["path"]:
            self._revisions[meta["uid"]] = meta["resourceVersion"]

    async def _watch(self, step: Step, recorded: Any) -> Any:
        """Open the watch, do what the step does meanwhile, and return what was seen."""
        asked = step["watch"]
        seen: list[Any] = []
        found: dict[str, Any] = {}
        async with self._connection.ask("GET", self._filled(step["path"]), step.get("headers")) as response:
            found["status"] = response.status
            found["type"] = (response.headers.get("Content-Type") or "").replace(" ", "")
            if response.status != 200:
                document = _parsed(response.headers, await response.read())
                found["body"] = self._normal.document(document)
                return {**found, **({"during": await self._meanwhile(step)} if asked.get("during") else {})}
            reader = asyncio.create_task(_lines(response, seen))
            if asked.get("during"):
                await asyncio.sleep(0.15)
                found["during"] = await self._meanwhile(step)
            await _enough(asked, seen, reader)
            await _late(asked, seen, reader, recorded)
            ended = reader.done()
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError):
                await reader
        return self._events(step, found, seen, ended=ended)

    async def _meanwhile(self, step: Step) -> list[int]:
        codes = []
        for inner in step["watch"]["during"]:
            status, headers, data = await self._send(inner)
            codes.append(status)
            for name, pointer in (inner.get("capture") or {}).items():
                value = value_at(_parsed(headers, data), pointer)
                if value is not None:
                    self._variables[name] = value
        return codes

    def _events(self, step: Step, found: dict[str, Any], seen: list[Any], *, ended: bool) -> dict[str, Any]:
        asked = step["watch"]
        revisions = [str(value_at(e, "/object/metadata/resourceVersion") or "") for e in seen[asked.get("live", 0) :]]
        numbers = [int(r) for r in revisions if r.isdigit()]
        found["increasing"] = numbers == sorted(numbers)
        if asked.get("show_end", True):
            found["ended"] = ended
        sent = [s.get("body") for s in asked.get("during", ())]
        events = [self._normal.document(e, sent, managed=step.get("mf", False)) for e in seen]
        if asked.get("types"):
            events = [e for e in events if e.get("type") in asked["types"]]
        if asked.get("sort"):
            events.sort(key=lambda e: json.dumps([e.get("type"), value_at(e, "/object/metadata/name"), e], sort_keys=True))
        if asked.get("brief"):
            brief = ("/type", "/object/kind", "/object/metadata/name", "/object/metadata/labels", "/object/data")
            events = [[value_at(e, p) for p in brief] for e in events]
        found["events"] = [_shaped(step, e) for e in events[: asked.get("max")]]
        return found


async def _lines(response: aiohttp.ClientResponse, seen: list[Any]) -> None:
    async for line in response.content:
        if line.strip():
            seen.append(json.loads(line))  # noqa: PERF401 - others look at it while it grows


async def _enough(asked: Step, seen: list[Any], reader: asyncio.Task[None]) -> None:
    """Wait until as many events were seen as the step wants, or its time is over."""
    loop = asyncio.get_running_loop()
    wanted = asked.get("events")
    limit = loop.time() + (_LATE_S if wanted else asked.get("secs", 1.0))
    while loop.time() < limit and not reader.done() and not (wanted and len(seen) >= wanted):
        await asyncio.sleep(0.02)
    if wanted:
        await asyncio.sleep(0.15)


async def _late(asked: Step, seen: list[Any], reader: asyncio.Task[None], recorded: Any) -> None:
    """Wait until all is there that the recording has."""
    if recorded is None or asked.get("types") or asked.get("max"):
        return
    loop = asyncio.get_running_loop()
    limit = loop.time() + _LATE_S
    while loop.time() < limit and not reader.done() and (len(seen) < len(recorded["events"]) or recorded.get("ended")):
        await asyncio.sleep(0.02)


def _holds(document: Any, pointer: str, wanted: Any) -> bool:
    found = value_at(document, pointer) if isinstance(document, (dict, list)) else None
    if wanted == "<absent>":
        return found is None
    if wanted == "<present>":
        return found not in (None, [], {})
    if isinstance(wanted, str) and wanted.startswith("<len "):
        return isinstance(found, list) and len(found) == int(wanted[5:-1])
    return bool(found == wanted)


def _shaped(step: Step, document: Any) -> Any:
    """Return the part of a document that counts in this step."""
    for pointer in step.get("drop", ()):
        for parent, key, _ in reversed(places(document, pointer)):
            if parent is not None:
                del parent[key]
    for pointer in step.get("sort", ()):
        for _, _, value in places(document, pointer):
            if isinstance(value, list):
                value.sort(key=_order)
    for pointer in step.get("keys") or ():
        for parent, key, value in places(document, pointer):
            names = sorted(value) if isinstance(value, dict) else value
            if parent is None:
                document = names
            else:
                parent[key] = names
    if step.get("pick"):
        document = {p: "<absent>" if (v := value_at(document, p)) is None else v for p in step["pick"]}
    return document


def _order(element: Any) -> str:
    if not isinstance(element, dict):
        return json.dumps(element, sort_keys=True)
    name = (element.get("metadata") or {}).get("name") or element.get("name") or element.get("type") or ""
    return json.dumps((name, element), sort_keys=True)


def _parsed(headers: Mapping[str, str], data: bytes) -> Any:
    if "json" not in (headers.get("Content-Type") or "") and data[:1] != b"{":
        return None
    try:
        return json.loads(data)
    except ValueError:
        return None
