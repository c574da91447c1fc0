"""Settings of the Spot handler."""

from typing import Annotated, Literal

from pydantic import Field

from castai_stack.fields import Section, TopicArn


class Spot(Section):
    """Settings of the reports of Spot interruptions."""

    enabled: bool = True
    """Report Spot interruptions."""
    handler: Literal["lambda", "daemonset", "both"] = "lambda"
    """A Lambda, CAST AI's DaemonSet on the Spot nodes (`automation.spotHandler`), or both."""
    memory_mb: Annotated[int, Field(ge=128, le=10240)] = 256
    """Memory of the function, in MB."""
    timeout_seconds: Annotated[int, Field(ge=10, le=120)] = 110
    """Longest run of the function, in seconds; EC2's notice is two minutes."""
    architecture: Literal["arm64", "x86_64"] = "arm64"
    """Instruction set of the function."""
    log_retention_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365] = 30
    """Retention of the function's log, in days."""
    maximum_event_age_seconds: Annotated[int, Field(ge=60, le=21600)] = 120
    """Time for which Lambda keeps an event; the function drops events a minute older than that."""
    maximum_retries: Annotated[int, Field(ge=0, le=2)] = 2
    """Number of retries of a failed event by Lambda."""
    reserved_concurrency: Annotated[int, Field(ge=1)] | None = None
    """Concurrent runs reserved for the function, and its limit; null shares the account's."""
    key_in_secrets_manager: bool = False
    """Keeps the API key in a secret instead of the function's encrypted environment."""
    alarm_topic_arn: TopicArn | None = None
    """SNS topic that is notified of alarms and of their end."""
    drain: bool = False
    """Also cordon and drain the node through the Kubernetes API."""

    @property
    def by_lambda(self) -> bool:
        """Return True if a Lambda reports interruptions."""
        return self.enabled and self.handler != "daemonset"

    @property
    def by_daemonset(self) -> bool:
        """Return True if CAST AI's DaemonSet reports interruptions."""
        return self.enabled and self.handler != "lambda"
