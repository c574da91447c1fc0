"""The principals of a stack and the grants that each one has."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from castai_stack.arn import partition
from castai_stack.config.model import StackConfig
from castai_stack.config.principals import Principal
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
    """A principal with its permissions: CAST AI, the nodes that it launches, the Spot function."""

    title: str
    arn: str
    entered_by: str
    """Trust of the principal: the principals that can assume it, and the conditions."""
    managed: tuple[str, ...]
    """AWS-managed policies, by name or path and name."""
    limits: tuple[str, ...]
    """Boundaries, as phrases."""
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class DocumentSize:
    """Size of a document and IAM's quota for it."""

    name: str
    kind: quotas.Kind
    characters: int

    @property
    def quota(self) -> int:
        """Largest size that IAM accepts."""
        return quotas.QUOTAS[self.kind]


@dataclass(frozen=True, slots=True)
class EffectivePermissions:
    """Permissions of every principal of one stack."""

    settings: StackConfig
    cluster_id: str
    """CAST AI's id of the cluster, or a placeholder."""
    vpc_id: str
    """Id of the cluster's VPC, or a placeholder."""
    actors: tuple[Actor, ...]
    documents: tuple[DocumentSize, ...]
    problems: tuple[str, ...]
    """A sentence for each document above its quota."""
    notes: tuple[str, ...]
    """Remarks for the person who approves the permissions."""


@dataclass(frozen=True, slots=True)
class _Sized:
    """Documents that count against one quota together."""

    name: str
    kind: quotas.Kind
    documents: tuple[PolicyDocument, ...]


def effective_permissions(
    settings: StackConfig, cluster_id: str | None = None, vpc_id: str | None = None
) -> EffectivePermissions:
    """Return the effective permissions of a stack, with placeholders for unknown ids."""
    cluster_id = cluster_id or settings.api.cluster_id
    vpc_id = vpc_id or settings.cluster.vpc_id
    scope = stack_scope(settings, cluster_id or UNKNOWN_CLUSTER_ID, vpc_id or UNKNOWN_VPC_ID)
    documents = list(_documents(scope, settings))
    return EffectivePermissions(
        settings=settings,
        cluster_id=cluster_id or "<cluster-id>",
        vpc_id=vpc_id or "<vpc-id>",
        actors=tuple(_actors(scope, settings)),
        documents=tuple(
            DocumentSize(one.name, one.kind, sum(map(quotas.size, one.documents)))
            for one in documents
        ),
        problems=_problems(documents),
        notes=tuple(_notes(settings)),
    )


def oversized_documents(scope: Scope, settings: StackConfig) -> tuple[str, ...]:
    """Return a sentence for each document of a stack that exceeds IAM's quota."""
    return _problems(_documents(scope, settings))


def stack_scope(settings: StackConfig, cluster_id: str, vpc_id: str) -> Scope:
    """Return the scope of a stack's documents."""
    cluster = settings.cluster
    return Scope(
        partition=partition(cluster.region),
        region=cluster.region,
        account_id=cluster.account_id,
        cluster=cluster.name,
        cluster_id=cluster_id,
        vpc_id=vpc_id,
        names=settings.resource_names,
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
        # An ARN of the length of CAST AI's users; only the length counts here.
        f"arn:{scope.partition}:iam::000000000000:user/cast-crossrole-{scope.cluster_id}"
    )
    external_id = settings.credentials.external_id or scope.cluster_id
    return castai_policy.principal_trust(principal, external_id)


def _principal_documents(
    scope: Scope, settings: StackConfig, principal: Principal
) -> Iterator[_Sized]:
    """Yield the documents of CAST AI's principal; the restricted one is inline in a role."""
    flavour, iam, names = settings.permissions, settings.iam, scope.names
    yield _Sized(
        names.castai_policy, "managed", (castai_policy.castai_policy(scope, flavour, iam),)
    )
    restricted = (restricted_policy.restricted_policy(scope, flavour, iam),)
    if principal.restricted_policy == "inline":
        yield _Sized(names.restricted_inline, "role inline", restricted)
    else:
        yield _Sized(names.restricted_policy, "managed", restricted)
    feature = feature_policy.feature_policy(scope, flavour, iam)
    if feature:
        yield _Sized(names.feature_policy, "managed", (feature,))


def _documents(scope: Scope, settings: StackConfig) -> Iterator[_Sized]:
    principal = settings.principal
    if principal is None:
        return
    yield from _principal_documents(scope, settings, principal)
    if principal.trusts_castai:
        yield _Sized(f"trust of {scope.names.principal}", "trust", (_trust(scope, settings),))
    if node_role.has_node_boundary(settings.permissions, settings.iam):
        boundary = node_role.node_boundary(scope, settings.iam)
        yield _Sized(scope.names.node_boundary, "managed", (boundary,))
    if settings.spot.by_lambda:
        yield from _spot_documents(scope, settings)


def _spot_documents(scope: Scope, settings: StackConfig) -> Iterator[_Sized]:
    where = (scope.partition, scope.region, scope.account_id, scope.names)
    secret = _secret(scope, settings)
    inline = [spot_role.lambda_inline(scope.own("sqs", scope.names.dead_letter_queue), secret)]
    if settings.permissions == "scoped" and settings.iam.permissions_boundary_arn:
        inline.append(spot_role.lambda_guard(*where, secret))
    yield _Sized(f"inline policies of {scope.names.lambda_role}", "role inline", tuple(inline))
    if node_role.has_boundaries(settings.permissions, settings.iam):
        boundary = spot_role.lambda_boundary(*where, secret)
        yield _Sized(scope.names.lambda_boundary, "managed", (boundary,))


def _problems(documents: Iterable[_Sized]) -> tuple[str, ...]:
    return tuple(
        problem for one in documents for problem in quotas.check(one.name, one.kind, *one.documents)
    )


def _actors(scope: Scope, settings: StackConfig) -> Iterator[Actor]:
    if settings.principal is None:
        return
    yield _castai(scope, settings, settings.principal)
    yield _nodes(scope, settings)
    if settings.spot.by_lambda:
        yield _spot(scope, settings)


def _castai(scope: Scope, settings: StackConfig, principal: Principal) -> Actor:
    entered_by = "CAST AI, with the access key that it was handed"
    if principal.trusts_castai:
        trusted = settings.api.principal_arn or "<castai-principal>"
        external_id = settings.credentials.external_id or "<cluster-id>"
        entered_by = f"{trusted}, when it sends the external id {external_id}"
    documents = [
        document
        for one in _principal_documents(scope, settings, principal)
        for document in one.documents
    ]
    return Actor(
        title="CAST AI",
        arn=display(scope.iam(principal.kind, scope.names.principal)),
        entered_by=entered_by,
        managed=(*castai_policy.PRINCIPAL_MANAGED, *_names(settings.iam.principal_policy_arns)),
        limits=tuple(_operator_limits(settings)),
        grants=sorted_grants(
            [*document_grants(documents), *managed_grants(castai_policy.PRINCIPAL_MANAGED)]
        ),
    )


def _names(policy_arns: Sequence[str]) -> list[str]:
    """Return further policies as the reports name them; their texts are not known here."""
    return [f"{policy_arn} (text unknown)" for policy_arn in policy_arns]


def _nodes(scope: Scope, settings: StackConfig) -> Actor:
    limits = list(_operator_limits(settings))
    inline = node_role.node_inline(scope, settings.iam)
    grants = [*managed_grants(node_role.NODE_MANAGED), *document_grants([inline] if inline else [])]
    if node_role.has_node_boundary(settings.permissions, settings.iam):
        limits.append(f"boundary {display(scope.iam('policy', scope.names.node_boundary))}")
        grants = list(within(grants, node_role.node_boundary(scope, settings.iam)))
    return Actor(
        title="Nodes",
        arn=display(scope.node_role_arn),
        entered_by="every process on an instance that CAST AI starts with this role",
        managed=(*node_role.NODE_MANAGED, *_names(settings.iam.node_policy_arns)),
        limits=tuple(limits),
        grants=sorted_grants(grants),
    )


def _spot(scope: Scope, settings: StackConfig) -> Actor:
    where = (scope.partition, scope.region, scope.account_id, scope.names)
    secret = _secret(scope, settings)
    limits = list(_operator_limits(settings))
    inline = spot_role.lambda_inline(scope.own("sqs", scope.names.dead_letter_queue), secret)
    grants = [*managed_grants(spot_role.LAMBDA_MANAGED), *document_grants([inline])]
    if settings.permissions == "scoped":
        boundary = f"boundary {scope.iam('policy', scope.names.lambda_boundary)}"
        limits.append("its inline policy of denials" if limits else boundary)
        # Boundary and denials impose the same limit.
        grants = list(within(grants, spot_role.lambda_boundary(*where, secret)))
    return Actor(
        title="Spot function",
        arn=display(scope.lambda_role_arn),
        entered_by=f"AWS Lambda, for the function {scope.names.function}",
        managed=spot_role.LAMBDA_MANAGED,
        limits=tuple(limits),
        grants=sorted_grants(grants),
    )


def _operator_limits(settings: StackConfig) -> Iterator[str]:
    if settings.iam.permissions_boundary_arn:
        yield f"boundary {settings.iam.permissions_boundary_arn}, whose text is the operator's"


def _notes(settings: StackConfig) -> Iterator[str]:
    if settings.principal is None:
        yield (
            "credentials.mode is none: nobody gets access to AWS. The agent only reads Kubernetes."
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
    if settings.principal.is_mapped and "system:masters" in settings.access.user_groups:
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
            "letter case only are within reach too, since tag keys are case-insensitive."
        )
    if iam.service_linked_roles:
        yield (
            "iam.serviceLinkedRoles is on: CAST AI may create service-linked roles, which belong "
            "to the account and not to a cluster."
        )
