"""Components that connect an existing EKS cluster to CAST AI.

Public names are imported when they are first used: the plugin imports this
package at every preview and needs none of the components.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from castai_stack.access.component import AwsAuthMapping, AwsAuthMappingArgs
    from castai_stack.agent.component import AgentArgs, AgentComponent
    from castai_stack.automation.component import AutomationArgs, AutomationComponent
    from castai_stack.config.model import StackConfig
    from castai_stack.iam.component import CastIamArgs, CastIamComponent
    from castai_stack.spot.component import SpotLambdaArgs, SpotLambdaComponent
    from castai_stack.stack.deployment import deploy

__all__ = [
    "AgentArgs",
    "AgentComponent",
    "AutomationArgs",
    "AutomationComponent",
    "AwsAuthMapping",
    "AwsAuthMappingArgs",
    "CastIamArgs",
    "CastIamComponent",
    "SpotLambdaArgs",
    "SpotLambdaComponent",
    "StackConfig",
    "deploy",
]

_MODULES = {
    "AgentArgs": "agent.component",
    "AgentComponent": "agent.component",
    "AutomationArgs": "automation.component",
    "AutomationComponent": "automation.component",
    "AwsAuthMapping": "access.component",
    "AwsAuthMappingArgs": "access.component",
    "CastIamArgs": "iam.component",
    "CastIamComponent": "iam.component",
    "SpotLambdaArgs": "spot.component",
    "SpotLambdaComponent": "spot.component",
    "StackConfig": "config.model",
    "deploy": "stack.deployment",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
