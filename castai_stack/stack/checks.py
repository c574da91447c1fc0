"""Checks before a write, side by side."""

import asyncio
import os

import pulumi

from castai_stack import arn, naming
from castai_stack.access import entries
from castai_stack.access.entries import NODE_GROUPS, NODE_USERNAME, Entry
from castai_stack.access.protocol import OVERRIDE_VARIABLE
from castai_stack.config import program
from castai_stack.permissions import actors
from castai_stack.permissions.operator import requirements
from castai_stack.permissions.operator_kubernetes import kubernetes_requirements
from castai_stack.preflight import aws, castai, cluster, names, networks, permissions
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import Caller
from castai_stack.stack.context import Context


async def required_checks(
    context: Context, caller: Caller, api_key: str | None
) -> tuple[cluster.InCluster, networks.NodeNetwork, Findings]:
    """Ask everything that may stop a preview, side by side.

    Returns the cluster's answers, where new nodes are, and the findings of all places.
    """
    settings = context.settings
    findings = (
        aws.cluster_findings(settings, caller, context.facts)
        + aws.access_findings(settings, context.facts)
        + _document_findings(context)
        + key_findings(context, api_key)
    )
    in_cluster, at_castai, (network, in_network) = await asyncio.gather(
        cluster.ask_cluster(
            context.kubeconfig,
            settings.cluster.context,
            kubernetes_requirements(settings, aws_auth=not context.access_entries),
            context.release,
            context.facts.certificate_authority,
            _aws_auth_plan(context),
            context.automation,
            settings.automation.autoscaler.cpu_limit if settings.autoscales else None,
        ),
        castai.castai_findings(settings, api_key),
        networks.node_network(settings, context.facts, networks.asker(context.aws)),
    )
    return in_cluster, network, findings + in_cluster.findings + at_castai + in_network


async def apply_checks(context: Context, caller: Caller) -> Findings:
    """Ask what only an apply would run into: permissions, taken names, surplus access keys."""
    settings = context.settings
    needed = requirements(settings, access_entries=context.access_entries)
    findings = await asyncio.gather(
        permissions.permission_findings(
            caller, needed, settings, context.aws, preview=pulumi.runtime.is_dry_run()
        ),
        names.name_findings(settings, context.names, context.aws),
        networks.group_name_findings(settings, context.facts, networks.asker(context.aws)),
        _access_key_findings(context),
    )
    return sum(findings, Findings())


def key_findings(context: Context, api_key: str | None) -> Findings:
    """Look for the API key: without it an apply that uses it must stop, but not a preview."""
    if api_key is not None or not castai.needs_key(context.settings):
        return Findings()
    return Findings(obstacles=(program.missing_key(pulumi.Config()),))


def _aws_auth_plan(context: Context) -> cluster.AwsAuthPlan | None:
    """Return the entries of an update; any node role stands for one without a registration."""
    if context.access_entries:
        return None
    settings, account = context.settings, context.settings.cluster.account_id
    node_role = context.names.node_role(settings.cluster.name, naming.PLACEHOLDER_CLUSTER_ID)
    node_role_arn = arn.iam(context.partition, account, f"role/{node_role}")
    planned: list[Entry] = [entries.role(node_role_arn, NODE_USERNAME, NODE_GROUPS)]
    if settings.principal is not None and settings.principal.is_mapped:
        name = context.names.principal
        user_arn = arn.iam(context.partition, account, f"user{settings.iam.path}{name}")
        planned.append(entries.user(user_arn, name, settings.access.user_groups))
    overrides = os.environ.get(OVERRIDE_VARIABLE, "").split(",")
    return cluster.AwsAuthPlan(
        tuple(planned),
        settings.access.adopt,
        frozenset([*settings.access.override_guards, *map(str.strip, overrides)]),
    )


def _document_findings(context: Context) -> Findings:
    """Measure the documents with an id of full length, before the registration yields one."""
    settings = context.settings
    scope = actors.stack_scope(settings, naming.PLACEHOLDER_CLUSTER_ID, context.facts.vpc_id)
    return aws.document_findings(scope, settings)


async def _access_key_findings(context: Context) -> Findings:
    if not context.key_slots:
        return Findings()
    return await aws.key_findings(context.names.principal, context.key_slots, context.aws)
