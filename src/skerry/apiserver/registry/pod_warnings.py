"""What Kubernetes warns of in a Pod or a template: nothing is refused, the client is told beside the answer. Pure.

Source: the warnings of kube-apiserver 1.32 for Pods (nodeSelector, env, ports, spread, volumes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from skerry.apiserver.registry.admission import Admission, Chain
from skerry.model.objects import Object, dig

_TEMPLATES = {
    "deployments.apps": ("spec", "template"),
    "replicasets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "replicationcontrollers": ("spec", "template"),
    "podtemplates": ("template",),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}
_RENAMED = {
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
}
_SOURCES = {"serviceAccountToken": "ServiceAccountToken", "configMap": "ConfigMap", "secret": "Secret", "downwardAPI": "DownwardAPI"}
MAX_WARNINGS = 20


def warn_of_pods(chain: Chain) -> None:
    """Let those who write Pods and templates be warned."""
    chain.validating("pods", ("CREATE",), _of_pod)
    for key in _TEMPLATES:
        chain.validating(key, ("CREATE", "UPDATE"), _of_template)


def _of_pod(asked: Admission) -> None:
    if asked.new is not None and not asked.options.internal:
        asked.options.warnings += list(warnings(asked.new.get("spec") or {}, "spec"))[:MAX_WARNINGS]


def _of_template(asked: Admission) -> None:
    if asked.new is None or asked.subresource or asked.options.internal:
        return
    path = (*_TEMPLATES[asked.kind.key], "spec")
    spec: Object = dig(asked.new, *path, default={})
    if asked.old is None or dig(asked.old, *path, default={}) != spec:
        asked.options.warnings += list(warnings(spec, ".".join(path)))[:MAX_WARNINGS]


def warnings(spec: Mapping[str, Any], field: str) -> Iterator[str]:
    """Yield what is odd in a PodSpec."""
    for label in spec.get("nodeSelector") or ():
        if label in _RENAMED:
            since = "v1.14" if label.startswith("beta.") else "v1.17"
            yield f'{field}.nodeSelector[{label}]: deprecated since {since}; use "{_RENAMED[label]}" instead'
    for i, spread in enumerate(spec.get("topologySpreadConstraints") or ()):
        if spread.get("labelSelector") is None:
            yield f"{field}.topologySpreadConstraints[{i}].labelSelector: a null labelSelector results in matching no pod"
    for kind in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(kind) or ()):
            yield from _of_container(container, f"{field}.{kind}[{i}]")
    for volume in spec.get("volumes") or ():
        yield from _of_projection(volume)


def _of_container(container: Mapping[str, Any], field: str) -> Iterator[str]:
    names: dict[str, int] = {}
    for i, variable in enumerate(container.get("env") or ()):
        name = variable.get("name") or ""
        if name in names and f"$({name})" not in (variable.get("value") or ""):
            yield f'{field}.env[{i}]: hides previous definition of "{name}", which may be dropped when using apply'
        names[name] = i
    ports: dict[tuple[Any, ...], int] = {}
    for i, port in enumerate(container.get("ports") or ()):
        key = (port.get("containerPort"), port.get("protocol"), port.get("hostIP"), port.get("hostPort"))
        if key in ports:
            yield f"{field}.ports[{i}]: duplicate port definition with {field}.ports[{ports[key]}]"
        ports.setdefault(key, i)


def _of_projection(volume: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of a projected volume that two of its sources write."""
    taken: dict[str, str] = {}
    for source in (volume.get("projected") or {}).get("sources") or ():
        for kind, paths in _paths(source):
            for path in paths:
                if path in taken:
                    yield f'volume "{volume.get("name")}" (Projected): overlapping paths: "{path}" ({kind}) with "{path}" ({taken[path]})'
                taken.setdefault(path, kind)


def _paths(source: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for key, kind in _SOURCES.items():
        found = source.get(key)
        if found is None:
            continue
        yield kind, [found["path"]] if key == "serviceAccountToken" else [item.get("path") or "" for item in found.get("items") or ()]
