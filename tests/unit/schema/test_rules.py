"""What users of kubectl meet when something is wrong, and what an update may not change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from skerry.apiserver.schema import table_format
from skerry.model.kinds import all_definitions
from skerry.model.objects import Object
from tests.unit.schema.pipeline import a_crd, a_deployment, a_pod, a_wi, catalogue, complaints, custom, kind, texts


def _pod(**spec: Any) -> list[str]:
    return texts(complaints(kind("Pod"), a_pod(**spec)))


def _container(**more: Any) -> list[str]:
    return _pod(containers=[{"name": "c", "image": "i:1", **more}])


def test_a_good_pod_is_not_complained_about() -> None:
    assert (
        _pod(
            initContainers=[{"name": "i", "image": "x:1", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["t"]}}}],
            containers=[
                {
                    "name": "c",
                    "image": "host.skerry.invalid/app",
                    "ports": [{"containerPort": 80, "name": "http"}],
                    "env": [{"name": "A.b-c", "value": "1"}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                    "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "X_"}, {"secretRef": {"name": "s"}}],
                    "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/b"}],
                    "livenessProbe": {"httpGet": {"port": "http"}},
                    "readinessProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2},
                    "resources": {"limits": {"cpu": "1", "example.com/gpu": "2"}, "requests": {"cpu": "500m"}},
                }
            ],
            volumes=[
                {"name": "v", "hostPath": {"path": "/data"}},
                {"name": "w", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}},
            ],
            tolerations=[{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5}],
            nodeSelector={"skerry.dev/site": "dock-3"},
            hostNetwork=True,
            runtimeClassName="process",
        )
        == []
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (_pod(containers=[]), "spec.containers: Required value"),
        (_container(image=" i"), 'spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace'),
        (_container(ports=[{"containerPort": 0}]), "spec.containers[0].ports[0].containerPort: Required value"),
        (_container(ports=[{"containerPort": 1, "protocol": "X"}]), 'Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"'),
        (_container(ports=[{"containerPort": 1, "name": "n"}, {"containerPort": 2, "name": "n"}]), 'ports[1].name: Duplicate value: "n"'),
        (_container(ports=[{"containerPort": 1, "name": "12345"}]), "must contain at least one letter"),
        (_container(env=[{"value": "x"}]), "spec.containers[0].env[0].name: Required value"),
        (_container(env=[{"name": "A=B"}]), "a valid environment variable name must consist only of"),
        (
            _container(env=[{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
            "may not be specified when `value`",
        ),
        (_container(env=[{"name": "A", "valueFrom": {}}]), "must specify one of: `fieldRef`"),
        (
            _container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]),
            "env[0].valueFrom.secretKeyRef.key: Required value",
        ),
        (_container(envFrom=[{}]), "must specify one of: `configMapRef` or `secretRef`"),
        (_container(volumeMounts=[{"name": "v"}]), 'volumeMounts[0].name: Not found: "v"'),
        (_container(livenessProbe={}), "livenessProbe: Required value: must specify a handler type"),
        (_container(livenessProbe={"exec": {"command": ["x"]}, "successThreshold": 2}), "successThreshold: Invalid value: 2: must be 1"),
        (_container(readinessProbe={"httpGet": {"port": 0}}), "httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        (_container(resources={"limits": {"cpu": "-1"}}), 'limits[cpu]: Invalid value: "-1": must be greater than or equal to 0'),
        (_container(resources={"limits": {"coffee": "1"}}), "must be a standard resource for containers"),
        (_container(resources={"limits": {"a.b/c": "1500m"}}), "must be an integer"),
        (_pod(initContainers=[{"name": "c", "image": "i:1"}]), 'spec.initContainers[0].name: Duplicate value: "c"'),
        (
            _pod(initContainers=[{"name": "i", "image": "i:1", "readinessProbe": {"exec": {"command": ["x"]}}}]),
            "Forbidden: may not be set for init",
        ),
        (_pod(volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]), "Forbidden: may not specify more than 1 volume type"),
        (_pod(volumes=[{"name": "v", "hostPath": {"path": "/a/../b"}}]), "must not contain '..'"),
        (_pod(volumes=[{"name": "v", "secret": {}}]), "volumes[0].secret.secretName: Required value"),
        (_pod(volumes=[{"name": "v"}, {"name": "v"}]), 'spec.volumes[1].name: Duplicate value: "v"'),
        (_pod(volumes=[{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "/p"}]}}]), "must be a relative path"),
        (_pod(tolerations=[{"key": "", "operator": "Equal"}]), "operator must be Exists when `key` is empty"),
        (_pod(tolerations=[{"key": "k", "operator": "Exists", "value": "v"}]), "value must be empty when `operator` is 'Exists'"),
        (_pod(tolerations=[{"key": "k", "operator": "Exists", "tolerationSeconds": 1}]), "effect must be 'NoExecute'"),
        (_pod(activeDeadlineSeconds=0), "must be between 1 and 2147483647, inclusive"),
        (_pod(nodeSelector={"a b": "c"}), "name part must consist of alphanumeric characters"),
        (_pod(runtimeClassName="No_Such"), "a lowercase RFC 1123 subdomain must consist of"),
    ],
)
def test_a_pod_that_is_wrong_says_where_and_why(found: list[str], words: str) -> None:
    assert any(words in text for text in found), found


def _update(schema: Any, old: Object, change: Any) -> list[str]:
    new = copy.deepcopy(old)
    change(new)
    return texts(complaints(schema, new, old))


def test_a_pod_may_change_its_image_and_little_else() -> None:
    pod = kind("Pod")

    assert _update(pod, a_pod(), lambda p: p["spec"]["containers"][0].update(image="app:2")) == []
    assert _update(pod, a_pod(), lambda p: p["spec"].update(activeDeadlineSeconds=9)) == []
    assert _update(pod, a_pod(), lambda p: p["spec"].update(tolerations=[{"operator": "Exists"}])) == []
    assert _update(pod, a_pod(), lambda p: p["spec"].update(restartPolicy="Never"))[0].startswith(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    )
    assert _update(pod, a_pod(), lambda p: p["spec"].update(nodeName="b"))[0].startswith("spec: Forbidden")
    assert _update(pod, a_pod(tolerations=[{"operator": "Exists"}]), lambda p: p["spec"].update(tolerations=[])) == [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    ]
    assert _update(pod, a_pod(activeDeadlineSeconds=5), lambda p: p["spec"].update(activeDeadlineSeconds=9)) == [
        "spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value"
    ]
    assert _update(pod, a_pod(), lambda p: p["spec"]["containers"].append({"name": "d", "image": "d:1"})) == [
        "spec.containers: Forbidden: pod updates may not add or remove containers"
    ]
    assert _update(pod, a_pod(), lambda p: p["spec"]["containers"][0].update(resources={"limits": {"cpu": "1"}}))[0] == (
        'metadata: Invalid value: "BestEffort": Pod QoS is immutable'
    )


def test_binding_a_pod_sets_its_node() -> None:
    old, new = a_pod(), a_pod(nodeName="b")
    for each in (old, new):
        kind("Pod").prune_unknown(each)
        kind("Pod").default(each)

    assert kind("Pod").validate(new, old, subresource="binding") == []


def test_a_status_update_is_not_judged_by_the_spec() -> None:
    broken = a_pod(containers=[])

    assert kind("Pod").validate(broken, broken, subresource="status") == []


def _deployment(**spec: Any) -> list[str]:
    return texts(complaints(kind("Deployment", group="apps"), a_deployment(**spec)))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ({"selector": {}}, "empty selector is invalid for deployment"),
        ({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "must be specified when `operator` is 'In' or 'NotIn'"),
        ({"strategy": {"type": "Recreate", "rollingUpdate": {}}}, "may not be specified when strategy `type` is 'Recreate'"),
        (
            {"strategy": {"type": "Blue"}},
            'spec.strategy: Unsupported value: apps.DeploymentStrategy{Type:"Blue", RollingUpdate:(*apps.RollingUpdateDeployment)(nil)}: '
            'supported values: "Recreate", "RollingUpdate"',
        ),
        ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}, "may not be 0 when `maxSurge` is 0"),
        ({"strategy": {"rollingUpdate": {"maxSurge": "many"}}}, "a valid percent string must be a numeric string"),
        ({"progressDeadlineSeconds": 5, "minReadySeconds": 5}, "must be greater than minReadySeconds"),
    ],
)
def test_a_deployment_that_is_wrong_says_where_and_why(spec: Object, words: str) -> None:
    found = _deployment(**spec)

    assert any(words in text for text in found), found


def test_a_deployment_keeps_its_pods_running_and_its_selector() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}
    deployment = kind("Deployment", group="apps")

    assert _deployment(template=template) == ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']
    found = _update(deployment, a_deployment(), lambda d: d["spec"]["selector"]["matchLabels"].update(z="b"))
    assert found[-1] == (
        'spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{"a":"b", "z":"b"}, '
        "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable"
    )


def _named(kind_: str, **rest: Any) -> Object:
    return {"kind": kind_, "metadata": {"name": "x", "namespace": "n"}, **rest}


@pytest.mark.parametrize(
    ("schema", "obj", "words"),
    [
        (kind("ConfigMap"), _named("ConfigMap", data={"..": "x"}), "must not be '..'"),
        (kind("ConfigMap"), _named("ConfigMap", binaryData={"a": "AAAA" * 400_000}), "Too long: may not be more than 1048576 bytes"),
        (kind("Secret"), _named("Secret", data={"a": "AAAA" * 400_000}), "data: Too long: may not be more than 1048576 bytes"),
        (
            kind("Secret"),
            _named("Secret", type="kubernetes.io/service-account-token"),
            "metadata.annotations[kubernetes.io/service-account.name]: Required",
        ),
        (kind("Service"), _named("Service", spec={"ports": [{"port": 1}, {"port": 2}]}), "spec.ports[0].name: Required value"),
        (kind("Service"), _named("Service", spec={"type": "ExternalName"}), "spec.externalName: Required value"),
        (
            kind("Service"),
            _named("Service", spec={"ports": [{"port": 1, "targetPort": "a_b"}]}),
            "must contain only alpha-numeric characters",
        ),
        (kind("Node"), _named("Node", spec={"taints": [{"key": "a", "effect": "Never"}]}), 'Unsupported value: "Never"'),
        (kind("Event"), _named("Event", involvedObject={"namespace": "other"}), "does not match event.namespace"),
        (
            kind("Role", group="rbac.authorization.k8s.io"),
            _named("Role", rules=[{"verbs": ["get"], "nonResourceURLs": ["/x"]}]),
            "namespaced rules cannot",
        ),
        (
            kind("ClusterRoleBinding", group="rbac.authorization.k8s.io"),
            _named("ClusterRoleBinding", roleRef={"kind": "ClusterRole", "name": "r"}, subjects=[{"kind": "ServiceAccount", "name": "s"}]),
            "subjects[0].namespace: Required value",
        ),
        (kind("Lease", group="coordination.k8s.io"), _named("Lease", spec={"leaseDurationSeconds": 0}), "must be greater than 0"),
        (kind("RuntimeClass", group="node.k8s.io"), _named("RuntimeClass", handler="A"), "a lowercase RFC 1123 label must consist of"),
        (kind("CronJob", group="batch"), _named("CronJob", spec={"schedule": "61 * * * *"}), "end of range (61) above maximum (59)"),
        (kind("PersistentVolumeClaim"), _named("PersistentVolumeClaim", spec={}), "at least 1 access mode is required"),
        (
            kind("Scale", group="autoscaling"),
            _named("Scale", spec={"replicas": -1}),
            "spec.replicas: Invalid value: -1: must be greater than or equal",
        ),
    ],
)
def test_other_kinds_that_are_wrong_say_where_and_why(schema: Any, obj: Object, words: str) -> None:
    found = texts(complaints(schema, copy.deepcopy(obj)))

    assert any(words in text for text in found), found


def test_what_is_immutable_stays() -> None:
    binding = _named("RoleBinding", roleRef={"kind": "Role", "name": "r"})
    service = _named("Service", spec={"clusterIP": "10.0.0.9", "ports": [{"port": 1}]})
    frozen = _named("ConfigMap", immutable=True, data={"a": "1"})

    assert (
        "cannot change roleRef"
        in _update(kind("RoleBinding", group="rbac.authorization.k8s.io"), binding, lambda b: b["roleRef"].update(name="s"))[0]
    )
    assert "may not change once set" in _update(kind("Service"), service, lambda s: s["spec"].update(clusterIP="10.0.0.8"))[0]
    assert _update(kind("ConfigMap"), frozen, lambda c: c["metadata"].update(labels={"a": "b"})) == []
    assert _update(kind("ConfigMap"), frozen, lambda c: c["data"].update(a="2")) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"name": "A_b"}, "a lowercase RFC 1123 subdomain must consist of"),
        ({"labels": {"a": "b c"}}, "a valid label must be an empty string or consist of"),
        ({"annotations": {"a": "x" * 262144}}, "metadata.annotations: Too long: may not be more than 262144 bytes"),
        ({"finalizers": ["a b"]}, "metadata.finalizers: Invalid value"),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]},
            'ownerReferences.uid: Invalid value: "": uid must not be empty',
        ),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in "ab"]},
            "Only one reference can have Controller set to true",
        ),
    ],
)
def test_metadata_is_judged_alike_for_built_in_and_custom_kinds(meta: Object, words: str) -> None:
    wi = a_wi({})
    for schema, obj in ((kind("ConfigMap"), _named("ConfigMap")), (custom({"type": "object"}), wi)):
        obj["metadata"] = {**obj["metadata"], **copy.deepcopy(meta)}
        found = texts(complaints(schema, obj))

        assert any(words in text for text in found), found


def test_names_differ_by_kind() -> None:
    role = _named("Role", rules=[])
    role["metadata"]["name"] = "system:node:a"
    namespace = {"metadata": {"name": "a.b"}}

    assert complaints(kind("Role", group="rbac.authorization.k8s.io"), role) == []
    assert "a lowercase RFC 1123 label" in texts(complaints(kind("Namespace"), namespace))[0]


def test_an_event_is_called_after_what_it_is_about() -> None:
    event = {"metadata": {"name": "system:Admin_1.17a2", "namespace": "default"}, "involvedObject": {}}

    assert complaints(kind("Event"), event) == []


def test_a_name_that_a_younger_rule_refuses_is_not_judged_again() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "serviceName": "s", "template": template}
    stored = {"metadata": {"name": "a.b", "namespace": "n"}, "spec": spec}
    sets = kind("StatefulSet", group="apps")

    assert "a lowercase RFC 1123 label" in texts(complaints(sets, copy.deepcopy(stored)))[0]
    assert complaints(sets, copy.deepcopy(stored), stored) == []


def test_metadata_that_the_server_owns_does_not_change() -> None:
    config = _named("ConfigMap")
    config["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-05T10:00:00Z"}

    assert _update(kind("ConfigMap"), config, lambda c: c["metadata"].update(uid="v")) == [
        'metadata.uid: Invalid value: "v": field is immutable',  # twice: as of every object, and as of this kind
        'metadata.uid: Invalid value: "v": field is immutable',
    ]
    deleted = copy.deepcopy(config)
    deleted["metadata"]["deletionTimestamp"] = "2026-01-05T10:00:00Z"
    assert (
        "no new finalizers can be added if the object is being deleted"
        in _update(kind("ConfigMap"), deleted, lambda c: c["metadata"].update(finalizers=["a/b"]))[0]
    )


CRD = kind("CustomResourceDefinition", group="apiextensions.k8s.io")


@pytest.mark.parametrize(
    ("spec_schema", "words"),
    [
        (
            {"properties": {}},
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        ({"type": "array"}, "properties[spec].items: Required value: must be specified"),
        ({"type": "string", "pattern": "(?=x)"}, "must be a valid regular expression, but isn't: look-around is not part of RE2"),
        ({"type": "string", "pattern": "("}, "must be a valid regular expression"),
        ({"type": "object", "additionalProperties": False}, "additionalProperties cannot be set to false"),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}, "are mutual exclusive"),
        ({"type": "object", "anyOf": [{"type": "string"}]}, "anyOf[0].type: Forbidden: must be empty to be structural"),
        ({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}, "x-kubernetes-list-map-keys: Required value"),
        ({"type": "string", "default": 3}, "properties[spec].default"),
    ],
)
def test_a_schema_that_is_not_structural_is_refused(spec_schema: Object, words: str) -> None:
    found = texts(complaints(CRD, a_crd(spec_schema)))

    assert any(words in text for text in found), found


def test_a_good_crd_passes_and_its_names_are_completed() -> None:
    crd = a_crd({"type": "object", "properties": {"p": {"type": "string", "pattern": r"^[[:alpha:]]+\z"}}})

    assert complaints(CRD, crd) == []
    assert crd["spec"]["names"] == {"plural": "wis", "kind": "Wi", "singular": "wi", "listKind": "WiList"}


def test_a_quantity_may_say_that_it_is_a_string() -> None:
    schema = {"type": "string", "pattern": r"^(\+|-)?[0-9]+$", "x-kubernetes-int-or-string": True}
    sized = {"type": "object", "properties": {"size": schema}}

    assert complaints(CRD, a_crd(sized)) == []  # as in the definitions of VolumeSnapshots
    assert complaints(custom(sized), a_wi({"size": "5"})) == []
    assert texts(complaints(custom(sized), a_wi({"size": "x"})))


def test_a_crd_that_nests_without_end_is_refused() -> None:
    schema: Object = {"type": "string"}
    for _ in range(100):
        schema = {"type": "object", "properties": {"a": schema}}

    assert any("deep at most" in text for text in texts(complaints(CRD, a_crd(schema))))


@pytest.mark.parametrize(
    ("webhook", "text"),
    [
        (None, "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook"),
        ({"clientConfig": {"url": "https://x"}}, "spec.conversion.conversionReviewVersions: Required value"),
        (
            {"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v1alpha1"]},
            'spec.conversion.conversionReviewVersions: Invalid value: []string{"v1alpha1"}: must include at least one of v1, v1beta1',
        ),
        (
            {"clientConfig": {"url": "http://x"}, "conversionReviewVersions": ["v1"]},
            "spec.conversion.webhookClientConfig.url: Invalid value: \"http://x\": 'https' is the only allowed URL scheme",
        ),
    ],
)
def test_conversion_by_a_webhook_says_whom_to_ask(webhook: Object | None, text: str) -> None:
    crd = a_crd({"type": "object"})
    crd["spec"]["conversion"] = {"strategy": "Webhook", **({"webhook": webhook} if webhook else {})}

    assert texts(complaints(CRD, crd))[:1] == [text]


def test_the_kinds_that_skerry_brings_pass_the_rules_for_crds() -> None:
    for definition in all_definitions():
        crd = definition.to_crd()

        assert texts(complaints(CRD, crd)) == [], definition.resource.key
        table_format(definition.resource.key, crd["spec"]["versions"][0].get("additionalPrinterColumns") or [])
        catalogue().compile_crd_version(crd, definition.resource.version)


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        ([".spec.s", ".spec.i"], []),
        (["spec.s"], ['spec.selectableFields[0].jsonPath: Invalid value: "spec.s": is an invalid path: expected [ or . but got: spec']),
        (
            [".spec.zz"],
            ['spec.selectableFields[0].jsonPath: Invalid value: ".spec.zz": is an invalid path: does not refer to a valid field'],
        ),
        (
            [".spec.l[0]"],
            ['spec.selectableFields[0].jsonPath: Invalid value: ".spec.l[0]": is an invalid path: array notation is not allowed'],
        ),
        ([".spec.s", ".spec.s"], ['spec.selectableFields[1]: Duplicate value: ".spec.s"']),
        ([""], ["spec.selectableFields[0].jsonPath: Required value"]),
    ],
)
def test_fields_that_objects_are_selected_by(paths: list[str], text: list[str]) -> None:
    spec = {"type": "object", "properties": {"s": {"type": "string"}, "i": {"type": "integer"}}}
    crd = a_crd(spec)
    crd["spec"]["versions"][0]["selectableFields"] = [{"jsonPath": p} for p in paths]

    assert texts(complaints(CRD, crd)) == text


def test_a_list_is_no_field_to_select_by() -> None:
    crd = a_crd({"type": "object", "properties": {"l": {"type": "array", "items": {"type": "string"}}}})
    crd["spec"]["versions"][0]["selectableFields"] = [{"jsonPath": ".spec.l"}]

    [text] = texts(complaints(CRD, crd))

    assert "must point to a field of type string, boolean or integer" in text
