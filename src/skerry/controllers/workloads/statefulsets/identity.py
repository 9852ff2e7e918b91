"""Who a Pod of a StatefulSet is: its name and ordinal, its place in the network, its volumes. Pure.

The name is the identity: the server keeps it unique, so that two Pods of one identity cannot be.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from skerry.controllers.workloads.pods import pod_from_template
from skerry.model.objects import Object, dig, labels_of, metadata, name_of, owner_reference, uid_of

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
REVISION = "controller-revision-hash"
_ORDINAL = re.compile(r"(.*)-([0-9]+)")


def ordinal_of(statefulset: Object, pod: Object) -> int | None:
    """Return the ordinal that the Pod's name tells; None when it is no name of this set."""
    found = _ORDINAL.fullmatch(name_of(pod).name)
    return int(found[2]) if found and found[1] == name_of(statefulset).name else None


def first_ordinal(statefulset: Object) -> int:
    return int(dig(statefulset, "spec", "ordinals", "start", default=0))


def replicas(statefulset: Object) -> int:
    return int(dig(statefulset, "spec", "replicas", default=1))


def pod_name(statefulset: Object, ordinal: int) -> str:
    return f"{name_of(statefulset).name}-{ordinal}"


def pod_for(statefulset: Object, ordinal: int, template: Mapping[str, Any], revision: str) -> Object:
    """Return the Pod of *ordinal*, made from the template of *revision*."""
    pod = pod_from_template(statefulset, template)
    meta, spec, name = pod["metadata"], pod["spec"], pod_name(statefulset, ordinal)
    del meta["generateName"]
    meta["name"] = name
    meta["labels"] = {**(meta.get("labels") or {}), POD_NAME: name, POD_INDEX: str(ordinal), REVISION: revision}
    spec["hostname"] = name
    if dig(statefulset, "spec", "serviceName"):
        spec["subdomain"] = statefulset["spec"]["serviceName"]
    claims = [
        {"name": template_name, "persistentVolumeClaim": {"claimName": claim}}
        for template_name, claim in claim_names(statefulset, ordinal).items()
    ]
    ours = {c["name"] for c in claims}
    volumes = [*claims, *(v for v in spec.get("volumes") or () if v.get("name") not in ours)]
    if volumes:
        spec["volumes"] = volumes
    return pod


def claim_names(statefulset: Object, ordinal: int) -> dict[str, str]:
    """Return the names of the claims of *ordinal*, by the name of their template."""
    templates = dig(statefulset, "spec", "volumeClaimTemplates", default=[])
    return {t["metadata"]["name"]: f"{t['metadata']['name']}-{pod_name(statefulset, ordinal)}" for t in templates}


def claims_for(statefulset: Object, ordinal: int) -> list[Object]:
    """Return the claims of *ordinal* as they are created."""
    names = claim_names(statefulset, ordinal)
    found = []
    for template in dig(statefulset, "spec", "volumeClaimTemplates", default=[]):
        meta: Object = {"name": names[template["metadata"]["name"]], "namespace": name_of(statefulset).namespace}
        meta["labels"] = {**labels_of(template), **dig(statefulset, "spec", "selector", "matchLabels", default={})}
        if metadata(template).get("annotations"):
            meta["annotations"] = dict(metadata(template)["annotations"])
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": copy.deepcopy(template.get("spec") or {})}
        owners = claim_owners(statefulset, claim, None)
        if owners:
            meta["ownerReferences"] = owners
        found.append(claim)
    return found


def is_going(claim: Object, pod: Object) -> bool:
    """Say whether the claim goes, so that *pod*, which is still to be made, has to wait: with an earlier Pod of its name, too."""
    owners = metadata(claim).get("ownerReferences") or ()
    earlier = any(o.get("kind") == "Pod" and o.get("name") == name_of(pod).name for o in owners)
    return bool(metadata(claim).get("deletionTimestamp")) or earlier


def claim_owners(statefulset: Object, claim: Object, condemned: Object | None) -> list[Object]:
    """Return the owners that a claim shall have by the retention policy; *condemned* is its Pod, if that is to go for good."""
    policy = dig(statefulset, "spec", "persistentVolumeClaimRetentionPolicy", default={})
    ours = {uid_of(statefulset)}
    kept = []
    for owner in metadata(claim).get("ownerReferences") or ():
        is_pod = owner.get("kind") == "Pod" and _ORDINAL.fullmatch(str(owner.get("name"))) is not None
        if owner.get("uid") not in ours and not (is_pod and str(owner["name"]).startswith(f"{name_of(statefulset).name}-")):
            kept.append(dict(owner))
    if condemned is not None and policy.get("whenScaled") == "Delete":
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata(condemned)}
        return [*kept, owner_reference(pod, controller=False, block_deletion=False)]
    if policy.get("whenDeleted") == "Delete":
        return [*kept, owner_reference(statefulset, controller=False, block_deletion=False)]
    return kept
