"""Handlers of the workloads that act in the cluster: the gate that waits for their pods."""

from typing import ClassVar

from castai_stack.agent.handlers import RolloutHandler
from castai_stack.agent.names import NAME_LABEL
from castai_stack.automation.names import CONTROLLER, EVICTOR, EVICTOR_AUTOSCALER


class AutomationRolloutHandler(RolloutHandler):
    """Waits for cluster-controller and the other deployments."""

    name = "AutomationRollout"
    subject = "CAST AI's automation"
    time_out = "automation.rolloutTimeoutSeconds"
    selector: ClassVar = {NAME_LABEL: [CONTROLLER, EVICTOR, EVICTOR_AUTOSCALER]}
    hint = (
        "cluster-controller is ready only while CAST AI answers it: a refused token or a blocked "
        "way to the API shows as a failed probe. "
    )
