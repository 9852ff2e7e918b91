"""Asks one container: run a command in it, fetch a page, or connect to a port. Every question has a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Any

from skerry.model.reasons import why
from skerry.node.runtimes.contract import ContainerKey, ExecSpec, Runtime, RuntimeFailedError

MAX_ANSWER_BYTES = 10 * 1024
"""What of a page or an output is looked at, as the kubelet has it."""


async def ask(
    action: Mapping[str, Any], *, runtime: Runtime, key: ContainerKey, address: str, ports: Mapping[str, int], timeout_s: float
) -> tuple[bool, str]:
    """Return (passed, what went wrong)."""
    try:
        async with asyncio.timeout(timeout_s):
            if action.get("exec"):
                return await _exec(action["exec"].get("command") or [], runtime, key)
            if action.get("httpGet"):
                return await _http(action["httpGet"], address, ports)
            if action.get("tcpSocket"):
                return await _tcp(action["tcpSocket"], address, ports)
            return False, f"a probe by {', '.join(k for k in action if k.islower()) or 'nothing'} is not supported"
    except TimeoutError:
        return False, f"no answer within {timeout_s:g} s"
    except (OSError, RuntimeFailedError, ValueError) as error:
        return False, _words(action, error, address, ports)


def _words(action: Mapping[str, Any], error: Exception, address: str, ports: Mapping[str, int]) -> str:
    """Return what was asked and why it failed, as the kubelet says it: `Get "http://10.0.0.7:80/": connection refused`."""
    asked = action.get("httpGet") or action.get("tcpSocket")
    if not asked or not isinstance(error, OSError):
        return why(error)
    place = _place(asked.get("host") or address, port_of(asked.get("port"), ports))
    if action.get("httpGet"):
        return f'Get "{(asked.get("scheme") or "HTTP").lower()}://{place}/{(asked.get("path") or "").removeprefix("/")}": {why(error)}'
    return f"dial tcp {place}: {why(error)}"


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def port_of(text: Any, ports: Mapping[str, int]) -> int:
    """Return the number of a port given as a number or a container port's name; raises ValueError."""
    number = ports.get(text) if isinstance(text, str) and not text.isdigit() else int(text)
    if number is None or not 0 < number < 65536:
        raise ValueError(f"{text!r} is not a port from 1 to 65535, nor the name of one")
    return number


async def _exec(command: list[str], runtime: Runtime, key: ContainerKey) -> tuple[bool, str]:
    session = await runtime.exec(key, ExecSpec(tuple(command)))
    try:
        await session.close_stdin()
        output = (await _some(session, "stdout")) + (await _some(session, "stderr"))
        code = await session.wait()
    finally:
        await session.kill()
    return code == 0, output.decode(errors="replace").strip()[:1024] or f"exit code {code}"


async def _some(session: Any, channel: str) -> bytes:
    found = b""
    while data := await session.read(channel):
        if len(found) < MAX_ANSWER_BYTES:
            found += data[: MAX_ANSWER_BYTES - len(found)]
    return found


async def _tcp(spec: Mapping[str, Any], address: str, ports: Mapping[str, int]) -> tuple[bool, str]:
    _, writer = await asyncio.open_connection(spec.get("host") or address, port_of(spec.get("port"), ports))
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True, ""


async def _http(spec: Mapping[str, Any], address: str, ports: Mapping[str, int]) -> tuple[bool, str]:
    from skerry.node.pods.http_get import get_status  # h11 comes with the first of these probes

    host, port = spec.get("host") or address, port_of(spec.get("port"), ports)
    context = None
    if (spec.get("scheme") or "HTTP").upper() == "HTTPS":  # as the kubelet does: a probe proves life, not identity
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=MAX_ANSWER_BYTES)
    try:
        status = await get_status(reader, writer, _place(host, port), spec)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return 200 <= status < 400, f"HTTP probe failed with statuscode: {status}"
