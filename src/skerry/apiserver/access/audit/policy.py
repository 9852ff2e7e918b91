"""What is worth a line. Pure.

Logged: every write, every stream into a Pod or node, every read of Secrets and of logs, everything done as somebody else, and every
refusal. Left out: other reads; the renewal of Leases; Events; what a node says of the status of its own objects; questions
about one's own rights. These are most of all requests and say nothing that the objects do not say.
"""

from __future__ import annotations

import re

from skerry.apiserver.http.message import User
from skerry.apiserver.http.paths import Target

REFUSED = (401, 403)
_SENSITIVE = re.compile("/(?:secrets|log|exec|attach|portforward|proxy)")
_CHATTER = frozenset(("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"))
_NODES_STATUS = frozenset(("nodes", "pods", "devices"))


def glance(method: str, path: str, status: int, *, impersonated: bool) -> bool:
    """Say quickly whether a request may be worth a line: nearly all reads are not."""
    if method != "GET" or status in REFUSED or impersonated:
        return True
    return _SENSITIVE.search(path) is not None


def wanted(verb: str, target: Target | None, user: User, status: int) -> bool:
    """Say whether a request is worth a line."""
    if status in REFUSED or target is None:
        return True
    resource, subresource = target.plural, target.subresource
    if resource in _CHATTER or resource == "events":
        return False
    if resource == "leases":
        return verb not in ("update", "patch")
    return not (user.node and verb in ("update", "patch") and subresource in ("", "status") and resource in _NODES_STATUS)
