"""An EKS cluster in subnets that exist, and its connection to CAST AI, in one program."""

import json

import pulumi
import pulumi_aws as aws

from castai_stack import CastaiCluster

config = pulumi.Config()
NAME, REGION, ACCOUNT = "demo", "eu-central-1", "012345678901"
subnets = config.require_object("subnetIds")  # each with a route out

provider = aws.Provider("aws", region=REGION, allowed_account_ids=[ACCOUNT])
in_aws = pulumi.ResourceOptions(provider=provider)


def role(name: str, service: str, *policies: str) -> tuple[aws.iam.Role, list[pulumi.Resource]]:
    """Create a role of an AWS service with managed policies."""
    trusted = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    created = aws.iam.Role(
        name,
        assume_role_policy=json.dumps({"Version": "2012-10-17", "Statement": [trusted]}),
        opts=in_aws,
    )
    attached: list[pulumi.Resource] = [
        aws.iam.RolePolicyAttachment(
            f"{name}-{policy}",
            role=created.name,
            policy_arn=f"arn:aws:iam::aws:policy/{policy}",
            opts=in_aws,
        )
        for policy in policies
    ]
    return created, attached


cluster_role, of_cluster = role("cluster", "eks.amazonaws.com", "AmazonEKSClusterPolicy")
node_role, of_nodes = role(
    "nodes",
    "ec2.amazonaws.com",
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKS_CNI_Policy",
    "AmazonEC2ContainerRegistryReadOnly",
)
cluster = aws.eks.Cluster(
    "cluster",
    name=NAME,
    role_arn=cluster_role.arn,
    access_config={"authentication_mode": "API"},
    vpc_config={"subnet_ids": subnets},
    opts=pulumi.ResourceOptions(provider=provider, depends_on=of_cluster),
)
# The agent needs a node to run on.
nodes = aws.eks.NodeGroup(
    "nodes",
    cluster_name=cluster.name,
    node_role_arn=node_role.arn,
    subnet_ids=subnets,
    scaling_config={"desired_size": 2, "min_size": 2, "max_size": 2},
    opts=pulumi.ResourceOptions(provider=provider, depends_on=of_nodes),
)

connection = CastaiCluster(
    NAME,
    {
        "cluster": {"name": NAME, "region": REGION, "account_id": ACCOUNT},
        "access": {"mode": "access-entries"},
        "credentials": {"mode": "role"},
        "api_key": config.require_secret("apiKey"),
        "vpc_id": cluster.vpc_config.vpc_id,
        "endpoint": cluster.endpoint,
        "certificate_authority": cluster.certificate_authority.data,
        "security_group_id": cluster.vpc_config.cluster_security_group_id,
        "subnet_ids": subnets,
    },
    pulumi.ResourceOptions(depends_on=[nodes]),
)
pulumi.export("cluster_id", connection.cluster_id)
