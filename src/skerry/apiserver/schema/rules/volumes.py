"""Rules of volumes: a name, and exactly one source with what it needs. Source: pkg/apis/core/validation of Kubernetes 1.32. Pure."""

from __future__ import annotations

import re
from typing import Any

from skerry.apiserver.schema.rules.claims import claim_template
from skerry.apiserver.schema.rules.common import Causes, Map, amount, csi_driver_name, dns_label, duplicate, kept_path, local_path
from skerry.apiserver.schema.rules.sources import IN_VOLUMES, field_ref, resource_ref
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_subdomain_error

_ORDER = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi", "glusterfs", "flocker",
    "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc", "flexVolume", "configMap", "azureFile",
    "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk", "storageos", "projected", "scaleIO", "csi", "ephemeral",
)  # fmt: skip
"""In which Kubernetes looks at sources: the first one counts, the others are one too many."""
_CALLED = {"gcePersistentDisk": "persistentDisk"}
_NEEDED = {
    "gitRepo": ("repository",),
    "gcePersistentDisk": ("pdName",),
    "awsElasticBlockStore": ("volumeID",),
    "secret": ("secretName",),
    "nfs": ("server", "path"),
    "iscsi": ("targetPortal", "iqn"),
    "glusterfs": ("endpoints", "path"),
    "persistentVolumeClaim": ("claimName",),
    "rbd": ("monitors", "image"),
    "cinder": ("volumeID",),
    "cephfs": ("monitors",),
    "quobyte": ("registry", "volume"),
    "flexVolume": ("driver",),
    "configMap": ("name",),
    "azureFile": ("secretName", "shareName"),
    "vsphereVolume": ("volumePath",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "azureDisk": ("diskName", "diskURI"),
    "storageos": ("volumeName",),
    "scaleIO": ("gateway", "system", "volumeName"),
}
"""What a source does not work without."""
_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_ONE_TYPE = "may not specify more than 1 volume type"
MIN_TOKEN_S, MAX_TOKEN_S = 600, 1 << 32
_INITIATORS = {
    "iqn": re.compile(r".*iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)"),
    "eui": re.compile(r"eui.[A-Za-z0-9]{16}"),
    "naa": re.compile(r"naa.[A-Za-z0-9]{32}"),
}


def volumes(found: Any, field: str, causes: Causes) -> dict[str, Any]:
    """Check the volumes of a pod spec and return those that can be mounted, by name."""
    good: dict[str, Any] = {}
    for i, v in enumerate(found or ()):
        at, name = f"{field}[{i}]", v.get("name") or ""
        before = len(causes)
        _source(v, at, causes)
        dns_label(v.get("name"), f"{at}.name", causes)
        if name in good:
            causes.append(duplicate(f"{at}.name", name))
        elif len(causes) == before:
            good[name] = v
    return good


def _source(v: Map, field: str, causes: Causes) -> None:
    given = [s for s in v if s != "name" and v[s] is not None]
    if len(given) > 1:
        given.sort(key=lambda s: _ORDER.index(s) if s in _ORDER else len(_ORDER))
    if not given:
        causes.append(required(field, "must specify a volume type"))
        return
    source_error(given[0], v[given[0]], f"{field}.{_CALLED.get(given[0], given[0])}", causes)
    causes.extend(forbidden_field(f"{field}.{s}", _ONE_TYPE) for s in given[1:])


def source_error(kind: str, source: Map, field: str, causes: Causes) -> None:
    """Check one source, of a Pod's volume or of a PersistentVolume."""
    causes.extend(required(f"{field}.{n}") for n in _NEEDED.get(kind, ()) if not source.get(n))
    check = _SOURCES.get(kind)
    if check is not None:
        check(source, field, causes)


def _host_path(source: Map, field: str, causes: Causes) -> None:
    path, kind = source.get("path"), source.get("type")
    if not path:
        causes.append(required(f"{field}.path"))
        return
    if ".." in path.split("/"):
        causes.append(invalid_value(f"{field}.path", path, "must not contain '..'"))
    if kind is not None and kind not in _HOST_PATH_TYPES:
        causes.append(not_supported(f"{field}.type", kind, list(_HOST_PATH_TYPES)))


def _items(source: Map, field: str, causes: Causes) -> None:
    _mode(source.get("defaultMode"), f"{field}.defaultMode", causes)
    _keys(source, field, causes)


def _keys(source: Map, field: str, causes: Causes) -> None:
    for i, item in enumerate(source.get("items") or ()):
        at = f"{field}.items[{i}]"
        if not item.get("key"):
            causes.append(required(f"{at}.key"))
        _item_path(item, at, causes)


def _item_path(item: Map, field: str, causes: Causes) -> None:
    if not item.get("path"):
        causes.append(required(f"{field}.path"))
    else:
        kept_path(item["path"], f"{field}.path", causes)
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
    taken: set[str] = set()
    for i, part in enumerate(source.get("sources") or ()):
        at = f"{field}.sources[{i}]"
        for kind in ("secret", "configMap"):
            found = part.get(kind)
            if found is not None:
                if not found.get("name"):
                    causes.append(required(f"{at}.{kind}.name"))
                _keys(found, f"{at}.{kind}", causes)
                _once(found, found.get("name") or "", taken, field, causes)
        if part.get("downwardAPI") is not None:
            _downward_items(part["downwardAPI"], f"{at}.downwardAPI", causes)
            _once(part["downwardAPI"], None, taken, field, causes)
        if part.get("serviceAccountToken") is not None:
            _token(part["serviceAccountToken"], f"{at}.serviceAccountToken", field, causes)
        if sum(part[s] is not None for s in part) > 1:
            causes.append(forbidden_field(at, _ONE_TYPE))


def _once(found: Map, shown: str | None, taken: set[str], field: str, causes: Causes) -> None:
    """Check that no two items are written to one path; *shown* is whose they are."""
    for item in found.get("items") or ():
        path = item.get("path")
        if path and path in taken:
            causes.append(invalid_value(field, path if shown is None else shown, "conflicting duplicate paths"))
        taken.add(path or "")


def _token(token: Map, field: str, whole: str, causes: Causes) -> None:
    seconds = token.get("expirationSeconds", 3600)
    if seconds < MIN_TOKEN_S:
        causes.append(invalid_value(f"{field}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    elif seconds > MAX_TOKEN_S:
        causes.append(invalid_value(f"{field}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"))
    if not token.get("path"):
        causes.append(required(f"{whole}.path"))  # where Kubernetes looks for it
    else:
        kept_path(token["path"], f"{whole}.path", causes)


def _empty_dir(source: Map, field: str, causes: Causes) -> None:
    if source.get("sizeLimit") is not None and amount(source["sizeLimit"]) < 0:
        causes.append(forbidden_field(f"{field}.sizeLimit", "SizeLimit field must be a valid resource quantity"))


def _nfs(source: Map, field: str, causes: Causes) -> None:
    path = source.get("path") or ""
    if not path.startswith("/"):
        causes.append(invalid_value(f"{field}.path", path, "must be an absolute path"))


def _csi(source: Map, field: str, causes: Causes) -> None:
    csi_driver_name(source.get("driver") or "", f"{field}.driver", causes)
    secret = source.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        causes.append(required(f"{field}.nodePublishSecretRef.name"))
    elif secret is not None and (wrong := dns_subdomain_error(secret["name"])):
        causes.append(invalid_value(f"{field}.name", secret["name"], wrong))


def _git(source: Map, field: str, causes: Causes) -> None:
    local_path(source.get("directory") or "", f"{field}.directory", causes)


def _ephemeral(source: Map, field: str, causes: Causes) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        causes.append(required(f"{field}.volumeClaimTemplate"))
    else:
        claim_template(template, f"{field}.volumeClaimTemplate", causes)


def _iscsi(source: Map, field: str, causes: Causes) -> None:
    name = source.get("iqn") or ""
    known = _INITIATORS.get(name[:3])
    if name and known is None:
        causes.append(invalid_value(f"{field}.iqn", name, "must be valid format starting with iqn, eui, or naa"))
    elif known is not None and not known.fullmatch(name):
        causes.append(invalid_value(f"{field}.iqn", name, "must be valid format"))
    if not 0 <= (source.get("lun") or 0) <= 255:
        causes.append(invalid_value(f"{field}.lun", source["lun"], "must be between 0 and 255, inclusive"))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        causes.append(required(f"{field}.secretRef"))


_SOURCES = {
    "emptyDir": _empty_dir,
    "nfs": _nfs,
    "csi": _csi,
    "gitRepo": _git,
    "ephemeral": _ephemeral,
    "iscsi": _iscsi,
    "hostPath": _host_path,
    "configMap": _items,
    "secret": _items,
    "downwardAPI": _downward,
    "projected": _projected,
}
