"""Physical names that a stack gives itself."""

from typing import Annotated

from castai_stack.fields import Section, checked_text


def _name(characters: str, longest: int) -> object:
    return checked_text(
        rf"[{characters}]{{1,{longest}}}", f"1 to {longest} letters, digits or any of _+=,.@-"
    )


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
RoleName = Annotated[str, _name(r"\w+=,.@-", 64)]
PolicyName = Annotated[str, _name(r"\w+=,.@-", 128)]
# https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
FunctionName = Annotated[
    str, checked_text(r"[A-Za-z0-9_-]{1,64}", "1 to 64 letters, digits, hyphens or underscores")
]
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html
RuleName = Annotated[
    str, checked_text(r"[A-Za-z0-9._-]{1,64}", "1 to 64 letters, digits or any of ._-")
]
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
QueueName = Annotated[
    str, checked_text(r"[A-Za-z0-9_-]{1,80}", "1 to 80 letters, digits, hyphens or underscores")
]
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html
GroupName = Annotated[
    str,
    checked_text(
        r"(?!sg-)[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
        "1 to 255 characters that EC2 allows in the name of a group, not beginning with sg-",
    ),
]


class PhysicalNames(Section):
    """Names of AWS objects in place of the computed ones, such as those of another installer.

    Another name replaces the object: the old one is deleted, and then a new one is created.
    """

    principal: RoleName | None = None
    """CAST AI's user, or the role that it assumes."""
    castai_policy: PolicyName | None = None
    """The policy `CastEKSPolicy`, which must be this cluster's alone."""
    restricted_policy: PolicyName | None = None
    """The cluster-scoped policy in `user` mode."""
    restricted_inline: PolicyName | None = None
    """The cluster-scoped inline policy in `role` mode."""
    feature_policy: PolicyName | None = None
    """The policy of the optional permissions."""
    node_role: RoleName | None = None
    """The role of the nodes that CAST AI starts."""
    instance_profile: PolicyName | None = None
    """The instance profile of these nodes."""
    node_boundary: PolicyName | None = None
    """The boundary of the node role."""
    security_group: GroupName | None = None
    """The security group of these nodes."""
    lambda_role: RoleName | None = None
    """The role of the Spot function."""
    lambda_boundary: PolicyName | None = None
    """The boundary of that role."""
    function: FunctionName | None = None
    """The Spot function."""
    interruption_rule: RuleName | None = None
    """The rule of Spot interruptions."""
    rebalance_rule: RuleName | None = None
    """The rule of rebalance recommendations."""
    dead_letter_queue: QueueName | None = None
    """The queue of undelivered events."""
