"""A container's environment and command line, as Kubernetes composes them; odd values arrive untouched (inputs 31, 36)."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.model.objects import Object
from skerry.node.pods.env import ConfigError, Kind, NodeFacts, command_line, environment, expand, field, referenced, resource_field
from skerry.node.runtimes.contract import Image, RefusedError

NODE = NodeFacts("node-a", "10.0.0.7", {"cpu": "4", "memory": "2Gi"})
STORED: dict[tuple[str, str], Object] = {
    ("ConfigMap", "settings"): {"data": {"colour": "blue", "odd": "$(x);`y`|\n"}, "binaryData": {"raw": "AAE="}},
    ("Secret", "keys"): {"data": {"password": "aHVudGVyMg=="}},
}
POD: Object = {
    "metadata": {"name": "pod-1", "namespace": "shop", "uid": "u-1", "labels": {"app": "till"}, "annotations": {"note": 'say "hi"'}},
    "spec": {"nodeName": "node-a", "serviceAccountName": "cashier"},
}


def lookup(kind: Kind, name: str) -> Object | None:
    return STORED.get((kind, name))


def env(*entries: dict[str, Any], **container: Any) -> dict[str, str]:
    return environment({"name": "app", "env": list(entries), **container}, POD, NODE, lookup)


def given(name: str, **source: Any) -> dict[str, Any]:
    return {"name": name, "valueFrom": source}


def test_values_come_from_everywhere() -> None:
    found = env(
        {"name": "PLAIN", "value": "x"},
        given("COLOUR", configMapKeyRef={"name": "settings", "key": "colour"}),
        given("PASSWORD", secretKeyRef={"name": "keys", "key": "password"}),
        given("IP", fieldRef={"fieldPath": "status.podIP"}),
        given("CPUS", resourceFieldRef={"resource": "limits.cpu"}),
        {"name": "BOTH", "value": "$(PLAIN)-$(COLOUR)-$$(PLAIN)-$(LATER)"},
    )

    assert found == {
        "PLAIN": "x",
        "COLOUR": "blue",
        "PASSWORD": "hunter2",
        "IP": "10.0.0.7",
        "CPUS": "4",
        "BOTH": "x-blue-$(PLAIN)-$(LATER)",
    }


def test_whole_maps_come_with_a_prefix_and_single_values_win() -> None:
    sources = [{"prefix": "S_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}]

    found = env({"name": "S_colour", "value": "red"}, envFrom=sources)

    assert found["S_colour"] == "red"
    assert found["S_odd"] == "$(x);`y`|\n"
    assert found["password"] == "hunter2"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "nowhere", "key": "k"}}, 'configmap "nowhere" not found'),
        ({"secretKeyRef": {"name": "keys", "key": "pin"}}, "couldn't find key pin in Secret shop/keys"),
        ({"fieldRef": {"fieldPath": "spec.containers"}}, "spec.containers"),
        ({"resourceFieldRef": {"resource": "limits.gpu"}}, "limits.gpu"),
    ],
)
def test_what_is_missing_is_named(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        env({"name": "A", "valueFrom": source})
    assert caught.value.reason == "CreateContainerConfigError"


def test_what_is_optional_may_be_missing() -> None:
    optional = {"name": "nowhere", "key": "k", "optional": True}

    assert env(given("A", configMapKeyRef=optional), given("B", secretKeyRef=optional), envFrom=[{"configMapRef": optional}]) == {}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "pod-1"),
        ("metadata.labels['app']", "till"),
        ("metadata.labels", 'app="till"'),
        ("metadata.annotations", 'note="say \\"hi\\""'),
        ("spec.serviceAccountName", "cashier"),
        ("status.hostIP", "10.0.0.7"),
    ],
)
def test_fields_of_the_downward_api(path: str, value: str) -> None:
    assert field(path, POD, NODE) == value


def test_resources_are_divided_and_rounded_up() -> None:
    container = {"resources": {"limits": {"memory": "100Mi", "cpu": "250m"}}}

    assert resource_field({"resource": "limits.memory", "divisor": "1Mi"}, container, NODE) == "100"
    assert resource_field({"resource": "limits.cpu"}, container, NODE) == "1"
    assert resource_field({"resource": "limits.cpu", "divisor": "1m"}, container, NODE) == "250"
    assert resource_field({"resource": "requests.memory"}, {}, NODE) == str(2 * 2**30)


@pytest.mark.parametrize("text", ["$", "$(", "$()", "$(A", "$ (A)", "a$b", "$(A B)"])
def test_what_is_no_reference_stays(text: str) -> None:
    assert expand(text, {"A": "1"}) == text


IMAGE = Image(reference="x@sha256:0", digest="d", entrypoint=("/bin/app", "-a"), arguments=("-b",))
PROGRAM = Image(reference="host.skerry.invalid/python", digest="d", entrypoint=("/usr/bin/python3",), fixed_entrypoint=True)


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ({}, ("/bin/app", "-a", "-b")),
        ({"args": ["-c"]}, ("/bin/app", "-a", "-c")),
        ({"command": ["/other"]}, ("/other",)),
        ({"command": ["/other"], "args": ["$(A)"]}, ("/other", "1")),
    ],
)
def test_command_and_args_replace_what_the_image_says(container: dict[str, Any], argv: tuple[str, ...]) -> None:
    assert command_line(container, IMAGE, {"A": "1"}) == argv


def test_a_program_of_the_host_takes_arguments_and_no_other_program() -> None:
    assert command_line({"args": ["-c", "x"]}, PROGRAM, {}) == ("/usr/bin/python3", "-c", "x")
    assert command_line({"command": ["python", "-c"], "args": ["x"]}, PROGRAM, {}) == ("/usr/bin/python3", "-c", "x")
    with pytest.raises(RefusedError, match="runs only /usr/bin/python3"):
        command_line({"command": ["/bin/sh", "-c", "x"]}, PROGRAM, {})


def test_every_reference_of_a_pod_is_found() -> None:
    pod: Object = {
        "spec": {
            "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "s1"}}]}],
            "containers": [{"name": "c", "env": [given("A", configMapKeyRef={"name": "c1", "key": "k"})]}],
            "volumes": [
                {"name": "v", "configMap": {"name": "c2"}},
                {"name": "w", "secret": {"secretName": "s2"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "s3"}}, {"configMap": {"name": "c3"}}]}},
            ],
        }
    }

    assert referenced(pod) == {("Secret", n) for n in ("s1", "s2", "s3")} | {("ConfigMap", n) for n in ("c1", "c2", "c3")}
