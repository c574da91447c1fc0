"""Plan of a take-over: settings that reproduce what is there, ids to import, and the rest."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from castai_stack import arn, naming
from castai_stack.adopt import (
    at_castai,
    candidates,
    evictor,
    later,
    mapping,
    obstacles,
    spot,
    texts,
)
from castai_stack.adopt.candidates import AmbiguousError, NodeRole
from castai_stack.adopt.observations import (
    Choices,
    Group,
    Observations,
    Policy,
    Principal,
)
from castai_stack.adopt.owners import (
    commands,
    commands_before,
    has_terraform,
    left_in_cluster,
    terraform_row,
    workload_settings,
)
from castai_stack.adopt.rows import LEFT, NEW, TAKEN, Row
from castai_stack.adopt.spot import SpotPlan
from castai_stack.adopt.steps import Step, permission_steps
from castai_stack.castai.model import Cluster
from castai_stack.iam.castai_policy import PRINCIPAL_MANAGED
from castai_stack.iam.node_role import NODE_MANAGED

_SHARED = (naming.SHARED_POLICY, f"{naming.SHARED_POLICY}-tf")
"""Names of a policy that belongs to no single cluster."""
_HOLDS = "delete it before `pulumi destroy`, which cannot delete the role before"
_NEW_FUNCTION = Row(
    "Spot function", "", NEW, "with role, rules, queue and alarms; not with spot.enabled: false"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that `adopt` says and writes."""

    settings: dict[str, Any]
    """The `castai` object of the stack file."""
    rows: tuple[Row, ...]
    commands: tuple[str, ...]
    """Commands for what others own, to be run by hand after the first `pulumi up`."""
    before: tuple[str, ...] = ()
    """Commands to be run by hand before it."""
    steps: tuple[Step, ...] = ()
    """What each step changes; without those of permissions for a role that is created anew."""


@dataclass(slots=True)
class _Draft:
    observed: Observations
    cluster: Cluster
    principal: Principal
    node: NodeRole
    group: Group | None
    imports: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    iam: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def take(self, resource: str, identifier: str, part: str, name: str, remark: str = "") -> None:
        """Import one object, and report it."""
        self.imports[resource] = identifier
        self.rows.append(Row(part, name, TAKEN, remark))


def make(observed: Observations, choices: Choices) -> tuple[Plan | None, tuple[str, ...]]:
    """Return the plan, or the problems that prevent one: a sentence each."""
    problems: list[str] = []

    def chosen(choose: Any, *arguments: Any) -> Any:
        try:
            return choose(*arguments)
        except AmbiguousError as error:
            problems.append(str(error))
            return None

    cluster = chosen(candidates.registration, observed.castai, observed.place, choices.cluster_id)
    if cluster is None:
        return None, tuple(problems)
    principal = chosen(candidates.principal, observed, cluster, choices)
    node = chosen(candidates.node_role, observed, cluster, choices)
    group = chosen(
        candidates.security_group, observed.aws.groups, cluster.id, choices.security_group
    )
    if principal is not None:
        scope = obstacles.scope(observed, cluster)
        problems += obstacles.of_principal(observed, principal, scope, choices)
        if len(paths := _paths(observed, principal, node)) > 1:
            problems.append(
                f"the objects are under the IAM paths {', '.join(sorted(paths))}; this program has "
                "one iam.path, and another path would replace an object"
            )
    if problems:
        return None, tuple(problems)
    return _drafted(_Draft(observed, cluster, principal, node, group)), ()


def _paths(observed: Observations, principal: Principal, node: NodeRole | None) -> set[str]:
    """Return the IAM paths of everything that is taken over."""
    own = [policy for policy in observed.aws.policies if _is_own(policy, principal)]
    paths = {principal.path, *(policy.path for policy in own)}
    if node is not None and node.role is not None and not node.shared_with:
        paths.add(node.role.path)
    return paths


def _drafted(draft: _Draft) -> Plan:
    observed, cluster, place = draft.observed, draft.cluster, draft.observed.place
    draft.rows.append(Row("cluster at CAST AI", cluster.id, TAKEN, "found by its name"))
    (path,) = _paths(observed, draft.principal, draft.node)
    if path != "/":
        draft.iam["path"] = path
    own = _principal(draft)
    castai = at_castai.sections(observed, draft.group)
    _nodes(draft, takes_group=castai.automation["nodes"].get("enabled", True))
    _boundary(draft)
    flavour = _flavour(draft, own)
    of_spot = _functions(draft, flavour)
    settings: dict[str, Any] = {
        "cluster": {
            "name": place.cluster,
            "region": place.region,
            "accountId": place.account_id,
        },
        "credentials": _credentials(draft.principal),
        "permissions": flavour,
    }
    if draft.names:
        settings["physicalNames"] = draft.names
    if castai.kms_keys:
        draft.iam["kmsKeyArns"] = castai.kms_keys
    if draft.iam:
        settings["iam"] = draft.iam
    of_evictor = evictor.plan(observed)
    in_cluster, rows = workload_settings(observed.cluster, of_evictor)
    settings |= in_cluster
    if section := spot.section(of_spot, in_cluster.get("spot")):
        settings["spot"] = section
    draft.rows += rows if "spot" in settings else [*rows, _NEW_FUNCTION]
    settings.setdefault("automation", {}).update(castai.automation)
    draft.rows += castai.rows
    takeover = _mapping(draft)
    if takeover.access:
        settings["access"] = takeover.access
    settings["adoption"] = {"imports": draft.imports, "values": "existing"}
    terraform = has_terraform(draft.principal, draft.node.role)
    draft.rows += [terraform_row()] if terraform else []
    draft.rows += left_in_cluster(observed.cluster, of_evictor)
    draft.commands += commands(observed.cluster, of_evictor)
    return Plan(
        settings,
        tuple(draft.rows),
        tuple(draft.commands),
        before=tuple(commands_before(observed.cluster, of_evictor, terraform=terraform)),
        steps=_steps(draft, own, settings, takeover),
    )


def _mapping(draft: _Draft) -> mapping.MappingTakeover:
    node_role = None if draft.node.shared_with else draft.node.role
    others = candidates.sharers(draft.observed.castai, draft.cluster)
    takeover = mapping.take(draft.observed, node_role, None if others else draft.principal)
    draft.imports |= takeover.imports
    draft.rows += takeover.rows
    return takeover


def _steps(
    draft: _Draft, own: list[Policy], settings: dict[str, Any], takeover: mapping.MappingTakeover
) -> tuple[Step, ...]:
    observed = draft.observed
    scope = later.with_names(obstacles.scope(observed, draft.cluster), draft.names)
    permissions: tuple[Step, ...] = ()
    if not candidates.sharers(observed.castai, draft.cluster):
        attached = [one for one in observed.aws.policies if one.arn in draft.principal.attached]
        arns = {policy.arn for policy in own}
        permissions = permission_steps(
            draft.principal, attached, arns, settings["permissions"], scope
        )
    return later.steps(settings, permissions, draft.principal.kind, scope, takeover)


def _credentials(principal: Principal) -> dict[str, Any]:
    if principal.kind == "role":
        return {"mode": "role"}
    # The existing key takes the slot of generation 0; CAST AI gets a new one.
    return {"mode": "user", **({"rotation": 1} if principal.keys else {})}


def _principal(draft: _Draft) -> list[Policy]:
    """Take the principal over with its attachments; return the policies that are its own."""
    principal, place = draft.principal, draft.observed.place
    computed = naming.names(place.cluster, "suffixed")
    if others := candidates.sharers(draft.observed.castai, draft.cluster):
        _new_principal(draft, computed.principal, others)
        return []
    if principal.name != computed.principal:
        draft.names["principal"] = principal.name
    kind = principal.kind
    remark = candidates.EARLIER if candidates.is_earlier(draft.observed, principal) else ""
    draft.take(f"iam-{kind}", principal.name, f"CAST AI's {kind}", principal.name, remark)
    own = [policy for policy in draft.observed.aws.policies if _is_own(policy, principal)][:1]
    for policy in own:
        if policy.name != computed.castai_policy:
            draft.names["castaiPolicy"] = policy.name
        _own_policy(draft, policy, "castai-policy")
    if not own:
        _new_policy(draft, computed.castai_policy)
    restricted = candidates.restricted_policy(draft.observed, principal)
    if restricted is not None:
        own.append(restricted)
        _own_policy(draft, restricted, "restricted-policy")
    elif kind == "user":
        draft.rows.append(Row("policy", computed.restricted_policy, NEW, "this cluster's own"))
    _attachments(draft, {policy.arn for policy in own})
    _inline(draft, computed)
    for key in principal.keys:
        remark = "CAST AI gets a new one; this one stays"
        draft.take("iam-key-a", key.id, "access key", key.id, remark)
    return own


def _new_policy(draft: _Draft, name: str) -> None:
    if name in {policy.name for policy in draft.observed.aws.policies}:
        name = naming.bounded(f"{name}-{draft.cluster.id[:8]}", naming.POLICY_LIMIT)
        draft.names["castaiPolicy"] = name
    draft.rows.append(Row("policy", name, NEW, "this cluster's own"))


def _new_principal(draft: _Draft, computed: str, others: Sequence[str]) -> None:
    """Leave a role that CAST AI assumes for other clusters, too, and create one beside it."""
    principal = draft.principal
    name = computed
    if principal.name == computed:
        name = naming.bounded(f"{computed}-{draft.cluster.id[:8]}", naming.ROLE_LIMIT)
        draft.names["principal"] = name
    used = f"also used by cluster {', '.join(others)}"
    draft.rows.append(Row("CAST AI's role", principal.name, LEFT, used))
    draft.rows.append(Row("CAST AI's role", name, NEW, "this cluster's own"))


def _attachments(draft: _Draft, own: Collection[str]) -> None:
    """Import the attachments of policies, and report policies that stay with their owners."""
    principal, place = draft.principal, draft.observed.place
    standard = {arn.managed_policy(place.partition, name): name for name in PRINCIPAL_MANAGED}
    further = []
    for policy_arn in principal.attached:
        if policy_arn in own:
            continue
        suffix = policy_arn.rpartition("/")[2]
        draft.imports[f"iam-{principal.kind}-{suffix}"] = f"{principal.name}/{policy_arn}"
        if policy_arn not in standard:
            further.append(policy_arn)
            _foreign_policy(draft, policy_arn)
    for policy_arn in standard.keys() - set(principal.attached):
        draft.rows.append(Row("policy of AWS", standard[policy_arn], NEW, "was not attached"))
    if further:
        draft.iam["principalPolicyArns"] = further


def _is_own(policy: Policy, principal: Principal) -> bool:
    named = policy.name.startswith(naming.SHARED_POLICY) and policy.name not in _SHARED
    return named and policy.arn in principal.attached and set(policy.used_by) == {str(principal)}


def _own_policy(draft: _Draft, policy: Policy, resource: str) -> None:
    principal = draft.principal
    draft.take(f"iam-{resource}", policy.arn, "policy", policy.name)
    draft.imports[f"iam-{principal.kind}-{resource}"] = f"{principal.name}/{policy.arn}"


def _foreign_policy(draft: _Draft, policy_arn: str) -> None:
    name = policy_arn.rpartition("/")[2]
    policies = draft.observed.aws.policies
    policy = next((one for one in policies if one.arn == policy_arn), None)
    later = "stays attached until it leaves iam.principalPolicyArns"
    if policy is None:
        draft.rows.append(Row("policy of AWS", name, LEFT, later))
        return
    others = [one for one in policy.used_by if one != str(draft.principal)]
    used = f"also used by {', '.join(others)}" if others else "nobody else uses it now"
    draft.rows.append(Row("shared policy", name, LEFT, f"{used}; {later}"))


def _inline(draft: _Draft, computed: naming.Names) -> None:
    """Take the role's cluster-scoped inline policy over; a user gets a managed policy instead."""
    principal = draft.principal
    for name in principal.inline:
        known = name.startswith(obstacles.INLINE)
        if principal.kind == "role" and known and "iam-role-restricted" not in draft.imports:
            if name != computed.restricted_inline:
                draft.names["restrictedInline"] = name
            identifier = f"{principal.name}:{name}"
            draft.take("iam-role-restricted", identifier, "inline policy", name)
            continue
        why = "a managed policy replaces it; delete it afterwards" if known else "not CAST AI's"
        draft.rows.append(Row("inline policy", name, LEFT, why))
        if known:
            kind = principal.kind
            draft.commands.append(
                f"aws iam delete-{kind}-policy --{kind}-name {principal.name} --policy-name {name}"
            )


def _nodes(draft: _Draft, *, takes_group: bool) -> None:
    place, role = draft.observed.place, draft.node.role
    if role is None:
        draft.rows.append(Row("node role", "", NEW, "no installer's role was found"))
    elif draft.node.shared_with:
        others = ", ".join(draft.node.shared_with)
        draft.rows.append(Row("node role", role.name, LEFT, f"also used by cluster {others}"))
    else:
        _node_role(draft, role, place.partition)
    group = draft.group
    if group is not None and not takes_group:
        draft.rows.append(Row("security group", group.name, LEFT, "so is the node configuration"))
    elif group is not None:
        if group.name != naming.NODE_GROUP.format(cluster=place.cluster):
            draft.names["securityGroup"] = group.name
        draft.take("node-security-group", group.id, "security group", group.name)


def _node_role(draft: _Draft, role: Principal, partition: str) -> None:
    # Given names are known in every preview; the computed ones depend on the registration.
    draft.names["nodeRole"] = role.name
    draft.take("iam-node-role", role.name, "node role", role.name)
    own = naming.names(draft.observed.place.cluster, "suffixed").node_boundary
    if role.boundary.endswith(f"/{own}"):
        draft.take("iam-node-boundary", role.boundary, "boundary of nodes", own)
    if role.profiles:
        profile = role.profiles[0]
        draft.names["instanceProfile"] = profile
        draft.take("iam-instance-profile", profile, "instance profile", profile)
        for other in role.profiles[1:]:
            why = f"also holds {role.name}; {_HOLDS}"
            draft.rows.append(Row("instance profile", other, LEFT, why))
    further = []
    standard = {arn.managed_policy(partition, name): name for name in NODE_MANAGED}
    for policy_arn in role.attached:
        suffix = standard.get(policy_arn, policy_arn.rpartition("/")[2])
        draft.imports[f"iam-node-{suffix}"] = f"{role.name}/{policy_arn}"
        if policy_arn not in standard:
            further.append(policy_arn)
            why = "stays attached until it leaves iam.nodePolicyArns"
            draft.rows.append(Row("policy of nodes", suffix, LEFT, why))
    if further:
        draft.iam["nodePolicyArns"] = further
    for name in role.inline:
        draft.rows.append(Row("inline policy of nodes", name, LEFT, _HOLDS))


def _boundary(draft: _Draft) -> None:
    """Keep a boundary that both have; one that only one of them has is said to go."""
    principals = [draft.principal, *([draft.node.role] if draft.node.role is not None else [])]
    boundaries = {one.boundary for one in principals if "iam-node-boundary" not in draft.imports}
    if len(boundaries) == 1 and "" not in boundaries:
        (draft.iam["permissionsBoundaryArn"],) = boundaries
        return
    for one in principals:
        if one.boundary and one.boundary not in draft.imports.values():
            why = (
                f"on {one}; goes with adoption.values: settings, or set iam.permissionsBoundaryArn"
            )
            draft.rows.append(Row("boundary", one.boundary, LEFT, why))


def _functions(draft: _Draft, flavour: Literal["documented", "scoped"]) -> SpotPlan:
    terms = spot.Terms(
        flavour,
        path=draft.iam.get("path", "/"),
        operator_boundary="permissionsBoundaryArn" in draft.iam,
    )
    result = spot.plan(draft.observed.aws.functions, draft.observed.place, terms)
    draft.imports |= result.imports
    draft.names |= result.names
    draft.rows += result.rows
    draft.commands += result.commands
    return result


def _flavour(draft: _Draft, own: list[Policy]) -> Literal["documented", "scoped"]:
    """Return `documented` if every text that is taken over is published, and `scoped` otherwise."""
    known = texts.published(obstacles.scope(draft.observed, draft.cluster))
    documents = [policy.document for policy in own]
    documents += [
        text for name, text in draft.principal.inline.items() if name.startswith(obstacles.INLINE)
    ]
    return "scoped" if any(texts.unknown_sids(one, known) for one in documents) else "documented"
