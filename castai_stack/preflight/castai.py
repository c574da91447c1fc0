"""Checks against CAST AI's API before anything is written.

The client takes 0.15 s to import. It is imported where it is used, because the program can do that
while AWS answers.
"""

import asyncio
from typing import TYPE_CHECKING

from castai_stack.castai.autoscaler_policies import v1_refusal
from castai_stack.castai.model import CastaiError
from castai_stack.config.model import Cluster, StackConfig
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import first_line

if TYPE_CHECKING:
    from castai_stack.castai.automation_api import AutomationApi


def needs_key(settings: StackConfig) -> bool:
    """Return True if an apply uses CAST AI's API key at all.

    With registration the resources call the API. Without it the key goes to the Spot function and
    to the agent's secret, whose absence decides about that of the automation as well.
    """
    api_key_of_agent = settings.agent.existing_secret is None
    function = settings.principal is not None and settings.spot.by_lambda
    return settings.api.register_cluster or api_key_of_agent or function


async def castai_findings(settings: StackConfig, api_key: str | None) -> Findings:
    """Ask CAST AI whether it accepts the key; without registration it is never called.

    Where policies are to be written, ask also whether those of V1 are on.
    """
    if not settings.api.register_cluster or api_key is None:
        return Findings()
    from castai_stack.castai.automation_api import AutomationApi  # noqa: PLC0415 - see above

    try:
        api = AutomationApi(settings.api.url, api_key)
        await asyncio.to_thread(api.check_key)
        if not settings.autoscales:
            return Findings()
        return Findings(problems=await asyncio.to_thread(_v1_refusals, settings.cluster, api))
    except CastaiError as error:
        return Findings(problems=(first_line(error),))


def _v1_refusals(cluster: Cluster, api: "AutomationApi") -> tuple[str, ...]:
    known = [
        one.id
        for one in api.list_clusters()
        if one.is_at(cluster.name, cluster.region, cluster.account_id) and not one.archived
    ]
    return tuple(
        v1_refusal(cluster_id)
        for cluster_id in known
        if (api.policies_v1(cluster_id) or {}).get("enabled")
    )
