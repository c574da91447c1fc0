"""The report of effective permissions, and the difference between two stacks."""

import json
import socket
from pathlib import Path

import pytest
import yaml
from moto.iam.aws_managed_policies import aws_managed_policies_data

from castai_stack.commands import permissions
from castai_stack.config.model import StackConfig
from castai_stack.iam import castai_policy, node_role
from castai_stack.permissions import actors, grants, managed_policies
from castai_stack.permissions.grants import Grant
from castai_stack.spot import role
from sandbox.iam_evaluator import Request, may
from tests.support import service_reference

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
SECRET = "v1:nobody-must-see-this"
VPC, ID = "vpc-0a1b2c3d4e5f60718", "11111111-aaaa-4bbb-8ccc-000000000001"


def stack(tmp_path: Path, name: str = "Pulumi.a.yaml", **castai) -> Path:
    path = tmp_path / name
    config = {
        "castai-eks:apiKey": {"secure": SECRET},
        "castai-eks:castai": {"cluster": CLUSTER, **castai},
    }
    path.write_text(yaml.safe_dump({"config": config}))
    return path


def settings(**castai) -> StackConfig:
    return StackConfig.model_validate({"cluster": CLUSTER, **castai})


def printed(capsys, *arguments) -> str:
    assert permissions.main([str(a) for a in arguments]) == 0
    return capsys.readouterr().out


def actor(access, title):
    [match] = [a for a in access.actors if a.title == title]
    return match


# --- what it knows of AWS-managed policies ------------------------------------------------------


@pytest.mark.parametrize("name", sorted(managed_policies.MANAGED))
def test_managed_policies_equal_awss_documents(name):
    document = json.loads(aws_managed_policies_data)[name]["Document"]
    actions = set()
    for statement in document["Statement"]:
        assert "Condition" not in statement
        listed = statement["Action"]
        actions |= set(listed if isinstance(listed, list) else [listed])
    assert set(managed_policies.MANAGED[name][0]) == actions


def test_every_managed_policy_of_every_role_is_known():
    for names in (
        castai_policy.PRINCIPAL_MANAGED,
        node_role.NODE_MANAGED,
        role.LAMBDA_MANAGED,
    ):
        for name in names:
            assert name.rpartition("/")[2] in managed_policies.MANAGED


@pytest.mark.parametrize("flavour", ["scoped", "documented"])
def test_reads_are_those_of_the_service_reference(flavour):
    key = "arn:aws:kms:eu-central-1:012345678901:key/0a1b"
    chosen = settings(
        permissions=flavour,
        spot={"keyInSecretsManager": True},
        iam={
            "createNodeGroups": True,
            "serviceLinkedRoles": True,
            "ipv6": True,
            "kmsKeyArns": [key],
        },
    )
    for actor_ in actors.effective_permissions(chosen).actors:
        for grant in actor_.grants:
            if "*" not in grant.action:
                action = service_reference.action(grant.action)
                assert (grant.reach == "reads") is not action.writes, grant.action


# --- who may do what ----------------------------------------------------------------------------


def test_scoped_grants_no_change_beyond_cluster_and_vpc():
    access = actors.effective_permissions(settings())
    assert [a.title for a in access.actors] == ["CAST AI", "Nodes", "Spot function"]
    for actor_ in access.actors:
        assert "beyond" not in {grant.reach for grant in actor_.grants}, actor_.title
    assert {grant.reach for grant in actor(access, "CAST AI").grants} == {"reads", "this cluster"}


def test_under_documented_grants_reach_beyond_the_cluster():
    access = actors.effective_permissions(settings(permissions="documented"))
    beyond = {g.action for g in actor(access, "CAST AI").grants if g.reach == "beyond"}
    assert {"iam:CreateRole", "iam:PassRole", "lambda:CreateFunction", "ec2:CreateTags"} <= beyond
    # Whoever tags anything decides what a tag condition is worth.
    assert "ec2:TerminateInstances" in beyond
    nodes = {g.action for g in actor(access, "Nodes").grants if g.reach == "beyond"}
    assert "ec2:DeleteNetworkInterface" in nodes
    spot = {g.action for g in actor(access, "Spot function").grants if g.reach == "beyond"}
    assert spot == {"lambda:InvokeFunction", "logs:*"}


def test_the_grants_of_castai_are_those_of_the_documents():
    chosen = settings(cluster={**CLUSTER, "vpcId": VPC})
    access = actors.effective_permissions(chosen, cluster_id=ID)
    documents = actors._principal_documents(
        actors.stack_scope(chosen, ID, VPC), chosen, chosen.principal
    )
    expected = {
        (action, resource, statement["Sid"])
        for one in documents
        for document in one.documents
        for statement in document["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    managed = set(castai_policy.PRINCIPAL_MANAGED)
    granted = {
        (g.action, g.resource, g.source)
        for g in actor(access, "CAST AI").grants
        if g.source not in managed
    }
    assert granted == expected


@pytest.mark.parametrize("title", ["Nodes", "Spot function"])
def test_effective_grants_are_allowed_by_the_boundary(title):
    chosen = settings(cluster={**CLUSTER, "vpcId": VPC})
    scope = actors.stack_scope(chosen, ID, VPC)
    where = (scope.partition, scope.region, scope.account_id, scope.names)
    boundary = {
        "Nodes": node_role.node_boundary(scope, chosen.iam),
        "Spot function": role.lambda_boundary(*where),
    }[title]
    of_actor = actor(actors.effective_permissions(chosen, cluster_id=ID), title).grants
    assert of_actor
    for grant in of_actor:
        context = {}
        for operator, key, values in grant.conditions:
            assert operator in ("StringEquals", "ArnEquals", "StringEqualsIfExists")
            context[key] = values[0]
        action = grant.action.replace("*", "Anything")
        assert may([boundary], Request(action, grant.resource, context)), grant


def test_the_operators_boundary_is_listed_as_a_limit():
    theirs = "arn:aws:iam::012345678901:policy/theirs"
    access = actors.effective_permissions(settings(iam={"permissionsBoundaryArn": theirs}))
    for actor_ in access.actors:
        assert any(theirs in limit for limit in actor_.limits)
    assert "its inline policy of denials" in actor(access, "Spot function").limits


def test_without_credentials_no_principal_has_access(tmp_path, capsys):
    path = stack(tmp_path, credentials={"mode": "none"})
    assert actors.effective_permissions(settings(credentials={"mode": "none"})).actors == ()
    assert "nobody gets access to AWS" in printed(capsys, path)


def test_the_spot_function_is_left_out_when_it_is_switched_off():
    access = actors.effective_permissions(settings(spot={"enabled": False}))
    assert [a.title for a in access.actors] == ["CAST AI", "Nodes"]


@pytest.mark.parametrize(
    ("castai", "expected"),
    [
        ({}, "iam.nodeInterfaceTags"),
        ({"iam": {"nodeBoundary": False, "manageNodeRole": False}}, "every network interface"),
        ({"permissions": "documented"}, "reach beyond this cluster"),
        ({"iam": {"originalNodes": "by-cluster-tag"}}, "letter case only"),
        ({"iam": {"serviceLinkedRoles": True}}, "belong to the account"),
        ({}, "system:masters"),
        ({}, "any security group of the VPC"),
    ],
)
def test_notes_depend_on_the_settings(tmp_path, capsys, castai, expected):
    assert expected in printed(capsys, stack(tmp_path, **castai))


def test_notes_that_do_not_apply_are_absent(tmp_path, capsys):
    path = stack(
        tmp_path,
        credentials={"mode": "role"},
        iam={"nodeInterfaceTags": True, "securityGroupIds": ["sg-0a1b2c3d4e5f60718"]},
    )
    text = printed(capsys, path)
    for note in (
        "system:masters",
        "any security group",
        "AmazonEKS_CNI_Policy would",
        "letter case",
    ):
        assert note not in text


# --- what is not known --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["markdown", "json"])
@pytest.mark.parametrize("mode", ["user", "role"])
def test_unknown_ids_appear_as_placeholders(tmp_path, capsys, form, mode):
    text = printed(capsys, stack(tmp_path, credentials={"mode": mode}), "--format", form)
    assert "<cluster-id>" in text
    assert "<vpc-id>" in text
    assert "cast-demo-eks-<cluster-id:8>" in text
    assert grants.UNKNOWN_CLUSTER_ID[:8] not in text
    assert grants.UNKNOWN_VPC_ID not in text


def test_options_and_the_stack_file_provide_unknown_ids(tmp_path, capsys):
    text = printed(capsys, stack(tmp_path), "--vpc-id", VPC, "--cluster-id", ID)
    assert f"vpc/{VPC}" in text
    assert "cast-demo-eks-11111111" in text
    assert "<" not in text
    brought = stack(
        tmp_path,
        cluster={**CLUSTER, "vpcId": VPC},
        api={"register": False, "clusterId": ID},
    )
    assert printed(capsys, brought) == text


def test_sizes_count_the_unknown_at_full_length():
    unknown = actors.effective_permissions(settings())
    complete = actors.effective_permissions(settings(), cluster_id=ID, vpc_id=VPC)
    assert unknown.documents == complete.documents


def test_every_format_reports_an_oversized_document(tmp_path, capsys):
    path = stack(tmp_path, iam={"path": f"/{'p' * 300}/"})
    for form in ("markdown", "json"):
        assert "IAM allows 6144; shorten iam.path" in printed(capsys, path, "--format", form)


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the command asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("form", ["markdown", "json"])
def test_no_cloud_is_asked_and_no_secret_is_shown(tmp_path, capsys, monkeypatch, form):
    monkeypatch.setenv("CASTAI_API_KEY", SECRET)
    assert SECRET not in printed(capsys, stack(tmp_path), "--format", form)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vpc-id", "x"], "argument --vpc-id: found 'x'; allowed: a VPC id such as vpc-"),
        (["--cluster-id", "1"], "argument --cluster-id: found '1'; allowed: a UUID in lower-case"),
        (["--format", "pdf"], "argument --format: invalid choice: 'pdf'"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        permissions.main([str(stack(tmp_path)), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unreadable_stack_file_is_an_error(tmp_path, capsys):
    missing = tmp_path / "Pulumi.gone.yaml"
    assert permissions.main([str(missing)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"permissions: {missing}: No such file or directory; name a stack file\n"


def test_every_problem_of_the_second_stack_file_is_reported(tmp_path, capsys):
    wrong = stack(tmp_path, "Pulumi.b.yaml", permissions="all", iam={"path": "x"})
    assert permissions.main([str(stack(tmp_path)), str(wrong)]) == 2
    message = capsys.readouterr().err
    assert "castai-eks:castai.permissions: found 'all'" in message
    assert "castai-eks:castai.iam.path: found 'x'" in message


def test_the_data_carries_every_grant(tmp_path, capsys):
    data = json.loads(printed(capsys, stack(tmp_path), "--format", "json"))
    access = actors.effective_permissions(settings())
    for actor_data, expected in zip(data["actors"], access.actors, strict=True):
        assert actor_data["title"] == expected.title
        assert len(actor_data["grants"]) == len(expected.grants)
    grant = next(g for g in data["actors"][0]["grants"] if g["action"] == "ec2:StopInstances")
    assert grant == {
        "action": "ec2:StopInstances",
        "resource": "arn:aws:ec2:eu-central-1:012345678901:instance/*",
        "conditions": [
            {
                "operator": "StringEquals",
                "key": "aws:ResourceTag/aws:eks:cluster-name",
                "values": ["demo"],
            }
        ],
        "source": "OriginalInstanceActions",
        "reach": "this cluster",
    }


# --- two stacks ---------------------------------------------------------------------------------


def changes(capsys, tmp_path, before, after):
    first = stack(tmp_path, "Pulumi.a.yaml", **before)
    return printed(capsys, first, stack(tmp_path, "Pulumi.b.yaml", **after))


def test_the_same_stack_twice_changes_nothing(tmp_path, capsys):
    assert "Nobody gains or loses anything." in changes(
        capsys, tmp_path, {}, {"permissions": "scoped"}
    )


def test_a_switch_gains_and_loses_its_grants(tmp_path, capsys):
    on = {"iam": {"originalNodes": "by-cluster-tag"}}
    gained = (
        "ec2:TerminateInstances on `instance/*` if its tag `kubernetes.io/cluster/demo` is "
        "`owned` or `shared` (ClusterTaggedInstanceActions)"
    )
    assert f"- gains {gained}" in changes(capsys, tmp_path, {}, on)
    lost = changes(capsys, tmp_path, on, {})
    assert f"- loses {gained}" in lost
    assert "- gains" not in lost


def test_a_grant_covered_by_a_wider_one_is_not_lost(tmp_path, capsys):
    text = changes(capsys, tmp_path, {}, {"permissions": "documented"})
    assert "- gains iam:CreateRole on `everything` (NonResourcePermissions)" in text
    assert "loses iam:" not in text, "every IAM grant of scoped lies within one of documented"
    assert "loses ec2:RunInstances" not in text
    assert "loses ec2:StopInstances on `instance/*` if its tag `aws:eks:cluster-name`" in text


def test_a_removed_boundary_is_a_gain(tmp_path, capsys):
    off = {"iam": {"nodeBoundary": False, "manageNodeRole": False}}
    text = changes(capsys, tmp_path, {}, off)
    assert "- gains ec2:DeleteNetworkInterface on `everything` (AmazonEKS_CNI_Policy)" in text
    assert "- gains is no longer limited" not in text
    assert "- is no longer limited by boundary arn:aws:iam::012345678901:policy/CastNode" in text


def test_a_new_actor_gains_all_its_grants(tmp_path, capsys):
    text = changes(capsys, tmp_path, {"spot": {"enabled": False}}, {})
    assert "## Spot function" in text
    assert "- gains logs:PutLogEvents on" in text


def test_the_difference_as_data_names_actor_gains_and_losses(tmp_path, capsys):
    first = stack(tmp_path, "Pulumi.a.yaml")
    second = stack(tmp_path, "Pulumi.b.yaml", iam={"createNodeGroups": True})
    [difference] = json.loads(printed(capsys, first, second, "--format", "json"))["differences"]
    assert difference["actor"] == "CAST AI"
    assert difference["loses"] == []
    assert "eks:CreateNodegroup" in {grant["action"] for grant in difference["gains"]}


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        (("ec2:*", "*", ()), ("ec2:StopInstances", "arn:x", ()), True),
        (("ec2:Stop*", "*", ()), ("ec2:StartInstances", "*", ()), False),
        (("a:B", "arn:*:x", ()), ("a:B", "arn:aws:x", ()), True),
        (("a:B", "arn:aws:x", ()), ("a:B", "arn:*:x", ()), False),
        (("a:B", "*", ()), ("a:B", "*", (("StringEquals", "k", ("v",)),)), True),
        (("a:B", "*", (("StringEquals", "k", ("v",)),)), ("a:B", "*", ()), False),
        (
            ("a:B", "*", (("StringEquals", "k", ("v", "w")),)),
            ("a:B", "*", (("StringEquals", "k", ("v",)),)),
            True,
        ),
        (
            ("a:B", "*", (("StringEquals", "ec2:ResourceTag/t", ("v",)),)),
            ("a:B", "*", (("StringEquals", "aws:ResourceTag/T", ("v",)),)),
            True,
        ),
        (
            ("a:B", "*", (("StringEquals", "ec2:Vpc", ("v",)),)),
            ("a:B", "*", (("ArnEquals", "ec2:Vpc", ("v",)),)),
            True,
        ),
    ],
)
def test_one_grant_covers_another_when_it_allows_all_of_it(wide, narrow, expected):
    assert Grant(*wide, "S", "beyond").covers(Grant(*narrow, "T", "beyond")) is expected


def test_two_grants_meet_in_the_narrower_of_each_part():
    one = Grant("ec2:Describe*", "*", (("StringEquals", "a", ("1",)),), "A", "reads")
    other = Grant("ec2:DescribeInstances", "arn:x", (("StringEquals", "b", ("2",)),), "B", "reads")
    both = one.meet(other)
    assert both is not None
    assert (both.action, both.resource) == ("ec2:DescribeInstances", "arn:x")
    assert {key for _, key, _ in both.conditions} == {"a", "b"}
    assert one.meet(Grant("s3:GetObject", "*", (), "C", "reads")) is None
