"""The fake API keeps the contract, and does what tests order."""

from __future__ import annotations

import pytest

from skerry.kube.closing import closing
from skerry.model.errors import ApiError, unavailable
from skerry.model.resources import CONFIGMAPS
from skerry.testing.fakeapi import FakeApi
from tests.contract.api import ApiContract, a_configmap, take


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def space() -> str:
    return "team-a"


class TestFakeApi(ApiContract):
    pass


async def test_an_ordered_fault_happens_once(api: FakeApi) -> None:
    api.fail_next(unavailable("going away"), "get")
    api.seed(CONFIGMAPS, a_configmap("s", "one"))

    with pytest.raises(ApiError, match="going away"):
        await api.get(CONFIGMAPS, "s", "one")

    assert await api.get(CONFIGMAPS, "s", "one")


async def test_a_watch_from_a_compacted_revision_is_expired(api: FakeApi) -> None:
    old = await api.create(CONFIGMAPS, a_configmap("s", "one"))
    await api.create(CONFIGMAPS, a_configmap("s", "two"))
    api.compact()

    async with closing(api.watch(CONFIGMAPS, revision=old["metadata"]["resourceVersion"])) as events:
        with pytest.raises(ApiError) as caught:
            await take(events, 1)

    assert caught.value.code == 410


async def test_disconnect_breaks_open_watches(api: FakeApi) -> None:
    api.seed(CONFIGMAPS, a_configmap("s", "one"))

    async with closing(api.watch(CONFIGMAPS)) as events:
        await take(events, 1)
        api.disconnect()
        with pytest.raises(ConnectionError):
            await take(events, 1)

    assert api.watchers == 0
