"""Principals of `credentials.mode`: what each one creates, maps and hands over, in one place."""

from dataclasses import dataclass
from typing import Literal

ModeName = Literal["none", "user", "role"]


@dataclass(frozen=True, slots=True)
class Principal:
    """IAM principal that CAST AI uses, and what depends on its kind."""

    kind: Literal["user", "role"]
    restricted_policy: Literal["managed", "inline"]
    """Kind of the cluster-scoped policy: a user's inline policies would exceed IAM's quota."""
    has_keys: bool
    """Its access keys are created, rotated and handed over; otherwise its ARN is."""
    is_mapped: bool
    """It is mapped into the cluster."""
    trusts_castai: bool
    """CAST AI's own IAM user assumes it, so that this user's ARN must be known."""
    handed_over: str
    """Stack outputs to paste into CAST AI's console, and the command that shows them."""


PRINCIPALS: dict[ModeName, Principal | None] = {
    "none": None,
    "user": Principal(
        "user",
        restricted_policy="managed",
        has_keys=True,
        is_mapped=True,
        trusts_castai=False,
        handed_over="access_key_id and secret_access_key (`pulumi stack output --show-secrets`)",
    ),
    "role": Principal(
        "role",
        restricted_policy="inline",
        has_keys=False,
        is_mapped=False,
        trusts_castai=True,
        handed_over="role_arn (`pulumi stack output role_arn`)",
    ),
}
