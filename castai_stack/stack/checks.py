"""Checks before a write, side by side."""

import asyncio
import os

import pulumi

from castai_stack import arn, naming
from castai_stack.access import entries
from castai_stack.access.entries import NODE_GROUPS, NODE_USERNAME, Entry
from castai_stack.access.protocol import OVERRIDE_VARIABLE
from castai_stack.agent import release
from castai_stack.agent.names import NAMESPACE
from castai_stack.config.model import StackConfig
from castai_stack.permissions.actors import stack_scope
from castai_stack.permissions.operator import requirements
from castai_stack.permissions.operator_kubernetes import kubernetes_requirements
from castai_stack.preflight import aws as preflight_aws
from castai_stack.preflight import castai
from castai_stack.preflight import cluster as preflight_cluster
from castai_stack.preflight import findings as preflight_findings
from castai_stack.preflight.lookups import Caller
from castai_stack.stack.context import Ground, key_slots


async def run_checks(
    ground: Ground, caller: Caller, key: pulumi.Output[str]
) -> tuple[frozenset[str], preflight_findings.Findings]:
    """Ask everything that may stop a preview, side by side.

    Returns the objects of an agent that is there already and is to be taken over, and the rest.
    """
    settings = ground.settings
    first = (
        preflight_aws.cluster_findings(settings, caller, ground.facts)
        + preflight_aws.access_findings(settings, ground.facts)
        + preflight_aws.document_findings(
            # The registration may not have yielded an id yet; any has this length.
            stack_scope(settings, naming.PLACEHOLDER_CLUSTER_ID, ground.facts.vpc_id),
            settings,
        )
    )
    in_cluster, at_castai = await asyncio.gather(
        preflight_cluster.ask_cluster(
            ground.kubeconfig,
            settings.cluster.context,
            kubernetes_requirements(settings, aws_auth=not ground.access_entries),
            _release(settings),
            ground.facts.certificate_authority,
            _aws_auth_plan(ground),
        ),
        castai.castai_findings(settings, key),
    )
    return in_cluster.existing, first + in_cluster.findings + at_castai


async def permission_findings(ground: Ground, caller: Caller) -> preflight_findings.Findings:
    """Ask what the caller may do in AWS and who has keys there: nothing that stops a preview."""
    settings = ground.settings
    needed = requirements(settings, access_entries=ground.access_entries)
    in_aws, keys = await asyncio.gather(
        preflight_aws.aws_findings(caller, needed, ground.aws), _key_findings(ground)
    )
    return in_aws + keys


async def _key_findings(ground: Ground) -> preflight_findings.Findings:
    if ground.settings.credentials.mode != "user":
        return preflight_findings.Findings()
    return await preflight_aws.key_findings(ground.names.principal, key_slots(ground), ground.aws)


def _aws_auth_plan(ground: Ground) -> preflight_cluster.AwsAuthPlan | None:
    """Return the entries of an update; any node role stands for one without a registration."""
    if ground.access_entries:
        return None
    settings, account = ground.settings, ground.settings.cluster.account_id
    node_role = naming.node_role(settings.cluster.name, naming.PLACEHOLDER_CLUSTER_ID)
    node_role_arn = arn.iam(ground.partition, account, f"role/{node_role}")
    planned: list[Entry] = [entries.role(node_role_arn, NODE_USERNAME, NODE_GROUPS)]
    if settings.credentials.mode == "user":
        name = ground.names.principal
        user_arn = arn.iam(ground.partition, account, f"user{settings.iam.path}{name}")
        planned.append(entries.user(user_arn, name, settings.access.user_groups))
    named = os.environ.get(OVERRIDE_VARIABLE, "").split(",")
    return preflight_cluster.AwsAuthPlan(
        tuple(planned),
        settings.access.adopt,
        frozenset([*settings.access.override_guards, *map(str.strip, named)]),
    )


def _release(settings: StackConfig) -> release.Release:
    return release.Release(
        cluster_name=settings.cluster.name,
        region=settings.cluster.region,
        account_id=settings.cluster.account_id,
        api_url=settings.api.url,
        settings=settings.agent,
        namespace=NAMESPACE,
    )
