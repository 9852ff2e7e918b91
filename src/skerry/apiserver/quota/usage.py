"""How much of a quota one object uses. Pure.

Source: k8s.io/kubernetes/pkg/quota/v1/evaluator/core, staging/src/k8s.io/apiserver/pkg/quota/v1/generic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from skerry.model import quantity
from skerry.model.objects import Object, dig

Usage = dict[str, Decimal]
ONE = Decimal(1)
_BY_PLAIN_NAME = frozenset(
    ("pods", "services", "persistentvolumeclaims", "configmaps", "secrets", "replicationcontrollers", "resourcequotas")
)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_CLASS = ".storageclass.storage.k8s.io/"


def counted_kind(name: str) -> str:
    """Return the `plural.group` whose objects use the quota's *name* (`count/jobs.batch`, `requests.cpu`)."""
    if name.startswith("count/"):
        return name[len("count/") :]
    if name.startswith("services."):
        return "services"
    if name == "requests.storage" or _CLASS in name:
        return "persistentvolumeclaims"
    return name if name in _BY_PLAIN_NAME else "pods"


def usage(key: str, obj: Object | None) -> Usage:
    """Return what an object of `plural.group` *key* uses; *obj* is None where being there is all that counts."""
    found = {f"count/{key}": ONE}
    special = _SPECIAL.get(key)
    if special is not None and obj is not None:
        return found | special(obj)
    if key in _BY_PLAIN_NAME:
        found[key] = ONE
    return found


def needs_content(key: str) -> bool:
    return key in _SPECIAL


def _pod(pod: Object) -> Usage:
    if dig(pod, "status", "phase") in ("Succeeded", "Failed"):
        return {}
    found = {"pods": ONE}
    for what, total in (("requests", pod_total(pod, "requests")), ("limits", pod_total(pod, "limits"))):
        for name, amount in total.items():
            if name in _COMPUTE:
                found[f"{what}.{name}"] = amount
                if what == "requests":
                    found[name] = amount
            elif what == "requests" and ("/" in name or name.startswith("hugepages-")):
                found[f"requests.{name}"] = amount
    return found


def pod_total(pod: Object, what: str) -> Usage:
    """Return the sum of `resources.requests` or `.limits`: containers and sidecars together, at least each init container."""
    total: Usage = {}
    for container in dig(pod, "spec", "containers", default=[]):
        _add(total, _amounts(container, what))
    sidecars: Usage = {}
    peak: Usage = {}
    for container in dig(pod, "spec", "initContainers", default=[]):
        if container.get("restartPolicy") == "Always":
            _add(sidecars, _amounts(container, what))
            _add(total, _amounts(container, what))
        else:
            for name, amount in _amounts(container, what).items():
                peak[name] = max(peak.get(name, Decimal(0)), amount + sidecars.get(name, Decimal(0)))
    for name, amount in peak.items():
        total[name] = max(total.get(name, Decimal(0)), amount)
    overhead = dig(pod, "spec", "overhead", default={})
    for name, text in overhead.items():
        if what == "requests" or name in total:
            total[name] = total.get(name, Decimal(0)) + quantity.parse(text)
    return total


def _amounts(container: Mapping[str, Any], what: str) -> Usage:
    return {k: quantity.parse(v) for k, v in dig(container, "resources", what, default={}).items()}


def _add(total: Usage, more: Usage) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, Decimal(0)) + amount


def _service(service: Object) -> Usage:
    spec = service.get("spec") or {}
    ports, kind = spec.get("ports") or (), spec.get("type")
    found = {"services": ONE}
    if kind == "LoadBalancer":
        found["services.loadbalancers"] = ONE
        every = spec.get("allocateLoadBalancerNodePorts") is not False
        found["services.nodeports"] = Decimal(sum(1 for p in ports if every or p.get("nodePort")))
    elif kind == "NodePort":
        found["services.nodeports"] = Decimal(len(ports))
    return found


def _claim(claim: Object) -> Usage:
    storage = quantity.parse(dig(claim, "spec", "resources", "requests", "storage", default="0"))
    found = {"persistentvolumeclaims": ONE, "requests.storage": storage}
    wanted = dig(claim, "spec", "storageClassName")
    if wanted:
        found |= {f"{wanted}{_CLASS}persistentvolumeclaims": ONE, f"{wanted}{_CLASS}requests.storage": storage}
    return found


_SPECIAL: Mapping[str, Callable[[Object], Usage]] = {"pods": _pod, "services": _service, "persistentvolumeclaims": _claim}

_MUST_SAY = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


def unsaid(pod: Object, hard: Iterable[str]) -> str:
    """Return which amounts of *hard* some container leaves open, as the API's message has it; "" when none."""
    missing: dict[str, set[str]] = {}
    containers = [*dig(pod, "spec", "containers", default=[]), *dig(pod, "spec", "initContainers", default=[])]
    for name in hard:
        if name not in _MUST_SAY:
            continue
        what, _, resource = name.rpartition(".")
        for container in containers:
            if resource not in dig(container, "resources", what or "requests", default={}):
                missing.setdefault(name, set()).add(container["name"])
    return "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))


def text_of(value: Decimal, like: str) -> str:
    """Return a sum as a quantity, with binary suffixes where *like* has one."""
    if like.endswith("i") and value and value % 1024 == 0:
        return quantity.canonical(f"{int(value) // 1024}Ki")
    return quantity.canonical(format(value, "f"))


def pretty(values: Mapping[str, Decimal], like: Mapping[str, str]) -> str:
    """Return `cpu=1,memory=1Gi`."""
    return ",".join(f"{k}={text_of(values[k], like.get(k, ''))}" for k in sorted(values))
