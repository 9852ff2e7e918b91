"""Rules of whom a Pod and its containers run as, and of its DNS. Source: pkg/apis/core/validation of Kubernetes 1.32. Pure."""

from __future__ import annotations

import re
from typing import Any

from skerry.apiserver.schema.rules.common import Causes, Map, duplicate, go_invalid, ip_address, local_path, one_of
from skerry.model.errors import invalid_value, not_supported, required
from skerry.model.names import dns_subdomain_error

MAX_ID = 2**31 - 1
MAX_NAMESERVERS, MAX_SEARCHES, MAX_SEARCH_CHARACTERS = 3, 32, 2048
_ID_RANGE = f"must be between 0 and {MAX_ID}, inclusive"
_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?")
_SYSCTL_RULE = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")


def pod_security(context: Map, spec: Map, field: str, causes: Causes) -> None:
    """Check the securityContext of a Pod."""
    if not context:
        if spec.get("hostPID") and spec.get("shareProcessNamespace"):
            _shared(field, causes)
        return
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        _shared(field, causes)
    _ids(context, ("fsGroup", "runAsUser", "runAsGroup"), field, causes)
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= MAX_ID:
            causes.append(invalid_value(f"{field}.supplementalGroups[{i}]", group, _ID_RANGE))
    _sysctls(context.get("sysctls") or (), f"{field}.sysctls", causes)
    one_of(context.get("fsGroupChangePolicy"), ("Always", "OnRootMismatch"), f"{field}.fsGroupChangePolicy", causes, optional=True)
    one_of(context.get("supplementalGroupsPolicy"), ("Merge", "Strict"), f"{field}.supplementalGroupsPolicy", causes, optional=True)
    _profiles(context, field, causes)


def _shared(field: str, causes: Causes) -> None:
    why = "ShareProcessNamespace and HostPID cannot both be enabled"
    causes.append(invalid_value(f"{field}.shareProcessNamespace", True, why))


def container_security(context: Map, field: str, causes: Causes) -> None:
    """Check the securityContext of a container."""
    _ids(context, ("runAsUser", "runAsGroup"), field, causes)
    one_of(context.get("procMount"), ("Default", "Unmasked"), f"{field}.procMount", causes, optional=True)
    if context.get("allowPrivilegeEscalation") is False:
        added = (context.get("capabilities") or {}).get("add") or ()
        for holds, what in (
            (context.get("privileged"), "`privileged` to true"),
            ("CAP_SYS_ADMIN" in added, "`capabilities.Add` CAP_SYS_ADMIN"),
        ):
            if holds:
                why = f"cannot set `allowPrivilegeEscalation` to false and {what}"
                causes.append(go_invalid(field, "core.SecurityContext{...}", why))
    _profiles(context, field, causes)


def _ids(context: Map, names: tuple[str, ...], field: str, causes: Causes) -> None:
    for name in names:
        found = context.get(name)
        if found is not None and not 0 <= found <= MAX_ID:
            causes.append(invalid_value(f"{field}.{name}", found, _ID_RANGE))


def _sysctls(sysctls: Any, field: str, causes: Causes) -> None:
    seen: set[str] = set()
    for i, sysctl in enumerate(sysctls):
        name = sysctl.get("name") or ""
        if not name:
            causes.append(required(f"{field}[{i}].name"))
        elif len(name) > 253 or not _SYSCTL.fullmatch(name):
            causes.append(invalid_value(f"{field}[{i}].name", name, _SYSCTL_RULE))
        elif name in seen:
            causes.append(duplicate(f"{field}[{i}].name", name))
        seen.add(name)


def _profiles(context: Map, field: str, causes: Causes) -> None:
    for name, called in (("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")):
        profile = context.get(name)
        if profile is None:
            continue
        at, kind, local = f"{field}.{name}", profile.get("type") or "", profile.get("localhostProfile")
        if kind == "Localhost":
            if not local:
                causes.append(required(f"{at}.localhostProfile", f"must be set when {called} type is Localhost"))
            elif called == "seccomp":
                local_path(local, f"{at}.localhostProfile", causes)
        elif local is not None:
            why = f"can only be set when {called} type is Localhost"
            causes.append(invalid_value(f"{at}.localhostProfile", local, why))
        if not kind:
            causes.append(required(f"{at}.type", f"type is required when {name} is set"))
        elif kind not in _PROFILES:
            causes.append(not_supported(f"{at}.type", kind, list(_PROFILES)))


def dns(spec: Map, field: str, causes: Causes) -> None:
    """Check dnsConfig, which the policy None needs."""
    config, at = spec.get("dnsConfig"), f"{field}.dnsConfig"
    if spec.get("dnsPolicy") == "None":
        if config is None:
            causes.append(required(at, "must provide `dnsConfig` when `dnsPolicy` is None"))
        elif not config.get("nameservers"):
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            causes.append(required(f"{at}.nameservers", why))
    if config:
        _nameservers(config.get("nameservers") or [], f"{at}.nameservers", causes)
        _searches(config.get("searches") or [], f"{at}.searches", causes)
        for i, option in enumerate(config.get("options") or ()):
            if not option.get("name"):
                causes.append(required(f"{at}.options[{i}]", "must not be empty"))


def _nameservers(addresses: list[str], field: str, causes: Causes) -> None:
    if len(addresses) > MAX_NAMESERVERS:
        causes.append(go_invalid(field, _strings(addresses), f"must not have more than {MAX_NAMESERVERS} nameservers"))
    for i, address in enumerate(addresses):
        ip_address(address, f"{field}[{i}]", causes)


def _searches(names: list[str], field: str, causes: Causes) -> None:
    if len(names) > MAX_SEARCHES:
        causes.append(go_invalid(field, _strings(names), f"must not have more than {MAX_SEARCHES} search paths"))
    if len(" ".join(names)) > MAX_SEARCH_CHARACTERS:
        why = f"must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        causes.append(go_invalid(field, _strings(names), why))
    for i, name in enumerate(names):
        wrong = dns_subdomain_error(name.removesuffix(".")) if name != "." else None
        if wrong:
            causes.append(invalid_value(f"{field}[{i}]", name, wrong))


def _strings(values: list[str]) -> str:
    return "[]string{" + ", ".join(f'"{v}"' for v in values) + "}"
