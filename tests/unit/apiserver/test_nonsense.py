"""Whatever is sent, the answer is about the request: no request makes the server say that it broke itself."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from typing import Any, cast

import msgspec
import pytest

from skerry.apiserver.http import dispatch
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import Asker, pod

KEYS = (
    "metadata", "name", "namespace", "spec", "status", "labels", "annotations", "finalizers", "ownerReferences", "containers", "image",
    "resources", "requests", "data", "rules", "verbs", "versions", "schema", "names", "group", "scope", "replicas", "selector", "template",
    "apiVersion", "kind", "uid", "resourceVersion", "conditions", "type", "properties", "items", "env", "volumes", "ports", "tolerations",
    "protocol", "desired", "connection", "op", "path", "value", "generateName", "$patch", "$setElementOrder/containers",
)  # fmt: skip
SCALARS = (None, True, False, 0, -1, 2**63, 1.5, "", "a", "x" * 70, "default", "v1", "é", "a/b")
QUERIES = (
    "limit",
    "continue",
    "labelSelector",
    "fieldSelector",
    "dryRun",
    "fieldValidation",
    "propagationPolicy",
    "gracePeriodSeconds",
    "includeObject",
)
VALUES = ("", "1", "-1", "abc", "a=b", "metadata.name=a", "All", "Strict", "eyJ2IjoieCJ9", "Orphan", "x,,y", "!a", "a in (", "=")
MEDIA = (
    "application/json",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/yaml",
)


class Nonsense:
    """Requests from a seed."""

    def __init__(self, server: ApiServer, seed: int) -> None:
        self._random = random.Random(seed)
        self._kinds = {k.key: k.resource for k in server.kinds}
        self._operations = [o for o in server.operations() if o.resource]

    def value(self, depth: int = 0) -> Any:
        draw = self._random.random()
        if depth > 3 or draw < 0.45:
            return self._random.choice(SCALARS)
        if draw < 0.7:
            return [self.value(depth + 1) for _ in range(self._random.randint(0, 3))]
        return {self._random.choice(KEYS): self.value(depth + 1) for _ in range(self._random.randint(0, 5))}

    def request(self) -> tuple[str, str, bytes, str]:
        """Return method, path with query, body and content type."""
        choose = self._random.choice
        operation = choose(self._operations)
        path = operation.path.format(namespace=choose(("default", "none")), name=choose(("a", "b")))
        query = [f"{choose(QUERIES)}={choose(VALUES)}" for _ in range(self._random.randint(0, 2))]
        if operation.verb == "watch":
            query.append("watch=true")
        body = self.value()
        if isinstance(body, dict) and self._random.random() < 0.8:
            resource = self._kinds[operation.resource]
            body |= {"apiVersion": resource.api_version, "kind": resource.kind}
            body.setdefault("metadata", {"name": choose(("a", "b"))})
        raw = msgspec.json.encode(body) if self._random.random() > 0.05 else self._random.randbytes(40)
        media = choose(MEDIA) if operation.method == "PATCH" or self._random.random() < 0.1 else MEDIA[0]
        return operation.method, f"{path}?{'&'.join(query)}", raw, media


@pytest.mark.parametrize("seed", range(3))
async def test_nonsense_is_answered_in_kind(server: ApiServer, ask: Asker, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    broke: list[str] = []
    monkeypatch.setattr(dispatch.log, "exception", lambda *a, **k: broke.append(str(k.get("extra"))))
    await ask("POST", "/api/v1/namespaces/default/pods", pod("a"))
    nonsense = Nonsense(server, seed)

    for _ in range(600):
        method, path, body, media = nonsense.request()
        response = await ask.raw(method, path, body, content_type=media)
        if not isinstance(response.body, bytes):
            await cast("AsyncGenerator[bytes, None]", response.body).aclose()

    assert broke == []
    assert (await ask("GET", "/api/v1/namespaces/default"))[0] == 200
