"""Rules of CustomResourceDefinition: names, versions, columns, and schemas that are structural and that we can carry out.

Source: apiextensions-apiserver/pkg/apis/apiextensions/validation and /pkg/apiserver/schema of Kubernetes 1.32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skerry.apiserver.schema.objectmeta import dns_1035_error
from skerry.apiserver.schema.patterns import PatternError, compile_pattern
from skerry.apiserver.schema.rules.common import IMMUTABLE, Causes, Map, duplicate, go_invalid, one_of
from skerry.apiserver.schema.rules.crd_budget import within_budget
from skerry.apiserver.schema.rules.crd_fields import selectable_fields
from skerry.apiserver.schema.structural import MAX_DEPTH, has_rules
from skerry.apiserver.schema.table.jsonpath import JsonPath, JsonPathError
from skerry.apiserver.schema.values import compile_validation
from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_label_error, dns_subdomain_error
from skerry.model.objects import Object

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_PROTECTED = ("k8s.io", "kubernetes.io")
_APPROVAL = "api-approved.kubernetes.io"
_FORBIDDEN_KEYWORDS = ("$ref", "definitions", "dependencies", "id", "patternProperties", "additionalItems")


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
    if not (meta.get("annotations") or {}).get(_APPROVAL):
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
        _schema(schema, root, causes)
    columns = "spec.additionalPrinterColumns" if single else f"{at}.additionalPrinterColumns"
    for i, column in enumerate(version.get("additionalPrinterColumns") or ()):
        _column(column, f"{columns}[{i}]", causes)
    fields = "spec.selectableFields" if single else f"{at}.selectableFields"
    selectable_fields(version.get("selectableFields"), schema or {}, fields, causes)
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        for name, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
            if not str(scale.get(name) or "").startswith(root):
                causes.append(
                    invalid_value(f"{at}.subresources.scale.{name}", scale.get(name) or "", f"should be a json path under {root[:-1]}")
                )


def _column(column: Map, at: str, causes: Causes) -> None:
    if not column.get("name"):
        causes.append(required(f"{at}.name"))
    kind = column.get("type")
    if not kind:
        causes.append(required(f"{at}.type", f"must be one of {','.join(_COLUMN_TYPES)}"))
    elif kind not in _COLUMN_TYPES:
        causes.append(invalid_value(f"{at}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}"))
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
    strategy = conversion.get("strategy")
    if strategy == "Webhook":
        _conversion_webhook(conversion.get("webhook"), causes)
    elif strategy not in (None, "", "None"):
        causes.append(not_supported("spec.conversion.strategy", strategy, ["None", "Webhook"]))


def _conversion_webhook(webhook: Map | None, causes: Causes) -> None:
    at = "spec.conversion.webhook"
    if not webhook or not webhook.get("clientConfig"):
        causes.append(required(f"{at}.clientConfig", "required when strategy is set to Webhook"))
        return
    client = webhook["clientConfig"]
    if bool(client.get("url")) is (client.get("service") is not None):
        causes.append(required(f"{at}.clientConfig", "exactly one of url or service is required"))
    elif client.get("url") and not client["url"].startswith("https://"):
        causes.append(invalid_value(f"{at}.clientConfig.url", client["url"], "'https' is the only allowed URL scheme"))
    versions = webhook.get("conversionReviewVersions") or []
    if not versions:
        causes.append(required(f"{at}.conversionReviewVersions"))
    elif "v1" not in versions:
        causes.append(invalid_value(f"{at}.conversionReviewVersions", ", ".join(versions), "must include at least one of v1"))


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


def _schema(schema: Map, at: str, causes: Causes) -> None:
    before = len(causes)
    if schema.get("type") in (None, ""):
        causes.append(required(f"{at}.type", "must not be empty at the root"))
    elif schema["type"] != "object":
        causes.append(invalid_value(f"{at}.type", schema["type"], "must be object at the root"))
    for node, path, depth in _walk(schema, at):
        if depth > MAX_DEPTH:
            causes.append(forbidden_field(path, f"a schema may be nested {MAX_DEPTH} deep at most"))
            return
        _structural(node, path, causes, root=path == at)
    if len(causes) == before:
        for node, path, _ in _walk(schema, at):
            _default(node, path, causes)
        if has_rules(schema):
            from skerry.apiserver.cel.crd_rules import rule_causes

            causes += rule_causes(schema, at, root_at=at)


def _walk(schema: Map, at: str) -> Iterator[tuple[Map, str, int]]:
    """Yield every structural part of a schema with its path and depth; not the branches of allOf, anyOf, oneOf, not."""
    waiting: list[tuple[Any, str, int]] = [(schema, at, 1)]
    while waiting:
        node, path, depth = waiting.pop()
        if not isinstance(node, dict):
            continue
        yield node, path, depth
        if depth > MAX_DEPTH:
            return
        for name, inner in sorted((node.get("properties") or {}).items(), reverse=True):
            waiting.append((inner, f"{path}.properties[{name}]", depth + 1))
        waiting += [(node.get(k), f"{path}.{k}", depth + 1) for k in ("items", "additionalProperties")]


def _structural(node: Map, at: str, causes: Causes, *, root: bool) -> None:
    kind = node.get("type")
    open_type = node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields")
    if not kind and not root and not open_type:
        part = "array items" if at.endswith(".items") else "object fields"
        causes.append(required(f"{at}.type", f"must not be empty for specified {part}"))
    elif kind and kind not in _TYPES:
        causes.append(not_supported(f"{at}.type", kind, list(_TYPES)))
    if kind and node.get("x-kubernetes-int-or-string"):
        causes.append(invalid_value(f"{at}.type", kind, "must be empty if x-kubernetes-int-or-string is true"))
    if kind == "array" and "items" not in node:
        causes.append(required(f"{at}.items", "must be specified"))
    if isinstance(node.get("items"), list):
        causes.append(forbidden_field(f"{at}.items", "items must be a schema object and not an array"))
    if node.get("properties") and node.get("additionalProperties") is not None:
        causes.append(forbidden_field(f"{at}.additionalProperties", "additionalProperties and properties are mutual exclusive"))
    if node.get("additionalProperties") is False:
        causes.append(forbidden_field(f"{at}.additionalProperties", "additionalProperties cannot be set to false"))
    if node.get("uniqueItems"):
        causes.append(
            forbidden_field(f"{at}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic")
        )
    causes.extend(forbidden_field(f"{at}.{k}", f"{k} is not supported") for k in _FORBIDDEN_KEYWORDS if node.get(k))
    _pattern(node, at, causes)
    _list_rules(node, at, causes)
    for keyword in ("allOf", "anyOf", "oneOf"):
        for i, branch in enumerate(node.get(keyword) or ()):
            _branch(branch, f"{at}.{keyword}[{i}]", causes, int_or_string=bool(node.get("x-kubernetes-int-or-string")))
    if node.get("not") is not None:
        _branch(node["not"], f"{at}.not", causes, int_or_string=False)


def _pattern(node: Map, at: str, causes: Causes) -> None:
    if node.get("pattern"):
        try:
            compile_pattern(node["pattern"])
        except PatternError as error:
            causes.append(invalid_value(f"{at}.pattern", node["pattern"], f"must be a valid regular expression, but isn't: {error}"))


def _list_rules(node: Map, at: str, causes: Causes) -> None:
    kind, keys = node.get("x-kubernetes-list-type"), node.get("x-kubernetes-list-map-keys") or ()
    one_of(kind, ("atomic", "map", "set"), f"{at}.x-kubernetes-list-type", causes, optional=True)
    if kind == "map":
        if not keys:
            why = "must not be empty if x-kubernetes-list-type is map"
            causes.append(required(f"{at}.x-kubernetes-list-map-keys", why))
        items = node.get("items") or {}
        properties = items.get("properties") or {}
        for i, key in enumerate(keys):
            if key not in properties:
                causes.append(invalid_value(f"{at}.x-kubernetes-list-map-keys[{i}]", key, "entries must all be names of item properties"))
            elif key not in (items.get("required") or ()) and properties[key].get("default") is None:
                why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
                causes.append(required(f"{at}.items.properties[{key}].default", why))
    elif keys:
        causes.append(forbidden_field(f"{at}.x-kubernetes-list-map-keys", "must be empty if x-kubernetes-list-type is not map"))


_BRANCH_FORBIDDEN = ("type", "default", "additionalProperties", "nullable", "title", "description")


def _branch(branch: Any, at: str, causes: Causes, *, int_or_string: bool) -> None:
    """Check a schema inside allOf, anyOf, oneOf or not: value rules only."""
    waiting: list[tuple[Any, str]] = [(branch, at)]
    while waiting:
        node, path = waiting.pop()
        if not isinstance(node, dict):
            continue
        for keyword in _BRANCH_FORBIDDEN:
            if node.get(keyword) and not (keyword == "type" and int_or_string):
                causes.append(forbidden_field(f"{path}.{keyword}", "must be empty to be structural"))
        _pattern(node, path, causes)
        waiting += [(inner, f"{path}.properties[{name}]") for name, inner in (node.get("properties") or {}).items()]
        waiting += [(node.get(k), f"{path}.{k}") for k in ("items", "not")]
        waiting += [(inner, f"{path}.{k}[{i}]") for k in ("allOf", "anyOf", "oneOf") for i, inner in enumerate(node.get(k) or ())]
        if len(path) > 4096:
            causes.append(forbidden_field(at, "is nested too deep"))
            return


def _default(node: Map, at: str, causes: Causes) -> None:
    if node.get("default") is None:
        return
    check = compile_validation(node)
    found: list[Cause] = []
    if check is not None:
        check(node["default"], None, found)
    causes.extend(Cause(f"{at}.default{'.' + c.field if c.field else ''}", c.reason, c.message) for c in found[:5])
