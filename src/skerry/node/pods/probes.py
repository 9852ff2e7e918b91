"""Startup, liveness and readiness: what a row of successes and failures means. Pure; times are monotonic seconds.

Source: the kubelet's prober. A probe starts `initialDelaySeconds` after its container; liveness and readiness wait until
the startup probe passed; readiness starts as failed, liveness as passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

Kind = Literal["startup", "liveness", "readiness"]
KINDS: tuple[Kind, ...] = ("startup", "liveness", "readiness")


class Rule(msgspec.Struct, frozen=True):
    """When to ask and how often the same answer counts. Each at least what the API allows, whatever is written."""

    kind: Kind
    action: Mapping[str, Any]
    delay_s: float
    period_s: float
    timeout_s: float
    successes: int
    failures: int


class Row(msgspec.Struct, frozen=True):
    """The answers of one probe so far: `passed` None before any verdict, `run` equal answers in a row."""

    rule: Rule
    passed: bool | None = None
    last: bool | None = None
    run: int = 0
    message: str = ""


def rule_of(container: Mapping[str, Any], kind: Kind) -> Rule | None:
    """Return the container's probe of *kind*, None when it has none."""
    probe = container.get(f"{kind}Probe")
    if not probe:
        return None
    return Rule(
        kind=kind,
        action=probe,
        delay_s=max(0.0, float(probe.get("initialDelaySeconds") or 0)),
        period_s=max(1.0, float(probe.get("periodSeconds") or 10)),
        timeout_s=max(1.0, float(probe.get("timeoutSeconds") or 1)),
        successes=max(1, int(probe.get("successThreshold") or 1)) if kind == "readiness" else 1,
        failures=max(1, int(probe.get("failureThreshold") or 3)),
    )


def observe(row: Row, ok: bool, message: str) -> Row:
    """Return the row after one more answer."""
    run = row.run + 1 if row.last is ok else 1
    needed = row.rule.successes if ok else row.rule.failures
    return replace(row, last=ok, run=run, passed=ok if run >= needed else row.passed, message="" if ok else message)


class Verdict(msgspec.Struct, frozen=True):
    """`unhealthy` is what the container must be restarted for, "" while it need not."""

    started: bool
    ready: bool
    unhealthy: str


def verdict(rows: Mapping[Kind, Row]) -> Verdict:
    """Return what a container's probes say together; without any it is started and ready as soon as it runs."""
    startup, liveness, readiness = rows.get("startup"), rows.get("liveness"), rows.get("readiness")
    started = startup is None or startup.passed is True
    unhealthy = ""
    for row in (startup, liveness if started else None):
        if row is not None and row.passed is False:
            unhealthy = f"{row.rule.kind} probe failed: {row.message}"
            break
    ready = started and not unhealthy and (readiness is None or readiness.passed is True)
    return Verdict(started, ready, unhealthy)
