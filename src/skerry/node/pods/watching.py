"""Runs the probes of a Pod's containers and keeps what they found."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from skerry.node.pods.prober import ask
from skerry.node.pods.probes import KINDS, Kind, Row, Rule, Verdict, observe, rule_of, verdict
from skerry.node.runtimes.contract import ContainerKey, Runtime

log = logging.getLogger(__name__)

STARTUP_LOOK_S = 0.2
"""How often liveness and readiness look whether the startup probe passed."""

Told = Callable[[str, Kind, str], None]
"""Called with container, probe and message when a probe fails."""


class _Watched(msgspec.Struct):
    attempt: int
    rows: dict[Kind, Row]
    tasks: list[asyncio.Task[None]] = msgspec.field(default_factory=list)


class ProbeWatch:
    """The probes of one Pod. `changed` is called when a verdict changed, `failed` at each failure."""

    def __init__(self, runtime: Runtime, pod_uid: str, *, address: Callable[[], str], changed: Callable[[], None], failed: Told) -> None:
        self._runtime = runtime
        self._pod_uid = pod_uid
        self._address = address
        self._changed = changed
        self._failed = failed
        self._watched: dict[str, _Watched] = {}

    def watch(self, container: Mapping[str, Any], attempt: int, *, was_ready: bool) -> Verdict:
        """Return what is known of this attempt, starting its probes if need be.

        *was_ready*: an earlier life of the node found it ready, which holds until a probe says otherwise.
        """
        name = container["name"]
        known = self._watched.get(name)
        if known is None or known.attempt != attempt:
            self.forget(name)
            rules = {k: r for k in KINDS if (r := rule_of(container, k)) is not None}
            known = _Watched(attempt, {k: _first(r, was_ready) for k, r in rules.items()})
            known.tasks = [asyncio.create_task(self._probe(container, known, k)) for k in rules]
            self._watched[name] = known
        return verdict(known.rows)

    def forget(self, name: str) -> None:
        """Stop asking: the container ended."""
        known = self._watched.pop(name, None)
        for task in known.tasks if known else ():
            task.cancel()

    async def close(self) -> None:
        tasks = [t for w in self._watched.values() for t in w.tasks]
        for name in list(self._watched):
            self.forget(name)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, container: Mapping[str, Any], watched: _Watched, kind: Kind) -> None:
        rule = watched.rows[kind].rule
        ports = {p["name"]: p["containerPort"] for p in container.get("ports") or () if p.get("name")}
        key = ContainerKey(self._pod_uid, container["name"])
        await asyncio.sleep(rule.delay_s)
        while True:
            if kind != "startup" and not verdict(watched.rows).started:
                await asyncio.sleep(STARTUP_LOOK_S)
                continue
            ok, message = await ask(
                rule.action, runtime=self._runtime, key=key, address=self._address(), ports=ports, timeout_s=rule.timeout_s
            )
            self._take(container["name"], watched, kind, ok, message)
            if kind == "startup" and watched.rows[kind].passed:
                return
            await asyncio.sleep(rule.period_s)

    def _take(self, name: str, watched: _Watched, kind: Kind, ok: bool, message: str) -> None:
        before = verdict(watched.rows)
        watched.rows[kind] = observe(watched.rows[kind], ok, message)
        if not ok:
            self._failed(name, kind, message)
        if verdict(watched.rows) != before:
            self._changed()


def _first(rule: Rule, was_ready: bool) -> Row:
    return Row(rule, passed=True if was_ready else None)
