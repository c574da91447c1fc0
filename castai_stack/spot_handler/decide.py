"""Decide on an event from its content, the time and the instance's description.

Shapes of both events:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

INTERRUPTION = "EC2 Spot Instance Interruption Warning"
REBALANCE = "EC2 Instance Rebalance Recommendation"
EventType = Literal["interrupted", "rebalanceRecommendation"]
# Event types of CAST AI's own reporter: castai/spot-handler, internal/castai/client.go
EVENT_TYPES: Mapping[str, EventType] = {
    INTERRUPTION: "interrupted",
    REBALANCE: "rebalanceRecommendation",
}
NOTICE_SECONDS = 120.0
"""From the warning to the interruption."""

Reason = Literal["malformed", "other-event", "stale", "unknown-instance", "foreign", "not-spot"]

_INSTANCE_ID = re.compile(r"i-[0-9a-f]{8}(?:[0-9a-f]{9})?")
_OWNING = ("owned", "shared")


@dataclass(frozen=True, slots=True)
class Notice:
    """A well-formed, timely event about an instance of any owner."""

    event_type: EventType
    instance_id: str
    occurred: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Instance:
    """The part of EC2's description of an instance that decisions need."""

    instance_id: str
    zone: str
    lifecycle: str
    """`spot`, `scheduled`, `capacity-block`, or empty for On-Demand."""
    tags: Mapping[str, str]
    private_dns_name: str = ""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Decision to do nothing, with the reason."""

    reason: Reason
    instance_id: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Decision to report the instance to CAST AI."""

    event_type: EventType
    instance_id: str
    provider_id: str
    """Kubernetes' `spec.providerID` of the node: `aws:///<zone>/<instance>`."""
    private_dns_name: str
    occurred: float


def read(event: object, now: float, maximum_age: float) -> Notice | Ignore:
    """Parse an event; malformed and foreign events become Ignore. Never raises.

    The instance id comes from `detail`. The ARN in `resources` of an interruption warning has an
    availability zone in the place of region and account.
    """
    if not isinstance(event, dict):
        return Ignore("malformed")
    event_type = _event_type(event)
    if event_type is None:
        return Ignore("other-event")
    detail = event.get("detail")
    instance_id = detail.get("instance-id") if isinstance(detail, dict) else None
    occurred = _seconds(event.get("time"))
    if not isinstance(instance_id, str) or not _INSTANCE_ID.fullmatch(instance_id):
        return Ignore("malformed")
    if occurred is None:
        return Ignore("malformed", instance_id)
    if now - occurred > maximum_age:
        return Ignore("stale", instance_id)
    return Notice(event_type, instance_id, occurred)


def judge(notice: Notice, instance: Instance | None, cluster: str) -> Report | Ignore:
    """Decide on a notice; `instance` is None if EC2 knows none of that id.

    The tag key is compared case-sensitively, because clusters `Shop` and `shop` may both exist.
    """
    if instance is None or not instance.zone:
        return Ignore("unknown-instance", notice.instance_id)
    if instance.tags.get(f"kubernetes.io/cluster/{cluster}") not in _OWNING:
        return Ignore("foreign", notice.instance_id)
    if instance.lifecycle != "spot":
        return Ignore("not-spot", notice.instance_id)
    return Report(
        event_type=notice.event_type,
        instance_id=notice.instance_id,
        provider_id=f"aws:///{instance.zone}/{notice.instance_id}",
        private_dns_name=instance.private_dns_name,
        occurred=notice.occurred,
    )


def _event_type(event: Mapping[object, object]) -> EventType | None:
    detail_type = event.get("detail-type")
    if event.get("source") != "aws.ec2" or not isinstance(detail_type, str):
        return None
    return EVENT_TYPES.get(detail_type)


def _seconds(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
