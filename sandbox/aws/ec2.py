"""EC2 where moto 5.2.5 is too kind: tags, groups of other networks, groups in use.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions (tags that
begin with `aws:` are written by AWS alone) and
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from typing import Any

from werkzeug.wrappers import Response

from sandbox.aws import backends
from sandbox.aws.account import Call, Handler
from sandbox.aws.protocol import AwsError


def own_tags(call: Call) -> Response:
    """Refuse tags that only AWS writes; the root, who furnishes the account, plays AWS."""
    tags = list(call.params.get("Tags", []))
    for specification in call.params.get("TagSpecifications", []):
        tags += specification.get("Tags", [])
    for tag in tags:
        if tag.get("Key", "").lower().startswith("aws:") and call.principal.kind != "root":
            raise AwsError(
                "InvalidParameterValue",
                f"Value ( {tag['Key']} ) for parameter key is invalid. Tag keys starting with "
                "'aws:' are reserved for internal use",
            )
    return call.forward()


def run_instances(call: Call) -> Response:
    """Refuse groups of another network than the subnet's, and a profile that does not exist."""
    ec2 = backends.backend("ec2", call.request.region)
    subnet = call.params.get("SubnetId")
    for group in call.params.get("SecurityGroupIds", []):
        vpc = next((vpc for vpc, groups in ec2.groups.items() if group in groups), None)
        if vpc is None:
            raise AwsError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")
        if subnet and vpc not in {
            by_zone[subnet].vpc_id for by_zone in ec2.subnets.values() if subnet in by_zone
        }:
            raise AwsError(
                "InvalidParameter",
                f"Security group {group} and subnet {subnet} belong to different networks.",
            )
    profile = call.params.get("IamInstanceProfile", {})
    known = backends.iam().instance_profiles.values()
    if profile and not any(
        one.arn == profile.get("Arn") or one.name == profile.get("Name") for one in known
    ):
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({next(iter(profile.values()))}) for parameter iamInstanceProfile is invalid. "
            "Invalid IAM Instance Profile",
        )
    return own_tags(call)


def delete_security_group(call: Call) -> Response:
    """Refuse while an instance uses the group."""
    wanted = call.params.get("GroupId")
    if any(group.id == wanted for one in _instances(call) for group in one.security_groups):
        raise AwsError("DependencyViolation", f"resource {wanted} has a dependent object")
    return call.forward()


def _instances(call: Call) -> list[Any]:
    ec2 = backends.backend("ec2", call.request.region)
    return [
        one
        for reservation in ec2.reservations.values()
        for one in reservation.instances
        if one._state.name != "terminated"  # noqa: SLF001 - moto's own spelling
    ]


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("CreateTags", "DeleteTags", "CreateSecurityGroup", "CreateVolume"), own_tags),
    "RunInstances": run_instances,
    "DeleteSecurityGroup": delete_security_group,
}
