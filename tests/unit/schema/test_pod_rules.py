"""What is wrong with Pods, in Kubernetes' words: placement, identity, DNS, what a container is told, volumes, probes and hooks."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.schema.pipeline import a_deployment, a_pod, complaints, kind, texts

REQUIRED, PREFERRED = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
IDS = "must be between 0 and 2147483647, inclusive"


def _said(**spec: Any) -> list[str]:
    return texts(complaints(kind("Pod"), a_pod(**spec)))


def _said_of(**container: Any) -> list[str]:
    volumes = container.pop("volumes", [])
    body = {"name": "c", "image": "app:1", **container}
    return [t.replace("spec.containers[0]", "C") for t in _said(containers=[body], volumes=volumes)]


def _node(**term: Any) -> dict[str, Any]:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [term]}}}


@pytest.mark.parametrize(
    ("affinity", "said"),
    [
        (
            {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}},
            "nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            _node(matchExpressions=[{"key": "a", "operator": "In"}]),
            "matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            _node(matchExpressions=[{"key": "a", "operator": "Exists", "values": ["b"]}]),
            "matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (
            _node(matchExpressions=[{"key": "a", "operator": "Gt", "values": ["1", "2"]}]),
            "matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        (
            _node(matchExpressions=[{"key": "a", "operator": "Is"}]),
            'matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
        ),
        (
            _node(matchFields=[{"key": "metadata.uid", "operator": "In", "values": ["b"]}]),
            'matchFields[0].key: Invalid value: "metadata.uid": not a valid field selector key',
        ),
        (
            _node(matchFields=[{"key": "metadata.name", "operator": "In", "values": []}]),
            "matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
        ({"nodeAffinity": {PREFERRED: [{"weight": 0, "preference": {}}]}}, "weight: Invalid value: 0: must be in the range 1-100"),
        (
            {"podAffinity": {PREFERRED: [{"weight": 101, "podAffinityTerm": {"topologyKey": "a"}}]}},
            "weight: Invalid value: 101: must be in the range 1-100",
        ),
    ],
)
def test_affinity(affinity: Any, said: str) -> None:
    (text,) = _said(affinity=affinity)

    assert text.startswith("spec.affinity.")
    assert text.endswith(said)


def test_a_pod_affinity_names_its_topology() -> None:
    first, second = _said(affinity={"podAntiAffinity": {REQUIRED: [{"labelSelector": {}}]}})

    assert first.endswith("topologyKey: Required value: can not be empty")
    assert second.endswith('topologyKey: Invalid value: "": name part must be non-empty')


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"maxSkew": 0}, "maxSkew: Invalid value: 0: must be greater than zero"),
        ({"minDomains": 0}, "minDomains: Invalid value: 0: must be greater than zero"),
        (
            {"minDomains": 2, "whenUnsatisfiable": "ScheduleAnyway"},
            "minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
        ),
        (
            {"whenUnsatisfiable": "Never"},
            'whenUnsatisfiable: Unsupported value: "Never": supported values: "DoNotSchedule", "ScheduleAnyway"',
        ),
        ({"nodeTaintsPolicy": "No"}, 'nodeTaintsPolicy: Unsupported value: "No": supported values: "Honor", "Ignore"'),
        ({"matchLabelKeys": ["a"]}, "matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"),
    ],
)
def test_spread(more: dict[str, Any], said: str) -> None:
    assert _said(topologySpreadConstraints=[SPREAD | more]) == [f"spec.topologySpreadConstraints[0].{said}"]


def test_two_constraints_are_not_about_the_same() -> None:
    assert _said(topologySpreadConstraints=[SPREAD, SPREAD]) == [
        'spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{zone, DoNotSchedule}"'
    ]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"securityContext": {"runAsUser": -1}}, f"securityContext.runAsUser: Invalid value: -1: {IDS}"),
        ({"securityContext": {"supplementalGroups": [1, -5]}}, f"securityContext.supplementalGroups[1]: Invalid value: -5: {IDS}"),
        (
            {"securityContext": {"sysctls": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}},
            'securityContext.sysctls[1].name: Duplicate value: "a"',
        ),
        (
            {"securityContext": {"fsGroupChangePolicy": "No"}},
            'securityContext.fsGroupChangePolicy: Unsupported value: "No": supported values: "Always", "OnRootMismatch"',
        ),
        (
            {"hostPID": True, "shareProcessNamespace": True},
            "securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
        ),
        ({"dnsPolicy": "None"}, "dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        (
            {"dnsPolicy": "None", "dnsConfig": {"searches": ["a."]}},
            "dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
        ),
        (
            {"dnsConfig": {"nameservers": ["1.1.1.1"] * 4}},
            'dnsConfig.nameservers: Invalid value: []string{"1.1.1.1", "1.1.1.1", "1.1.1.1", "1.1.1.1"}: must '
            "not have more than 3 nameservers",
        ),
        ({"dnsConfig": {"options": [{"value": "2"}]}}, "dnsConfig.options[0]: Required value: must not be empty"),
        (
            {"hostAliases": [{"ip": "one"}]},
            'hostAliases[0].ip: Invalid value: "one": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
        ),
        ({"schedulingGates": [{"name": "a"}, {"name": "a"}]}, 'schedulingGates[1]: Duplicate value: "a"'),
        (
            {"schedulingGates": [{"name": "a"}], "nodeName": "n"},
            "nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
        ),
        ({"os": {"name": "plan9"}}, 'os: Unsupported value: "plan9": supported values: "linux", "windows"'),
        ({"ephemeralContainers": [{"name": "e", "image": "i"}]}, "ephemeralContainers: Forbidden: cannot be set on create"),
        (
            {"volumes": [{"name": "v", "nfs": {"server": "s", "path": "p"}}]},
            'volumes[0].nfs.path: Invalid value: "p": must be an absolute path',
        ),
        (
            {"volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "x"}]}}]},
            "volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
        ),
        (
            {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "-1"}}]},
            "volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "a"}, "configMap": {"name": "b"}}]}}]},
            "volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type",
        ),
    ],
)
def test_what_a_pod_asks_for(spec: dict[str, Any], said: str) -> None:
    assert _said(**spec) == [f"spec.{said}"]


def test_a_port_of_the_host_is_taken_once() -> None:
    ports = [{"containerPort": 80, "hostPort": 8080}]
    containers = [{"name": n, "image": "i", "ports": ports} for n in ("a", "b")]

    assert _said(containers=containers) == ['spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//8080"']


def _from(**source: Any) -> list[dict[str, Any]]:
    return [{"name": "A", "valueFrom": source}]


PATHS = (
    '"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", '
    '"status.hostIPs", "status.podIP", "status.podIPs"'
)


@pytest.mark.parametrize(
    ("container", "said"),
    [
        (
            {"env": _from(fieldRef={"fieldPath": "metadata.nope"})},
            'env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.nope": error converting fieldPath: '
            "field label not supported: metadata.nope",
        ),
        (
            {"env": _from(fieldRef={"fieldPath": "metadata.labels"})},
            f'env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: {PATHS}',
        ),
        (
            {"env": _from(resourceFieldRef={"resource": "limits.cpu", "divisor": "3"})},
            'env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m '
            "and 1 are supported with the cpu resource",
        ),
        (
            {"securityContext": {"seccompProfile": {"type": "Localhost"}}},
            "securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ),
        (
            {"securityContext": {"appArmorProfile": {"type": "Unconfined", "localhostProfile": "x"}}},
            'securityContext.appArmorProfile.localhostProfile: Invalid value: "x": can only be set when AppArmor type is Localhost',
        ),
        (
            {"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}},
            "securityContext: Invalid value: core.SecurityContext{...}: cannot set `allowPrivilegeEscalation` to "
            "false and `privileged` to true",
        ),
        (
            {"volumes": [{"name": "v"}], "volumeMounts": [{"name": "v", "mountPath": "/x", "mountPropagation": "Bidirectional"}]},
            "volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
        ),
        (
            {"volumes": [{"name": "v"}], "volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "a", "subPathExpr": "b"}]},
            'volumeMounts[0].subPathExpr: Invalid value: "b": subPathExpr and subPath are mutually exclusive',
        ),
        (
            {"volumes": [{"name": "v"}], "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]},
            'volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim '
            "or Ephemeral for block mode",
        ),
        ({"resources": {"limits": {"hugepages-2Mi": "2Mi"}}}, "resources: Forbidden: HugePages require cpu or memory"),
        (
            {"resources": {"requests": {"example.com/gpu": "1"}}},
            "resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            {"resources": {"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "2"}}},
            'resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2',
        ),
        (
            {"readinessProbe": {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 3}},
            "readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must not be set for readinessProbes",
        ),
        (
            {"livenessProbe": {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 0}},
            "livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            {"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}},
            "lifecycle.preStop.sleep: Invalid value: 31: must be greater than 0 and less than terminationGracePeriodSeconds (30)",
        ),
        ({"restartPolicy": "Always"}, "restartPolicy: Forbidden: may not be set for non-init containers"),
    ],
)
def test_what_a_container_asks_for(container: dict[str, Any], said: str) -> None:
    assert _said_of(**container) == [f"C.{said}"]


def test_what_is_right_is_taken() -> None:
    term = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kubernetes.io/hostname", "namespaces": ["n"]}
    env = [
        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['Example.com/A']"}}},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    first = {"name": "i", "image": "i", "restartPolicy": "Always", "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
    resources = {"limits": {"cpu": "1", "hugepages-2Mi": "4Mi", "example.com/gpu": "1"}}
    container = {"name": "c", "image": "i", "env": env, "resources": resources, "securityContext": {"allowPrivilegeEscalation": False}}

    assert (
        _said(
            initContainers=[first],
            containers=[container],
            affinity={"podAffinity": {REQUIRED: [term]}, **_node(matchExpressions=[{"key": "a", "operator": "Lt", "values": ["3"]}])},
            topologySpreadConstraints=[SPREAD, SPREAD | {"whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}],
            securityContext={"runAsUser": 0, "fsGroup": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
            dnsPolicy="None",
            dnsConfig={"nameservers": ["10.0.0.1"], "searches": ["a.example", "."], "options": [{"name": "ndots", "value": "2"}]},
            os={"name": "linux"},
            readinessGates=[{"conditionType": "example.com/ready"}],
        )
        == []
    )


def test_init_containers_run_one_after_the_other_and_may_take_one_port_of_the_host() -> None:
    ports = [{"containerPort": 80, "hostPort": 8080}]
    init = [{"name": n, "image": "i", "ports": ports} for n in ("a", "b")]

    assert _said(initContainers=init, containers=[{"name": "c", "image": "i", "ports": ports}]) == []


def test_what_kubernetes_takes_though_it_has_no_effect() -> None:
    assert _said(affinity=_node(matchExpressions=[{"key": "a", "operator": "In", "values": ["no label", "-1"]}])) == []
    assert _said(volumes=[{"name": "v", "configMap": {"name": "c", "items": [{"key": "no key", "path": "p"}]}}]) == []


def test_names_in_the_environment_are_printable() -> None:
    assert _said_of(env=[{"name": "1 name: of mine", "value": "x"}], envFrom=[{"prefix": "2-", "configMapRef": {"name": "c"}}]) == []
    assert len(_said_of(env=[{"name": "a=b"}])) == len(_said_of(env=[{"name": "a\tb"}])) == 1


def test_how_long_a_taint_is_tolerated_may_change() -> None:
    stays: dict[str, Any] = {"key": "a", "operator": "Exists", "effect": "NoExecute"}
    old, longer, other = (
        a_pod(tolerations=[t]) for t in (stays | {"tolerationSeconds": 5}, stays | {"tolerationSeconds": 9}, {**stays, "key": "b"})
    )

    assert complaints(kind("Pod"), longer, copy.deepcopy(old)) == []
    assert complaints(kind("Pod"), other, old)


def test_a_template_may_have_an_image_in_blanks() -> None:
    template = a_deployment()
    template["spec"]["template"]["spec"]["containers"][0]["image"] = " "

    assert complaints(kind("Deployment", group="apps"), template) == []
