"""Rules of containers: names, ports, environment, mounts, probes, resources."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from skerry.apiserver.schema.rules.amounts import container_resource
from skerry.apiserver.schema.rules.common import (
    NOT_NEGATIVE,
    Causes,
    Map,
    amount,
    config_key_error,
    dns_label,
    duplicate,
    env_name_error,
    local_path,
    not_found,
    not_negative,
    one_of,
    port_name_error,
    port_number,
    port_or_name,
)
from skerry.apiserver.schema.rules.security import container_security
from skerry.apiserver.schema.rules.sources import IN_ENVIRONMENT, field_ref, resource_ref
from skerry.model.errors import Cause, forbidden_field, invalid_value, required
from skerry.model.names import dns_subdomain_error
from skerry.model.quantity import QuantityError

_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PROBE_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def container(c: Map, field: str, causes: Causes, *, volumes: Map, host_network: bool, init: bool = False, grace_s: int = 30) -> None:
    """Check a container or an init container."""
    _common(c, field, causes, volumes=volumes, host_network=host_network)
    sidecar = init and c.get("restartPolicy") == "Always"
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = c.get(name)
        if probe is None:
            continue
        if init and not sidecar:
            causes.append(forbidden_field(f"{field}.{name}", "may not be set for init containers without restartPolicy=Always"))
            continue
        _probe(probe, f"{field}.{name}", causes)
        _probe_grace(probe, name, field, causes)
        if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            causes.append(invalid_value(f"{field}.{name}.successThreshold", probe["successThreshold"], "must be 1"))
    if c.get("lifecycle") and init and not sidecar:
        causes.append(forbidden_field(f"{field}.lifecycle", "may not be set for init containers without restartPolicy=Always"))
    else:
        _hooks(c.get("lifecycle") or {}, f"{field}.lifecycle", causes, grace_s)
    if c.get("restartPolicy") is not None:
        if not init:
            causes.append(forbidden_field(f"{field}.restartPolicy", "may not be set for non-init containers"))
        else:
            one_of(c["restartPolicy"], ("Always",), f"{field}.restartPolicy", causes)


def _hooks(lifecycle: Map, field: str, causes: Causes, grace_s: int) -> None:
    for name, hook in lifecycle.items():
        if not isinstance(hook, dict):
            continue
        _handler(hook, f"{field}.{name}", causes, handlers=("exec", "httpGet", "tcpSocket", "sleep"))
        seconds = (hook.get("sleep") or {}).get("seconds", 1)
        if hook.get("sleep") is not None and not 0 < seconds <= grace_s:
            why = f"must be greater than 0 and less than terminationGracePeriodSeconds ({grace_s})"
            causes.append(invalid_value(f"{field}.{name}.sleep", seconds, why))


def _probe_grace(probe: Map, name: str, field: str, causes: Causes) -> None:
    seconds, at = probe.get("terminationGracePeriodSeconds"), f"{field}.{name}.terminationGracePeriodSeconds"
    if seconds is None:
        return
    if name == "readinessProbe":
        causes.append(invalid_value(at, seconds, "must not be set for readinessProbes"))
    elif seconds <= 0:
        causes.append(invalid_value(at, seconds, "must be greater than 0"))


def ephemeral_container(c: Map, field: str, causes: Causes, *, volumes: Map) -> None:
    """Check an ephemeral container: no ports, probes, hooks or resources."""
    _common(c, field, causes, volumes=volumes, host_network=False)
    causes.extend(
        forbidden_field(f"{field}.{name}", "cannot be set for an Ephemeral Container")
        for name in ("ports", "resources", "resizePolicy", "restartPolicy", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle")
        if c.get(name)
    )
    for i, mount in enumerate(c.get("volumeMounts") or ()):
        subs = [name for name in ("subPath", "subPathExpr") if mount.get(name)]
        causes.extend(forbidden_field(f"{field}.volumeMounts[{i}].{name}", "cannot be set for an Ephemeral Container") for name in subs)


def _common(c: Map, field: str, causes: Causes, *, volumes: Map, host_network: bool) -> None:
    dns_label(c.get("name"), f"{field}.name", causes)
    if not c.get("image"):
        causes.append(required(f"{field}.image"))
    one_of(c.get("terminationMessagePolicy"), ("File", "FallbackToLogsOnError"), f"{field}.terminationMessagePolicy", causes)
    _ports(c.get("ports") or (), f"{field}.ports", causes, host_network=host_network)
    for i, variable in enumerate(c.get("env") or ()):
        _env(variable, f"{field}.env[{i}]", causes)
    for i, source in enumerate(c.get("envFrom") or ()):
        _env_from(source, f"{field}.envFrom", i, causes)
    _mounts(c, f"{field}.volumeMounts", causes, volumes)
    _devices(c.get("volumeDevices") or (), f"{field}.volumeDevices", causes, volumes)
    one_of(c.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never"), f"{field}.imagePullPolicy", causes)
    resources(c.get("resources") or {}, f"{field}.resources", causes)
    if c.get("securityContext"):
        container_security(c["securityContext"], f"{field}.securityContext", causes)


def _ports(ports: Any, field: str, causes: Causes, *, host_network: bool) -> None:
    names: set[str] = set()
    for i, port in enumerate(ports):
        at = f"{field}[{i}]"
        name = port.get("name")
        if name:
            wrong = port_name_error(name)
            if wrong:
                causes.append(invalid_value(f"{at}.name", name, wrong))
            elif name in names:
                causes.append(duplicate(f"{at}.name", name))
            names.add(name)
        number, host = port.get("containerPort"), port.get("hostPort")
        if not number:
            causes.append(required(f"{at}.containerPort"))
        else:
            port_number(number, f"{at}.containerPort", causes)
        if host:
            port_number(host, f"{at}.hostPort", causes)
            if host_network and host != number:
                causes.append(invalid_value(f"{at}.hostPort", host, "must match `containerPort` when `hostNetwork` is true"))
        one_of(port.get("protocol"), ("SCTP", "TCP", "UDP"), f"{at}.protocol", causes)


def _env(variable: Map, field: str, causes: Causes) -> None:
    name = variable.get("name")
    if not name:
        causes.append(required(f"{field}.name"))
    else:
        wrong = env_name_error(name)
        if wrong:
            causes.append(invalid_value(f"{field}.name", name, wrong))
    source = variable.get("valueFrom")
    if source is None:
        return
    at = f"{field}.valueFrom"
    given = [s for s in _ENV_SOURCES if source.get(s) is not None]
    if not given:
        causes.append(invalid_value(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"))
    elif variable.get("value"):
        causes.append(invalid_value(at, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        causes.append(invalid_value(at, "", "may not have more than one field specified at a time"))
    for kind in given:
        _env_source(kind, source[kind], f"{at}.{kind}", causes)


def _env_source(kind: str, source: Map, field: str, causes: Causes) -> None:
    if kind == "fieldRef":
        field_ref(source, IN_ENVIRONMENT, field, causes)
    elif kind == "resourceFieldRef":
        resource_ref(source, field, causes, named=False)
    else:
        if wrong := dns_subdomain_error(source.get("name") or ""):
            causes.append(invalid_value(f"{field}.name", source.get("name") or "", wrong))
        if not source.get("key"):
            causes.append(required(f"{field}.key"))
        elif wrong := config_key_error(source["key"]):
            causes.append(invalid_value(f"{field}.key", source["key"], wrong))


def _env_from(source: Map, field: str, number: int, causes: Causes) -> None:
    at, given = f"{field}[{number}]", [s for s in ("configMapRef", "secretRef") if source.get(s) is not None]
    if source.get("prefix") and (wrong := env_name_error(source["prefix"])):
        causes.append(invalid_value(f"{at}.prefix", source["prefix"], wrong))
    for kind in given:
        name = source[kind].get("name") or ""
        if not name:
            causes.append(required(f"{at}.{kind}.name"))
        elif wrong := dns_subdomain_error(name):
            causes.append(invalid_value(f"{at}.{kind}.name", name, wrong))
    if not given:
        causes.append(invalid_value(field, "", "must specify one of: `configMapRef` or `secretRef`"))
    elif len(given) > 1:
        causes.append(invalid_value(field, "", "may not have more than one field specified at a time"))


_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")


def _mounts(c: Map, field: str, causes: Causes, volumes: Map) -> None:
    """Check where volumes are mounted; Kubernetes does not say of which mount it speaks when a path or a propagation is wrong."""
    paths: set[str] = set()
    devices = {d.get("name") or "": d.get("devicePath") or "" for d in c.get("volumeDevices") or ()}
    for i, mount in enumerate(c.get("volumeMounts") or ()):
        at, name, path = f"{field}[{i}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            causes.append(required(f"{at}.name"))
        if name not in volumes:
            causes.append(not_found(f"{at}.name", name))
        if not path:
            causes.append(required(f"{at}.mountPath"))
        if path in paths:
            causes.append(invalid_value(f"{at}.mountPath", path, "must be unique"))
        paths.add(path)
        if name in devices:
            causes.append(invalid_value(f"{at}.name", name, "must not already exist in volumeDevices"))
        if path in devices.values():
            causes.append(invalid_value(f"{at}.mountPath", path, "must not already exist as a path in volumeDevices"))
        if mount.get("subPath"):
            local_path(mount["subPath"], f"{field}.subPath", causes)
        if mount.get("subPathExpr"):
            if mount.get("subPath"):
                causes.append(invalid_value(f"{at}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"))
            local_path(mount["subPathExpr"], f"{field}.subPathExpr", causes)
        _shared(mount, c, field, causes)


def _shared(mount: Map, c: Map, field: str, causes: Causes) -> None:
    propagation, recursive = mount.get("mountPropagation"), mount.get("recursiveReadOnly")
    one_of(propagation, _PROPAGATIONS, f"{field}.mountPropagation", causes, optional=True)
    if propagation == "Bidirectional" and not (c.get("securityContext") or {}).get("privileged"):
        why = "Bidirectional mount propagation is available only to privileged containers"
        causes.append(forbidden_field(f"{field}.mountPropagation", why))
    one_of(recursive, _RECURSIVE, f"{field}.recursiveReadOnly", causes, optional=True)
    if recursive in ("Enabled", "IfPossible"):
        at = f"{field}.recursiveReadOnly"
        if not mount.get("readOnly"):
            causes.append(forbidden_field(at, "may only be specified when readOnly is true"))
        if propagation not in (None, "None"):
            causes.append(forbidden_field(at, "may only be specified when mountPropagation is None or not specified"))


def _devices(devices: Any, field: str, causes: Causes, volumes: Map) -> None:
    paths: set[str] = set()
    names: set[str] = set()
    for i, device in enumerate(devices):
        at, name, path = f"{field}[{i}]", device.get("name") or "", device.get("devicePath") or ""
        if not name:
            causes.append(required(f"{at}.name"))
        elif name in names:
            causes.append(invalid_value(f"{at}.name", name, "must be unique"))
        names.add(name)
        if name not in volumes:
            causes.append(not_found(f"{at}.name", name))
        elif not any(volumes[name].get(kind) is not None for kind in ("persistentVolumeClaim", "ephemeral")):
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            causes.append(invalid_value(f"{at}.name", name, why))
        if not path:
            causes.append(required(f"{at}.devicePath"))
        if path in paths:
            causes.append(invalid_value(f"{at}.devicePath", path, "must be unique"))
        if ".." in path.split("/"):
            causes.append(invalid_value(f"{at}.devicePath", path, "can not contain backsteps ('..')"))
        else:
            paths.add(path)


_HEADER = re.compile(r"[-A-Za-z0-9]+")
_HEADER_RULE = (
    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is "
    "'[-A-Za-z0-9]+')"
)


def _probe(probe: Map, field: str, causes: Causes) -> None:
    _handler(probe, field, causes, handlers=_HANDLERS)
    not_negative(probe, _PROBE_NUMBERS, field, causes)


def _handler(action: Map, field: str, causes: Causes, *, handlers: tuple[str, ...]) -> None:
    given = [h for h in handlers if action.get(h) is not None]
    causes.extend(forbidden_field(f"{field}.{h}", "may not specify more than 1 handler type") for h in given[1:])
    if not given:
        causes.append(required(field, "must specify a handler type"))
        return
    kind, found = given[0], action[given[0]]
    at = f"{field}.{kind}"
    if kind == "exec" and not found.get("command"):
        causes.append(required(f"{at}.command"))
    elif kind == "httpGet":
        if not found.get("path"):
            causes.append(required(f"{at}.path"))
        port_or_name(found.get("port"), f"{at}.port", causes)
        one_of(found.get("scheme"), ("HTTP", "HTTPS"), f"{at}.scheme", causes)
        for header in found.get("httpHeaders") or ():
            if not _HEADER.fullmatch(header.get("name") or ""):
                causes.append(invalid_value(f"{at}.httpHeaders", header.get("name") or "", _HEADER_RULE))
    elif kind == "tcpSocket":
        port_or_name(found.get("port"), f"{at}.port", causes)
    elif kind == "grpc":
        port_number(found.get("port"), f"{at}.port", causes)


def resources(found: Map, field: str, causes: Causes) -> None:
    """Check requests and limits, and that no request is above its limit."""
    limits, requests = found.get("limits") or {}, found.get("requests") or {}
    for what, amounts in (("limits", limits), ("requests", requests)):
        for name, text in amounts.items():
            _amount(name, text, f"{field}.{what}[{name}]", causes)
    for name, text in requests.items():
        limit = limits.get(name)
        if limit is not None and limit != text and amount(text) > amount(limit):
            causes.append(invalid_value(f"{field}.requests", text, f"must be less than or equal to {name} limit of {limit}"))
    _never_overcommitted(limits, requests, field, causes)


def _never_overcommitted(limits: Map, requests: Map, field: str, causes: Causes) -> None:
    """Check what no node gives twice: huge pages and resources of device plug-ins are requested as they are limited."""
    for name, text in requests.items():
        if ("/" not in name or "kubernetes.io/" in name) and not name.startswith("hugepages-"):
            continue
        limit = limits.get(name)
        if limit is None:
            causes.append(required(f"{field}.limits", "Limit must be set for non overcommitable resources"))
        elif amount(text) < amount(limit):
            causes.append(invalid_value(f"{field}.requests", text, f"must be equal to {name} limit of {limit}"))
    pages = any(name.startswith("hugepages-") for name in (*limits, *requests))
    if pages and not any(name in found for found in (limits, requests) for name in ("cpu", "memory")):
        causes.append(forbidden_field(field, "HugePages require cpu or memory"))


def _amount(name: str, text: str, field: str, causes: Causes) -> None:
    container_resource(name, field, causes)
    value = amount(text)
    if value < 0:
        causes.append(invalid_value(field, text, NOT_NEGATIVE))
    elif "/" in name and value != value.to_integral_value():
        causes.append(Cause(field, "FieldValueInvalid", f'Invalid value: "{text}": must be an integer'))
    if name.startswith("hugepages-") and not _whole_pages(name, value):
        causes.append(invalid_value(field, text, f"{text} is not positive integer multiple of {name}"))


def _whole_pages(name: str, value: Decimal) -> bool:
    try:
        size = amount(name.removeprefix("hugepages-"))
    except QuantityError:
        return False
    return size > 0 and value % size == 0
