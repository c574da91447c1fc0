"""What the automation has besides Kubernetes objects, as resources of a program."""

from collections.abc import Mapping, Sequence

import pulumi

from castai_stack.agent.resources import Rollout
from castai_stack.castai.remote_fields import tag_list
from castai_stack.plugin.custom_resource import PluginResource


class AutomationRollout(Rollout):
    """Gate of the deployments that act in the cluster."""


class NodeConfiguration(PluginResource):
    """The cluster's default node configuration; `id` is CAST AI's id of it."""

    cluster_id: pulumi.Output[str]
    is_default: pulumi.Output[bool]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        configuration: str,
        subnet_ids: pulumi.Input[Sequence[str]],
        security_group_ids: Sequence[pulumi.Input[str]],
        instance_profile_arn: pulumi.Input[str],
        disk_gib: int,
        volume_type: str,
        kms_key_arn: str | None,
        image_family: str,
        imds_v1: bool,
        imds_hop_limit: int,
        max_pods_formula: str | None,
        tags: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; `configuration` is its name at CAST AI."""
        super().__init__(
            name,
            {
                "cluster_id": cluster_id,
                "name": configuration,
                "subnet_ids": pulumi.Output.from_input(subnet_ids).apply(list),
                "security_group_ids": list(security_group_ids),
                "instance_profile_arn": instance_profile_arn,
                "disk_gib": disk_gib,
                "volume_type": volume_type,
                "kms_key_arn": kms_key_arn,
                "image_family": image_family,
                "imds_v1": imds_v1,
                "imds_hop_limit": imds_hop_limit,
                "max_pods_formula": max_pods_formula,
                "tags": tag_list(tags),
                "is_default": None,
            },
            opts,
        )


class AutoscalerPolicies(PluginResource):
    """The autoscaler policies (V2)."""

    cluster_id: pulumi.Output[str]
    enabled: pulumi.Output[bool]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        unschedulable_pods: bool,
        max_cores: int | None,
        empty_nodes: bool,
        empty_nodes_delay_seconds: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Without `max_cores` there is no limit."""
        super().__init__(
            name,
            {
                "cluster_id": cluster_id,
                "enabled": True,
                "unschedulable_pods": unschedulable_pods,
                "limit_cpu": max_cores is not None,
                "max_cores": max_cores,
                "empty_nodes": empty_nodes,
                "empty_nodes_delay_seconds": empty_nodes_delay_seconds,
            },
            opts,
        )


class NodeTemplate(PluginResource):
    """Constraints of the node template `default-by-castai`."""

    cluster_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        spot: bool,
        on_demand: bool,
        spot_fallbacks: bool,
        architectures: Sequence[str],
        zones: Sequence[str],
        include_families: Sequence[str],
        exclude_families: Sequence[str],
        min_cpu: int | None,
        max_cpu: int | None,
        min_memory_mib: int | None,
        max_memory_mib: int | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Empty lists and None set no constraint, and leave one of others in place."""
        super().__init__(
            name,
            {
                "cluster_id": cluster_id,
                "enabled": True,
                "spot": spot,
                "on_demand": on_demand,
                "spot_fallbacks": spot_fallbacks,
                "architectures": list(architectures),
                "zones": list(zones) or None,
                "include_families": list(include_families) or None,
                "exclude_families": list(exclude_families) or None,
                "min_cpu": min_cpu,
                "max_cpu": max_cpu,
                "min_memory_mib": min_memory_mib,
                "max_memory_mib": max_memory_mib,
            },
            opts,
        )


class EvictorConfiguration(PluginResource):
    """The evictor's configuration (V2)."""

    cluster_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        dry_run: bool,
        aggressive_mode: bool,
        scoped_mode: bool,
        ignore_pod_disruption_budgets: bool,
        cycle_interval_seconds: int,
        node_grace_period_minutes: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            {
                "cluster_id": cluster_id,
                "enabled": True,
                "dry_run": dry_run,
                "aggressive_mode": aggressive_mode,
                "scoped_mode": scoped_mode,
                "ignore_pod_disruption_budgets": ignore_pod_disruption_budgets,
                "cycle_interval_seconds": cycle_interval_seconds,
                "node_grace_period_minutes": node_grace_period_minutes,
            },
            opts,
        )
