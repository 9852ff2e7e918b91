"""Patches that a real kube-apiserver 1.32 answered: the same start, the same patch, the same object or refusal."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.apiserver.patch import json_patch, merge, read_json_patch, read_merge_patch, strategic
from skerry.model.errors import ApiError, invalid
from skerry.model.objects import Object
from tests.unit.schema.pipeline import kind

_HERE = Path(__file__).parent
STRATEGIC = msgspec.json.decode((_HERE / "recorded_strategic.json").read_bytes())
CONFIGMAP = msgspec.json.decode((_HERE / "recorded_configmap.json").read_bytes())
DEPLOYMENT = kind("Deployment", group="apps")


def _stored() -> Object:
    obj: Object = copy.deepcopy(STRATEGIC["deployment"])
    DEPLOYMENT.prune_unknown(obj)
    DEPLOYMENT.default(obj)
    return obj


def _patched(patch: Object) -> Object:
    old = _stored()
    try:
        new = strategic(old, patch, DEPLOYMENT)
        new.setdefault("apiVersion", "apps/v1")
        new.setdefault("kind", "Deployment")
        DEPLOYMENT.prune_unknown(new)
        DEPLOYMENT.default(new)
        causes = DEPLOYMENT.validate(new, old)
        if causes:
            raise invalid("Deployment", "apps", "d", causes)
    except ApiError as error:
        return error.to_status()
    return new


def _pick(obj: Any, pointer: str) -> Any:
    for step in pointer.strip("/").split("/"):
        found = dict(enumerate(obj)) if isinstance(obj, list) else obj
        obj = found.get(int(step) if isinstance(obj, list) else step, "<absent>")
    return obj


@pytest.mark.parametrize("case", STRATEGIC["cases"], ids=[c["id"] for c in STRATEGIC["cases"]])
def test_a_strategic_patch_gives_what_kubernetes_gave(case: dict[str, Any]) -> None:
    found = _patched(case["body"])

    assert {p: _pick(found, p) for p in case["pick"]} == case["answer"]


REGISTRY = {
    "patch-json-name": "the registry compares names with the URL",
    "patch-json-type-error": "the registry prunes what the patch left",
    "patch-merge-name": "the registry compares names with the URL",
    "patch-merge-namespace": "the registry compares names with the URL",
    "patch-merge-kind": "the registry keeps the kind",
    "patch-merge-rv-stale": "the registry compares revisions",
    "patch-merge-uid-wrong": "the registry compares uids",
    "patch-merge-uid-right": "the uid is made up here",
    "patch-merge-bad-json": "Go's own words for its own parser",
    "patch-merge-type-error": "the registry prunes what the patch left",
    "patch-merge-force": "the registry reads the query",
}


def _apply(form: str, old: Object, body: bytes) -> Object:
    if form == "application/json-patch+json":
        new = json_patch(old, read_json_patch(body))
    elif form == "application/merge-patch+json":
        new = merge(old, read_merge_patch(body))
    else:
        new = strategic(old, read_merge_patch(body), kind("ConfigMap"))
    kind("ConfigMap").prune_unknown(new)
    return dict(new)


def _core(obj: Object) -> Object:
    keep = ("name", "labels", "annotations", "finalizers")
    return {"data": obj.get("data"), **{k: obj["metadata"].get(k) for k in keep}}


def test_a_run_of_patches_goes_as_it_went_on_kubernetes() -> None:
    """One object through 40 patches, each answer compared; refusals leave it as it was."""
    obj: Object = copy.deepcopy(CONFIGMAP["configmap"])
    compared = 0
    for case in CONFIGMAP["cases"]:
        if case["id"] == "patch-merge-uid-right":
            obj = merge(obj, {"data": case["body"]["data"]})
            continue
        if case["id"] in REGISTRY:
            continue
        body = case["raw"].encode() if "raw" in case else msgspec.json.encode(case["body"])
        before = copy.deepcopy(obj)
        if case["id"] == "patch-json-test-rv-stale":
            obj["metadata"]["resourceVersion"] = "7"
        try:
            obj = _apply(case["type"], obj, body)
        except ApiError as error:
            assert (case["id"], error.code, error.message) == (case["id"], case["status"], case["answer"]["message"])  # noqa: PT017
            obj = before
        else:
            assert (case["id"], 200, _core(obj)) == (case["id"], case["status"], _core(case["answer"]))
        compared += 1
    assert compared == 29
