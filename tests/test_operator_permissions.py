import json

import pytest
import yaml

from castai_stack import operator_permissions as operator
from castai_stack.validation import validate

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}


def settings(**more):
    return validate({"cluster": CLUSTER, **more}, "castai-eks:castai")


def actions(document):
    return {a for s in document["Statement"] for a in s["Action"]}


def test_a_preview_reads_and_nothing_else():
    document = operator.policy(operator.requirements(settings(), access_entries=True), apply=False)

    verbs = {action.split(":")[1] for action in actions(document)}
    assert all(v.startswith(("Get", "List", "Describe", "Simulate")) for v in verbs), verbs


def test_every_write_names_its_resource():
    document = operator.policy(operator.requirements(settings(), access_entries=True), apply=True)

    for statement in document["Statement"]:
        writes = [a for a in statement["Action"] if not operator._READS.search(a)]
        if writes:
            assert all("demo" in r or "cast-" in r for r in statement["Resource"]), statement


@pytest.mark.parametrize(
    ("more", "present", "absent"),
    [
        ({}, "iam:CreateAccessKey", "secretsmanager:CreateSecret"),
        ({"credentials": {"mode": "role"}}, "iam:UpdateAssumeRolePolicy", "iam:CreateUser"),
        ({"credentials": {"mode": "none"}}, "eks:DescribeCluster", "iam:CreateRole"),
        ({"spot": {"enabled": False}}, "iam:CreateUser", "lambda:CreateFunction"),
    ],
)
def test_the_list_follows_the_settings(more, present, absent):
    needed = operator.requirements(settings(**more), access_entries=False)

    found = actions(operator.policy(needed, apply=True))

    assert present in found
    assert absent not in found


def test_a_map_is_edited_only_where_the_cluster_reads_one():
    def touched(*, aws_auth):
        needed = operator.kubernetes_requirements(settings(), aws_auth=aws_auth)
        return any(r.name == "aws-auth" for r in needed)

    assert touched(aws_auth=True)
    assert not touched(aws_auth=False)


def test_the_command_prints_documents_for_a_stack_file(tmp_path, capsys):
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(yaml.safe_dump({"config": {"castai-eks:castai": {"cluster": CLUSTER}}}))

    assert operator.main([str(path)]) == 0
    assert "iam:CreateUser" in actions(json.loads(capsys.readouterr().out))
    assert operator.main([str(path), "--for", "preview", "--kubernetes"]) == 0
    role = yaml.safe_load(capsys.readouterr().out)
    assert {v for rule in role["rules"] for v in rule["verbs"]} == {"get", "list"}


def test_a_wrong_stack_file_is_exit_status_two(tmp_path, capsys):
    assert operator.main([str(tmp_path / "none.yaml")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_the_policy_of_features_is_the_operators_only_when_one_is_switched_on():
    def policies(**iam):
        [found] = [
            r
            for r in operator.requirements(settings(iam=iam), access_entries=False)
            if r.part == "policies"
        ]
        return found.resources

    assert not any("CastEKSFeatures" in policy for policy in policies())
    assert any("CastEKSFeatures-" in policy for policy in policies(createNodeGroups=True))
