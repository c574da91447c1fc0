"""Queues and their policies.

Schemas: `internal/service/sqs/{queue,queue_policy}.go` in `hashicorp/terraform-provider-aws`.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from sandbox.aws_provider import rules
from sandbox.aws_provider.account import (
    APPEARS_SECONDS,
    Account,
    absent_is_fine,
    code,
    found,
    is_absent,
)
from sandbox.aws_provider.fields import REGION, TAGS, given, tag_changes
from sandbox.aws_provider.resource import Field, Fields, Properties, Resource

_GONE_SECONDS = 180
_FIFO = ".fifo"
_JSON = Field(computed=True, rule=rules.document, kind="document")
_NUMBERS = {
    "delaySeconds": "DelaySeconds",
    "maxMessageSize": "MaximumMessageSize",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
    "kmsDataKeyReusePeriodSeconds": "KmsDataKeyReusePeriodSeconds",
}
_TEXTS = {
    "kmsMasterKeyId": "KmsMasterKeyId",
    "policy": "Policy",
    "redrivePolicy": "RedrivePolicy",
    "redriveAllowPolicy": "RedriveAllowPolicy",
}
_SWITCHES = {
    "fifoQueue": "FifoQueue",
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
}


def _attributes(inputs: Properties) -> dict[str, str]:
    """Attributes of a queue as SQS takes them: all of them text."""
    numbers = {key: str(inputs[name]) for name, key in _NUMBERS.items() if name in inputs}
    texts = {key: inputs[name] for name, key in _TEXTS.items() if name in inputs}
    # false says the same as nothing, except where the service's own default is true
    switches = {
        key: str(inputs[name]).lower()
        for name, key in _SWITCHES.items()
        if inputs.get(name) or (name == "sqsManagedSseEnabled" and name in inputs)
    }
    return {**numbers, **texts, **switches}


class Queue(Resource):
    """Queue; its id is its URL."""

    aws_type = "aws:sqs/queue:Queue"
    autoname = ("name", 80)
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True),
        "fifoQueue": Field(replaces=True, default=False),
        "contentBasedDeduplication": Field(default=False),
        "delaySeconds": Field(default=0, rule=rules.between(0, 900)),
        "maxMessageSize": Field(default=262144, rule=rules.between(1024, 1048576)),
        "messageRetentionSeconds": Field(default=345600, rule=rules.between(60, 1209600)),
        "receiveWaitTimeSeconds": Field(default=0, rule=rules.between(0, 20)),
        "visibilityTimeoutSeconds": Field(default=30, rule=rules.between(0, 43200)),
        "kmsMasterKeyId": Field(),
        "kmsDataKeyReusePeriodSeconds": Field(computed=True, rule=rules.between(60, 86400)),
        "sqsManagedSseEnabled": Field(computed=True),
        "policy": _JSON,
        "redrivePolicy": _JSON,
        "redriveAllowPolicy": _JSON,
        **REGION,
        **TAGS,
    }

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        most = 80 - len(_FIFO) if values.get("fifoQueue") else 80
        name = values.get("name")
        if name is not None:
            stem = name.removesuffix(_FIFO) if values.get("fifoQueue") else name
            if problem := rules.name(most, "0-9A-Za-z_-")(stem):
                yield "name", problem
            elif values.get("fifoQueue") and not name.endswith(_FIFO):
                yield "name", f"the name of a FIFO queue must end with {_FIFO}"
        if values.get("contentBasedDeduplication") and not values.get("fifoQueue"):
            yield "contentBasedDeduplication", "can be set for a FIFO queue only"
        if "kmsMasterKeyId" in values and "sqsManagedSseEnabled" in values:
            yield "sqsManagedSseEnabled", "conflicts with kmsMasterKeyId"

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        sqs = aws.client("sqs", inputs["region"])
        answer = aws.retry(
            lambda: sqs.create_queue(
                QueueName=inputs["name"],
                Attributes=_attributes(inputs),
                **given(tags=inputs.get("tagsAll")),
            ),
            lambda error: (
                code(error)
                in ("AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently")
            ),
        )
        return answer["QueueUrl"], {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        region = state.get("region", aws.region)
        sqs = aws.client("sqs", region)
        answer = found(sqs.get_queue_attributes, QueueUrl=identifier, AttributeNames=["All"])
        if answer is None:
            return None
        held = answer["Attributes"]
        return {
            "name": held["QueueArn"].rpartition(":")[2],
            "arn": held["QueueArn"],
            "url": identifier,
            "region": region,
            **{name: int(held[key]) for name, key in _NUMBERS.items() if key in held},
            **{name: held.get(key) or None for name, key in _TEXTS.items()},
            **{name: held.get(key) == "true" for name, key in _SWITCHES.items()},
            "kmsDataKeyReusePeriodSeconds": int(held.get("KmsDataKeyReusePeriodSeconds", 300)),
            "tagsAll": sqs.list_queue_tags(QueueUrl=identifier).get("Tags", {}),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        sqs = aws.client("sqs", new["region"])
        if names := changed - {"tags", "tagsAll"}:
            empty = {_TEXTS[name]: "" for name in names if name in _TEXTS and name not in new}
            known = {name: value for name, value in new.items() if name in names}
            sqs.set_queue_attributes(
                QueueUrl=identifier, Attributes={**empty, **_attributes(known)}
            )
        tags, gone = tag_changes(old, new)
        if gone:
            sqs.untag_queue(QueueUrl=identifier, TagKeys=gone)
        if tags:
            sqs.tag_queue(QueueUrl=identifier, Tags=tags)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        sqs = aws.client("sqs", state.get("region"))
        with absent_is_fine():
            sqs.delete_queue(QueueUrl=identifier)
        aws.wait(
            lambda: found(sqs.get_queue_attributes, QueueUrl=identifier) is None,
            f"queue {identifier} is gone",
            _GONE_SECONDS,
        )


class QueuePolicy(Resource):
    """Who may send to a queue, kept apart from the queue itself."""

    aws_type = "aws:sqs/queuePolicy:QueuePolicy"
    fields: ClassVar[Fields] = {
        "queueUrl": Field(replaces=True),
        "policy": Field(rule=rules.document, kind="document"),
        **REGION,
    }

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        del aws
        return identifier, {"queueUrl": identifier}

    def _set(self, aws: Account, properties: Properties, text: str) -> Any:
        sqs = aws.client("sqs", properties.get("region"))
        return aws.retry(
            lambda: sqs.set_queue_attributes(
                QueueUrl=properties["queueUrl"], Attributes={"Policy": text}
            ),
            is_absent,
            APPEARS_SECONDS if text else 0,
        )

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        self._set(aws, inputs, inputs["policy"])
        return inputs["queueUrl"], {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        region = state.get("region", aws.region)
        answer = found(
            aws.client("sqs", region).get_queue_attributes,
            QueueUrl=identifier,
            AttributeNames=["Policy"],
        )
        policy = (answer or {}).get("Attributes", {}).get("Policy")
        if not policy:
            return None
        return {"queueUrl": identifier, "region": region, "policy": policy}

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        del identifier, old, changed
        self._set(aws, new, new["policy"])

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        with absent_is_fine():
            self._set(aws, {**state, "queueUrl": identifier}, "")
