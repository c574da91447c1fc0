"""Creates that a killed run has begun: where each would be found, and the state mended with it."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from castai_stack.access import entries
from castai_stack.naming import CLUSTER_TAG

if TYPE_CHECKING:
    from castai_stack.castai.client import CastaiApi


HAND_OVER = "pulumi-python:dynamic/castai:HandOver"
PRINCIPAL = "pulumi-python:dynamic/castai:AssumeRolePrincipal"
REGISTRATION = "pulumi-python:dynamic/castai:ClusterRegistration"
LEFTOVERS = "pulumi-python:dynamic/castai:AgentLeftovers"
AWS_AUTH = "pulumi-python:dynamic/castai:AwsAuthEntry"
_ABSENT = (
    "NoSuchEntity",
    "ResourceNotFoundException",
    "InvalidRequestException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
)
"""AWS's words for: there is none."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A create of which the engine does not know whether it happened."""

    urn: str
    type: str
    inputs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the resource in the program."""
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True, slots=True)
class Found:
    """What AWS has in the place of a pending create."""

    id: str
    tags: Mapping[str, str]


def begun(deployment: Mapping[str, Any]) -> Iterator[Pending]:
    """List the creates that a killed run has begun."""
    for operation in deployment.get("pending_operations") or ():
        if operation["type"] == "creating":
            resource = operation["resource"]
            yield Pending(resource["urn"], resource["type"], resource.get("inputs") or {})


def existing(deployment: Mapping[str, Any]) -> set[str]:
    """Return the URNs of the resources that the state holds as existing.

    A resource that is deleted before it is replaced stays in the state, marked, until its successor
    exists.
    """
    return {
        resource["urn"]
        for resource in deployment.get("resources") or ()
        if not resource.get("pendingReplacement")
    }


def updates_hand_over(deployment: Mapping[str, Any]) -> bool:
    """Tell whether a killed run was about to hand over once more, and perhaps did."""
    return any(
        one["type"] == "updating" and one["resource"]["type"] == HAND_OVER
        for one in deployment.get("pending_operations") or ()
    )


def settled(deployment: Mapping[str, Any], taken: Mapping[str, str]) -> dict[str, Any]:
    """Return the state with no create pending: `taken` gives ids by URN, the rest is forgotten.

    The engine's own `refresh --import-pending-creates` loses the resource (seen with 3.215.0: the
    operation is turned into an import that nothing carries out), hence by hand. The refresh that
    follows reads what a resource outputs. Outputs that the operation has already are left out: with
    them the id would be read as one that the provider chose, and some differ from those to import.
    A resource takes the place of its deleted predecessor, after which its dependents follow.
    """
    resources, operations = list(deployment.get("resources") or ()), []
    places = {one["urn"]: n for n, one in enumerate(resources) if one.get("pendingReplacement")}
    for operation in deployment.get("pending_operations") or ():
        if operation["type"] != "creating":
            operations.append(operation)
        elif (urn := operation["resource"]["urn"]) in taken:
            asked = {k: v for k, v in operation["resource"].items() if k != "outputs"}
            new = {**asked, "id": taken[urn]}
            if urn in places:
                resources[places[urn]] = new
            else:
                resources.append(new)
    return {**deployment, "resources": resources, "pending_operations": operations}


class Places:
    """Where a pending create would be found, if it happened.

    Whatever a destroy would have to take away is taken in; what goes with something else, or has
    no effect outside of the state, is forgotten. A thing that lacks this cluster's tag is
    somebody else's, whatever its name.
    """

    def __init__(
        self,
        client: Callable[[str], Any],
        api: Callable[[], "CastaiApi"],
        cluster: str,
        say: Callable[[str], None],
    ) -> None:
        self._client = client
        self._api = api
        self._cluster = cluster
        self._say = say
        # The id follows from the inputs; the refresh drops what turns out not to be there.
        self._derived: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
            HAND_OVER: lambda inputs: str(inputs["cluster_id"]),
            PRINCIPAL: lambda inputs: f"{inputs['cluster_id']}/principal",
            REGISTRATION: self._registration,
            LEFTOVERS: lambda inputs: str(inputs["namespace"]),
            AWS_AUTH: lambda inputs: f"{entries.WHERE}/{entries.KEYS[inputs['kind']]}",
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment": lambda inputs: (
                f"{inputs['role']}/{inputs['policyArn']}"
            ),
            "aws:iam/userPolicyAttachment:UserPolicyAttachment": lambda inputs: (
                f"{inputs['user']}/{inputs['policyArn']}"
            ),
            "aws:iam/rolePolicy:RolePolicy": lambda inputs: f"{inputs['role']}:{inputs['name']}",
            "aws:cloudwatch/eventTarget:EventTarget": lambda inputs: (
                f"{inputs['rule']}/{inputs['targetId']}" if inputs.get("targetId") else None
            ),
        }
        self._looks: dict[str, Callable[[Mapping[str, Any]], Found | None]] = {
            "aws:iam/user:User": self._user,
            "aws:iam/role:Role": self._role,
            "aws:iam/policy:Policy": self._policy,
            "aws:iam/instanceProfile:InstanceProfile": self._profile,
            "aws:lambda/function:Function": self._function,
            "aws:lambda/permission:Permission": self._permission,
            "aws:cloudwatch/logGroup:LogGroup": self._log_group,
            "aws:cloudwatch/eventRule:EventRule": self._rule,
            "aws:cloudwatch/metricAlarm:MetricAlarm": self._alarm,
            "aws:sqs/queue:Queue": self._queue,
            "aws:secretsmanager/secret:Secret": self._secret,
            "aws:eks/accessEntry:AccessEntry": self._access_entry,
        }

    def look(self, pending: Pending) -> str | None:
        """Return the id to import, or None when the create is to be forgotten."""
        if pending.type.startswith("kubernetes:"):
            return _kubernetes_id(pending.inputs)
        if pending.type in self._derived:
            return self._derived[pending.type](pending.inputs)
        found = self._found(pending)
        if found is None:
            return None
        if found.tags.get(CLUSTER_TAG) != self._cluster:
            self._say(
                f"{found.id} exists without the tag {CLUSTER_TAG}={self._cluster}: "
                "somebody else made it, and the next run will say that it is in the way"
            )
            return None
        return found.id

    def _found(self, pending: Pending) -> Found | None:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - lazy

        look = self._looks.get(pending.type)
        try:
            return None if look is None else look(pending.inputs)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _ABSENT:
                return None
            raise

    def _registration(self, inputs: Mapping[str, Any]) -> str | None:
        wanted = (inputs["cluster_name"], inputs["region"], inputs["account_id"])
        for cluster in self._api().list_clusters():
            if (cluster.name, cluster.region, cluster.account_id) == wanted:
                return None if cluster.archived else cluster.id
        return None

    def _user(self, inputs: Mapping[str, Any]) -> Found | None:
        user = self._client("iam").get_user(UserName=inputs["name"])["User"]
        return Found(user["UserName"], tags_of(user))

    def _role(self, inputs: Mapping[str, Any]) -> Found | None:
        role = self._client("iam").get_role(RoleName=inputs["name"])["Role"]
        return Found(role["RoleName"], tags_of(role))

    def _policy(self, inputs: Mapping[str, Any]) -> Found | None:
        iam = self._client("iam")
        for page in iam.get_paginator("list_policies").paginate(Scope="Local"):
            for policy in page["Policies"]:
                if policy["PolicyName"] == inputs["name"]:
                    tags = tags_of(iam.list_policy_tags(PolicyArn=policy["Arn"]))
                    return Found(policy["Arn"], tags)
        return None

    def _profile(self, inputs: Mapping[str, Any]) -> Found | None:
        profile = self._client("iam").get_instance_profile(InstanceProfileName=inputs["name"])[
            "InstanceProfile"
        ]
        return Found(profile["InstanceProfileName"], tags_of(profile))

    def _function(self, inputs: Mapping[str, Any]) -> Found | None:
        found = self._client("lambda").get_function(FunctionName=inputs["name"])
        return Found(found["Configuration"]["FunctionName"], found.get("Tags", {}))

    def _permission(self, inputs: Mapping[str, Any]) -> Found | None:
        # Without a chosen id another one is added beside it; with one it is in the way.
        statement, function = inputs.get("statementId"), str(inputs["function"])
        if not statement:
            return None
        text = self._client("lambda").get_policy(FunctionName=function)["Policy"]
        if statement not in [one.get("Sid") for one in json.loads(text)["Statement"]]:
            return None
        name = function.rpartition(":")[2]
        return Found(f"{name}/{statement}", {CLUSTER_TAG: self._cluster})

    def _log_group(self, inputs: Mapping[str, Any]) -> Found | None:
        logs = self._client("logs")
        name = inputs["name"]
        for group in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]:
            if group["logGroupName"] == name:
                arn = group["arn"].removesuffix(":*")
                return Found(name, logs.list_tags_for_resource(resourceArn=arn).get("tags", {}))
        return None

    def _rule(self, inputs: Mapping[str, Any]) -> Found | None:
        events = self._client("events")
        arn = events.describe_rule(Name=inputs["name"])["Arn"]
        return Found(inputs["name"], tags_of(events.list_tags_for_resource(ResourceARN=arn)))

    def _alarm(self, inputs: Mapping[str, Any]) -> Found | None:
        watch = self._client("cloudwatch")
        for alarm in watch.describe_alarms(AlarmNames=[inputs["name"]])["MetricAlarms"]:
            tags = watch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])
            return Found(alarm["AlarmName"], tags_of(tags))
        return None

    def _queue(self, inputs: Mapping[str, Any]) -> Found | None:
        queues = self._client("sqs")
        url = queues.get_queue_url(QueueName=inputs["name"])["QueueUrl"]
        return Found(url, queues.list_queue_tags(QueueUrl=url).get("Tags", {}))

    def _secret(self, inputs: Mapping[str, Any]) -> Found | None:
        found = self._client("secretsmanager").describe_secret(SecretId=inputs["name"])
        return Found(found["ARN"], tags_of(found))

    def _access_entry(self, inputs: Mapping[str, Any]) -> Found | None:
        cluster, principal = inputs["clusterName"], inputs["principalArn"]
        entry = self._client("eks").describe_access_entry(
            clusterName=cluster, principalArn=principal
        )["accessEntry"]
        return Found(f"{cluster}:{principal}", entry.get("tags", {}))


def _kubernetes_id(inputs: Mapping[str, Any]) -> str | None:
    """Spell the id as the provider does; refreshing drops an object that is not there."""
    metadata = inputs.get("metadata", {})
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not name:
        return None
    return f"{namespace}/{name}" if namespace else str(name)


def tags_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """Read tags as most of AWS spells them."""
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags") or []}
