"""What a Pod may ask for that this node cannot give: refused by name before anything starts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from skerry.model import quantity
from skerry.model.objects import Object, dig
from skerry.node.runtimes.contract import Enforcement, Limits

MAX_CONTAINERS = 64
MAX_ENV = 4096


def limits_of(container: Mapping[str, Any]) -> Limits:
    """Return the container's limits; raises QuantityError for what is not a quantity."""
    limits = dig(container, "resources", "limits", default={})
    memory, cpu = limits.get("memory"), limits.get("cpu")
    return Limits(
        memory_bytes=None if memory is None else int(quantity.parse(memory)),
        cpu_millis=None if cpu is None else int(quantity.parse(cpu) * 1000),
    )


def refusals(pod: Object, *, enforcement: Enforcement, allow_unenforced: bool) -> list[str]:
    """Return a sentence for each thing that this node does not do; none means that the Pod can run."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    found = list(_of_pod(spec))
    if len(containers) > MAX_CONTAINERS:
        found.append(f"spec.containers: {len(containers)} containers, the limit of a Pod is {MAX_CONTAINERS}")
        return found
    for container in containers:
        found += _of_container(container, enforcement, allow_unenforced)
    return found


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for field in ("hostPID", "hostIPC"):
        if spec.get(field):
            yield f"spec.{field}: the process runtime always gives a Pod its own"
    if spec.get("shareProcessNamespace"):
        yield "spec.shareProcessNamespace: the process runtime gives each container its own processes"
    if dig(spec, "securityContext", "sysctls"):
        yield "spec.securityContext.sysctls: the process runtime shares the host's kernel settings"
    if spec.get("activeDeadlineSeconds"):
        yield "spec.activeDeadlineSeconds: not supported by this node yet"
    if spec.get("dnsConfig"):
        yield "spec.dnsConfig: Pods use the node's network and its resolver"


def _of_container(container: Mapping[str, Any], enforcement: Enforcement, allow_unenforced: bool) -> Iterator[str]:
    where = f"container {container.get('name')!r}"
    context = container.get("securityContext") or {}
    if context.get("privileged"):
        yield f"{where}: securityContext.privileged: the process runtime never gives privileges"
    if dig(context, "capabilities", "add"):
        yield f"{where}: securityContext.capabilities.add: the process runtime drops all capabilities"
    if container.get("volumeDevices"):
        yield f"{where}: volumeDevices: block devices are not supported by the process runtime"
    if len(container.get("env") or ()) > MAX_ENV:
        yield f"{where}: env: more than {MAX_ENV} variables"
    for port in container.get("ports") or ():
        inside, outside = port.get("containerPort"), port.get("hostPort")
        if outside and outside != inside:
            yield f"{where}: hostPort {outside}: Pods use the node's network, so it must equal containerPort {inside}"
    if dig(container, "lifecycle", "postStart"):
        yield f"{where}: lifecycle.postStart: not supported by the process runtime; use an init container or a startup probe"
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        if dig(container, kind, "grpc"):
            yield f"{where}: {kind}.grpc: not supported by this node; use httpGet, tcpSocket or exec"
    try:
        limits = limits_of(container)
    except quantity.QuantityError as error:
        yield f"{where}: resources.limits: {error}"
        return
    if allow_unenforced:
        return
    unkept = [
        name
        for name, wanted, kept in (("memory", limits.memory_bytes, enforcement.memory), ("cpu", limits.cpu_millis, enforcement.cpu))
        if wanted is not None and not kept
    ]
    if unkept:
        yield f"{where}: resources.limits ({', '.join(unkept)}) cannot be enforced here: {enforcement.message}"
