"""The roles and bindings that every cluster has. Data, after Kubernetes' own; our kinds join admin, edit and view by aggregation.

Nothing is granted to anybody without credentials. `system:discovery` is for whoever has some.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from skerry.model.objects import Object

RBAC = "rbac.authorization.k8s.io"
_CSR = "certificates.k8s.io"
_ISSUER_PATHS = [p + end for p in ("/.well-known/openid-configuration", "/openid/v1/jwks") for end in ("", "/")]
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_OURS = ["devices", "deviceprofiles", "discoveryrules", "devicecommands", "releases", "rollouts"]
_CORE_READ = [
    "bindings", "configmaps", "endpoints", "events", "limitranges", "namespaces", "namespaces/status", "persistentvolumeclaims",
    "persistentvolumeclaims/status", "pods", "pods/log", "pods/status", "replicationcontrollers", "replicationcontrollers/scale",
    "replicationcontrollers/status", "resourcequotas", "resourcequotas/status", "serviceaccounts", "services", "services/status",
]  # fmt: skip
_APPS = ["daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets", "statefulsets/scale"]


def _rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str]) -> dict[str, Any]:
    return {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)}


def _paths(paths: Sequence[str], verbs: Sequence[str] = ("get",)) -> dict[str, Any]:
    return {"nonResourceURLs": list(paths), "verbs": list(verbs)}


_VIEW = [
    _rule([""], _CORE_READ, _READ),
    _rule(["discovery.k8s.io"], ["endpointslices"], _READ),
    _rule(["apps"], ["controllerrevisions", *_APPS, *(f"{r}/status" for r in _APPS if "/" not in r)], _READ),
    _rule(["autoscaling"], ["horizontalpodautoscalers", "horizontalpodautoscalers/status"], _READ),
    _rule(["batch"], ["cronjobs", "cronjobs/status", "jobs", "jobs/status"], _READ),
    _rule(["policy"], ["poddisruptionbudgets", "poddisruptionbudgets/status"], _READ),
    _rule(["networking.k8s.io"], ["ingresses", "ingresses/status", "networkpolicies"], _READ),
]
_EDIT = [
    _rule([""], ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"], _READ),
    _rule([""], ["serviceaccounts"], ["impersonate"]),
    _rule([""], ["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"], _WRITE),
    _rule([""], ["pods/eviction"], ["create"]),
    _rule([""], [
        "configmaps", "events", "persistentvolumeclaims", "replicationcontrollers", "replicationcontrollers/scale", "secrets",
        "serviceaccounts", "services", "services/proxy",
    ], _WRITE),
    _rule([""], ["serviceaccounts/token"], ["create"]),
    _rule(["apps"], [*_APPS, "deployments/rollback"], _WRITE),
    _rule(["autoscaling"], ["horizontalpodautoscalers"], _WRITE),
    _rule(["batch"], ["cronjobs", "jobs"], _WRITE),
    _rule(["policy"], ["poddisruptionbudgets"], _WRITE),
    _rule(["networking.k8s.io"], ["ingresses", "networkpolicies"], _WRITE),
    _rule(["coordination.k8s.io"], ["leases"], [*_WRITE, *_READ]),
]  # fmt: skip
_ADMIN = [
    _rule(["authorization.k8s.io"], ["localsubjectaccessreviews"], ["create"]),
    _rule([RBAC], ["rolebindings", "roles"], [*_WRITE, *_READ]),
]
_OUR_VIEW = [
    _rule(["skerry.dev"], [*_OURS, *(f"{r}/status" for r in _OURS)], _READ),
    _rule(["live.skerry.dev"], ["devicetwins"], ["get", "watch"]),
    _rule(["eventing.knative.dev"], ["brokers", "triggers", "brokers/status", "triggers/status"], _READ),
]
_OUR_EDIT = [
    _rule(["skerry.dev"], _OURS, _WRITE),
    _rule(["live.skerry.dev"], ["deviceinvocations"], ["create"]),
    _rule(["eventing.knative.dev"], ["brokers", "triggers"], _WRITE),
]


def _meta(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **(labels or {})},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }


def _role(name: str, rules: list[dict[str, Any]], *, aggregate_to: str = "") -> Object:
    labels = {f"{RBAC}/aggregate-to-{aggregate_to}": "true"} if aggregate_to else None
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": _meta(name, labels), "rules": rules}


def _aggregate(name: str, *, into: str = "") -> Object:
    labels = {f"{RBAC}/aggregate-to-{into}": "true"} if into else None
    selectors = [{"matchLabels": {f"{RBAC}/aggregate-to-{name}": "true"}}]
    rule = {"clusterRoleSelectors": selectors}
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": _meta(name, labels), "aggregationRule": rule, "rules": []}


def _binding(name: str, role: str, groups: Iterable[str]) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _meta(name),
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": g} for g in groups],
    }


def _requester(kind: str) -> Object:
    name = f"system:certificates.k8s.io:certificatesigningrequests:{kind}"
    return _role(name, [_rule([_CSR], [f"certificatesigningrequests/{kind}"], ["create"])])


def _approver(signer: str) -> Object:
    name = f"system:certificates.k8s.io:{signer}-approver"
    return _role(name, [{**_rule([_CSR], ["signers"], ["approve"]), "resourceNames": [f"kubernetes.io/{signer}"]}])


def cluster_roles() -> list[Object]:
    """Return the ClusterRoles; those that only collect others come after what they collect."""
    reviews = [
        _rule(["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
        _rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
    ]
    found = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"]
    return [
        _role("cluster-admin", [_rule(["*"], ["*"], ["*"]), _paths(["*"], ["*"])]),
        _role("system:basic-user", reviews),
        _role("system:discovery", [_paths(found)]),
        _role("system:public-info-viewer", [_paths(["/healthz", "/livez", "/readyz", "/version", "/version/"])]),
        _role("system:node-bootstrapper", [_rule(["certificates.k8s.io"], ["certificatesigningrequests"], ["create", *_READ])]),
        _role(
            "system:auth-delegator",
            [
                _rule(["authentication.k8s.io"], ["tokenreviews"], ["create"]),
                _rule(["authorization.k8s.io"], ["subjectaccessreviews"], ["create"]),
            ],
        ),
        _role("system:node", []),
        _role("system:service-account-issuer-discovery", [_paths(_ISSUER_PATHS)]),
        _role("system:monitoring", [_paths([f"/{p}{end}" for p in ("healthz", "livez", "readyz") for end in ("", "/*")] + ["/metrics"])]),
        *(_requester(n) for n in ("nodeclient", "selfnodeclient")),
        *(_approver(s) for s in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown")),
        _role("system:aggregate-to-view", _VIEW, aggregate_to="view"),
        _role("system:aggregate-to-edit", _EDIT, aggregate_to="edit"),
        _role("system:aggregate-to-admin", _ADMIN, aggregate_to="admin"),
        _role("skerry:aggregate-to-view", _OUR_VIEW, aggregate_to="view"),
        _role("skerry:aggregate-to-edit", _OUR_EDIT, aggregate_to="edit"),
        _role("skerry:events-reader", [_paths(["/skerry/events"])]),
        _aggregate("view", into="edit"),
        _aggregate("edit", into="admin"),
        _aggregate("admin"),
    ]


def cluster_role_bindings() -> list[Object]:
    """Return the ClusterRoleBindings. Nodes have none: the node rule alone says what a node may."""
    return [
        _binding("cluster-admin", "cluster-admin", ["system:masters"]),
        _binding("system:basic-user", "system:basic-user", ["system:authenticated"]),
        _binding("system:discovery", "system:discovery", ["system:authenticated"]),
        _binding("system:public-info-viewer", "system:public-info-viewer", ["system:authenticated"]),
        _binding("system:monitoring", "system:monitoring", ["system:monitoring"]),
        _binding("system:service-account-issuer-discovery", "system:service-account-issuer-discovery", ["system:serviceaccounts"]),
    ]
