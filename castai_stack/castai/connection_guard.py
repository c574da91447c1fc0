"""A guard against an unintended disconnect."""

from typing import Any, ClassVar

from castai_stack.castai.provider import CastaiHandler
from castai_stack.plugin.handler import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    Property,
    ReadResult,
    UpdateResult,
)

BY_HAND = "by-hand"
"""Stands for a mode where this stack does not register, and so hands nothing over."""


class ConnectionGuardHandler(CastaiHandler):
    """Refuses to drop a connection by a mere change of settings."""

    name = "ConnectionGuard"
    properties: ClassVar = {
        "mode": Property("string"),
        "allow_disconnect": Property("boolean", required=False, in_outputs=False),
    }

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Compare with the mode of the last run."""
        failures = []
        old, new = olds.get("mode", BY_HAND), news.get("mode")
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

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare the mode."""
        return DiffResult(changes=olds.get("mode") != news.get("mode"), replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Remember the mode."""
        return CreateResult("connection", {"mode": props["mode"]})

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Remember the new mode."""
        return UpdateResult({"mode": news["mode"]})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep what was remembered."""
        return ReadResult(id_, {"mode": props["mode"]})
