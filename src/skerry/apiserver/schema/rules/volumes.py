"""Rules of volumes: a name, and exactly one source with what it needs."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.rules.common import Causes, Map, amount, dns_label, local_path, one_of
from skerry.apiserver.schema.rules.sources import IN_VOLUMES, field_ref, resource_ref
from skerry.model.errors import forbidden_field, invalid_value, required

_HOST_PATH_TYPES = ("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")


def volume(v: Map, field: str, causes: Causes) -> None:
    """Check one volume of a pod spec."""
    dns_label(v.get("name"), f"{field}.name", causes)
    sources = [s for s in v if s != "name" and v[s] is not None]
    if not sources:
        causes.append(required(field, "must specify a volume type"))
        return
    causes.extend(forbidden_field(f"{field}.{s}", "may not specify more than 1 volume type") for s in sources[1:])
    kind = sources[0]
    check = _SOURCES.get(kind)
    if check is not None:
        check(v[kind], f"{field}.{kind}", causes)


def source_error(kind: str, source: Map, field: str, causes: Causes) -> None:
    """Check the source of a PersistentVolume that Pods can have, too."""
    _SOURCES[kind](source, field, causes)


def _host_path(source: Map, field: str, causes: Causes) -> None:
    path = source.get("path")
    if not path:
        causes.append(required(f"{field}.path"))
    elif ".." in path.split("/"):
        causes.append(invalid_value(f"{field}.path", path, "must not contain '..'"))
    one_of(source.get("type"), _HOST_PATH_TYPES[1:], f"{field}.type", causes, optional=True)


def _config_map(source: Map, field: str, causes: Causes) -> None:
    if not source.get("name"):
        causes.append(required(f"{field}.name"))
    _items(source, field, causes)


def _secret(source: Map, field: str, causes: Causes) -> None:
    if not source.get("secretName"):
        causes.append(required(f"{field}.secretName"))
    _items(source, field, causes)


def _items(source: Map, field: str, causes: Causes) -> None:
    _mode(source.get("defaultMode"), f"{field}.defaultMode", causes)
    for i, item in enumerate(source.get("items") or ()):
        at = f"{field}.items[{i}]"
        if not item.get("key"):
            causes.append(required(f"{at}.key"))
        _item_path(item, at, causes)


def _item_path(item: Map, field: str, causes: Causes) -> None:
    if not item.get("path"):
        causes.append(required(f"{field}.path"))
    else:
        local_path(item["path"], f"{field}.path", causes)
    _mode(item.get("mode"), f"{field}.mode", causes)


def _mode(mode: Any, field: str, causes: Causes) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        causes.append(invalid_value(field, mode, "must be a number between 0 and 0777 (octal), both inclusive"))


def _downward(source: Map, field: str, causes: Causes) -> None:
    _mode(source.get("defaultMode"), f"{field}.defaultMode", causes)
    _downward_items(source, field, causes)


def _downward_items(source: Map, field: str, causes: Causes) -> None:
    for item in source.get("items") or ():
        _item_path(item, field, causes)
        of_field, of_resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if of_field is not None:
            field_ref(of_field, IN_VOLUMES, f"{field}.fieldRef", causes)
            if of_resource is not None:
                causes.append(invalid_value(field, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
        elif of_resource is not None:
            resource_ref(of_resource, f"{field}.resourceFieldRef", causes, named=True)
        else:
            causes.append(required(field, "one of fieldRef and resourceFieldRef is required"))


def _projected(source: Map, field: str, causes: Causes) -> None:
    _mode(source.get("defaultMode"), f"{field}.defaultMode", causes)
    for i, part in enumerate(source.get("sources") or ()):
        at = f"{field}.sources[{i}]"
        given = [s for s in part if part[s] is not None]
        causes.extend(forbidden_field(f"{at}.{s}", "may not specify more than 1 volume type") for s in given[1:])
        if part.get("downwardAPI") is not None:
            _downward_items(part["downwardAPI"], f"{at}.downwardAPI", causes)
        for kind in ("secret", "configMap"):
            if part.get(kind) is not None and not part[kind].get("name"):
                causes.append(required(f"{at}.{kind}.name"))
        token = part.get("serviceAccountToken")
        if token is not None:
            if not token.get("path"):
                causes.append(required(f"{at}.serviceAccountToken.path"))
            if token.get("expirationSeconds", 3600) < 600:
                why = "may not specify a duration less than 10 minutes"
                causes.append(invalid_value(f"{at}.serviceAccountToken.expirationSeconds", token["expirationSeconds"], why))


def _claim(source: Map, field: str, causes: Causes) -> None:
    if not source.get("claimName"):
        causes.append(required(f"{field}.claimName"))


def _empty_dir(source: Map, field: str, causes: Causes) -> None:
    if source.get("sizeLimit") is not None and amount(source["sizeLimit"]) < 0:
        causes.append(forbidden_field(f"{field}.sizeLimit", "SizeLimit field must be a valid resource quantity"))


def _nfs(source: Map, field: str, causes: Causes) -> None:
    causes.extend(required(f"{field}.{n}") for n in ("server", "path") if not source.get(n))
    if source.get("path") and not source["path"].startswith("/"):
        causes.append(invalid_value(f"{field}.path", source["path"], "must be an absolute path"))


def _csi(source: Map, field: str, causes: Causes) -> None:
    if not source.get("driver"):
        causes.append(required(f"{field}.driver"))


def _git(source: Map, field: str, causes: Causes) -> None:
    if not source.get("repository"):
        causes.append(required(f"{field}.repository"))


def _ephemeral(source: Map, field: str, causes: Causes) -> None:
    if source.get("volumeClaimTemplate") is None:
        causes.append(required(f"{field}.volumeClaimTemplate"))


def _iscsi(source: Map, field: str, causes: Causes) -> None:
    causes.extend(required(f"{field}.{n}") for n in ("targetPortal", "iqn") if not source.get(n))


_SOURCES = {
    "emptyDir": _empty_dir,
    "nfs": _nfs,
    "csi": _csi,
    "gitRepo": _git,
    "ephemeral": _ephemeral,
    "iscsi": _iscsi,
    "hostPath": _host_path,
    "configMap": _config_map,
    "secret": _secret,
    "downwardAPI": _downward,
    "projected": _projected,
    "persistentVolumeClaim": _claim,
}
