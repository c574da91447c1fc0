"""Trust, permission and boundary documents as data; pure.

Two flavours. `documented` is the statement set as CAST AI publishes it, for the time of its page
and for today: castai/terraform-provider-castai `castai/policies/{iam,user}-policy.json`, its
history, and the scripts formerly in castai/docs. `scoped` grants every bullet of the page within
one cluster only; docs/permissions.md says statement by statement what that takes.

Which condition keys an action knows comes from the service authorization reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from dataclasses import dataclass, field

from castai_stack import arn, naming
from castai_stack.iam.document import Condition

ID_TAG = "cast:cluster-id"
# EKS writes it on instances that take part in a cluster, however they were launched:
# https://docs.aws.amazon.com/eks/latest/userguide/eks-using-tags.html
EKS_INSTANCE_TAG = "aws:eks:cluster-name"
# EKS writes it on the auto-scaling groups of its node groups; nothing granted here changes it.
EKS_GROUP_TAG = "eks:cluster-name"


@dataclass(frozen=True, slots=True)
class Scope:
    """The one cluster that the documents are about."""

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
        """Name of the node role and of its instance profile."""
        return naming.node_role(self.cluster, self.cluster_id)

    def iam(self, kind: str, name: str) -> str:
        """ARN of a role, policy or instance profile under the path."""
        return arn.iam(self.partition, self.account_id, f"{kind}{self.path}{name}")

    def own(self, service: str, resource: str) -> str:
        """ARN of something in this region and account."""
        return arn.regional(self.partition, service, self.region, self.account_id, resource)

    def ec2(self, *kinds: str) -> list[str]:
        """ARNs of every EC2 object of these kinds in this region and account."""
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
        """The VPC as `ec2:Vpc` may spell it.

        Of a shared VPC both accounts' spellings, since AWS does not say which one a resource of
        the participant carries; the id is the same, so nothing else matches.
        """
        owners = sorted({self.vpc_account_id or self.account_id, self.account_id})
        return [
            arn.regional(self.partition, "ec2", self.region, owner, f"vpc/{self.vpc_id}")
            for owner in owners
        ]

    @property
    def subnet_owner(self) -> str:
        """Account whose number stands in the subnets' ARNs."""
        return self.vpc_account_id or self.account_id


def auto_scaling_group(scope: Scope, name: str) -> str:
    """Return the ARN of an Auto Scaling group; `name` may be a pattern."""
    return scope.own("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{name}")


def eks_cluster(scope: Scope) -> str:
    """Return the ARN of the cluster."""
    return scope.own("eks", f"cluster/{scope.cluster}")


def groups(scope: Scope) -> str:
    """Return the ARN pattern of the cluster's node groups."""
    return scope.own("eks", f"nodegroup/{scope.cluster}/*/*")


def any_ec2(scope: Scope) -> str:
    """Return the ARN pattern of every EC2 resource of the account and region."""
    return scope.own("ec2", "*/*")


def cluster_tag(scope: Scope) -> str:
    """Return the key of the tag that Kubernetes' cloud provider sets."""
    return f"kubernetes.io/cluster/{scope.cluster}"


def resource_tagged(scope: Scope) -> Condition:
    """Tag keys compare without case, values with it: only a value tells `Prod` from `prod`.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html
    """
    return {"StringEquals": {f"aws:ResourceTag/{ID_TAG}": [scope.cluster_id]}}


def request_tagged(scope: Scope) -> Condition:
    """Return the condition that a request tags with CAST AI's id of the cluster."""
    return {"StringEquals": {f"aws:RequestTag/{ID_TAG}": [scope.cluster_id]}}


def no_other_tags(scope: Scope) -> Condition:
    """Refuse marking anything as another cluster's: ours given away, or theirs claimed."""
    return {"StringEqualsIfExists": {f"aws:RequestTag/{ID_TAG}": [scope.cluster_id]}}
