"""ARNs as data; the only place that spells a partition."""

import re

_PARTITIONS = (("us-gov-", "aws-us-gov"), ("cn-", "aws-cn"))
_ROLE = re.compile(r"^(arn:[^:]+:iam::\d{12}:role)/(?:.*/)?([^/]+)$", re.IGNORECASE)


def partition(region: str) -> str:
    """Partition of a region name: `aws`, `aws-us-gov` or `aws-cn`.

    Source: https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
    """
    return next((name for prefix, name in _PARTITIONS if region.startswith(prefix)), "aws")


def iam(partition_name: str, account_id: str, resource: str) -> str:
    """ARN of an IAM object; `resource` is like `role/path/name`. IAM has no region."""
    return f"arn:{partition_name}:iam::{account_id}:{resource}"


def managed_policy(partition_name: str, name: str) -> str:
    """ARN of an AWS-managed policy; `name` may carry a path such as `service-role/…`."""
    return f"arn:{partition_name}:iam::aws:policy/{name}"


def regional(partition_name: str, service: str, region: str, account_id: str, resource: str) -> str:
    """ARN of a regional object, `resource` as the service spells it."""
    return f"arn:{partition_name}:{service}:{region}:{account_id}:{resource}"


def without_path(role_arn: str) -> str:
    """Return the role ARN as aws-auth needs it: the path is no part of it there.

    Source: https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting_iam.html
    """
    match = _ROLE.match(role_arn)
    return f"{match[1]}/{match[2]}" if match else role_arn


def cluster_access_policy(partition_name: str, name: str) -> str:
    """ARN of an EKS access policy, which is none of IAM's policies.

    Source: https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
    """
    return f"arn:{partition_name}:eks::aws:cluster-access-policy/{name}"
