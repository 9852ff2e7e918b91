"""Questions about access: reviews are created, answered and never stored."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.access.attributes import Attributes, refusal
from skerry.apiserver.access.authorise import Access
from skerry.apiserver.access.tokens.authenticate import Tokens
from skerry.apiserver.http.answers import json_answer
from skerry.apiserver.http.message import Response, User
from skerry.apiserver.http.resources import Call, Resources
from skerry.apiserver.registry.body import read_as
from skerry.apiserver.registry.encoding import dumps
from skerry.apiserver.registry.options import write_options
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.schema.rules.common import go_invalid
from skerry.model.errors import Cause, bad_request, invalid, invalid_value
from skerry.model.objects import Object

_AUTHORIZATION, _AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"


class Reviews:
    """The handlers, ready to be added to `Resources`."""

    def __init__(self, registry: Registry, access: Access, tokens: Tokens) -> None:
        self._registry, self._access, self._tokens = registry, access, tokens

    def add_to(self, resources: Resources) -> None:
        for plural in ("selfsubjectaccessreviews", "subjectaccessreviews", "localsubjectaccessreviews"):
            resources.add(f"{plural}.{_AUTHORIZATION}", "", self.access)
        resources.add(f"selfsubjectrulesreviews.{_AUTHORIZATION}", "", self.rules)
        resources.add(f"selfsubjectreviews.{_AUTHENTICATION}", "", self.myself)
        resources.add(f"tokenreviews.{_AUTHENTICATION}", "", self.token)

    async def access(self, call: Call) -> Response:
        """May this user do that?"""
        review, spec = self._read(call)
        causes = complaints(spec, own=call.target.plural.startswith("self"), namespace=call.target.namespace)
        if causes:
            raise invalid(call.kind.resource.kind, call.kind.resource.group, "", causes)
        user = call.request.user if call.target.plural.startswith("self") else _user_of(spec)
        asked = _asked(user, spec)
        allowed = self._access.allowed(asked)
        status: Object = {"allowed": allowed}
        reason = refusal(asked).message if asked.user.node and not allowed else self._access.rbac.reason(asked) if allowed else ""
        if reason:
            status["reason"] = reason
        return self._answer(call, review, status)

    async def rules(self, call: Call) -> Response:
        """What may I do in this namespace?"""
        review, spec = self._read(call)
        namespace = spec.get("namespace")
        if not namespace:
            raise bad_request("no namespace on request")
        found = [r.to_json() for r in self._access.rules_for(call.request.user, str(namespace))]
        status = {
            "resourceRules": [r for r in found if "nonResourceURLs" not in r],
            "nonResourceRules": [r for r in found if "nonResourceURLs" in r],
            "incomplete": False,
        }
        return self._answer(call, review, status)

    async def myself(self, call: Call) -> Response:
        """Who am I?"""
        review, _ = self._read(call)
        return self._answer(call, review, {"userInfo": _info(call.request.user)})

    async def token(self, call: Call) -> Response:
        """Whose token is this, and is it meant for these audiences?"""
        review, spec = self._read(call)
        if not spec.get("token"):
            raise bad_request("token is required for TokenReview in authentication")
        audiences = [str(a) for a in spec.get("audiences") or ()]
        found = self._tokens.review(str(spec["token"]), audiences)
        if found is None:
            return self._answer(call, review, {"user": {}, "error": "invalid bearer token"})
        status: Object = {"authenticated": True, "user": _info(found[0]), "audiences": list(found[1])}
        return self._answer(call, review, status)

    def _read(self, call: Call) -> tuple[Object, dict[str, Any]]:
        options = write_options(call.request.user, call.query, call.request.query, "CreateOptions")
        review = read_as(call.kind.schema, call.request, options)
        return review, review.get("spec") or {}

    def _answer(self, call: Call, review: Object, status: Object) -> Response:
        meta = dict(review.get("metadata") or {})
        if call.target.plural == "selfsubjectreviews":
            meta["creationTimestamp"] = self._registry.timestamp()
        resource = call.kind.resource
        found = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
        if "spec" in review:
            found["spec"] = review["spec"]
        return json_answer(dumps({**found, "status": status}), 201)


def complaints(spec: dict[str, Any], *, own: bool, namespace: str) -> list[Cause]:
    """Return what is wrong with the spec of a review of access; *own*: it asks about its sender. Pure."""
    found, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    causes = []
    if found is not None and path is not None:
        why = "cannot be specified in combination with resourceAttributes"
        causes.append(go_invalid("spec.nonResourceAttributes", "authorization.NonResourceAttributes{...}", why))
    if found is None and path is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes.append(go_invalid("spec.resourceAttributes", '"null"', why))
    if not own and not spec.get("user") and not spec.get("groups"):
        causes.append(invalid_value("spec.user", "", "at least one of user or group must be specified"))
    if namespace and found is not None and (found.get("namespace") or "") != namespace:
        causes.append(invalid_value("spec.resourceAttributes.namespace", found.get("namespace") or "", "must match metadata.namespace"))
    if namespace and path is not None:
        causes.append(
            go_invalid("spec.nonResourceAttributes", "authorization.NonResourceAttributes{...}", "disallowed on this kind of request")
        )
    return causes


def _asked(user: User, spec: dict[str, Any]) -> Attributes:
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return Attributes(user, str(path.get("verb") or ""), path=str(path.get("path") or "/"))
    found = spec["resourceAttributes"]
    return Attributes(
        user,
        str(found.get("verb") or ""),
        str(found.get("group") or ""),
        str(found.get("resource") or ""),
        str(found.get("subresource") or ""),
        str(found.get("namespace") or ""),
        str(found.get("name") or ""),
    )


def _user_of(spec: dict[str, Any]) -> User:
    name, groups = spec.get("user") or "", tuple(spec.get("groups") or ())
    node = str(name).removeprefix("system:node:") if str(name).startswith("system:node:") and "system:nodes" in groups else ""
    return User(str(name), groups, node=node)


def _info(user: User) -> Object:
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {k: list(v) for k, v in user.extra.items()}
    return info
