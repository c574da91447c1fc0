"""EC2's description of instances, and a cache of instances of other clusters."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from .deadline import Deadline
from .decide import Instance

FOREIGN_SECONDS = 900.0
FOREIGN_LIMIT = 10_000

_HTTP_TOO_MANY = 429
_HTTP_SERVER_ERROR = 500
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
_THROTTLED = ("RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled")


def ec2_client() -> Any:
    """Return an EC2 client without retries; the caller retries within its deadline."""
    return boto3.client(
        "ec2",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=8),
    )


class ForeignInstances:
    """Cache of instances of other clusters, bounded in number and time."""

    def __init__(
        self,
        seconds: float = FOREIGN_SECONDS,
        limit: int = FOREIGN_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._limit = limit
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, instance_id: str) -> bool:
        return self._until.get(instance_id, float("-inf")) > self._clock()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, instance_id: str) -> None:
        """Add an instance; beyond the limit, the oldest is dropped."""
        self._until[instance_id] = self._clock() + self._seconds
        self._until.move_to_end(instance_id)
        while len(self._until) > self._limit:
            self._until.popitem(last=False)


def describe(ec2: Any, instance_id: str, deadline: Deadline) -> Instance | None:
    """Describe one instance, with retries until the deadline; None if EC2 knows none."""
    attempts = 0
    while True:
        try:
            answer = ec2.describe_instances(InstanceIds=[instance_id])
        except ClientError as error:
            if error.response["Error"]["Code"].startswith("InvalidInstanceID."):
                return None
            attempts += 1
            if not _retryable(error) or not deadline.pause(attempts):
                raise
        except (NoConnectionError, HTTPClientError):
            attempts += 1
            if not deadline.pause(attempts):
                raise
        else:
            return _instance(instance_id, answer)


def _retryable(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return (
        error.response["Error"]["Code"] in _THROTTLED
        or status == _HTTP_TOO_MANY
        or status >= _HTTP_SERVER_ERROR
    )


def _instance(instance_id: str, answer: dict[str, Any]) -> Instance | None:
    described = [
        instance
        for reservation in answer.get("Reservations", [])
        for instance in reservation.get("Instances", [])
        if instance.get("InstanceId") == instance_id
    ]
    if not described:
        return None
    instance = described[0]
    return Instance(
        instance_id=instance_id,
        zone=instance.get("Placement", {}).get("AvailabilityZone", ""),
        lifecycle=instance.get("InstanceLifecycle", ""),
        tags={tag["Key"]: tag.get("Value", "") for tag in instance.get("Tags", [])},
        private_dns_name=instance.get("PrivateDnsName", ""),
    )
