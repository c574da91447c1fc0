"""EventBridge rules and targets, log groups and alarms.

Schemas: `internal/service/{events,logs,cloudwatch}/*.go` in `hashicorp/terraform-provider-aws`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from sandbox.aws_provider import rules
from sandbox.aws_provider.account import (
    APPEARS_SECONDS,
    Account,
    RefusedError,
    absent_is_fine,
    code,
    found,
    is_absent,
    message,
)
from sandbox.aws_provider.fields import (
    REGION,
    TAGS,
    change_tags,
    given,
    tag_changes,
    tag_list,
    tag_map,
)
from sandbox.aws_provider.resource import Field, Fields, Properties, Resource

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_BUS = "default"
_EVENT_CHARACTERS = r".\-_A-Za-z0-9"
_LONGEST_PATTERN = 4096
_RETENTIONS = (
    *(0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
_SECONDS_PERIODS = (10, 20, 30)
_MINUTE = 60


def _bus(properties: Properties) -> str:
    return properties.get("eventBusName", _BUS)


class EventRule(Resource):
    """Rule that picks events; `state` stays as it is when the program says nothing."""

    aws_type = "aws:cloudwatch/eventRule:EventRule"
    autoname = ("name", 64)
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.name(64, _EVENT_CHARACTERS)),
        "eventBusName": Field(replaces=True, default=_BUS),
        "description": Field(rule=rules.length(512, 0)),
        "eventPattern": Field(rule=rules.document, kind="document"),
        "scheduleExpression": Field(rule=rules.length(256, 0)),
        "roleArn": Field(rule=rules.arn),
        "state": Field(
            computed=True,
            rule=rules.one_of(
                "ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
            ),
        ),
        "forceDestroy": Field(default=False),
        **REGION,
        **TAGS,
    }

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        pattern = values.get("eventPattern", "")
        if len(pattern) > _LONGEST_PATTERN:
            yield "eventPattern", f"must have at most {_LONGEST_PATTERN} characters"

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        del aws
        bus, _, name = identifier.rpartition("/")
        return identifier, {"name": name, "eventBusName": bus or _BUS}

    def _put(self, aws: Account, inputs: Properties, **more: Any) -> None:
        aws.client("events", inputs["region"]).put_rule(
            Name=inputs["name"],
            EventBusName=_bus(inputs),
            **given(
                Description=inputs.get("description"),
                EventPattern=inputs.get("eventPattern"),
                ScheduleExpression=inputs.get("scheduleExpression"),
                RoleArn=inputs.get("roleArn"),
                State=inputs.get("state"),
            ),
            **more,
        )

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        self._put(aws, inputs, **given(Tags=tag_list(inputs)))
        bus, name = _bus(inputs), inputs["name"]
        return name if bus == _BUS else f"{bus}/{name}", {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        region = state.get("region", aws.region)
        events = aws.client("events", region)
        name = state.get("name", identifier)
        rule = found(events.describe_rule, Name=name, EventBusName=_bus(state))
        if rule is None:
            return None
        return {
            "name": rule["Name"],
            "arn": rule["Arn"],
            "region": region,
            "eventBusName": _bus(state),
            "description": rule.get("Description") or None,
            "eventPattern": rule.get("EventPattern"),
            "scheduleExpression": rule.get("ScheduleExpression") or None,
            "roleArn": rule.get("RoleArn") or None,
            "state": rule["State"],
            "isEnabled": rule["State"] != "DISABLED",
            "tagsAll": tag_map(events.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"]),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        del identifier
        if changed - {"tags", "tagsAll", "forceDestroy"}:
            self._put(aws, {**given(state=old.get("state")), **new})
        events = aws.client("events", new["region"])
        change_tags(old, new, events.tag_resource, events.untag_resource, ResourceARN=old["arn"])

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        del identifier
        events = aws.client("events", state.get("region"))
        with absent_is_fine():
            aws.retry(
                lambda: events.delete_rule(
                    Name=state["name"],
                    EventBusName=_bus(state),
                    Force=bool(state.get("forceDestroy")),
                ),
                _has_targets,
            )


def _has_targets(error: "ClientError") -> bool:
    return code(error) == "ValidationException" and "since it has targets" in message(error)


class EventTarget(Resource):
    """Where the events of a rule go."""

    aws_type = "aws:cloudwatch/eventTarget:EventTarget"
    autoname = ("targetId", 64)
    fields: ClassVar[Fields] = {
        "targetId": Field(replaces=True, rule=rules.name(64, _EVENT_CHARACTERS)),
        "rule": Field(replaces=True, rule=rules.name(64, _EVENT_CHARACTERS)),
        "eventBusName": Field(replaces=True, default=_BUS),
        "arn": Field(rule=rules.arn),
        "roleArn": Field(rule=rules.arn),
        "input": Field(rule=rules.document, kind="document"),
        "inputPath": Field(rule=rules.length(256, 0)),
        "inputTransformer": Field(),
        "deadLetterConfig": Field(),
        "retryPolicy": Field(),
        "forceDestroy": Field(default=False),
        **REGION,
    }

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        ways = [name for name in ("input", "inputPath", "inputTransformer") if name in values]
        if len(ways) > 1:
            yield ways[1], f"conflicts with {ways[0]}"
        bounds = {"maximumEventAgeInSeconds": (60, 86400), "maximumRetryAttempts": (0, 185)}
        for name, value in values.get("retryPolicy", {}).items():
            if isinstance(value, int) and (problem := rules.between(*bounds[name])(value)):
                yield f"retryPolicy.{name}", problem

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        del aws
        parts = identifier.rsplit("/", 2)
        if len(parts) == 2:  # noqa: PLR2004 - rule and target
            parts = [_BUS, *parts]
        if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - bus, rule and target
            raise RefusedError(
                f"unexpected id {identifier!r}, expected rule/target or bus/rule/target"
            )
        told = dict(zip(("eventBusName", "rule", "targetId"), parts, strict=True))
        return self._id(told), told

    def _id(self, properties: Properties) -> str:
        bus = _bus(properties)
        parts = [properties["rule"], properties["targetId"]]
        return "-".join(parts if bus == _BUS else [bus, *parts])

    def _put(self, aws: Account, inputs: Properties) -> None:
        events = aws.client("events", inputs["region"])
        transformer = inputs.get("inputTransformer", {})
        retry = inputs.get("retryPolicy", {})
        target = {
            "Id": inputs["targetId"],
            "Arn": inputs["arn"],
            **given(
                RoleArn=inputs.get("roleArn"),
                Input=inputs.get("input"),
                InputPath=inputs.get("inputPath"),
                InputTransformer=given(
                    InputTemplate=transformer.get("inputTemplate"),
                    InputPathsMap=transformer.get("inputPaths"),
                ),
                DeadLetterConfig=given(Arn=inputs.get("deadLetterConfig", {}).get("arn")),
                RetryPolicy=given(
                    MaximumEventAgeInSeconds=retry.get("maximumEventAgeInSeconds"),
                    MaximumRetryAttempts=retry.get("maximumRetryAttempts"),
                ),
            ),
        }

        def put() -> dict[str, Any]:
            return events.put_targets(
                Rule=inputs["rule"], EventBusName=_bus(inputs), Targets=[target]
            )

        answer = aws.retry(put, is_absent, APPEARS_SECONDS)
        if answer.get("FailedEntryCount"):
            failed = answer["FailedEntries"][0]
            raise RefusedError(
                f"EventBridge refused target {inputs['targetId']} of rule {inputs['rule']}: "
                f"{failed.get('ErrorCode')}: {failed.get('ErrorMessage')}"
            )

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        self._put(aws, inputs)
        return self._id(inputs), {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        del identifier
        region = state.get("region", aws.region)
        events = aws.client("events", region)
        with absent_is_fine():
            arguments = {"Rule": state["rule"], "EventBusName": _bus(state)}
            while True:
                page = events.list_targets_by_rule(**arguments)
                for target in page["Targets"]:
                    if target["Id"] == state["targetId"]:
                        told = {name: state[name] for name in ("rule", "targetId")}
                        return {
                            **told,
                            "eventBusName": _bus(state),
                            "region": region,
                            **_target(target),
                        }
                if "NextToken" not in page:
                    break
                arguments["NextToken"] = page["NextToken"]
        return None

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        del identifier, old, changed
        self._put(aws, new)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        del identifier
        with absent_is_fine():
            aws.client("events", state.get("region")).remove_targets(
                Rule=state["rule"],
                EventBusName=_bus(state),
                Ids=[state["targetId"]],
                Force=bool(state.get("forceDestroy")),
            )


def _target(target: dict[str, Any]) -> Properties:
    transformer = target.get("InputTransformer", {})
    retry = target.get("RetryPolicy", {})
    return {
        "arn": target["Arn"],
        "roleArn": target.get("RoleArn"),
        "input": target.get("Input"),
        "inputPath": target.get("InputPath"),
        "inputTransformer": given(
            inputTemplate=transformer.get("InputTemplate"),
            inputPaths=transformer.get("InputPathsMap"),
        )
        or None,
        "deadLetterConfig": given(arn=target.get("DeadLetterConfig", {}).get("Arn")) or None,
        "retryPolicy": given(
            maximumEventAgeInSeconds=retry.get("MaximumEventAgeInSeconds"),
            maximumRetryAttempts=retry.get("MaximumRetryAttempts"),
        )
        or None,
    }


class LogGroup(Resource):
    """Log group; without a retention its logs stay for ever."""

    aws_type = "aws:cloudwatch/logGroup:LogGroup"
    autoname = ("name", 512)
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.name(512, r".\-_/#A-Za-z0-9")),
        "retentionInDays": Field(default=0, rule=rules.one_of(*_RETENTIONS)),
        "kmsKeyId": Field(rule=rules.arn),
        "logGroupClass": Field(
            replaces=True,
            computed=True,
            rule=rules.one_of("STANDARD", "INFREQUENT_ACCESS", "DELIVERY"),
        ),
        "skipDestroy": Field(default=False),
        **REGION,
        **TAGS,
    }

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        aws.client("logs", inputs["region"]).create_log_group(
            logGroupName=inputs["name"],
            **given(
                kmsKeyId=inputs.get("kmsKeyId"),
                logGroupClass=inputs.get("logGroupClass"),
                tags=inputs.get("tagsAll"),
            ),
        )
        return inputs["name"], {}

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        if inputs["retentionInDays"]:
            self._retain(aws, identifier, inputs)

    def _retain(self, aws: Account, identifier: str, wanted: Properties) -> None:
        logs = aws.client("logs", wanted["region"])
        if days := wanted["retentionInDays"]:
            logs.put_retention_policy(logGroupName=identifier, retentionInDays=days)
        else:
            logs.delete_retention_policy(logGroupName=identifier)

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        region = state.get("region", aws.region)
        logs = aws.client("logs", region)
        pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=identifier)
        groups = [group for page in pages for group in page["logGroups"]]
        group = next((item for item in groups if item["logGroupName"] == identifier), None)
        if group is None:
            return None
        arn = group["arn"].removesuffix(":*")
        return {
            "name": identifier,
            "arn": arn,
            "region": region,
            "retentionInDays": group.get("retentionInDays", 0),
            "kmsKeyId": group.get("kmsKeyId") or None,
            "logGroupClass": group.get("logGroupClass", "STANDARD"),
            "tagsAll": logs.list_tags_for_resource(resourceArn=arn)["tags"],
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        logs = aws.client("logs", new["region"])
        if "retentionInDays" in changed:
            self._retain(aws, identifier, new)
        if "kmsKeyId" in changed:
            if key := new.get("kmsKeyId"):
                logs.associate_kms_key(logGroupName=identifier, kmsKeyId=key)
            else:
                logs.disassociate_kms_key(logGroupName=identifier)
        tags, gone = tag_changes(old, new)
        if gone:
            logs.untag_resource(resourceArn=old["arn"], tagKeys=gone)
        if tags:
            logs.tag_resource(resourceArn=old["arn"], tags=tags)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        if state.get("skipDestroy"):
            return
        logs = aws.client("logs", state.get("region"))
        with absent_is_fine():
            aws.retry(
                lambda: logs.delete_log_group(logGroupName=identifier),
                lambda error: code(error) == "OperationAbortedException",
            )


class MetricAlarm(Resource):
    """Alarm on one metric."""

    aws_type = "aws:cloudwatch/metricAlarm:MetricAlarm"
    autoname = ("name", 255)
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
        "datapointsToAlarm": Field(rule=rules.between(1, 86400)),
        "metricName": Field(rule=rules.length(255)),
        "namespace": Field(rule=rules.length(255)),
        "period": Field(),
        "statistic": Field(
            rule=rules.one_of("SampleCount", "Average", "Sum", "Minimum", "Maximum")
        ),
        "threshold": Field(),
        "unit": Field(),
        "dimensions": Field(),
        "alarmDescription": Field(rule=rules.length(1024, 0)),
        "actionsEnabled": Field(default=True),
        "alarmActions": Field(rule=rules.each(rules.arn), kind="set"),
        "okActions": Field(rule=rules.each(rules.arn), kind="set"),
        "insufficientDataActions": Field(rule=rules.each(rules.arn), kind="set"),
        "treatMissingData": Field(
            default="missing", rule=rules.one_of("breaching", "notBreaching", "ignore", "missing")
        ),
        **REGION,
        **TAGS,
    }
    _numbers = ("evaluationPeriods", "datapointsToAlarm", "period", "threshold")
    _texts = ("comparisonOperator", "metricName", "namespace", "statistic", "unit")
    _lists = ("alarmActions", "okActions", "insufficientDataActions")
    _calls: ClassVar[dict[str, str]] = {"okActions": "OKActions"}

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        period = values.get("period")
        if (
            isinstance(period, int)
            and period not in _SECONDS_PERIODS
            and (period < _MINUTE or period % _MINUTE)
        ):
            yield "period", f"expected 10, 20, 30 or a multiple of 60 seconds, got {period}"
        for name in ("comparisonOperator", "evaluationPeriods"):
            if name not in values:
                yield name, "missing required property"

    def _key(self, name: str) -> str:
        return self._calls.get(name, f"{name[0].upper()}{name[1:]}")

    def _put(self, aws: Account, inputs: Properties, **more: Any) -> None:
        dimensions = inputs.get("dimensions", {})
        simple = (
            *self._numbers,
            *self._texts,
            *self._lists,
            "alarmDescription",
            "treatMissingData",
        )
        aws.client("cloudwatch", inputs["region"]).put_metric_alarm(
            AlarmName=inputs["name"],
            ActionsEnabled=inputs["actionsEnabled"],
            **given(
                Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
                **{self._key(name): inputs.get(name) for name in simple},
            ),
            **more,
        )

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        self._put(aws, inputs, **given(Tags=tag_list(inputs)))
        return inputs["name"], {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        region = state.get("region", aws.region)
        cloudwatch = aws.client("cloudwatch", region)
        alarms = cloudwatch.describe_alarms(AlarmNames=[identifier])["MetricAlarms"]
        if not alarms:
            return None
        alarm = alarms[0]
        arn = alarm["AlarmArn"]
        simple = (*self._numbers, *self._texts)
        return {
            "name": identifier,
            "arn": arn,
            "region": region,
            **{name: alarm.get(self._key(name)) for name in simple},
            **{name: alarm.get(self._key(name)) or None for name in self._lists},
            "alarmDescription": alarm.get("AlarmDescription") or None,
            "actionsEnabled": alarm.get("ActionsEnabled", True),
            "treatMissingData": alarm.get("TreatMissingData") or "missing",
            "dimensions": {item["Name"]: item["Value"] for item in alarm.get("Dimensions", [])}
            or None,
            "tagsAll": tag_map(cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"]),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        del identifier
        if changed - {"tags", "tagsAll"}:
            self._put(aws, new)
        cloudwatch = aws.client("cloudwatch", new["region"])
        change_tags(
            old, new, cloudwatch.tag_resource, cloudwatch.untag_resource, ResourceARN=old["arn"]
        )

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        with absent_is_fine():
            aws.client("cloudwatch", state.get("region")).delete_alarms(AlarmNames=[identifier])
