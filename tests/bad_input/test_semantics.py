"""Inputs 21 to 30: well-formed requests that ask for what cannot be, or for too much. Whatever would be stored is a dry run."""

# ruff: noqa: E501 - a row of a table is one line

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.bad_input.asking import ADMIN, Case, Server, judge, request

LIST = "/api/v1/namespaces/default/configmaps"
CM = f"{LIST}?dryRun=All"
ME = f"{LIST}/kept?dryRun=All"
PODS = "/api/v1/namespaces/default/pods?dryRun=All"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All"
JSON_PATCH, MERGE, STRATEGIC, APPLY = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


def get(query: str, path: str = LIST) -> bytes:
    return request("GET", f"{path}?{query}")


def patch(body: Any, media: str = JSON_PATCH, path: str = ME) -> bytes:
    return request("PATCH", path, body, Content_Type=media)


def cm(**metadata: Any) -> bytes:
    return request("POST", CM, {"metadata": {"name": "a", **metadata}})


def token(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


VERSIONS = [
    *(
        Case(21, f"revision-{text or 'empty'}", get(f"resourceVersion={quote(text)}"), expected)
        for text, expected in (
            ("-1", (400,)), ("abc", (400,)), ("1.5", (400,)), ("0x10", (400,)), (" 1", (400,)), ("1e3", (400,)), ("\u0661", (400,)),
            ("9" * 400, (400,)), (str(1 << 64), (400,)),
        )
    ),
    Case(21, "exact-and-zero", get("resourceVersion=0&resourceVersionMatch=Exact"), (422,)),
    Case(21, "a-match-that-is-none", get("resourceVersion=1&resourceVersionMatch=Perhaps"), (422,)),
    Case(21, "a-match-without-revision", get("resourceVersionMatch=Exact"), (422,)),
    Case(21, "an-old-one-exactly", get("resourceVersion=1&resourceVersionMatch=Exact"), (410, 200)),
    Case(21, "a-put-of-letters", request("PUT", ME, {"metadata": {"name": "kept", "resourceVersion": "x"}}), (400, 409, 422)),
    Case(21, "a-put-of-the-future", request("PUT", ME, {"metadata": {"name": "kept", "resourceVersion": "9" * 18}}), (409,)),
    Case(21, "a-put-of-a-number", request("PUT", ME, {"metadata": {"name": "kept", "resourceVersion": 1}}), (400,)),
    Case(21, "a-watch-of-letters", get("watch=1&resourceVersion=abc"), (400,)),
]  # fmt: skip
PAGES = [
    Case(22, "limit-letters", get("limit=x"), (400,)),
    Case(22, "limit-2-to-the-63", get(f"limit={1 << 63}"), (400,)),
    Case(22, "limit-of-5000-digits", get("limit=" + "9" * 5_000), (400,)),
    Case(22, "a-token-of-letters", get("continue=abc"), (400,)),
    Case(22, "a-token-that-is-no-map", get(f"continue={token([1])}"), (400,)),
    Case(22, "a-token-of-another-version", get(f"continue={token({'v': 'v9', 'rv': 1, 'start': 'a'})}"), (400,)),
    Case(22, "a-token-with-a-negative-revision", get(f"continue={token({'v': 'meta.k8s.io/v1', 'rv': -7, 'start': 'a'})}"), (200, 400, 410)),
    Case(22, "a-token-of-the-future", get(f"continue={token({'v': 'meta.k8s.io/v1', 'rv': 1 << 80, 'start': 'a'})}"), (400, 410)),
    Case(22, "a-token-of-a-boolean", get(f"continue={token({'v': 'meta.k8s.io/v1', 'rv': True, 'start': 'a'})}"), (400, 410)),
    Case(22, "a-token-that-starts-with-a-map", get(f"continue={token({'v': 'meta.k8s.io/v1', 'rv': 1, 'start': {}})}"), (400,)),
    Case(22, "a-token-of-another-namespace", get(f"continue={token({'v': 'meta.k8s.io/v1', 'rv': 10, 'start': 'kube-system/../x'})}"), (200, 400, 410)),
    Case(22, "a-token-100-kb-long", get(f"continue={'a' * 60_000}"), (400,)),
    Case(22, "a-token-deep", get(f"continue={base64.urlsafe_b64encode(b'[' * 1_400).decode()}"), (400,)),
    Case(22, "timeout-letters", get("timeoutSeconds=x&watch=1"), (400,)),
]  # fmt: skip
LONG = 60_000
SELECTORS = [
    Case(23, "10k-terms", get("labelSelector=" + ",".join(f"a{i}" for i in range(10_000))), (400,)),
    Case(23, "10k-values", get("labelSelector=" + quote(f"a in ({','.join(f'v{i}' for i in range(8_000))})")), (200, 400)),
    Case(23, "brackets", get("labelSelector=" + "(" * LONG), (400,)),
    Case(23, "spaces", get("labelSelector=" + "+" * LONG + "%01"), (400,)),
    Case(23, "exclamations", get("labelSelector=" + "!" * LONG), (400,)),
    Case(23, "equals", get("labelSelector=" + "=" * LONG), (400,)),
    Case(23, "a-key-of-60-kb", get("labelSelector=" + "a" * LONG), (400,)),
    Case(23, "dashes", get("labelSelector=" + "a-" * (LONG // 2)), (400,)),
    Case(23, "dots", get("labelSelector=" + "a." * (LONG // 2) + "/b"), (400,)),
    Case(23, "commas", get("labelSelector=" + "," * LONG), (400,)),
    Case(23, "a-regex", get("labelSelector=" + quote("a=~(b+)+$")), (400,)),
    Case(23, "not-closed", get("labelSelector=" + quote("a in (b")), (400,)),
    Case(23, "fields-10k", get("fieldSelector=" + ",".join("metadata.name=a" for _ in range(3_500))), (400,)),
    Case(23, "field-spaces", get("fieldSelector=a" + "+" * LONG + "b"), (400,)),
    Case(23, "field-backslashes", get("fieldSelector=a=" + quote("\\" * 19_999)), (400,)),
    Case(23, "field-exclamations", get("fieldSelector=" + "a!" * (LONG // 2)), (400,)),
    Case(23, "an-unknown-field", get("fieldSelector=spec.secret=x"), (400,)),
    Case(23, "a-selector-in-a-deletion", request("DELETE", f"{CM}&labelSelector={'(' * 1_000}"), (400,)),
]  # fmt: skip
NAMES = [
    *(
        Case(24, f"name-{i}", cm(name=name), (422, 400))
        for i, name in enumerate(
            ("a" * 254, ".", "..", "a/b", "Upper", "a_b", "-a", "a-", "\u0430dmin", "a\u200bb", "a b", "a\nb", "%2e", "", "a..b", "\u212a", "\uff41", "a\u0000")
        )
    ),
    Case(24, "a-name-of-1-mb", cm(name="a" * 1_000_000), (422,)),
    Case(24, "a-name-that-is-a-number", cm(name=1), (400,)),
    Case(24, "another-name-than-the-path", request("PUT", ME, {"metadata": {"name": "b"}}), (400,)),
    Case(24, "another-namespace-than-the-path", cm(namespace="kube-system"), (400,)),
    Case(24, "dots-in-the-path", request("GET", f"{LIST}/.."), (400,)),
    Case(24, "a-namespace-in-upper-case", request("POST", "/api/v1/namespaces?dryRun=All", {"metadata": {"name": "A"}}), (422,)),
    Case(24, "a-label-with-a-newline", cm(labels={"a": "b\n"}), (422,)),
    Case(24, "a-label-with-thai-digits", cm(labels={"a": "\u0e51"}), (422,)),
]  # fmt: skip
COPIES = [{"op": "add", "path": "/x", "value": {"a": 1}}, *({"op": "copy", "from": "/x", "path": f"/x/k{i}"} for i in range(40))]
PATCHES = [
    Case(25, "10001-operations", patch([{"op": "test", "path": "/kind", "value": "ConfigMap"}] * 10_001), (413,)),
    Case(25, "10000-operations-and-one-that-fails", patch([*[{"op": "add", "path": "/data/a", "value": "b"}] * 9_999, {"op": "remove", "path": "/nowhere"}]), (422,)),
    Case(25, "copies-that-double", patch(COPIES), (413, 422)),
    Case(25, "inserts-at-the-front", patch([{"op": "add", "path": "/x", "value": [1] * 40_000}, *({"op": "add", "path": "/x/0", "value": 1} for _ in range(7_000)), {"op": "remove", "path": "/nowhere"}]), (413, 422)),
    Case(25, "tests-of-large-values", patch([{"op": "add", "path": "/x", "value": [1] * 50_000}, *({"op": "copy", "from": "/x", "path": f"/y{i}"} for i in range(3)), *({"op": "move", "from": f"/y{i % 3}", "path": f"/y{i % 3}"} for i in range(3_000)), {"op": "remove", "path": "/nowhere"}]), (413, 422)),
    Case(25, "a-dash-on-a-map", patch([{"op": "add", "path": "/metadata/-/a", "value": 1}]), (422,)),
    Case(25, "a-tilde-two", patch([{"op": "remove", "path": "/data/~2"}]), (422,)),
    Case(25, "an-index-of-many-digits", patch([{"op": "add", "path": "/metadata/finalizers", "value": ["a/b"]}, {"op": "remove", "path": "/metadata/finalizers/" + "9" * 5_000}]), (422,)),
    Case(25, "a-negative-index", patch([{"op": "add", "path": "/metadata/finalizers", "value": ["a/b"]}, {"op": "remove", "path": "/metadata/finalizers/-1"}]), (422,)),
    Case(25, "an-unknown-operation", patch([{"op": "eval", "path": "/a"}]), (422,)),
    Case(25, "no-path", patch([{"op": "add", "value": 1}]), (422,)),
    Case(25, "a-pointer-of-a-million-steps", patch([{"op": "test", "path": "/a" * 1_000_000, "value": 1}]), (413, 422)),
    Case(25, "a-move-into-itself", patch([{"op": "move", "from": "/metadata", "path": "/metadata/a"}]), (422,)),
    Case(25, "a-map", patch({"op": "add"}), (400,)),
    Case(25, "a-list-of-numbers", patch([1, 2]), (400,)),
    Case(25, "the-whole-document", patch([{"op": "replace", "path": "", "value": 1}]), (400, 422)),
    Case(25, "the-kind", patch([{"op": "replace", "path": "/kind", "value": "Secret"}]), (400, 422)),
    Case(25, "the-uid", patch([{"op": "replace", "path": "/metadata/uid", "value": "x"}]), (409, 422)),
    Case(26, "a-million-nulls", patch(b'{"data":{' + b",".join(b'"k%d":null' % i for i in range(200_000)) + b"}}", MERGE), (413,)),
    Case(26, "60k-nulls-and-a-bad-key", patch(b'{"data":{' + b",".join(b'"k%d":null' % i for i in range(60_000)) + b',"a b":"c"}}', MERGE), (422,)),
    Case(26, "nulls-in-a-strategic-patch", patch(b'{"data":{' + b",".join(b'"k%d":null' % i for i in range(60_000)) + b',"a b":"c"}}', STRATEGIC), (422,)),
    Case(26, "null-metadata", patch({"metadata": None, "data": {"a b": "c"}}, MERGE), (400, 422)),
    Case(26, "a-null", patch(b"null", MERGE), (400,)),
    Case(26, "an-unknown-directive", patch({"$patch": "explode"}, STRATEGIC), (400, 500, 422)),
    Case(26, "an-order-that-is-a-map", patch({"metadata": {"$setElementOrder/finalizers": {}}}, STRATEGIC), (400, 422)),
    Case(26, "a-retention-that-is-a-map", patch({"data": {"$retainKeys": {}}}, STRATEGIC), (400, 422)),
    Case(26, "an-unknown-patch", patch({}, "application/x-patch"), (415,)),
    Case(26, "no-media-type", request("PATCH", ME, {}, Content_Type=""), (415, 400)),
    Case(26, "apply-without-a-manager", patch({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}, APPLY), (400, 415, 422)),
    Case(26, "apply-with-forged-owners", patch({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "managedFields": [{"manager": "x", "operation": "Apply"}]}}, APPLY, f"{ME}&fieldManager=a"), (400, 415, 422)),
    Case(26, "apply-of-a-yaml-bomb", patch(b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9)), APPLY, f"{ME}&fieldManager=a"), (400, 413, 415)),
    Case(26, "managed-fields-that-are-nonsense", request("POST", CM, {"metadata": {"name": "a", "managedFields": [{"manager": "x", "operation": "Steal", "fieldsType": "V9", "fieldsV1": [1]}]}}), (400, 422)),
]  # fmt: skip


def owner(**more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", **more}


OWNERS = [
    Case(27, "an-owner-without-a-uid", cm(ownerReferences=[owner(uid="")]), (422,)),
    Case(27, "two-controllers", cm(ownerReferences=[owner(controller=True), owner(uid="v", controller=True)]), (422,)),
    Case(27, "an-owner-without-a-kind", cm(ownerReferences=[owner(kind="")]), (422,)),
    Case(27, "an-event-as-owner", cm(ownerReferences=[owner(kind="Event", apiVersion="v1")]), (422,)),
    Case(27, "10k-owners-and-a-bad-one", cm(ownerReferences=[*(owner(uid=f"u{i}") for i in range(10_000)), owner(uid="")]), (422,)),
    Case(27, "a-finalizer-of-1-mb", cm(finalizers=["a/" + "b" * 1_000_000]), (422,)),
    Case(27, "a-finalizer-without-a-name", cm(finalizers=[""]), (422,)),
    Case(27, "a-finalizer-with-two-slashes", cm(finalizers=["a/b/c"]), (422,)),
    Case(27, "a-finalizer-that-is-a-number", cm(finalizers=[1]), (400,)),
    Case(28, "status-of-what-has-none", request("PUT", f"{LIST}/kept/status?dryRun=All", {"metadata": {"name": "kept"}}), (404, 405)),
    Case(28, "status-of-nobody", request("PUT", "/api/v1/namespaces/default/pods/none/status?dryRun=All", {"metadata": {"name": "none"}, "status": {}}), (404,)),
    Case(28, "a-status-that-is-a-list", request("POST", PODS, {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "x"}]}, "status": []}), (400,)),
    Case(28, "a-namespace-that-ends-itself", request("PUT", "/api/v1/namespaces/default/finalize?dryRun=All", {"metadata": {"name": "other"}, "spec": {"finalizers": []}}), (400, 409)),
    Case(29, "a-generated-name-that-is-none", request("POST", CM, {"metadata": {"generateName": "A_"}}), (422,)),
    Case(29, "a-generated-name-of-1-mb", request("POST", CM, {"metadata": {"generateName": "a" * 1_000_000 + "_"}}), (422,)),
    Case(29, "a-generated-name-that-is-a-list", request("POST", CM, {"metadata": {"generateName": []}}), (400,)),
    Case(29, "neither-name", request("POST", CM, {"metadata": {}}), (422,)),
]  # fmt: skip


def crd(schema: Any, **version: Any) -> bytes:
    names = {"plural": "bombs", "singular": "bomb", "kind": "Bomb", "listKind": "BombList"}
    found = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
    spec = {"group": "example.com", "names": names, "scope": "Namespaced", "versions": [found]}
    return request("POST", CRDS, {"metadata": {"name": "bombs.example.com"}, "spec": spec})


def spec(properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        found = {"type": "object", "properties": {"a": found}}
    return found


def text(**rules: Any) -> dict[str, Any]:
    return {"a": {"type": "string", **rules}}


def rule(value: str, kind: str = "string") -> dict[str, Any]:
    return {"a": {"type": kind, "x-kubernetes-validations": [{"rule": value}]}}


DEFINITIONS = [
    Case(30, "a-recursive-schema", crd(spec({"a": {"$ref": "#/properties/spec"}})), (422,)),
    Case(30, "10k-properties", crd(spec({f"p{i}": {"type": "string"} for i in range(10_001)})), (422, 413)),
    Case(30, "10k-properties-with-patterns", crd(spec({f"p{i}": {"type": "string", "pattern": f"^[a-z]{{1,{i % 900 + 1}}}$"} for i in range(6_000)})), (422, 413)),
    Case(30, "100-levels", crd(nested(100)), (400, 422)),
    Case(30, "a-pattern-that-is-none", crd(spec(text(pattern="("))), (422,)),
    Case(30, "a-pattern-that-looks-around", crd(spec(text(pattern="(?=a)b"))), (422,)),
    Case(30, "a-pattern-with-a-back-reference", crd(spec(text(pattern="(a)\\1"))), (422,)),
    Case(30, "a-pattern-of-100-kb", crd(spec(text(pattern="a" * 100_000))), (422,)),
    Case(30, "repeats-of-repeats", crd(spec(text(pattern="((a{1000}){1000}){1000}"))), (422,)),
    Case(30, "400-large-patterns", crd(spec({f"p{i}": {"type": "string", "pattern": f"({'|'.join(f'a{i}b{j}' for j in range(400))})+$"} for i in range(400)})), (422, 413)),
    Case(30, "a-default-that-is-wrong", crd(spec(text(default=1))), (422,)),
    Case(30, "a-default-of-1-mb-that-is-wrong", crd(spec(text(default="a" * 1_000_000, maxLength=1))), (422,)),
    Case(30, "a-default-beyond-its-pattern", crd(spec(text(default="a" * 50_000 + "!", pattern="^(a+)+$"))), (422,)),
    Case(30, "branches-without-end", crd(spec(text(allOf=[{"anyOf": [{"pattern": "a"}] * 100}] * 100, oneOf=[{"type": "string"}] * 10))), (422, 413)),
    Case(30, "a-type-that-is-none", crd(spec({"a": {"type": "blob"}})), (422,)),
    Case(30, "no-schema-type", crd({"properties": {}}), (422,)),
    Case(30, "a-column-path-without-end", crd(spec({}), additionalPrinterColumns=[{"name": "x", "type": "string", "jsonPath": ".a" * 10_000 + "["}]), (422,)),
    Case(30, "a-column-path-that-filters", crd(spec({}), additionalPrinterColumns=[{"name": "x", "type": "string", "jsonPath": ".a[?(@.b==(1"}]), (422,)),
    Case(30, "a-rule-that-is-no-cel", crd(spec(rule("self ==="))), (422,)),
    Case(30, "a-rule-of-100-kb", crd(spec(rule("self == 'a' || " * 7_000 + "true"))), (422,)),
    Case(30, "a-rule-deep-in-brackets", crd(spec(rule("(" * 5_000 + "true" + ")" * 5_000))), (422,)),
    Case(30, "a-rule-that-costs-too-much", crd(spec({"a": {"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, self.all(z, x == y || y == z)))"}]}})), (422,)),
    Case(30, "no-versions", request("POST", CRDS, {"metadata": {"name": "bombs.example.com"}, "spec": {"group": "example.com", "names": {"plural": "bombs", "kind": "Bomb"}, "scope": "Namespaced", "versions": []}}), (422,)),
    Case(30, "a-group-of-kubernetes", request("POST", CRDS, {"metadata": {"name": "pods.k8s.io"}, "spec": {"group": "k8s.io", "names": {"plural": "pods", "kind": "Pod"}, "scope": "Namespaced", "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}), (422,)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", [*VERSIONS, *PAGES, *SELECTORS, *NAMES, *PATCHES, *OWNERS, *DEFINITIONS], ids=str)
def test_what_cannot_be_is_refused(hostile: Server, case: Case) -> None:
    assert case.user == ADMIN

    judge(hostile, case)
