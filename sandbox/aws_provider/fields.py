"""Input properties that many resource types share, and what AWS wants done with them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sandbox.aws_provider import rules
from sandbox.aws_provider.resource import Field, Properties

REGION = {"region": Field(replaces=True, computed=True)}
TAGS = {"tags": Field(), "tagsAll": Field()}
IAM_CHARACTERS = r"\w+=,.@-"
IAM_PATH = Field(
    replaces=True, default="/", rule=rules.matching(r"/([!-~]+/)*", "a path: / or /a/")
)


def tag_list(inputs: Properties) -> list[dict[str, str]]:
    """Tags of a new object as most services take them."""
    return [{"Key": key, "Value": value} for key, value in inputs.get("tagsAll", {}).items()]


def tag_map(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """Tags as most services answer them."""
    return {tag["Key"]: tag["Value"] for tag in tags or []}


def tag_changes(old: Properties, new: Properties) -> tuple[dict[str, str], list[str]]:
    """Tags to set, and keys of those to take away."""
    was, wanted = old.get("tagsAll") or {}, new.get("tagsAll") or {}
    changed = {key: value for key, value in wanted.items() if was.get(key) != value}
    return changed, [key for key in was if key not in wanted]


def change_tags(
    old: Properties,
    new: Properties,
    tag: Callable[..., Any],
    untag: Callable[..., Any],
    **target: Any,
) -> None:
    """Set and remove tags by the calls of a service that takes lists and `TagKeys`."""
    changed, gone = tag_changes(old, new)
    if gone:
        untag(**target, TagKeys=gone)
    if changed:
        tag(**target, Tags=[{"Key": key, "Value": value} for key, value in changed.items()])


def moment(value: datetime) -> str:
    """Point in time as the provider writes it."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def given(**arguments: Any) -> dict[str, Any]:
    """Arguments of a call without those that say nothing."""
    return {name: value for name, value in arguments.items() if value not in (None, "", [], {})}
