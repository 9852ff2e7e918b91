"""All kinds that the server knows by itself, compiled when somebody first asks, and custom kinds from their CRDs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from skerry.apiserver.schema import builtin
from skerry.apiserver.schema.facts import FACTS, Facts
from skerry.apiserver.schema.kind import KindSchema, nothing
from skerry.apiserver.schema.objectmeta import validate_metadata, validate_metadata_update
from skerry.apiserver.schema.paths import Path, dotted
from skerry.apiserver.schema.ratchet import changed_only
from skerry.apiserver.schema.resources import ServedResource, builtin_resources
from skerry.apiserver.schema.scalars import MismatchError
from skerry.apiserver.schema.scales import scale_causes
from skerry.apiserver.schema.shape import shape_of_schema
from skerry.apiserver.schema.structural import Default, Passes, compile_schema
from skerry.apiserver.schema.typed import Typed
from skerry.apiserver.schema.values import RULES_NOT_CHECKED, blocks_rules
from skerry.model.errors import Cause, bad_request, invalid_value
from skerry.model.names import dns_subdomain_error
from skerry.model.objects import Object


class Catalogue:
    """One for a server. Not for several threads at once: compiling fills caches."""

    def __init__(self, facts: Facts = FACTS) -> None:
        self._facts = facts
        self._typed = Typed(facts)
        self._kinds: dict[tuple[str, str, str], KindSchema] = {}

    def resources(self) -> list[ServedResource]:
        """Return the built-in resources, in discovery's order."""
        return builtin_resources(self._facts)

    def knows(self, group: str, version: str, kind: str) -> bool:
        return (group, version, kind) in self._facts.kinds

    def kind(self, group: str, version: str, kind: str) -> KindSchema:
        """Return a built-in kind; raises KeyError for one that Kubernetes 1.32 does not have."""
        key = (group, version, kind)
        found = self._kinds.get(key)
        if found is None:
            found = self._kinds[key] = builtin.compile_kind(self._facts, self._typed, *key)
        return found

    def compile_crd_version(self, crd: Object, version: str) -> KindSchema:
        """Return the kind that *crd* defines in *version*; raises KeyError for an unknown version.

        The CRD must have passed the rules of CustomResourceDefinition: a schema that is not structural or a pattern that
        cannot run raises ValueError here.
        """
        spec = crd["spec"]
        chosen = next((v for v in spec["versions"] if v["name"] == version), None)
        if chosen is None:
            raise KeyError(version)
        schema = (chosen.get("schema") or {}).get("openAPIV3Schema") or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        metadata = self._typed.normaliser(builtin.OBJECT_META)
        passes = compile_schema(schema, metadata=metadata)
        kind = spec["names"]["kind"]
        group = spec["group"]
        return KindSchema(
            group=group,
            version=version,
            kind=kind,
            builtin=False,
            _prune=partial(_prune_custom, passes, f'{kind} in version "{version}" cannot be handled as a {kind}: '),
            _default=partial(_default_custom, passes.default, kind) if passes.default else nothing,
            _validate=partial(_validate_custom, passes, kind, (chosen.get("subresources") or {}).get("scale")),
            _shape=partial(shape_of_schema, schema),
            _reset_status=_drop_status if "status" in (chosen.get("subresources") or {}) else None,
        )


def _default_custom(default: Default, kind: str, obj: Object) -> None:
    """Complete an object of this kind; one that says it is of another has no defaults, and is refused."""
    if obj.get("kind") == kind:
        default(obj)


def _drop_status(obj: Object) -> None:
    obj.pop("status", None)


def _prune_custom(passes: Passes, refusal: str, obj: Object) -> list[str]:
    if passes.prune is None:
        return []
    unknown: list[Path] = []
    try:
        passes.prune(obj, None, unknown)
    except MismatchError as error:  # only metadata is read as a Go type
        raise bad_request(refusal + error.text()) from None
    return sorted(map(dotted, unknown)) if unknown else []


def _validate_custom(
    passes: Passes,
    kind: str,
    scale: Mapping[str, str] | None,
    obj: Object,
    old: Object | None,
    causes: list[Cause],
    subresource: str,
) -> None:
    meta = obj.get("metadata") or {}
    validate_metadata(meta, dns_subdomain_error, causes)
    if old is not None:
        before = len(causes)
        validate_metadata_update(meta, old.get("metadata") or {}, causes)
        causes += causes[before:]  # Kubernetes judges this twice: for every object, and for the kind
    if obj.get("kind") != kind:
        causes.append(invalid_value("kind", obj.get("kind"), f"must be {kind}"))
    found = _schema_causes(passes, obj, status_only=subresource == "status")
    causes += changed_only(found, obj, old) if found and old is not None else found
    if scale is not None:
        causes += scale_causes(scale, obj, status_only=subresource == "status")
    if passes.rules is not None:
        causes += [RULES_NOT_CHECKED] if blocks_rules(causes) else passes.rules(obj, old)


def _schema_causes(passes: Passes, obj: Object, *, status_only: bool) -> list[Cause]:
    found: list[Cause] = []
    if not status_only:
        if passes.validate is not None:
            passes.validate(obj, None, found)
        return found
    if passes.status is not None and obj.get("status") is not None:
        passes.status(obj["status"], None, found)
    return [Cause(f"status.{c.field}" if c.field else "status", c.reason, c.message) for c in found]
