"""Names of resources: what a container can ask for, and what a quota or a range of limits can count. Pure.

Source: pkg/apis/core/validation and pkg/apis/core/helper of Kubernetes 1.32.
"""

from __future__ import annotations

from skerry.apiserver.schema.rules.common import Causes
from skerry.model.errors import invalid_value
from skerry.model.names import qualified_name_error

OF_CONTAINERS = frozenset(("cpu", "memory", "ephemeral-storage"))
COMPUTE = OF_CONTAINERS | {f"{what}.{name}" for what in ("limits", "requests") for name in OF_CONTAINERS}
OF_QUOTAS = COMPUTE | {
    "requests.storage", "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "persistentvolumeclaims", "configmaps",
    "services.nodeports", "services.loadbalancers",
}  # fmt: skip
_STANDARD = OF_QUOTAS | {"storage"}


def resource_name(name: str, field: str, causes: Causes) -> None:
    """Check the name of any resource."""
    if wrong := qualified_name_error(name):
        causes.append(invalid_value(field, name, wrong))
    elif "/" not in name and name not in _STANDARD and not name.startswith(("hugepages-", "requests.hugepages-")):
        causes.append(invalid_value(field, name, "must be a standard resource type or fully qualified"))


def container_resource(name: str, field: str, causes: Causes) -> None:
    """Check the name of what a container can ask for; a wrong one is wrong twice, as in Kubernetes."""
    resource_name(name, field, causes)
    if "/" not in name:
        if name not in OF_CONTAINERS and not name.startswith("hugepages-"):
            causes.append(invalid_value(field, name, "must be a standard resource for containers"))
    elif "kubernetes.io/" not in name and (name.startswith("requests.") or qualified_name_error(f"requests.{name}")):
        causes.append(invalid_value(field, name, "doesn't follow extended resource name standard"))


def quota_resource(name: str, field: str, causes: Causes) -> None:
    """Check the name of what a quota can count."""
    resource_name(name, field, causes)
    if "/" not in name and name not in OF_QUOTAS and not name.startswith(("hugepages-", "requests.hugepages-")):
        causes.append(invalid_value(field, name, "must be a standard resource for quota"))
