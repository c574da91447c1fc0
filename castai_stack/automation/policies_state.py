"""What the autoscaler policies amount to, in words."""

from castai_stack.automation.settings import Autoscaler

OFF = "off"


def policies_state(autoscaler: Autoscaler) -> str:
    """Return a line for the stack's outputs."""
    parts = []
    if autoscaler.unschedulable_pods:
        parts.append("nodes for pods that fit on none")
    if autoscaler.empty_nodes.enabled:
        parts.append(f"empty nodes removed after {autoscaler.empty_nodes.delay_seconds} s")
    limit = autoscaler.cpu_limit
    parts.append("no limit of CPUs" if limit is None else f"at most {limit} CPUs")
    return f"on: {', '.join(parts)}"
