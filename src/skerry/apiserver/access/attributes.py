"""What is asked for, as authorisation sees it: a verb on a resource, or a method on a path."""

from __future__ import annotations

import msgspec

from skerry.apiserver.http.message import User
from skerry.model.errors import ApiError, forbidden


class Attributes(msgspec.Struct, frozen=True):
    """One question. `path` is set instead of a resource for everything that is not one.

    `labels` and `fields` are the raw selectors of a list or watch: the node rule reads them. `size` is how many bytes were sent.
    """

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    labels: str = ""
    fields: str = ""
    size: int = 0

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def refusal(asked: Attributes, reason: str = "") -> ApiError:
    """Return the 403 in Kubernetes' words; *reason* is appended when there is something to add."""
    tail = f": {reason}" if reason else ""
    if asked.path:
        message = f'forbidden: User "{asked.user.name}" cannot {asked.verb} path "{asked.path}"{tail}'
        return ApiError(403, "Forbidden", message, details={})
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = f'User "{asked.user.name}" cannot {asked.verb} resource "{asked.full_resource}" in API group "{asked.group}" {where}{tail}'
    return forbidden(asked.resource, asked.group, asked.name, why)
