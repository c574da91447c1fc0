"""The composition: the only module that knows every part and their order.

Registration, token, agent, agent online, cluster-controller, CAST AI's principal, IAM, mapping,
keys, hand-over. The hand-over depends on all of them, so that a destroy begins with the disconnect
and deletes nothing that CAST AI still needs. What CAST AI is told about nodes comes last and is
taken back first.
"""

import pulumi

from castai_stack.agent.names import NAMESPACE
from castai_stack.agent.resources import AgentOnline
from castai_stack.automation.names import CONTROLLER
from castai_stack.castai.connection_guard import BY_HAND
from castai_stack.castai.resources import (
    AssumeRolePrincipal,
    ClusterRegistration,
    ClusterToken,
    ConnectionGuard,
    CredentialsReady,
)
from castai_stack.config.principals import Principal
from castai_stack.stack.context import Context
from castai_stack.stack.node_parts import node_configuration_part, node_parts
from castai_stack.stack.outputs import access_outputs, address_outputs, next_step
from castai_stack.stack.parts import (
    AccessParts,
    access_parts,
    agent_part,
    current_key,
    hand_over_part,
    retired_key,
)


def compose(context: Context, api_key: pulumi.Output[str]) -> dict[str, pulumi.Input[object]]:
    """Compose every part and return the outputs; `api_key` is the agent's without registration."""
    api = context.settings.api
    ConnectionGuard(
        context.logical_name("connection"),
        mode=context.settings.credentials.mode if api.register_cluster else BY_HAND,
        allow_disconnect=api.allow_disconnect,
        opts=context.at_castai(),
    )
    outputs = _registered(context) if api.register_cluster else _by_hand(context, api_key)
    context.takeover.require_complete()
    return outputs


def _by_hand(context: Context, api_key: pulumi.Output[str]) -> dict[str, pulumi.Input[object]]:
    """Without registration a person hands over in CAST AI's console."""
    settings = context.settings
    cluster_id = pulumi.Output.from_input(settings.api.cluster_id or "")
    agent = agent_part(context, cluster_id, api_key)
    outputs = address_outputs(context, cluster_id)
    if settings.principal is None:
        return outputs
    trusted = pulumi.Output.from_input(settings.api.principal_arn or "")
    access = access_parts(
        context, settings.principal, cluster_id, api_key, trusted_user=trusted, after=[agent]
    )
    access_key = current_key(context, access, None)
    retired_key(context, access, [access_key] if access_key else [])
    paste = {"next_step": next_step(settings.principal)}
    return outputs | access_outputs(access, access_key) | paste


def _registered(context: Context) -> dict[str, pulumi.Input[object]]:
    settings = context.settings
    registration = ClusterRegistration(
        context.logical_name("registration"),
        **context.cluster,
        organization_id=settings.api.organization_id,
        revive_archived=settings.api.revive_archived,
        opts=context.at_castai(),
    )
    in_use = context.release.key_secret if settings.agent.adopt else None
    token = ClusterToken(
        context.logical_name("token"),
        cluster_id=registration.id,
        namespace=NAMESPACE if in_use else None,
        secret=in_use,
        opts=context.at_castai(),
    )
    agent = agent_part(context, registration.id, token.token)
    online = AgentOnline(
        context.logical_name("agent-online"),
        cluster_id=registration.id,
        timeout_seconds=settings.api.online_timeout_seconds,
        namespace=NAMESPACE,
        opts=context.at_castai(agent),
    )
    outputs = address_outputs(context, registration.id)
    if settings.principal is None:
        return outputs
    trusted = _trusted_user(context, settings.principal, registration, online)
    access = access_parts(
        context,
        settings.principal,
        registration.id,
        token.token,
        trusted_user=trusted,
        after=[online],
    )
    return outputs | _handed_over(context, settings.principal, registration, access)


def _trusted_user(
    context: Context,
    principal: Principal,
    registration: ClusterRegistration,
    online: AgentOnline,
) -> pulumi.Output[str]:
    """ARN of CAST AI's user that assumes the principal; empty in modes without a role."""
    if not principal.trusts_castai:
        return pulumi.Output.from_input("")
    return AssumeRolePrincipal(
        context.logical_name("principal"),
        cluster_id=registration.id,
        opts=context.at_castai(online),
    ).arn


def _handed_over(
    context: Context,
    principal: Principal,
    registration: ClusterRegistration,
    access: AccessParts,
) -> dict[str, pulumi.Input[object]]:
    """Hand the principal over, and retire the previous key once CAST AI uses the current one."""
    access_key = current_key(context, access, registration.id)
    hand_over = hand_over_part(context, principal, registration, access, access_key)
    profile_arn, group = access.iam.instance_profile_arn, access.security_group
    configuration = node_configuration_part(context, registration.id, profile_arn, group, hand_over)
    ready = CredentialsReady(
        context.logical_name("credentials-ready"),
        cluster_id=registration.id,
        credentials_id=hand_over.credentials_id,
        timeout_seconds=context.settings.api.ready_timeout_seconds,
        namespace=NAMESPACE,
        controller=CONTROLLER if context.settings.automation.controller.enabled else None,
        opts=context.at_castai(hand_over, *([configuration] if configuration else [])),
    )
    retired_key(context, access, [ready])
    of_nodes = node_parts(context, registration.id, group, configuration, ready)
    return access_outputs(access, access_key) | of_nodes
