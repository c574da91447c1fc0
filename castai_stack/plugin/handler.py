"""Base of a resource type of the plugin: properties, operations and their results."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from castai_stack.plugin.run import Run
from castai_stack.plugin.values import UNKNOWN, is_unknown

PropertyType = Literal["string", "integer", "boolean", "strings", "map", "objects"]


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a resource type, for the schema and the checks that follow from it."""

    type: PropertyType
    required: bool = True
    """True if a program has to give it."""
    in_outputs: bool = True
    """True if the state repeats it among the outputs; `diff`, `read` and `delete` see outputs."""
    computed: bool = False
    """True for an output only."""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """An input that is refused. With the name of a property the engine prints its value."""

    property: str
    reason: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Checked inputs and what is wrong with them."""

    inputs: dict[str, Any]
    failures: list[CheckFailure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DiffResult:
    """Result of a comparison: a change or none, and the properties that replace the resource."""

    changes: bool
    replaces: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CreateResult:
    """Id and outputs of a new resource."""

    id: str
    outs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """Outputs of an updated resource."""

    outs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Id and outputs of a resource as it is now; without an id it is gone."""

    id: str
    outs: dict[str, Any]


GONE = ReadResult("", {})


class Handler(ABC):
    """One resource type. An instance serves one call."""

    name: ClassVar[str]
    """Last part of the type token."""
    properties: ClassVar[Mapping[str, Property]]

    def __init__(self, run: Run) -> None:
        self.run = run

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Check the new inputs; `olds` are the inputs of the last run."""
        del olds
        return CheckResult(news)

    @abstractmethod
    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare the outputs in the state with the new inputs."""

    @abstractmethod
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Create the resource. A create that fails keeps nothing, so it writes at most once."""

    @abstractmethod
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Read the resource; `props` are its outputs, or its inputs while it has none."""

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Change the resource in place."""
        raise NotImplementedError

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Delete the resource; most types have nothing outside of the state."""
        del id_, props

    def plan(self, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        """Return the outputs that a create or update is expected to have, for a preview.

        `olds` are empty for a create.
        """
        del olds
        outputs = {
            name: news[name]
            for name, one in self.properties.items()
            if one.in_outputs and name in news
        }
        return {
            **outputs,
            **{name: UNKNOWN for name, one in self.properties.items() if one.computed},
        }


def is_known(value: object) -> bool:
    """Return True if there is a value to compare with; in a preview some are not known yet."""
    return value is not None and not is_unknown(value)


def differs(olds: Mapping[str, Any], news: Mapping[str, Any], *names: str) -> list[str]:
    """Names whose desired value is known and differs from the current one."""
    return [name for name in names if is_known(news.get(name)) and olds.get(name) != news[name]]


def carried(olds: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the outputs that an update leaves as they are, for `plan`; none for a create."""
    return {name: olds[name] for name in names if name in olds}


def unknown(news: Mapping[str, Any], *names: str) -> bool:
    """Return True if any desired value is not known yet."""
    return any(is_unknown(news.get(name)) for name in names)


def switched_on(name: str) -> bool:
    """Return True if an environment switch is set to something."""
    return os.environ.get(name, "").strip().lower() not in ("", "0", "no", "false")
