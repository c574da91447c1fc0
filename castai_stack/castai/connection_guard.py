"""A guard against an unintended disconnect."""

from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    UpdateResult,
)

from castai_stack.castai.provider import CastaiProvider

BY_HAND = "by-hand"
"""Stands for a mode where this stack does not register, and so hands nothing over."""


class ConnectionGuardProvider(CastaiProvider):
    """Refuses to drop a connection by a mere change of settings."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Compare with the mode of the last run."""
        failures = []
        old, new = _olds.get("mode", BY_HAND), news.get("mode")
        if new == BY_HAND:
            change, drops = "api.register went from true to false", old != BY_HAND
        else:
            change = f"credentials.mode went from {old} to none"
            drops = new == "none" and old not in ("none", BY_HAND)
        if drops and not news.get("allow_disconnect"):
            failures.append(
                CheckFailure(
                    "mode",
                    f"{change}, which disconnects the cluster from CAST AI; "
                    "set it back, or set api.allowDisconnect to true if that is what you want",
                )
            )
        return CheckResult(news, failures)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare the mode."""
        return DiffResult(changes=_olds.get("mode") != _news.get("mode"), replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Remember the mode."""
        return CreateResult("connection", {"mode": props["mode"]})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Remember the new mode."""
        return UpdateResult({"mode": _news["mode"]})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep what was remembered."""
        return ReadResult(id_, {"mode": props["mode"]})


class ConnectionGuard(Resource, module="castai", name="ConnectionGuard"):
    """Stands in every mode, before everything that a change of mode takes away."""

    mode: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        mode: str,
        allow_disconnect: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            ConnectionGuardProvider(),
            name,
            {"mode": mode, "allow_disconnect": allow_disconnect},
            opts,
        )
