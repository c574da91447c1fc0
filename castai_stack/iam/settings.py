"""Settings of the IAM objects."""

from typing import Literal

from castai_stack.fields import (
    AutoScalingGroupName,
    CapacityReservationId,
    IamPath,
    KeyArn,
    PolicyArn,
    Section,
    SecurityGroupId,
    SubnetId,
)


class Iam(Section):
    """Path and boundary of principals and roles, and the switches of the `scoped` policies.

    Each `manage…` switch is a bullet of CAST AI's page; docs/permissions.md lists its statements.
    The other switches widen or narrow the policies; those that widen are off by default.
    """

    path: IamPath = "/"
    """IAM path of every user, role, policy and profile."""
    permissions_boundary_arn: PolicyArn | None = None
    """Boundary of every principal and role; replaces the boundaries of this program."""
    principal_policy_arns: list[PolicyArn] = []
    """Further managed policies on CAST AI's user or role, such as those of another installer."""
    node_policy_arns: list[PolicyArn] = []
    """Further managed policies on the node role."""
    node_boundary: bool = True
    """Boundary on the node role: limits its three AWS-managed policies to this VPC."""
    node_interface_tags: bool = False
    """Node boundary: only interfaces tagged `cluster.k8s.amazonaws.com/name=<cluster>`."""
    manage_node_role: bool = True
    """CAST AI may create and delete the node role and its profile, always with the boundary."""
    manage_security_groups: bool = True
    """CAST AI may create security groups in the VPC, and change those that it created."""
    manage_key_pairs: bool = True
    """CAST AI may create and import key pairs, and delete the pairs that it created."""
    manage_node_groups: bool = True
    """CAST AI may update and delete the cluster's EKS node groups."""
    manage_lambda: bool = True
    """CAST AI may create, update and delete the Spot function and its rules."""
    original_nodes: Literal["by-eks-name", "by-cluster-tag", "none"] = "by-eks-name"
    """Instances launched by others that CAST AI may stop, start, terminate and tag.

    `by-eks-name`: those with the tag `aws:eks:cluster-name`, which only EKS can write.
    `by-cluster-tag`: also those with the tag `kubernetes.io/cluster/<cluster>`, which clusters
    whose names differ in case only have in common.
    """
    auto_scaling_group_names: list[AutoScalingGroupName] = []
    """Auto Scaling groups of self-managed nodes; those of EKS node groups need no entry."""
    subnet_ids: list[SubnetId] = []
    """Narrows launches from the whole VPC to these subnets."""
    security_group_ids: list[SecurityGroupId] = []
    """Narrows launches from the VPC's security groups to these and those that CAST AI created."""
    create_node_groups: bool = False
    """Lets CAST AI create EKS node groups and launch templates."""
    capacity_reservation_ids: list[CapacityReservationId] = []
    """Capacity reservations that launches may use."""
    service_linked_roles: bool = False
    """Lets CAST AI create the account's service-linked roles for Spot and node groups."""
    ipv6: bool = False
    """Nodes may assign IPv6 addresses to interfaces of the VPC."""
    kms_key_arns: list[KeyArn] = []
    """Customer-managed keys that encrypt the nodes' volumes."""
