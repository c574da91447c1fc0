"""Everything that is checked before anything is written: a wrong stack starts nothing."""

from dataclasses import dataclass

import pulumi


class PreflightFailed(pulumi.RunError):
    """The stack must not be applied as things are; the message lists every reason."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the checks found; `missing` are permissions, which a preview can do without."""

    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    inconclusive: tuple[str, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(
            self.problems + other.problems,
            self.missing + other.missing,
            self.inconclusive + other.inconclusive,
        )


def judge(findings: Findings, *, preview: bool) -> None:
    """Stop with every reason, or warn of what only an apply would need.

    Raises PreflightFailed when there is a problem, or a missing permission outside a preview.
    """
    for line in findings.inconclusive:
        pulumi.log.warn(f"Preflight: {line}")
    if preview and findings.missing:
        lines = "\n".join(f"  {line}" for line in findings.missing)
        pulumi.log.warn(f"This caller can preview but not apply; it is missing:\n{lines}")
    refused = findings.problems if preview else findings.problems + findings.missing
    if refused:
        lines = "\n".join(f"  {line}" for line in refused)
        raise PreflightFailed(f"Preflight failed, nothing was written:\n{lines}")
