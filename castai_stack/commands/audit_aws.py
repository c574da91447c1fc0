"""The audit's questions to AWS."""

from collections.abc import Callable, Iterator
from typing import Any

from castai_stack.commands.aws_clients import clients
from castai_stack.commands.leftovers import (
    OURS,
    AuditError,
    Kind,
    Leftover,
    Signs,
    instance_origin,
    principal_origin,
)
from castai_stack.commands.target import Target
from castai_stack.naming import CLUSTER_TAG

_ENDED = ("terminated", "shutting-down")


class AwsAudit:
    """The questions to AWS."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._signs = Signs(target.cluster)
        self._client = clients(target.region)

    def questions(self) -> list[Callable[[], Iterator[Leftover]]]:
        """Every question, to be asked one by one so that one refusal hides no other answer.

        Raises AuditError when the credentials are none, or those of another account.
        """
        list(self._asked("the account", self._account))
        return [
            lambda: self._asked("IAM users", self._users),
            lambda: self._asked("IAM roles", self._roles),
            lambda: self._asked("IAM policies", self._policies),
            lambda: self._asked("instance profiles", self._profiles),
            lambda: self._asked("EC2 instances", self._instances),
            lambda: self._asked("security groups", self._security_groups),
            lambda: self._asked("key pairs", self._key_pairs),
            lambda: self._asked("volumes", self._volumes),
            lambda: self._asked("Lambda functions", self._functions),
            lambda: self._asked("EventBridge rules", self._rules),
            lambda: self._asked("log groups", self._log_groups),
            lambda: self._asked("SQS queues", self._queues),
            lambda: self._asked("alarms", self._alarms),
            lambda: self._asked("secrets", self._secrets),
            lambda: self._asked("EKS access entries", self._access_entries),
        ]

    def _asked(self, what: str, question: Callable[[], Iterator[Leftover]]) -> Iterator[Leftover]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - lazy

        try:
            yield from question()
        except ClientError as error:
            told = error.response.get("Error", {})
            raise AuditError(
                f"{what}: AWS answers {told.get('Code')}: {told.get('Message')}"
            ) from None
        except BotoCoreError as error:
            raise AuditError(f"{what}: {error}") from None

    def _pages(self, service: str, operation: str, key: str, **more: Any) -> Iterator[Any]:
        for page in self._client(service).get_paginator(operation).paginate(**more):
            yield from page.get(key, [])

    def _account(self) -> Iterator[Leftover]:
        account = self._client("sts").get_caller_identity()["Account"]
        if account != self._target.account_id:
            raise AuditError(
                f"the credentials are for account {account}, the cluster is in "
                f"{self._target.account_id}; use credentials of that account"
            )
        yield from ()

    def _judge(
        self, kind: Kind, name: str, tags: Callable[[], dict[str, str]]
    ) -> Iterator[Leftover]:
        """Decide by tag first, because a tag says more than a name, then by name."""
        origin = self._signs.origin(kind, name)
        if origin is None and "cast" not in name.lower():
            return
        if origin is None or self._signs.account_wide(kind, name):
            tagged = tags().get(CLUSTER_TAG)
            if tagged == self._target.cluster:
                origin = OURS
            elif tagged is not None or origin is None:
                return
        yield Leftover("aws", kind, name, origin)

    def _users(self) -> Iterator[Leftover]:
        iam = self._client("iam")
        for user in self._pages("iam", "list_users", "Users"):
            name = user["UserName"]
            found = list(
                self._judge(
                    "user", name, lambda name=name: _tags(iam.list_user_tags(UserName=name))
                )
            )
            yield from found
            for one in found:
                for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
                    shown = f"{key['AccessKeyId']} of {name}, {key['Status']}"
                    yield Leftover("aws", "access key", shown, one.origin)

    def _roles(self) -> Iterator[Leftover]:
        iam = self._client("iam")
        for role in self._pages("iam", "list_roles", "Roles"):
            name = role["RoleName"]
            yield from self._judge(
                "role", name, lambda name=name: _tags(iam.list_role_tags(RoleName=name))
            )

    def _policies(self) -> Iterator[Leftover]:
        iam = self._client("iam")
        for policy in self._pages("iam", "list_policies", "Policies", Scope="Local"):
            name, arn = policy["PolicyName"], policy["Arn"]
            for one in self._judge(
                "policy", name, lambda arn=arn: _tags(iam.list_policy_tags(PolicyArn=arn))
            ):
                in_use = self._signs.account_wide("policy", name) and policy["AttachmentCount"]
                if one.origin == OURS or not in_use:
                    yield one

    def _profiles(self) -> Iterator[Leftover]:
        for profile in self._pages("iam", "list_instance_profiles", "InstanceProfiles"):
            name = profile["InstanceProfileName"]
            yield from self._judge("instance profile", name, lambda profile=profile: _tags(profile))

    def _instances(self) -> Iterator[Leftover]:
        mine = [{"Name": "tag-key", "Values": [f"kubernetes.io/cluster/{self._target.cluster}"]}]
        for reservation in self._pages("ec2", "describe_instances", "Reservations", Filters=mine):
            for instance in reservation["Instances"]:
                origin = instance_origin(self._target.cluster, _tags(instance))
                if origin and instance["State"]["Name"] not in _ENDED:
                    yield Leftover("aws", "instance", instance["InstanceId"], origin)

    def _security_groups(self) -> Iterator[Leftover]:
        for group in self._pages("ec2", "describe_security_groups", "SecurityGroups"):
            tags = _tags(group)
            names = (group["GroupName"], tags.get("Name", ""))
            origins = {self._signs.origin("security group", name) for name in names}
            if tags.get(CLUSTER_TAG) == self._target.cluster:
                origins = {OURS}
            for origin in origins - {None}:
                shown = f"{group['GroupId']} {group['GroupName']}"
                yield Leftover("aws", "security group", shown, str(origin))

    def _key_pairs(self) -> Iterator[Leftover]:
        for pair in self._client("ec2").describe_key_pairs()["KeyPairs"]:
            yield from self._by_tag("key pair", pair["KeyName"], _tags(pair))

    def _volumes(self) -> Iterator[Leftover]:
        for volume in self._pages("ec2", "describe_volumes", "Volumes"):
            if volume["State"] == "available":
                yield from self._by_tag("volume", volume["VolumeId"], _tags(volume))

    def _by_tag(self, kind: str, name: str, tags: dict[str, str]) -> Iterator[Leftover]:
        if tags.get(CLUSTER_TAG) == self._target.cluster:
            yield Leftover("aws", kind, name, OURS)
        elif "cast:cluster-id" in tags and instance_origin(self._target.cluster, tags):
            yield Leftover("aws", kind, name, "CAST AI, for a node")

    def _functions(self) -> Iterator[Leftover]:
        functions = self._client("lambda")
        for function in self._pages("lambda", "list_functions", "Functions"):
            arn = function["FunctionArn"]
            yield from self._judge(
                "function",
                function["FunctionName"],
                lambda arn=arn: functions.list_tags(Resource=arn).get("Tags", {}),
            )

    def _rules(self) -> Iterator[Leftover]:
        events = self._client("events")
        for rule in self._pages("events", "list_rules", "Rules"):
            arn = rule["Arn"]
            yield from self._judge(
                "rule",
                rule["Name"],
                lambda arn=arn: _tags(events.list_tags_for_resource(ResourceARN=arn)),
            )

    def _log_groups(self) -> Iterator[Leftover]:
        logs = self._client("logs")
        for group in self._pages("logs", "describe_log_groups", "logGroups"):
            arn = group["arn"].removesuffix(":*")
            yield from self._judge(
                "log group",
                group["logGroupName"],
                lambda arn=arn: logs.list_tags_for_resource(resourceArn=arn).get("tags", {}),
            )

    def _queues(self) -> Iterator[Leftover]:
        queues = self._client("sqs")
        for url in self._pages("sqs", "list_queues", "QueueUrls"):
            yield from self._judge(
                "queue",
                url.rpartition("/")[2],
                lambda url=url: queues.list_queue_tags(QueueUrl=url).get("Tags", {}),
            )

    def _alarms(self) -> Iterator[Leftover]:
        watch = self._client("cloudwatch")
        for alarm in self._pages("cloudwatch", "describe_alarms", "MetricAlarms"):
            arn = alarm["AlarmArn"]
            yield from self._judge(
                "alarm",
                alarm["AlarmName"],
                lambda arn=arn: _tags(watch.list_tags_for_resource(ResourceARN=arn)),
            )

    def _secrets(self) -> Iterator[Leftover]:
        for secret in self._pages("secretsmanager", "list_secrets", "SecretList"):
            yield from self._judge("secret", secret["Name"], lambda secret=secret: _tags(secret))

    def _access_entries(self) -> Iterator[Leftover]:
        eks = self._client("eks")
        try:
            arns = list(
                self._pages(
                    "eks", "list_access_entries", "accessEntries", clusterName=self._target.cluster
                )
            )
        except (
            eks.exceptions.ResourceNotFoundException,  # the cluster itself is gone
            eks.exceptions.InvalidRequestException,  # it maps by aws-auth alone
        ):
            return
        for arn in arns:
            if (origin := principal_origin(self._signs, arn)) is not None:
                yield Leftover("aws", "access entry", arn, origin)


def _tags(answer: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags") or []}
