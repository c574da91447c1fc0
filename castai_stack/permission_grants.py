"""Who may do what, as a set of grants: what the report shows and what two stacks differ in; pure.

A grant is one action on one pattern of resources under one condition. What AWS-managed policies
allow stands here in short; a test holds it against their texts.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from castai_stack import arn, iam_policies, iam_quotas, naming, spot_events
from castai_stack.iam_policies import PolicyDocument, Scope
from castai_stack.settings import StackConfig

Reach = Literal["reads", "this cluster", "its VPC", "beyond"]
Conditions = tuple[tuple[str, str, tuple[str, ...]], ...]

_UNKNOWN_CLUSTER_ID = "c1a57e4d-0000-4000-8000-00000000c1d0"
_UNKNOWN_VPC_ID = "vpc-0c1a57e4d0000c1d0"
"""Stand for what only a lookup or the registration tells, at full length; never shown."""

_MANAGED: dict[str, tuple[tuple[str, ...], str]] = {
    "AmazonEC2ReadOnlyAccess": (
        (
            "autoscaling:Describe*",
            "cloudwatch:Describe*",
            "cloudwatch:GetMetricStatistics",
            "cloudwatch:ListMetrics",
            "ec2:Describe*",
            "ec2:GetSecurityGroupsForVpc",
            "elasticloadbalancing:Describe*",
        ),
        "*",
    ),
    "IAMReadOnlyAccess": (
        (
            "iam:GenerateCredentialReport",
            "iam:GenerateServiceLastAccessedDetails",
            "iam:Get*",
            "iam:List*",
            "iam:SimulateCustomPolicy",
            "iam:SimulatePrincipalPolicy",
        ),
        "*",
    ),
    "AmazonEKSWorkerNodePolicy": (
        (
            "ec2:DescribeInstanceTypes",
            "ec2:DescribeInstances",
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVolumes",
            "ec2:DescribeVolumesModifications",
            "ec2:DescribeVpcs",
            "eks-auth:AssumeRoleForPodIdentity",
            "eks:DescribeCluster",
        ),
        "*",
    ),
    "AmazonEC2ContainerRegistryReadOnly": (
        (
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:DescribeImageScanFindings",
            "ecr:DescribeImages",
            "ecr:DescribeRepositories",
            "ecr:GetAuthorizationToken",
            "ecr:GetDownloadUrlForLayer",
            "ecr:GetLifecyclePolicy",
            "ecr:GetLifecyclePolicyPreview",
            "ecr:GetRepositoryPolicy",
            "ecr:ListImages",
            "ecr:ListTagsForResource",
        ),
        "*",
    ),
    "AmazonEKS_CNI_Policy": (
        (
            "ec2:AssignPrivateIpAddresses",
            "ec2:AttachNetworkInterface",
            "ec2:CreateNetworkInterface",
            "ec2:CreateTags",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeInstanceTypes",
            "ec2:DescribeInstances",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeTags",
            "ec2:DetachNetworkInterface",
            "ec2:ModifyNetworkInterfaceAttribute",
            "ec2:UnassignPrivateIpAddresses",
        ),
        "*",
    ),
    "CloudWatchLogsFullAccess": (
        (
            "cloudwatch:GenerateQuery",
            "cloudwatch:GenerateQueryResultsSummary",
            "logs:*",
            "observabilityadmin:GetS3TableIntegration",
            "observabilityadmin:ListS3TableIntegrations",
            "observabilityadmin:ListTelemetryPipelines",
        ),
        "*",
    ),
    "AWSLambdaRole": (("lambda:InvokeFunction",), "*"),
}
"""AWS-managed policies by name without path.

Source: https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
"""

_READS = re.compile(
    r":(Get|List|Describe|Simulate|BatchGet|BatchCheck|AssumeRoleForPodIdentity)"
    r"|^(iam|cloudwatch):Generate"
)
_TIES = (
    "aws:requesttag/",
    "aws:resourcetag/",
    "autoscaling:resourcetag/",
    "ec2:createaction",
    "ec2:resourcetag/",
    "kms:viaservice",
)
"""Conditions that tie an action to this cluster, or to what a launch of it makes."""


_TIES_BUT_TAGS = tuple(tie for tie in _TIES if "resourcetag" not in tie)
_ORDER: tuple[Reach, ...] = ("reads", "this cluster", "its VPC", "beyond")
_JUDGED_TOGETHER = ("ec2:CreateNetworkInterface", "ec2:RunInstances")
"""Calls that AWS judges on each of their resources: one tied part ties the whole."""
_CONTAINED = re.compile(r":(nodegroup/[^*]+/|log-group:/aws/lambda/[^*]+:)")
"""Patterns below something that only this cluster has."""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One action on one pattern of resources under one condition."""

    action: str
    resource: str
    conditions: Conditions
    source: str
    """Sid of the statement, or name of the AWS-managed policy."""
    reach: Reach

    def meet(self, limit: "Grant") -> "Grant | None":
        """Return what both allow, or None; of two patterns one must lie within the other."""
        action = _narrower(self.action, limit.action)
        resource = _narrower(self.resource, limit.resource)
        if action is None or resource is None:
            return None
        conditions = tuple(sorted({*self.conditions, *limit.conditions}))
        source = f"{self.source} within {limit.source}"
        return Grant(action, resource, conditions, source, limit.reach)

    def covers(self, other: "Grant") -> bool:
        """Whether whatever the other allows is allowed by this one."""
        return (
            _covers_pattern(self.action.lower(), other.action.lower())
            and _covers_pattern(self.resource, other.resource)
            and _covers_conditions(self.conditions, other.conditions)
        )


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody with permissions: CAST AI, the nodes that it starts, or the Spot function."""

    title: str
    arn: str
    entered_by: str
    """Who can become it, and how."""
    managed: tuple[str, ...]
    limits: tuple[str, ...]
    """Boundaries, as sentences."""
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A document's size against its quota."""

    name: str
    kind: iam_quotas.Kind
    characters: int

    @property
    def quota(self) -> int:
        """What IAM allows."""
        return iam_quotas.QUOTAS[self.kind]


@dataclass(frozen=True, slots=True)
class Access:
    """Effective permissions of one stack."""

    settings: StackConfig
    cluster_id: str
    """As shown: a placeholder when nobody knows it yet."""
    vpc_id: str
    actors: tuple[Actor, ...]
    documents: tuple[Measured, ...]
    problems: tuple[str, ...]
    """Documents above their quota."""
    notes: tuple[str, ...]
    """What whoever signs this off should know."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What one actor gains and loses from one stack to the next."""

    title: str
    gains: tuple[Grant, ...]
    loses: tuple[Grant, ...]
    limits_added: tuple[str, ...]
    limits_removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.gains or self.loses or self.limits_added or self.limits_removed)


def access(
    settings: StackConfig, cluster_id: str | None = None, vpc_id: str | None = None
) -> Access:
    """Return the effective permissions of a stack; what is unknown is shown as a placeholder."""
    known_id = cluster_id or settings.api.cluster_id
    known_vpc = vpc_id or settings.cluster.vpc_id
    scope = _scope(settings, known_id or _UNKNOWN_CLUSTER_ID, known_vpc or _UNKNOWN_VPC_ID)
    measured, problems = _measured(scope, settings)
    return Access(
        settings=settings,
        cluster_id=known_id or "<cluster-id>",
        vpc_id=known_vpc or "<vpc-id>",
        actors=tuple(_actors(scope, settings)),
        documents=measured,
        problems=problems,
        notes=tuple(_notes(settings)),
    )


def too_large(scope: Scope, settings: StackConfig) -> tuple[str, ...]:
    """Measure every document of a stack against IAM's quotas; a sentence for each excess."""
    return _measured(scope, settings)[1]


def differences(old: Access, new: Access) -> list[Difference]:
    """Compare by meaning: statements may be cut, merged and renamed without a difference."""
    before = {actor.title: actor for actor in old.actors}
    after = {actor.title: actor for actor in new.actors}
    found = []
    for title in dict.fromkeys([*before, *after]):
        was, now = before.get(title), after.get(title)
        had, has = (was.grants if was else ()), (now.grants if now else ())
        limited, limits = (was.limits if was else ()), (now.limits if now else ())
        found.append(
            Difference(
                title=title,
                gains=_beyond(has, had),
                loses=_beyond(had, has),
                limits_added=tuple(limit for limit in limits if was and limit not in limited),
                limits_removed=tuple(limit for limit in limited if now and limit not in limits),
            )
        )
    return [difference for difference in found if difference]


def _beyond(these: Sequence[Grant], those: Sequence[Grant]) -> tuple[Grant, ...]:
    return tuple(grant for grant in these if not any(other.covers(grant) for other in those))


def _covers_pattern(wide: str, narrow: str) -> bool:
    expression = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in wide)
    return re.fullmatch(expression, narrow) is not None


def _narrower(one: str, other: str) -> str | None:
    if _covers_pattern(one.lower(), other.lower()):
        return other
    return one if _covers_pattern(other.lower(), one.lower()) else None


def _within(grants: Iterable[Grant], boundary: PolicyDocument) -> Iterator[Grant]:
    limits = list(_grants([boundary]))
    for grant in grants:
        for limit in limits:
            if both := grant.meet(limit):
                reach: Reach = "reads" if _READS.search(both.action) else both.reach
                yield replace(both, reach=reach)


def _covers_conditions(wide: Conditions, narrow: Conditions) -> bool:
    given = [_alike(*condition) for condition in narrow]
    return all(
        any(operator == o and key == k and values <= wanted for o, k, values in given)
        for operator, key, wanted in (_alike(*condition) for condition in wide)
    )


def _alike(operator: str, key: str, values: tuple[str, ...]) -> tuple[str, str, frozenset[str]]:
    """Spell two conditions that mean the same in the same way."""
    plain = operator.replace("ArnEquals", "StringEquals").replace("ArnLike", "StringEquals")
    tag = re.sub(r"^(ec2|autoscaling):resourcetag/", "aws:resourcetag/", key.lower())
    return plain, tag, frozenset(values)


def _scope(settings: StackConfig, cluster_id: str, vpc_id: str) -> Scope:
    cluster = settings.cluster
    return Scope(
        partition=arn.partition(cluster.region),
        region=cluster.region,
        account_id=cluster.account_id,
        cluster=cluster.name,
        cluster_id=cluster_id,
        vpc_id=vpc_id,
        names=naming.names(cluster.name, settings.names),
        path=settings.iam.path,
        vpc_account_id=cluster.vpc_account_id,
    )


def _secret(scope: Scope, settings: StackConfig) -> str | None:
    if not settings.spot.key_in_secrets_manager:
        return None
    return spot_events.secret_pattern(
        scope.partition, scope.region, scope.account_id, scope.names.function
    )


def _trust(scope: Scope, settings: StackConfig) -> PolicyDocument:
    principal = settings.api.principal_arn or (
        # CAST AI's users look like this; only the length matters.
        f"arn:{scope.partition}:iam::000000000000:user/cast-crossrole-{scope.cluster_id}"
    )
    external_id = settings.credentials.external_id or scope.cluster_id
    return iam_policies.principal_trust(principal, external_id)


def _principal_documents(scope: Scope, settings: StackConfig) -> dict[str, PolicyDocument]:
    flavour, iam, names = settings.permissions, settings.iam, scope.names
    restricted = (
        names.restricted_policy
        if settings.credentials.mode == "user"
        else "CastEKSRestrictedAccess"
    )
    found = {
        names.castai_policy: iam_policies.castai_policy(scope, flavour, iam),
        restricted: iam_policies.restricted_policy(scope, flavour, iam),
    }
    feature = iam_policies.feature_policy(scope, flavour, iam)
    return {**found, names.feature_policy: feature} if feature else found


def _measured(scope: Scope, settings: StackConfig) -> tuple[tuple[Measured, ...], tuple[str, ...]]:
    if settings.credentials.mode == "none":
        return (), ()
    documents: list[tuple[str, iam_quotas.Kind, list[PolicyDocument]]] = []
    for name, document in _principal_documents(scope, settings).items():
        inline = name == "CastEKSRestrictedAccess" and settings.credentials.mode == "role"
        documents.append((name, "role inline" if inline else "managed", [document]))
    if settings.credentials.mode == "role":
        documents.append((f"trust of {scope.names.principal}", "trust", [_trust(scope, settings)]))
    if iam_policies.has_node_boundary(settings.permissions, settings.iam):
        boundary = iam_policies.node_boundary(scope, settings.iam)
        documents.append((scope.names.node_boundary, "managed", [boundary]))
    if settings.spot.enabled:
        documents += _measured_of_spot(scope, settings)
    problems = [
        problem
        for name, kind, parts in documents
        for problem in iam_quotas.check(name, kind, *parts)
    ]
    sizes = tuple(
        Measured(name, kind, sum(iam_quotas.size(part) for part in parts))
        for name, kind, parts in documents
    )
    return sizes, tuple(problems)


def _measured_of_spot(
    scope: Scope, settings: StackConfig
) -> list[tuple[str, iam_quotas.Kind, list[PolicyDocument]]]:
    where = (scope.partition, scope.region, scope.account_id, scope.names)
    secret = _secret(scope, settings)
    queue = scope.own("sqs", scope.names.dead_letter_queue)
    inline = [iam_policies.lambda_inline(queue, secret)]
    limited = settings.permissions == "scoped"
    if limited and settings.iam.permissions_boundary_arn:
        inline.append(iam_policies.lambda_guard(*where, secret))
    found: list[tuple[str, iam_quotas.Kind, list[PolicyDocument]]] = [
        (f"inline policies of {scope.names.lambda_role}", "role inline", inline)
    ]
    if limited and not settings.iam.permissions_boundary_arn:
        boundary = iam_policies.lambda_boundary(*where, secret)
        found.append((scope.names.lambda_boundary, "managed", [boundary]))
    return found


def _actors(scope: Scope, settings: StackConfig) -> Iterator[Actor]:
    if settings.credentials.mode == "none":
        return
    yield _castai(scope, settings)
    yield _nodes(scope, settings)
    if settings.spot.enabled:
        yield _spot(scope, settings)


def _castai(scope: Scope, settings: StackConfig) -> Actor:
    role = settings.credentials.mode == "role"
    entered_by = "CAST AI, with the access key that it was handed"
    if role:
        principal = settings.api.principal_arn or "<castai-principal>"
        external_id = settings.credentials.external_id or "<cluster-id>"
        entered_by = f"{principal}, when it sends the external id {external_id}"
    documents = _principal_documents(scope, settings)
    return Actor(
        title="CAST AI",
        arn=_shown(scope.iam("role" if role else "user", scope.names.principal)),
        entered_by=entered_by,
        managed=iam_policies.PRINCIPAL_MANAGED,
        limits=tuple(_operators(settings)),
        grants=_sorted([*_grants(documents.values()), *_managed(iam_policies.PRINCIPAL_MANAGED)]),
    )


def _nodes(scope: Scope, settings: StackConfig) -> Actor:
    limits = list(_operators(settings))
    inline = iam_policies.node_inline(scope, settings.iam)
    grants = [*_managed(iam_policies.NODE_MANAGED), *_grants([inline] if inline else [])]
    if iam_policies.has_node_boundary(settings.permissions, settings.iam):
        limits.append(f"boundary {_shown(scope.iam('policy', scope.names.node_boundary))}")
        grants = list(_within(grants, iam_policies.node_boundary(scope, settings.iam)))
    return Actor(
        title="Nodes",
        arn=_shown(scope.node_role_arn),
        entered_by="every process on an instance that CAST AI starts with this role",
        managed=iam_policies.NODE_MANAGED,
        limits=tuple(limits),
        grants=_sorted(grants),
    )


def _spot(scope: Scope, settings: StackConfig) -> Actor:
    where = (scope.partition, scope.region, scope.account_id, scope.names)
    secret = _secret(scope, settings)
    limits = list(_operators(settings))
    inline = iam_policies.lambda_inline(scope.own("sqs", scope.names.dead_letter_queue), secret)
    grants = [*_managed(iam_policies.LAMBDA_MANAGED), *_grants([inline])]
    if settings.permissions == "scoped":
        own = f"boundary {scope.iam('policy', scope.names.lambda_boundary)}"
        limits.append("its inline policy of denials" if limits else own)
        # By boundary or by denials: what is left is the same.
        grants = list(_within(grants, iam_policies.lambda_boundary(*where, secret)))
    return Actor(
        title="Spot function",
        arn=_shown(scope.lambda_role_arn),
        entered_by=f"AWS Lambda, for the function {scope.names.function}",
        managed=iam_policies.LAMBDA_MANAGED,
        limits=tuple(limits),
        grants=_sorted(grants),
    )


def _operators(settings: StackConfig) -> Iterator[str]:
    if settings.iam.permissions_boundary_arn:
        yield f"boundary {settings.iam.permissions_boundary_arn}, whose text is the operator's"


def _sorted(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    return tuple(sorted(set(grants)))


def _grants(documents: Iterable[PolicyDocument]) -> Iterator[Grant]:
    statements = [s for document in documents for s in document["Statement"]]
    # Who may tag anything decides by himself what a tag ties.
    free_tags = _tags_anything(statements)
    together: dict[str, set[Reach]] = {}
    found: list[Grant] = []
    for statement in statements:
        conditions = _conditions(statement.get("Condition", {}))
        for action in statement.get("Action", []):
            ties = _TIES_BUT_TAGS if free_tags and action.startswith("ec2:") else _TIES
            for resource in statement.get("Resource", []):
                reach = _reach(action, resource, conditions, ties)
                found.append(Grant(action, _shown(resource), conditions, statement["Sid"], reach))
                if action in _JUDGED_TOGETHER:
                    together.setdefault(action, set()).add(reach)
    for grant in found:
        best = min(together.get(grant.action, {grant.reach}), key=_ORDER.index)
        yield replace(grant, reach=best)


def _managed(names: Iterable[str]) -> Iterator[Grant]:
    for path in names:
        name = path.rpartition("/")[2]
        actions, resource = _MANAGED[name]
        for action in actions:
            where = "arn:*:ec2:*:*:network-interface/*" if action == "ec2:CreateTags" else resource
            yield Grant(action, where, (), name, _reach(action, where, (), _TIES))


def _conditions(condition: Mapping[str, Mapping[str, Any]]) -> Conditions:
    return tuple(
        sorted(
            (operator, _shown(key), tuple(_shown(value) for value in values))
            for operator, block in condition.items()
            for key, values in block.items()
        )
    )


def _tags_anything(statements: Iterable[iam_policies.Statement]) -> bool:
    return any(
        "ec2:CreateTags" in statement.get("Action", [])
        and statement.get("Resource") == ["*"]
        and not statement.get("Condition")
        for statement in statements
    )


def _reach(action: str, resource: str, conditions: Conditions, ties: tuple[str, ...]) -> Reach:
    if _READS.search(action):
        return "reads"
    exact = "*" not in resource.replace(":autoScalingGroup:*:", ":")
    keys = [key.lower() for operator, key, _ in conditions if not operator.endswith("IfExists")]
    if exact or _CONTAINED.search(resource) or any(key.startswith(ties) for key in keys):
        return "this cluster"
    return "its VPC" if "ec2:vpc" in keys else "beyond"


def _shown(text: str) -> str:
    """Replace what stands for the unknown by its placeholder."""
    return (
        text.replace(_UNKNOWN_CLUSTER_ID, "<cluster-id>")
        .replace(f"-eks-{_UNKNOWN_CLUSTER_ID[:8]}", "-eks-<cluster-id:8>")
        .replace(_UNKNOWN_VPC_ID, "<vpc-id>")
    )


def _notes(settings: StackConfig) -> Iterator[str]:
    if settings.credentials.mode == "none":
        yield (
            "credentials.mode is none: nobody gets access to AWS; "
            "the agent reads Kubernetes, and nothing else."
        )
        return
    if settings.permissions == "documented":
        yield (
            "permissions is documented: CAST AI's own statements, which reach beyond this cluster. "
            "Set permissions to scoped to keep every write inside it."
        )
    yield from _node_notes(settings)
    if settings.permissions == "scoped":
        yield from _scoped_notes(settings)
    if settings.credentials.mode == "user" and "system:masters" in settings.access.user_groups:
        yield (
            "Inside Kubernetes the user is mapped to system:masters and may do everything there "
            "(access.userGroups); in role mode nobody is mapped but the nodes."
        )


def _node_notes(settings: StackConfig) -> Iterator[str]:
    iam = settings.iam
    if iam_policies.has_node_boundary(settings.permissions, iam):
        if not iam.node_interface_tags:
            yield (
                "AmazonEKS_CNI_Policy would let a node write every network interface of the "
                "account; the boundary leaves those of the VPC, other clusters' among them. Set "
                "iam.nodeInterfaceTags to narrow it to interfaces that the CNI tagged for this "
                "cluster."
            )
        return
    yield (
        "AmazonEKS_CNI_Policy lets a node write every network interface of the account. "
        "permissions: scoped with iam.nodeBoundary narrows it to the VPC, iam.nodeInterfaceTags "
        "to this cluster."
    )


def _scoped_notes(settings: StackConfig) -> Iterator[str]:
    iam = settings.iam
    if not iam.security_group_ids:
        yield (
            "A launch may use any security group of the VPC; list iam.securityGroupIds to narrow "
            "it. It may also use an interface of the VPC that nobody has attached, for which AWS "
            "offers no condition."
        )
    if iam.original_nodes == "by-cluster-tag":
        yield (
            "iam.originalNodes is by-cluster-tag: instances of a cluster whose name differs in "
            "letter case only are within reach too, since tag keys compare without case."
        )
    if iam.service_linked_roles:
        yield (
            "iam.serviceLinkedRoles is on: CAST AI may create service-linked roles, which belong "
            "to the account and not to a cluster."
        )
