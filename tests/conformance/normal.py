"""Two answers made alike: what must differ between two servers or two runs becomes a placeholder. Pure."""

from __future__ import annotations

import copy
import json
import re
from datetime import UTC, datetime
from typing import Any

GENERATED = "[bcdfghjklmnpqrstvwxz2456789]{5}"
HASHED = ("pod-template-hash", "controller-revision-hash")
_CONTROLLERS = ("kube-controller-manager", "kube-apiserver")
_FOREIGN = "openshift-service-ca.crt"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"(\d{4})-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_AGE = re.compile(r"(\d+[smhdy]){1,2}")
_REVISIONS = (
    re.compile(r'(resourceVersion\\*":\s*\\*")\d+'),
    re.compile(r"(Resource Version:\s+)\d+"),
    re.compile(r"(resource version: \d+,? \(?(?:current: )?)\d+"),
    re.compile(r"(ResourceVersion in record \()\d+"),
)


class Normal:
    """Makes the answers of one server alike; it learns hashes as it goes."""

    def __init__(self, address: str, admin: str | None) -> None:
        self._address = re.compile(
            rf"(https?://)?\b(?:{re.escape(address.rpartition(':')[0])}|localhost|127\.0\.0\.1):{address.rpartition(':')[2]}"
        )
        self._admin = admin
        self._hashes: set[str] = set()

    def text(self, text: str) -> str:
        """Return a text without identifiers, times, addresses and revisions."""
        text = _UUID.sub("<uid>", text)
        text = _TIME.sub(_time, text)
        text = re.sub(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "<jwt>", text)
        text = self._address.sub("<server>", text)
        for pattern in _REVISIONS:
            text = pattern.sub(r"\1<rv>", text)
        text = re.sub(r"\b0x[0-9a-f]{6,}", "<ptr>", text)
        for known in self._hashes:
            text = text.replace(known, "<hash>")
        text = re.sub(rf"\bkube-api-access-{GENERATED}\b", "kube-api-access-<gen>", text)
        return re.sub(rf"-<hash>-{GENERATED}\b", "-<hash>-<gen>", text)

    def document(self, value: Any, sent: Any = None, *, managed: bool = False) -> Any:
        """Return a JSON document made alike; *sent* is the request's body: what the client chose itself stays."""
        self._learn(value)
        return self._walk(copy.deepcopy(value), "", "" if sent is None else json.dumps(sent), managed)

    def _learn(self, value: Any) -> None:
        if isinstance(value, dict):
            self._hashes |= {str(v).rpartition("-")[2] for k, v in value.items() if k in HASHED and v and v != "<hash>"}
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            self._learn(inner)

    def _walk(self, value: Any, key: str, sent: str, managed: bool) -> Any:
        if isinstance(value, dict):
            return self._map(value, key, sent, managed)
        if isinstance(value, list):
            if key == "cells":
                return [self._cell(v) for v in value]
            return [self._walk(v, key, sent, managed) for v in value if not _is_foreign(v)]
        if isinstance(value, str):
            return "<admin>" if key == "username" and value == self._admin else self.text(value)
        return value

    def _map(self, value: dict[str, Any], key: str, sent: str, managed: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for k, v in value.items():
            if k == "managedFields" and isinstance(v, list):
                if managed:
                    entries = [self._entry(e, sent) for e in v if e.get("manager") not in _CONTROLLERS]
                    found[k] = sorted(entries, key=lambda e: json.dumps(e, sort_keys=True))
            elif k not in ("selfLink", "collisionCount") and not (k == "creationTimestamp" and v is None):
                found[self.text(k)] = self._field(k, v, key, sent, managed)
        prefix, name = found.get("generateName"), found.get("name")
        if prefix and isinstance(name, str) and name.startswith(prefix) and len(name) == len(prefix) + 5:
            found["name"] = prefix + "<gen>"
        return found

    def _entry(self, entry: dict[str, Any], sent: str) -> Any:
        return self._walk({**entry, "time": "<time>"} if "time" in entry else dict(entry), "", sent, True)

    def _field(self, k: str, v: Any, key: str, sent: str, managed: bool) -> Any:
        if isinstance(v, str):
            if k == "resourceVersion":
                return "<rv>" if v.isdigit() and v != "0" and not (f'"{v}"' in sent and int(v) < 10) else v
            if k == "continue":
                return "<continue>" if v else ""
            if k in HASHED:
                return "<hash>"
            if k == "certificate" and len(v) > 200:
                return "<certificate>"
        if k in ("clusterIP", "clusterIPs", "loadBalancerIP", "ip") and key != "hostAliases":
            return _address(v, sent)
        if k in ("nodePort", "healthCheckNodePort"):
            return v if str(v) in sent else "<nodeport>"
        if k in ("ca.crt", "service-ca.crt"):
            return "<ca>"
        if k == "storageVersionHash":
            return "<hash>"
        return self._walk(v, k, sent, managed)

    def _cell(self, value: Any) -> Any:
        if not isinstance(value, str):
            return self._walk(value, "", "", False)
        if _AGE.fullmatch(value):
            return "<age>"
        if value == self._admin:
            return "<admin>"
        return self.text(re.sub(r"^10\.\d+\.\d+\.\d+$", "<ip>", value))


def _time(match: re.Match[str]) -> str:
    if abs(int(match[1]) - datetime.now(UTC).year) > 1:  # a constant that stands in a case
        return match[0]
    return "<microtime>" if match[2] and len(match[2]) == 7 else "<time>"


def _address(value: Any, sent: str) -> Any:
    if isinstance(value, list):
        return [_address(v, sent) for v in value]
    return "<ip>" if isinstance(value, str) and value not in ("", "None") and f'"{value}"' not in sent else value


def _is_foreign(value: Any) -> bool:
    """Say whether a list element is of the distribution on which the answers were recorded."""
    return isinstance(value, dict) and any(
        isinstance(value.get(k), dict) and value[k].get("name") == _FOREIGN for k in ("metadata", "configMap")
    )
