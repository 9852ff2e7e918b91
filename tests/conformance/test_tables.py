"""What Kubernetes answers in the areas that the recordings do not cover, as tables that were written by hand.

The runner shares no code with the server: plain HTTPS requests to a hub in a process of its own.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.hub_process import HubProcess

pytestmark = pytest.mark.slow

TABLES = Path(__file__).parent / "tables"
KUBECTL = str(Path(sys.executable).parent / "kubectl")
OTHER = shutil.which("kubectl", path="/usr/local/bin:/usr/bin")
"""Another kubectl on this machine, where there is one."""
EDITOR = "sed -i s/replaced/edited/"
AREAS = sorted(p.stem for p in TABLES.glob("*.yaml"))
MIN_ROWS = 400
UNTIL_S = float(os.environ.get("SKERRY_TABLES_UNTIL_S", "30"))
TYPES = {
    "json": "application/json",
    "yaml": "application/yaml",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "jsonpatch": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
FORMS = {
    "table": "application/json;as=Table;v=v1;g=meta.k8s.io",
    "partial": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "partials": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
}
CORE = (
    "configmaps endpoints events limitranges persistentvolumeclaims pods podtemplates replicationcontrollers resourcequotas secrets "
    "serviceaccounts services"
)
GROUPED = {
    "apps/v1": "controllerrevisions daemonsets deployments replicasets statefulsets",
    "batch/v1": "cronjobs jobs",
    "autoscaling/v2": "horizontalpodautoscalers",
    "coordination.k8s.io/v1": "leases",
    "discovery.k8s.io/v1": "endpointslices",
    "networking.k8s.io/v1": "ingresses networkpolicies",
    "policy/v1": "poddisruptionbudgets",
    "storage.k8s.io/v1": "csistoragecapacities",
    "rbac.authorization.k8s.io/v1": "roles rolebindings",
    "authorization.k8s.io/v1": "localsubjectaccessreviews",
    "tables.example.com/v1": "gadgets",
}
CLUSTER = {
    "/api/v1": "namespaces nodes persistentvolumes",
    "/apis/rbac.authorization.k8s.io/v1": "clusterroles clusterrolebindings",
    "/apis/authorization.k8s.io/v1": "subjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews",
    "/apis/authentication.k8s.io/v1": "tokenreviews selfsubjectreviews",
    "/apis/certificates.k8s.io/v1": "certificatesigningrequests",
    "/apis/scheduling.k8s.io/v1": "priorityclasses",
    "/apis/storage.k8s.io/v1": "csidrivers csinodes storageclasses volumeattachments",
    "/apis/flowcontrol.apiserver.k8s.io/v1": "flowschemas prioritylevelconfigurations",
    "/apis/node.k8s.io/v1": "runtimeclasses",
    "/apis/networking.k8s.io/v1": "ingressclasses",
    "/apis/apiextensions.k8s.io/v1": "customresourcedefinitions",
    "/apis/admissionregistration.k8s.io/v1": (
        "validatingadmissionpolicies validatingadmissionpolicybindings validatingwebhookconfigurations mutatingwebhookconfigurations"
    ),
}
PREFIX = dict.fromkeys(CORE.split(), "/api/v1/namespaces/{ns}")
PREFIX |= {p: f"/apis/{group}/namespaces/{{ns}}" for group, plurals in GROUPED.items() for p in plurals.split()}
PREFIX |= {p: prefix for prefix, plurals in CLUSTER.items() for p in plurals.split()}
_MISSING = object()


def path_of(short: str) -> str:
    """Return the whole path of a row."""
    return short if short.startswith("/") else f"{PREFIX[re.split('[/?]', short)[0]]}/{short}"


def at(body: Any, pointer: str) -> Any:
    """Return what stands at a JSON pointer, `[key=value]` choosing an item of a list."""
    for raw in pointer.split("/")[1:]:
        part = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(body, list) and part.startswith("["):
            key, _, value = part[1:-1].partition("=")
            body = next((item for item in body if str(item.get(key)) == value), _MISSING)
        elif isinstance(body, list) and part.lstrip("-").isdigit() and -len(body) <= int(part) < len(body):
            body = body[int(part)]
        elif isinstance(body, dict) and part in body:
            body = body[part]
        else:
            return _MISSING
    return body


def holds(wanted: Any, found: Any) -> bool:
    """Say whether a value is as the table has it."""
    if found is _MISSING:
        return False
    if wanted == "*":
        return True
    if isinstance(wanted, str) and wanted.startswith("~") and isinstance(found, str):
        return re.fullmatch(wanted[1:], found, re.DOTALL) is not None
    if isinstance(wanted, str) and re.fullmatch(r"\[\d+\]", wanted):
        return isinstance(found, list | dict) and len(found) == int(wanted[1:-1])
    return bool(wanted == found)


def _request() -> str:
    """Return a certificate request as the API takes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tables"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "testers")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


class Table:
    """One area and what its rows have saved so far."""

    def __init__(self, hub: HubProcess, area: str, kubectl: str = KUBECTL) -> None:
        self.hub, self.kubectl = hub, kubectl
        self.names: dict[str, str] = {"ns": f"table-{area.replace('_', '-')}", "csr": _request()}

    def fill(self, value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"\{([a-z][a-z0-9_]*)\}", lambda m: str(self.names.get(m[1], m[0])), value)
        if isinstance(value, list):
            return [self.fill(v) for v in value]
        if isinstance(value, dict):
            return {self.fill(k): self.fill(v) for k, v in value.items()}
        return value

    def run(self, row: Mapping[str, Any]) -> str:
        """Return what is wrong with the answer, "" when it is as it should be."""
        end = time.monotonic() + (UNTIL_S if row.get("until") else 0)
        while True:
            wrong = self._once(row)
            if not wrong or time.monotonic() >= end:
                return wrong
            time.sleep(0.1)

    def _once(self, row: Mapping[str, Any]) -> str:
        if "kubectl" in row:
            return self._kubectl(row)
        unsaved = re.findall(r"^\S+ \{(?!ns\})([a-z]+)\}", row["do"])
        if unsaved and unsaved[0] not in self.names:
            return f"{row['do']}: no row has saved {unsaved[0]}"
        method, _, short = row["do"].partition(" ")
        status, headers, text = self._ask(method, self.fill(path_of(self.fill(short))).replace(" ", "%20"), row)
        try:
            body = json.loads(text)
        except ValueError:
            body = None
        wrong = list(self._wrong(row, status, headers, text, body))
        if wrong:
            return f"{row['do']}: {'; '.join(wrong)}\n      {text[:600]}"
        for name, pointer in row.get("save", {}).items():
            self.names[name] = at(body, pointer)
        return ""

    def _kubectl(self, row: Mapping[str, Any]) -> str:
        words = row.get("words") or row["kubectl"].split()
        environment = {**os.environ, "KUBECONFIG": str(self.hub.kubeconfig), "HOME": str(self.hub.folder), "KUBE_EDITOR": EDITOR}
        done = subprocess.run(
            [self.kubectl, "-n", self.names["ns"], *self.fill(words)],
            input=self.fill(row.get("stdin", "")), capture_output=True, text=True, env=environment, timeout=120, check=False,
        )  # fmt: skip
        wanted = self.fill(row.get("fails", row.get("prints")))
        said = (done.stderr if "fails" in row else done.stdout).strip()
        if (done.returncode != 0) is not ("fails" in row) or not re.fullmatch(wanted, said, re.DOTALL):
            return f"kubectl {row['kubectl']}: exit code {done.returncode}, not {wanted!r}\n{done.stdout}{done.stderr}"
        return ""

    def _ask(self, method: str, path: str, row: Mapping[str, Any]) -> tuple[int, Mapping[str, str], str]:
        body = self.fill(row.get("with"))
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        payload = base64.b64decode(row["base64"]) if "base64" in row else None if text is None else text.encode()
        headers = {"Content-Type": TYPES.get(row.get("type", "json"), row.get("type", "json"))} if payload is not None else {}
        headers["Accept"] = FORMS.get(row.get("accept", ""), row.get("accept", "application/json"))
        who = row.get("as", "")
        impersonated = [] if who in ("", "nobody") else self.fill(who).split(",")
        credential = None if who == "nobody" else self.hub.kubeconfig
        connection = self.hub._connection(credential)
        try:
            connection.putrequest(method, path)
            for name, value in headers.items():
                connection.putheader(name, value)
            for number, name in enumerate(impersonated):
                connection.putheader("Impersonate-Group" if number else "Impersonate-User", name)
            connection.putheader("Content-Length", str(len(payload or b"")))
            connection.endheaders(payload or b"")
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read(16 << 20).decode()
        except BaseException:
            self.hub._drop(credential)
            raise

    def _wrong(self, row: Mapping[str, Any], status: int, headers: Mapping[str, str], text: str, body: Any) -> Iterator[str]:
        if status != row.get("gives", 200):
            yield f"status {status}, not {row.get('gives', 200)}"
        if "says" in row and not holds(self.fill(row["says"]), (body or {}).get("message")):
            yield f"says {(body or {}).get('message')!r}, not {self.fill(row['says'])!r}"
        yield from (f"does not mention {m!r}" for m in self.fill(row.get("mentions", [])) if m not in text)
        for pointer, wanted in self.fill(row.get("has", {})).items():
            found = at(body, pointer)
            if not holds(wanted, found):
                yield f"{pointer} is {'absent' if found is _MISSING else repr(found)}, not {wanted!r}"
        yield from (f"{p} is there" for p in row.get("lacks", []) if at(body, p) is not _MISSING)
        for name, wanted in self.fill(row.get("header", {})).items():
            if not holds(wanted, headers.get(name.lower(), _MISSING)):
                yield f"header {name} is {headers.get(name.lower())!r}, not {wanted!r}"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    made = HubProcess(tmp_path_factory.mktemp("tables"))
    made.start()
    yield made
    made.stop()


def rows_of(area: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = yaml.safe_load((TABLES / f"{area}.yaml").read_text())["rows"]
    return rows


def test_there_are_enough_rows() -> None:
    assert sum(len(rows_of(a)) for a in AREAS) >= MIN_ROWS


@pytest.mark.parametrize("area", AREAS)
def test_answers_are_those_of_kubernetes(hub: HubProcess, area: str) -> None:
    replay(Table(hub, area), area)


@pytest.mark.skipif(OTHER is None, reason="no other kubectl on this machine")
def test_another_kubectl_prints_the_same(hub: HubProcess) -> None:
    assert OTHER is not None
    replay(Table(hub, "other", OTHER), "kubectl")


def replay(table: Table, area: str) -> None:
    """Run the rows of *area* in order; those that do not hold are told together."""
    table.hub.request("POST", "/api/v1/namespaces", {"metadata": {"name": table.names["ns"]}})
    assert not table.run({"do": "GET serviceaccounts/default", "until": True})
    wrong = [f"row {number}: {said}" for number, row in enumerate(rows_of(area), 1) if (said := table.run(row))]
    assert not wrong, "\n".join(wrong)
