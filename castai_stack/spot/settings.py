"""Settings of the Spot handler."""

from typing import Annotated, Literal

from pydantic import Field

from castai_stack.fields import Arn, Section


class Spot(Section):
    """The Lambda that reports Spot interruptions."""

    enabled: bool = True
    """Report Spot interruptions by a Lambda."""
    memory_mb: Annotated[int, Field(ge=128, le=10240)] = 256
    """Memory of the function, in MB."""
    timeout_seconds: Annotated[int, Field(ge=10, le=120)] = 110
    """How long one attempt may sit out an outage; the notice is two minutes."""
    architecture: Literal["arm64", "x86_64"] = "arm64"
    """Processor of the function."""
    log_retention_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365] = 30
    """How long the function's log is kept."""
    maximum_event_age_seconds: Annotated[int, Field(ge=60, le=21600)] = 120
    """How long Lambda keeps an event; one that is a minute older still is dropped as stale."""
    maximum_retries: Annotated[int, Field(ge=0, le=2)] = 2
    """How often Lambda tries a failed event again."""
    reserved_concurrency: Annotated[int, Field(ge=1)] | None = None
    """Concurrent runs kept for the function, and its limit; null shares the account's."""
    key_in_secrets_manager: bool = False
    """Keeps the API key in a secret instead of the function's encrypted environment."""
    alarm_topic_arn: Arn | None = None
    """SNS topic that hears of alarms and of their end."""
    drain: bool = False
    """Also cordon and drain the node through the Kubernetes API."""
