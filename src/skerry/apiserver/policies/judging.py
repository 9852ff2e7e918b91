"""ValidatingAdmissionPolicies at work: which bindings are about a write, with which parameters, and what they say.

Nothing is waited for: parameters and namespaces come from memory. An expression that fails refuses when the policy says Fail.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from skerry.apiserver.access.audit.notes import annotate, annotated
from skerry.apiserver.cel import CelProgram, CelSyntaxError, CostError, EvaluationError
from skerry.apiserver.cel.frame import PER_CALL
from skerry.apiserver.policies.policy import BINDINGS, POLICIES, Binding, Match, Policy, Validation, binding_of, policy_of
from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.store import Change, Key
from skerry.apiserver.webhooks.matching import LATER, NAMESPACES, labels_of, matching
from skerry.apiserver.webhooks.review import request_of
from skerry.apiserver.webhooks.variables import Allows, condition_values
from skerry.apiserver.webhooks.views import as_written, is_carried_out, is_of_another_kind, places_of, renamed
from skerry.model.errors import ApiError, forbidden
from skerry.model.objects import Object
from skerry.model.selectors import from_label_selector

log = logging.getLogger(__name__)

_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}
FAILURES = "validation.policy.admission.k8s.io/validation_failure"
MAX_FAILURES, MAX_MESSAGE = 16, 320
"""Failures of one write that the audit log keeps, and characters of each: together they fit into one annotation."""
MAX_PARAMS = 100
"""Parameters of one binding that are tried on one write."""


class _RefusalError(Exception):
    """What a policy says no with."""

    def __init__(self, message: str, reason: str = "Invalid", *, broken: bool = False) -> None:
        super().__init__(message)
        self.reason, self.broken = reason, broken


class _Case(msgspec.Struct):
    """One write before one policy with one parameter."""

    asked: Admission
    variables: dict[str, Any]
    budget: _Budget


class _Budget(msgspec.Struct):
    """What all policies may cost that judge one write."""

    left: int = PER_CALL


class Policies:
    """Follows the policies and bindings of a registry and judges every write by them."""

    def __init__(self, registry: Registry, access: Allows) -> None:
        self._registry, self._access = registry, access
        self._policies: dict[str, Policy] = {}
        self._bindings: dict[str, Binding] = {}

    def load(self) -> None:
        store = self._registry.store
        self.follow([Change("ADDED", r, None) for key in (POLICIES, BINDINGS) for r in store.list(key).records])
        store.subscribe(self.follow)

    def follow(self, changes: Iterable[Change]) -> None:
        for change in changes:
            key = change.record.key
            if key.resource not in (POLICIES, BINDINGS):
                continue
            there: dict[str, Any] = self._policies if key.resource == POLICIES else self._bindings
            there.pop(key.name, None)
            if change.type == "DELETED":
                continue
            obj = decode(change.record.value)
            try:
                there[key.name] = policy_of(obj) if key.resource == POLICIES else binding_of(obj)
            except (CelSyntaxError, KeyError) as error:
                log.error("policy cannot be used", extra={"policy": key.name, "cause": str(error)})

    def judge(self, asked: Admission) -> None:
        """Refuse what a policy denies; costs one look when there are no bindings."""
        if not self._bindings or asked.options.internal or asked.kind.resource.group == LATER or is_carried_out(asked):
            return
        budget = _Budget()
        for _, binding in sorted(self._bindings.items()):
            policy = self._policies.get(binding.policy)
            if policy is not None:
                self._judge(policy, binding, asked, budget)

    def _judge(self, policy: Policy, binding: Binding, asked: Admission, budget: _Budget) -> None:
        kind = self._matched(policy.match, asked, needed=True)
        if kind is None or (binding.match is not None and self._matched(binding.match, asked, needed=False) is None):
            return
        try:
            for params in self._params(policy, binding, asked):
                case = _Case(asked, self._variables(policy, asked, kind, params), budget)
                self._validate(policy, binding, case)
        except _RefusalError as failure:
            self._refuse(policy, binding, asked, failure)

    def _matched(self, match: Match, asked: Admission, *, needed: bool) -> Kind | None:
        """Return the kind in the version that the rules are about; None when they are not about this write."""
        place, kinds = places_of(self._registry, asked)
        others = list(kinds)[1:]
        new, old = as_written(asked, asked.new), as_written(asked, asked.old)
        if not match.selectors.match(self._namespace_labels(asked), new, old):
            return None
        if matching(match.excluded, place, others, exact=match.exact, name=asked.name) is not None:
            return None
        if not match.rules:
            return None if needed else asked.kind
        found = matching(match.rules, place, others, exact=match.exact, name=asked.name)
        return None if found is None else kinds[found]

    def _namespace_labels(self, asked: Admission) -> Any:
        if asked.kind.key == NAMESPACES:
            return labels_of(asked.new or asked.old or {})
        return labels_of(self._namespace(asked) or {}) if asked.kind.namespaced else None

    def _namespace(self, asked: Admission) -> Object | None:
        record = self._registry.store.get(Key(NAMESPACES, "", asked.namespace)) if asked.kind.namespaced else None
        found: Object | None = decode(record.value) if record is not None else None
        return found

    def _params(self, policy: Policy, binding: Binding, asked: Admission) -> Iterator[Object | None]:
        """Yield the parameters that the binding names, None for a policy without any; raises _RefusalError when there are none."""
        ref = binding.param_ref
        if policy.param_kind is None or ref is None:
            yield None
            return
        found = self._referenced(policy.param_kind, ref, asked)
        if not found and ref.get("parameterNotFoundAction") != "Allow":
            why = "no params found for policy binding with `Deny` parameterNotFoundAction"
            raise _RefusalError(f"failed to configure binding: {why}", broken=True)
        yield from found

    def _referenced(self, param_kind: tuple[str, str], ref: Any, asked: Admission) -> Sequence[Object]:
        kind = self._registry.kinds.of(*param_kind)
        if kind is None:
            raise _RefusalError(
                f"failed to configure binding: params kind {param_kind[0]}, Kind={param_kind[1]} is not served", broken=True
            )
        namespace = (ref.get("namespace") or asked.namespace) if kind.namespaced else ""
        if kind.namespaced and not namespace:
            raise _RefusalError("failed to configure binding: cannot use namespaced paramRef for a cluster-scoped resource", broken=True)
        store = self._registry.store
        if ref.get("name"):
            record = store.get(Key(kind.key, namespace, ref["name"]))
            records = [] if record is None else [record]
        else:
            selector = from_label_selector(ref.get("selector"))
            records = [r for r in store.list(kind.key, namespace).records if selector is not None and selector.matches(r.labels)][
                :MAX_PARAMS
            ]
        if kind.conversion is not None and not all(kind.encoding.fits(r.value) for r in records):
            why = "are stored in another version, and a webhook converts them: name the stored version"
            raise _RefusalError(f"failed to configure binding: params of {param_kind[0]}, Kind={param_kind[1]} {why}", broken=True)
        return [decode(self._registry.value_of(kind, r)) for r in records]

    def _variables(self, policy: Policy, asked: Admission, kind: Kind, params: Object | None) -> dict[str, Any]:
        new, old = self._shown(asked, asked.new, kind), self._shown(asked, asked.old, kind)
        variables = condition_values(self._access, asked, request_of(asked, kind), new, old)
        variables |= {"namespaceObject": self._namespace(asked), "params": params}
        computed: dict[str, Any] = {}
        variables["variables"] = computed
        for name, program in policy.variables:
            computed[name] = program.lazy(variables)
        return variables

    @staticmethod
    def _shown(asked: Admission, obj: Object | None, kind: Kind) -> Object | None:
        """Return an object in the version of the rules, unless somebody else would have to convert it: nobody is waited for here."""
        written = as_written(asked, obj)
        if written is None or kind is asked.kind or asked.kind.conversion is not None or is_of_another_kind(asked):
            return written
        return renamed(asked.kind, written, kind)

    def _validate(self, policy: Policy, binding: Binding, case: _Case) -> None:
        if not self._concerns(policy, case):
            return
        for index, validation in enumerate(policy.validations):
            try:
                if self._evaluate(validation.program, case) is not True:
                    raise _RefusalError(self._message(validation, case), validation.reason)
            except _RefusalError as failure:
                self._refuse(policy, binding, case.asked, failure, index=index)
        for key, program in policy.annotations:
            self._annotate(f"{policy.name}/{key}", program, case)

    def _concerns(self, policy: Policy, case: _Case) -> bool:
        """Say whether all conditions hold: one that does not counts more than one that cannot be evaluated, which is raised."""
        problem: _RefusalError | None = None
        for condition in policy.conditions:
            try:
                if self._evaluate(condition.program, case) is not True:
                    return False
            except _RefusalError as failure:
                problem = problem or failure
        if problem is not None:
            raise problem
        return True

    def _annotate(self, key: str, program: CelProgram, case: _Case) -> None:
        value = self._evaluate(program, case)
        if isinstance(value, str) and value.strip():
            before = annotated(key)
            said = [*(before.split(", ") if before else ()), value.strip()]
            annotate(key, ", ".join(dict.fromkeys(said)))

    def _evaluate(self, program: Any, case: _Case) -> Any:
        try:
            value, cost = program.evaluate(case.variables, limit=case.budget.left)
        except EvaluationError as error:
            raise _RefusalError(f"expression '{program.source}' resulted in error: {error}", broken=True) from None
        except CostError:
            why = "validation failed due to running out of cost budget, no further validation rules will be run"
            raise _RefusalError(why, broken=True) from None
        case.budget.left -= cost
        return value

    def _message(self, validation: Validation, case: _Case) -> str:
        if validation.explain is not None:
            try:
                text = self._evaluate(validation.explain, case)
            except _RefusalError:
                text = ""
            text = text.strip() if isinstance(text, str) else ""
            if text and "\n" not in text and len(text.encode()) <= 5 * 1024:
                return str(text)
        return validation.message.strip() or f"failed expression: {validation.program.source.strip()}"

    @staticmethod
    def _refuse(policy: Policy, binding: Binding, asked: Admission, failure: _RefusalError, *, index: int = 0) -> None:
        """Do with a failure what the binding asks for: deny, warn, or only note (in the audit log)."""
        if failure.broken and not policy.fails:
            return
        if "Audit" in binding.actions:
            _note_failure(policy, binding, failure, index)
        if "Deny" in binding.actions:
            text = f"ValidatingAdmissionPolicy '{policy.name}' with binding '{binding.name}' denied request: {failure}"
            resource = asked.kind.resource
            error = forbidden(resource.plural, resource.group, asked.name, text)
            code = _CODES[failure.reason]
            raise ApiError(code, failure.reason, error.message, details={**error.details, "causes": [{"message": text}]})
        if "Warn" in binding.actions:
            found = f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding '{binding.name}': {failure}"
            asked.options.warnings.append(found)


def _note_failure(policy: Policy, binding: Binding, failure: _RefusalError, index: int) -> None:
    """Add to the list of failures that the audit log keeps of this request."""
    failures = msgspec.json.decode(annotated(FAILURES) or b"[]", type=list[dict[str, Any]])
    if len(failures) < MAX_FAILURES:
        found = {"message": str(failure)[:MAX_MESSAGE], "policy": policy.name, "binding": binding.name, "expressionIndex": index}
        found["validationActions"] = sorted(binding.actions)
        annotate(FAILURES, msgspec.json.encode([*failures, found]).decode())
