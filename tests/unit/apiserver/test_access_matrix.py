"""Every route and verb, drawn from what is served: nobody without credentials gets in, and a stranger of a node gets nothing.

New kinds and routes join by themselves; a new one that lets somebody in fails here.
"""

from __future__ import annotations

from skerry.apiserver.http.message import ANONYMOUS, User
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import Asker, node_user

PUBLIC = {"/healthz", "/livez", "/readyz"}
# What a node that owns nothing yet may ask: itself by name, and what is every node's.
A_STRANGERS = {
    ("create", "nodes"),  # itself: judged with the object
    ("create", "leases.coordination.k8s.io"),
    ("create", "events"),
    ("patch", "events"),
    ("update", "events"),
    ("get", "runtimeclasses.node.k8s.io"),
    ("list", "runtimeclasses.node.k8s.io"),
    ("watch", "runtimeclasses.node.k8s.io"),
}


async def _refused(ask: Asker, server: ApiServer, *, but: set[tuple[str, str]]) -> tuple[int, list[str]]:
    """Ask everything; return how much that was, and what was not answered with 403."""
    wrong, asked = [], 0
    for operation in server.operations():
        if operation.resource and (operation.verb, operation.resource) in but:
            continue
        if operation.path in PUBLIC:
            continue
        asked += 1
        path = operation.path.format(namespace="default", name="another")
        response = await ask.raw(operation.method, path + ("?watch=true" if operation.verb == "watch" else ""), {})
        if response.status != 403:
            wrong.append(f"{operation.method} {path} ({operation.verb}): {response.status}")
    return asked, wrong


async def test_without_credentials_only_health_answers(server: ApiServer, ask: Asker) -> None:
    asked, wrong = await _refused(ask.as_user(ANONYMOUS), server, but=set())

    assert asked > 500
    assert wrong == []


async def test_a_node_that_owns_nothing_reaches_nothing(server: ApiServer, ask: Asker) -> None:
    asked, wrong = await _refused(ask.as_user(node_user("stranger")), server, but=A_STRANGERS)

    assert asked > 500
    assert wrong == []


async def test_a_user_without_roles_reaches_discovery_and_reviews_of_itself_only(server: ApiServer, ask: Asker) -> None:
    own = {("create", f"{r}.authorization.k8s.io") for r in ("selfsubjectaccessreviews", "selfsubjectrulesreviews")}
    own |= {("create", "selfsubjectreviews.authentication.k8s.io")}

    _, wrong = await _refused(ask.as_user(User("bob", ("system:authenticated",))), server, but=own)

    discovery = ("GET /api", "GET /apis", "GET /openapi/v", "GET /version")
    assert [w for w in wrong if not w.startswith(discovery)] == []


async def test_the_list_of_operations_is_complete(server: ApiServer) -> None:
    found = {(o.method, o.path) for o in server.operations()}

    assert {
        ("GET", "/api/v1/namespaces/{namespace}/pods/{name}/log"),
        ("GET", "/api/v1/namespaces/{namespace}/pods/{name}/exec"),
        ("POST", "/api/v1/namespaces/{namespace}/pods/{name}/exec"),
        ("POST", "/api/v1/namespaces/{namespace}/pods/{name}/binding"),
        ("PUT", "/api/v1/namespaces/{name}/finalize"),
        ("DELETE", "/apis/skerry.dev/v1alpha1/namespaces/{namespace}/devices"),
        ("GET", "/apis/live.skerry.dev/v1alpha1/namespaces/{namespace}/devicetwins/{name}"),
        ("GET", "/healthz"),
    } <= found
