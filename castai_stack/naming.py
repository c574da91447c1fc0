"""Physical names: exact while they fit, otherwise a head and a hash, never cut blind."""

import hashlib
from dataclasses import dataclass
from typing import Literal

CLUSTER_TAG = "castai-eks:cluster"
"""Every AWS object of this program carries it, with the cluster's name."""

NameFlavour = Literal["suffixed", "documented"]

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
"""Name of the policy when it is shared by every cluster of an account, as on the page."""
PLACEHOLDER_CLUSTER_ID = "00000000-0000-0000-0000-000000000000"
"""Stands for the id that the registration yields, where only a length or a shape matters."""

_HASH_LENGTH = 8
_NODE_ROLE_CLUSTER = 40


def bounded(text: str, limit: int) -> str:
    """Return `text`, or a head and 8 hex digits of its SHA-256 if longer than `limit`."""
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{text[: limit - _HASH_LENGTH - 1]}-{digest}"


def node_role(cluster: str, cluster_id: str) -> str:
    """Name of the node role and of its instance profile, as CAST AI expects both.

    The id's first eight characters tell clusters with the same first 40 characters apart.
    Source: https://docs.cast.ai/docs/cloud-permissions (`cast-<cluster>-eks-<id>`).
    """
    return f"cast-{cluster[:_NODE_ROLE_CLUSTER]}-eks-{cluster_id[:8]}"


@dataclass(frozen=True, slots=True)
class Names:
    """Every physical name that does not depend on the registration."""

    principal: str
    """The user, or the role that CAST AI assumes: `cast-eks-<cluster>`."""
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


def names(cluster: str, flavour: NameFlavour) -> Names:
    """Names for `cluster`; `documented` leaves the account-wide names bare, as on the page."""

    def own(base: str, limit: int) -> str:
        return bounded(f"{base}-{cluster}", limit)

    def shared(base: str, limit: int) -> str:
        return base if flavour == "documented" else own(base, limit)

    return Names(
        principal=bounded(f"cast-eks-{cluster}", USER_LIMIT),
        castai_policy=shared(SHARED_POLICY, POLICY_LIMIT),
        restricted_policy=own("CastEKSRestrictedAccess", POLICY_LIMIT),
        feature_policy=own("CastEKSFeatures", POLICY_LIMIT),
        lambda_role=shared("CastLambdaRoleForSpot", ROLE_LIMIT),
        function=shared("cast-ai-ec2-events-handler", FUNCTION_LIMIT),
        interruption_rule=own("cast-ai-spot-interruption", RULE_LIMIT),
        rebalance_rule=own("cast-ai-rebalance-recommendation", RULE_LIMIT),
        dead_letter_queue=own("cast-ai-ec2-events-dead-letters", QUEUE_LIMIT),
        lambda_boundary=own("CastLambdaBoundary", POLICY_LIMIT),
        node_boundary=own("CastNodeBoundary", POLICY_LIMIT),
    )


def shortened(cluster: str, flavour: NameFlavour) -> list[str]:
    """Names that did not fit and carry a hash instead; the preview warns of each."""
    made = names(cluster, flavour)
    return sorted(
        name
        for field in Names.__slots__
        if not (name := getattr(made, field)).endswith(cluster) and name != _bare(field)
    )


def _bare(field: str) -> str:
    return str(getattr(names("", "documented"), field))
