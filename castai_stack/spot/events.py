"""What surrounds the Spot function, as data: rules, alarms, its archive, its runtime."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from castai_stack import arn

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
