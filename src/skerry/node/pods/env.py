"""A container's environment, command and downward API, as Kubernetes composes them. Pure: lookups are an argument."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_CEILING
from typing import Any, Literal

import msgspec

from skerry.model import quantity
from skerry.model.objects import Object, annotations_of, dig, labels_of, metadata
from skerry.node.runtimes.contract import Image, RefusedError, RuntimeFailedError

Kind = Literal["ConfigMap", "Secret"]
Lookup = Callable[[Kind, str], Object | None]
"""Return the object of that name in the Pod's namespace, None when it does not exist; raises ConfigError when unknown."""

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")
_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
MAX_VALUE_BYTES = 1 << 20


class ConfigError(RuntimeFailedError):
    """Something that the container needs is not there (yet)."""

    def __init__(self, message: str) -> None:
        super().__init__("CreateContainerConfigError", message)


class NotKnownError(ConfigError):
    """Nobody can say yet whether it is there: the hub has not answered. Worth waiting for, not worth an Event."""


class NodeFacts(msgspec.Struct, frozen=True):
    """What a Pod may ask of its node. `allocatable` is quantities as text."""

    name: str
    address: str
    allocatable: Mapping[str, str]
    hub: tuple[str, int] = ("", 0)
    """Host and port at which a Pod reaches the API."""

    def cluster_env(self) -> dict[str, str]:
        """Return what tells a program where its cluster's API is: client libraries look for these two."""
        host, port = self.hub
        if not host:
            return {}
        return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port), "KUBERNETES_SERVICE_PORT_HTTPS": str(port)}


def environment(container: Mapping[str, Any], pod: Object, node: NodeFacts, lookup: Lookup) -> dict[str, str]:
    """Return the variables, in order; raises ConfigError naming what is missing."""
    found: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        found.update(_from_source(source, lookup))
    for entry in container.get("env") or ():
        if entry.get("valueFrom"):
            value = _value_from(entry["valueFrom"], container, pod, node, lookup)
            if value is None:
                continue
        else:
            value = expand(entry.get("value") or "", found)
        if len(value) > MAX_VALUE_BYTES:
            raise RefusedError("CreateContainerConfigError", f"environment variable {entry['name']} is longer than {MAX_VALUE_BYTES} bytes")
        found[entry["name"]] = value
    return found


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by what is known; `$$` is a dollar, an unknown name stays as it is."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return known.get(match[1], match[0])

    return _REFERENCE.sub(one, text)


def command_line(container: Mapping[str, Any], image: Image, known: Mapping[str, str]) -> tuple[str, ...]:
    """Return the argument vector: `command` replaces the image's entrypoint, `args` its arguments."""
    command = [expand(a, known) for a in container.get("command") or ()]
    args = [expand(a, known) for a in container.get("args") or ()]
    if not command:
        return (*image.entrypoint, *(args or image.arguments))
    if not image.fixed_entrypoint:
        return (*command, *args)
    allowed = (image.entrypoint[0], image.entrypoint[0].rpartition("/")[2], image.reference.rpartition("/")[2])
    if command[0] not in allowed:
        message = f"command[0] is {command[0]!r}, but image {image.reference} runs only {image.entrypoint[0]}: name it, or use args alone"
        raise RefusedError("ImageNotAllowed", message)
    return (*image.entrypoint, *command[1:], *args)


def _from_source(source: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    kind: Kind = "ConfigMap" if source.get("configMapRef") else "Secret"
    reference = source.get("configMapRef") or source.get("secretRef") or {}
    data = data_of(kind, reference.get("name") or "", bool(reference.get("optional")), lookup)
    prefix = source.get("prefix") or ""
    return {prefix + k: v.decode("utf-8", "replace") for k, v in (data or {}).items() if "=" not in prefix + k}


def data_of(kind: Kind, name: str, optional: bool, lookup: Lookup) -> dict[str, bytes] | None:
    """Return the data of a ConfigMap or Secret; None when it is optional and missing."""
    obj = lookup(kind, name)
    if obj is None:
        if optional:
            return None
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    if kind == "Secret":
        return {k: base64.b64decode(v) for k, v in (obj.get("data") or {}).items()}
    plain = {k: v.encode() for k, v in (obj.get("data") or {}).items()}
    return {**plain, **{k: base64.b64decode(v) for k, v in (obj.get("binaryData") or {}).items()}}


def _value_from(source: Mapping[str, Any], container: Mapping[str, Any], pod: Object, node: NodeFacts, lookup: Lookup) -> str | None:
    if source.get("fieldRef"):
        return field(source["fieldRef"].get("fieldPath") or "", pod, node)
    if source.get("resourceFieldRef"):
        return resource_field(source["resourceFieldRef"], container, node)
    kind: Kind = "ConfigMap" if source.get("configMapKeyRef") else "Secret"
    reference = source.get("configMapKeyRef") or source.get("secretKeyRef") or {}
    optional, key = bool(reference.get("optional")), reference.get("key") or ""
    data = data_of(kind, reference.get("name") or "", optional, lookup)
    if data is not None and key in data:
        return data[key].decode("utf-8", "surrogateescape")
    if optional:
        return None
    raise ConfigError(f"couldn't find key {key} in {kind} {metadata(pod).get('namespace')}/{reference.get('name')}")


def field(path: str, pod: Object, node: NodeFacts) -> str:
    """Return a field of the downward API; raises ConfigError for one that there is not."""
    keyed = _KEYED.fullmatch(path)
    if keyed:
        return str((labels_of(pod) if keyed[1] == "labels" else annotations_of(pod)).get(keyed[2], ""))
    spec, meta = pod.get("spec") or {}, metadata(pod)
    simple: dict[str, Any] = {
        "metadata.name": meta.get("name"),
        "metadata.namespace": meta.get("namespace"),
        "metadata.uid": meta.get("uid"),
        "spec.nodeName": spec.get("nodeName") or node.name,
        "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
        "status.hostIP": node.address,
        "status.hostIPs": node.address,
        "status.podIP": node.address,
        "status.podIPs": node.address,
    }
    if path in simple:
        return str(simple[path] or "")
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = labels_of(pod) if path.endswith("labels") else annotations_of(pod)
        return "\n".join(f'{k}="{_escaped(v)}"' for k, v in sorted(pairs.items()))
    raise ConfigError(f"fieldPath {path!r} is not one of {', '.join(simple)}, metadata.labels, metadata.annotations")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_field(reference: Mapping[str, Any], container: Mapping[str, Any], node: NodeFacts) -> str:
    """Return a request or limit as a number; a limit that is not set is what the node has."""
    section, _, name = (reference.get("resource") or "").partition(".")
    if section not in ("limits", "requests") or name not in ("cpu", "memory", "ephemeral-storage"):
        raise ConfigError(f"resource {reference.get('resource')!r} is not limits or requests of cpu, memory or ephemeral-storage")
    limit = dig(container, "resources", "limits", name)
    text = dig(container, "resources", section, name) or limit or node.allocatable.get(name, "0")
    divisor = quantity.parse(reference.get("divisor") or "1") or quantity.parse("1")
    return str(int((quantity.parse(text) / divisor).to_integral_value(ROUND_CEILING)))


def referenced(pod: Object) -> frozenset[tuple[Kind, str]]:
    """Return every ConfigMap and Secret of its namespace that the Pod refers to."""
    found: set[tuple[Kind, str]] = set()
    spec = pod.get("spec") or {}
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for source in container.get("envFrom") or ():
            _note(found, source, "configMapRef", "secretRef")
        for entry in container.get("env") or ():
            _note(found, entry.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef")
    for volume in spec.get("volumes") or ():
        _note_volume(found, volume)
        for source in dig(volume, "projected", "sources", default=()) or ():
            _note_volume(found, source)
    return frozenset(found)


def _note(found: set[tuple[Kind, str]], source: Mapping[str, Any], config: str, secret: str) -> None:
    pairs: Sequence[tuple[Kind, str]] = (("ConfigMap", config), ("Secret", secret))
    for kind, key in pairs:
        name = (source.get(key) or {}).get("name")
        if name:
            found.add((kind, name))


def _note_volume(found: set[tuple[Kind, str]], volume: Mapping[str, Any]) -> None:
    name = (volume.get("configMap") or {}).get("name")
    if name:
        found.add(("ConfigMap", name))
    secret = volume.get("secret") or {}
    if secret.get("secretName") or secret.get("name"):
        found.add(("Secret", secret.get("secretName") or secret["name"]))
