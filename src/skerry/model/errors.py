"""Errors in Kubernetes' words, shared by the server that answers them and the client that meets them.

One class, because callers branch on `reason`; one constructor a reason, because the messages are part of the API.
Source: k8s.io/apimachinery/pkg/api/errors.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_CAUSES = 100
"""How many things that are wrong one answer names: an object can have tens of thousands."""


class Cause(msgspec.Struct, frozen=True):
    """One thing that is wrong with one field: `reason` is FieldValueRequired, FieldValueInvalid, ..."""

    field: str
    reason: str
    message: str

    def to_json(self) -> dict[str, str]:
        found = {"reason": self.reason, "message": self.message, "field": self.field}
        return {k: v for k, v in found.items() if v}

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def required(field: str, detail: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", f"Required value{': ' + detail if detail else ''}")


def invalid_value(field: str, value: Any, detail: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {_quoted(value)}: {detail}")


def not_supported(field: str, value: Any, supported: list[str]) -> Cause:
    choices = ", ".join(f'"{s}"' for s in supported)
    return Cause(field, "FieldValueNotSupported", f"Unsupported value: {_quoted(value)}: supported values: {choices}")


def forbidden_field(field: str, detail: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {detail}")


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, (int, float)):
        return str(value)
    return f'"{value}"' if isinstance(value, str) else str(value)


class ApiError(Exception):
    """A Kubernetes `Status` of failure: what the API answers, and what a client raises.

    `code` is the HTTP status, `reason` the machine-readable word, `details` as in `Status.details`; `warnings` are said beside it.
    """

    def __init__(self, code: int, reason: str, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.warnings: tuple[str, ...] = ()

    def to_status(self) -> dict[str, Any]:
        """Return the `Status` object of apimachinery."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }
        return {k: v for k, v in status.items() if v or k in ("metadata", "status")}

    @classmethod
    def from_status(cls, status: dict[str, Any]) -> ApiError:
        return cls(
            int(status.get("code") or 500),
            str(status.get("reason") or "Unknown"),
            str(status.get("message") or "no message"),
            details=status.get("details") or {},
        )


def _details(resource: str, group: str, name: str = "", **more: Any) -> dict[str, Any]:
    found = {"name": name, "group": group, "kind": resource, **more}
    return {k: v for k, v in found.items() if v}


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def not_found(resource: str, group: str, name: str) -> ApiError:
    """*resource* is the plural name, as `Status.details.kind` has it for this reason."""
    return ApiError(404, "NotFound", f'{_qualified(resource, group)} "{name}" not found', details=_details(resource, group, name))


def already_exists(resource: str, group: str, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{_qualified(resource, group)} "{name}" already exists', details=_details(resource, group, name))


def conflict(resource: str, group: str, name: str, why: str = "") -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {_qualified(resource, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_details(resource, group, name))


def forbidden(resource: str, group: str, name: str, why: str) -> ApiError:
    what = f'{_qualified(resource, group)} "{name}"' if name else _qualified(resource, group)
    return ApiError(403, "Forbidden", f"{what} is forbidden: {why}", details=_details(resource, group, name))


def invalid(kind: str, group: str, name: str, causes: list[Cause]) -> ApiError:
    """*kind* is the Kind, not the plural, as `Status.details.kind` has it for this reason."""
    shown = causes[:MAX_CAUSES]
    more = [f"and {len(causes) - MAX_CAUSES} more"] if len(causes) > MAX_CAUSES else []
    told = [*dict.fromkeys(map(str, shown)), *more]  # what was found twice is said once
    text = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    details = _details(kind, group, name, causes=[c.to_json() for c in shown])
    return ApiError(422, "Invalid", f'{_qualified(kind, group)} "{name}" is invalid: {text}', details=details)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> ApiError:
    return ApiError(401, "Unauthorized", message)


def expired(message: str) -> ApiError:
    """The revision that was asked for is no longer held: list again."""
    return ApiError(410, "Expired", message)


def method_not_allowed(resource: str, verb: str) -> ApiError:
    details = {"kind": resource} if resource else {}
    return ApiError(405, "MethodNotAllowed", f'{verb} is not supported on resources of kind "{resource}"', details=details)


def not_acceptable(accepted: list[str]) -> ApiError:
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return ApiError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: list[str]) -> ApiError:
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", message)


def too_large(limit_bytes: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit_bytes}")


def too_many_requests(message: str, *, retry_after_s: int) -> ApiError:
    return ApiError(429, "TooManyRequests", message, details={"retryAfterSeconds": retry_after_s})


def unavailable(message: str, *, retry_after_s: int = 1) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message, details={"retryAfterSeconds": retry_after_s})


def refusal_of_the_disk(status: int, message: str) -> ApiError | None:
    """Return what a durable file's refusal is to a client; None for a fault of ours. A full disk is for a person, not for a retry."""
    match status:
        case 429:
            return too_many_requests(message, retry_after_s=1)
        case 503:
            return unavailable(message)
        case 507:
            return ApiError(507, "InsufficientStorage", message)
        case _:
            return None


def timeout(message: str, *, retry_after_s: int = 1) -> ApiError:
    return ApiError(504, "Timeout", message, details={"retryAfterSeconds": retry_after_s})


def internal(message: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: {message}")
