"""The scale subresource: how many replicas, of built-in kinds and of custom ones that name the paths."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from skerry.apiserver.patch import told_kind
from skerry.apiserver.registry.applying import apply_configuration
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.update import Change, Transform, apply
from skerry.model.errors import ApiError, Cause, bad_request, conflict, internal, invalid, invalid_value
from skerry.model.objects import Object, dig

API_VERSION, KIND = "autoscaling/v1", "Scale"


def to_scale(kind: Kind, obj: Object) -> Object:
    """Return the Scale of an object."""
    meta = {k: obj["metadata"][k] for k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if k in obj["metadata"]}
    spec, status = _custom(kind, obj) if kind.custom else _builtin(obj)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": spec, "status": status}


def _builtin(obj: Object) -> tuple[Object, Object]:
    replicas = dig(obj, "spec", "replicas", default=0)
    status = {"replicas": dig(obj, "status", "replicas", default=0)}
    selector = dig(obj, "spec", "selector")
    text = selector_text(selector)
    return ({"replicas": replicas} if replicas else {}), ({**status, "selector": text} if text else status)


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """Return a label selector as the text that autoscalers read."""
    if not selector:
        return ""
    labels = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    parts = [f"{k}={v}" for k, v in sorted((labels or {}).items())]
    for term in selector.get("matchExpressions") or ():
        key, values = term.get("key"), ",".join(sorted(term.get("values") or ()))
        words = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": str(key), "DoesNotExist": f"!{key}"}
        parts.append(words.get(str(term.get("operator")), ""))
    return ",".join(p for p in parts if p)


def _custom(kind: Kind, obj: Object) -> tuple[Object, Object]:
    paths = kind.scale_paths
    wanted = _at(obj, paths["specReplicasPath"])
    if wanted is None:
        message = f'the spec replicas field "{paths["specReplicasPath"]}" does not exist'
        error = internal(message)
        error.details = {"causes": [{"message": message}]}
        raise error
    status: Object = {"replicas": _at(obj, paths["statusReplicasPath"]) or 0}
    selector = _at(obj, paths["labelSelectorPath"]) if paths.get("labelSelectorPath") else None
    return ({"replicas": wanted} if wanted else {}), ({**status, "selector": selector} if selector else status)


def _at(obj: Object, path: str) -> Any:
    return dig(obj, *path.lstrip(".").split("."))


async def read_scale(registry: Registry, kind: Kind, namespace: str, name: str) -> bytes:
    """Return the Scale of a stored object."""
    record = registry.find(kind, namespace, name)
    return dumps(to_scale(kind, decode(await registry.read(kind, record))))


async def write_scale(registry: Registry, kind: Kind, namespace: str, name: str, make: Transform, options: WriteOptions) -> bytes:
    """Change the replicas; *make* gives the wanted Scale of the present one."""

    def transform(old: Object) -> Object:
        return with_scale(kind, name, old, make(_scale_for_change(kind, old)))

    value = await apply(registry, Change(kind, namespace, name, transform, "scale"), options)
    return dumps(to_scale(kind, decode(value)))


def with_scale(kind: Kind, name: str, obj: Object, scale: Object) -> Object:
    """Return *obj* with the replicas of *scale*; ApiError for a Scale that cannot be."""
    _check(kind, name, obj, scale)
    return _with(obj, _replicas_path(kind), dig(scale, "spec", "replicas", default=0))


async def apply_scale(
    registry: Registry, kind: Kind, namespace: str, name: str, config: Object, options: WriteOptions, *, force: bool
) -> bytes:
    """Apply a Scale: its replicas, as a field of the object that it scales."""
    if (config.get("apiVersion"), config.get("kind")) != (API_VERSION, KIND):
        raise bad_request(f"invalid object type: {told_kind(config.get('apiVersion'), config.get('kind'))}")
    own = {k: v for k, v in config["metadata"].items() if k in ("name", "namespace", "uid", "resourceVersion", "managedFields")}
    wanted: Object = {"apiVersion": kind.resource.api_version, "kind": kind.resource.kind, "metadata": own}
    replicas = dig(config, "spec", "replicas")
    if replicas is not None:
        wanted = _with(wanted, _replicas_path(kind), replicas)
    _, value = await apply_configuration(registry, kind, namespace, name, wanted, options, subresource="scale", force=force)
    return dumps(to_scale(kind, decode(value)))


def _replicas_path(kind: Kind) -> list[str]:
    return kind.scale_paths["specReplicasPath"].lstrip(".").split(".") if kind.custom else ["spec", "replicas"]


def _scale_for_change(kind: Kind, old: Object) -> Object:
    try:
        return to_scale(kind, old)
    except ApiError:
        return to_scale(kind, _with(old, kind.scale_paths["specReplicasPath"].lstrip(".").split("."), 0))


def _check(kind: Kind, name: str, old: Object, new: Object) -> None:
    meta = new.get("metadata") or {}
    if meta.get("name") not in (None, "", name):
        raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
    revision = meta.get("resourceVersion")
    if revision and revision != old["metadata"].get("resourceVersion"):
        raise conflict(kind.resource.plural, kind.resource.group, name)
    replicas = dig(new, "spec", "replicas", default=0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request(f'Scale in version "v1" cannot be handled as a Scale: spec.replicas is {replicas!r}, not a number')
    if replicas < 0 and kind.custom:
        path = kind.scale_paths["specReplicasPath"]
        cause = Cause(path, "FieldValueInvalid", f"Invalid value: {replicas}: should be a non-negative integer")
        raise invalid(kind.resource.kind, kind.resource.group, name, [cause])
    if replicas < 0:
        raise invalid(KIND, "autoscaling", name, [invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")])


def _with(obj: Object, path: list[str], value: Any) -> Object:
    found = copy.copy(obj)
    here = found
    for step in path[:-1]:
        here[step] = dict(here.get(step) or {})
        here = here[step]
    here[path[-1]] = value
    return found
