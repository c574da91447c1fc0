"""Trust, permission and boundary documents as data; pure.

Two flavours. `documented` is the statement set as CAST AI publishes it, for the time of its page
and for today: castai/terraform-provider-castai `castai/policies/{iam,user}-policy.json`, its
history, and the scripts formerly in castai/docs. `scoped` grants every bullet of the page within
one cluster only; docs/permissions.md says statement by statement what that takes.

Which condition keys an action knows comes from the service authorization reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NotRequired, TypedDict

from castai_stack import arn, naming
from castai_stack.settings import Iam

Flavour = Literal["scoped", "documented"]
Condition = dict[str, dict[str, list[str]]]


class Statement(TypedDict):
    """One IAM statement; Sid is required so that tests, reviews and denials can name it."""

    Sid: str
    Effect: Literal["Allow", "Deny"]
    Action: NotRequired[list[str]]
    NotAction: NotRequired[list[str]]
    Resource: NotRequired[list[str]]
    NotResource: NotRequired[list[str]]
    Principal: NotRequired[dict[str, list[str]]]
    Condition: NotRequired[Condition]


class PolicyDocument(TypedDict):
    """An IAM document in the only version of the language that knows policy variables."""

    Version: Literal["2012-10-17"]
    Statement: list[Statement]


PRINCIPAL_MANAGED = ("AmazonEC2ReadOnlyAccess", "IAMReadOnlyAccess")
NODE_MANAGED = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryReadOnly",
    "AmazonEKS_CNI_Policy",
)
LAMBDA_MANAGED = (
    "CloudWatchLogsFullAccess",
    "service-role/AWSLambdaRole",
    "AmazonEC2ReadOnlyAccess",
)
SERVICE_LINKED = (
    "autoscaling.amazonaws.com",
    "eks-nodegroup.amazonaws.com",
    "spot.amazonaws.com",
)

_ID_TAG = "cast:cluster-id"
# EKS writes it on instances that take part in a cluster, however they were launched:
# https://docs.aws.amazon.com/eks/latest/userguide/eks-using-tags.html
_EKS_INSTANCE_TAG = "aws:eks:cluster-name"
# EKS writes it on the auto-scaling groups of its node groups; nothing granted here changes it.
_EKS_GROUP_TAG = "eks:cluster-name"
_INTERFACE_TAG = "cluster.k8s.amazonaws.com/name"
_SPOT_EVENTS = (
    "EC2 Instance Rebalance Recommendation",
    "EC2 Spot Instance Interruption Warning",
)


_INSTANCE_ACTIONS = ("ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances")
_GROUP_ACTIONS = (
    "autoscaling:DeleteAutoScalingGroup",
    "autoscaling:ResumeProcesses",
    "autoscaling:SuspendProcesses",
    "autoscaling:TerminateInstanceInAutoScalingGroup",
)
_SIZES_ONLY = {
    # A launch configuration carries a role of its own, and subnets may lie in another VPC. A
    # launch template needs nothing here, since it is judged by the caller's RunInstances:
    # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
    "autoscaling:LaunchConfigurationName": ["true"],
    "autoscaling:VPCZoneIdentifiers": ["true"],
}


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


def principal_trust(castai_principal_arn: str, external_id: str) -> PolicyDocument:
    """Let CAST AI's own user assume the role, if it sends the external id.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html
    """
    return _document(
        {
            "Sid": "CastaiAssumesWithExternalId",
            "Effect": "Allow",
            "Action": ["sts:AssumeRole"],
            "Principal": {"AWS": [castai_principal_arn]},
            "Condition": {"StringEquals": {"sts:ExternalId": [external_id]}},
        }
    )


def node_trust(partition: str) -> PolicyDocument:
    """Let EC2 hand the role to instances; China spells the service its own way."""
    return _service_trust("Ec2AssumesForNodes", _ec2_services(partition)[-1])


def lambda_trust() -> PolicyDocument:
    """Let Lambda run the Spot function with the role."""
    return _service_trust("LambdaAssumesForSpot", "lambda.amazonaws.com")


def castai_policy(scope: Scope, flavour: Flavour, settings: Iam) -> PolicyDocument:
    """`CastEKSPolicy`: profiles, roles, security groups, key pairs and the function."""
    if flavour == "documented":
        return _document(*_documented_castai(scope))
    return _document(*_scoped_castai(scope, settings))


def restricted_policy(scope: Scope, flavour: Flavour, settings: Iam) -> PolicyDocument:
    """`CastEKSRestrictedAccess`: launches, tags, and what the page calls managing the cluster."""
    if flavour == "documented":
        return _document(*_documented_restricted(scope))
    return _document(*_scoped_restricted(scope, settings))


def feature_policy(scope: Scope, flavour: Flavour, settings: Iam) -> PolicyDocument | None:
    """`CastEKSFeatures`: what switches add to the page's grants, or None without any.

    A document of its own, so that the other two stay below the quota whatever is switched on.
    """
    statements = [*_keys(scope, settings)]
    if flavour == "scoped":
        statements += _features(scope, settings)
    return _document(*statements) if statements else None


def has_features(flavour: Flavour, settings: Iam) -> bool:
    """Whether there is a `feature_policy`; that depends on the switches alone."""
    names = naming.names("", "suffixed")
    anywhere = Scope("aws", "", "", "", naming.PLACEHOLDER_CLUSTER_ID, "", names)
    return feature_policy(anywhere, flavour, settings) is not None


def has_boundaries(flavour: Flavour, settings: Iam) -> bool:
    """Whether the program makes boundaries: under `scoped`, unless the operator brings one."""
    return flavour == "scoped" and settings.permissions_boundary_arn is None


def has_node_boundary(flavour: Flavour, settings: Iam) -> bool:
    """Whether there is a `node_boundary`."""
    return has_boundaries(flavour, settings) and settings.node_boundary


def node_boundary_arn(scope: Scope, flavour: Flavour, settings: Iam) -> str | None:
    """Return the boundary that the node role carries, and must carry when CAST AI creates it.

    The operator's own comes first: a role has room for one. `documented` roles have none.
    """
    if settings.permissions_boundary_arn is not None:
        return settings.permissions_boundary_arn
    if has_node_boundary(flavour, settings):
        return scope.iam("policy", scope.names.node_boundary)
    return None


def node_inline(scope: Scope, settings: Iam) -> PolicyDocument | None:
    """Return what the node role needs beyond its three AWS-managed policies, or None.

    IPv6: AmazonEKS_CNI_Policy does not assign IPv6 addresses.
    Source: https://docs.aws.amazon.com/eks/latest/userguide/cni-iam-role.html
    """
    if not settings.ipv6:
        return None
    return _document(
        _allow(
            "AssignIpv6InVpc",
            ["ec2:AssignIpv6Addresses"],
            scope.ec2("network-interface"),
            {"ArnEquals": {"ec2:Vpc": scope.vpc_arns}},
        )
    )


def node_boundary(scope: Scope, settings: Iam) -> PolicyDocument:
    """Leave of the node role's policies what a node of this cluster does in this VPC.

    AmazonEKS_CNI_Policy alone would let a node write any network interface of the account.
    Source: https://github.com/aws/amazon-vpc-cni-k8s/blob/master/docs/iam-policy.md
    """
    return _document(*_node_boundary(scope, settings))


def lambda_boundary(
    partition: str,
    region: str,
    account_id: str,
    names: naming.Names,
    secret_arn: str | None = None,
) -> PolicyDocument:
    """Leave of the page's three AWS-managed policies what the Spot function does."""
    return _document(
        *(
            _allow(f"{sid}Only", actions, resources)
            for sid, actions, resources in _handler(
                partition, region, account_id, names, secret_arn
            )
        )
    )


def lambda_guard(
    partition: str,
    region: str,
    account_id: str,
    names: naming.Names,
    secret_arn: str | None = None,
) -> PolicyDocument:
    """Return the same limit as `lambda_boundary`, as denials for an inline policy.

    For a role whose only place for a boundary holds the operator's own.
    """
    parts = list(_handler(partition, region, account_id, names, secret_arn))
    known = sorted(action for _, actions, _ in parts for action in actions)
    return _document(
        {
            "Sid": "DenyWhatTheHandlerNeverDoes",
            "Effect": "Deny",
            "NotAction": known,
            "Resource": ["*"],
        },
        *(
            Statement(
                Sid=f"Deny{sid}Elsewhere", Effect="Deny", Action=actions, NotResource=resources
            )
            for sid, actions, resources in parts
            if resources != ["*"]
        ),
    )


def lambda_inline(queue_arn: str, secret_arn: str | None = None) -> PolicyDocument:
    """Let the Spot function reach its queue, and its key if that is a secret of its own."""
    statements = [_allow("SendDeadLetters", ["sqs:SendMessage"], [queue_arn])]
    if secret_arn is not None:
        statements.append(_allow("ReadApiKey", ["secretsmanager:GetSecretValue"], [secret_arn]))
    return _document(*statements)


def _document(*statements: Statement) -> PolicyDocument:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(
    sid: str, actions: Sequence[str], resources: list[str], condition: Condition | None = None
) -> Statement:
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": resources,
    }
    if condition:
        statement["Condition"] = condition
    return statement


def _service_trust(sid: str, service: str) -> PolicyDocument:
    return _document(
        {
            "Sid": sid,
            "Effect": "Allow",
            "Action": ["sts:AssumeRole"],
            "Principal": {"Service": [service]},
        }
    )


def _ec2_services(partition: str) -> list[str]:
    # https://docs.amazonaws.cn/en_us/aws/latest/userguide/iam.html: China has a name of its own,
    # and newer calls there use the common one.
    common = "ec2.amazonaws.com"
    return [common, "ec2.amazonaws.com.cn"] if partition == "aws-cn" else [common]


# --- scoped -------------------------------------------------------------------------------------


def _scoped_castai(scope: Scope, settings: Iam) -> Iterator[Statement]:
    yield _pass_role("PassNodeRole", scope.node_role_arn, _ec2_services(scope.partition))
    if settings.manage_node_role:
        yield from _manage_node_role(scope, settings)
    if settings.manage_security_groups:
        yield from _manage_security_groups(scope)
    if settings.manage_key_pairs:
        yield from _manage_key_pairs(scope)
    if settings.manage_lambda:
        yield _pass_role("PassLambdaRole", scope.lambda_role_arn, ["lambda.amazonaws.com"])
        yield from _manage_lambda(scope)


def _features(scope: Scope, settings: Iam) -> Iterator[Statement]:
    if settings.create_node_groups:
        yield from _create_node_groups(scope)
    if settings.original_nodes == "by-cluster-tag":
        shared = ["owned", "shared"]
        yield from _instances_tagged(scope, "ClusterTaggedInstance", _cluster_tag(scope), shared)
    if settings.auto_scaling_group_names:
        listed = [_auto_scaling_group(scope, n) for n in settings.auto_scaling_group_names]
        yield _allow("ListedAutoScalingGroups", _GROUP_ACTIONS, listed)
        yield _allow(
            "ResizeListedAutoScalingGroups",
            ["autoscaling:UpdateAutoScalingGroup"],
            listed,
            {"Null": _SIZES_ONLY},
        )
    if settings.capacity_reservation_ids:
        yield _allow(
            "RunInCapacityReservations",
            ["ec2:RunInstances"],
            [
                scope.own("ec2", f"capacity-reservation/{i}")
                for i in settings.capacity_reservation_ids
            ],
        )
    if settings.service_linked_roles:
        yield _allow(
            "CreateServiceLinkedRoles",
            ["iam:CreateServiceLinkedRole"],
            [
                arn.iam(scope.partition, scope.account_id, f"role/aws-service-role/{service}/*")
                for service in SERVICE_LINKED
            ],
        )


def _pass_role(sid: str, role_arn: str, services: list[str]) -> Statement:
    condition: Condition = {"StringEquals": {"iam:PassedToService": services}}
    return _allow(sid, ["iam:PassRole"], [role_arn], condition)


def _manage_node_role(scope: Scope, settings: Iam) -> Iterator[Statement]:
    yield _allow(
        "ManageInstanceProfile",
        [
            "iam:AddRoleToInstanceProfile",
            "iam:CreateInstanceProfile",
            "iam:DeleteInstanceProfile",
            "iam:RemoveRoleFromInstanceProfile",
        ],
        [scope.iam("instance-profile", scope.node_role)],
    )
    boundary = node_boundary_arn(scope, "scoped", settings)
    if boundary is None:
        raise ValueError(
            "manage_node_role without a boundary: CAST AI could create a role that anybody "
            "may assume; set node_boundary or permissions_boundary_arn"
        )
    # No condition sees a trust policy's text, so the role must not matter whoever assumes it.
    yield _allow(
        "CreateNodeRoleWithBoundary",
        ["iam:CreateRole"],
        [scope.node_role_arn],
        {"ArnEquals": {"iam:PermissionsBoundary": [boundary]}},
    )
    yield _allow(
        "AttachNodePolicies",
        ["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
        [scope.node_role_arn],
        {
            "ArnEquals": {
                "iam:PolicyARN": [arn.managed_policy(scope.partition, n) for n in NODE_MANAGED]
            }
        },
    )
    yield _allow("DeleteNodeRole", ["iam:DeleteRole"], [scope.node_role_arn])


def _manage_security_groups(scope: Scope) -> Iterator[Statement]:
    groups = scope.ec2("security-group")
    yield _allow("CreateSecurityGroup", ["ec2:CreateSecurityGroup"], groups, _asks(scope))
    # `ec2:Vpc` is no key of CreateSecurityGroup: the VPC is a resource of the call.
    yield _allow("CreateSecurityGroupInVpc", ["ec2:CreateSecurityGroup"], scope.vpc_arns)
    yield _allow(
        "ManageOwnSecurityGroups",
        [
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:DeleteSecurityGroup",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ],
        groups,
        _has(scope),
    )


def _manage_key_pairs(scope: Scope) -> Iterator[Statement]:
    pairs = scope.ec2("key-pair")
    yield _allow("CreateKeyPairs", ["ec2:CreateKeyPair", "ec2:ImportKeyPair"], pairs, _asks(scope))
    yield _allow("DeleteOwnKeyPairs", ["ec2:DeleteKeyPair"], pairs, _has(scope))


def _tag(scope: Scope, settings: Iam) -> Iterator[Statement]:
    calls = ["RunInstances"]
    if settings.manage_security_groups:
        calls += ["CreateSecurityGroup"]
    if settings.manage_key_pairs:
        calls += ["CreateKeyPair", "ImportKeyPair"]
    # EC2 sets the key only while that call makes the resource, so no kind needs to be listed:
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
    yield _tag_on_creation(scope, "TagOnCreation", calls)
    yield _allow(
        "TagOwnResources",
        ["ec2:CreateTags"],
        [_any_ec2(scope)],
        {**_has(scope), **_no_other_mark(scope)},
    )


def _tag_on_creation(scope: Scope, sid: str, calls: list[str]) -> Statement:
    condition: Condition = {
        "StringEquals": {"ec2:CreateAction": calls},
        **_no_other_mark(scope),
    }
    return _allow(sid, ["ec2:CreateTags"], [_any_ec2(scope)], condition)


def _run(scope: Scope, settings: Iam) -> Iterator[Statement]:
    run = ["ec2:RunInstances"]
    in_vpc: Condition = {"ArnEquals": {"ec2:Vpc": scope.vpc_arns}}
    if settings.security_group_ids:
        listed = [scope.own("ec2", f"security-group/{i}") for i in settings.security_group_ids]
        yield _allow("RunWithListedSecurityGroups", run, listed)
        yield _allow("RunWithOwnSecurityGroups", run, scope.ec2("security-group"), _has(scope))
        yield _allow("RunInVpc", run, scope.ec2("network-interface"), in_vpc)
    else:
        yield _allow("RunInVpc", run, scope.ec2("network-interface", "security-group"), in_vpc)
    # Volumes are new ones; an image is read. Neither has anything that tells clusters apart.
    image = arn.regional(scope.partition, "ec2", scope.region, "", "image/*")
    yield _allow("RunWithImagesAndVolumes", run, [image, *scope.ec2("volume")])
    yield _allow("RunWithOwnKeyPairs", run, scope.ec2("key-pair"), _has(scope))


def _manage_lambda(scope: Scope) -> Iterator[Statement]:
    function = [scope.function_arn]
    rules = [
        scope.own("events", f"rule/{name}")
        for name in (scope.names.interruption_rule, scope.names.rebalance_rule)
    ]
    # In a VPC the function's interfaces would be writes there.
    yield _allow(
        "CreateSpotFunction",
        ["lambda:CreateFunction"],
        function,
        {"Null": {"lambda:VpcIds": ["true"]}},
    )
    yield _allow(
        "ManageSpotFunction", ["lambda:DeleteFunction", "lambda:UpdateFunctionCode"], function
    )
    yield _allow(
        "AllowEventsToInvoke",
        ["lambda:AddPermission"],
        function,
        {"StringEquals": {"lambda:Principal": ["events.amazonaws.com"]}},
    )
    # ForAllValues alone is also true of a request without the key, hence the Null beside it:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
    yield _allow(
        "PutSpotRules",
        ["events:PutRule"],
        rules,
        {
            "ForAllValues:StringEquals": {
                "events:detail-type": list(_SPOT_EVENTS),
                "events:source": ["aws.ec2"],
            },
            "Null": {"events:detail-type": ["false"], "events:source": ["false"]},
        },
    )
    yield _allow(
        "PutSpotTargets",
        ["events:PutTargets"],
        rules,
        {
            "ForAllValues:ArnEquals": {"events:TargetArn": function},
            "Null": {"events:TargetArn": ["false"]},
        },
    )
    yield _allow("DeleteSpotRules", ["events:DeleteRule", "events:RemoveTargets"], rules)


def _scoped_restricted(scope: Scope, settings: Iam) -> Iterator[Statement]:
    run = ["ec2:RunInstances"]
    yield _allow(
        "RunInstancesTagRestriction",
        run,
        scope.ec2("instance"),
        {
            "StringEquals": {
                f"aws:RequestTag/{_ID_TAG}": [scope.cluster_id],
                f"aws:RequestTag/{_cluster_tag(scope)}": ["owned"],
            }
        },
    )
    owner = scope.subnet_owner
    subnets = [
        arn.regional(scope.partition, "ec2", scope.region, owner, f"subnet/{subnet}")
        for subnet in settings.subnet_ids or ["*"]
    ]
    yield _allow(
        "RunInstancesVpcRestriction",
        run,
        subnets,
        None if settings.subnet_ids else {"ArnEquals": {"ec2:Vpc": scope.vpc_arns}},
    )
    yield from _run(scope, settings)
    yield from _tag(scope, settings)
    yield _allow(
        "InstanceActionsTagRestriction", _INSTANCE_ACTIONS, scope.ec2("instance"), _has(scope)
    )
    if settings.original_nodes != "none":
        yield from _instances_tagged(scope, "OriginalInstance", _EKS_INSTANCE_TAG, [scope.cluster])
    yield from _auto_scaling(scope)
    yield from _node_groups(scope, settings)


def _instances_tagged(scope: Scope, kind: str, tag: str, values: list[str]) -> Iterator[Statement]:
    condition: Condition = {"StringEquals": {f"aws:ResourceTag/{tag}": values}}
    instances = scope.ec2("instance")
    yield _allow(f"{kind}Actions", _INSTANCE_ACTIONS, instances, condition)
    yield _allow(
        f"Tag{kind}s", ["ec2:CreateTags"], instances, {**condition, **_no_other_mark(scope)}
    )


def _auto_scaling(scope: Scope) -> Iterator[Statement]:
    every = [_auto_scaling_group(scope, "*")]
    tag = {f"aws:ResourceTag/{_EKS_GROUP_TAG}": [scope.cluster]}
    yield _allow("AutoscalingActionsTagRestriction", _GROUP_ACTIONS, every, {"StringEquals": tag})
    yield _allow(
        "ResizeAutoScalingGroups",
        ["autoscaling:UpdateAutoScalingGroup"],
        every,
        {"StringEquals": tag, "Null": _SIZES_ONLY},
    )


def _node_groups(scope: Scope, settings: Iam) -> Iterator[Statement]:
    yield _allow("ReadEks", ["eks:Describe*", "eks:List*"], [_eks_cluster(scope), _groups(scope)])
    if settings.manage_node_groups:
        manage = ["eks:DeleteNodegroup", "eks:UpdateNodegroupConfig"]
        yield _allow("ManageNodeGroups", manage, [_groups(scope)])


def _create_node_groups(scope: Scope) -> Iterator[Statement]:
    templates = scope.ec2("launch-template")
    yield _pass_role("PassNodeRoleToEks", scope.node_role_arn, ["eks.amazonaws.com"])
    yield _allow("CreateNodeGroups", ["eks:CreateNodegroup"], [_eks_cluster(scope)])
    tag = ["eks:TagResource", "eks:UntagResource"]
    yield _allow("TagNodeGroups", tag, [_groups(scope)])
    yield _allow("CreateLaunchTemplates", ["ec2:CreateLaunchTemplate"], templates, _asks(scope))
    yield _tag_on_creation(scope, "TagNewLaunchTemplates", ["CreateLaunchTemplate"])
    yield _allow(
        "UseOwnLaunchTemplates",
        ["ec2:CreateLaunchTemplateVersion", "ec2:DeleteLaunchTemplate", "ec2:RunInstances"],
        templates,
        _has(scope),
    )


def _keys(scope: Scope, settings: Iam) -> Iterator[Statement]:
    """Volumes under a customer-managed key.

    Source: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html
    """
    if not settings.kms_key_arns:
        return
    suffix = "amazonaws.com.cn" if scope.partition == "aws-cn" else "amazonaws.com"
    via = {"kms:ViaService": [f"ec2.{scope.region}.{suffix}"]}
    yield _allow(
        "UseVolumeKeys",
        [
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        ],
        settings.kms_key_arns,
        {"StringEquals": via},
    )
    yield _allow(
        "GrantVolumeKeys",
        ["kms:CreateGrant"],
        settings.kms_key_arns,
        {"Bool": {"kms:GrantIsForAWSResource": ["true"]}, "StringEquals": via},
    )


def _node_boundary(scope: Scope, settings: Iam) -> Iterator[Statement]:
    yield _allow(
        "ReadAsNodesDo",
        [
            "ec2:Describe*",
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:Describe*",
            "ecr:Get*",
            "ecr:List*",
        ],
        ["*"],
    )
    yield _allow(
        "JoinTheCluster",
        ["eks-auth:AssumeRoleForPodIdentity", "eks:DescribeCluster"],
        [scope.own("eks", f"cluster/{scope.cluster}")],
    )
    in_vpc: Condition = {"ArnEquals": {"ec2:Vpc": scope.vpc_arns}}
    interface = scope.ec2("network-interface")
    subnets = arn.regional(scope.partition, "ec2", scope.region, scope.subnet_owner, "subnet/*")
    groups = scope.ec2("security-group")
    tagged = settings.node_interface_tags
    writes = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:AttachNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DetachNetworkInterface",
        "ec2:ModifyNetworkInterfaceAttribute",
        "ec2:UnassignPrivateIpAddresses",
        *(["ec2:AssignIpv6Addresses"] if settings.ipv6 else []),
    ]
    mark = {"StringEquals": {f"aws:ResourceTag/{_INTERFACE_TAG}": [scope.cluster]}}
    ask = {"StringEquals": {f"aws:RequestTag/{_INTERFACE_TAG}": [scope.cluster]}}
    yield _allow("WriteInterfaces", writes, interface, mark if tagged else in_vpc)
    # CreateNetworkInterface knows no VPC of the interface itself, only of subnet and groups.
    yield _allow(
        "CreateInterfaces", ["ec2:CreateNetworkInterface"], interface, ask if tagged else None
    )
    yield _allow(
        "CreateInterfacesInVpc",
        ["ec2:CreateNetworkInterface", "ec2:ModifyNetworkInterfaceAttribute"],
        [*groups, subnets],
        in_vpc,
    )
    yield _allow(
        "AttachToOwnInstances",
        [
            "ec2:AttachNetworkInterface",
            "ec2:DetachNetworkInterface",
            "ec2:ModifyNetworkInterfaceAttribute",
        ],
        scope.ec2("instance"),
        _has(scope),
    )
    yield _allow(
        "TagNewInterfaces",
        ["ec2:CreateTags"],
        interface,
        {
            "StringEquals": {"ec2:CreateAction": ["CreateNetworkInterface"]},
            **_no_other_mark(scope),
        },
    )
    yield _allow(
        "TagInterfaces",
        ["ec2:CreateTags"],
        interface,
        {**(mark if tagged else in_vpc), **_no_other_mark(scope)},
    )


def _handler(
    partition: str, region: str, account_id: str, names: naming.Names, secret_arn: str | None
) -> Iterator[tuple[str, list[str], list[str]]]:
    def own(service: str, resource: str) -> str:
        return arn.regional(partition, service, region, account_id, resource)

    group = f"log-group:/aws/lambda/{names.function}"
    yield (
        "WriteOwnLog",
        ["logs:CreateLogStream", "logs:PutLogEvents"],
        [own("logs", f"{group}:*")],
    )
    yield "DescribeInstances", ["ec2:DescribeInstances"], ["*"]
    yield "SendDeadLetters", ["sqs:SendMessage"], [own("sqs", names.dead_letter_queue)]
    if secret_arn is not None:
        yield "ReadApiKey", ["secretsmanager:GetSecretValue"], [secret_arn]


def _auto_scaling_group(scope: Scope, name: str) -> str:
    return scope.own("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{name}")


def _eks_cluster(scope: Scope) -> str:
    return scope.own("eks", f"cluster/{scope.cluster}")


def _groups(scope: Scope) -> str:
    return scope.own("eks", f"nodegroup/{scope.cluster}/*/*")


def _any_ec2(scope: Scope) -> str:
    return scope.own("ec2", "*/*")


def _cluster_tag(scope: Scope) -> str:
    return f"kubernetes.io/cluster/{scope.cluster}"


def _has(scope: Scope) -> Condition:
    """Tag keys compare without case, values with it: only a value tells `Prod` from `prod`.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html
    """
    return {"StringEquals": {f"aws:ResourceTag/{_ID_TAG}": [scope.cluster_id]}}


def _asks(scope: Scope) -> Condition:
    return {"StringEquals": {f"aws:RequestTag/{_ID_TAG}": [scope.cluster_id]}}


def _no_other_mark(scope: Scope) -> Condition:
    """Refuse marking anything as another cluster's: ours given away, or theirs claimed."""
    return {"StringEqualsIfExists": {f"aws:RequestTag/{_ID_TAG}": [scope.cluster_id]}}


# --- documented ---------------------------------------------------------------------------------


def _documented_castai(scope: Scope) -> Iterator[Statement]:
    everywhere = arn.iam(scope.partition, "*", "role/*")
    for service, sid in (
        ("ec2", "PassRoleEC2"),
        ("lambda", "PassRoleLambda"),
        ("eks", "PassRoleEKS"),
    ):
        services = (
            _ec2_services(scope.partition) if service == "ec2" else [f"{service}.amazonaws.com"]
        )
        yield _allow(
            sid,
            ["iam:PassRole"],
            [everywhere],
            {"StringEquals": {"iam:PassedToService": services}},
        )
    yield _allow(
        "NonResourcePermissions",
        [
            "ec2:CreateKeyPair",
            "ec2:CreateSecurityGroup",
            "ec2:CreateTags",
            "ec2:DeleteKeyPair",
            "ec2:DescribeCapacityReservations",
            "ec2:ImportKeyPair",
            "iam:AddRoleToInstanceProfile",
            "iam:AttachRolePolicy",
            "iam:CreateInstanceProfile",
            "iam:CreateRole",
            "iam:CreateServiceLinkedRole",
            "iam:DeleteInstanceProfile",
            "iam:DeleteRole",
            "iam:DeleteServiceLinkedRole",
            "iam:DetachRolePolicy",
            "iam:RemoveRoleFromInstanceProfile",
        ],
        ["*"],
    )
    for sid, kind, call in (
        ("TagOnLaunching", "instance", "RunInstances"),
        ("TagSecurityGroups", "security-group", "CreateSecurityGroup"),
    ):
        yield _allow(
            sid,
            ["ec2:CreateTags"],
            [_anywhere(scope, kind)],
            {"StringEquals": {"ec2:CreateAction": [call]}},
        )
    kinds = ("capacity-reservation", "key-pair", "network-interface", "security-group", "volume")
    image = arn.regional(scope.partition, "ec2", "*", "", "image/*")
    yield _allow(
        "RunInstancesPermissions",
        ["ec2:RunInstances"],
        [*(_anywhere(scope, kind) for kind in kinds), image],
    )
    yield _allow(
        "CreateLambdaFunctionRestriction",
        [
            "events:DeleteRule",
            "events:PutRule",
            "events:PutTargets",
            "events:RemoveTargets",
            "lambda:AddPermission",
            "lambda:CreateFunction",
            "lambda:DeleteFunction",
            "lambda:UpdateFunctionCode",
        ],
        ["*"],
    )


def _documented_restricted(scope: Scope) -> Iterator[Statement]:
    tag, owned = _cluster_tag(scope), ["owned"]
    vpc_owner = scope.subnet_owner
    vpc = arn.regional(scope.partition, "ec2", scope.region, vpc_owner, f"vpc/{scope.vpc_id}")
    in_vpc: Condition = {"StringEquals": {"ec2:Vpc": [vpc]}}
    yield _allow(
        "RunInstancesTagRestriction",
        ["ec2:RunInstances"],
        scope.ec2("instance"),
        {"StringEquals": {f"aws:RequestTag/{tag}": owned}},
    )
    yield _allow(
        "RunInstancesVpcRestriction",
        ["ec2:RunInstances"],
        [arn.regional(scope.partition, "ec2", scope.region, vpc_owner, "subnet/*")],
        in_vpc,
    )
    yield _allow(
        "InstanceActionsTagRestriction",
        ["ec2:CreateTags", "ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances"],
        scope.ec2("instance"),
        {"StringEquals": {f"ec2:ResourceTag/{tag}": ["owned", "shared"]}},
    )
    yield _allow(
        "VpcRestrictedActions",
        [
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:DeleteSecurityGroup",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ],
        ["*"],
        in_vpc,
    )
    yield _allow(
        "AutoscalingActionsTagRestriction",
        [
            "autoscaling:CreateAutoScalingGroup",
            "autoscaling:DeleteAutoScalingGroup",
            "autoscaling:ResumeProcesses",
            "autoscaling:SuspendProcesses",
            "autoscaling:TerminateInstanceInAutoScalingGroup",
            "autoscaling:UpdateAutoScalingGroup",
        ],
        [_auto_scaling_group(scope, "*")],
        {"StringEquals": {f"autoscaling:ResourceTag/{tag}": ["owned", "shared"]}},
    )
    yield _allow(
        "EKS",
        [
            "eks:CreateNodegroup",
            "eks:DeleteNodegroup",
            "eks:Describe*",
            "eks:List*",
            "eks:TagResource",
            "eks:UntagResource",
            "eks:UpdateNodegroupConfig",
        ],
        [
            scope.own("eks", f"cluster/{scope.cluster}"),
            scope.own("eks", f"nodegroup/{scope.cluster}/*/*"),
        ],
    )
    yield _allow(
        "CreateLaunchTemplateWithTag",
        ["ec2:CreateLaunchTemplate"],
        ["*"],
        {"StringEquals": {f"aws:RequestTag/{tag}": owned}},
    )
    yield _allow(
        "ManageLaunchTemplatesAndCreateNodeGroupWithLaunchTemplate",
        [
            "ec2:CreateLaunchTemplateVersion",
            "ec2:DeleteLaunchTemplate",
            "ec2:DescribeLaunchTemplateVersions",
            "ec2:DescribeLaunchTemplates",
        ],
        ["*"],
        {"StringEquals": {f"aws:ResourceTag/{tag}": owned}},
    )
    yield _allow(
        "RunInstancesForEKSNodegroups",
        ["ec2:RunInstances"],
        [arn.regional(scope.partition, "ec2", "*", "*", "launch-template/*")],
        {"StringEquals": {f"aws:ResourceTag/{tag}": owned}},
    )


def _anywhere(scope: Scope, kind: str) -> str:
    return arn.regional(scope.partition, "ec2", "*", scope.account_id, f"{kind}/*")
