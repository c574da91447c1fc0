"""The composition: the only module that knows every part and their order.

Registration, token, agent, agent online, cluster-controller, CAST AI's principal, IAM, mapping,
keys, hand-over. The hand-over depends on all of them, so that a destroy begins with the disconnect
and deletes nothing that CAST AI still needs. What CAST AI is told about nodes comes last and is
taken back first.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace

import pulumi

from castai_stack import naming
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
from castai_stack.config import program
from castai_stack.config.model import Cluster, StackConfig
from castai_stack.config.principals import Principal
from castai_stack.kube import connection
from castai_stack.kube import kubeconfig as kube_kubeconfig
from castai_stack.preflight import aws as preflight_aws
from castai_stack.preflight.findings import Findings, judge
from castai_stack.preflight.lookups import Caller, ClusterFacts, look_up
from castai_stack.stack.adoption import Takeover
from castai_stack.stack.checks import apply_checks, required_checks
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
from castai_stack.stack.providers import aws_provider, castai_provider, kubernetes_provider


async def deploy() -> pulumi.Inputs:
    """Check everything, compose everything, and return the stack's outputs.

    Raises ConfigError, AwsLookupError or PreflightError before any resource but the providers.
    """
    stack = pulumi.Config()
    settings = program.load(stack)
    for line in program.unread_settings(stack):
        pulumi.log.warn(line)
    api_key = program.api_key(stack)
    context, caller = await _context(settings, stack.get_secret(program.API_KEY))
    preview = pulumi.runtime.is_dry_run()
    async with _running(apply_checks(context, caller)) as for_apply:
        in_cluster, network, findings = await required_checks(context, caller, api_key)
        context = replace(
            context,
            existing=in_cluster.existing,
            namespace_uid=in_cluster.namespace_uid,
            network=network,
        )
        outputs = None
        if preview and not findings.problems:
            # The other checks only warn here, so that composing need not wait for them.
            outputs = compose(context, _secret(api_key))
        _judge(findings + await for_apply, settings, preview=preview)
    return compose(context, _secret(api_key)) if outputs is None else outputs


@contextlib.asynccontextmanager
async def _running(
    coroutine: Coroutine[None, None, Findings],
) -> AsyncIterator[asyncio.Task[Findings]]:
    """Run a coroutine beside the block and leave no task behind if the block raises.

    A TaskGroup would wrap the block's RunError, which Pulumi then shows as a traceback.
    """
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        await asyncio.wait({task})
        task.exception()  # Otherwise asyncio logs it when the block has failed, too.


def _judge(findings: Findings, settings: StackConfig, *, preview: bool) -> None:
    judge(findings, preview=preview, missing_permissions=settings.preflight.missing_permissions)


def _secret(api_key: str | None) -> pulumi.Output[str]:
    """Return the API key as a secret, or an unknown secret, which a preview can show."""
    if api_key is not None:
        return pulumi.Output.secret(api_key)
    loop = asyncio.get_running_loop()
    value: asyncio.Future[str] = loop.create_future()
    known, secret = loop.create_future(), loop.create_future()
    value.set_result("")
    known.set_result(False)
    secret.set_result(True)
    return pulumi.Output(set(), value, known, secret)


async def _context(
    settings: StackConfig, configured_key: pulumi.Output[str] | None
) -> tuple[Context, Caller]:
    cluster = settings.cluster
    for name in naming.shortened(cluster.name, settings.names, cluster.region):
        pulumi.log.warn(f"The cluster's name is too long for {name}: a hash ends it")
    provider = aws_provider(cluster)
    # The first question starts the AWS plugin, which leaves time to load the other clients.
    (caller, facts), _ = await asyncio.gather(
        look_up(cluster, provider), asyncio.to_thread(load_clients)
    )
    kubeconfig = _kubeconfig(cluster, facts)
    context = Context(
        settings=settings,
        facts=facts,
        names=settings.resource_names,
        kubeconfig=kubeconfig,
        access_entries=preflight_aws.uses_access_entries(settings, facts),
        aws=provider,
        kubernetes=kubernetes_provider(facts.arn, kubeconfig, cluster.context),
        castai=castai_provider(settings, configured_key, kubeconfig),
        takeover=Takeover(settings.adoption),
    )
    return context, caller


def load_clients() -> None:
    """Import the clients of the cluster and of CAST AI, which takes 0.35 s."""
    connection.load()
    from castai_stack.castai import automation_api  # noqa: F401, PLC0415


def _kubeconfig(cluster: Cluster, facts: ClusterFacts) -> str:
    if cluster.kubeconfig != kube_kubeconfig.FROM_EKS:
        return cluster.kubeconfig
    return kube_kubeconfig.eks_kubeconfig(
        cluster.name, cluster.region, facts.endpoint, facts.certificate_authority
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
