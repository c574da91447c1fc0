"""Partitions, regions and ARNs; the only module that spells a partition."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of AWS."""

    name: str
    regions: str
    """Pattern of its region names."""
    iam_region: str
    """Region in which IAM answers; `aws:RequestedRegion` of every IAM call names it."""


# The table is botocore's (botocore/data/partitions.json, endpoints.json), and a test compares the
# two. Importing botocore would cost each preview more than the table does.
PARTITIONS = (
    Partition("aws", r"(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d+", "us-east-1"),
    Partition("aws-cn", r"cn-[a-z]+-\d+", "cn-north-1"),
    Partition("aws-us-gov", r"us-gov-[a-z]+-\d+", "us-gov-west-1"),
    Partition("aws-eusc", r"eusc-de-[a-z]+-\d+", "eusc-de-east-1"),
    Partition("aws-iso", r"us-iso-[a-z]+-\d+", "us-iso-east-1"),
    Partition("aws-iso-b", r"us-isob-[a-z]+-\d+", "us-isob-east-1"),
    Partition("aws-iso-e", r"eu-isoe-[a-z]+-\d+", "eu-isoe-west-1"),
    Partition("aws-iso-f", r"us-isof-[a-z]+-\d+", "us-isof-south-1"),
)
_ROLE = re.compile(r"^(arn:[^:]+:iam::\d{12}:role)/(?:.*/)?([^/]+)$", re.IGNORECASE | re.ASCII)


def partition(region: str) -> str:
    """Name of the partition of a region.

    Raises ValueError for a name that no partition knows; `fields.Region` refuses it before.
    Source: https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
    """
    return _partition(region).name


def iam_region(region: str) -> str:
    """Region in which IAM answers in the partition of `region`.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    return _partition(region).iam_region


def _partition(region: str) -> Partition:
    for candidate in PARTITIONS:
        if re.fullmatch(candidate.regions, region, re.ASCII):
            return candidate
    raise ValueError(f"no partition of AWS has a region {region!r}")


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
    """ARN of a role as aws-auth reads it, which is without the path.

    Source: https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting_iam.html
    """
    match = _ROLE.match(role_arn)
    return f"{match[1]}/{match[2]}" if match else role_arn


def cluster_access_policy(partition_name: str, name: str) -> str:
    """ARN of an EKS access policy, which is not a policy of IAM.

    Source: https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
    """
    return f"arn:{partition_name}:eks::aws:cluster-access-policy/{name}"
