"""Each part, its arguments, and the parts that it waits for."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from castai_stack import naming
from castai_stack.access.component import AwsAuthMapping, MappedRole
from castai_stack.agent.component import AgentComponent
from castai_stack.agent.names import NAMESPACE
from castai_stack.castai.hand_over import NODE_ROLE, HandOver
from castai_stack.castai.registration import ClusterRegistration
from castai_stack.castai.rotation_guard import RotationGuard
from castai_stack.iam import feature_policy
from castai_stack.iam.component import CastIamComponent
from castai_stack.iam.key_slots import Slot
from castai_stack.spot import rbac
from castai_stack.spot.component import SpotLambdaComponent
from castai_stack.stack.context import Ground, key_slots


def agent_part(
    ground: Ground, cluster_id: pulumi.Output[str], key: pulumi.Output[str]
) -> AgentComponent:
    """Compose the agent."""
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


def access_parts(
    ground: Ground,
    cluster_id: pulumi.Output[str],
    key: pulumi.Output[str],
    castai_principal: pulumi.Output[str],
    after: list[pulumi.Resource],
) -> Access:
    """Compose IAM, Spot handling and mapping."""
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
        "username": rbac.USERNAME,
        "groups": [rbac.GROUP],
    }


def current_key(
    ground: Ground, access: Access, handed_to: pulumi.Output[str] | None
) -> aws.iam.AccessKey | None:
    """Return the key of this generation; a jump of the counter is refused before it is touched."""
    credentials = ground.settings.credentials
    if credentials.mode != "user":
        return None
    guard = RotationGuard("rotation", generation=credentials.rotation, cluster_id=handed_to)
    (slot,) = [s for s in key_slots(ground) if s.current]
    return _access_key(access, slot, [guard])


def retired_key(ground: Ground, access: Access, after: list[pulumi.Resource]) -> None:
    """Keep the key of the generation before, inactive, once CAST AI uses the current one."""
    if ground.settings.credentials.mode == "user":
        for slot in key_slots(ground):
            if not slot.current:
                _access_key(access, slot, after)


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


def hand_over_part(
    ground: Ground,
    registration: ClusterRegistration,
    access: Access,
    key: aws.iam.AccessKey | None,
) -> HandOver:
    """Compose the hand-over, which depends on everything that CAST AI uses."""
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
    if feature_policy.has_features(settings.permissions, settings.iam):
        found["feature policy"] = names.feature_policy
    node_role = cluster_id.apply(
        lambda known: f"{path}{naming.node_role(settings.cluster.name, known)}"
    )
    return {NODE_ROLE: node_role, **{kind: f"{path}{name}" for kind, name in found.items()}}
