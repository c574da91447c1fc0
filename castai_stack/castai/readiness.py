"""Reasons why CAST AI does not use its access to a cluster yet, as phrases.

CAST AI reports the agent's state, the cluster's status and the error of its last reconciliation. It
reports nothing on cluster-controller, so that the controller's pods stand for it.
Source: castai/terraform-provider-castai, castai/sdk/api.gen.go (`ExternalclusterV1Cluster`)
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from castai_stack.castai.model import Cluster

_PARTS = {
    "instance profile": "the instance profile of new nodes, which is output instance_profile_arn",
    "security group": (
        "the security groups of new nodes, which automation.nodes.securityGroupIds and "
        ".createSecurityGroup set"
    ),
    "subnet": "the subnets of new nodes, which automation.nodes.subnetIds sets",
}
"""Part of a node configuration, by a word of the error that CAST AI fails to resolve it with.

Source: castai/pulumi-castai, commit 5834f84 (`failed to resolve instance profile`)
"""


def missing(cluster: "Cluster", controller: str | None) -> list[str]:
    """Return a phrase for each part that is missing, as far as the cluster's state tells.

    `controller` describes the pods of cluster-controller; None where the stack runs none.
    """
    phrases = []
    if cluster.agent_status != "online":
        phrases.append(f"the agent, whose status is {cluster.agent_status or 'unknown'}")
    if cluster.reconcile_error:
        phrases.append(_part(cluster.reconcile_error))
    elif controller is None:
        phrases.append(
            "cluster-controller, which automation.controller.enabled: false leaves out; without "
            "one CAST AI most likely stays in connecting"
        )
    else:
        phrases.append(f"cluster-controller's first question to CAST AI: {controller}")
    return phrases


def _part(error: str) -> str:
    lower = error.lower()
    part = next((text for word, text in _PARTS.items() if word in lower), "working credentials")
    return f"{part}; CAST AI says: {error}"


def logs(props: Mapping[str, Any]) -> str:
    """Return how to read the log of the controller that the properties name; empty without one."""
    if not props.get("controller"):
        return ""
    return (
        f" and the controller's log (kubectl logs -n {props['namespace']} "
        f"deployment/{props['controller']} -c cluster-controller)"
    )
