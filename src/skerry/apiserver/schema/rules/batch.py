"""Rules of Jobs and CronJobs as a whole, and what an update may not change. Source: pkg/apis/batch/validation of Kubernetes 1.32."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.rules.common import IMMUTABLE, Causes, Map, go_invalid, go_label_selector, not_negative, one_of
from skerry.apiserver.schema.rules.jobs import generated_selector, job_fields, job_hostnames, job_selector, restart_policy
from skerry.apiserver.schema.rules.pods import template_spec
from skerry.apiserver.schema.rules.schedules import schedule_error, time_zone
from skerry.model.errors import invalid_value, not_supported, required
from skerry.model.objects import Object

_JOB_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_PLACING = ("nodeSelector", "tolerations", "schedulingGates")
"""What the template of a Job that was never started may still change, beside its labels, annotations and node affinity."""


def job(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    if old is None:
        generated_selector(obj, causes)
    _job_spec(spec, "spec", causes)
    job_selector(spec, causes)
    if old is None:
        job_hostnames(obj, causes)
    else:
        _job_update(spec, old, causes)


def _job_update(spec: Map, old: Object, causes: Causes) -> None:
    before = old["spec"]
    completions = spec.get("completions")
    if completions != before.get("completions"):
        if spec.get("completionMode") != "Indexed":
            _immutable("spec.completions", completions, causes)
        elif completions is not None and completions != spec.get("parallelism"):
            causes.append(invalid_value("spec.completions", completions, "can only be modified in tandem with spec.parallelism"))
    if spec.get("selector") != before.get("selector"):
        causes.append(go_invalid("spec.selector", go_label_selector(spec.get("selector")), IMMUTABLE))
    new_template, template = spec.get("template") or {}, before.get("template") or {}
    if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
        new_template, template = _unplaced(new_template), _unplaced(template)
    if new_template != template:
        causes.append(go_invalid("spec.template", "core.PodTemplateSpec{...}", IMMUTABLE))
    for name in _JOB_FIXED:
        if spec.get(name) != before.get(name):
            _immutable(f"spec.{name}", spec.get(name), causes)


def _immutable(field: str, value: Any, causes: Causes) -> None:
    if value is None or isinstance(value, dict):
        kind = field.removeprefix("spec.")
        causes.append(go_invalid(field, '"null"' if value is None else f"batch.{kind[0].upper()}{kind[1:]}{{...}}", IMMUTABLE))
    else:
        causes.append(invalid_value(field, value, IMMUTABLE))


def _unplaced(template: Map) -> Map:
    meta = {k: v for k, v in (template.get("metadata") or {}).items() if k not in ("labels", "annotations")}
    spec = {k: v for k, v in (template.get("spec") or {}).items() if k not in _PLACING}
    affinity = {k: v for k, v in (spec.pop("affinity", None) or {}).items() if k != "nodeAffinity"}
    return {"metadata": meta, "spec": {**spec, "affinity": affinity}}


def _job_spec(spec: Map, field: str, causes: Causes) -> None:
    job_fields(spec, field, causes)
    template_spec(spec.get("template") or {}, f"{field}.template", causes)
    restart_policy(spec, f"{field}.template.spec.restartPolicy", causes)


def cron_job(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    schedule = spec.get("schedule")
    if not schedule:
        causes.append(required("spec.schedule"))
    elif wrong := schedule_error(schedule):
        causes.append(invalid_value("spec.schedule", schedule, wrong))
    not_negative(spec, ("startingDeadlineSeconds",), "spec", causes)
    zone = spec.get("timeZone")
    if zone is not None and (old is None or old["spec"].get("timeZone") != zone):
        _time_zone(zone, causes)
    one_of(spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"), "spec.concurrencyPolicy", causes)
    _job_template((spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec", causes)
    not_negative(spec, ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"), "spec", causes)


def _job_template(spec: Map, field: str, causes: Causes) -> None:
    _job_spec(spec, field, causes)
    if spec.get("selector") is not None:
        causes.append(go_invalid(f"{field}.selector", go_label_selector(spec["selector"]), "`selector` will be auto-generated"))
    if spec.get("manualSelector"):
        causes.append(not_supported(f"{field}.manualSelector", True, ["nil", "false"]))


def _time_zone(name: str, causes: Causes) -> None:
    if not name:
        causes.append(invalid_value("spec.timeZone", name, "timeZone must be nil or non-empty string"))
    elif name.lower() == "local":
        causes.append(
            invalid_value("spec.timeZone", name, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")
        )
    elif time_zone(name) is None:
        causes.append(invalid_value("spec.timeZone", name, f"unknown time zone {name}"))
