"""What the Spot function may do in the cluster when it drains nodes, as data."""

from dataclasses import dataclass

API_GROUP = "rbac.authorization.k8s.io"
NAME = "castai-spot-handler"
"""Of the cluster role and its binding."""
GROUP = "castai-spot-handler"
"""Group that the mapping gives the function's role."""
USERNAME = "castai-spot-handler"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the cluster role."""

    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


RULES = (
    Rule(("",), ("nodes",), ("get", "list", "patch")),
    Rule(("",), ("pods",), ("list",)),
    Rule(("",), ("pods/eviction",), ("create",)),
)
"""Find a node, cordon it, see its pods, evict them; nothing else.

The eviction subresource is the one that keeps to disruption budgets:
https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""
