"""Sections of the report: from two sides' settings and a plan to lines of Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from castai_stack.access.modes import mappings
from castai_stack.config.model import StackConfig
from castai_stack.permissions import actors, cluster_rights, differences
from castai_stack.permissions import report as permission_report
from castai_stack.permissions.actors import EffectivePermissions
from castai_stack.permissions.grants import Grant, Reach
from castai_stack.permissions.operator import requirements
from castai_stack.permissions.operator_kubernetes import kubernetes_requirements
from castai_stack.report import cluster_words
from castai_stack.report.interruptions import interruptions
from castai_stack.report.plan import OPERATIONS, PARTS, Plan

_REACHES: dict[Reach, str] = {
    "beyond": "**anywhere in the account**",
    "its VPC": "within its VPC, resources of other clusters included",
    "this cluster": "within this cluster",
    "reads": "reading",
}
_OPERATION_WORDS = {
    "create": "create",
    "update": "change",
    "replace": "**replace**",
    "delete": "**delete**",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its lines; only `items` may be cut where the report is too long."""

    title: str
    items: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    more: str = ""
    """Where the reader sees the items that were cut."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Settings after and before the change; None before a new stack, or where unknown."""

    path: str
    """Name of the stack file, for commands that the report shows."""
    new: StackConfig
    old: StackConfig | None
    compared: bool
    """False if the side before the change was not given or could not be read."""


def stops(plan: Plan | None, refusals: Sequence[str]) -> Section:
    """Return what stops the change, and what stops working while it is carried out."""
    items = [f"- **Refused**:{_fenced(text)}" for text in refusals]
    if plan is not None:
        items += [f"- **The preview failed**:{_fenced(text)}" for text in plan.errors]
        items += [f"- An apply would stop at:{_fenced(text)}" for text in plan.obstacles]
        items += [
            f"- {what}" + (f": {consequence}" if consequence else "")
            for what, consequence in interruptions(plan.changes)
        ]
        items += [f"- Warning:{_fenced(text)}" for text in plan.warnings]
    if not items and plan is not None:
        items = ["Nothing is replaced, and nothing that is in use is deleted."]
    return Section("Stops and interruptions", tuple(items), more="`pulumi preview --diff`")


def changes(plan: Plan) -> Section:
    """Return a table of counts by part, and the objects in a block that is folded."""
    if not plan.changes:
        known = "Unknown, since the preview failed." if plan.errors else "No object changes."
        return Section("Changes by part", (known,))
    table = ["| part | " + " | ".join(OPERATIONS) + " |", "| --- |" + " ---: |" * len(OPERATIONS)]
    for part in PARTS:
        counts = [
            sum(c.part == part and c.operation == operation for c in plan.changes)
            for operation in OPERATIONS
        ]
        if any(counts):
            table.append(f"| {part} | " + " | ".join(str(n) if n else "" for n in counts) + " |")
    items = []
    for change in plan.changes:
        properties = ", ".join(f"`{name}`" for name in change.properties)
        detail = f": {properties}" if properties else ""
        operation = _OPERATION_WORDS[change.operation]
        items.append(f"- {change.part}: {operation} {change.kind} `{change.name}`{detail}")
    return Section(
        "Changes by part",
        tuple(items),
        before=(*table, "", "<details><summary>Every object</summary>", ""),
        after=("", "</details>"),
        more="`pulumi preview --diff`",
    )


def permissions(sides: Sides) -> Section:
    """Return what CAST AI, nodes and the Spot function gain and lose in AWS."""
    new = actors.effective_permissions(sides.new)
    title, more = "Permissions in AWS", f"`castai-eks permissions {sides.path}`"
    items = [f"- **Too large**: {problem}" for problem in new.problems]
    if not sides.compared:
        return Section(title, (*items, *_standing(new)), more=more)
    old = actors.effective_permissions(sides.old) if sides.old is not None else None
    before = old or EffectivePermissions(
        settings=sides.new,
        cluster_id=new.cluster_id,
        vpc_id=new.vpc_id,
        actors=(),
        documents=(),
        problems=(),
        notes=(),
    )
    for difference in differences.differences(before, new):
        lead = f"- **{difference.title}**:"
        items += [f"{lead} gains {text}" for text in _grant_words(new, difference.gains)]
        items += [f"{lead} loses {text}" for text in _grant_words(before, difference.loses)]
        items += [f"{lead} is limited by {limit}" for limit in difference.limits_added]
        items += [
            f"{lead} **is no longer limited** by {limit}" for limit in difference.limits_removed
        ]
    items = items or ["Nobody gains or loses anything."]
    items += [f"- {note}" for note in new.notes if note not in before.notes]
    return Section(title, tuple(items), more=more)


def _standing(permissions_: EffectivePermissions) -> Iterator[str]:
    for actor in permissions_.actors:
        words = permission_report.nothing_beyond(actor) or "Changes reach the whole account."
        yield f"- **{actor.title}** (`{actor.arn}`): {words}"
    yield from (f"- {note}" for note in permissions_.notes)


def _grant_words(permissions_: EffectivePermissions, grants: Iterable[Grant]) -> Iterator[str]:
    by_reach: dict[Reach, list[Grant]] = {}
    for grant in grants:
        by_reach.setdefault(grant.reach, []).append(grant)
    for reach, words in _REACHES.items():
        for row in permission_report.rows(permissions_, by_reach.get(reach, ())):
            listed = ", ".join(f"`{action}`" for action in row.actions)
            where = ", ".join(one if one == "everything" else f"`{one}`" for one in row.resources)
            condition = f" if {row.condition}" if row.condition else ""
            yield f"{words}: {listed} on {where}{condition}"


def cluster(sides: Sides) -> Section:
    """Return what changes inside the cluster, and what each of CAST AI's programs may do there."""
    new = cluster_rights.rights(sides.new)
    items: list[str] = []
    if sides.compared:
        old = cluster_rights.rights(sides.old) if sides.old is not None else ()
        gains = cluster_rights.beyond(new, old)
        loses = cluster_rights.beyond(old, new)
        items += [f"- {text}" for text in cluster_words.sentences(gains, "gains")]
        items += [f"- {text}" for text in cluster_words.sentences(loses, "loses")]
        items = items or ["Nobody gains or loses anything."]
        items += ["", "After the change:", ""]
    items += [f"- {text}" for text in cluster_words.sentences(new)]
    return Section(
        "Rights in the cluster", tuple(items), more="`kubectl auth can-i --list --as SUBJECT`"
    )


def operator(sides: Sides) -> Section:
    """Return the permissions that `pulumi up` needs after the change, and did not need before."""
    title = "Permissions that the operator newly needs"
    command = f"`castai-eks operator-permissions {sides.path}`, also with `--kubernetes`"
    if not sides.compared:
        return Section(title, (f"Unknown without the stack file of before. All: {command}.",))
    if sides.old is None:
        return Section(title, (f"All of them, since the stack is new: {command}.",))
    items = [f"- AWS: {text}" for text in _aws_needs(sides.old, sides.new)]
    items += [f"- Kubernetes: {text}" for text in _kubernetes_needs(sides.old, sides.new)]
    return Section(title, tuple(items) or ("None.",), more=command)


def _aws_needs(old: StackConfig, new: StackConfig) -> Iterator[str]:
    def needed(settings: StackConfig) -> dict[tuple[str, str, tuple[tuple[str, str], ...]], None]:
        entries = "access-entries" in _mapped_by(settings)
        return {
            (action, resource, one.conditions): None
            for one in requirements(settings, access_entries=entries)
            for action in one.actions
            for resource in one.resources
        }

    before = needed(old)
    actions: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    for action, resource, conditions in needed(new):
        if (action, resource, conditions) not in before:
            actions.setdefault((resource, conditions), []).append(action)
    resources: dict[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], list[str]] = {}
    for (resource, conditions), group in actions.items():
        resources.setdefault((tuple(group), conditions), []).append(resource)
    for (group, conditions), where in resources.items():
        listed = ", ".join(f"`{action}`" for action in sorted(group))
        named = ", ".join(f"`{resource}`" for resource in where)
        tags = " and ".join(f"`{key}` is `{value}`" for key, value in conditions)
        yield f"{listed} on {named}" + (f" if {tags}" if tags else "")


def _kubernetes_needs(old: StackConfig, new: StackConfig) -> Iterator[str]:
    def needed(settings: StackConfig) -> dict[tuple[str, str, str, str, str], None]:
        aws_auth = "aws-auth" in _mapped_by(settings)
        return {
            (one.namespace, one.group, one.resource, one.name, verb): None
            for one in kubernetes_requirements(settings, aws_auth=aws_auth)
            for verb in one.verbs
        }

    before = needed(old)
    verbs: dict[tuple[str, ...], list[str]] = {}
    for *place, verb in needed(new):
        if (*place, verb) not in before:
            verbs.setdefault(tuple(place), []).append(verb)
    for (namespace, group, resource, name), listed in verbs.items():
        kind = f"{resource}.{group}" if group else resource
        qualifier = f" named `{name}`" if name else ""
        where = f" in `{namespace}`" if namespace else ""
        yield f"{', '.join(f'`{verb}`' for verb in listed)} on `{kind}`{qualifier}{where}"


def _mapped_by(settings: StackConfig) -> frozenset[str]:
    return mappings(settings.access.mode, settings.cluster.authentication_mode)


def _fenced(text: str) -> str:
    """Return foreign text so that no part of it is Markdown, mentions and markup included."""
    longest = max((len(run) for run in _backticks(text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join(f"  {line}".rstrip() for line in text.splitlines())
    return f"\n\n  {fence}text\n{lines}\n  {fence}"


def _backticks(text: str) -> Iterator[str]:
    run = ""
    for character in f"{text} ":
        if character == "`":
            run += character
        elif run:
            yield run
            run = ""
