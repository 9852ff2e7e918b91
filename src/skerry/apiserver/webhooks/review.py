"""AdmissionReview: what a webhook is asked, and what its answer means. Pure.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/{request,errors} of Kubernetes 1.32, for the wording as well.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.apiserver.http.message import User
from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.below import KINDS
from skerry.apiserver.registry.kind import Kind
from skerry.model.errors import ApiError, bad_request, internal
from skerry.model.objects import Object
from skerry.model.unreadable import NOT_JSON

API_VERSION, KIND = "admission.k8s.io/v1", "AdmissionReview"
MAX_WARNINGS = 20
MAX_WARNING = 256
"""Characters of one warning; Kubernetes' own limit for what a webhook says."""
_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


class Answer(msgspec.Struct, frozen=True):
    """What a webhook said. `patch` are JSON patch operations."""

    allowed: bool
    status: Mapping[str, Any]
    patch: list[dict[str, Any]]
    warnings: tuple[str, ...]
    annotations: Mapping[str, str]


def user_info(user: User) -> dict[str, Any]:
    found: dict[str, Any] = {"username": user.name}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {k: list(v) for k, v in user.extra.items()}
    return found


def request_of(asked: Admission, kind: Kind, *, first: bool = False) -> dict[str, Any]:
    """Return what is said about a write beside its objects, in the version of *kind*; with *first* before the server gave it a name."""
    own = asked.kind.resource
    namespace = asked.name if asked.kind.key == "namespaces" else asked.namespace
    found: dict[str, Any] = {
        "kind": _kind(kind, asked),
        "resource": _resource(kind),
        "requestKind": _kind(asked.kind, asked),
        "requestResource": {"group": own.group, "version": own.version, "resource": own.plural},
        "operation": asked.operation,
        "userInfo": user_info(asked.options.user),
        "dryRun": asked.options.dry_run,
        "options": _options(asked),
    }
    if asked.subresource:
        found["subResource"] = found["requestSubResource"] = asked.subresource
    if asked.name and not (first and asked.generated):
        found["name"] = asked.name
    if namespace:
        found["namespace"] = namespace
    return found


def _kind(kind: Kind, asked: Admission) -> dict[str, str]:
    if asked.subresource == "scale":
        return {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    below = KINDS.get((asked.kind.key, asked.subresource))
    if below is not None:
        return dict(zip(("group", "version", "kind"), below, strict=True))
    return {"group": kind.resource.group, "version": kind.resource.version, "kind": kind.resource.kind}


def _resource(kind: Kind) -> dict[str, str]:
    return {"group": kind.resource.group, "version": kind.resource.version, "resource": kind.resource.plural}


def _options(asked: Admission) -> dict[str, Any] | None:
    kind = _OPTIONS.get(asked.operation)
    if kind is None:
        return None
    found: dict[str, Any] = {"kind": kind, "apiVersion": "meta.k8s.io/v1", **_deletion(asked)}
    if asked.options.dry_run:
        found["dryRun"] = ["All"]
    if asked.options.manager:
        found["fieldManager"] = asked.options.manager
    if asked.options.field_validation != "Warn" and asked.operation != "DELETE":
        found["fieldValidation"] = asked.options.field_validation
    return found


def _deletion(asked: Admission) -> dict[str, Any]:
    """Return what DeleteOptions say beyond other options."""
    deletion = asked.deletion
    if deletion is None:
        return {}
    conditions = {k: v for k, v in (("uid", deletion.uid), ("resourceVersion", deletion.revision)) if v}
    found: dict[str, Any] = {"preconditions": conditions} if conditions else {}
    if deletion.propagation:
        found["propagationPolicy"] = deletion.propagation
    if deletion.grace_s is not None:
        found["gracePeriodSeconds"] = deletion.grace_s
    return found


def review(uid: str, request: Mapping[str, Any], new: Object | None, old: Object | None) -> bytes:
    """Return the body that a webhook is sent."""
    asked = {"uid": uid, **request, "object": new, "oldObject": old}
    return msgspec.json.encode({"kind": KIND, "apiVersion": API_VERSION, "request": asked})


class AnswerError(Exception):
    """An answer that is none; the message says what is wrong with it."""


def read_answer(body: bytes, uid: str, *, mutating: bool) -> Answer:
    """Read the AdmissionReview that came back; raises AnswerError."""
    try:
        found = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise AnswerError(f"couldn't get version/kind; json parse error: {error}") from None
    if not isinstance(found, dict) or found.get("kind") != KIND or found.get("apiVersion") != API_VERSION:
        shown = f"{found.get('apiVersion')}, Kind={found.get('kind')}" if isinstance(found, dict) else "something else"
        raise AnswerError(f"expected webhook response of {API_VERSION}, Kind={KIND}, got {shown}")
    response = found.get("response")
    if not isinstance(response, dict):
        raise AnswerError("webhook response is missing: got an AdmissionReview without a response")
    if response.get("uid") != uid:
        raise AnswerError(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    return Answer(
        allowed=response.get("allowed") is True,
        status=response["status"] if isinstance(response.get("status"), dict) else {},
        patch=_patch(response, mutating=mutating),
        warnings=tuple(str(w)[:MAX_WARNING] for w in _list(response.get("warnings"))[:MAX_WARNINGS]),
        annotations=_annotations(response.get("auditAnnotations")),
    )


def _annotations(value: Any) -> dict[str, str]:
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _patch(response: Mapping[str, Any], *, mutating: bool) -> list[dict[str, Any]]:
    patch, form = response.get("patch"), response.get("patchType")
    if not patch:
        if form:
            raise AnswerError("webhook returned response.patchType but not response.patch")
        return []
    if not mutating:
        raise AnswerError("webhook returned response.patch, which is forbidden for validating webhooks")
    if form != "JSONPatch":
        raise AnswerError(f'webhook returned invalid response.patchType of "{form or ""}"')
    try:
        operations = msgspec.json.decode(base64.b64decode(str(patch), validate=True))
    except (binascii.Error, *NOT_JSON):
        raise AnswerError("webhook returned a response.patch that is not base64 of a JSON patch") from None
    if not isinstance(operations, list) or not all(isinstance(o, dict) for o in operations):
        raise AnswerError("webhook returned a response.patch that is not a list of operations")
    return operations


def denied(name: str, status: Mapping[str, Any]) -> ApiError:
    """Return the error for a webhook that said no, with the code and the reason that it gave."""
    code = status.get("code")
    code = code if isinstance(code, int) and 400 <= code < 600 else 400
    reason = str(status.get("reason") or "")
    text = f'admission webhook "{name}" denied the request'
    why = str(status.get("message") or reason)
    details = status.get("details")
    return ApiError(
        code, reason, f"{text}: {why}" if why else f"{text} without explanation", details=details if isinstance(details, dict) else None
    )


def failed(name: str, why: str) -> ApiError:
    """Return the error for a webhook that could not be asked."""
    return internal(f'failed calling webhook "{name}": {why}')


def no_dry_run(name: str) -> ApiError:
    return bad_request(f'admission webhook "{name}" does not support dry run')
