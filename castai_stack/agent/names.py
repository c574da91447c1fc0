"""Names and labels of the agent's objects."""

NAMESPACE = "castai-agent"
AGENT = "castai-agent"
AUTOSCALER = "castai-agent-cpvpa"
AUTOSCALER_CONFIG = "castai-agent-autoscaler"
TRUSTED_CA = "castai-agent-tls-cert"
QUOTA = "castai-agent-critical-pods"
METADATA_STORE = "castai-agent-metadata"
LEASES = (
    "agent-leader-election-lock",
    "agent-leader-election-lock-registration",
    "cluster-controller",
)
"""Leases that the agent and cluster-controller create at run time, like the metadata store.

Source: castai/k8s-agent, internal/config; castai/helm-charts, charts/castai-cluster-controller
"""

DEPLOYMENTS = ("deployment", "autoscaler")
"""Parts whose rollout an update waits for."""

KEY = "API_KEY"
CONTAINER = "agent"
"""Container of the agent that the autoscaler's configuration names."""
KEY_DIGEST = "castai-eks/key-digest"
"""Annotation of the pods; a new key changes it, because pods read the key only at their start."""

NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
PART_OF_LABEL = "app.kubernetes.io/part-of"
MANAGER = "pulumi"
PART_OF = "castai-eks"
