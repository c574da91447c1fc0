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
    """What every principal and role carries, and the switches of the `scoped` policies.

    What each `manage…` switch grants stands in `docs/permissions.md`; all of them are bullets of
    CAST AI's page. The others widen or narrow; those that widen are off.
    """

    path: IamPath = "/"
    """IAM path of every user, role, policy and profile."""
    permissions_boundary_arn: PolicyArn | None = None
    """Boundary of every principal and role; it takes the place of the program's own ones."""
    node_boundary: bool = True
    """Own boundary on the node role: the three AWS-managed policies, but within this VPC."""
    node_interface_tags: bool = False
    """Node boundary: only interfaces tagged `cluster.k8s.amazonaws.com/name=<cluster>`."""
    manage_node_role: bool = True
    """CAST AI may create and delete the node role and its profile, always with the boundary."""
    manage_security_groups: bool = True
    """CAST AI may create security groups in the VPC, and change those that it created."""
    manage_key_pairs: bool = True
    """CAST AI may create and import key pairs, and delete those."""
    manage_node_groups: bool = True
    """CAST AI may update and delete the cluster's EKS node groups."""
    manage_lambda: bool = True
    """CAST AI may create, update and delete the Spot function and its rules."""
    original_nodes: Literal["by-eks-name", "by-cluster-tag", "none"] = "by-eks-name"
    """Which instances that CAST AI did not launch it may stop, start, terminate and tag.

    `by-eks-name`: tag `aws:eks:cluster-name`, which EKS writes and nobody can forge.
    `by-cluster-tag`: also tag `kubernetes.io/cluster/<cluster>`, shared by clusters whose names
    differ in case only.
    """
    auto_scaling_group_names: list[AutoScalingGroupName] = []
    """Groups of self-managed nodes; those of EKS node groups are known by their tag."""
    subnet_ids: list[SubnetId] = []
    """Narrows launches from the whole VPC to these subnets."""
    security_group_ids: list[SecurityGroupId] = []
    """Narrows launches from the VPC's security groups to these and those that CAST AI made."""
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
