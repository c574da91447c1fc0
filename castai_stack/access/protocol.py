"""Requests and answers between the decisions about aws-auth and the API server."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from castai_stack.access.entries import AwsAuthError, Entry

COPY = "castai-aws-auth-backup"
"""ConfigMap beside aws-auth that holds its values from before our first entry."""
MARK = "castai-eks/entries"
"""Annotation on aws-auth: which entries are ours, and what goes when the last one goes."""
SOURCE = "castai-eks/source-version"
"""Annotation on the copy: the version of aws-auth that it was taken from."""

KEPT = "castai-eks/kept"
"""Annotation on the copy, written after the first entry was.

Whoever takes the last entry out deletes the copy by its version. One that was read before a new
first entry came has another version by then, so that the new entry's copy stays.
"""

OVERRIDE_SETTING = "access.overrideGuards"
OVERRIDE_VARIABLE = "CASTAI_ACCESS_OVERRIDE"


class RefusedError(AwsAuthError):
    """A guard stands in the way; the message is the whole story."""


class ConflictError(AwsAuthError):
    """Others kept writing; the message says who wrote last."""


@dataclass(frozen=True)
class Object:
    """A ConfigMap as one read found it."""

    version: str
    data: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    binary: bool = False
    """Holds `binaryData`, which nobody expects here."""
    last_writer: str = ""
    """Who but us wrote last, by the API server's own record."""


@dataclass(frozen=True)
class Mark:
    """What the annotation on the map says."""

    entries: tuple[str, ...] = ()
    made: bool = False
    """There was no map before us."""
    spellings: Mapping[str, str | None] = field(default_factory=dict)
    """How a list without entries was spelled before us; None for a key that was absent."""

    def as_text(self) -> str | None:
        """Return the annotation's value; None when nothing of ours is left."""
        if not self.entries:
            return None
        said: dict[str, Any] = {"entries": sorted(self.entries)}
        if self.made:
            said["made"] = True
        if self.spellings:
            said["spellings"] = dict(self.spellings)
        return json.dumps(said, sort_keys=True)


def mark_of(live: Object | None) -> Mark:
    """Read the annotation; one that somebody broke counts as none."""
    if live is None or MARK not in live.annotations:
        return Mark()
    try:
        said = json.loads(live.annotations[MARK])
        spellings = said.get("spellings", {})
        return Mark(
            entries=tuple(str(each) for each in said["entries"]),
            made=said.get("made") is True,
            spellings={k: v if v is None else str(v) for k, v in spellings.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Mark()


# --- what is wanted -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Put:
    """Have this entry, in place of the one that we had before."""

    entry: Entry
    was: Entry | None = None
    adopt: bool = False
    """Take over an entry for this ARN that somebody else wrote."""


@dataclass(frozen=True)
class Remove:
    """Have no entry for this ARN."""

    entry: Entry


Order = Put | Remove


# --- what is asked --------------------------------------------------------------------------------


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
    """Read a ConfigMap; answered by an Object or None."""

    name: str


@dataclass(frozen=True)
class AskCaller:
    """Ask who is writing; answered by a Caller."""


@dataclass(frozen=True)
class Send:
    """Carry out a step, or (dry) have it judged only; answered by False after a conflict."""

    step: Step
    dry: bool = False


@dataclass(frozen=True)
class Wait:
    """Wait before the attempt of this number."""

    attempt: int


Request = Read | AskCaller | Send | Wait


class Seen(NamedTuple):
    """The copy, and the map as it was read after it."""

    copy: Object | None
    live: Object | None


@dataclass(frozen=True)
class Decision:
    """What has to be sent, in this order, and what the operator should know."""

    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The map as it was last seen, with nothing left to do."""

    live: Object | None
    warnings: tuple[str, ...]
