"""Checks against CAST AI's API before anything is written."""

import asyncio

from castai_stack.castai.client import CastaiApi
from castai_stack.castai.model import CastaiError
from castai_stack.config.model import StackConfig
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import first_line


def needs_key(settings: StackConfig) -> bool:
    """Return True if an apply uses CAST AI's API key at all.

    With registration the resources call the API. Without it the key goes to the agent's secret, to
    that of the automation and to the Spot function.
    """
    secrets = [settings.agent.existing_secret]
    if settings.has_workloads:
        secrets.append(settings.automation.existing_secret)
    function = settings.principal is not None and settings.spot.by_lambda
    return settings.api.register_cluster or None in secrets or function


async def castai_findings(settings: StackConfig, api_key: str | None) -> Findings:
    """Ask CAST AI whether it accepts the key; without registration it is never called."""
    if not settings.api.register_cluster or api_key is None:
        return Findings()
    try:
        api = CastaiApi(settings.api.url, api_key)
        await asyncio.to_thread(api.check_key)
    except CastaiError as error:
        return Findings(problems=(first_line(error),))
    return Findings()
