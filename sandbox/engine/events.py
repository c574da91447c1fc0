"""The engine's event log of one operation: what changed, and what went wrong.

The CLI writes one JSON object per line with `--event-log`
(`pulumi/pulumi`, `sdk/go/common/apitype/events.go`).
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_REPETITION = "an unhandled error occurred:"
"""The engine repeats a program's error behind these words."""
_MARKUP = re.compile(r"<\{%.*?%\}>")


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine does, or would do, to one resource."""

    operation: str
    """`create`, `update`, `replace`, `delete`, `same`, `refresh`, `read` and their like."""
    type: str
    name: str
    urn: str
    changed: tuple[str, ...] = ()
    """Property paths that differ."""
    replaced_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Events:
    """The content of an event log."""

    steps: list[Step]
    changes: dict[str, int]
    """The engine's own summary, `same` included."""
    errors: list[str]

    @property
    def sentence(self) -> str:
        """The errors, without the engine's repetition of a program's error."""
        program = [error for error in self.errors if not error.startswith(_REPETITION)]
        return "\n".join(program or self.errors)


def read(operation: str, lines: Iterable[str]) -> Events:
    """Read the log of `operation`; the last line of a killed engine may be incomplete."""
    steps: dict[tuple[str, str], Step] = {}
    changes: dict[str, int] = {}
    errors: list[str] = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if begin := event.get("resourcePreEvent"):
            step = _step(begin["metadata"])
            steps[_key(operation, step)] = step
        if end := event.get("resOutputsEvent"):
            step = _step(end["metadata"])
            # The end of a refresh has its result: unchanged, changed or deleted.
            if (key := _key(operation, step)) in steps:
                steps[key] = step
        if summary := event.get("summaryEvent"):
            changes = summary.get("resourceChanges") or {}
        if (diagnostic := event.get("diagnosticEvent")) and diagnostic["severity"] == "error":
            errors.append(_MARKUP.sub("", diagnostic["message"]).strip())
    return Events(list(steps.values()), changes, errors)


def _key(operation: str, step: Step) -> tuple[str, str]:
    return step.urn, "refresh" if operation == "refresh" else step.operation


def _step(metadata: dict[str, Any]) -> Step:
    urn = metadata["urn"]
    differences = {*(metadata.get("diffs") or ()), *(metadata.get("detailedDiff") or ())}
    return Step(
        operation=metadata["op"],
        type=metadata["type"],
        name=urn.rpartition("::")[2],
        urn=urn,
        changed=tuple(sorted(differences)),
        replaced_for=tuple(sorted(metadata.get("keys") or ())),
    )
