"""What kubectl carries to a Pod behind a node that dialled in: attach, port-forward, cp; also the older way of the Python client."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.stage import Stage
from tests.e2e.edge import free_port, until
from tests.e2e.test_kubectl import Kubectl, binaries, kubectl, namespace

__all__ = ["binaries", "kubectl", "namespace"]

pytestmark = pytest.mark.slow

SERVER = """\
import http.server, os, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).upper()
        self.send_response(201)
        self.send_header("Set-Cookie", "taken=yes")
        self.send_header("X-Seen", ",".join(k for k in ("Authorization", "Cookie", "Impersonate-User", "X-Mine") if k in self.headers))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        body = b"hello from " + self.path.encode() + b" " + b"x" * 300000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        print("served", self.path, flush=True)
    def log_message(self, *args): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    allow_reuse_address = True
server = Server((os.environ["HOST"], int(os.environ["PORT"])), Handler)
print("listening", flush=True)
server.serve_forever()
"""


class Web:
    """A Pod that serves HTTP on a declared port of its node's address."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl, self.namespace, self.port = kubectl, namespace, free_port()
        host = {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        container = {
            "name": "web",
            "image": "host.skerry.invalid/python",
            "args": ["-c", SERVER],
            "env": [host, {"name": "PORT", "value": str(self.port)}],
            "ports": [{"containerPort": self.port, "name": "http"}],
            "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},  # else it is Ready before it listens
        }
        spec = {"runtimeClassName": "process", "containers": [container], "terminationGracePeriodSeconds": 0}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec}
        kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(pod))
        kubectl("wait", "-n", namespace, "pod/web", "--for=condition=Ready", "--timeout=90s")
        until(lambda: "listening" in kubectl("logs", "-n", namespace, "web"), "the program to listen, which comes after its start")


@pytest.fixture
def web(kubectl: Kubectl, namespace: str) -> Web:
    return Web(kubectl, namespace)


@pytest.fixture
def forwarded(web: Web, tmp_path: Path) -> Iterator[int]:
    """The local port of a `kubectl port-forward`."""
    with (tmp_path / "forward.log").open("wb+") as log:
        words = [web.kubectl.binary, "port-forward", "-n", web.namespace, "pod/web", f":{web.port}"]
        process = subprocess.Popen(words, env=web.kubectl.environment, stdout=log, stderr=log)
        try:
            said = until(lambda: listens(tmp_path / "forward.log"), "port-forward to listen")
            yield int(said.split("127.0.0.1:")[1].split()[0])
        finally:
            process.terminate()
            process.wait(timeout=60)


def listens(log: Path) -> str:
    """Return what `kubectl port-forward` said, "" as long as it says no port."""
    said = log.read_text()
    return said if "127.0.0.1:" in said and said.endswith("\n") else ""


def ask(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        body: bytes = answer.read()
    return body


def test_connections_reach_the_pod(web: Web, forwarded: int) -> None:
    for number in range(5):
        body = ask(forwarded, f"/{number}")
        assert body.startswith(b"hello from /%d " % number)
        assert len(body) > 300_000


def test_a_port_that_is_not_the_pods_is_refused(web: Web, tmp_path: Path) -> None:
    """The node has other listeners on the same address; a right to a Pod is none to them."""
    with (tmp_path / "forward.log").open("wb+") as log:
        words = [web.kubectl.binary, "port-forward", "-n", web.namespace, "pod/web", ":22"]
        process = subprocess.Popen(words, env=web.kubectl.environment, stdout=log, stderr=log)
        try:
            said = until(lambda: listens(tmp_path / "forward.log"), "port-forward to listen")
            with pytest.raises((ConnectionError, http.client.HTTPException, urllib.error.URLError)):
                ask(int(said.split("127.0.0.1:")[1].split()[0]), "/")
            until(lambda: "port 22 is not one of Pod web" in (tmp_path / "forward.log").read_text(), "the reason")
        finally:
            process.terminate()
            process.wait(timeout=60)


def test_attach_shows_what_is_printed_from_now_on(web: Web, forwarded: int, tmp_path: Path) -> None:
    ask(forwarded, "/before")
    with (tmp_path / "attach.log").open("wb+") as log:
        words = [web.kubectl.binary, "attach", "-n", web.namespace, "web"]
        process = subprocess.Popen(words, env=web.kubectl.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(lambda: ask(forwarded, "/now") and "served /now" in (tmp_path / "attach.log").read_text(), "what is printed")
            assert "served /before" not in (tmp_path / "attach.log").read_text()
            web.kubectl("delete", "pod", "web", "-n", web.namespace, "--timeout=90s")
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait(timeout=60)


def test_the_official_client_forwards_ports_its_own_way(web: Web, stage: Stage) -> None:
    program = """
import sys
from kubernetes import client, config, stream
config.load_kube_config()
forward = stream.portforward(client.CoreV1Api().connect_get_namespaced_pod_portforward, "web", sys.argv[1], ports=sys.argv[2])
sock = forward.socket(int(sys.argv[2]))
sock.setblocking(True)
sock.sendall(b"GET /python HTTP/1.0\\r\\n\\r\\n")
got = b""
while data := sock.recv(65536):
    got += data
sock.close()
print(len(got), got.split(b"\\r\\n\\r\\n")[1][:18].decode())
"""
    words = [sys.executable, "-c", program, web.namespace, str(web.port)]
    done = subprocess.run(words, env={**os.environ, **web.kubectl.environment}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1)[1].strip() == "hello from /python"


def test_files_are_copied_both_ways(web: Web, tmp_path: Path) -> None:
    """`kubectl cp` is tar over exec: the program's sandbox shows the host's own tar."""
    (tmp_path / "sent").write_bytes(os.urandom(300_000))

    web.kubectl("cp", str(tmp_path / "sent"), f"{web.namespace}/web:/tmp/there")
    web.kubectl("cp", f"{web.namespace}/web:/tmp/there", str(tmp_path / "back"))

    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()


def test_requests_are_proxied_to_pods_and_services(web: Web, stage: Stage) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"}}
    service["spec"] = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
    web.kubectl("apply", "-n", web.namespace, "-f", "-", stdin=json.dumps(service))
    pods, services = (f"/api/v1/namespaces/{web.namespace}/{plural}" for plural in ("pods", "services"))

    assert web.kubectl("get", "--raw", f"{pods}/web/proxy/a/b?c=d").startswith("hello from /a/b?c=d ")
    assert web.kubectl("get", "--raw", f"{pods}/web:http/proxy/").startswith("hello from / ")
    assert "is not one of Pod web" in web.kubectl("get", "--raw", f"{pods}/web:22/proxy/", fails=True)
    until(
        lambda: web.kubectl("get", "endpointslices", "-n", web.namespace, "-o", "jsonpath={.items[*].endpoints[*].addresses}"), "endpoints"
    )
    assert web.kubectl("get", "--raw", f"{services}/front:80/proxy/s").startswith("hello from /s ")
    assert "no service port" in web.kubectl("get", "--raw", f"{services}/front:81/proxy/s", fails=True)


def test_a_pod_gets_no_credentials_and_gives_no_cookies(web: Web) -> None:
    config = json.loads(web.kubectl("config", "view", "--raw", "-o", "json"))
    context = ssl.create_default_context(cadata=base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode())
    pair = Path(web.kubectl.environment["HOME"]) / "pair.pem"
    user = config["users"][0]["user"]
    pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
    context.load_cert_chain(pair)
    url = f"{config['clusters'][0]['cluster']['server']}/api/v1/namespaces/{web.namespace}/pods/web/proxy/x"
    headers = {"Cookie": "a=b", "X-Mine": "1", "Accept": "text/html"}

    with urllib.request.urlopen(urllib.request.Request(url, b"shout", headers), context=context, timeout=60) as answer:
        told = (
            answer.status,
            answer.read(),
            answer.headers["X-Seen"],
            answer.headers["Set-Cookie"],
            answer.headers["Content-Security-Policy"],
        )

    assert told[:4] == (201, b"SHOUT", "X-Mine", None)
    assert "sandbox" in told[4]
