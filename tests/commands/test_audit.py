"""The audit of an account that judges, and of the sandbox's CAST AI service."""

import io
import json
import os
import zipfile
from types import SimpleNamespace

import pytest
import requests
from botocore.exceptions import ClientError
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta, Status
from lightkube.resources.core_v1 import ConfigMap

from castai_stack.agent import manifests, settings
from castai_stack.agent import release as agent_release
from castai_stack.castai.client import CastaiApi
from castai_stack.commands import audit, audit_kubernetes, aws_kinds, cluster
from castai_stack.commands.aws_clients import AwsError, asking
from castai_stack.commands.aws_kinds import OURS, SCRIPT, SHARED, TERRAFORM
from castai_stack.commands.leftovers import TAKEN_OVER
from castai_stack.kube import connection
from castai_stack.naming import CLUSTER_TAG
from castai_stack.spot import events
from sandbox import aws
from sandbox.castai import API_KEY, serve
from sandbox.serving.faults import HALF_ANSWER
from tests.support.castai import QUICK, REGION, StubCloud, an_account

ACCOUNT = "012345678901"
TARGET = audit.Target("demo", REGION, ACCOUNT)
WHICH = ["--cluster", "demo", "--region", REGION, "--account-id", ACCOUNT]
MINE = [{"Key": CLUSTER_TAG, "Value": "demo"}]
THEIRS = [{"Key": CLUSTER_TAG, "Value": "other"}]
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "ec2:DescribeVpcs", "Resource": "*"}],
    }
)


@pytest.fixture
def account(tmp_path, monkeypatch):
    """An account with somebody else's cluster, nodes and roles; the environment reaches it."""
    with an_account(tmp_path / "aws") as url:
        seeded = aws.seed(url)
        operator = seeded.operator
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", operator.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", operator.secret_access_key)
        monkeypatch.setenv("AWS_SESSION_TOKEN", operator.session_token)
        yield lambda service: operator.client(service, url)


@pytest.fixture
def castai(tmp_path, monkeypatch):
    running = serve(tmp_path / "castai", "http://127.0.0.1:1", options=QUICK)
    running.service.cloud = StubCloud()
    monkeypatch.setenv("CASTAI_API_URL", running.url)
    monkeypatch.setenv("CASTAI_API_KEY", API_KEY)
    yield running
    running.close()


def without(*places):
    return [*WHICH, *(word for place in places for word in ("--without", place))]


def tagged(kind, tags):
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]}


def a_role(service="ec2.amazonaws.com", **more):
    trust = TRUST.replace("ec2.amazonaws.com", service)
    return {"AssumeRolePolicyDocument": trust, **more}


def a_function(client, name):
    role = client("iam").create_role(RoleName=f"of-{name}", **a_role("lambda.amazonaws.com"))
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", "def handle(event, context): pass")
    client("lambda").create_function(
        FunctionName=name,
        Role=role["Role"]["Arn"],
        Runtime="python3.12",
        Handler="handler.handle",
        Code={"ZipFile": code.getvalue()},
    )


def an_alarm(name):
    return {
        "AlarmName": name,
        "MetricName": "Errors",
        "Namespace": "AWS/Lambda",
        "ComparisonOperator": "GreaterThanThreshold",
        "EvaluationPeriods": 1,
        "Period": 60,
        "Statistic": "Sum",
        "Threshold": 0,
    }


def a_group(client, name, **more):
    return client("ec2").create_security_group(GroupName=name, Description="x", **more)["GroupId"]


def an_instance(client, tags):
    return client("ec2").run_instances(
        ImageId="ami-0123456789abcdef0",
        InstanceType="m5.large",
        MinCount=1,
        MaxCount=1,
        **tagged("instance", tags),
    )["Instances"][0]["InstanceId"]


def a_volume(client, tags):
    return client("ec2").create_volume(
        AvailabilityZone=f"{REGION}a", Size=1, **tagged("volume", tags)
    )["VolumeId"]


def a_used_policy(client, name):
    iam = client("iam")
    arn = iam.create_policy(PolicyName=name, PolicyDocument=POLICY)["Policy"]["Arn"]
    iam.create_user(UserName="somebody")
    iam.attach_user_policy(UserName="somebody", PolicyArn=arn)


NODE = [
    {"Key": "kubernetes.io/cluster/demo", "Value": "owned"},
    {"Key": "cast:cluster-id", "Value": "x"},
]
NODE_ROLE = f"{OURS} or {SCRIPT}"
FUNCTION = "cast-ai-ec2-events-handler-demo"
OBJECTS = [
    # Kind, name, origin (None: no leftover) and the call that creates it. `{}` in a name stands
    # for the id that the call returns.
    ("user", "cast-eks-demo", OURS, lambda c, n: c("iam").create_user(UserName=n, Tags=MINE)),
    ("user", "cast-eks-other", None, lambda c, n: c("iam").create_user(UserName=n)),
    (
        "role",
        "cast-demo-eks-3f2b8a4c",
        OURS,
        lambda c, n: c("iam").create_role(RoleName=n, **a_role(Tags=MINE)),
    ),
    (
        "role",
        "CastSomething",
        OURS,
        lambda c, n: c("iam").create_role(RoleName=n, **a_role(Tags=MINE)),
    ),
    (
        "role",
        "CastLambdaRoleForSpot",
        None,
        lambda c, n: c("iam").create_role(RoleName=n, **a_role(Tags=THEIRS)),
    ),
    (
        "role",
        "CastLambdaRoleForSpot-demo",
        OURS,
        lambda c, n: c("iam").create_role(RoleName=n, **a_role("lambda.amazonaws.com")),
    ),
    (
        "instance profile",
        "cast-demo-eks-3f2b8a4c",
        NODE_ROLE,
        lambda c, n: c("iam").create_instance_profile(InstanceProfileName=n),
    ),
    (
        "instance profile",
        "cast-tagged",
        OURS,
        lambda c, n: c("iam").create_instance_profile(InstanceProfileName=n, Tags=MINE),
    ),
    (
        "policy",
        "CastEKSPolicy",
        SHARED,
        lambda c, n: c("iam").create_policy(PolicyName=n, PolicyDocument=POLICY),
    ),
    (
        "policy",
        "CastEKSRestrictedAccess-demo",
        OURS,
        lambda c, n: c("iam").create_policy(PolicyName=n, PolicyDocument=POLICY),
    ),
    (
        "security group",
        "{} cast-demo-cluster/CastNodeSecurityGroup",
        SCRIPT,
        lambda c, _: a_group(c, "cast-demo-cluster/CastNodeSecurityGroup"),
    ),
    (
        "security group",
        "{} whatever",
        OURS,
        lambda c, _: a_group(c, "whatever", **tagged("security-group", MINE)),
    ),
    ("security group", "{} foreign", None, lambda c, _: a_group(c, "foreign")),
    ("instance", "{}", "CAST AI, as a node", lambda c, _: an_instance(c, NODE)),
    ("instance", "{}", None, lambda c, _: an_instance(c, NODE[:1])),
    (
        "key pair",
        "of-a-node",
        OURS,
        lambda c, n: c("ec2").create_key_pair(KeyName=n, **tagged("key-pair", MINE)),
    ),
    ("volume", "{}", OURS, lambda c, _: a_volume(c, MINE)),
    ("volume", "{}", "CAST AI, for a node", lambda c, _: a_volume(c, NODE)),
    ("volume", "{}", None, lambda c, _: a_volume(c, THEIRS)),
    (
        "rule",
        "cast-ai-spot-interruption-demo",
        OURS,
        lambda c, n: c("events").put_rule(Name=n, EventPattern='{"source": ["aws.ec2"]}'),
    ),
    (
        "log group",
        f"/aws/lambda/{FUNCTION}",
        OURS,
        lambda c, n: c("logs").create_log_group(logGroupName=n),
    ),
    (
        "log group",
        "/aws/lambda/eks-demo-events-listener",
        SCRIPT,
        lambda c, n: c("logs").create_log_group(logGroupName=n),
    ),
    (
        "queue",
        "cast-ai-ec2-events-dead-letters-demo",
        OURS,
        lambda c, n: c("sqs").create_queue(QueueName=n),
    ),
    ("function", FUNCTION, OURS, a_function),
    (
        "alarm",
        f"{FUNCTION}-errors",
        OURS,
        lambda c, n: c("cloudwatch").put_metric_alarm(**an_alarm(n)),
    ),
    (
        "secret",
        events.secret_name(FUNCTION),
        OURS,
        lambda c, n: c("secretsmanager").create_secret(Name=n, SecretString="x", Tags=MINE),
    ),
]


def test_every_leftover_in_aws_is_listed_and_no_other_object(account, capsys):
    only_aws = without("kubernetes", "castai")
    assert audit.main(only_aws) == 0
    assert capsys.readouterr().out == (
        f"audit: 0 leftovers of cluster demo ({REGION}, account {ACCOUNT}); asked: aws\n"
    )

    expected = set()
    for kind, name, origin, create in OBJECTS:
        created = create(account, name)
        if origin:
            expected.add(("aws", kind, name.replace("{}", str(created)), origin))
    answer = audit.audit(TARGET, ["aws"])

    assert answer.problems == []
    assert {(one.place, one.kind, one.name, one.origin) for one in answer.leftovers} == expected
    kinds = {kind for kind, *_ in OBJECTS} | {"access entry"}
    assert kinds == set(aws_kinds.BY_NAME), "a type has no object in the table"


def test_the_keys_of_a_user_are_listed_without_their_secrets(account, capsys):
    iam = account("iam")
    iam.create_user(UserName="cast-eks-demo", Tags=MINE)
    key = iam.create_access_key(UserName="cast-eks-demo")["AccessKey"]

    assert audit.main(without("kubernetes", "castai")) == 1

    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].split() == ["PLACE", "KIND", "NAME", "MADE", "BY"]
    assert f"{key['AccessKeyId']} of cast-eks-demo, Active, 0 days old" in lines[1]
    assert len(lines) == 4
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in printed, "colour in a pipe"
    assert key["SecretAccessKey"] not in printed


def test_a_node_that_has_ended_is_no_leftover(account):
    node = an_instance(account, NODE)
    assert len(audit.audit(TARGET, ["aws"]).leftovers) == 1

    account("ec2").terminate_instances(InstanceIds=[node])

    assert audit.audit(TARGET, ["aws"]).leftovers == set()


def test_the_document_for_scripts_holds_leftovers_and_problems(account, capsys):
    account("iam").create_user(UserName="cast-eks-demo", Tags=MINE)

    assert audit.main([*without("kubernetes", "castai"), "--format", "json"]) == 1

    document = json.loads(capsys.readouterr().out)
    assert document["leftovers"] == [
        {"place": "aws", "kind": "user", "name": "cast-eks-demo", "origin": OURS}
    ]
    assert document["problems"] == []
    assert document["asked"] == ["aws"]


def test_an_access_entry_of_the_programs_principals_is_a_leftover(account):
    eks = account("eks")
    vpc = account("ec2").describe_subnets()["Subnets"][0]
    eks.create_cluster(
        name="entries",
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/cluster",
        resourcesVpcConfig={"subnetIds": [vpc["SubnetId"]]},
        accessConfig={"authenticationMode": "API"},
    )
    result = account("iam").create_role(
        RoleName="cast-entries-eks-3f2b8a4c", AssumeRolePolicyDocument=TRUST
    )["Role"]["Arn"]
    eks.create_access_entry(clusterName="entries", principalArn=result, type="EC2_LINUX")
    answer = audit.audit(audit.Target("entries", REGION, ACCOUNT), ["aws"])

    assert answer.problems == []
    assert ("access entry", result) in {(one.kind, one.name) for one in answer.leftovers}

    adopted = audit.Target("entries", REGION, ACCOUNT, adopted=frozenset({f"entries:{result}"}))
    origins = {one.name: one.origin for one in audit.audit(adopted, ["aws"]).leftovers}
    assert origins[result] == TAKEN_OVER


def test_what_was_taken_over_is_told_from_what_another_installer_still_owns(account):
    iam = account("iam")
    iam.create_role(RoleName="castai-eks-demo", AssumeRolePolicyDocument=TRUST, Tags=MINE)
    iam.create_role(RoleName="castai-eks-instance-demo", AssumeRolePolicyDocument=TRUST)
    answer = audit.audit(audit.Target("demo", REGION, ACCOUNT), ["aws"])

    origins = {one.name: one.origin for one in answer.leftovers}
    assert origins["castai-eks-demo"] == OURS
    assert origins["castai-eks-instance-demo"] == TERRAFORM


def test_what_a_stack_file_takes_over_is_told_before_it_has_the_stacks_tag(account):
    iam = account("iam")
    iam.create_role(RoleName="castai-eks-demo", AssumeRolePolicyDocument=TRUST)
    iam.create_role(RoleName="castai-eks-instance-demo", AssumeRolePolicyDocument=TRUST)
    a_used_policy(account, "CastEKSPolicy-demo")
    shared = f"arn:aws:iam::{ACCOUNT}:policy/CastEKSPolicy-demo"
    attachment = f"castai-eks-demo/{shared}"

    def origins(*adopted: str) -> dict[str, str]:
        target = audit.Target("demo", REGION, ACCOUNT, adopted=frozenset(adopted))
        return {one.name: one.origin for one in audit.audit(target, ["aws"]).leftovers}

    result = origins("castai-eks-demo", attachment)
    assert result["castai-eks-demo"] == TAKEN_OVER
    assert result["castai-eks-instance-demo"] == TERRAFORM
    assert result["CastEKSPolicy-demo"] == OURS, "only its attachment is taken over"
    assert origins(shared)["CastEKSPolicy-demo"] == TAKEN_OVER


def test_an_account_wide_policy_in_use_elsewhere_is_no_leftover(account):
    a_used_policy(account, "CastEKSPolicy")
    assert audit.main(without("kubernetes", "castai")) == 0


def test_credentials_of_another_account_are_an_error_and_no_clean_bill(account, capsys):
    del account
    arguments = ["--cluster", "demo", "--region", REGION, "--account-id", "999999999999"]
    assert audit.main([*arguments, "--without", "kubernetes", "--without", "castai"]) == 2
    assert f"the AWS credentials are for account {ACCOUNT}" in capsys.readouterr().err


def test_one_refusal_hides_no_other_answer(account, monkeypatch, capsys):
    account("iam").create_user(UserName="cast-eks-demo", Tags=MINE)

    list_entries = aws_kinds.entries

    def refused(client, kind, cluster):
        if kind.name == "queue":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListQueues")
        return list_entries(client, kind, cluster)

    monkeypatch.setattr(aws_kinds, "entries", refused)
    assert audit.main(without("kubernetes", "castai")) == 2
    messages = capsys.readouterr()
    assert "cast-eks-demo" in messages.out
    assert "not everything could be asked" in messages.out
    assert messages.err == "audit: SQS queues: AWS answers AccessDenied: no\n"


def test_a_live_cluster_in_castai_is_a_leftover_and_an_archived_one_is_not(castai, capsys):
    api = CastaiApi(castai.url, API_KEY)
    cluster_id = api.register("demo", REGION, ACCOUNT).id
    api.register("other", REGION, ACCOUNT)
    arguments = without("aws", "kubernetes")
    assert audit.main(arguments) == 1
    assert f"{cluster_id} demo, connecting" in capsys.readouterr().out
    api.delete_cluster(cluster_id)
    assert audit.main(arguments) == 0


@pytest.mark.parametrize(("key", "messages"), [("", "set CASTAI_API_KEY"), ("wrong", "HTTP 401")])
def test_without_a_working_key_castai_does_not_count_as_clean(
    castai, monkeypatch, capsys, key, messages
):
    del castai
    monkeypatch.setenv("CASTAI_API_KEY", key)
    assert audit.main(without("aws", "kubernetes")) == 2
    assert messages in capsys.readouterr().err


def test_an_unreachable_cluster_does_not_count_as_clean(capsys):
    arguments = [*without("aws", "castai"), "--kubeconfig", "/nowhere"]
    assert audit.main(arguments) == 2
    assert "Kubernetes: cluster.kubeconfig: there is no file /nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    "described",
    [
        # A cluster outside of AWS that EKS only registers, and one that is being created.
        {"status": "ACTIVE", "connectorConfig": {"provider": "OTHER"}},
        {"status": "CREATING", "resourcesVpcConfig": {}},
        {"status": "CREATING", "endpoint": "https://x", "certificateAuthority": {}},
    ],
)
def test_a_cluster_without_an_address_is_one_sentence(monkeypatch, capsys, described):
    eks = SimpleNamespace(describe_cluster=lambda name: {"cluster": {"name": name, **described}})
    monkeypatch.setattr(cluster, "clients", lambda _region, _account: lambda _service: eks)

    assert audit.main(without("aws", "castai")) == 2

    assert capsys.readouterr().err == (
        "audit: Kubernetes: EKS gives no address of cluster demo "
        f"(status {described['status']}); wait until it is ACTIVE, or give --kubeconfig\n"
    )


def test_an_incomplete_answer_of_aws_is_one_sentence_that_quotes_nothing_of_it(tmp_path):
    with an_account(tmp_path) as url:
        iam = aws.root(url).client("iam", url)
        iam.create_user(UserName="cast-eks-demo")
        rule = {"action": "iam:CreateAccessKey", "status": HALF_ANSWER, "times": 1}
        requests.put(f"{url}/_sandbox/faults", json={"rules": [rule]}, timeout=10)
        with pytest.raises(AwsError) as refusal, asking("a new key"):
            iam.create_access_key(UserName="cast-eks-demo")

    assert str(refusal.value) == (
        "a new key: the answer is incomplete, or comes from a proxy instead of AWS; "
        "run the same command again"
    )


CONFIGURATIONS = {
    "no such profile": (
        {"AWS_PROFILE": "nope"},
        "",
        "The config profile (nope) could not be found",
    ),
    "no address": ({"AWS_ENDPOINT_URL": "nonsense"}, "", "cannot be used (ValueError)"),
    "a token over two lines": (
        {"AWS_SESSION_TOKEN": "se\ncret"},
        "",
        "the request cannot be sent",
    ),
    "not an INI file": ({}, "[default\n", "Unable to parse config file"),
    "no login program": ({}, "[default]\ncredential_process = /nowhere\n", "/nowhere"),
    "a login program without an answer": (
        {},
        "[default]\ncredential_process = echo se-cret\n",
        "cannot be used (JSONDecodeError)",
    ),
    "no credentials": ({}, "", "Unable to locate credentials"),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_every_fault_of_the_aws_configuration_is_one_sentence(case, tmp_path, monkeypatch, capsys):
    variables, text, reason = CONFIGURATIONS[case]
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "config"
    config.write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if not text and case != "no credentials":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "se-cret")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert audit.main(without("kubernetes", "castai")) == 2

    captured = capsys.readouterr()
    assert captured.err.startswith("audit: the account: ")
    assert reason in captured.err
    assert captured.err.count("\n") == 1
    assert r"se\ncret" not in captured.err
    assert "se-cret" not in captured.err


def test_an_item_without_id_is_one_sentence(castai, monkeypatch, capsys):
    del castai
    monkeypatch.setattr(CastaiApi, "_call", lambda *_, **__: {"items": [{"name": "no id"}]})

    assert audit.main(without("aws", "kubernetes")) == 2

    messages = capsys.readouterr().err
    assert messages.startswith("audit: CAST AI: ")
    assert messages.count("\n") == 1


def test_without_a_cluster_nothing_is_asked(capsys):
    assert audit.main(["--cluster", "demo"]) == 2
    assert capsys.readouterr().err == (
        "audit: --region, --account-id: missing; add them, or name a stack file\n"
    )


def test_arguments_win_over_the_stack_file_wherever_it_stands(tmp_path, castai, capsys):
    del castai
    file = tmp_path / "Pulumi.x.yaml"
    coordinates = {"name": "demo", "region": REGION, "accountId": ACCOUNT}
    file.write_text(json.dumps({"config": {"castai-eks:castai": {"cluster": coordinates}}}))
    skip = ["--without", "aws", "--without", "kubernetes"]
    for arguments in ([str(file), *skip], [*skip, str(file)], [*skip, "--stack-file", str(file)]):
        assert audit.main(arguments) == 0
        assert "cluster demo" in capsys.readouterr().out
    assert audit.main([str(file), "--cluster", "other", *skip]) == 0
    assert "cluster other" in capsys.readouterr().out
    assert audit.main([str(tmp_path / "none"), *skip]) == 2


class Cluster:
    """A cluster with one object of each kind, in which secrets may not be listed."""

    def __init__(self, name="castai-agent", aws_auth=None):
        self.queries = set()
        self.name = name
        self.aws_auth = aws_auth

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def list(self, kind, namespace=None):
        self.queries.add((kind.__name__, namespace))
        if kind.__name__ == "Secret":
            raise ApiError(status=Status(code=403, message="secrets is forbidden"))
        name = self.name if kind.__name__ == "ServiceAccount" else "foreign"
        return [SimpleNamespace(metadata=ObjectMeta(name=name, namespace=namespace))]

    def get(self, kind, name, namespace=None):
        del kind, name, namespace
        if self.aws_auth is None:
            raise ApiError(status=Status(code=404, message="not found"))
        return ConfigMap(metadata=ObjectMeta(name="aws-auth"), data=self.aws_auth)


def in_cluster(monkeypatch, live):
    monkeypatch.setattr(connection, "connect", lambda _kubeconfig, _context: live)
    return audit_kubernetes.leftovers(audit.Target("demo", REGION, ACCOUNT, "ambient"))


def test_every_kind_of_object_that_is_created_is_looked_for(monkeypatch):
    live = Cluster()
    release = agent_release.Release(
        cluster_name="demo",
        region=REGION,
        account_id=ACCOUNT,
        api_url="https://api.cast.ai",
        settings=settings.Agent(network_policy=True),
    )
    created = {
        (one["kind"], one["metadata"].get("namespace"))
        for one in manifests.objects(release).values()
    }

    in_cluster(monkeypatch, live)

    assert created - live.queries == set(), "a leftover of these kinds would be missed"


def test_a_kind_that_may_not_be_listed_hides_none_of_the_others(monkeypatch):
    answer = in_cluster(monkeypatch, Cluster())

    assert [one.kind for one in answer.leftovers] == ["ServiceAccount"]
    assert answer.problems == ["Kubernetes: the API server answered 403: secrets is forbidden"]


ENTRY = """\
- rolearn: arn:aws:iam::012345678901:role/cast-demo-eks-0a1b2c3d
  username: system:node:{{EC2PrivateDNSName}}
"""


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (ENTRY, 1),
        (f"{ENTRY}# {ENTRY.splitlines()[0]}\n", 1),
        ("".join(f"# {line}\n" for line in ENTRY.splitlines()), 0),
        ("", 0),
        (f"{ENTRY}\t: [", 1),
    ],
    ids=["an entry", "an entry and a comment", "comments only", "nothing", "unreadable"],
)
def test_an_entry_of_aws_auth_counts_and_a_comment_does_not(monkeypatch, value, count):
    answer = in_cluster(monkeypatch, Cluster("foreign", {"mapRoles": value}))

    assert [one.kind for one in answer.leftovers] == ["aws-auth entry"] * count


def test_an_audit_of_nothing_is_a_wrong_command(capsys):
    with pytest.raises(SystemExit) as wrong:
        audit.main(without("aws", "kubernetes", "castai"))
    assert wrong.value.code == 2
    assert "nothing would be asked" in capsys.readouterr().err


def test_many_stacks_are_one_table_and_one_list(tmp_path, capsys, monkeypatch):
    left = audit.Leftover("aws", "user", "cast-eks-b", OURS)
    monkeypatch.setattr(
        audit,
        "audit",
        lambda about, _: audit.Answer({left} if about.cluster == "b" else set(), []),
    )
    paths = []
    for name in ("a", "b"):
        where = {"name": name, "region": REGION, "accountId": ACCOUNT}
        paths.append(str(tmp_path / f"Pulumi.{name}.yaml"))
        (tmp_path / f"Pulumi.{name}.yaml").write_text(
            json.dumps({"config": {"castai-eks:castai": {"cluster": where}}})
        )

    assert audit.main(paths) == 1
    header, row, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["STACK", "PLACE", "KIND", "NAME", "MADE", "BY"]
    assert row.split()[:4] == ["b", "aws", "user", "cast-eks-b"]
    assert first.startswith("audit: a: 0 leftovers of cluster a")
    assert second.startswith("audit: b: 1 leftover of cluster b")

    assert audit.main([*paths, "--format", "json"]) == 1
    listed = json.loads(capsys.readouterr().out)
    assert [(one["stack"], len(one["leftovers"])) for one in listed] == [("a", 0), ("b", 1)]

    assert audit.main(paths[:1]) == 0
    assert capsys.readouterr().out.startswith("audit: 0 leftovers of cluster a")
    with pytest.raises(SystemExit):
        audit.main([*paths, "--cluster", "c"])
