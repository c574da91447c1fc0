import json

import pulumi
import pytest

from castai_stack import naming
from castai_stack.iam.component import CastIamComponent
from castai_stack.iam.settings import Iam
from tests.support.engine import ACCOUNT, REGION, run

CLUSTER_ID = "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0f3f1ba4"
CASTAI = "arn:aws:iam::809060229965:user/cast-crossrole-x"


def program(*, gated=False, **overrides):
    def build():
        gate = [pulumi.CustomResource("test:index:Gate", "gate", {})] if gated else None
        CastIamComponent(
            "iam",
            {
                "partition": "aws",
                "region": REGION,
                "account_id": ACCOUNT,
                "cluster_name": "demo",
                "cluster_id": pulumi.Output.from_input(CLUSTER_ID),
                "vpc_id": "vpc-0123456789abcdef0",
                "vpc_account_id": ACCOUNT,
                "names": naming.names("demo", "suffixed"),
                "mode": "role",
                "flavour": "scoped",
                "castai_principal_arn": CASTAI,
                "external_id": CLUSTER_ID,
                "settings": Iam(),
                "tags": {"team": "platform"},
                **overrides,
            },
            pulumi.ResourceOptions(depends_on=gate),
        )

    return build


def of(recorder, type_):
    return {r.name: r for r in recorder.requests if r.type == type_}


def managed_names(requests):
    return {r.object["policyArn"].rsplit("/", 1)[-1] for r in requests.values()}


def test_a_user_has_both_managed_policies_and_both_own_ones_and_nothing_inline():
    recorder = run(program(mode="user"))

    assert set(of(recorder, "aws:iam/user:User")) == {"iam-user"}
    assert managed_names(of(recorder, "aws:iam/userPolicyAttachment:UserPolicyAttachment")) == {
        "AmazonEC2ReadOnlyAccess",
        "IAMReadOnlyAccess",
        "CastEKSPolicy-demo",
        "CastEKSRestrictedAccess-demo",
    }
    assert not of(recorder, "aws:iam/rolePolicy:RolePolicy"), "a user's inline quota is too small"


def test_a_role_trusts_one_principal_with_the_external_id():
    recorder = run(program())

    role = of(recorder, "aws:iam/role:Role")["iam-role"]
    (statement,) = json.loads(role.object["assumeRolePolicy"])["Statement"]
    assert statement["Principal"] == {"AWS": [CASTAI]}
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": [CLUSTER_ID]}}
    assert not of(recorder, "aws:iam/user:User"), "role mode makes no user"


def test_a_role_carries_the_cluster_scoped_policy_inline():
    recorder = run(program())

    (inline,) = of(recorder, "aws:iam/rolePolicy:RolePolicy").values()
    assert inline.object["role"] == "cast-eks-demo"
    assert CLUSTER_ID in inline.object["policy"]
    assert set(of(recorder, "aws:iam/policy:Policy")) == {"iam-castai-policy", "iam-node-boundary"}


@pytest.mark.parametrize("mode", ["user", "role"])
def test_the_node_role_and_its_profile_share_the_name_that_castai_looks_up(mode):
    recorder = run(program(mode=mode))

    role = of(recorder, "aws:iam/role:Role")["iam-node-role"]
    (profile,) = of(recorder, "aws:iam/instanceProfile:InstanceProfile").values()
    assert role.object["name"] == profile.object["name"] == "cast-demo-eks-0f3f1ba4"
    assert profile.object["role"] == "cast-demo-eks-0f3f1ba4"
    node = {
        name: r
        for name, r in of(recorder, "aws:iam/rolePolicyAttachment:RolePolicyAttachment").items()
        if name.startswith("iam-node-")
    }
    assert managed_names(node) == {
        "AmazonEKSWorkerNodePolicy",
        "AmazonEC2ContainerRegistryReadOnly",
        "AmazonEKS_CNI_Policy",
    }


def test_the_operators_boundary_replaces_the_programs_on_every_principal():
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/limits"
    recorder = run(program(settings=Iam(permissions_boundary_arn=boundary)))

    roles = of(recorder, "aws:iam/role:Role")
    assert {r.object["permissionsBoundary"] for r in roles.values()} == {boundary}
    assert "iam-node-boundary" not in of(recorder, "aws:iam/policy:Policy")


def test_documented_roles_have_no_boundary():
    recorder = run(program(flavour="documented"))

    assert "iam-node-boundary" not in of(recorder, "aws:iam/policy:Policy")
    node = of(recorder, "aws:iam/role:Role")["iam-node-role"]
    assert "permissionsBoundary" not in node.object


def test_a_switch_beyond_the_page_adds_a_policy_of_its_own():
    recorder = run(program(settings=Iam(kms_key_arns=[KEY])))

    feature = of(recorder, "aws:iam/policy:Policy")["iam-feature-policy"]
    assert KEY in feature.object["policy"]
    attachments = of(recorder, "aws:iam/rolePolicyAttachment:RolePolicyAttachment")
    assert "iam-role-feature-policy" in attachments


def test_ipv6_adds_one_inline_policy_to_the_nodes():
    recorder = run(program(settings=Iam(ipv6=True)))

    inline = of(recorder, "aws:iam/rolePolicy:RolePolicy")["iam-node-inline"]
    assert "ec2:AssignIpv6Addresses" in inline.object["policy"]


def test_the_path_applies_to_every_iam_object():
    recorder = run(program(mode="user", settings=Iam(path="/castai/")))

    for request in recorder.requests:
        if request.type.rsplit(":", 1)[-1] in {"User", "Role", "Policy", "InstanceProfile"}:
            assert request.object["path"] == "/castai/", request.name


@pytest.mark.parametrize("mode", ["user", "role"])
def test_the_announced_principal_waits_for_every_policy(mode):
    recorder = run(program(mode=mode))

    (outputs,) = [v for k, v in recorder.registered_outputs.items() if "CastIam" in k]
    assert outputs["principal_arn"] == f"arn:aws:iam::{ACCOUNT}:{mode}/cast-eks-demo"


def test_every_child_has_the_component_as_parent_and_the_operators_tags():
    recorder = run(program(mode="user"))

    for request in recorder.requests:
        if request.custom:
            assert request.parent.endswith("CastIamComponent::iam"), request.name
        if request.type.rsplit(":", 1)[-1] in {"User", "Role", "Policy", "InstanceProfile"}:
            assert request.object["tags"]["team"] == "platform", request.name


def test_a_preview_lists_the_resources_of_an_up():
    assert run(program(), preview=True).inventory() == run(program()).inventory()


def test_children_inherit_the_dependencies_of_the_component():
    recorder = run(program(gated=True))

    for request in recorder.requests:
        if request.type.startswith("aws:"):
            assert any(d.endswith("::gate") for d in request.dependencies), request.name


@pytest.mark.parametrize("mode", ["user", "role"])
def test_every_child_is_deleted_before_it_is_replaced(mode):
    recorder = run(program(mode=mode, settings=Iam(ipv6=True, kms_key_arns=[KEY])))

    for request in recorder.requests:
        if request.custom:
            assert request.deleteBeforeReplaceDefined, request.name
            assert request.deleteBeforeReplace, request.name


def test_another_name_replaces_the_user_whose_keys_could_not_be_deleted_after_a_renaming():
    recorder = run(program(mode="user"))

    (user,) = [one for one in recorder.requests if one.type == "aws:iam/user:User"]
    assert list(user.replaceOnChanges) == ["name"]


def dependencies(request, property_=None):
    urns = request.propertyDependencies[property_].urns if property_ else request.dependencies
    return [urn.rpartition("::")[2] for urn in urns]


@pytest.mark.parametrize(
    ("settings", "last"),
    [(Iam(), "iam-castai-policy"), (Iam(kms_key_arns=[KEY]), "iam-feature-policy")],
)
def test_role_and_policies_are_replaced_in_one_sequence(settings, last):
    recorder = run(program(settings=settings))
    policies = of(recorder, "aws:iam/policy:Policy")

    assert dependencies(of(recorder, "aws:iam/role:Role")["iam-role"], "path") == [last]
    if "iam-feature-policy" in policies:
        assert "iam-castai-policy" in dependencies(policies["iam-feature-policy"])


def test_the_node_role_is_replaced_with_its_boundary_and_the_profile_with_the_role():
    recorder = run(program())
    role = of(recorder, "aws:iam/role:Role")["iam-node-role"]
    (profile,) = of(recorder, "aws:iam/instanceProfile:InstanceProfile").values()

    for child, parent in ((role, "iam-node-boundary"), (profile, "iam-node-role")):
        assert dependencies(child, "path") == [parent]


def test_further_policies_are_attached_under_their_own_names():
    further = f"arn:aws:iam::{ACCOUNT}:policy/Theirs"
    ssm = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
    settings = Iam(principal_policy_arns=[further], node_policy_arns=[ssm])
    attachments = of(
        run(program(settings=settings)), "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    )

    assert attachments["iam-role-Theirs"].object["policyArn"] == further
    assert attachments["iam-node-AmazonSSMManagedInstanceCore"].object["policyArn"] == ssm


def test_given_names_of_the_nodes_are_known_in_a_preview():
    given = {"node_role": "nodes", "instance_profile": "profile", "restricted_inline": "inline"}
    names = naming.names("demo", "suffixed", given=given)
    recorder = run(program(names=names))

    assert of(recorder, "aws:iam/role:Role")["iam-node-role"].object["name"] == "nodes"
    profiles = of(recorder, "aws:iam/instanceProfile:InstanceProfile")
    assert profiles["iam-instance-profile"].object["name"] == "profile"
    inline = of(recorder, "aws:iam/rolePolicy:RolePolicy")
    assert inline["iam-role-restricted"].object["name"] == "inline"
