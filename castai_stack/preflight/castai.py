"""Checks against CAST AI's API before anything is written."""

import asyncio

import pulumi

from castai_stack.castai.client import CastaiApi
from castai_stack.castai.model import CastaiError
from castai_stack.config.model import StackConfig
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import first_line


async def castai_findings(settings: StackConfig, key: pulumi.Output[str]) -> Findings:
    """Ask CAST AI whether it knows the key; without registration the key is the agent's alone."""
    if not settings.api.register_cluster:
        return Findings()
    api = CastaiApi(settings.api.url, await key.future() or "")
    try:
        await asyncio.to_thread(api.check_key)
    except CastaiError as error:
        return Findings(problems=(first_line(error),))
    return Findings()
