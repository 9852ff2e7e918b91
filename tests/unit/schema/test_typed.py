"""Built-in kinds take the form in which Kubernetes gives them back."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.model.errors import ApiError
from skerry.model.objects import Object
from tests.unit.schema.pipeline import a_deployment, a_pod, catalogue, kind


def test_unknown_fields_are_dropped_and_named_with_their_place() -> None:
    pod = a_pod(typo=1)
    pod["spec"]["containers"][0]["imagePullPolice"] = "Always"
    pod["status"] = {"x": {}}

    unknown = kind("Pod").prune_unknown(pod)

    assert sorted(unknown) == ["spec.containers[0].imagePullPolice", "spec.typo", "status.x"]
    assert "typo" not in pod["spec"]


def test_go_zero_values_go_and_zeros_of_pointers_stay() -> None:
    deployment = a_deployment(replicas=0, paused=False, minReadySeconds=0)

    kind("Deployment", group="apps").prune_unknown(deployment)

    assert deployment["spec"]["replicas"] == 0
    assert "paused" not in deployment["spec"]
    assert "minReadySeconds" not in deployment["spec"]


def test_empty_objects_that_mean_something_stay_and_empty_maps_go() -> None:
    pod = a_pod(volumes=[{"name": "v", "emptyDir": {}}], nodeSelector={})

    kind("Pod").prune_unknown(pod)

    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert "nodeSelector" not in pod["spec"]


def test_fields_that_go_always_writes_are_there() -> None:
    role: Object = {"metadata": {"name": "r"}, "rules": []}
    event: Object = {"metadata": {"name": "e"}, "involvedObject": {}}

    kind("Role", group="rbac.authorization.k8s.io").prune_unknown(role)
    kind("Event").prune_unknown(event)

    assert role["rules"] is None
    assert event["reportingComponent"] == ""
    assert event["source"] == {}
    assert event["firstTimestamp"] is None


def test_the_divisor_of_a_resource_reference_is_zero_when_it_is_not_said() -> None:
    pod = a_pod()
    pod["spec"]["containers"][0]["env"] = [{"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]

    kind("Pod").prune_unknown(pod)

    assert pod["spec"]["containers"][0]["env"][0]["valueFrom"]["resourceFieldRef"]["divisor"] == "0"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"containers": {"name": "x"}},
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        ({"hostNetwork": "yes"}, "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"),
        ({"terminationGracePeriodSeconds": 1.5}, "json: cannot unmarshal number 1.5 into Go struct field"),
        ({"priority": 2**31}, "json: cannot unmarshal number 2147483648 into Go struct field PodSpec.spec.priority of type int32"),
        ({"priority": True}, "json: cannot unmarshal bool into Go struct field PodSpec.spec.priority of type int32"),
        ({"containers": ["c"]}, "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container"),
        (
            {"containers": [{"args": [1]}]},
            "json: cannot unmarshal number into Go struct field Container.spec.containers.args of type string",
        ),
        ({"overhead": {"cpu": "lots"}}, "quantities must match the regular expression"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_gos_words(spec: Object, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        kind("Pod").prune_unknown({"metadata": {"name": "p"}, "spec": spec})

    assert caught.value.code == 400
    assert caught.value.message.startswith('Pod in version "v1" cannot be handled as a Pod: ')
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("given_time", "kept"),
    [("2026-01-05T10:00:02Z", "2026-01-05T10:00:02Z"), ("2026-01-05T12:00:02.5+02:00", "2026-01-05T10:00:02Z")],
)
def test_times_are_utc_with_second_precision(given_time: str, kept: str) -> None:
    event: Object = {"metadata": {"name": "e"}, "involvedObject": {}, "firstTimestamp": given_time}

    kind("Event").prune_unknown(event)

    assert event["firstTimestamp"] == kept


@pytest.mark.parametrize("bad", ["yesterday", "2026-13-01T00:00:00Z", "2026-01-05", "2026-01-05T10:00:02"])
def test_a_time_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(ApiError, match="parsing time"):
        kind("Event").prune_unknown({"metadata": {"name": "e"}, "firstTimestamp": bad})


def test_a_micro_time_needs_six_decimals() -> None:
    lease = kind("Lease", group="coordination.k8s.io")
    good: Object = {"metadata": {"name": "l"}, "spec": {"renewTime": "2026-01-05T12:00:02.000001+02:00"}}

    lease.prune_unknown(good)

    assert good["spec"]["renewTime"] == "2026-01-05T10:00:02.000001Z"
    with pytest.raises(ApiError, match="cannot parse"):
        lease.prune_unknown({"metadata": {"name": "l"}, "spec": {"renewTime": "2026-01-05T10:00:02Z"}})


def test_secret_data_must_be_base64() -> None:
    wrapped: Object = {"metadata": {"name": "s"}, "data": {"a": "YWJj\nZGVm"}}

    kind("Secret").prune_unknown(wrapped)

    assert wrapped["data"] == {"a": "YWJjZGVm"}
    with pytest.raises(ApiError, match="illegal base64 data at input byte 2"):
        kind("Secret").prune_unknown({"metadata": {"name": "s"}, "data": {"a": "YW!j"}})


def test_a_crd_schema_keeps_its_zeros_and_its_booleans() -> None:
    schema = {"type": "object", "additionalProperties": True, "maxProperties": 0, "properties": {"a": {"type": "string", "maxLength": 0}}}
    crd: Object = {"metadata": {"name": "x"}, "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": copy.deepcopy(schema)}}]}}

    assert kind("CustomResourceDefinition", group="apiextensions.k8s.io").prune_unknown(crd) == []

    assert crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == schema
    assert crd["spec"]["versions"][0]["served"] is False


def _anything() -> st.SearchStrategy[object]:
    leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2)
    names = st.sampled_from(["name", "spec", "containers", "env", "resources", "limits", "cpu", "metadata", "labels", "status", "x"])
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=20)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status", "data", "rules"]), _anything(), max_size=4))
def test_any_body_is_brought_into_form_or_refused_and_the_form_is_final(body: Object) -> None:
    for schema in (kind("Pod"), kind("ConfigMap"), kind("Deployment", group="apps")):
        obj = copy.deepcopy(body)
        try:
            schema.prune_unknown(obj)
        except ApiError as error:
            assert error.code == 400  # noqa: PT017 - both outcomes are right, no third is
            continue
        again = copy.deepcopy(obj)

        assert schema.prune_unknown(again) == []
        assert again == obj


def test_every_served_kind_compiles_and_an_empty_object_is_refused_or_completed() -> None:
    for resource in catalogue().resources():
        schema = catalogue().kind(resource.group, resource.version, resource.kind)
        obj: Object = {"apiVersion": schema.api_version, "kind": schema.kind, "metadata": {"name": "x"}}
        schema.prune_unknown(obj)
        schema.reset_status(obj)
        schema.default(obj)
        once = copy.deepcopy(obj)
        schema.default(obj)

        assert obj == once
        schema.validate(obj)
        schema.validate(obj, once)


@pytest.mark.parametrize(
    ("given_amount", "kept"), [("0.0001", "1m"), ("1500u", "2m"), ("-100u", "0"), (" 1", "1"), (0.5, "500m"), ("1.5Gi", "1536Mi")]
)
def test_amounts_of_resources_are_canonical_and_rounded_up(given_amount: object, kept: str) -> None:
    quota: Object = {"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": given_amount}}}

    kind("ResourceQuota").prune_unknown(quota)

    assert quota["spec"]["hard"]["requests.cpu"] == kept
