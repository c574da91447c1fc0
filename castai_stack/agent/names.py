"""Names and labels of the agent's objects."""

NAMESPACE = "castai-agent"
AGENT = "castai-agent"
AUTOSCALER = "castai-agent-cpvpa"
AUTOSCALER_CONFIG = "castai-agent-autoscaler"
TRUSTED_CA = "castai-agent-tls-cert"
QUOTA = "castai-agent-critical-pods"
METADATA_STORE = "castai-agent-metadata"
LEASES = ("agent-leader-election-lock", "agent-leader-election-lock-registration")
"""Made by the agent at run time, like the metadata store: castai/k8s-agent, internal/config."""

DEPLOYMENTS = ("deployment", "autoscaler")
"""Parts whose pods are waited for."""

KEY = "API_KEY"
CONTAINER = "agent"
"""The autoscaler's configuration names the container that it sizes."""
KEY_DIGEST = "castai-eks/key-digest"
"""Annotation of the pods: a new key restarts them, because they read it only when they start."""

NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
PART_OF_LABEL = "app.kubernetes.io/part-of"
MANAGER = "pulumi"
PART_OF = "castai-eks"
