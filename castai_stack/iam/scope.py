"""The cluster that IAM documents are limited to: its ARNs, tags and conditions.

Documents come in two flavours. `documented` has the statements that CAST AI publishes, both those
of its page and today's: castai/terraform-provider-castai `castai/policies/{iam,user}-policy.json`,
its history, and the scripts formerly in castai/docs. `scoped` grants every bullet of the page
within one cluster; docs/permissions.md explains each statement.

Condition keys of an action are those of the service authorization reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from dataclasses import dataclass, field

from castai_stack import arn, naming
from castai_stack.iam.document import Condition

ID_TAG = "cast:cluster-id"
"""Tag with CAST AI's id of the cluster, on every resource that CAST AI creates."""
EKS_INSTANCE_TAG = "aws:eks:cluster-name"
"""Tag that EKS writes on every instance of a cluster, however it was launched.

Source: https://docs.aws.amazon.com/eks/latest/userguide/eks-using-tags.html
"""
EKS_GROUP_TAG = "eks:cluster-name"
"""Tag that EKS writes on the Auto Scaling groups of node groups; no grant here changes it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The one cluster that the documents grant access to."""

    partition: str
    region: str
    account_id: str
    cluster: str
    cluster_id: str
    """CAST AI's id of the cluster."""
    vpc_id: str
    names: naming.Names
    path: str = "/"
    vpc_account_id: str | None = field(default=None)
    """Owner of a shared VPC when it is another account."""

    @property
    def node_role(self) -> str:
        """Name of the node role."""
        return self.names.node_role(self.cluster, self.cluster_id)

    @property
    def instance_profile(self) -> str:
        """Name of the node role's instance profile."""
        return self.names.instance_profile(self.cluster, self.cluster_id)

    def iam(self, kind: str, name: str) -> str:
        """ARN of a role, policy or instance profile under the path."""
        return arn.iam(self.partition, self.account_id, f"{kind}{self.path}{name}")

    def own(self, service: str, resource: str) -> str:
        """ARN of a resource in this region and account."""
        return arn.regional(self.partition, service, self.region, self.account_id, resource)

    def ec2(self, *kinds: str) -> list[str]:
        """ARN patterns of all EC2 resources of these types in this region and account."""
        return [self.own("ec2", f"{kind}/*") for kind in kinds]

    @property
    def node_role_arn(self) -> str:
        """ARN of the node role."""
        return self.iam("role", self.node_role)

    @property
    def lambda_role_arn(self) -> str:
        """ARN of the Spot function's role."""
        return self.iam("role", self.names.lambda_role)

    @property
    def function_arn(self) -> str:
        """ARN of the Spot function."""
        return self.own("lambda", f"function:{self.names.function}")

    @property
    def vpc_arns(self) -> list[str]:
        """ARNs of the VPC, as values of `ec2:Vpc`.

        A shared VPC has two: AWS does not document whether a participant's resource carries the
        owner's account or the participant's. The id is unique, so the second one admits no other
        VPC.
        """
        owners = sorted({self.vpc_account_id or self.account_id, self.account_id})
        return [
            arn.regional(self.partition, "ec2", self.region, owner, f"vpc/{self.vpc_id}")
            for owner in owners
        ]

    @property
    def subnet_owner(self) -> str:
        """Account id in the ARNs of the subnets."""
        return self.vpc_account_id or self.account_id


def auto_scaling_group(scope: Scope, name: str) -> str:
    """Return the ARN of an Auto Scaling group; `name` may be a pattern."""
    return scope.own("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{name}")


def eks_cluster(scope: Scope) -> str:
    """Return the ARN of the cluster."""
    return scope.own("eks", f"cluster/{scope.cluster}")


def node_groups(scope: Scope) -> str:
    """Return the ARN pattern of the cluster's node groups."""
    return scope.own("eks", f"nodegroup/{scope.cluster}/*/*")


def any_ec2(scope: Scope) -> str:
    """Return the ARN pattern of every EC2 resource of the account and region."""
    return scope.own("ec2", "*/*")


def cluster_tag(scope: Scope) -> str:
    """Return the tag key of Kubernetes' cloud provider for the cluster."""
    return f"kubernetes.io/cluster/{scope.cluster}"


def resource_tagged(scope: Scope) -> Condition:
    """Return the condition that a resource is tagged with CAST AI's id of the cluster.

    Tag keys are case-insensitive and values are not, so a key that contains the cluster's name
    would not distinguish `Prod` from `prod`.
    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html
    """
    return {"StringEquals": {f"aws:ResourceTag/{ID_TAG}": [scope.cluster_id]}}


def request_tagged(scope: Scope) -> Condition:
    """Return the condition that a request sets CAST AI's id of the cluster as a tag."""
    return {"StringEquals": {f"aws:RequestTag/{ID_TAG}": [scope.cluster_id]}}


def no_other_tags(scope: Scope) -> Condition:
    """Return the condition that `cast:cluster-id`, if the request sets it, is this cluster's id."""
    return {"StringEqualsIfExists": {f"aws:RequestTag/{ID_TAG}": [scope.cluster_id]}}
