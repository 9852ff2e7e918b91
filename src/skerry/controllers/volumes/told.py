"""Tells the node where the local volumes of a Pod are that came with its `nodeName`, so that no scheduler told it.

It waits until all of the Pod's claims are bound. As in Kubernetes a claim of a class that waits for its first consumer is bound by the
scheduler only: such a Pod waits for ever.
"""

from __future__ import annotations

from skerry.controllers.informers import BY_NAMESPACE, Informers
from skerry.controllers.volumes.binder import claims_of
from skerry.controllers.volumes.placing import VolumePlacer
from skerry.controllers.workloads.pods import is_active
from skerry.kube import Api, Change, Controller
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, annotations_of, dig, name_of, uid_of
from skerry.model.resources import PERSISTENTVOLUMECLAIMS, PODS
from skerry.model.volumes import LOCAL_PATHS


class PlacedPods:
    """The controller of Pods that have a node and were not told their volumes."""

    def __init__(self, api: Api, informers: Informers, placer: VolumePlacer) -> None:
        self._api, self._placer = api, placer
        self._pods = informers.of(PODS)
        self.controller = Controller[Name]("placed-pods", self.reconcile)
        self._pods.subscribe(self._on_pod)
        informers.of(PERSISTENTVOLUMECLAIMS).subscribe(self._on_claim)

    def _on_pod(self, change: Change) -> None:
        if change.new is not None and _is_untold(change.new):
            self.controller.queue.add(change.name)

    def _on_claim(self, change: Change) -> None:
        if dig(change.new, "status", "phase") == "Bound" and dig(change.old, "status", "phase") != "Bound":
            for pod in self._pods.indexed(BY_NAMESPACE, change.name.namespace):
                if _is_untold(pod) and change.name.name in claims_of(pod):
                    self.controller.queue.add(name_of(pod))

    async def reconcile(self, name: Name) -> None:
        pod = self._pods.get(*name)
        if pod is None or not _is_untold(pod):
            return
        node = pod["spec"]["nodeName"]
        notes = self._placer.told(pod, node)
        if not notes:
            return
        meta = {"namespace": name.namespace, "name": name.name, "uid": uid_of(pod), "annotations": notes}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": {"apiVersion": "v1", "kind": "Node", "name": node}}
        try:
            await self._api.create(PODS, binding, subresource="binding")
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or told meanwhile
                raise


def _is_untold(pod: Object) -> bool:
    return bool(dig(pod, "spec", "nodeName") and claims_of(pod)) and LOCAL_PATHS not in annotations_of(pod) and is_active(pod)
