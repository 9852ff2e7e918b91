"""PodSecurity admission: a namespace's labels say which standard its Pods must keep, and which one it warns about.

Without such labels nothing is looked at but the labels. Enforcement is about Pods; templates of workloads are only warned about.
Source: k8s.io/pod-security-admission/admission of Kubernetes 1.32.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.apiserver.access.audit.notes import annotate
from skerry.apiserver.policies.standards import LEVELS, PRIVILEGED, refusals, worded
from skerry.apiserver.registry.admission import Admission, Chain
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.store import Key
from skerry.model.errors import Cause, forbidden, invalid, invalid_value
from skerry.model.objects import Object, dig

PREFIX = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "replicationcontrollers": ("spec", "template"),
    "podtemplates": ("template",),
    "replicasets.apps": ("spec", "template"),
    "deployments.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}
MAX_EXISTING = 3000
"""Pods of a namespace that are looked at when its level changes, as in Kubernetes."""
_VERSION = re.compile(r"latest|v1\.(0|[1-9]\d{0,2})", re.ASCII)


class Standard(msgspec.Struct, frozen=True):
    """A level and the version of its rules; rules of other versions than ours are taken as ours."""

    level: str
    version: str

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


def standard(labels: Mapping[str, str], mode: str) -> Standard:
    """Return what a namespace's labels ask for in *mode*; what cannot be read is restricted, as in Kubernetes."""
    level = labels.get(PREFIX + mode, PRIVILEGED)
    version = labels.get(f"{PREFIX}{mode}-version", "latest")
    return Standard(level if level in LEVELS else "restricted", version if _VERSION.fullmatch(version) else "latest")


def label_causes(labels: Mapping[str, str]) -> list[Cause]:
    """Return what is wrong with the labels of a namespace."""
    causes = []
    for mode in MODES:
        level, version = labels.get(PREFIX + mode), labels.get(f"{PREFIX}{mode}-version")
        if level is not None and level not in LEVELS:
            causes.append(invalid_value(f"metadata.labels[{PREFIX}{mode}]", level, f"must be one of {', '.join(LEVELS)}"))
        if version is not None and not _VERSION.fullmatch(version):
            causes.append(invalid_value(f"metadata.labels[{PREFIX}{mode}-version]", version, 'must be "latest" or "v1.x"'))
    return causes


def add_to(chain: Chain) -> None:
    """Let namespaces' labels have their say."""
    chain.validating("pods", ("CREATE", "UPDATE"), _judge_pod)
    chain.validating("namespaces", ("CREATE", "UPDATE"), _judge_namespace)
    for key in TEMPLATES:
        chain.validating(key, ("CREATE", "UPDATE"), _judge_template)


def _labels(asked: Admission) -> Mapping[str, str]:
    record = asked.registry.store.get(Key("namespaces", "", asked.namespace))
    return record.labels if record is not None else {}


def _concerned(labels: Mapping[str, str]) -> bool:
    return any(PREFIX + mode in labels for mode in MODES)


def _judge_pod(asked: Admission) -> None:
    labels = _labels(asked)
    if not _concerned(labels) or asked.new is None or asked.subresource not in ("", "ephemeralcontainers", "resize"):
        return
    if asked.old is not None and _images(asked.old) == _images(asked.new):
        return
    metadata, spec = asked.new["metadata"], asked.new.get("spec") or {}
    enforced = standard(labels, "enforce")
    annotate(f"{PREFIX}enforce-policy", str(enforced))
    found = refusals(enforced.level, metadata, spec)
    _note(labels, metadata, spec)
    if found:
        raise forbidden("pods", "", asked.name, f'violates PodSecurity "{enforced}": {worded(found)}')
    _warn(asked, labels, metadata, spec)


def _images(pod: Object) -> list[Any]:
    spec = pod.get("spec") or {}
    fields = ("initContainers", "containers", "ephemeralContainers")
    return [[(c.get("name"), c.get("image")) for c in spec.get(f) or ()] for f in fields]


def _judge_template(asked: Admission) -> None:
    if asked.new is None or asked.subresource:
        return
    labels = _labels(asked)
    template = dig(asked.new, *TEMPLATES[asked.kind.key])
    if _concerned(labels) and isinstance(template, dict):
        metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
        _note(labels, metadata, spec)
        _warn(asked, labels, metadata, spec)


def _note(labels: Mapping[str, str], metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Keep in the audit log what the standard of the mode `audit` says."""
    wanted = standard(labels, "audit")
    found = refusals(wanted.level, metadata, spec)
    if found:
        annotate(f"{PREFIX}audit-violations", f'would violate PodSecurity "{wanted}": {worded(found)}')


def _warn(asked: Admission, labels: Mapping[str, str], metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    wanted = standard(labels, "warn")
    found = refusals(wanted.level, metadata, spec)
    if found:
        asked.options.warnings.append(f'would violate PodSecurity "{wanted}": {worded(found)}')


def _judge_namespace(asked: Admission) -> None:
    assert asked.new is not None
    if asked.subresource:
        return
    labels = asked.new["metadata"].get("labels") or {}
    before = (asked.old or {}).get("metadata", {}).get("labels") or {}
    if causes := label_causes(labels):
        if asked.old is None or label_causes(before) != causes:
            raise invalid("Namespace", "", asked.name, causes)
        return
    now, then = standard(labels, "enforce"), standard(before, "enforce")
    if asked.old is not None and now != then and LEVELS.index(now.level) > LEVELS.index(then.level):
        _warn_of_existing(asked, now)


def _warn_of_existing(asked: Admission, now: Standard) -> None:
    """Say which Pods are there that the new level would not let in."""
    reasons: dict[str, list[str]] = {}
    for record in asked.registry.store.list("pods", asked.name).records[:MAX_EXISTING]:
        pod = decode(record.value)
        found = refusals(now.level, pod["metadata"], pod.get("spec") or {})
        if found:
            reasons.setdefault(", ".join(what for what, _ in found), []).append(record.key.name)
    if not reasons:
        return
    asked.options.warnings.append(f'existing pods in namespace "{asked.name}" violate the new PodSecurity enforce level "{now}"')
    for why, names in sorted(reasons.items(), key=lambda e: e[1][0]):
        more = len(names) - 1
        others = f" (and {more} other pod{'s' if more > 1 else ''})" if more else ""
        asked.options.warnings.append(f"{names[0]}{others}: {why}")
