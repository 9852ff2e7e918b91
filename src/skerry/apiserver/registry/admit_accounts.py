"""What a Pod gets by its ServiceAccount: the account itself, its pull secrets, and a volume with a token. Pure but for look-ups.

Source: the admission plug-in ServiceAccount of kube-apiserver. A mirror Pod stands for something that a node made: it gets nothing.
"""

from __future__ import annotations

from typing import Any

from skerry.apiserver.registry.admission import Admission
from skerry.model.errors import ApiError, forbidden
from skerry.model.objects import Object, annotations_of
from skerry.model.resources import SERVICEACCOUNTS

VOLUME_PREFIX = "kube-api-access-"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_LIFETIME_S = 3607
"""What Kubernetes writes: an hour and a few seconds, by which such volumes are told from others."""
ROOT_CA = "kube-root-ca.crt"
MIRROR = "kubernetes.io/config.mirror"


def admit_account(asked: Admission, spec: Object) -> None:
    """Complete the Pod's *spec*, or refuse it because of an account that does not exist."""
    assert asked.new is not None
    if MIRROR in annotations_of(asked.new):
        _check_mirror(asked, spec)
        return
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    account = asked.registry.lookup(SERVICEACCOUNTS, asked.namespace, name)
    if account is None and name != "default":
        why = f'error looking up service account {asked.namespace}/{name}: serviceaccount "{name}" not found'
        raise _refused(asked, why)
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    if _automounts(spec, account or {}):
        _mount(asked, spec)
    if account and account.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(ref) for ref in account["imagePullSecrets"]]


def _automounts(spec: Object, account: Object) -> bool:
    for said in (spec.get("automountServiceAccountToken"), account.get("automountServiceAccountToken")):
        if said is not None:
            return bool(said)
    return True


def _mount(asked: Admission, spec: Object) -> None:
    """Give a mount to each container that has none at that path, and the volume if one needs it."""
    volumes = spec.get("volumes") or []
    there = next((str(v.get("name")) for v in volumes if str(v.get("name", "")).startswith(VOLUME_PREFIX)), "")
    name = there or VOLUME_PREFIX + asked.registry.suffix()
    needed = False
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        mounts = container.get("volumeMounts") or []
        if not any(m.get("mountPath") == MOUNT_PATH for m in mounts):
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
            needed = True
    if needed and not there:
        spec["volumes"] = [*volumes, {"name": name, "projected": _projection()}]


def _projection() -> dict[str, Any]:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME_S, "path": "token"}},
            {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": 420,
    }


def _check_mirror(asked: Admission, spec: Object) -> None:
    if spec.get("serviceAccountName"):
        raise _refused(asked, "a mirror pod may not reference service accounts")
    for volume in spec.get("volumes") or ():
        if any(s.get("serviceAccountToken") for s in (volume.get("projected") or {}).get("sources") or ()):
            raise _refused(asked, "a mirror pod may not use ServiceAccountToken volume projections")


def _refused(asked: Admission, why: str) -> ApiError:
    return forbidden(asked.kind.resource.plural, asked.kind.resource.group, asked.name, why)
