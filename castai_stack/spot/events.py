"""EventBridge rules, dead-letter queue, log group and secret of the Spot function."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from castai_stack import arn

DELIVERY_SECONDS = 60
"""Time for which EventBridge retries a delivery to Lambda; its minimum.

Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_RetryPolicy.html
"""
DELIVERY_ATTEMPTS = 185
DEAD_LETTER_SECONDS = 14 * 24 * 3600
"""Retention of the queue, which is SQS's maximum."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One EventBridge rule."""

    suffix: Literal["interruption", "rebalance"]
    description: str
    detail_type: str

    def pattern(self) -> dict[str, list[str]]:
        """Return the event pattern; EC2's events carry no tags, so it cannot select the cluster."""
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
    """Return the age in seconds beyond which the function drops an event as stale.

    EventBridge and Lambda may each hold an event before its last attempt. An older event is not
    one that they still retry, so dropping it hides no failure from the dead-letter queue.
    """
    return DELIVERY_SECONDS + maximum_event_age_seconds


def queue_policy(queue_arn: str, rule_arns: Iterable[str]) -> dict[str, Any]:
    """Return the queue's policy: the rules may send to it, and every request needs TLS.

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


TARGET_ID = "spot-handler"
"""Id of the function among the targets of a rule."""


def log_group(function: str) -> str:
    """Return the name of the log group that Lambda writes to."""
    return f"/aws/lambda/{function}"


def secret_name(function: str) -> str:
    """Return the name of the secret that holds the API key."""
    return f"{function}-api-key"


def secret_pattern(partition: str, region: str, account_id: str, function: str) -> str:
    """Return the ARN pattern of that secret; Secrets Manager adds six characters to the name.

    Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_iam-policies.html
    """
    return arn.regional(
        partition, "secretsmanager", region, account_id, f"secret:{secret_name(function)}-??????"
    )
