"""Questions to AWS; reads only."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from castai_stack import arn, naming
from castai_stack.adopt import mapping
from castai_stack.adopt.observations import (
    AccessEntry,
    AccessKey,
    Group,
    InAws,
    Place,
    Policy,
    Principal,
)
from castai_stack.adopt.reading_spot import functions
from castai_stack.commands.aws_clients import Clients, asking
from castai_stack.commands.aws_kinds import tags
from castai_stack.iam.scope import ID_TAG
from castai_stack.naming import CLUSTER_TAG

_AWS_OWNED = ":iam::aws:policy/"


def place(clients: Clients, cluster: str, region: str, account_id: str) -> Place:
    """Return the cluster's coordinates; raises AwsError if EKS does not describe it."""
    with asking(f"cluster {cluster}"):
        described = clients("eks").describe_cluster(name=cluster)["cluster"]
    vpc = described["resourcesVpcConfig"]
    return Place(
        cluster,
        region,
        account_id,
        arn.partition(region),
        vpc["vpcId"],
        cluster_group=str(vpc.get("clusterSecurityGroupId") or ""),
        # Clusters older than access entries carry no mode and read aws-auth only.
        authentication_mode=(described.get("accessConfig") or {}).get(
            "authenticationMode", "CONFIG_MAP"
        ),
    )


def observe(
    clients: Clients,
    place: Place,
    *,
    users: Iterable[str],
    roles: Iterable[str],
    node_roles: Iterable[str],
) -> InAws:
    """Return what AWS holds of these users and roles and of the cluster's other objects.

    Raises AwsError for a refused question, because an object that may not be read counts neither
    as absent nor as somebody else's.
    """
    iam = clients("iam")

    def role(name: str) -> Principal | None:
        return next(_several(iam, "role", [name]), None)

    principals = [
        *_several(iam, "user", users),
        *_several(iam, "role", roles),
    ]
    nodes = list(_several(iam, "role", node_roles))
    attached = {policy for one in principals for policy in one.attached if _AWS_OWNED not in policy}
    return InAws(
        principals=tuple(principals),
        node_roles=tuple(nodes),
        policies=tuple(_policy(iam, policy_arn) for policy_arn in sorted(attached)),
        groups=tuple(_groups(clients("ec2"), place)),
        functions=tuple(functions(clients, place, role)),
        access_entries=tuple(_access_entries(clients("eks"), place, [*principals, *nodes])),
    )


def _several(iam: Any, kind: Literal["user", "role"], names: Iterable[str]) -> Iterator[Principal]:
    for name in dict.fromkeys(names):
        with asking(f"{kind} {name}"):
            try:
                described = getattr(iam, f"get_{kind}")(**{f"{kind.capitalize()}Name": name})
            except iam.exceptions.NoSuchEntityException:
                continue
            yield _principal(iam, kind, described[kind.capitalize()])


def _principal(iam: Any, kind: Literal["user", "role"], described: Any) -> Principal:
    argument = f"{kind.capitalize()}Name"
    name = described[argument]
    target = {argument: name}
    attached = _pages(iam, f"list_attached_{kind}_policies", "AttachedPolicies", **target)
    inline = _pages(iam, f"list_{kind}_policies", "PolicyNames", **target)
    read: Callable[..., Any] = getattr(iam, f"get_{kind}_policy")
    keys: list[Any] = []
    profiles: list[Any] = []
    if kind == "user":
        keys = _pages(iam, "list_access_keys", "AccessKeyMetadata", **target)
    else:
        operation = "list_instance_profiles_for_role"
        profiles = _pages(iam, operation, "InstanceProfiles", **target)
    return Principal(
        kind=kind,
        name=name,
        path=described["Path"],
        attached=tuple(one["PolicyArn"] for one in attached),
        inline={one: read(**target, PolicyName=one)["PolicyDocument"] for one in inline},
        trust=described.get("AssumeRolePolicyDocument"),
        keys=tuple(AccessKey(one["AccessKeyId"], one["Status"]) for one in keys),
        profiles=tuple(one["InstanceProfileName"] for one in profiles),
        boundary=(described.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", ""),
        stack_of=tags(described).get(CLUSTER_TAG, ""),
        created=described.get("CreateDate"),
    )


def _policy(iam: Any, policy_arn: str) -> Policy:
    with asking(f"policy {policy_arn}"):
        version = iam.get_policy(PolicyArn=policy_arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=policy_arn, VersionId=version)
        users: list[str] = []
        for page in iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=policy_arn):
            users += [f"user {one['UserName']}" for one in page["PolicyUsers"]]
            users += [f"role {one['RoleName']}" for one in page["PolicyRoles"]]
            users += [f"group {one['GroupName']}" for one in page["PolicyGroups"]]
    return Policy(policy_arn, document["PolicyVersion"]["Document"], tuple(sorted(users)))


def _groups(ec2: Any, place: Place) -> Iterator[Group]:
    name = naming.NODE_GROUP.format(cluster=place.cluster)
    with asking("security groups"):
        groups = _pages(
            ec2,
            "describe_security_groups",
            "SecurityGroups",
            Filters=[{"Name": "vpc-id", "Values": [place.vpc_id]}],
        )
    for group in groups:
        tagged = tags(group)
        if name in (group["GroupName"], tagged.get("Name")):
            yield Group(group["GroupId"], group["GroupName"], tagged.get(ID_TAG, ""))


def _access_entries(
    eks: Any, place: Place, principals: Iterable[Principal]
) -> Iterator[AccessEntry]:
    if place.authentication_mode == "CONFIG_MAP":  # EKS refuses the question then
        return
    for principal in principals:
        which = {"clusterName": place.cluster, "principalArn": mapping.entry_arn(place, principal)}
        with asking(f"access entry of {principal}"):
            try:
                described = eks.describe_access_entry(**which)["accessEntry"]
            except eks.exceptions.ResourceNotFoundException:
                continue
            operation = "list_associated_access_policies"
            associated = _pages(eks, operation, "associatedAccessPolicies", **which)
        yield AccessEntry(
            arn=which["principalArn"],
            type=described.get("type") or "STANDARD",
            policies=tuple(one["policyArn"] for one in associated),
            created=described.get("createdAt"),
        )


def _pages(client: Any, operation: str, key: str, **arguments: Any) -> list[Any]:
    pages = client.get_paginator(operation).paginate(**arguments)
    return [one for page in pages for one in page[key]]
