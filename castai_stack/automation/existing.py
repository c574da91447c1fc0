"""Existing installations of the workloads that act in the cluster: refused, or taken over."""

from collections.abc import Sequence

from castai_stack.agent.adoption import ExistingObject, fixed_selector, installer
from castai_stack.automation.names import INSTANCES
from castai_stack.automation.release import Release


def refusal(objects: Sequence[ExistingObject], release: Release) -> str | None:
    """Return why existing objects prevent an update and the remedy; None if nothing does."""
    foreign = [one for one in objects if not one.of_this_program]
    if not foreign:
        return None
    if release.settings.adopt:
        return fixed_selector(foreign, "automation.adopt", release.namespace)
    releases = ", ".join(sorted(set(INSTANCES.values())))
    return (
        f"automation: objects that {installer(foreign)} installed are in the cluster "
        f"({', '.join(map(str, foreign))}); set automation.adopt to true to take these objects "
        f"over in place, or remove their Helm releases first ({releases}, or castai for all)"
    )
