"""Each part, its arguments, and the parts that it waits for."""

from dataclasses import dataclass

import pulumi

from castai_stack import aws_resources as aws
from castai_stack.access.component import AwsAuthMapping, AwsAuthMappingArgs, MappedRole
from castai_stack.agent.component import AgentComponent
from castai_stack.agent.names import NAMESPACE
from castai_stack.automation.component import AutomationComponent
from castai_stack.castai.hand_over import NODE_ROLE
from castai_stack.castai.resources import ClusterRegistration, HandOver, RotationGuard
from castai_stack.config.principals import Principal
from castai_stack.iam import feature_policy
from castai_stack.iam.component import CastIamComponent
from castai_stack.iam.key_slots import Slot
from castai_stack.spot import rbac
from castai_stack.spot.component import SpotLambdaComponent
from castai_stack.stack.context import Context
from castai_stack.stack.node_parts import security_group_part


def agent_part(
    context: Context, cluster_id: pulumi.Output[str], api_key: pulumi.Output[str]
) -> AgentComponent:
    """Compose the agent; `api_key` is the cluster's token, or the key that the operator gives."""
    return AgentComponent(
        context.logical_name("agent"),
        {
            **context.cluster,
            "api_url": context.settings.api.url,
            "settings": context.settings.agent,
            "namespace": NAMESPACE,
            "cluster_id": cluster_id,
            "api_key": api_key,
            "existing": context.existing,
            "namespace_uid": context.namespace_uid,
        },
        context.options(),
    )


def automation_part(
    context: Context,
    cluster_id: pulumi.Output[str],
    token: pulumi.Output[str],
    after: list[pulumi.Resource],
) -> AutomationComponent | None:
    """Compose what acts in the cluster for CAST AI; None where the settings ask for nothing.

    It must not wait for the hand-over's success: CAST AI reports the credentials as used only once
    cluster-controller asks it for actions.
    """
    release = context.automation
    if release is None:
        return None
    return AutomationComponent(
        context.logical_name("automation"),
        {
            "api_url": release.api_url,
            "settings": release.settings,
            "agent": release.agent,
            "namespace": release.namespace,
            "spot_daemonset": release.spot_daemonset,
            "cluster_id": cluster_id,
            "token": token,
            "existing": context.existing,
        },
        context.options(*after),
    )


@dataclass(frozen=True, slots=True)
class AccessParts:
    """The parts between the agent and the hand-over."""

    automation: AutomationComponent | None
    iam: CastIamComponent
    spot: SpotLambdaComponent | None
    mapping: AwsAuthMapping
    security_group: aws.SecurityGroup | None

    @property
    def needed(self) -> list[pulumi.Resource]:
        """Resources that CAST AI relies on: created before the hand-over, deleted after it."""
        parts = (self.automation, self.spot, self.security_group)
        optional = [part for part in parts if part is not None]
        return [*self.iam.ready, *optional, self.mapping]


def access_parts(
    context: Context,
    principal: Principal,
    cluster_id: pulumi.Output[str],
    api_key: pulumi.Output[str],
    *,
    trusted_user: pulumi.Output[str],
    after: list[pulumi.Resource],
) -> AccessParts:
    """Compose all parts before the hand-over; `trusted_user` is CAST AI's, that assumes a role."""
    automation = automation_part(context, cluster_id, api_key, after)
    iam = _iam_part(context, principal, cluster_id, trusted_user, after)
    spot = None
    if context.settings.spot.by_lambda:
        spot = _spot_part(context, cluster_id, api_key, after)
    mapping = _mapping_part(context, principal, iam, spot)
    group = security_group_part(context, cluster_id, after)
    return AccessParts(automation, iam, spot, mapping, group)


def _iam_part(
    context: Context,
    principal: Principal,
    cluster_id: pulumi.Output[str],
    trusted_user: pulumi.Output[str],
    after: list[pulumi.Resource],
) -> CastIamComponent:
    settings = context.settings
    return CastIamComponent(
        context.logical_name("iam"),
        {
            **context.cluster,
            "partition": context.partition,
            "cluster_id": cluster_id,
            "vpc_id": context.facts.vpc_id,
            "vpc_account_id": settings.cluster.vpc_account_id or settings.cluster.account_id,
            "names": context.names,
            "mode": principal.kind,
            "flavour": settings.permissions,
            "castai_principal_arn": trusted_user,
            "external_id": settings.credentials.external_id or cluster_id,
            "settings": settings.iam,
            "tags": settings.tags,
        },
        context.options(*after),
    )


def _spot_part(
    context: Context,
    cluster_id: pulumi.Output[str],
    api_key: pulumi.Output[str],
    after: list[pulumi.Resource],
) -> SpotLambdaComponent:
    settings = context.settings
    return SpotLambdaComponent(
        context.logical_name("spot"),
        {
            **context.cluster,
            "partition": context.partition,
            "cluster_id": cluster_id,
            "api_url": settings.api.url,
            "api_key": api_key,
            "names": context.names,
            "flavour": settings.permissions,
            "settings": settings.spot,
            "iam": settings.iam,
            "tags": settings.tags,
            "cluster_endpoint": context.facts.endpoint,
            "certificate_authority": context.facts.certificate_authority,
        },
        context.options(*after),
    )


def _mapping_part(
    context: Context,
    principal: Principal,
    iam: CastIamComponent,
    spot: SpotLambdaComponent | None,
) -> AwsAuthMapping:
    settings = context.settings
    args: AwsAuthMappingArgs = {
        "cluster_name": settings.cluster.name,
        "partition": context.partition,
        "mode": "access-entries" if context.access_entries else "aws-auth",
        "region": settings.cluster.region,
        "node_role_arn": iam.node_role_arn,
        "node_role_unique_id": iam.node_role_unique_id,
        "roles": {"spot": _drainer(spot)} if spot and settings.spot.drain else {},
        "settings": settings.access,
        "tags": settings.tags,
    }
    if principal.is_mapped:
        args["user_arn"] = iam.principal_arn
        args["user_unique_id"] = iam.principal_unique_id
        args["user_name"] = context.names.principal
    return AwsAuthMapping(context.logical_name("access"), args, context.options())


def _drainer(spot: SpotLambdaComponent) -> MappedRole:
    return {
        "arn": spot.role_arn,
        "unique_id": spot.role_unique_id,
        "username": rbac.USERNAME,
        "groups": [rbac.GROUP],
    }


def current_key(
    context: Context, access: AccessParts, handed_to: pulumi.Output[str] | None
) -> aws.AccessKey | None:
    """Key of this generation; the guard refuses a jump of the counter before it changes a key."""
    current = next((slot for slot in context.key_slots if slot.current), None)
    if current is None:
        return None
    guard = RotationGuard(
        context.logical_name("rotation"),
        generation=current.generation,
        cluster_id=handed_to,
        opts=context.at_castai(),
    )
    return _access_key(context, access, current, [guard])


def retired_key(context: Context, access: AccessParts, after: list[pulumi.Resource]) -> None:
    """Keep the previous generation's key, inactive, once CAST AI uses the current one."""
    for slot in context.key_slots:
        if not slot.current:
            _access_key(context, access, slot, after)


def _access_key(
    context: Context, access: AccessParts, slot: Slot, after: list[pulumi.Resource]
) -> aws.AccessKey:
    # AWS allows two keys at most, so a slot's old key is deleted before the new one is created.
    return aws.AccessKey(
        context.logical_name(f"iam-key-{slot.name}"),
        user=access.iam.principal_name,
        status=slot.status,
        opts=pulumi.ResourceOptions(
            parent=access.iam,
            depends_on=after,
            delete_before_replace=True,
            replacement_trigger=slot.generation,
        ),
    )


def hand_over_part(
    context: Context,
    principal: Principal,
    registration: ClusterRegistration,
    access: AccessParts,
    access_key: aws.AccessKey | None,
) -> HandOver:
    """Compose the hand-over, which depends on everything that CAST AI uses."""
    api = context.settings.api
    return HandOver(
        context.logical_name("hand-over"),
        cluster_id=registration.id,
        mode=principal.kind,
        role_arn=access.iam.ready_principal_arn if access_key is None else None,
        access_key_id=access_key.id if access_key else None,
        secret_access_key=access_key.secret if access_key else None,
        delete_nodes_on_disconnect=api.delete_nodes_on_disconnect,
        disconnect_timeout_seconds=api.disconnect_timeout_seconds,
        objects=_replaced_by_a_path(context, principal, registration.id),
        opts=context.at_castai(*access.needed, *([access_key] if access_key else [])),
    )


def _replaced_by_a_path(
    context: Context, principal: Principal, cluster_id: pulumi.Output[str]
) -> dict[str, pulumi.Input[str]]:
    """IAM objects that another path replaces; a user only moves."""
    settings, names, path = context.settings, context.names, context.settings.iam.path
    objects = {"policy": names.castai_policy}
    if principal.kind == "role":
        objects["role"] = names.principal
    if principal.restricted_policy == "managed":
        objects["restricted policy"] = names.restricted_policy
    if feature_policy.has_features(settings.permissions, settings.iam):
        objects["feature policy"] = names.feature_policy
    node_role = cluster_id.apply(lambda id_: f"{path}{names.node_role(settings.cluster.name, id_)}")
    return {NODE_ROLE: node_role, **{kind: f"{path}{name}" for kind, name in objects.items()}}
