"""The principals of a stack and the grants that each one has."""

from collections.abc import Iterator
from dataclasses import dataclass

from castai_stack import arn as castai_stack_arn
from castai_stack import naming
from castai_stack.config.model import StackConfig
from castai_stack.iam import castai_policy, feature_policy, node_role, quotas, restricted_policy
from castai_stack.iam.document import PolicyDocument
from castai_stack.iam.scope import Scope
from castai_stack.permissions.grants import (
    UNKNOWN_CLUSTER_ID,
    UNKNOWN_VPC_ID,
    Grant,
    display,
    document_grants,
    managed_grants,
    sorted_grants,
    within,
)
from castai_stack.spot import events
from castai_stack.spot import role as spot_role


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
    kind: quotas.Kind
    characters: int

    @property
    def quota(self) -> int:
        """What IAM allows."""
        return quotas.QUOTAS[self.kind]


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


def access(
    settings: StackConfig, cluster_id: str | None = None, vpc_id: str | None = None
) -> Access:
    """Return the effective permissions of a stack; what is unknown is shown as a placeholder."""
    known_id = cluster_id or settings.api.cluster_id
    known_vpc = vpc_id or settings.cluster.vpc_id
    scope = _scope(settings, known_id or UNKNOWN_CLUSTER_ID, known_vpc or UNKNOWN_VPC_ID)
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


def _scope(settings: StackConfig, cluster_id: str, vpc_id: str) -> Scope:
    cluster = settings.cluster
    return Scope(
        partition=castai_stack_arn.partition(cluster.region),
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
    return events.secret_pattern(
        scope.partition, scope.region, scope.account_id, scope.names.function
    )


def _trust(scope: Scope, settings: StackConfig) -> PolicyDocument:
    principal = settings.api.principal_arn or (
        # CAST AI's users look like this; only the length matters.
        f"arn:{scope.partition}:iam::000000000000:user/cast-crossrole-{scope.cluster_id}"
    )
    external_id = settings.credentials.external_id or scope.cluster_id
    return castai_policy.principal_trust(principal, external_id)


def _principal_documents(scope: Scope, settings: StackConfig) -> dict[str, PolicyDocument]:
    flavour, iam, names = settings.permissions, settings.iam, scope.names
    restricted = (
        names.restricted_policy
        if settings.credentials.mode == "user"
        else "CastEKSRestrictedAccess"
    )
    found = {
        names.castai_policy: castai_policy.castai_policy(scope, flavour, iam),
        restricted: restricted_policy.restricted_policy(scope, flavour, iam),
    }
    feature = feature_policy.feature_policy(scope, flavour, iam)
    return {**found, names.feature_policy: feature} if feature else found


def _measured(scope: Scope, settings: StackConfig) -> tuple[tuple[Measured, ...], tuple[str, ...]]:
    if settings.credentials.mode == "none":
        return (), ()
    documents: list[tuple[str, quotas.Kind, list[PolicyDocument]]] = []
    for name, document in _principal_documents(scope, settings).items():
        inline = name == "CastEKSRestrictedAccess" and settings.credentials.mode == "role"
        documents.append((name, "role inline" if inline else "managed", [document]))
    if settings.credentials.mode == "role":
        documents.append((f"trust of {scope.names.principal}", "trust", [_trust(scope, settings)]))
    if node_role.has_node_boundary(settings.permissions, settings.iam):
        boundary = node_role.node_boundary(scope, settings.iam)
        documents.append((scope.names.node_boundary, "managed", [boundary]))
    if settings.spot.enabled:
        documents += _measured_of_spot(scope, settings)
    problems = [
        problem for name, kind, parts in documents for problem in quotas.check(name, kind, *parts)
    ]
    sizes = tuple(
        Measured(name, kind, sum(quotas.size(part) for part in parts))
        for name, kind, parts in documents
    )
    return sizes, tuple(problems)


def _measured_of_spot(
    scope: Scope, settings: StackConfig
) -> list[tuple[str, quotas.Kind, list[PolicyDocument]]]:
    where = (scope.partition, scope.region, scope.account_id, scope.names)
    secret = _secret(scope, settings)
    queue = scope.own("sqs", scope.names.dead_letter_queue)
    inline = [spot_role.lambda_inline(queue, secret)]
    limited = settings.permissions == "scoped"
    if limited and settings.iam.permissions_boundary_arn:
        inline.append(spot_role.lambda_guard(*where, secret))
    found: list[tuple[str, quotas.Kind, list[PolicyDocument]]] = [
        (f"inline policies of {scope.names.lambda_role}", "role inline", inline)
    ]
    if limited and not settings.iam.permissions_boundary_arn:
        boundary = spot_role.lambda_boundary(*where, secret)
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
        arn=display(scope.iam("role" if role else "user", scope.names.principal)),
        entered_by=entered_by,
        managed=castai_policy.PRINCIPAL_MANAGED,
        limits=tuple(_operators(settings)),
        grants=sorted_grants(
            [*document_grants(documents.values()), *managed_grants(castai_policy.PRINCIPAL_MANAGED)]
        ),
    )


def _nodes(scope: Scope, settings: StackConfig) -> Actor:
    limits = list(_operators(settings))
    inline = node_role.node_inline(scope, settings.iam)
    grants = [*managed_grants(node_role.NODE_MANAGED), *document_grants([inline] if inline else [])]
    if node_role.has_node_boundary(settings.permissions, settings.iam):
        limits.append(f"boundary {display(scope.iam('policy', scope.names.node_boundary))}")
        grants = list(within(grants, node_role.node_boundary(scope, settings.iam)))
    return Actor(
        title="Nodes",
        arn=display(scope.node_role_arn),
        entered_by="every process on an instance that CAST AI starts with this role",
        managed=node_role.NODE_MANAGED,
        limits=tuple(limits),
        grants=sorted_grants(grants),
    )


def _spot(scope: Scope, settings: StackConfig) -> Actor:
    where = (scope.partition, scope.region, scope.account_id, scope.names)
    secret = _secret(scope, settings)
    limits = list(_operators(settings))
    inline = spot_role.lambda_inline(scope.own("sqs", scope.names.dead_letter_queue), secret)
    grants = [*managed_grants(spot_role.LAMBDA_MANAGED), *document_grants([inline])]
    if settings.permissions == "scoped":
        own = f"boundary {scope.iam('policy', scope.names.lambda_boundary)}"
        limits.append("its inline policy of denials" if limits else own)
        # By boundary or by denials: what is left is the same.
        grants = list(within(grants, spot_role.lambda_boundary(*where, secret)))
    return Actor(
        title="Spot function",
        arn=display(scope.lambda_role_arn),
        entered_by=f"AWS Lambda, for the function {scope.names.function}",
        managed=spot_role.LAMBDA_MANAGED,
        limits=tuple(limits),
        grants=sorted_grants(grants),
    )


def _operators(settings: StackConfig) -> Iterator[str]:
    if settings.iam.permissions_boundary_arn:
        yield f"boundary {settings.iam.permissions_boundary_arn}, whose text is the operator's"


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
    if node_role.has_node_boundary(settings.permissions, iam):
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
