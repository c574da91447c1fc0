"""The program's side of the plugin: its provider and the base of its resources."""

from collections.abc import Mapping
from typing import Any

import pulumi

from castai_stack.plugin import NAME
from castai_stack.plugin.run import DEFAULT_URL
from castai_stack.spelling import camel, snake


class CastaiProvider(pulumi.ProviderResource):
    """Settings of the plugin for one stack.

    The key is the one of the stack's configuration: a key from the environment reaches the plugin
    by the environment and stays out of the state.
    """

    def __init__(
        self,
        name: str,
        *,
        api_url: str = DEFAULT_URL,
        api_key: pulumi.Input[str] | None = None,
        kubeconfig: pulumi.Input[str] = "ambient",
        context: str | None = None,
        override_guards: str = "",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            NAME,
            name,
            {
                "apiUrl": api_url,
                "apiKey": None if api_key is None else pulumi.Output.secret(api_key),
                "kubeconfig": kubeconfig,
                "context": context,
                "overrideGuards": override_guards or None,
            },
            opts,
        )


class PluginResource(pulumi.CustomResource):
    """A resource of the plugin; properties are camelCase in the state and snake_case here."""

    def __init__(
        self,
        name: str,
        properties: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register the resource; a property of None is an output that its type computes."""
        super().__init__(f"{NAME}:index:{type(self).__name__}", name, dict(properties), opts)

    def translate_input_property(self, prop: str) -> str:
        """Return the property of an attribute; keys below it have no underscore."""
        return camel(prop)

    def translate_output_property(self, prop: str) -> str:
        """Return the attribute of a property."""
        return snake(prop)
