"""Requests and answers between the decisions about aws-auth and the API server."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from castai_stack.access.entries import AwsAuthError, Entry

COPY = "castai-aws-auth-backup"
"""ConfigMap beside aws-auth that holds its values from before the program's first entry."""
ENTRIES_ANNOTATION = "castai-eks/entries"
"""Annotation on aws-auth that lists the program's entries and what their last removal deletes."""
SOURCE_ANNOTATION = "castai-eks/source-version"
"""Annotation on the copy: the version of aws-auth that it was taken from."""
CONFIRMED_ANNOTATION = "castai-eks/kept"
"""Annotation on the copy, written after the first entry.

The run that removes the last entry deletes the copy by its version. If a new first entry appears
meanwhile, this annotation changes the version of the copy, and the delete is refused.
"""

OVERRIDE_SETTING = "access.overrideGuards"
OVERRIDE_VARIABLE = "CASTAI_ACCESS_OVERRIDE"


class RefusedError(AwsAuthError):
    """A guard refuses the write; the message is complete for a user."""


class ConflictError(AwsAuthError):
    """Other writers caused a conflict in every attempt; the message names the last one."""


@dataclass(frozen=True)
class Snapshot:
    """A ConfigMap as one read returned it."""

    version: str
    data: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    binary: bool = False
    """Holds `binaryData`, which this program never writes."""
    last_writer: str = ""
    """Latest other writer by the API server's own record."""


class Snapshots(NamedTuple):
    """The copy, and the map as it was read after the copy."""

    copy: Snapshot | None
    live: Snapshot | None


@dataclass(frozen=True)
class OwnedEntries:
    """Content of the annotation on the map: entries of this program."""

    entries: tuple[str, ...] = ()
    created_map: bool = False
    """This program created the map."""
    spellings: Mapping[str, str | None] = field(default_factory=dict)
    """Original text of each list without entries; None for a key that was absent."""

    def without(self, entry: Entry) -> "OwnedEntries":
        """Return the same content without one entry."""
        return replace(self, entries=tuple(e for e in self.entries if e != entry.identity))

    def as_annotation(self) -> str | None:
        """Return the annotation's value; None when there is no entry left."""
        if not self.entries:
            return None
        content: dict[str, Any] = {"entries": sorted(self.entries)}
        if self.created_map:
            content["made"] = True
        if self.spellings:
            content["spellings"] = dict(self.spellings)
        return json.dumps(content, sort_keys=True)


def owned_entries(live: Snapshot | None) -> OwnedEntries:
    """Read the annotation; a malformed one counts as absent."""
    if live is None or ENTRIES_ANNOTATION not in live.annotations:
        return OwnedEntries()
    try:
        content = json.loads(live.annotations[ENTRIES_ANNOTATION])
        spellings = content.get("spellings", {})
        return OwnedEntries(
            entries=tuple(str(each) for each in content["entries"]),
            created_map=content.get("made") is True,
            spellings={k: v if v is None else str(v) for k, v in spellings.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return OwnedEntries()


# --- orders ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EnsureEntry:
    """The map shall hold this entry, in place of the previous one."""

    entry: Entry
    previous: Entry | None = None
    adopt: bool = False
    """Take over an entry for this ARN that this program did not write."""

    @property
    def moved_from(self) -> Entry | None:
        """The previous entry where it maps another ARN."""
        if self.previous is None or self.previous.identity == self.entry.identity:
            return None
        return self.previous


@dataclass(frozen=True)
class RemoveEntry:
    """The map shall hold no entry for this ARN."""

    entry: Entry


Order = EnsureEntry | RemoveEntry


# --- requests -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Create:
    """Create a ConfigMap that must not exist."""

    name: str
    data: Mapping[str, str]
    annotations: Mapping[str, str | None]


@dataclass(frozen=True)
class Patch:
    """Set or (None) drop values of a ConfigMap that must still have this version."""

    name: str
    version: str
    data: Mapping[str, str | None]
    annotations: Mapping[str, str | None]


@dataclass(frozen=True)
class Delete:
    """Delete a ConfigMap that must still have this version."""

    name: str
    version: str


Step = Create | Patch | Delete


@dataclass(frozen=True)
class Read:
    """Read a ConfigMap; answered by a Snapshot or None."""

    name: str


@dataclass(frozen=True)
class AskCaller:
    """Ask the API server for the caller; answered by a Caller."""


@dataclass(frozen=True)
class Send:
    """Carry out a step, or (dry) validate it only; answered by False after a conflict."""

    step: Step
    dry: bool = False


@dataclass(frozen=True)
class Wait:
    """Wait before the attempt of this number."""

    attempt: int


Request = Read | AskCaller | Send | Wait


@dataclass(frozen=True)
class Decision:
    """Steps to send, in this order, and warnings for the operator."""

    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The map as it was last read, with nothing left to do."""

    live: Snapshot | None
    warnings: tuple[str, ...]
