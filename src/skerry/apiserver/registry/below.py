"""What is asked of an object and stored nowhere: evictions, bindings, tokens, commands in Pods. Those outside judge it all the same.

They see the request's own object (an Eviction, a Binding, PodExecOptions) and may refuse it; nothing of it can be changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.beside import wait_outside
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.registry import Registry
from skerry.model.objects import Object

KINDS: Mapping[tuple[str, str], tuple[str, str, str]] = {
    ("pods", "eviction"): ("policy", "v1", "Eviction"),
    ("pods", "binding"): ("", "v1", "Binding"),
    ("pods", "exec"): ("", "v1", "PodExecOptions"),
    ("pods", "attach"): ("", "v1", "PodAttachOptions"),
    ("pods", "portforward"): ("", "v1", "PodPortForwardOptions"),
    ("pods", "proxy"): ("", "v1", "PodProxyOptions"),
    ("services", "proxy"): ("", "v1", "ServiceProxyOptions"),
    ("serviceaccounts", "token"): ("authentication.k8s.io", "v1", "TokenRequest"),
}
"""The kind of the object that a request on a subresource brings."""


async def admit_below(
    registry: Registry, kind: Kind, namespace: str, name: str, obj: Object, options: WriteOptions, *, subresource: str, operation: str
) -> None:
    """Raise ApiError when somebody outside refuses; does not suspend unless there is somebody to wait for."""
    outside = registry.chain.outside
    if outside is None or options.internal:
        return
    group, version, name_of_kind = KINDS[kind.key, subresource]
    shown = {**obj, "apiVersion": f"{group}/{version}" if group else version, "kind": name_of_kind}
    waiting = outside.below(Admission(operation, kind, namespace, name, shown, None, options, registry, subresource))
    if waiting is not None:
        await wait_outside(waiting, options.place)
