"""Settings as typed dictionaries, for programs; `make readme` writes them from the models."""

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    SpotHandler = Literal["lambda", "daemonset", "both"]
    SpotArchitecture = Literal["arm64", "x86_64"]
else:  # Pulumi's analyzer takes enumerations and no literals.

    class SpotHandler(StrEnum):
        """Values of `handler`."""

        LAMBDA = "lambda"
        DAEMONSET = "daemonset"
        BOTH = "both"

    class SpotArchitecture(StrEnum):
        """Values of `architecture`."""

        ARM64 = "arm64"
        X86_64 = "x86_64"


class SpotSettings(TypedDict, total=False):
    """Settings of the reports of Spot interruptions."""

    enabled: bool
    """Report Spot interruptions. Default: `true`."""
    handler: SpotHandler
    """A Lambda, CAST AI's DaemonSet on the Spot nodes (`automation.spotHandler`), or both. One of
    `lambda`, `daemonset`, `both`. Default: `lambda`.
    """
    memory_mb: int
    """Memory of the function, in MB. Default: `256`."""
    timeout_seconds: int
    """Longest run of the function, in seconds; EC2's notice is two minutes. Default: `110`."""
    architecture: SpotArchitecture
    """Instruction set of the function. One of `arm64`, `x86_64`. Default: `arm64`."""
    log_retention_days: int
    """Retention of the function's log, in days. One of `1`, `3`, `5`, `7`, `14`, `30`, `60`, `90`,
    `120`, `150`, `180`, `365`. Default: `30`.
    """
    maximum_event_age_seconds: int
    """Time for which Lambda keeps an event; the function drops events a minute older than that.
    Default: `120`.
    """
    maximum_retries: int
    """Number of retries of a failed event by Lambda. Default: `2`."""
    reserved_concurrency: int
    """Concurrent runs reserved for the function, and its limit; null shares the account's."""
    key_in_secrets_manager: bool
    """Keeps the API key in a secret instead of the function's encrypted environment. Default:
    `false`.
    """
    alarm_topic_arn: str
    """SNS topic that is notified of alarms and of their end."""
    drain: bool
    """Also cordon and drain the node through the Kubernetes API. Default: `false`."""
