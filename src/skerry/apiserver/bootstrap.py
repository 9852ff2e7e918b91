"""What a cluster has from its first start: namespaces, roles, priority classes, the runtime class of processes, our CRDs.

Everything is made only where it is missing; of the roles marked for it, the rules are brought up to date at every start.
"""

from __future__ import annotations

import asyncio

from skerry.apiserver.access.bootstrap import cluster_role_bindings, cluster_roles
from skerry.apiserver.http.message import User
from skerry.apiserver.registry.create import create
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.update import Change, apply
from skerry.apiserver.store import Key
from skerry.model.kinds import all_definitions
from skerry.model.objects import Object
from skerry.model.resources import SYSTEM_NAMESPACE

SERVER = User("system:apiserver", ("system:masters", "system:authenticated"))
NAMESPACES = ("kube-system", "default", "kube-public", "kube-node-lease", SYSTEM_NAMESPACE)
_KEPT_UP = ("rules", "subjects", "roleRef")
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"


async def bootstrap(registry: Registry) -> None:
    """Make what is missing."""
    rbac = [*with_aggregated_rules(cluster_roles()), *cluster_role_bindings()]
    # Together, so that a first start waits for a few commits and not for sixty.
    await asyncio.gather(
        *[ensure(registry, obj) for obj in first_objects()],
        *[ensure(registry, obj, update=_KEPT_UP) for obj in rbac if not obj.get("aggregationRule")],
        *[ensure(registry, obj, update=("aggregationRule",)) for obj in rbac if obj.get("aggregationRule")],  # rules: `access.aggregation`
        *[ensure(registry, definition.to_crd(), update=("spec",), always=True) for definition in all_definitions()],
    )


async def ensure(registry: Registry, obj: Object, *, update: tuple[str, ...] = (), always: bool = False) -> None:
    """Create *obj* unless it is there; of one that is, and that wants it (or *always*), bring the fields *update* up to date."""
    kind = registry.kinds.of(obj["apiVersion"], obj["kind"])
    assert kind is not None, f"{obj['apiVersion']} {obj['kind']} is not served"
    meta = obj["metadata"]
    namespace = meta.get("namespace", "")
    stored = registry.store.get(Key(kind.key, namespace, meta["name"]))
    if stored is None:
        await create(registry, kind, namespace, obj, WriteOptions(SERVER, internal=True))
        return
    there = decode(stored.value)
    if not update or not (always or (there["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "true"):
        return
    wanted = {k: obj[k] for k in update if k in obj}
    if any(there.get(k) != v for k, v in wanted.items()):
        await apply(registry, Change(kind, namespace, meta["name"], lambda old: {**old, **wanted}), WriteOptions(SERVER, internal=True))


def first_objects() -> list[Object]:
    """Return what is not RBAC."""
    namespaces: list[Object] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in NAMESPACES]
    why = "must not be moved from their current node."
    return [
        *namespaces,
        _priority("system-node-critical", 2_000_001_000, f"Used for system critical pods that {why}"),
        _priority(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": "process"},
            "handler": "process",
            "scheduling": {"nodeSelector": {"runtime.skerry.dev/process": "true"}},
        },
    ]


def _priority(name: str, value: int, description: str) -> Object:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "description": description,
    }


def with_aggregated_rules(roles: list[Object]) -> list[Object]:
    """Fill in the rules of roles that collect others', from those that came before them. Pure."""
    for role in roles:
        wanted = [s["matchLabels"] for s in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()]
        for other in sorted(roles, key=lambda r: str(r["metadata"]["name"])):
            if any(w.items() <= other["metadata"]["labels"].items() for w in wanted) and other is not role:
                role["rules"] += [r for r in other["rules"] if r not in role["rules"]]
    return roles
