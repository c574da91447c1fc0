"""Entry point of the Lambda: decides on an event, reports it, drains, logs one line."""

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import boto3

from . import api_key, instances
from .castai import Castai, ReportError
from .deadline import Deadline
from .decide import NOTICE_SECONDS, Ignore, Notice, Report, judge, read
from .drain import Cluster, Drain, drain
from .eks_token import eks_token

RESERVE_SECONDS = 3.0
"""Time kept at the end of an invocation, so that it still writes its log line."""
LATE_SECONDS = 20.0
"""Time for an event that arrives after its instance is gone; a late report beats none."""

REPORT_SECONDS = 10.0
"""With draining: time for the first report, and again for a report after the drain."""

_TEXT_LIMIT = 200
_ERROR_LIMIT = 1000


class SettingsError(Exception):
    """The function's environment is incomplete."""


class Context(Protocol):
    """The part of Lambda's context object that is used."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings from the function's environment, without the key."""

    cluster_name: str
    maximum_age: float
    drain: bool

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings. Raises SettingsError that names all missing variables."""
        needed = ["CLUSTER_NAME", "CLUSTER_ID", "CASTAI_API_URL", "MAXIMUM_EVENT_AGE_SECONDS"]
        if environment.get("DRAIN") == "true":
            needed += ["CLUSTER_ENDPOINT", "CLUSTER_CERTIFICATE_AUTHORITY"]
        missing = [name for name in needed if not environment.get(name)]
        if not (environment.get("CASTAI_API_KEY") or environment.get("CASTAI_API_KEY_SECRET_ARN")):
            missing.append("CASTAI_API_KEY or CASTAI_API_KEY_SECRET_ARN")
        if missing:
            raise SettingsError(f"environment of the function: missing {', '.join(missing)}")
        return cls(
            cluster_name=environment["CLUSTER_NAME"],
            maximum_age=float(environment["MAXIMUM_EVENT_AGE_SECONDS"]),
            drain=environment.get("DRAIN") == "true",
        )


class SpotHandler:
    """Clients and cache of one execution environment, and the handling of events."""

    def __init__(
        self,
        settings: Settings,
        ec2: Any,
        castai: Castai,
        cluster: Callable[[], Cluster] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`cluster` returns a connection to the Kubernetes API with a fresh token."""
        self._settings = settings
        self._ec2 = ec2
        self._castai = castai
        self._cluster = cluster
        self._clock = clock
        self._sleep = sleep
        self._foreign = instances.ForeignInstances(clock=clock)

    def handle(self, event: object, remaining_seconds: float) -> dict[str, Any]:
        """Handle one event and log one line. Failures are raised, so that Lambda retries."""
        now = self._clock()
        end = now + remaining_seconds - RESERVE_SECONDS
        line: dict[str, Any] = {"decision": "failed", **_labels(event)}
        try:
            decision = self._decide(event, now, end)
            if isinstance(decision, Ignore):
                line |= {"decision": "ignored", "reason": decision.reason}
            else:
                line |= {"eventType": decision.event_type, "providerId": decision.provider_id}
                line |= self._act(decision, now, end)
                line["decision"] = "reported"
        except Exception as error:
            line |= {"error": type(error).__name__, "message": str(error)[:_ERROR_LIMIT]}
            raise
        finally:
            line["tookSeconds"] = round(self._clock() - now, 3)
            sys.stdout.write(json.dumps(line) + "\n")
        return line

    def _decide(self, event: object, now: float, end: float) -> Ignore | Report:
        notice = read(event, now, self._settings.maximum_age)
        if isinstance(notice, Ignore):
            return notice
        if notice.instance_id in self._foreign:
            return Ignore("foreign", notice.instance_id)
        deadline = self._deadline(notice, now, end)
        instance = instances.describe(self._ec2, notice.instance_id, deadline)
        decision = judge(notice, instance, self._settings.cluster_name)
        if isinstance(decision, Ignore) and decision.reason == "foreign":
            self._foreign.add(notice.instance_id)
        return decision

    def _act(self, report: Report, now: float, end: float) -> dict[str, Any]:
        """Report to CAST AI, then drain, in the DaemonSet's order.

        Neither waits for the other. If CAST AI does not answer, the node is drained and the report
        is repeated; a failed drain is raised after the report.
        """
        deadline = self._deadline(report, now, end)
        if self._cluster is None or report.event_type != "interrupted":
            return self._report(report, deadline)
        receipt: dict[str, Any] = {}
        with contextlib.suppress(ReportError):
            receipt = self._report(report, self._until(min(now + REPORT_SECONDS, deadline.at)))
        outcome: Drain | None = None
        failure: Exception | None = None
        try:
            end_of_drain = deadline.at if receipt else deadline.at - REPORT_SECONDS
            outcome = drain(self._cluster(), report, self._until(end_of_drain))
        except Exception as error:  # noqa: BLE001 - raised below, after the report
            failure = error
        receipt = receipt or self._report(report, deadline)
        if failure is not None:
            raise failure
        return receipt if outcome is None else {**receipt, "drain": outcome.as_log()}

    def _report(self, report: Report, deadline: Deadline) -> dict[str, Any]:
        receipt = self._castai.report(report, deadline)
        return {
            "attempts": receipt.attempts,
            "castaiRequestId": receipt.request_id,
            "secondsAfterEvent": round(self._clock() - report.occurred, 3),
        }

    def _deadline(self, notice: Notice | Report, now: float, end: float) -> Deadline:
        """Return the earlier of the instance's end and the invocation's end."""
        gone = end
        if notice.event_type == "interrupted":
            gone = max(notice.occurred + NOTICE_SECONDS, now + LATE_SECONDS)
        return self._until(min(end, gone))

    def _until(self, at: float) -> Deadline:
        return Deadline(at, self._clock, self._sleep)


def handle(event: object, context: Context) -> dict[str, Any]:
    """Entry point that Lambda calls."""
    return _handler().handle(event, context.get_remaining_time_in_millis() / 1000)


def from_environment(environment: Mapping[str, str]) -> SpotHandler:
    """Build the handler with its clients."""
    settings = Settings.of(environment)
    return SpotHandler(
        settings,
        instances.ec2_client(),
        Castai(environment["CASTAI_API_URL"], environment["CLUSTER_ID"], key_source(environment)),
        cluster_source(environment) if settings.drain else None,
    )


def key_source(environment: Mapping[str, str]) -> Callable[[bool], str]:
    """Return a function for the API key: of the environment, or cached from Secrets Manager."""
    if arn := environment.get("CASTAI_API_KEY_SECRET_ARN"):
        cached: list[str] = []

        def from_secrets_manager(fresh: bool) -> str:
            if fresh or not cached:
                answer = boto3.client("secretsmanager").get_secret_value(SecretId=arn)
                cached[:] = [api_key.clean(answer["SecretString"])]
            return cached[0]

        return from_secrets_manager
    key = api_key.clean(environment["CASTAI_API_KEY"])
    return lambda _fresh: key


def cluster_source(environment: Mapping[str, str]) -> Callable[[], Cluster]:
    """Return a function that connects to the cluster with a fresh token."""

    def connect() -> Cluster:
        return Cluster(
            environment["CLUSTER_ENDPOINT"],
            environment["CLUSTER_CERTIFICATE_AUTHORITY"],
            eks_token(environment["CLUSTER_NAME"]),
        )

    return connect


@functools.cache
def _handler() -> SpotHandler:
    return from_environment(os.environ)


def _labels(event: object) -> dict[str, str]:
    """Return the event's fields for the log, shortened, since anybody can send events."""
    if not isinstance(event, dict):
        return {}
    detail = event.get("detail")
    labels = {
        "eventId": event.get("id"),
        "detailType": event.get("detail-type"),
        "time": event.get("time"),
        "instanceId": detail.get("instance-id") if isinstance(detail, dict) else None,
        "instanceAction": detail.get("instance-action") if isinstance(detail, dict) else None,
    }
    return {key: text[:_TEXT_LIMIT] for key, text in labels.items() if isinstance(text, str)}


if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    _handler()  # creates the clients while the execution environment starts
