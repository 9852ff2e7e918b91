"""Ends one container: its preStop hook, then the polite signal, then the other one, all within its grace."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from skerry.node.pods.prober import ask
from skerry.node.runtimes.contract import ContainerKey, Runtime

LEAST_AFTER_HOOK_S = 2.0
"""What a container gets at least after a hook that used up its grace, as the kubelet gives it."""


async def end_container(container: Mapping[str, Any], *, runtime: Runtime, key: ContainerKey, address: str, grace_s: float) -> str:
    """Return what went wrong with the hook, "" when nothing did."""
    hook = (container.get("lifecycle") or {}).get("preStop")
    if not hook or grace_s <= 0:
        await runtime.stop(key, grace_s=grace_s)
        return ""
    loop = asyncio.get_running_loop()
    began = loop.time()
    if hook.get("sleep"):
        await asyncio.sleep(min(grace_s, float(hook["sleep"].get("seconds") or 0)))
        ok, message = True, ""
    else:
        ports = {p["name"]: p["containerPort"] for p in container.get("ports") or () if p.get("name")}
        ok, message = await ask(hook, runtime=runtime, key=key, address=address, ports=ports, timeout_s=grace_s)
    left = grace_s - (loop.time() - began)
    await runtime.stop(key, grace_s=max(LEAST_AFTER_HOOK_S, left))
    return "" if ok else message
