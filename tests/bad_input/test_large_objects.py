"""Requests by somebody who may, as large as they may be: each is carried out, and none holds the loop or the memory.

What is stored here is real. Each row is what was found to hold the loop longest, with how long that was before it was mended.
"""

# ruff: noqa: E501 - a row of a table is one line

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bad_input.asking import MAX_BLOCK_S, MAX_GROWTH_KIB, Case, Server, request, status_of, told

NAMESPACE = "/api/v1/namespaces/default"
CM, PODS, QUOTAS = f"{NAMESPACE}/configmaps", f"{NAMESPACE}/pods", f"{NAMESPACE}/resourcequotas"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
THINGS = "/apis/large.example/v1/namespaces/default/things"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
MERGE, STRATEGIC, APPLY = "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
KEYS, ELEMENTS, RULES = 64_000, 20_000, 340


def keys(prefix: str, value: str = "v", count: int = KEYS) -> dict[str, str]:
    return {f"{prefix}{i}": value for i in range(count)}


def config_map(data: dict[str, str], name: str = "wide") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def thing(name: str, prefix: str, value: int) -> dict[str, Any]:
    items = [{"n": f"{prefix}{i}", "v": value} for i in range(ELEMENTS)]
    return {"apiVersion": "large.example/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {"items": items}}


def definition(plural: str, properties: dict[str, Any]) -> dict[str, Any]:
    names = {"plural": plural, "singular": plural[:-1], "kind": plural[:-1].capitalize(), "listKind": f"{plural}List".capitalize()}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {"group": "large.example", "names": names, "scope": "Namespaced", "versions": [version]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.large.example"},
        "spec": spec,
    }


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def send(method: str, path: str, value: Any, media: str = "application/json") -> bytes:
    return request(method, path, compact(value), Content_Type=media)


def apply(path: str, value: Any, manager: str, *, force: bool = True) -> bytes:
    return send("PATCH", f"{path}?fieldManager={manager}&force={str(force).lower()}", value, APPLY)


ITEMS = {"type": "object", "required": ["n"], "properties": {"n": {"type": "string", "pattern": "^[a-z0-9]*$"}, "v": {"type": "integer"}}}
LIST = {"items": {"type": "array", "items": ITEMS, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}}
PATTERNS = {f"p{i}": {"type": "string", "pattern": f"^[a-z]{{1,{i % 60 + 1}}}(x|y{i})*$"} for i in range(390)}
CEL = {
    f"p{i}": {
        "type": "string",
        "maxLength": 9,
        "x-kubernetes-validations": [{"rule": f"self.size() < {i + 2} || self.matches('^[a-z]*$') || self == 'x{i}'"}],
    }
    for i in range(RULES)
}
CONTAINERS = [{"name": f"c{i}", "image": "x", "env": [{"name": f"E{j}", "value": "v"} for j in range(2_000)]} for i in range(10)]
HUNDREDS = [str(i) for i in range(200)]

WRITES = [
    Case(1, "a-create", send("POST", CM, config_map(keys("a"))), (201,)),
    Case(2, "a-replacement-of-all-values-0.10-s", send("PUT", f"{CM}/wide", config_map(keys("a", "w"))), (200,)),
    Case(3, "a-replacement-of-all-keys-0.11-s", send("PUT", f"{CM}/wide", config_map(keys("b"))), (200,)),
    Case(4, "a-merge-of-all-values-0.10-s", send("PATCH", f"{CM}/wide", {"data": keys("b", "x")}, MERGE), (200,)),
    Case(5, "a-strategic-merge-of-all-values-0.12-s", send("PATCH", f"{CM}/wide", {"data": keys("b", "y")}, STRATEGIC), (200,)),
    Case(6, "an-apply-that-creates", apply(f"{CM}/applied", config_map(keys("a"), "applied"), "one"), (201,)),
    Case(7, "an-apply-of-other-keys-0.43-s", apply(f"{CM}/applied", config_map(keys("b"), "applied"), "one"), (200,)),
    Case(8, "an-apply-with-64000-conflicts-0.13-s", apply(f"{CM}/applied", config_map(keys("b", "w"), "applied"), "two", force=False), (409,)),
    Case(9, "an-object-as-yaml-0.32-s", request("GET", f"{CM}/applied", Accept="application/yaml"), (200,)),
    Case(10, "a-definition-with-list-keys", send("POST", CRDS, definition("things", LIST)), (201,)),
    Case(11, "an-apply-of-20000-elements-0.12-s", apply(f"{THINGS}/a", thing("a", "n", 1), "one"), (201,)),
    Case(12, "an-apply-of-20000-others-0.92-s", apply(f"{THINGS}/a", thing("a", "m", 1), "one"), (200,)),
    Case(13, "a-merge-of-20000-elements-0.28-s", send("PATCH", f"{THINGS}/a", {"spec": thing("a", "z", 2)["spec"]}, MERGE), (200,)),
    Case(14, "a-pod-with-20000-variables-0.08-s", send("POST", PODS, {"metadata": {"name": "wide"}, "spec": {"containers": CONTAINERS}}), (201,)),
    Case(15, "a-definition-with-390-patterns-0.11-s", send("POST", CRDS, definition("patterns", PATTERNS)), (201,)),
    Case(16, "a-definition-with-340-rules-0.09-s", send("POST", CRDS, definition("rules", CEL)), (201,)),
    Case(17, "the-index-of-openapi-0.11-s", request("GET", "/openapi/v3"), (200,)),
    Case(18, "a-quota-of-60000-resources-0.20-s", send("POST", QUOTAS, {"metadata": {"name": "wide"}, "spec": {"hard": {f"count/a{i}.b": "1" for i in range(60_000)}}}), (422,)),
    Case(19, "a-role-of-eight-million-parts-20-s", request("POST", ROLES, {"metadata": {"name": "wide"}, "rules": [{"apiGroups": HUNDREDS, "resources": HUNDREDS, "verbs": HUNDREDS}]}, Impersonate_User="joe"), (403,)),
    Case(20, "8000-selectors-of-roles-0.15-s", send("POST", ROLES, {"metadata": {"name": "gathers"}, "rules": [], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {f"a{i}": "b"}} for i in range(8_000)]}}), (422,)),
]  # fmt: skip


def held(server: Server, case: Case) -> bytes:
    """Send *case* and return its answer; assert that it was carried out without holding anybody."""
    before = server.mark()
    answer = server.exchange(case)
    after = server.mark()
    print(told(case, after))
    assert status_of(answer) in case.expected, answer[:600]
    assert after["peak_kib"] - before["peak_kib"] < MAX_GROWTH_KIB
    assert after["worst_s"] / after["factor"] <= MAX_BLOCK_S, told(case, after)
    return answer


@pytest.mark.slow
def test_the_largest_writes_hold_nobody(hostile: Server) -> None:
    joe = [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["create"]}]
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "role-maker"}
    subjects = [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "joe"}]
    held(hostile, Case(0, "role", request("POST", ROLES, {"metadata": {"name": "role-maker"}, "rules": joe}), (201,)))
    binding = {"metadata": {"name": "joe"}, "roleRef": ref, "subjects": subjects}
    held(hostile, Case(0, "binding", request("POST", ROLES.replace("roles", "rolebindings"), binding), (201,)))

    for case in WRITES:
        held(hostile, case)


FREE = "/apis/large.example/v1/namespaces/default/frees"
NESTED: Any = {}
for _ in range(90):
    NESTED = {"a": NESTED}


@pytest.fixture(scope="module")
def free(hostile: Server) -> Server:
    """Serve a kind whose objects may hold anything."""
    anything = {"p": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    held(hostile, Case(0, "definition", send("POST", CRDS, definition("frees", anything)), (201,)))
    while status_of(hostile.exchange(Case(0, "frees", request("GET", FREE), (200, 404)))) != 200:
        pass
    return hostile


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values", "fit"),
    [
        ("maps-in-maps-grew-85-mib", [NESTED] * 700, 1),
        ("maps-grew-99-mib", [{"a": 1}] * 21_500, 3),
        ("lists-grew-133-mib", [[]] * 32_000, 8),
    ],
)
def test_many_requests_make_no_object_that_one_cannot_change(free: Server, name: str, values: list[Any], fit: int) -> None:
    body = {"apiVersion": "large.example/v1", "kind": "Free", "metadata": {"name": name}, "spec": {"p": {}}}
    held(free, Case(0, "create", send("POST", FREE, body), (201,)))

    answers = [
        held(free, Case(i, name, send("PATCH", f"{FREE}/{name}", {"spec": {"p": {f"v{i}": values}}}, MERGE), (200, 413)))
        for i in range(fit + 1)
    ]
    relabelled = held(free, Case(0, "label", send("PATCH", f"{FREE}/{name}", {"metadata": {"labels": {"a": "b"}}}, MERGE), (200,)))
    held(free, Case(0, "table-0.15-s", request("GET", FREE, Accept=TABLE), (200,)))

    assert [status_of(answer) for answer in answers] == [200] * fit + [413]
    assert b"limit is 262144 values" in answers[-1]
    assert b'"a":"b"' in relabelled


BIG = "/api/v1/namespaces/kube-public/configmaps"
READS = [
    Case(1, "a-list-of-36-mib", request("GET", BIG), (200,)),
    Case(2, "a-table-of-it", request("GET", BIG, Accept=TABLE), (200,)),
    Case(3, "a-table-with-its-objects", request("GET", f"{BIG}?includeObject=Object", Accept=TABLE), (200,)),
    Case(4, "its-metadata", request("GET", BIG, Accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"), (200,)),
    Case(5, "three-of-it-as-yaml", request("GET", f"{BIG}?limit=3", Accept="application/yaml"), (200,)),
    Case(6, "compressed", request("GET", BIG, Accept_Encoding="gzip"), (200,)),
    Case(7, "a-watch-from-the-beginning", request("GET", f"{BIG}?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"), (200,)),
    Case(8, "900-terms-over-all-of-it", request("GET", f"{BIG}?fieldSelector=" + ",".join(f"metadata.name!=z{i}" for i in range(900))), (200,)),
    Case(9, "its-end", request("DELETE", BIG), (200,)),
]  # fmt: skip


@pytest.mark.slow
def test_a_list_that_does_not_fit_is_made_as_it_is_sent(hostile: Server) -> None:
    for i in range(40):
        body = {"metadata": {"name": f"big-{i:02}"}, "data": {"k": f"{i}" * 450_000}}
        assert status_of(hostile.exchange(Case(0, "big", request("POST", BIG, body), (201,)))) == 201

    whole = held(hostile, READS[0])
    for case in READS[1:]:
        held(hostile, case)

    listed = json.loads(unchunked(whole))
    assert [item["metadata"]["name"] for item in listed["items"] if item["metadata"]["name"].startswith("big-")] == [
        f"big-{i:02}" for i in range(40)
    ]


def unchunked(answer: bytes) -> bytes:
    """Return the body of an answer, from its chunks where it has such."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head.lower():
        return rest
    found = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        found.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return b"".join(found)
