"""Ways out of one cluster in several steps; under `scoped` each is refused at a step.

Every test names the steps that an attacker who holds CAST AI's credentials would take. Against
CAST AI's own policies (`documented`) most of them succeed, which is shown beside.
"""

import pytest

from castai_stack import arn
from castai_stack.iam import castai_policy, feature_policy, node_role, restricted_policy
from castai_stack.iam.settings import Iam
from sandbox.iam_evaluator import Request, may, may_assume, may_call
from tests.support import world

OURS = world.scope()
ID = OURS.cluster_id
TAG = f"kubernetes.io/cluster/{OURS.cluster}"
VICTIM = OURS.own("ec2", "instance/i-victim")
ADMIN = arn.iam(OURS.partition, OURS.account_id, "role/admin")
ADMINISTRATOR = arn.managed_policy(OURS.partition, "AdministratorAccess")
BOUNDARY = OURS.iam("policy", OURS.names.node_boundary)


def policies(flavour="scoped", **switches):
    chosen = Iam(**switches)
    documents = [
        castai_policy.castai_policy(OURS, flavour, chosen),
        restricted_policy.restricted_policy(OURS, flavour, chosen),
        feature_policy.feature_policy(OURS, flavour, chosen),
    ]
    return [document for document in documents if document]


def can(action, resource, flavour="scoped", switches=None, **context):
    keys = {key.replace("__", ":", 1): value for key, value in context.items()}
    return may(policies(flavour, **(switches or {})), Request(action, resource, keys))


def request_tags(**tags):
    return {f"aws:RequestTag/{key}": value for key, value in tags.items()}


# --- tag something, then act on it --------------------------------------------------------------


@pytest.mark.parametrize("key", ["cast:cluster-id", TAG, "Name", "aws:eks:cluster-name"])
def test_a_foreign_instance_cannot_be_tagged_and_then_stopped(key):
    tag = Request("ec2:CreateTags", VICTIM, {f"aws:RequestTag/{key}": ID})
    assert not may(policies(), tag)
    assert may(policies("documented"), tag), "CAST AI's own policies tag anything"


@pytest.mark.parametrize("kind", ["volume", "security-group", "network-interface", "key-pair"])
def test_no_foreign_resource_can_be_tagged_with_the_cluster_id(kind):
    request = Request("ec2:CreateTags", OURS.own("ec2", f"{kind}/x"), request_tags(**{TAG: ID}))
    assert not may(policies(create_node_groups=True), request)


def test_tagging_while_creating_something_else_does_not_help():
    for call in ("CreateVolume", "CreateSnapshot", "CreateImage", "CreateFleet", "AllocateAddress"):
        context = {"ec2:CreateAction": call, "aws:RequestTag/cast:cluster-id": ID}
        assert not may(policies(), Request("ec2:CreateTags", OURS.own("ec2", "volume/v"), context))


def test_an_own_instance_cannot_be_retagged_for_another_cluster_or_untagged():
    mine = {"aws:ResourceTag/cast:cluster-id": ID}
    instance = OURS.own("ec2", "instance/i-ours")
    for key in ("cast:cluster-id", "Cast:Cluster-Id"):
        context = {**mine, f"aws:RequestTag/{key}": "22222222-0000-4000-8000-000000000000"}
        assert not may(policies(), Request("ec2:CreateTags", instance, context))
    assert not may(policies(), Request("ec2:DeleteTags", instance, mine))
    assert may(policies(), Request("ec2:CreateTags", instance, {**mine, "aws:RequestTag/a": "b"}))


@pytest.mark.parametrize("action", ["StopInstances", "StartInstances", "TerminateInstances"])
def test_instances_of_a_cluster_that_differs_in_case_only_are_out_of_reach(action):
    twin = {
        f"aws:ResourceTag/kubernetes.io/cluster/{OURS.cluster.upper()}": "owned",
        "aws:ResourceTag/aws:eks:cluster-name": OURS.cluster.upper(),
        "aws:ResourceTag/cast:cluster-id": "22222222-0000-4000-8000-000000000000",
    }
    as_ec2 = {key.replace("aws:", "ec2:", 1): value for key, value in twin.items()}
    request = Request(f"ec2:{action}", VICTIM, {**twin, **as_ec2})
    assert not may(policies(), request)
    assert may(policies("documented"), request), "a tag's key does not tell Demo from demo"


def test_only_by_cluster_tag_reaches_a_cluster_that_differs_in_case():
    twin = {f"aws:ResourceTag/kubernetes.io/cluster/{OURS.cluster.upper()}": "owned"}
    request = Request("ec2:StopInstances", VICTIM, twin)
    assert not may(policies(original_nodes="by-eks-name"), request)
    assert not may(policies(original_nodes="none"), request)
    assert may(policies(original_nodes="by-cluster-tag"), request)


def test_the_clusters_original_nodes_can_be_stopped_unless_switched_off():
    original = {"aws:ResourceTag/aws:eks:cluster-name": OURS.cluster}
    request = Request("ec2:StopInstances", OURS.own("ec2", "instance/i-old"), original)
    assert may(policies(), request)
    assert not may(policies(original_nodes="none"), request)


# --- pass a stronger role -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "service",
    ["ec2.amazonaws.com", "lambda.amazonaws.com", "eks.amazonaws.com", "events.amazonaws.com"],
)
def test_a_stronger_role_cannot_be_passed_to_an_instance_a_function_or_a_rule(service):
    context = {"iam__PassedToService": service}
    switches = {"create_node_groups": True, "service_linked_roles": True}
    assert not can("iam:PassRole", ADMIN, switches=switches, **context)
    if service != "events.amazonaws.com":
        assert can("iam:PassRole", ADMIN, "documented", **context)


def test_the_roles_of_the_cluster_go_to_their_own_service_only():
    assert can("iam:PassRole", OURS.node_role_arn, iam__PassedToService="ec2.amazonaws.com")
    assert not can("iam:PassRole", OURS.node_role_arn, iam__PassedToService="lambda.amazonaws.com")
    assert not can("iam:PassRole", OURS.node_role_arn, iam__PassedToService="eks.amazonaws.com")
    assert can("iam:PassRole", OURS.lambda_role_arn, iam__PassedToService="lambda.amazonaws.com")
    assert not can("iam:PassRole", OURS.lambda_role_arn, iam__PassedToService="ec2.amazonaws.com")


def test_instance_profiles_cannot_exchange_roles():
    assert not can(
        "iam:AddRoleToInstanceProfile", OURS.iam("instance-profile", f"{OURS.node_role}-eu")
    )
    assert not can("iam:PassRole", ADMIN, iam__PassedToService="ec2.amazonaws.com")


def test_an_auto_scaling_group_of_the_cluster_accepts_no_launch_configuration_or_foreign_subnets():
    group = OURS.own("autoscaling", "autoScalingGroup:0a:autoScalingGroupName/workers")
    mine = {"aws:ResourceTag/eks:cluster-name": OURS.cluster}
    update = "autoscaling:UpdateAutoScalingGroup"
    assert may(policies(), Request(update, group, mine))
    stronger = {**mine, "autoscaling:LaunchConfigurationName": "with-admin"}
    assert not may(policies(), Request(update, group, stronger))
    elsewhere = {**mine, "autoscaling:VPCZoneIdentifiers": ("subnet-9",)}
    assert not may(policies(), Request(update, group, elsewhere))
    template = Request("ec2:RunInstances", OURS.own("ec2", "launch-template/lt-foreign"))
    assert not may(policies(create_node_groups=True), template)


@pytest.mark.parametrize(
    "action",
    [
        "ec2:AssociateIamInstanceProfile",
        "ec2:ReplaceIamInstanceProfileAssociation",
        "ec2:ModifyInstanceAttribute",
        "ec2:ModifyInstanceMetadataOptions",
        "ec2:CreateImage",
        "ssm:SendCommand",
        "ssm:StartSession",
        "ec2-instance-connect:SendSSHPublicKey",
        "lambda:UpdateFunctionConfiguration",
        "lambda:InvokeFunction",
        "autoscaling:CreateLaunchConfiguration",
        "autoscaling:CreateOrUpdateTags",
        "sts:AssumeRole",
    ],
)
def test_a_running_instance_or_function_cannot_be_given_another_role_or_be_entered(action):
    everything = {
        "aws:ResourceTag/cast:cluster-id": ID,
        "aws:ResourceTag/aws:eks:cluster-name": OURS.cluster,
    }
    for where in (OURS.own("ec2", "instance/i-ours"), OURS.function_arn, "*"):
        assert not may(policies(create_node_groups=True), Request(action, where, everything))


# --- make a role --------------------------------------------------------------------------------


def test_no_role_can_be_created_and_given_a_policy_but_the_node_role_and_its_three():
    other = OURS.iam("role", "backdoor")
    assert not can("iam:CreateRole", other, iam__PermissionsBoundary=BOUNDARY)
    assert not can("iam:AttachRolePolicy", other, iam__PolicyARN=ADMINISTRATOR)
    assert not can("iam:AttachRolePolicy", OURS.node_role_arn, iam__PolicyARN=ADMINISTRATOR)
    assert can("iam:CreateRole", other, "documented")
    assert can("iam:AttachRolePolicy", other, "documented", iam__PolicyARN=ADMINISTRATOR)


def test_the_node_role_comes_back_only_with_its_boundary():
    assert can("iam:CreateRole", OURS.node_role_arn, iam__PermissionsBoundary=BOUNDARY)
    assert not can("iam:CreateRole", OURS.node_role_arn)
    assert not can("iam:CreateRole", OURS.node_role_arn, iam__PermissionsBoundary=ADMINISTRATOR)


def test_the_operators_boundary_replaces_the_programs():
    theirs = OURS.iam("policy", "company-boundary")
    switches = {"permissions_boundary_arn": theirs}
    create = Request("iam:CreateRole", OURS.node_role_arn, {"iam:PermissionsBoundary": theirs})
    own = Request("iam:CreateRole", OURS.node_role_arn, {"iam:PermissionsBoundary": BOUNDARY})
    assert may(policies(**switches), create)
    assert not may(policies(**switches), own)


def test_the_boundary_limits_every_principal_that_assumes_a_recreated_node_role():
    """No condition sees the trust policy's text: the role itself must be harmless."""
    boundary = node_role.node_boundary(OURS, Iam())
    anything = [{"Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]}]
    for action in ("iam:CreateUser", "s3:GetObject", "sts:AssumeRole", "ec2:RunInstances"):
        assert not may(anything, Request(action, "*"), [boundary])


def test_managing_the_node_role_without_a_boundary_is_refused():
    with pytest.raises(ValueError, match=r"iam\.manageNodeRole: found true without a boundary"):
        castai_policy.castai_policy(OURS, "scoped", Iam(node_boundary=False))
    off = castai_policy.castai_policy(
        OURS, "scoped", Iam(node_boundary=False, manage_node_role=False)
    )
    assert not any("iam:CreateRole" in s["Action"] for s in off["Statement"])


# --- change what binds it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "action",
    [
        "iam:AddUserToGroup",
        "iam:AttachGroupPolicy",
        "iam:AttachUserPolicy",
        "iam:CreateAccessKey",
        "iam:CreateLoginProfile",
        "iam:CreatePolicy",
        "iam:CreatePolicyVersion",
        "iam:CreateUser",
        "iam:DeletePolicy",
        "iam:DeletePolicyVersion",
        "iam:DeleteRolePermissionsBoundary",
        "iam:DeleteRolePolicy",
        "iam:DeleteUserPermissionsBoundary",
        "iam:DeleteUserPolicy",
        "iam:DetachUserPolicy",
        "iam:PutGroupPolicy",
        "iam:PutRolePermissionsBoundary",
        "iam:PutRolePolicy",
        "iam:PutUserPermissionsBoundary",
        "iam:PutUserPolicy",
        "iam:SetDefaultPolicyVersion",
        "iam:TagRole",
        "iam:UpdateAssumeRolePolicy",
        "iam:UpdateRole",
    ],
)
@pytest.mark.parametrize("switches", [{}, {"create_node_groups": True, "ipv6": True}])
def test_castai_cannot_change_its_own_policies_boundaries_keys_or_trust(action, switches):
    names = OURS.names
    for where in (
        OURS.iam("user", names.principal),
        OURS.iam("role", names.principal),
        OURS.node_role_arn,
        OURS.lambda_role_arn,
        *(
            OURS.iam("policy", name)
            for name in (
                names.castai_policy,
                names.restricted_policy,
                names.feature_policy,
                names.node_boundary,
                names.lambda_boundary,
            )
        ),
    ):
        assert not can(action, where, switches=switches)


@pytest.mark.parametrize("action", ["iam:AttachRolePolicy", "iam:DetachRolePolicy"])
def test_nothing_can_be_attached_to_or_detached_from_its_own_role_or_the_functions(action):
    for role in (OURS.iam("role", OURS.names.principal), OURS.lambda_role_arn):
        for policy in (ADMINISTRATOR, OURS.iam("policy", OURS.names.castai_policy)):
            assert not can(action, role, iam__PolicyARN=policy)


def test_only_node_policies_can_be_detached_from_the_node_role():
    cni = arn.managed_policy(OURS.partition, "AmazonEKS_CNI_Policy")
    assert can("iam:DetachRolePolicy", OURS.node_role_arn, iam__PolicyARN=cni)
    foreign = OURS.iam("policy", "audit")
    assert not can("iam:DetachRolePolicy", OURS.node_role_arn, iam__PolicyARN=foreign)


def test_only_castai_with_the_clusters_external_id_assumes_the_role():
    castai = f"arn:aws:iam::809060229965:user/cast-crossrole-{ID}"
    trust = castai_policy.principal_trust(castai, ID)

    def assume(principal, context):
        return may_assume(trust, "AWS", principal, Request("sts:AssumeRole", "*", context))

    assert assume(castai, {"sts:ExternalId": ID})
    assert not assume(castai, {}), "a customer of CAST AI could name our role as theirs"
    assert not assume(castai, {"sts:ExternalId": "22222222-0000-4000-8000-000000000000"})
    assert not assume(f"{castai}0", {"sts:ExternalId": ID})


# --- reach a neighbour --------------------------------------------------------------------------


@pytest.mark.parametrize("neighbour", world.neighbours(OURS), ids=lambda n: n.label)
@pytest.mark.parametrize(
    "action",
    [
        "eks:DeleteNodegroup",
        "eks:UpdateNodegroupConfig",
        "eks:UpdateNodegroupVersion",
        "eks:TagResource",
        "eks:CreateAccessEntry",
        "eks:UpdateClusterConfig",
    ],
)
def test_another_clusters_node_group_cannot_be_written(neighbour, action):
    other = neighbour.scope
    switches = {"create_node_groups": True}
    for where in (
        other.own("eks", f"nodegroup/{other.cluster}/workers/0a1b"),
        other.own("eks", f"cluster/{other.cluster}"),
    ):
        assert not can(action, where, switches=switches)


def test_a_node_group_cannot_be_created_in_another_cluster():
    other = OURS.own("eks", f"cluster/{OURS.cluster}-eu")
    assert not can("eks:CreateNodegroup", other, switches={"create_node_groups": True})


@pytest.mark.parametrize(
    "function",
    ["cast-ai-ec2-events-handler", f"{OURS.names.function}-eu", "cast-ai-billing", "orders"],
)
def test_another_function_cannot_be_taken_over(function):
    where = OURS.own("lambda", f"function:{function}")
    principal = {"lambda__Principal": "events.amazonaws.com"}
    for action in ("UpdateFunctionCode", "DeleteFunction", "CreateFunction", "AddPermission"):
        assert not can(f"lambda:{action}", where, **principal)
        assert can(f"lambda:{action}", where, "documented", **principal)


def test_the_function_cannot_be_opened_to_others_or_moved_into_a_vpc():
    for principal in ("*", "999999999999", "apigateway.amazonaws.com"):
        assert not can("lambda:AddPermission", OURS.function_arn, lambda__Principal=principal)
    vpc = {"lambda__VpcIds": (OURS.vpc_id,)}
    assert not can("lambda:CreateFunction", OURS.function_arn, **vpc)


def test_foreign_rules_and_foreign_targets_are_out_of_reach():
    foreign = OURS.own("events", "rule/audit-trail")
    on_a_bus = OURS.own("events", f"rule/audit/{OURS.names.interruption_rule}")
    ours = OURS.own("events", f"rule/{OURS.names.interruption_rule}")
    target = {"events__TargetArn": (OURS.function_arn,)}
    pattern = {"events__source": ("aws.ec2",), "events__detail-type": world.EC2_EVENTS[:1]}
    for where in (foreign, on_a_bus):
        for action in ("PutRule", "PutTargets", "DeleteRule", "RemoveTargets", "DisableRule"):
            assert not can(f"events:{action}", where, **target, **pattern)
    assert can("events:PutRule", ours, **pattern)
    assert can("events:PutTargets", ours, **target)
    assert not can("events:PutTargets", ours, events__TargetArn=(OURS.own("sqs", "theirs"),))
    assert not can("events:PutTargets", ours, events__TargetArn=(OURS.function_arn, ADMIN))
    assert not can("events:PutRule", ours, **{**pattern, "events__source": ("aws.ec2", "aws.s3")})


@pytest.mark.parametrize(
    "name",
    [
        f"cast-{OURS.cluster}-eks-eu-eks-{ID[:8]}",
        f"cast-{OURS.cluster}-eks-22222222",
        f"cast-{OURS.cluster}-eks-{ID[:8]}-eu",
        f"cast-{OURS.cluster}-eu-eks-{ID[:8]}",
    ],
)
def test_a_role_or_profile_with_a_longer_name_is_out_of_reach(name):
    three = arn.managed_policy(OURS.partition, "AmazonEKS_CNI_Policy")
    role, profile = OURS.iam("role", name), OURS.iam("instance-profile", name)
    assert not can("iam:PassRole", role, iam__PassedToService="ec2.amazonaws.com")
    assert not can("iam:AttachRolePolicy", role, iam__PolicyARN=three)
    assert not can("iam:CreateRole", role, iam__PermissionsBoundary=BOUNDARY)
    assert not can("iam:DeleteRole", role)
    assert not can("iam:DeleteInstanceProfile", profile)


def test_clusters_whose_names_share_forty_characters_have_roles_of_their_own():
    first = world.scope("a" * 40 + "-one", cluster_id="33333333-0000-4000-8000-000000000001")
    second = world.scope("a" * 40 + "-two", cluster_id="44444444-0000-4000-8000-000000000002")
    policy = castai_policy.castai_policy(first, "scoped", Iam())
    context = {"iam:PassedToService": "ec2.amazonaws.com"}
    assert may([policy], Request("iam:PassRole", first.node_role_arn, context))
    assert not may([policy], Request("iam:PassRole", second.node_role_arn, context))


@pytest.mark.parametrize("neighbour", world.neighbours(OURS), ids=lambda n: n.label)
def test_a_neighbours_instance_group_and_security_group_are_out_of_reach(neighbour):
    other = neighbour.scope
    tags = {f"aws:ResourceTag/{key}": value for key, value in neighbour.tags().items()}
    context = {**tags, "ec2:Vpc": other.vpc_arns[-1]}
    group = "autoScalingGroup:0a:autoScalingGroupName/workers"
    for action, where in (
        ("ec2:TerminateInstances", other.own("ec2", "instance/i-1")),
        ("ec2:CreateTags", other.own("ec2", "instance/i-1")),
        ("ec2:DeleteSecurityGroup", other.own("ec2", "security-group/sg-1")),
        ("ec2:AuthorizeSecurityGroupIngress", other.own("ec2", "security-group/sg-1")),
        ("autoscaling:DeleteAutoScalingGroup", other.own("autoscaling", group)),
        ("ec2:DeleteKeyPair", other.own("ec2", "key-pair/key-1")),
    ):
        assert not may(policies(), Request(action, where, context)), action


def test_no_instance_starts_in_another_region_account_or_vpc_or_without_both_tags():
    tags = {f"aws:RequestTag/{TAG}": "owned", "aws:RequestTag/cast:cluster-id": ID}
    run = "ec2:RunInstances"

    def started(region="eu-central-1", account="012345678901", vpc=OURS.vpc_id, marks=tags):
        prefix = f"arn:aws:ec2:{region}:{account}:"
        here = {"ec2:Vpc": f"{prefix}vpc/{vpc}"}
        return may_call(
            policies(),
            [
                Request(run, f"{prefix}instance/*", marks),
                Request(run, f"{prefix}subnet/subnet-1", here),
                Request(run, f"{prefix}network-interface/*", here),
                Request(run, f"{prefix}security-group/sg-1", here),
                Request(run, f"{prefix}volume/*"),
                Request(run, f"arn:aws:ec2:{region}::image/ami-1"),
            ],
        )

    assert started()
    assert not started(region="us-east-1")
    assert not started(account="999999999999")
    assert not started(vpc="vpc-0bbbbbbbbbbbbbbb2")
    for missing in tags:
        assert not started(marks={key: value for key, value in tags.items() if key != missing})


def test_in_a_shared_vpc_subnets_belong_to_the_owner_and_instances_to_the_cluster():
    shared = world.scope(vpc_account_id="000000000002")
    policy = restricted_policy.restricted_policy(shared, "scoped", Iam())
    vpc = {"ec2:Vpc": f"arn:aws:ec2:eu-central-1:000000000002:vpc/{shared.vpc_id}"}
    subnet = "arn:aws:ec2:eu-central-1:{}:subnet/subnet-1"
    run = "ec2:RunInstances"
    assert may([policy], Request(run, subnet.format("000000000002"), vpc))
    assert not may([policy], Request(run, subnet.format("012345678901"), vpc))
    assert not may([policy], Request(run, subnet.format("000000000003"), vpc))


# --- keys ---------------------------------------------------------------------------------------


def test_a_volume_key_is_used_by_ec2_only_and_granted_to_aws_services_only():
    key = OURS.own("kms", "key/00000000-0000-4000-8000-000000000001")
    switches = {"kms_key_arns": [key]}
    via = {"kms__ViaService": "ec2.eu-central-1.amazonaws.com"}
    assert can("kms:Decrypt", key, switches=switches, **via)
    assert not can("kms:Decrypt", key, switches=switches)
    assert not can("kms:Decrypt", f"{key[:-1]}2", switches=switches, **via)
    assert can("kms:CreateGrant", key, switches=switches, kms__GrantIsForAWSResource="true", **via)
    assert not can("kms:CreateGrant", key, switches=switches, **via)
    assert not can("kms:Decrypt", key, **via), "no key is usable unless listed"


def test_service_linked_roles_are_made_only_when_switched_on_and_only_three():
    def role(service):
        return arn.iam("aws", OURS.account_id, f"role/aws-service-role/{service}/X")

    on = {"service_linked_roles": True}
    action = "iam:CreateServiceLinkedRole"
    assert can(action, role("spot.amazonaws.com"), switches=on)
    assert not can(action, role("spot.amazonaws.com"))
    assert not can(action, role("organizations.amazonaws.com"), switches=on)
    assert not can("iam:DeleteServiceLinkedRole", role("spot.amazonaws.com"), switches=on)
