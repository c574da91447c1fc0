"""One run of the program: settings, AWS's facts, checks, and the composition of all parts.

What only the later ones need is imported while AWS answers the first question, which starts the
AWS plugin and takes 0.4 s.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING

import pulumi

from castai_stack import naming
from castai_stack.config import program
from castai_stack.config.model import StackConfig
from castai_stack.preflight.findings import Findings, judge
from castai_stack.preflight.lookups import Caller, look_up
from castai_stack.stack.process import keep_later_imports
from castai_stack.stack.providers import aws_provider

if TYPE_CHECKING:
    from castai_stack.stack.context import Context


async def deploy() -> pulumi.Inputs:
    """Check everything, compose everything, and return the stack's outputs.

    Raises ConfigError, AwsLookupError or PreflightError before any resource but the providers.
    """
    stack = pulumi.Config()
    settings = program.load(stack)
    for line in program.unread_settings(stack):
        pulumi.log.warn(line)
    api_key = program.api_key(stack)
    context, caller = await _context(settings, stack.get_secret(program.API_KEY))
    from castai_stack.stack import checks, composition  # noqa: PLC0415 - see the module's docstring

    preview = pulumi.runtime.is_dry_run()
    async with _running(checks.apply_checks(context, caller)) as for_apply:
        in_cluster, network, findings = await checks.required_checks(context, caller, api_key)
        context = replace(
            context,
            existing=in_cluster.existing,
            namespace_uid=in_cluster.namespace_uid,
            network=network,
        )
        outputs = None
        if preview and not findings.problems:
            # The other checks only warn here, so that composing need not wait for them.
            outputs = composition.compose(context, _secret(api_key))
        _judge(findings + await for_apply, settings, preview=preview)
    return composition.compose(context, _secret(api_key)) if outputs is None else outputs


@contextlib.asynccontextmanager
async def _running(
    coroutine: Coroutine[None, None, Findings],
) -> AsyncIterator[asyncio.Task[Findings]]:
    """Run a coroutine beside the block and leave no task behind if the block raises.

    A TaskGroup would wrap the block's RunError, which Pulumi then shows as a traceback.
    """
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        await asyncio.wait({task})
        task.exception()  # Otherwise asyncio logs it when the block has failed, too.


def _judge(findings: Findings, settings: StackConfig, *, preview: bool) -> None:
    judge(findings, preview=preview, missing_permissions=settings.preflight.missing_permissions)


def _secret(api_key: str | None) -> pulumi.Output[str]:
    """Return the API key as a secret, or an unknown secret, which a preview can show."""
    if api_key is not None:
        return pulumi.Output.secret(api_key)
    loop = asyncio.get_running_loop()
    value: asyncio.Future[str] = loop.create_future()
    known, secret = loop.create_future(), loop.create_future()
    value.set_result("")
    known.set_result(False)
    secret.set_result(True)
    return pulumi.Output(set(), value, known, secret)


async def _context(
    settings: StackConfig, configured_key: pulumi.Output[str] | None
) -> "tuple[Context, Caller]":
    cluster = settings.cluster
    for name in naming.shortened(cluster.name, settings.names, cluster.region):
        pulumi.log.warn(f"The cluster's name is too long for {name}: a hash ends it")
    provider = aws_provider(cluster)
    (caller, facts), _ = await asyncio.gather(
        look_up(cluster, provider), asyncio.to_thread(load_later_modules)
    )
    from castai_stack.stack.context import context_of  # noqa: PLC0415 - see the module's docstring

    return context_of(settings, facts, provider, configured_key), caller


def load_later_modules() -> None:
    """Import checks, composition, and the clients of the cluster and of CAST AI."""
    from castai_stack.castai import automation_api  # noqa: F401, PLC0415
    from castai_stack.kube import connection  # noqa: PLC0415
    from castai_stack.stack import checks, composition  # noqa: F401, PLC0415

    connection.load()
    keep_later_imports()
