"""Existing installations of the workloads that act in the cluster: refused, or taken over."""

from collections.abc import Sequence

from castai_stack.agent.adoption import ExistingObject, fixed_selector, installer
from castai_stack.agent.names import INSTANCE_LABEL, MANAGED_BY_LABEL
from castai_stack.automation.names import EVICTOR_AUTOSCALER, INSTANCES
from castai_stack.automation.release import Release


def refusal(objects: Sequence[ExistingObject], release: Release) -> str | None:
    """Return why existing objects prevent an update and the remedy; None if nothing does."""
    foreign = [one for one in objects if not one.of_this_program]
    if not foreign:
        return None
    if release.settings.adopt:
        return fixed_selector(foreign, "automation.adopt", release.namespace)
    # The chart gives the evictor's autoscaler its own name as the instance, which is no release.
    releases = sorted(
        {one.labels[INSTANCE_LABEL] for one in foreign if _of_helm(one)}
        - {INSTANCES[EVICTOR_AUTOSCALER]}
    )
    how = f" (helm uninstall {' '.join(releases)} -n {release.namespace})" if releases else ""
    return (
        f"automation: objects that {installer(foreign)} installed are in the cluster "
        f"({', '.join(map(str, foreign))}); set automation.adopt to true to take these objects "
        f"over in place, or remove them first{how}"
    )


def _of_helm(one: ExistingObject) -> bool:
    return INSTANCE_LABEL in one.labels and one.labels.get(MANAGED_BY_LABEL) == "Helm"
