"""Every resource type of the plugin."""

from castai_stack.access.handlers import AccessEntryPlaceHandler, AwsAuthEntryHandler
from castai_stack.agent.handlers import (
    AgentLeftoversHandler,
    AgentOnlineHandler,
    AgentRolloutHandler,
)
from castai_stack.agent.namespace_guard import NamespaceGuardHandler
from castai_stack.automation.handlers import AutomationRolloutHandler
from castai_stack.castai.autoscaler_policies import AutoscalerPoliciesHandler
from castai_stack.castai.connection_guard import ConnectionGuardHandler
from castai_stack.castai.credentials_ready import CredentialsReadyHandler
from castai_stack.castai.evictor_configuration import EvictorConfigurationHandler
from castai_stack.castai.hand_over import HandOverHandler
from castai_stack.castai.node_configuration import NodeConfigurationHandler
from castai_stack.castai.node_template import NodeTemplateHandler
from castai_stack.castai.principal import AssumeRolePrincipalHandler
from castai_stack.castai.registration import ClusterRegistrationHandler
from castai_stack.castai.rotation_guard import RotationGuardHandler
from castai_stack.castai.token import ClusterTokenHandler
from castai_stack.plugin.handler import Handler

RESOURCE_TYPES: tuple[type[Handler], ...] = (
    AccessEntryPlaceHandler,
    AgentLeftoversHandler,
    AgentOnlineHandler,
    AgentRolloutHandler,
    AssumeRolePrincipalHandler,
    AutomationRolloutHandler,
    AutoscalerPoliciesHandler,
    AwsAuthEntryHandler,
    ClusterRegistrationHandler,
    ClusterTokenHandler,
    ConnectionGuardHandler,
    CredentialsReadyHandler,
    EvictorConfigurationHandler,
    HandOverHandler,
    NamespaceGuardHandler,
    NodeConfigurationHandler,
    NodeTemplateHandler,
    RotationGuardHandler,
)
