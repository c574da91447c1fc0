"""What the service knows of a cluster, and how it behaves."""

from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox.castai.api import Document, now
from sandbox.castai.automation import Automation
from sandbox.castai.cloud import Credentials, Keys


@dataclass(frozen=True)
class Options:
    """How this service behaves; times in seconds."""

    token_lifetime: float = 4 * 3600.0
    """A token that no agent has used by then is dead."""
    online_window: float = 30.0
    """How long after its last delta an agent counts as online; it sends one every 15 seconds."""
    lost_after: float = 60.0
    """How long until a silent agent counts as disconnected, if there are no credentials."""
    reconcile_delay: float = 0.3
    """From a hand-over to `ready`."""
    disconnect_delay: float = 0.3
    disconnect_retry: float = 0.3
    """Pause between attempts to delete nodes."""
    disconnect_attempts: int = 10
    """Then the service gives up and archives the cluster, nodes or not."""
    archived: Literal["new", "revive", "stay"] = "new"
    """Result of registering an archived cluster again."""
    principal_exists: Literal["error", "answer"] = "error"
    """Result of asking for a principal that exists."""
    requires_controller: bool = True
    """Whether a cluster is ready only when its agent is online, a controller polls, and the
    default node configuration resolves in the customer's account."""
    controller_window: float = 30.0
    """How long after its last poll a controller counts as online; it polls every 5 seconds."""
    poll_hold: float = 1.0
    """How long a poll waits for an action."""
    template_delay: float = 0.3
    """From the first policies to the default node template."""
    autoscaler_interval: float = 0.5
    launch_pause: float = 2.0
    """From one attempt to start a node to the next."""
    join_timeout: float = 60.0
    """After that an instance that is no node is ended."""
    drain_timeout: int = 20
    """How long the controller drains a node."""
    action_timeout: float = 60.0
    """After that an action that nobody acknowledged has failed."""


@dataclass
class Token:
    """A cluster token."""

    value: str = field(repr=False)
    created_at: float
    used: bool = False
    replaced: bool = False


@dataclass
class Cluster:
    """State of a cluster."""

    id: str
    name: str
    region: str
    account_id: str
    organization_id: str
    status: str = "connecting"
    credentials: Credentials | None = None
    credentials_id: str = ""
    principal: Keys | None = None
    tokens: list[Token] = field(default_factory=list)
    last_delta: float | None = None
    last_delta_at: str = ""
    deltas: int = 0
    created_at: str = field(default_factory=now)
    reconciled_at: str = ""
    deleted_at: str = ""
    kubernetes_version: str = ""
    """As the agent reported it."""
    agent_state: str = ""
    """Set while the service itself decides the agent's status."""
    reconcile_error: str = ""
    made_nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """CAST AI's own nodes by instance id."""
    seen_nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Nodes that the agent reported, by name."""
    seen_pods: dict[str, Document] = field(default_factory=dict)
    """Pods that the agent reported, by namespace and name."""
    events: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    hand_overs: int = 0
    refused_hand_overs: int = 0
    automation: Automation = field(default_factory=Automation)
