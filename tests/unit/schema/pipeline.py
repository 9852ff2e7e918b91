"""What the registry does with a body, without the registry: for tests of the schema alone."""

from __future__ import annotations

from functools import cache

from skerry.apiserver.schema import Catalogue, KindSchema
from skerry.model.errors import Cause
from skerry.model.objects import Object


@cache
def catalogue() -> Catalogue:
    """One for all tests: compiling the big kinds costs milliseconds."""
    return Catalogue()


def kind(name: str, *, group: str = "", version: str = "v1") -> KindSchema:
    return catalogue().kind(group, version, name)


def created(schema: KindSchema, obj: Object) -> Object:
    """Return *obj* as a create would store it, apart from what the registry adds."""
    schema.prune_unknown(obj)
    schema.reset_status(obj)
    schema.default(obj)
    return obj


def complaints(schema: KindSchema, obj: Object, old: Object | None = None) -> list[Cause]:
    """Return what is wrong with *obj* after pruning and defaulting (both, when it is an update)."""
    for each in (obj, old):
        if each is not None:
            schema.prune_unknown(each)
            schema.default(each)
    return schema.validate(obj, old)


def texts(causes: list[Cause]) -> list[str]:
    return [str(c) for c in causes]


def a_pod(**spec: object) -> Object:
    containers = [{"name": "c", "image": "app:1"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": containers, **spec}}


def a_deployment(**spec: object) -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "app:1"}]}}
    body = {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": body}


def a_crd(schema: Object, *, version: Object | None = None) -> Object:
    """Return a CRD of kind Wi whose root schema has *schema* as its spec."""
    whole = {"type": "object", "properties": {"spec": schema, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "wis.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "wis", "kind": "Wi"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": whole}, **(version or {})}],
        },
    }


def custom(schema: Object, *, version: Object | None = None) -> KindSchema:
    return catalogue().compile_crd_version(a_crd(schema, version=version), "v1")


def a_wi(spec: object) -> Object:
    return {"apiVersion": "example.com/v1", "kind": "Wi", "metadata": {"name": "w", "namespace": "n"}, "spec": spec}
