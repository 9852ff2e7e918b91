"""Rules of CustomResourceDefinition: names, versions, columns, and schemas that are structural and that we can carry out.

Source: apiextensions-apiserver/pkg/apis/apiextensions/validation and /pkg/apiserver/schema of Kubernetes 1.32.
"""

from __future__ import annotations

from skerry.apiserver.schema.objectmeta import dns_1035_error
from skerry.apiserver.schema.rules.common import IMMUTABLE, Causes, Map, duplicate, go_invalid, one_of
from skerry.apiserver.schema.rules.crd_budget import within_budget
from skerry.apiserver.schema.rules.crd_fields import selectable_fields
from skerry.apiserver.schema.rules.crd_schema import crd_schema
from skerry.apiserver.schema.table.jsonpath import JsonPath, JsonPathError
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_label_error, dns_subdomain_error
from skerry.model.objects import Object

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_PRESERVE = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
_PROTECTED = ("k8s.io", "kubernetes.io")
_APPROVAL = "api-approved.kubernetes.io"


def custom_resource_definition(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    meta = obj.get("metadata") or {}
    wanted = f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}"
    if meta.get("name") and meta["name"] != wanted:
        causes.append(invalid_value("metadata.name", meta["name"], 'must be spec.names.plural+"."+spec.group'))
    _group(spec.get("group") or "", causes)
    one_of(spec.get("scope"), ("Cluster", "Namespaced"), "spec.scope", causes)
    if within_budget(spec, causes):
        _versions(spec, causes)
    _names(spec.get("names") or {}, causes)
    _conversion(spec.get("conversion") or {}, causes)
    if spec.get("preserveUnknownFields") and not (old or {}).get("spec", {}).get("preserveUnknownFields"):
        causes.append(invalid_value("spec.preserveUnknownFields", True, _PRESERVE))
    _stored_versions(obj, causes)
    _protected(spec.get("group") or "", meta, causes)
    if old is not None:
        _update(spec, old["spec"], causes)


def _group(group: str, causes: Causes) -> None:
    if not group:
        causes.append(required("spec.group"))
    elif wrong := dns_subdomain_error(group):
        causes.append(invalid_value("spec.group", group, wrong))
    elif "." not in group:
        causes.append(invalid_value("spec.group", group, "should be a domain with at least one dot"))


def _protected(group: str, meta: Map, causes: Causes) -> None:
    if group not in _PROTECTED and not group.endswith(tuple(f".{p}" for p in _PROTECTED)):
        return
    approval = (meta.get("annotations") or {}).get(_APPROVAL)
    if approval and not approval.startswith(("unapproved", "https://")):
        why = (
            f'protected groups must have approval annotation "{_APPROVAL}" with either a URL or a reason starting with "unapproved", '
            "see https://github.com/kubernetes/enhancements/pull/1111"
        )
        causes.append(invalid_value(f"metadata.annotations[{_APPROVAL}]", approval, why))
    elif not approval:
        why = f'protected groups must have approval annotation "{_APPROVAL}", see https://github.com/kubernetes/enhancements/pull/1111'
        causes.append(required(f"metadata.annotations[{_APPROVAL}]", why))


def _names(names: Map, causes: Causes) -> None:
    for field in ("plural", "singular"):
        value = names.get(field)
        if not value:
            if field == "plural":
                causes.append(required("spec.names.plural"))
        elif wrong := dns_1035_error(value):
            causes.append(invalid_value(f"spec.names.{field}", value, wrong))
    for field in ("kind", "listKind"):
        value = names.get(field)
        if not value:
            causes.append(required(f"spec.names.{field}"))
        elif wrong := dns_1035_error(value.lower()):
            causes.append(invalid_value(f"spec.names.{field}", value, f"may have mixed case, but should otherwise match: {wrong}"))
    for field in ("shortNames", "categories"):
        for i, value in enumerate(names.get(field) or ()):
            if wrong := dns_1035_error(value):
                causes.append(invalid_value(f"spec.names.{field}[{i}]", value, wrong))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        causes.append(invalid_value("spec.names.listKind", names["listKind"], "kind and listKind may not be the same"))


def _versions(spec: Map, causes: Causes) -> None:
    versions = spec.get("versions") or []
    names: set[str] = set()
    single = len(versions) == 1
    for i, version in enumerate(versions):
        at = f"spec.versions[{i}]"
        name = version.get("name") or ""
        if wrong := dns_label_error(name) if name else "must not be empty":
            causes.append(invalid_value(f"{at}.name", name, wrong))
        if name in names:
            causes.append(duplicate(f"{at}.name", name))
        names.add(name)
        _version(version, at, causes, single=single)
    if sum(bool(v.get("storage")) for v in versions) != 1:
        shown = "[]apiextensions.CustomResourceDefinitionVersion{" + ", ".join(map(_go_version, versions)) + "}"
        causes.append(go_invalid("spec.versions", shown, "must have exactly one version marked as storage version"))


def _go_version(version: Map) -> str:
    """Show a version as a real server does, which has moved to the top what all versions share."""
    flags = ", ".join(f"{k.title()}:{str(bool(version.get(k))).lower()}" for k in ("served", "storage", "deprecated"))
    return (
        f'apiextensions.CustomResourceDefinitionVersion{{Name:"{version.get("name") or ""}", {flags}, DeprecationWarning:(*string)(nil), '
        "Schema:(*apiextensions.CustomResourceValidation)(nil), Subresources:(*apiextensions.CustomResourceSubresources)(nil), "
        "AdditionalPrinterColumns:[]apiextensions.CustomResourceColumnDefinition(nil), "
        "SelectableFields:[]apiextensions.SelectableField(nil)}"
    )


def _version(version: Map, at: str, causes: Causes, *, single: bool) -> None:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        causes.append(required(f"{at}.schema.openAPIV3Schema", "schemas are required"))
    else:
        # Kubernetes moves what all versions share to the top, and names it there in its errors.
        root = "spec.validation.openAPIV3Schema" if single else f"{at}.schema.openAPIV3Schema"
        crd_schema(schema, root, causes)
    _deprecation(version, at, causes)
    columns = "spec.additionalPrinterColumns" if single else f"{at}.additionalPrinterColumns"
    for i, column in enumerate(version.get("additionalPrinterColumns") or ()):
        _column(column, f"{columns}[{i}]", causes)
    fields = "spec.selectableFields" if single else f"{at}.selectableFields"
    selectable_fields(version.get("selectableFields"), schema or {}, fields, causes)
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        _scale(scale, f"{'spec' if single else at}.subresources.scale", causes)


def _deprecation(version: Map, at: str, causes: Causes) -> None:
    warning, field = version.get("deprecationWarning"), f"{at}.deprecationWarning"
    if warning is None:
        return
    if not version.get("deprecated"):
        causes.append(invalid_value(field, warning, "can only be set for deprecated versions"))
        return
    if len(warning.encode()) > 256:
        causes.append(invalid_value(field, warning, "must be <= 256 characters long"))
    if not warning:
        causes.append(invalid_value(field, warning, "must not be an empty string"))
    strange = next((i for i, c in enumerate(warning) if not c.isprintable()), None)
    if strange is not None:
        why = f"must only contain printable UTF-8 characters; non-printable character found at index {strange}"
        causes.append(invalid_value(field, warning, why))


def _scale(scale: Map, at: str, causes: Causes) -> None:
    paths = (("specReplicasPath", (".spec.",)), ("statusReplicasPath", (".status.",)), ("labelSelectorPath", (".spec.", ".status.")))
    for name, roots in paths:
        path = scale.get(name) or ""
        if not path:
            if name != "labelSelectorPath":
                causes.append(required(f"{at}.{name}"))
        elif not path.startswith("."):
            causes.append(invalid_value(f"{at}.{name}", path, "must be a simple json path starting with ."))
        elif not path.startswith(roots):
            under = "either .spec or .status" if len(roots) > 1 else roots[0][:-1]
            causes.append(invalid_value(f"{at}.{name}", path, f"should be a json path under {under}"))


def _column(column: Map, at: str, causes: Causes) -> None:
    if not column.get("name"):
        causes.append(required(f"{at}.name"))
    kind = column.get("type")
    if not kind:
        causes.append(required(f"{at}.type", f"must be one of {','.join(_COLUMN_TYPES)}"))
    elif kind not in _COLUMN_TYPES:
        causes.append(invalid_value(f"{at}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}"))
    if column.get("format") and column["format"] not in _COLUMN_FORMATS:
        causes.append(invalid_value(f"{at}.format", column["format"], f"must be one of {','.join(_COLUMN_FORMATS)}"))
    path = column.get("jsonPath")
    if not path:
        causes.append(required(f"{at}.JSONPath"))
    elif not path.startswith("."):
        causes.append(invalid_value(f"{at}.JSONPath", path, "must be a simple json path starting with ."))
    else:
        try:
            JsonPath(path)
        except JsonPathError as error:
            causes.append(invalid_value(f"{at}.JSONPath", path, str(error)))


def _conversion(conversion: Map, causes: Causes) -> None:
    strategy, webhook = conversion.get("strategy"), conversion.get("webhook") or {}
    if strategy not in (None, "", "None", "Webhook"):
        causes.append(not_supported("spec.conversion.strategy", strategy, ["None", "Webhook"]))
    elif strategy == "Webhook":
        _conversion_client(webhook.get("clientConfig"), causes)
        _review_versions(webhook.get("conversionReviewVersions") or [], causes)
    else:
        # Kubernetes names these as its own type does, without the `webhook` between.
        for name, field in (("clientConfig", "webhookClientConfig"), ("conversionReviewVersions", "conversionReviewVersions")):
            if webhook.get(name):
                causes.append(forbidden_field(f"spec.conversion.{field}", "should not be set when strategy is not set to Webhook"))


def _conversion_client(client: Map | None, causes: Causes) -> None:
    at = "spec.conversion.webhookClientConfig"
    if client is None:
        causes.append(required(at, "required when strategy is set to Webhook"))
    elif bool(client.get("url")) is (client.get("service") is not None):
        causes.append(required(at, "exactly one of url or service is required"))
    elif client.get("url") and not client["url"].startswith("https://"):
        causes.append(invalid_value(f"{at}.url", client["url"], "'https' is the only allowed URL scheme"))


def _review_versions(versions: list[str], causes: Causes) -> None:
    at = "spec.conversion.conversionReviewVersions"
    if not versions:
        causes.append(required(at))
    elif not {"v1", "v1beta1"} & set(versions):
        shown = "[]string{" + ", ".join(f'"{v}"' for v in versions) + "}"
        causes.append(go_invalid(at, shown, "must include at least one of v1, v1beta1"))


def _stored_versions(obj: Object, causes: Causes) -> None:
    versions = obj["spec"].get("versions") or []
    stored = (obj.get("status") or {}).get("storedVersions") or []
    shown = "[]string{" + ", ".join(f'"{s}"' for s in stored) + "}" if stored else "[]string(nil)"
    if not stored:
        causes.append(go_invalid("status.storedVersions", shown, "must have at least one stored version"))
        return
    names = {v.get("name") for v in versions}
    for i, name in enumerate(stored):
        if name not in names:
            causes.append(invalid_value(f"status.storedVersions[{i}]", name, "must appear in spec.versions"))
    storage = [v.get("name") for v in versions if v.get("storage")]
    if storage and storage[-1] not in stored:
        causes.append(go_invalid("status.storedVersions", shown, f"must have the storage version {storage[-1]}"))


def _update(spec: Map, old: Map, causes: Causes) -> None:
    if spec.get("scope") != old.get("scope"):
        causes.append(invalid_value("spec.scope", spec.get("scope"), IMMUTABLE))
    for field in ("group",):
        if spec.get(field) != old.get(field):
            causes.append(invalid_value(f"spec.{field}", spec.get(field), IMMUTABLE))
    for field in ("plural", "kind"):
        if (spec.get("names") or {}).get(field) != (old.get("names") or {}).get(field):
            causes.append(invalid_value(f"spec.names.{field}", (spec.get("names") or {}).get(field), IMMUTABLE))
