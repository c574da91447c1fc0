"""Physical names; a name beyond its limit is cut and ends in a hash."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

CLUSTER_TAG = "castai-eks:cluster"
"""Tag with the cluster's name, on every AWS resource of this program."""

NameFlavour = Literal["suffixed", "regional", "documented"]

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
USER_LIMIT = ROLE_LIMIT = 64
POLICY_LIMIT = 128
# https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
FUNCTION_LIMIT = 64
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html
RULE_LIMIT = 64
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
QUEUE_LIMIT = 80

SHARED_POLICY = "CastEKSPolicy"
"""Name of the policy on CAST AI's page, where all clusters of an account share it."""
RESTRICTED_INLINE = "CastEKSRestrictedAccess"
"""Name of the cluster-scoped inline policy, as CAST AI's script gives it."""
NODE_GROUP = "cast-{cluster}-cluster/CastNodeSecurityGroup"
"""Name of the nodes' security group, as CAST AI's onboarding script gives it."""
PLACEHOLDER_CLUSTER_ID = "00000000-0000-0000-0000-000000000000"
"""Placeholder for CAST AI's id of the cluster, where only its length or shape matters."""

_HASH_LENGTH = 8
_NODE_ROLE_CLUSTER = 40


def bounded(text: str, limit: int) -> str:
    """Return `text`; beyond `limit`, its beginning and 8 hex digits of its SHA-256."""
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{text[: limit - _HASH_LENGTH - 1]}-{digest}"


def node_role(cluster: str, cluster_id: str) -> str:
    """Return the name of the node role and of its instance profile, as CAST AI expects it.

    The id's first eight characters distinguish clusters with the same first 40 characters.
    Source: https://docs.cast.ai/docs/cloud-permissions (`cast-<cluster>-eks-<id>`).
    """
    return f"cast-{cluster[:_NODE_ROLE_CLUSTER]}-eks-{cluster_id[:8]}"


@dataclass(frozen=True, slots=True)
class GivenNames:
    """Names that a stack may give; None for a computed one."""

    node_role: str | None = None
    instance_profile: str | None = None
    security_group: str | None = None
    restricted_inline: str | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """Physical names that do not depend on the registration."""

    principal: str
    """Name of the user, or of the role that CAST AI assumes."""
    castai_policy: str
    restricted_policy: str
    feature_policy: str
    lambda_role: str
    function: str
    interruption_rule: str
    rebalance_rule: str
    dead_letter_queue: str
    lambda_boundary: str
    node_boundary: str
    given: GivenNames = field(default_factory=GivenNames)
    """Names that the stack gives, of objects whose computed names need more than the cluster's."""

    @property
    def restricted_inline(self) -> str:
        """Name of the inline policy of CAST AI's role; a user has it as `restricted_policy`."""
        return self.given.restricted_inline or RESTRICTED_INLINE

    def node_role(self, cluster: str, cluster_id: str) -> str:
        """Return the name of the node role."""
        return self.given.node_role or node_role(cluster, cluster_id)

    def instance_profile(self, cluster: str, cluster_id: str) -> str:
        """Return the name of the nodes' instance profile."""
        return self.given.instance_profile or node_role(cluster, cluster_id)

    def node_group(self, cluster: str) -> str:
        """Return the name of the nodes' security group."""
        return self.given.security_group or NODE_GROUP.format(cluster=cluster)


_BASES: dict[str, tuple[str, int]] = {
    "principal": ("cast-eks", USER_LIMIT),
    "castai_policy": (SHARED_POLICY, POLICY_LIMIT),
    "restricted_policy": ("CastEKSRestrictedAccess", POLICY_LIMIT),
    "feature_policy": ("CastEKSFeatures", POLICY_LIMIT),
    "lambda_role": ("CastLambdaRoleForSpot", ROLE_LIMIT),
    "function": ("cast-ai-ec2-events-handler", FUNCTION_LIMIT),
    "interruption_rule": ("cast-ai-spot-interruption", RULE_LIMIT),
    "rebalance_rule": ("cast-ai-rebalance-recommendation", RULE_LIMIT),
    "dead_letter_queue": ("cast-ai-ec2-events-dead-letters", QUEUE_LIMIT),
    "lambda_boundary": ("CastLambdaBoundary", POLICY_LIMIT),
    "node_boundary": ("CastNodeBoundary", POLICY_LIMIT),
}
"""Name before the cluster's, and longest name that AWS accepts, by field of `Names`."""
_SHARED = frozenset({"castai_policy", "lambda_role", "function"})
"""Names that CAST AI's page does not suffix with the cluster's name."""


def names(
    cluster: str,
    flavour: NameFlavour,
    region: str = "",
    given: Mapping[str, str | None] | None = None,
) -> Names:
    """Return the names for `cluster`; `documented` leaves those of `_SHARED` without a suffix.

    `regional` adds a hash of region and name. IAM's names are account-wide and compared without
    case, so that clusters of one name in two regions, or in two letter cases, need it.
    `given` replaces computed names, by field of `Names` or `GivenNames`; None leaves them.
    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    computed: dict[str, Any] = {
        field: bounded(name, _BASES[field][1])
        for field, name in _full_names(cluster, flavour, region).items()
    }
    chosen = {name: text for name, text in (given or {}).items() if text is not None}
    beside = {one.name: chosen.pop(one.name, None) for one in fields(GivenNames)}
    return Names(**{**computed, **chosen}, given=GivenNames(**beside))


def shortened(cluster: str, flavour: NameFlavour, region: str = "") -> list[str]:
    """Return the names that exceed their limit and therefore end in a hash, sorted."""
    return sorted(
        bounded(name, _BASES[field][1])
        for field, name in _full_names(cluster, flavour, region).items()
        if len(name) > _BASES[field][1]
    )


def _full_names(cluster: str, flavour: NameFlavour, region: str) -> dict[str, str]:
    suffix = cluster
    if flavour == "regional":
        if not region:
            raise ValueError("regional names need the cluster's region")
        digest = hashlib.sha256(f"{region}/{cluster}".encode()).hexdigest()
        suffix = f"{cluster}-{digest[:_HASH_LENGTH]}"
    return {
        field: base if flavour == "documented" and field in _SHARED else f"{base}-{suffix}"
        for field, (base, _) in _BASES.items()
    }
