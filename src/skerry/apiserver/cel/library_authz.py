"""`authorizer` in expressions: may somebody do this? A chain of small values that ends in a decision.

Source: k8s.io/apiserver/pkg/cel/library/authz.go of Kubernetes 1.32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from skerry.apiserver.cel.errors import EvaluationError
from skerry.apiserver.cel.functions import AUTHORIZER, DECISION, GROUP_CHECK, PATH_CHECK, RESOURCE_CHECK, define
from skerry.apiserver.cel.types import BOOL, STRING
from skerry.apiserver.cel.values import Authorizer, Check, Decision

COST = 3_500
"""Units of one decision: it reads all roles of a user."""


def add() -> None:
    chain: list[tuple[str, Any, Any, Callable[..., Any]]] = [
        ("path", AUTHORIZER, PATH_CHECK, lambda a, path: Check(a, path=_path(path))),
        ("group", AUTHORIZER, GROUP_CHECK, lambda a, group: Check(a, group=group)),
        ("resource", GROUP_CHECK, RESOURCE_CHECK, lambda c, name: replace(c, resource=name)),
        ("subresource", RESOURCE_CHECK, RESOURCE_CHECK, lambda c, name: replace(c, subresource=name)),
        ("namespace", RESOURCE_CHECK, RESOURCE_CHECK, lambda c, name: replace(c, namespace=name)),
        ("name", RESOURCE_CHECK, RESOURCE_CHECK, lambda c, name: replace(c, name=name)),
    ]
    for name, of, result, do in chain:
        define(name, (of, STRING), result, do, member=True)
    define("serviceAccount", (AUTHORIZER, STRING, STRING), AUTHORIZER, _account, member=True)
    for of in (PATH_CHECK, RESOURCE_CHECK):
        define("check", (of, STRING), DECISION, lambda c, verb: Decision(c.authorizer.allowed(c, verb)), member=True, cost=lambda *_: COST)
    define("allowed", (DECISION,), BOOL, lambda d: d.allowed, member=True)
    define("reason", (DECISION,), STRING, lambda d: "", member=True)
    define("errored", (DECISION,), BOOL, lambda d: False, member=True)
    define("error", (DECISION,), STRING, lambda d: "", member=True)


def _path(path: str) -> str:
    if not path:
        raise EvaluationError("path must not be empty")
    return path


def _account(authorizer: Authorizer, namespace: str, name: str) -> Authorizer:
    if not name or ":" in name or ":" in namespace or not namespace:
        raise EvaluationError(f"Invalid service account name {namespace}/{name}")
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return authorizer.acting_as(f"system:serviceaccount:{namespace}:{name}", groups)
