"""Findings of the checks before the first write, and the decision on them."""

from dataclasses import dataclass
from typing import Literal

import pulumi


class PreflightError(pulumi.RunError):
    """The stack must not be applied; the message lists every reason."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Results of the checks; each entry is one sentence without a final period."""

    problems: tuple[str, ...] = ()
    """Stop everything."""
    obstacles: tuple[str, ...] = ()
    """Stop an apply; a preview warns of them."""
    missing: tuple[str, ...] = ()
    """Permissions that a policy denies. They stop an apply, unless the settings say otherwise."""
    inconclusive: tuple[str, ...] = ()
    """Unchecked parts; they only warn."""

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(
            self.problems + other.problems,
            self.obstacles + other.obstacles,
            self.missing + other.missing,
            self.inconclusive + other.inconclusive,
        )


_OVERRIDE = (
    "If a permission listed above is there nevertheless, go on with "
    "`pulumi config set --path castai.preflight.missingPermissions warn`"
)


def judge(
    findings: Findings, *, preview: bool, missing_permissions: Literal["refuse", "warn"] = "refuse"
) -> None:
    """Warn of everything that does not stop this run.

    Raises PreflightError with every reason: problems always, obstacles and missing permissions
    outside a preview.
    """
    for line in findings.inconclusive:
        pulumi.log.warn(f"Preflight: {line}")
    tolerated = preview or missing_permissions == "warn"
    if preview and findings.obstacles:
        pulumi.log.warn(f"An apply would stop at:\n{_listed(findings.obstacles)}")
    if tolerated and findings.missing:
        what = "can preview but not apply; it is missing" if preview else "is missing"
        pulumi.log.warn(f"This caller {what}:\n{_listed(findings.missing)}")
    refused = findings.problems
    if not preview:
        refused += findings.obstacles
    if not tolerated:
        refused += findings.missing
    if refused:
        override = f"\n{_OVERRIDE}" if findings.missing and not tolerated else ""
        raise PreflightError(
            f"Preflight failed, nothing was written:\n{_listed(refused)}{override}"
        )


def _listed(lines: tuple[str, ...]) -> str:
    return "\n".join(f"  {line}" for line in lines)
