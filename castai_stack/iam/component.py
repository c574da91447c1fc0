"""CAST AI's principal with its policies for one cluster, and the role of the nodes it launches."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict

import pulumi

from castai_stack import arn, component, naming
from castai_stack import aws_resources as aws
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
    """A plain value, because names and tag keys depend on it."""
    cluster_id: pulumi.Input[str]
    """CAST AI's id of the cluster, part of the node role's name and of the conditions."""
    vpc_id: pulumi.Input[str]
    vpc_account_id: str
    """Account that owns the VPC; another one than `account_id` if the VPC is shared."""
    names: naming.Names
    mode: Literal["user", "role"]
    flavour: Literal["scoped", "documented"]
    castai_principal_arn: pulumi.Input[str]
    """ARN of CAST AI's own user, which the role trusts; unused in user mode."""
    external_id: pulumi.Input[str]
    """External id that CAST AI sends when it assumes the role; unused in user mode."""
    settings: Iam
    tags: Mapping[str, str]


class CastIamComponent(pulumi.ComponentResource):
    """CAST AI's user, or the role that it assumes, with its policies; and the node role."""

    principal_arn: pulumi.Output[str]
    ready_principal_arn: pulumi.Output[str]
    principal_name: pulumi.Output[str]
    principal_unique_id: pulumi.Output[str]
    node_role_arn: pulumi.Output[str]
    node_role_unique_id: pulumi.Output[str]
    instance_profile_arn: pulumi.Output[str]

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
        self.ready_principal_arn = _known_with(principal.arn, attachments)
        self.node_role_arn = node_role.arn
        self.node_role_unique_id = node_role.unique_id
        self.instance_profile_arn = _known_with(profile.arn, node_parts)
        self._ready: list[pulumi.Resource] = [
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

    @property
    def ready(self) -> list[pulumi.Resource]:
        """All children. The hand-over depends on them, so that a destroy disconnects first."""
        return self._ready

    def _scope(self, cluster_id: str, vpc_id: str) -> scope.Scope:
        args = self._args
        return scope.Scope(
            partition=args["partition"],
            region=args["region"],
            account_id=args["account_id"],
            cluster=args["cluster_name"],
            cluster_id=cluster_id,
            vpc_id=vpc_id,
            vpc_account_id=args["vpc_account_id"],
            names=args["names"],
            path=args["settings"].path,
        )

    def _document(
        self, build: Callable[[scope.Scope], iam_document.PolicyDocument | None]
    ) -> pulumi.Output[str]:
        """Return a document as text, known when the ids of cluster and VPC are."""
        return pulumi.Output.all(self._args["cluster_id"], self._args["vpc_id"]).apply(
            lambda ids: json.dumps(build(self._scope(*ids)), separators=(",", ":"))
        )

    def _managed(
        self,
        suffix: str,
        name: str,
        purpose: str,
        document: pulumi.Output[str],
        *predecessors: pulumi.Resource,
    ) -> aws.Policy:
        return aws.Policy(
            f"{self._name}-{suffix}",
            name=name,
            path=self._args["settings"].path,
            description=f"{purpose} of EKS cluster {self._args['cluster_name']}",
            policy=document,
            tags=self._args["tags"],
            opts=component.after(self._child, *predecessors),
        )

    def _node_boundary(self) -> aws.Policy | None:
        args = self._args
        if not iam_node_role.has_node_boundary(args["flavour"], args["settings"]):
            return None
        return self._managed(
            "node-boundary",
            args["names"].node_boundary,
            "Limits the nodes that CAST AI starts",
            self._document(lambda s: iam_node_role.node_boundary(s, args["settings"])),
        )

    def _policies(self) -> dict[str, aws.Policy]:
        """Return the customer-managed policies by logical suffix.

        In role mode CastEKSRestrictedAccess is inline. A user's inline policies share 2,048
        characters, which it exceeds, so it is managed in user mode.
        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
        """
        args = self._args
        # Each name is a resource of its own, so that the new policy is attached before the old one
        # is deleted. A replacement would delete the old policy and its attachment first.
        suffixed = args["names"].castai_policy != naming.SHARED_POLICY
        suffix = "castai-policy" if suffixed else "castai-policy-documented"
        policies = {
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
            policies["feature-policy"] = self._managed(
                "feature-policy",
                args["names"].feature_policy,
                "Lets CAST AI use what is switched on for it",
                self._document(
                    lambda s: feature_policy.feature_policy(s, args["flavour"], args["settings"])
                ),
                # One sequence with the policy before, see the path of the role.
                policies[suffix],
            )
        if args["mode"] == "user":
            policies["restricted-policy"] = self._managed(
                "restricted-policy",
                args["names"].restricted_policy,
                "Lets CAST AI act within the VPC and the tags",
                self._restricted(),
            )
        return policies

    def _restricted(self) -> pulumi.Output[str]:
        args = self._args
        return self._document(
            lambda s: restricted_policy.restricted_policy(s, args["flavour"], args["settings"])
        )

    def _user(
        self, policies: Mapping[str, aws.Policy]
    ) -> tuple[aws.User, list[pulumi.CustomResource]]:
        args = self._args
        user = aws.User(
            f"{self._name}-user",
            name=args["names"].principal,
            path=args["settings"].path,
            permissions_boundary=args["settings"].permissions_boundary_arn,
            # IAM refuses to delete a user with keys, and a person may have created one.
            force_destroy=True,
            tags=args["tags"],
            # AWS would rename the user, and its keys could not be deleted by the name before.
            opts=pulumi.ResourceOptions.merge(
                self._child, pulumi.ResourceOptions(replace_on_changes=["name"])
            ),
        )
        attachments: list[pulumi.CustomResource] = [
            aws.UserPolicyAttachment(
                f"{self._name}-user-{suffix}",
                user=user.name,
                policy_arn=policy_arn,
                opts=self._child,
            )
            for suffix, policy_arn in self._attached(policies)
        ]
        return user, attachments

    def _role(
        self, policies: Mapping[str, aws.Policy]
    ) -> tuple[aws.Role, list[pulumi.CustomResource]]:
        args = self._args
        role = aws.Role(
            f"{self._name}-role",
            name=args["names"].principal,
            # Another path replaces the role and its policies. Taken from the last policy, the path
            # makes the engine delete them in one sequence; side by side, it would delete a policy
            # while the role's own sequence has yet to detach it.
            path=list(policies.values())[-1].path,
            description=f"Assumed by CAST AI to manage EKS cluster {args['cluster_name']}",
            permissions_boundary=args["settings"].permissions_boundary_arn,
            assume_role_policy=pulumi.Output.all(
                args["castai_principal_arn"], args["external_id"]
            ).apply(lambda values: json.dumps(castai_policy.principal_trust(values[0], values[1]))),
            tags=args["tags"],
            opts=self._child,
        )
        attachments: list[pulumi.CustomResource] = [
            aws.RolePolicyAttachment(
                f"{self._name}-role-{suffix}",
                role=role.name,
                policy_arn=policy_arn,
                opts=self._child,
            )
            for suffix, policy_arn in self._attached(policies)
        ]
        attachments.append(
            aws.RolePolicy(
                f"{self._name}-role-restricted",
                name=args["names"].restricted_inline,
                role=role.name,
                policy=self._restricted(),
                opts=self._child,
            )
        )
        return role, attachments

    def _attached(self, policies: Mapping[str, aws.Policy]) -> list[tuple[str, pulumi.Input[str]]]:
        partition = self._args["partition"]
        return [
            *(
                (name, arn.managed_policy(partition, name))
                for name in castai_policy.PRINCIPAL_MANAGED
            ),
            *((suffix, policy.arn) for suffix, policy in policies.items()),
            *_further(self._args["settings"].principal_policy_arns),
        ]

    def _node(
        self, boundary: aws.Policy | None
    ) -> tuple[aws.Role, aws.InstanceProfile, list[pulumi.CustomResource]]:
        args = self._args
        cluster, partition = args["cluster_name"], args["partition"]
        # CAST AI looks up role and profile by these exact names, unless a stack gives others.
        # A given name is known in every preview.
        names, cluster_id = args["names"], pulumi.Output.from_input(args["cluster_id"])
        name = names.given.node_role or cluster_id.apply(
            lambda known: names.node_role(cluster, known)
        )
        profile_name = names.given.instance_profile or cluster_id.apply(
            lambda known: names.instance_profile(cluster, known)
        )
        role = aws.Role(
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
            aws.RolePolicyAttachment(
                f"{self._name}-node-{policy}",
                role=role.name,
                policy_arn=arn.managed_policy(partition, policy),
                opts=self._child,
            )
            for policy in iam_node_role.NODE_MANAGED
        ]
        attachments += [
            aws.RolePolicyAttachment(
                f"{self._name}-node-{suffix}",
                role=role.name,
                policy_arn=policy_arn,
                opts=self._child,
            )
            for suffix, policy_arn in _further(args["settings"].node_policy_arns)
        ]
        if args["settings"].ipv6:
            attachments.append(
                aws.RolePolicy(
                    f"{self._name}-node-inline",
                    name="CastEC2AssignIPv6Policy",
                    role=role.name,
                    policy=self._document(lambda s: iam_node_role.node_inline(s, args["settings"])),
                    opts=self._child,
                )
            )
        profile = aws.InstanceProfile(
            f"{self._name}-instance-profile",
            name=profile_name,
            # Deleting a role takes it out of its profile, so the profile is replaced with the role.
            path=role.path,
            role=role.name,
            tags=args["tags"],
            opts=self._child,
        )
        return role, profile, attachments


def _further(policy_arns: Sequence[str]) -> list[tuple[str, str]]:
    """Return the logical suffix of each further policy, which is its name, and its ARN."""
    return [(policy_arn.rpartition("/")[2], policy_arn) for policy_arn in policy_arns]


def _known_with(
    value: pulumi.Output[str], resources: Sequence[pulumi.CustomResource]
) -> pulumi.Output[str]:
    """Return `value` as an output that is known once these resources exist."""
    return pulumi.Output.all(value, *[resource.id for resource in resources]).apply(
        lambda values: str(values[0])
    )
