"""The audit of an account that judges, and of the sandbox's CAST AI service."""

import io
import json
import zipfile
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta, Status

from castai_stack.agent import manifests, settings
from castai_stack.agent import release as agent_release
from castai_stack.castai.client import CastaiApi
from castai_stack.commands import audit, audit_aws, audit_kubernetes
from castai_stack.commands.leftovers import OURS, SCRIPT, SHARED
from castai_stack.naming import CLUSTER_TAG
from castai_stack.spot import events
from sandbox import aws
from sandbox.castai import API_KEY, serve
from tests.support.castai import QUICK, REGION, StubCloud, an_account

ACCOUNT = "012345678901"
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


def test_everything_that_is_left_in_aws_is_listed_and_nothing_of_others(account, capsys):
    only_aws = without("kubernetes", "castai")
    assert audit.main(only_aws) == 0
    assert capsys.readouterr().out == (
        f"audit: 0 leftovers of cluster demo ({REGION}, account {ACCOUNT}); asked: aws\n"
    )

    iam, ec2 = account("iam"), account("ec2")
    iam.create_user(UserName="cast-eks-demo", Tags=MINE)
    key = iam.create_access_key(UserName="cast-eks-demo")["AccessKey"]
    iam.create_user(UserName="cast-eks-other")
    iam.create_role(RoleName="cast-demo-eks-3f2b8a4c", AssumeRolePolicyDocument=TRUST, Tags=MINE)
    iam.create_role(RoleName="CastSomething", AssumeRolePolicyDocument=TRUST, Tags=MINE)
    iam.create_role(RoleName="CastLambdaRoleForSpot", AssumeRolePolicyDocument=TRUST, Tags=THEIRS)
    iam.create_instance_profile(InstanceProfileName="cast-demo-eks-3f2b8a4c")
    iam.create_policy(PolicyName="CastEKSPolicy", PolicyDocument=POLICY)
    iam.create_policy(PolicyName="CastEKSRestrictedAccess-demo", PolicyDocument=POLICY)
    group = ec2.create_security_group(
        GroupName="cast-demo-cluster/CastNodeSecurityGroup", Description="x"
    )["GroupId"]
    node = ec2.run_instances(
        ImageId="ami-0123456789abcdef0",
        InstanceType="m5.large",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [
                    {"Key": "kubernetes.io/cluster/demo", "Value": "owned"},
                    {"Key": "cast:cluster-id", "Value": "x"},
                ],
            }
        ],
    )["Instances"][0]["InstanceId"]
    account("events").put_rule(
        Name="cast-ai-spot-interruption-demo", EventPattern='{"source": ["aws.ec2"]}'
    )
    account("logs").create_log_group(logGroupName="/aws/lambda/cast-ai-ec2-events-handler-demo")
    account("sqs").create_queue(QueueName="cast-ai-ec2-events-dead-letters-demo")
    function = "cast-ai-ec2-events-handler-demo"
    a_function(account, function)
    account("cloudwatch").put_metric_alarm(
        AlarmName=f"{function}-errors",
        MetricName="Errors",
        Namespace="AWS/Lambda",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Period=60,
        Statistic="Sum",
        Threshold=0,
    )
    secret = events.secret_name(function)
    account("secretsmanager").create_secret(Name=secret, SecretString="x", Tags=MINE)
    tagged = {"Tags": [*MINE]}
    ec2.create_key_pair(
        KeyName="of-a-node", TagSpecifications=[{"ResourceType": "key-pair", **tagged}]
    )
    volume = ec2.create_volume(
        AvailabilityZone=f"{REGION}a",
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", **tagged}],
    )["VolumeId"]
    of_ours = ec2.create_security_group(
        GroupName="whatever",
        Description="x",
        TagSpecifications=[{"ResourceType": "security-group", **tagged}],
    )["GroupId"]

    found, problems = audit.audit(
        audit.Target("demo", REGION, ACCOUNT, "ambient", None, "unused"), ["aws"]
    )
    assert problems == []
    node_role = f"{OURS} or CAST AI's script"
    assert {(one.kind, one.name, one.origin) for one in found} == {
        ("user", "cast-eks-demo", OURS),
        ("access key", f"{key['AccessKeyId']} of cast-eks-demo, Active", OURS),
        ("role", "cast-demo-eks-3f2b8a4c", node_role),
        ("role", "CastSomething", OURS),
        ("instance profile", "cast-demo-eks-3f2b8a4c", node_role),
        ("policy", "CastEKSPolicy", SHARED),
        ("policy", "CastEKSRestrictedAccess-demo", OURS),
        ("security group", f"{group} cast-demo-cluster/CastNodeSecurityGroup", SCRIPT),
        ("instance", node, "CAST AI, as a node"),
        ("rule", "cast-ai-spot-interruption-demo", OURS),
        ("log group", "/aws/lambda/cast-ai-ec2-events-handler-demo", OURS),
        ("queue", "cast-ai-ec2-events-dead-letters-demo", OURS),
        ("role", "CastLambdaRoleForSpot-demo", OURS),
        ("function", function, OURS),
        ("alarm", f"{function}-errors", OURS),
        ("secret", secret, OURS),
        ("key pair", "of-a-node", OURS),
        ("volume", volume, OURS),
        ("security group", f"{of_ours} whatever", OURS),
    }
    assert audit.main(only_aws) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["PLACE", "KIND", "NAME", "MADE", "BY"]
    assert len(lines) == len(found) + 2
    assert key["SecretAccessKey"] not in "".join(lines)

    ec2.terminate_instances(InstanceIds=[node])
    audit.main(only_aws)
    assert node not in capsys.readouterr().out, "a node that has ended is still told"


def a_function(account, name):
    """Make the function and its role, as a Spot handler has them."""
    iam, role = account("iam"), "CastLambdaRoleForSpot-demo"
    trust = TRUST.replace("ec2.amazonaws.com", "lambda.amazonaws.com")
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust, Tags=MINE)["Role"]["Arn"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", "def handle(event, context): pass")
    account("lambda").create_function(
        FunctionName=name,
        Role=arn,
        Runtime="python3.12",
        Handler="handler.handle",
        Code={"ZipFile": code.getvalue()},
    )


def test_an_access_entry_of_our_principals_is_left_over(account):
    eks = account("eks")
    vpc = account("ec2").describe_subnets()["Subnets"][0]
    eks.create_cluster(
        name="entries",
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/cluster",
        resourcesVpcConfig={"subnetIds": [vpc["SubnetId"]]},
        accessConfig={"authenticationMode": "API"},
    )
    made = account("iam").create_role(
        RoleName="cast-entries-eks-3f2b8a4c", AssumeRolePolicyDocument=TRUST
    )["Role"]["Arn"]
    eks.create_access_entry(clusterName="entries", principalArn=made, type="EC2_LINUX")
    target = audit.Target("entries", REGION, ACCOUNT, "ambient", None, "unused")

    found, problems = audit.audit(target, ["aws"])

    assert problems == []
    assert ("access entry", made) in {(one.kind, one.name) for one in found}


def test_an_account_wide_policy_that_others_use_is_none_of_ours(account):
    iam = account("iam")
    arn = iam.create_policy(PolicyName="CastEKSPolicy", PolicyDocument=POLICY)["Policy"]["Arn"]
    iam.create_user(UserName="cast-eks-other")
    iam.attach_user_policy(UserName="cast-eks-other", PolicyArn=arn)
    assert audit.main(without("kubernetes", "castai")) == 0


def test_credentials_of_another_account_are_an_error_and_no_clean_bill(account, capsys):
    del account
    arguments = ["--cluster", "demo", "--region", REGION, "--account-id", "999999999999"]
    assert audit.main([*arguments, "--without", "kubernetes", "--without", "castai"]) == 2
    assert f"the credentials are for account {ACCOUNT}" in capsys.readouterr().err


def test_one_refusal_hides_no_other_answer(account, monkeypatch, capsys):
    account("iam").create_user(UserName="cast-eks-demo", Tags=MINE)

    def refused(_self):
        yield from ()
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListQueues")

    monkeypatch.setattr(audit_aws.AwsAudit, "_queues", refused)
    assert audit.main(without("kubernetes", "castai")) == 2
    told = capsys.readouterr()
    assert "cast-eks-demo" in told.out
    assert "not everything could be asked" in told.out
    assert told.err == "audit: SQS queues: AWS answers AccessDenied: no\n"


def test_a_live_cluster_in_castai_is_a_leftover_and_an_archived_one_is_not(castai, capsys):
    api = CastaiApi(castai.url, API_KEY)
    cluster_id = api.register("demo", REGION, ACCOUNT).id
    api.register("other", REGION, ACCOUNT)
    arguments = without("aws", "kubernetes")
    assert audit.main(arguments) == 1
    assert f"{cluster_id} demo, connecting" in capsys.readouterr().out
    api.delete_cluster(cluster_id)
    assert audit.main(arguments) == 0


@pytest.mark.parametrize(("key", "told"), [("", "set CASTAI_API_KEY"), ("wrong", "HTTP 401")])
def test_without_a_working_key_castai_is_not_taken_for_clean(
    castai, monkeypatch, capsys, key, told
):
    del castai
    monkeypatch.setenv("CASTAI_API_KEY", key)
    assert audit.main(without("aws", "kubernetes")) == 2
    assert told in capsys.readouterr().err


def test_a_cluster_that_cannot_be_reached_is_not_taken_for_clean(capsys):
    arguments = [*without("aws", "castai"), "--kubeconfig", "/nowhere"]
    assert audit.main(arguments) == 2
    assert "Kubernetes: cluster.kubeconfig: there is no file /nowhere" in capsys.readouterr().err


def test_without_a_cluster_nothing_is_asked(capsys):
    assert audit.main(["--cluster", "demo"]) == 2
    assert capsys.readouterr().err == (
        "audit: --region, --account-id: not given; name it, or give a stack file\n"
    )


def test_a_stack_file_says_which_cluster_and_arguments_come_before_it(tmp_path, castai, capsys):
    del castai
    file = tmp_path / "Pulumi.x.yaml"
    cluster = {"name": "demo", "region": REGION, "accountId": ACCOUNT}
    file.write_text(json.dumps({"config": {"castai-eks:castai": {"cluster": cluster}}}))
    skip = ["--without", "aws", "--without", "kubernetes"]
    assert audit.main([str(file), *skip]) == 0
    assert "cluster demo" in capsys.readouterr().out
    assert audit.main([str(file), "--cluster", "other", *skip]) == 0
    assert "cluster other" in capsys.readouterr().out
    assert audit.main([str(tmp_path / "none"), *skip]) == 2


def test_every_kind_of_object_that_is_made_is_looked_for():
    asked = set()

    class Cluster:
        def list(self, kind, namespace=None):
            asked.add((kind.__name__, namespace))
            return []

    release = agent_release.Release(
        cluster_name="demo",
        region=REGION,
        account_id=ACCOUNT,
        api_url="https://api.cast.ai",
        settings=settings.Agent(network_policy=True),
    )
    made = {
        (one["kind"], one["metadata"].get("namespace"))
        for one in manifests.objects(release).values()
    }

    assert list(audit_kubernetes._objects(Cluster(), [])) == []
    assert made - asked == set(), "an object that is left behind would not be told"


def test_a_kind_that_may_not_be_listed_hides_none_of_the_others():
    class Cluster:
        def list(self, kind, namespace=None):
            if kind.__name__ == "Secret":
                raise ApiError(status=Status(code=403, message="secrets is forbidden"))
            name = "castai-agent" if kind.__name__ == "ServiceAccount" else "foreign"
            return [SimpleNamespace(metadata=ObjectMeta(name=name, namespace=namespace))]

    refused = []
    found = list(audit_kubernetes._objects(Cluster(), refused))
    assert [one.kind for one in found] == ["ServiceAccount"]
    assert len(refused) == 1
    assert "secrets" in refused[0]


def test_an_audit_of_nothing_is_a_wrong_command(capsys):
    with pytest.raises(SystemExit) as wrong:
        audit.main(without("aws", "kubernetes", "castai"))
    assert wrong.value.code == 2
    assert "nothing would be asked" in capsys.readouterr().err
