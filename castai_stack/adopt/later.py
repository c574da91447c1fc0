"""The last steps of a take-over: from the names and the mapping found to this program's own.

None of them is needed. Components delete an object before they create the next one, because a
replacement may keep the name, which AWS has once. So most names cost a moment without the object.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from castai_stack import naming
from castai_stack.adopt import texts
from castai_stack.adopt.mapping import MappingTakeover
from castai_stack.adopt.steps import PRINCIPAL_POLICIES, Permissions, Step, difference, union
from castai_stack.iam.scope import Scope
from castai_stack.spelling import snake

_NODE_POLICIES = "5, without `iam.nodePolicyArns`"
_FIRST = "is deleted before the new one exists"
_NO_ACCESS = f"The old one {_FIRST}, so CAST AI lacks access for the moments between"
_NODES = (
    f"The old one {_FIRST}, so CAST AI starts no node for the moments between, and nodes that run "
    "have none from then on: do it when CAST AI has no node there"
)


@dataclass(frozen=True, slots=True)
class _Named:
    """What hangs on one setting of `physicalNames`."""

    what: str
    imports: tuple[str, ...]
    """Entries of `adoption.imports` that hold its name; `*` ends a beginning."""
    effect: str
    """What a replacement means."""


_OTHER = _Named("object", ("spot-*",), f"The old one {_FIRST}")
"""An object of the Spot function."""


def _named(kind: Literal["user", "role"]) -> dict[str, _Named]:
    """Return what each setting names, in the order of the steps."""
    principal = (
        "Its keys are deleted before CAST AI has new ones, so it lacks access for the moments "
        "between. Its ARN changes, and its mapping with it"
        if kind == "user"
        else f"{_NO_ACCESS}. Its ARN changes, and CAST AI gets the new one"
    )
    more = ("iam-key-*", "access-user-*") if kind == "user" else ()
    return {
        "castaiPolicy": _Named(
            "policy", ("iam-castai-policy", f"iam-{kind}-castai-policy"), _NO_ACCESS
        ),
        "restrictedInline": _Named("inline policy", ("iam-role-restricted",), _NO_ACCESS),
        "principal": _Named(kind, (f"iam-{kind}", f"iam-{kind}-*", *more), principal),
        "securityGroup": _Named(
            "security group",
            ("node-security-group",),
            f"The old one {_FIRST}, which AWS refuses while a node has it",
        ),
        "instanceProfile": _Named("instance profile", ("iam-instance-profile",), _NODES),
        "nodeRole": _Named(
            "node role",
            ("iam-node-role", "iam-node-*", "access-node-role-access"),
            f"{_NODES}. Its ARN changes, and its mapping with it",
        ),
    }


def steps(
    settings: Mapping[str, Any],
    permissions: Sequence[Step],
    kind: Literal["user", "role"],
    scope: Scope,
    takeover: MappingTakeover,
) -> tuple[Step, ...]:
    """Return all steps in their order; `permissions` are those that change policies.

    `settings` is the stack file's `castai` object, and `scope` has its names.
    """
    imports, iam = list(settings["adoption"]["imports"]), settings.get("iam", {})
    of_principal = iam.get("principalPolicyArns", [])
    permissions = [
        _detached(one, f"iam-{kind}", of_principal, imports)
        if one.step == PRINCIPAL_POLICIES
        else one
        for one in permissions
    ]
    nodes = []
    if of_nodes := iam.get("nodePolicyArns"):
        nodes = [_detached(Step(_NODE_POLICIES), "iam-node", of_nodes, imports)]
    names = _name_steps(settings.get("physicalNames", {}), imports, kind, scope)
    return (*permissions, *nodes, _access_step(takeover, scope), *names)


def _detached(step: Step, start: str, further: Sequence[str], imports: Sequence[str]) -> Step:
    """Return the step with what leaves the stack file along with further policies.

    `further` are their ARNs, and `start` begins the names of their resources.
    """
    names = [one.rpartition("/")[2] for one in further]
    obsolete_imports = [one for one in imports if one in {f"{start}-{name}" for name in names}]
    changes = (f"Detached, and left: {', '.join(names)}",) if names else ()
    return replace(step, changes=(*changes, *_loses(obsolete_imports)))


def _name_steps(
    given: Mapping[str, str],
    imports: Sequence[str],
    kind: Literal["user", "role"],
    scope: Scope,
) -> Iterator[Step]:
    """Yield a step for each setting of `physicalNames`; `scope` has the names of the stack file.

    `imports` are the names in `adoption.imports`. CAST AI has `permissions: scoped` by then.
    """
    left, entries, known = dict(given), list(imports), _named(kind)
    for setting in sorted(given, key=lambda one: [*known, one].index(one)):
        named = known.get(setting, _OTHER)
        before = _permissions(scope)
        old = left.pop(setting)
        scope = with_names(scope, left)
        new = _computed(scope, setting)
        obsolete_imports = [one for one in entries if _is_of(one, named.imports)]
        entries = [one for one in entries if one not in obsolete_imports]
        effect = f"The {named.what} {old} becomes {new}. {named.effect}"
        if old == new:
            effect = f"Nothing: {old} is the computed name"
        changes = (effect, *_loses(obsolete_imports))
        name = f"5, without `physicalNames.{setting}`"
        yield replace(difference(name, before, _permissions(scope)), changes=changes)


def _access_step(takeover: MappingTakeover, scope: Scope) -> Step:
    """Return the step from aws-auth to EKS access entries; no permission in AWS depends on it."""
    if takeover.where == "access-entries":
        changes = ("Nothing: the mapping is by access entries from the first `pulumi up` on",)
        return Step("5, access entries", changes=changes)
    arns = ", ".join(takeover.arns) or "nobody"
    moves = (
        f"The next `pulumi up` moves the mapping of {arns} from aws-auth to EKS access entries",
        "These exist before the entries of aws-auth go; everybody else stays in aws-auth",
    )
    if takeover.mode == "aws-auth":
        return Step("5, without `access.mode`", changes=moves)
    command = (
        f"aws eks update-cluster-config --name {scope.cluster} --region {scope.region} "
        "--access-config authenticationMode=API_AND_CONFIG_MAP"
    )
    first = (
        f"The cluster reads aws-auth only. `{command}` adds access entries, and nothing undoes it"
    )
    return Step("5, access entries", changes=(first, *moves))


def _loses(entries: Sequence[str]) -> Iterator[str]:
    if entries:
        yield f"`adoption.imports` loses {', '.join(entries)} at the same time"


def _is_of(resource: str, patterns: Sequence[str]) -> bool:
    if resource == "iam-node-boundary":
        return False
    return any(
        resource.startswith(one.removesuffix("*")) if one.endswith("*") else resource == one
        for one in patterns
    )


def _permissions(scope: Scope) -> Permissions:
    return union(texts.of_this_program(scope, "scoped"))


def with_names(scope: Scope, given: Mapping[str, str]) -> Scope:
    """Return the scope under these settings of `physicalNames`."""
    names = naming.names(scope.cluster, "suffixed", given={snake(k): v for k, v in given.items()})
    return replace(scope, names=names)


def _computed(scope: Scope, setting: str) -> str:
    computed = {
        "castaiPolicy": scope.names.castai_policy,
        "restrictedInline": scope.names.restricted_inline,
        "principal": scope.names.principal,
        "securityGroup": scope.names.node_group(scope.cluster),
        "instanceProfile": scope.instance_profile,
        "nodeRole": scope.node_role,
    }
    return computed.get(setting) or str(getattr(scope.names, snake(setting)))
