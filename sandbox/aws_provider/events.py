"""Events and where they go: rules, targets, queues, log groups and alarms.

Schemas: `internal/service/{events,sqs,logs,cloudwatch}/*.go` in
`hashicorp/terraform-provider-aws`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from sandbox.aws_provider import rules
from sandbox.aws_provider.account import Account, RefusedError, absent_is_fine, is_gone
from sandbox.aws_provider.resource import (
    REGION,
    TAG_PROPERTIES,
    TAGS,
    Field,
    Fields,
    Listing,
    Properties,
    Resource,
    Tagging,
)

_EVENT_CHARACTERS = r".\-_A-Za-z0-9"
_LONGEST_PATTERN = 4096
_RETENTIONS = (
    *(0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
_SECONDS_PERIODS = (10, 20, 30)
_MINUTE = 60
_GONE_SECONDS = 180
_ARN_OUTPUT = {"arn": "Arn"}


class EventRule(Resource):
    """Rule that selects events."""

    aws_type = "aws:cloudwatch/eventRule:EventRule"
    service = "events"
    autoname = ("name", 64)
    key: ClassVar[dict[str, str]] = {"name": "Name"}
    create_call, read_call, delete_call = "put_rule", "describe_rule", "delete_rule"
    tagging = Tagging("resource", "ResourceARN", read="list_tags_for_resource")
    passing = (("ValidationException", "since it has targets"),)
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.name(64, _EVENT_CHARACTERS)),
        "description": Field(rule=rules.length(512, 0)),
        "eventPattern": Field(rule=rules.document, kind="document"),
        "isEnabled": Field(default=True, call="State"),
        **REGION,
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = _ARN_OUTPUT

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        if len(values.get("eventPattern", "")) > _LONGEST_PATTERN:
            yield "eventPattern", f"must have at most {_LONGEST_PATTERN} characters"

    def arguments(self, inputs: Properties) -> dict[str, Any]:
        state = "ENABLED" if inputs["isEnabled"] else "DISABLED"
        return {**super().arguments(inputs), "State": state}

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        rule = super().find(aws, identifier, {"name": identifier, **state}) or {}
        return {**rule, "State": rule["State"] != "DISABLED"}


class EventTarget(Resource):
    """Where the events of a rule go."""

    aws_type = "aws:cloudwatch/eventTarget:EventTarget"
    service = "events"
    autoname = ("targetId", 64)
    key: ClassVar[dict[str, str]] = {"rule": "Rule", "targetId": "Id"}
    separator, import_separator = "-", "/"
    create_call = "put_targets"
    listing = Listing("list_targets_by_rule", "Targets", "Id", "targetId", {"Rule": "rule"})
    waits_for_parent = True
    fields: ClassVar[Fields] = {
        "targetId": Field(replaces=True, rule=rules.name(64, _EVENT_CHARACTERS)),
        "rule": Field(replaces=True, rule=rules.name(64, _EVENT_CHARACTERS)),
        "arn": Field(rule=rules.arn),
        "deadLetterConfig": Field(nested=1),
        "retryPolicy": Field(nested=1),
        **REGION,
    }

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        bounds = {"maximumEventAgeInSeconds": (60, 86400), "maximumRetryAttempts": (0, 185)}
        for name, value in values.get("retryPolicy", {}).items():
            if isinstance(value, int) and (problem := rules.between(*bounds[name])(value)):
                yield f"retryPolicy.{name}", problem

    def call(self, aws: Account, properties: Properties, name: str, **arguments: Any) -> Any:
        target = {key: value for key, value in arguments.items() if key != "Rule"}
        answer = super().call(aws, properties, name, Rule=arguments["Rule"], Targets=[target])
        if answer.get("FailedEntryCount"):
            failed = answer["FailedEntries"][0]
            raise RefusedError(
                f"EventBridge refused target {target['Id']} of rule {arguments['Rule']}: "
                f"{failed.get('ErrorCode')}: {failed.get('ErrorMessage')}"
            )
        return answer

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        del identifier
        with absent_is_fine():
            aws.client("events", state.get("region")).remove_targets(
                Rule=state["rule"], Ids=[state["targetId"]]
            )


class LogGroup(Resource):
    """Log group; a retention of 0 keeps its logs for ever."""

    aws_type = "aws:cloudwatch/logGroup:LogGroup"
    service = "logs"
    autoname = ("name", 512)
    key: ClassVar[dict[str, str]] = {"name": "logGroupName"}
    create_call, delete_call = "create_log_group", "delete_log_group"
    listing = Listing(
        "describe_log_groups", "logGroups", "logGroupName", "name", {"logGroupNamePrefix": "name"}
    )
    tagging = Tagging("resource", "resourceArn", style="map", read="list_tags_for_resource")
    passing = (("OperationAbortedException", ""),)
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.name(512, r".\-_/#A-Za-z0-9")),
        "retentionInDays": Field(default=0, rule=rules.one_of(*_RETENTIONS)),
        **REGION,
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {"arn": "logGroupArn"}

    def arguments(self, inputs: Properties) -> dict[str, Any]:
        del inputs  # the retention is set by another call
        return {}

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        if inputs["retentionInDays"]:
            self._retain(aws, identifier, inputs)

    def _retain(self, aws: Account, identifier: str, desired: Properties) -> None:
        logs = aws.client("logs", desired["region"])
        if days := desired["retentionInDays"]:
            logs.put_retention_policy(logGroupName=identifier, retentionInDays=days)
        else:
            logs.delete_retention_policy(logGroupName=identifier)

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        group = super().find(aws, identifier, {"name": identifier, **state})
        return group and {**group, "logGroupArn": group["arn"].removesuffix(":*")}

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        if "retentionInDays" in changed:
            self._retain(aws, identifier, new)
        super().update(aws, identifier, old, new, changed & TAG_PROPERTIES)


class MetricAlarm(Resource):
    """Alarm on one metric."""

    aws_type = "aws:cloudwatch/metricAlarm:MetricAlarm"
    service = "cloudwatch"
    autoname = ("name", 255)
    key: ClassVar[dict[str, str]] = {"name": "AlarmName"}
    create_call = "put_metric_alarm"
    tagging = Tagging("resource", "ResourceARN", read="list_tags_for_resource")
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.length(255)),
        "comparisonOperator": Field(
            rule=rules.one_of(
                "GreaterThanOrEqualToThreshold",
                "GreaterThanThreshold",
                "LessThanThreshold",
                "LessThanOrEqualToThreshold",
            )
        ),
        "evaluationPeriods": Field(rule=rules.between(1, 86400)),
        "metricName": Field(rule=rules.length(255)),
        "namespace": Field(rule=rules.length(255)),
        "period": Field(),
        "statistic": Field(
            rule=rules.one_of("SampleCount", "Average", "Sum", "Minimum", "Maximum")
        ),
        "threshold": Field(),
        "dimensions": Field(),
        "alarmDescription": Field(rule=rules.length(1024, 0)),
        "actionsEnabled": Field(default=True),
        "alarmActions": Field(rule=rules.each(rules.arn), kind="set"),
        "okActions": Field(rule=rules.each(rules.arn), kind="set", call="OKActions"),
        "treatMissingData": Field(
            default="missing", rule=rules.one_of("breaching", "notBreaching", "ignore", "missing")
        ),
        **REGION,
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {"arn": "AlarmArn"}

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        period = values.get("period")
        if (
            isinstance(period, int)
            and period not in _SECONDS_PERIODS
            and (period < _MINUTE or period % _MINUTE)
        ):
            yield "period", f"expected 10, 20, 30 or a multiple of 60 seconds, got {period}"

    def arguments(self, inputs: Properties) -> dict[str, Any]:
        dimensions = inputs.get("dimensions", {}).items()
        pairs = [{"Name": key, "Value": value} for key, value in dimensions]
        return {**super().arguments(inputs), "Dimensions": pairs}

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        cloudwatch = aws.client("cloudwatch", state.get("region"))
        alarms = cloudwatch.describe_alarms(AlarmNames=[identifier])["MetricAlarms"]
        if not alarms:
            return None
        dimensions = {item["Name"]: item["Value"] for item in alarms[0].get("Dimensions", [])}
        return {**alarms[0], "Dimensions": dimensions}

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        with absent_is_fine():
            aws.client("cloudwatch", state.get("region")).delete_alarms(AlarmNames=[identifier])


class Queue(Resource):
    """Queue; its id is its URL."""

    aws_type = "aws:sqs/queue:Queue"
    service = "sqs"
    autoname = ("name", 80)
    key: ClassVar[dict[str, str]] = {"url": "QueueUrl"}
    create_call, delete_call = "create_queue", "delete_queue"
    tagging = Tagging("queue", "QueueUrl", "url", style="Map", read="list_queue_tags")
    passing = (
        ("AWS.SimpleQueueService.QueueDeletedRecently", ""),
        ("QueueDeletedRecently", ""),
    )
    settles: ClassVar[dict[str, float]] = {"create": 25, "update": 25}
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.name(80, "0-9A-Za-z_-")),
        "messageRetentionSeconds": Field(
            default=345600, rule=rules.between(60, 1209600), call="MessageRetentionPeriod"
        ),
        "sqsManagedSseEnabled": Field(computed=True),
        "policy": Field(computed=True, rule=rules.document, kind="document"),
        **REGION,
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {"arn": "QueueArn"}

    def created_outputs(self, answer: Mapping[str, Any]) -> Properties:
        return {"url": answer["QueueUrl"]}

    def arguments(self, inputs: Properties) -> dict[str, Any]:
        """Attributes as SQS takes them: all of them text, switches in lower case."""
        name = {"QueueName": inputs["name"]} if "url" not in inputs else {}
        attributes = super().arguments({k: v for k, v in inputs.items() if k != "name"})
        texts = {k: v if isinstance(v, str) else str(v).lower() for k, v in attributes.items()}
        return {**name, "Attributes": texts}

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        tags = {"tags": inputs["tagsAll"]} if inputs.get("tagsAll") else {}
        answer = self.call(aws, inputs, self.create_call, **self.arguments(inputs), **tags)
        return answer["QueueUrl"], self.created_outputs(answer)

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        attributes = _queue_attributes(aws, identifier, state)
        return {
            "Name": attributes["QueueArn"].rpartition(":")[2],
            "QueueArn": attributes["QueueArn"],
            "MessageRetentionPeriod": int(attributes["MessageRetentionPeriod"]),
            "SqsManagedSseEnabled": attributes.get("SqsManagedSseEnabled") == "true",
            "Policy": attributes.get("Policy"),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        if names := changed - TAG_PROPERTIES:
            values = {name: new[name] for name in names if name in new}
            attributes = self.arguments({**values, "url": identifier})
            self.call(aws, new, "set_queue_attributes", QueueUrl=identifier, **attributes)
        super().update(aws, identifier, old, new, changed & TAG_PROPERTIES)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        super().delete(aws, identifier, {**state, "url": identifier})
        aws.wait(
            lambda: is_gone(_queue_attributes, aws, identifier, state),
            f"queue {identifier} is gone",
            _GONE_SECONDS,
        )


def _queue_attributes(aws: Account, url: str, state: Properties) -> dict[str, str]:
    sqs = aws.client("sqs", state.get("region"))
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]).get("Attributes", {})
