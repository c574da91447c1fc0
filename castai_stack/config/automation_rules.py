"""Rules between the settings of the automation and the others; each problem is one line."""

from collections.abc import Collection, Iterator

from castai_stack.automation.settings import NodeTemplate
from castai_stack.config.model import StackConfig


def automation_problems(settings: StackConfig, reserved: tuple[str, ...]) -> Iterator[str]:
    """Yield what disagrees; `reserved` are prefixes that no tag may have."""
    yield from _switches(settings)
    if settings.sets_nodes:
        yield from _nodes(settings)
    for tag in settings.automation.nodes.tags:
        if tag.lower().startswith(reserved):
            yield (
                f"automation.nodes.tags.{tag}: the prefix is reserved; "
                f"allowed: keys that begin with none of {', '.join(reserved)}"
            )
    yield from _template(settings.automation.autoscaler.node_template, settings.cluster.region)


def _switches(settings: StackConfig) -> Iterator[str]:
    """Yield a part that is on while another one is off that it cannot do without."""
    on = [
        key
        for key, enabled in (
            ("automation.autoscaler.enabled", settings.automation.autoscaler.enabled),
            ("automation.evictor.enabled", settings.automation.evictor.enabled),
        )
        if enabled
    ]
    for key in on:
        if settings.principal is None:
            yield (
                f"{key}: found true while credentials.mode is none, which gives CAST AI no access; "
                "set credentials.mode to role or user, or this to false"
            )
        elif not settings.api.register_cluster:
            yield (
                f"{key}: found true while api.register is false, where CAST AI's API is never "
                "called; set it to false and use CAST AI's console"
            )
        elif not settings.automation.controller.enabled:
            yield (
                f"{key}: found true while automation.controller.enabled is false, without which "
                "CAST AI does nothing in the cluster; set that to true, or this to false"
            )


def _nodes(settings: StackConfig) -> Iterator[str]:
    nodes, iam = settings.automation.nodes, settings.iam
    if nodes.kms_key_arn is not None and nodes.kms_key_arn not in iam.kms_key_arns:
        yield (
            f"automation.nodes.kmsKeyArn: found {nodes.kms_key_arn}, which is not in "
            "iam.kmsKeyArns, so that CAST AI may not use it; add it there"
        )
    if settings.permissions != "scoped":
        return
    for kind, chosen, allowed in (
        ("subnetIds", nodes.subnet_ids, iam.subnet_ids),
        ("securityGroupIds", nodes.security_group_ids, iam.security_group_ids),
    ):
        if outside := _outside(chosen, allowed):
            yield (
                f"automation.nodes.{kind}: found {', '.join(outside)}, which iam.{kind} does not "
                "list, so that AWS would refuse every launch there; add it there or remove it here"
            )


def _outside(chosen: Collection[str], allowed: Collection[str]) -> list[str]:
    return sorted(set(chosen) - set(allowed)) if allowed else []


def _template(template: NodeTemplate, region: str) -> Iterator[str]:
    key = "automation.autoscaler.nodeTemplate"
    if not (template.spot or template.on_demand):
        yield f"{key}: found spot and onDemand false; allowed: at least one of them true"
    for name, least, most in (
        ("Cpu", template.min_cpu, template.max_cpu),
        ("MemoryMib", template.min_memory_mib, template.max_memory_mib),
    ):
        if least is not None and most is not None and most < least:
            yield f"{key}.max{name}: found {most}; allowed: no less than {key}.min{name} ({least})"
    if both := sorted({*template.include_families} & {*template.exclude_families}):
        yield f"{key}.excludeFamilies: found {', '.join(both)}, which includeFamilies has as well"
    for zone in template.zones:
        if zone[:-1] != region:
            yield f"{key}.zones: found {zone}; allowed: zones of {region}, the cluster's region"
