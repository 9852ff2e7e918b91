"""The route table: every route says who may use it."""

from __future__ import annotations

import pytest

from skerry.apiserver.http.answers import text_answer
from skerry.apiserver.http.message import ANONYMOUS, Request, Response
from skerry.apiserver.http.routes import Access, Route, RouteTable
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import Asker


async def _hello(request: Request) -> Response:
    return text_answer("hello")


def test_a_route_without_an_access_entry_cannot_be_added() -> None:
    with pytest.raises(ValueError, match="route /x has no access entry"):
        RouteTable([Route(("GET",), "/x", None, _hello)])


def test_two_handlers_for_one_method_are_refused() -> None:
    table = RouteTable([Route(("GET",), "/x", Access.PUBLIC, _hello)])

    with pytest.raises(ValueError, match="route /x has two handlers for GET"):
        table.add(Route(("GET", "POST"), "/x", Access.PUBLIC, _hello))


def test_the_longest_prefix_wins_and_an_exact_path_before_it() -> None:
    table = RouteTable(
        [
            Route(("GET",), "/console/*", Access.OWN, _hello, "all"),
            Route(("GET",), "/console/api/*", Access.OWN, _hello, "api"),
            Route(("GET",), "/console/api/me", Access.OWN, _hello, "me"),
        ]
    )

    found = [table.find("GET", p) for p in ("/console/x", "/console/api/x", "/console/api/me")]

    assert [r.name for r in found if r] == ["all", "api", "me"]


async def test_a_public_route_needs_no_credentials_and_every_other_does(server: ApiServer, ask: Asker) -> None:
    nobody = ask.as_user(ANONYMOUS)

    answers = {p: (await nobody("GET", p))[0] for p in ("/healthz", "/livez", "/readyz", "/version", "/api", "/openapi/v3", "/nothing")}

    assert answers == {"/healthz": 200, "/livez": 200, "/readyz": 200} | dict.fromkeys(("/version", "/api", "/openapi/v3", "/nothing"), 403)


async def test_an_added_route_is_authorised_by_its_path(server: ApiServer, ask: Asker) -> None:
    server.routes.add(Route(("GET",), "/skerry/things", Access.PATH, _hello))

    assert (await ask("GET", "/skerry/things"))[0] == 200
    assert (await ask.as_user(ANONYMOUS)("GET", "/skerry/things"))[0] == 403
    assert (await ask("POST", "/skerry/things"))[0] == 405


async def test_every_answer_names_the_cluster_and_its_epoch(server: ApiServer, ask: Asker) -> None:
    system = (await ask("GET", "/api/v1/namespaces/kube-system"))[1]

    for path in ("/healthz", "/api/v1/namespaces", "/api/v1/namespaces/none", "/nothing", "/apis"):
        headers = (await ask.raw("GET", path)).headers
        assert headers["Skerry-Cluster"] == system["metadata"]["uid"]
        assert headers["Skerry-Epoch"] == server.store.epoch
