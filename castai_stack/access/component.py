"""Who of AWS is who inside the cluster: entries of aws-auth, or EKS access entries."""

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from castai_stack import arn as castai_stack_arn
from castai_stack.access import rbac
from castai_stack.access import settings as access_settings
from castai_stack.access.entries import NODE_GROUPS, NODE_USERNAME, Kind
from castai_stack.access.resources import AccessEntryPlace, AwsAuthEntry
from castai_stack.kube.object import KubernetesObject

_Said = tuple[pulumi.Input[str], str, Sequence[str]]


class MappedRole(TypedDict):
    """Another role that gets into the cluster with groups of its own."""

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
    """Plain on purpose: it decides what is made."""
    node_role_arn: pulumi.Input[str]
    node_role_unique_id: pulumi.Input[str]
    """IAM's id of the role; an access entry is bound to it, not to the name."""
    user_arn: NotRequired[pulumi.Input[str]]
    """CAST AI's user; absent in role mode, in which CAST AI works through its own controller."""
    user_unique_id: NotRequired[pulumi.Input[str]]
    user_name: NotRequired[str]
    """The user's name inside the cluster; goes with `user_arn`."""
    roles: NotRequired[Mapping[str, MappedRole]]
    """More roles, by the suffix of their resources."""
    settings: access_settings.Access
    tags: Mapping[str, str]


class AwsAuthMapping(pulumi.ComponentResource):
    """The node role, and in user mode the user, mapped into the cluster.

    Each principal is a resource of its own, so that the user's goes when the user goes. An entry of
    the map and an access entry are resources of different types: when the mode changes, the new
    ones are made first, and the old ones go at the end of the same run.
    """

    ready: pulumi.Output[bool]
    """True once everybody is mapped."""

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
            made = self._map_entries(rights)
        else:
            made = self._access_entries(rights)
        self.ready = pulumi.Output.all(*[resource.id for resource in made]).apply(lambda _: True)
        self.register_outputs({"ready": self.ready})

    def _rights(self) -> list[pulumi.Resource]:
        """Make the narrower role, where the user gets groups of its own."""
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
        node_role: _Said = (args["node_role_arn"], NODE_USERNAME, NODE_GROUPS)
        made = [self._map_entry("node-role", "role", node_role, [])]
        for suffix, role in args.get("roles", {}).items():
            said = (role["arn"], role["username"], role["groups"])
            made.append(self._map_entry(suffix, "role", said, []))
        if "user_arn" in args:
            groups = args["settings"].user_groups
            user: _Said = (args["user_arn"], args.get("user_name", ""), groups)
            made.append(self._map_entry("user", "user", user, rights))
        return made

    def _map_entry(
        self, suffix: str, kind: Kind, said: _Said, needs: list[pulumi.Resource]
    ) -> pulumi.CustomResource:
        principal_arn, username, groups = said
        chosen = self._args["settings"]
        return AwsAuthEntry(
            f"{self._name}-{suffix}",
            kind=kind,
            arn=principal_arn,
            username=username,
            groups=groups,
            adopt=chosen.adopt,
            opts=self._after(needs),
        )

    def _access_entries(self, rights: list[pulumi.Resource]) -> list[pulumi.CustomResource]:
        args = self._args
        made: list[pulumi.CustomResource] = [
            self._access_entry(
                "node-role", args["node_role_arn"], args["node_role_unique_id"], "EC2_LINUX", []
            )
        ]
        for suffix, role in args.get("roles", {}).items():
            made.append(
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
            made += self._user_access(args["user_arn"], rights)
        return made

    def _user_access(
        self, user_arn: pulumi.Input[str], rights: list[pulumi.Resource]
    ) -> list[pulumi.CustomResource]:
        """Admit the user: EKS refuses `system:` groups there, and has a policy in their place."""
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
        policy = aws.eks.AccessPolicyAssociation(
            f"{self._name}-user-cluster-admin",
            cluster_name=args["cluster_name"],
            principal_arn=entry.principal_arn,
            policy_arn=castai_stack_arn.cluster_access_policy(
                args["partition"], "AmazonEKSClusterAdminPolicy"
            ),
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
    ) -> aws.eks.AccessEntry:
        args = self._args
        place = AccessEntryPlace(
            f"{self._name}-{suffix}-place",
            cluster_name=args["cluster_name"],
            region=args["region"],
            principal_arn=principal_arn,
            adopt=args["settings"].adopt,
            opts=self._child,
        )
        return aws.eks.AccessEntry(
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
        """Replace with the principal: an entry for its ARN admits nobody made again by that name.

        Source: https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html
        """
        return pulumi.ResourceOptions.merge(
            self._after(needs),
            pulumi.ResourceOptions(
                # One entry per ARN: the old one must go before the new one can come.
                delete_before_replace=True,
                replacement_trigger=unique_id,
            ),
        )
