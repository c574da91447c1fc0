"""Settings, log and cancellation of one run of the engine, for every resource."""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from castai_stack.plugin.waiting import Wait

DEFAULT_URL = "https://api.cast.ai"

Severity = Literal["info", "warning"]


class ResourceError(Exception):
    """An operation on a resource cannot succeed; the text is a sentence without a secret."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Inputs of the provider.

    They belong to the run and to no resource. A refresh or destroy without the program takes them
    from the state, so the environment comes first where a value there may have expired.
    """

    api_url: str = DEFAULT_URL
    api_key: str = field(default="", repr=False)
    kubeconfig: str = "ambient"
    context: str | None = None
    override_guards: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, inputs: Mapping[str, Any], environment: Mapping[str, str] = os.environ
    ) -> "Settings":
        """Read the provider's inputs; CASTAI_API_URL and CASTAI_API_KEY come first."""
        return cls(
            api_url=environment.get("CASTAI_API_URL") or inputs.get("api_url") or DEFAULT_URL,
            api_key=environment.get("CASTAI_API_KEY") or inputs.get("api_key") or "",
            kubeconfig=inputs.get("kubeconfig") or "ambient",
            context=inputs.get("context"),
            override_guards=tuple(filter(None, inputs.get("override_guards", "").split(","))),
        )


@dataclass(frozen=True, slots=True)
class Run:
    """Settings, log and cancellation as one call sees them."""

    settings: Settings
    log: Callable[[Severity, str], None]
    """Shows a line beside the resource that the call is about, in previews as well."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the engine cancels: waits end, and nothing new begins."""

    def info(self, text: str) -> None:
        """Show a line."""
        self.log("info", text)

    def warn(self, text: str) -> None:
        """Show a warning."""
        self.log("warning", text)

    def wait(self, purpose: str, seconds: float) -> Wait:
        """Begin a wait of at most `seconds`, which ends with ResourceError on a cancellation."""

        def stop() -> None:
            raise ResourceError(
                f"The wait for {purpose} was cancelled; run the same command again."
            )

        return Wait(purpose, seconds, self.info, self.stopping, stop)
