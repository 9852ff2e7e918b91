"""The Pod Security Standards of Kubernetes 1.32: what `baseline` and `restricted` forbid, check by check. Pure.

Source: k8s.io/pod-security-admission/policy, for the wording as well. A check returns None, or (what is forbidden, where).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"
LEVELS = (PRIVILEGED, BASELINE, RESTRICTED)
Spec = Mapping[str, Any]
Refusal = tuple[str, str]
Check = Callable[[Mapping[str, Any], Spec], "Refusal | None"]

_DEFAULT_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
        "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip
_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    )
)  # fmt: skip
_VOLUMES = frozenset(
    ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret", "name")
)
_SELINUX_TYPES = frozenset(("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"))
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def refusals(level: str, metadata: Mapping[str, Any], spec: Spec) -> list[Refusal]:
    """Return everything that *level* forbids about a Pod, in the order in which Kubernetes reports it."""
    checks = {PRIVILEGED: (), BASELINE: (*_BASELINE, *_BASELINE_ONLY), RESTRICTED: (*_BASELINE, *_RESTRICTED)}[level]
    ordered = sorted(checks, key=lambda c: (c in _RESTRICTED, c.__name__.lstrip("_")))
    return [found for check in ordered if (found := check(metadata, spec)) is not None]


def worded(found: Sequence[Refusal]) -> str:
    return ", ".join(f"{what} ({where})" if where else what for what, where in found)


def _containers(spec: Spec) -> Iterator[Mapping[str, Any]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def _security(of: Mapping[str, Any]) -> Mapping[str, Any]:
    return of.get("securityContext") or {}


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{n}"' for n in names)


def _named(names: Sequence[str], what: str = "container") -> str:
    return f"{what}{'s' if len(names) > 1 else ''} {_quoted(names)}"


def _setters(pod: bool, names: Sequence[str], *, word: str = "and") -> str:
    parts = (["pod"] if pod else []) + ([_named(names)] if names else [])
    return f" {word} ".join(parts)


def _is_windows(spec: Spec) -> bool:
    return bool((spec.get("os") or {}).get("name") == "windows")


def _appArmorProfile(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802 - named as in Kubernetes
    def wrong(of: Mapping[str, Any]) -> bool:
        return (_security(of).get("appArmorProfile") or {}).get("type") not in (None, "", "RuntimeDefault", "Localhost")

    pod, names = wrong(spec), [c["name"] for c in _containers(spec) if wrong(c)]
    noted = [
        f'annotation "{k}"="{v}"'
        for k, v in sorted((metadata.get("annotations") or {}).items())
        if k.startswith(_APPARMOR) and v not in ("", "runtime/default") and not v.startswith("localhost/")
    ]
    where = []
    if pod or names:
        where.append(f'{_setters(pod, names)} must not set AppArmor profile type to "Unconfined"')
    if not where and not noted:
        return None
    return "forbidden AppArmor profiles" if len(where) + len(noted) > 1 else "forbidden AppArmor profile", ", ".join(where + noted)


def _capabilities(spec: Spec, allowed: frozenset[str]) -> tuple[list[str], list[str]]:
    names, found = [], set()
    for container in _containers(spec):
        more = [c for c in (_security(container).get("capabilities") or {}).get("add") or () if c not in allowed]
        if more:
            names.append(container["name"])
            found.update(more)
    return names, sorted(found)


def _capabilities_baseline(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:
    names, found = _capabilities(spec, _DEFAULT_CAPABILITIES)
    if not names:
        return None
    return "non-default capabilities", f"{_named(names)} must not include {_quoted(found)} in securityContext.capabilities.add"


def _hostNamespaces(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    found = [f"{n}=true" for n in ("hostNetwork", "hostPID", "hostIPC") if spec.get(n)]
    return ("host namespaces", ", ".join(found)) if found else None


def _hostPathVolumes(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    names = [v["name"] for v in spec.get("volumes") or () if v.get("hostPath") is not None]
    return ("hostPath volumes", _named(names, "volume")) if names else None


def _hostPorts(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    names, ports = [], set()
    for container in _containers(spec):
        found = [p["hostPort"] for p in container.get("ports") or () if p.get("hostPort")]
        if found:
            names.append(container["name"])
            ports.update(found)
    if not names:
        return None
    shown = ", ".join(str(p) for p in sorted(ports))
    return "hostPort", f"{_named(names)} {'use' if len(names) > 1 else 'uses'} hostPort{'s' if len(ports) > 1 else ''} {shown}"


def _privileged(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:
    names = [c["name"] for c in _containers(spec) if _security(c).get("privileged")]
    return ("privileged", f"{_named(names)} must not set securityContext.privileged=true") if names else None


def _procMount(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    found = {c["name"]: _security(c)["procMount"] for c in _containers(spec) if _security(c).get("procMount") not in (None, "Default")}
    if not found:
        return None
    return "procMount", f"{_named(list(found))} must not set securityContext.procMount to {_quoted(sorted(set(found.values())))}"


def _seLinuxOptions(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    types: set[str] = set()
    others: set[str] = set()

    def wrong(of: Mapping[str, Any]) -> bool:
        options = _security(of).get("seLinuxOptions") or {}
        bad = [options["type"]] if options.get("type", "") not in _SELINUX_TYPES else []
        types.update(bad)
        more = [k for k in ("user", "role") if options.get(k)]
        others.update(more)
        return bool(bad or more)

    pod, names = wrong(spec), [c["name"] for c in _containers(spec) if wrong(c)]
    if not pod and not names:
        return None
    parts = [f"type{'s' if len(types) > 1 else ''} {_quoted(sorted(types))}"] if types else []
    parts += [f"{k} may not be set" for k in ("user", "role") if k in others]
    return "seLinuxOptions", f"{_setters(pod, names)} set forbidden securityContext.seLinuxOptions: {'; '.join(parts)}"


def _profile(of: Mapping[str, Any]) -> str:
    return str((_security(of).get("seccompProfile") or {}).get("type") or "")


def _seccompProfile_baseline(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    bad = {"Unconfined"}
    pod, names = _profile(spec) in bad, [c["name"] for c in _containers(spec) if _profile(c) in bad]
    if not pod and not names:
        return None
    return "seccompProfile", f'{_setters(pod, names)} must not set securityContext.seccompProfile.type to "Unconfined"'


def _sysctls(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:
    names = [s.get("name", "") for s in _security(spec).get("sysctls") or () if s.get("name") not in _SYSCTLS]
    return ("forbidden sysctls", ", ".join(names)) if names else None


def _windowsHostProcess(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    def wrong(of: Mapping[str, Any]) -> bool:
        return bool((_security(of).get("windowsOptions") or {}).get("hostProcess"))

    pod, names = wrong(spec), [c["name"] for c in _containers(spec) if wrong(c)]
    if not pod and not names:
        return None
    return "hostProcess", f"{_setters(pod, names)} must not set securityContext.windowsOptions.hostProcess=true"


def _allowPrivilegeEscalation(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    names = [c["name"] for c in _containers(spec) if _security(c).get("allowPrivilegeEscalation") is not False]
    if not names or _is_windows(spec):
        return None
    return "allowPrivilegeEscalation != false", f"{_named(names)} must set securityContext.allowPrivilegeEscalation=false"


def _capabilities_restricted(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:
    if _is_windows(spec):
        return None
    keeps = [c["name"] for c in _containers(spec) if "ALL" not in ((_security(c).get("capabilities") or {}).get("drop") or ())]
    names, found = _capabilities(spec, frozenset(("NET_BIND_SERVICE",)))
    where = [f'{_named(keeps)} must set securityContext.capabilities.drop=["ALL"]'] if keeps else []
    if names:
        where.append(f"{_named(names)} must not include {_quoted(found)} in securityContext.capabilities.add")
    return ("unrestricted capabilities", "; ".join(where)) if where else None


def _restrictedVolumes(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    found = {v["name"]: next((k for k in v if k not in _VOLUMES), "unknown") for v in spec.get("volumes") or () if set(v) - _VOLUMES}
    if not found:
        return None
    types = sorted(set(found.values()))
    uses = f"{'use' if len(found) > 1 else 'uses'} restricted volume type{'s' if len(types) > 1 else ''}"
    return "restricted volume types", f"{_named(list(found), 'volume')} {uses} {_quoted(types)}"


def _runAsNonRoot(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    pod = _security(spec).get("runAsNonRoot")
    wrong = [c["name"] for c in _containers(spec) if _security(c).get("runAsNonRoot") is False]
    unset = [c["name"] for c in _containers(spec) if _security(c).get("runAsNonRoot") is None]
    forbids = pod is False and bool(unset)
    if forbids or wrong:
        return "runAsNonRoot != true", f"{_setters(forbids, wrong)} must not set securityContext.runAsNonRoot=false"
    if pod is not True and unset:
        return "runAsNonRoot != true", f"pod or {_named(unset)} must set securityContext.runAsNonRoot=true"
    return None


def _runAsUser(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    pod = _security(spec).get("runAsUser") == 0
    names = [c["name"] for c in _containers(spec) if _security(c).get("runAsUser") == 0]
    return ("runAsUser=0", f"{_setters(pod, names)} must not set runAsUser=0") if pod or names else None


def _seccompProfile_restricted(metadata: Mapping[str, Any], spec: Spec) -> Refusal | None:  # noqa: N802
    if _is_windows(spec):
        return None
    good = ("RuntimeDefault", "Localhost")
    pod, where = _profile(spec), []
    wrong = [c["name"] for c in _containers(spec) if _profile(c) not in ("", *good)]
    unset = [c["name"] for c in _containers(spec) if not _profile(c)]
    if (pod not in ("", *good)) or wrong:
        where.append(f'{_setters(pod not in ("", *good), wrong)} must not set securityContext.seccompProfile.type to "Unconfined"')
    if not pod and unset:
        where.append(f'pod or {_named(unset)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"')
    return ("seccompProfile", "; ".join(where)) if where else None


_BASELINE: tuple[Check, ...] = (
    _appArmorProfile, _hostNamespaces, _hostPathVolumes, _hostPorts, _privileged, _procMount, _seLinuxOptions, _sysctls,
    _windowsHostProcess,
)  # fmt: skip
_BASELINE_ONLY: tuple[Check, ...] = (_capabilities_baseline, _seccompProfile_baseline)
"""Checks that a stricter one of the restricted level stands in for."""
_RESTRICTED: tuple[Check, ...] = (
    _allowPrivilegeEscalation, _capabilities_restricted, _restrictedVolumes, _runAsNonRoot, _runAsUser, _seccompProfile_restricted,
)  # fmt: skip
