"""What a node may do: a table, and nothing that is not in it. Pure but for look-ups of stored objects.

A node reaches its own Node and Lease, the Pods bound to it, the Secrets and ConfigMaps that these (or its Devices) name,
its Devices and their profiles, and the Brokers and Triggers of its Site. It names what it wants in its selectors; a request
that does not is refused, so no list or watch can show another's objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from skerry.apiserver.access.attributes import Attributes
from skerry.model.objects import Object, annotations_of, dig, labels_of
from skerry.model.resources import SITE_LABEL
from skerry.model.selectors import Selector, SelectorError, parse_fields, parse_labels

LEASES_NAMESPACE = "kube-node-lease"
HUB_LABELS = "skerry.dev/"
"""Labels and annotations under this prefix are set by the hub only."""
HOSTNAME = "kubernetes.io/hostname"
_KUBERNETES = ("kubernetes.io", "k8s.io")
_NODES_OWN = ("node.kubernetes.io", "kubelet.kubernetes.io")
_NODES_LABELS = frozenset((
    HOSTNAME, "kubernetes.io/arch", "kubernetes.io/os", "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
    "beta.kubernetes.io/arch", "beta.kubernetes.io/os",
))  # fmt: skip
"""Of Kubernetes' own labels a node sets these, and those of its own prefixes, as with the NodeRestriction of Kubernetes."""
MAX_EXTENDS = 16
NOT_READY = "node.kubernetes.io/not-ready"


class Facts(Protocol):
    """What the rule looks up."""

    def get(self, key: str, namespace: str, name: str) -> Object | None:
        """Return one stored object."""
        ...

    def pods_of(self, node: str, namespace: str) -> Iterator[Object]:
        """Return the Pods in *namespace* that are bound to *node*."""
        ...

    def devices_of(self, node: str, namespace: str) -> Iterator[Object]:
        """Return the Devices in *namespace* that are placed on *node*."""
        ...


def allowed(asked: Attributes, facts: Facts) -> bool:
    """Say whether the node may ask for this; what it writes is judged by `refusal_of_write`."""
    node = asked.user.node
    if asked.path or not node:
        return False
    group = f".{asked.group}" if asked.group else ""
    rule = _RULES.get(f"{asked.resource}{group}")
    return rule is not None and rule(node, asked, facts)


def _own_node(node: str, asked: Attributes, facts: Facts) -> bool:
    if asked.verb == "create":
        return not asked.subresource  # of which name: judged with the object
    if asked.subresource not in ("", "status"):
        return False
    if asked.verb in ("get", "patch", "update"):
        return asked.name == node
    return asked.verb in ("list", "watch") and _field(asked, "metadata.name") == node


def _own_lease(node: str, asked: Attributes, facts: Facts) -> bool:
    if asked.namespace != LEASES_NAMESPACE or asked.subresource:
        return False
    return asked.verb == "create" or (asked.verb in ("get", "patch", "update") and asked.name == node)


def _own_pods(node: str, asked: Attributes, facts: Facts) -> bool:
    if asked.verb in ("list", "watch"):
        return not asked.subresource and _field(asked, "spec.nodeName") == node
    verbs = {"": ("get", "delete"), "status": ("get", "patch", "update")}.get(asked.subresource, ())
    if asked.verb not in verbs or not asked.name:
        return False
    pod = facts.get("pods", asked.namespace, asked.name)
    return pod is not None and dig(pod, "spec", "nodeName") == node


def _events(node: str, asked: Attributes, facts: Facts) -> bool:
    return asked.verb in ("create", "patch", "update") and not asked.subresource and bool(asked.namespace)


def _referenced(references: Callable[[Object], Iterator[str]], *, devices: bool) -> Callable[[str, Attributes, Facts], bool]:
    def rule(node: str, asked: Attributes, facts: Facts) -> bool:
        name = _single_name(asked)
        if not name or not asked.namespace:
            return False
        if any(name in references(pod) for pod in facts.pods_of(node, asked.namespace)):
            return True
        return devices and any(name in device_secrets(d) for d in facts.devices_of(node, asked.namespace))

    return rule


def _tokens(node: str, asked: Attributes, facts: Facts) -> bool:
    """Tokens of the accounts of its own Pods; that each is bound to such a Pod is judged by `refusal_of_token`."""
    if asked.verb != "create" or asked.subresource != "token" or not asked.name:
        return False
    return any(dig(pod, "spec", "serviceAccountName") == asked.name for pod in facts.pods_of(node, asked.namespace))


def refusal_of_token(node: str, namespace: str, account: str, spec: Mapping[str, Any], facts: Facts) -> str:
    """Return why the node may not have the token that a TokenRequest's *spec* asks for, "" when it may."""
    bound = spec.get("boundObjectRef") or {}
    if bound.get("kind") != "Pod" or not bound.get("uid"):
        return "a node asks for tokens that are bound to a Pod of its own, by name and uid"
    pod = facts.get("pods", namespace, str(bound.get("name")))
    if pod is None or dig(pod, "metadata", "uid") != bound["uid"] or dig(pod, "spec", "nodeName") != node:
        return "the Pod is another node's, or is not there"
    if dig(pod, "spec", "serviceAccountName") != account:
        return f"the Pod does not run as {account}"
    others = sorted({str(a) for a in spec.get("audiences") or ()} - set(pod_audiences(pod)))
    return f"no volume of the Pod asks for a token for {', '.join(others)}" if others else ""


def pod_audiences(pod: Object) -> Iterator[str]:
    """Yield the audiences for which a Pod's volumes want tokens."""
    for volume in dig(pod, "spec", "volumes", default=()):
        for source in dig(volume, "projected", "sources", default=()):
            yield str(dig(source, "serviceAccountToken", "audience", default=""))


def _devices(node: str, asked: Attributes, facts: Facts) -> bool:
    if asked.verb in ("list", "watch"):
        return not asked.subresource and _field(asked, "status.nodeName") == node
    verbs = {"": ("get",), "status": ("get", "patch", "update")}.get(asked.subresource, ())
    if asked.verb not in verbs or not asked.name:
        return False
    device = facts.get("devices.skerry.dev", asked.namespace, asked.name)
    return device is not None and dig(device, "status", "nodeName") == node


def _profiles(node: str, asked: Attributes, facts: Facts) -> bool:
    name = _single_name(asked)
    return bool(name and asked.namespace) and name in profiles_of(node, asked.namespace, facts)


def _at_its_site(node: str, asked: Attributes, facts: Facts) -> bool:
    """Brokers and Triggers: only those of the node's Site, or those of every Site, and only by such a selector."""
    if asked.verb not in ("list", "watch") or asked.subresource or asked.fields:
        return False
    try:
        selector = parse_labels(asked.labels)
    except SelectorError:
        return False
    return _says_site(selector, _site_of(node, facts))


def _says_site(selector: Selector, site: str) -> bool:
    if len(selector.requirements) != 1 or selector.requirements[0].key != SITE_LABEL:
        return False
    return selector.requirements[0].op == "absent" or (bool(site) and selector.exact(SITE_LABEL) == site)


def _site_of(node: str, facts: Facts) -> str:
    found = facts.get("nodes", "", node)
    return labels_of(found).get(SITE_LABEL, "") if found is not None else ""


def _read_all(node: str, asked: Attributes, facts: Facts) -> bool:
    return asked.verb in ("get", "list", "watch") and not asked.subresource


def _single_name(asked: Attributes) -> str:
    """Return the one name that is read, "" when the request is no such thing."""
    if asked.subresource or asked.labels:
        return ""
    if asked.verb == "get":
        return asked.name
    return _field(asked, "metadata.name") if asked.verb in ("list", "watch") else ""


def _field(asked: Attributes, path: str) -> str:
    """Return the value that the field selector pins *path* to; "" unless that is all it says."""
    try:
        selector = parse_fields(asked.fields)
    except SelectorError:
        return ""
    return selector.exact(path) or "" if len(selector.terms) == 1 else ""


def pod_secrets(pod: Object) -> Iterator[str]:
    """Yield the names of the Secrets that a Pod uses."""
    spec = pod.get("spec") or {}
    for ref in spec.get("imagePullSecrets") or ():
        yield str(ref.get("name"))
    for volume in spec.get("volumes") or ():
        yield str(dig(volume, "secret", "secretName", default=""))
        for source in dig(volume, "projected", "sources", default=()):
            yield str(dig(source, "secret", "name", default=""))
    for container in _containers(spec):
        yield from _env_names(container, "secretRef", "secretKeyRef")


def pod_configmaps(pod: Object) -> Iterator[str]:
    """Yield the names of the ConfigMaps that a Pod uses."""
    spec = pod.get("spec") or {}
    for volume in spec.get("volumes") or ():
        yield str(dig(volume, "configMap", "name", default=""))
        for source in dig(volume, "projected", "sources", default=()):
            yield str(dig(source, "configMap", "name", default=""))
    for container in _containers(spec):
        yield from _env_names(container, "configMapRef", "configMapKeyRef")


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("containers", "initContainers", "ephemeralContainers"):
        yield from spec.get(key) or ()


def _env_names(container: Mapping[str, Any], whole: str, single: str) -> Iterator[str]:
    for source in container.get("envFrom") or ():
        yield str(dig(source, whole, "name", default=""))
    for variable in container.get("env") or ():
        yield str(dig(variable, "valueFrom", single, "name", default=""))


def device_secrets(device: Object) -> Iterator[str]:
    """Yield the names of the Secrets that a Device's connection uses."""
    yield str(dig(device, "spec", "connection", "credentials", "secretRef", "name", default=""))


def profiles_of(node: str, namespace: str, facts: Facts) -> set[str]:
    """Return the profiles of the node's Devices in a namespace, with what they extend."""
    waiting = [str(dig(d, "spec", "profile", default="")) for d in facts.devices_of(node, namespace)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if not name or name in found:
            continue
        found.add(name)
        profile = facts.get("deviceprofiles.skerry.dev", namespace, name)
        extends = dig(profile, "spec", "extends", default=())
        waiting += [str(e) for e in ([extends] if isinstance(extends, str) else extends)[:MAX_EXTENDS]]
    return found


_RULES: dict[str, Callable[[str, Attributes, Facts], bool]] = {
    "nodes": _own_node,
    "leases.coordination.k8s.io": _own_lease,
    "pods": _own_pods,
    "events": _events,
    "secrets": _referenced(pod_secrets, devices=True),
    "serviceaccounts": _tokens,
    "configmaps": _referenced(pod_configmaps, devices=False),
    "devices.skerry.dev": _devices,
    "deviceprofiles.skerry.dev": _profiles,
    "brokers.eventing.knative.dev": _at_its_site,
    "triggers.eventing.knative.dev": _at_its_site,
    "runtimeclasses.node.k8s.io": _read_all,
}


def refusal_of_write(node: str, key: str, new: Object | None, old: Object | None, *, facts: Facts) -> str:
    """Return why the node may not write this object, "" when it may; *new* is None for a deletion."""
    judge = _WRITES.get(key)
    return "" if judge is None else judge(node, new, old, facts)


def _judge_node(node: str, new: Object | None, old: Object | None, facts: Facts) -> str:
    if new is None:
        return "a node cannot delete its Node"
    if dig(new, "metadata", "name") != node:
        return f"node {node} cannot write the Node {dig(new, 'metadata', 'name', default='')!r}"
    before, after = labels_of(old or {}), labels_of(new)
    changed = changed_hub_labels(before, after) or changed_hub_labels(annotations_of(old or {}), annotations_of(new))
    if changed:
        return f"only the hub sets labels under {HUB_LABELS}: {', '.join(changed)}"
    differ = changed_keys(before, after)
    others = [k for k in differ if not _is_nodes_label(k)]
    if others:
        return f"a node does not set the labels {', '.join(others)}"
    if HOSTNAME in differ and after.get(HOSTNAME) != node:
        return f"the label {HOSTNAME} of node {node} can only be {node}"
    if _taints(new, born=old is None) != _taints(old, born=False):
        return "a node cannot change its taints"
    if old is not None and bool(dig(new, "spec", "unschedulable")) != bool(dig(old, "spec", "unschedulable")):
        return "a node cannot cordon or uncordon itself"
    if (dig(new, "metadata", "ownerReferences") or None) != (dig(old, "metadata", "ownerReferences") or None):
        return "a node cannot change its owners"
    if (dig(new, "metadata", "finalizers") or None) != (dig(old, "metadata", "finalizers") or None):
        return "a node cannot change its finalizers: it could keep itself from being deleted"
    return ""


def _taints(obj: Object | None, *, born: bool) -> list[Any]:
    """Return the taints; of a Node that is being made, without the one that admission gave it."""
    found = dig(obj, "spec", "taints", default=[])
    return [t for t in found if not (born and t.get("key") == NOT_READY)]


def changed_hub_labels(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the labels under `skerry.dev/` (not of its subdomains) that differ."""
    return [k for k in changed_keys(before, after) if k.startswith(HUB_LABELS)]


def changed_keys(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the keys whose values differ, sorted."""
    return sorted(k for k in {*before, *after} if before.get(k) != after.get(k))


def _is_nodes_label(key: str) -> bool:
    """Say whether a node may set this label: not one of Kubernetes' that says what it is trusted with."""
    prefix = key.rpartition("/")[0]
    if key in _NODES_LABELS or not _is_of(prefix, _KUBERNETES):
        return True
    return _is_of(prefix, _NODES_OWN)


def _is_of(prefix: str, domains: tuple[str, ...]) -> bool:
    return any(prefix == d or prefix.endswith(f".{d}") for d in domains)


def _judge_lease(node: str, new: Object | None, old: Object | None, facts: Facts) -> str:
    name = dig(new, "metadata", "name", default="")
    return "" if name == node else f"node {node} cannot write the Lease {name!r}"


def _judge_pod(node: str, new: Object | None, old: Object | None, facts: Facts) -> str:
    if old is not None and dig(old, "spec", "nodeName") != node:
        return "the Pod is another node's"
    if new is not None and old is not None and labels_of(new) != labels_of(old):
        return "a node cannot change the labels of a Pod"
    return ""


def _judge_device(node: str, new: Object | None, old: Object | None, facts: Facts) -> str:
    for obj in (new, old):
        if obj is not None and dig(obj, "status", "nodeName") != node:
            return "the Device is another node's"
    return ""


def _judge_event(node: str, new: Object | None, old: Object | None, facts: Facts) -> str:
    if new is None or any(dig(o, "source", "host") != node for o in (new, old) if o is not None):
        return f"a node writes Events whose source.host is {node}, and no others"
    about = new.get("involvedObject") or {}
    kind, namespace, name = about.get("kind"), str(about.get("namespace") or ""), str(about.get("name") or "")
    if kind == "Node":
        return "" if name == node else f"node {node} cannot write Events about the Node {name!r}"
    key = {"Pod": "pods", "Device": "devices.skerry.dev"}.get(str(kind))
    if key is not None:
        found = facts.get(key, namespace, name)
        where = dig(found, "spec", "nodeName") if kind == "Pod" else dig(found, "status", "nodeName")
        return "" if found is None or where == node else f"{kind} {namespace}/{name} is another node's"
    if kind in ("Broker", "Trigger"):
        plural = f"{str(kind).lower()}s.eventing.knative.dev"
        site = labels_of(facts.get(plural, namespace, name) or {}).get(SITE_LABEL, "")
        return "" if site in ("", _site_of(node, facts)) else f"{kind} {namespace}/{name} is another Site's"
    return f"node {node} cannot write Events about a {kind}"


_WRITES: dict[str, Callable[[str, Object | None, Object | None, Facts], str]] = {
    "nodes": _judge_node,
    "leases.coordination.k8s.io": _judge_lease,
    "pods": _judge_pod,
    "devices.skerry.dev": _judge_device,
    "events": _judge_event,
}
