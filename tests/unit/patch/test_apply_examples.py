"""Server-side apply by example: exact objects, field sets and words, as kube-apiserver 1.32 has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skerry.apiserver.patch import Type, Writer, apply, configured, type_of, updated
from skerry.apiserver.patch.apply import LAST_APPLIED, with_last_applied
from skerry.model.errors import ApiError
from skerry.model.objects import Object
from tests.unit.patch.applied import EMPTY, TYPE, VERSION, Stored, config, types
from tests.unit.schema.pipeline import a_deployment, created, kind

NOW = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"a": "1"}, {"f:a": {}}),
        ({"n": {"x": "1"}}, {"f:n": {"f:x": {}}}),
        ({"n": {}}, {"f:n": {}}),
        ({"n": None}, {"f:n": {}}),
        ({"labels": {"p": "1"}}, {"f:labels": {"f:p": {}}}),
        ({"atom": {"p": "1", "q": "2"}}, {"f:atom": {}}),
        ({"plain": ["x", "y"]}, {"f:plain": {}}),
        ({"set": ["x"]}, {"f:set": {'v:"x"': {}}}),
        ({"items": [{"id": 1, "v": "a"}]}, {"f:items": {'k:{"id":1,"zone":"z"}': {".": {}, "f:id": {}, "f:v": {}}}}),
        ({"items": [{"id": 1, "zone": "y"}]}, {"f:items": {'k:{"id":1,"zone":"y"}': {".": {}, "f:id": {}, "f:zone": {}}}}),
        ({"open": {"p": {"q": [1, {"r": 2}]}}}, {"f:open": {"f:p": {".": {}, "f:q": {".": {}}}}}),
        ({"either": 3}, {"f:either": {}}),
    ],
)
def test_what_an_applied_configuration_owns(spec: Object, fields: Any) -> None:
    stored = Stored()

    stored.apply("m", config(**spec))

    found = stored.fields("m")["f:spec"]
    assert _plain(found) == _plain(fields)


def _plain(fields: Any) -> Any:
    """Return a set with its leaves in one form."""
    return {k: _plain(v) if set(v) != {"."} else {} for k, v in fields.items()}


@pytest.mark.parametrize(
    ("live", "wanted", "result"),
    [
        ({"items": [{"id": 1}, {"id": 2}]}, {"items": [{"id": 3}, {"id": 1}]}, [{"id": 3}, {"id": 1}, {"id": 2}]),
        ({"items": [{"id": 1}, {"id": 2}]}, {"items": [{"id": 2}]}, [{"id": 1}, {"id": 2}]),
        ({"items": [{"id": 1}, {"id": 2}, {"id": 3}]}, {"items": [{"id": 3}, {"id": 1}]}, [{"id": 2}, {"id": 3}, {"id": 1}]),
        ({"items": [{"id": 1, "v": "a"}]}, {"items": [{"id": 1, "w": "b"}]}, [{"id": 1, "v": "a", "w": "b"}]),
        ({"items": [{"id": 1}, {"id": 1}]}, {"items": [{"id": 1, "w": "b"}]}, [{"id": 1, "w": "b"}]),
        ({"items": [{"id": 1}, {"id": 1}]}, {"items": [{"id": 2}]}, [{"id": 1}, {"id": 1}, {"id": 2}]),
        ({}, {"items": []}, []),
        ({"items": [{"id": 1}]}, {"items": []}, [{"id": 1}]),
        ({"items": [{"id": 1}]}, {"items": None}, [{"id": 1}]),
    ],
)
def test_elements_of_a_list_are_merged_and_ordered(live: Object, wanted: Object, result: list[Object]) -> None:
    stored = Stored()
    stored.update("creator", config(**live))

    stored.apply("m", config(**wanted), force=True)

    assert (stored.spec or {}).get("items") == result


def test_what_a_struct_loses_and_keeps() -> None:
    stored = Stored()
    stored.apply("default", config(n={"x": "a"}))
    stored.update("controller", config(n={"x": "a", "y": 1}))

    stored.apply("default", config())

    assert stored.obj["spec"] == {"n": {"y": 1}}
    assert stored.fields("default") is None
    assert stored.fields("controller", "Update") == {"f:spec": {"f:n": {"f:y": {}}}}


def test_a_struct_goes_with_its_last_field() -> None:
    stored = Stored()
    stored.apply("default", config(a="1", n={"x": "a"}))

    stored.apply("default", config(a="1"))

    assert stored.obj["spec"] == {"a": "1"}


def test_what_somebody_took_over_stays() -> None:
    stored = Stored()
    stored.apply("default", config(a="1", b="1"))
    stored.update("controller", config(a="2", b="1"))

    stored.apply("default", config(b="1"))

    assert stored.obj["spec"] == {"a": "2", "b": "1"}


def test_the_same_value_is_shared_and_goes_with_its_last_owner() -> None:
    stored = Stored()
    stored.apply("one", config(a="1"))
    shared = stored.apply("two", config(a="1"))
    stored.apply("one", config(b="1"))
    kept = stored.spec
    stored.apply("two", config(b="1"))

    assert not shared.changed
    assert kept == {"a": "1", "b": "1"}
    assert stored.spec == {"b": "1"}


def test_an_element_that_one_manager_has_goes_with_everything_in_it() -> None:
    stored = Stored()
    stored.apply("default", config(items=[{"id": 1}, {"id": 2}]))
    stored.update("controller", config(items=[{"id": 1, "v": "x"}, {"id": 2}]))

    stored.apply("default", config(items=[{"id": 2}]))

    assert stored.spec == {"items": [{"id": 2}]}


def _conflict(stored: Stored, manager: str, wanted: Object) -> ApiError:
    with pytest.raises(ApiError) as refused:
        stored.apply(manager, wanted)
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    return refused.value


def test_one_conflict_is_told_in_one_line() -> None:
    stored = Stored()
    stored.apply("a", config(atom={"p": "1"}))

    error = _conflict(stored, "b", config(atom={"q": "1"}))

    assert error.message == 'Apply failed with 1 conflict: conflict with "a": .spec.atom'
    assert error.details == {"causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "a"', "field": ".spec.atom"}]}


def test_several_conflicts_are_told_by_manager() -> None:
    stored = Stored()
    stored.apply("a", config(a="1", items=[{"id": 1, "v": "x"}]))
    stored.update("edit", config(a="1", b="1", items=[{"id": 1, "v": "x"}]))
    stored.entries[-1]["subresource"] = "status"

    error = _conflict(stored, "b", config(a="2", b="2", items=[{"id": 1, "v": "y"}]))

    assert error.message == (
        'Apply failed with 3 conflicts: conflicts with "a":\n- .spec.a\n- .spec.items[id=1,zone="z"].v\n'
        f'conflicts with "edit" with subresource "status" using {VERSION}:\n- .spec.b'
    )


def test_force_takes_over() -> None:
    stored = Stored()
    stored.apply("a", config(a="1", b="1"))

    stored.apply("b", config(a="2"), force=True)

    assert stored.spec == {"a": "2", "b": "1"}
    assert (stored.fields("a"), stored.fields("b")) == ({"f:spec": {"f:b": {}}}, {"f:spec": {"f:a": {}}})


def test_an_object_that_nobody_managed_belongs_to_before_first_apply() -> None:
    stored = Stored()
    stored.obj = config(a="1", b="1")

    error = _conflict(stored, "m", config(a="2"))
    stored.apply("m", config(a="1"))

    assert error.message == f'Apply failed with 1 conflict: conflict with "before-first-apply" using {VERSION}: .spec.a'
    assert stored.fields("before-first-apply", "Update") == {"f:spec": {".": {}, "f:a": {}, "f:b": {}}}
    assert stored.fields("m") == {"f:spec": {"f:a": {}}}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"zz": 1}, ".spec.zz: field not declared in schema"),
        ({"a": 1}, ".spec.a: expected string, got &value.valueUnstructured{Value:1}"),
        ({"n": {"y": "x"}}, ".spec.n.y: expected numeric (int or float), got string"),
        ({"n": "x"}, ".spec.n: expected map, got &{x}"),
        ({"set": "x"}, ".spec.set: expected list, got &{x}"),
        ({"set": ["x", "x"]}, '.spec.set: duplicate entries for key [="x"]'),
        ({"set": [None]}, ".spec.set: element 0: associative list without keys has an element that's an explicit null"),
        ({"items": [{"id": 9}, {"id": 9}]}, '.spec.items: duplicate entries for key [id=9,zone="z"]'),
        (
            {"items": [{"v": "x"}]},
            '.spec.items: element 0: associative list with keys has an element that omits key field "id" (and doesn\'t have default value)',
        ),
        ({"items": ["x"]}, ".spec.items: element 0: associative list with keys may not have non-map elements"),
        ({"plain": [1]}, ".spec.plain[0]: expected string, got &value.valueUnstructured{Value:1}"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_path(spec: Object, why: str) -> None:
    with pytest.raises(ApiError) as refused:
        Stored().apply("m", config(**spec))

    assert refused.value.code == 500
    assert refused.value.message == f"failed to create typed patch object (/t; {VERSION}, Kind=Thing): {why}"


def test_several_things_that_do_not_fit_are_listed() -> None:
    with pytest.raises(ApiError) as refused:
        Stored().apply("m", config(a=1, b=True))

    assert refused.value.message.endswith(
        "errors:\n  .spec.a: expected string, got &value.valueUnstructured{Value:1}\n"
        "  .spec.b: expected string, got &value.valueUnstructured{Value:true}"
    )


def test_managed_fields_are_no_part_of_a_configuration() -> None:
    wanted = config(a="1")
    wanted["metadata"]["managedFields"] = []

    with pytest.raises(ApiError, match=r"metadata\.managedFields must be nil") as refused:
        Stored().apply("m", wanted)

    assert refused.value.code == 400


def test_a_status_is_applied_beside_the_spec() -> None:
    stored = Stored()
    stored.apply("m", config(a="1"))
    writer = Writer("m", VERSION, NOW, "status", {"f:spec": {}})

    found = apply(
        stored.obj, configured({**config(b="1"), "status": {"phase": "x"}}, TYPE), stored.entries, writer, types, empty=EMPTY, force=False
    )

    assert [(e.get("subresource"), e["fieldsV1"]) for e in found.entries] == [
        ("status", {"f:status": {"f:phase": {}}}),
        (None, {"f:spec": {"f:a": {}}}),
    ]


DEPLOYMENT = kind("Deployment", group="apps")
DEPLOYMENTS = type_of(DEPLOYMENT.shape)
_EMPTY_DEPLOYMENT: Object = {}
DEPLOYMENT.prune_unknown(_EMPTY_DEPLOYMENT)


def _deployments(api_version: str) -> Type | None:
    return DEPLOYMENTS if api_version == "apps/v1" else None


def test_a_created_deployment_belongs_to_its_creator_field_by_field() -> None:
    obj = created(DEPLOYMENT, a_deployment(replicas=2))

    (entry,) = updated([], Writer("kubectl-create", "apps/v1", NOW), _EMPTY_DEPLOYMENT, obj, _deployments)

    names = (
        "f:progressDeadlineSeconds", "f:replicas", "f:revisionHistoryLimit", "f:selector", "f:strategy", "f:template",
    )  # fmt: skip
    assert tuple(sorted(entry["fieldsV1"]["f:spec"])) == names
    assert entry["fieldsV1"]["f:spec"]["f:strategy"] == {
        "f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}},
        "f:type": {},
    }
    assert entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"] == {
        'k:{"name":"c"}': {
            ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {}, "f:terminationMessagePath": {},
            "f:terminationMessagePolicy": {},
        }
    }  # fmt: skip
    assert {k: entry[k] for k in ("manager", "operation", "apiVersion", "time", "fieldsType")} == {
        "manager": "kubectl-create",
        "operation": "Update",
        "apiVersion": "apps/v1",
        "time": NOW,
        "fieldsType": "FieldsV1",
    }


def test_ports_are_told_apart_by_the_protocol_that_is_the_default() -> None:
    containers = [{"name": "c", "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]}]
    spec = {"template": {"spec": {"containers": containers}}}
    wanted = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    writer = Writer("m", "apps/v1", NOW)

    found = apply(_EMPTY_DEPLOYMENT, configured(wanted, DEPLOYMENTS), [], writer, _deployments, empty=_EMPTY_DEPLOYMENT, force=False)

    ports = found.entries[0]["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}']["f:ports"]
    assert sorted(ports) == ['k:{"containerPort":80,"protocol":"TCP"}', 'k:{"containerPort":80,"protocol":"UDP"}']


def _kubectl_applied(spec: Object) -> Stored:
    """Return what client-side apply leaves: an Update, and the annotation of what was applied."""
    stored = Stored()
    text = f'{{"apiVersion":"{VERSION}","kind":"Thing","metadata":{{"name":"t"}},"spec":{json.dumps(spec)}}}'
    stored.update("kubectl-client-side-apply", {**config(**spec), "metadata": {"name": "t", "annotations": {LAST_APPLIED: text}}})
    return stored


def test_kubectl_takes_over_what_it_applied_client_side_and_nobody_else_changed() -> None:
    stored = _kubectl_applied({"a": "1", "b": "1"})

    stored.apply("kubectl", config(a="2", b="1"))

    assert stored.spec == {"a": "2", "b": "1"}


def test_kubectl_conflicts_where_somebody_changed_what_it_applied() -> None:
    stored = _kubectl_applied({"a": "1", "b": "1"})
    stored.update("edit", {**stored.obj, "spec": {"a": "1", "b": "9"}})

    error = _conflict(stored, "kubectl", config(a="2", b="1"))

    assert error.message == f'Apply failed with 1 conflict: conflict with "edit" using {VERSION}: .spec.b'


@pytest.mark.parametrize("text", ["no JSON", "[" * 100_000])
def test_what_was_applied_client_side_and_cannot_be_read_is_not_taken_over(text: str) -> None:
    stored = Stored()
    stored.update("kubectl-client-side-apply", {**config(a="1"), "metadata": {"name": "t", "annotations": {LAST_APPLIED: text}}})

    error = _conflict(stored, "kubectl", config(a="2"))

    assert error.code == 409


def test_others_do_not_take_over_what_kubectl_applied() -> None:
    error = _conflict(_kubectl_applied({"a": "1"}), "else", config(a="2"))

    assert error.message == f'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using {VERSION}: .spec.a'


def test_the_annotation_of_what_was_applied_is_brought_up_to_date() -> None:
    live = {"metadata": {"annotations": {LAST_APPLIED: "old", "x": "y"}}}
    wanted = {"kind": "Thing", "metadata": {"name": "t", "annotations": {LAST_APPLIED: "whatever"}}, "apiVersion": VERSION}

    found = with_last_applied(live, wanted)

    assert found["metadata"]["annotations"] == {
        LAST_APPLIED: f'{{"apiVersion":"{VERSION}","kind":"Thing","metadata":{{"name":"t"}}}}\n',
        "x": "y",
    }
    assert with_last_applied({"metadata": {}}, wanted) == {"metadata": {}}
