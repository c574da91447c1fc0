"""CloudWatch alarms of the Spot function and its queue."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Alarm:
    """One CloudWatch alarm, raised by a single period above `threshold`."""

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


def alarm_name(function: str, alarm: Alarm) -> str:
    """Return the name of an alarm, unique in account and region like the function's name."""
    return f"{function}-{alarm.suffix}"
