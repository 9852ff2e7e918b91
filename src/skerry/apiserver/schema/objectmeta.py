"""Rules of `metadata`, the same for every kind; what differs per kind is how an object may be called.

Source: k8s.io/apimachinery/pkg/api/validation/objectmeta.go. Pure; the registry has generated names before it asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from skerry.model.errors import MAX_CAUSES, Cause, forbidden_field, invalid_value, required
from skerry.model.names import dns_label_error, dns_subdomain_error, label_value_error, qualified_name_error

NameRule = Callable[[str], str | None]

MAX_ANNOTATIONS_BYTES = 256 * 1024
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

_key_error = lru_cache(maxsize=4096)(qualified_name_error)
_label_value_error = lru_cache(maxsize=4096)(label_value_error)


def dns_1035_error(text: str) -> str | None:
    """Return what is wrong with *text* as an RFC 1035 label (Services), or None."""
    if len(text) > 63:
        return "must be no more than 63 characters"
    if not _DNS_1035.fullmatch(text):
        return (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
            "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    return None


def path_segment_error(text: str) -> str | None:
    """Return what is wrong with *text* as one segment of a URL path (RBAC), or None."""
    if text in (".", ".."):
        return f"may not be '{text}'"
    for bad in ("/", "%"):
        if bad in text:
            return f"may not contain '{bad}'"
    return None


def _cron_job_error(text: str) -> str | None:
    return "must be no more than 52 characters" if len(text) > 52 else dns_subdomain_error(text)


_RBAC = "rbac.authorization.k8s.io"
_NAME_RULES: dict[tuple[str, str], NameRule] = {
    ("", "Namespace"): dns_label_error,
    ("", "Service"): dns_1035_error,
    ("batch", "CronJob"): _cron_job_error,
    (_RBAC, "Role"): path_segment_error,
    (_RBAC, "RoleBinding"): path_segment_error,
    (_RBAC, "ClusterRole"): path_segment_error,
    (_RBAC, "ClusterRoleBinding"): path_segment_error,
    ("apiregistration.k8s.io", "APIService"): path_segment_error,
    ("certificates.k8s.io", "CertificateSigningRequest"): path_segment_error,
    ("", "Event"): path_segment_error,
    ("events.k8s.io", "Event"): path_segment_error,
    ("apps", "StatefulSet"): dns_label_error,
}


def name_rule(group: str, kind: str) -> NameRule:
    """Return how objects of a kind may be called; a DNS subdomain where nothing else is said."""
    return _NAME_RULES.get((group, kind), dns_subdomain_error)


def validate_metadata(meta: Mapping[str, Any], rule: NameRule | None, causes: list[Cause], *, field: str = "metadata") -> None:
    """Append what is wrong with *meta* by itself; without a *rule* the name, which an update cannot change, is not judged again."""
    if rule is not None:
        _name(meta, rule, causes, field)
    validate_labels(meta.get("labels"), causes, f"{field}.labels")
    annotations = meta.get("annotations")
    if annotations:
        validate_annotations(annotations, causes, f"{field}.annotations")
    if meta.get("ownerReferences"):
        _owners(meta["ownerReferences"], causes, f"{field}.ownerReferences")
    if meta.get("finalizers"):
        _finalizers(meta["finalizers"], causes, f"{field}.finalizers")
    generation = meta.get("generation")
    if generation and generation < 0:
        causes.append(invalid_value(f"{field}.generation", generation, "must be greater than or equal to 0"))


def _name(meta: Mapping[str, Any], rule: NameRule, causes: list[Cause], field: str) -> None:
    prefix = meta.get("generateName")
    if prefix:
        wrong = rule(f"{prefix.rstrip('-') or prefix}")
        if wrong:
            causes.append(invalid_value(f"{field}.generateName", prefix, wrong))
    name = meta.get("name")
    if not name:
        causes.append(required(f"{field}.name", "name or generateName is required"))
        return
    wrong = rule(name)
    if wrong:
        causes.append(invalid_value(f"{field}.name", name, wrong))


def validate_labels(labels: Mapping[str, str] | None, causes: list[Cause], field: str) -> None:
    """Append what is wrong with a map of labels."""
    for key, value in (labels or {}).items():
        if len(causes) > MAX_CAUSES:
            return
        wrong = _key_error(key)
        if wrong:
            causes.append(invalid_value(field, key, wrong))
        wrong = _label_value_error(value)
        if wrong:
            causes.append(invalid_value(field, value, wrong))


def validate_annotations(annotations: Mapping[str, str], causes: list[Cause], field: str) -> None:
    """Append what is wrong with a map of annotations: the keys, and 256 KiB for everything together."""
    total = 0
    for key, value in annotations.items():
        wrong = _key_error(key) and _key_error(key.lower())
        if wrong:
            causes.append(invalid_value(field, key, wrong))
        total += len(key) + len(value) if value.isascii() else len(key) + len(value.encode())
    if total > MAX_ANNOTATIONS_BYTES:
        causes.append(Cause(field, "FieldValueTooLong", f"Too long: may not be more than {MAX_ANNOTATIONS_BYTES} bytes"))


def _owners(owners: list[dict[str, Any]], causes: list[Cause], field: str) -> None:
    controllers = []
    for owner in owners:
        version = owner.get("apiVersion") or ""
        if not version or version.endswith("/"):
            causes.append(invalid_value(f"{field}.apiVersion", version, "version must not be empty"))
        causes.extend(invalid_value(f"{field}.{f}", "", f"{f} must not be empty") for f in ("kind", "name", "uid") if not owner.get(f))
        if owner.get("kind") == "Event" and version in ("v1", "events.k8s.io/v1"):
            causes.append(invalid_value(field, owner, f"{version}, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            controllers.append(owner.get("name"))
    if len(controllers) > 1:
        why = f'Only one reference can have Controller set to true. Found "true" in references for {controllers[0]} and {controllers[1]}'
        causes.append(invalid_value(field, f"{len(owners)} references", why))


STANDARD_FINALIZERS = ("foregroundDeletion", "kubernetes", "orphan")


def validate_standard_finalizers(finalizers: list[str], causes: list[Cause], field: str = "metadata.finalizers") -> None:
    """Append what is wrong with the finalizers of a built-in kind: each has a domain, or is Kubernetes' own."""
    for i, finalizer in enumerate(finalizers):
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(invalid_value(f"{field}[{i}]", finalizer, why))


def _finalizers(finalizers: list[str], causes: list[Cause], field: str) -> None:
    for finalizer in finalizers:
        wrong = _key_error(finalizer)
        if wrong:
            causes.append(invalid_value(field, finalizer, wrong))
    if "foregroundDeletion" in finalizers and "orphan" in finalizers:
        causes.append(invalid_value(field, "[orphan foregroundDeletion]", "finalizer orphan and foregroundDeletion cannot be both set"))


def _shown(value: Any) -> str:
    """Return a value as Kubernetes shows it here: times as Go prints them."""
    if value is None:
        return '"null"'
    if isinstance(value, str):
        return f"{value[:10]} {value[11:19]} +0000 UTC" if _UTC.fullmatch(value) else f'"{value}"'
    return str(value)


def validate_metadata_update(new: Mapping[str, Any], old: Mapping[str, Any], causes: list[Cause], *, field: str = "metadata") -> None:
    """Append what an update may not change; the registry has filled in system fields that the body left out."""
    changed = [name for name in _IMMUTABLE if new.get(name) != old.get(name)]
    causes += [Cause(f"{field}.{n}", "FieldValueInvalid", f"Invalid value: {_shown(new.get(n))}: field is immutable") for n in changed]
    if (new.get("generation") or 0) < (old.get("generation") or 0):
        causes.append(invalid_value(f"{field}.generation", new.get("generation") or 0, "must not be decremented"))
    if old.get("deletionTimestamp"):
        added = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if added:
            listed = ", ".join(f'"{f}"' for f in added)
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
            causes.append(forbidden_field(f"{field}.finalizers", why))
