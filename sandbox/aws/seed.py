"""Furnishes the account: the cluster that somebody has already, its neighbours, its operators."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
import requests
from botocore.config import Config

from sandbox.constants import (
    ACCOUNT,
    CLUSTER,
    CREATOR_ROLE,
    FOREIGN_CLUSTER,
    NODE_GROUP,
    NODE_GROUP_ROLE,
    OPERATOR_ROLE,
    PARTITION,
    READ_ONLY_GROUP,
    READER_ROLE,
    REGION,
)

_SECONDS = 30
_IMAGE = "ami-0123456789abcdef0"
_TYPE = "m5.large"
CLUSTER_ROLE = "demo-cluster"
_ADMIN = f"arn:{PARTITION}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


@dataclass(frozen=True)
class Credentials:
    """Keys of a session, as the environment of a program takes them."""

    arn: str
    role_arn: str
    access_key_id: str
    secret_access_key: str
    session_token: str

    def __repr__(self) -> str:
        """Whose they are; never what they are."""
        return f"Credentials({self.arn})"

    def environment(self, endpoint: str) -> dict[str, str]:
        """Variables that make the AWS SDKs and the CLI use them against the sandbox."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str, endpoint: str) -> Any:
        """Return a boto3 client that signs with them."""
        return _client(self, service, endpoint)


@functools.lru_cache(maxsize=100)  # a client takes 30 ms to make
def _client(keys: Credentials, service: str, endpoint: str) -> Any:
    make: Any = boto3.client  # one method for any service; the stubs want literals
    return make(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token or None,
        config=Config(retries={"max_attempts": 0}),
    )


@dataclass(frozen=True)
class Seed:
    """Ids and credentials of the furnished account."""

    endpoint: str
    vpc_id: str
    subnet_ids: tuple[str, ...]
    security_group_id: str
    nodes: tuple[str, ...]
    """Instances of the cluster, the last one Spot."""
    spot_node: str
    foreign_nodes: tuple[str, ...]
    """Instances of another cluster, the last one Spot."""
    foreign_spot_node: str
    node_role_arn: str
    operator: Credentials
    pull_request: Credentials
    expired: Credentials
    """Of the operator, outlived."""


def session(endpoint: str, role: str, name: str, seconds: float | None = None) -> Credentials:
    """Credentials of a role that the account holds, without asking its trust policy."""
    content: dict[str, Any] = {"role": role, "name": name}
    if seconds is not None:
        content["seconds"] = seconds
    return _credentials(_internal(endpoint, "sessions", content), _role(role))


def root(endpoint: str) -> Credentials:
    """Credentials that may do anything, for furnishing and for tests."""
    return _credentials(_internal(endpoint, "sessions", {"root": True}), "")


def _credentials(answer: Mapping[str, str], role_arn: str) -> Credentials:
    return Credentials(
        answer["arn"],
        role_arn,
        answer["accessKeyId"],
        answer["secretAccessKey"],
        answer["sessionToken"],
    )


def _internal(endpoint: str, path: str, content: Mapping[str, Any]) -> Any:
    answer = requests.put(f"{endpoint}/_sandbox/{path}", json=content, timeout=_SECONDS)
    answer.raise_for_status()
    return answer.json()


def _trust(principal: Mapping[str, str]) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _role(name: str) -> str:
    return f"arn:{PARTITION}:iam::{ACCOUNT}:role/{name}"


def _managed(name: str) -> str:
    return f"arn:{PARTITION}:iam::aws:policy/{name}"


def seed(endpoint: str) -> Seed:
    """Make everything that is there before the program comes."""
    keys = root(endpoint)
    iam = keys.client("iam", endpoint)
    account = {"AWS": f"arn:{PARTITION}:iam::{ACCOUNT}:root"}
    roles = {
        OPERATOR_ROLE: (account, ["AdministratorAccess"]),
        READER_ROLE: (account, ["ReadOnlyAccess"]),
        CREATOR_ROLE: (account, ["AdministratorAccess"]),
        "DeployBot": (account, []),
        CLUSTER_ROLE: ({"Service": "eks.amazonaws.com"}, ["AmazonEKSClusterPolicy"]),
        NODE_GROUP_ROLE: (
            {"Service": "ec2.amazonaws.com"},
            ["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryReadOnly"],
        ),
    }
    iam.create_user(UserName="jane")
    for name, (principal, policies) in roles.items():
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=_trust(principal))
        for policy in policies:
            iam.attach_role_policy(RoleName=name, PolicyArn=_managed(policy))
    operator = session(endpoint, OPERATOR_ROLE, "operator")
    ec2 = operator.client("ec2", endpoint)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = tuple(
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=REGION + zone)[
            "Subnet"
        ]["SubnetId"]
        for n, zone in enumerate("ab")
    )
    _lead_out(ec2, vpc, subnets)
    group = ec2.create_security_group(
        GroupName="demo-cluster", Description="Nodes and control plane", VpcId=vpc
    )["GroupId"]
    eks = session(endpoint, CREATOR_ROLE, "installer").client("eks", endpoint)
    for name in (CLUSTER, FOREIGN_CLUSTER):
        _cluster(eks, name, subnets, group)
    eks.create_nodegroup(
        clusterName=CLUSTER,
        nodegroupName=NODE_GROUP,
        nodeRole=_role(NODE_GROUP_ROLE),
        subnets=list(subnets),
        instanceTypes=[_TYPE],
    )
    own = [_instance(ec2, subnets[0], group, CLUSTER, spot=n == 2) for n in range(3)]  # noqa: PLR2004
    other = [_instance(ec2, subnets[1], group, FOREIGN_CLUSTER, spot=n == 1) for n in range(2)]
    mark = keys.client("ec2", endpoint)
    for name, instances in ((CLUSTER, own), (FOREIGN_CLUSTER, other)):
        # As EKS itself marks the instances of its node groups.
        mark.create_tags(Resources=instances, Tags=[{"Key": "aws:eks:cluster-name", "Value": name}])
    return Seed(
        endpoint=endpoint,
        vpc_id=vpc,
        subnet_ids=subnets,
        security_group_id=group,
        nodes=tuple(own),
        spot_node=own[-1],
        foreign_nodes=tuple(other),
        foreign_spot_node=other[-1],
        node_role_arn=_role(NODE_GROUP_ROLE),
        operator=operator,
        pull_request=session(endpoint, READER_ROLE, "ci"),
        expired=session(endpoint, OPERATOR_ROLE, "yesterday", seconds=-1),
    )


def _lead_out(ec2: Any, vpc: str, subnets: Sequence[str]) -> None:
    """Give the VPC's main route table a route to the internet, and its nodes public addresses."""
    for subnet in subnets:
        ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    filters = [
        {"Name": "vpc-id", "Values": [vpc]},
        {"Name": "association.main", "Values": ["true"]},
    ]
    [table] = ec2.describe_route_tables(Filters=filters)["RouteTables"]
    ec2.create_route(
        RouteTableId=table["RouteTableId"],
        DestinationCidrBlock="0.0.0.0/0",
        GatewayId=gateway,
    )


def _cluster(eks: Any, name: str, subnets: Sequence[str], group: str) -> None:
    """Make a cluster; where its mode has access entries, with those of its people and nodes."""
    answer = eks.create_cluster(
        name=name,
        roleArn=_role(CLUSTER_ROLE),
        resourcesVpcConfig={"subnetIds": list(subnets), "securityGroupIds": [group]},
        version="1.33",
        tags={"team": "platform"},
    )
    if answer["cluster"]["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
        return
    eks.create_access_entry(clusterName=name, principalArn=_role(NODE_GROUP_ROLE), type="EC2_LINUX")
    eks.create_access_entry(
        clusterName=name, principalArn=_role(READER_ROLE), kubernetesGroups=[READ_ONLY_GROUP]
    )
    eks.create_access_entry(clusterName=name, principalArn=_role(OPERATOR_ROLE))
    eks.associate_access_policy(
        clusterName=name,
        principalArn=_role(OPERATOR_ROLE),
        policyArn=_ADMIN,
        accessScope={"type": "cluster"},
    )


def _instance(ec2: Any, subnet: str, group: str, cluster: str, *, spot: bool) -> str:
    tags = [
        {"Key": "Name", "Value": f"{cluster}-node"},
        {"Key": f"kubernetes.io/cluster/{cluster}", "Value": "owned"},
        {"Key": "eks:cluster-name", "Value": cluster},
    ]
    arguments: dict[str, Any] = {
        "ImageId": _IMAGE,
        "InstanceType": _TYPE,
        "MinCount": 1,
        "MaxCount": 1,
        "SubnetId": subnet,
        "SecurityGroupIds": [group],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
    }
    if spot:
        arguments["InstanceMarketOptions"] = {"MarketType": "spot"}
    identity: str = ec2.run_instances(**arguments)["Instances"][0]["InstanceId"]
    return identity
