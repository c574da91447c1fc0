"""The plan of a change, read from the output of `pulumi preview --json`.

Names of objects and of properties are read, values are not: they may be secret.
Source: pulumi/pulumi, sdk/go/common/display/json.go (PreviewDigest, PreviewStep)
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

OPERATIONS = ("delete", "replace", "create", "update")
"""What happens to an object, most drastic first."""
_OPERATION = {
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "discard": "delete",
    "import": "create",
    "import-replacement": "replace",
}
_PARTS = {
    "AgentComponent": "agent",
    "AutomationComponent": "automation",
    "CastIamComponent": "access",
    "SpotLambdaComponent": "Spot",
    "AwsAuthMapping": "mapping",
    "AgentOnline": "hand-over",
    "AssumeRolePrincipal": "hand-over",
    "ClusterRegistration": "hand-over",
    "ClusterToken": "hand-over",
    "ConnectionGuard": "hand-over",
    "CredentialsReady": "hand-over",
    "HandOver": "hand-over",
    "RotationGuard": "hand-over",
    "AutoscalerPolicies": "nodes",
    "EvictorConfiguration": "nodes",
    "NodeConfiguration": "nodes",
    "NodeTemplate": "nodes",
    "SecurityGroup": "nodes",
}
PARTS = (*dict.fromkeys(_PARTS.values()), "other")
"""Parts of the README, in its order."""
_NOISE = ("using pulumi-", "resource plugin ", "an unhandled error occurred: program exited")
"""Remarks of the engine on its own plugins, and on the end of a program that gave its reason."""
_CLASSES = {
    "An apply would stop at:": "obstacles",
    "This caller can preview but not apply; it is missing:": "missing",
    "Preflight:": "unchecked",
}
"""First words of this program's own warnings (preflight/findings.py)."""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One object that changes."""

    operation: str
    part: str
    kind: str
    """Last word of the resource type, such as `RolePolicy`."""
    name: str
    properties: tuple[str, ...] = ()
    """Paths of the properties that differ; those that force a replacement where one is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `pulumi preview` said."""

    changes: tuple[Change, ...] = ()
    unchanged: int = 0
    errors: tuple[str, ...] = ()
    """Reasons why the preview failed."""
    obstacles: tuple[str, ...] = ()
    """What would stop an apply."""
    missing: tuple[str, ...] = ()
    """Permissions for an apply that the preview's caller lacks; a reader lacks all writes."""
    unchecked: tuple[str, ...] = ()
    """What the preflight could not ask."""
    warnings: tuple[str, ...] = ()

    def count(self, operation: str) -> int:
        """Return the number of objects that this happens to."""
        return sum(change.operation == operation for change in self.changes)


class PlanError(Exception):
    """A text is no output of `pulumi preview --json`."""


def read(text: str) -> Plan:
    """Return the plan; raises PlanError for anything but one JSON object of a preview."""
    try:
        document = json.loads(text)
    except ValueError:
        raise PlanError("it holds no JSON, so the preview ended before it had a plan") from None
    steps = document.get("steps") if isinstance(document, dict) else None
    messages = document.get("diagnostics") if isinstance(document, dict) else None
    if steps is None and messages is None:
        raise PlanError("it holds neither steps nor diagnostics of a preview")
    changes = {_identity(step): change for step in steps or () if (change := _change(step))}
    sorted_messages = _sorted_messages(messages or ())
    return Plan(
        changes=tuple(sorted(changes.values(), key=_order)),
        # The steps leave out most of what stays the same.
        unchanged=int((document.get("changeSummary") or {}).get("same", 0)),
        **{kind: tuple(lines) for kind, lines in sorted_messages.items()},
    )


def _identity(step: Mapping[str, Any]) -> str:
    return str(step.get("urn"))


def _order(change: Change) -> tuple[int, int, str, str]:
    return (
        PARTS.index(change.part),
        OPERATIONS.index(change.operation),
        change.kind,
        change.name,
    )


def _change(step: Mapping[str, Any]) -> Change | None:
    operation = str(step.get("op"))
    operation = _OPERATION.get(operation, operation)
    if operation not in OPERATIONS:
        return None
    _, types, name = _identity(step).rsplit("::", 2)
    return Change(operation, _part(types), _kind(types), name, _properties(step, operation))


def _part(types: str) -> str:
    """Return the part of an object by the types of its ancestors and its own."""
    kinds = [_kind(one) for one in types.split("$")]
    return next((_PARTS[kind] for kind in kinds if kind in _PARTS), "other")


def _kind(types: str) -> str:
    kind = types.rpartition(":")[2]
    return f"{kind} (provider)" if types.startswith("pulumi:providers:") else kind


def _properties(step: Mapping[str, Any], operation: str) -> tuple[str, ...]:
    if operation not in ("update", "replace"):
        return ()
    named = step.get("replaceReasons") if operation == "replace" else None
    named = named or step.get("diffReasons") or list(step.get("detailedDiff") or ())
    if not named:
        old, new = (_inputs(step, state) for state in ("oldState", "newState"))
        named = [key for key in {*old, *new} if old.get(key) != new.get(key)]
    return tuple(sorted({str(name) for name in named if not str(name).startswith("__")}))


def _inputs(step: Mapping[str, Any], state: str) -> Mapping[str, Any]:
    resource = step.get(state)
    inputs = resource.get("inputs") if isinstance(resource, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _sorted_messages(diagnostics: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return every message once, sorted: the engine reports them in the order of a run."""
    kinds: dict[str, set[str]] = {}
    errors: set[str] = set()
    for one in diagnostics:
        severity, text = str(one.get("severity", "")), str(one.get("message", ""))
        text = text.strip().removeprefix(f"{severity}: ")
        if severity == "error":
            errors.add(text)
        elif severity == "warning" and not text.startswith(_NOISE):
            for kind, line in _classified(text):
                kinds.setdefault(kind, set()).add(line)
    kinds["errors"] = {one for one in errors if not one.startswith(_NOISE)} or errors
    return {kind: sorted(lines) for kind, lines in kinds.items()}


def _classified(text: str) -> Iterator[tuple[str, str]]:
    for lead, kind in _CLASSES.items():
        if text.startswith(lead):
            rest = text.removeprefix(lead).strip().splitlines()
            yield from ((kind, line.strip()) for line in rest if line.strip())
            return
    yield "warnings", text
