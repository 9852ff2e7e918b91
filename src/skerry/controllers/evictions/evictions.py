"""Carries out what `plan` says of Pods on tainted nodes and on nodes that are not heard.

How long a node was not heard is counted while the hub listened, and kept on the Node in whole hours: no clock that jumps and no
restart of the hub makes an outage longer than it was. Tolerations of taints are counted likewise, from when the hub first saw the taint.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from skerry.controllers.evictions import plan as rules
from skerry.controllers.informers import BY_NODE, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads.nodelife_plan import is_marked
from skerry.controllers.workloads.pods import disruption
from skerry.kube import Api, Change, Controller
from skerry.model.errors import ApiError
from skerry.model.kinds.site import DEFAULT_LONGEST_OUTAGE
from skerry.model.objects import Object, annotations_of, dig, labels_of, name_of, uid_of
from skerry.model.resources import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, SITE_LABEL, SITES
from skerry.model.times import parse_duration

log = logging.getLogger(__name__)

TICK_S = 60.0
HOUR_S = 3600.0
KEPT_EVERY_H = 6
"""How often a node that is not heard is written to: what a restart of the hub forgets makes a Pod stay longer, never shorter."""


class Evictions:
    """The controller of NoExecute taints, and of what is given up with a Site."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._nodes, self._pods, self._sites = (informers.of(r) for r in (NODES, PODS, SITES))
        self._claims, self._volumes = informers.of(PERSISTENTVOLUMECLAIMS), informers.of(PERSISTENTVOLUMES)
        self._events = Recorder(api, "taint-eviction-controller", now)
        self._silent_s: dict[str, float] = {}
        self._since: dict[str, dict[tuple[Any, Any], float]] = {}  # node -> taint -> when we first saw it
        self.controller = Controller[str]("evictions", self.reconcile)
        self._nodes.subscribe(self._on_node)
        self._pods.subscribe(self._on_pod)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run())
            group.create_task(self._listen())

    def _on_node(self, change: Change) -> None:
        if change.new is None:
            self._silent_s.pop(change.name.name, None)
            self._since.pop(change.name.name, None)
        elif rules.taints_of(change.new) or change.name.name in self._since or is_marked(change.new) or change.name.name in self._silent_s:
            self.controller.queue.add(change.name.name)

    def _on_pod(self, change: Change) -> None:
        node = self._nodes.get("", dig(change.new, "spec", "nodeName", default=""))
        if node is not None and rules.taints_of(node):
            self.controller.queue.add(name_of(node).name)

    async def _listen(self) -> None:
        """Count how long marked nodes are not heard."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(TICK_S)
            passed, last = min(loop.time() - last, 2 * TICK_S), loop.time()
            if not self._nodes.following:
                continue
            for node in self._nodes.objects():
                if is_marked(node):
                    name = name_of(node).name
                    self._silent_s[name] = self._silent_s.get(name, _kept_s(node)) + passed
                    self.controller.queue.add(name)

    async def reconcile(self, name: str) -> float | None:
        node = self._nodes.get("", name)
        if node is None:
            return None
        if is_marked(node):
            await self._keep(node)
            await self._give_up(node)
            return None
        if self._silent_s.pop(name, None) is not None or rules.SILENT_FOR in annotations_of(node):
            await self._note(node, None)
        return await self._drive_away(node)

    async def _keep(self, node: Object) -> None:
        hours = int(self._silent_s.get(name_of(node).name, 0.0) // HOUR_S)
        if hours >= int(_kept_s(node) // HOUR_S) + KEPT_EVERY_H:
            await self._note(node, str(hours))

    async def _note(self, node: Object, hours: str | None) -> None:
        if hours is None and rules.SILENT_FOR not in annotations_of(node):
            return
        patch = {"metadata": {"uid": uid_of(node), "annotations": {rules.SILENT_FOR: hours}}}
        self._nodes.learn(await self._api.patch(NODES, *name_of(node), patch))

    async def _give_up(self, node: Object) -> None:
        silent_s, longest_s = self._silent_s.get(name_of(node).name, 0.0), self._longest_outage_s(node)
        if silent_s <= longest_s:
            return
        for pod in self._pods.indexed(BY_NODE, name_of(node).name):
            if rules.is_replaced(pod, silent_s, longest_s, self._is_local):
                why = f"Node {name_of(node).name} was not heard for longer than its Site is built for: the Pod is replaced"
                await self._delete(pod, "CutOffTooLong", why, disruption(pod, "CutOffTooLong", why, self._now()))

    async def _drive_away(self, node: Object) -> float | None:
        taints, soonest = self._aged(node), None
        if not taints:
            return None
        for pod in self._pods.indexed(BY_NODE, name_of(node).name):
            left_s = rules.leaves_in_s(pod, taints)
            if left_s is None:
                continue
            if left_s > 0:
                soonest = left_s if soonest is None else min(soonest, left_s)
            else:
                namespace, name = name_of(pod)
                target = disruption(pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", self._now())
                await self._delete(pod, "TaintManagerEviction", f"Marking for deletion Pod {namespace}/{name}", target)
        return soonest

    def _aged(self, node: Object) -> list[tuple[Mapping[str, Any], float]]:
        """Return the node's taints with the seconds since we first saw each, on our own monotonic clock."""
        name, at = name_of(node).name, asyncio.get_running_loop().time()
        before, found = self._since.get(name, {}), rules.taints_of(node)
        since = {k: before.get(k, at) for k in ((t.get("key"), t.get("value")) for t in found)}
        if since:
            self._since[name] = since
        else:
            self._since.pop(name, None)
        return [(t, at - since[t.get("key"), t.get("value")]) for t in found]

    async def _delete(self, pod: Object, reason: str, message: str, target: Object) -> None:
        log.info("pod evicted", extra={"pod": str(name_of(pod)), "reason": reason})
        await self._events.normal(pod, reason, message)
        try:
            await self._api.patch(PODS, *name_of(pod), target, subresource="status")
            await self._api.delete(PODS, *name_of(pod), uid=uid_of(pod))
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    def _longest_outage_s(self, node: Object) -> float:
        site = self._sites.get("", labels_of(node).get(SITE_LABEL, ""))
        return parse_duration(dig(site, "spec", "longestOutage", default="") or DEFAULT_LONGEST_OUTAGE)

    def _is_local(self, namespace: str, claim: str) -> bool:
        """Say whether the claim's volume is on one node only; one that is not known counts as such."""
        found = self._claims.get(namespace, claim)
        volume = self._volumes.get("", dig(found, "spec", "volumeName", default=""))
        return volume is None or any(k in volume["spec"] for k in ("local", "hostPath"))


def _kept_s(node: Object) -> float:
    text = annotations_of(node).get(rules.SILENT_FOR, "")
    return float(text) * HOUR_S if text.isdigit() else 0.0
