"""PodDisruptionBudgets where they bite: an eviction is charged to the budget of its Pod, or refused with 429.

The budget's numbers are the disruption controller's; here they are only counted down, with compare and swap, so that two evictions
at the same time never both take the last one.
Source: k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go.
"""

from __future__ import annotations

from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.update import Change, apply
from skerry.model.conditions import get_condition, is_true
from skerry.model.errors import ApiError, forbidden, internal
from skerry.model.objects import Object, dig, labels_of, metadata
from skerry.model.resources import PODDISRUPTIONBUDGETS
from skerry.model.selectors import SelectorError, from_label_selector
from skerry.model.times import rfc3339

MAX_DISRUPTED = 2000
PROCESSING_S = 10
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_TWO = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


async def charge_eviction(registry: Registry, namespace: str, pod: Object, options: WriteOptions) -> None:
    """Take one disruption from the Pod's budget; ApiError 429 when there is none left."""
    if ignores_budgets(pod):
        return
    found = [b for b in _budgets(registry, namespace) if selects(b, pod)]
    if len(found) > 1:
        raise internal(_TWO)
    if not found or _is_free(found[0], pod):
        return
    kind = registry.kinds.storage(PODDISRUPTIONBUDGETS.key)
    assert kind is not None, "budgets are built in"
    name, at = metadata(found[0])["name"], rfc3339(registry.now())

    def counted(budget: Object) -> Object:
        return budget if _is_free(budget, pod) else taken(budget, metadata(pod)["name"], at)

    await apply(registry, Change(kind, namespace, name, counted, "status"), options)


def _budgets(registry: Registry, namespace: str) -> list[Object]:
    return [decode(r.value) for r in registry.store.list(PODDISRUPTIONBUDGETS.key, namespace).records]


def selects(budget: Object, pod: Object) -> bool:
    """Say whether the budget speaks of this Pod: an empty selector of all, none of none."""
    try:
        selector = from_label_selector(dig(budget, "spec", "selector"))
    except SelectorError:
        return False
    return selector is not None and selector.matches(labels_of(pod))


def ignores_budgets(pod: Object) -> bool:
    """Say whether nobody misses the Pod: it ended, never ran, or goes already."""
    return dig(pod, "status", "phase") in ("Succeeded", "Failed", "Pending") or bool(metadata(pod).get("deletionTimestamp"))


def _is_free(budget: Object, pod: Object) -> bool:
    """Say whether the Pod does not count, because it is not healthy."""
    if is_true(dig(pod, "status", "conditions"), "Ready"):
        return False
    if dig(budget, "spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = int(status.get("desiredHealthy") or 0)
    return int(status.get("currentHealthy") or 0) >= desired > 0


def taken(budget: Object, pod: str, at: str) -> Object:
    """Return the budget with one disruption fewer; ApiError 429 or 403 when there is none. Pure."""
    status, meta = dict(budget.get("status") or {}), metadata(budget)
    name = meta["name"]
    if int(status.get("observedGeneration") or 0) < int(meta.get("generation") or 0):
        raise _too_many(f"The disruption budget {name} is still being processed by the server.", retry_after_s=PROCESSING_S)
    allowed = int(status.get("disruptionsAllowed") or 0)
    if allowed < 0:
        raise forbidden("poddisruptionbudgets", "policy", name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > MAX_DISRUPTED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden("poddisruptionbudgets", "policy", name, why)
    if not allowed:
        raise _too_many(_why_none(name, status))
    status["disruptionsAllowed"] = allowed - 1
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod: at}
    if allowed == 1:
        condition: Object = {
            "type": "DisruptionAllowed",
            "status": "False",
            "reason": "InsufficientPods",
            "message": "",
            "lastTransitionTime": at,
        }
        condition["observedGeneration"] = status.get("observedGeneration")
        others = [c for c in status.get("conditions") or () if c.get("type") != "DisruptionAllowed"]
        status["conditions"] = [*others, condition]
    return {**budget, "status": status}


def _why_none(name: str, status: Object) -> str:
    condition = get_condition(status.get("conditions"), "DisruptionAllowed") or {}
    if condition.get("reason") == "SyncFailed":
        return f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {condition.get('message')}"
    return (
        f"The disruption budget {name} needs {int(status.get('desiredHealthy') or 0)} healthy pods "
        f"and has {int(status.get('currentHealthy') or 0)} currently"
    )


def _too_many(cause: str, *, retry_after_s: int = 0) -> ApiError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    if retry_after_s:
        details["retryAfterSeconds"] = retry_after_s
    return ApiError(429, "TooManyRequests", _REFUSED, details=details)
