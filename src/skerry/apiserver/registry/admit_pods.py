"""What a Pod gets at its creation beyond its own defaults: account, tolerations, priority, what its RuntimeClass asks. Pure.

Source: the admission plug-ins ServiceAccount (`admit_accounts`), DefaultTolerationSeconds, Priority and RuntimeClass of kube-apiserver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.admit_accounts import admit_account
from skerry.apiserver.registry.encoding import decode
from skerry.model.errors import ApiError, forbidden
from skerry.model.objects import Object
from skerry.model.resources import RUNTIMECLASSES, Resource

PRIORITYCLASSES = Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)
TOLERATION_S = 300
_CONDITIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def admit_pod(asked: Admission) -> None:
    """Complete a new Pod, or refuse it because of a class that does not exist."""
    assert asked.new is not None
    spec = asked.new.setdefault("spec", {})
    admit_account(asked, spec)
    _priority(asked, spec)
    _runtime_class(asked, spec)
    _tolerations(spec)


def _tolerations(spec: Object) -> None:
    """Let the Pod stay on a node that is not ready or cannot be reached for a while, unless it says otherwise."""
    found = spec.get("tolerations") or []
    for key in _CONDITIONS:
        if not any(t.get("key") in (key, None, "") and t.get("effect") in ("NoExecute", None, "") for t in found):
            new = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_S}
            found = [*found, new]
    spec["tolerations"] = found


def _priority(asked: Admission, spec: Object) -> None:
    name = spec.get("priorityClassName") or _default_class(asked)
    if not name:
        _require_priority(asked, spec, 0)
        spec["priority"] = 0
        _preemption(asked, spec, "PreemptLowerPriority")
        return
    found = asked.registry.lookup(PRIORITYCLASSES, "", name)
    if found is None:
        raise _refused(asked, f"no PriorityClass with name {name} was found")
    spec["priorityClassName"] = name
    _require_priority(asked, spec, found["value"])
    spec["priority"] = found["value"]
    _preemption(asked, spec, found.get("preemptionPolicy", "PreemptLowerPriority"))


def _preemption(asked: Admission, spec: Object, policy: str) -> None:
    if spec.get("preemptionPolicy") not in (None, policy):
        what = f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec"
        raise _refused(asked, f"{what}; priority admission controller computed {policy} from the given PriorityClass name")
    spec["preemptionPolicy"] = policy


def _default_class(asked: Admission) -> str:
    """Return the PriorityClass of Pods that name none: the smallest of those that say so; "" when there is none."""
    marked = [decode(r.value) for r in asked.registry.store.list(PRIORITYCLASSES.key).records if b'"globalDefault":true' in r.value]
    return str(min(marked, key=lambda c: c["value"])["metadata"]["name"]) if marked else ""


def _require_priority(asked: Admission, spec: Object, value: int) -> None:
    if spec.get("priority") not in (None, value):
        why = f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority admission controller computed"
        raise _refused(asked, f"{why} {value} from the given PriorityClass name")


_NO_OVERHEAD = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"


def _runtime_class(asked: Admission, spec: Object) -> None:
    name = spec.get("runtimeClassName")
    if not name:
        if spec.get("overhead"):
            raise _refused(asked, _NO_OVERHEAD)
        return
    found = asked.registry.lookup(RUNTIMECLASSES, "", name)
    if found is None:
        raise _refused(asked, f'pod rejected: RuntimeClass "{name}" not found')
    overhead = (found.get("overhead") or {}).get("podFixed")
    if overhead:
        if spec.get("overhead") not in (None, overhead):
            raise _refused(asked, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
        spec["overhead"] = overhead
    elif spec.get("overhead"):
        raise _refused(asked, _NO_OVERHEAD)
    scheduling = found.get("scheduling") or {}
    _select(asked, spec, scheduling.get("nodeSelector") or {})
    more = [t for t in scheduling.get("tolerations") or () if t not in (spec.get("tolerations") or ())]
    if more:
        spec["tolerations"] = [*(spec.get("tolerations") or ()), *more]


def _select(asked: Admission, spec: Object, wanted: Mapping[str, Any]) -> None:
    selector = spec.get("nodeSelector") or {}
    for key, value in wanted.items():
        if selector.get(key, value) != value:
            why = f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {selector[key]}"
            raise _refused(asked, why)
    if wanted:
        spec["nodeSelector"] = {**selector, **wanted}


def _refused(asked: Admission, why: str) -> ApiError:
    return forbidden(asked.kind.resource.plural, asked.kind.resource.group, asked.name, why)
