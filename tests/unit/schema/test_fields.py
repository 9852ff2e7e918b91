"""Field labels: what field selectors can select by."""

from __future__ import annotations

from skerry.apiserver.schema import field_labels, supported_fields


def test_every_kind_has_its_name_and_namespace() -> None:
    assert field_labels("configmaps", {"metadata": {"name": "a", "namespace": "n"}}) == {"metadata.name": "a", "metadata.namespace": "n"}
    assert field_labels("nodes", {"metadata": {"name": "a"}})["metadata.namespace"] == ""


def test_pods_can_be_found_by_node_and_phase() -> None:
    pod = {
        "metadata": {"name": "p"},
        "spec": {"nodeName": "edge-1", "hostNetwork": True},
        "status": {"phase": "Running", "podIPs": [{"ip": "1"}, {"ip": "2"}]},
    }

    found = field_labels("pods", pod)

    assert found["spec.nodeName"] == "edge-1"
    assert found["status.phase"] == "Running"
    assert found["spec.hostNetwork"] == "true"
    assert found["status.podIPs"] == "1,2"
    assert field_labels("pods", {})["spec.nodeName"] == ""


def test_values_that_are_no_text_are_written_as_text() -> None:
    assert field_labels("nodes", {})["spec.unschedulable"] == "false"
    assert field_labels("nodes", {"spec": {"unschedulable": True}})["spec.unschedulable"] == "true"
    assert field_labels("replicasets.apps", {"status": {"replicas": 3}})["status.replicas"] == "3"
    assert field_labels("jobs.batch", {})["status.successful"] == "0"


def test_events_of_a_component_without_source() -> None:
    event = {"involvedObject": {"kind": "Pod", "name": "p"}, "reportingComponent": "node"}

    found = field_labels("events", event)

    assert (found["involvedObject.kind"], found["source"], found["involvedObject.uid"]) == ("Pod", "node", "")


def test_custom_kinds_have_what_their_crd_selects() -> None:
    paths = [".spec.profile", ".status.nodeName", ".spec.count", ".spec.on"]
    device = {"spec": {"profile": "meter", "count": 3, "on": True}, "status": {}}

    assert {k: v for k, v in field_labels("devices.skerry.dev", device, paths).items() if "metadata" not in k} == {
        "spec.profile": "meter",
        "status.nodeName": "",
        "spec.count": "3",
        "spec.on": "true",
    }
    assert supported_fields("devices.skerry.dev", paths) >= {"metadata.name", "spec.profile"}
    assert "spec.profile" not in supported_fields("pods")
