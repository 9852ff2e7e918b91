"""Rules of who is asked about a write: webhook configurations, and what ValidatingAdmissionPolicies are about. Pure.

What expressions say is judged where they are compiled. Source: pkg/apis/admissionregistration/validation of Kubernetes 1.32.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from skerry.apiserver.schema.objectmeta import dns_1035_error, path_segment_error
from skerry.apiserver.schema.rules.common import (
    PORT_RANGE,
    Causes,
    Map,
    duplicate,
    go_invalid,
    go_strings,
    label_selector,
    one_of,
)
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_subdomain_error
from skerry.model.objects import Object

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_FORM = "; desired format: https://host[/path]"


def webhooks(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    """Check Validating- and MutatingWebhookConfiguration."""
    names: set[str] = set()
    for i, hook in enumerate(obj.get("webhooks") or ()):
        at, name = f"webhooks[{i}]", hook.get("name") or ""
        _webhook(hook, at, causes)
        if name and name in names:
            causes.append(duplicate(f"{at}.name", name))
        names.add(name)


validating_webhook_configuration = webhooks
mutating_webhook_configuration = webhooks


def _webhook(hook: Map, field: str, causes: Causes) -> None:
    _full_name(hook.get("name") or "", f"{field}.name", causes)
    for i, rule in enumerate(hook.get("rules") or ()):
        _rule(rule, f"{field}.rules[{i}]", causes)
    one_of(hook.get("failurePolicy"), ("Fail", "Ignore"), f"{field}.failurePolicy", causes, optional=True)
    one_of(hook.get("matchPolicy"), ("Equivalent", "Exact"), f"{field}.matchPolicy", causes, optional=True)
    effects, seconds = hook.get("sideEffects"), hook.get("timeoutSeconds")
    if effects is None:
        causes.append(required(f"{field}.sideEffects", "must specify one of None, NoneOnDryRun"))
    elif effects not in _SIDE_EFFECTS:
        causes.append(not_supported(f"{field}.sideEffects", effects, list(_SIDE_EFFECTS)))
    if seconds is not None and not 1 <= seconds <= 30:
        causes.append(invalid_value(f"{field}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds"))
    for name in ("namespaceSelector", "objectSelector"):
        label_selector(hook.get(name), f"{field}.{name}", causes)
    one_of(hook.get("reinvocationPolicy"), ("IfNeeded", "Never"), f"{field}.reinvocationPolicy", causes, optional=True)
    webhook_client(hook.get("clientConfig") or {}, f"{field}.clientConfig", causes)
    _versions(hook.get("admissionReviewVersions") or (), f"{field}.admissionReviewVersions", causes)


def _full_name(name: str, field: str, causes: Causes) -> None:
    if not name:
        causes.append(required(field))
    elif wrong := dns_subdomain_error(name):
        causes.append(invalid_value(field, name, wrong))
    elif len(name.split(".")) < 3:
        causes.append(invalid_value(field, name, "should be a domain with at least three segments separated by dots"))


def _versions(versions: Sequence[str], field: str, causes: Causes) -> None:
    if not versions:
        causes.append(required(field, "must specify one of v1, v1beta1"))
    for i, version in enumerate(versions):
        if version in versions[:i]:
            causes.append(invalid_value(f"{field}[{i}]", version, "duplicate version"))
        elif wrong := dns_1035_error(version):
            causes.append(invalid_value(f"{field}[{i}]", version, wrong))


def webhook_client(client: Map, field: str, causes: Causes) -> None:
    """Check where a webhook is: at a URL or behind a Service."""
    url, service = client.get("url"), client.get("service")
    if (url is None) is (service is None):
        causes.append(required(field, "exactly one of url or service is required"))
    elif url is not None:
        _url(url, f"{field}.url", causes)
    elif service is not None:
        _service(service, f"{field}.service", causes)


def _url(text: str, field: str, causes: Causes) -> None:
    try:
        url = urlsplit(text)
    except ValueError as error:
        causes.append(required(field, f"url must be a valid URL: {error}{_FORM}"))
        return
    if url.scheme != "https":
        causes.append(invalid_value(field, url.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    user, at, host = url.netloc.rpartition("@")
    if not host:
        causes.append(invalid_value(field, "", f"host must be specified{_FORM}"))
    if at:
        causes.append(invalid_value(field, user, "user information is not permitted in the URL"))
    if url.fragment:
        causes.append(invalid_value(field, url.fragment, "fragments are not permitted in the URL"))
    if url.query:
        causes.append(invalid_value(field, url.query, "query parameters are not permitted in the URL"))


def _service(service: Map, field: str, causes: Causes) -> None:
    port, path = service.get("port", 443), service.get("path") or ""
    causes.extend(required(f"{field}.{n}") for n in ("name", "namespace") if not service.get(n))
    if not 1 <= port <= 65535:
        causes.append(invalid_value(f"{field}.port", port, f"port is not valid: {PORT_RANGE}"))
    if path in ("", "/"):
        return
    if not path.startswith("/"):
        causes.append(invalid_value(f"{field}.path", path, "must start with a '/'"))
    for i, step in enumerate(path[1:].removesuffix("/").split("/")):
        if not step:
            causes.append(invalid_value(f"{field}.path", path, f"segment[{i}] may not be empty"))
        elif wrong := dns_subdomain_error(step):
            causes.append(invalid_value(f"{field}.path", path, f"segment[{i}]: {wrong}"))


def _rule(rule: Map, field: str, causes: Causes) -> None:
    operations = rule.get("operations") or ()
    if not operations:
        causes.append(required(f"{field}.operations"))
    if len(operations) > 1 and "*" in operations:
        shown = go_strings(operations, "admissionregistration.OperationType")
        causes.append(go_invalid(f"{field}.operations", shown, "if '*' is present, must not specify other operations"))
    causes.extend(not_supported(f"{field}.operations[{i}]", o, list(_OPERATIONS)) for i, o in enumerate(operations) if o not in _OPERATIONS)
    for name, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        found = rule.get(name) or ()
        if not found:
            causes.append(required(f"{field}.{name}"))
        if len(found) > 1 and "*" in found:
            causes.append(go_invalid(f"{field}.{name}", go_strings(found), f"if '*' is present, must not specify other {what}"))
        if name == "apiVersions":
            causes.extend(required(f"{field}.{name}[{i}]") for i, version in enumerate(found) if not version)
    _resources(rule.get("resources") or (), f"{field}.resources", causes)
    one_of(rule.get("scope"), _SCOPES, f"{field}.scope", causes, optional=True)


def _resources(resources: Sequence[str], field: str, causes: Causes) -> None:
    if not resources:
        causes.append(required(field))
    whole: set[str] = set()  # of which every subresource was named
    everywhere: set[str] = set()  # subresources that were named of every resource
    for i, text in enumerate(resources):
        resource, slash, sub = text.partition("/")
        if not text:
            causes.append(required(f"{field}[{i}]"))
        if not slash:
            continue
        if resource in whole:
            causes.append(invalid_value(f"{field}[{i}]", text, f"if '{resource}/*' is present, must not specify {text}"))
        if sub in everywhere:
            causes.append(invalid_value(f"{field}[{i}]", text, f"if '*/{sub}' is present, must not specify {text}"))
        if sub == "*":
            whole.add(resource)
        if resource == "*":
            everywhere.add(sub)
    if len(resources) > 1 and "*/*" in resources:
        causes.append(go_invalid(field, go_strings(resources), "if '*/*' is present, must not specify other resources"))
    if "*" in resources and any("/" not in r and r not in ("", "*") for r in resources):
        why = "if '*' is present, must not specify other resources without subresources"
        causes.append(go_invalid(field, go_strings(resources), why))


def validating_admission_policy(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj.get("spec") or {}
    one_of(spec.get("failurePolicy"), ("Fail", "Ignore"), "spec.failurePolicy", causes)
    kind = spec.get("paramKind")
    if kind is not None:
        _param_kind(kind, "spec.paramKind", causes)
    if spec.get("matchConstraints") is not None:
        _match(spec["matchConstraints"], "spec.matchConstraints", causes)


def _param_kind(found: Map, field: str, causes: Causes) -> None:
    text, kind = found.get("apiVersion") or "", found.get("kind") or ""
    group, _, version = text.rpartition("/")
    if not text:
        causes.append(required(f"{field}.apiVersion"))
    elif "/" in group:
        causes.append(invalid_value(f"{field}.apiVersion", text, f"unexpected GroupVersion string: {text}"))
    else:
        if group and (wrong := dns_subdomain_error(group)):
            causes.append(invalid_value(f"{field}.apiVersion", group, wrong))
        if not version:
            causes.append(invalid_value(f"{field}.apiVersion", text, "version must be specified"))
        elif wrong := dns_1035_error(version):
            causes.append(invalid_value(f"{field}.apiVersion", version, wrong))
    if not kind:
        causes.append(required(f"{field}.kind"))
    elif wrong := dns_1035_error(kind.lower()):
        causes.append(invalid_value(f"{field}.kind", kind, f"may have mixed case, but should otherwise match: {wrong}"))


def _match(match: Map, field: str, causes: Causes) -> None:
    one_of(match.get("matchPolicy"), ("Equivalent", "Exact"), f"{field}.matchPolicy", causes)
    for name in ("namespaceSelector", "objectSelector"):
        label_selector(match.get(name), f"{field}.{name}", causes)
    for name in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(match.get(name) or ()):
            at, names = f"{field}.{name}[{i}]", rule.get("resourceNames") or ()
            for j, text in enumerate(names):
                if wrong := path_segment_error(text):
                    causes.append(invalid_value(f"{at}.resourceNames[{j}]", text, wrong))
                if text in names[:j]:
                    causes.append(duplicate(f"{at}.resourceNames[{j}]", text))
            _rule(rule, at, causes)


def validating_admission_policy_binding(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    name, actions = spec.get("policyName") or "", spec.get("validationActions") or ()
    if name and (wrong := dns_subdomain_error(name)):
        causes.append(invalid_value("spec.policyName", name, wrong))
    if spec.get("paramRef") is not None:
        _param_ref(spec["paramRef"], "spec.paramRef", causes)
    if spec.get("matchResources") is not None:
        _match(spec["matchResources"], "spec.matchResources", causes)
    causes.extend(duplicate(f"spec.validationActions[{i}]", a) for i, a in enumerate(actions) if a in actions[:i])


def _param_ref(ref: Map, field: str, causes: Causes) -> None:
    name, selector = ref.get("name") or "", ref.get("selector")
    if name and (wrong := path_segment_error(name)):
        causes.append(invalid_value(f"{field}.name", name, wrong))
    if name and selector is not None:
        causes.extend(forbidden_field(f"{field}.{n}", "name and selector are mutually exclusive") for n in ("name", "selector"))
    label_selector(selector, f"{field}.selector", causes)
    if not name and selector is None:
        causes.append(required(field, "one of name or selector must be specified"))
    action = ref.get("parameterNotFoundAction") or ""
    if action not in ("Deny", "Allow"):
        why = not_supported(f"{field}.parameterNotFoundAction", action, ["Deny", "Allow"])
        causes.append(why if action else required(f"{field}.parameterNotFoundAction"))
