"""Rows of what makes Pods."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from skerry.apiserver.schema.table.cells import NONE, UNKNOWN, age, containers, labels, name_of, selector, since, template_containers
from skerry.model.conditions import is_true
from skerry.model.objects import Object, controller_of
from skerry.model.times import human_duration, parse_time


def deployment(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    counts = [status.get("updatedReplicas", 0), status.get("availableReplicas", 0)]
    return [name_of(obj), ready, *counts, age(obj, now), *template_containers(obj), selector(spec.get("selector"))]


def replica_set(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    return [*_replicas(obj, now), *template_containers(obj), selector(spec.get("selector"))]


def replication_controller(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    return [*_replicas(obj, now), *template_containers(obj), labels(spec.get("selector"))]


def _replicas(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [name_of(obj), spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0), age(obj, now)]


def daemon_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    names = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
    node_selector = labels(((spec.get("template") or {}).get("spec") or {}).get("nodeSelector"))
    counts = [status.get(n, 0) for n in names]
    return [name_of(obj), *counts, node_selector, age(obj, now), *template_containers(obj), selector(spec.get("selector"))]


def stateful_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [name_of(obj), ready, age(obj, now), *template_containers(obj)]


def controller_revision(obj: Object, now: datetime) -> list[Any]:
    owner = controller_of(obj)
    api_group = str(owner["apiVersion"]).rpartition("/")[0] if owner else ""
    kind = f"{str(owner['kind']).lower()}{'.' + api_group if api_group else ''}/{owner['name']}" if owner else NONE
    return [name_of(obj), kind, obj.get("revision", 0), age(obj, now)]


def job(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    row = [name_of(obj), _job_status(obj, status), _completions(spec, status), _duration(status, now), age(obj, now)]
    return [*row, *template_containers(obj), selector(spec.get("selector"))]


def _job_status(obj: Object, status: dict[str, Any]) -> str:
    conditions = status.get("conditions")
    if is_true(conditions, "Complete"):
        return "Complete"
    if is_true(conditions, "Failed"):
        return "Failed"
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    for word in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if is_true(conditions, word):
            return word
    return "Running"


def _completions(spec: dict[str, Any], status: dict[str, Any]) -> str:
    done = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _duration(status: dict[str, Any], now: datetime) -> str:
    if not status.get("startTime"):
        return ""
    try:
        end = parse_time(status["completionTime"]) if status.get("completionTime") else now
        return human_duration(end - parse_time(status["startTime"]))
    except ValueError:
        return UNKNOWN


def cron_job(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    last = since(status["lastScheduleTime"], now) if status.get("lastScheduleTime") else NONE
    template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
    names, images = containers(template.get("spec"))
    suspend = spec.get("suspend")
    suspended = "<unset>" if suspend is None else str(bool(suspend))
    row = [name_of(obj), spec.get("schedule", ""), spec.get("timeZone") or NONE, suspended, len(status.get("active") or ()), last]
    own = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("selector")
    return [*row, age(obj, now), names, images, selector(own)]


_SETS = "Name / Desired:integer / Current:integer / Ready:integer / Age / Containers* / Images* / Selector*"
TABLES = {
    "deployments.apps": ("Name / Ready / Up-to-date / Available / Age / Containers* / Images* / Selector*", deployment),
    "replicasets.apps": (_SETS, replica_set),
    "replicationcontrollers": (_SETS, replication_controller),
    "daemonsets.apps": (
        "Name / Desired:integer / Current:integer / Ready:integer / Up-to-date:integer / Available:integer / Node Selector / Age"
        " / Containers* / Images* / Selector*",
        daemon_set,
    ),
    "statefulsets.apps": ("Name / Ready / Age / Containers* / Images*", stateful_set),
    "controllerrevisions.apps": ("Name / Controller / Revision / Age", controller_revision),
    "jobs.batch": ("Name / Status / Completions / Duration / Age / Containers* / Images* / Selector*", job),
    "cronjobs.batch": (
        "Name / Schedule / Timezone / Suspend:boolean / Active:integer / Last Schedule / Age / Containers* / Images* / Selector*",
        cron_job,
    ),
}
