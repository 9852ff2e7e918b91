"""What says whether the server is well, and what it counts."""

from __future__ import annotations

import pytest

from skerry.apiserver.http.health import Health
from skerry.apiserver.http.message import ANONYMOUS, Request, User
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import Asker


async def answered(ask: Asker, path: str) -> tuple[int, str]:
    response = await ask.raw("GET", path)
    assert isinstance(response.body, bytes)
    return response.status, response.body.decode()


async def test_health_is_one_word_and_verbose_names_each_check(ask: Asker) -> None:
    assert await answered(ask, "/livez") == (200, "ok")
    assert await answered(ask, "/livez?verbose") == (200, "[+]ping ok\nlivez check passed\n")
    assert await answered(ask, "/readyz?verbose") == (200, "[+]ping ok\n[+]store ok\n[+]audit ok\nreadyz check passed\n")
    assert await answered(ask, "/readyz/store") == (200, "ok")
    assert (await ask.raw("GET", "/readyz/nonsense")).status == 404
    assert (await ask.as_user(ANONYMOUS).raw("GET", "/readyz/store")).status == 403
    assert (await ask.raw("HEAD", "/livez")).status == 200


async def test_a_check_that_fails_is_named_and_may_be_left_out() -> None:
    health = Health("readyz", {"ping": lambda: "", "store": lambda: "the disk is gone"}, {"audit": lambda: "late"})

    def asking(query: str) -> Request:
        return Request("GET", "/readyz", query, {}, b"", ANONYMOUS)

    failed, excluded = await health.all(asking("")), await health.all(asking("exclude=store"))

    assert (failed.status, failed.body) == (
        503,
        b"[+]ping ok\n[-]store failed: the disk is gone\n[-]audit failed: late\nreadyz check failed\n",
    )
    assert (excluded.status, excluded.body) == (200, b"ok")


async def test_requests_are_counted_by_what_they_are_about(server: ApiServer, ask: Asker) -> None:
    await ask("GET", "/api/v1/namespaces/default/configmaps")
    await ask("GET", "/api/v1/namespaces/default/configmaps/none")
    await ask("GET", '/api/v1/namespaces/default/made-up-"\n/none')
    await ask("BREW", "/api/v1/namespaces")
    _, text = await answered(ask, "/metrics")

    assert 'apiserver_request_total{verb="GET",resource="configmaps",subresource="",code="200"} 1' in text
    assert 'apiserver_request_total{verb="GET",resource="configmaps",subresource="",code="404"} 1' in text
    assert 'apiserver_request_total{verb="GET",resource="unknown",subresource="",code="404"} 1' in text
    assert 'apiserver_request_total{verb="other",resource="",subresource="",code="405"} 1' in text
    assert "made-up" not in text
    assert f"skerry_store_revision {server.store.revision}" in text
    assert 'apiserver_request_duration_seconds_bucket{verb="GET",le="+Inf"} 3' in text


@pytest.mark.parametrize("user", [ANONYMOUS, User("bob", ("system:authenticated",))])
async def test_metrics_are_for_whom_rbac_names(ask: Asker, user: User) -> None:
    assert (await ask.as_user(user).raw("GET", "/metrics")).status == 403
