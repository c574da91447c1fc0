"""Policy documents as values."""

from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

Flavour = Literal["scoped", "documented"]
Condition = dict[str, dict[str, list[str]]]


class Statement(TypedDict):
    """One IAM statement. `Sid` is required: denials, reviews and docs/permissions.md cite it."""

    Sid: str
    Effect: Literal["Allow", "Deny"]
    Action: NotRequired[list[str]]
    NotAction: NotRequired[list[str]]
    Resource: NotRequired[list[str]]
    NotResource: NotRequired[list[str]]
    Principal: NotRequired[dict[str, list[str]]]
    Condition: NotRequired[Condition]


class PolicyDocument(TypedDict):
    """An IAM document, in the version of the policy language that has policy variables."""

    Version: Literal["2012-10-17"]
    Statement: list[Statement]


def document(*statements: Statement) -> PolicyDocument:
    """Return a policy document of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(
    sid: str, actions: Sequence[str], resources: list[str], condition: Condition | None = None
) -> Statement:
    """Return an Allow statement with sorted actions; an empty condition is omitted."""
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": resources,
    }
    if condition:
        statement["Condition"] = condition
    return statement


def listed(value: Any) -> list[Any]:
    """Return an element of a foreign document, which holds one value or a list, as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def service_trust(sid: str, service: str) -> PolicyDocument:
    """Return a trust policy that lets one AWS service assume a role."""
    return document(
        {
            "Sid": sid,
            "Effect": "Allow",
            "Action": ["sts:AssumeRole"],
            "Principal": {"Service": [service]},
        }
    )


def ec2_services(partition: str) -> list[str]:
    """Return the names of EC2's service principal in a partition."""
    # China has a service principal of its own; newer calls there use the common one:
    # https://docs.amazonaws.cn/en_us/aws/latest/userguide/iam.html
    common = "ec2.amazonaws.com"
    return [common, "ec2.amazonaws.com.cn"] if partition == "aws-cn" else [common]


def pass_role(sid: str, role_arn: str, services: list[str]) -> Statement:
    """Return the permission to pass one role to these services."""
    condition: Condition = {"StringEquals": {"iam:PassedToService": services}}
    return allow(sid, ["iam:PassRole"], [role_arn], condition)
