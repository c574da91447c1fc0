"""Settings as typed dictionaries, for programs; `make readme` writes them from the models."""

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    IamOriginalNodes = Literal["by-eks-name", "by-cluster-tag", "none"]
else:  # Pulumi's analyzer takes enumerations and no literals.

    class IamOriginalNodes(StrEnum):
        """Values of `originalNodes`."""

        BY_EKS_NAME = "by-eks-name"
        BY_CLUSTER_TAG = "by-cluster-tag"
        NONE = "none"


class IamSettings(TypedDict, total=False):
    """Path and boundary of principals and roles, and the switches of the `scoped` policies.

    Each `manage…` switch is a bullet of CAST AI's page; docs/permissions.md lists its statements.
    The other switches widen or narrow the policies; those that widen are off by default.
    """

    path: str
    """IAM path of every user, role, policy and profile. Default: `/`."""
    permissions_boundary_arn: str
    """Boundary of every principal and role; replaces the boundaries of this program."""
    principal_policy_arns: list[str]
    """Further managed policies on CAST AI's user or role, such as those of another installer."""
    node_policy_arns: list[str]
    """Further managed policies on the node role."""
    node_boundary: bool
    """Boundary on the node role: limits its three AWS-managed policies to this VPC. Default:
    `true`.
    """
    node_interface_tags: bool
    """Node boundary: only interfaces tagged `cluster.k8s.amazonaws.com/name=<cluster>`. Default:
    `false`.
    """
    manage_node_role: bool
    """CAST AI may create and delete the node role and its profile, always with the boundary.
    Default: `true`.
    """
    manage_security_groups: bool
    """CAST AI may create security groups in the VPC, and change those that it created. Default:
    `true`.
    """
    manage_key_pairs: bool
    """CAST AI may create and import key pairs, and delete the pairs that it created. Default:
    `true`.
    """
    manage_node_groups: bool
    """CAST AI may update and delete the cluster's EKS node groups. Default: `true`."""
    manage_lambda: bool
    """CAST AI may create, update and delete the Spot function and its rules. Default: `true`."""
    original_nodes: IamOriginalNodes
    """Instances launched by others that CAST AI may stop, start, terminate and tag. `by-eks-name`:
    those with the tag `aws:eks:cluster-name`, which only EKS can write. `by-cluster-tag`: also
    those with the tag `kubernetes.io/cluster/<cluster>`, which clusters whose names differ in case
    only have in common. One of `by-eks-name`, `by-cluster-tag`, `none`. Default: `by-eks-name`.
    """
    auto_scaling_group_names: list[str]
    """Auto Scaling groups of self-managed nodes; those of EKS node groups need no entry."""
    subnet_ids: list[str]
    """Narrows launches from the whole VPC to these subnets."""
    security_group_ids: list[str]
    """Narrows launches from the VPC's security groups to these and those that CAST AI created."""
    create_node_groups: bool
    """Lets CAST AI create EKS node groups and launch templates. Default: `false`."""
    capacity_reservation_ids: list[str]
    """Capacity reservations that launches may use."""
    service_linked_roles: bool
    """Lets CAST AI create the account's service-linked roles for Spot and node groups. Default:
    `false`.
    """
    ipv6: bool
    """Nodes may assign IPv6 addresses to interfaces of the VPC. Default: `false`."""
    kms_key_arns: list[str]
    """Customer-managed keys that encrypt the nodes' volumes."""
