"""Defaults of what makes Pods: Deployment, ReplicaSet, DaemonSet, StatefulSet, Job, CronJob, ReplicationController."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.defaults.pods import template_spec
from skerry.apiserver.schema.defaults.storage import claim_template
from skerry.model.objects import Object, dig

Map = dict[str, Any]

_CONTROLLER_UID = "batch.kubernetes.io/controller-uid"


def deployment(obj: Object) -> None:
    spec = obj["spec"]
    template_spec(spec.get("template"))
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def replica_set(obj: Object) -> None:
    spec = obj["spec"]
    template_spec(spec.get("template"))
    spec.setdefault("replicas", 1)


def replication_controller(obj: Object) -> None:
    spec = obj["spec"]
    template = spec.get("template") or {}
    template_spec(template)
    spec.setdefault("replicas", 1)
    labels = (template.get("metadata") or {}).get("labels")
    if labels and not spec.get("selector"):
        spec["selector"] = dict(labels)
    _labels_from_template(obj)


def _labels_from_template(obj: Object) -> None:
    labels = ((obj["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not (obj.get("metadata") or {}).get("labels"):
        obj.setdefault("metadata", {})["labels"] = dict(labels)


def daemon_set(obj: Object) -> None:
    spec = obj["spec"]
    template_spec(spec.get("template"))
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    generation = (obj.get("metadata") or {}).get("generation") or 1
    annotations = obj.setdefault("metadata", {}).setdefault("annotations", {})
    annotations.setdefault("deprecated.daemonset.template.generation", str(generation))


def stateful_set(obj: Object) -> None:
    spec = obj["spec"]
    template_spec(spec.get("template"))
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    for claim in spec.get("volumeClaimTemplates") or ():
        claim_template(claim)


def job(obj: Object) -> None:
    """Complete a Job; its selector and labels come from its uid, which the registry has set."""
    spec = obj["spec"]
    job_spec(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
        spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 2147483647 if spec.get("backoffLimitPerIndex") is not None else 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    policy = spec.get("podFailurePolicy")
    spec.setdefault("podReplacementPolicy", "Failed" if policy is not None else "TerminatingOrFailed")
    if not spec["manualSelector"]:
        _own_selector(obj, spec)


def job_spec(spec: Map) -> None:
    """Complete the spec of a Job or of a CronJob's template."""
    template_spec(spec.get("template"))
    for rule in dig(spec, "podFailurePolicy", "rules", default=[]):
        for pattern in rule.get("onPodConditions") or ():
            pattern["status"] = pattern.get("status") or "True"


def _own_selector(obj: Object, spec: Map) -> None:
    """Let a new Job know its Pods by its uid; labels and a selector that somebody wrote stay, and are judged."""
    meta = obj.get("metadata") or {}
    uid = meta.get("uid")
    if not uid or meta.get("resourceVersion"):
        return
    named = {
        _CONTROLLER_UID: uid,
        "batch.kubernetes.io/job-name": meta.get("name", ""),
        "controller-uid": uid,
        "job-name": meta.get("name", ""),
    }
    selector = spec.get("selector") or {}
    spec["selector"] = {**selector, "matchLabels": {_CONTROLLER_UID: uid, **(selector.get("matchLabels") or {})}}
    template = spec["template"].setdefault("metadata", {})
    template["labels"] = {**named, **(template.get("labels") or {})}
    if not meta.get("labels"):
        meta["labels"] = dict(template["labels"])


def cron_job(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    job_spec(spec["jobTemplate"]["spec"])
