"""Mapping of IAM principals to Kubernetes users and groups, by aws-auth or access entries."""

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

import pulumi

from castai_stack import aws_resources as aws
from castai_stack.access import rbac
from castai_stack.access import settings as access_settings
from castai_stack.access.entries import NODE_GROUPS, NODE_USERNAME, Kind
from castai_stack.access.resources import AccessEntryPlace, AwsAuthEntry
from castai_stack.arn import cluster_access_policy
from castai_stack.kube.object import KubernetesObject

_Principal = tuple[pulumi.Input[str], str, Sequence[str]]
"""ARN of a principal, and its username and groups in the cluster."""


class MappedRole(TypedDict):
    """A further role, with the groups that it has in the cluster."""

    arn: pulumi.Input[str]
    unique_id: pulumi.Input[str]
    """IAM's id of the role."""
    username: str
    groups: Sequence[str]


class AwsAuthMappingArgs(TypedDict):
    """Inputs of AwsAuthMapping."""

    cluster_name: str
    region: str
    partition: str
    mode: Literal["aws-auth", "access-entries"]
    """A plain value, because it decides which resources there are."""
    node_role_arn: pulumi.Input[str]
    node_role_unique_id: pulumi.Input[str]
    """IAM's id of the role, to which EKS binds an access entry."""
    user_arn: NotRequired[pulumi.Input[str]]
    """CAST AI's user; absent in role mode, where CAST AI's controller works in the cluster."""
    user_unique_id: NotRequired[pulumi.Input[str]]
    user_name: NotRequired[str]
    """Username in the cluster; required with `user_arn`."""
    roles: NotRequired[Mapping[str, MappedRole]]
    """Further roles, by the suffix of their resources' names."""
    settings: access_settings.Access
    tags: Mapping[str, str]


class AwsAuthMapping(pulumi.ComponentResource):
    """Maps the node role, further roles and, in user mode, the user into the cluster.

    Each principal has a resource of its own, which is deleted with it. Entries of aws-auth and
    access entries are different resource types. When the mode changes, Pulumi therefore creates the
    new ones first and deletes the old ones at the end of the run.
    """

    ready: pulumi.Output[bool]

    def __init__(
        self, name: str, args: AwsAuthMappingArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("castai-stack:index:AwsAuthMapping", name, None, opts)
        self._name = name
        self._args = args
        self._child = pulumi.ResourceOptions(
            parent=self, depends_on=opts.depends_on if opts else None
        )
        rights = self._rights()
        if args["mode"] == "aws-auth":
            mappings = self._map_entries(rights)
        else:
            mappings = self._access_entries(rights)
        self.ready = pulumi.Output.all(*[resource.id for resource in mappings]).apply(
            lambda _: True
        )
        self.register_outputs({"ready": self.ready})

    def _rights(self) -> list[pulumi.Resource]:
        """Return cluster role and binding of the user's own groups; none for `system:masters`."""
        groups = self._args["settings"].user_groups
        if "user_arn" not in self._args or not rbac.is_narrower(groups):
            return []
        role = KubernetesObject(f"{self._name}-user-cluster-role", rbac.cluster_role(), self._child)
        binding = KubernetesObject(
            f"{self._name}-user-cluster-role-binding",
            rbac.cluster_role_binding(groups),
            self._after([role]),
        )
        return [role, binding]

    def _map_entries(self, rights: list[pulumi.Resource]) -> list[pulumi.CustomResource]:
        args = self._args
        node_role: _Principal = (args["node_role_arn"], NODE_USERNAME, NODE_GROUPS)
        mapped = [self._map_entry("node-role", "role", node_role, [])]
        for suffix, role in args.get("roles", {}).items():
            principal = (role["arn"], role["username"], role["groups"])
            mapped.append(self._map_entry(suffix, "role", principal, []))
        if "user_arn" in args:
            groups = args["settings"].user_groups
            user: _Principal = (args["user_arn"], args.get("user_name", ""), groups)
            mapped.append(self._map_entry("user", "user", user, rights))
        return mapped

    def _map_entry(
        self, suffix: str, kind: Kind, principal: _Principal, needs: list[pulumi.Resource]
    ) -> pulumi.CustomResource:
        principal_arn, username, groups = principal
        return AwsAuthEntry(
            f"{self._name}-{suffix}",
            kind=kind,
            arn=principal_arn,
            username=username,
            groups=groups,
            adopt=self._args["settings"].adopt,
            opts=self._after(needs),
        )

    def _access_entries(self, rights: list[pulumi.Resource]) -> list[pulumi.CustomResource]:
        args = self._args
        mapped: list[pulumi.CustomResource] = [
            self._access_entry(
                "node-role", args["node_role_arn"], args["node_role_unique_id"], "EC2_LINUX", []
            )
        ]
        for suffix, role in args.get("roles", {}).items():
            mapped.append(
                self._access_entry(
                    suffix,
                    role["arn"],
                    role["unique_id"],
                    "STANDARD",
                    [],
                    groups=role["groups"],
                    username=role["username"],
                )
            )
        if "user_arn" in args:
            mapped += self._user_access(args["user_arn"], rights)
        return mapped

    def _user_access(
        self, user_arn: pulumi.Input[str], rights: list[pulumi.Resource]
    ) -> list[pulumi.CustomResource]:
        """Return the user's access entry, and an access policy instead of `system:masters`.

        EKS refuses groups that begin with `system:` in an access entry.
        """
        args = self._args
        groups = args["settings"].user_groups
        narrower = rbac.is_narrower(groups)
        unique_id = args.get("user_unique_id")
        entry = self._access_entry(
            "user",
            user_arn,
            unique_id,
            "STANDARD",
            rights,
            groups=groups if narrower else None,
            username=args.get("user_name"),
        )
        if narrower:
            return [entry]
        policy = aws.AccessPolicyAssociation(
            f"{self._name}-user-cluster-admin",
            cluster_name=args["cluster_name"],
            principal_arn=entry.principal_arn,
            policy_arn=cluster_access_policy(args["partition"], "AmazonEKSClusterAdminPolicy"),
            access_scope={"type": "cluster"},
            opts=self._bound([entry], unique_id),
        )
        return [entry, policy]

    def _access_entry(
        self,
        suffix: str,
        principal_arn: pulumi.Input[str],
        unique_id: pulumi.Input[str] | None,
        kind: Literal["EC2_LINUX", "STANDARD"],
        needs: list[pulumi.Resource],
        *,
        groups: Sequence[str] | None = None,
        username: str | None = None,
    ) -> aws.AccessEntry:
        args = self._args
        place = AccessEntryPlace(
            f"{self._name}-{suffix}-place",
            cluster_name=args["cluster_name"],
            region=args["region"],
            principal_arn=principal_arn,
            adopt=args["settings"].adopt,
            opts=self._child,
        )
        return aws.AccessEntry(
            f"{self._name}-{suffix}-access",
            cluster_name=args["cluster_name"],
            principal_arn=principal_arn,
            type=kind,
            kubernetes_groups=list(groups) if groups else None,
            user_name=username,
            tags=args["tags"],
            opts=self._bound([place, *needs], unique_id),
        )

    def _after(self, needs: list[pulumi.Resource]) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=needs))

    def _bound(
        self, needs: list[pulumi.Resource], unique_id: pulumi.Input[str] | None
    ) -> pulumi.ResourceOptions:
        """Return options that replace an access entry together with its principal.

        EKS binds an entry to the id of the principal, so it does not admit a new one of that ARN.

        Source: https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html
        """
        return pulumi.ResourceOptions.merge(
            self._after(needs),
            pulumi.ResourceOptions(
                # EKS allows one entry per ARN.
                delete_before_replace=True,
                replacement_trigger=unique_id,
            ),
        )
