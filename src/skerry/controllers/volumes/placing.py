"""What a Pod's claims mean for where it can go; and, once it is decided, which volumes are kept for them and where they are.

The paths of local volumes travel to the node in an annotation of the Pod, so that it needs no other object to start the Pod, cut
off or not. The node opens them only where its own configuration allows host paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from skerry.controllers.informers import Informers
from skerry.controllers.volumes import matching as rules
from skerry.controllers.volumes.binder import claims_of
from skerry.controllers.workloads.nodestate import NodeState
from skerry.kube import Api
from skerry.model.objects import Object, dig, metadata, name_of, uid_of
from skerry.model.resources import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from skerry.model.volumes import LOCAL_PATHS, storage_class_of

_CONFLICT = "node(s) had volume node affinity conflict"
_NOTHING = "node(s) didn't find available persistent volumes to bind"
_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


class VolumePlacer:
    """Answers the scheduler."""

    def __init__(self, api: Api, informers: Informers) -> None:
        self._api = api
        self._claims, self._volumes = informers.of(PERSISTENTVOLUMECLAIMS), informers.of(PERSISTENTVOLUMES)
        self._classes, self._nodes = informers.of(STORAGECLASSES), informers.of(NODES)

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call *changed* when a Pod that waits for volumes may go on."""
        for informer in (self._claims, self._volumes, self._classes):
            informer.subscribe(lambda _: changed())

    def obstacles(self, pod: Object) -> Callable[[NodeState], str] | str | None:
        """Return what says why a node will not do; a text when none will; None when there is nothing to ask."""
        bound: list[Object] = []
        waiting: list[Object] = []
        for name in claims_of(pod):
            claim = self._claims.get(name_of(pod).namespace, name)
            if claim is None:
                return f'persistentvolumeclaim "{name}" not found'
            if metadata(claim).get("deletionTimestamp"):
                return f'persistentvolumeclaim "{name}" is being deleted'
            volume = self._volumes.get("", dig(claim, "spec", "volumeName", default=""))
            if dig(claim, "status", "phase") == "Lost":
                named = dig(claim, "spec", "volumeName")
                return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{named}"'
            if dig(claim, "status", "phase") == "Bound" and volume is not None:
                bound.append(volume)
            elif rules.waits_for_consumer(self._classes.get("", storage_class_of(claim))):
                waiting.append(claim)
            else:
                return _UNBOUND
        return self._asker(bound, waiting) if bound or waiting else None

    def _asker(self, bound: list[Object], waiting: list[Object]) -> Callable[[NodeState], str]:
        def ask(state: NodeState) -> str:
            if not all(rules.is_reachable(v, state.node) for v in bound):
                return _CONFLICT
            return "" if self._choose(waiting, state.node) is not None else _NOTHING

        return ask

    def _choose(self, claims: list[Object], node: Object) -> list[tuple[Object, Object]] | None:
        """Return a volume on *node* for each claim, None when one gets none."""
        left = list(self._volumes.objects())
        found = []
        for claim in sorted(claims, key=name_of):
            volume = rules.find(claim, left, node)
            if volume is None:
                return None
            left.remove(volume)
            found.append((claim, volume))
        return found

    async def keep(self, pod: Object, node: str) -> dict[str, str]:
        """Keep volumes on *node* for the Pod's claims that wait; return the annotations that tell the node where they are."""
        if not dig(pod, "spec", "volumes") or not claims_of(pod):
            return {}
        namespace = name_of(pod).namespace
        claims = [c for name in claims_of(pod) if (c := self._claims.get(namespace, name)) is not None]
        paths = {}
        waiting = [c for c in claims if dig(c, "status", "phase") != "Bound"]
        chosen = self._choose(waiting, self._nodes.get("", node) or {}) or []
        for claim, volume in chosen:
            if dig(volume, "spec", "claimRef", "uid") != uid_of(claim):
                meta = {"uid": uid_of(volume), "resourceVersion": metadata(volume)["resourceVersion"]}
                patch = {"metadata": meta, "spec": {"claimRef": rules.claim_ref(claim)}}
                self._volumes.learn(await self._api.patch(PERSISTENTVOLUMES, *name_of(volume), patch))
            paths[name_of(claim).name] = _path(volume)
        for claim in claims:
            bound = self._volumes.get("", dig(claim, "spec", "volumeName", default=""))
            if bound is not None:
                paths[name_of(claim).name] = _path(bound)
        return _note(paths)

    def told(self, pod: Object, node: str) -> dict[str, str]:
        """Return the annotations for a Pod that is on *node* already; none while a claim is not bound to a volume that is there."""
        paths, place = {}, self._nodes.get("", node) or {}
        for name in claims_of(pod):
            claim = self._claims.get(name_of(pod).namespace, name) or {}
            volume = self._volumes.get("", dig(claim, "spec", "volumeName", default=""))
            if dig(claim, "status", "phase") != "Bound" or volume is None or not rules.is_reachable(volume, place):
                return {}
            paths[name] = _path(volume)
        return _note(paths)


def _note(paths: Mapping[str, str]) -> dict[str, str]:
    local = {name: path for name, path in paths.items() if path}
    return {LOCAL_PATHS: msgspec.json.encode(local).decode()} if local else {}


def _path(volume: Object) -> str:
    return str(dig(volume, "spec", "local", "path") or dig(volume, "spec", "hostPath", "path") or "")
