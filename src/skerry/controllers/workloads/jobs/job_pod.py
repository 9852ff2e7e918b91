"""The Pod that a Job creates: tracked by a finalizer, and told its completion index when the Job has such. Pure."""

from __future__ import annotations

from skerry.controllers.workloads.jobs.facts import INDEX, TRACKING, is_indexed
from skerry.controllers.workloads.jobs.replicas import Create
from skerry.controllers.workloads.pods import pod_from_template
from skerry.model.objects import Object, name_of

ENV = "JOB_COMPLETION_INDEX"
HOSTNAME_LIMIT = 63


def pod_for(job: Object, step: Create) -> Object:
    """Return the Pod for *step*; the server completes its name."""
    pod = pod_from_template(job, job["spec"]["template"])
    meta, spec = pod["metadata"], pod["spec"]
    meta["finalizers"] = [*(f for f in meta.get("finalizers") or () if f != TRACKING), TRACKING]
    if not is_indexed(job) or step.index is None:
        return pod
    name, index = name_of(job).name, str(step.index)
    meta["generateName"] = f"{f'{name}-{index}'[:57]}-"
    meta.setdefault("labels", {})[INDEX] = index
    meta["annotations"] = {**(meta.get("annotations") or {}), INDEX: index, **step.annotations}
    if not spec.get("hostname"):
        spec["hostname"] = f"{name}-{index}"[:HOSTNAME_LIMIT]
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            _tell(container)
    return pod


def _tell(container: Object) -> None:
    """Give a container its index in the environment, unless it names that variable itself."""
    env = container.setdefault("env", [])
    if not any(e.get("name") == ENV for e in env):
        env.append({"name": ENV, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}})
