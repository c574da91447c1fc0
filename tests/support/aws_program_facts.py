"""What `aws_program` makes, for those who watch it from outside."""

from collections.abc import Mapping

RESOURCES = 22
"""Stack, provider, and one resource of each type."""
SENTINEL = "s3nt1nel-4c1d"

_USER = "arn:aws:iam::012345678901:user/the-user"
_VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"


def ids(outputs: Mapping[str, str]) -> dict[str, str]:
    """Ids as `pulumi import` takes them, by logical name."""
    policy = outputs["policy"]
    return {
        "policy": policy,
        "user": "the-user",
        "user-policy": f"the-user/{policy}",
        "role": "the-role",
        "role-policy": f"the-role/{policy}",
        "inline": "the-role:inline",
        "profile": "the-profile",
        "queue": outputs["queue"],
        "logs": "/aws/lambda/the-function",
        "rule": "the-rule",
        "alarm": "the-alarm",
        "permission": "the-function/AllowRule",
        "failures": "the-function",
        "target": "the-rule/the-target",
        "entry": f"demo:{_USER}",
        "association": f"demo#{_USER}#{_VIEW}",
        "secret": outputs["secretId"],
        "version": outputs["versionId"],
    }
