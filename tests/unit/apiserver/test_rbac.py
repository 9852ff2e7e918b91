"""RBAC: what roles grant, through bindings, aggregation and names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skerry.apiserver.access.attributes import Attributes
from skerry.apiserver.access.rbac import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, ROLES, Rbac
from skerry.apiserver.access.rules import TooManyPartsError, compile_rules, lacking
from skerry.apiserver.http.message import User
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import MERGE, Asker

BOB = User("bob", ("team", "system:authenticated"))


def rule(groups: str = "", resources: str = "pods", verbs: str = "get", **more: Any) -> dict[str, Any]:
    return {"apiGroups": groups.split(","), "resources": resources.split(","), "verbs": verbs.split(","), **more}


def role(name: str, *rules: dict[str, Any], labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, "rules": list(rules), **more}


def binding(role_name: str, *, kind: str = "ClusterRole", subject: str = "User", name: str = "bob", **more: str) -> dict[str, Any]:
    return {"roleRef": {"kind": kind, "name": role_name}, "subjects": [{"kind": subject, "name": name, **more}]}


def asks(verb: str = "get", resource: str = "pods", *, user: User = BOB, **more: Any) -> Attributes:
    return Attributes(user, verb, resource=resource, **more)


@pytest.fixture
def rbac() -> Rbac:
    found = Rbac()
    found.put(CLUSTER_ROLES, "", "reader", role("reader", rule(verbs="get,list")))
    return found


def test_nothing_is_granted_without_a_binding(rbac: Rbac) -> None:
    assert not rbac.allowed(asks())


def test_masters_may_do_everything_without_any_role() -> None:
    assert Rbac().allowed(asks("delete", "nodes", user=User("root", ("system:masters",))))


def test_a_cluster_binding_grants_everywhere_and_a_role_binding_in_its_namespace(rbac: Rbac) -> None:
    rbac.put(BINDINGS, "a", "b", binding("reader"))

    assert rbac.allowed(asks(namespace="a"))
    assert not rbac.allowed(asks(namespace="b"))
    assert not rbac.allowed(asks())

    rbac.put(CLUSTER_BINDINGS, "", "b", binding("reader"))

    assert rbac.allowed(asks(namespace="b"))
    assert rbac.allowed(asks())


def test_answers_follow_changes(rbac: Rbac) -> None:
    rbac.put(CLUSTER_BINDINGS, "", "b", binding("reader"))
    before = rbac.allowed(asks())

    rbac.put(CLUSTER_ROLES, "", "reader", role("reader", rule(verbs="list")))
    after = rbac.allowed(asks())
    rbac.put(CLUSTER_ROLES, "", "reader", None)

    assert (before, after, rbac.allowed(asks("list"))) == (True, False, False)


def test_groups_and_service_accounts_are_subjects(rbac: Rbac) -> None:
    rbac.put(CLUSTER_BINDINGS, "", "g", binding("reader", subject="Group", name="team"))
    rbac.put(BINDINGS, "a", "s", binding("reader", subject="ServiceAccount", name="robot", namespace="b"))

    assert rbac.allowed(asks())
    assert rbac.allowed(asks(user=User("system:serviceaccount:b:robot"), namespace="a"))
    assert not rbac.allowed(asks(user=User("system:serviceaccount:a:robot"), namespace="a"))


def test_a_role_is_the_namespaces_own(rbac: Rbac) -> None:
    rbac.put(ROLES, "a", "r", role("r", rule()))
    rbac.put(BINDINGS, "b", "x", binding("r", kind="Role"))
    rbac.put(BINDINGS, "a", "x", binding("r", kind="Role"))

    assert rbac.allowed(asks(namespace="a"))
    assert not rbac.allowed(asks(namespace="b"))


def test_aggregation_collects_by_label_and_follows(rbac: Rbac) -> None:
    rbac.put(CLUSTER_ROLES, "", "all", role("all", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]}))
    rbac.put(CLUSTER_BINDINGS, "", "b", binding("all"))
    before = rbac.allowed(asks("delete", "secrets"))

    rbac.put(CLUSTER_ROLES, "", "part", role("part", rule(resources="secrets", verbs="delete"), labels={"to": "all"}))

    assert not before
    assert rbac.allowed(asks("delete", "secrets"))


@pytest.mark.parametrize(
    ("granted", "asked", "allowed"),
    [
        (rule(resourceNames=["one"]), asks(name="one"), True),
        (rule(resourceNames=["one"]), asks(name="two"), False),
        (rule(resourceNames=["one"], verbs="list"), asks("list"), False),
        (rule(resources="pods"), asks(subresource="log"), False),
        (rule(resources="pods/log"), asks(subresource="log"), True),
        (rule(resources="pods/log"), asks(), False),
        (rule(resources="*/log"), asks(subresource="log"), True),
        (rule(resources="*"), asks(subresource="log"), True),
        (rule(groups="apps"), asks(), False),
        (rule(groups="*"), asks(group="apps"), True),
        ({"nonResourceURLs": ["/healthz"], "verbs": ["get"]}, asks(resource="", path="/healthz"), True),
        ({"nonResourceURLs": ["/a/*"], "verbs": ["get"]}, asks(resource="", path="/a/b"), True),
        ({"nonResourceURLs": ["/a/*"], "verbs": ["get"]}, asks(resource="", path="/ab"), False),
        ({"verbs": ["*"], "resources": ["*"], "apiGroups": ["*"]}, asks(resource="", path="/x"), False),
        ({}, asks(), False),
    ],
)
def test_rules(granted: dict[str, Any], asked: Attributes, allowed: bool) -> None:
    (compiled,) = compile_rules([granted])

    assert compiled.grants(asked) is allowed


def test_covering_names_what_would_be_gained() -> None:
    held = compile_rules([rule(resources="pods", verbs="get,list")])

    assert lacking(held, [rule(resources="pods", verbs="get")]) == (0, [])
    assert lacking(held, [rule(resources="pods,secrets", verbs="get")]) == (1, [rule(resources="secrets")])
    assert lacking(compile_rules([rule(resourceNames=["a"])]), [rule()]) == (1, [rule()])
    assert lacking(held, [{"verbs": ["get"], "nonResourceURLs": ["/a"]}]) == (1, [{"verbs": ["get"], "nonResourceURLs": ["/a"]}])


def test_eight_million_parts_are_counted_and_not_looked_at_one_by_one() -> None:
    names = [str(i) for i in range(200)]
    wanted = [{"apiGroups": names, "resources": names, "verbs": ["get", *names[1:]]}]

    count, shown = lacking(compile_rules([rule("7", "9")]), wanted)

    assert (count, len(shown)) == (7_999_999, 5)
    assert shown[0] == rule("0", "0")


def test_parts_of_which_each_is_another_case_are_refused_rather_than_waited_for() -> None:
    names = [str(i) for i in range(400)]
    held = compile_rules(rule(n, n) for n in names)

    assert lacking(held, [rule(n, n) for n in names]) == (0, [])
    with pytest.raises(TooManyPartsError, match="smaller pieces"):
        lacking(held, [rule(",".join(names), ",".join(names))])


async def test_whoever_relabels_a_role_must_hold_what_it_grants(ask: Asker) -> None:
    """The label `aggregate-to-view` on cluster-admin made everybody who may look an admin."""
    path = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["get", "update", "patch"]}]
    await ask("POST", f"{path}/clusterroles", {"metadata": {"name": "role-keeper"}, "rules": rules})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "role-keeper"}
    subjects = [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}]
    await ask("POST", f"{path}/clusterrolebindings", {"metadata": {"name": "bob"}, "roleRef": ref, "subjects": subjects})
    labels = {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}}
    bob = ask.as_user(BOB)

    refused = await bob("PATCH", f"{path}/clusterroles/cluster-admin", labels, content_type=MERGE)
    own = await bob("PATCH", f"{path}/clusterroles/role-keeper", labels, content_type=MERGE)
    noted = await bob("PATCH", f"{path}/clusterroles/cluster-admin", {"metadata": {"annotations": {"a": "b"}}}, content_type=MERGE)

    assert (refused[0], own[0], noted[0]) == (403, 200, 200)
    assert "attempting to grant RBAC permissions not currently held" in refused[1]["message"]


async def test_what_a_gathering_role_gathers_is_written_into_it_through_several_levels(server: ApiServer, ask: Asker) -> None:
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    mine = {"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]}
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}

    assert (await ask("POST", path, {"metadata": {"name": "things", "labels": labels}, "rules": [mine]}))[0] == 201

    for name in ("view", "edit", "admin"):
        async with asyncio.timeout(60):
            while mine not in (await ask("GET", f"{path}/{name}"))[1]["rules"]:
                await server.registry.next_commit(0.05)
    await ask("DELETE", f"{path}/things")
    async with asyncio.timeout(60):
        while mine in (await ask("GET", f"{path}/admin"))[1]["rules"]:
            await server.registry.next_commit(0.05)
