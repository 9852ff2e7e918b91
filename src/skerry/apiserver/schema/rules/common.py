"""Words and checks that rules of several kinds share."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from skerry.apiserver.schema.objectmeta import validate_labels
from skerry.model.errors import Cause, invalid_value, not_supported, required
from skerry.model.names import dns_label_error, dns_subdomain_error, label_value_error, qualified_name_error
from skerry.model.quantity import parse

Map = dict[str, Any]
Causes = list[Cause]

NOT_NEGATIVE = "must be greater than or equal to 0"
PORT_RANGE = "must be between 1 and 65535, inclusive"
IMMUTABLE = "field is immutable"
MAX_DATA_BYTES = 1 << 20
PERCENT_RULE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is "
    "'[0-9]+%')"
)
_DOMAIN_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")

amount = lru_cache(maxsize=1024)(parse)
"""The exact value of a quantity; the same few are asked for again and again."""

_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_PORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ENV_NAME = re.compile(r"[ -<>-~]+")


def ip_address(text: str, field: str, causes: Causes) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        causes.append(invalid_value(field, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))


def special_address(text: str, field: str, causes: Causes) -> None:
    """Check that an address is one that traffic can be sent to from elsewhere."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return  # said already
    if address.is_unspecified:
        causes.append(invalid_value(field, text, "may not be unspecified (0.0.0.0 or ::)"))
    elif address.is_loopback:
        causes.append(invalid_value(field, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    elif address.is_link_local:
        causes.append(invalid_value(field, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    elif address in _LOCAL_MULTICAST[address.version]:
        causes.append(invalid_value(field, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))


_LOCAL_MULTICAST = {4: ipaddress.ip_network("224.0.0.0/24"), 6: ipaddress.ip_network("ff02::/16")}


def domain_path(text: str, field: str, causes: Causes) -> None:
    """Check a name like `acme.io/foo`."""
    domain, _, path = text.partition("/")
    if not text:
        causes.append(required(field))
    elif not domain or not path:
        causes.append(invalid_value(field, text, 'must be a domain-prefixed path (such as "acme.io/foo")'))
    elif wrong := dns_subdomain_error(domain):
        causes.append(invalid_value(field, domain, wrong))
    elif not _DOMAIN_PATH.fullmatch(path):
        why = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')"
        causes.append(invalid_value(field, path, why))


def go_invalid(field: str, shown: str, detail: str) -> Cause:
    """Return an Invalid whose value is shown as Go prints a struct or map: without quotes."""
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown}: {detail}")


def go_not_supported(field: str, shown: str, supported: Iterable[str]) -> Cause:
    """Return a NotSupported whose value is shown as Go prints a struct or list."""
    choices = ", ".join(f'"{s}"' for s in supported)
    return Cause(field, "FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {choices}")


def duplicate(field: str, value: Any) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {shown}")


def not_found(field: str, value: str) -> Cause:
    return Cause(field, "FieldValueNotFound", f'Not found: "{value}"')


def too_long(field: str, limit: int) -> Cause:
    return Cause(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def go_int_or_string(value: int | str) -> str:
    """Return an IntOrString as Go prints it."""
    if isinstance(value, str):
        return f'intstr.IntOrString{{Type:1, IntVal:0, StrVal:"{value}"}}'
    return f'intstr.IntOrString{{Type:0, IntVal:{value}, StrVal:""}}'


def go_string_map(value: Mapping[str, str] | None) -> str:
    """Return `map[string]string{"a":"b"}`."""
    if not value:
        return "map[string]string(nil)"
    return "map[string]string{" + ", ".join(f'"{k}":"{v}"' for k, v in sorted(value.items())) + "}"


def go_label_selector(selector: Mapping[str, Any] | None) -> str:
    """Return a LabelSelector as Go prints it; `"null"` when there is none."""
    if selector is None:
        return '"null"'
    terms = selector.get("matchExpressions")
    shown = "[]v1.LabelSelectorRequirement(nil)"
    if terms:
        shown = "[]v1.LabelSelectorRequirement{" + ", ".join(map(_go_term, terms)) + "}"
    return f"v1.LabelSelector{{MatchLabels:{go_string_map(selector.get('matchLabels'))}, MatchExpressions:{shown}}}"


def _go_term(term: Mapping[str, Any]) -> str:
    named = f'Key:"{term.get("key", "")}", Operator:"{term.get("operator", "")}"'
    return f"v1.LabelSelectorRequirement{{{named}, Values:{go_strings(term.get('values'))}}}"


def go_strings(values: Sequence[str] | None, kind: str = "string") -> str:
    """Return a list of texts, or of a *kind* that is one, as Go prints it."""
    return f"[]{kind}{{" + ", ".join(f'"{v}"' for v in values) + "}" if values else f"[]{kind}(nil)"


def not_negative(spec: Mapping[str, Any], names: Iterable[str], field: str, causes: Causes) -> None:
    """Check numbers that may be absent."""
    for name in names:
        value = spec.get(name)
        if isinstance(value, int) and value < 0:
            causes.append(invalid_value(f"{field}.{name}", value, NOT_NEGATIVE))


def one_of(value: Any, supported: Sequence[str], field: str, causes: Causes, *, optional: bool = False) -> None:
    """Check an enumeration; "" or None is Required. What is optional may be None, and "" is a value (where it is none, it is not here)."""
    if not optional and not value:
        causes.append(required(field))
    elif value is not None and value not in supported:
        causes.append(not_supported(field, value, list(supported)))


def port_number(value: Any, field: str, causes: Causes) -> None:
    if not isinstance(value, int) or not 1 <= value <= 65535:
        causes.append(invalid_value(field, value, PORT_RANGE))


def port_or_name(value: Any, field: str, causes: Causes) -> None:
    """Check an IntOrString that names a port."""
    if isinstance(value, str):
        wrong = port_name_error(value)
        if wrong:
            causes.append(invalid_value(field, value, wrong))
    else:
        port_number(value, field, causes)


def port_name_error(text: str) -> str | None:
    """Return what is wrong with the name of a container's port (IANA service name), or None."""
    if len(text) > 15:
        return "must be no more than 15 characters"
    if not _PORT_NAME.fullmatch(text):
        return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if "--" in text:
        return "must not contain consecutive hyphens"
    if not any(c.isalpha() for c in text):
        return "must contain at least one letter (a-z)"
    return None


def config_key_error(text: str) -> str | None:
    """Return what is wrong with a key of a ConfigMap or Secret, or None."""
    if len(text) > 253:
        return "must be no more than 253 characters"
    if text in (".", "..") or text.startswith(".."):
        return f"must not be '{text}'" if text in (".", "..") else "must not start with '..'"
    if not _CONFIG_KEY.fullmatch(text):
        return (
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
            "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        )
    return None


def env_name_error(text: str) -> str | None:
    """Return what is wrong with the name of an environment variable, or None."""
    if not _ENV_NAME.fullmatch(text):
        return "a valid environment variable name must consist only of printable ASCII characters other than '='"
    return None


def local_path(path: str, field: str, causes: Causes) -> None:
    """Check a path inside a volume: relative, and never out of it."""
    if path.startswith("/"):
        causes.append(invalid_value(field, path, "must be a relative path"))
    if ".." in path.split("/"):
        causes.append(invalid_value(field, path, "must not contain '..'"))


def kept_path(path: str, field: str, causes: Causes) -> None:
    """Check a path of a file in a volume: local, and not one of those that are written beside the files."""
    local_path(path, field, causes)
    if path.startswith("..") and not path.startswith("../") and path != "..":
        causes.append(invalid_value(field, path, "must not start with '..'"))


def dns_label(value: Any, field: str, causes: Causes) -> None:
    if not value:
        causes.append(required(field))
        return
    wrong = dns_label_error(value)
    if wrong:
        causes.append(invalid_value(field, value, wrong))


def dns_subdomain(value: Any, field: str, causes: Causes) -> None:
    if not value:
        causes.append(required(field))
        return
    wrong = dns_subdomain_error(value)
    if wrong:
        causes.append(invalid_value(field, value, wrong))


def csi_driver_name(name: str, field: str, causes: Causes) -> None:
    """Check the name of a storage driver."""
    if not name:
        causes.append(required(field))
    if len(name) > 63:
        causes.append(too_long(field, 63))
    if wrong := dns_subdomain_error(name.lower()):
        causes.append(invalid_value(field, name, wrong))


def label_selector(selector: Mapping[str, Any] | None, field: str, causes: Causes) -> None:
    """Check a metav1.LabelSelector."""
    if selector is None:
        return
    validate_labels(selector.get("matchLabels"), causes, f"{field}.matchLabels")
    for i, term in enumerate(selector.get("matchExpressions") or ()):
        _selector_term(term, f"{field}.matchExpressions[{i}]", causes)


def _selector_term(term: Map, field: str, causes: Causes) -> None:
    operator, values = term.get("operator"), term.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            causes.append(required(f"{field}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            causes.append(
                Cause(
                    f"{field}.values",
                    "FieldValueForbidden",
                    "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                )
            )
    else:
        causes.append(invalid_value(f"{field}.operator", operator or "", "not a valid selector operator"))
    wrong = qualified_name_error(term.get("key") or "")
    if wrong:
        causes.append(invalid_value(f"{field}.key", term.get("key") or "", wrong))
    for i, value in enumerate(values):
        wrong = label_value_error(value)
        if wrong:
            causes.append(invalid_value(f"{field}.values[{i}]", value, wrong))
