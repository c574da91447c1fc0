"""CAST AI's access to AWS for one cluster, and the role of the nodes that it starts."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

import pulumi
import pulumi_aws as aws

from castai_stack import arn, component, naming
from castai_stack.iam import castai_policy, feature_policy, restricted_policy, scope
from castai_stack.iam import document as iam_document
from castai_stack.iam import node_role as iam_node_role
from castai_stack.iam.settings import Iam


class CastIamArgs(TypedDict):
    """Inputs of CastIamComponent."""

    partition: str
    region: str
    account_id: str
    cluster_name: str
    """Plain on purpose: it decides names and tag keys."""
    cluster_id: pulumi.Input[str]
    """CAST AI's id of the cluster, part of the node role's name and of the conditions."""
    vpc_id: str
    vpc_account_id: str
    """Owner of the VPC: this account, or the one that shares it."""
    names: naming.Names
    mode: Literal["user", "role"]
    flavour: Literal["scoped", "documented"]
    castai_principal_arn: pulumi.Input[str]
    """CAST AI's own user, trusted in role mode; read in that mode only."""
    external_id: pulumi.Input[str]
    """What CAST AI sends when it assumes the role; read in that mode only."""
    settings: Iam
    tags: Mapping[str, str]


class CastIamComponent(pulumi.ComponentResource):
    """A user, or a role that CAST AI assumes, with policies for one cluster; and the node role."""

    principal_arn: pulumi.Output[str]
    """ARN of the user or role, known before its policies are attached."""
    ready_principal_arn: pulumi.Output[str]
    """The same, known only once every policy is attached: what CAST AI is told."""
    principal_name: pulumi.Output[str]
    principal_unique_id: pulumi.Output[str]
    node_role_arn: pulumi.Output[str]
    node_role_unique_id: pulumi.Output[str]
    """IAM's id of the role; an access entry is bound to it, not to the name."""
    instance_profile_arn: pulumi.Output[str]
    ready: list[pulumi.Resource]
    """Everything that CAST AI needs; the hand-over depends on each, so that destroy spares them."""

    def __init__(
        self, name: str, args: CastIamArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("castai-stack:index:CastIamComponent", name, None, opts)
        self._name = name
        self._args = args
        self._child = component.child_options(self, opts)
        boundary = self._node_boundary()
        policies = self._policies()
        attach = self._user if args["mode"] == "user" else self._role
        principal, attachments = attach(policies)
        node_role, profile, node_parts = self._node(boundary)

        self.principal_arn = principal.arn
        self.principal_name = principal.name
        self.principal_unique_id = principal.unique_id
        self.ready_principal_arn = pulumi.Output.all(
            principal.arn, *[part.id for part in attachments]
        ).apply(lambda known: str(known[0]))
        self.node_role_arn = node_role.arn
        self.node_role_unique_id = node_role.unique_id
        self.instance_profile_arn = pulumi.Output.all(
            profile.arn, *[part.id for part in node_parts]
        ).apply(lambda known: str(known[0]))
        self.ready = [
            *([boundary] if boundary else []),
            *policies.values(),
            principal,
            *attachments,
            node_role,
            *node_parts,
            profile,
        ]
        self.register_outputs(
            {
                "principal_arn": self.ready_principal_arn,
                "node_role_arn": self.node_role_arn,
                "instance_profile_arn": self.instance_profile_arn,
            }
        )

    def _scope(self, cluster_id: str) -> scope.Scope:
        args = self._args
        return scope.Scope(
            partition=args["partition"],
            region=args["region"],
            account_id=args["account_id"],
            cluster=args["cluster_name"],
            cluster_id=cluster_id,
            vpc_id=args["vpc_id"],
            vpc_account_id=args["vpc_account_id"],
            names=args["names"],
            path=args["settings"].path,
        )

    def _document(
        self, build: Callable[[scope.Scope], iam_document.PolicyDocument | None]
    ) -> pulumi.Output[str]:
        """Render a document once the cluster's id is known."""
        return pulumi.Output.from_input(self._args["cluster_id"]).apply(
            lambda known: json.dumps(build(self._scope(known)), separators=(",", ":"))
        )

    def _managed(self, suffix: str, name: str, what: str, document: Any) -> aws.iam.Policy:
        return aws.iam.Policy(
            f"{self._name}-{suffix}",
            name=name,
            path=self._args["settings"].path,
            description=f"{what} of EKS cluster {self._args['cluster_name']}",
            policy=document,
            tags=self._args["tags"],
            opts=self._child,
        )

    def _node_boundary(self) -> aws.iam.Policy | None:
        args = self._args
        if not iam_node_role.has_node_boundary(args["flavour"], args["settings"]):
            return None
        return self._managed(
            "node-boundary",
            args["names"].node_boundary,
            "Limits the nodes that CAST AI starts",
            self._document(lambda s: iam_node_role.node_boundary(s, args["settings"])),
        )

    def _policies(self) -> dict[str, aws.iam.Policy]:
        """Customer-managed policies by logical suffix; inline ones belong to the role alone.

        A user's inline policies share 2,048 characters, which the cluster-scoped one exceeds.
        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
        """
        args = self._args
        # Another name is another resource here, so that the new policy is attached before the old
        # one goes: what has a chosen name, and attachments, are replaced by deleting first.
        own = args["names"].castai_policy != naming.SHARED_POLICY
        suffix = "castai-policy" if own else "castai-policy-documented"
        made = {
            suffix: self._managed(
                suffix,
                args["names"].castai_policy,
                "Lets CAST AI manage nodes",
                self._document(
                    lambda s: castai_policy.castai_policy(s, args["flavour"], args["settings"])
                ),
            )
        }
        if feature_policy.has_features(args["flavour"], args["settings"]):
            made["feature-policy"] = self._managed(
                "feature-policy",
                args["names"].feature_policy,
                "Lets CAST AI use what is switched on for it",
                self._document(
                    lambda s: feature_policy.feature_policy(s, args["flavour"], args["settings"])
                ),
            )
        if args["mode"] == "user":
            made["restricted-policy"] = self._managed(
                "restricted-policy",
                args["names"].restricted_policy,
                "Lets CAST AI act within the VPC and the tags",
                self._restricted(),
            )
        return made

    def _restricted(self) -> pulumi.Output[str]:
        args = self._args
        return self._document(
            lambda s: restricted_policy.restricted_policy(s, args["flavour"], args["settings"])
        )

    def _user(
        self, policies: Mapping[str, aws.iam.Policy]
    ) -> tuple[aws.iam.User, list[pulumi.CustomResource]]:
        args = self._args
        user = aws.iam.User(
            f"{self._name}-user",
            name=args["names"].principal,
            path=args["settings"].path,
            permissions_boundary=args["settings"].permissions_boundary_arn,
            # A key made by hand must not keep the user alive after a destroy.
            force_destroy=True,
            tags=args["tags"],
            opts=self._child,
        )
        attachments: list[pulumi.CustomResource] = [
            aws.iam.UserPolicyAttachment(
                f"{self._name}-user-{suffix}", user=user.name, policy_arn=arn_, opts=self._child
            )
            for suffix, arn_ in self._attached(policies)
        ]
        return user, attachments

    def _role(
        self, policies: Mapping[str, aws.iam.Policy]
    ) -> tuple[aws.iam.Role, list[pulumi.CustomResource]]:
        args = self._args
        role = aws.iam.Role(
            f"{self._name}-role",
            name=args["names"].principal,
            path=args["settings"].path,
            description=f"Assumed by CAST AI to manage EKS cluster {args['cluster_name']}",
            permissions_boundary=args["settings"].permissions_boundary_arn,
            assume_role_policy=pulumi.Output.all(
                args["castai_principal_arn"], args["external_id"]
            ).apply(lambda known: json.dumps(castai_policy.principal_trust(known[0], known[1]))),
            tags=args["tags"],
            opts=self._child,
        )
        attachments: list[pulumi.CustomResource] = [
            aws.iam.RolePolicyAttachment(
                f"{self._name}-role-{suffix}", role=role.name, policy_arn=arn_, opts=self._child
            )
            for suffix, arn_ in self._attached(policies)
        ]
        attachments.append(
            aws.iam.RolePolicy(
                f"{self._name}-role-restricted",
                name="CastEKSRestrictedAccess",
                role=role.name,
                policy=self._restricted(),
                opts=self._child,
            )
        )
        return role, attachments

    def _attached(
        self, policies: Mapping[str, aws.iam.Policy]
    ) -> list[tuple[str, pulumi.Input[str]]]:
        partition = self._args["partition"]
        return [
            *((p, arn.managed_policy(partition, p)) for p in castai_policy.PRINCIPAL_MANAGED),
            *((suffix, policy.arn) for suffix, policy in policies.items()),
        ]

    def _node(
        self, boundary: aws.iam.Policy | None
    ) -> tuple[aws.iam.Role, aws.iam.InstanceProfile, list[pulumi.CustomResource]]:
        args = self._args
        cluster, partition = args["cluster_name"], args["partition"]
        # CAST AI looks both up by this exact name.
        name = pulumi.Output.from_input(args["cluster_id"]).apply(
            lambda known: naming.node_role(cluster, known)
        )
        role = aws.iam.Role(
            f"{self._name}-node-role",
            name=name,
            # IAM refuses to delete a boundary in use. Taken from the boundary, the path makes the
            # role go first when another path replaces both; a boundary that comes or goes does not.
            path=boundary.path if boundary else args["settings"].path,
            description="EKS node instance role used by CAST AI",
            permissions_boundary=(
                boundary.arn if boundary else args["settings"].permissions_boundary_arn
            ),
            assume_role_policy=json.dumps(iam_node_role.node_trust(partition)),
            tags=args["tags"],
            opts=self._child,
        )
        attachments: list[pulumi.CustomResource] = [
            aws.iam.RolePolicyAttachment(
                f"{self._name}-node-{policy}",
                role=role.name,
                policy_arn=arn.managed_policy(partition, policy),
                opts=self._child,
            )
            for policy in iam_node_role.NODE_MANAGED
        ]
        if args["settings"].ipv6:
            attachments.append(
                aws.iam.RolePolicy(
                    f"{self._name}-node-inline",
                    name="CastEC2AssignIPv6Policy",
                    role=role.name,
                    policy=self._document(lambda s: iam_node_role.node_inline(s, args["settings"])),
                    opts=self._child,
                )
            )
        profile = aws.iam.InstanceProfile(
            f"{self._name}-instance-profile",
            name=name,
            path=args["settings"].path,
            role=role.name,
            tags=args["tags"],
            opts=self._child,
        )
        return role, profile, attachments
