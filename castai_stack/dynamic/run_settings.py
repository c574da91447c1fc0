"""Settings of a run that a dynamic resource reads from the stack's configuration."""

import json
from typing import Any

from castai_stack.kube.kubeconfig import FROM_EKS


def configured(stack_configuration: Any) -> tuple[str, str | None] | None:
    """Return kubeconfig and context as the `castai` object of a stack names them now.

    None when the kubeconfig is made from EKS, whatever the machine. Dynamic resources ask, because
    what their state keeps may belong to another machine.
    """
    try:
        cluster = json.loads(stack_configuration)["cluster"]
        kubeconfig = cluster.get("kubeconfig", FROM_EKS)
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    if not isinstance(kubeconfig, str) or kubeconfig == FROM_EKS:
        return None
    return kubeconfig, cluster.get("context")
