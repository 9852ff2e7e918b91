"""Tells the hub how the Pods are: the latest status of each, as soon as there is a hub, and never twice the same."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from skerry.kube import Api
from skerry.kube.backoff import Backoff
from skerry.model.errors import ApiError
from skerry.model.objects import Object, name_of, uid_of
from skerry.model.resources import PODS

log = logging.getLogger(__name__)

RETRY = Backoff(first_s=1.0, limit_s=30.0)


class _Due(msgspec.Struct):
    pod: Object
    status: dict[str, Any]
    delete: bool
    attempts: int = 0
    at: float = 0.0


class StatusReporter:
    """`report` and `finish` never wait; `run` carries them out."""

    def __init__(self, api: Api, *, connected: Callable[[], Awaitable[object]] | None = None) -> None:
        self._api = api
        self._connected = connected
        self._due: dict[str, _Due] = {}
        self._sent: dict[str, dict[str, Any]] = {}
        self._wake = asyncio.Event()

    def report(self, pod: Object, status: dict[str, Any]) -> None:
        """Have *status* written, unless it is what the API already has."""
        uid = uid_of(pod)
        waiting = self._due.get(uid)
        if waiting is not None and waiting.delete:
            return
        known = self._sent.get(uid) or _ours(pod.get("status") or {}, status)
        if waiting is None and known == status:
            return
        if waiting is None or waiting.status != status:
            self._due[uid] = _Due(pod, status, delete=False)
            self._wake.set()

    def finish(self, pod: Object, status: dict[str, Any]) -> None:
        """Have the last *status* written and then the Pod deleted from the API."""
        self._due[uid_of(pod)] = _Due(pod, status, delete=True)
        self._wake.set()

    def forget(self, uid: str) -> None:
        """The Pod is no more."""
        self._due.pop(uid, None)
        self._sent.pop(uid, None)

    def believe(self, pod: Object) -> None:
        """The API's own word came: if somebody changed our part of the status, what we sent is not there any more."""
        sent = self._sent.get(uid_of(pod))
        if sent is not None and uid_of(pod) not in self._due and _ours(pod.get("status") or {}, sent) != sent:
            self._sent.pop(uid_of(pod), None)

    async def run(self) -> None:
        """Write until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            for uid in [u for u, d in self._due.items() if d.at <= loop.time()]:
                await self._carry_out(uid)
            if self._due:
                wait = min(d.at for d in self._due.values()) - loop.time()
                await self._wait(max(0.02, wait))
            else:
                await self._wake.wait()

    async def _wait(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()

    async def _carry_out(self, uid: str) -> None:
        due = self._due.get(uid)
        if due is None:
            return
        try:
            if self._connected is not None:
                await self._connected()
            await self._write(due)
        except ApiError as error:
            if error.code not in (404, 409):
                log.warning("pod status refused", extra={"pod": str(name_of(due.pod)), "code": error.code, "error": error.message})
                self._later(due)
                return
        except (ConnectionError, TimeoutError):
            self._later(due)
            return
        if self._due.get(uid) is due:
            del self._due[uid]

    async def _write(self, due: _Due) -> None:
        namespace, name = name_of(due.pod)
        uid = uid_of(due.pod)
        if self._sent.get(uid) != due.status:
            known = self._sent.get(uid) or due.pod.get("status") or {}
            patch = {"metadata": {"uid": uid}, "status": {**due.status, "conditions": _conditions(known, due.status)}}
            await self._api.patch(PODS, namespace, name, patch, form="strategic", subresource="status")
            self._sent[uid] = due.status
        if due.delete:
            await self._api.delete(PODS, namespace, name, uid=uid, grace_s=0)

    def _later(self, due: _Due) -> None:
        due.at = asyncio.get_running_loop().time() + RETRY.delay_s(due.attempts)
        due.attempts += 1


def _ours(known: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the API's status that we write, shaped as we write it."""
    found = {k: known[k] for k in status if k in known}
    if "conditions" in found:
        kinds = [c["type"] for c in status["conditions"]]
        by_kind = {c.get("type"): c for c in found["conditions"]}
        found["conditions"] = [by_kind[k] for k in kinds if k in by_kind]
    return found


def _conditions(known: dict[str, Any], status: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the conditions as a strategic merge patch: why one was false is taken out (null) once it is true."""
    before = {c.get("type"): c for c in known.get("conditions") or ()}
    now: list[dict[str, Any]] = status.get("conditions") or []
    return [{**{k: None for k in ("reason", "message") if k in before.get(c["type"], {})}, **c} for c in now]
