"""CAST AI's objects and errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNAUTHENTICATED = 401
NOT_FOUND = 404
BAD_REQUEST = 400
_UNDER_WAY = ("pending", "creating", "draining", "deleting")
_SPOT = {
    "scheduling.cast.ai/spot": ("true",),
    "eks.amazonaws.com/capacityType": ("spot",),
    "karpenter.sh/capacity-type": ("spot",),
}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """The API's complaint about one field."""

    field: str
    description: str


class CastaiError(Exception):
    """A request failed; the text names the action and the answer, and holds no secret."""

    def __init__(
        self,
        action: str,
        *,
        status: int | None = None,
        message: str = "",
        violations: tuple[FieldViolation, ...] = (),
        request_id: str | None = None,
        advice: str = "",
    ) -> None:
        self.action = action
        self.status = status
        self.message = message
        self.violations = violations
        self.request_id = request_id
        self.advice = advice
        super().__init__(self._text())

    @property
    def not_found(self) -> bool:
        """Return True if the service knows no such object."""
        return self.status == NOT_FOUND

    @property
    def refuses_credentials(self) -> bool:
        """Return True if the credentials do not work yet, because IAM may still propagate them.

        castai/terraform-provider-castai, castai/cluster.go, retries on exactly this shape.
        """
        return (
            self.status == BAD_REQUEST
            and self.message == "Forbidden"
            and any(violation.field == "credentials" for violation in self.violations)
        )

    def _text(self) -> str:
        status = "" if self.status is None else f"HTTP {self.status}"
        answer = ", ".join(filter(None, (status, self.message))) or "no answer"
        text = f"CAST AI: cannot {self.action}: {answer}"
        if self.violations:
            text += " (" + "; ".join(f"{v.field}: {v.description}" for v in self.violations) + ")"
        if self.request_id:
            text += f" [request id {self.request_id}]"
        return f"{text}. {self.advice}" if self.advice else text


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as the service describes it; absent fields are empty."""

    id: str
    name: str
    status: str
    agent_status: str
    credentials_id: str
    organization_id: str
    agent_snapshot_received_at: str
    reconcile_error: str
    account_id: str
    region: str
    assume_role_arn: str

    @property
    def archived(self) -> bool:
        """Return True if the service has removed the cluster."""
        return self.status == "archived"

    @property
    def leaving(self) -> bool:
        """Return True if a disconnect is under way."""
        return self.status in ("deleting", "disconnecting")

    @property
    def disconnected(self) -> bool:
        """Return True if the service has disconnected the cluster, or does so now.

        A silent agent does not count: its `agentStatus` is `disconnected` as well.
        """
        return self.leaving or self.status == "deleted"

    def is_at(self, name: str, region: str, account_id: str) -> bool:
        """Return True if the service knows the cluster by this name, region and account."""
        return (self.name, self.region, self.account_id) == (name, region, account_id)

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "Cluster":
        """Read the JSON form."""
        eks = body.get("eks") or {}
        reconcile = body.get("reconcileInfo") or {}
        return cls(
            id=str(body["id"]),
            name=str(body.get("name") or ""),
            status=str(body.get("status") or ""),
            agent_status=str(body.get("agentStatus") or ""),
            credentials_id=str(body.get("credentialsId") or ""),
            organization_id=str(body.get("organizationId") or ""),
            agent_snapshot_received_at=str(body.get("agentSnapshotReceivedAt") or ""),
            reconcile_error=str(body.get("reconcileError") or reconcile.get("error") or ""),
            account_id=str(eks.get("accountId") or ""),
            region=str(eks.get("region") or ""),
            assume_role_arn=str(eks.get("assumeRoleArn") or ""),
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the service describes it."""

    id: str
    name: str
    instance_id: str
    labels: Mapping[str, str]
    phase: str = ""
    """Such as `ready`; empty where the service names none."""

    @property
    def made_by_castai(self) -> bool:
        """Return True if CAST AI provisioned it, by the label that its agent chart prefers."""
        return self.labels.get("provisioner.cast.ai/managed-by") == "cast.ai"

    @property
    def under_way(self) -> bool:
        """Return True if the service adds or removes the node now."""
        return self.phase.lower() in _UNDER_WAY

    @property
    def is_spot(self) -> bool:
        """Return True if it runs on Spot capacity, by the labels of CAST AI, EKS and Karpenter."""
        return any(self.labels.get(key, "").lower() in values for key, values in _SPOT.items())

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "Node":
        """Read the JSON form."""
        labels = body.get("labels") or {}
        return cls(
            id=str(body.get("id") or ""),
            name=str(body.get("name") or ""),
            instance_id=str(body.get("instanceId") or ""),
            labels={str(key): str(value) for key, value in labels.items()},
            phase=str((body.get("state") or {}).get("phase") or ""),
        )


def advice_for(status: int, url: str, *, wrong_address: bool = False) -> str:
    """Advice on an answer that a setting explains; empty for any other one."""
    if status == UNAUTHENTICATED:
        return (
            f"{url} does not accept the API key: check CASTAI_API_KEY or castai-eks:apiKey, "
            "and that api.url is the region of your account."
        )
    if wrong_address:
        return (
            f"{url} does not answer as CAST AI's API: api.url (or CASTAI_API_URL) is the API's "
            "address without a version, https://api.cast.ai or https://api.eu.cast.ai."
        )
    return ""
