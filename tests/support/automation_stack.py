"""The automation's component alone, run by the real engine against a real API server."""

from collections.abc import Callable
from typing import Any

import pulumi

from castai_stack.agent import settings as agent_settings
from castai_stack.agent.names import NAMESPACE
from castai_stack.automation import settings
from castai_stack.automation.component import AutomationArgs, AutomationComponent
from tests.support.agent_stack import CLUSTER_ID, KEY, AgentStack


class AutomationStack(AgentStack):
    """A stack that holds the automation and nothing else; its namespace is there already."""

    def _program(self, changes: dict[str, Any]) -> Callable[[], None]:
        existing = changes.pop("existing", ())
        token = changes.pop("token", KEY)
        spot_daemonset = changes.pop("spot_daemonset", False)

        def program() -> None:
            args: AutomationArgs = {
                "api_url": "https://api.cast.ai",
                "settings": settings.Automation.model_validate(changes),
                "agent": agent_settings.Agent(),
                "namespace": NAMESPACE,
                "spot_daemonset": spot_daemonset,
                "cluster_id": pulumi.Output.from_input(CLUSTER_ID),
                "token": pulumi.Output.secret(token),
                "existing": existing,
            }
            AutomationComponent(
                "automation", args, pulumi.ResourceOptions(providers=self._providers())
            )

        return program
