"""The composition: the only place that knows every part and their order.

Registration, token, agent, agent online, CAST AI's principal, IAM, mapping, keys, hand-over. The
hand-over depends on all of them, so that a destroy begins with the disconnect and takes away
nothing that CAST AI still needs.
"""

import asyncio
from dataclasses import replace

import pulumi

from castai_stack import arn, naming
from castai_stack.agent.names import NAMESPACE
from castai_stack.agent.resources import AgentOnline
from castai_stack.castai.connection_guard import BY_HAND, ConnectionGuard
from castai_stack.castai.credentials_ready import CredentialsReady
from castai_stack.castai.principal import AssumeRolePrincipal
from castai_stack.castai.registration import ClusterRegistration
from castai_stack.castai.token import ClusterToken
from castai_stack.config import program
from castai_stack.config.model import StackConfig
from castai_stack.kube import connection
from castai_stack.kube import kubeconfig as kube_kubeconfig
from castai_stack.preflight import aws as preflight_aws
from castai_stack.preflight import findings as preflight_findings
from castai_stack.preflight.lookups import Caller, look_up
from castai_stack.stack.checks import permission_findings, run_checks
from castai_stack.stack.context import Ground
from castai_stack.stack.outputs import access_outputs, address_outputs, next_step
from castai_stack.stack.parts import (
    access_parts,
    agent_part,
    current_key,
    hand_over_part,
    retired_key,
)
from castai_stack.stack.providers import aws_provider, kubernetes_provider


async def deploy() -> pulumi.Inputs:
    """Check everything, compose everything, and return the stack's outputs.

    Raises ConfigError, LookupFailed or PreflightFailed before any resource but the providers.
    """
    stack = pulumi.Config()
    settings = program.load(stack)
    key = program.api_key(stack)
    ground, caller = await _ground(settings)
    permissions = asyncio.ensure_future(permission_findings(ground, caller))
    existing, findings = await run_checks(ground, caller, key)
    ground = replace(ground, existing=existing)
    preview = pulumi.runtime.is_dry_run()
    if preview and not findings.problems:
        # What is still being asked can only warn here, so that composing need not wait for it.
        outputs = _compose(ground, key)
        preflight_findings.judge(findings + await permissions, preview=True)
        return outputs
    preflight_findings.judge(findings + await permissions, preview=preview)
    return _compose(ground, key)


async def _ground(settings: StackConfig) -> tuple[Ground, Caller]:
    cluster = settings.cluster
    names = naming.names(cluster.name, settings.names)
    for name in naming.shortened(cluster.name, settings.names):
        pulumi.log.warn(f"The cluster's name is too long for {name}: a hash ends it")
    provider = aws_provider(cluster)
    # The first question starts the plugin of AWS, which is time to load what comes next.
    (caller, facts), _ = await asyncio.gather(
        look_up(cluster, provider), asyncio.to_thread(connection.load)
    )
    kubeconfig = (
        kube_kubeconfig.eks_kubeconfig(
            cluster.name, cluster.region, facts.endpoint, facts.certificate_authority
        )
        if cluster.kubeconfig == kube_kubeconfig.FROM_EKS
        else cluster.kubeconfig
    )
    ground = Ground(
        settings=settings,
        facts=facts,
        names=names,
        partition=arn.partition(cluster.region),
        vpc_account_id=cluster.vpc_account_id or cluster.account_id,
        kubeconfig=kubeconfig,
        access_entries=preflight_aws.uses_access_entries(settings, facts),
        aws=provider,
        kubernetes=kubernetes_provider(facts, kubeconfig, cluster.context),
    )
    return ground, caller


def _compose(ground: Ground, key: pulumi.Output[str]) -> dict[str, pulumi.Input[object]]:
    """Wire the parts. Without registration there is nobody to hand anything to but the operator."""
    api = ground.settings.api
    ConnectionGuard(
        "connection",
        mode=ground.settings.credentials.mode if api.register_cluster else BY_HAND,
        allow_disconnect=api.allow_disconnect,
    )
    if api.register_cluster:
        return _registered(ground)
    cluster_id = pulumi.Output.from_input(api.cluster_id or "")
    agent = agent_part(ground, cluster_id, key)
    outputs = address_outputs(ground, cluster_id)
    if ground.settings.credentials.mode == "none":
        return outputs
    principal = pulumi.Output.from_input(api.principal_arn or "")
    access = access_parts(ground, cluster_id, key, principal, [agent])
    key_pair = current_key(ground, access, None)
    retired_key(ground, access, [key_pair] if key_pair else [])
    return outputs | access_outputs(access, key_pair) | {"next_step": next_step(ground)}


def _registered(ground: Ground) -> dict[str, pulumi.Input[object]]:
    settings, cluster = ground.settings, ground.settings.cluster
    registration = ClusterRegistration(
        "registration",
        cluster_name=cluster.name,
        region=cluster.region,
        account_id=cluster.account_id,
        organization_id=settings.api.organization_id,
        revive_archived=settings.api.revive_archived,
    )
    token = ClusterToken("token", cluster_id=registration.id)
    agent = agent_part(ground, registration.id, token.token)
    online = AgentOnline(
        "agent-online",
        cluster_id=registration.id,
        timeout_seconds=settings.api.online_timeout_seconds,
        kubeconfig=ground.kubeconfig,
        context=cluster.context,
        namespace=NAMESPACE,
        opts=pulumi.ResourceOptions(depends_on=[agent]),
    )
    outputs = address_outputs(ground, registration.id)
    if settings.credentials.mode == "none":
        return outputs
    principal_arn: pulumi.Output[str] = pulumi.Output.from_input("")
    if settings.credentials.mode == "role":
        principal = AssumeRolePrincipal(
            "principal",
            cluster_id=registration.id,
            opts=pulumi.ResourceOptions(depends_on=[online]),
        )
        principal_arn = principal.arn
    access = access_parts(ground, registration.id, token.token, principal_arn, [online])
    key = current_key(ground, access, registration.id)
    hand_over = hand_over_part(ground, registration, access, key)
    ready = CredentialsReady(
        "credentials-ready",
        cluster_id=registration.id,
        credentials_id=hand_over.credentials_id,
        timeout_seconds=settings.api.ready_timeout_seconds,
        opts=pulumi.ResourceOptions(depends_on=[hand_over]),
    )
    retired_key(ground, access, [ready])
    return outputs | access_outputs(access, key)
