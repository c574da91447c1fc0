"""The sandbox's AWS refuses what AWS refuses, and keeps what AWS keeps."""

import base64
import functools
import hashlib
import io
import itertools
import json
import threading
import zipfile
from datetime import UTC, datetime
from urllib.parse import quote

import boto3
import pytest
import requests
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as Keys
from botocore.exceptions import ClientError
from botocore.parsers import RpcV2CBORParser
from botocore.serialize import RpcV2CBORSerializer

from sandbox import aws
from sandbox.aws import sts as aws_sts
from sandbox.constants import ACCOUNT, CASTAI_ACCOUNT, REGION

ONCE = Config(retries={"max_attempts": 0})
NUMBERS = itertools.count()
CASTAI_USER = f"arn:aws:iam::{CASTAI_ACCOUNT}:user/cast-crossrole-"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    result = aws.serve(tmp_path_factory.mktemp("aws"))
    yield result
    result.close()


@pytest.fixture(scope="module")
def seeded(server):
    return aws.seed(server.url)


@pytest.fixture
def url(seeded):
    yield seeded.endpoint
    requests.delete(f"{seeded.endpoint}/_sandbox/faults", timeout=60)


@pytest.fixture
def client(url, seeded):
    def make(service, keys=seeded.operator):
        return signing(url, service, keys.access_key_id, keys.secret_access_key, keys.session_token)

    return make


@pytest.fixture
def iam(client):
    return client("iam")


def fresh(stem):
    return f"{stem}-{next(NUMBERS)}"


def arn(kind, name):
    return f"arn:aws:iam::{ACCOUNT}:{kind}/{name}"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **condition):
    result = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**result, "Condition": condition} if condition else result


def trust(principal, **condition):
    result = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return document({**result, "Condition": condition} if condition else result)


LAMBDA = {"Service": "lambda.amazonaws.com"}


def refused(call, code, message="", **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    error = raised.value.response["Error"]
    assert error["Code"] == code, error
    assert message in error["Message"], error
    return error["Message"]


@functools.cache
def signing(url, service, key_id, secret, token=None):
    return boto3.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id=key_id,
        aws_secret_access_key=secret, aws_session_token=token, config=ONCE,
    )  # fmt: skip


def make_user(iam, *statements):
    name = fresh("user")
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return name, key["AccessKeyId"], key["SecretAccessKey"]


def make_role(iam, assumed_by=LAMBDA, **more):
    name = fresh("role")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(assumed_by), **more)
    return name


def internal(url, method, path, **more):
    return requests.request(method, f"{url}/_sandbox/{path}", timeout=60, **more)


# Who signs


def test_the_caller_is_who_signed(iam, url, client):
    name, key, secret = make_user(iam)

    assert signing(url, "sts", key, secret).get_caller_identity()["Arn"] == arn("user", name)
    operator = client("sts").get_caller_identity()
    assert operator["Account"] == "012345678901", "the leading zero is kept"
    assert operator["Arn"].endswith(":assumed-role/platform-admin/operator")


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("iam", "list_roles", "InvalidClientTokenId"),
        ("ec2", "describe_vpcs", "AuthFailure"),
        ("eks", "list_clusters", "UnrecognizedClientException"),
        ("events", "list_rules", "UnrecognizedClientException"),
    ],
)
def test_an_unknown_key_is_refused_in_the_words_of_each_service(url, service, call, code):
    refused(getattr(signing(url, service, "AKIAUNKNOWNUNKNOWN22", "x"), call), code)


def test_an_inactive_and_a_deleted_key_are_refused(iam, url):
    name, key, secret = make_user(iam)
    ask = signing(url, "sts", key, secret).get_caller_identity

    iam.update_access_key(UserName=name, AccessKeyId=key, Status="Inactive")
    refused(ask, "InvalidClientTokenId")
    iam.update_access_key(UserName=name, AccessKeyId=key, Status="Active")
    assert ask()["Arn"] == arn("user", name)
    iam.delete_access_key(UserName=name, AccessKeyId=key)
    refused(ask, "InvalidClientTokenId")


def test_a_wrong_secret_is_refused(iam, url):
    _, key, secret = make_user(iam)

    refused(signing(url, "sts", key, secret + "x").get_caller_identity, "SignatureDoesNotMatch")
    wrong = signing(url, "eks", key, secret + "x")
    refused(wrong.list_clusters, "InvalidSignatureException")


def test_an_expired_session_is_refused(client, seeded):
    refused(client("sts", seeded.expired).get_caller_identity, "ExpiredToken", "is expired")
    refused(client("eks", seeded.expired).list_clusters, "ExpiredTokenException", "is expired")


def test_a_session_without_its_token_is_refused(url, seeded):
    keys = seeded.operator
    bare = signing(url, "sts", keys.access_key_id, keys.secret_access_key)
    refused(bare.get_caller_identity, "InvalidClientTokenId")


def test_an_unsigned_request_is_refused(url):
    answer = requests.post(url, data={"Action": "ListRoles"}, timeout=60)

    assert answer.status_code == 403
    assert "MissingAuthenticationToken" in answer.text


def presigned(url, keys):
    address = f"{url}/?Action=GetCallerIdentity&Version=2011-06-15"
    request = AWSRequest("GET", address, headers={"x-k8s-aws-id": "demo"})
    credentials = Keys(keys.access_key_id, keys.secret_access_key, keys.session_token)
    SigV4QueryAuth(credentials, "sts", REGION, expires=60).add_auth(request)
    return request.prepare().url


def test_a_presigned_identity_is_answered_with_its_header_only(url, seeded):
    address = presigned(url, seeded.operator)

    answer = requests.get(address, headers={"x-k8s-aws-id": "demo"}, timeout=60)
    assert "assumed-role/platform-admin/operator" in answer.text
    other = requests.get(address, headers={"x-k8s-aws-id": "other"}, timeout=60)
    assert other.status_code == 403, "the cluster's name is signed"


def test_an_identity_is_json_for_those_that_accept_it(url, seeded):
    headers = {"x-k8s-aws-id": "demo", "accept": "application/json"}

    content = requests.get(presigned(url, seeded.operator), headers=headers, timeout=60).json()

    result = content["GetCallerIdentityResponse"]["GetCallerIdentityResult"]
    assert result["Arn"] == seeded.operator.arn
    assert set(result) == {"Account", "Arn", "UserId"}


def test_a_presigned_identity_lives_a_quarter_of_an_hour_whatever_it_names(url, seeded):
    address = presigned(url, seeded.operator)

    def status():
        return requests.get(address, headers={"x-k8s-aws-id": "demo"}, timeout=60).status_code

    internal(url, "PUT", "clock", json={"advance": 14 * 60})
    assert status() == 200
    internal(url, "PUT", "clock", json={"advance": 2 * 60})
    assert status() == 403


# Who may


def test_the_read_only_principal_reads_and_does_not_write(client, seeded):
    mine = client("iam", seeded.pull_request)

    assert mine.list_roles()["Roles"]
    refused(
        mine.create_role, "AccessDenied", "is not authorized to perform: iam:CreateRole on "
        f"resource: {arn('role', 'x')} because no identity-based policy allows the iam:CreateRole",
        RoleName="x", AssumeRolePolicyDocument=trust(LAMBDA),
    )  # fmt: skip
    refused(client("ec2", seeded.pull_request).create_vpc, "UnauthorizedOperation",
            "ec2:CreateVpc", CidrBlock="10.1.0.0/16")  # fmt: skip
    refused(client("logs", seeded.pull_request).create_log_group, "AccessDeniedException",
            "logs:CreateLogGroup", logGroupName="x")  # fmt: skip


def test_a_user_may_what_its_policies_say_and_its_boundary_too(iam, url):
    name, key, secret = make_user(iam, allow(["iam:GetRole", "iam:GetUser"]))
    mine = signing(url, "iam", key, secret)

    assert mine.get_role(RoleName="platform-admin")
    refused(mine.list_roles, "AccessDenied", "iam:ListRoles")
    border = iam.create_policy(PolicyName=fresh("p"), PolicyDocument=document(allow("iam:GetUser")))
    border_arn = border["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=border_arn)
    assert mine.get_user()["User"]["UserName"] == name
    refused(mine.get_role, "AccessDenied", "no permissions boundary allows", RoleName="x")


def test_an_explicit_deny_wins(iam, url):
    deny = {"Effect": "Deny", "Action": "iam:GetRole", "Resource": arn("role", "platform-*")}
    _, key, secret = make_user(iam, allow("iam:*"), deny)
    mine = signing(url, "iam", key, secret)

    assert mine.get_role(RoleName="pull-request")
    refused(mine.get_role, "AccessDenied", "explicit deny", RoleName="platform-admin")


def test_instances_are_stopped_by_their_tag_only(iam, url, seeded):
    _, key, secret = make_user(
        iam,
        allow(
            "ec2:TerminateInstances",
            f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/*",
            StringEquals={"ec2:ResourceTag/kubernetes.io/cluster/demo": "owned"},
        ),
    )
    mine = signing(url, "ec2", key, secret)

    refused(mine.terminate_instances, "UnauthorizedOperation", seeded.foreign_spot_node,
            InstanceIds=[seeded.foreign_spot_node])  # fmt: skip
    assert mine.terminate_instances(InstanceIds=[seeded.nodes[0]])["TerminatingInstances"]


def run_instances(ec2, seeded, tags, **more):
    given = [{"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags]}]
    return ec2.run_instances(
        ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1, SubnetId=seeded.subnet_ids[0],
        TagSpecifications=given, **more,
    )  # fmt: skip


def test_instances_are_started_with_the_tag_in_the_vpc_only(iam, url, seeded):
    here = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
    tag = {"aws:RequestTag/kubernetes.io/cluster/demo": "owned"}
    vpc = {"ec2:Vpc": f"{here}:vpc/{seeded.vpc_id}"}
    rest = [f"{here}:{kind}/*" for kind in ("volume", "network-interface", "security-group")]
    _, key, secret = make_user(
        iam,
        allow("ec2:RunInstances", f"{here}:instance/*", StringEquals=tag),
        allow("ec2:RunInstances", f"{here}:subnet/*", StringEquals=vpc),
        allow("ec2:RunInstances", [*rest, f"arn:aws:ec2:{REGION}::image/*"]),
        allow("ec2:CreateTags", f"{here}:*/*", StringEquals={"ec2:CreateAction": "RunInstances"}),
    )
    mine, own = signing(url, "ec2", key, secret), ("kubernetes.io/cluster/demo", "owned")

    with pytest.raises(ClientError, match=r"UnauthorizedOperation.*instance/"):
        run_instances(mine, seeded, [("Name", "x")])
    result = run_instances(mine, seeded, [own])["Instances"][0]["InstanceId"]
    profile = fresh("profile")
    iam.create_instance_profile(InstanceProfileName=profile)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName="demo-general-nodes")
    with pytest.raises(ClientError, match=r"UnauthorizedOperation.*iam:PassRole"):
        run_instances(mine, seeded, [own], IamInstanceProfile={"Name": profile})
    iam.remove_role_from_instance_profile(
        InstanceProfileName=profile, RoleName="demo-general-nodes"
    )
    assert result.startswith("i-")


def test_an_instance_without_a_subnet_goes_to_the_default_vpc(iam, url, seeded):
    here = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
    within = {"ArnEquals": {"ec2:Vpc": f"{here}:vpc/{seeded.vpc_id}"}}
    kinds = [f"{here}:{kind}/*" for kind in ("subnet", "network-interface", "security-group")]
    _, key, secret = make_user(
        iam,
        allow("ec2:RunInstances", kinds, **within),
        allow("ec2:RunInstances", [f"{here}:instance/*", f"{here}:volume/*", "arn:*:image/*"]),
    )
    ec2 = signing(url, "ec2", key, secret)
    wanted = {"ImageId": "ami-0123456789abcdef0", "MinCount": 1, "MaxCount": 1}

    refused(ec2.run_instances, "UnauthorizedOperation", "network-interface/*", **wanted)
    assert ec2.run_instances(SubnetId=seeded.subnet_ids[0], **wanted)["Instances"]


def test_rules_and_permissions_are_bound_by_what_they_name(iam, url):
    target = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:own"
    _, key, secret = make_user(
        iam,
        allow("events:PutRule", StringEquals={"events:source": "aws.ec2"}),
        allow("events:PutTargets", ArnEquals={"events:TargetArn": target}),
        allow("lambda:AddPermission", StringEquals={"lambda:Principal": "events.amazonaws.com"}),
    )
    events, name = signing(url, "events", key, secret), fresh("rule")
    given = {"FunctionName": "none", "StatementId": "s", "Action": "lambda:InvokeFunction"}
    add = signing(url, "lambda", key, secret).add_permission

    refused(events.put_rule, "AccessDeniedException", Name=name,
            EventPattern=json.dumps({"source": ["aws.s3"]}))  # fmt: skip
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.ec2"]}))
    refused(events.put_targets, "AccessDeniedException", Rule=name,
            Targets=[{"Id": "1", "Arn": target + "x"}])  # fmt: skip
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": target}])
    refused(add, "AccessDeniedException", Principal="s3.amazonaws.com", **given)
    refused(add, "ResourceNotFoundException", Principal="events.amazonaws.com", **given)


def test_a_security_group_needs_its_vpc_and_its_tags_allowed(iam, url, seeded):
    here = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
    own = {"StringEquals": {"aws:RequestTag/own": "yes"}}
    create = "ec2:CreateSecurityGroup"
    _, key, secret = make_user(
        iam,
        allow(create, f"{here}:security-group/*", **own),
        allow(create, f"{here}:vpc/{seeded.vpc_id}"),
        allow("ec2:CreateTags", "*", StringEquals={"ec2:CreateAction": "CreateSecurityGroup"}),
    )
    ec2 = signing(url, "ec2", key, secret)
    tags = [{"ResourceType": "security-group", "Tags": [{"Key": "own", "Value": "yes"}]}]
    wanted = {"GroupName": fresh("group"), "Description": "d", "VpcId": seeded.vpc_id}

    refused(ec2.create_security_group, "UnauthorizedOperation", "security-group/*", **wanted)
    refused(ec2.create_security_group, "UnauthorizedOperation", "vpc-none",
            TagSpecifications=tags, **{**wanted, "VpcId": "vpc-none"})  # fmt: skip
    result = ec2.create_security_group(TagSpecifications=tags, **wanted)["GroupId"]
    refused(ec2.create_tags, "UnauthorizedOperation", "ec2:CreateTags", Resources=[result],
            Tags=[{"Key": "x", "Value": "y"}])  # fmt: skip


def test_tags_are_removed_by_name_in_every_service(client):
    logs, watch = client("logs"), client("cloudwatch")
    group = fresh("group")
    logs.create_log_group(logGroupName=group, tags={"a": "1", "b": "2"})

    logs.untag_log_group(logGroupName=group, tags=["a"])
    name = fresh("alarm")
    alarm = {"AlarmName": name, "Namespace": "n", "MetricName": "m", "Statistic": "Sum"}
    alarm |= {"Period": 60, "EvaluationPeriods": 1, "Threshold": 1}
    alarm |= {"ComparisonOperator": "GreaterThanThreshold"}
    watch.put_metric_alarm(**alarm, Tags=[{"Key": key, "Value": "1"} for key in "ab"])
    target = watch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["AlarmArn"]
    watch.untag_resource(ResourceARN=target, TagKeys=["a"])
    watch.put_metric_alarm(**alarm, Tags=[{"Key": "c", "Value": "1"}])  # an update: no new tags

    assert logs.list_tags_log_group(logGroupName=group)["tags"] == {"b": "2"}
    assert watch.list_tags_for_resource(ResourceARN=target)["Tags"] == [{"Key": "b", "Value": "1"}]
    watch.delete_alarms(AlarmNames=[name])
    watch.put_metric_alarm(**alarm)
    assert watch.list_tags_for_resource(ResourceARN=target)["Tags"] == []


def test_a_policy_limits_the_tags_that_may_be_removed(iam, url):
    only = {"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}
    _, key_id, secret = make_user(iam, allow("logs:CreateLogGroup"), allow("logs:Untag*", **only))
    logs, group = signing(url, "logs", key_id, secret), fresh("group")
    logs.create_log_group(logGroupName=group)
    target = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"

    logs.untag_resource(resourceArn=target, tagKeys=["a"])
    refused(logs.untag_log_group, "AccessDeniedException", logGroupName=group, tags=["b"])


def test_tags_of_aws_are_written_by_aws_alone(client, seeded):
    tag = {"Key": "aws:eks:cluster-name", "Value": "demo"}
    ec2 = client("ec2")

    refused(ec2.create_tags, "InvalidParameterValue", "reserved for internal use",
            Resources=[seeded.nodes[1]], Tags=[tag])  # fmt: skip
    result = ec2.describe_instances(InstanceIds=[seeded.nodes[1]])["Reservations"][0]
    assert tag in result["Instances"][0]["Tags"], "the nodes of a group bear it all the same"


# AssumeRole


@pytest.fixture
def castai(url):
    """A principal of CAST AI, as its service would make one."""
    name = CASTAI_USER + fresh("c")
    result = internal(url, "PUT", f"foreign-principals/{quote(name)}").json()
    yield result
    internal(url, "DELETE", f"foreign-principals/{quote(name)}")


def assume(url, principal, role, **more):
    sts = signing(url, "sts", principal["accessKeyId"], principal["secretAccessKey"])
    return sts.assume_role(RoleArn=arn("role", role), RoleSessionName="session", **more)


def castai_role(iam, principal, external_id="secret-id"):
    name = fresh("cast")
    condition = {"StringEquals": {"sts:ExternalId": external_id}} if external_id else {}
    iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=trust({"AWS": principal["arn"]}, **condition)
    )
    return name


def test_a_role_is_assumed_with_its_external_id_only(iam, url, castai):
    role = castai_role(iam, castai)
    message = (
        f"User: {castai['arn']} is not authorized to perform: sts:AssumeRole on resource: "
        f"{arn('role', role)}"
    )

    refused(lambda: assume(url, castai, role), "AccessDenied", message)
    refused(lambda: assume(url, castai, role, ExternalId="other"), "AccessDenied", message)
    result = assume(url, castai, role, ExternalId="secret-id")["Credentials"]
    sts = signing(
        url, "sts", result["AccessKeyId"], result["SecretAccessKey"], result["SessionToken"]
    )
    assert sts.get_caller_identity()["Arn"].endswith(f":assumed-role/{role}/session")


def test_a_role_does_not_let_others_in(iam, url, castai):
    role = castai_role(iam, castai, external_id=None)
    other = internal(url, "PUT", f"foreign-principals/{quote(CASTAI_USER + fresh('c'))}").json()

    assert assume(url, castai, role)
    refused(lambda: assume(url, other, role), "AccessDenied")
    refused(lambda: assume(url, castai, "no-such-role"), "AccessDenied")


def test_a_session_has_the_permissions_of_its_role_and_ends_with_it(iam, url, castai):
    role = castai_role(iam, castai, external_id=None)
    iam.put_role_policy(
        RoleName=role, PolicyName="p", PolicyDocument=document(allow("iam:ListRoles"))
    )
    result = assume(url, castai, role)["Credentials"]
    mine = signing(
        url, "iam", result["AccessKeyId"], result["SecretAccessKey"], result["SessionToken"]
    )

    assert mine.list_roles()
    refused(mine.list_users, "AccessDenied", "iam:ListUsers")
    iam.delete_role_policy(RoleName=role, PolicyName="p")
    iam.delete_role(RoleName=role)
    refused(mine.list_roles, "InvalidClientTokenId")


def test_a_principal_made_again_is_another_one(iam, url, castai):
    role = castai_role(iam, castai, external_id=None)
    path = f"foreign-principals/{quote(castai['arn'])}"
    internal(url, "DELETE", path)

    trust_policy = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    assert trust_policy["Statement"][0]["Principal"]["AWS"] == castai["uniqueId"], (
        "its id, not its name"
    )
    again = internal(url, "PUT", path).json()
    assert again["uniqueId"] != castai["uniqueId"]
    refused(lambda: assume(url, again, role), "AccessDenied")
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust({"AWS": again["arn"]}))
    assert assume(url, again, role)


@pytest.mark.parametrize(
    "principal",
    [
        {"AWS": CASTAI_USER + "never-made"},
        {"AWS": arn("user", "never-made")},
        {"AWS": "AIDAAAAAAAAAAAAAAAAAA"},
        {"Service": "lambda"},
        {"Nobody": "x"},
    ],
)
def test_a_trust_policy_names_only_principals_that_exist(iam, principal):
    refused(iam.create_role, "MalformedPolicyDocument", "Invalid principal in policy",
            RoleName=fresh("r"), AssumeRolePolicyDocument=trust(principal))  # fmt: skip
    refused(iam.update_assume_role_policy, "MalformedPolicyDocument", "Invalid principal",
            RoleName="pull-request", PolicyDocument=trust(principal))  # fmt: skip


def test_an_account_in_a_trust_policy_leaves_the_choice_to_its_own_policies(iam, url):
    role = make_role(iam, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    name, key, secret = make_user(iam)
    sts = signing(url, "sts", key, secret)
    wanted = {"RoleArn": arn("role", role), "RoleSessionName": "session"}

    refused(sts.assume_role, "AccessDenied", **wanted)
    iam.put_user_policy(
        UserName=name, PolicyName="p", PolicyDocument=document(allow("sts:AssumeRole"))
    )
    assert sts.assume_role(**wanted)


def test_a_session_is_no_longer_than_the_role_allows(iam, url, castai):
    role = castai_role(iam, castai, external_id=None)
    refused(lambda: assume(url, castai, role, DurationSeconds=7200), "ValidationError",
            "MaxSessionDuration")  # fmt: skip


# IAM keeps its quotas


def test_names_have_their_lengths(iam):
    refused(iam.create_role, "ValidationError", "less than or equal to 64",
            RoleName="r" * 65, AssumeRolePolicyDocument=trust(LAMBDA))  # fmt: skip
    refused(iam.create_user, "ValidationError", "less than or equal to 64", UserName="u" * 65)
    refused(iam.create_policy, "ValidationError", "less than or equal to 128",
            PolicyName="p" * 129, PolicyDocument=document(allow("s3:*")))  # fmt: skip
    refused(iam.create_instance_profile, "ValidationError", "less than or equal to 128",
            InstanceProfileName="p" * 129)  # fmt: skip
    refused(iam.create_user, "ValidationError", "regular expression", UserName="a b")
    refused(iam.create_user, "ValidationError", "regular expression", UserName="u", Path="x")


def test_names_are_unique_whatever_their_case(iam):
    name = fresh("Role")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(LAMBDA))
    refused(iam.create_role, "EntityAlreadyExists", RoleName=name.upper(),
            AssumeRolePolicyDocument=trust(LAMBDA))  # fmt: skip
    policy = fresh("p")
    iam.create_policy(PolicyName=policy, PolicyDocument=document(allow("s3:*")), Path="/a/")
    refused(iam.create_policy, "EntityAlreadyExists", PolicyName=policy,
            PolicyDocument=document(allow("s3:*")))  # fmt: skip


def long_document(length):
    return document(allow("s3:GetObject", "arn:aws:s3:::" + "x" * length))


def test_documents_have_their_sizes(iam):
    role, user = make_role(iam), make_user(iam)[0]
    refused(iam.create_policy, "LimitExceeded", "6144", PolicyName=fresh("p"),
            PolicyDocument=long_document(6144))  # fmt: skip
    iam.put_user_policy(UserName=user, PolicyName="a", PolicyDocument=long_document(1000))
    refused(iam.put_user_policy, "LimitExceeded", "2048 bytes exceeded for user",
            UserName=user, PolicyName="b", PolicyDocument=long_document(1000))  # fmt: skip
    iam.put_user_policy(UserName=user, PolicyName="a", PolicyDocument=long_document(1500))
    refused(iam.put_role_policy, "LimitExceeded", "10240 bytes exceeded for role",
            RoleName=role, PolicyName="b", PolicyDocument=long_document(10240))  # fmt: skip
    refused(iam.update_assume_role_policy, "LimitExceeded", "ACLSizePerRole: 2048",
            RoleName=role, PolicyDocument=trust(LAMBDA, StringEquals={"a:b": "x" * 2048}),
    )  # fmt: skip


def test_a_user_has_two_keys_and_a_role_ten_policies(iam):
    user = make_user(iam)[0]
    iam.create_access_key(UserName=user)
    refused(iam.create_access_key, "LimitExceeded", "AccessKeysPerUser: 2", UserName=user)
    role = make_role(iam)
    managed = iam.list_policies(Scope="AWS", MaxItems=11)["Policies"]
    for policy in managed[:10]:
        iam.attach_role_policy(RoleName=role, PolicyArn=policy["Arn"])
    refused(iam.attach_role_policy, "LimitExceeded", "PoliciesPerRole: 10", RoleName=role,
            PolicyArn=managed[10]["Arn"])  # fmt: skip
    iam.attach_role_policy(RoleName=role, PolicyArn=managed[0]["Arn"])


def test_nothing_in_use_is_deleted(iam):
    user, key, _ = make_user(iam, allow("s3:*"))
    policy = iam.create_policy(PolicyName=fresh("p"), PolicyDocument=document(allow("s3:*")))
    policy_arn = policy["Policy"]["Arn"]
    iam.attach_user_policy(UserName=user, PolicyArn=policy_arn)

    conflict = "DeleteConflict"
    refused(iam.delete_user, conflict, "access keys", UserName=user)
    iam.delete_access_key(UserName=user, AccessKeyId=key)
    refused(iam.delete_user, conflict, "detach all policies", UserName=user)
    refused(iam.delete_policy, conflict, "attached to entities", PolicyArn=policy_arn)
    iam.detach_user_policy(UserName=user, PolicyArn=policy_arn)
    refused(iam.delete_user, conflict, "delete policies first", UserName=user)
    iam.create_policy_version(PolicyArn=policy_arn, PolicyDocument=document(allow("s3:Get*")))
    refused(iam.delete_policy, conflict, "more than one version", PolicyArn=policy_arn)
    iam.delete_policy_version(PolicyArn=policy_arn, VersionId="v2")
    iam.delete_policy(PolicyArn=policy_arn)
    role, profile = make_role(iam), fresh("profile")
    iam.create_instance_profile(InstanceProfileName=profile)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
    refused(iam.delete_role, conflict, "instance profile", RoleName=role)
    refused(iam.delete_instance_profile, conflict, "remove roles", InstanceProfileName=profile)


def test_a_policy_attached_twice_counts_once(iam):
    role = make_role(iam)
    policy = iam.create_policy(PolicyName=fresh("p"), PolicyDocument=document(allow("s3:*")))
    policy_arn = policy["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=policy_arn)
    iam.attach_role_policy(RoleName=role, PolicyArn=policy_arn)

    assert iam.get_policy(PolicyArn=policy_arn)["Policy"]["AttachmentCount"] == 1


def test_a_user_keeps_boundary_tags_and_a_proper_id(iam):
    name, border = fresh("u"), "arn:aws:iam::aws:policy/ReadOnlyAccess"
    iam.create_user(
        UserName=name, PermissionsBoundary=border, Tags=[{"Key": "a", "Value": "b"}], Path="/x/"
    )
    iam.update_user(UserName=name, NewPath="/y/")
    user = iam.get_user(UserName=name)["User"]

    assert user["UserId"].startswith("AIDA")
    assert user["Arn"] == arn("user", f"y/{name}")
    assert user["PermissionsBoundary"]["PermissionsBoundaryArn"] == border
    assert user["Tags"] == [{"Key": "a", "Value": "b"}]
    refused(iam.put_user_permissions_boundary, "NoSuchEntity", "does not exist",
            UserName=name, PermissionsBoundary=arn("policy", "none"))  # fmt: skip


def test_service_specific_credentials_are_answered(iam):
    user = make_user(iam)[0]
    answer = iam.list_service_specific_credentials(UserName=user)

    assert answer["ServiceSpecificCredentials"] == []


def test_a_key_tells_when_it_was_used(iam, url):
    _, key, secret = make_user(iam)
    before = iam.get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]
    signing(url, "sts", key, secret).get_caller_identity()
    after = iam.get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]

    assert "LastUsedDate" not in before
    assert after["ServiceName"] == "sts"


# Simulation


def test_simulation_tells_allowed_denied_and_neither(iam):
    deny = {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"}
    tagged = allow("ec2:StopInstances", StringEquals={"ec2:ResourceTag/own": "yes"})
    user = make_user(iam, allow("s3:*"), deny, tagged)[0]
    answer = iam.simulate_principal_policy(
        PolicySourceArn=arn("user", user),
        ActionNames=["s3:GetObject", "s3:DeleteObject", "iam:GetRole", "ec2:StopInstances"],
    )["EvaluationResults"]

    assert [result["EvalDecision"] for result in answer] == [
        "allowed", "explicitDeny", "implicitDeny", "implicitDeny",
    ]  # fmt: skip
    assert answer[3]["MissingContextValues"] == ["ec2:ResourceTag/own"]
    assert answer[0]["MatchedStatements"][0]["SourcePolicyId"] == "own"
    with_tag = iam.simulate_principal_policy(
        PolicySourceArn=arn("user", user), ActionNames=["ec2:StopInstances"],
        ContextEntries=[{"ContextKeyName": "ec2:ResourceTag/own", "ContextKeyValues": ["yes"],
                         "ContextKeyType": "string"}],
    )["EvaluationResults"]  # fmt: skip
    assert with_tag[0]["EvalDecision"] == "allowed"


def test_simulation_counts_the_boundary(iam):
    role = make_role(iam, PermissionsBoundary="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.attach_role_policy(RoleName=role, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    answer = iam.simulate_principal_policy(
        PolicySourceArn=arn("role", role), ActionNames=["iam:GetRole", "iam:CreateRole"]
    )["EvaluationResults"]

    assert [result["EvalDecision"] for result in answer] == ["allowed", "implicitDeny"]
    detail = answer[1]["PermissionsBoundaryDecisionDetail"]
    assert detail == {"AllowedByPermissionsBoundary": False}


def test_simulation_wants_a_user_or_role_that_exists(iam, seeded):
    refused(iam.simulate_principal_policy, "NoSuchEntity",
            PolicySourceArn=arn("role", "none"), ActionNames=["s3:GetObject"])  # fmt: skip
    refused(iam.simulate_principal_policy, "InvalidInput",
            PolicySourceArn=seeded.operator.arn, ActionNames=["s3:GetObject"])  # fmt: skip


def test_a_condition_that_the_evaluator_cannot_judge_is_an_error(iam):
    user = make_user(iam, allow("s3:*", StringEquals={"aws:TagKeys": ["a", "b"]}))[0]
    several = {
        "ContextKeyName": "aws:TagKeys",
        "ContextKeyValues": ["a", "b"],
        "ContextKeyType": "stringList",
    }
    refused(
        iam.simulate_principal_policy,
        "PolicyEvaluation",
        "aws:TagKeys is multi-valued",
        PolicySourceArn=arn("user", user),
        ActionNames=["s3:GetObject"],
        ContextEntries=[several],
    )


# EKS


@pytest.fixture
def eks(client):
    return client("eks")


@pytest.fixture
def cluster(eks, seeded):
    name = fresh("cluster")
    eks.create_cluster(
        name=name, roleArn=arn("role", "demo-cluster"),
        resourcesVpcConfig={"subnetIds": list(seeded.subnet_ids)},
        accessConfig={"authenticationMode": "API_AND_CONFIG_MAP"},
    )  # fmt: skip
    yield name
    eks.delete_cluster(name=name)


def entry(url, principal):
    result = internal(url, "GET", "access-entries").json()
    return next(e for e in result if e["principalArn"] == principal)


def test_the_seeded_cluster_is_active_with_a_vpc_and_a_mode(eks, seeded):
    result = eks.describe_cluster(name="demo")["cluster"]

    assert result["status"] == "ACTIVE"
    assert result["resourcesVpcConfig"]["vpcId"] == seeded.vpc_id
    assert result["accessConfig"]["authenticationMode"] == "CONFIG_MAP"


def test_access_entries_need_a_mode_that_has_them(eks, seeded):
    message = "must be set to one of [API, API_AND_CONFIG_MAP]"
    refused(eks.create_access_entry, "InvalidRequestException", message, clusterName="demo",
            principalArn=seeded.node_role_arn, type="EC2_LINUX")  # fmt: skip
    refused(eks.list_access_entries, "InvalidRequestException", message, clusterName="demo")
    refused(eks.list_access_entries, "ResourceNotFoundException", "No cluster found for name: no.",
            clusterName="no")  # fmt: skip


def test_the_authentication_mode_goes_one_way_step_by_step(eks, seeded):
    name = fresh("cluster")
    eks.create_cluster(
        name=name, roleArn=arn("role", "demo-cluster"),
        resourcesVpcConfig={"subnetIds": list(seeded.subnet_ids)},
    )  # fmt: skip

    def change(mode):
        return eks.update_cluster_config(name=name, accessConfig={"authenticationMode": mode})

    refused(lambda: change("API"), "InvalidParameterException", "from CONFIG_MAP to API")
    update = change("API_AND_CONFIG_MAP")["update"]
    assert eks.describe_update(name=name, updateId=update["id"])["update"]["status"] == "Successful"
    refused(lambda: change("CONFIG_MAP"), "InvalidParameterException")
    change("API")
    refused(lambda: change("API_AND_CONFIG_MAP"), "InvalidParameterException")
    access_config = eks.describe_cluster(name=name)["cluster"]["accessConfig"]
    assert access_config["authenticationMode"] == "API"
    eks.delete_cluster(name=name)


def test_a_node_entry_is_made_shown_and_deleted(eks, cluster, iam):
    role = arn("role", make_role(iam, {"Service": "ec2.amazonaws.com"}))
    result = eks.create_access_entry(
        clusterName=cluster, principalArn=role, type="EC2_LINUX", tags={"a": "b"}
    )["accessEntry"]

    assert result["username"] == "system:node:{{EC2PrivateDNSName}}"
    assert result["kubernetesGroups"] == ["system:nodes"]
    assert role in eks.list_access_entries(clusterName=cluster)["accessEntries"]
    eks.tag_resource(resourceArn=result["accessEntryArn"], tags={"c": "d"})
    details = eks.describe_access_entry(clusterName=cluster, principalArn=role)["accessEntry"]
    assert details["tags"] == {"a": "b", "c": "d"}
    refused(eks.create_access_entry, "ResourceInUseException", "already in use",
            clusterName=cluster, principalArn=role, type="EC2_LINUX")  # fmt: skip
    eks.delete_access_entry(clusterName=cluster, principalArn=role)
    refused(eks.describe_access_entry, "ResourceNotFoundException",
            "The specified principalArn could not be found", clusterName=cluster,
            principalArn=role)  # fmt: skip


def test_entries_refuse_what_eks_refuses(eks, cluster, iam):
    user, role = make_user(iam)[0], make_role(iam)
    invalid = "InvalidParameterException"

    def create(kind, name, **more):
        return eks.create_access_entry(clusterName=cluster, principalArn=arn(kind, name), **more)

    refused(lambda: create("user", user, type="EC2_LINUX"), invalid, "IAM role")
    refused(lambda: create("role", role, type="EC2_LINUX", username="x"), invalid, "username")
    refused(lambda: create("role", role, type="EC2_LINUX", kubernetesGroups=["g"]), invalid)
    refused(lambda: create("user", user, kubernetesGroups=["system:masters"]), invalid,
            "system:masters is invalid, it cannot start with system:")  # fmt: skip
    refused(lambda: create("user", user, username="system:x"), invalid)
    refused(lambda: create("user", "never-made"), invalid, "invalid principal")
    refused(lambda: create("role", role, type="FANCY"), invalid)


def test_access_policies_are_checked_associated_and_taken_away(eks, cluster, iam):
    user = arn("user", make_user(iam)[0])
    admin = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    mine = {"clusterName": cluster, "principalArn": user}
    whole = {"type": "cluster"}

    refused(eks.associate_access_policy, "ResourceNotFoundException", policyArn=admin,
            accessScope=whole, **mine)  # fmt: skip
    eks.create_access_entry(**mine, kubernetesGroups=["viewers"])
    refused(eks.associate_access_policy, "InvalidParameterException", "policyArn",
            policyArn=admin + "x", accessScope=whole, **mine)  # fmt: skip
    refused(eks.associate_access_policy, "InvalidParameterException", policyArn=admin,
            accessScope={"type": "namespace"}, **mine)  # fmt: skip
    eks.associate_access_policy(policyArn=admin, accessScope=whole, **mine)
    result = eks.list_associated_access_policies(**mine)["associatedAccessPolicies"]
    assert [(p["policyArn"], p["accessScope"]["type"]) for p in result] == [(admin, "cluster")]
    eks.update_access_entry(**mine, kubernetesGroups=["editors"])
    assert eks.describe_access_entry(**mine)["accessEntry"]["kubernetesGroups"] == ["editors"]
    eks.disassociate_access_policy(policyArn=admin, **mine)
    assert not eks.list_associated_access_policies(**mine)["associatedAccessPolicies"]
    refused(eks.disassociate_access_policy, "ResourceNotFoundException", policyArn=admin, **mine)


def test_an_entry_is_bound_to_the_principal_that_was_and_not_to_its_name(eks, cluster, iam, url):
    name = make_role(iam)
    eks.create_access_entry(clusterName=cluster, principalArn=arn("role", name))
    assert entry(url, arn("role", name))["valid"]
    iam.delete_role(RoleName=name)
    assert not entry(url, arn("role", name))["valid"], "the role is gone"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(LAMBDA))

    assert not entry(url, arn("role", name))["valid"], "a role of the same name is another role"
    assert eks.describe_access_entry(clusterName=cluster, principalArn=arn("role", name))


def test_whoever_makes_a_cluster_with_entries_may_do_everything_in_it(cluster, url):
    result = entry(url, arn("role", "platform-admin"))

    assert result["cluster"] == cluster
    assert result["policies"][0]["policyArn"].endswith("AmazonEKSClusterAdminPolicy")


def test_a_cluster_shows_the_address_that_it_was_given(eks, url, cluster):
    address = {"endpoint": "https://127.0.0.1:6443", "certificateAuthority": "Q0E="}
    internal(url, "PUT", f"clusters/{REGION}/{cluster}", json=address)
    result = eks.describe_cluster(name=cluster)["cluster"]

    assert result["endpoint"] == "https://127.0.0.1:6443"
    assert result["certificateAuthority"]["data"] == "Q0E="


# Lambda, events, logs, queues, alarms, secrets


def code(text="pass"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), text)
    return packed.getvalue()


def make_function(client, role, **more):
    name = fresh("f")
    client("lambda").create_function(
        FunctionName=name, Role=arn("role", role), Runtime="python3.13", Handler="handler.main",
        Code={"ZipFile": code()}, **more,
    )  # fmt: skip
    return name


def test_a_function_is_kept_as_it_was_given(client, iam):
    functions = client("lambda")
    name = make_function(
        client, make_role(iam), Timeout=60, MemorySize=256, Architectures=["arm64"],
        Environment={"Variables": {"KEY": "value"}}, TracingConfig={"Mode": "Active"},
        EphemeralStorage={"Size": 600}, Tags={"a": "b"}, Description="d",
        LoggingConfig={"LogFormat": "JSON", "LogGroup": "/x"},
    )  # fmt: skip
    result = functions.get_function(FunctionName=name)
    configuration = result["Configuration"]

    assert configuration["CodeSha256"] == base64.b64encode(hashlib.sha256(code()).digest()).decode()
    assert (
        configuration["Timeout"],
        configuration["MemorySize"],
        configuration["Architectures"],
    ) == (60, 256, ["arm64"])
    assert configuration["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": "/x"}
    assert (configuration["State"], result["Tags"]) == ("Active", {"a": "b"})
    functions.update_function_code(FunctionName=name, ZipFile=code("other"))
    functions.update_function_configuration(
        FunctionName=name, TracingConfig={"Mode": "PassThrough"}, Timeout=30,
        EphemeralStorage={"Size": 512},
    )  # fmt: skip
    again = functions.get_function_configuration(FunctionName=name)
    assert again["CodeSha256"] != configuration["CodeSha256"]
    assert (again["TracingConfig"]["Mode"], again["Timeout"]) == ("PassThrough", 30)
    assert again["EphemeralStorage"] == {"Size": 512}


def test_a_function_needs_a_role_that_lambda_may_assume(client, iam):
    message = "The role defined for the function cannot be assumed by Lambda"
    invalid = "InvalidParameterValueException"

    refused(lambda: make_function(client, "never-made"), invalid, message)
    wrong = make_role(iam, {"Service": "ec2.amazonaws.com"})
    refused(lambda: make_function(client, wrong), invalid, message)


def test_a_dead_letter_queue_needs_a_role_that_may_send(client, iam):
    role = make_role(iam)
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"
    name = make_function(client, role)
    letters = {"OnFailure": {"Destination": queue}}
    put = client("lambda").put_function_event_invoke_config

    refused(lambda: make_function(client, role, DeadLetterConfig={"TargetArn": queue}),
            "InvalidParameterValueException", "permissions to call SendMessage on SQS")  # fmt: skip
    refused(put, "InvalidParameterValueException", "does not have permissions to call SendMessage",
            FunctionName=name, DestinationConfig=letters)  # fmt: skip
    iam.put_role_policy(
        RoleName=role, PolicyName="p", PolicyDocument=document(allow("sqs:SendMessage", queue))
    )
    result = make_function(client, role, DeadLetterConfig={"TargetArn": queue})
    configuration = client("lambda").get_function_configuration(FunctionName=result)
    assert configuration["DeadLetterConfig"] == {"TargetArn": queue}
    put(FunctionName=name, DestinationConfig=letters)


def test_invocation_settings_are_replaced_by_put_and_merged_by_update(client, iam):
    functions = client("lambda")
    name = make_function(client, make_role(iam))
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    functions.put_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=120)
    replaced = functions.get_function_event_invoke_config(FunctionName=name)
    assert "MaximumRetryAttempts" not in replaced, "the first settings are gone"
    functions.update_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2)
    result = functions.get_function_event_invoke_config(FunctionName=name)

    assert (result["MaximumRetryAttempts"], result["MaximumEventAgeInSeconds"]) == (2, 120)
    functions.delete_function_event_invoke_config(FunctionName=name)
    refused(functions.get_function_event_invoke_config, "ResourceNotFoundException",
            FunctionName=name)  # fmt: skip


def test_permissions_of_a_function_have_unique_ids(client, iam):
    functions = client("lambda")
    name = make_function(client, make_role(iam))
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r"
    given = {
        "FunctionName": name, "StatementId": "s", "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com", "SourceArn": rule,
    }  # fmt: skip
    functions.add_permission(**given)

    refused(functions.add_permission, "ResourceConflictException", "already exists", **given)
    statement = json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"][0]
    assert statement["Condition"] == {"ArnLike": {"AWS:SourceArn": rule}}
    functions.remove_permission(FunctionName=name, StatementId="s")
    refused(functions.remove_permission, "ResourceNotFoundException", FunctionName=name,
            StatementId="s")  # fmt: skip
    refused(functions.get_policy, "ResourceNotFoundException", FunctionName=name)


def test_an_environment_has_its_limits(client, iam):
    role, invalid = make_role(iam), "InvalidParameterValueException"
    for variables, message in (
        ({"AWS_REGION": "x"}, "reserved keys"),
        ({"KEY": "x" * 4096}, "4KB"),
    ):
        refused(lambda given=variables: make_function(
            client, role, Environment={"Variables": given}), invalid, message)  # fmt: skip


def test_a_rule_with_targets_stays(client):
    events, name = client("events"), fresh("rule")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.ec2"]}))
    target = {
        "Id": "1", "Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f",
        "RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 120},
    }  # fmt: skip
    events.put_targets(Rule=name, Targets=[target])

    assert events.list_targets_by_rule(Rule=name)["Targets"] == [target]
    refused(events.delete_rule, "ValidationException", "has targets", Name=name)
    events.remove_targets(Rule=name, Ids=["1"])
    events.delete_rule(Name=name)
    refused(events.list_targets_by_rule, "ResourceNotFoundException", Rule=name)


def test_groups_queues_alarms_and_secrets_are_kept_with_their_tags(client):
    logs, queues, alarms = client("logs"), client("sqs"), client("cloudwatch")
    secrets, name = client("secretsmanager"), fresh("thing")
    logs.create_log_group(logGroupName=name, tags={"a": "b"})
    logs.put_retention_policy(logGroupName=name, retentionInDays=14)
    group = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]
    assert group["retentionInDays"] == 14
    assert logs.list_tags_for_resource(resourceArn=group["logGroupArn"])["tags"] == {"a": "b"}
    queue = queues.create_queue(
        QueueName=name, Attributes={"MessageRetentionPeriod": "1209600"}, tags={"a": "b"}
    )["QueueUrl"]
    attributes = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert attributes["MessageRetentionPeriod"] == "1209600"
    refused(queues.create_queue, "QueueAlreadyExists", QueueName=name,
            Attributes={"MessageRetentionPeriod": "60"})  # fmt: skip
    alarms.put_metric_alarm(
        AlarmName=name, ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=1,
        MetricName="Errors", Namespace="AWS/Lambda", Period=60, Statistic="Sum", Threshold=0,
        Dimensions=[{"Name": "FunctionName", "Value": "f"}], TreatMissingData="notBreaching",
    )  # fmt: skip
    assert alarms.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["Threshold"] == 0
    secret = secrets.create_secret(Name=name, SecretString="one")["ARN"]
    secrets.put_secret_value(SecretId=secret, SecretString="two")
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "two"
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    refused(secrets.describe_secret, "ResourceNotFoundException", SecretId=name)


def test_instances_tell_their_cluster_and_whether_they_are_spot(client, seeded):
    ec2 = client("ec2")

    def instance(identity):
        return ec2.describe_instances(InstanceIds=[identity])["Reservations"][0]["Instances"][0]

    own, other = instance(seeded.spot_node), instance(seeded.foreign_spot_node)
    assert own["InstanceLifecycle"] == other["InstanceLifecycle"] == "spot"
    assert {"Key": "kubernetes.io/cluster/demo", "Value": "owned"} in own["Tags"]
    assert {"Key": "kubernetes.io/cluster/other", "Value": "owned"} in other["Tags"]
    assert "InstanceLifecycle" not in instance(seeded.nodes[1])


# What is not known is refused


def test_unknown_services_and_operations_are_refused(client, url):
    message = "will not invent an answer"
    refused(client("eks").list_addons, "UnknownOperationException", message, clusterName="demo")
    refused(client("sts").get_session_token, "UnknownOperationException", message)
    refused(
        client("iam").get_mfa_device, "UnknownOperationException", message, SerialNumber="s" * 9
    )
    refused(client("dynamodb").list_tables, "UnknownServiceException", "has no service 'dynamodb'")
    answers = internal(url, "GET", "requests").json()["log"]
    assert answers[-1]["fault"] == "unknown"


def test_a_fault_of_the_sandbox_is_told_without_what_it_was_about(client, monkeypatch):
    def fail(_call):
        return {}["a-value-that-nobody-sees"]

    monkeypatch.setitem(aws_sts.HANDLERS, "GetCallerIdentity", fail)
    message = refused(client("sts").get_caller_identity, "InternalFailure", "KeyError at ")
    assert "nobody-sees" not in message


class Cbor:
    """CloudWatch as newer SDKs speak to it."""

    def __init__(self, url, keys):
        self.url, self.keys = url, keys
        self.model = boto3.session.Session()._session.get_service_model("cloudwatch")

    def ask(self, name, secret=None, **params):
        operation = self.model.operation_model(name)
        created_result = RpcV2CBORSerializer().serialize_to_request(params, operation)
        request = AWSRequest(
            "POST",
            self.url + created_result["url_path"],
            created_result["headers"],
            created_result["body"],
        )
        keys = self.keys
        secret = secret or keys.secret_access_key
        credentials = Keys(keys.access_key_id, secret, keys.session_token)
        SigV4Auth(credentials, "monitoring", REGION).add_auth(request)
        ready = request.prepare()
        answer = requests.post(ready.url, data=ready.body, headers=dict(ready.headers), timeout=60)
        result = {
            "body": answer.content, "headers": answer.headers, "status_code": answer.status_code,
        }  # fmt: skip
        return RpcV2CBORParser().parse(result, operation.output_shape)


def test_alarms_are_kept_for_those_who_speak_cbor(url, seeded, client):
    ask, name = Cbor(url, seeded.operator).ask, fresh("alarm")
    ask(
        "PutMetricAlarm", AlarmName=name, ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1, MetricName="Errors", Namespace="AWS/Lambda", Period=60,
        Statistic="Sum", Threshold=0.5,
    )  # fmt: skip
    alarm = ask("DescribeAlarms", AlarmNames=[name])["MetricAlarms"][0]

    assert (alarm["Threshold"], alarm["Period"]) == (0.5, 60)
    assert alarm["StateUpdatedTimestamp"] > datetime(2020, 1, 1, tzinfo=UTC)
    assert client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    denied = Cbor(url, seeded.pull_request).ask("DeleteAlarms", AlarmNames=[name])
    assert denied["Error"]["Code"] == "AccessDenied"
    wrong = ask("DescribeAlarms", secret="x", AlarmNames=[name])
    assert wrong["Error"]["Code"] == "SignatureDoesNotMatch"
    internal(url, "PUT", "faults", json={"throttle": 1})
    assert ask("DescribeAlarms")["Error"]["Code"] == "Throttling"


def test_an_unknown_control_is_refused(url):
    assert internal(url, "PUT", "clock", data="no json").status_code == 400
    assert internal(url, "GET", "nothing").status_code == 404
    assert internal(url, "PUT", f"foreign-principals/{arn('user', 'x')}").status_code == 400


# Faults and the log


def test_the_log_names_service_action_and_principal(client, url, seeded):
    internal(url, "DELETE", "requests")
    client("eks").describe_cluster(name="demo")
    client("logs").create_log_group(logGroupName=fresh("g"))
    client("sts").get_caller_identity()

    log = internal(url, "GET", "requests").json()
    assert (log["reads"], log["writes"]) == (2, 1)
    assert [(call["service"], call["action"], call["write"]) for call in log["log"]] == [
        ("eks", "DescribeCluster", False), ("logs", "CreateLogGroup", True),
        ("sts", "GetCallerIdentity", False),
    ]  # fmt: skip
    assert {call["principal"] for call in log["log"]} == {seeded.operator.arn}


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("iam", "list_roles", "Throttling"),
        ("ec2", "describe_vpcs", "RequestLimitExceeded"),
        ("lambda", "list_functions", "TooManyRequestsException"),
        ("eks", "list_clusters", "ThrottlingException"),
        ("sqs", "list_queues", "RequestThrottled"),
    ],
)
def test_throttling_is_worded_as_each_service_does(client, url, service, call, code):
    internal(url, "PUT", "faults", json={"throttle": 1})
    refused(getattr(client(service), call), code)


def test_throttled_callers_get_through_with_retries(url, seeded):
    internal(url, "PUT", "faults", json={"throttle": 0.3, "seed": 4})
    keys = seeded.operator
    patient = boto3.client(
        "iam", endpoint_url=url, region_name=REGION, aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key, aws_session_token=keys.session_token,
        config=Config(retries={"max_attempts": 12, "mode": "standard"}),
    )  # fmt: skip

    for _ in range(6):
        assert patient.list_roles()["Roles"]


def test_a_rule_answers_after_the_effect(iam, url):
    rule = {"action": "iam:CreateUser", "status": 500, "times": 1, "after_effect": True}
    internal(url, "PUT", "faults", json={"rules": [rule]})
    name = fresh("u")

    refused(iam.create_user, "InternalFailure", UserName=name)
    assert iam.get_user(UserName=name), "the user was made all the same"


# Propagation


def advance(url, seconds):
    assert internal(url, "PUT", "clock", json={"advance": seconds}).status_code == 200


def test_new_keys_are_seen_by_sts_only_later(iam, url):
    internal(url, "PUT", "faults", json={"propagation_seconds": 30})
    name, key, secret = make_user(iam)
    ask = signing(url, "sts", key, secret).get_caller_identity

    refused(ask, "InvalidClientTokenId")
    advance(url, 30)
    assert ask()["Arn"] == arn("user", name)


def test_new_roles_are_seen_only_later_by_lambda_trust_policies_and_access_entries(
    iam, url, client, eks, cluster
):
    internal(url, "PUT", "faults", json={"propagation_seconds": 30})
    role = make_role(iam)
    named = {"AWS": arn("role", role)}

    refused(lambda: make_function(client, role), "InvalidParameterValueException", "be assumed")
    refused(lambda: make_role(iam, named), "MalformedPolicyDocument", "Invalid principal")
    refused(eks.create_access_entry, "InvalidParameterException", "invalid principal",
            clusterName=cluster, principalArn=arn("role", role))  # fmt: skip
    advance(url, 30)
    make_function(client, role)
    make_role(iam, named)
    eks.create_access_entry(clusterName=cluster, principalArn=arn("role", role))


def test_new_permissions_take_effect_only_later(iam, url):
    user, key, secret = make_user(iam)
    internal(url, "PUT", "faults", json={"propagation_seconds": 30})
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    mine = signing(url, "iam", key, secret)

    refused(mine.list_roles, "AccessDenied")
    advance(url, 30)
    assert mine.list_roles()


def test_the_delay_is_the_same_for_the_same_seed(iam, url):
    def delays(seed):
        result = []
        for name in ("same-1", "same-2"):
            internal(url, "PUT", "faults", json={"propagation_seconds": 1000, "seed": seed})
            iam.create_user(UserName=name)
            role = {"AWS": arn("user", name)}
            waited = 0
            while waited < 1000:
                try:
                    created_result = make_role(iam, role)
                except ClientError:
                    advance(url, 25)
                    waited += 25
                else:
                    iam.delete_role(RoleName=created_result)
                    break
            result.append(waited)
            iam.delete_user(UserName=name)
        return result

    first, second, other = delays(1), delays(1), delays(2)
    assert first == second
    assert first[0] != first[1], "each thing has its own"
    assert other != first


def test_the_clock_does_not_go_back(url):
    assert internal(url, "PUT", "clock", json={"advance": -1}).status_code == 400


# Inventory


def test_the_inventory_is_the_same_after_everything_is_taken_away(iam, url, client):
    before = internal(url, "GET", "inventory").json()
    user, key, secret = make_user(iam, allow("s3:*"))
    role, profile = make_role(iam), fresh("profile")
    function = make_function(client, role)
    iam.create_instance_profile(InstanceProfileName=profile)
    during = internal(url, "GET", "inventory")
    assert secret not in during.text, "secrets appear as hashes only"
    objects = during.json()
    assert objects["iam-user"][user]["inline"]["own"]["Statement"][0]["Action"] == "s3:*"
    assert objects["iam-access-key"][key]["status"] == "Active"
    assert {role} <= set(objects["iam-role"])
    assert objects["lambda-function"][function]["CodeSha256"]
    assert profile in objects["iam-instance-profile"]

    client("lambda").delete_function(FunctionName=function)
    iam.delete_instance_profile(InstanceProfileName=profile)
    iam.delete_role(RoleName=role)
    iam.delete_access_key(UserName=user, AccessKeyId=key)
    iam.delete_user_policy(UserName=user, PolicyName="own")
    iam.delete_user(UserName=user)
    assert internal(url, "GET", "inventory").json() == before


def test_the_inventory_tells_every_kind_and_hides_values(client, url, cluster):
    secrets, queues, name = client("secretsmanager"), client("sqs"), fresh("kind")
    secrets.create_secret(Name=name, SecretString="a-value-that-nobody-sees")
    queues.create_queue(QueueName=name)
    client("logs").create_log_group(logGroupName=name)
    client("events").put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.ec2"]}))
    answer = internal(url, "GET", "inventory")
    result = answer.json()

    assert "a-value-that-nobody-sees" not in answer.text
    assert result["secretsmanager-secret"][name]["value"].startswith("sha256:")
    assert name in result["sqs-queue"]
    assert name in result["logs-group"]
    assert result["events-rule"][f"default/{name}"]["pattern"] == {"source": ["aws.ec2"]}
    assert cluster in result["eks-cluster"]
    assert f"{cluster}/{arn('role', 'platform-admin')}" in result["eks-access-entry"]
    assert result["ec2-instance"]
    assert result["ec2-security-group"]


def test_many_callers_at_once_get_their_own_answers(client):
    iam, names, answers = client("iam"), [fresh("many") for _ in range(24)], []

    def work(name):
        iam.create_user(UserName=name)
        answers.append(iam.get_user(UserName=name)["User"]["UserName"])

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted(names)


def test_a_launch_needs_its_group_in_the_subnets_network_and_a_profile_that_exists(client, seeded):
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    foreign = ec2.create_security_group(GroupName=fresh("g"), Description="x", VpcId=vpc)["GroupId"]
    wanted = {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1, "SubnetId": seeded.subnet_ids[0]}
    launch = ec2.run_instances
    refused(launch, "InvalidParameter", "networks", SecurityGroupIds=[foreign], **wanted)
    refused(launch, "InvalidGroup.NotFound", "sg-1", SecurityGroupIds=["sg-1"], **wanted)
    profile = {"Arn": arn("instance-profile", "nobody")}
    refused(launch, "InvalidParameterValue", "Profile", IamInstanceProfile=profile, **wanted)


def test_a_group_is_deleted_only_when_no_instance_uses_it(client, seeded):
    ec2 = client("ec2")
    name = {"GroupName": fresh("g"), "Description": "x", "VpcId": seeded.vpc_id}
    group = ec2.create_security_group(**name)["GroupId"]
    wanted = {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1, "SubnetId": seeded.subnet_ids[0]}
    [instance] = ec2.run_instances(SecurityGroupIds=[group], **wanted)["Instances"]
    refused(ec2.delete_security_group, "DependencyViolation", group, GroupId=group)
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    ec2.delete_security_group(GroupId=group)


def test_an_encrypted_volume_needs_grants_on_its_key(iam, url, seeded):
    key_arn = f"arn:aws:kms:{REGION}:012345678901:key/ours"
    keys = [f"kms:{one}" for one in ("DescribeKey", "GenerateDataKeyWithoutPlaintext", "Decrypt")]
    granting = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    _, *user = make_user(
        iam,
        allow("ec2:RunInstances"),
        allow(keys, key_arn),
        {**allow("kms:CreateGrant", key_arn), "Condition": granting},
    )
    ec2 = signing(url, "ec2", *user)

    def launch(key):
        device = {
            "DeviceName": "/dev/xvda",
            "Ebs": {"Encrypted": True, "VolumeSize": 100, "KmsKeyId": key},
        }
        wanted = {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1, "BlockDeviceMappings": [device]}
        return ec2.run_instances(SubnetId=seeded.subnet_ids[0], **wanted)

    assert launch(key_arn)["Instances"]
    refused(launch, "UnauthorizedOperation", "kms:", key=key_arn.replace("ours", "theirs"))
