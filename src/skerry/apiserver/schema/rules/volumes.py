"""Rules of volumes: a name, and exactly one source with what it needs."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.rules.common import Causes, Map, config_key_error, dns_label, one_of
from skerry.apiserver.schema.rules.containers import local_path
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
        key = item.get("key")
        if not key:
            causes.append(required(f"{at}.key"))
        elif config_key_error(key):
            causes.append(invalid_value(f"{at}.key", key, config_key_error(key) or ""))
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
    for i, item in enumerate(source.get("items") or ()):
        _item_path(item, f"{field}.items[{i}]", causes)


def _projected(source: Map, field: str, causes: Causes) -> None:
    _mode(source.get("defaultMode"), f"{field}.defaultMode", causes)
    for i, part in enumerate(source.get("sources") or ()):
        at = f"{field}.sources[{i}]"
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


_SOURCES = {
    "hostPath": _host_path,
    "configMap": _config_map,
    "secret": _secret,
    "downwardAPI": _downward,
    "projected": _projected,
    "persistentVolumeClaim": _claim,
}
