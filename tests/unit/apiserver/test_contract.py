"""The embedded server keeps the promises of `kube.Api`, without HTTP and over mutual TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.apiserver.local import LocalApi
from skerry.apiserver.server import ApiServer
from skerry.kube.aio import AioTransport
from skerry.kube.api import ClusterApi
from skerry.kube.http import HttpApi
from skerry.kube.kubeconfig import read_kubeconfig
from skerry.model.resources import NAMESPACES
from skerry.testing.apiserver import running
from tests.contract.api import ApiContract


class TestLocalApi(ApiContract):
    @pytest.fixture
    async def api(self, server: ApiServer) -> ClusterApi:
        return LocalApi(server.registry)

    @pytest.fixture
    async def space(self, api: ClusterApi) -> str:
        await api.create(NAMESPACES, {"metadata": {"name": "space"}})
        return "space"


class TestOverTls(ApiContract):
    @pytest.fixture
    async def api(self, tmp_path: Path) -> AsyncIterator[ClusterApi]:
        async with running(tmp_path) as server, AioTransport(read_kubeconfig(server.kubeconfig)) as transport:
            yield HttpApi(transport)

    @pytest.fixture
    async def space(self, api: ClusterApi) -> str:
        await api.create(NAMESPACES, {"metadata": {"name": "space"}})
        return "space"
