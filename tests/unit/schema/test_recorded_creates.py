"""Creates that a real kube-apiserver 1.32 answered, replayed through decoding, pruning, defaulting and validation.

`recorded_creates.json` holds request and answer; what the registry, admission or CEL adds is listed here with its reason, and
everything else has to be equal.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.apiserver.schema import KindSchema, custom_resources, decode_body
from skerry.model.errors import ApiError, invalid
from skerry.model.objects import Object
from tests.unit.schema.pipeline import catalogue

CASES: list[dict[str, Any]] = msgspec.json.decode((Path(__file__).parent / "recorded_creates.json").read_bytes())

REGISTRY = "the registry answers before or after the schema does"
CEL = "CEL rules are not run yet"
GO = "Go's own words for its own parser or types"
NOT_COMPARED = {
    **dict.fromkeys(
        (
            "errors-post-on-item",
            "errors-cluster-path-of-namespaced",
            "errors-namespace-mismatch",
            "errors-namespace-missing",
            "errors-already-exists",
            "errors-rv-on-create",
            "create-field-manager-long",
            "crd-strict",
            "crd-strict-metadata",
            "crd-ignore",
            "crd-two-write-v1",
        ),
        REGISTRY,
    ),
    **dict.fromkeys(("crd-cel", "crd-cel-all", "crd-bad-cel", "crd-bad-cel-syntax", "crd-bad-cel-cost", "crd-wrong-kind"), CEL),
    **dict.fromkeys(
        (
            "errors-bad-json",
            "errors-array-body",
            "errors-string-body",
            "errors-wrong-version",
            "errors-wrong-group",
            "errors-unknown-kind",
            "errors-yaml-bad",
            "errors-secret-dockercfg-bad",
            "defaults-pdb-both",
            "crd-no-api-version",
            "crd-two-storage",
        ),
        GO,
    ),
    "create-service-bad-ip": "judged where addresses are given, before the rules of the kind",
    "crd-wrong-type-list": "we do not look for unknown fields inside a value of the wrong type",
    "crd-wrong-version": "we do not look for unknown fields of a version that was refused",
}
FROM_THE_REGISTRY = {
    "Pod": ("spec.preemptionPolicy", "spec.priority", "spec.serviceAccount", "spec.serviceAccountName", "spec.tolerations", "spec.volumes"),
    "Service": ("spec.clusterIP", "spec.clusterIPs", "spec.healthCheckNodePort", "spec.ipFamilies", "spec.ipFamilyPolicy"),
    "Node": ("spec.taints",),
    "PersistentVolume": ("status.lastPhaseTransitionTime",),
}
"""Fields that admission or allocation gives."""


def _resolve(path: str) -> tuple[KindSchema, str]:
    parts = path.partition("?")[0].strip("/").split("/")
    group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    if group == "golden.example.com":
        return _custom_kinds()[rest[0]], namespace
    return next(
        catalogue().kind(group, version, r.kind) for r in catalogue().resources() if r.plural == rest[0] and r.group == group
    ), namespace


def _custom_kinds() -> dict[str, KindSchema]:
    found: dict[str, KindSchema] = {}
    for case in CASES:
        body = case.get("body") or {}
        if body.get("kind") == "CustomResourceDefinition" and case["status"] == 201:
            crd = catalogue().kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
            crd.default(done := copy.deepcopy(body))
            for served in custom_resources(done):
                found.setdefault(served.plural, catalogue().compile_crd_version(done, served.version))
    return found


def _answer(case: dict[str, Any]) -> tuple[Object, list[str]]:
    schema, namespace = _resolve(case["path"])
    body = case["raw"].encode() if "raw" in case else msgspec.json.encode(case.get("body"))
    media = "" if case.get("no_type") else case.get("headers", {}).get("Content-Type", "application/json")
    unknown: list[str] = []
    try:
        obj, _ = decode_body(media, body, schema)
        unknown = schema.prune_unknown(obj)
        meta = obj.setdefault("metadata", {})
        if namespace:
            meta.setdefault("namespace", namespace)
        for name in ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"):
            meta.pop(name, None)
        if meta.get("generateName"):
            meta.setdefault("name", f"{meta['generateName']}xxxxx")
        meta["uid"] = "uid-0"
        schema.reset_status(obj)
        schema.default(obj)
        causes = schema.validate(obj)
        if causes:
            raise invalid(schema.kind, schema.group, meta.get("name", ""), causes)
    except ApiError as error:
        return error.to_status(), unknown
    text = msgspec.json.encode(obj).decode().replace("uid-0", "<uid>").replace("xxxxx", "<gen>")
    return msgspec.json.decode(text), unknown


def _comparable(answer: Object, case: dict[str, Any]) -> Object:
    found = copy.deepcopy(answer)
    for path in (*FROM_THE_REGISTRY.get(found.get("kind", ""), ()), *(p.strip("/").replace("/", ".") for p in case.get("drop", ()))):
        _drop(found, path.split("."))
    if found.get("kind") == "Status":
        if case.get("sort"):
            found["details"]["causes"].sort(key=lambda c: (c["field"], c["message"]))
    else:
        for name in ("creationTimestamp", "resourceVersion", "generation", "managedFields"):
            found["metadata"].pop(name, None)
    if found.get("kind") == "Pod":
        for container in [*found["spec"]["containers"], *found["spec"].get("initContainers", [])]:
            container["volumeMounts"] = [m for m in container.get("volumeMounts", []) if not m["name"].startswith("kube-api-access")]
    if found.get("kind") == "Service":
        for port in found["spec"].get("ports", ()):
            port.pop("nodePort", None)
    return found


def _drop(value: Any, path: list[str]) -> None:
    for step in path[:-1]:
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value.pop(path[-1], None)


ADMITTED = [c for c in CASES if c["id"] not in NOT_COMPARED and c["status"] not in (403, 404, 405)]


@pytest.mark.parametrize("case", ADMITTED, ids=[c["id"] for c in ADMITTED])
def test_the_answer_is_that_of_kubernetes(case: dict[str, Any]) -> None:
    answer, unknown = _answer(case)

    assert _comparable(answer, case) == _comparable(case["answer"], case)
    if answer.get("kind") != "Pod":  # Pods also get warnings of admission
        assert [f'299 - "unknown field \\"{u}\\""' for u in unknown] == case.get("warnings", [])


def test_most_of_what_was_recorded_is_compared() -> None:
    assert len(ADMITTED) >= 160
    assert set(NOT_COMPARED) <= {c["id"] for c in CASES}
