"""What a LimitRange adds to Pods and claims, and what it refuses, in Kubernetes' words. Pure.

Source: k8s.io/kubernetes/plugin/pkg/admission/limitranger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from skerry.apiserver.quota.usage import Usage, pod_total, text_of
from skerry.model import quantity
from skerry.model.objects import Object, dig

ANNOTATION = "kubernetes.io/limit-ranger"
Limit = Mapping[str, Any]


def complete_pod(pod: Object, limits: Sequence[Limit]) -> None:
    """Give containers the requests and limits that they do not say, and note it on the Pod."""
    default = {k: v for limit in limits if limit.get("type") == "Container" for k, v in (limit.get("default") or {}).items()}
    request = {k: v for limit in limits if limit.get("type") == "Container" for k, v in (limit.get("defaultRequest") or {}).items()}
    notes = []
    for kind, key in (("container", "containers"), ("init container", "initContainers")):
        for container in dig(pod, "spec", key, default=[]):
            notes += _complete(container, kind, request, default)
    if notes:
        meta = pod["metadata"]
        meta["annotations"] = {**(meta.get("annotations") or {}), ANNOTATION: f"LimitRanger plugin set: {'; '.join(notes)}"}


def _complete(container: Object, kind: str, request: Mapping[str, str], default: Mapping[str, str]) -> list[str]:
    notes = []
    resources = container.get("resources") or {}
    for what, key, given in (("request", "requests", request), ("limit", "limits", default)):
        missing = sorted(k for k in given if k not in (resources.get(key) or {}))
        if missing:
            resources[key] = {**(resources.get(key) or {}), **{k: given[k] for k in missing}}
            notes.append(f"{', '.join(missing)} {what} for {kind} {container['name']}")
    if notes:
        container["resources"] = resources
    return notes


def pod_refusals(pod: Object, limits: Sequence[Limit]) -> list[str]:
    """Return why the Pod is out of bounds."""
    containers = [*dig(pod, "spec", "containers", default=[]), *dig(pod, "spec", "initContainers", default=[])]
    found: list[str] = []
    for limit in limits:
        if limit.get("type") == "Container":
            for container in containers:
                asked, capped = (_amounts(dig(container, "resources", k, default={})) for k in ("requests", "limits"))
                found += _out_of_bounds(limit, asked, capped)
        elif limit.get("type") == "Pod":
            found += _out_of_bounds(limit, pod_total(pod, "requests"), pod_total(pod, "limits"))
    return found


def claim_refusals(claim: Object, limits: Sequence[Limit]) -> list[str]:
    """Return why the PersistentVolumeClaim is out of bounds: only its request counts."""
    asked = _amounts(dig(claim, "spec", "resources", "requests", default={}))
    found = []
    for limit in limits:
        if limit.get("type") != "PersistentVolumeClaim":
            continue
        for name, bound in _sorted(limit.get("min")):
            found += _below(limit, name, bound, asked, {})
        for name, bound in _sorted(limit.get("max")):
            start = f"maximum {name} usage per {limit['type']} is {bound.text}"
            if name not in asked:
                found.append(f"{start}.  No request is specified")
            elif asked[name] > bound.value:
                found.append(f"{start}, but request is {text_of(asked[name], bound.text)}")
    return found


def _out_of_bounds(limit: Limit, asked: Usage, capped: Usage) -> list[str]:
    found: list[str] = []
    for name, bound in _sorted(limit.get("min")):
        found += _below(limit, name, bound, asked, capped)
    for name, bound in _sorted(limit.get("max")):
        start = f"maximum {name} usage per {limit['type']} is {bound.text}"
        if name not in capped:
            found.append(f"{start}.  No limit is specified")
        elif capped[name] > bound.value:
            found.append(f"{start}, but limit is {text_of(capped[name], bound.text)}")
        elif asked.get(name, Decimal(0)) > bound.value:
            found.append(f"{start}, but request is {text_of(asked[name], bound.text)}")
    for name, bound in _sorted(limit.get("maxLimitRequestRatio")):
        start = f"{name} max limit to request ratio per {limit['type']} is {bound.text}"
        if not asked.get(name):
            found.append(f"{start}, but no request is specified or request is 0")
        elif not capped.get(name):
            found.append(f"{start}, but no limit is specified or limit is 0")
        elif capped[name] / asked[name] > bound.value:
            found.append(f"{start}, but provided ratio is {capped[name] / asked[name]:.6f}")
    return found


def _below(limit: Limit, name: str, bound: _Bound, asked: Usage, capped: Usage) -> list[str]:
    start = f"minimum {name} usage per {limit['type']} is {bound.text}"
    if name not in asked:
        return [f"{start}.  No request is specified"]
    if asked[name] < bound.value:
        return [f"{start}, but request is {text_of(asked[name], bound.text)}"]
    if name in capped and capped[name] < bound.value:
        return [f"{start}, but limit is {text_of(capped[name], bound.text)}"]
    return []


class _Bound(msgspec.Struct, frozen=True):
    """A bound, and how it was written."""

    value: Decimal
    text: str


def _sorted(bounds: Mapping[str, str] | None) -> Iterable[tuple[str, _Bound]]:
    for name, text in sorted((bounds or {}).items()):
        yield name, _Bound(quantity.parse(text), quantity.canonical(text))


def _amounts(texts: Mapping[str, str]) -> Usage:
    return {name: quantity.parse(text) for name, text in texts.items()}
