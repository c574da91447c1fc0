"""The report as one Markdown document of bounded length."""

from collections.abc import Sequence
from dataclasses import dataclass

from castai_stack.config.model import StackConfig
from castai_stack.permissions import actors
from castai_stack.permissions import report as permission_report
from castai_stack.report import sections
from castai_stack.report.plan import OPERATIONS, Plan
from castai_stack.report.sections import Section, Sides

LIMIT = 65_000
"""Characters of a report; a comment on GitHub holds 65,536."""
_RESERVE = 200
"""Characters that the sentence about lines that were cut takes at most."""
_COUNTED = {
    "create": "to create",
    "update": "to change",
    "replace": "to replace",
    "delete": "to delete",
}


@dataclass(frozen=True, slots=True)
class Input:
    """What the report is made from."""

    stack: str
    path: str
    """Name of the stack file, for commands that the report shows."""
    new: StackConfig | None
    """None where the settings are refused."""
    old: StackConfig | None
    compared: bool
    plan: Plan | None
    refusals: tuple[str, ...] = ()
    """Problems of the new settings."""
    unseen: tuple[str, ...] = ()
    """Sentences on what the report could not see."""


def marker(stack: str) -> str:
    """Return the first line, by which a workflow finds its own comment of a stack."""
    return f"<!-- castai-eks report: {stack} -->"


def markdown(given: Input, limit: int = LIMIT) -> str:
    """Return the report; the same input gives the same text."""
    parts = [sections.stops(given.plan, given.refusals)]
    if given.plan is not None:
        parts.append(sections.changes(given.plan))
    if given.new is not None:
        sides = Sides(given.path, given.new, given.old, given.compared)
        parts += [
            sections.permissions(sides),
            sections.cluster(sides),
            sections.operator(sides),
        ]
    parts.append(Section("Not seen", tuple(f"- {text}" for text in _unseen(given))))
    parts = [part for part in parts if part.items]
    paragraphs = [f"{marker(given.stack)}\n## CAST AI: stack `{given.stack}`", *_head(given)]
    head = "\n\n".join(paragraphs) + "\n"
    return head + _rendered(parts, limit - len(head))


def _head(given: Input) -> list[str]:
    paragraphs = []
    if given.new is not None:
        paragraphs.append(permission_report.summary(actors.effective_permissions(given.new)))
    if given.old is not None:
        before = permission_report.summary(actors.effective_permissions(given.old))
        paragraphs += [] if before in paragraphs else [f"Before: {before}"]
    if given.plan is not None and given.plan.errors:
        paragraphs.append("**Plan**: unknown, since the preview failed.")
    elif given.plan is not None:
        counts = [
            f"{number} {_COUNTED[operation]}"
            for operation in reversed(OPERATIONS)
            if (number := given.plan.count(operation))
        ]
        counts.append(f"{given.plan.unchanged} unchanged")
        paragraphs.append(f"**Plan**: {', '.join(counts)}.")
    return paragraphs


def _unseen(given: Input) -> list[str]:
    lines = list(given.unseen)
    if given.plan is None:
        lines.append("The plan: objects, replacements and drift. This takes a preview.")
    else:
        lines += given.plan.unchecked
        if given.plan.errors:
            lines.append("The rest of the plan: the preview ended before its end.")
        if number := len(given.plan.missing):
            lines.append(
                f"Whether an apply is allowed everything: the preview's caller lacks {number} "
                "groups of permissions, as a reader does."
            )
        if any("apiKey is not set" in line for line in given.plan.obstacles):
            lines.append(
                "What CAST AI says: the preview had no API key. The plan rests on the state."
            )
    if given.new is not None:
        lines += _unknown(given.new)
    return lines


def _unknown(settings: StackConfig) -> list[str]:
    unknown = []
    if settings.cluster.vpc_id is None:
        unknown.append("the VPC (`cluster.vpcId`)")
    if settings.api.cluster_id is None:
        unknown.append("CAST AI's id of the cluster")
    if settings.access.mode == "auto" and settings.cluster.authentication_mode is None:
        unknown.append(
            "the cluster's authentication mode (`cluster.authenticationMode`), so that the "
            "operator's permissions are those for both mappings"
        )
    if not unknown:
        return []
    return [f"What the stack file does not say: {', '.join(unknown)}."]


def _rendered(parts: Sequence[Section], limit: int) -> str:
    """Return all sections; the later ones are cut first where they exceed the limit."""
    frames = [len(_text(part, ())) + _RESERVE for part in parts]
    text = ""
    for number, part in enumerate(parts):
        room = limit - len(text) - sum(frames[number:])
        text += _text(part, _fitting(part, room))
    return text


def _fitting(part: Section, room: int) -> tuple[str, ...]:
    size, fitting = 0, []
    for item in part.items:
        size += len(item) + 1
        if size > room:
            rest = len(part.items) - len(fitting)
            where = f"; {part.more} shows them" if part.more else ""
            return (*fitting, "", f"{rest} more lines do not fit here{where}.")
        fitting.append(item)
    return tuple(fitting)


def _text(part: Section, items: Sequence[str]) -> str:
    lines = ["", f"### {part.title}", "", *part.before, *items, *part.after]
    return "\n".join(lines) + "\n"
