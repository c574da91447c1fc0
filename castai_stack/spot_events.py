"""What surrounds the Spot function, as data: rules, alarms, its archive, its runtime."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from castai_stack import arn

SOURCE = Path(__file__).parent / "spot_handler"
FILES = (
    "__init__.py",
    "castai.py",
    "deadline.py",
    "decide.py",
    "drain.py",
    "eks_token.py",
    "handler.py",
    "instances.py",
)
"""What the archive holds, by name: caches and whatever else lies in the folder stay out."""
FOLDER = "spot_handler"
HANDLER = "spot_handler.handler.handle"

RUNTIME = "python3.13"
RUNTIME_ENDS: dict[str, date] = {
    "python3.12": date(2028, 10, 31),
    "python3.13": date(2029, 6, 30),
    "python3.14": date(2029, 6, 30),
}
"""Deprecation dates of Lambda's Python runtimes.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html,
https://endoflife.date/aws-lambda
"""

DELIVERY_SECONDS = 60
"""How long EventBridge keeps an event that Lambda does not take; its least value.

Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_RetryPolicy.html
"""
DELIVERY_ATTEMPTS = 185
DEAD_LETTER_SECONDS = 14 * 24 * 3600
"""The longest time that a queue keeps messages."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One EventBridge rule."""

    suffix: Literal["interruption", "rebalance"]
    description: str
    detail_type: str

    def pattern(self) -> dict[str, list[str]]:
        """Pattern of the events; EC2's events carry no tags, so it cannot say whose they are."""
        return {"source": ["aws.ec2"], "detail-type": [self.detail_type]}


RULES = (
    Rule(
        "interruption",
        "Spot interruption warnings, two minutes ahead",
        "EC2 Spot Instance Interruption Warning",
    ),
    Rule(
        "rebalance",
        "Rebalance recommendations, ahead of the warning",
        "EC2 Instance Rebalance Recommendation",
    ),
)


@dataclass(frozen=True, slots=True)
class Alarm:
    """One CloudWatch alarm: above `threshold` once is enough."""

    suffix: str
    namespace: Literal["AWS/Lambda", "AWS/SQS"]
    metric: str
    statistic: Literal["Sum", "Maximum"]
    threshold: float
    description: str


# Metrics: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html and
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
ALARMS = (
    Alarm(
        "errors",
        "AWS/Lambda",
        "Errors",
        "Sum",
        0,
        "The Spot function failed; Lambda tries again, the log says why",
    ),
    Alarm(
        "throttles",
        "AWS/Lambda",
        "Throttles",
        "Sum",
        0,
        "The Spot function found no free concurrency; events wait while the notice runs out",
    ),
    Alarm(
        "event-age",
        "AWS/Lambda",
        "AsyncEventAge",
        "Maximum",
        60_000,
        "Events waited more than a minute of a two-minute notice for the Spot function",
    ),
    Alarm(
        "lost",
        "AWS/Lambda",
        "DestinationDeliveryFailures",
        "Sum",
        0,
        "An event that failed did not reach the dead-letter queue either; only the log has it",
    ),
    Alarm(
        "dead-letters",
        "AWS/SQS",
        "ApproximateNumberOfMessagesVisible",
        "Maximum",
        0,
        "Events that could not be handled wait in the dead-letter queue",
    ),
)
ALARM_PERIOD_SECONDS = 60


def sources(folder: Path = SOURCE) -> dict[str, str]:
    """Text of the archive's files by name, line ends alike on every machine."""
    return {name: (folder / name).read_text(encoding="utf-8") for name in FILES}


def oldest_age(maximum_event_age_seconds: int) -> int:
    """Age beyond which the function calls an event stale.

    EventBridge may hold an event for its time and Lambda for its own before the last attempt:
    what is older was tried by neither, so dropping it hides no failure from the queue.
    """
    return DELIVERY_SECONDS + maximum_event_age_seconds


def queue_policy(queue_arn: str, rule_arns: Iterable[str]) -> dict[str, Any]:
    """Let the rules, and no other, leave what Lambda did not take; nobody without TLS.

    Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    """
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "RulesLeaveDeadLetters",
                "Effect": "Allow",
                "Principal": {"Service": ["events.amazonaws.com"]},
                "Action": ["sqs:SendMessage"],
                "Resource": [queue_arn],
                "Condition": {"ArnEquals": {"aws:SourceArn": sorted(rule_arns)}},
            },
            {
                "Sid": "NobodyWithoutTls",
                "Effect": "Deny",
                "Principal": {"AWS": ["*"]},
                "Action": ["sqs:*"],
                "Resource": [queue_arn],
                "Condition": {"Bool": {"aws:SecureTransport": ["false"]}},
            },
        ],
    }


def log_group(function: str) -> str:
    """Name of the log group that Lambda writes to."""
    return f"/aws/lambda/{function}"


def alarm_name(function: str, alarm: Alarm) -> str:
    """Name of an alarm: unique in account and region, as the function's own is."""
    return f"{function}-{alarm.suffix}"


def secret_name(function: str) -> str:
    """Name of the secret that holds the API key."""
    return f"{function}-api-key"


def secret_pattern(partition: str, region: str, account_id: str, function: str) -> str:
    """ARN of that secret, whatever six characters Secrets Manager adds.

    Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_iam-policies.html
    """
    return arn.regional(
        partition, "secretsmanager", region, account_id, f"secret:{secret_name(function)}-??????"
    )
