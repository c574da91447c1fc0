"""Components that connect an existing EKS cluster to CAST AI.

Public names are imported when they are first used: the plugin imports this
package at every preview and needs none of the components.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from castai_stack.components.access import AwsAuthMapping, AwsAuthMappingArgs
    from castai_stack.components.agent import AgentArgs, AgentComponent
    from castai_stack.components.arguments import ArgumentError
    from castai_stack.components.automation import AutomationArgs, AutomationComponent
    from castai_stack.components.castai_cluster import CastaiCluster, CastaiClusterArgs
    from castai_stack.components.eks_cluster import EksCluster
    from castai_stack.components.iam import CastIamArgs, CastIamComponent
    from castai_stack.components.spot import SpotLambdaArgs, SpotLambdaComponent
    from castai_stack.config.model import StackConfig
    from castai_stack.plugin.custom_resource import CastaiProvider
    from castai_stack.stack.deployment import deploy

__all__ = [
    "AgentArgs",
    "AgentComponent",
    "ArgumentError",
    "AutomationArgs",
    "AutomationComponent",
    "AwsAuthMapping",
    "AwsAuthMappingArgs",
    "CastIamArgs",
    "CastIamComponent",
    "CastaiCluster",
    "CastaiClusterArgs",
    "CastaiProvider",
    "EksCluster",
    "SpotLambdaArgs",
    "SpotLambdaComponent",
    "StackConfig",
    "deploy",
]

_MODULES = {
    "AgentArgs": "components.agent",
    "AgentComponent": "components.agent",
    "ArgumentError": "components.arguments",
    "AutomationArgs": "components.automation",
    "AutomationComponent": "components.automation",
    "AwsAuthMapping": "components.access",
    "AwsAuthMappingArgs": "components.access",
    "CastIamArgs": "components.iam",
    "CastIamComponent": "components.iam",
    "CastaiCluster": "components.castai_cluster",
    "CastaiClusterArgs": "components.castai_cluster",
    "CastaiProvider": "plugin.custom_resource",
    "EksCluster": "components.eks_cluster",
    "SpotLambdaArgs": "components.spot",
    "SpotLambdaComponent": "components.spot",
    "StackConfig": "config.model",
    "deploy": "stack.deployment",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
