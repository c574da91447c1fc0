import fnmatch
import json

import pytest
import yaml

from castai_stack.agent import manifests
from castai_stack.commands import operator_permissions
from castai_stack.config.validation import validate
from castai_stack.permissions import operator as permissions_operator
from castai_stack.permissions import operator_kubernetes

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}


def settings(**more):
    return validate({"cluster": CLUSTER, **more}, "castai-eks:castai")


def actions(document):
    return {a for s in document["Statement"] for a in s["Action"]}


def test_a_preview_reads_and_nothing_else():
    document = permissions_operator.policy(
        permissions_operator.requirements(settings(), access_entries=True), apply=False
    )

    verbs = {action.split(":")[1] for action in actions(document)}
    assert all(v.startswith(("Get", "List", "Describe", "Simulate")) for v in verbs), verbs


def test_every_write_names_its_resource_or_the_tag_of_this_cluster():
    document = permissions_operator.policy(
        permissions_operator.requirements(settings(), access_entries=True), apply=True
    )

    for statement in document["Statement"]:
        writes = [a for a in statement["Action"] if not permissions_operator._READS.search(a)]
        named = [*statement["Resource"], *statement.get("Condition", {}).get("StringEquals", {})]
        if writes and statement["Sid"] != "NewSecurityGroupInTheVpc":
            tagged = any(name.endswith("Tag/castai-eks:cluster") for name in named)
            exact = all("demo" in r or "cast-" in r for r in statement["Resource"])
            assert tagged or exact, statement


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
    needed = permissions_operator.requirements(settings(**more), access_entries=False)

    granted = actions(permissions_operator.policy(needed, apply=True))

    assert present in granted
    assert absent not in granted


def test_a_map_is_edited_only_where_the_cluster_reads_one():
    def touched(*, aws_auth):
        needed = operator_kubernetes.kubernetes_requirements(settings(), aws_auth=aws_auth)
        return any(r.name == "aws-auth" for r in needed)

    assert touched(aws_auth=True)
    assert not touched(aws_auth=False)


def test_the_command_prints_documents_for_a_stack_file(tmp_path, capsys):
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(yaml.safe_dump({"config": {"castai-eks:castai": {"cluster": CLUSTER}}}))

    assert operator_permissions.main([str(path)]) == 0
    assert "iam:CreateUser" in actions(json.loads(capsys.readouterr().out))
    assert operator_permissions.main([str(path), "--for", "preview", "--kubernetes"]) == 0
    role = yaml.safe_load(capsys.readouterr().out)
    assert {v for rule in role["rules"] for v in rule["verbs"]} == {"get"}


def test_a_wrong_stack_file_is_exit_status_two(tmp_path, capsys):
    assert operator_permissions.main([str(tmp_path / "none.yaml")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_the_policy_of_features_is_the_operators_only_when_one_is_switched_on():
    def policies(**iam):
        [requirement] = [
            r
            for r in permissions_operator.requirements(settings(iam=iam), access_entries=False)
            if r.part == "policies"
        ]
        return requirement.resources

    assert not any("CastEKSFeatures" in policy for policy in policies())
    assert any("CastEKSFeatures-" in policy for policy in policies(createNodeGroups=True))


@pytest.mark.parametrize("name", ["demo-eu", "demo-eks-eu"])
def test_no_pattern_matches_a_cluster_whose_name_begins_with_this_one(name):
    own = settings(spot={"keyInSecretsManager": True})
    neighbour = settings(cluster={**CLUSTER, "name": name}, spot={"keyInSecretsManager": True})

    def of(chosen):
        needed = permissions_operator.requirements(chosen, access_entries=True)
        named = [r for one in needed for r in one.resources if not one.conditions]
        return {r for r in named if r != "*" and not r.endswith(("log-group:*", "vpc/*"))}

    for pattern in of(own):
        for other in of(neighbour):
            name = other.replace("?", "a").replace("*", "0f3f1ba4")
            assert not fnmatch.fnmatchcase(name, pattern), f"{pattern} reaches {name}"


@pytest.mark.parametrize(
    ("more", "boundaries"),
    [
        ({}, ["CastLambdaBoundary", "CastNodeBoundary"]),
        ({"iam": {"nodeBoundary": False, "manageNodeRole": False}}, ["CastLambdaBoundary"]),
        ({"spot": {"enabled": False}}, ["CastNodeBoundary"]),
        ({"permissions": "documented"}, []),
        ({"iam": {"permissionsBoundaryArn": "arn:aws:iam::012345678901:policy/theirs"}}, []),
    ],
)
def test_boundaries_are_on_the_list_where_the_program_makes_them(more, boundaries):
    [policies] = [
        one
        for one in permissions_operator.requirements(settings(**more), access_entries=False)
        if one.part == "policies"
    ]

    names = [arn.rpartition("/")[2].partition("-")[0] for arn in policies.resources]
    assert sorted(name for name in names if "Boundary" in name) == boundaries


@pytest.mark.parametrize(
    ("access", "mode", "listed"),
    [
        ("auto", None, {"entries", "map"}),
        ("auto", "CONFIG_MAP", {"map"}),
        ("auto", "API_AND_CONFIG_MAP", {"entries"}),
        ("aws-auth", "API_AND_CONFIG_MAP", {"map"}),
        ("aws-auth", None, {"map"}),
        ("access-entries", None, {"entries"}),
    ],
)
def test_the_command_follows_the_chosen_mapping(tmp_path, capsys, access, mode, listed):
    cluster = CLUSTER if mode is None else {**CLUSTER, "authenticationMode": mode}
    configuration = {"cluster": cluster, "access": {"mode": access}}
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(yaml.safe_dump({"config": {"castai-eks:castai": configuration}}))

    operator_permissions.main([str(path)])
    assert ("eks:CreateAccessEntry" in capsys.readouterr().out) is ("entries" in listed)
    operator_permissions.main([str(path), "--kubernetes"])
    assert ("castai-aws-auth-backup" in capsys.readouterr().out) is ("map" in listed)


def test_a_preview_reads_no_secret_but_those_of_the_stack():
    needed = operator_kubernetes.kubernetes_requirements(settings(), aws_auth=True)
    role = operator_kubernetes.cluster_role(needed, apply=False)

    named = [r.get("resourceNames") for r in role["rules"] if r["resources"] == ["secrets"]]
    assert named == [
        ["castai-agent"],
        ["castai-agent-tls-cert"],
        ["castai-cluster-controller"],
    ]


def test_deleting_a_user_needs_the_list_of_virtual_devices():
    def resources(mode):
        needed = permissions_operator.requirements(
            settings(credentials={"mode": mode}), access_entries=False
        )
        return [one.resources for one in needed if "iam:ListVirtualMFADevices" in one.actions]

    assert resources("user") == [("*",)]
    assert resources("role") == []


def written(needed, namespace="castai-agent"):
    return {r.resource for r in needed if "create" in r.verbs and r.namespace == namespace}


def test_a_kind_that_the_documents_gain_is_on_the_operators_list(monkeypatch):
    objects = manifests.objects

    def with_a_job(*args, **kwargs):
        metadata = {"name": "castai-agent", "namespace": "castai-agent"}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}
        return {**objects(*args, **kwargs), "job": job}

    assert "jobs" not in written(
        operator_kubernetes.kubernetes_requirements(settings(), aws_auth=False)
    )
    monkeypatch.setattr(manifests, "objects", with_a_job)
    assert "jobs" in written(
        operator_kubernetes.kubernetes_requirements(settings(), aws_auth=False)
    )


def test_the_list_covers_what_an_update_of_the_settings_may_delete():
    fewest = settings(
        agent={"existingSecret": "x", "priorityClass": "", "autoscaling": {"enabled": False}}
    )

    assert written(operator_kubernetes.kubernetes_requirements(fewest, aws_auth=False)) == written(
        operator_kubernetes.kubernetes_requirements(settings(), aws_auth=False)
    )


def test_leases_are_deleted_by_name_and_only_from_a_namespace_that_stays():
    def leases(**agent):
        needed = operator_kubernetes.kubernetes_requirements(settings(agent=agent), aws_auth=False)
        return {(r.verbs, r.name) for r in needed if r.resource == "leases"}

    assert leases() == set()
    assert leases(createNamespace=False) == {
        (("delete",), "agent-leader-election-lock"),
        (("delete",), "agent-leader-election-lock-registration"),
        (("delete",), "cluster-controller"),
    }


def test_the_security_group_is_the_operators_by_the_tag_of_the_cluster_and_only_where_it_is_made():
    def statements(**more):
        needed = permissions_operator.requirements(settings(**more), access_entries=False)
        document = permissions_operator.policy(needed, apply=True)
        return {s["Sid"]: s for s in document["Statement"] if "ec2" in s["Action"][0]}

    result = statements()
    assert result["SecurityGroup"]["Condition"] == {
        "StringEquals": {"aws:ResourceTag/castai-eks:cluster": "demo"}
    }
    assert result["TagsOfTheNewSecurityGroup"]["Condition"]["StringEquals"] == {
        "aws:RequestTag/castai-eks:cluster": "demo",
        "ec2:CreateAction": "CreateSecurityGroup",
    }
    remaining = {"automation": {"nodes": {"createSecurityGroup": False}}}
    assert set(statements(**remaining)) == {"Networks"}
    assert not statements(automation={"nodes": {"enabled": False}})
    assert not statements(credentials={"mode": "none"})
    stated = statements(cluster={**CLUSTER, "vpcId": "vpc-0123456789abcdef0"})
    assert stated["NewSecurityGroupInTheVpc"]["Resource"] == [
        "arn:aws:ec2:eu-central-1:012345678901:vpc/vpc-0123456789abcdef0"
    ]


@pytest.mark.parametrize("limit", [None, 40])
def test_nodes_are_listed_only_where_a_limit_is_compared_with_them(limit):
    autoscaler = {"enabled": True, **({"cpuLimit": limit} if limit else {})}
    needed = operator_kubernetes.kubernetes_requirements(
        settings(automation={"autoscaler": autoscaler}), aws_auth=False
    )

    assert any(one.resource == "nodes" for one in needed) is (limit is not None)


def test_definitions_of_kinds_are_written_with_the_evictor_only_and_read_for_the_audit():
    def kinds(verb="create", **more):
        needed = operator_kubernetes.kubernetes_requirements(settings(**more), aws_auth=False)
        return {one.resource for one in needed if verb in one.verbs}

    optional = {"customresourcedefinitions", "evictorconfigs", "daemonsets"}
    assert not kinds() & optional
    assert kinds("list") >= optional
    assert kinds(automation={"evictor": {"enabled": True}}) & optional == optional - {"daemonsets"}
    assert kinds(spot={"handler": "both"}) & optional == {"daemonsets"}


def test_the_controllers_objects_are_on_the_list_whatever_the_settings():
    """An update that switches the controller off deletes them."""
    off = settings(automation={"controller": {"enabled": False}, "existingSecret": "x"})

    assert operator_kubernetes.kubernetes_requirements(off, aws_auth=False) == (
        operator_kubernetes.kubernetes_requirements(settings(), aws_auth=False)
    )


def test_what_is_taken_over_is_the_operators_before_it_has_the_tag_of_the_cluster():
    group = "sg-0a1b2c3d4e5f60718"
    taking = settings(adoption={"imports": {"node-security-group": group, "iam-key-a": "AKIA"}})

    def of_part(chosen, part):
        return [
            one
            for one in permissions_operator.requirements(chosen, access_entries=False)
            if one.part == part
        ]

    (requirement,) = of_part(taking, "security group to take over")
    assert [arn.rpartition("/")[2] for arn in requirement.resources] == [group]
    assert requirement.conditions == ()
    (requirement,) = of_part(taking, "access key to take over")
    assert requirement.actions == ("iam:GetAccessKeyLastUsed",)
    assert not of_part(settings(), "security group to take over")
