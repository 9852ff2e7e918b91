"""How a node gets its certificate: at first with a token or a person's approval, later by asking again with the same key.

What stays true: the token goes only to a hub that proved the CA whose hash we were given; what comes back is kept only
if it is for our key.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import Callable
from pathlib import Path

import msgspec

from skerry.model.unreadable import NOT_JSON
from skerry.node.identity.folder import StateFolder
from skerry.node.identity.hub_address import HubAddress, Reply, exchange
from skerry.node.identity.settings import NodeSettings
from skerry.trust import TrustError, Workshop, facts_of_pem, pem_to_der
from skerry.trust.joining import CA_PATH, ENROLL_PATH, Answer, JoinToken, Question, ca_hash
from skerry.trust.tls import client_context, unverified_context

log = logging.getLogger(__name__)

MAX_WAIT_S = 30.0


class RefusedError(Exception):
    """The hub said no; asking again will not help. The message is the hub's."""


class BusyError(ConnectionError):
    """The hub asks to be asked later; `retry_after_s` says when."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


async def fetch_ca(address: HubAddress, expected_hash: str) -> str:
    """Fetch the hub's CA (PEM) from whoever answers, and accept it only under this hash."""
    reply = await exchange(address, unverified_context(), "GET", CA_PATH)
    try:
        pem = reply.body.decode("ascii")
        found = ca_hash(pem_to_der(pem))
    except (UnicodeDecodeError, TrustError) as error:
        raise ConnectionError(f"{address} is not a hub: it answered {reply.status} without a certificate") from error
    if reply.status != 200 or found != expected_hash:
        raise RefusedError(
            f"{address} is not the hub that the token is for: its CA has the hash {found}, the token says {expected_hash}. "
            "Somebody may be between you and the hub; or the token is of another hub"
        )
    return pem


async def ask(folder: StateFolder, settings: NodeSettings, ca: str, workshop: Workshop, *, token: JoinToken | None = None) -> Answer:
    """Ask the hub once for our certificate; keep it when it comes. Raises RefusedError, BusyError or ConnectionError."""
    request, key_hash = await workshop.make_node_key(folder.key, settings.name)
    question = Question(csr=request, node=settings.name, token=token.credential if token else "", hardware=hardware())
    context = client_context(ca, dates=False)
    reply = await exchange(HubAddress.parse(settings.hub), context, "POST", ENROLL_PATH, body=msgspec.json.encode(question))
    answer = read_answer(reply)
    if answer.certificate:
        if facts_of_pem(answer.certificate).key_hash != key_hash:
            raise ConnectionError("the hub sent a certificate for a key that is not ours")
        folder.save_certificate(answer.certificate)
    return answer


def read_answer(reply: Reply) -> Answer:
    """Tell what the hub's answer means; anything that our hub would not say is a ConnectionError."""
    try:
        if reply.status in (200, 202):
            answer = msgspec.json.decode(reply.body, type=Answer)
            if (reply.status == 200) == bool(answer.certificate):
                return answer
        elif reply.status in (400, 401, 403, 409, 413, 422, 429, 503):
            status = msgspec.json.decode(reply.body, type=dict[str, object])
            if status.get("kind") == "Status":
                raise _refusal(reply, str(status.get("message") or "no reason given"))
    except NOT_JSON:
        pass
    raise ConnectionError(f"what answers is not our hub: status {reply.status}, {reply.headers.get('content-type', 'no content type')}")


def _refusal(reply: Reply, message: str) -> Exception:
    if reply.status in (429, 503):
        text = reply.headers.get("retry-after", "")
        return BusyError(message, min(float(text), 300.0) if text.isdigit() else 5.0)
    return RefusedError(message)


async def join(
    folder: StateFolder,
    settings: NodeSettings,
    workshop: Workshop,
    *,
    ca: str,
    token: JoinToken | None,
    wait_s: float,
    say: Callable[[str], None],
) -> Answer:
    """Ask until the hub has decided, at most *wait_s* seconds; raises RefusedError, or TimeoutError when nobody decided."""
    folder.prepare()
    folder.save_ca(ca)
    folder.save_settings(settings)
    end, pause_s, pending = asyncio.get_running_loop().time() + wait_s, 0.5, False
    while True:
        try:
            answer = await ask(folder, settings, ca, workshop, token=token)
            if answer.certificate:
                return answer
            if not pending:
                say(f"waiting for approval: kubectl get enrollments; node {settings.name} asks again until then")
            pending = True
        except BusyError as error:
            pause_s = max(pause_s, error.retry_after_s)
        except ConnectionError as error:
            say(f"{error}; trying again")
        if asyncio.get_running_loop().time() + pause_s > end:
            what = "nobody approved the node" if pending else "the hub could not be asked"
            raise TimeoutError(f"{what} within {wait_s:.0f} s; run the same command again to go on waiting")
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, MAX_WAIT_S)


def hardware() -> dict[str, str]:
    """Return what this machine says about itself; whatever cannot be read is left out."""
    machine = os.uname()
    found = {
        "architecture": machine.machine,
        "hostname": machine.nodename,
        "kernel": machine.release,
        "machineID": _line("/etc/machine-id"),
        "operatingSystem": _os_name(),
        "product": _line("/sys/class/dmi/id/product_name") or _line("/proc/device-tree/model"),
        "serial": _line("/sys/class/dmi/id/product_serial") or _line("/proc/device-tree/serial-number"),
    }
    return {k: v[:256] for k, v in found.items() if v}


def _line(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            text = file.read(512).decode("utf-8", "replace")
    except OSError:
        return ""
    return "".join(c for c in text.partition("\n")[0] if c.isprintable()).strip()


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()
