"""Settings of nodes at CAST AI: node configuration, policies, node template, evictor.

The node configuration comes before the wait for CAST AI's readiness, the others after it. A destroy
runs backwards: policies are off, and nodes under way have settled, before the disconnect.
"""

import pulumi

from castai_stack import aws_resources as aws
from castai_stack.automation import security_group
from castai_stack.automation.policies_state import OFF, policies_state
from castai_stack.automation.resources import (
    AutoscalerPolicies,
    EvictorConfiguration,
    NodeConfiguration,
    NodeTemplate,
)
from castai_stack.stack.context import Context


def security_group_part(
    context: Context, cluster_id: pulumi.Output[str], after: list[pulumi.Resource]
) -> aws.SecurityGroup | None:
    """Compose the nodes' security group; None where it is not this program's."""
    settings = context.settings
    if not settings.creates_security_group:
        return None
    return aws.SecurityGroup(
        context.logical_name("node-security-group"),
        **security_group.inputs(
            settings.cluster.name,
            context.names.node_group(settings.cluster.name),
            cluster_id,
            context.facts.vpc_id,
            settings.tags,
        ),
        # The program chooses the name, and a VPC has each name once.
        opts=pulumi.ResourceOptions.merge(
            context.base,
            pulumi.ResourceOptions(
                provider=context.aws,
                depends_on=after,
                delete_before_replace=True,
                transformations=context.takeover.transformations,
            ),
        ),
    )


def node_configuration_part(
    context: Context,
    cluster_id: pulumi.Output[str],
    instance_profile_arn: pulumi.Output[str],
    group: aws.SecurityGroup | None,
    handed_over: pulumi.Resource,
) -> NodeConfiguration | None:
    """Compose the default node configuration; None where the settings leave it to CAST AI.

    It comes before CAST AI is ready: without one that names profile and security groups, a cluster
    can stay at `failed to resolve instance profile`, and one that names a deleted group at `failed
    to resolve security groups`. Source: castai/pulumi-castai, commit 5834f84.
    """
    settings, nodes = context.settings, context.settings.automation.nodes
    if not settings.sets_nodes:
        return None
    return NodeConfiguration(
        context.logical_name("node-configuration"),
        cluster_id=cluster_id,
        configuration=nodes.name,
        subnet_ids=context.network.subnet_ids,
        security_group_ids=[
            *context.network.security_group_ids,
            *([group.id] if group is not None else []),
        ],
        instance_profile_arn=instance_profile_arn,
        disk_gib=nodes.disk_gib,
        volume_type=nodes.volume_type,
        kms_key_arn=nodes.kms_key_arn,
        image_family=nodes.image_family,
        imds_v1=nodes.imds_v1,
        imds_hop_limit=nodes.imds_hop_limit,
        max_pods_formula=nodes.max_pods_formula,
        tags={**settings.tags, **nodes.tags},
        opts=context.at_castai(handed_over),
    )


def node_parts(
    context: Context,
    cluster_id: pulumi.Output[str],
    group: aws.SecurityGroup | None,
    configuration: NodeConfiguration | None,
    ready: pulumi.Resource,
) -> dict[str, pulumi.Input[object]]:
    """Compose what CAST AI is told once it uses the credentials; return the outputs of nodes."""
    settings = context.settings
    outputs: dict[str, pulumi.Input[object]] = {}
    before: pulumi.Resource = ready
    if group is not None:
        outputs["security_group_id"] = group.id
    if configuration is not None:
        outputs["node_configuration_id"] = configuration.id
    if settings.acts_in_cluster:
        outputs["policies_state"] = OFF
    if settings.autoscales:
        policies = _policies(context, cluster_id, before)
        on = policies_state(settings.automation.autoscaler)
        outputs["policies_state"] = policies.enabled.apply(lambda enabled: on if enabled else OFF)
        before = _template(context, cluster_id, policies)
    if settings.acts_in_cluster and settings.automation.evictor.enabled:
        _evictor(context, cluster_id, before)
    return outputs


def _policies(
    context: Context, cluster_id: pulumi.Output[str], before: pulumi.Resource
) -> AutoscalerPolicies:
    autoscaler = context.settings.automation.autoscaler
    return AutoscalerPolicies(
        context.logical_name("autoscaler-policies"),
        cluster_id=cluster_id,
        unschedulable_pods=autoscaler.unschedulable_pods,
        max_cores=autoscaler.cpu_limit,
        empty_nodes=autoscaler.empty_nodes.enabled,
        empty_nodes_delay_seconds=autoscaler.empty_nodes.delay_seconds,
        opts=context.at_castai(before),
    )


def _template(
    context: Context, cluster_id: pulumi.Output[str], policies: AutoscalerPolicies
) -> NodeTemplate:
    template = context.settings.automation.autoscaler.node_template
    return NodeTemplate(
        context.logical_name("node-template"),
        cluster_id=cluster_id,
        spot=template.spot,
        on_demand=template.on_demand,
        spot_fallbacks=template.spot and template.spot_fallbacks,
        architectures=template.architectures,
        zones=template.zones,
        include_families=template.include_families,
        exclude_families=template.exclude_families,
        min_cpu=template.min_cpu,
        max_cpu=template.max_cpu,
        min_memory_mib=template.min_memory_mib,
        max_memory_mib=template.max_memory_mib,
        opts=context.at_castai(policies),
    )


def _evictor(
    context: Context, cluster_id: pulumi.Output[str], before: pulumi.Resource
) -> EvictorConfiguration:
    evictor = context.settings.automation.evictor
    return EvictorConfiguration(
        context.logical_name("evictor-configuration"),
        cluster_id=cluster_id,
        dry_run=evictor.dry_run,
        aggressive_mode=evictor.aggressive_mode,
        scoped_mode=evictor.scoped_mode,
        ignore_pod_disruption_budgets=evictor.ignore_pod_disruption_budgets,
        cycle_interval_seconds=evictor.cycle_interval_seconds,
        node_grace_period_minutes=evictor.node_grace_period_minutes,
        opts=context.at_castai(before),
    )
