"""Components for programs in other languages; the plugin imports this when one is asked for."""

import asyncio
import functools
import json
import threading
from typing import Any

import pulumi
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.server import ComponentInitError, ProviderServicer

from castai_stack.components.access import AwsAuthMapping
from castai_stack.components.agent import AgentComponent
from castai_stack.components.arguments import EngineArguments
from castai_stack.components.automation import AutomationComponent
from castai_stack.components.castai_cluster import CastaiCluster
from castai_stack.components.eks_cluster import CLAIMS, Claims
from castai_stack.components.iam import CastIamComponent
from castai_stack.components.spot import SpotLambdaComponent
from castai_stack.plugin import NAME, SAME_VERSION, VERSION
from castai_stack.plugin.run import ResourceError

COMPONENTS: tuple[type[pulumi.ComponentResource], ...] = (
    AgentComponent,
    AutomationComponent,
    AwsAuthMapping,
    CastIamComponent,
    CastaiCluster,
    SpotLambdaComponent,
)
"""Every component of the plugin."""


class _Provider(ComponentProvider):
    """The SDK's provider of components, whose arguments our settings check instead."""

    def map_inputs(self, inputs: pulumi.Inputs, component_def: Any) -> pulumi.Inputs:
        """Hand the arguments on as they are; the SDK would drop those that it does not know."""
        del component_def
        return EngineArguments(inputs)

    def construct(self, *args: Any, **options: Any) -> Any:
        """Create a component; its own errors keep their sentence."""
        try:
            return super().construct(*args, **options)
        except ComponentInitError as error:
            raise error.inner from None


@functools.cache
def _provider() -> _Provider:
    return _Provider(list(COMPONENTS), NAME, None, VERSION)


def schema() -> str:
    """Return the components' part of the package's schema, as the SDK's analyzer infers it."""
    return json.dumps(json.loads(_provider().schema or "{}"), indent=1) + "\n"


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the loop of all components, which runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


@functools.cache
def _claims(monitor: str) -> Claims:
    """Return the components of one run of the engine."""
    del monitor
    return {}


def construct(request: Any, engine: str) -> Any:
    """Create the component of a ConstructRequest and return the response.

    Raises ArgumentError with every wrong argument, and ResourceError for an unknown component.
    """
    known = sorted(component.__name__ for component in COMPONENTS)
    if request.type not in {f"{NAME}:index:{name}" for name in known}:
        raise ResourceError(
            f"{request.type} is no component of the plugin {NAME} {VERSION}, which has "
            f"{', '.join(known)}; {SAME_VERSION}"
        )
    return asyncio.run_coroutine_threadsafe(_constructed(request, engine), _loop()).result()


async def _constructed(request: Any, engine: str) -> Any:
    CLAIMS.set(_claims(request.monitorEndpoint))
    return await ProviderServicer(_provider(), [], engine).Construct(request, None)
