"""AWS types of this program: how each is listed, found, tagged and named.

A row serves the audit (list, names, tags), the recovery (find) and the recognition of leftovers
(names). Names of others come from CAST AI's onboarding script (castai/docs, docs/getting-started,
its removal page) and its Terraform modules (castai/terraform-castai-eks-role-iam, main.tf).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from castai_stack import naming
from castai_stack.spot import alarms, events

OURS = "this program"
SHARED = "this program or CAST AI's script, account-wide"
SCRIPT = "CAST AI's script"
TERRAFORM = "CAST AI's Terraform module"

_ABSENT = frozenset(
    {
        "NoSuchEntity",
        "ResourceNotFoundException",
        "InvalidRequestException",  # access entries of a cluster that maps by aws-auth alone
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
    }
)
"""Error codes by which AWS answers that an object does not exist."""


@dataclass(frozen=True, slots=True)
class AwsObject:
    """One object: its id as `pulumi import` takes it, and its tags."""

    id: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsKind:
    """One type of AWS objects."""

    name: str
    title: str
    """Plural, for messages."""
    service: str
    operation: str
    """Operation that lists objects, and the key of its answer that holds them."""
    key: str
    label: Callable[[Any], str]
    """Name of an object in the listing."""
    arguments: Callable[[str], Mapping[str, Any]] = lambda _cluster: {}
    """Arguments of the listing for a cluster."""
    type: str = ""
    """Pulumi's type; empty for a type that this program does not create."""
    find: Callable[[Any, Mapping[str, Any]], AwsObject | None] = lambda _client, _inputs: None
    """Look an object up by its inputs in Pulumi; absent: None, or one of AWS's errors for it."""
    own: tuple[str, ...] = ()
    """Fields of `naming.Names` that name objects of this type."""
    shared: tuple[str, ...] = ()
    """Fields whose bare names several clusters of an account may use."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Names that others give, with their origin; `{id}` is the head of CAST AI's cluster id."""
    spell: Callable[[str], list[str]] = lambda name: [name]
    """Names of the objects that belong to one of the names above."""


def tags(answer: Mapping[str, Any]) -> dict[str, str]:
    """Read tags as most of AWS spells them."""
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags") or []}


def entries(client: Any, kind: AwsKind, cluster: str) -> Iterator[Any]:
    """Yield the entries of a type's listing."""
    arguments = kind.arguments(cluster)
    if client.can_paginate(kind.operation):
        for page in client.get_paginator(kind.operation).paginate(**arguments):
            yield from page.get(kind.key) or []
    else:
        yield from getattr(client, kind.operation)(**arguments).get(kind.key) or []


def find(client: Any, kind: AwsKind, inputs: Mapping[str, Any]) -> AwsObject | None:
    """Look one object up; None when AWS has none."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - rows are data without boto3

    try:
        return kind.find(client, inputs)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _ABSENT:
            return None
        raise


def _user(iam: Any, inputs: Mapping[str, Any]) -> AwsObject:
    user = iam.get_user(UserName=inputs["name"])["User"]
    return AwsObject(user["UserName"], tags(user))


def _role(iam: Any, inputs: Mapping[str, Any]) -> AwsObject:
    role = iam.get_role(RoleName=inputs["name"])["Role"]
    return AwsObject(role["RoleName"], tags(role))


def _policy(iam: Any, inputs: Mapping[str, Any]) -> AwsObject | None:
    for page in iam.get_paginator("list_policies").paginate(Scope="Local"):
        for policy in page["Policies"]:
            if policy["PolicyName"] == inputs["name"]:
                return AwsObject(policy["Arn"], tags(iam.list_policy_tags(PolicyArn=policy["Arn"])))
    return None


def _profile(iam: Any, inputs: Mapping[str, Any]) -> AwsObject:
    answer = iam.get_instance_profile(InstanceProfileName=inputs["name"])
    profile = answer["InstanceProfile"]
    return AwsObject(profile["InstanceProfileName"], tags(profile))


def _function(functions: Any, inputs: Mapping[str, Any]) -> AwsObject:
    answer = functions.get_function(FunctionName=inputs["name"])
    return AwsObject(answer["Configuration"]["FunctionName"], answer.get("Tags") or {})


def _rule(rules: Any, inputs: Mapping[str, Any]) -> AwsObject:
    arn = rules.describe_rule(Name=inputs["name"])["Arn"]
    return AwsObject(inputs["name"], tags(rules.list_tags_for_resource(ResourceARN=arn)))


def _log_group(logs: Any, inputs: Mapping[str, Any]) -> AwsObject | None:
    name = inputs["name"]
    for group in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]:
        if group["logGroupName"] == name:
            arn = group["arn"].removesuffix(":*")
            answer = logs.list_tags_for_resource(resourceArn=arn)
            return AwsObject(name, answer.get("tags") or {})
    return None


def _queue(queues: Any, inputs: Mapping[str, Any]) -> AwsObject:
    url = queues.get_queue_url(QueueName=inputs["name"])["QueueUrl"]
    return AwsObject(url, queues.list_queue_tags(QueueUrl=url).get("Tags") or {})


def _alarm(watch: Any, inputs: Mapping[str, Any]) -> AwsObject | None:
    for alarm in watch.describe_alarms(AlarmNames=[inputs["name"]])["MetricAlarms"]:
        answer = watch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])
        return AwsObject(alarm["AlarmName"], tags(answer))
    return None


def _secret(secrets: Any, inputs: Mapping[str, Any]) -> AwsObject:
    secret = secrets.describe_secret(SecretId=inputs["name"])
    return AwsObject(secret["ARN"], tags(secret))


def _access_entry(eks: Any, inputs: Mapping[str, Any]) -> AwsObject:
    cluster, principal = inputs["clusterName"], inputs["principalArn"]
    entry = eks.describe_access_entry(clusterName=cluster, principalArn=principal)["accessEntry"]
    return AwsObject(f"{cluster}:{principal}", entry.get("tags") or {})


def _security_group(ec2: Any, inputs: Mapping[str, Any]) -> AwsObject | None:
    filters = [
        {"Name": "group-name", "Values": [inputs["name"]]},
        {"Name": "vpc-id", "Values": [inputs["vpcId"]]},
    ]
    for group in ec2.describe_security_groups(Filters=filters)["SecurityGroups"]:
        return AwsObject(group["GroupId"], tags(group))
    return None


_NODE_ROLE = {"cast-{cluster:.40}-eks-{id}": f"{OURS} or {SCRIPT}"}
# The numbers are the lengths at which the sources named above cut a cluster's name.
_TERRAFORM_PRINCIPAL = {"castai-eks-{cluster:.53}": TERRAFORM}
_TERRAFORM_NODE = {"castai-eks-instance-{cluster:.44}": TERRAFORM}
_SCRIPT_FUNCTION = {"eks-{cluster}-events-listener": SCRIPT}

KINDS = (
    AwsKind(
        name="user",
        title="IAM users",
        service="iam",
        operation="list_users",
        key="Users",
        label=lambda user: user["UserName"],
        type="aws:iam/user:User",
        find=_user,
        own=("principal",),
        others={"castai-eks-{cluster}": TERRAFORM},
    ),
    AwsKind(
        name="role",
        title="IAM roles",
        service="iam",
        operation="list_roles",
        key="Roles",
        label=lambda role: role["RoleName"],
        type="aws:iam/role:Role",
        find=_role,
        own=("principal", "lambda_role"),
        shared=("lambda_role",),
        others={
            "{cluster}-lambda-role": SCRIPT,
            **_TERRAFORM_PRINCIPAL,
            **_TERRAFORM_NODE,
            **_NODE_ROLE,
            "cast-eks-{cluster}-cluster-role-{id}": SCRIPT,
            "cast-eks-{cluster:.30}-cluster-role-{id}": SCRIPT,
        },
    ),
    AwsKind(
        name="policy",
        title="IAM policies",
        service="iam",
        operation="list_policies",
        key="Policies",
        label=lambda policy: policy["PolicyName"],
        arguments=lambda _cluster: {"Scope": "Local"},
        type="aws:iam/policy:Policy",
        find=_policy,
        own=(
            "castai_policy",
            "restricted_policy",
            "feature_policy",
            "lambda_boundary",
            "node_boundary",
        ),
        shared=("castai_policy",),
    ),
    AwsKind(
        name="instance profile",
        title="instance profiles",
        service="iam",
        operation="list_instance_profiles",
        key="InstanceProfiles",
        label=lambda profile: profile["InstanceProfileName"],
        type="aws:iam/instanceProfile:InstanceProfile",
        find=_profile,
        others={**_TERRAFORM_NODE, **_NODE_ROLE},
    ),
    AwsKind(
        name="instance",
        title="EC2 instances",
        service="ec2",
        operation="describe_instances",
        key="Reservations",
        label=lambda instance: instance["InstanceId"],
        arguments=lambda cluster: {
            "Filters": [{"Name": "tag-key", "Values": [f"kubernetes.io/cluster/{cluster}"]}]
        },
    ),
    AwsKind(
        name="security group",
        title="security groups",
        service="ec2",
        operation="describe_security_groups",
        key="SecurityGroups",
        label=lambda group: group["GroupName"],
        type="aws:ec2/securityGroup:SecurityGroup",
        find=_security_group,
        # The audit tells a group of this program by its tag.
        others={naming.NODE_GROUP: SCRIPT},
    ),
    AwsKind(
        name="key pair",
        title="key pairs",
        service="ec2",
        operation="describe_key_pairs",
        key="KeyPairs",
        label=lambda pair: pair["KeyName"],
    ),
    AwsKind(
        name="volume",
        title="volumes",
        service="ec2",
        operation="describe_volumes",
        key="Volumes",
        label=lambda volume: volume["VolumeId"],
    ),
    AwsKind(
        name="function",
        title="Lambda functions",
        service="lambda",
        operation="list_functions",
        key="Functions",
        label=lambda function: function["FunctionName"],
        type="aws:lambda/function:Function",
        find=_function,
        own=("function",),
        shared=("function",),
        others=_SCRIPT_FUNCTION,
    ),
    AwsKind(
        name="rule",
        title="EventBridge rules",
        service="events",
        operation="list_rules",
        key="Rules",
        label=lambda rule: rule["Name"],
        type="aws:cloudwatch/eventRule:EventRule",
        find=_rule,
        own=("interruption_rule", "rebalance_rule"),
    ),
    AwsKind(
        name="log group",
        title="log groups",
        service="logs",
        operation="describe_log_groups",
        key="logGroups",
        label=lambda group: group["logGroupName"],
        type="aws:cloudwatch/logGroup:LogGroup",
        find=_log_group,
        own=("function",),
        shared=("function",),
        others=_SCRIPT_FUNCTION,
        spell=lambda function: [events.log_group(function)],
    ),
    AwsKind(
        name="queue",
        title="SQS queues",
        service="sqs",
        operation="list_queues",
        key="QueueUrls",
        label=lambda url: url.rpartition("/")[2],
        type="aws:sqs/queue:Queue",
        find=_queue,
        own=("dead_letter_queue",),
    ),
    AwsKind(
        name="alarm",
        title="alarms",
        service="cloudwatch",
        operation="describe_alarms",
        key="MetricAlarms",
        label=lambda alarm: alarm["AlarmName"],
        type="aws:cloudwatch/metricAlarm:MetricAlarm",
        find=_alarm,
        own=("function",),
        shared=("function",),
        spell=lambda function: [alarms.alarm_name(function, alarm) for alarm in alarms.ALARMS],
    ),
    AwsKind(
        name="secret",
        title="secrets",
        service="secretsmanager",
        operation="list_secrets",
        key="SecretList",
        label=lambda secret: secret["Name"],
        type="aws:secretsmanager/secret:Secret",
        find=_secret,
        own=("function",),
        shared=("function",),
        spell=lambda function: [events.secret_name(function)],
    ),
    AwsKind(
        name="access entry",
        title="EKS access entries",
        service="eks",
        operation="list_access_entries",
        key="accessEntries",
        label=str,
        arguments=lambda cluster: {"clusterName": cluster},
        type="aws:eks/accessEntry:AccessEntry",
        find=_access_entry,
    ),
)
BY_NAME = {kind.name: kind for kind in KINDS}
BY_TYPE = {kind.type: kind for kind in KINDS if kind.type}
