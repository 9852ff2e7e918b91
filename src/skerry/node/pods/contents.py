"""What is in a Pod's volumes of configuration: pure, from the volume's spec to files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.model.objects import Object, name_of
from skerry.node.pods.env import ConfigError, Kind, Lookup, NodeFacts, data_of, field, resource_field
from skerry.node.pods.shape import container_of
from skerry.node.pods.tokens import TokenSource, no_tokens
from skerry.node.runtimes.contract import RefusedError

DEFAULT_MODE = 0o644
MAX_FILES = 4096


class File(msgspec.Struct, frozen=True):
    data: bytes
    mode: int = DEFAULT_MODE


Files = Mapping[str, File]
"""Relative path to file."""

CONFIG_VOLUMES = ("configMap", "secret", "downwardAPI", "projected")


def volume_files(volume: Mapping[str, Any], pod: Object, node: NodeFacts, lookup: Lookup, token: TokenSource = no_tokens) -> Files:
    """Return the files of a configMap, secret, downwardAPI or projected volume; raises ConfigError naming what is missing."""
    found: dict[str, File] = {}
    if volume.get("projected"):
        mode = volume["projected"].get("defaultMode") or DEFAULT_MODE
        for source in volume["projected"].get("sources") or ():
            if source.get("serviceAccountToken"):
                wanted = source["serviceAccountToken"]
                found[str(wanted.get("path") or "")] = File(token(pod, wanted), mode)
            else:
                found.update(_source_files(source, mode, pod, node, lookup))
    else:
        kind = next(k for k in CONFIG_VOLUMES if volume.get(k))
        found.update(_source_files({kind: volume[kind]}, volume[kind].get("defaultMode") or DEFAULT_MODE, pod, node, lookup))
    for path in found:
        check_relative(path, f"volume {volume.get('name')!r}")
    if len(found) > MAX_FILES:
        raise RefusedError("CreateContainerConfigError", f"volume {volume.get('name')!r} has {len(found)} files, the limit is {MAX_FILES}")
    return found


def _source_files(source: Mapping[str, Any], mode: int, pod: Object, node: NodeFacts, lookup: Lookup) -> Files:
    if source.get("downwardAPI"):
        return {i["path"]: File(_downward(i, pod, node), i.get("mode") or mode) for i in source["downwardAPI"].get("items") or ()}
    if source.get("clusterTrustBundle"):
        raise RefusedError("CreateContainerConfigError", "a projected volume's clusterTrustBundle is not supported by this node")
    kinds: tuple[tuple[Kind, str], ...] = (("ConfigMap", "configMap"), ("Secret", "secret"))
    for kind, key in kinds:
        spec = source.get(key)
        if spec is not None:
            name = spec.get("name") or spec.get("secretName") or ""
            data = data_of(kind, name, bool(spec.get("optional")), lookup)
            return _chosen(data or {}, spec, mode, f'{kind.lower()} "{name}"', missing=data is None)
    raise RefusedError("CreateContainerConfigError", f"a projected volume of {', '.join(source)} is not supported")


def _chosen(data: Mapping[str, bytes], spec: Mapping[str, Any], mode: int, what: str, *, missing: bool) -> Files:
    items = spec.get("items")
    if not items:
        return {k: File(v, mode) for k, v in data.items()}
    found = {}
    for item in items:
        if item["key"] in data:
            found[item["path"]] = File(data[item["key"]], item.get("mode") or mode)
        elif not spec.get("optional") and not missing:
            raise ConfigError(f"references non-existent key {item['key']!r} of {what}")
    return found


def _downward(item: Mapping[str, Any], pod: Object, node: NodeFacts) -> bytes:
    if item.get("fieldRef"):
        return field(item["fieldRef"].get("fieldPath") or "", pod, node).encode()
    reference = item.get("resourceFieldRef") or {}
    try:
        container = container_of(pod, reference.get("containerName") or "")
    except KeyError:
        raise ConfigError(f"{name_of(pod)} has no container {reference.get('containerName')!r} for a resourceFieldRef") from None
    return resource_field(reference, container, node).encode()


def check_relative(path: str, what: str) -> None:
    """Refuse a path that could lead out of the folder it is meant for."""
    parts = path.split("/")
    if not path or path.startswith("/") or "\0" in path or any(p in ("", ".", "..") for p in parts) or parts[0].startswith(".."):
        raise RefusedError("CreateContainerConfigError", f"{what}: {path!r} is not a relative path without '..'")
