"""The composition: the only place that knows every part and their order.

Registration, token, agent, agent online, CAST AI's principal, IAM, mapping, keys, hand-over. The
hand-over depends on all of them, so that a destroy begins with the disconnect and takes away
nothing that CAST AI still needs.
"""

import asyncio
from dataclasses import dataclass, replace

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from castai_stack import (
    agent_manifests,
    arn,
    config,
    iam_policies,
    kubernetes_access,
    naming,
    preflight,
    spot_rbac,
)
from castai_stack.agent_manifests import NAMESPACE
from castai_stack.components.agent import AgentComponent
from castai_stack.components.aws_auth_mapping import AwsAuthMapping, MappedRole
from castai_stack.components.cast_iam import CastIamComponent
from castai_stack.components.spot_lambda import SpotLambdaComponent
from castai_stack.key_rotation import Slot, slots
from castai_stack.lookups import Caller, ClusterFacts, look_up
from castai_stack.operator_permissions import kubernetes_requirements, requirements
from castai_stack.providers import aws_provider, kubernetes_provider
from castai_stack.resources.agent_online import AgentOnline
from castai_stack.resources.hand_over import NODE_ROLE, CredentialsReady, HandOver
from castai_stack.resources.principal import AssumeRolePrincipal
from castai_stack.resources.registration import ClusterRegistration
from castai_stack.resources.rotation import BY_HAND, ConnectionGuard, RotationGuard
from castai_stack.resources.token import ClusterToken
from castai_stack.settings import StackConfig


@dataclass(frozen=True, slots=True)
class Ground:
    """What exists before the first part: settings, facts, providers."""

    settings: StackConfig
    facts: ClusterFacts
    names: naming.Names
    partition: str
    vpc_account_id: str
    kubeconfig: str
    access_entries: bool
    """Whether principals are mapped by access entries, or else in aws-auth."""
    aws: aws.Provider
    kubernetes: kubernetes.Provider
    existing: frozenset[str] = frozenset()
    """Objects of the agent that are there already and are to be taken over."""

    def on(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of a top-level part: the explicit providers, and what it waits for."""
        return pulumi.ResourceOptions(
            providers=[self.aws, self.kubernetes], depends_on=list(depends_on)
        )


async def deploy() -> pulumi.Inputs:
    """Check everything, compose everything, and return the stack's outputs.

    Raises ConfigError, LookupFailed or PreflightFailed before any resource but the providers.
    """
    stack = pulumi.Config()
    settings = config.load(stack)
    key = config.api_key(stack)
    ground, caller = await _ground(settings)
    permissions = asyncio.ensure_future(_permissions(ground, caller))
    existing, findings = await _checked(ground, caller, key)
    ground = replace(ground, existing=existing)
    preview = pulumi.runtime.is_dry_run()
    if preview and not findings.problems:
        # What is still being asked can only warn here, so that composing need not wait for it.
        outputs = _compose(ground, key)
        preflight.judge(findings + await permissions, preview=True)
        return outputs
    preflight.judge(findings + await permissions, preview=preview)
    return _compose(ground, key)


async def _ground(settings: StackConfig) -> tuple[Ground, Caller]:
    cluster = settings.cluster
    names = naming.names(cluster.name, settings.names)
    for name in naming.shortened(cluster.name, settings.names):
        pulumi.log.warn(f"The cluster's name is too long for {name}: a hash ends it")
    provider = aws_provider(cluster)
    # The first question starts the plugin of AWS, which is time to load what comes next.
    (caller, facts), _ = await asyncio.gather(
        look_up(cluster, provider), asyncio.to_thread(kubernetes_access.load)
    )
    kubeconfig = (
        kubernetes_access.eks_kubeconfig(
            cluster.name, cluster.region, facts.endpoint, facts.certificate_authority
        )
        if cluster.kubeconfig == kubernetes_access.FROM_EKS
        else cluster.kubeconfig
    )
    ground = Ground(
        settings=settings,
        facts=facts,
        names=names,
        partition=arn.partition(cluster.region),
        vpc_account_id=cluster.vpc_account_id or cluster.account_id,
        kubeconfig=kubeconfig,
        access_entries=preflight.uses_access_entries(settings, facts),
        aws=provider,
        kubernetes=kubernetes_provider(facts, kubeconfig, cluster.context),
    )
    return ground, caller


async def _checked(
    ground: Ground, caller: Caller, key: pulumi.Output[str]
) -> tuple[frozenset[str], preflight.Findings]:
    """Ask everything that may stop a preview, side by side.

    Returns the objects of an agent that is there already and is to be taken over, and the rest.
    """
    settings = ground.settings
    first = (
        preflight.cluster_findings(settings, caller, ground.facts)
        + preflight.access_findings(settings, ground.facts)
        + preflight.document_findings(_widest_scope(ground), settings)
    )
    in_cluster, at_castai = await asyncio.gather(
        preflight.ask_cluster(
            ground.kubeconfig,
            settings.cluster.context,
            kubernetes_requirements(settings, aws_auth=not ground.access_entries),
            _release(settings),
            ground.facts.certificate_authority,
        ),
        preflight.castai_findings(settings, key),
    )
    return in_cluster.existing, first + in_cluster.findings + at_castai


async def _permissions(ground: Ground, caller: Caller) -> preflight.Findings:
    """Ask what the caller may do in AWS and who has keys there: nothing that stops a preview."""
    settings = ground.settings
    needed = requirements(settings, access_entries=ground.access_entries)
    in_aws, keys = await asyncio.gather(
        preflight.aws_findings(caller, needed, ground.aws), _key_findings(ground)
    )
    return in_aws + keys


async def _key_findings(ground: Ground) -> preflight.Findings:
    if ground.settings.credentials.mode != "user":
        return preflight.Findings()
    return await preflight.key_findings(ground.names.principal, _slots(ground), ground.aws)


def _release(settings: StackConfig) -> agent_manifests.Release:
    return agent_manifests.Release(
        cluster_name=settings.cluster.name,
        region=settings.cluster.region,
        account_id=settings.cluster.account_id,
        api_url=settings.api.url,
        settings=settings.agent,
        namespace=NAMESPACE,
    )


def _widest_scope(ground: Ground) -> iam_policies.Scope:
    """Return the scope with an id of full length, to measure documents before there is one."""
    cluster = ground.settings.cluster
    return iam_policies.Scope(
        partition=ground.partition,
        region=cluster.region,
        account_id=cluster.account_id,
        cluster=cluster.name,
        cluster_id=naming.PLACEHOLDER_CLUSTER_ID,
        vpc_id=ground.facts.vpc_id,
        vpc_account_id=ground.vpc_account_id,
        names=ground.names,
        path=ground.settings.iam.path,
    )


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
    agent = _agent(ground, cluster_id, key)
    outputs = _addresses(ground, cluster_id)
    if ground.settings.credentials.mode == "none":
        return outputs
    principal = pulumi.Output.from_input(api.principal_arn or "")
    access = _access(ground, cluster_id, key, principal, [agent])
    key_pair = _current_key(ground, access, None)
    _retired_key(ground, access, [key_pair] if key_pair else [])
    return outputs | _summary(access, key_pair) | {"next_step": _next_step(ground)}


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
    agent = _agent(ground, registration.id, token.token)
    online = AgentOnline(
        "agent-online",
        cluster_id=registration.id,
        timeout_seconds=settings.api.online_timeout_seconds,
        kubeconfig=ground.kubeconfig,
        context=cluster.context,
        namespace=NAMESPACE,
        opts=pulumi.ResourceOptions(depends_on=[agent]),
    )
    outputs = _addresses(ground, registration.id)
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
    access = _access(ground, registration.id, token.token, principal_arn, [online])
    key = _current_key(ground, access, registration.id)
    hand_over = _hand_over(ground, registration, access, key)
    ready = CredentialsReady(
        "credentials-ready",
        cluster_id=registration.id,
        credentials_id=hand_over.credentials_id,
        timeout_seconds=settings.api.ready_timeout_seconds,
        opts=pulumi.ResourceOptions(depends_on=[hand_over]),
    )
    _retired_key(ground, access, [ready])
    return outputs | _summary(access, key)


def _agent(
    ground: Ground, cluster_id: pulumi.Output[str], key: pulumi.Output[str]
) -> AgentComponent:
    cluster = ground.settings.cluster
    return AgentComponent(
        "agent",
        {
            "cluster_name": cluster.name,
            "region": cluster.region,
            "account_id": cluster.account_id,
            "api_url": ground.settings.api.url,
            "settings": ground.settings.agent,
            "namespace": NAMESPACE,
            "cluster_id": cluster_id,
            "api_key": key,
            "kubeconfig": ground.kubeconfig,
            "context": cluster.context,
            "existing": ground.existing,
        },
        ground.on(),
    )


@dataclass(frozen=True, slots=True)
class Access:
    """The parts between the agent and the hand-over."""

    iam: CastIamComponent
    spot: SpotLambdaComponent | None
    mapping: AwsAuthMapping

    @property
    def needed(self) -> list[pulumi.Resource]:
        """Everything that CAST AI relies on: the hand-over waits for it and a destroy spares it."""
        return [*self.iam.ready, *([self.spot] if self.spot else []), self.mapping]


def _access(
    ground: Ground,
    cluster_id: pulumi.Output[str],
    key: pulumi.Output[str],
    castai_principal: pulumi.Output[str],
    after: list[pulumi.Resource],
) -> Access:
    settings, cluster = ground.settings, ground.settings.cluster
    user_mode = settings.credentials.mode == "user"
    iam = CastIamComponent(
        "iam",
        {
            "partition": ground.partition,
            "region": cluster.region,
            "account_id": cluster.account_id,
            "cluster_name": cluster.name,
            "cluster_id": cluster_id,
            "vpc_id": ground.facts.vpc_id,
            "vpc_account_id": ground.vpc_account_id,
            "names": ground.names,
            "mode": "user" if user_mode else "role",
            "flavour": settings.permissions,
            "castai_principal_arn": castai_principal,
            "external_id": settings.credentials.external_id or cluster_id,
            "settings": settings.iam,
            "tags": settings.tags,
        },
        ground.on(*after),
    )
    spot = (
        SpotLambdaComponent(
            "spot",
            {
                "partition": ground.partition,
                "region": cluster.region,
                "account_id": cluster.account_id,
                "cluster_name": cluster.name,
                "cluster_id": cluster_id,
                "api_url": settings.api.url,
                "api_key": key,
                "names": ground.names,
                "flavour": settings.permissions,
                "settings": settings.spot,
                "iam": settings.iam,
                "tags": settings.tags,
                "cluster_endpoint": ground.facts.endpoint,
                "certificate_authority": ground.facts.certificate_authority,
            },
            ground.on(*after),
        )
        if settings.spot.enabled
        else None
    )
    mapping = AwsAuthMapping(
        "access",
        {
            "cluster_name": cluster.name,
            "partition": ground.partition,
            "mode": "access-entries" if ground.access_entries else "aws-auth",
            "region": cluster.region,
            "node_role_arn": iam.node_role_arn,
            "node_role_unique_id": iam.node_role_unique_id,
            **(
                {
                    "user_arn": iam.principal_arn,
                    "user_unique_id": iam.principal_unique_id,
                    "user_name": ground.names.principal,
                }
                if user_mode
                else {}
            ),
            "roles": {"spot": _drainer(spot)} if spot and settings.spot.drain else {},
            "kubeconfig": ground.kubeconfig,
            "context": cluster.context,
            "settings": settings.access,
            "tags": settings.tags,
        },
        ground.on(),
    )
    return Access(iam, spot, mapping)


def _drainer(spot: SpotLambdaComponent) -> MappedRole:
    return {
        "arn": spot.role_arn,
        "unique_id": spot.role_unique_id,
        "username": spot_rbac.USERNAME,
        "groups": [spot_rbac.GROUP],
    }


def _current_key(
    ground: Ground, access: Access, handed_to: pulumi.Output[str] | None
) -> aws.iam.AccessKey | None:
    """Return the key of this generation; a jump of the counter is refused before it is touched."""
    credentials = ground.settings.credentials
    if credentials.mode != "user":
        return None
    guard = RotationGuard("rotation", generation=credentials.rotation, cluster_id=handed_to)
    (slot,) = [s for s in _slots(ground) if s.current]
    return _access_key(access, slot, [guard])


def _retired_key(ground: Ground, access: Access, after: list[pulumi.Resource]) -> None:
    """Keep the key of the generation before, inactive, once CAST AI uses the current one."""
    if ground.settings.credentials.mode == "user":
        for slot in _slots(ground):
            if not slot.current:
                _access_key(access, slot, after)


def _slots(ground: Ground) -> tuple[Slot, ...]:
    credentials = ground.settings.credentials
    return slots(
        credentials.rotation,
        delete_inactive=credentials.delete_inactive_key,
        # Without registration a person hands over, and nobody knows when that is done.
        keep_previous_active=not ground.settings.api.register_cluster,
    )


def _access_key(access: Access, slot: Slot, after: list[pulumi.Resource]) -> aws.iam.AccessKey:
    # AWS allows two keys at most, so the old one of a slot goes before the new one comes.
    return aws.iam.AccessKey(
        f"iam-key-{slot.name}",
        user=access.iam.principal_name,
        status=slot.status,
        opts=pulumi.ResourceOptions(
            parent=access.iam,
            depends_on=after,
            delete_before_replace=True,
            replacement_trigger=slot.generation,
        ),
    )


def _hand_over(
    ground: Ground,
    registration: ClusterRegistration,
    access: Access,
    key: aws.iam.AccessKey | None,
) -> HandOver:
    api = ground.settings.api
    return HandOver(
        "hand-over",
        cluster_id=registration.id,
        mode="role" if key is None else "user",
        role_arn=access.iam.ready_principal_arn if key is None else None,
        access_key_id=key.id if key else None,
        secret_access_key=key.secret if key else None,
        delete_nodes_on_disconnect=api.delete_nodes_on_disconnect,
        disconnect_timeout_seconds=api.disconnect_timeout_seconds,
        objects=_replaced_by_a_path(ground, registration.id),
        opts=pulumi.ResourceOptions(depends_on=[*access.needed, *([key] if key else [])]),
    )


def _replaced_by_a_path(
    ground: Ground, cluster_id: pulumi.Output[str]
) -> dict[str, pulumi.Input[str]]:
    """Name the IAM objects that another path replaces; a user only moves."""
    settings, names, path = ground.settings, ground.names, ground.settings.iam.path
    found = {"policy": names.castai_policy}
    if settings.credentials.mode == "role":
        found["role"] = names.principal
    else:
        found["restricted policy"] = names.restricted_policy
    if iam_policies.has_features(settings.permissions, settings.iam):
        found["feature policy"] = names.feature_policy
    node_role = cluster_id.apply(
        lambda known: f"{path}{naming.node_role(settings.cluster.name, known)}"
    )
    return {NODE_ROLE: node_role, **{kind: f"{path}{name}" for kind, name in found.items()}}


def _addresses(ground: Ground, cluster_id: pulumi.Output[str]) -> dict[str, pulumi.Input[object]]:
    console = f"{ground.settings.api.console_url.rstrip('/')}/external-clusters"
    return {
        "cluster_id": cluster_id,
        "console_url": cluster_id.apply(lambda known: f"{console}/{known}"),
    }


def _summary(access: Access, key: aws.iam.AccessKey | None) -> dict[str, pulumi.Input[object]]:
    principal = {"role_arn": access.iam.ready_principal_arn}
    if key is not None:
        principal = {
            "user_arn": access.iam.ready_principal_arn,
            "access_key_id": pulumi.Output.secret(key.id),
            "secret_access_key": key.secret,
        }
    spot = {"function_arn": access.spot.function_arn} if access.spot else {}
    return {
        **principal,
        **spot,
        "node_role_arn": access.iam.node_role_arn,
        "instance_profile_arn": access.iam.instance_profile_arn,
    }


def _next_step(ground: Ground) -> str:
    what = (
        "access_key_id and secret_access_key (`pulumi stack output --show-secrets`)"
        if ground.settings.credentials.mode == "user"
        else "role_arn (`pulumi stack output role_arn`)"
    )
    return (
        f"Open console_url, choose Enable CAST AI, and paste {what} into the cluster's window; "
        "disconnect it there before a destroy"
    )
