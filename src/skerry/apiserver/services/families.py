"""Which address families a Service gets, and what does not go together. Pure. Both families are configured, IPv4 first.

Source: k8s.io/kubernetes/pkg/registry/core/service/storage, pkg/apis/core/validation (ValidateServiceClusterIPsRelatedFields).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from skerry.model.errors import Cause, invalid_value, not_supported, required

Spec = dict[str, Any]
FAMILIES = ("IPv4", "IPv6")
POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
NONE = "None"
_POLICY, _ADDRESSES, _FAMILIES = "spec.ipFamilyPolicy", "spec.clusterIPs", "spec.ipFamilies"


def go_strings(values: Sequence[str] | None) -> str:
    """Return a list as the API's messages have it."""
    return "[]string{" + ", ".join(f'"{v}"' for v in values) + "}" if values else "[]string(nil)"


def _shown(field: str, values: Sequence[str], detail: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {go_strings(values)}: {detail}")


def family_of(address: str) -> str:
    return FAMILIES[ipaddress.ip_address(address).version == 6]


def is_address(text: object) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True


def settle_families(spec: Spec, old: Spec | None) -> list[Cause]:
    """Complete `ipFamilyPolicy`, `ipFamilies` (and cut `clusterIPs` for one family) in place; return what is wrong with them."""
    if old is not None and _prefers_as_before(spec, old):
        return []
    selectorless = spec.get("clusterIP") == NONE and not spec.get("selector")
    if not spec.get("ipFamilyPolicy"):
        before = (old or {}).get("ipFamilyPolicy")
        spec["ipFamilyPolicy"] = before or ("RequireDualStack" if selectorless else "SingleStack")
    causes = related(spec)
    if causes:
        return causes
    if old is not None:
        _shrink(spec, old, causes)
    _one_family(spec, causes)
    if causes:
        return causes
    families = list(spec.get("ipFamilies") or ())
    given = [a for a in spec.get("clusterIPs") or () if a and a != NONE]
    families += [family_of(a) for a in given[len(families) :]]
    if not families:
        families = [FAMILIES[0]]
    if spec["ipFamilyPolicy"] != "SingleStack" and len(families) == 1:
        families.append(FAMILIES[families[0] == FAMILIES[0]])
    spec["ipFamilies"] = families
    return []


def _prefers_as_before(spec: Spec, old: Spec) -> bool:
    """Say whether nothing was said about families of a Service that takes what there is."""
    same = all((spec.get(k) or None) == (old.get(k) or None) for k in ("ipFamilyPolicy", "clusterIPs", "ipFamilies"))
    return same and spec.get("ipFamilyPolicy") == "PreferDualStack" and bool(spec.get("ipFamilies"))


def related(spec: Spec) -> list[Cause]:
    """Return what is wrong with clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy taken together."""
    addresses, families = list(spec.get("clusterIPs") or ()), list(spec.get("ipFamilies") or ())
    causes = _first_is_address(spec.get("clusterIP") or "", addresses)
    for i, family in enumerate(families):
        if family not in FAMILIES:
            causes.append(not_supported(f"{_FAMILIES}[{i}]", family, list(FAMILIES)))
        if family in families[:i]:
            causes.append(Cause(f"{_FAMILIES}[{i}]", "FieldValueDuplicate", f'Duplicate value: "{family}"'))
    if spec.get("ipFamilyPolicy") not in POLICIES:
        causes.append(not_supported(_POLICY, spec.get("ipFamilyPolicy"), list(POLICIES)))
    wrong = _malformed(addresses)
    causes += wrong
    if len(addresses) > 2:
        causes.append(_shown(_ADDRESSES, addresses, "may only hold up to 2 values"))
    if wrong or not addresses or addresses == [NONE]:
        return causes
    if len({family_of(a) for a in addresses}) < len(addresses):
        causes.append(_shown(_ADDRESSES, addresses, "may specify no more than one IP for each IP family"))
    for i, (address, family) in enumerate(zip(addresses, families, strict=False)):
        if family in FAMILIES and family_of(address) != family:
            causes.append(invalid_value(f"{_ADDRESSES}[{i}]", address, f"expected an {family} value as indicated by `ipFamilies[{i}]`"))
    return causes


def _first_is_address(address: str, addresses: list[str]) -> list[Cause]:
    if not address:
        return [_shown(_ADDRESSES, addresses, "must be empty when `clusterIP` is not specified")] if addresses else []
    if not addresses:
        return [required(_ADDRESSES)]
    return [] if addresses[0] == address else [_shown(_ADDRESSES, addresses, "first value must match `clusterIP`")]


def _malformed(addresses: list[str]) -> list[Cause]:
    found = []
    for i, address in enumerate(addresses):
        if i == 0 and address == NONE:
            if len(addresses) > 1:
                found.append(_shown(_ADDRESSES, addresses, "'None' must be the first and only value"))
        elif not is_address(address):
            found.append(invalid_value(f"{_ADDRESSES}[{i}]", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
    return found


def _shrink(spec: Spec, old: Spec, causes: list[Cause]) -> None:
    """Let the second family go when one is asked for; say so when it went without being asked for."""
    for key, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        now, before = spec.get(key) or [], old.get(key) or []
        if spec["ipFamilyPolicy"] == "SingleStack":
            if now == before and len(now) > 1:
                spec[key] = now[:1]
        elif len(before) == 2 and len(now) == 1:
            causes.append(invalid_value(_POLICY, spec["ipFamilyPolicy"], f"must be 'SingleStack' to release the secondary {what}"))


def _one_family(spec: Spec, causes: list[Cause]) -> None:
    if spec["ipFamilyPolicy"] != "SingleStack":
        return
    for key, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
        if len(spec.get(key) or ()) == 2:
            why = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            causes.append(invalid_value(_POLICY, "SingleStack", why))
